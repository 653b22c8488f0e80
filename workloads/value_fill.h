/*
 * value_fill.h -- the two halves of value_make, apart: ops.c fills all values of a block before it seals the first,
 * because a checksum that reads what was stored just before waits for the store buffer.
 */
#ifndef ASSAY_WORKLOADS_VALUE_FILL_H
#define ASSAY_WORKLOADS_VALUE_FILL_H

#include <emmintrin.h>
#include <stdint.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "common/rng.h"
#include "workloads/value.h"

#define VALUE_ROW_BYTES  64
/* What LZ4 spends on a value's zeros less what it gains on its head, over blocks of many values. */
#define ZEROS_COST_BYTES 2

static inline uint32_t value_key_hash(slice key)
{
    return (uint32_t)XXH3_64bits(key.data, key.size);
}

/* How many of the bytes behind the head cannot be compressed.  size >= VALUE_BYTES_FULL. */
static inline uint32_t value_random_bytes(uint32_t size, double compressibility)
{
    double plain = (double)size * (1 - compressibility) - (VALUE_BYTES_FULL + ZEROS_COST_BYTES);

    if (compressibility <= 0)
        return size - VALUE_BYTES_FULL;
    return plain <= 0 ? 0 : (uint32_t)plain;
}

/* One row of the fill: 8 words that no compressor relates to the rows before. */
static inline void value_fill_row(void *out, uint64_t random)
{
    __m128i lane = _mm_set1_epi64x((long long)random), *row = out;

    _mm_storeu_si128(row, _mm_xor_si128(lane, _mm_set_epi64x(0x1e3779b97f4a7c15, 0x3f58476d1ce4e5b9)));
    _mm_storeu_si128(row + 1, _mm_xor_si128(lane, _mm_set_epi64x(0x54d049bb133111eb, 0x71342543de82ef95)));
    _mm_storeu_si128(row + 2, _mm_xor_si128(lane, _mm_set_epi64x(0x2545f4914f6cdd1d, 0x5a942042e4dd58b5)));
    _mm_storeu_si128(row + 3, _mm_xor_si128(lane, _mm_set_epi64x(0x6ef17502108ef2d9, 0x632be59bd9b4e019)));
}

/* All but the check.  Not exact: may write up to a row less one byte past the value.  size >= VALUE_BYTES_FULL. */
static inline void value_fill(void *out, uint32_t size, uint32_t random_bytes, slice key, uint32_t writer,
                              uint64_t sequence, bool exact)
{
    char    *at     = out, *random_end = at + VALUE_BYTES_FULL + random_bytes, *end = at + size;
    uint64_t head   = (uint64_t)writer << 32 | value_key_hash(key);
    uint64_t random = rng_mix(sequence + UINT64_C(0x9e3779b97f4a7c15) * ((uint64_t)writer + 1));

    memcpy(at + 8, &head, 8);
    memcpy(at + 16, &sequence, 8);
    for (at += VALUE_BYTES_FULL; at < random_end; at += VALUE_ROW_BYTES) {
        if (exact && end - at < VALUE_ROW_BYTES) {
            char row[VALUE_ROW_BYTES];
            value_fill_row(row, random);
            memcpy(at, row, (size_t)(end - at));
        } else {
            value_fill_row(at, random);
        }
        random = (random << 23 | random >> 41) * UINT64_C(0xd1342543de82ef95);
    }
    if (random_end < end)
        memset(random_end, 0, (size_t)(end - random_end));
}

/* The check. */
static inline void value_seal(void *out, uint32_t size)
{
    uint64_t check = XXH3_64bits((char *)out + 8, size - 8);

    memcpy(out, &check, 8);
}

#endif
