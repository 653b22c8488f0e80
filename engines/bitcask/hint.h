/*
 * hint.h -- a segment's records without their keys and values, so that opening need not read the segment.
 *
 * ID.hint: a header (magic, version, kind, id, salt of the segment, end, base_seq, last_seq, count, sum of the header
 * and of the entries), then 24 bytes for each PUT and DELETE in the segment, in its order.  The key is kept as its
 * 64-bit hash only: the index needs no more, and the record at the offset says the rest; so a hint is a sixth of a
 * segment of small records and is read at the speed of the index.
 *
 * A hint is written when the segment has ended and is synced (temporary file, sync, rename).  It belongs to the segment
 * whose salt it names, and says what is in it up to `end`: when the log was later continued in that segment, the rest is
 * scanned.  A hint that is damaged, or reaches farther than its segment, is not used for anything but this: the records
 * up to last_seq were durable when it was written.
 */
#ifndef ASSAY_ENGINES_BITCASK_HINT_H
#define ASSAY_ENGINES_BITCASK_HINT_H

#include "engines/bitcask/segment.h"

struct bitcask;

#define HINT_MAGIC "AssayHnt"

struct hint_entry {
    uint64_t hash; /* xxh3 of the key */
    uint64_t seq;
    uint32_t offset; /* of the record / 8 */
    uint32_t shape;  /* low 27 bits: bytes of the record / 8; 3 bits: how many of them are padding; top bit: a tombstone */
};

static_assert(sizeof(struct hint_entry) == 24, "the format");
#define HINT_TOMBSTONE (UINT32_C(1) << 31)

static inline uint64_t hint_offset(const struct hint_entry *entry)
{
    return (uint64_t)entry->offset << 3;
}

static inline uint64_t hint_record_bytes(const struct hint_entry *entry)
{
    return (uint64_t)(entry->shape & ((UINT32_C(1) << 27) - 1)) << 3;
}

/* Bytes of key and value together. */
static inline uint64_t hint_body_bytes(const struct hint_entry *entry)
{
    return hint_record_bytes(entry) - sizeof(struct record) - (entry->shape >> 27 & 7);
}

struct hint {
    uint64_t                 end, last_seq;
    size_t                   count;
    const struct hint_entry *entries;
    char                    *bytes; /* owned: the whole file */
};

/* Goes through the records of a sealed segment and writes its hint. */
MUST_USE kv_status hint_write(struct bitcask *store, struct segment *segment);
/* KV_NOT_FOUND when there is none to be used. */
MUST_USE kv_status hint_read(const char *dir, const struct segment *segment, struct hint *out);
/* The same from bytes at hand, whatever segment they belong to.  The entries are lent from them; nothing to free. */
MUST_USE kv_status hint_parse(slice bytes, struct hint *out);
/* What the hint of this number, if its header can be believed, says was durable, and how many entries it has; also
 * without its segment.  Else 0. */
uint64_t hint_durable_seq(const char *dir, uint64_t id, uint64_t *entries);
void hint_free(struct hint *hint);

#endif
