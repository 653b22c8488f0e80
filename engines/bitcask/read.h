/* read.h -- from a ref to a value that can be believed. */
#ifndef ASSAY_ENGINES_BITCASK_READ_H
#define ASSAY_ENGINES_BITCASK_READ_H

#include "engines/bitcask/store.h"

#define RECORD_DAMAGED "a record contradicts its checksum"

MUST_USE kv_status read_damaged(const struct bitcask *store, uint64_t ref);

/* Whether a record of that shape, with a key of that size, ends inside its segment. */
static inline bool record_fits(const struct segment *segment, uint64_t offset, size_t key_size, uint64_t shape)
{
    return offset + sizeof(struct record) + key_size + RECORD_VALUE_SIZE(shape) <= segment_limit(segment);
}

/*
 * The value of the record at that place, which has been found to have that shape and this key, and to fit; verified if the
 * store's option says so.  It stands behind the key that was asked for: to say where needs no waiting for the record.
 * Valid inside the epoch.  KV_CORRUPT names file and offset.
 */
static inline kv_status read_found(const struct bitcask *store, const struct segment *segment, uint64_t offset,
                                   uint64_t shape, slice key, uint64_t hash, slice *value)
{
    const struct record *record = segment_record(segment, offset);

    *value = slice_of((const char *)(record + 1) + key.size, RECORD_VALUE_SIZE(shape));
    if (!store->options.verify_reads ||
        __builtin_expect(record->sum == record_sum(record->seq, shape, segment_place(segment, offset), hash, *value), 1))
        return KV_OK;
    return segment_damaged(segment, offset, RECORD_DAMAGED);
}

/* The same for a ref whose key has been compared. */
static inline kv_status read_value(const struct bitcask *store, uint64_t ref, slice key, uint64_t hash, slice *value)
{
    const struct segment *segment = ref_segment(store, ref);
    uint64_t              offset = ref_offset(ref), shape = record_shape(segment_record(segment, offset));

    if (!record_fits(segment, offset, key.size, shape))
        return read_damaged(store, ref);
    return read_found(store, segment, offset, shape, key, hash, value);
}

#endif
