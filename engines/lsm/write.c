/* write.c -- from the calls of a session to a group of the log. */
#include "engines/lsm/write.h"

#include "engines/lsm/store.h"

static pthread_mutex_t *stripe_of(struct lsm *store, uint64_t hash)
{
    return &store->stripe[hash % STRIPES];
}

/* Tier commit; the leader's order is the order of everything, so no stripes. */
static kv_status commit(struct lsm_session *session, struct entry *entries, const uint64_t *hashes, size_t entry_count)
{
    struct commit_request *request = &session->request;

    request->entries = entries;
    request->hashes = hashes;
    request->count = entry_count;
    request->conditional = false;
    return log_commit(session);
}

static kv_status write_one(struct kv_session *base, struct entry *entry)
{
    struct lsm_session *session = (struct lsm_session *)base;
    struct lsm         *store = lsm_of(base);
    uint64_t            hash = key_hash(entry->key);
    kv_status           status;

    TRY(tree_back_pressure(session, memtable_entry_bytes(entry->key.size, entry->value.size)));
    if (!store->mapped)
        return commit(session, entry, &hash, 1);
    pthread_mutex_lock(stripe_of(store, hash));
    status = log_write(session, entry, &hash, 1);
    pthread_mutex_unlock(stripe_of(store, hash));
    return status;
}

kv_status lsm_put(struct kv_session *session, slice key, slice value)
{
    return write_one(session, &(struct entry){.key = key, .value = value, .type = ENTRY_PUT});
}

kv_status lsm_del(struct kv_session *session, slice key)
{
    return write_one(session, &(struct entry){.key = key, .type = ENTRY_DELETE});
}

/* ---- Batches. ---- */

static int by_stripe(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

    return (x > y) - (x < y);
}

/* The stripes of the hashes, sorted, each once: to lock in this order cannot deadlock. */
static kv_status stripes_of(struct lsm_session *session, size_t hash_count, size_t *stripes)
{
    const uint64_t *hashes = (const uint64_t *)session->hashes.data;
    uint32_t       *stripe;
    size_t          kept = 0;

    session->places.size = 0;
    TRY(buf_reserve(&session->places, hash_count * sizeof *stripe));
    stripe = (uint32_t *)session->places.data;
    for (size_t i = 0; i < hash_count; i++)
        stripe[i] = (uint32_t)(hashes[i] % STRIPES);
    qsort(stripe, hash_count, sizeof *stripe, by_stripe);
    for (size_t i = 0; i < hash_count; i++)
        if (kept == 0 || stripe[i] != stripe[kept - 1])
            stripe[kept++] = stripe[i];
    *stripes = kept;
    return KV_OK;
}

kv_status lsm_write(struct kv_session *base, const struct kv_write *writes, size_t write_count)
{
    struct lsm_session *session = (struct lsm_session *)base;
    struct lsm         *store = lsm_of(base);
    uint64_t            bytes = 0;
    size_t              stripes;
    kv_status           status;

    session->entries.size = session->hashes.size = 0;
    for (size_t i = 0; i < write_count; i++) {
        struct entry entry = {.key = writes[i].key, .type = writes[i].kind == KV_PUT ? ENTRY_PUT : ENTRY_DELETE};
        uint64_t     hash = key_hash(entry.key);
        if (entry.type == ENTRY_PUT)
            entry.value = writes[i].value;
        TRY(buf_append(&session->entries, &entry, sizeof entry));
        TRY(buf_append(&session->hashes, &hash, sizeof hash));
        bytes += memtable_entry_bytes(entry.key.size, entry.value.size);
    }
    TRY(tree_back_pressure(session, bytes));
    if (!store->mapped)
        return commit(session, (struct entry *)session->entries.data, (const uint64_t *)session->hashes.data, write_count);
    TRY(stripes_of(session, write_count, &stripes));
    for (size_t i = 0; i < stripes; i++)
        pthread_mutex_lock(&store->stripe[((uint32_t *)session->places.data)[i]]);
    status = log_write(session, (struct entry *)session->entries.data, (const uint64_t *)session->hashes.data, write_count);
    for (size_t i = 0; i < stripes; i++)
        pthread_mutex_unlock(&store->stripe[((uint32_t *)session->places.data)[i]]);
    return status;
}

/* ---- Read, modify, write. ---- */

/* The new value from the newest one; *seq is that one's number, 0 when the key was never written. */
static kv_status make_value(struct lsm_session *session, slice key, uint64_t hash, kv_change *change, void *arg, uint64_t *seq)
{
    struct lsm  *store = lsm_of(&session->base);
    struct entry entry = {0};
    kv_status    status;

    session->value.size = 0;
    epoch_enter(session->epoch);
    status = tree_find(store, view_now(store), session->epoch, key, hash, SEQ_MAX, &entry);
    *seq = status == KV_OK ? entry.seq : 0;
    if (status == KV_OK || status == KV_NOT_FOUND) {
        bool there = status == KV_OK && entry.type == ENTRY_PUT;
        status = change(arg, there ? &entry.value : NULL, &session->value);
    }
    epoch_exit(session->epoch);
    if (status == KV_OK && session->value.size > KV_VALUE_BYTES_MAX)
        return kv_fail(KV_TOO_LARGE, "a value of %zu bytes; up to %u are taken", session->value.size, KV_VALUE_BYTES_MAX);
    return status;
}

/* The leader writes it only if nobody else has written the key since; else once more. */
static kv_status modify_committed(struct lsm_session *session, slice key, uint64_t hash, kv_change *change, void *arg)
{
    struct commit_request *request = &session->request;

    do {
        struct entry entry = {.key = key, .type = ENTRY_PUT};
        uint64_t     seq;
        TRY(make_value(session, key, hash, change, arg, &seq));
        entry.value = buf_slice(&session->value);
        request->entries = &entry;
        request->hashes = &hash;
        request->count = 1;
        request->conditional = true;
        request->expected = seq;
        TRY(log_commit(session));
    } while (request->lost);
    return KV_OK;
}

kv_status lsm_modify(struct kv_session *base, slice key, kv_change *change, void *arg)
{
    struct lsm_session *session = (struct lsm_session *)base;
    struct lsm         *store = lsm_of(base);
    uint64_t            hash = key_hash(key), seq;
    kv_status           status;

    TRY(tree_back_pressure(session, memtable_entry_bytes(key.size, session->value.size)));
    if (!store->mapped)
        return modify_committed(session, key, hash, change, arg);
    pthread_mutex_lock(stripe_of(store, hash));
    status = make_value(session, key, hash, change, arg, &seq);
    if (status == KV_OK) {
        struct entry entry = {.key = key, .value = buf_slice(&session->value), .type = ENTRY_PUT};
        status = log_write(session, &entry, &hash, 1);
    }
    pthread_mutex_unlock(stripe_of(store, hash));
    return status;
}
