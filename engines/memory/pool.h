/*
 * pool.h -- memory for records, in size classes, carved out of huge pages.
 *
 * A store has one pool, a session one cache: allocating and freeing touch the cache only, a few instructions each, and
 * what one session frees beyond a megabyte of a class another may use.  Records stand on 2 MiB pages, which halves the
 * price of a miss.  Blocks of more than POOL_BYTES_MAX come from malloc and go back to it at once.
 *
 * Memory of one class is not given to another, nor back to the system before the pool closes: a store keeps the memory of
 * its peak.  Under AddressSanitizer every block comes from malloc, so that a use after free is seen.
 */
#ifndef ASSAY_ENGINES_MEMORY_POOL_H
#define ASSAY_ENGINES_MEMORY_POOL_H

#include <stddef.h>
#include <stdint.h>

#include "engines/base/status.h"

#define POOL_CLASSES   52
#define POOL_MALLOC    255u /* the class of blocks that are malloc's own */
#define POOL_BYTES_MAX ((size_t)16 << 10)

struct pool;

struct pool_cache {
    struct pool *pool;
    char        *at, *end; /* fresh memory */
    void        *free[POOL_CLASSES];
    int64_t      surplus[POOL_CLASSES]; /* bytes given less bytes taken, since free blocks were shared last */
};

MUST_USE kv_status pool_open(struct pool **out);
/* Frees all blocks, except those of class POOL_MALLOC.  NULL is fine. */
void pool_close(struct pool *pool);
uint64_t pool_bytes(const struct pool *pool); /* taken from the system; any thread */

void pool_cache_open(struct pool *pool, struct pool_cache *cache);
void pool_cache_close(struct pool_cache *cache); /* what it has is for other caches now */

/* NULL: no memory.  *class must be given back with the block. */
void *pool_take(struct pool_cache *cache, size_t bytes, uint8_t *class);
void pool_give(struct pool_cache *cache, void *block, size_t bytes, uint8_t class);

#endif
