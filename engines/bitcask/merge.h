/*
 * merge.h -- writing what is alive in some segments into one new segment, which takes their place.
 *
 * The first record of a merged segment, of type SUPERSEDES, says what it stands for: numbers of its input segments,
 * which are to be removed where they are met again, and ranges of sequence numbers of log records, its inputs' and
 * their inputs', which therefore need not be found in the log.  Value: u64 inputs, u64 ranges, then u64 for each input,
 * then two u64 for each range.
 */
#ifndef ASSAY_ENGINES_BITCASK_MERGE_H
#define ASSAY_ENGINES_BITCASK_MERGE_H

#include "engines/bitcask/segment.h"

struct bitcask;
struct epoch_slot;

struct merge_list { /* lent from the segment's mapping */
    uint64_t                    input_count, range_count;
    const uint64_t             *inputs;
    const struct segment_range *ranges;
};

/* KV_CORRUPT when the record is not there whole. */
MUST_USE kv_status merge_list_read(const struct segment *segment, struct merge_list *out);

/* Merges everything that has dead bytes or tombstones, and waits for it.  slot is the caller's, outside. */
MUST_USE kv_status merge_everything(struct bitcask *store, struct epoch_slot *slot);
/* Under log.lock: has the merger woken when the settled segment's dead bytes will be enough. */
void merge_watch(struct bitcask *store, struct segment *segment);
/* Bytes of the segments that the background will merge next. */
uint64_t merge_debt(struct bitcask *store);

MUST_USE kv_status merge_thread_start(struct bitcask *store);
void merge_thread_stop(struct bitcask *store);

#endif
