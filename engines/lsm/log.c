/*
 * log.c -- the tail of the log: sequence numbers, writing groups, beginning new memtables, and what "durable" waits for.
 *
 * Tiers none to interval: under log.lock a session gets its numbers, its room in the memtable, and copies its group into the
 * mapping of the log, so a kill can leave a torn group only behind everything that was acknowledged.  Filling the memtable
 * is outside.  Tier commit: one leader writes the group of all who wait, syncs, hands over to the next one, and fills the
 * memtable then, so nobody reads what is not on the disk.
 * A memtable and its log begin and end together.  The next ones are prepared by the flusher.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <time.h>

#include "common/clock.h"
#include "engines/lsm/store.h"

#define DELAY_STEP_NS NS_PER_MS         /* a session sleeps when it owes so much */
#define DELAY_MAX_NS  (100 * NS_PER_MS) /* the longest such sleep of one write */

/* ---- What writers had to wait for. ---- */

static void raise_figure(uint64_t *figure, uint64_t value)
{
    uint64_t now = __atomic_load_n(figure, __ATOMIC_RELAXED);

    while (now < value && !__atomic_compare_exchange_n(figure, &now, value, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED))
        continue;
}

/* A write stood still; the device's part of that is told apart, the rest is this engine's own doing. */
static void note_stall(struct lsm *store, uint64_t waited_ns, uint64_t device_ns)
{
    if (device_ns > waited_ns)
        device_ns = waited_ns;
    count(&store->counters.stalls, 1);
    count(&store->counters.stall_ns, waited_ns);
    count(&store->counters.device_stall_ns, device_ns);
    raise_figure(&store->counters.device_stall_max_ns, device_ns);
    raise_figure(&store->counters.imposed_max_ns, waited_ns - device_ns);
}

/* ---- Beginning new ones. ---- */

/* Sizes for a memtable that takes a group of so many bytes. */
static uint64_t arena_bytes(const struct lsm *store, uint64_t entries_bytes)
{
    return entries_bytes > store->options.memtable_bytes ? entries_bytes : store->options.memtable_bytes;
}

uint64_t log_capacity(uint64_t arena)
{
    return (WAL_FIRST + arena + arena / 8 + 4095) & ~UINT64_C(4095);
}

/* Takes a new or recycled log that is not needed back from the disk. */
static void discard(struct lsm *store, struct wal *wal)
{
    char name[WAL_NAME_MAX];

    if (file_unlink(store->dir.path, wal_name(name, wal->id)) != KV_OK) {
        /* it is blank or in tables: the next open removes it */
    }
    wal_free(wal);
}

static kv_status create_log(struct lsm *store, uint64_t capacity, enum naming naming, struct wal **out)
{
    char      said[FAIL_BYTES_MAX];
    kv_status status;

    TRY(wal_create(store->dir.path, file_id(store), capacity, store->mapped, out));
    if ((status = tree_name_log(store, (*out)->id, naming)) == KV_OK)
        return KV_OK;
    snprintf(said, sizeof said, "%s", fail_text());
    if (status != KV_IO) /* else the manifest may name it */
        discard(store, *out);
    else
        wal_free(*out);
    *out = NULL;
    return kv_fail(status, "%s", said);
}

struct wal *log_create(struct lsm *store, uint64_t capacity)
{
    struct wal *wal;

    return create_log(store, capacity, LOG_FOLLOWS, &wal) == KV_OK ? wal : NULL;
}

static kv_status take_spare(struct lsm *store, uint64_t group_bytes, uint64_t entries_bytes, struct wal **wal, struct memtable **memtable)
{
    uint64_t    arena = arena_bytes(store, entries_bytes), capacity = log_capacity(arena), started_ns = clock_now_ns();
    bool        waited = false;
    struct wal *small = NULL;
    kv_status   status = KV_OK;

    if (capacity < WAL_FIRST + group_bytes)
        capacity = (WAL_FIRST + group_bytes + 4095) & ~UINT64_C(4095);
    pthread_mutex_lock(&store->background.lock);
    while (store->background.preparing) {
        waited = true;
        pthread_cond_wait(&store->background.cond, &store->background.lock);
    }
    *wal = store->background.spare;
    *memtable = store->background.spare_memtable;
    store->background.spare = NULL;
    if (*memtable && (*memtable)->arena_bytes < entries_bytes + MEMTABLE_FIRST)
        *memtable = NULL;
    else
        store->background.spare_memtable = NULL;
    store->background.want_spare = false;
    store->background.preparing = true; /* nobody else makes a log now: numbers must be in the order in which logs are used */
    pthread_mutex_unlock(&store->background.lock);
    if (*wal && (*wal)->capacity < capacity) {
        small = *wal;
        *wal = NULL;
    }
    if (!*memtable && !(*memtable = memtable_new(arena, 0)))
        status = kv_fail(KV_NO_MEMORY, "%s: no memory for a memtable of %" PRIu64 " bytes", store->dir.path, arena);
    if (status == KV_OK && !*wal) {
        waited |= store->log.wal != NULL;
        status = create_log(store, capacity, small ? LOG_REPLACES : LOG_FOLLOWS, wal);
    }
    /* A log that is too small is of no use later either: its number would be below that of the one before it.  The manifest named
     * it, so it goes when another is named. */
    if (status == KV_OK && small) {
        discard(store, small);
        small = NULL;
    }
    pthread_mutex_lock(&store->background.lock);
    if (status != KV_OK) { /* the next write tries again */
        store->background.spare = *wal ? *wal : small;
        *wal = NULL;
    }
    store->background.preparing = false;
    pthread_cond_broadcast(&store->background.cond);
    pthread_mutex_unlock(&store->background.lock);
    if (waited) { /* for the making of a file, which is the device's all of it */
        uint64_t waited_ns = clock_now_ns() - started_ns;
        note_stall(store, waited_ns, waited_ns);
    }
    if (status != KV_OK) {
        memtable_release(*memtable);
        *memtable = NULL;
    }
    return status;
}

/* Under log.lock, which is given up meanwhile: the writers have filled all immutable memtables that may wait. */
static kv_status wait_for_flush(struct lsm *store)
{
    uint64_t  started_ns = 0, device_ns = 0;
    kv_status status = KV_OK;

    pthread_mutex_unlock(&store->log.lock);
    pthread_mutex_lock(&store->background.lock);
    while (__atomic_load_n(&store->immutables, __ATOMIC_ACQUIRE) >= store->options.memtables && !tree_failed(store)) {
        if ((status = store->background.flush_status) != KV_OK)
            break;
        if (!started_ns) {
            started_ns = clock_now_ns();
            device_ns = device_time_ns(&store->device, started_ns);
        }
        pthread_cond_wait(&store->background.cond, &store->background.lock);
    }
    pthread_mutex_unlock(&store->background.lock);
    pthread_mutex_lock(&store->log.lock);
    if (started_ns) {
        uint64_t now_ns = clock_now_ns();
        note_stall(store, now_ns - started_ns, device_time_ns(&store->device, now_ns) - device_ns);
    }
    return status == KV_OK ? KV_OK : kv_fail(status, "%s: a memtable cannot be written out", store->dir.path);
}

/* Under log.lock.  What was active is sealed: its last number is known. */
static void seal(struct lsm *store)
{
    struct wal *wal = store->log.wal;

    if (!wal)
        return;
    wal->last_seq = store->log.next_seq - 1;
    wal->next = NULL;
    pthread_mutex_lock(&store->background.lock);
    *store->sealed_last = wal;
    store->sealed_last = &wal->next;
    pthread_mutex_unlock(&store->background.lock);
    store->log.wal = NULL;
}

/* Under log.lock: a new log and memtable with room for the group. */
static kv_status begin(struct lsm *store, struct epoch_slot *slot, uint64_t group_bytes, uint64_t entries_bytes)
{
    struct memtable *old = store->log.memtable, *memtable;
    struct view     *room;
    struct wal      *wal;
    kv_status        status;

    /* A log that has begun must become the active one: if the old one went on, the numbers of the two would not follow each other,
     * and recovery would see the end of the log between them. */
    TRY(view_reserve(slot, &room));
    if ((status = take_spare(store, group_bytes, entries_bytes, &wal, &memtable)) != KV_OK) {
        free(room);
        return status == KV_IO ? tree_fail(store) : status;
    }
    if (wal_begin(wal, store->log.next_seq, durable_seq(store)) != KV_OK) {
        wal_free(wal);
        memtable_release(memtable);
        free(room);
        return tree_fail(store);
    }
    memtable->log_id = wal->id;
    memtable->first_seq = store->log.next_seq;
    view_rotate(store, slot, room, memtable);
    store->log.memtable = memtable;
    memtable_release(memtable); /* the view has it */
    seal(store);
    store->log.wal = wal;
    pthread_mutex_lock(&store->background.lock);
    /* Only now may the flusher take it: from here on no number of its own can be given out. */
    old->last_seq = store->log.next_seq - 1;
    __atomic_store_n(&old->sealed, true, __ATOMIC_RELEASE);
    store->background.want_spare = true;
    store->background.changes++;
    pthread_cond_broadcast(&store->background.cond);
    pthread_mutex_unlock(&store->background.lock);
    count(&store->counters.rotations, 1);
    log_set_delay(store);
    return KV_OK;
}

static bool must_wait(const struct lsm *store)
{
    return !memtable_empty(store->log.memtable) && __atomic_load_n(&store->immutables, __ATOMIC_ACQUIRE) >= store->options.memtables;
}

/* Under log.lock, which may be given up for a while: room for the group in log and memtable.  *place: in the memtable. */
static kv_status make_room(struct lsm *store, struct epoch_slot *slot, uint64_t group_bytes, uint64_t entries_bytes, uint64_t *place)
{
    for (;;) {
        struct wal *wal = store->log.wal;
        if (tree_failed(store))
            return tree_refuses(store);
        if (wal && wal->tail + group_bytes <= wal->capacity && (*place = memtable_take(store->log.memtable, entries_bytes)) != 0)
            return KV_OK;
        if (must_wait(store))
            TRY(wait_for_flush(store));
        else
            TRY(begin(store, slot, group_bytes, entries_bytes));
    }
}

kv_status log_rotate(struct lsm *store, struct epoch_slot *slot)
{
    kv_status status = KV_OK;

    pthread_mutex_lock(&store->log.lock);
    while (status == KV_OK && (store->log.in_flight || must_wait(store))) {
        if (store->log.in_flight)
            pthread_cond_wait(&store->log.landed, &store->log.lock);
        else
            status = tree_failed(store) ? tree_refuses(store) : wait_for_flush(store);
    }
    if (status == KV_OK && !memtable_empty(store->log.memtable))
        status = tree_failed(store) ? tree_refuses(store) : begin(store, slot, 0, 0);
    pthread_mutex_unlock(&store->log.lock);
    return status;
}

/* ---- Tiers none to interval. ---- */

static void measure(const struct entry *entries, size_t count, uint64_t *writes_bytes, uint64_t *entries_bytes)
{
    *writes_bytes = *entries_bytes = 0;
    for (size_t i = 0; i < count; i++) {
        *writes_bytes += wal_write_bytes(entries[i].key.size, entries[i].value.size);
        *entries_bytes += memtable_entry_bytes(entries[i].key.size, entries[i].value.size);
    }
}

static void fill(struct memtable *memtable, uint64_t place, const struct entry *entries, const uint64_t *hashes, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        memtable_put(memtable, place, &entries[i], hashes[i]);
        place += memtable_entry_bytes(entries[i].key.size, entries[i].value.size);
    }
}

kv_status log_write(struct lsm_session *session, struct entry *entries, const uint64_t *hashes, size_t entry_count)
{
    struct lsm      *store = lsm_of(&session->base);
    struct memtable *memtable = NULL;
    uint64_t         writes_bytes, entries_bytes, place = 0;
    kv_status        status;

    measure(entries, entry_count, &writes_bytes, &entries_bytes);
    if (writes_bytes > BATCH_BYTES_MAX)
        return kv_fail(KV_TOO_LARGE, "a batch of %llu bytes; up to %llu are taken", (unsigned long long)writes_bytes,
                       (unsigned long long)BATCH_BYTES_MAX);
    pthread_mutex_lock(&store->log.lock);
    status = make_room(store, session->epoch, wal_group_bytes(writes_bytes), entries_bytes, &place);
    if (status == KV_OK) {
        struct wal *wal = store->log.wal;
        uint64_t    seq = store->log.next_seq;
        char       *at = wal->map + wal->tail + sizeof(struct wal_group);
        memtable = store->log.memtable;
        memtable_prefetch(memtable, hashes[0]);
        wal_make_ready(wal, wal->tail + wal_group_bytes(writes_bytes));
        for (size_t i = 0; i < entry_count; i++) {
            entries[i].seq = seq + i;
            at = wal_put_write(at, &entries[i]);
        }
        wal_seal_group(wal, wal->map + wal->tail, wal->tail, seq, durable_seq(store), writes_bytes, (uint32_t)entry_count);
        wal->tail += wal_group_bytes(writes_bytes);
        store->log.next_seq = seq + entry_count;
        __atomic_store_n(&session->writing_seq, seq, __ATOMIC_RELEASE);
        __atomic_store_n(&store->log.last_seq, seq + entry_count - 1, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&store->log.lock);
    TRY(status);
    /* The view may be rotated away meanwhile; the memtable is not flushed before writing_seq is taken back. */
    fill(memtable, place, entries, hashes, entry_count);
    __atomic_store_n(&session->writing_seq, 0, __ATOMIC_RELEASE);
    log_tidy(session->epoch);
    return ticker_wrote(store->ticker);
}

/* ---- Tier commit. ---- */

static struct commit_request *request_of(struct group_request *request)
{
    return (struct commit_request *)request;
}

/* An earlier write of the same group has the key, or its newest version is another than expected.  Only the leader writes, and
 * all groups before were applied. */
static kv_status check_condition(struct lsm_session *leader, struct group_request *first, struct commit_request *request)
{
    struct lsm  *store = lsm_of(&leader->base);
    struct entry newest = {0};
    kv_status    status;

    for (struct group_request *other = first; other != &request->base; other = other->next)
        for (size_t i = 0; i < request_of(other)->count; i++)
            if (!request_of(other)->lost && slice_equal(request_of(other)->entries[i].key, request->entries[0].key))
                request->lost = true;
    if (request->lost)
        return KV_OK;
    epoch_enter(leader->epoch);
    status = tree_find(store, view_now(store), leader->epoch, request->entries[0].key, request->hashes[0], SEQ_MAX, &newest);
    epoch_exit(leader->epoch);
    if (status != KV_OK && status != KV_NOT_FOUND)
        return status;
    request->lost = (status == KV_OK ? newest.seq : 0) != request->expected;
    return KV_OK;
}


static kv_status write_requests(struct lsm *store, struct group_request *first, struct wal *wal, uint64_t seq, uint64_t *bytes)
{
    struct buf *out = &store->commit.bytes;
    uint64_t    durable = durable_seq(store);

    out->size = 0;
    for (struct group_request *at = first; at; at = at->next) {
        struct commit_request *request = request_of(at);
        uint64_t               writes_bytes, entries_bytes;
        char                  *group, *write;
        if (request->lost || at->status != KV_OK)
            continue;
        measure(request->entries, request->count, &writes_bytes, &entries_bytes);
        TRY(buf_reserve(out, wal_group_bytes(writes_bytes)));
        group = out->data + out->size;
        write = group + sizeof(struct wal_group);
        for (size_t i = 0; i < request->count; i++) {
            ((struct entry *)request->entries)[i].seq = seq + i;
            write = wal_put_write(write, &request->entries[i]);
        }
        wal_seal_group(wal, group, wal->tail + out->size, seq, durable, writes_bytes, (uint32_t)request->count);
        out->size += wal_group_bytes(writes_bytes);
        seq += request->count;
    }
    *bytes = out->size;
    if (!out->size)
        return KV_OK;
    /* A failure leaves an unknown part in the file, and what is in the kernel's cache may not be what is on the disk: nothing
     * may be written behind it. */
    if (file_write_at(&wal->file, out->data, out->size, wal->tail) != KV_OK || file_sync_data(&wal->file) != KV_OK)
        return tree_fail(store);
    count(&store->counters.syncs, 1);
    return KV_OK;
}

/* Where a group goes in the memtable; NULL: nowhere, nothing of it was to be written. */
struct landing {
    struct memtable *memtable;
    uint64_t         place;
};

/* Makes the group durable.  What is left is to fill the memtable. */
static kv_status lead(struct lsm_session *session, struct group_request *first, struct landing *landing)
{
    struct lsm *store = lsm_of(&session->base);
    struct wal *wal;
    uint64_t    group_bytes = 0, entries_bytes = 0, bytes = 0, seq;
    size_t      count_all = 0;
    bool        conditional = false;
    kv_status   status = tree_failed(store) ? tree_refuses(store) : KV_OK;

    landing->memtable = NULL;
    for (struct group_request *at = first; at; at = at->next)
        conditional |= request_of(at)->conditional;
    if (conditional)
        visible_seq(store); /* the group before may still be on its way into the memtable */
    for (struct group_request *at = first; at && status == KV_OK; at = at->next) {
        struct commit_request *request = request_of(at);
        uint64_t               writes, entries;
        if (request->conditional)
            status = check_condition(session, first, request);
        if (request->lost)
            continue;
        measure(request->entries, request->count, &writes, &entries);
        group_bytes += wal_group_bytes(writes);
        entries_bytes += entries;
        count_all += request->count;
    }
    if (status != KV_OK || count_all == 0)
        return status;
    pthread_mutex_lock(&store->log.lock);
    status = make_room(store, session->epoch, group_bytes, entries_bytes, &landing->place);
    store->log.in_flight = status == KV_OK;
    landing->memtable = status == KV_OK ? store->log.memtable : NULL;
    wal = store->log.wal;
    seq = store->log.next_seq;
    pthread_mutex_unlock(&store->log.lock);
    TRY(status);
    status = write_requests(store, first, wal, seq, &bytes);
    pthread_mutex_lock(&store->log.lock);
    if (status == KV_OK) {
        wal->tail += bytes;
        store->log.next_seq = seq + count_all;
        raise_durable_seq(store, seq + count_all - 1);
        __atomic_store_n(&session->writing_seq, seq, __ATOMIC_RELEASE);
        __atomic_store_n(&store->log.last_seq, seq + count_all - 1, __ATOMIC_RELEASE);
    }
    store->log.in_flight = false;
    pthread_cond_broadcast(&store->log.landed);
    pthread_mutex_unlock(&store->log.lock);
    if (status != KV_OK)
        landing->memtable = NULL;
    return status;
}

/* Outside of the turn: the next group is written meanwhile.  The memtable may be rotated away, but it is not flushed before
 * writing_seq is taken back. */
static void land(struct lsm_session *session, struct group_request *first, struct landing landing)
{
    for (struct group_request *at = first; at; at = at->next) {
        struct commit_request *request = request_of(at);
        uint64_t               writes, entries;
        if (request->lost)
            continue;
        measure(request->entries, request->count, &writes, &entries);
        fill(landing.memtable, landing.place, request->entries, request->hashes, request->count);
        landing.place += entries;
    }
    __atomic_store_n(&session->writing_seq, 0, __ATOMIC_RELEASE);
}

kv_status log_commit(struct lsm_session *session)
{
    struct lsm            *store = lsm_of(&session->base);
    struct commit_request *request = &session->request;
    struct group_request  *base = &request->base;
    uint64_t               writes_bytes, entries_bytes;

    measure(request->entries, request->count, &writes_bytes, &entries_bytes);
    if (writes_bytes > BATCH_BYTES_MAX)
        return kv_fail(KV_TOO_LARGE, "a batch of %llu bytes; up to %llu are taken", (unsigned long long)writes_bytes,
                       (unsigned long long)BATCH_BYTES_MAX);
    base->bytes = entries_bytes + wal_group_bytes(writes_bytes);
    request->lost = false;
    if (group_join(&store->commit.queue, base)) {
        struct group_request *first;
        struct landing        landing;
        kv_status             status;
        pthread_mutex_lock(&store->commit.turn);
        first = group_take(&store->commit.queue, store->options.memtable_bytes / 2);
        status = lead(session, first, &landing);
        for (struct group_request *at = first; at; at = at->next) {
            at->status = status;
            if (status != KV_OK)
                snprintf(request_of(at)->said, sizeof request_of(at)->said, "%s", fail_text());
        }
        group_hand_over(&store->commit.queue);
        pthread_mutex_unlock(&store->commit.turn);
        if (landing.memtable)
            land(session, first, landing);
        group_wake(first, base);
    }
    log_tidy(session->epoch);
    return base->status == KV_OK ? KV_OK : kv_fail(base->status, "%s", request->said);
}

/* ---- Durability. ---- */

static struct wal *first_sealed(struct lsm *store)
{
    struct wal *wal;

    pthread_mutex_lock(&store->background.lock);
    wal = store->sealed;
    while (wal && wal->synced)
        wal = wal->next;
    pthread_mutex_unlock(&store->background.lock);
    return wal;
}

/* Oldest first: a later log must not be durable, and known to be, before an earlier one. */
static kv_status sync_all(struct lsm *store)
{
    struct wal *active, *sealed;
    uint64_t    target;

    pthread_mutex_lock(&store->log.lock);
    active = store->log.wal;
    target = store->log.next_seq - 1;
    pthread_mutex_unlock(&store->log.lock);
    if (target <= durable_seq(store))
        return KV_OK;
    while ((sealed = first_sealed(store)) != NULL) {
        TRY(file_sync_data(&sealed->file));
        sealed->synced = true;
        count(&store->counters.syncs, 1);
        raise_durable_seq(store, sealed->last_seq);
    }
    /* It may have been sealed since it was looked at, but not forgotten: that takes sync_lock. */
    if (active) {
        TRY(file_sync_data(&active->file));
        count(&store->counters.syncs, 1);
    }
    raise_durable_seq(store, target);
    return KV_OK;
}

kv_status tree_sync(struct lsm *store)
{
    kv_status status;

    pthread_mutex_lock(&store->sync_lock);
    status = tree_failed(store) ? tree_refuses(store) : sync_all(store);
    if (status != KV_OK)
        status = tree_fail(store);
    pthread_mutex_unlock(&store->sync_lock);
    return status;
}

void log_forget(struct lsm *store, uint64_t id)
{
    struct wal *wal, *keep = NULL;

    for (;;) {
        pthread_mutex_lock(&store->sync_lock);
        pthread_mutex_lock(&store->background.lock);
        wal = store->sealed;
        if (wal && (wal->id > id || store->background.log_readers))
            wal = NULL;
        if (wal && !(store->sealed = wal->next))
            store->sealed_last = &store->sealed;
        pthread_mutex_unlock(&store->background.lock);
        pthread_mutex_unlock(&store->sync_lock);
        if (!wal)
            break;
        /* One that is not mapped is kept for its blocks: the next log costs no zeros, and no sync of them.  A mapped one costs little
         * to make, and of one that is removed what was not written to the disk yet never is. */
        if (!keep && !store->mapped && !wal->mapped && wal->file.fd >= 0 &&
            wal->capacity == log_capacity(store->options.memtable_bytes) && !tree_failed(store)) {
            keep = wal;
            continue;
        }
        discard(store, wal);
    }
    if (!keep)
        return;
    pthread_mutex_lock(&store->background.lock);
    if (store->background.spare || store->background.preparing || store->background.closing) {
        wal = keep;
        keep = NULL;
    } else {
        store->background.preparing = true;
    }
    pthread_mutex_unlock(&store->background.lock);
    if (!keep) {
        discard(store, wal);
        return;
    }
    if (wal_recycle(store->dir.path, keep, file_id(store), &wal) != KV_OK)
        wal = NULL; /* who needs a log makes a new one, and tells */
    if (wal) {
        kv_status status = tree_name_log(store, wal->id, LOG_FOLLOWS);
        if (status != KV_OK && status != KV_IO)
            discard(store, wal);
        else if (status != KV_OK)
            wal_free(wal);
        if (status != KV_OK)
            wal = NULL;
    }
    pthread_mutex_lock(&store->background.lock);
    store->background.spare = wal;
    store->background.preparing = false;
    pthread_cond_broadcast(&store->background.cond);
    pthread_mutex_unlock(&store->background.lock);
}

/* ---- Back-pressure. ---- */

/* While the last memtables fill, writers are held to what the flusher was seen to do, and a little below it when there is no
 * other left: so they glide into its pace, and need not stand still for the whole of a flush. */
void log_set_delay(struct lsm *store)
{
    uint32_t waiting = __atomic_load_n(&store->immutables, __ATOMIC_ACQUIRE), most = store->options.memtables;
    uint64_t flush_ns = __atomic_load_n(&store->flush_ns_per_kib, __ATOMIC_RELAXED), delay_ns = 0;

    if (waiting >= most)
        delay_ns = flush_ns + flush_ns / 4;
    else if (waiting + 1 == most && waiting > 0)
        delay_ns = flush_ns;
    __atomic_store_n(&store->flush_delay_ns, delay_ns, __ATOMIC_RELAXED);
}

/* Sleeps off what is owed, in steps that a clock can keep.  The sessions stand in one line, so the pace is that of all. */
kv_status tree_back_pressure(struct lsm_session *session, uint64_t bytes)
{
    struct lsm *store = lsm_of(&session->base);
    uint64_t    run_ns = __atomic_load_n(&store->run_delay_ns, __ATOMIC_RELAXED);
    uint64_t    flush_ns = __atomic_load_n(&store->flush_delay_ns, __ATOMIC_RELAXED), now_ns, before_ns, until_ns, woken_ns;

    if (__builtin_expect((run_ns | flush_ns) == 0, 1))
        return KV_OK;
    session->owed_ns += (run_ns > flush_ns ? run_ns : flush_ns) * bytes / 1024;
    if (session->owed_ns < DELAY_STEP_NS)
        return KV_OK;
    now_ns = clock_now_ns();
    before_ns = __atomic_load_n(&store->paced_until_ns, __ATOMIC_RELAXED);
    do {
        until_ns = (before_ns > now_ns ? before_ns : now_ns) + session->owed_ns;
        if (until_ns > now_ns + DELAY_MAX_NS)
            until_ns = now_ns + DELAY_MAX_NS;
    } while (!__atomic_compare_exchange_n(&store->paced_until_ns, &before_ns, until_ns, true, __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    session->owed_ns = 0;
    clock_sleep_until_ns(until_ns);
    count(&store->counters.delays, 1);
    woken_ns = clock_now_ns();
    count(&store->counters.delay_ns, woken_ns - now_ns);
    /* What was asked for is this engine's doing; that a busy machine wakes a thread late is not. */
    raise_figure(&store->counters.imposed_max_ns, until_ns - now_ns);
    if (woken_ns > until_ns)
        raise_figure(&store->counters.late_max_ns, woken_ns - until_ns);
    return tree_failed(store) ? tree_refuses(store) : KV_OK;
}
