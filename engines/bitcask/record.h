/*
 * record.h -- one record of a segment: 24 bytes of header, the key, the value, zeros up to a multiple of 8.
 *
 * The sum covers the header behind it, the key, the value, and the place: the segment's salt plus the record's offset.
 * So a record that was copied, shifted, or left behind by an earlier life of the file's blocks does not pass.  The key
 * takes part by its hash, which is known before: the index asked for it.
 * Zeros are no record: types start at 1.
 */
#ifndef ASSAY_ENGINES_BITCASK_RECORD_H
#define ASSAY_ENGINES_BITCASK_RECORD_H

#include <assert.h>
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

static inline uint64_t record_key_hash(const struct record *record)
{
    return XXH3_64bits(record + 1, record->key_size);
}

/*
 * The hash of the value, and with it everything else: the header behind the sum, the key's hash, and the place (the
 * segment's salt plus the offset), each by a multiplication of its own, so that a change of any of them changes the sum.
 * One xxh3 and that not seeded is a third fewer instructions than the plain way: a get that is verified should still fit
 * the processor's window beside the next one, so that their misses overlap.
 */
static inline uint64_t record_sum(const struct record *record, uint64_t place, uint64_t key_hash, slice value)
{
    uint64_t shape, rest;

    memcpy(&shape, &record->value_size, sizeof shape); /* both sizes, type and flags */
    rest = (key_hash ^ place * UINT64_C(0x9e3779b97f4a7c15)) + record->seq * UINT64_C(0xbf58476d1ce4e5b9);
    rest = (rest ^ rest >> 32 ^ shape) * UINT64_C(0x94d049bb133111eb);
    return XXH3_64bits(value.data, value.size) + (rest ^ rest >> 29);
}

/* Whether the record at hand, all of whose bytes can be read, is what was written there. */
static inline bool record_is_whole(const struct record *record, uint64_t place, uint64_t key_hash)
{
    return record->sum == record_sum(record, place, key_hash, record_value(record));
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
