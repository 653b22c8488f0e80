/* assay.c -- the table of commands, and what holds for all of them. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "common/commands.h"
#include "common/words.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *summary;
} commands[] = {
#define X(name, summary) {#name, command_##name, summary},
    COMMAND_LIST(X)
#undef X
};
#define COMMAND_COUNT (sizeof commands / sizeof *commands)

static void print_help(void)
{
    puts("assay measures key-value engines, and what is left of their data after a crash.\n\n"
         "assay COMMAND [options]        assay COMMAND --help says more\n");
    for (size_t i = 0; i < COMMAND_COUNT; i++)
        printf("  %-10s %s\n", commands[i].name, commands[i].summary);
    puts("\nExamples\n"
         "  assay bench --engine memory,bitcask --workload ycsb-a --out r.json\n"
         "  assay crash --engine bitcask --mode kill --durability commit --seconds 60\n"
         "  assay report r.json --out report");
}

/* A stream that was closed is opened, the wrong way round: or a store's file would get its number, and our words in it. */
static void reserve_streams(void)
{
    for (int fd = 0; fd <= 2; fd++) {
        if (fcntl(fd, F_GETFD) < 0)
            open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY);
    }
}

/* Output that was lost is a failure, also when the command did not look. */
static int written(int code)
{
    if ((fflush(stdout) == 0 && !ferror(stdout)) || code != 0)
        return code;
    fprintf(stderr, "assay: cannot write to standard output: %s\n", errno ? strerror(errno) : "it failed before");
    return 1;
}

int main(int argc, char **argv)
{
    const char *names[COMMAND_COUNT];

    reserve_streams();
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        print_help();
        return written(argc < 2 ? 2 : 0);
    }
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(argv[1], commands[i].name) == 0)
            return written(commands[i].run(argc - 1, argv + 1));
        names[i] = commands[i].name;
    }
    fprintf(stderr, "assay: there is no command \"%s\"%s\n", argv[1], words_hint(argv[1], names, COMMAND_COUNT));
    return 2;
}
