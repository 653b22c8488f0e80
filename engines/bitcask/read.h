/* read.h -- from a ref to a value that can be believed. */
#ifndef ASSAY_ENGINES_BITCASK_READ_H
#define ASSAY_ENGINES_BITCASK_READ_H

#include "engines/bitcask/store.h"

#define RECORD_DAMAGED "a record contradicts its checksum"

MUST_USE kv_status read_damaged(const struct bitcask *store, uint64_t ref);

/* Whether a record with such a key and value ends inside its segment. */
static inline bool record_fits(const struct segment *segment, uint64_t offset, size_t key_size, uint64_t value_size)
{
    return offset + sizeof(struct record) + key_size + value_size <= segment_limit(segment);
}

/* The value of the record at ref, whose key has been compared and has this hash; verified if the store's option says
 * so.  Valid inside the epoch.  KV_CORRUPT names file and offset. */
static inline kv_status read_value(const struct bitcask *store, uint64_t ref, slice key, uint64_t hash, slice *value)
{
    const struct segment *segment = ref_segment(store, ref);
    uint64_t              offset = ref_offset(ref);
    const struct record  *record = segment_record(segment, offset);

    if (!record_fits(segment, offset, key.size, record->value_size))
        return read_damaged(store, ref);
    *value = record_value_behind(record, key.size);
    if (!store->options.verify_reads || record_passes(record, segment_place(segment, offset), hash, *value))
        return KV_OK;
    return read_damaged(store, ref);
}

#endif
