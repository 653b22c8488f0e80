/*
 * arrival.h -- when the next operation is meant to start: a deterministic schedule for each (workload, seed, thread).
 *
 * The schedule does not wait for the engine: a stall leaves later operations behind their intended start, and that is
 * the latency a client would see.  Waiting, and counting from the intended start, are the harness's.
 */
#ifndef ASSAY_WORKLOADS_ARRIVAL_H
#define ASSAY_WORKLOADS_ARRIVAL_H

#include <stdint.h>

#include "common/rng.h"
#include "workloads/workload.h"

struct arrival {
    const struct workload *workload; /* lent */
    struct rng rng;
    uint64_t   count; /* operations scheduled */
    double     at_ns; /* intended start of the last one */
    double     interval_ns; /* paced, poisson: mean time between the operations of this thread */
};

/* The schedule of a thread from the beginning of a phase.  Not for ARRIVAL_UNTHROTTLED. */
void arrival_begin(struct arrival *arrival, const struct workload *workload, size_t phase, uint32_t thread);
/* The intended start of the next operation, in ns since the phase began; never goes back. */
uint64_t arrival_next_ns(struct arrival *arrival);

#endif
