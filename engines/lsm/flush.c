/*
 * flush.c -- the thread that turns memtables into tables of level 0, oldest first, and prepares the next memtable and log.
 *
 * A table is synced, and its name is, before the manifest names it; the manifest is durable before the memtable leaves the
 * view and its log is removed.  So at every moment each acknowledged write is in a log that is kept or in a table that the
 * manifest names.
 */
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "common/clock.h"
#include "engines/lsm/iterate.h"
#include "engines/lsm/store.h"

#define RETRY_NS (100 * NS_PER_MS)

struct table_options table_options_of(const struct lsm *store, uint32_t level, uint64_t base_seq, bool last)
{
    const struct options *options = &store->options;

    return (struct table_options){
        .block_bytes = options->block_bytes,
        .restart_interval = options->restart_interval,
        .filter_bits = last ? options->filter_bits_last : options->filter_bits,
        .filter_hashes = options->filter_hashes,
        .layout = options->entry_layout,
        .buffer_bytes = options->write_buffer_bytes,
        .reuse_buffers = options->reuse_buffers,
        .lz4 = options->lz4 && level >= options->compress_from_level,
        .base_seq = base_seq,
    };
}

kv_status tree_install(struct lsm *store, struct epoch_slot *slot, struct version *version, const struct manifest *manifest,
                       struct memtable *gone)
{
    struct manifest     next = *manifest;
    struct device_time *device = slot == store->flusher_slot ? &store->device : NULL;
    kv_status           status;

    next.next_id = __atomic_load_n(&store->next_id, __ATOMIC_RELAXED);
    if (next.durable_seq < durable_seq(store))
        next.durable_seq = durable_seq(store);
    device_time_begin(device);
    status = manifest_write(store->dir.path, &next, version);
    device_time_end(device);
    if (status == KV_OK && view_install(store, slot, version, gone) != KV_OK)
        status = KV_IO; /* what is read would not be what the manifest says */
    if (status == KV_OK)
        store->tree = version;
    version_release(version); /* the view has it */
    if (status != KV_OK)
        return status == KV_IO ? tree_fail(store) : status;
    store->manifest = next;
    compact_set_delay(store, version);
    pthread_mutex_lock(&store->background.lock);
    store->background.changes++;
    pthread_cond_broadcast(&store->background.cond);
    pthread_mutex_unlock(&store->background.lock);
    return KV_OK;
}

kv_status tree_name_log(struct lsm *store, uint64_t id, enum naming naming)
{
    struct manifest next;
    kv_status       status;

    pthread_mutex_lock(&store->tree_lock);
    next = store->manifest;
    next.next_id = __atomic_load_n(&store->next_id, __ATOMIC_RELAXED);
    if (next.durable_seq < durable_seq(store)) /* recovery has not raised it yet */
        next.durable_seq = durable_seq(store);
    if (naming == LOG_GOES) {
        next.youngest_log = next.youngest_log == id ? 0 : next.youngest_log;
        next.log_before = next.log_before == id ? 0 : next.log_before;
    } else {
        next.log_before = naming == LOG_FOLLOWS ? next.youngest_log : naming == LOG_ALONE ? 0 : next.log_before;
        next.youngest_log = id;
    }
    status = manifest_write(store->dir.path, &next, store->tree);
    if (status == KV_OK)
        store->manifest = next;
    pthread_mutex_unlock(&store->tree_lock);
    return status == KV_IO ? tree_fail(store) : status;
}

/* The memtable's youngest version of each key, as a table. */
static kv_status write_table(struct lsm *store, struct memtable *memtable, uint64_t id, uint64_t *bytes)
{
    struct table_options options = table_options_of(store, 0, memtable->first_seq, false);
    struct table_writer *writer = NULL;
    struct iterator      iterator;
    kv_status            status;

    options.device = &store->device;
    TRY(iterator_open(&iterator, 1));
    status = iterator_add_memtable(&iterator, memtable, SEQ_MAX);
    if (status == KV_OK)
        status = table_writer_open(store->dir.path, id, &options, &writer);
    if (status == KV_OK) {
        for (bool more = iterator_seek(&iterator, (slice){0}); more && status == KV_OK; more = iterator_next_key(&iterator))
            status = table_writer_add(writer, iterator_entry(&iterator));
        if (status == KV_OK)
            status = iterator.status;
        if (status == KV_OK)
            status = table_writer_finish(writer, bytes);
        else
            table_writer_abandon(writer);
    }
    iterator_close(&iterator);
    return status;
}

static kv_status add_to_tree(struct lsm *store, struct memtable *memtable, struct table *table)
{
    struct version *now = store->tree, *next = version_new(now->count + 1);
    struct manifest manifest = store->manifest;
    kv_status       status = next ? KV_OK : KV_NO_MEMORY;

    if (status == KV_OK)
        status = version_add_run(next, 0, &table, 1);
    for (size_t i = 0; status == KV_OK && i < now->count; i++)
        status = version_add_run(next, now->run[i].level, now->run[i].table, now->run[i].count);
    if (status != KV_OK) {
        version_release(next);
        return status;
    }
    version_seal(next);
    manifest.log_id = memtable->log_id + 1;
    manifest.last_seq = memtable->last_seq;
    return tree_install(store, store->flusher_slot, next, &manifest, memtable);
}

/* What writers are held to when memtables pile up; a small one says nothing. */
static void note_speed(struct lsm *store, uint64_t bytes, uint64_t took_ns)
{
    uint64_t now = took_ns * 1024 / bytes, before = store->flush_ns_per_kib;

    if (bytes >= store->options.memtable_bytes / 2)
        __atomic_store_n(&store->flush_ns_per_kib, before ? (before * 3 + now) / 4 : now, __ATOMIC_RELAXED);
    log_set_delay(store);
}

static kv_status flush(struct lsm *store, struct memtable *memtable)
{
    struct table *table = NULL;
    uint64_t      id = file_id(store), bytes = 0, started_ns = clock_now_ns();
    kv_status     status;

    visible_seq(store); /* all entries are filled then: the memtable is sealed, so its numbers are given out */
    TRY(write_table(store, memtable, id, &bytes));
    device_time_begin(&store->device);
    status = file_sync_dir(store->dir.path);
    device_time_end(&store->device);
    TRY(status);
    TRY(table_open(store->dir.path, id, store->cache, &table));
    count(&store->counters.flushes, 1);
    count(&store->counters.flush_bytes, bytes);
    pthread_mutex_lock(&store->tree_lock);
    status = add_to_tree(store, memtable, table);
    pthread_mutex_unlock(&store->tree_lock);
    if (status != KV_OK && status != KV_IO) /* else the manifest may name it */
        __atomic_store_n(&table->obsolete, true, __ATOMIC_RELEASE);
    table_release(table);
    TRY(status);
    raise_durable_seq(store, memtable->last_seq);
    log_forget(store, memtable->log_id);
    note_speed(store, memtable_used(memtable), clock_now_ns() - started_ns);
    return KV_OK;
}

/* ---- The thread. ---- */

/* One that recovery found and that is small waits for more: an open that only reads makes no table. */
static bool is_due(struct lsm *store, const struct view *view)
{
    const struct memtable *oldest = view->immutables ? view->immutable[view->immutables - 1] : NULL;

    /* It leaves the view's front a moment before its last number is known; who seals it calls again then. */
    if (!oldest || !memtable_sealed(oldest))
        return false;
    return view->immutables > 1 || view->immutables >= store->options.memtables || __atomic_load_n(&store->background.flush_all, __ATOMIC_RELAXED) ||
           memtable_used(oldest) >= store->options.memtable_bytes / 8;
}

/* The oldest one that is due, kept; or NULL. */
static struct memtable *due(struct lsm *store)
{
    struct memtable *memtable = NULL;
    struct view     *view;

    epoch_enter(store->flusher_slot);
    view = view_now(store);
    if (is_due(store, view)) {
        memtable = view->immutable[view->immutables - 1];
        memtable_keep(memtable);
    }
    epoch_exit(store->flusher_slot);
    return memtable;
}

static void prepare(struct lsm *store)
{
    uint64_t         arena = store->options.memtable_bytes;
    struct memtable *memtable = NULL;
    struct wal      *wal = NULL;
    bool             want_memtable, want_wal;

    pthread_mutex_lock(&store->background.lock);
    want_memtable = !store->background.spare_memtable;
    want_wal = !store->background.spare;
    pthread_mutex_unlock(&store->background.lock);
    if (want_memtable)
        memtable = memtable_new(arena, 0); /* without memory or space, who needs it tries again, and tells */
    if (want_wal)
        wal = log_create(store, log_capacity(arena));
    pthread_mutex_lock(&store->background.lock);
    if (memtable)
        store->background.spare_memtable = memtable;
    if (wal)
        store->background.spare = wal;
    store->background.preparing = false;
    pthread_cond_broadcast(&store->background.cond);
    pthread_mutex_unlock(&store->background.lock);
}

/* A disk or memory that is full may be emptied: the memtable stays, and writers that need its room are told meanwhile. */
static void note_failure(struct lsm *store, kv_status status)
{
    uint64_t        until_ns = clock_now_ns() + RETRY_NS;
    struct timespec until = {.tv_sec = (time_t)(until_ns / NS_PER_S), .tv_nsec = (long)(until_ns % NS_PER_S)};

    if (status != KV_NO_SPACE && status != KV_NO_MEMORY) {
        tree_fail(store);
        return;
    }
    pthread_mutex_lock(&store->background.lock);
    store->background.flush_status = status;
    pthread_cond_broadcast(&store->background.cond);
    while (!store->background.closing && pthread_cond_timedwait(&store->background.cond, &store->background.lock, &until) == 0)
        continue;
    pthread_mutex_unlock(&store->background.lock);
}

static void *flush_on_and_on(void *arg)
{
    struct lsm *store = arg;
    kv_status   status;

    pthread_mutex_lock(&store->background.lock);
    while (!store->background.closing && !tree_failed(store)) {
        struct memtable *memtable;
        uint64_t         seen = store->background.changes;
        if (store->background.want_spare && store->background.preparing) {
            /* The end of a checkpoint does (log_forget): two at a time could be used in another order than that of their numbers. */
            pthread_cond_wait(&store->background.cond, &store->background.lock);
            continue;
        }
        if (store->background.want_spare) {
            store->background.want_spare = false;
            store->background.preparing = true;
            pthread_mutex_unlock(&store->background.lock);
            prepare(store);
            pthread_mutex_lock(&store->background.lock);
            continue;
        }
        pthread_mutex_unlock(&store->background.lock);
        memtable = due(store);
        status = memtable ? flush(store, memtable) : KV_OK;
        if (status != KV_OK)
            note_failure(store, status);
        epoch_collect(store->flusher_slot, false);
        pthread_mutex_lock(&store->background.lock);
        if (status == KV_OK)
            store->background.flush_status = KV_OK;
        if (memtable)
            pthread_cond_broadcast(&store->background.cond); /* room for another */
        else if (!store->background.want_spare && !store->background.closing && seen == store->background.changes)
            pthread_cond_wait(&store->background.cond, &store->background.lock);
        memtable_release(memtable);
    }
    pthread_cond_broadcast(&store->background.cond);
    pthread_mutex_unlock(&store->background.lock);
    return NULL;
}

kv_status flusher_start(struct lsm *store)
{
    int failed;

    TRY(epoch_slot_open(store->epoch, &store->flusher_slot));
    store->background.want_spare = true;
    store->flusher_runs = true; /* before it does */
    failed = pthread_create(&store->flusher, NULL, flush_on_and_on, store);
    if (failed)
        store->flusher_runs = false;
    return failed ? kv_fail(KV_NO_MEMORY, "no thread for flushes: %s", strerror(failed)) : KV_OK;
}

void flusher_stop(struct lsm *store)
{
    pthread_mutex_lock(&store->background.lock);
    store->background.closing = true;
    pthread_cond_broadcast(&store->background.cond);
    pthread_mutex_unlock(&store->background.lock);
    if (store->flusher_runs)
        pthread_join(store->flusher, NULL);
    store->flusher_runs = false;
    epoch_slot_close(store->flusher_slot);
    store->flusher_slot = NULL;
}

kv_status flush_wait(struct lsm *store)
{
    kv_status status = KV_OK;

    pthread_mutex_lock(&store->background.lock);
    __atomic_store_n(&store->background.flush_all, true, __ATOMIC_RELAXED);
    store->background.changes++;
    pthread_cond_broadcast(&store->background.cond);
    while (__atomic_load_n(&store->immutables, __ATOMIC_ACQUIRE) > 0 && !tree_failed(store) && status == KV_OK) {
        status = store->background.flush_status;
        if (status == KV_OK)
            pthread_cond_wait(&store->background.cond, &store->background.lock);
    }
    __atomic_store_n(&store->background.flush_all, false, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&store->background.lock);
    if (tree_failed(store))
        return tree_refuses(store);
    return status == KV_OK ? KV_OK : kv_fail(status, "%s: a memtable cannot be written out", store->dir.path);
}

uint64_t flush_debt(struct lsm *store, struct epoch_slot *slot)
{
    uint64_t     bytes = 0;
    struct view *view;

    epoch_enter(slot);
    view = view_now(store);
    if (is_due(store, view))
        for (uint32_t i = 0; i < view->immutables; i++)
            bytes += memtable_used(view->immutable[i]);
    epoch_exit(slot);
    return bytes;
}
