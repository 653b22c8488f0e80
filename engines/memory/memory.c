/*
 * memory.c -- a concurrent hash table in memory: the speed ceiling for the engines that keep their data.
 *
 * Shape       The index (base/index.h) maps a key's hash to the address of its record; a record is a header of 8 bytes, the
 *             key and the value, in one block of the pool.  A record never changes once it is in the index.
 * Write       Put makes a new record, points the index at it under the lock of the bucket, and retires the old record
 *             through the epoch.  A batch locks the buckets of all its keys; when memory runs out in the middle it undoes
 *             what it did.  Modify calls back under the lock of the bucket.
 * Read        No lock, no shared counter: enter the epoch, one miss for the bucket, one for the record, lend the value.
 *             get_many has the misses of 32 keys in flight at once.
 * Scan        Every live key once, in hash order.  Keys that come or go meanwhile may be met or not.
 * Snapshot    The world is stopped for the moment in which the index's cut begins, so a batch is in it whole or not at
 *             all.  A bucket that a writer reaches before the snapshot is handed over with its records marked `kept`: a
 *             kept record that is displaced is not retired by the writer but by the snapshot, after it was written out.
 *             So memory grows by the live records that are overwritten meanwhile, at most by the live bytes.
 * Durability  None: the data is gone at close.  There is no directory.
 * Figures     live_keys, live_bytes, memory_bytes (index and pool).
 * Not done    Memory goes back to the system at close only (pool.h); the index does not shrink.
 */
#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "engines/base/epoch.h"
#include "engines/base/index.h"
#include "engines/base/snapshot.h"
#include "engines/engine.h"
#include "engines/memory/pool.h"

#define GROUP 32 /* keys of get_many whose misses overlap: more than a core can have in flight */

enum kept { KEPT_NOT, KEPT, KEPT_DISPLACED };

struct record {
    uint32_t value_bytes;
    uint16_t key_bytes;
    uint8_t  class; /* of the pool */
    uint8_t  kept;  /* enum kept; the lock of the key's bucket protects it */
    char     bytes[]; /* key, value */
};

struct memory_store {
    struct kv_store        base;
    struct index          *index;
    struct epoch          *epoch;
    struct pool           *pool;
    pthread_mutex_t        snapshot; /* one at a time */
    pthread_mutex_t        lock;     /* sessions, closed_bytes */
    struct memory_session *sessions;
    int64_t                closed_bytes; /* live_bytes of closed sessions */
};

struct memory_session {
    struct kv_session      base;
    struct memory_store   *store;
    struct index          *index;
    struct epoch_slot     *slot;
    int64_t                live_bytes; /* put less removed by this session; only the sum over all means something */
    struct index_batch     batch;
    uint64_t              *batch_new, *batch_old; /* refs; batch_capacity of each */
    size_t                 batch_capacity;
    struct memory_session *next, **link;
    struct pool_cache      pool;
};

/* Records. */

static inline struct record *record_of(uint64_t ref)
{
    return (struct record *)(uintptr_t)ref;
}

static inline uint64_t ref_of(const struct record *record)
{
    return (uintptr_t)record;
}

static inline slice key_of(const struct record *record)
{
    return slice_of(record->bytes, record->key_bytes);
}

static inline slice value_of(const struct record *record)
{
    return slice_of(record->bytes + record->key_bytes, record->value_bytes);
}

/* The same for a record whose key is known to be of that size: its second line can be asked for before the first is there. */
static inline slice value_behind(const struct record *record, size_t key_bytes)
{
    return slice_of(record->bytes + key_bytes, record->value_bytes);
}

static inline size_t bytes_of(const struct record *record)
{
    return sizeof *record + record->key_bytes + record->value_bytes;
}

static inline uint64_t words_differ(const char *a, const char *b)
{
    uint64_t first, second;

    memcpy(&first, a, sizeof first);
    memcpy(&second, b, sizeof second);
    return first ^ second;
}

/* Keys are of 8 to 16 bytes most often: comparing two words in line beats a call of memcmp. */
static inline bool key_matches(const void *context, uint64_t ref, slice key)
{
    const struct record *record = record_of(ref);
    const char          *a = record->bytes, *b = key.data;

    (void)context;
    if (record->key_bytes != key.size)
        return false;
    if (__builtin_expect(key.size - 8 > 8, 0))
        return memcmp(a, b, key.size) == 0;
    return (words_differ(a, b) | words_differ(a + key.size - 8, b + key.size - 8)) == 0;
}

static bool hash_of(void *context, uint64_t ref, uint64_t *hash)
{
    (void)context;
    *hash = index_hash(key_of(record_of(ref)));
    return true;
}

static void prefetch(void *context, uint64_t ref)
{
    (void)context;
    __builtin_prefetch(record_of(ref));
}

static struct record *new_record(struct memory_session *session, slice key, slice value)
{
    uint8_t        class;
    struct record *record = pool_take(&session->pool, sizeof *record + key.size + value.size, &class);

    if (!record) {
        kv_fail(KV_NO_MEMORY, "no memory for a record of %zu bytes", sizeof *record + key.size + value.size);
        return NULL;
    }
    assert(ref_of(record) <= INDEX_REF_MAX);
    *record = (struct record){(uint32_t)value.size, (uint16_t)key.size, class, KEPT_NOT};
    memcpy(record->bytes, key.data, key.size);
    if (value.size)
        memcpy(record->bytes + key.size, value.data, value.size);
    return record;
}

static void give_record(void *context, void *pointer)
{
    struct memory_session *session = context;
    struct record         *record = pointer;

    pool_give(&session->pool, record, bytes_of(record), record->class);
}

static void count_bytes(struct memory_session *session, int64_t bytes)
{
    __atomic_store_n(&session->live_bytes, session->live_bytes + bytes, __ATOMIC_RELAXED);
}

static int64_t live_bytes_of(uint64_t ref)
{
    return ref ? record_of(ref)->key_bytes + (int64_t)record_of(ref)->value_bytes : 0;
}

/* For a record that the index no longer points at; its bucket is still locked. */
static void displace(struct memory_session *session, uint64_t ref)
{
    struct record *record = record_of(ref);

    if (!ref)
        return;
    if (__builtin_expect(record->kept != KEPT_NOT, 0))
        record->kept = KEPT_DISPLACED;
    else
        epoch_retire(session->slot, record, bytes_of(record), give_record, session);
}

/* Stores and sessions. */

static kv_status memory_close(struct kv_store *base)
{
    struct memory_store *store = (struct memory_store *)base;
    struct index_refs    refs = {0};
    uint64_t             position = 0;

    assert(!store->sessions);
    while (store->index) {
        if (index_next(store->index, &position, &refs) != KV_OK || !refs.count)
            break;
        for (size_t i = 0; i < refs.count; i++)
            if (record_of(refs.ref[i])->class == POOL_MALLOC)
                free(record_of(refs.ref[i]));
    }
    free(refs.ref);
    index_close(store->index);
    pool_close(store->pool);
    epoch_close(store->epoch);
    pthread_mutex_destroy(&store->snapshot);
    pthread_mutex_destroy(&store->lock);
    free(store);
    return KV_OK;
}

enum { OPTION_EXPECTED_KEYS };

static const struct kv_option options[] = {
    [OPTION_EXPECTED_KEYS] = {"expected_keys", KV_COUNT, "0", 0, 1e11, "the index starts with room for so many keys"},
    {0},
};

static kv_status memory_open(const struct kv_config *config, struct kv_store **out)
{
    struct index_ops     ops = {.hash_of = hash_of, .prefetch = prefetch};
    struct memory_store *store = calloc(1, sizeof *store);
    kv_status            status;

    if (!store)
        return kv_fail(KV_NO_MEMORY, "no memory for a store");
    pthread_mutex_init(&store->snapshot, NULL);
    pthread_mutex_init(&store->lock, NULL);
    if ((status = epoch_open(&store->epoch)) == KV_OK && (status = pool_open(&store->pool)) == KV_OK)
        status = index_open(store->epoch, &ops, config->option[OPTION_EXPECTED_KEYS].u64, &store->index);
    if (status != KV_OK) {
        memory_close(&store->base);
        return status;
    }
    *out = &store->base;
    return KV_OK;
}

static kv_status memory_session_open(struct kv_store *base, struct kv_session **out)
{
    struct memory_store   *store = (struct memory_store *)base;
    size_t                 bytes = (sizeof(struct memory_session) + 127) / 128 * 128; /* no cache line shared */
    struct memory_session *session = aligned_alloc(128, bytes);
    kv_status              status;

    if (!session)
        return kv_fail(KV_NO_MEMORY, "no memory for a session");
    *session = (struct memory_session){.store = store, .index = store->index};
    if ((status = epoch_slot_open(store->epoch, &session->slot)) != KV_OK) {
        free(session);
        return status;
    }
    pool_cache_open(store->pool, &session->pool);
    pthread_mutex_lock(&store->lock);
    session->next = store->sessions;
    session->link = &store->sessions;
    if (session->next)
        session->next->link = &session->next;
    store->sessions = session;
    pthread_mutex_unlock(&store->lock);
    *out = &session->base;
    return KV_OK;
}

static void memory_session_close(struct kv_session *base)
{
    struct memory_session *session = (struct memory_session *)base;
    struct memory_store   *store = session->store;

    epoch_slot_close(session->slot); /* gives records to the pool */
    pool_cache_close(&session->pool);
    pthread_mutex_lock(&store->lock);
    store->closed_bytes += session->live_bytes;
    *session->link = session->next;
    if (session->next)
        session->next->link = session->link;
    pthread_mutex_unlock(&store->lock);
    index_batch_free(&session->batch);
    free(session->batch_new);
    free(session->batch_old);
    free(session);
}

/* Single operations. */

static kv_status memory_put(struct kv_session *base, slice key, slice value)
{
    struct memory_session *session = (struct memory_session *)base;
    uint64_t               hash = index_hash(key), old;
    struct index_place     place;
    struct record         *record;
    kv_status              status;

    epoch_enter(session->slot);
    /* The old record, if there is one, comes while the new one is made.  After the lock would be late: an atomic
     * instruction waits for all before it, and all behind it wait for it. */
    old = index_candidate(session->index, hash);
    if (old)
        prefetch(NULL, old);
    record = new_record(session, key, value);
    if (!record) {
        epoch_exit(session->slot);
        return KV_NO_MEMORY;
    }
    index_lock(session->index, hash, &place);
    old = index_seek(&place, key, key_matches, NULL);
    status = index_put(session->index, &place, ref_of(record));
    if (status == KV_OK) {
        count_bytes(session, live_bytes_of(ref_of(record)) - live_bytes_of(old));
        displace(session, old);
    }
    index_unlock(session->index, session->slot, &place);
    epoch_exit(session->slot);
    if (status != KV_OK)
        give_record(session, record);
    return status;
}

static kv_status memory_get(struct kv_session *base, slice key, kv_visit *visit, void *arg)
{
    struct memory_session *session = (struct memory_session *)base;
    uint64_t               hash = index_hash(key), ref;

    epoch_enter(session->slot);
    ref = index_find(session->index, hash, key, key_matches, NULL);
    if (ref)
        visit(arg, key, value_behind(record_of(ref), key.size));
    epoch_exit_reader(session->slot);
    return ref ? KV_OK : KV_NOT_FOUND;
}

static kv_status memory_del(struct kv_session *base, slice key)
{
    struct memory_session *session = (struct memory_session *)base;
    uint64_t               hash = index_hash(key), old;
    struct index_place     place;

    epoch_enter(session->slot);
    index_lock(session->index, hash, &place);
    old = index_seek(&place, key, key_matches, NULL);
    index_remove(session->index, &place);
    count_bytes(session, -live_bytes_of(old));
    displace(session, old);
    index_unlock(session->index, session->slot, &place);
    epoch_exit(session->slot);
    return KV_OK;
}

/* Up to GROUP keys: all buckets are asked for, then all records, then all is there. */
static void get_group(struct memory_session *session, const slice *keys, size_t position, size_t count,
                      kv_visit_many *visit, void *arg)
{
    uint64_t hash[GROUP], ref[GROUP];

    epoch_enter(session->slot);
    for (size_t i = 0; i < count; i++) {
        hash[i] = index_hash(keys[i]);
        index_prefetch(session->index, hash[i]);
    }
    for (size_t i = 0; i < count; i++) {
        ref[i] = index_candidate(session->index, hash[i]);
        if (ref[i]) {
            __builtin_prefetch(record_of(ref[i]));
            __builtin_prefetch((char *)record_of(ref[i]) + 64);
        }
    }
    for (size_t i = 0; i < count; i++) {
        if (__builtin_expect(!ref[i] || !key_matches(NULL, ref[i], keys[i]), 0))
            ref[i] = index_find(session->index, hash[i], keys[i], key_matches, NULL);
        visit(arg, position + i, ref[i] ? KV_OK : KV_NOT_FOUND, ref[i] ? value_of(record_of(ref[i])) : (slice){0});
    }
    epoch_exit_reader(session->slot);
}

static kv_status memory_get_many(struct kv_session *base, const slice *keys, size_t count, kv_visit_many *visit, void *arg)
{
    for (size_t i = 0; i < count; i += GROUP)
        get_group((struct memory_session *)base, keys + i, i, count - i < GROUP ? count - i : GROUP, visit, arg);
    return KV_OK;
}

static kv_status memory_modify(struct kv_session *base, slice key, kv_change *change, void *arg)
{
    struct memory_session *session = (struct memory_session *)base;
    uint64_t               hash = index_hash(key), old;
    struct index_place     place;
    struct record         *record = NULL;
    struct buf             value = {0};
    slice                  before;
    kv_status              status;

    epoch_enter(session->slot);
    index_lock(session->index, hash, &place);
    old = index_seek(&place, key, key_matches, NULL);
    if (old)
        before = value_of(record_of(old));
    status = change(arg, old ? &before : NULL, &value);
    if (status == KV_OK && value.size > KV_VALUE_BYTES_MAX)
        status = kv_fail(KV_TOO_LARGE, "a value of %zu bytes; engine memory takes up to %u", value.size, KV_VALUE_BYTES_MAX);
    if (status == KV_OK && !(record = new_record(session, key, buf_slice(&value))))
        status = KV_NO_MEMORY;
    if (status == KV_OK && (status = index_put(session->index, &place, ref_of(record))) == KV_OK) {
        count_bytes(session, live_bytes_of(ref_of(record)) - live_bytes_of(old));
        displace(session, old);
        record = NULL;
    }
    index_unlock(session->index, session->slot, &place);
    epoch_exit(session->slot);
    if (record)
        give_record(session, record);
    buf_free(&value);
    return status;
}

/* Batches. */

static kv_status reserve_batch(struct memory_session *session, size_t count)
{
    if (count > session->batch_capacity) {
        uint64_t *new = realloc(session->batch_new, count * sizeof *new), *old;
        if (new)
            session->batch_new = new;
        old = new ? realloc(session->batch_old, count * sizeof *old) : NULL;
        if (!old)
            return kv_fail(KV_NO_MEMORY, "no memory for a batch of %zu", count);
        session->batch_old = old;
        session->batch_capacity = count;
    }
    TRY(epoch_reserve(session->slot, count));
    return index_batch_reserve(&session->batch, count);
}

/* The change that write i asks for, remembered so that it can be undone. */
static kv_status apply(struct memory_session *session, const struct kv_write *write, size_t i)
{
    struct index_place *place = &session->batch.place[i];

    session->batch_old[i] = index_seek(place, write->key, key_matches, NULL);
    if (write->kind == KV_PUT)
        return index_put(session->index, place, session->batch_new[i]);
    index_remove(session->index, place);
    return KV_OK;
}

/* In reverse order this takes no memory: what it puts back has its slot, or finds the one that the removal left. */
static void undo(struct memory_session *session, const struct kv_write *write, size_t i)
{
    struct index_place *place = &session->batch.place[i];
    kv_status           status = KV_OK;

    index_seek(place, write->key, key_matches, NULL);
    if (session->batch_old[i])
        status = index_put(session->index, place, session->batch_old[i]);
    else
        index_remove(session->index, place);
    assert(status == KV_OK);
}

static kv_status memory_write(struct kv_session *base, const struct kv_write *writes, size_t count)
{
    struct memory_session *session = (struct memory_session *)base;
    kv_status              status = reserve_batch(session, count);
    size_t                 made = 0, applied = 0;

    for (; made < count && status == KV_OK; made++) {
        struct record *record = NULL;
        session->batch.place[made].hash = index_hash(writes[made].key);
        if (writes[made].kind == KV_PUT && !(record = new_record(session, writes[made].key, writes[made].value)))
            status = KV_NO_MEMORY;
        session->batch_new[made] = ref_of(record);
    }
    if (status == KV_OK) {
        epoch_enter(session->slot);
        index_lock_many(session->index, &session->batch);
        while (applied < count && (status = apply(session, &writes[applied], applied)) == KV_OK)
            applied++;
        for (size_t i = 0; i < count && status == KV_OK; i++) {
            count_bytes(session, live_bytes_of(session->batch_new[i]) - live_bytes_of(session->batch_old[i]));
            displace(session, session->batch_old[i]);
        }
        while (status != KV_OK && applied > 0) {
            applied--;
            undo(session, &writes[applied], applied);
            displace(session, session->batch_new[applied]); /* somebody may have read it meanwhile */
            session->batch_new[applied] = 0;
        }
        index_unlock_many(session->index, session->slot, &session->batch);
        epoch_exit(session->slot);
    }
    for (size_t i = 0; i < made && status != KV_OK; i++)
        if (session->batch_new[i])
            give_record(session, record_of(session->batch_new[i]));
    return status;
}

/* Going through everything. */

static kv_status memory_scan(struct kv_session *base, slice first, kv_visit *visit, void *arg)
{
    struct memory_session *session = (struct memory_session *)base;
    struct index_refs      refs = {0};
    uint64_t               position = 0;
    kv_status              status;
    bool                   more = true;

    (void)first; /* empty: there is no order */
    do {
        epoch_enter(session->slot);
        status = index_next(session->index, &position, &refs);
        for (size_t i = 0; i < refs.count; i++)
            prefetch(NULL, refs.ref[i]);
        for (size_t i = 0; i < refs.count && more && status == KV_OK; i++)
            more = visit(arg, key_of(record_of(refs.ref[i])), value_of(record_of(refs.ref[i])));
        epoch_exit(session->slot);
    } while (status == KV_OK && more && refs.count);
    free(refs.ref);
    return status;
}

static void keep(void *context, uint64_t ref)
{
    (void)context;
    record_of(ref)->kept = KEPT;
}

/* The records that writers handed over: writes them out if all is well so far, and lets go of them in any case. */
static kv_status write_early(struct memory_session *session, struct index_cut *cut, struct index_refs *refs,
                             struct snapshot_writer *writer, kv_status status)
{
    refs->count = 0;
    index_cut_early(cut, refs);
    for (size_t i = 0; i < refs->count; i++) {
        struct record     *record = record_of(refs->ref[i]);
        struct index_place place;
        if (status == KV_OK)
            status = snapshot_writer_add(writer, key_of(record), value_of(record));
        if (status == KV_OK)
            status = snapshot_writer_flush(writer);
        epoch_enter(session->slot);
        index_lock(session->index, index_hash(key_of(record)), &place);
        if (record->kept == KEPT_DISPLACED)
            epoch_retire(session->slot, record, bytes_of(record), give_record, session);
        else
            record->kept = KEPT_NOT;
        index_unlock(session->index, session->slot, &place);
        epoch_exit(session->slot);
    }
    refs->count = 0;
    return status;
}

/* Copies some records, inside, and writes them, outside: a slow reader of the stream keeps no memory from being freed. */
static kv_status write_next(struct memory_session *session, struct index_cut *cut, struct index_refs *refs,
                            struct snapshot_writer *writer)
{
    kv_status status;

    epoch_enter(session->slot);
    status = index_cut_next(session->index, cut, refs);
    for (size_t i = 0; i < refs->count; i++)
        prefetch(NULL, refs->ref[i]);
    for (size_t i = 0; i < refs->count && status == KV_OK; i++)
        status = snapshot_writer_add(writer, key_of(record_of(refs->ref[i])), value_of(record_of(refs->ref[i])));
    epoch_exit(session->slot);
    return status == KV_OK ? snapshot_writer_flush(writer) : status;
}

static kv_status memory_snapshot(struct kv_session *base, int fd)
{
    struct memory_session *session = (struct memory_session *)base;
    struct memory_store   *store = session->store;
    struct index_cut       cut = {.keep = keep};
    struct index_refs      refs = {0}, early = {0};
    struct snapshot_writer writer;
    kv_status              status = snapshot_writer_open(&writer, fd);

    pthread_mutex_lock(&store->snapshot);
    epoch_pause(store->epoch);
    index_cut_begin(store->index, &cut);
    epoch_resume(store->epoch);
    do {
        if (status == KV_OK)
            status = write_next(session, &cut, &refs, &writer);
        status = write_early(session, &cut, &early, &writer, status);
    } while (status == KV_OK && refs.count);
    epoch_enter(session->slot);
    index_cut_end(store->index, &cut);
    epoch_exit(session->slot);
    status = write_early(session, &cut, &early, &writer, status);
    index_cut_free(&cut);
    pthread_mutex_unlock(&store->snapshot);
    if (status == KV_OK)
        status = snapshot_writer_end(&writer);
    snapshot_writer_free(&writer);
    free(refs.ref);
    free(early.ref);
    return status;
}

static kv_status memory_sync(struct kv_session *session)
{
    (void)session; /* what is acknowledged is as durable as it gets */
    return KV_OK;
}

static void memory_stats(struct kv_store *base, kv_figure *figure, void *arg)
{
    struct memory_store *store = (struct memory_store *)base;
    int64_t              bytes;

    pthread_mutex_lock(&store->lock);
    bytes = store->closed_bytes;
    for (struct memory_session *session = store->sessions; session; session = session->next)
        bytes += __atomic_load_n(&session->live_bytes, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&store->lock);
    figure(arg, "live_keys", index_count(store->index));
    figure(arg, "live_bytes", bytes > 0 ? (uint64_t)bytes : 0);
    figure(arg, "memory_bytes", index_memory_bytes(store->index) + pool_bytes(store->pool));
}

const struct kv_engine memory_engine = {
    .abi             = KV_ABI,
    .name            = "memory",
    .version         = "1",
    .summary         = "a concurrent hash table in memory: the speed ceiling",
    .can             = KV_RETAINS | KV_SCAN | KV_BATCH | KV_SNAPSHOT | KV_MODIFY | KV_SESSIONS,
    .tiers           = 0,
    .key_bytes_max   = KV_KEY_BYTES_MAX,
    .value_bytes_max = KV_VALUE_BYTES_MAX,
    .options         = options,
    .open            = memory_open,
    .close           = memory_close,
    .session_open    = memory_session_open,
    .session_close   = memory_session_close,
    .put             = memory_put,
    .get             = memory_get,
    .get_many        = memory_get_many,
    .modify          = memory_modify,
    .del             = memory_del,
    .write           = memory_write,
    .scan            = memory_scan,
    .sync            = memory_sync,
    .snapshot        = memory_snapshot,
    .stats           = memory_stats,
};
