/*
 * keyspace.h -- the few keys that a campaign works on: few, so that overwrites, deletes and batches meet; of many shapes.
 *
 * One byte, a dozen, some hundreds with zero bytes in them, and pairs of which one is the beginning of the other.
 */
#ifndef ASSAY_CRASHTEST_KEYSPACE_H
#define ASSAY_CRASHTEST_KEYSPACE_H

#include <stdint.h>

#include "engines/base/slice.h"

#define KEYSPACE_MAX       4096
#define KEYSPACE_KEY_BYTES 320

struct keyspace {
    uint32_t count;
    struct {
        uint32_t      size;
        unsigned char bytes[KEYSPACE_KEY_BYTES];
    } key[];
};

/* The same (count, key_bytes_max) gives the same keys.  NULL with fail_set().  Free with free(). */
struct keyspace *keyspace_new(uint32_t count, uint32_t key_bytes_max);
/* UINT32_MAX: none of them. */
uint32_t keyspace_number(const struct keyspace *keys, slice key);

static inline slice keyspace_key(const struct keyspace *keys, uint32_t number)
{
    return slice_of(keys->key[number].bytes, keys->key[number].size);
}

#endif
