/*
 * block.h -- the payload of a data block: entries in order, keys shortened by what they share with the key before.
 *
 *     payload := entry* restart:u32* restarts:u32        restart: offset of an entry whose key stands in full
 *     entry   := shared:varint unshared:varint tag:varint age:varint key[unshared] value      packed
 *              | key_bytes:u64 key tag:u64 age:u64 value                                      split; one restart, the first
 *                tag: twice the value's bytes, plus 1 for a put; a tombstone has no value
 *                age: the sequence number, counted from the table's base_seq
 *
 * Prefix compression with restart points is LevelDB's.  All numbers are little-endian; varints have 7 bits a byte, low first.
 * Versions of one key, newest first, are never in two blocks.
 *
 * `split` is what many a first LSM tree writes, each length in front of what it measures: a search goes from entry to entry,
 * and cannot know where the value is before it has passed the key.  It is kept as a rung of the ladder to what we have now
 * (preset lsm-ladder).
 */
#ifndef ASSAY_ENGINES_LSM_BLOCK_H
#define ASSAY_ENGINES_LSM_BLOCK_H

#include "engines/base/buf.h"
#include "engines/base/status.h"
#include "engines/lsm/entry.h"

#define VARINT_BYTES_MAX 10

enum block_layout { LAYOUT_PACKED, LAYOUT_SPLIT, LAYOUTS };

/* Building. */

struct block_builder {
    struct buf bytes;    /* the entries so far */
    struct buf restarts; /* u32 each */
    struct buf last;     /* the last key */
    uint64_t   base_seq;
    uint32_t   interval; /* entries from one restart to the next */
    enum block_layout layout;
    uint32_t   since;    /* entries since the last restart */
    uint32_t   entries;
};

/* Empties it for the next block; memory is kept. */
void block_builder_reset(struct block_builder *builder);
void block_builder_free(struct block_builder *builder);
/* In order, entry by entry. */
MUST_USE kv_status block_builder_add(struct block_builder *builder, const struct entry *entry);
/* Appends the restarts: builder->bytes is the payload then. */
MUST_USE kv_status block_builder_finish(struct block_builder *builder);
/* Of the payload, if it were finished now. */
static inline uint64_t block_builder_bytes(const struct block_builder *builder)
{
    return builder->bytes.size + builder->restarts.size + sizeof(uint32_t);
}

/* Reading.  A view of a payload, which stays the caller's. */

/* Where an entry stands, and how its key differs from the one before: so a key is searched without a look at the entries. */
struct block_place {
    uint16_t      offset;
    uint8_t       shared; /* bytes in common with the key before, at a restart too */
    unsigned char next;   /* the byte behind them; 0: there is none */
};

struct block_view {
    const char *data;     /* entries */
    const char *restarts; /* and the end of the entries */
    uint32_t    restart_count;
    enum block_layout layout;
    uint64_t    base_seq;
    uint32_t                  places; /* of all entries; 0: not known */
    const struct block_place *place;
};

/* False: the payload is damaged. */
MUST_USE bool block_view_of(slice payload, enum block_layout layout, uint64_t base_seq, struct block_view *out);
/* The same of one that was viewed before, whose entries take so many bytes: without a look at its end. */
static inline struct block_view block_view_again(slice payload, uint32_t entries_bytes, enum block_layout layout, uint64_t base_seq)
{
    const char *data = payload.data;

    return (struct block_view){.data = data,
                               .restarts = data + entries_bytes,
                               .restart_count = (uint32_t)((payload.size - entries_bytes) / sizeof(uint32_t) - 1),
                               .layout = layout,
                               .base_seq = base_seq};
}

enum block_found { BLOCK_FOUND, BLOCK_ABSENT, BLOCK_DAMAGED };

/* The newest version of key with a sequence number of at most seq.  out->key is the caller's key, out->value lies in the
 * payload. */
enum block_found block_get(const struct block_view *view, slice key, uint64_t seq, struct entry *out);

/* Notes the places of all entries.  0: there are more than places_max, or too large ones, or the block is damaged, which
 * block_get tells. */
uint32_t block_places(const struct block_view *view, struct block_place *place, uint32_t places_max);

/* A cursor over the entries of a block. */
struct block_cursor {
    struct block_view view;
    const char       *next;  /* entry behind the current one */
    struct buf        key;   /* the current key */
    struct entry      entry; /* the current entry; its key is in `key` */
    bool              valid, damaged;
};

/* Stands before the first entry of the payload then; the cursor's buffer is kept. */
void block_cursor_set(struct block_cursor *cursor, const struct block_view *view);
/* To the first entry whose key is not below first; valid is false when there is none. */
void block_cursor_seek(struct block_cursor *cursor, slice first);
void block_cursor_next(struct block_cursor *cursor);
void block_cursor_free(struct block_cursor *cursor);

/* Varints, for the other parts of a table too. */

static inline size_t varint_write(char *out, uint64_t value)
{
    size_t size = 0;

    while (value >= 0x80) {
        out[size++] = (char)(value | 0x80);
        value >>= 7;
    }
    out[size++] = (char)value;
    return size;
}

/* One that may be cut off.  NULL: it does not end before `end`, or is longer than 64 bits. */
static inline const char *varint_read_slowly(const char *at, const char *end, uint64_t *out)
{
    uint64_t value = 0;

    for (unsigned shift = 0; shift < 64 && at < end; shift += 7) {
        unsigned char byte = (unsigned char)*at++;
        value |= (uint64_t)(byte & 0x7f) << shift;
        if (!(byte & 0x80)) {
            *out = value;
            return shift == 63 && byte > 1 ? NULL : at;
        }
    }
    return NULL;
}

/* The same.  Up to four bytes, which is usual, are taken apart together. */
static inline const char *varint_read(const char *at, const char *end, uint64_t *out)
{
    uint32_t word, last;

    if (at < end && !(*at & 0x80)) {
        *out = (unsigned char)*at;
        return at + 1;
    }
    if (end - at < 4)
        return varint_read_slowly(at, end, out);
    memcpy(&word, at, sizeof word);
    last = ~word & UINT32_C(0x80808080);
    if (!last)
        return varint_read_slowly(at, end, out);
    word &= last ^ (last - 1); /* no bits behind the first byte that has its high bit clear */
    *out = (word & 0x7f) | (word >> 1 & 0x3f80) | (word >> 2 & 0x1fc000) | (word >> 3 & 0xfe00000);
    return at + __builtin_ctz(last) / 8 + 1;
}

#endif
