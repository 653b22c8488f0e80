#include "engines/base/index.h"

#include <sched.h>
#include <string.h>
#include <time.h>

#include "engines/base/pages.h"

#define BUCKETS_LOG2_MIN 1
#define GROW_WINDOW      64 /* refs whose records are asked for ahead, so that their misses overlap */

struct shard {
    _Alignas(64) uint64_t count; /* live keys */
    uint64_t patient;            /* after a growth that failed: no further try before there are so many */
    bool     growing;
};

/*
 * The tables of one size, for all shards, in one mapping: so tables of some kilobytes, as most are, stand on huge pages
 * too.  Shards grow at about the same time; the mapping goes when the last has left it.
 */
struct level {
    char  *memory;
    size_t tables;
};

#define LEVELS 15 /* tables of 2 MiB, 2^15 buckets, and more have a mapping of their own */

_Static_assert(sizeof(struct index_bucket) << LEVELS == PAGES_HUGE, "such a table fills a huge page");

struct index_inner {
    struct shard    shard[INDEX_SHARDS];
    struct level    level[LEVELS];
    pthread_mutex_t lock; /* levels */
    struct epoch   *epoch;
    uint64_t        memory_bytes;
};

/* A table that readers may still see. */
struct retired_table {
    struct index *index;
    uint64_t      table;
};

static struct index_bucket *buckets_of(uint64_t table)
{
    return (struct index_bucket *)(table & INDEX_LINK);
}

static size_t bucket_count_of(uint64_t table)
{
    return (size_t)1 << (64 - (table & 63));
}

/* 70 % of the slots. */
static uint64_t full_at(uint64_t table)
{
    return (uint64_t)bucket_count_of(table) * INDEX_BUCKET_SLOTS * 7 / 10;
}

void index_spin_(unsigned round)
{
    if (round < 64)
        __builtin_ia32_pause();
    else if (round < 256)
        sched_yield();
    else
        nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
}

/* Tables. */

static void add_memory(struct index *index, int64_t bytes)
{
    __atomic_add_fetch(&index->inner->memory_bytes, (uint64_t)bytes, __ATOMIC_RELAXED);
}

/* Returns 0 when there is no memory. */
static uint64_t make_table(struct index *index, size_t shard, unsigned buckets_log2)
{
    size_t bytes = sizeof(struct index_bucket) << buckets_log2;
    char  *memory;

    if (buckets_log2 < LEVELS) {
        struct level *level = &index->inner->level[buckets_log2];
        pthread_mutex_lock(&index->inner->lock);
        if (!level->memory)
            level->memory = pages_map(bytes * INDEX_SHARDS);
        memory = level->memory ? level->memory + bytes * shard : NULL;
        level->tables += memory != NULL;
        pthread_mutex_unlock(&index->inner->lock);
    } else {
        memory = pages_map(bytes);
    }
    if (!memory)
        return 0;
    add_memory(index, (int64_t)bytes);
    return (uintptr_t)memory | (64 - buckets_log2);
}

/* With `again`, the same table may be made once more, after a growth that failed, and then has to be zero. */
static void free_table(struct index *index, uint64_t table, bool again)
{
    size_t   bytes = bucket_count_of(table) * sizeof(struct index_bucket);
    unsigned log2 = 64 - (table & 63);

    for (size_t i = 0; i < bucket_count_of(table); i++) {
        struct index_bucket *bucket = index_next_bucket_(&buckets_of(table)[i]);
        while (bucket) {
            struct index_bucket *next = index_next_bucket_(bucket);
            free(bucket);
            add_memory(index, -(int64_t)sizeof *bucket);
            bucket = next;
        }
    }
    if (log2 < LEVELS) {
        struct level *level = &index->inner->level[log2];
        if (again)
            memset(buckets_of(table), 0, bytes);
        pthread_mutex_lock(&index->inner->lock);
        if (--level->tables == 0) {
            pages_unmap(level->memory, bytes * INDEX_SHARDS);
            level->memory = NULL;
        }
        pthread_mutex_unlock(&index->inner->lock);
    } else {
        pages_unmap(buckets_of(table), bytes);
    }
    add_memory(index, -(int64_t)bytes);
}

static void free_retired_table(void *context, void *pointer)
{
    struct retired_table *retired = pointer;

    (void)context;
    free_table(retired->index, retired->table, false);
    free(retired);
}

kv_status index_open(struct epoch *epoch, const struct index_ops *ops, uint64_t expected, struct index **out)
{
    struct index       *index = calloc(1, sizeof *index);
    struct index_inner *inner = aligned_alloc(64, sizeof *inner);
    unsigned            log2 = BUCKETS_LOG2_MIN;

    *out = NULL;
    if (!index || !inner) {
        free(index);
        free(inner);
        return kv_fail(KV_NO_MEMORY, "no memory for an index");
    }
    memset(inner, 0, sizeof *inner);
    pthread_mutex_init(&inner->lock, NULL);
    index->inner = inner;
    index->ops = *ops;
    inner->epoch = epoch;
    inner->memory_bytes = sizeof *index + sizeof *inner;
    /* A shard's share varies by a few deviations of sqrt(share): an eighth more is room enough, if it is more than few. */
    while (log2 < 40 && ((uint64_t)INDEX_BUCKET_SLOTS << log2) * 7 / 10 * INDEX_SHARDS < expected + expected / 8)
        log2++;
    for (size_t i = 0; i < INDEX_SHARDS; i++) {
        index->table[i] = make_table(index, i, log2);
        if (!index->table[i]) {
            index_close(index);
            return kv_fail(KV_NO_MEMORY, "no memory for an index of %llu keys", (unsigned long long)expected);
        }
    }
    *out = index;
    return KV_OK;
}

void index_close(struct index *index)
{
    if (!index)
        return;
    for (size_t i = 0; i < INDEX_SHARDS; i++)
        if (index->table[i])
            free_table(index, index->table[i], false);
    pthread_mutex_destroy(&index->inner->lock);
    free(index->inner);
    free(index);
}

uint64_t index_count(const struct index *index)
{
    uint64_t count = 0;

    for (size_t i = 0; i < INDEX_SHARDS; i++)
        count += __atomic_load_n(&index->inner->shard[i].count, __ATOMIC_RELAXED);
    return count;
}

uint64_t index_memory_bytes(const struct index *index)
{
    return __atomic_load_n(&index->inner->memory_bytes, __ATOMIC_RELAXED);
}

/* Writing. */

/* A slot for one more in the chain, which gets longer if it must; NULL: no memory. */
static uint64_t *free_slot(struct index *index, struct index_bucket *bucket)
{
    struct index_bucket *next;

    for (;; bucket = next) {
        for (unsigned i = 0; i < INDEX_BUCKET_SLOTS; i++)
            if (index_slot_(bucket, i) == 0)
                return &bucket->slot[i];
        next = index_next_bucket_(bucket);
        if (!next)
            break;
    }
    next = aligned_alloc(sizeof *next, sizeof *next);
    if (!next)
        return NULL;
    memset(next, 0, sizeof *next);
    add_memory(index, sizeof *next);
    __atomic_store_n(&bucket->head, __atomic_load_n(&bucket->head, __ATOMIC_RELAXED) | (uintptr_t)next, __ATOMIC_RELEASE);
    return &next->slot[0];
}

kv_status index_insert_(struct index *index, struct index_place *place, uint64_t ref)
{
    uint64_t *slot = free_slot(index, place->bucket);

    if (!slot)
        return kv_fail(KV_NO_MEMORY, "no memory for one more key in the index");
    place->slot = slot;
    place->grown = true;
    __atomic_store_n(slot, place->hash << INDEX_REF_BITS | ref, __ATOMIC_RELEASE);
    __atomic_add_fetch(&index->inner->shard[place->hash >> 56].count, 1, __ATOMIC_RELAXED);
    return KV_OK;
}

void index_remove(struct index *index, struct index_place *place)
{
    if (!place->slot)
        return;
    __atomic_store_n(place->slot, 0, __ATOMIC_RELEASE);
    place->slot = NULL;
    __atomic_sub_fetch(&index->inner->shard[place->hash >> 56].count, 1, __ATOMIC_RELAXED);
}

bool index_is_full_(const struct index *index, uint64_t hash)
{
    const struct shard *shard = &index->inner->shard[hash >> 56];
    uint64_t            count = __atomic_load_n(&shard->count, __ATOMIC_RELAXED);

    return count >= full_at(__atomic_load_n(&index->table[hash >> 56], __ATOMIC_ACQUIRE)) &&
           count >= __atomic_load_n(&shard->patient, __ATOMIC_RELAXED);
}

/* Growth. */

struct rehash {
    struct index *index;
    uint64_t      table; /* the new one; nobody else sees it yet */
    uint64_t      slot[GROW_WINDOW];
    size_t        count;
};

/* False: a record could not be read, or no memory. */
static bool insert_window(struct rehash *rehash)
{
    struct index_ops *ops = &rehash->index->ops;

    for (size_t i = 0; i < rehash->count; i++) {
        uint64_t  hash;
        uint64_t *slot;
        if (!ops->hash_of(ops->context, rehash->slot[i] & INDEX_REF_MAX, &hash))
            return false;
        assert((hash & 0xffff) == rehash->slot[i] >> INDEX_REF_BITS);
        slot = free_slot(rehash->index, &buckets_of(rehash->table)[(hash << 8) >> (rehash->table & 63)]);
        if (!slot)
            return false;
        __atomic_store_n(slot, rehash->slot[i], __ATOMIC_RELAXED);
    }
    rehash->count = 0;
    return true;
}

static bool copy_bucket(struct rehash *rehash, struct index_bucket *bucket, size_t number)
{
    struct index_ops *ops = &rehash->index->ops;

    /* What the cut had of the old bucket it has of both halves. */
    for (size_t half = 0; half < 2; half++)
        __atomic_store_n(&buckets_of(rehash->table)[2 * number + half].head,
                         __atomic_load_n(&bucket->head, __ATOMIC_RELAXED) & INDEX_CUT, __ATOMIC_RELAXED);
    for (; bucket; bucket = index_next_bucket_(bucket)) {
        for (unsigned i = 0; i < INDEX_BUCKET_SLOTS; i++) {
            uint64_t slot = index_slot_(bucket, i);
            if (!slot)
                continue;
            if (ops->prefetch)
                ops->prefetch(ops->context, slot & INDEX_REF_MAX);
            rehash->slot[rehash->count++] = slot;
            if (rehash->count == GROW_WINDOW && !insert_window(rehash))
                return false;
        }
    }
    return true;
}

void index_grow_(struct index *index, struct epoch_slot *slot, uint64_t hash)
{
    size_t                number = hash >> 56, locked = 0;
    struct shard         *shard = &index->inner->shard[number];
    struct rehash         rehash = {.index = index};
    struct retired_table *retired = NULL;
    uint64_t              old, head;
    bool                  copied = false;

    if (__atomic_exchange_n(&shard->growing, true, __ATOMIC_ACQUIRE))
        return; /* somebody is at it */
    old = __atomic_load_n(&index->table[number], __ATOMIC_ACQUIRE);
    if (!index_is_full_(index, hash) || (old & 63) <= 64 - 40)
        goto out;
    retired = malloc(sizeof *retired);
    rehash.table = make_table(index, number, 64 - (old & 63) + 1);
    if (!retired || !rehash.table)
        goto out; /* chains get longer, which is slow and right */
    if (epoch_reserve(slot, 1) != KV_OK)
        goto out;
    copied = true;
    for (; locked < bucket_count_of(old) && copied; locked++) {
        struct index_bucket *bucket = &buckets_of(old)[locked];
        for (unsigned round = 0; !index_try_lock_(bucket, &head); round++)
            index_spin_(round);
        copied = copy_bucket(&rehash, bucket, locked);
    }
    copied = copied && insert_window(&rehash);
    if (copied) {
        *retired = (struct retired_table){index, old};
        __atomic_store_n(&index->table[number], rehash.table, __ATOMIC_RELEASE);
        epoch_retire(slot, retired, bucket_count_of(old) * sizeof(struct index_bucket), free_retired_table, NULL);
    } else {
        while (locked-- > 0)
            index_unlock_bucket_(&buckets_of(old)[locked]);
    }
out:
    if (!copied)
        __atomic_store_n(&shard->patient, full_at(old) / 8 + __atomic_load_n(&shard->count, __ATOMIC_RELAXED),
                         __ATOMIC_RELAXED);
    __atomic_store_n(&shard->growing, false, __ATOMIC_RELEASE);
    if (!copied) {
        if (rehash.table)
            free_table(index, rehash.table, true);
        free(retired);
    }
}

/* Batches. */

struct index_order {
    uint64_t hash;
    uint32_t place;
};

kv_status index_batch_reserve(struct index_batch *batch, size_t count)
{
    struct index_place *place;
    struct index_order *order;

    if (count > batch->capacity) {
        place = realloc(batch->place, count * sizeof *place);
        if (place)
            batch->place = place;
        order = place ? realloc(batch->order, count * sizeof *order) : NULL;
        if (!order)
            return kv_fail(KV_NO_MEMORY, "no memory for a batch of %zu", count);
        batch->order = order;
        batch->capacity = count;
    }
    batch->count = count;
    return KV_OK;
}

void index_batch_free(struct index_batch *batch)
{
    free(batch->place);
    free(batch->order);
    *batch = (struct index_batch){0};
}

static int compare_order(const void *a, const void *b)
{
    uint64_t first = ((const struct index_order *)a)->hash, second = ((const struct index_order *)b)->hash;

    return (first > second) - (first < second);
}

void index_lock_many(struct index *index, struct index_batch *batch)
{
    struct index_bucket *last = NULL;

    assert(batch->count <= UINT32_MAX);
    for (size_t i = 0; i < batch->count; i++)
        batch->order[i] = (struct index_order){batch->place[i].hash, (uint32_t)i};
    qsort(batch->order, batch->count, sizeof *batch->order, compare_order);
    for (size_t i = 0; i < batch->count; i++) {
        struct index_place *place = &batch->place[batch->order[i].place];
        uint64_t            hash = place->hash;
        /* If the last lock is in the same shard its table cannot change now, so this comparison holds.  If it is in
         * another, the buckets differ whatever the table is. */
        struct index_bucket *bucket = index_bucket_of_(index, hash);
        bool                 owner = bucket != last;
        if (owner)
            bucket = last = index_lock_bucket_(index, hash);
        *place = (struct index_place){.hash = hash, .bucket = bucket, .owner = owner};
    }
}

void index_unlock_many(struct index *index, struct epoch_slot *slot, struct index_batch *batch)
{
    for (size_t i = 0; i < batch->count; i++)
        if (batch->place[i].owner)
            index_unlock_bucket_(batch->place[i].bucket);
    for (size_t i = 0; i < batch->count; i++)
        while (batch->place[i].grown && index_is_full_(index, batch->place[i].hash)) {
            uint64_t before = __atomic_load_n(&index->table[batch->place[i].hash >> 56], __ATOMIC_ACQUIRE);
            index_grow_(index, slot, batch->place[i].hash);
            if (before == __atomic_load_n(&index->table[batch->place[i].hash >> 56], __ATOMIC_ACQUIRE))
                break;
        }
}

/* Going through. */

static kv_status reserve_refs(struct index_refs *refs, size_t more)
{
    size_t    capacity = refs->capacity ? refs->capacity : 64;
    uint64_t *ref;

    if (refs->count + more <= refs->capacity)
        return KV_OK;
    while (capacity < refs->count + more)
        capacity *= 2;
    ref = realloc(refs->ref, capacity * sizeof *ref);
    if (!ref)
        return kv_fail(KV_NO_MEMORY, "no memory for a list of %zu refs", capacity);
    refs->ref = ref;
    refs->capacity = capacity;
    return KV_OK;
}

static kv_status append_bucket(struct index_refs *refs, struct index_bucket *bucket)
{
    for (; bucket; bucket = index_next_bucket_(bucket)) {
        TRY(reserve_refs(refs, INDEX_BUCKET_SLOTS));
        for (unsigned i = 0; i < INDEX_BUCKET_SLOTS; i++) {
            uint64_t slot = index_slot_(bucket, i);
            if (slot)
                refs->ref[refs->count++] = slot & INDEX_REF_MAX;
        }
    }
    return KV_OK;
}

/* Locks the bucket at a position without handing it to a cut; *behind becomes the position behind it, 0 at the end. */
static struct index_bucket *lock_at(struct index *index, uint64_t position, uint64_t *behind)
{
    for (unsigned round = 0;; round++) {
        uint64_t             table = __atomic_load_n(&index->table[position >> 56], __ATOMIC_ACQUIRE), head;
        uint64_t             number = (position << 8) >> (table & 63);
        struct index_bucket *bucket = &buckets_of(table)[number];
        if (index_try_lock_(bucket, &head)) {
            /* Bucket `number` of a shard covers 2^(56 - log2) hashes. */
            *behind = (position & (UINT64_C(255) << 56)) + ((number + 1) << ((table & 63) - 8));
            return bucket;
        }
        index_spin_(round);
    }
}

/* The end of all hashes is written as UINT64_MAX: no bucket starts there. */
static uint64_t position_after(uint64_t behind)
{
    return behind ? behind : UINT64_MAX;
}

kv_status index_next(struct index *index, uint64_t *position, struct index_refs *refs)
{
    kv_status status = KV_OK;

    refs->count = 0;
    while (*position != UINT64_MAX && refs->count < INDEX_REFS_AT_ONCE && status == KV_OK) {
        uint64_t             behind;
        struct index_bucket *bucket = lock_at(index, *position, &behind);
        status = append_bucket(refs, bucket);
        index_unlock_bucket_(bucket);
        *position = position_after(behind);
    }
    return status;
}

/* Cuts. */

void index_cut_begin(struct index *index, struct index_cut *cut)
{
    assert(!index->cut);
    pthread_mutex_init(&cut->lock, NULL);
    cut->early = (struct index_refs){0};
    cut->status = KV_OK;
    cut->position = 0;
    cut->done = false;
    index->cut = cut;
    __atomic_store_n(&index->cut_bit, index->cut_bit ^ INDEX_CUT, __ATOMIC_RELEASE);
}

static void flip_cut_bit(struct index_bucket *bucket)
{
    __atomic_store_n(&bucket->head, __atomic_load_n(&bucket->head, __ATOMIC_RELAXED) ^ INDEX_CUT, __ATOMIC_RELAXED);
}

/* A writer is about to change a bucket that the cut has not seen yet. */
void index_hand_to_cut_(struct index *index, struct index_bucket *bucket)
{
    struct index_cut *cut = index->cut;
    size_t            before;

    pthread_mutex_lock(&cut->lock);
    before = cut->early.count;
    if (cut->status == KV_OK && append_bucket(&cut->early, bucket) != KV_OK) {
        cut->status = KV_NO_MEMORY; /* the writer goes on; the snapshot is what fails */
        cut->early.count = before;
    }
    for (size_t i = before; i < cut->early.count && cut->keep; i++)
        cut->keep(cut->context, cut->early.ref[i]);
    pthread_mutex_unlock(&cut->lock);
    flip_cut_bit(bucket);
}

kv_status index_cut_next(struct index *index, struct index_cut *cut, struct index_refs *refs)
{
    kv_status status = KV_OK;

    refs->count = 0;
    while (cut->position != UINT64_MAX && refs->count < INDEX_REFS_AT_ONCE && status == KV_OK) {
        uint64_t             behind;
        struct index_bucket *bucket = lock_at(index, cut->position, &behind);
        if ((__atomic_load_n(&bucket->head, __ATOMIC_RELAXED) ^ index->cut_bit) & INDEX_CUT) {
            status = append_bucket(refs, bucket);
            flip_cut_bit(bucket);
        }
        index_unlock_bucket_(bucket);
        cut->position = position_after(behind);
    }
    pthread_mutex_lock(&cut->lock);
    if (status == KV_OK && cut->status != KV_OK)
        status = kv_fail(KV_NO_MEMORY, "no memory for what writers displaced during the snapshot");
    pthread_mutex_unlock(&cut->lock);
    return status;
}

void index_cut_early(struct index_cut *cut, struct index_refs *refs)
{
    struct index_refs empty = *refs;

    assert(!refs->count);
    pthread_mutex_lock(&cut->lock);
    *refs = cut->early;
    cut->early = empty;
    pthread_mutex_unlock(&cut->lock);
}

void index_cut_end(struct index *index, struct index_cut *cut)
{
    /* Every bucket must have the bit before the next cut can flip it again. */
    while (cut->position != UINT64_MAX) {
        uint64_t             behind;
        struct index_bucket *bucket = lock_at(index, cut->position, &behind);
        if ((__atomic_load_n(&bucket->head, __ATOMIC_RELAXED) ^ index->cut_bit) & INDEX_CUT)
            flip_cut_bit(bucket);
        index_unlock_bucket_(bucket);
        cut->position = position_after(behind);
    }
    index->cut = NULL;
}

void index_cut_free(struct index_cut *cut)
{
    pthread_mutex_destroy(&cut->lock);
    free(cut->early.ref);
    cut->early = (struct index_refs){0};
}

void index_check(struct index *index)
{
    for (size_t number = 0; number < INDEX_SHARDS; number++) {
        uint64_t table = index->table[number], count = 0;
        assert((table & 63) >= 24 && (table & 63) <= 63);
        for (size_t i = 0; i < bucket_count_of(table); i++) {
            struct index_bucket *first = &buckets_of(table)[i];
            assert(!(first->head & INDEX_LOCKED));
            assert(index->cut || !((first->head ^ index->cut_bit) & INDEX_CUT));
            for (struct index_bucket *bucket = first; bucket; bucket = index_next_bucket_(bucket)) {
                assert(bucket == first || !(bucket->head & ~INDEX_LINK));
                for (unsigned j = 0; j < INDEX_BUCKET_SLOTS; j++) {
                    uint64_t slot = bucket->slot[j], hash;
                    if (!slot)
                        continue;
                    assert(slot & INDEX_REF_MAX);
                    count++;
                    if (!index->ops.hash_of(index->ops.context, slot & INDEX_REF_MAX, &hash))
                        continue;
                    assert(hash >> 56 == number);
                    assert((hash & 0xffff) == slot >> INDEX_REF_BITS);
                    assert((hash << 8) >> (table & 63) == i);
                }
            }
        }
        assert(count == index->inner->shard[number].count);
    }
}
