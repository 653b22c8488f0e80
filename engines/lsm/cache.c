/* cache.c -- the rings of cached blocks. */
#include "engines/lsm/cache.h"

#include <assert.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/fail.h"
#include "engines/lsm/slab.h"

#define RINGS 16u
#define ADMIT 4u /* of a full ring's misses one in so many comes in */
#define GARBAGE_MAX ((size_t)4 << 20) /* of one session, that waits for others: beyond it none comes in */

struct ring {
    _Alignas(64) pthread_mutex_t lock;
    struct cached_block *hand; /* NULL: empty */
    uint64_t             bytes;
    uint32_t             misses; /* atomic: since it was full; a count that two lose does not matter */
};

struct cache {
    uint64_t     ring_bytes; /* budget of each */
    bool         reuses, maps;
    struct ring  ring[RINGS];
    struct files files;
    struct slabs *slabs; /* of which blocks are; NULL: they are malloc's */
};

#define SLABS_FROM (UINT64_C(16) << 20) /* a smaller budget has no use for huge pages */

static uint64_t cost(const struct cached_block *block)
{
    return block->memory_bytes;
}

/* A block's ring is where its table's pointer says, so that it can be found again without being looked at. */
static struct ring *ring_of(struct cache *cache, struct cached_block *const *home)
{
    return &cache->ring[((uintptr_t)home / sizeof *home * UINT64_C(0x9e3779b97f4a7c15)) >> 60];
}

struct cache *cache_open(uint64_t bytes, size_t files_max, bool reuses)
{
    struct cache *cache = aligned_alloc(64, sizeof *cache);

    if (!cache) {
        fail_set("no memory for a block cache");
        return NULL;
    }
    memset(cache, 0, sizeof *cache);
    cache->ring_bytes = bytes / RINGS;
    if (bytes >= SLABS_FROM && !(cache->slabs = slabs_open())) {
        fail_set("no memory for a block cache");
        free(cache);
        return NULL;
    }
    cache->reuses = reuses;
    for (size_t i = 0; i < RINGS; i++)
        pthread_mutex_init(&cache->ring[i].lock, NULL);
    files_init(&cache->files, files_max);
    return cache;
}

void cache_close(struct cache *cache)
{
    if (!cache)
        return;
    for (size_t i = 0; i < RINGS; i++) {
        assert(!cache->ring[i].hand);
        pthread_mutex_destroy(&cache->ring[i].lock);
    }
    files_destroy(&cache->files);
    slabs_close(cache->slabs);
    free(cache);
}

struct files *cache_files(struct cache *cache)
{
    return &cache->files;
}

void cache_map_tables(struct cache *cache)
{
    cache->maps = true;
}

bool cache_maps(const struct cache *cache)
{
    return cache->maps;
}

bool cache_reuses(const struct cache *cache)
{
    return cache->reuses;
}

uint64_t cache_used_bytes(const struct cache *cache)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < RINGS; i++)
        bytes += __atomic_load_n(&cache->ring[i].bytes, __ATOMIC_RELAXED);
    return bytes;
}

uint64_t cache_memory_bytes(const struct cache *cache)
{
    uint64_t used = cache_used_bytes(cache), slabs = cache->slabs ? slabs_bytes(cache->slabs) : 0;

    return used > slabs ? used : slabs;
}

struct cached_block *cached_block_new(struct cache *cache, size_t bytes, uint32_t places)
{
    struct slabs        *slabs = cache ? cache->slabs : NULL;
    size_t               memory_bytes = sizeof(struct cached_block) + bytes + places * sizeof(struct block_place);
    struct cached_block *block = slabs ? slabs_take(slabs, &memory_bytes) : malloc(memory_bytes);

    if (!block) {
        fail_set("no memory for a block of %zu bytes", bytes);
        return NULL;
    }
    if (places) /* what there is beyond what was asked for may be of use */
        places = (uint32_t)((memory_bytes - sizeof *block - bytes) / sizeof *block->place);
    *block = (struct cached_block){.slabs = slabs, .memory_bytes = (uint32_t)memory_bytes, .references = 1, .bytes = (uint32_t)bytes,
                                   .places_max = (uint16_t)(places < UINT16_MAX ? places : UINT16_MAX)};
    return block;
}

void cached_block_release(struct cached_block *block)
{
    if (!block || __atomic_sub_fetch(&block->references, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    if (block->slabs)
        slabs_give(block->slabs, block, block->memory_bytes);
    else
        free(block);
}

static void release(void *context, void *block)
{
    (void)context;
    cached_block_release(block);
}

static void release_own(struct epoch_own *own)
{
    cached_block_release((struct cached_block *)own);
}

void cached_block_lend(struct epoch_slot *slot, struct cached_block *block)
{
    block->own.release = release_own;
    epoch_release_at_exit(slot, &block->own, cost(block));
}

/* Under the ring's lock. */
static void take_out(struct ring *ring, struct cached_block *block)
{
    if (block->next == block) {
        ring->hand = NULL;
    } else {
        block->next->previous = block->previous;
        block->previous->next = block->next;
        if (ring->hand == block)
            ring->hand = block->next;
    }
    __atomic_store_n(&ring->bytes, ring->bytes - cost(block), __ATOMIC_RELAXED);
    __atomic_store_n(block->home, NULL, __ATOMIC_RELEASE);
}

/* Under the ring's lock.  Readers may still look at what goes: the epoch frees it. */
static void make_room(struct cache *cache, struct ring *ring, struct epoch_slot *slot, uint64_t bytes)
{
    while (ring->hand && ring->bytes + bytes > cache->ring_bytes) {
        struct cached_block *block = ring->hand;
        if (__atomic_load_n(&block->used, __ATOMIC_RELAXED)) {
            __atomic_store_n(&block->used, false, __ATOMIC_RELAXED);
            ring->hand = block->next;
            continue;
        }
        if (epoch_reserve(slot, 1) != KV_OK)
            return; /* over the budget for now */
        take_out(ring, block);
        epoch_retire(slot, block, cost(block), release, NULL);
    }
}

/* What is asked for again and again comes in soon, and all else costs nothing of what is there. */
bool cache_admits(struct cache *cache, struct epoch_slot *slot, struct cached_block **home, const struct cached_block *block)
{
    struct ring *ring = ring_of(cache, home);
    uint32_t     misses;

    if (cost(block) > cache->ring_bytes)
        return false; /* it would never fit */
    if (__atomic_load_n(&ring->bytes, __ATOMIC_RELAXED) + cost(block) <= cache->ring_bytes)
        return true;
    if (slot->bytes > GARBAGE_MAX) {
        epoch_collect_soon(slot);
        return false;
    }
    misses = __atomic_load_n(&ring->misses, __ATOMIC_RELAXED);
    __atomic_store_n(&ring->misses, misses + 1, __ATOMIC_RELAXED);
    return misses % ADMIT == 0;
}

struct cached_block *cache_add(struct cache *cache, struct epoch_slot *slot, struct cached_block **home, struct cached_block *block)
{
    struct ring         *ring = ring_of(cache, home);
    struct cached_block *there;

    pthread_mutex_lock(&ring->lock);
    there = *home;
    if (!there) {
        make_room(cache, ring, slot, cost(block));
        block->home = home;
        if (ring->hand) { /* behind the hand: it comes here last */
            block->next = ring->hand;
            block->previous = ring->hand->previous;
            block->previous->next = block->next->previous = block;
        } else {
            ring->hand = block->next = block->previous = block;
        }
        __atomic_store_n(&ring->bytes, ring->bytes + cost(block), __ATOMIC_RELAXED);
        __atomic_store_n(home, block, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&ring->lock);
    if (there)
        cached_block_release(block);
    return there ? there : block;
}

void cache_remove(struct cache *cache, struct cached_block **home)
{
    struct ring         *ring = ring_of(cache, home);
    struct cached_block *block;

    pthread_mutex_lock(&ring->lock);
    block = *home;
    if (block)
        take_out(ring, block);
    pthread_mutex_unlock(&ring->lock);
    cached_block_release(block);
}
