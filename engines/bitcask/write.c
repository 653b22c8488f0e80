/* write.c -- put, delete, modify and batches, in both ways: through the mapping, and through group commit. */
#include <stdlib.h>

#include "engines/bitcask/commit.h"
#include "engines/bitcask/ops.h"
#include "engines/bitcask/read.h"
#include "engines/bitcask/store.h"

/* A record is in the log and could not be indexed: only the next open can set that right. */
static kv_status not_indexed(struct bitcask *store)
{
    fail_set("no memory to index a write that is in the log already: the store takes no more writes");
    return store_fail(store);
}

/* Through the mapping. */

/* With the bucket locked and the key sought. */
static kv_status append_and_point(struct bitcask *store, struct index_place *place, struct log_write *write)
{
    TRY(log_append(store, write));
    if (write->type == RECORD_DELETE)
        index_remove(store->index, place);
    else if (index_put(store->index, place, write->ref) != KV_OK)
        return not_indexed(store);
    return KV_OK;
}

static kv_status write_mapped(struct bitcask_session *session, struct log_write *write)
{
    struct bitcask    *store = (struct bitcask *)session->base.store;
    struct index_place place;
    kv_status          status;

    TRY(log_back_pressure(store));
    epoch_enter(session->epoch);
    index_lock(store->index, write->hash, &place);
    write->old = index_seek(&place, write->key, match_key, store);
    if (write->type == RECORD_DELETE && !write->old)
        status = store_failed(store) ? store_refuses(store) : KV_OK; /* absent: nothing to bury */
    else
        status = append_and_point(store, &place, write);
    index_unlock(store->index, session->epoch, &place);
    epoch_exit(session->epoch);
    return status;
}

/* Through group commit. */

static kv_status write_commit(struct bitcask_session *session, struct log_write *writes, size_t count, bool batch)
{
    struct commit_request *request = session->request;

    request->writes = writes;
    request->count = count;
    request->batch = batch;
    request->conditional = false;
    TRY(log_back_pressure((struct bitcask *)session->base.store));
    return commit_write(session, request);
}

static kv_status write_one(struct bitcask_session *session, enum record_type type, slice key, slice value)
{
    struct bitcask  *store = (struct bitcask *)session->base.store;
    struct log_write write = {.type = type, .key = key, .value = value, .hash = index_hash(key)};

    return store->mapped ? write_mapped(session, &write) : write_commit(session, &write, 1, false);
}

kv_status ops_put(struct kv_session *session, slice key, slice value)
{
    return write_one((struct bitcask_session *)session, RECORD_PUT, key, value);
}

kv_status ops_del(struct kv_session *session, slice key)
{
    return write_one((struct bitcask_session *)session, RECORD_DELETE, key, (slice){0});
}

/* Modify. */

/* Calls change with the value at ref, which must not go away meanwhile, or with none. */
static kv_status changed(struct bitcask_session *session, uint64_t ref, slice key, uint64_t hash, kv_change *change,
                         void *arg)
{
    struct bitcask *store = (struct bitcask *)session->base.store;
    slice           old;
    kv_status       status;

    session->value.size = 0;
    if (ref)
        TRY(read_value(store, ref, key, hash, &old));
    status = change(arg, ref ? &old : NULL, &session->value);
    if (status == KV_OK && session->value.size > KV_VALUE_BYTES_MAX)
        status = kv_fail(KV_TOO_LARGE, "a value of %zu bytes for a key of %zu; bitcask takes up to %u", session->value.size,
                         key.size, KV_VALUE_BYTES_MAX);
    return status;
}

static kv_status modify_mapped(struct bitcask_session *session, slice key, kv_change *change, void *arg)
{
    struct bitcask    *store = (struct bitcask *)session->base.store;
    struct log_write   write = {.type = RECORD_PUT, .key = key, .hash = index_hash(key)};
    struct index_place place;
    kv_status          status;

    TRY(log_back_pressure(store));
    epoch_enter(session->epoch);
    index_lock(store->index, write.hash, &place);
    write.old = index_seek(&place, key, match_key, store);
    status = changed(session, write.old, key, write.hash, change, arg);
    if (status == KV_OK) {
        write.value = buf_slice(&session->value);
        status = append_and_point(store, &place, &write);
    }
    index_unlock(store->index, session->epoch, &place);
    epoch_exit(session->epoch);
    return status;
}

/* Reads, computes, and has the leader check that the key has not moved since; else does it again. */
static kv_status modify_commit(struct bitcask_session *session, slice key, kv_change *change, void *arg)
{
    struct bitcask        *store = (struct bitcask *)session->base.store;
    struct commit_request *request = session->request;
    struct log_write       write = {.type = RECORD_PUT, .key = key, .hash = index_hash(key)};
    kv_status              status;

    do {
        TRY(log_back_pressure(store));
        epoch_enter(session->epoch);
        request->expected = index_find(store->index, write.hash, key, match_key, store);
        status = changed(session, request->expected, key, write.hash, change, arg);
        epoch_exit(session->epoch);
        TRY(status);
        write.value = buf_slice(&session->value);
        request->writes = &write;
        request->count = 1;
        request->batch = false;
        request->conditional = true;
        TRY(commit_write(session, request));
    } while (request->lost);
    return KV_OK;
}

kv_status ops_modify(struct kv_session *base, slice key, kv_change *change, void *arg)
{
    struct bitcask_session *session = (struct bitcask_session *)base;

    return ((struct bitcask *)base->store)->mapped ? modify_mapped(session, key, change, arg)
                                                   : modify_commit(session, key, change, arg);
}

/* Batches. */

static kv_status gather(struct bitcask_session *session, const struct kv_write *writes, size_t count)
{
    struct log_write *out;

    session->writes.size = 0;
    TRY(buf_reserve(&session->writes, count * sizeof *out));
    out = (struct log_write *)session->writes.data;
    for (size_t i = 0; i < count; i++)
        out[i] = (struct log_write){.type = writes[i].kind == KV_PUT ? RECORD_PUT : RECORD_DELETE, .key = writes[i].key,
                                    .value = writes[i].kind == KV_PUT ? writes[i].value : (slice){0},
                                    .hash = index_hash(writes[i].key)};
    return KV_OK;
}

static kv_status point_many(struct bitcask_session *session, struct log_write *writes, size_t count)
{
    struct bitcask *store = (struct bitcask *)session->base.store;

    for (size_t i = 0; i < count; i++) {
        struct index_place *place = &session->batch.place[i];
        uint64_t            old = index_seek(place, writes[i].key, match_key, store);
        if (writes[i].type == RECORD_DELETE)
            index_remove(store->index, place);
        else if (index_put(store->index, place, writes[i].ref) != KV_OK)
            return not_indexed(store);
        if (!old)
            continue;
        pthread_mutex_lock(&store->log.lock);
        log_displaced(store, old);
        pthread_mutex_unlock(&store->log.lock);
    }
    return KV_OK;
}

static kv_status batch_mapped(struct bitcask_session *session, struct log_write *writes, size_t count)
{
    struct bitcask *store = (struct bitcask *)session->base.store;
    kv_status       status;

    TRY(log_back_pressure(store));
    TRY(index_batch_reserve(&session->batch, count));
    TRY(epoch_reserve(session->epoch, count));
    for (size_t i = 0; i < count; i++)
        session->batch.place[i].hash = writes[i].hash;
    epoch_enter(session->epoch);
    index_lock_many(store->index, &session->batch);
    status = log_append_batch(store, writes, count);
    if (status == KV_OK)
        status = point_many(session, writes, count);
    index_unlock_many(store->index, session->epoch, &session->batch);
    epoch_exit(session->epoch);
    return status;
}

kv_status ops_write(struct kv_session *base, const struct kv_write *writes, size_t count)
{
    struct bitcask_session *session = (struct bitcask_session *)base;
    struct log_write       *gathered;

    TRY(gather(session, writes, count));
    gathered = (struct log_write *)session->writes.data;
    return ((struct bitcask *)base->store)->mapped ? batch_mapped(session, gathered, count)
                                                   : write_commit(session, gathered, count, true);
}
