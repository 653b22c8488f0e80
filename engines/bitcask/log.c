/*
 * log.c -- the tail of the log: appending into the mapping, rotation, and what "durable" waits for.
 *
 * The tail moves under log.lock and a record is written in full before the next one begins, so a kill can leave a torn
 * record only behind everything that was acknowledged.  Files are made, sealed and synced by the keeper thread; a
 * writer makes one only when it comes too early for that, or needs a larger one.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/clock.h"
#include "engines/bitcask/hint.h"
#include "engines/bitcask/merge.h"
#include "engines/bitcask/store.h"

#define THROTTLE_NS (20 * NS_PER_MS) /* the longest wait of one write for the merger */

/* Segments. */

static kv_status create_segment(struct bitcask *store, uint64_t bytes, struct segment **out)
{
    char     name[SEGMENT_NAME_MAX];
    uint64_t id = segments_new_id(store);

    if (bytes < store->options.segment_bytes)
        bytes = store->options.segment_bytes;
    return segment_create(store->dir.path, segment_name(name, id, segment_ending(SEGMENT_LOG)), id, SEGMENT_LOG, bytes,
                          !store->mapped, store->mapped, out);
}

/* A prepared segment that cannot be used: its number is below that of the one that will be. */
static kv_status discard_spare(struct bitcask *store, struct segment *spare)
{
    char     name[SEGMENT_NAME_MAX];
    uint64_t id = spare->id;

    segment_free(spare);
    return file_unlink(store->dir.path, segment_name(name, id, segment_ending(SEGMENT_LOG)));
}

/* Takes the prepared segment, or makes one that is large enough. */
static kv_status next_segment(struct bitcask *store, uint64_t bytes, struct segment **out)
{
    struct segment *spare;
    uint64_t        started_ns;
    kv_status       status;

    pthread_mutex_lock(&store->segments.lock);
    if (store->segments.preparing) {
        started_ns = clock_now_ns();
        while (store->segments.preparing)
            pthread_cond_wait(&store->segments.cond, &store->segments.lock);
        count(&store->counters.stalls, 1);
        count(&store->counters.stall_ns, clock_now_ns() - started_ns);
    }
    spare = store->log.spare;
    store->log.spare = NULL;
    store->segments.want_spare = false;
    pthread_mutex_unlock(&store->segments.lock);
    if (spare && spare->capacity >= bytes) {
        *out = spare;
        return KV_OK;
    }
    if (spare)
        TRY(discard_spare(store, spare));
    started_ns = clock_now_ns();
    status = create_segment(store, bytes, out);
    if (store->log.active) { /* the first one is nobody's delay */
        count(&store->counters.stalls, 1);
        count(&store->counters.stall_ns, clock_now_ns() - started_ns);
    }
    return status;
}

/* Under log.lock: hands the active segment to the keeper. */
static void seal(struct bitcask *store)
{
    struct segment *old = store->log.active ? store->log.active : store->log.resume;

    if (!old)
        return;
    store->log.active = store->log.resume = NULL;
    old->end = store->log.tail;
    store->log.tail = 0;
    old->last_seq = store->log.next_seq - 1;
    old->next = NULL;
    __atomic_store_n(&old->limit, old->end, __ATOMIC_RELAXED);
    pthread_mutex_lock(&store->segments.lock);
    *store->segments.settle_last = old;
    store->segments.settle_last = &old->next;
    pthread_cond_broadcast(&store->segments.cond);
    pthread_mutex_unlock(&store->segments.lock);
    count(&store->counters.rotations, 1);
}

void log_seal(struct bitcask *store)
{
    pthread_mutex_lock(&store->log.lock);
    while (store->log.in_flight)
        pthread_cond_wait(&store->log.settled, &store->log.lock);
    if (store->log.tail > SEGMENT_FIRST)
        seal(store);
    pthread_mutex_unlock(&store->log.lock);
}

static kv_status activate(struct bitcask *store, struct segment *next)
{
    struct segment_header header;
    kv_status             status;

    next->base_seq = store->log.next_seq;
    segment_header_fill(next, durable_seq(store), &header);
    if (store->mapped)
        memcpy(next->map, &header, sizeof header);
    else
        TRY(file_write_at(&next->file, &header, sizeof header, 0));
    if ((status = segments_add(store, next)) != KV_OK)
        return status;
    seal(store);
    store->log.active = next;
    store->log.tail = SEGMENT_FIRST;
    store->log.spare_at = next->capacity / 2;
    return KV_OK;
}

void log_check_throttle(struct bitcask *store)
{
    uint64_t live = store->log.total_bytes - store->log.dead_bytes;
    bool     over = store->options.merge && store->merger_runs &&
                (double)store->log.dead_bytes > store->options.dead_max * (double)live + 4.0 * (double)store->options.segment_bytes;

    __atomic_store_n(&store->throttled, over, __ATOMIC_RELAXED);
}

static kv_status rotate(struct bitcask *store, uint64_t bytes)
{
    struct segment *next;
    kv_status       status = next_segment(store, SEGMENT_FIRST + bytes, &next);

    if (status == KV_OK && (status = activate(store, next)) != KV_OK)
        segment_free(next); /* its blank file is swept up at the next open */
    log_check_throttle(store);
    return status == KV_IO ? store_fail(store) : status;
}

/* The first write since the store was opened goes on in the last segment, so reopening makes no file. */
static kv_status resume(struct bitcask *store, uint64_t bytes)
{
    struct segment *last = store->log.resume;
    kv_status       status;

    if (store->log.tail + bytes > last->capacity)
        return rotate(store, bytes);
    status = segment_extend(last, !store->mapped);
    if (status == KV_NO_SPACE)
        return rotate(store, bytes); /* which says the same, but may find a smaller segment enough */
    if (status != KV_OK)
        return status == KV_IO ? store_fail(store) : status;
    last->synced = false; /* it was when it was found, and grows now */
    store->log.active = last;
    store->log.resume = NULL;
    store->log.spare_at = last->capacity / 2;
    return KV_OK;
}

kv_status log_room(struct bitcask *store, uint64_t bytes)
{
    if (store->log.active && store->log.tail + bytes <= store->log.active->capacity)
        return KV_OK;
    return store->log.resume ? resume(store, bytes) : rotate(store, bytes);
}

/* Appending. */

/* Under log.lock, with room. */
static inline uint64_t put_record(struct bitcask *store, enum record_type type, unsigned flags, slice key, uint64_t hash,
                                  slice value)
{
    struct log     *log = &store->log;
    struct segment *active = log->active;
    uint64_t        offset = log->tail;

    record_write(active->map + offset, segment_place(active, offset), log->next_seq++, type, flags, key, hash, value);
    log->tail += record_bytes(key.size, value.size);
    return ref_make(active, offset);
}

static void want_spare(struct bitcask *store)
{
    store->log.spare_at = UINT64_MAX;
    pthread_mutex_lock(&store->segments.lock);
    if (!store->log.spare) {
        store->segments.want_spare = true;
        pthread_cond_broadcast(&store->segments.cond);
    }
    pthread_mutex_unlock(&store->segments.lock);
}

static void first_unsynced(struct bitcask *store)
{
    __atomic_store_n(&store->log.oldest_ns, clock_now_ns(), __ATOMIC_RELAXED);
    pthread_mutex_lock(&store->durable_lock);
    pthread_cond_broadcast(&store->durable_cond);
    pthread_mutex_unlock(&store->durable_lock);
}

/* Under log.lock, behind what a caller wrote. */
void log_written(struct bitcask *store, uint64_t bytes)
{
    struct log *log = &store->log;

    log->written_seq = log->next_seq - 1;
    log->total_bytes += bytes;
    if (__builtin_expect(log->tail >= log->spare_at, 0))
        want_spare(store);
    if (store->durability.tier == KV_TIER_INTERVAL && log->oldest_ns == 0)
        first_unsynced(store);
}

void log_displaced(struct bitcask *store, uint64_t ref)
{
    struct segment      *segment = ref_segment(store, ref);
    const struct record *record = ref_record(store, ref);
    uint64_t             bytes = record_size(record);

    if (bytes > segment_limit(segment))
        return; /* damage, which a read will report; these are only figures */
    segment->dead_bytes += bytes;
    store->log.dead_bytes += bytes;
    store->log.live_bytes -= record->key_size + record->value_size;
    if (__builtin_expect(segment->wake_at && segment->dead_bytes >= segment->wake_at, 0)) {
        segment->wake_at = 0;
        segments_changed(store);
    }
}

void log_count_write(struct bitcask *store, const struct log_write *write)
{
    uint64_t bytes = record_bytes(write->key.size, write->value.size);

    if (write->type == RECORD_PUT) {
        store->log.live_bytes += write->key.size + write->value.size;
    } else {
        store->log.active->dead_bytes += bytes; /* a tombstone lives only as long as what it buries */
        store->log.dead_bytes += bytes;
    }
}

kv_status log_append(struct bitcask *store, struct log_write *write)
{
    uint64_t  bytes = record_bytes(write->key.size, write->value.size);
    kv_status status;

    pthread_mutex_lock(&store->log.lock);
    status = store_failed(store) ? store_refuses(store) : log_room(store, bytes);
    if (status == KV_OK) {
        write->ref = put_record(store, write->type, 0, write->key, write->hash, write->value);
        log_count_write(store, write);
        if (write->old)
            log_displaced(store, write->old);
        log_written(store, bytes);
    }
    pthread_mutex_unlock(&store->log.lock);
    return status;
}

kv_status log_append_batch(struct bitcask *store, struct log_write *writes, size_t count)
{
    struct record_batch batch = {.count = count};
    slice               none = {0};
    kv_status           status;

    for (size_t i = 0; i < count; i++)
        batch.bytes += record_bytes(writes[i].key.size, writes[i].value.size);
    if (batch.bytes > BATCH_BYTES_MAX)
        return kv_fail(KV_TOO_LARGE, "a batch of %" PRIu64 " bytes; up to %" PRIu64 " are taken", batch.bytes,
                       BATCH_BYTES_MAX);
    pthread_mutex_lock(&store->log.lock);
    status = store_failed(store) ? store_refuses(store) : log_room(store, RECORD_BATCH_BYTES + batch.bytes);
    if (status == KV_OK) {
        put_record(store, RECORD_BATCH, 0, none, index_hash(none), slice_of(&batch, sizeof batch));
        store->log.active->dead_bytes += RECORD_BATCH_BYTES;
        store->log.dead_bytes += RECORD_BATCH_BYTES;
        for (size_t i = 0; i < count; i++) {
            struct log_write *write = &writes[i];
            write->ref = put_record(store, write->type, RECORD_IN_BATCH, write->key, write->hash, write->value);
            log_count_write(store, write);
        }
        log_written(store, RECORD_BATCH_BYTES + batch.bytes);
    }
    pthread_mutex_unlock(&store->log.lock);
    return status;
}

/* Durability. */

static struct segment *first_not_synced(struct bitcask *store)
{
    struct segment *segment;

    pthread_mutex_lock(&store->segments.lock);
    segment = store->segments.settle_first;
    while (segment && segment->synced)
        segment = segment->next;
    pthread_mutex_unlock(&store->segments.lock);
    return segment;
}

/* Under sync_lock.  Segments in the queue are not freed by anyone who has not held sync_lock since: see merge.c. */
static kv_status sync_sealed(struct bitcask *store, struct segment *segment)
{
    kv_status status = file_sync_data(&segment->file);

    if (status != KV_OK)
        return status;
    segment->synced = true;
    count(&store->counters.syncs, 1);
    raise_durable_seq(store, segment->last_seq);
    return KV_OK;
}

/* Leaves in the log how far it is durable: damage below that is no crash's doing. */
static void mark(struct bitcask *store)
{
    slice    none = {0};
    uint64_t seq = durable_seq(store);

    if (!store->mapped)
        return; /* each group that is committed says it */
    pthread_mutex_lock(&store->log.lock);
    if (store->log.active && store->log.tail + RECORD_MARK_BYTES <= store->log.active->capacity) {
        put_record(store, RECORD_MARK, 0, none, index_hash(none), slice_of(&seq, sizeof seq));
        store->log.active->dead_bytes += RECORD_MARK_BYTES;
        store->log.dead_bytes += RECORD_MARK_BYTES;
        store->log.total_bytes += RECORD_MARK_BYTES;
    }
    pthread_mutex_unlock(&store->log.lock);
}

static kv_status sync_all(struct bitcask *store)
{
    struct segment *active, *sealed;
    uint64_t        target;

    pthread_mutex_lock(&store->log.lock);
    active = store->log.active ? store->log.active : store->log.resume;
    target = store->log.written_seq;
    __atomic_store_n(&store->syncing_ns, store->log.oldest_ns, __ATOMIC_RELAXED);
    __atomic_store_n(&store->log.oldest_ns, 0, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&store->log.lock);
    if (target <= durable_seq(store))
        return KV_OK;
    /* Oldest first: a later segment must not be durable, and known to be, before an earlier one. */
    while ((sealed = first_not_synced(store)) != NULL)
        TRY(sync_sealed(store, sealed));
    if (active) {
        TRY(file_sync_data(&active->file));
        count(&store->counters.syncs, 1);
    }
    raise_durable_seq(store, target);
    mark(store);
    return KV_OK;
}

kv_status log_sync(struct bitcask *store)
{
    kv_status status;

    pthread_mutex_lock(&store->sync_lock);
    status = store_failed(store) ? store_refuses(store) : sync_all(store);
    if (status != KV_OK)
        status = store_fail(store);
    pthread_mutex_lock(&store->durable_lock);
    __atomic_store_n(&store->syncing_ns, 0, __ATOMIC_RELAXED);
    pthread_cond_broadcast(&store->durable_cond);
    pthread_mutex_unlock(&store->durable_lock);
    pthread_mutex_unlock(&store->sync_lock);
    return status;
}

static uint64_t oldest_unsynced_ns(struct bitcask *store)
{
    uint64_t syncing_ns = __atomic_load_n(&store->syncing_ns, __ATOMIC_RELAXED);

    return syncing_ns ? syncing_ns : __atomic_load_n(&store->log.oldest_ns, __ATOMIC_RELAXED);
}

/* Once the oldest write that is not synced nears the age of the interval, no younger one is let in. */
static kv_status wait_for_sync(struct bitcask *store)
{
    uint64_t limit_ns = store->durability.interval_ns - store->durability.interval_ns / 8;
    uint64_t now_ns = clock_now_ns(), oldest_ns = oldest_unsynced_ns(store);

    if (oldest_ns == 0 || now_ns < oldest_ns + limit_ns)
        return KV_OK;
    pthread_mutex_lock(&store->durable_lock);
    while ((oldest_ns = oldest_unsynced_ns(store)) != 0 && clock_now_ns() >= oldest_ns + limit_ns && !store_failed(store))
        pthread_cond_wait(&store->durable_cond, &store->durable_lock);
    pthread_mutex_unlock(&store->durable_lock);
    count(&store->counters.stalls, 1);
    count(&store->counters.stall_ns, clock_now_ns() - now_ns);
    return store_failed(store) ? store_refuses(store) : KV_OK;
}

static void wait_for_merger(struct bitcask *store)
{
    uint64_t        started_ns = clock_now_ns(), until_ns = started_ns + THROTTLE_NS;
    struct timespec until = {.tv_sec = (time_t)(until_ns / NS_PER_S), .tv_nsec = (long)(until_ns % NS_PER_S)};

    pthread_mutex_lock(&store->segments.lock);
    while (__atomic_load_n(&store->throttled, __ATOMIC_RELAXED) &&
           pthread_cond_timedwait(&store->segments.cond, &store->segments.lock, &until) == 0)
        continue;
    pthread_mutex_unlock(&store->segments.lock);
    count(&store->counters.stalls, 1);
    count(&store->counters.stall_ns, clock_now_ns() - started_ns);
}

kv_status log_back_pressure(struct bitcask *store)
{
    if (__builtin_expect(__atomic_load_n(&store->throttled, __ATOMIC_RELAXED), 0))
        wait_for_merger(store);
    return store->durability.tier == KV_TIER_INTERVAL ? wait_for_sync(store) : KV_OK;
}

/* Threads. */

/* Cuts the unused tail, makes the segment durable, and leaves a hint file. */
static void settle(struct bitcask *store, struct segment *segment)
{
    kv_status status;

    pthread_mutex_lock(&store->sync_lock);
    if (store_failed(store)) {
        status = KV_IO; /* a later segment must not become durable behind one that failed to */
    } else if ((status = file_truncate(&segment->file, segment->end)) != KV_OK ||
               (status = sync_sealed(store, segment)) != KV_OK) {
        status = store_fail(store);
    }
    pthread_mutex_unlock(&store->sync_lock);
    if (status == KV_OK && store->options.hints && hint_write(store, segment) == KV_OK)
        count(&store->counters.hint_writes, 1);
    pthread_mutex_lock(&store->log.lock);
    if (status == KV_OK && segment->wake_at == 0)
        merge_watch(store, segment);
    pthread_mutex_unlock(&store->log.lock);
    /* Once it is settled it may be merged and freed: it is not touched after this lock. */
    pthread_mutex_lock(&store->segments.lock);
    segment->settled = status == KV_OK;
    store->segments.settle_first = segment->next;
    if (!segment->next)
        store->segments.settle_last = &store->segments.settle_first;
    segment->next = NULL;
    store->segments.changes++;
    pthread_cond_broadcast(&store->segments.cond);
    pthread_mutex_unlock(&store->segments.lock);
}

static void prepare_spare(struct bitcask *store)
{
    struct segment *spare;
    kv_status       status = create_segment(store, 0, &spare);

    pthread_mutex_lock(&store->segments.lock);
    if (status == KV_OK)
        store->log.spare = spare; /* else the writer who needs it tries again, and tells */
    store->segments.preparing = false;
    pthread_cond_broadcast(&store->segments.cond);
    pthread_mutex_unlock(&store->segments.lock);
}

static void *keep(void *arg)
{
    struct bitcask *store = arg;

    pthread_mutex_lock(&store->segments.lock);
    for (;;) {
        if (store->segments.want_spare && !store->segments.closing) {
            store->segments.want_spare = false;
            store->segments.preparing = true;
            pthread_mutex_unlock(&store->segments.lock);
            prepare_spare(store);
            pthread_mutex_lock(&store->segments.lock);
        } else if (store->segments.settle_first) {
            struct segment *segment = store->segments.settle_first;
            pthread_mutex_unlock(&store->segments.lock);
            settle(store, segment);
            pthread_mutex_lock(&store->segments.lock);
        } else if (store->segments.closing) {
            break;
        } else {
            pthread_cond_wait(&store->segments.cond, &store->segments.lock);
        }
    }
    pthread_mutex_unlock(&store->segments.lock);
    return NULL;
}

/* Tier interval: starts a sync when half the interval has passed since the first write that none covers. */
static void *sync_in_time(void *arg)
{
    struct bitcask *store = arg;
    uint64_t        half_ns = store->durability.interval_ns / 2;

    pthread_mutex_lock(&store->durable_lock);
    while (!__atomic_load_n(&store->segments.closing, __ATOMIC_ACQUIRE)) {
        uint64_t oldest_ns = __atomic_load_n(&store->log.oldest_ns, __ATOMIC_RELAXED), due_ns = oldest_ns + half_ns;
        if (oldest_ns == 0 || store_failed(store)) {
            pthread_cond_wait(&store->durable_cond, &store->durable_lock);
        } else if (clock_now_ns() < due_ns) {
            struct timespec due = {.tv_sec = (time_t)(due_ns / NS_PER_S), .tv_nsec = (long)(due_ns % NS_PER_S)};
            pthread_cond_timedwait(&store->durable_cond, &store->durable_lock, &due);
        } else {
            pthread_mutex_unlock(&store->durable_lock);
            if (log_sync(store) != KV_OK) {
                /* the store has failed now, and tells the next writer */
            }
            pthread_mutex_lock(&store->durable_lock);
        }
    }
    pthread_mutex_unlock(&store->durable_lock);
    return NULL;
}

static kv_status start(pthread_t *thread, bool *runs, void *(*body)(void *), struct bitcask *store)
{
    int failed = pthread_create(thread, NULL, body, store);

    *runs = failed == 0;
    return failed ? kv_fail(KV_NO_MEMORY, "no thread for the store's background work: %s", strerror(failed)) : KV_OK;
}

kv_status log_threads_start(struct bitcask *store)
{
    TRY(start(&store->keeper, &store->keeper_runs, keep, store));
    if (store->durability.tier == KV_TIER_INTERVAL)
        TRY(start(&store->syncer, &store->syncer_runs, sync_in_time, store));
    return KV_OK;
}

void log_threads_stop(struct bitcask *store)
{
    pthread_mutex_lock(&store->durable_lock);
    pthread_mutex_lock(&store->segments.lock);
    __atomic_store_n(&store->segments.closing, true, __ATOMIC_RELEASE);
    pthread_cond_broadcast(&store->segments.cond);
    pthread_mutex_unlock(&store->segments.lock);
    pthread_cond_broadcast(&store->durable_cond);
    pthread_mutex_unlock(&store->durable_lock);
    if (store->syncer_runs)
        pthread_join(store->syncer, NULL);
    if (store->keeper_runs)
        pthread_join(store->keeper, NULL);
    store->syncer_runs = store->keeper_runs = false;
}
