/*
 * record.h -- one record of a segment: 24 bytes of header, the key, the value, zeros up to a multiple of 8.
 *
 * The sum covers the header behind it, the key, the value, and the place: the segment's salt plus the record's offset.
 * So a record that was copied, shifted, or left behind by an earlier life of the file's blocks does not pass.  The key
 * takes part by its hash, which is known before: the index asked for it.
 *     seed := (xxh3 of the key XOR place) * 0x9e3779b97f4a7c15
 *     sum  := CRC32C(from the high half of seed, shape odd) << 32 | CRC32C(from the low half of seed, seq even)
 * where shape is the 8 bytes from value_size to flags, and even and odd are every other 8 bytes of the value, the last ones
 * as record_sum says; of a value of more than RECORD_CRC_MAX bytes the xxh3 takes part instead, each half in one.
 * Zeros are no record: types start at 1.
 */
#ifndef ASSAY_ENGINES_BITCASK_RECORD_H
#define ASSAY_ENGINES_BITCASK_RECORD_H

#include <assert.h>
#include <nmmintrin.h>
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
 * What a get has to do once the record has come from memory decides how many gets overlap their misses: the processor
 * holds so many instructions and no more.  For a value of 100 bytes the two chains are 40 of them, xxh3 is 110; long
 * values are faster with xxh3.  Each chain finds every burst of up to 32 bits in its half, and both together all else but one in
 * 2^64.  The last 8 bytes go to the chain that the word they overlap did not go to, so no change can cancel itself.
 */
#define RECORD_CRC_MAX 256u /* bytes */

static inline uint64_t record_word_(const char *at)
{
    uint64_t word;

    memcpy(&word, at, sizeof word);
    return word;
}

static __attribute__((noinline, unused)) uint64_t record_hash_long_(const char *at, size_t size)
{
    return XXH3_64bits(at, size);
}

/* Both sizes, type and flags. */
static inline uint64_t record_shape(const struct record *record)
{
    return record_word_((const char *)&record->value_size);
}

static inline __attribute__((always_inline)) uint64_t record_sum(uint64_t seq, uint64_t shape, uint64_t place,
                                                                uint64_t key_hash, slice value)
{
    uint64_t    seed = (key_hash ^ place) * UINT64_C(0x9e3779b97f4a7c15);
    uint64_t    even = _mm_crc32_u64((uint32_t)seed, seq), odd = _mm_crc32_u64(seed >> 32, shape);
    const char *at = value.data;
    size_t      left = value.size;

#define TWO_WORDS_(offset)                                            \
    do {                                                              \
        even = _mm_crc32_u64(even, record_word_(at + (offset)));      \
        odd = _mm_crc32_u64(odd, record_word_(at + (offset) + 8));    \
    } while (0)
    if (__builtin_expect(left > RECORD_CRC_MAX, 0)) {
        uint64_t hash = record_hash_long_(at, left);
        return _mm_crc32_u64(odd, hash >> 32) << 32 | _mm_crc32_u64(even, hash);
    }
    for (; left >= 64; left -= 64, at += 64) {
        TWO_WORDS_(0);
        TWO_WORDS_(16);
        TWO_WORDS_(32);
        TWO_WORDS_(48);
    }
    if (left & 32) {
        TWO_WORDS_(0);
        TWO_WORDS_(16);
        at += 32;
    }
    if (left & 16) {
        TWO_WORDS_(0);
        at += 16;
    }
#undef TWO_WORDS_
    left &= 15;
    if (left >= 8) {
        even = _mm_crc32_u64(even, record_word_(at));
        odd = _mm_crc32_u64(odd, record_word_(at + left - 8));
    } else if (left && value.size > left) {
        even = _mm_crc32_u64(even, record_word_(at + left - 8));
    } else {
        for (; left; left--)
            even = _mm_crc32_u8((uint32_t)even, (uint8_t)*at++);
    }
    return odd << 32 | even;
}

/* Whether the record with this value is what was written there; all of its bytes can be read. */
static inline bool record_passes(const struct record *record, uint64_t place, uint64_t key_hash, slice value)
{
    return record->sum == record_sum(record->seq, record_shape(record), place, key_hash, value);
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

    head.sum = record_sum(seq, record_shape(&head), place, key_hash, value);
    memset((char *)at + ((used - 1) & ~(size_t)7), 0, 8); /* the padding, under the end of the body */
    memcpy(at, &head, sizeof head);
    if (key.size)
        memcpy(body, key.data, key.size);
    if (value.size)
        memcpy(body + key.size, value.data, value.size);
}

#endif
