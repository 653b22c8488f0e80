/*
 * workload.h -- what happens: one resolved workload, from a JSON file and from options that override its fields.
 *
 * The fields, their meaning and their defaults are documented in workloads/README.md.  An unknown field, a wrong
 * type, a value out of range or a syntax error is one sentence in fail_text() that names file, line and column or
 * field.
 *
 * A workload is a load (keys 0 to records - 1, each put once) and then one phase or several, in order, on the same
 * store: write, read, compact, read.  A file without "phases" has the one phase "run".
 */
#ifndef ASSAY_WORKLOADS_WORKLOAD_H
#define ASSAY_WORKLOADS_WORKLOAD_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/args.h"

enum op_kind { OP_READ, OP_UPDATE, OP_INSERT, OP_DELETE, OP_RMW, OP_SCAN, OP_MISS, OP_KINDS };

enum distribution_kind {
    DISTRIBUTION_UNIFORM, DISTRIBUTION_ZIPFIAN, DISTRIBUTION_HOTSET, DISTRIBUTION_LATEST, DISTRIBUTION_SEQUENTIAL,
    DISTRIBUTION_EXPONENTIAL, DISTRIBUTION_KINDS
};

enum size_kind { SIZE_FIXED, SIZE_UNIFORM, SIZE_ZIPFIAN, SIZE_KINDS };

enum arrival_kind {
    ARRIVAL_UNTHROTTLED, ARRIVAL_PACED, ARRIVAL_POISSON, ARRIVAL_CONSISTENT, ARRIVAL_BURSTY, ARRIVAL_KINDS
};

/* Only the members of its kind matter to a distribution; the others hold their defaults. */
struct distribution {
    enum distribution_kind kind;
    double   exponent;        /* zipfian, latest: any >= 0, 1 too */
    double   hot_fraction;    /* hotset: share of the keys that is hot */
    double   hot_probability; /* hotset: share of the operations that go there */
    uint64_t drift_ops;       /* hotset: a key stays hot for this many operations of a stream; 0: for ever */
    double   percentile;      /* exponential: this share of the operations ... */
    double   key_fraction;    /* ... falls on this share of the keys */
    bool     ycsb_compat;     /* zipfian: YCSB's scrambled generator, for figures of the literature */
};

#define WORKLOAD_NAME_BYTES_MAX 64
#define WORKLOAD_PHASES_MAX     8

struct phase {
    char     name[WORKLOAD_NAME_BYTES_MAX]; /* unique in its workload */
    uint64_t ops;                 /* over all threads; 0: until run_ns is over */
    uint64_t run_ns;              /* 0: until ops are done; when both are set, what comes first ends the phase */
    double   mix[OP_KINDS];       /* shares, their sum is 1 */
    struct distribution keys;
    bool     repeat_keys;         /* draws the keys of the phase before once more, in the same order */
    uint32_t scan_records_min, scan_records_max; /* scans read so many records, uniform */
    bool     compact_before;      /* kv_compact first, timed on its own */
};

struct workload {
    char     name[WORKLOAD_NAME_BYTES_MAX];
    char     summary[160];
    uint64_t records;             /* keys 0 to records - 1: loaded before the phases, and drawn from in them */
    bool     load;                /* false: the phases begin with an empty store */
    uint64_t warmup_ops;          /* of the first phase, over all threads; not measured */
    size_t   phase_count;         /* 1 or more */
    struct phase phases[WORKLOAD_PHASES_MAX];
    uint32_t key_bytes;           /* every key has this size, 8 or more; 0: short keys, see key.h */
    bool     key_in_order;        /* keys sort as their numbers do; false: in no visible order */
    enum size_kind value_size;
    uint32_t value_bytes_min, value_bytes_max; /* equal when fixed */
    double   value_exponent;      /* of zipfian value sizes; the smallest size is the most frequent */
    double   compressibility;     /* share of a value's bytes that a compressor can remove, 0 to 1 */
    uint32_t threads;
    uint32_t batch_gets;          /* reads are asked for in groups of this many (kv_get_many); 1: one by one */
    uint32_t batch_writes;        /* writes likewise (kv_write) */
    enum arrival_kind arrival;
    double   rate_per_s;          /* of all threads together; paced, poisson */
    double   burst_probability;   /* bursty: share of waits that are long */
    uint64_t wait_min_ns, wait_max_ns;             /* consistent, and the short waits of bursty: uniform between */
    uint64_t long_wait_min_ns, long_wait_max_ns;   /* bursty: the long ones */
    uint64_t seed;
};

/* A preset by name, or a file by path (a slash, or the ending .json). */
bool workload_load(struct workload *workload, const char *name_or_path);
/* The same from JSON text; origin stands for the file in sentences and, less its folder and ending, for the name. */
bool workload_read(struct workload *workload, const char *json, size_t size, const char *origin);
/* Overrides one field as the command line writes it, units and all: ("records", "10k").  A dash is as good as an
 * underscore.  Fields of phases (ops, seconds, mix, distribution and what belongs to it) are set in every phase.  ops
 * and seconds replace each other: what was set last is the limit. */
bool workload_set(struct workload *workload, const char *field, const char *text);
/* Contradictions between fields: shares that do not sum to 1, pacing without a rate.  Call after the last set. */
bool workload_check(const struct workload *workload);
/* The resolved workload; a new reference.  workload_read reads it back to the same workload. */
json_t *workload_json(const struct workload *workload);
/* Names of the presets, sorted, NULL-terminated. */
const char *const *workload_names(void);

/* False: every OP_READ, OP_RMW and OP_UPDATE of this phase asks for a key that must be there, so that KV_NOT_FOUND is
 * a loss. */
bool workload_may_miss(const struct workload *workload, size_t phase);
/* How many of a phase's or the warm-up's operations are this thread's: the first threads may have one more. */
uint64_t workload_share(const struct workload *workload, uint64_t total, uint32_t thread);

const char *op_kind_word(enum op_kind kind);           /* "read", "update", ... */
const char *distribution_word(enum distribution_kind kind);
const char *arrival_word(enum arrival_kind kind);

/*
 * The fields as options of a command, for those whose command takes a workload: rows for its struct arg table, one a
 * field ("--value-bytes N"), and what was given.  Append the rows to the command's own; a name in `except`
 * (NULL-terminated, or NULL) gets no row.
 */
#define WORKLOAD_OPTIONS_MAX 48
struct workload_options {
    const char *text[WORKLOAD_OPTIONS_MAX]; /* NULL: not given */
};
size_t workload_option_rows(struct workload_options *options, struct arg *rows, const char *const *except);
/* workload_set for each option given, with both limits kept when both ops and seconds were given. */
bool workload_set_options(struct workload *workload, const struct workload_options *options);

#endif
