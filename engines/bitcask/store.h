/*
 * store.h -- what the parts of bitcask share: the store, its locks, and who may call whom.
 *
 * Locks, outermost first; none is taken while a later one is held:
 *   commit.turn     applies groups of writes to the keydir in the order of the log         (tier commit)
 *   bucket locks    of the index; make the order of one key the same in log and keydir
 *   sync_lock       one sync of the log at a time; segment.synced, durable_seq going up
 *   log.lock        the tail of the log, sequence numbers, byte counts of segments
 *   segments.lock   which segments there are; queues between the threads
 *   failure.lock    the first sentence
 */
#ifndef ASSAY_ENGINES_BITCASK_STORE_H
#define ASSAY_ENGINES_BITCASK_STORE_H

#include <pthread.h>

#include "engines/base/epoch.h"
#include "engines/base/group.h"
#include "engines/base/index.h"
#include "engines/base/storedir.h"
#include "engines/bitcask/segment.h"
#include "engines/engine.h"

#define BATCH_BYTES_MAX (UINT64_C(1) << 30) /* of the records of one batch */

/* In the order of the rows in bitcask.c. */
enum option_row {
    OPTION_SEGMENT_BYTES,
    OPTION_MERGE,
    OPTION_MERGE_TRIGGER,
    OPTION_MERGE_TRIGGER_BYTES,
    OPTION_MERGE_THRESHOLD,
    OPTION_MERGE_SMALL_BYTES,
    OPTION_DEAD_MAX,
    OPTION_VERIFY_READS,
    OPTION_HINTS,
    OPTION_EXPECTED_KEYS
};

struct options {
    uint64_t segment_bytes;
    bool     merge;
    double   merge_trigger;       /* dead fraction of a segment that starts a merge */
    uint64_t merge_trigger_bytes; /* or its dead bytes */
    double   merge_threshold;     /* dead fraction from which a segment joins a merge */
    uint64_t merge_small_bytes;   /* or its size, below this */
    double   dead_max;            /* dead over live bytes, from which writers wait for merges */
    bool     verify_reads;
    bool     hints;
    uint64_t expected_keys;
};

struct counters { /* atomics, relaxed */
    uint64_t merges, rotations, syncs, hint_loads, hint_writes, stalls, stall_ns, merge_failures, bytes_written;
};

/* The tail of the log. */
struct log {
    pthread_mutex_t lock;
    pthread_cond_t  settled;     /* in_flight has become false */
    bool            in_flight;   /* a leader writes a group at the tail, outside the lock: no other may move it */
    struct segment *active;      /* NULL until the first write */
    struct segment *resume;      /* what the first write continues in, found at open; or NULL */
    bool            resume_hinted; /* it has a hint that says all */
    struct segment *spare;       /* prepared to be the next, under segments.lock */
    uint64_t        tail;        /* offset in active */
    uint64_t        next_seq;
    uint64_t        written_seq; /* last one that a caller's write has; marks do not count */
    uint64_t        spare_at;    /* tail from which the next segment should be prepared */
    uint64_t        live_bytes;  /* keys and values */
    uint64_t        dead_bytes;  /* of all segments, records */
    uint64_t        total_bytes; /* of all segments, records */
    uint64_t        oldest_ns;   /* when the oldest write was made that no sync has begun to cover; 0: none */
};

struct commit_request;

/* Group commit; see commit.c. */
struct commit {
    struct group    queue;
    pthread_mutex_t turn;
    struct buf      bytes;  /* the leader's */
    struct buf      hashes; /* the leader's */
};

struct bitcask {
    struct kv_store      base;
    struct storedir      dir;
    struct options       options;
    struct kv_durability durability;
    bool                 mapped; /* writes are stores into the mapping; else pwrite and fdatasync */
    struct epoch        *epoch;
    struct index        *index; /* made by recovery, which knows how large */
    struct index_ops     index_ops;
    struct segment     **slot; /* SEGMENT_SLOTS; atomic pointers; read inside the epoch */
    struct log           log;
    struct commit        commit;

    pthread_mutex_t snapshot_lock; /* one at a time; outermost */
    pthread_mutex_t sync_lock;
    uint64_t        durable_seq; /* atomic */
    uint64_t        syncing_ns;  /* oldest_ns of what the sync under way covers; atomic; 0: none */
    pthread_mutex_t durable_lock;
    pthread_cond_t  durable_cond; /* a sync ended; or there is something to sync */

    struct {
        pthread_mutex_t  lock;
        pthread_cond_t   cond;  /* anything below changed */
        struct segment **all;   /* count of them, in no order */
        size_t           count, capacity;
        struct segment  *settle_first, **settle_last; /* sealed log segments, oldest first */
        struct segment  *retired;                     /* unlinked, and waiting for snapshots and readers */
        uint64_t         next_id;
        uint64_t         changes;        /* that may be a reason to merge */
        uint64_t         pins;           /* snapshots that may use retired segments */
        bool             want_spare, spare_failed, preparing;
        bool             merging;        /* a merge runs: background or compact */
        uint64_t         merging_bytes;  /* of the background's inputs */
        bool             closing;        /* the keeper and the syncer end when their work is done */
        bool             merger_stops;
    } segments;

    pthread_t keeper, merger, syncer;
    struct epoch_slot *merger_slot;
    bool      keeper_runs, merger_runs, syncer_runs;

    bool            throttled; /* atomic: too many dead bytes, writers wait for the merger a little */
    bool            failed;    /* atomic; the sentence is under the lock */
    pthread_mutex_t failure_lock;
    char            failure[FAIL_BYTES_MAX];
    struct counters counters;
};

struct bitcask_session {
    struct kv_session      base;
    struct epoch_slot     *epoch;
    struct index_batch     batch;
    struct buf             writes; /* struct log_write, of a batch */
    struct buf             value;  /* of modify */
    struct commit_request *request;
};

/* Refs: 16 bits of slot, 32 bits of offset / 8. */

static inline uint64_t ref_make(const struct segment *segment, uint64_t offset)
{
    return (uint64_t)segment->slot << 32 | offset >> 3;
}

static inline struct segment *ref_segment(const struct bitcask *store, uint64_t ref)
{
    return __atomic_load_n(&store->slot[ref >> 32], __ATOMIC_ACQUIRE);
}

static inline uint64_t ref_offset(uint64_t ref)
{
    return (ref & UINT32_MAX) << 3;
}

static inline const struct record *ref_record(const struct bitcask *store, uint64_t ref)
{
    return segment_record(ref_segment(store, ref), ref_offset(ref));
}

/* A record's key, or an empty slice when its lengths lead out of the segment, which only damage does. */
static inline slice ref_key(const struct bitcask *store, uint64_t ref)
{
    const struct segment *segment = ref_segment(store, ref);
    const struct record  *record = segment_record(segment, ref_offset(ref));

    if (ref_offset(ref) + sizeof *record + record->key_size > segment_limit(segment))
        return (slice){0};
    return record_key(record);
}

/* memcmp, without the call where keys are of the usual sizes. */
static inline bool same_bytes(const char *a, const char *b, size_t size)
{
    uint64_t x[2], y[2];

    if (__builtin_expect(size == 16, 1)) {
        __m128i same = _mm_cmpeq_epi8(_mm_loadu_si128((const __m128i *)a), _mm_loadu_si128((const __m128i *)b));
        return _mm_movemask_epi8(same) == 0xffff;
    }
    if (size < 8 || size > 16)
        return memcmp(a, b, size) == 0;
    memcpy(&x[0], a, 8);
    memcpy(&y[0], b, 8);
    memcpy(&x[1], a + size - 8, 8);
    memcpy(&y[1], b + size - 8, 8);
    return ((x[0] ^ y[0]) | (x[1] ^ y[1])) == 0;
}

/* index_match by key; context is the store. */
static inline bool match_key(const void *context, uint64_t ref, slice key)
{
    slice has = ref_key(context, ref);

    return has.size == key.size && same_bytes(has.data, key.data, key.size);
}

/* index_match by ref; context is the ref. */
static inline bool match_ref(const void *context, uint64_t ref, slice key)
{
    (void)key;
    return ref == *(const uint64_t *)context;
}

static inline void count(uint64_t *counter, uint64_t more)
{
    __atomic_fetch_add(counter, more, __ATOMIC_RELAXED);
}

static inline uint64_t durable_seq(const struct bitcask *store)
{
    return __atomic_load_n(&store->durable_seq, __ATOMIC_ACQUIRE);
}

static inline void raise_durable_seq(struct bitcask *store, uint64_t seq)
{
    uint64_t now = durable_seq(store);

    while (now < seq && !__atomic_compare_exchange_n(&store->durable_seq, &now, seq, false, __ATOMIC_RELEASE, __ATOMIC_ACQUIRE))
        continue;
}

/* bitcask.c */

/* Makes the store refuse writes from now on, with the calling thread's sentence if it is the first; returns KV_IO with
 * the first sentence. */
kv_status store_fail(struct bitcask *store);
/* KV_IO with the first sentence. */
kv_status store_refuses(struct bitcask *store);

static inline bool store_failed(const struct bitcask *store)
{
    return __atomic_load_n(&store->failed, __ATOMIC_ACQUIRE);
}

/* log.c */

struct log_write {
    enum record_type type;
    slice            key, value;
    uint64_t         hash;
    uint64_t         old;     /* ref that it displaces, 0: none */
    uint64_t         ref;     /* out */
};

/* Appends the record into the mapping, and counts old as dead; KV_NO_SPACE changes nothing.  Inside the epoch, with the key's bucket locked. */
MUST_USE kv_status log_append(struct bitcask *store, struct log_write *write);
/* All of them as one batch; old is not looked at, see log_displaced. */
MUST_USE kv_status log_append_batch(struct bitcask *store, struct log_write *writes, size_t count);
/* Under log.lock: room for that many bytes at the tail, in a new segment if need be. */
MUST_USE kv_status log_room(struct bitcask *store, uint64_t bytes);
/* Under log.lock: figures of a record just written into the active segment. */
void log_count_write(struct bitcask *store, const struct log_write *write);
/* Under log.lock: so many bytes of callers' records were written, up to next_seq. */
void log_written(struct bitcask *store, uint64_t bytes);
/* Under log.lock: whether writers should wait for the merger. */
void log_check_throttle(struct bitcask *store);
/* Under log.lock: the record is dead now. */
void log_displaced(struct bitcask *store, uint64_t ref);
/* Everything acknowledged before is durable after.  Not under log.lock. */
MUST_USE kv_status log_sync(struct bitcask *store);
/* Seals the active segment, so that merges can take it.  Not under log.lock. */
void log_seal(struct bitcask *store);
/* Waits, within bounds, before a write: for the disk's promise, or for merges. */
MUST_USE kv_status log_back_pressure(struct bitcask *store);
MUST_USE kv_status log_threads_start(struct bitcask *store);
void log_threads_stop(struct bitcask *store);

/* segments.c: which segments there are. */
MUST_USE kv_status segments_add(struct bitcask *store, struct segment *segment);  /* gives it a slot */
void segments_remove(struct bitcask *store, struct segment *segment);             /* from the list; keeps its slot */
void segments_changed(struct bitcask *store);                                     /* wakes the merger; see merge_pick.c */
uint64_t segments_new_id(struct bitcask *store);
/* Frees what is retired and out of sight.  slot is the caller's, outside. */
void segments_reap(struct bitcask *store, struct epoch_slot *slot);

/* recover.c */
MUST_USE kv_status recover(struct bitcask *store, struct epoch_slot *slot);

#endif
