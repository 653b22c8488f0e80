/* assay.c -- the table of commands; nothing else. */
#include <stdio.h>
#include <string.h>

#include "common/commands.h"
#include "common/stop.h"
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

int main(int argc, char **argv)
{
    const char *names[COMMAND_COUNT];

    stop_install();
    if (argc < 2 || strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0 || strcmp(argv[1], "help") == 0) {
        print_help();
        return argc < 2 ? 2 : 0;
    }
    for (size_t i = 0; i < COMMAND_COUNT; i++) {
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
        names[i] = commands[i].name;
    }
    fprintf(stderr, "assay: there is no command \"%s\"%s\n", argv[1], words_hint(argv[1], names, COMMAND_COUNT));
    return 2;
}
