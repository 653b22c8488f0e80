/*
 * segment.h -- one file of records, mapped whole; see the banner of bitcask.c for its place in the store.
 *
 * Header, 64 bytes, little endian: magic, version, kind, id, salt, base_seq, durable_seq, end, sum.  A log segment gets
 * its header when it becomes the active one; until then it is all zeros, which says "never used".
 */
#ifndef ASSAY_ENGINES_BITCASK_SEGMENT_H
#define ASSAY_ENGINES_BITCASK_SEGMENT_H

#include "engines/base/buf.h"
#include "engines/base/file.h"
#include "engines/bitcask/record.h"

#define SEGMENT_MAGIC   "AssayBit"
#define SEGMENT_VERSION 3u
#define SEGMENT_SLOTS   65536u
#define SEGMENT_NAME_MAX 40

enum segment_kind { SEGMENT_LOG = 1, SEGMENT_MERGED = 2 };

struct segment_header {
    char     magic[8];
    uint32_t version;
    uint32_t kind;
    uint64_t id;
    uint64_t salt;        /* random; part of every record's sum */
    uint64_t base_seq;    /* LOG: of its first record.  MERGED: 0 */
    uint64_t durable_seq; /* every number up to it was durable when this header was written */
    uint64_t end;         /* MERGED: where the records end.  LOG: 0, they end where they end */
    uint64_t sum;         /* xxh3 of all before */
};

static_assert(sizeof(struct segment_header) == 64, "the format");
#define SEGMENT_FIRST sizeof(struct segment_header) /* offset of the first record */

/* Sequence numbers first to last, both included. */
struct segment_range {
    uint64_t first, last;
};

struct segment_ranges {
    struct segment_range *range;
    size_t                count;
};

struct segment {
    uint64_t          id;
    enum segment_kind kind;
    uint32_t          slot; /* its number in refs */
    struct file       file;
    char             *map;
    uint64_t          capacity; /* bytes mapped */
    uint64_t          limit;    /* bytes that can be read: capacity, and end once sealed; atomic */
    uint64_t          salt;
    uint64_t          base_seq, last_seq; /* LOG: of its records; last_seq 0 while it grows */
    uint64_t          end;                /* behind its last record; 0 while it grows */
    struct segment_ranges covers;         /* MERGED: the log records whose fate it decided */
    /* Under the log's lock. */
    uint64_t          dead_bytes;         /* of records that may be dropped */
    uint64_t          tombstone_bytes;    /* MERGED: of tombstones that had to be kept */
    uint64_t          wake_at;            /* dead_bytes that the merger wants to hear of; 0: none */
    /* Under the sync lock. */
    bool              synced;             /* all of it, and sealed */
    /* Under the segments' lock. */
    bool              settled;            /* sealed, synced, hint tried: may be merged */
    bool              spoiled;            /* a merge found it damaged: leave it alone */
    struct segment   *next;               /* in the list that it is in: to be settled, or retired */
};

static inline uint64_t segment_limit(const struct segment *segment)
{
    return __atomic_load_n(&segment->limit, __ATOMIC_RELAXED);
}

static inline const struct record *segment_record(const struct segment *segment, uint64_t offset)
{
    return (const struct record *)(segment->map + offset);
}

static inline uint64_t segment_place(const struct segment *segment, uint64_t offset)
{
    return segment->salt + offset;
}

/* "00000007.log", "00000008.merged", "00000008.hint" and, with temporary, ".tmp" behind. */
char *segment_name(char out[SEGMENT_NAME_MAX], uint64_t id, const char *ending);
const char *segment_ending(enum segment_kind kind);
/* True when the whole of name is one that segment_name writes with that ending. */
bool segment_parse_name(const char *name, const char *ending, uint64_t *id);

/*
 * Makes a file of that many bytes, reserved on the disk and, with zeroed, written and synced, so that later syncs there
 * change no metadata; syncs the directory.  Nothing is left after a failure.  The salt is drawn here.
 */
MUST_USE kv_status segment_create(const char *dir, const char *name, uint64_t id, enum segment_kind kind, uint64_t bytes,
                                  bool zeroed, bool writable, struct segment **out);
/* Opens what is there, O_RDWR or O_RDONLY, and maps it, with at least map_bytes of address space; looks at no byte. */
MUST_USE kv_status segment_load(const char *dir, const char *name, int flags, uint64_t id, enum segment_kind kind,
                                uint64_t map_bytes, bool writable, struct segment **out);
/* Makes the file as long as its mapping, so that the log can go on in it. */
MUST_USE kv_status segment_extend(struct segment *segment, bool zeroed);
void segment_free(struct segment *segment); /* NULL is fine; the file stays */

/* KV_MISMATCH, of a segment in another version of the format. */
MUST_USE kv_status segment_foreign(const struct segment *segment);
void segment_header_fill(const struct segment *segment, uint64_t durable_seq, struct segment_header *out);

enum segment_verdict { SEGMENT_GOOD, SEGMENT_BLANK, SEGMENT_DAMAGED, SEGMENT_FOREIGN };
/* Takes salt, base_seq and end from the header that is mapped. */
enum segment_verdict segment_header_read(struct segment *segment, uint64_t *durable_seq);

/* One sentence for damage at an offset, with the status KV_CORRUPT. */
MUST_USE kv_status segment_damaged(const struct segment *segment, uint64_t offset, const char *what);

/* Adds a range, joining those that touch; ranges are kept in order.  KV_NO_MEMORY. */
MUST_USE kv_status segment_ranges_add(struct segment_ranges *ranges, struct segment_range range);
/* The end of the range that has seq, or 0. */
uint64_t segment_ranges_reach(const struct segment_ranges *ranges, uint64_t seq);

#endif
