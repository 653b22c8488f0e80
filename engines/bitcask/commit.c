/*
 * commit.c -- leader and followers: whoever finds nobody leading writes what all have queued, with one sync.
 *
 *   1  a session queues its write; if there is a leader it sleeps (base/group.h)
 *   2  the leader takes what is queued and fits the segment, gives it sequence numbers, writes it with one pwrite over
 *      the zeros that are there, and syncs: the file's size and blocks do not change, so that is one flush
 *   3  it hands the lead to the first in the queue, so that the next group syncs while this one is acknowledged
 *   4  it points the keydir at the new records, in the order of the log, and wakes its followers
 *
 * So nobody ever reads what is not on the disk.  Step 4 of a group begins before the next leader has the lead and ends
 * before that one's step 4: `turn` is taken before the lead is handed on.  It is also taken before the log grows by the
 * group, and so before its segment can be sealed: a merge that has held it since finds all of the segment in the keydir.
 * A group starts with a MARK: all groups before it were durable when it was written.
 */
#include "engines/bitcask/commit.h"

#include <inttypes.h>
#include <stdlib.h>

kv_status commit_open(struct bitcask *store)
{
    group_init(&store->commit.queue);
    pthread_mutex_init(&store->commit.turn, NULL);
    return KV_OK;
}

void commit_close(struct bitcask *store)
{
    group_destroy(&store->commit.queue);
    pthread_mutex_destroy(&store->commit.turn);
    buf_free(&store->commit.bytes);
    buf_free(&store->commit.hashes);
}

void commit_wait_applied(struct bitcask *store)
{
    pthread_mutex_lock(&store->commit.turn);
    pthread_mutex_unlock(&store->commit.turn);
}

kv_status commit_request_open(struct commit_request **out)
{
    *out = calloc(1, sizeof **out);
    if (!*out)
        return kv_fail(KV_NO_MEMORY, "no memory for a session");
    group_request_init(&(*out)->base);
    return KV_OK;
}

void commit_request_close(struct commit_request *request)
{
    if (request)
        group_request_destroy(&request->base);
    free(request);
}

/* A group. */

struct convoy {
    struct bitcask        *store;
    struct bitcask_session *session; /* the leader's */
    struct commit_request *first;
    uint64_t               bytes; /* at most, mark included */
    uint64_t               seq;   /* of its last record */
};

static struct commit_request *next_of(const struct commit_request *request)
{
    return (struct commit_request *)request->base.next;
}

/* Takes the first of the queue and all behind it that fit in beside it. */
static void take(struct convoy *group)
{
    struct log *log = &group->store->log;
    uint64_t    room;

    pthread_mutex_lock(&log->lock);
    room = log->active ? log->active->capacity - log->tail : 0;
    pthread_mutex_unlock(&log->lock);
    group->first = (struct commit_request *)group_take(&group->store->commit.queue,
                                                       room > RECORD_MARK_BYTES ? room - RECORD_MARK_BYTES : 0);
    group->bytes = RECORD_MARK_BYTES;
    for (struct commit_request *request = group->first; request; request = next_of(request))
        group->bytes += request->base.bytes;
}

/* Whether an earlier write of the group has that hash; equal hashes of different keys only cost a retry. */
static bool hash_is_in(const struct buf *hashes, uint64_t hash)
{
    const uint64_t *all = (const uint64_t *)hashes->data;

    for (size_t i = 0; i < hashes->size / sizeof hash; i++)
        if (all[i] == hash)
            return true;
    return false;
}

static uint64_t current_ref(struct convoy *group, const struct log_write *write)
{
    uint64_t ref;

    epoch_enter(group->session->epoch);
    ref = index_find(group->store->index, write->hash, write->key, match_key, group->store);
    epoch_exit(group->session->epoch);
    return ref;
}

/* Marks the requests whose condition does not hold.  Needs the keydir as the group before left it. */
static kv_status check_conditions(struct convoy *group)
{
    struct buf *hashes = &group->store->commit.hashes;
    bool        any = false;

    for (struct commit_request *request = group->first; request; request = next_of(request))
        any |= request->conditional;
    if (!any)
        return KV_OK;
    pthread_mutex_lock(&group->store->commit.turn);
    pthread_mutex_unlock(&group->store->commit.turn);
    hashes->size = 0;
    for (struct commit_request *request = group->first; request; request = next_of(request)) {
        request->lost = request->conditional && (hash_is_in(hashes, request->writes[0].hash) ||
                                                 current_ref(group, &request->writes[0]) != request->expected);
        for (size_t i = 0; !request->lost && i < request->count; i++)
            TRY(buf_append(hashes, &request->writes[i].hash, sizeof request->writes[i].hash));
    }
    return KV_OK;
}

/* Forms the records of the group as they will stand from the tail on. */
struct encoder {
    struct segment *active;
    struct buf     *bytes;
    uint64_t        tail, seq;
};

static void encode(struct encoder *encoder, enum record_type type, unsigned flags, slice key, uint64_t hash, slice value,
                   uint64_t *ref)
{
    uint64_t offset = encoder->tail + encoder->bytes->size;

    record_write(encoder->bytes->data + encoder->bytes->size, segment_place(encoder->active, offset), encoder->seq++, type,
                 flags, key, hash, value);
    encoder->bytes->size += record_bytes(key.size, value.size);
    if (ref)
        *ref = ref_make(encoder->active, offset);
}

static void encode_request(struct encoder *encoder, struct commit_request *request)
{
    struct record_batch batch = {request->count, request->base.bytes - RECORD_BATCH_BYTES};
    slice               none = {0};

    if (request->batch)
        encode(encoder, RECORD_BATCH, 0, none, index_hash(none), slice_of(&batch, sizeof batch), NULL);
    for (size_t i = 0; i < request->count; i++) {
        struct log_write *write = &request->writes[i];
        encode(encoder, write->type, request->batch ? RECORD_IN_BATCH : 0, write->key, write->hash, write->value,
               &write->ref);
    }
}

/* Under log.lock: others may move the tail again. */
static void land(struct bitcask *store)
{
    store->log.in_flight = false;
    pthread_cond_broadcast(&store->log.settled);
}

static kv_status write_group(struct convoy *group)
{
    struct bitcask *store = group->store;
    struct encoder  encoder = {.bytes = &store->commit.bytes};
    uint64_t        durable = durable_seq(store);
    slice           none = {0};
    kv_status       status;

    encoder.bytes->size = 0;
    TRY(buf_reserve(encoder.bytes, group->bytes));
    pthread_mutex_lock(&store->log.lock);
    status = log_room(store, group->bytes);
    encoder.active = store->log.active;
    encoder.tail = store->log.tail;
    encoder.seq = store->log.next_seq;
    store->log.in_flight = status == KV_OK;
    pthread_mutex_unlock(&store->log.lock);
    TRY(status);
    encode(&encoder, RECORD_MARK, 0, none, index_hash(none), slice_of(&durable, sizeof durable), NULL);
    for (struct commit_request *request = group->first; request; request = next_of(request))
        if (!request->lost)
            encode_request(&encoder, request);
    group->bytes = encoder.bytes->size;
    group->seq = encoder.seq - 1;
    /* A failure leaves an unknown part of the group in the file, and what is in the kernel's cache may not be what is on
     * the disk: nothing may be written behind it. */
    if (file_write_at(&encoder.active->file, encoder.bytes->data, encoder.bytes->size, encoder.tail) != KV_OK ||
        file_sync_data(&encoder.active->file) != KV_OK) {
        status = store_fail(store);
        pthread_mutex_lock(&store->log.lock);
        land(store);
        pthread_mutex_unlock(&store->log.lock);
        return status;
    }
    count(&store->counters.syncs, 1);
    return KV_OK;
}

/* The log has grown by the group. */
static void advance(struct convoy *group)
{
    struct bitcask *store = group->store;

    pthread_mutex_lock(&store->log.lock);
    land(store);
    store->log.tail += group->bytes;
    store->log.next_seq = group->seq + 1;
    store->log.active->dead_bytes += RECORD_MARK_BYTES;
    store->log.dead_bytes += RECORD_MARK_BYTES;
    for (struct commit_request *request = group->first; request; request = next_of(request)) {
        if (request->lost)
            continue;
        if (request->batch) {
            store->log.active->dead_bytes += RECORD_BATCH_BYTES;
            store->log.dead_bytes += RECORD_BATCH_BYTES;
        }
        for (size_t i = 0; i < request->count; i++)
            log_count_write(store, &request->writes[i]);
    }
    log_written(store, group->bytes);
    raise_durable_seq(store, group->seq);
    pthread_mutex_unlock(&store->log.lock);
}

static kv_status apply_write(struct convoy *group, struct log_write *write)
{
    struct bitcask    *store = group->store;
    struct index_place place;
    kv_status          status = KV_OK;
    uint64_t           old;

    index_lock(store->index, write->hash, &place);
    old = index_seek(&place, write->key, match_key, store);
    if (write->type == RECORD_PUT)
        status = index_put(store->index, &place, write->ref);
    else
        index_remove(store->index, &place);
    if (old && status == KV_OK) {
        pthread_mutex_lock(&store->log.lock);
        log_displaced(store, old);
        pthread_mutex_unlock(&store->log.lock);
    }
    index_unlock(store->index, group->session->epoch, &place);
    return status;
}

/* Most keys are somewhere else than the last one: the misses for their buckets and then for what they displace overlap. */
static void prefetch(struct convoy *group)
{
    struct bitcask *store = group->store;

    for (struct commit_request *request = group->first; request; request = next_of(request))
        for (size_t i = 0; !request->lost && i < request->count; i++)
            index_prefetch(store->index, request->writes[i].hash);
    for (struct commit_request *request = group->first; request; request = next_of(request)) {
        for (size_t i = 0; !request->lost && i < request->count; i++) {
            uint64_t ref = index_candidate(store->index, request->writes[i].hash);
            if (ref)
                __builtin_prefetch(ref_record(store, ref));
        }
    }
}

/* In one epoch: a snapshot stops the world, and must not do so in the middle of a batch. */
static void apply(struct convoy *group)
{
    epoch_enter(group->session->epoch);
    prefetch(group);
    for (struct commit_request *request = group->first; request; request = next_of(request))
        for (size_t i = 0; !request->lost && i < request->count; i++)
            if (apply_write(group, &request->writes[i]) != KV_OK)
                request->base.status = store_fail(group->store); /* durable, but not to be seen before the next open */
    epoch_exit(group->session->epoch);
}

static void lead(struct bitcask_session *session, struct commit_request *leader)
{
    struct bitcask *store = (struct bitcask *)session->base.store;
    struct convoy   group = {.store = store, .session = session};
    kv_status       status;

    take(&group);
    status = store_failed(store) ? store_refuses(store) : check_conditions(&group);
    if (status == KV_OK)
        status = write_group(&group);
    for (struct commit_request *request = group.first; request; request = next_of(request))
        request->base.status = status;
    pthread_mutex_lock(&store->commit.turn); /* before the log grows: see commit_wait_applied */
    if (status == KV_OK)
        advance(&group);
    group_hand_over(&store->commit.queue);
    if (status == KV_OK)
        apply(&group);
    pthread_mutex_unlock(&store->commit.turn);
    group_wake(&group.first->base, &leader->base);
}

static kv_status measure(struct bitcask *store, struct commit_request *request)
{
    uint64_t bytes = request->batch ? RECORD_BATCH_BYTES : 0;

    for (size_t i = 0; i < request->count; i++)
        bytes += record_bytes(request->writes[i].key.size, request->writes[i].value.size);
    if (bytes > BATCH_BYTES_MAX)
        return kv_fail(KV_TOO_LARGE, "a batch of %" PRIu64 " bytes; up to %" PRIu64 " are taken", bytes, BATCH_BYTES_MAX);
    request->base.bytes = bytes;
    return store_failed(store) ? store_refuses(store) : KV_OK;
}

kv_status commit_write(struct bitcask_session *session, struct commit_request *request)
{
    struct bitcask *store = (struct bitcask *)session->base.store;

    TRY(measure(store, request));
    request->lost = false;
    if (group_join(&store->commit.queue, &request->base))
        lead(session, request);
    switch (request->base.status) {
    case KV_IO:
        return store_refuses(store); /* the sentence was another thread's */
    case KV_NO_SPACE:
        return kv_fail(KV_NO_SPACE, "%s: no space for the next segment of the log", store->dir.path);
    case KV_NO_MEMORY:
        return kv_fail(KV_NO_MEMORY, "no memory for a group of writes");
    default:
        return request->base.status;
    }
}
