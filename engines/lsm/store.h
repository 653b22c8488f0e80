/*
 * store.h -- what the parts of the tree share: the store, its locks, and who may call whom.
 *
 * What is read is found through one pointer, the view: the memtables and the version of the tree, which together hold every
 * entry.  A view never changes; a rotation, a flush or a compaction makes the next one.  Sessions load it inside the epoch;
 * who needs it for longer (a scan) keeps a reference.  Memtables, logs and tables live as long as some view has them.
 *
 * Locks, outermost first; none is taken while a later one is held:
 *   stripes         of keys: the order of one key's writes is the same in log and memtable; modify holds one over read and write
 *   commit.turn     applies groups of writes in the order of the log                                      (tier commit)
 *   sync_lock       one sync of the logs at a time; the list of sealed logs; durable_seq going up
 *   log.lock        the tail of the log, sequence numbers, the active memtable
 *   tree_lock       one change of version and manifest at a time
 *   view_lock       one change of the view at a time
 *   background.lock what the threads have to do
 *   sessions_lock, failure_lock; the rings of the cache; of a table's descriptor its own, then that of all (files.h)
 */
#ifndef ASSAY_ENGINES_LSM_STORE_H
#define ASSAY_ENGINES_LSM_STORE_H

#include <pthread.h>

#include "engines/base/epoch.h"
#include "engines/base/group.h"
#include "engines/base/storedir.h"
#include "engines/base/ticker.h"
#include "engines/engine.h"
#include "engines/lsm/memtable.h"
#include "engines/lsm/reads.h"
#include "engines/lsm/version.h"
#include "engines/lsm/wal.h"

#define STORE_KIND ((struct storedir_kind){.engine = "lsm", .format = 3, .owns = tree_owns})
bool tree_owns(const char *name); /* lsm.c */

#define STRIPES         48u                  /* few: a batch may hold all of them (and ThreadSanitizer follows up to 64) */
#define MEMTABLES_MAX   16u                  /* immutable ones in a view */
#define BATCH_BYTES_MAX (UINT64_C(1) << 30)  /* of the writes of one batch, with their heads */

enum policy { POLICY_LEVELED, POLICY_SIZE_TIERED, POLICY_COUNT_TIERED };

/* In the order of the rows in lsm.c. */
enum option_row {
    OPTION_MEMTABLE_BYTES,
    OPTION_MEMTABLES,
    OPTION_BLOCK_BYTES,
    OPTION_RESTART_INTERVAL,
    OPTION_ENTRY_LAYOUT,
    OPTION_FILTER_BITS,
    OPTION_FILTER_BITS_LAST,
    OPTION_FILTER_HASHES,
    OPTION_COMPRESSION,
    OPTION_COMPRESS_FROM_LEVEL,
    OPTION_WRITE_BUFFER_BYTES,
    OPTION_REUSE_BUFFERS,
    OPTION_CACHE_BYTES,
    OPTION_OPEN_FILES,
    OPTION_COMPACTION,
    OPTION_RUNS,
    OPTION_LEVEL_BYTES,
    OPTION_LEVEL_RATIO,
    OPTION_TABLE_BYTES,
    OPTION_BUCKET_LOW,
    OPTION_BUCKET_HIGH,
    OPTION_THRESHOLD_MIN,
    OPTION_THRESHOLD_MAX,
    OPTION_SMALL_BYTES,
    OPTION_SLOWDOWN_RUNS,
    OPTION_STOP_RUNS,
    OPTION_RATE,
    OPTION_READS,
    OPTION_MERGE_THREADS,
    OPTION_CACHE
};

struct options {
    uint64_t    memtable_bytes;
    uint32_t    memtables;           /* immutable ones that may wait, before writers do */
    uint32_t    block_bytes, restart_interval, filter_bits, filter_bits_last, write_buffer_bytes;
    enum block_layout  entry_layout;
    enum filter_hashes filter_hashes;
    bool        reuse_buffers;
    bool        lz4;
    uint32_t    compress_from_level;
    uint64_t    cache_bytes;
    uint32_t    open_files;
    enum policy policy;
    uint32_t    runs;                /* of level 0 (leveled), or of a level (count-tiered), that are merged */
    uint64_t    level_bytes;         /* target of level 1 */
    double      level_ratio;
    uint64_t    table_bytes;
    double      bucket_low, bucket_high; /* size-tiered, as Cassandra's */
    uint32_t    threshold_min, threshold_max;
    uint64_t    small_bytes;
    uint32_t    slowdown_runs, stop_runs;
    bool        mmap;                /* blocks are read through mappings of the tables */
    enum reads_way reads;            /* of blocks for many keys */
    uint64_t    rate;                /* bytes a second that compactions write at most; 0: no limit */
    uint32_t    merge_threads;       /* that one merge is split among */
};

struct counters { /* atomics, relaxed */
    uint64_t stalls, stall_ns, delays, delay_ns, imposed_max_ns, late_max_ns, device_stall_ns, device_stall_max_ns, rotations, syncs, flushes, flush_bytes, compactions, compaction_read_bytes,
        compaction_write_bytes, trivial_moves, compaction_failures, checkpoints;
};

struct view {
    uint32_t         references; /* atomic */
    uint32_t         immutables;
    struct memtable *active;
    struct memtable *immutable[MEMTABLES_MAX]; /* the youngest first */
    struct version  *version;
};

struct lsm_session;

struct lsm {
    struct kv_store      base;
    struct storedir      dir;
    struct options       options;
    struct kv_durability durability;
    bool                 mapped; /* the log is written by stores into its mapping; else by pwrite and fdatasync */
    struct epoch        *epoch;
    struct cache        *cache;
    struct view         *view;       /* atomic pointer */
    uint32_t             immutables; /* atomic: of the view */
    pthread_mutex_t      view_lock;

    struct {
        pthread_mutex_t  lock;
        pthread_cond_t   landed;    /* in_flight has become false */
        bool             in_flight; /* a leader writes a group at the tail, outside the lock: no other may move it */
        struct wal      *wal;       /* NULL until the first write */
        struct memtable *memtable;  /* the view's active one */
        uint64_t         next_seq;
        uint64_t         last_seq;  /* atomic: of the last write that has its number; see visible_seq */
    } log;

    pthread_mutex_t stripe[STRIPES];

    struct {
        struct group    queue;
        pthread_mutex_t turn;
        struct buf      bytes; /* the leader's */
    } commit;

    pthread_mutex_t sync_lock;
    struct wal     *sealed, **sealed_last; /* logs behind the active one's back, oldest first; added to under background.lock */
    uint64_t        durable_seq;           /* atomic */
    bool            many_logs;             /* recovery found more than should be kept */
    struct ticker  *ticker;

    pthread_mutex_t tree_lock;
    struct version *tree;     /* the view's; under tree_lock */
    struct manifest manifest; /* under tree_lock; next_id: see file_id */
    uint64_t        next_id;  /* atomic */

    struct {
        pthread_mutex_t  lock;
        pthread_cond_t   cond;  /* anything here changed */
        struct wal      *spare;
        struct memtable *spare_memtable;
        bool             want_spare, preparing;
        bool             flush_all;    /* also a small memtable, and the only one */
        kv_status        flush_status; /* why the oldest memtable cannot be written out just now */
        bool             compacting;  /* a compaction runs: the thread's or compact's */
        uint64_t         compaction_debt; /* bytes */
        uint32_t         log_readers; /* checkpoints that copy logs: none is forgotten meanwhile */
        uint64_t         changes;     /* that may be a reason to flush or to compact */
        bool             closing, compactor_stops, manual; /* manual: compact has the tree for itself */
    } background;
    pthread_t flusher, compactor;
    bool      flusher_runs, compactor_runs;
    struct epoch_slot *flusher_slot, *compactor_slot;

    /* Back-pressure: what writers must take for a KiB, all sessions together, so that merges and flushes keep up. */
    uint64_t           run_delay_ns, flush_delay_ns; /* atomics: a KiB; the larger one counts */
    uint64_t           paced_until_ns;               /* atomic: the next write that is held up begins then */
    uint64_t           flush_ns_per_kib;             /* of the last flushes; the flusher's */
    struct device_time device;                       /* the flusher's */

    pthread_mutex_t     sessions_lock;
    struct lsm_session *sessions;

    bool            failed; /* atomic; the sentence is under the lock */
    pthread_mutex_t failure_lock;
    char            failure[FAIL_BYTES_MAX];
    struct counters counters;
};

struct commit_request {
    struct group_request        base;
    const struct entry         *entries; /* their seq is set by the leader */
    const uint64_t             *hashes;
    size_t                      count;
    bool                        conditional; /* one entry: only if the key's newest version is `expected` (0: there is none) */
    uint64_t                    expected;
    bool                        lost;        /* out: it was not */
    char                        said[FAIL_BYTES_MAX]; /* out: the sentence of a failure, which was the leader's */
};

struct lsm_session {
    struct kv_session     base;
    struct lsm_session   *next, **link;
    struct epoch_slot    *epoch;
    uint64_t              writing_seq; /* atomic: the first number that this session has taken and not yet put; 0: none */
    uint64_t              owed_ns;     /* of delays, not yet waited for */
    struct commit_request request;
    struct buf            entries, hashes, places, value, frames;
    struct reads         *reads; /* NULL until the first that waits for the disk */
};

static inline struct lsm *lsm_of(struct kv_session *session)
{
    return (struct lsm *)session->store;
}

static inline void count(uint64_t *counter, uint64_t more)
{
    __atomic_fetch_add(counter, more, __ATOMIC_RELAXED);
}

static inline uint64_t durable_seq(const struct lsm *store)
{
    return __atomic_load_n(&store->durable_seq, __ATOMIC_ACQUIRE);
}

static inline void raise_durable_seq(struct lsm *store, uint64_t seq)
{
    uint64_t now = durable_seq(store);

    while (now < seq && !__atomic_compare_exchange_n(&store->durable_seq, &now, seq, false, __ATOMIC_RELEASE, __ATOMIC_ACQUIRE))
        continue;
}

static inline uint64_t file_id(struct lsm *store)
{
    return __atomic_fetch_add(&store->next_id, 1, __ATOMIC_RELAXED);
}

/* lsm.c */

/* Makes the store refuse writes from now on, with the calling thread's sentence if it is the first; KV_IO. */
kv_status tree_fail(struct lsm *store);
kv_status tree_refuses(struct lsm *store); /* KV_IO with the first sentence */
static inline bool tree_failed(const struct lsm *store)
{
    return __atomic_load_n(&store->failed, __ATOMIC_ACQUIRE);
}

/* view.c */

/* Inside the epoch. */
static inline struct view *view_now(const struct lsm *store)
{
    return __atomic_load_n(&store->view, __ATOMIC_ACQUIRE);
}
/* The current view, kept; view_release it.  Outside the epoch. */
struct view *view_keep(struct lsm *store, struct epoch_slot *slot);
void view_release(struct view *view); /* NULL is fine */
/* The first view of a store. */
MUST_USE kv_status view_first(struct lsm *store, const struct view *first);
/* Room for one view, with which view_rotate cannot fail: to be had before anything is done that asks for it.  free() gives it back. */
MUST_USE kv_status view_reserve(struct epoch_slot *slot, struct view **room);
/* Publishes a view with this active memtable; the old one becomes immutable, or goes if it is empty.  slot is the caller's. */
void view_rotate(struct lsm *store, struct epoch_slot *slot, struct view *room, struct memtable *active);
/* Publishes a view with this version, and without this memtable (NULL: all stay). */
MUST_USE kv_status view_install(struct lsm *store, struct epoch_slot *slot, struct version *version, struct memtable *gone);
/* Waits, shortly, until every write that has its number now can be found; returns the last of these numbers. */
uint64_t visible_seq(struct lsm *store);

/* log.c */

/* Writes entries as one group, and makes them visible; sets their seq.  Tiers below commit; the keys' stripes are held. */
MUST_USE kv_status log_write(struct lsm_session *session, struct entry *entries, const uint64_t *hashes, size_t count);
/* The same for tier commit: together with what other sessions write, with one sync. */
MUST_USE kv_status log_commit(struct lsm_session *session);
/* Everything that was acknowledged before is durable after. */
MUST_USE kv_status tree_sync(struct lsm *store);
/* Begins a new memtable and log, if the current ones are not empty. */
MUST_USE kv_status log_rotate(struct lsm *store, struct epoch_slot *slot);
/* After a write, outside of all locks: frees what a change of memtables has retired, for a session that only writes. */
static inline void log_tidy(struct epoch_slot *slot)
{
    if (__builtin_expect(slot->count > 0, 0))
        epoch_collect(slot, false);
}
/* Waits, within bounds, before a write of so many bytes: for flushes and compactions. */
MUST_USE kv_status tree_back_pressure(struct lsm_session *session, uint64_t bytes);
/* The memtables that wait have become more or fewer. */
void log_set_delay(struct lsm *store);
/* Of the log of a memtable of that size: an entry has fewer bytes in it than in the arena, but each put its group's head. */
uint64_t log_capacity(uint64_t arena);
/* A log that is ready and named; NULL, with a sentence, when it cannot be had. */
struct wal *log_create(struct lsm *store, uint64_t capacity);
/* The logs up to this one are in tables: forgets them, and removes the files, or (tier commit) makes the next log of one; later,
 * while somebody copies logs. */
void log_forget(struct lsm *store, uint64_t id);

/* flush.c */
MUST_USE kv_status flusher_start(struct lsm *store);
void flusher_stop(struct lsm *store);
/* Waits until all memtables but the active one are tables. */
MUST_USE kv_status flush_wait(struct lsm *store);
uint64_t flush_debt(struct lsm *store, struct epoch_slot *slot);

/* Options of a table of that level. */
struct table_options table_options_of(const struct lsm *store, uint32_t level, uint64_t base_seq, bool last);
/* Under tree_lock: makes the version durable and current, then takes `gone` out of the view.  Takes over the version. */
MUST_USE kv_status tree_install(struct lsm *store, struct epoch_slot *slot, struct version *version, const struct manifest *manifest,
                                struct memtable *gone);

/* Has the manifest name the logs that are there, so that one is missed if it is ever gone. */
enum naming {
    LOG_FOLLOWS,  /* a new one waits for its turn */
    LOG_REPLACES, /* the same instead of the one that waited */
    LOG_GOES,     /* is about to be removed */
    LOG_ALONE     /* no other need be; 0: none at all */
};
MUST_USE kv_status tree_name_log(struct lsm *store, uint64_t id, enum naming naming);

/* compact.c */
MUST_USE kv_status compactor_start(struct lsm *store);
void compactor_stop(struct lsm *store);
void compactor_wake(struct lsm *store);
/* The runs of the tree have become more or fewer. */
void compact_set_delay(struct lsm *store, const struct version *version);
/* Merges the whole tree into one run of its last level. */
MUST_USE kv_status compact_everything(struct lsm *store, struct epoch_slot *slot);

/* checkpoint.c */

/* The contract's: a store in dir, which is absent. */
kv_status lsm_checkpoint(struct kv_session *session, const char *dir);

/* recover.c */
MUST_USE kv_status tree_recover(struct lsm *store, struct epoch_slot *slot);

/* read.c */

/* Inside the epoch: the newest version of the key that is not younger than seq, tombstones too.  KV_NOT_FOUND: never written. */
MUST_USE kv_status tree_find(const struct lsm *store, const struct view *view, struct epoch_slot *slot, slice key, uint64_t hash,
                        uint64_t seq, struct entry *out);

#endif
