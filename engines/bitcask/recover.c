/*
 * recover.c -- what open makes of the files that it finds.
 *
 *   1  list the directory; temporary files are leftovers and go
 *   2  headers of all segments; what a merged segment supersedes goes, and its hint
 *   3  merged segments: from their hints, or record by record; they were synced before they got their names, so any
 *      damage is corruption
 *   4  log segments in the order of their numbers, and of their sequence numbers, without a gap that no merged segment
 *      accounts for: the log ends at the first damage or gap
 *   5  if anything was known to be durable beyond that end, it is corruption
 *   6  what lies behind the end is cut off or removed, and that is synced, before the log may go on
 *   7  tombstones leave the keydir
 *
 * In the keydir, the highest sequence number of a key wins, whatever the order in which records are met.
 */
#include "engines/bitcask/recover.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "engines/bitcask/hint.h"
#include "engines/bitcask/merge.h"

struct tombstone {
    uint64_t hash, ref;
};

/* The keydir. */

struct newcomer {
    struct recovery     *recovery;
    struct segment      *segment;
    uint64_t             offset, hash, seq, bytes, body_bytes;
    bool                 tombstone, trusted; /* trusted: its record was checked, not only its hint */
    kv_status            status;
};

static kv_status check_at(const struct segment *segment, uint64_t offset)
{
    if (record_check(segment_record(segment, offset), segment_limit(segment) - offset, segment_place(segment, offset)))
        return KV_OK;
    return segment_damaged(segment, offset, "a record contradicts its checksum");
}

/*
 * index_match: whether a record in the keydir has the newcomer's key.  Both records are checked before they are believed
 * about their keys and sequence numbers: a damaged key must not look like another one, or an old value would show.
 */
static bool match_newcomer(const void *context, uint64_t ref, slice key)
{
    struct newcomer     *newcomer = (struct newcomer *)context;
    struct bitcask      *store = newcomer->recovery->store;
    const struct record *has = ref_record(store, ref), *new = segment_record(newcomer->segment, newcomer->offset);

    (void)key;
    if (newcomer->status == KV_OK)
        newcomer->status = check_at(ref_segment(store, ref), ref_offset(ref));
    if (newcomer->status == KV_OK && !newcomer->trusted)
        newcomer->status = check_at(newcomer->segment, newcomer->offset);
    newcomer->trusted = true;
    return newcomer->status == KV_OK && slice_equal(record_key(has), record_key(new));
}

/* The winner's bytes are alive, all others are dead; see `count_records` for the start. */
static void becomes_live(struct newcomer *newcomer)
{
    if (newcomer->tombstone)
        return;
    newcomer->segment->dead_bytes -= newcomer->bytes;
    newcomer->recovery->store->log.live_bytes += newcomer->body_bytes;
}

static void becomes_dead(struct bitcask *store, uint64_t ref)
{
    const struct record *record = ref_record(store, ref);

    if (record->type == RECORD_DELETE)
        return;
    ref_segment(store, ref)->dead_bytes += record_size(record);
    store->log.live_bytes -= record->key_size + record->value_size;
}

static kv_status learn(struct newcomer *newcomer)
{
    struct recovery   *recovery = newcomer->recovery;
    struct bitcask    *store = recovery->store;
    uint64_t           old, ref = ref_make(newcomer->segment, newcomer->offset);
    struct index_place place;
    kv_status          status;

    epoch_enter(recovery->slot);
    index_lock(store->index, newcomer->hash, &place);
    old = index_seek(&place, (slice){0}, match_newcomer, newcomer);
    status = newcomer->status;
    if (status == KV_OK && (!old || ref_record(store, old)->seq < newcomer->seq)) {
        if ((status = index_put(store->index, &place, ref)) == KV_OK) {
            if (old)
                becomes_dead(store, old);
            becomes_live(newcomer);
        }
    }
    index_unlock(store->index, recovery->slot, &place);
    epoch_exit(recovery->slot);
    if (status == KV_OK && newcomer->tombstone) {
        struct tombstone tombstone = {newcomer->hash, ref};
        status = buf_append(&recovery->tombstones, &tombstone, sizeof tombstone);
        if (newcomer->segment->kind == SEGMENT_MERGED) {
            newcomer->segment->tombstone_bytes += newcomer->bytes;
            newcomer->segment->dead_bytes -= newcomer->bytes;
        }
    }
    return status;
}

static kv_status learn_record(struct recovery *recovery, struct segment *segment, uint64_t offset)
{
    const struct record *record = segment_record(segment, offset);
    struct newcomer      newcomer = {.recovery = recovery, .segment = segment, .offset = offset,
                                     .hash = record_key_hash(record), .seq = record->seq, .bytes = record_size(record),
                                     .body_bytes = record->key_size + record->value_size,
                                     .tombstone = record->type == RECORD_DELETE, .trusted = true, .status = KV_OK};

    return learn(&newcomer);
}

static kv_status learn_hint(struct recovery *recovery, struct segment *segment, const struct hint *hint)
{
    for (size_t i = 0; i < hint->count; i++) {
        const struct hint_entry *entry = &hint->entries[i];
        struct newcomer          newcomer = {.recovery = recovery, .segment = segment, .offset = hint_offset(entry),
                                             .hash = entry->hash, .seq = entry->seq, .bytes = hint_record_bytes(entry),
                                             .body_bytes = hint_body_bytes(entry),
                                             .tombstone = entry->shape & HINT_TOMBSTONE, .status = KV_OK};
        if (i + 16 < hint->count)
            index_prefetch(recovery->store->index, hint->entries[i + 16].hash);
        TRY(learn(&newcomer));
    }
    count(&recovery->store->counters.hint_loads, 1);
    return KV_OK;
}

/* All bytes of the segment's records are dead until one of them is found to be alive. */
static void count_records(struct recovery *recovery, struct segment *segment, uint64_t from, uint64_t to)
{
    segment->dead_bytes += to - from;
    recovery->store->log.total_bytes += to - from;
}

/* Merged segments. */

static kv_status scan_merged(struct recovery *recovery, struct segment *segment)
{
    for (uint64_t offset = SEGMENT_FIRST; offset < segment->end;) {
        const struct record *record = segment_record(segment, offset);
        TRY(check_at(segment, offset));
        if (record->type == RECORD_PUT || record->type == RECORD_DELETE)
            TRY(learn_record(recovery, segment, offset));
        offset += record_size(record);
    }
    return KV_OK;
}

static kv_status recover_merged(struct recovery *recovery, struct segment *segment)
{
    struct hint hint;
    kv_status   status;

    TRY(segments_add(recovery->store, segment));
    count_records(recovery, segment, SEGMENT_FIRST, segment->end);
    segment->dead_bytes -= record_size(segment_record(segment, SEGMENT_FIRST)); /* the list of what it supersedes */
    segment->synced = segment->settled = true;
    status = hint_read(recovery->store->dir.path, segment, &hint);
    if (status == KV_NOT_FOUND)
        return scan_merged(recovery, segment);
    if (status == KV_OK)
        status = learn_hint(recovery, segment, &hint);
    hint_free(&hint);
    return status;
}

/* The log. */

static void claim_mark(struct recovery *recovery, const struct record *record)
{
    uint64_t seq = 0;

    if (record->value_size == sizeof seq)
        memcpy(&seq, record_value(record).data, sizeof seq);
    if (seq > recovery->durable_seq)
        recovery->durable_seq = seq;
}

/* Whether a good record that continues the log is at the offset. */
static bool continues(const struct segment *segment, uint64_t offset, uint64_t seq, unsigned flags)
{
    const struct record *record = segment_record(segment, offset);

    return offset < segment->limit && record_check(record, segment->limit - offset, segment_place(segment, offset)) &&
           record->seq == seq && record->flags == flags && record->type != RECORD_SUPERSEDES;
}

/* Bytes of a batch, header included, if all of it is there; else 0. */
static uint64_t whole_batch(const struct segment *segment, uint64_t offset)
{
    const struct record *head = segment_record(segment, offset);
    struct record_batch  batch = {0};
    uint64_t             at = offset + record_size(head);

    if (head->key_size != 0 || head->value_size != sizeof batch)
        return 0;
    memcpy(&batch, record_value(head).data, sizeof batch);
    if (batch.count == 0 || batch.bytes > segment->limit - at)
        return 0;
    for (uint64_t i = 1; i <= batch.count; i++) {
        if (!continues(segment, at, head->seq + i, RECORD_IN_BATCH) || segment_record(segment, at)->type > RECORD_DELETE)
            return 0;
        at += record_size(segment_record(segment, at));
    }
    return at == offset + record_size(head) + batch.bytes ? at - offset : 0;
}

static kv_status learn_batch(struct recovery *recovery, struct segment *segment, uint64_t offset, uint64_t bytes)
{
    uint64_t at = offset + record_size(segment_record(segment, offset));

    for (; at < offset + bytes; at += record_size(segment_record(segment, at))) {
        TRY(learn_record(recovery, segment, at));
        recovery->last_seq = segment_record(segment, at)->seq;
    }
    return KV_OK;
}

/* Reads on from *offset as far as the log is good; it ends there. */
static kv_status scan_log(struct recovery *recovery, struct segment *segment, uint64_t *offset)
{
    while (continues(segment, *offset, recovery->last_seq + 1, 0)) {
        const struct record *record = segment_record(segment, *offset);
        uint64_t             bytes = record_size(record);
        if (record->type == RECORD_BATCH && (bytes = whole_batch(segment, *offset)) == 0)
            break;
        count_records(recovery, segment, *offset, *offset + bytes);
        recovery->last_seq = record->seq;
        if (record->type == RECORD_MARK)
            claim_mark(recovery, record);
        else if (record->type == RECORD_BATCH)
            TRY(learn_batch(recovery, segment, *offset, bytes));
        else
            TRY(learn_record(recovery, segment, *offset));
        *offset += bytes;
    }
    return KV_OK;
}

/* Log records that were merged need not be found. */
static void skip_covered(struct recovery *recovery)
{
    uint64_t reach;

    while ((reach = segment_ranges_reach(&recovery->covered, recovery->last_seq + 1)) != 0)
        recovery->last_seq = reach;
}

/* Claims in what will not be part of the log: a mark says that all before it was durable, and so should be there. */
static void look_for_marks(struct recovery *recovery, const struct segment *segment, uint64_t offset)
{
    for (offset = (offset + 7) & ~UINT64_C(7); offset + RECORD_MARK_BYTES <= segment->limit; offset += 8) {
        const struct record *record = segment_record(segment, offset);
        if (record->type == RECORD_MARK && record->key_size == 0 && record->value_size == sizeof(uint64_t) &&
            record_check(record, RECORD_MARK_BYTES, segment_place(segment, offset)))
            claim_mark(recovery, record);
    }
}

static kv_status recover_log(struct recovery *recovery, struct log_file *log)
{
    struct segment *segment = log->segment;
    struct hint     hint;
    kv_status       status = hint_read(recovery->store->dir.path, segment, &hint);

    TRY(segments_add(recovery->store, segment));
    segment->end = SEGMENT_FIRST;
    if (status == KV_OK) {
        count_records(recovery, segment, SEGMENT_FIRST, hint.end);
        status = learn_hint(recovery, segment, &hint);
        segment->end = hint.end;
        recovery->last_seq = hint.last_seq;
    }
    hint_free(&hint);
    if (status != KV_OK && status != KV_NOT_FOUND)
        return status;
    log->scanned_from = segment->end;
    TRY(scan_log(recovery, segment, &segment->end));
    segment->last_seq = recovery->last_seq;
    log->hinted = status == KV_OK && log->scanned_from == segment->end;
    return KV_OK;
}

static bool is_zero(const struct segment *segment, uint64_t from)
{
    const char *map = segment->map;

    for (; from < segment->limit && from % 8; from++)
        if (map[from])
            return false;
    for (; from + 8 <= segment->limit; from += 8)
        if (*(const uint64_t *)(map + from))
            return false;
    for (; from < segment->limit; from++)
        if (map[from])
            return false;
    return true;
}

/* Goes through the log; *end is the number of log files that are part of it, blank ones in between included. */
static kv_status recover_logs(struct recovery *recovery, size_t *end, struct log_file **last)
{
    size_t i = 0;

    *last = NULL;
    *end = 0;
    skip_covered(recovery);
    for (; i < recovery->log_count; i++) {
        struct log_file *log = &recovery->logs[i];
        if (log->verdict == SEGMENT_BLANK)
            continue;
        if (log->verdict != SEGMENT_GOOD || log->segment->base_seq != recovery->last_seq + 1)
            break;
        TRY(recover_log(recovery, log));
        skip_covered(recovery);
        *last = log;
        *end = i + 1;
    }
    for (size_t j = 0; j < *end; j++)
        if (recovery->logs[j].verdict == SEGMENT_GOOD)
            look_for_marks(recovery, recovery->logs[j].segment, recovery->logs[j].segment->end);
    for (; i < recovery->log_count; i++)
        if (recovery->logs[i].verdict == SEGMENT_GOOD)
            look_for_marks(recovery, recovery->logs[i].segment, SEGMENT_FIRST);
    return KV_OK;
}

/* Below what was known to be durable nothing may be missing. */
static kv_status check_durable(const struct recovery *recovery, const struct log_file *last, size_t end)
{
    char what[160];

    if (recovery->last_seq >= recovery->durable_seq)
        return KV_OK;
    snprintf(what, sizeof what, "the log is damaged: write %" PRIu64 " should follow, and those up to %" PRIu64
             " were durable", recovery->last_seq + 1, recovery->durable_seq);
    if (end < recovery->log_count && recovery->logs[end].verdict == SEGMENT_DAMAGED)
        return segment_damaged(recovery->logs[end].segment, 0, what);
    if (last)
        return segment_damaged(last->segment, last->segment->end, what);
    return kv_fail(KV_CORRUPT, "%s: a segment is missing: write %" PRIu64 " is nowhere, and those up to %" PRIu64
                   " were durable", recovery->store->dir.path, recovery->last_seq + 1, recovery->durable_seq);
}

/* Removes what lies behind the end of the log, so that it can never be taken for part of it. */
static kv_status cut(struct recovery *recovery, struct log_file *last, size_t end)
{
    size_t kept = 0;
    bool   removed = false;

    if (last && !is_zero(last->segment, last->segment->end)) {
        TRY(file_truncate(&last->segment->file, last->segment->end));
        TRY(file_sync(&last->segment->file));
        last->segment->limit = last->segment->end;
    }
    for (size_t i = 0; i < recovery->log_count; i++) {
        struct log_file *log = &recovery->logs[i];
        if (i < end && log->verdict == SEGMENT_GOOD) {
            recovery->logs[kept++] = *log;
            continue;
        }
        TRY(recover_remove(recovery, log->segment->id, "log"));
        segment_free(log->segment);
        log->segment = NULL;
        removed = true;
    }
    recovery->log_count = kept;
    return removed ? file_sync_dir(recovery->store->dir.path) : KV_OK;
}

/*
 * Writes again what may have been written by a process whose sync failed: the kernel then holds it as clean, though the
 * disk does not have it, and no sync would ever bring it there.
 */
static kv_status rewrite(const struct recovery *recovery, const struct log_file *log)
{
    const struct segment *segment = log->segment;
    uint64_t              offset = log->scanned_from;

    while (offset < segment->end && segment_record(segment, offset)->seq <= recovery->durable_seq)
        offset += record_size(segment_record(segment, offset));
    if (offset == segment->end)
        return KV_OK;
    return file_write_at(&segment->file, segment->map + offset, segment->end - offset, offset);
}

/* Sealed segments go to the keeper, unless all is done for them; the last one waits for the first write. */
static void place_logs(struct recovery *recovery)
{
    struct bitcask *store = recovery->store;

    for (size_t i = 0; i < recovery->log_count; i++) {
        struct log_file *log = &recovery->logs[i];
        struct segment  *segment = log->segment;
        segment->synced = segment->last_seq <= recovery->durable_seq;
        /* Numbers within a segment have no gaps: where merged segments cover what came next, a new one must follow. */
        if (i + 1 == recovery->log_count && segment->end < segment->capacity && segment->last_seq == recovery->last_seq) {
            store->log.resume = segment;
            store->log.resume_hinted = log->hinted;
            store->log.tail = segment->end;
        } else if (log->hinted) {
            segment->settled = true;
        } else {
            *store->segments.settle_last = segment;
            store->segments.settle_last = &segment->next;
        }
    }
}

/* Tombstones. */

static void drop_tombstones(struct recovery *recovery)
{
    const struct tombstone *tombstone = (const struct tombstone *)recovery->tombstones.data;
    size_t                  count = recovery->tombstones.size / sizeof *tombstone;

    for (size_t i = 0; i < count; i++) {
        struct index_place place;
        epoch_enter(recovery->slot);
        index_lock(recovery->store->index, tombstone[i].hash, &place);
        if (index_seek(&place, (slice){0}, match_ref, &tombstone[i].ref))
            index_remove(recovery->store->index, &place);
        index_unlock(recovery->store->index, recovery->slot, &place);
        epoch_exit(recovery->slot);
    }
}

/*
 * An index that grows reads the keys of all its records, which hints are there to avoid; so it starts large enough for
 * them.
 */
static kv_status open_index(struct recovery *recovery)
{
    struct bitcask *store = recovery->store;
    uint64_t        expected = store->options.expected_keys;

    return index_open(store->epoch, &store->index_ops, recovery->hinted > expected ? recovery->hinted : expected,
                      &store->index);
}

static kv_status recover_all(struct recovery *recovery)
{
    struct bitcask  *store = recovery->store;
    struct log_file *last;
    size_t           end;

    TRY(recover_list(recovery));
    TRY(open_index(recovery));
    TRY(recover_load_merged(recovery));
    TRY(recover_load_logs(recovery));
    TRY(recover_remove_superseded(recovery));
    for (size_t i = 0; i < recovery->merged_count; i++) {
        struct segment *segment = recovery->merged[i];
        recovery->merged[i] = NULL;
        TRY(recover_merged(recovery, segment));
    }
    TRY(recover_logs(recovery, &end, &last));
    TRY(check_durable(recovery, last, end));
    TRY(cut(recovery, last, end));
    drop_tombstones(recovery);
    if (store->durability.tier >= KV_TIER_INTERVAL)
        for (size_t i = 0; i < recovery->log_count; i++)
            TRY(rewrite(recovery, &recovery->logs[i]));
    place_logs(recovery);
    for (size_t i = 0; i < store->segments.count; i++) {
        store->log.dead_bytes += store->segments.all[i]->dead_bytes;
        if (store->segments.all[i]->settled)
            merge_watch(store, store->segments.all[i]);
    }
    store->log.next_seq = recovery->last_seq + 1;
    store->log.written_seq = recovery->last_seq;
    store->durable_seq = recovery->durable_seq;
    return KV_OK;
}

kv_status recover(struct bitcask *store, struct epoch_slot *slot)
{
    struct recovery recovery = {.store = store, .slot = slot};
    kv_status       status = recover_all(&recovery);

    /* Segments with a slot are the store's by now, which frees them; the others are ours. */
    for (size_t i = 0; i < recovery.merged_count; i++)
        if (recovery.merged[i] && recovery.merged[i]->slot == SEGMENT_SLOTS)
            segment_free(recovery.merged[i]);
    for (size_t i = 0; status != KV_OK && i < recovery.log_count; i++)
        if (recovery.logs[i].segment && recovery.logs[i].segment->slot == SEGMENT_SLOTS)
            segment_free(recovery.logs[i].segment);
    free(recovery.merged_ids.id);
    free(recovery.log_ids.id);
    free(recovery.hint_ids.id);
    free(recovery.superseded.id);
    free(recovery.merged);
    free(recovery.logs);
    free(recovery.covered.range);
    buf_free(&recovery.tombstones);
    return status;
}
