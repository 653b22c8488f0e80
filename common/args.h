/*
 * args.h -- the options of a command, as one table: parsing, errors and --help from the same rows.
 *
 * Options are long (--records 10k, --records=10k) and typed.  Anything wrong is one line on stderr that says what to
 * write instead, and exit 2.
 */
#ifndef ASSAY_COMMON_ARGS_H
#define ASSAY_COMMON_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum arg_type {
    ARG_FLAG,  /* bool; takes no value */
    ARG_TEXT,  /* const char * */
    ARG_COUNT, /* uint64_t, count units */
    ARG_BYTES, /* uint64_t, byte units */
    ARG_TIME,  /* uint64_t, ns, time units; a bare number is seconds */
    ARG_REAL,  /* double */
    ARG_LIST,  /* struct arg_list; may be given more than once, each time a comma-separated list */
    ARG_EACH   /* struct arg_list; may be given more than once, commas belong to the value */
};

#define ARG_LIST_MAX 256

struct arg_list {
    size_t      count;
    const char *item[ARG_LIST_MAX];
};

struct arg {
    const char   *name;    /* without the dashes */
    enum arg_type type;
    void         *out;     /* as the type says; untouched when the option is not given */
    const char   *metavar; /* NULL for flags */
    const char   *help;
    bool         *given;   /* set when the option was given; may be NULL */
    bool          brief;   /* --help gives its name only, under the command's `brief` line */
};

struct arg_command {
    const char       *name;     /* "assay bench" */
    const char       *usage;    /* "--engine A,B --workload W [options]" */
    const char       *summary;
    const struct arg *options;  /* NULL-name terminated */
    const char       *examples; /* whole lines */
    const char       *brief;    /* what stands above the options that --help gives by name only */
};

/* Positional arguments go to *rest (NULL: none are allowed).  Returns -1 to go on, else the exit code: 0 after --help,
 * 2 after a message. */
int args_parse(const struct arg_command *command, int argc, char **argv, struct arg_list *rest);

/* Prints "NAME: sentence" on stderr and returns 2: the command or a workload file is wrong. */
__attribute__((format(printf, 2, 3)))
int args_wrong(const struct arg_command *command, const char *format, ...);

#endif
