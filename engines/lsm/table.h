/*
 * table.h -- a sorted file of entries that never changes.
 *
 *     NNNNNNNN.table := block* index filter properties footer      each of the first four is a frame
 *     frame      := payload tail       tail: raw_bytes:u32 kind:u32 (0 plain, 1 LZ4) sum:u64
 *                   The sum is xxh3 of the payload and the 8 bytes behind it, seeded with the table's salt plus the frame's
 *                   offset: a frame that was moved, or belongs to another table, does not pass.
 *     block      := see block.h
 *     index      := (offset:u64 bytes:u32 key_bytes:u32 key)*      for each block, in order; sparse: a key that is above all
 *                   of the block before and not above the first of this one, as short as can be.  bytes: of the frame.
 *     filter     := see filter.h; empty when the table has none
 *     properties := struct table_properties smallest_key largest_key
 *     footer     := struct table_footer, the last 88 bytes
 *
 * What it takes from others: the sparse index, prefix-compressed blocks and footer are LevelDB's; the cache line filter is
 * filter.h's.
 */
#ifndef ASSAY_ENGINES_LSM_TABLE_H
#define ASSAY_ENGINES_LSM_TABLE_H

#include <assert.h>

#include "engines/base/file.h"
#include "engines/lsm/block.h"
#include "engines/lsm/cache.h"
#include "engines/lsm/filter.h"

#define TABLE_MAGIC    "ASSAYlsT"
#define TABLE_VERSION  1u
#define TABLE_NAME_MAX 32

struct table_frame { /* where one stands */
    uint64_t offset;
    uint64_t bytes; /* with its tail */
};

struct table_footer {
    char               magic[8];
    uint32_t           version, zero;
    uint64_t           id, salt;
    struct table_frame index, filter, properties;
    uint64_t           sum; /* xxh3 of all before */
};

struct table_properties {
    uint64_t entries, tombstones;
    uint64_t key_bytes, value_bytes; /* of all entries */
    uint64_t base_seq, last_seq;     /* all sequence numbers lie between */
    uint16_t filter_probes;          /* 0: no filter */
    uint8_t  filter_hashes;          /* enum filter_hashes */
    uint8_t  layout;                 /* of the blocks: enum block_layout */
    uint32_t smallest_bytes, largest_bytes;
    uint32_t blocks;
};

struct frame_tail {
    uint32_t raw_bytes, kind;
    uint64_t sum;
};

static_assert(sizeof(struct table_footer) == 88 && sizeof(struct frame_tail) == 16 && sizeof(struct table_properties) == 64,
              "the format");

char *table_name(char out[TABLE_NAME_MAX], uint64_t id); /* "00000007.table" */

/* ---- Writing.  One thread. ---- */

/* How long one thread stood in calls of the device.  Who had to wait for that thread can say what of it was the device's. */
struct device_time {
    uint64_t total_ns, since_ns; /* atomics; since: when the call under way began, 0: none */
};

/* All three: NULL is fine. */
void device_time_begin(struct device_time *device);
void device_time_end(struct device_time *device);
uint64_t device_time_ns(const struct device_time *device, uint64_t now_ns); /* any thread */

struct table_options {
    uint32_t block_bytes;      /* a block is closed when it has so many */
    uint32_t restart_interval; /* entries */
    uint32_t filter_bits;      /* a key; 0: no filter */
    enum filter_hashes filter_hashes;
    enum block_layout  layout;
    uint32_t buffer_bytes;     /* written at once; 0: each entry, or the block if it may be packed, is a write of its own */
    bool     reuse_buffers;    /* false: new memory for each block and each write */
    bool     lz4;
    uint64_t base_seq;         /* no entry is older */
    struct device_time *device; /* counts what the device takes; may be NULL */
};

struct table_writer;

/* Makes the file.  NULL in *out after a failure. */
MUST_USE kv_status table_writer_open(const char *dir, uint64_t id, const struct table_options *options, struct table_writer **out);
/* In entry order. */
MUST_USE kv_status table_writer_add(struct table_writer *writer, const struct entry *entry);
/* Of the file, if it were finished now, about. */
uint64_t table_writer_bytes(const struct table_writer *writer);
/* Writes the rest and syncs the file; its name is the caller's to sync.  *bytes: of the file.  The writer is gone after this,
 * whatever the status. */
MUST_USE kv_status table_writer_finish(struct table_writer *writer, uint64_t *bytes);
/* Removes the file.  NULL is fine. */
void table_writer_abandon(struct table_writer *writer);

/* ---- Reading.  Any number of threads. ---- */

struct table_row { /* of the index: what a get reads */
    uint64_t             prefix; /* key_prefix of the key behind the first `shared` bytes, which all have */
    struct cached_block *block;  /* atomic; NULL: not in the cache */
};

struct table {
    uint64_t                id;
    uint64_t                bytes;      /* of the file */
    uint32_t                references; /* atomic: of versions; and of who works with it outside the epoch */
    bool                    obsolete;   /* atomic: no version has it, the file goes with the last reference */
    struct table_properties is;
    slice                   smallest, largest;
    struct reopened         file;
    char                   *map;        /* all of the file; NULL: its blocks are read */
    uint64_t                salt;
    struct cache           *cache;
    unsigned char          *filter;
    uint64_t                filter_bytes;
    /* The index, one of each for each block. */
    struct table_row       *row;
    struct table_frame     *frame;
    slice                  *key;
    size_t                  shared;
    uint32_t               *first;       /* by (prefix - first_prefix) >> first_shift: blocks that are below all such keys */
    uint64_t                first_prefix;
    uint32_t                first_shift, first_count;
    uint16_t                places_max;  /* entries of a block, usually */
    uint32_t                entries_at, entries_bytes; /* atomic: in the memory of the block that was unpacked last; others are alike */
    char                   *memory;     /* what the keys point into */
    char                   *properties; /* what smallest and largest point into */
    uint64_t                memory_bytes;
};

/* Reads footer, properties, index and filter, and checks all of them.  KV_CORRUPT names file and offset.
 * One reference. */
MUST_USE kv_status table_open(const char *dir, uint64_t id, struct cache *cache, struct table **out);
/* The same under any name, for dumps; id 0: whichever it is. */
MUST_USE kv_status table_open_named(const char *dir, const char *name, uint64_t id, struct cache *cache, struct table **out);
static inline void table_keep(struct table *table)
{
    __atomic_add_fetch(&table->references, 1, __ATOMIC_RELAXED);
}
/* Of a block, about: its frame does not say before it is read, so as much as this table's blocks unpack to on average. */
static inline uint64_t table_block_bytes(const struct table *table, size_t number)
{
    const struct table_frame *last = &table->frame[table->is.blocks - 1];
    double                    entries = (double)table->is.key_bytes + (double)table->is.value_bytes;
    double                    times = entries / (double)(last->offset + last->bytes);

    return table->frame[number].bytes * (uint64_t)(times < 1 ? 1 : times < 255 ? times + 0.5 : 255); /* LZ4 reaches no more */
}
/* The last one closes the table, and removes its file if it is obsolete.  NULL is fine. */
void table_release(struct table *table);

/* hash: key_hash of the key. */
static inline bool table_may_have(const struct table *table, slice key, uint64_t hash)
{
    if (!table->is.filter_probes)
        return true;
    return table->is.filter_hashes == FILTER_ONE_HASH
               ? filter_may_have(table->filter, table->filter_bytes, table->is.filter_probes, hash)
               : filter_may_have_by_probes(table->filter, table->filter_bytes, table->is.filter_probes, key);
}

/* Before the same and table_get: what they read of the filter and the index is on its way then. */
void table_ask(const struct table *table, slice key, uint64_t hash);

static inline bool table_covers(const struct table *table, slice key)
{
    return slice_compare(key, table->smallest) >= 0 && slice_compare(key, table->largest) <= 0;
}

/* Inside the epoch of slot.  The newest version of key that is not younger than seq; out->value lies in a cached block, or in the
 * mapping, good until the epoch is left.  KV_NOT_FOUND: the table has none (a tombstone is KV_OK).  Does not ask the filter. */
MUST_USE kv_status table_get(struct table *table, struct epoch_slot *slot, slice key, uint64_t seq, struct entry *out);
/* The same when the block is known; and whether that would read the file. */
MUST_USE kv_status table_get_in(struct table *table, struct epoch_slot *slot, size_t number, slice key, uint64_t seq,
                                struct entry *out);
static inline bool table_holds(const struct table *table, size_t number)
{
    return table->map || __atomic_load_n(&table->row[number].block, __ATOMIC_RELAXED);
}
/* Inside the epoch of slot.  Checks and unpacks the frame of a block that somebody has read, and caches it. */
MUST_USE kv_status table_take_in(struct table *table, struct epoch_slot *slot, size_t number, const char *frame,
                                 struct cached_block **out);
/* Looks for the key in a block of the table's, as table_get. */
MUST_USE kv_status table_search(const struct table *table, size_t number, const struct cached_block *block, slice key, uint64_t seq,
                                struct entry *out);
/* Which block could have the key. */
size_t table_find_block(const struct table *table, slice key);

/* Forward over all entries.  One thread; the table is kept meanwhile by the cursor. */
struct table_cursor {
    struct table        *table;
    struct epoch_slot   *slot;
    struct block_cursor  in;
    struct cached_block *held;     /* the block under `in`: cached, or our own copy; NULL: in the mapping */
    size_t               number;   /* of that block */
    unsigned             streak;   /* blocks read in a row that were not in the cache */
    bool                 streams;  /* reads ahead, and leaves the cache alone */
    struct buf           ahead;    /* read ahead: frames from ahead_at on */
    uint64_t             ahead_at; /* with a mapping: from where on the kernel was asked for so much */
    kv_status            status;   /* why it ended early */
};

/* streams: for one who reads all, like a compaction.  Outside the epoch, as all calls of the cursor. */
void table_cursor_open(struct table_cursor *cursor, struct table *table, struct epoch_slot *slot, bool streams);
void table_cursor_close(struct table_cursor *cursor);
/* To the first entry whose key is not below first.  False at the end and after a failure, which `status` tells apart. */
bool table_cursor_seek(struct table_cursor *cursor, slice first);
bool table_cursor_next(struct table_cursor *cursor);
static inline const struct entry *table_cursor_entry(const struct table_cursor *cursor)
{
    return &cursor->in.entry;
}

/* Reads all of it and checks every byte and the order of the entries: for `assay dump`, and for tests. */
MUST_USE kv_status table_verify(struct table *table, struct epoch_slot *slot);

#endif
