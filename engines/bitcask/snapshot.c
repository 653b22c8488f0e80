/*
 * snapshot.c -- a copy of one moment, streamed while writes go on.
 *
 * The world stands still while the index's cut begins, so batches are in it whole or not at all.  Records never change
 * and stay in their segments; a segment that is merged away meanwhile is unlinked but stays mapped until the snapshot
 * has ended, so every ref of the cut stays good.
 */
#include <stdlib.h>

#include "engines/base/snapshot.h"
#include "engines/bitcask/ops.h"
#include "engines/bitcask/read.h"

static kv_status add_refs(struct bitcask *store, struct snapshot_writer *writer, struct index_refs *refs)
{
    for (size_t i = 0; i < refs->count; i++) {
        const struct segment *segment = ref_segment(store, refs->ref[i]);
        uint64_t              offset = ref_offset(refs->ref[i]);
        const struct record  *record = segment_record(segment, offset);
        if (!record_check(record, segment_limit(segment) - offset, segment_place(segment, offset)))
            return read_damaged(store, refs->ref[i]);
        TRY(snapshot_writer_add(writer, record_key(record), record_value(record)));
        TRY(snapshot_writer_flush(writer)); /* no epoch is held: the pin keeps the segments */
    }
    return KV_OK;
}

static kv_status add_early(struct bitcask *store, struct snapshot_writer *writer, struct index_cut *cut)
{
    struct index_refs early = {0};
    kv_status         status;

    index_cut_early(cut, &early);
    status = add_refs(store, writer, &early);
    free(early.ref);
    return status;
}

static kv_status stream(struct bitcask_session *session, struct snapshot_writer *writer, struct index_cut *cut)
{
    struct bitcask   *store = (struct bitcask *)session->base.store;
    struct index_refs refs = {0};
    kv_status         status;

    do {
        epoch_enter(session->epoch);
        status = index_cut_next(store->index, cut, &refs);
        epoch_exit(session->epoch);
        if (status == KV_OK)
            status = add_refs(store, writer, &refs);
        if (status == KV_OK)
            status = add_early(store, writer, cut);
    } while (status == KV_OK && refs.count > 0);
    free(refs.ref);
    return status;
}

static void pin(struct bitcask *store, int change)
{
    pthread_mutex_lock(&store->segments.lock);
    store->segments.pins += (uint64_t)change;
    pthread_mutex_unlock(&store->segments.lock);
}

kv_status ops_snapshot(struct kv_session *base, int fd)
{
    struct bitcask_session *session = (struct bitcask_session *)base;
    struct bitcask         *store = (struct bitcask *)base->store;
    struct snapshot_writer  writer;
    struct index_cut        cut = {0};
    kv_status               status = snapshot_writer_open(&writer, fd);

    if (status != KV_OK) {
        snapshot_writer_free(&writer);
        return status;
    }
    pthread_mutex_lock(&store->snapshot_lock);
    pin(store, +1);
    epoch_pause(store->epoch);
    index_cut_begin(store->index, &cut);
    epoch_resume(store->epoch);
    status = stream(session, &writer, &cut);
    epoch_enter(session->epoch);
    index_cut_end(store->index, &cut);
    epoch_exit(session->epoch);
    if (status == KV_OK)
        status = add_early(store, &writer, &cut);
    index_cut_free(&cut);
    pin(store, -1);
    pthread_mutex_unlock(&store->snapshot_lock);
    segments_reap(store, session->epoch);
    if (status == KV_OK)
        status = snapshot_writer_end(&writer);
    snapshot_writer_free(&writer);
    return status;
}
