#include "engines/memory/pool.h"

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "engines/base/pages.h"

#define CHUNK_BYTES  PAGES_HUGE
#define PIECE_BYTES  ((size_t)256 << 10) /* what a cache takes at a time */
#define SURPLUS      ((int64_t)1 << 20)  /* free bytes of a class that a cache keeps to itself */
#define FINE_BYTES   512u                /* up to here a class for each 16 bytes, then four for each doubling */
#define FINE_CLASSES (FINE_BYTES / 16)

/* A free block; `batch` links the first blocks of lists that caches gave away. */
struct block {
    struct block *next, *batch;
};

struct piece {
    struct piece *next;
    char         *end;
};

struct chunk {
    struct chunk *next;
    char         *memory;
};

struct pool {
    pthread_mutex_t lock;
    struct chunk   *chunks;
    char           *at, *end; /* of the newest chunk */
    struct piece   *pieces;   /* that closed caches left */
    struct block   *shared[POOL_CLASSES];
    uint64_t        bytes;
};

static unsigned class_of(size_t bytes)
{
    unsigned log2;

    if (bytes <= FINE_BYTES)
        return bytes ? (unsigned)(bytes - 1) / 16 : 0;
    log2 = 63 - (unsigned)__builtin_clzll(bytes - 1); /* 9 for 513 to 1024 */
    return FINE_CLASSES + (log2 - 9) * 4 + (unsigned)((bytes - 1) >> (log2 - 2) & 3);
}

static size_t bytes_of(unsigned class)
{
    unsigned log2;

    if (class < FINE_CLASSES)
        return (class + 1) * 16;
    log2 = 9 + (class - FINE_CLASSES) / 4;
    return ((size_t)1 << log2) + ((size_t)(class - FINE_CLASSES) % 4 + 1) * ((size_t)1 << (log2 - 2));
}

_Static_assert(FINE_CLASSES + 5 * 4 == POOL_CLASSES, "512 bytes doubled five times is POOL_BYTES_MAX");

kv_status pool_open(struct pool **out)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return kv_fail(KV_NO_MEMORY, "no memory for a pool");
    pthread_mutex_init(&(*out)->lock, NULL);
    return KV_OK;
}

void pool_close(struct pool *pool)
{
    if (!pool)
        return;
    while (pool->chunks) {
        struct chunk *chunk = pool->chunks;
        pool->chunks = chunk->next;
        pages_unmap(chunk->memory, CHUNK_BYTES);
        free(chunk);
    }
    pthread_mutex_destroy(&pool->lock);
    free(pool);
}

uint64_t pool_bytes(const struct pool *pool)
{
    return __atomic_load_n(&pool->bytes, __ATOMIC_RELAXED);
}

void pool_cache_open(struct pool *pool, struct pool_cache *cache)
{
    *cache = (struct pool_cache){.pool = pool};
}

/* All free blocks of a class, for others. */
static void share(struct pool_cache *cache, unsigned class)
{
    struct pool  *pool = cache->pool;
    struct block *first = cache->free[class];

    pthread_mutex_lock(&pool->lock);
    first->batch = pool->shared[class];
    __atomic_store_n(&pool->shared[class], first, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&pool->lock);
    cache->free[class] = NULL;
    cache->surplus[class] = 0;
}

void pool_cache_close(struct pool_cache *cache)
{
    struct pool *pool = cache->pool;

    for (unsigned class = 0; class < POOL_CLASSES; class++)
        if (cache->free[class])
            share(cache, class);
    if ((size_t)(cache->end - cache->at) >= sizeof(struct piece)) {
        struct piece *piece = (struct piece *)(void *)cache->at;
        pthread_mutex_lock(&pool->lock);
        *piece = (struct piece){pool->pieces, cache->end};
        pool->pieces = piece;
        pthread_mutex_unlock(&pool->lock);
    }
}

static bool add_chunk(struct pool *pool)
{
    struct chunk *chunk = malloc(sizeof *chunk);

    if (!chunk)
        return false;
    *chunk = (struct chunk){pool->chunks, pages_map(CHUNK_BYTES)};
    if (!chunk->memory) {
        free(chunk);
        return false;
    }
    pool->chunks = chunk;
    pool->at = chunk->memory;
    pool->end = chunk->memory + CHUNK_BYTES;
    __atomic_add_fetch(&pool->bytes, CHUNK_BYTES, __ATOMIC_RELAXED);
    return true;
}

/* Fresh memory for a cache; what is left of its last piece, less than a block, is lost. */
static bool take_piece(struct pool_cache *cache)
{
    struct pool *pool = cache->pool;
    bool         taken = true;

    pthread_mutex_lock(&pool->lock);
    if (pool->pieces) {
        struct piece *piece = pool->pieces;
        pool->pieces = piece->next;
        cache->end = piece->end;
        cache->at = (char *)piece;
    } else if (pool->at != pool->end || add_chunk(pool)) {
        cache->at = pool->at;
        cache->end = pool->at += PIECE_BYTES;
    } else {
        taken = false;
    }
    pthread_mutex_unlock(&pool->lock);
    return taken;
}

static void *take_slowly(struct pool_cache *cache, unsigned class)
{
    struct pool  *pool = cache->pool;
    struct block *block;
    size_t        bytes = bytes_of(class);

    if (__atomic_load_n(&pool->shared[class], __ATOMIC_RELAXED)) {
        pthread_mutex_lock(&pool->lock);
        block = pool->shared[class];
        if (block)
            __atomic_store_n(&pool->shared[class], block->batch, __ATOMIC_RELAXED);
        pthread_mutex_unlock(&pool->lock);
        if (block) {
            cache->free[class] = block->next;
            return block;
        }
    }
    while ((size_t)(cache->end - cache->at) < bytes)
        if (!take_piece(cache))
            return NULL;
    block = (struct block *)(void *)cache->at;
    cache->at += bytes;
    return block;
}

static void *take_malloc(struct pool *pool, size_t bytes, uint8_t *class)
{
    void *block = malloc(bytes);

    *class = POOL_MALLOC;
    if (block)
        __atomic_add_fetch(&pool->bytes, bytes, __ATOMIC_RELAXED);
    return block;
}

void *pool_take(struct pool_cache *cache, size_t bytes, uint8_t *class)
{
    struct block *block;
    unsigned      number;

    if (PAGES_CHECKED || __builtin_expect(bytes > POOL_BYTES_MAX, 0))
        return take_malloc(cache->pool, bytes, class);
    number = class_of(bytes);
    *class = (uint8_t)number;
    block = cache->free[number];
    if (__builtin_expect(!block, 0))
        return take_slowly(cache, number);
    cache->free[number] = block->next;
    cache->surplus[number] -= (int64_t)bytes;
    /* The next one was touched long ago, behind its first line: it comes while this one is filled and put in place. */
    __builtin_prefetch(block->next, 1);
    __builtin_prefetch((char *)block->next + 64, 1);
    return block;
}

void pool_give(struct pool_cache *cache, void *memory, size_t bytes, uint8_t class)
{
    struct block *block = memory;

    if (class == POOL_MALLOC) {
        free(memory);
        __atomic_sub_fetch(&cache->pool->bytes, bytes, __ATOMIC_RELAXED);
        return;
    }
    assert(class == class_of(bytes));
    if (__builtin_expect(cache->surplus[class] >= SURPLUS, 0))
        share(cache, class);
    block->next = cache->free[class];
    cache->free[class] = block;
    cache->surplus[class] += (int64_t)bytes;
}
