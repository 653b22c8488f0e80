/*
 * record.h -- one record of a segment: 24 bytes of header, the key, the value, zeros up to a multiple of 8.
 *
 * The sum covers the header behind it, the key, the value, and the place: the segment's salt plus the record's offset.
 * So a record that was copied, shifted, or left behind by an earlier life of the file's blocks does not pass.  The key
 * takes part by its hash, which is known before: the index asked for it.  R is a round of AES (SubBytes, ShiftRows, MixColumns):
 *     seed := xxh3 of the key in the low half, place in the high half
 *     even := R(seed) XOR the 16 bytes from seq to flags
 *     odd := R(seed with its halves swapped) XOR 0x9e3779b97f4a7c15 << 64 | 0xbf58476d1ce4e5b9
 *     for each block of 16 bytes of the value, the first into odd, the second into even, and so on: x := R(x) XOR block
 *     even := R(even) XOR odd;  even := R(even) XOR seed, twice;  sum := its low half
 * The last block is the last 16 bytes, also where they overlap the block before; a value of less is one block, zeros behind it.  Of
 * a value of more than RECORD_SHORT_MAX bytes its 128-bit xxh3 takes part, as one block into odd.
 * Zeros are no record: types start at 1.
 */
#ifndef ASSAY_ENGINES_BITCASK_RECORD_H
#define ASSAY_ENGINES_BITCASK_RECORD_H

#include <assert.h>
#include <wmmintrin.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "engines/base/slice.h"

enum record_type {
    RECORD_PUT = 1,
    RECORD_DELETE,
    RECORD_BATCH,      /* value: struct record_batch; its records follow and count only together */
    RECORD_MARK,       /* value: a u64, every sequence number up to it was durable when this was written */
    RECORD_SUPERSEDES, /* the first record of a merged segment; see merge.h */
    RECORD_TYPES
};

#define RECORD_IN_BATCH 1u /* flag: belongs to the RECORD_BATCH before it */

struct record {
    uint64_t sum;
    uint64_t seq;
    uint32_t value_size;
    uint16_t key_size;
    uint8_t  type;
    uint8_t  flags;
};

struct record_batch {
    uint64_t count; /* of records */
    uint64_t bytes; /* of all of them, headers and padding included */
};

static_assert(sizeof(struct record) == 24, "the format");
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "records are little endian");

#define RECORD_MARK_BYTES  (sizeof(struct record) + sizeof(uint64_t))
#define RECORD_BATCH_BYTES (sizeof(struct record) + sizeof(struct record_batch))

static inline uint64_t record_bytes(uint64_t key_size, uint64_t value_size)
{
    return (sizeof(struct record) + key_size + value_size + 7) & ~UINT64_C(7);
}

static inline uint64_t record_size(const struct record *record)
{
    return record_bytes(record->key_size, record->value_size);
}

static inline slice record_key(const struct record *record)
{
    return slice_of(record + 1, record->key_size);
}

static inline slice record_value(const struct record *record)
{
    return slice_of((const char *)(record + 1) + record->key_size, record->value_size);
}

/* The value of a record whose key is known to be of that size: to say where it stands needs no waiting for the record. */
static inline slice record_value_behind(const struct record *record, size_t key_size)
{
    return slice_of((const char *)(record + 1) + key_size, record->value_size);
}

static inline uint64_t record_key_hash(const struct record *record)
{
    return XXH3_64bits(record + 1, record->key_size);
}

/*
 * What a get has to do once the record has come from memory decides how many gets overlap their misses: the processor lets so
 * many instructions wait and no more.  For a value of 100 bytes this sum is 15 of them, two chains of CRC32C 27, xxh3 110; long
 * values are faster with xxh3.  Each round is a bijection, so a change within one block always leaves another state, and so does one
 * of two bytes where the last block overlaps (a round makes five bytes of difference, in and out, or more).  The rounds behind it
 * spread that over the half that is kept: what passes is a matter of chance, as with any sum of 64 bits.
 */
#define RECORD_SHORT_MAX 256u /* bytes */
#define RECORD_ODD_HIGH  ((long long)UINT64_C(0x9e3779b97f4a7c15))
#define RECORD_ODD_LOW   ((long long)UINT64_C(0xbf58476d1ce4e5b9))

static inline uint64_t record_word_(const char *at)
{
    uint64_t word;

    memcpy(&word, at, sizeof word);
    return word;
}

static inline __m128i record_block_(const char *at)
{
    return _mm_loadu_si128((const __m128i *)(const void *)at);
}

static __attribute__((noinline, unused)) __m128i record_long_(const char *at, size_t size)
{
    XXH128_hash_t hash = XXH3_128bits(at, size);

    return _mm_set_epi64x((long long)hash.high64, (long long)hash.low64);
}

static __attribute__((noinline, unused)) __m128i record_short_(const char *at, size_t size)
{
    char block[16] = {0};

    if (size)
        memcpy(block, at, size);
    return record_block_(block);
}

static inline __attribute__((always_inline)) uint64_t record_sum(const struct record *head, uint64_t place, uint64_t key_hash,
                                                                slice value)
{
    __m128i     seed = _mm_set_epi64x((long long)place, (long long)key_hash);
    __m128i     even = _mm_aesenc_si128(seed, record_block_((const char *)&head->seq));
    /* Its bytes stand elsewhere than in the other, else a change of the place could leave the same difference in both. */
    __m128i     odd = _mm_aesenc_si128(_mm_shuffle_epi32(seed, _MM_SHUFFLE(1, 0, 3, 2)),
                                       _mm_set_epi64x(RECORD_ODD_HIGH, RECORD_ODD_LOW));
    const char *at = value.data;

    /* One jump, and blocks at fixed places behind it: tests on the way would wait for the record's head, and with them the rest. */
    switch ((value.size + 15) >> 4) {
#define EVEN_(place_) even = _mm_aesenc_si128(even, record_block_(at + (place_)));
#define ODD_(place_)  odd = _mm_aesenc_si128(odd, record_block_(at + (place_)));
#define BLOCKS_1_
#define BLOCKS_2_ BLOCKS_1_ ODD_(0)
#define BLOCKS_3_ BLOCKS_2_ EVEN_(16)
#define BLOCKS_4_ BLOCKS_3_ ODD_(32)
#define BLOCKS_5_ BLOCKS_4_ EVEN_(48)
#define BLOCKS_6_ BLOCKS_5_ ODD_(64)
#define BLOCKS_7_ BLOCKS_6_ EVEN_(80)
#define BLOCKS_8_ BLOCKS_7_ ODD_(96)
#define BLOCKS_9_ BLOCKS_8_ EVEN_(112)
#define BLOCKS_10_ BLOCKS_9_ ODD_(128)
#define BLOCKS_11_ BLOCKS_10_ EVEN_(144)
#define BLOCKS_12_ BLOCKS_11_ ODD_(160)
#define BLOCKS_13_ BLOCKS_12_ EVEN_(176)
#define BLOCKS_14_ BLOCKS_13_ ODD_(192)
#define BLOCKS_15_ BLOCKS_14_ EVEN_(208)
#define BLOCKS_16_ BLOCKS_15_ ODD_(224)
#define CASE_(blocks, last)                  \
    case blocks:                             \
        BLOCKS_##blocks##_                   \
        last(value.size - 16)                \
        break;
    case 0:
        break;
    case 1:
        odd = _mm_aesenc_si128(odd, record_short_(at, value.size));
        break;
        CASE_(2, EVEN_)
        CASE_(3, ODD_)
        CASE_(4, EVEN_)
        CASE_(5, ODD_)
        CASE_(6, EVEN_)
        CASE_(7, ODD_)
        CASE_(8, EVEN_)
        CASE_(9, ODD_)
        CASE_(10, EVEN_)
        CASE_(11, ODD_)
        CASE_(12, EVEN_)
        CASE_(13, ODD_)
        CASE_(14, EVEN_)
        CASE_(15, ODD_)
        CASE_(16, EVEN_)
    default:
        odd = _mm_aesenc_si128(odd, record_long_(at, value.size));
        break;
#undef EVEN_
#undef ODD_
#undef CASE_
    }
    even = _mm_aesenc_si128(even, odd);
    even = _mm_aesenc_si128(even, seed);
    even = _mm_aesenc_si128(even, seed);
    return (uint64_t)_mm_cvtsi128_si64(even);
}

/* Whether the record with this value is what was written there; all of its bytes can be read. */
static inline __attribute__((always_inline)) bool record_passes(const struct record *record, uint64_t place, uint64_t key_hash,
                                                               slice value)
{
    return record->sum == record_sum(record, place, key_hash, value);
}

/* The same for a record at hand. */
static inline bool record_is_whole(const struct record *record, uint64_t place, uint64_t key_hash)
{
    return record_passes(record, place, key_hash, record_value(record));
}

/* The same for bytes from a file that may be anything: at most `room` of them can be read. */
static inline bool record_check(const struct record *record, uint64_t room, uint64_t place)
{
    return room >= sizeof *record && record->type >= RECORD_PUT && record->type < RECORD_TYPES &&
           record_size(record) <= room && record_is_whole(record, place, record_key_hash(record));
}

/* Writes a whole record; the caller has made room for record_bytes. */
static inline void record_write(void *at, uint64_t place, uint64_t seq, enum record_type type, unsigned flags, slice key,
                                uint64_t key_hash, slice value)
{
    struct record head = {.seq = seq, .value_size = (uint32_t)value.size, .key_size = (uint16_t)key.size,
                          .type = (uint8_t)type, .flags = (uint8_t)flags};
    char         *body = (char *)at + sizeof head;
    size_t        used = sizeof head + key.size + value.size;

    head.sum = record_sum(&head, place, key_hash, value);
    memset((char *)at + ((used - 1) & ~(size_t)7), 0, 8); /* the padding, under the end of the body */
    memcpy(at, &head, sizeof head);
    if (key.size)
        memcpy(body, key.data, key.size);
    if (value.size)
        memcpy(body + key.size, value.data, value.size);
}

#endif
