/*
 * ops.h -- which operation comes next: a deterministic stream for each (workload, seed, thread), whatever the engine.
 *
 * Operations are made in blocks ahead of use: keys and values are laid out in memory that the block owns, in wide
 * stores, so that an engine that reads them next does not wait for a store buffer (see the traps of store
 * forwarding).
 *
 * Which keys there are
 *   Existing   key numbers 0 to records - 1, made by the load.  Reads, updates, deletes, read-modify-writes and scans
 *              draw from these (latest: from these and from the stream's own inserts).
 *   Inserted   thread t of T inserts records + t, records + t + T, ... : threads never collide.
 *   Missing    keys of their own that look like the others, are spread among them, and are never written.
 * An update is a put: it writes the key again also when a delete took it away.  A read of a deleted key answers
 * KV_NOT_FOUND; workload_may_miss() tells whether that can be.
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
    slice        value;        /* OP_UPDATE, OP_INSERT, OP_RMW; self-describing, see value.h: writer is the thread */
};

struct ops; /* one thread's stream; used by that thread only */

/* At the beginning of the first phase.  NULL with fail_set() when memory is short.  The workload has passed
 * workload_check and is lent for as long as the stream lives; thread < workload->threads. */
struct ops *ops_new(const struct workload *workload, uint32_t thread);
void ops_free(struct ops *ops); /* NULL is fine */

/* Goes to the beginning of a phase.  Inserts carry on; the draws and the sequence numbers are the phase's own.  False
 * with fail_set() when memory is short. */
bool ops_begin_phase(struct ops *ops, size_t phase);

/* The next `count` operations (1 or more); lent until the next call.  How they are cut into blocks does not change
 * them.  NULL with fail_set() when memory is short. */
const struct op *ops_next(struct ops *ops, size_t count);

/* The load's share of this thread: inserts of keys thread, thread + threads, ... below records, in this order.
 * Writes up to `count` of them to *out (lent until the next call) and returns how many, 0 at the end; SIZE_MAX when
 * memory is short. */
size_t ops_next_load(struct ops *ops, const struct op **out, size_t count);

/* XXH3 of the thread's first 65,536 operations of each phase (kind, key, value size, scan length): equal streams have
 * equal hashes.  Computed from a stream of its own.  0 with fail_set() when memory is short. */
uint64_t ops_hash(const struct workload *workload, uint32_t thread);

#endif
