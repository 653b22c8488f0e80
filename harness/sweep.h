/*
 * sweep.h -- what a store must hold after a cell's passes, and whether it does.
 *
 * The streams are deterministic, so the history of every thread can be made again: each key must hold the last write of
 * some thread, or be absent where a thread's last word was a delete.  Nothing is noted down while anything is timed.
 */
#ifndef ASSAY_HARNESS_SWEEP_H
#define ASSAY_HARNESS_SWEEP_H

#include <stdbool.h>
#include <stdint.h>

#include "harness/worker.h"

struct sweep {
    uint64_t keys;    /* that the workload could have written */
    uint64_t checked; /* fewer when limit_ns was over first */
    uint64_t found;   /* live ones among them */
};

/* Reads every key with all threads, then judges.  False with fail_set(): a lost key, a wrong value, an error. */
bool sweep_store(struct crew *crew, uint64_t limit_ns, struct sweep *out);

/* Counts the records of a full scan.  False with fail_set(). */
bool sweep_count(struct crew *crew, uint64_t *records);

#endif
