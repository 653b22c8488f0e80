/* commands.h -- the commands, each in the folder that does its work; exit codes 0, 1, 2 as the README says. */
#ifndef ASSAY_COMMON_COMMANDS_H
#define ASSAY_COMMON_COMMANDS_H

/* One row a command: X(name, "summary") runs command_name(). */
#define COMMAND_LIST(X)                                                    \
    X(bench,     "measures engines under a workload, and writes a result")         \
    X(engines,   "engines, their capabilities, tiers, limits and options") \
    X(workloads, "workload presets, one of them resolved, or the first operations of its streams") \
    X(crash,     "kills an engine again and again, and judges what is left") \
    X(calibrate, "what this machine and this disk can do, in the terms that engines use") \
    X(merge,     "adds bench results of the same work, exactly")           \
    X(report,    "figures and one page from result files")                 \
    X(get,       "the value of a key in a store")                          \
    X(put,       "writes a key")                                           \
    X(del,       "deletes a key")                                          \
    X(scan,      "prints what a store holds")                              \
    X(checkpoint, "a store of its own beside another, by hard links")      \
    X(stats,     "an engine's own figures of a store")                     \
    X(dump,      "prints one file of a store, record by record")

#define X(name, summary) int command_##name(int argc, char **argv);
COMMAND_LIST(X)
#undef X

/* What `assay dump` prints besides the engines' own files: dump_name() prints the file for people and returns its exit
 * code, the sentence in fail_text(); -1 when the file is of another kind. */
#define DUMP_LIST(X) X(trace)

#define X(name) int dump_##name(const char *path);
DUMP_LIST(X)
#undef X

#endif
