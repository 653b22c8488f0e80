/*
 * life.h -- what a child does until it is killed: opens the store, and lets several sessions loose on a few keys.
 *
 * Puts of empty to large values, deletes, atomic batches, modifies, reads, syncs, now and then a compaction, as far as
 * the engine offers them.  Every operation is noted in the history; every value read is judged by itself at once.
 */
#ifndef ASSAY_CRASHTEST_LIFE_H
#define ASSAY_CRASHTEST_LIFE_H

#include <stdint.h>

#include "crashtest/history.h"
#include "crashtest/keyspace.h"
#include "crashtest/recorder.h"
#include "engines/engine.h"

/* Shares of the operations, of any sum. */
struct life_mix {
    double put, del, batch, modify, read, read_many, sync, compact;
};

struct life_plan {
    const struct kv_engine     *engine;
    const struct kv_config     *config;
    const struct keyspace      *keys;
    struct history             *history; /* cleared */
    struct life_mix             mix;
    uint32_t                    threads;
    uint32_t                    value_bytes_max; /* most are far smaller */
    uint64_t                    seed;
    uint32_t                    life;   /* its number in the campaign: makes its values unlike all others' */
    const struct recorder_api  *recorder; /* NULL: nobody records or counts */
    const struct recorder_plan *record;
    uint32_t                    calm_ops; /* not 0: a session ends after so many operations, and the last thing is a compaction,
                                           * where there is one: so that death finds the store at rest */
    uint64_t                    quiet_ns; /* not 0: small writes, LIFE_QUIET_WRITES in so long, and nothing that syncs or makes an
                                           * engine begin a file: so that a promise that is kept by a clock alone is seen */
    bool                        recovery_only; /* opens the store and waits: to be killed meanwhile */
};

#define LIFE_QUIET_WRITES 64

/* For child_start(); arg is the plan.  Does not return before the operations are used up, and then waits to be killed. */
int life_body(void *arg);

/* Which write made a value: the writer and sequence that values carry (workloads/value.h). */
static inline uint64_t life_sequence(uint32_t life, uint32_t number)
{
    return (uint64_t)life << 20 | number;
}

#endif
