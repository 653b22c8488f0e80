/*
 * cache.h -- blocks of tables in memory, up to a budget.
 *
 * There is no hash table: each open table has an array with one pointer for each of its blocks, so a hit costs one load.
 * What is cached stands in one of a few rings, each under its own lock, and a hand goes round and throws out what was not
 * asked for since it came by last (CLOCK; Corbato 1968).  A block comes in unmarked, so one that a scan touches once is
 * among the first to go.  When a ring is full, only one in four of its misses comes in at all: what is asked for again and again is
 * there soon, and what is not throws nothing out.
 * A reader uses a block inside the epoch, or takes a reference to keep it beyond.  What is thrown out waits for the readers; while that is much,
 * because one of them does not run, nothing more is.
 */
#ifndef ASSAY_ENGINES_LSM_CACHE_H
#define ASSAY_ENGINES_LSM_CACHE_H

#include "engines/base/epoch.h"
#include "engines/base/slice.h"
#include "engines/base/status.h"
#include "engines/lsm/block.h"
#include "engines/lsm/files.h"

struct slabs;

/* What every search reads is in the first cache line, the places are in the next. */
struct cached_block {
    union {
        struct {
            struct cached_block *next, *previous; /* in its ring */
        };
        struct epoch_own own; /* where it is in none */
    };
    struct cached_block **home;            /* the table's pointer to it */
    uint32_t              references;      /* atomic; the cache has one */
    uint32_t              bytes;           /* of the payload */
    uint32_t              memory_bytes;    /* of all of it */
    uint32_t              entries_bytes;   /* of the payload's entries; known where there are places */
    uint16_t              places, places_max; /* 0: to be searched without */
    bool                  used;            /* atomic: asked for since the hand came by */
    struct slabs         *slabs;           /* whose memory it is; NULL: malloc's */
    struct block_place    place[];         /* and behind them the payload */
};

_Static_assert(sizeof(struct cached_block) <= 64, "the first line");

static inline char *cached_payload(const struct cached_block *block)
{
    return (char *)(uintptr_t)(block->place + block->places_max);
}

struct cache;

/* files_max: descriptors of tables that stay open (files.h).  reuses: what is read on the way to a block goes through memory that
 * is there already; else through new memory each time.  NULL, with a sentence, without memory. */
struct cache *cache_open(uint64_t bytes, size_t files_max, bool reuses);
void cache_close(struct cache *cache); /* after all tables; NULL is fine */
struct files *cache_files(struct cache *cache);
/* From now on, tables that are opened are mapped; only packed blocks are cached then. */
void cache_map_tables(struct cache *cache);
bool cache_maps(const struct cache *cache);
bool cache_reuses(const struct cache *cache);
uint64_t cache_used_bytes(const struct cache *cache);
uint64_t cache_memory_bytes(const struct cache *cache); /* that it has taken for them */

/* Unpublished, with one reference, and room for so many places or some more.  cache: that it will be added to; NULL: to none.
 * NULL, with a sentence, without memory. */
struct cached_block *cached_block_new(struct cache *cache, size_t bytes, uint32_t places);

/* Inside the epoch.  What home points to, or NULL.  The lines that a search of a usual block reads come together. */
static inline struct cached_block *cache_find(struct cached_block **home)
{
    struct cached_block *block = __atomic_load_n(home, __ATOMIC_ACQUIRE);

    if (!block)
        return NULL;
    for (size_t at = 0; at < 4 * 64; at += 64)
        __builtin_prefetch((const char *)block + at);
    if (!__atomic_load_n(&block->used, __ATOMIC_RELAXED))
        __atomic_store_n(&block->used, true, __ATOMIC_RELAXED);
    return block;
}

/* Inside the epoch.  Whether a block that was missed comes in: a full cache lets in one in so many, and none that is larger than a
 * sixteenth of its budget. */
bool cache_admits(struct cache *cache, struct epoch_slot *slot, struct cached_block **home, const struct cached_block *block);
/* Inside the epoch.  Publishes the block at home, and makes room for it.  Takes over the reference; returns what stands there
 * now, which is another's block if that was quicker. */
struct cached_block *cache_add(struct cache *cache, struct epoch_slot *slot, struct cached_block **home, struct cached_block *block);
/* Inside the epoch.  Takes over the reference of a block that does not come in, until the epoch is left. */
void cached_block_lend(struct epoch_slot *slot, struct cached_block *block);
/* Of a table that nobody reads any more: removes the block at home at once. */
void cache_remove(struct cache *cache, struct cached_block **home);

static inline void cached_block_keep(struct cached_block *block)
{
    __atomic_add_fetch(&block->references, 1, __ATOMIC_RELAXED);
}

void cached_block_release(struct cached_block *block); /* NULL is fine */

#endif
