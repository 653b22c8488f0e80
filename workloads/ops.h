/*
 * ops.h -- which operation comes next: one deterministic stream for each (workload, seed, thread), whatever the engine.
 *
 * Operations are made in blocks ahead of use: keys and values are laid out in memory that the block owns, in wide stores, so
 * that an engine that reads them next does not wait for a store buffer (see the traps of store forwarding).
 */
#ifndef ASSAY_WORKLOADS_OPS_H
#define ASSAY_WORKLOADS_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engines/base/slice.h"
#include "workloads/workload.h"

struct op {
    enum op_kind kind;
    uint32_t     scan_records; /* OP_SCAN */
    uint64_t     key_number;   /* which key, in the order of insertion; OP_MISS: one that never exists */
    slice        key;
    slice        value;        /* OP_UPDATE, OP_INSERT, OP_RMW; self-describing, see value.h */
};

struct ops; /* one thread's stream; used by that thread only */

/* NULL with fail_set() when memory is short.  thread < workload->threads. */
struct ops *ops_new(const struct workload *workload, uint32_t thread);
void ops_free(struct ops *ops);

/* The next `count` operations; lent until the next call. */
const struct op *ops_next(struct ops *ops, size_t count);

/* The load phase's share of this thread: inserts of keys thread, thread + threads, ... in a seeded random order (or in
 * order, when keys are sequential).  Returns how many were made, 0 at the end. */
size_t ops_next_load(struct ops *ops, const struct op **out, size_t count);

/* XXH3 of the thread's first 65,536 operations (kind, key, value size, scan length): equal streams have equal hashes.
 * Computed from a stream of its own. */
uint64_t ops_hash(const struct workload *workload, uint32_t thread);

#endif
