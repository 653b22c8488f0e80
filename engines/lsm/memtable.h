/*
 * memtable.h -- the newest writes, in memory, until a table has them.
 *
 * Entries lie one behind the other in an arena, in the order of their sequence numbers.  A hash table finds a key; the
 * versions of a key hang behind its newest one.  Nothing is sorted when it is written: most entries are sorted once, in the
 * background, when the memtable becomes a table.  A scan sorts what has come since the last one into a run, and keeps few runs
 * by merging those of like size, so that scans among writes pay for each entry only a logarithm of times.
 *
 * Write       Room and sequence numbers are given out under the store's log lock (memtable_take), so that the arena has them in
 *             order; filling and linking (memtable_put) are outside, many at a time, under the lock bit of the key's bucket.
 * Read        memtable_get takes no lock and follows no stale pointer: nodes are only ever added.
 * Bucket      filter:32 lock:1 node:31.  The filter has a bit for each key's hash: most absent keys cost one load.
 *             A node is given as its place in the arena, in units of 8 bytes.
 */
#ifndef ASSAY_ENGINES_LSM_MEMTABLE_H
#define ASSAY_ENGINES_LSM_MEMTABLE_H

#include <pthread.h>
#include <stdbool.h>

#include "engines/base/status.h"
#include "engines/lsm/entry.h"

#define MEMTABLE_BYTES_MAX (UINT64_C(1) << 33) /* of the arena: what 31 bits of 8 bytes reach, and some slack */

#define MEMTABLE_FIRST     64u                  /* place of the first entry: 0 is no place */

struct node {
    uint32_t next;  /* atomic: another key of the bucket */
    uint32_t older; /* the version before */
    uint64_t seq;   /* atomic: 0 until the node is filled */
    uint32_t value_bytes;
    uint16_t key_bytes;
    uint8_t  type, zero;
    char     bytes[]; /* key, value */
};

struct memtable_order;

struct memtable {
    uint32_t  references; /* atomic */
    char     *arena;
    uint64_t  arena_bytes;
    uint64_t  used;       /* atomic; changed under the log lock */
    uint64_t *bucket;
    uint64_t  bucket_mask;
    uint64_t  log_id;     /* the log that has the same entries */
    uint64_t  first_seq;  /* of its log; entries are not older */
    uint64_t  last_seq;   /* of its entries; known when it is sealed */
    bool      sealed;     /* atomic: it grows no more */

    pthread_mutex_t        order_lock;
    struct memtable_order *order;     /* what is sorted so far */
    uint64_t               sorted_to; /* place in the arena */
};

/* Room for so many bytes of entries.  One reference.  NULL, with a sentence, without memory. */
struct memtable *memtable_new(uint64_t arena_bytes, uint64_t log_id);
void memtable_release(struct memtable *memtable); /* NULL is fine */
static inline void memtable_keep(struct memtable *memtable)
{
    __atomic_add_fetch(&memtable->references, 1, __ATOMIC_RELAXED);
}

static inline uint64_t memtable_entry_bytes(uint64_t key_bytes, uint64_t value_bytes)
{
    return (sizeof(struct node) + key_bytes + value_bytes + 7) & ~UINT64_C(7);
}

static inline uint64_t memtable_used(const struct memtable *memtable)
{
    return __atomic_load_n(&memtable->used, __ATOMIC_RELAXED);
}

static inline bool memtable_sealed(const struct memtable *memtable)
{
    return __atomic_load_n(&memtable->sealed, __ATOMIC_ACQUIRE);
}

static inline bool memtable_empty(const struct memtable *memtable)
{
    return memtable_used(memtable) == MEMTABLE_FIRST;
}

/* Under the log lock.  The place of so many bytes of entries, or 0 when there is no room. */
static inline uint64_t memtable_take(struct memtable *memtable, uint64_t bytes)
{
    uint64_t at = memtable->used;

    if (bytes > memtable->arena_bytes - at)
        return 0;
    __atomic_store_n(&memtable->used, at + bytes, __ATOMIC_RELAXED);
    return at;
}

/* Fills the place and makes the entry findable. */
void memtable_put(struct memtable *memtable, uint64_t place, const struct entry *entry, uint64_t hash);

/* The newest version of key that is not younger than seq.  What out points to lives as long as the memtable. */
bool memtable_get(const struct memtable *memtable, slice key, uint64_t hash, uint64_t seq, struct entry *out);

static inline void memtable_prefetch(const struct memtable *memtable, uint64_t hash)
{
    if (!memtable_empty(memtable))
        __builtin_prefetch(&memtable->bucket[hash & memtable->bucket_mask]);
}

/* Forward over the entries that are not younger than seq, which must all be filled (see store.h, visible_seq). */
struct memtable_cursor {
    struct memtable       *memtable;
    struct memtable_order *order;
    uint64_t               seq;
    uint32_t              *at;   /* position in each run */
    uint32_t              *heap; /* runs that are not at their end, the one with the smallest entry first */
    uint32_t               runs;
    struct entry           entry;
};

/* KV_NO_MEMORY leaves nothing to close. */
MUST_USE kv_status memtable_cursor_open(struct memtable_cursor *cursor, struct memtable *memtable, uint64_t seq);
void memtable_cursor_close(struct memtable_cursor *cursor);
bool memtable_cursor_seek(struct memtable_cursor *cursor, slice first);
bool memtable_cursor_next(struct memtable_cursor *cursor);

#endif
