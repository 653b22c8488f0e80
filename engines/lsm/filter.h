/*
 * filter.h -- a blocked Bloom filter: all bits of one key lie in one cache line, so a probe is one miss of memory.
 *
 * After Putze, Sanders and Singler, "Cache-, Hash- and Space-Efficient Bloom Filters" (2007).  The key's 64-bit hash is the
 * only one: its upper half chooses the line, its lower half is multiplied on for one position after the other, as in
 * Kirsch and Mitzenmacher's double hashing.  With 10 bits a key about 1 of 100 absent keys passes.
 *
 * The other kind is Bloom's own (1970): each probe hashes the key anew and falls anywhere in the filter.  It is kept as a rung of
 * the ladder to what we have now (preset lsm-ladder).
 */
#ifndef ASSAY_ENGINES_LSM_FILTER_H
#define ASSAY_ENGINES_LSM_FILTER_H

#include <stdbool.h>
#include <stdint.h>

#include "engines/base/slice.h"

enum filter_hashes { FILTER_ONE_HASH, FILTER_HASH_A_PROBE, FILTER_KINDS };

#define FILTER_LINE_BYTES 64u
#define FILTER_PROBES_MAX 16u

/* Of so many keys at bits_per_key each; a multiple of the line. */
static inline uint64_t filter_bytes(uint64_t keys, uint32_t bits_per_key)
{
    uint64_t lines = (keys * bits_per_key + FILTER_LINE_BYTES * 8 - 1) / (FILTER_LINE_BYTES * 8);

    return (lines ? lines : 1) * FILTER_LINE_BYTES;
}

/* ln 2 times the bits is best for a whole filter; a blocked one wants a little less. */
static inline uint32_t filter_probes(enum filter_hashes hashes, uint32_t bits_per_key)
{
    uint32_t probes = bits_per_key * (hashes == FILTER_ONE_HASH ? 60 : 70) / 100;

    return probes < 1 ? 1 : probes > FILTER_PROBES_MAX ? FILTER_PROBES_MAX : probes;
}

static inline uint64_t filter_line(uint64_t bytes, uint64_t hash)
{
    return ((hash >> 32) * (bytes / FILTER_LINE_BYTES) >> 32) * FILTER_LINE_BYTES;
}

static inline void filter_add(unsigned char *filter, uint64_t bytes, uint32_t probes, uint64_t hash)
{
    unsigned char *line = filter + filter_line(bytes, hash);
    uint32_t       bits = (uint32_t)hash;

    for (uint32_t i = 0; i < probes; i++, bits *= UINT32_C(0x9e3779b9))
        line[bits >> 26] |= (unsigned char)(1u << (bits >> 23 & 7));
}

static inline bool filter_may_have(const unsigned char *filter, uint64_t bytes, uint32_t probes, uint64_t hash)
{
    const unsigned char *line = filter + filter_line(bytes, hash);
    uint32_t             bits = (uint32_t)hash;

    for (uint32_t i = 0; i < probes; i++, bits *= UINT32_C(0x9e3779b9))
        if (!(line[bits >> 26] & 1u << (bits >> 23 & 7)))
            return false;
    return true;
}

/* A hash a probe: FNV-1a, started elsewhere each time, byte by byte. */

static inline uint64_t filter_hash_of_probe(slice key, uint32_t probe)
{
    const unsigned char *at = key.data;
    uint64_t             hash = UINT64_C(0xcbf29ce484222325) ^ (probe + 1) * UINT64_C(0x9e3779b97f4a7c15);

    for (size_t i = 0; i < key.size; i++)
        hash = (hash ^ at[i]) * UINT64_C(0x100000001b3);
    return hash ^ hash >> 32;
}

static inline void filter_add_probe(unsigned char *filter, uint64_t bytes, uint64_t hash)
{
    hash %= bytes * 8;
    filter[hash >> 3] |= (unsigned char)(1u << (hash & 7));
}

static inline bool filter_may_have_by_probes(const unsigned char *filter, uint64_t bytes, uint32_t probes, slice key)
{
    for (uint32_t i = 0; i < probes; i++) {
        uint64_t bit = filter_hash_of_probe(key, i) % (bytes * 8);
        if (!(filter[bit >> 3] & 1u << (bit & 7)))
            return false;
    }
    return true;
}

#endif
