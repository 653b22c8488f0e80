/* read.h -- from a ref to a value that can be believed. */
#ifndef ASSAY_ENGINES_BITCASK_READ_H
#define ASSAY_ENGINES_BITCASK_READ_H

#include "engines/bitcask/store.h"

MUST_USE kv_status read_damaged(const struct bitcask *store, uint64_t ref);

/* The value of the record at ref, whose key has been compared and has this hash; verified if the store's option says
 * so.  Valid inside the epoch.  KV_CORRUPT names file and offset. */
static inline kv_status read_value(const struct bitcask *store, uint64_t ref, uint64_t hash, slice *value)
{
    const struct segment *segment = ref_segment(store, ref);
    uint64_t              offset = ref_offset(ref);
    const struct record  *record = segment_record(segment, offset);

    if (__builtin_expect(offset + sizeof *record + record->key_size + record->value_size > segment_limit(segment), 0))
        return read_damaged(store, ref);
    *value = record_value(record);
    if (!store->options.verify_reads ||
        __builtin_expect(record_is_whole(record, segment_place(segment, offset), hash), 1))
        return KV_OK;
    return read_damaged(store, ref);
}

#endif
