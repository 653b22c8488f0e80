/*
 * index.h -- a concurrent hash index from keys to 48-bit refs, which say where an engine keeps the record.
 *
 * The index holds no keys.  The caller brings the hash, and `match` compares a key with the record of a ref; `hash_of`
 * finds a record's hash again when a table grows.  Ref 0 means "none".
 *
 * Shape       256 shards, by the top 8 bits of the hash.  A shard is one table of buckets of one cache line: a head
 *             word (lock bit, cut bit, link to an overflow bucket) and 7 slots of a 16-bit tag (the low bits of the
 *             hash) over a ref.  The bucket's number is made of the hash bits below the top 8, from the top, so that
 *             to go through the buckets is to go in hash order, before and after a growth.
 * Read        No lock, inside an epoch.  One miss of memory for the bucket, one for the record.  A key stays in its
 *             slot until it is removed or the table is replaced, and a replaced table keeps its last contents, so what
 *             a reader finds or misses was true at a moment during its call.  Records must not change once published.
 * Write       Under the lock of the bucket: index_lock, index_seek, then index_put or index_remove, index_unlock.
 *             Batches lock their buckets in hash order, which cannot deadlock.
 * Growth      A shard whose slots are 70 % full is doubled by the writer that noticed, after it unlocked: it locks all
 *             buckets of the old table, which stay locked for ever, copies, and retires the table through the epoch.
 *             Who waits for a lock looks the table up anew.  Without memory for it the overflow chains get longer.
 * Cut         A consistent view for a snapshot, without versions in the records: index_cut_begin flips the cut bit that
 *             buckets should have, while the world is stopped.  From then on each bucket is handed to the cut once:
 *             by index_cut_next, or, if a writer comes by earlier, by that writer, before it changes anything.
 *
 * The bucket is FASTER's; going in hash order, which survives growth, is Redis's scan cursor with the bits the other
 * way round.  All functions must be called inside the epoch, but open, close, check, the figures, and of the cut
 * begin, early and free; and where nobody else has the index, as at its end, there is no need of one.
 */
#ifndef ASSAY_ENGINES_BASE_INDEX_H
#define ASSAY_ENGINES_BASE_INDEX_H

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "engines/base/epoch.h"
#include "engines/base/slice.h"
#include "engines/base/status.h"

#define INDEX_SHARDS       256
#define INDEX_BUCKET_SLOTS 7
#define INDEX_REF_BITS     48
#define INDEX_REF_MAX      ((UINT64_C(1) << INDEX_REF_BITS) - 1)

#define INDEX_LOCKED UINT64_C(1)
#define INDEX_CUT    UINT64_C(2)
#define INDEX_LINK   (~UINT64_C(63))

#define INDEX_INLINE static inline __attribute__((always_inline))

struct index_bucket {
    _Alignas(64) uint64_t head;
    uint64_t slot[INDEX_BUCKET_SLOTS];
};

/* Refs in a list that grows; start with all zero and free list.ref. */
struct index_refs {
    uint64_t *ref;
    size_t    count, capacity;
};

/* What the engine knows about its refs.  Called by a writer that grows a table, under locks: must not call the index. */
struct index_ops {
    bool (*hash_of)(void *context, uint64_t ref, uint64_t *hash); /* false: cannot be read now, so no growth now */
    void (*prefetch)(void *context, uint64_t ref);                /* may be NULL; hash_of(ref) follows soon */
    void *context;
};

struct index_cut;
struct index_inner;

struct index {
    uint64_t            table[INDEX_SHARDS]; /* address of the buckets, low 6 bits: 64 - log2 of their number */
    uint64_t            cut_bit;             /* what buckets should have; changes only while the world is stopped */
    struct index_cut   *cut;
    struct index_ops    ops;
    struct index_inner *inner;
};

/* Where a key is or would be.  Valid from lock to unlock. */
struct index_place {
    uint64_t             hash;
    struct index_bucket *bucket; /* its first one; locked */
    uint64_t            *slot;   /* of the key that was sought last; NULL: absent */
    bool                 owner;  /* this place took the lock (in a batch, the first of those that share a bucket) */
    bool                 grown;  /* an insert happened */
};

/* `expected` keys need no growth.  The epoch stays the caller's and must live longer. */
MUST_USE kv_status index_open(struct epoch *epoch, const struct index_ops *ops, uint64_t expected, struct index **out);
/* All sessions' slots are closed, so that no retired table is left.  NULL is fine. */
void index_close(struct index *index);

uint64_t index_count(const struct index *index);        /* live keys; any thread, any time */
uint64_t index_memory_bytes(const struct index *index); /* any thread, any time */
void     index_check(struct index *index);              /* asserts every invariant; no writer may run */

/* ---- Reading. ---- */

/* Most keys are of 16 bytes: a length that the compiler knows leaves half of the instructions. */
INDEX_INLINE uint64_t index_hash(slice key)
{
    if (__builtin_expect(key.size == 16, 1))
        return XXH3_64bits(key.data, 16);
    return XXH3_64bits(key.data, key.size);
}

INDEX_INLINE struct index_bucket *index_bucket_of_(const struct index *index, uint64_t hash)
{
    uint64_t table = __atomic_load_n(&index->table[hash >> 56], __ATOMIC_ACQUIRE);

    return (struct index_bucket *)(table & INDEX_LINK) + ((hash << 8) >> (table & 63));
}

INDEX_INLINE struct index_bucket *index_next_bucket_(const struct index_bucket *bucket)
{
    return (struct index_bucket *)(__atomic_load_n(&bucket->head, __ATOMIC_ACQUIRE) & INDEX_LINK);
}

INDEX_INLINE uint64_t index_slot_(const struct index_bucket *bucket, unsigned i)
{
    return __atomic_load_n(&bucket->slot[i], __ATOMIC_ACQUIRE);
}

/*
 * The slots whose tag fits, as bit 2 * i of word i of the line, the head being word 0.  Only a hint: each slot is loaded again,
 * atomically, before it is believed; the vector loads are not atomic as a whole.
 */
INDEX_INLINE uint32_t index_tag_matches_(const struct index_bucket *bucket, uint64_t hash)
{
#if defined(__SSE2__) && !EPOCH_TSAN
    /* The upper halves of the eight words, then the upper halves of those: all tags side by side. */
    const __m128 *line = (const __m128 *)bucket;
    __m128i       low = _mm_castps_si128(_mm_shuffle_ps(line[0], line[1], _MM_SHUFFLE(3, 1, 3, 1)));
    __m128i       high = _mm_castps_si128(_mm_shuffle_ps(line[2], line[3], _MM_SHUFFLE(3, 1, 3, 1)));
    __m128i       tags = _mm_packs_epi32(_mm_srai_epi32(low, 16), _mm_srai_epi32(high, 16));

    return (uint32_t)_mm_movemask_epi8(_mm_cmpeq_epi16(tags, _mm_set1_epi16((short)hash))) & 0x5554;
#else
    uint32_t matches = 0;

    for (unsigned i = 0; i < INDEX_BUCKET_SLOTS; i++)
        matches |= (uint32_t)(index_slot_(bucket, i) >> INDEX_REF_BITS == (hash & 0xffff)) << (2 * i + 2);
    return matches;
#endif
}

/* The first of them: bit 2 * i stands 8 * i bytes behind the head. */
#define INDEX_MATCH_SLOT_(bucket, matches) ((uint64_t *)(void *)((char *)(bucket) + 4 * (unsigned)__builtin_ctz(matches)))

/* Whether the record of `ref` has this key. */
typedef bool index_match(const void *context, uint64_t ref, slice key);

/* The slot of the key in the chain of a bucket, or NULL; the ref that it held goes to *ref. */
INDEX_INLINE uint64_t *index_search_(struct index_bucket *bucket, uint64_t hash, slice key, index_match *match,
                                     const void *context, uint64_t *ref)
{
    do {
        for (uint32_t matches = index_tag_matches_(bucket, hash); matches; matches &= matches - 1) {
            uint64_t *slot = INDEX_MATCH_SLOT_(bucket, matches);
            /* With the right tag taken off it is the ref, and neither 0 nor longer than one. */
            *ref = __atomic_load_n(slot, __ATOMIC_ACQUIRE) ^ hash << INDEX_REF_BITS;
            if (*ref - 1 < INDEX_REF_MAX && match(context, *ref, key))
                return slot;
        }
        bucket = index_next_bucket_(bucket);
    } while (__builtin_expect(bucket != NULL, 0));
    *ref = 0;
    return NULL;
}

/* The key's ref, or 0.  `match` is inlined when it is a constant. */
INDEX_INLINE uint64_t index_find(const struct index *index, uint64_t hash, slice key, index_match *match,
                                 const void *context)
{
    uint64_t ref;

    index_search_(index_bucket_of_(index, hash), hash, key, match, context, &ref);
    return ref;
}

/* For batches: first prefetch the buckets of all keys, then the records of their candidates, then find. */
INDEX_INLINE void index_prefetch(const struct index *index, uint64_t hash)
{
    __builtin_prefetch(index_bucket_of_(index, hash));
}

/* The first ref whose tag fits, most often the right one, or 0: nothing fits in the first bucket. */
INDEX_INLINE uint64_t index_candidate(const struct index *index, uint64_t hash)
{
    struct index_bucket *bucket = index_bucket_of_(index, hash);
    uint32_t             matches = index_tag_matches_(bucket, hash);

    return matches ? __atomic_load_n(INDEX_MATCH_SLOT_(bucket, matches), __ATOMIC_ACQUIRE) & INDEX_REF_MAX : 0;
}

/* The same, and whether there is more to be looked through than the first bucket and that candidate. */
INDEX_INLINE uint64_t index_only_candidate(const struct index *index, uint64_t hash, bool *more)
{
    struct index_bucket *bucket = index_bucket_of_(index, hash);
    uint32_t             matches = index_tag_matches_(bucket, hash);

    *more = matches != 0 || index_next_bucket_(bucket) != NULL;
    return matches ? (__atomic_load_n(INDEX_MATCH_SLOT_(bucket, matches), __ATOMIC_ACQUIRE) & INDEX_REF_MAX) : 0;
}

/* ---- Writing. ---- */

void index_spin_(unsigned round);
void index_hand_to_cut_(struct index *index, struct index_bucket *bucket);
void index_grow_(struct index *index, struct epoch_slot *slot, uint64_t hash);
bool index_is_full_(const struct index *index, uint64_t hash);

INDEX_INLINE bool index_try_lock_(struct index_bucket *bucket, uint64_t *head)
{
    *head = __atomic_load_n(&bucket->head, __ATOMIC_RELAXED);
    return !(*head & INDEX_LOCKED) &&
           __atomic_compare_exchange_n(&bucket->head, head, *head | INDEX_LOCKED, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED);
}

/* The locked bucket of a hash.  Whoever holds a bucket keeps its shard's table from being replaced. */
INDEX_INLINE struct index_bucket *index_lock_bucket_(struct index *index, uint64_t hash)
{
    uint64_t head;

    for (unsigned round = 0;; round++) {
        struct index_bucket *bucket = index_bucket_of_(index, hash);
        if (__builtin_expect(index_try_lock_(bucket, &head), 1)) {
            if (__builtin_expect((head ^ __atomic_load_n(&index->cut_bit, __ATOMIC_RELAXED)) & INDEX_CUT, 0))
                index_hand_to_cut_(index, bucket);
            return bucket;
        }
        index_spin_(round);
    }
}

INDEX_INLINE void index_unlock_bucket_(struct index_bucket *bucket)
{
    __atomic_store_n(&bucket->head, __atomic_load_n(&bucket->head, __ATOMIC_RELAXED) & ~INDEX_LOCKED, __ATOMIC_RELEASE);
}

INDEX_INLINE void index_lock(struct index *index, uint64_t hash, struct index_place *place)
{
    *place = (struct index_place){.hash = hash, .bucket = index_lock_bucket_(index, hash), .owner = true};
}

/* Finds the key in the locked bucket: its ref, or 0. */
INDEX_INLINE uint64_t index_seek(struct index_place *place, slice key, index_match *match, const void *context)
{
    uint64_t ref;

    place->slot = index_search_(place->bucket, place->hash, key, match, context, &ref);
    return ref;
}

/* The slow half of index_put: a key that was not there. */
MUST_USE kv_status index_insert_(struct index *index, struct index_place *place, uint64_t ref);

/*
 * Points the key that was sought at `ref`; the ref that it had before is the caller's to retire.  KV_NO_MEMORY only when
 * the key was absent.  After a remove it takes memory never, if nothing else was put into the bucket meanwhile.
 */
INDEX_INLINE kv_status index_put(struct index *index, struct index_place *place, uint64_t ref)
{
    assert(ref && ref <= INDEX_REF_MAX);
    if (!place->slot)
        return index_insert_(index, place, ref);
    __atomic_store_n(place->slot, place->hash << INDEX_REF_BITS | ref, __ATOMIC_RELEASE);
    return KV_OK;
}

/* Removes the key that was sought, if it was there. */
void index_remove(struct index *index, struct index_place *place);

/* May grow the table: hold no other bucket. */
INDEX_INLINE void index_unlock(struct index *index, struct epoch_slot *slot, struct index_place *place)
{
    index_unlock_bucket_(place->bucket);
    if (__builtin_expect(place->grown && index_is_full_(index, place->hash), 0))
        index_grow_(index, slot, place->hash);
}

/* The places of a batch.  Starts with all zero; belongs to one session, which keeps it for the next batch. */
struct index_batch {
    struct index_place *place;
    size_t              count, capacity;
    struct index_order *order;
};

/* Makes room for `count` places and sets batch->count.  Then fill in place[i].hash. */
MUST_USE kv_status index_batch_reserve(struct index_batch *batch, size_t count);
/* Locks all buckets of the batch; then seek, put and remove at each place, in any order.  Two places may share a key:
 * seek just before each change. */
void index_lock_many(struct index *index, struct index_batch *batch);
void index_unlock_many(struct index *index, struct epoch_slot *slot, struct index_batch *batch);
void index_batch_free(struct index_batch *batch);

/* ---- Going through. ---- */

#define INDEX_REFS_AT_ONCE 64

/*
 * The refs of the next buckets at and behind *position, INDEX_REFS_AT_ONCE or a few more if there are so many, and moves
 * *position behind them.  Start with *position 0; refs->count 0 means that there are no more.  Each bucket is seen at one
 * moment, and a key that is live throughout is met exactly once, whatever grows meanwhile.  The epoch may be left between
 * two calls.
 */
MUST_USE kv_status index_next(struct index *index, uint64_t *position, struct index_refs *refs);

/* One consistent view.  The caller sets keep and context; the rest is the index's. */
struct index_cut {
    /* Called for each ref that a writer hands over early, under the lock of its bucket, before it may be displaced: what
     * the ref points to has to stay until the cut has used it.  May be NULL. */
    void (*keep)(void *context, uint64_t ref);
    void             *context;
    pthread_mutex_t   lock;
    struct index_refs early;
    kv_status         status;
    uint64_t          position;
    bool              done;
};

/* While the world is stopped (epoch_pause).  One cut at a time: the caller sees to it. */
void index_cut_begin(struct index *index, struct index_cut *cut);
/* The same for the refs of buckets that no writer has handed over, valid as long as the caller stays inside; count 0:
 * there are no more.  KV_NO_MEMORY, also when a writer found no memory to hand over: the view is lost. */
MUST_USE kv_status index_cut_next(struct index *index, struct index_cut *cut, struct index_refs *refs);
/* Swaps what writers have handed over so far into refs, which must be empty.  Ask from time to time, and after the last
 * index_cut_next. */
void index_cut_early(struct index_cut *cut, struct index_refs *refs);
/* Must be called also when the view was given up half-way; early refs may remain for a last index_cut_early, then
 * index_cut_free. */
void index_cut_end(struct index *index, struct index_cut *cut);
void index_cut_free(struct index_cut *cut);

#endif
