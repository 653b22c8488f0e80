/*
 * entry.h -- one version of one key, as every part of the tree hands it around, and their order: keys ascending, and of
 * one key the newest first.
 */
#ifndef ASSAY_ENGINES_LSM_ENTRY_H
#define ASSAY_ENGINES_LSM_ENTRY_H

#include <stdint.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "engines/base/slice.h"

enum entry_type {
    ENTRY_DELETE, /* a tombstone: no value */
    ENTRY_PUT
};

struct entry {
    slice           key, value;
    uint64_t        seq; /* 1 and up; every write of the store has its own */
    enum entry_type type;
};

#define SEQ_MAX UINT64_MAX /* as a bound: sees everything */

static inline int entry_compare(const struct entry *a, const struct entry *b)
{
    int order = slice_compare(a->key, b->key);

    return order ? order : (a->seq < b->seq) - (a->seq > b->seq);
}

/* One hash of a key serves the memtable, the filters and the stripes of locks. */
static inline uint64_t key_hash(slice key)
{
    return XXH3_64bits(key.data, key.size);
}

/* The first 8 bytes as a number that sorts like them; a shorter key is padded with zeros, so equal prefixes need a look at
 * the keys themselves. */
static inline uint64_t key_prefix(slice key)
{
    uint64_t prefix = 0;

    if (key.size >= sizeof prefix)
        memcpy(&prefix, key.data, sizeof prefix);
    else if (key.size)
        memcpy(&prefix, key.data, key.size);
    return __builtin_bswap64(prefix);
}

#endif
