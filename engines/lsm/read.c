/* read.c -- gets look through the view from the youngest to the oldest; scans go through all of it side by side. */
#include "engines/lsm/read.h"

#include "engines/base/snapshot.h"

/*
 * A get waits for memory more than for anything else, so what it may need is asked for ahead: the buckets of the memtables, and the
 * filters of the tables, before the first of them is looked at.
 */
#define RUNS_AHEAD 16u /* of a version, usually all */

struct lookup {
    slice         key;
    uint64_t      hash, seq;
    struct table *covers[RUNS_AHEAD]; /* of the first runs; NULL: none */
};

static void ask(const struct view *view, struct lookup *lookup)
{
    const struct version *version = view->version;

    memtable_prefetch(view->active, lookup->hash);
    for (uint32_t i = 0; i < view->immutables; i++)
        memtable_prefetch(view->immutable[i], lookup->hash);
    for (size_t i = 0; i < version->count && i < RUNS_AHEAD; i++)
        if ((lookup->covers[i] = run_find(&version->run[i], lookup->key)) != NULL)
            table_ask(lookup->covers[i], lookup->key, lookup->hash);
}

static kv_status find_in_tables(const struct version *version, struct epoch_slot *slot, const struct lookup *lookup,
                                struct entry *out)
{
    kv_status found = KV_NOT_FOUND;

    out->seq = 0;
    for (size_t i = 0; i < version->count; i++) {
        const struct run_of_tables *run = &version->run[i];
        struct table               *table = i < RUNS_AHEAD ? lookup->covers[i] : run_find(run, lookup->key);
        struct entry                entry;
        kv_status                   status;
        /* Usually this is true of all later runs: what is found first is the youngest. */
        if (run->last_seq <= out->seq || !table || table->is.last_seq <= out->seq ||
            !table_may_have(table, lookup->key, lookup->hash))
            continue;
        status = table_get(table, slot, lookup->key, lookup->seq, &entry);
        if (status == KV_OK && entry.seq > out->seq) {
            *out = entry;
            found = KV_OK;
        } else if (status != KV_OK && status != KV_NOT_FOUND) {
            return status;
        }
    }
    return found;
}

kv_status tree_find(const struct lsm *store, const struct view *view, struct epoch_slot *slot, slice key, uint64_t hash, uint64_t seq,
               struct entry *out)
{
    struct lookup lookup;

    (void)store;
    lookup.key = key;
    lookup.hash = hash;
    lookup.seq = seq;
    ask(view, &lookup);
    if (memtable_get(view->active, key, hash, seq, out))
        return KV_OK;
    for (uint32_t i = 0; i < view->immutables; i++)
        if (memtable_get(view->immutable[i], key, hash, seq, out))
            return KV_OK;
    return find_in_tables(view->version, slot, &lookup, out);
}

kv_status lsm_get(struct kv_session *base, slice key, kv_visit *visit, void *arg)
{
    struct lsm_session *session = (struct lsm_session *)base;
    struct lsm         *store = lsm_of(base);
    struct entry        entry;
    kv_status           status;

    epoch_enter(session->epoch);
    status = tree_find(store, view_now(store), session->epoch, key, key_hash(key), SEQ_MAX, &entry);
    if (status == KV_OK && entry.type == ENTRY_DELETE)
        status = KV_NOT_FOUND;
    if (status == KV_OK)
        visit(arg, entry.key, entry.value);
    epoch_exit(session->epoch);
    return status;
}

/* ---- Scans. ---- */

static kv_status add_sources(struct moment *moment, struct lsm_session *session, bool streams)
{
    struct view *view = moment->view;

    TRY(iterator_open(&moment->iterator, 1 + view->immutables + view->version->count));
    TRY(iterator_add_memtable(&moment->iterator, view->active, moment->seq));
    for (uint32_t i = 0; i < view->immutables; i++)
        TRY(iterator_add_memtable(&moment->iterator, view->immutable[i], moment->seq));
    for (size_t i = 0; i < view->version->count; i++)
        TRY(iterator_add_tables(&moment->iterator, view->version->run[i].table, view->version->run[i].count, session->epoch,
                                streams));
    return KV_OK;
}

kv_status moment_open(struct moment *moment, struct lsm_session *session, bool streams)
{
    struct lsm *store = lsm_of(&session->base);
    kv_status   status;

    *moment = (struct moment){.view = view_keep(store, session->epoch)};
    moment->seq = visible_seq(store);
    /* What was written behind a memtable that has been sealed since the view was taken is not in it, and came later. */
    if (memtable_sealed(moment->view->active) && moment->seq > moment->view->active->last_seq)
        moment->seq = moment->view->active->last_seq;
    if ((status = add_sources(moment, session, streams)) != KV_OK)
        moment_close(moment);
    return status;
}

void moment_close(struct moment *moment)
{
    iterator_close(&moment->iterator);
    view_release(moment->view);
    *moment = (struct moment){0};
}

bool moment_live(struct moment *moment, bool more)
{
    while (more && iterator_entry(&moment->iterator)->type == ENTRY_DELETE)
        more = iterator_next_key(&moment->iterator);
    return more;
}

static kv_status moment_status(const struct moment *moment)
{
    if (moment->iterator.status != KV_OK)
        fail_set("%s", moment->iterator.said);
    return moment->iterator.status;
}

kv_status lsm_scan(struct kv_session *base, slice first, kv_visit *visit, void *arg)
{
    struct moment moment;
    kv_status     status;

    TRY(moment_open(&moment, (struct lsm_session *)base, false));
    for (bool more = moment_live(&moment, iterator_seek(&moment.iterator, first)); more;
         more = moment_live(&moment, iterator_next_key(&moment.iterator))) {
        const struct entry *entry = iterator_entry(&moment.iterator);
        if (!visit(arg, entry->key, entry->value))
            break;
    }
    status = moment_status(&moment);
    moment_close(&moment);
    return status;
}

kv_status lsm_snapshot(struct kv_session *base, int fd)
{
    struct snapshot_writer writer;
    struct moment          moment = {0};
    kv_status              status = snapshot_writer_open(&writer, fd);

    if (status == KV_OK)
        status = moment_open(&moment, (struct lsm_session *)base, true);
    if (status == KV_OK) {
        for (bool more = moment_live(&moment, iterator_seek(&moment.iterator, (slice){0})); more && status == KV_OK;
             more = moment_live(&moment, iterator_next_key(&moment.iterator))) {
            const struct entry *entry = iterator_entry(&moment.iterator);
            status = snapshot_writer_add(&writer, entry->key, entry->value);
            if (status == KV_OK)
                status = snapshot_writer_flush(&writer);
        }
        if (status == KV_OK)
            status = moment_status(&moment);
        moment_close(&moment);
    }
    if (status == KV_OK)
        status = snapshot_writer_end(&writer);
    snapshot_writer_free(&writer);
    return status;
}
