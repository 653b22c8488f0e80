/*
 * recorder.h -- the preloaded library that sees every call to libc, from the program's side.
 *
 * The library sleeps until a child process starts it; then every mutating call on files below one directory is
 * recorded into a trace, and calls can be counted, cut short, failed, or made the process's last.  The command that
 * wants it runs itself again, once, with the library preloaded:
 *
 *     if (!recorder_preload(argv)) return 1;        first thing in the command; returns true when it is there
 *     trace = trace_create(...);
 *     child: recorder()->start(&plan); open the store, work, recorder()->mark(...) ...; recorder()->stop();
 *     parent: child_wait, trace_settle, state_build ...
 *
 * What the child forks, and the programs that these run, are recorded into the same trace, in one order.  A program that cannot
 * be followed (its environment was emptied, it is linked statically) dies before it changes anything.
 */
#ifndef ASSAY_CRASHTEST_RECORDER_H
#define ASSAY_CRASHTEST_RECORDER_H

#include <stdbool.h>
#include <stdint.h>

#include "crashtest/trace.h"

enum recorder_flag {
    RECORDER_COUNT_ONLY    = 1u << 0, /* no records: for kills of real processes.  The trace needs no room. */
    RECORDER_SKIP_SYNC     = 1u << 1, /* syncs are recorded and not done: the real directory is thrown away anyway */
    RECORDER_LOOK_AT_MARKS = 1u << 2  /* look for stores into mappings at every mark too, not only at syncs */
};

enum recorder_act {
    RECORDER_NOTHING,
    RECORDER_KILL_BEFORE, /* SIGKILL, to all processes of the life, instead of call `at` */
    RECORDER_KILL_AFTER,  /* SIGKILL when the call has been done, before it returns */
    RECORDER_KILL_INSIDE, /* a write does a part of its bytes, chosen by seed, then SIGKILL (old bytes change by whole pages, as the
                           * kernel does it); of the first write from that call on */
    RECORDER_FAIL,        /* the call fails with error_number, nothing done */
    RECORDER_FAIL_FROM,   /* that call and all later ones */
    RECORDER_SHORT        /* a write does a part of its bytes and says so; other calls: as usual */
};

struct recorder_plan {
    struct trace     *trace; /* shared; empty or freshly reset */
    const char       *dir;   /* must exist */
    uint32_t          flags;
    enum recorder_act act;
    uint64_t          at;    /* 1: the first mutating call below dir; trace->calls of an earlier life tells how many there are */
    uint64_t          seed;
    int               error_number;
    uint64_t          sync_delay_ns; /* a sync takes that long, other threads go on meanwhile: shows races of group commit */
};

struct recorder_api {
    uint32_t abi; /* RECORDER_ABI */
    /* In a child that was forked from a process with one thread, before it opens the store.  NULL, or a sentence that
     * says why not.  Seldom undone: a child starts it once. */
    const char *(*start)(const struct recorder_plan *plan);
    /* A mark in the order of the calls; any thread.  `kind` is the caller's own. */
    void (*mark)(uint32_t kind, uint64_t a, uint64_t b);
    /* Looks at mappings a last time and lets calls pass again, in all processes.  A child that is about to exit in peace calls it. */
    void (*stop)(void);
    /* Mutating calls so far. */
    uint64_t (*calls)(void);
};
#define RECORDER_ABI    2u
#define RECORDER_SYMBOL "assay_recorder"

/* NULL when the library is not preloaded. */
const struct recorder_api *recorder(void);

/* True when the recorder is there.  Otherwise runs the program again, with argv and the library (found beside the
 * executable or one folder up, or named by $ASSAY_RECORDER) preloaded, and does not return; false with fail_set() when
 * that cannot be. */
bool recorder_preload(char **argv);

#endif
