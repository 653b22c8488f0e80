/*
 * cell.h -- one engine in one round: open, load, settle, warm up, measure, check, close, reopen.
 *
 * Runs in a process of its own, so that a crash or a hang takes down nothing else.  After each phase the cell's JSON is
 * written to a descriptor, so that what was measured outlives the process.
 */
#ifndef ASSAY_HARNESS_CELL_H
#define ASSAY_HARNESS_CELL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "engines/engine.h"
#include "harness/cgroup.h"
#include "harness/counting.h"
#include "harness/worker.h"
#include "workloads/workload.h"

struct cell {
    const struct kv_engine *engine;
    struct kv_config        config;       /* dir is the cell's own */
    const struct workload  *workload;
    struct progress_page   *page;
    const struct cgroup    *cgroup;       /* NULL: no memory limit */
    uint64_t                memory_bytes; /* 0: none was asked for */
    bool                    cold;
    bool brief; /* load and run only: what the harness costs, with an engine that does nothing */
    struct kv_durability
        load_durability; /* the store is loaded with this tier, then opened again with that of config */
    bool                    counting;     /* the phase "meters" only: load, then count calls and allocations */
    struct counting_page   *counted;      /* then: shared with the tracer */
    bool                    checking;     /* not a cell, but the syncs of its tier: tiercheck.h */
    int                     out;          /* takes the JSON */
};

/* Why this engine cannot run this workload so: NULL, or a sentence; *status is then "refused" or "unsupported". */
const char *cell_unfit(const struct kv_engine *engine, const struct kv_config *config, const struct workload *workload,
                       const char **status);

/* Operations per second of the engine alone, from the sum of its threads' rates inside the stamps.  Threads that have to share
 * processors wait for them outside of the stamps too, so the sum alone would give each thread a processor of its own: no more is
 * done than the processors can, at what the engine takes of them (at most the time in the stamps, and at most what the threads
 * took in all).  processors 0: unknown. */
double cell_rate(double sum, double ops, double stamped_ns, double cpu_ns, uint32_t threads, int processors);

/* The body of the child process; `cell` is a struct cell.  Returns its exit code: 0 when the JSON says how it went. */
int cell_main(void *cell);

/* The most operations that the phase "meters" counts. */
#define CELL_COUNTED_OPS_MAX 50000

#endif
