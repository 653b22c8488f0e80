/*
 * merge.c -- one merge, from its inputs to the moment when they are gone.
 *
 *   1  copy what the keydir still points at, and tombstones that may still bury something, to ID.merged.tmp
 *   2  sync it; sync the log: what superseded the records that were left out must not be lost after they are
 *   3  rename to ID.merged; sync the directory
 *   4  point the keydir at the copies; remove the inputs; sync the directory
 *
 * Before 3 a crash leaves a temporary file, after it a segment that supersedes its inputs.  An error before 3 leaves
 * everything as it was.  Needs disk space for the output beside the inputs.
 */
#include "engines/bitcask/merge.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "engines/bitcask/commit.h"
#include "engines/bitcask/hint.h"
#include "engines/bitcask/merge_pick.h"
#include "engines/bitcask/store.h"

#define PENDING_BYTES (UINT32_C(1) << 20)
#define AHEAD         32 /* records whose index buckets are fetched together */

struct move {
    uint64_t hash, from, to;
};

struct burial {
    uint64_t hash, seq;
    bool     needed;
};

struct merge {
    struct bitcask    *store;
    struct epoch_slot *slot;
    struct segment   **inputs;
    size_t             count;
    struct segment    *output; /* only id, salt and ranges until it has its name */
    struct file        file;
    struct buf         pending;
    uint64_t           written; /* bytes in the file before pending */
    struct buf         moves;
    struct buf         burials; /* of the inputs' tombstones, sorted by hash */
    uint64_t           tombstone_bytes, last_tombstone_seq;
    uint64_t           dead_bytes; /* of copies that nobody needs any more */
};

/* The list of what is superseded. */

kv_status merge_list_read(const struct segment *segment, struct merge_list *out)
{
    const struct record *record = segment_record(segment, SEGMENT_FIRST);
    const uint64_t      *number;
    uint64_t             count;

    if (!record_check(record, segment->end - SEGMENT_FIRST, segment_place(segment, SEGMENT_FIRST)) ||
        record->type != RECORD_SUPERSEDES || record->key_size != 0 || record->value_size < 2 * sizeof *number ||
        record->value_size % sizeof *number != 0)
        return segment_damaged(segment, SEGMENT_FIRST, "the list of superseded segments is damaged");
    number = record_value(record).data;
    count = record->value_size / sizeof *number - 2;
    *out = (struct merge_list){.input_count = number[0], .range_count = number[1], .inputs = number + 2};
    if (number[0] > count || number[1] > count || number[0] + 2 * number[1] != count)
        return segment_damaged(segment, SEGMENT_FIRST, "the list of superseded segments has another length than it says");
    out->ranges = (const struct segment_range *)(out->inputs + out->input_count);
    return KV_OK;
}

static kv_status gather_ranges(struct merge *merge)
{
    for (size_t i = 0; i < merge->count; i++) {
        struct segment *input = merge->inputs[i];
        if (input->kind == SEGMENT_LOG)
            TRY(segment_ranges_add(&merge->output->covers, (struct segment_range){input->base_seq, input->last_seq}));
        for (size_t j = 0; j < input->covers.count; j++)
            TRY(segment_ranges_add(&merge->output->covers, input->covers.range[j]));
    }
    return KV_OK;
}

/* Output. */

static kv_status flush(struct merge *merge)
{
    TRY(file_write_at(&merge->file, merge->pending.data, merge->pending.size, merge->written));
    count(&merge->store->counters.bytes_written, merge->pending.size);
    merge->written += merge->pending.size;
    merge->pending.size = 0;
    return KV_OK;
}

/* Adds a record to the output; *offset is where it will be. */
static kv_status add(struct merge *merge, const struct record *record, uint64_t hash, slice key, slice value,
                     uint64_t *offset)
{
    uint64_t bytes = record_bytes(key.size, value.size);

    if (merge->pending.size >= PENDING_BYTES)
        TRY(flush(merge));
    TRY(buf_reserve(&merge->pending, bytes));
    *offset = merge->written + merge->pending.size;
    record_write(merge->pending.data + merge->pending.size, segment_place(merge->output, *offset), record->seq, record->type,
                 0, key, hash, value);
    merge->pending.size += bytes;
    return KV_OK;
}

static kv_status add_list(struct merge *merge)
{
    struct segment_ranges *covers = &merge->output->covers;
    struct record          head = {.seq = 0, .type = RECORD_SUPERSEDES};
    struct buf             list = {0};
    slice                  none = {0};
    uint64_t               offset, counts[2] = {merge->count, covers->count};
    kv_status              status = buf_append(&list, counts, sizeof counts);

    for (size_t i = 0; status == KV_OK && i < merge->count; i++)
        status = buf_append(&list, &merge->inputs[i]->id, sizeof merge->inputs[i]->id);
    if (status == KV_OK && covers->count)
        status = buf_append(&list, covers->range, covers->count * sizeof *covers->range);
    if (status == KV_OK)
        status = add(merge, &head, index_hash(none), none, buf_slice(&list), &offset);
    buf_free(&list);
    return status;
}

static kv_status begin_output(struct merge *merge)
{
    struct segment_header blank = {.version = 0};
    char                  name[SEGMENT_NAME_MAX];
    uint64_t              id = segments_new_id(merge->store);

    if (!(merge->output = calloc(1, sizeof *merge->output)))
        return kv_fail(KV_NO_MEMORY, "no memory for a segment");
    *merge->output = (struct segment){.id = id, .kind = SEGMENT_MERGED, .slot = SEGMENT_SLOTS, .file = FILE_CLOSED};
    if (getrandom(&merge->output->salt, sizeof merge->output->salt, 0) != sizeof merge->output->salt)
        merge->output->salt = id * UINT64_C(0x9e3779b97f4a7c15);
    TRY(gather_ranges(merge));
    TRY(file_open(&merge->file, merge->store->dir.path, segment_name(name, id, "merged.tmp"), O_RDWR | O_CREAT | O_TRUNC));
    TRY(buf_append(&merge->pending, &blank, sizeof blank)); /* the header's place */
    return add_list(merge);
}

/* Tombstones: one is needed while a segment that stays has an older record of its key. */

static int by_hash(const void *a, const void *b)
{
    const struct burial *x = a, *y = b;

    return x->hash != y->hash ? (x->hash > y->hash) - (x->hash < y->hash) : (x->seq > y->seq) - (x->seq < y->seq);
}

static struct burial *first_burial(struct merge *merge, uint64_t hash)
{
    struct burial *all = (struct burial *)merge->burials.data;
    size_t         low = 0, high = merge->burials.size / sizeof *all;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (all[middle].hash < hash)
            low = middle + 1;
        else
            high = middle;
    }
    return low < merge->burials.size / sizeof *all && all[low].hash == hash ? &all[low] : NULL;
}

static struct burial *next_burial(struct merge *merge, struct burial *burial)
{
    struct burial *end = (struct burial *)(merge->burials.data + merge->burials.size);

    return burial + 1 < end && burial[1].hash == burial->hash ? burial + 1 : NULL;
}

/* A put that will still be there after the merge. */
static void put_remains(struct merge *merge, uint64_t hash, uint64_t seq)
{
    for (struct burial *burial = first_burial(merge, hash); burial; burial = next_burial(merge, burial))
        if (burial->seq > seq)
            burial->needed = true;
}

static kv_status gather_burials(struct merge *merge)
{
    for (size_t i = 0; i < merge->count; i++) {
        const struct segment *input = merge->inputs[i];
        for (uint64_t offset = SEGMENT_FIRST; offset < input->end;) {
            const struct record *record = segment_record(input, offset);
            if (input->end - offset < sizeof *record || record_size(record) > input->end - offset)
                return KV_OK; /* damage, which the copying finds and tells */
            if (record->type == RECORD_DELETE) {
                struct burial burial = {record_key_hash(record), record->seq, false};
                TRY(buf_append(&merge->burials, &burial, sizeof burial));
                if (record->seq > merge->last_tombstone_seq)
                    merge->last_tombstone_seq = record->seq;
            }
            offset += record_size(record);
        }
    }
    if (merge->burials.size)
        qsort(merge->burials.data, merge->burials.size / sizeof(struct burial), sizeof(struct burial), by_hash);
    return KV_OK;
}

static bool is_input(const struct merge *merge, const struct segment *segment)
{
    for (size_t i = 0; i < merge->count; i++)
        if (merge->inputs[i] == segment)
            return true;
    return false;
}

/* Without the hint, from the records; without those, from the safe side. */
static void look_at_survivor(struct merge *merge, const struct segment *segment)
{
    struct hint hint;

    if (hint_read(merge->store->dir.path, segment, &hint) == KV_OK && hint.end == segment->end) {
        for (size_t i = 0; i < hint.count; i++)
            if (!(hint.entries[i].shape & HINT_TOMBSTONE))
                put_remains(merge, hint.entries[i].hash, hint.entries[i].seq);
        hint_free(&hint);
        return;
    }
    hint_free(&hint);
    for (uint64_t offset = SEGMENT_FIRST; offset < segment->end;) {
        const struct record *record = segment_record(segment, offset);
        if (!record_check(record, segment->end - offset, segment_place(segment, offset))) {
            struct burial *all = (struct burial *)merge->burials.data;
            for (size_t i = 0; i < merge->burials.size / sizeof *all; i++)
                all[i].needed = true;
            return;
        }
        if (record->type == RECORD_PUT)
            put_remains(merge, record_key_hash(record), record->seq);
        offset += record_size(record);
    }
}

/* Only sealed segments can have records older than a sealed tombstone, and none is freed but by merges, one at a time.
 * After a recovery an older one may still wait to be settled. */
static kv_status find_needed_burials(struct merge *merge)
{
    struct bitcask  *store = merge->store;
    struct segment **others;
    size_t           count = 0;

    TRY(gather_burials(merge));
    if (merge->burials.size == 0)
        return KV_OK;
    pthread_mutex_lock(&store->segments.lock);
    others = malloc(store->segments.count * sizeof(struct segment *));
    for (size_t i = 0; others && i < store->segments.count; i++) {
        struct segment *segment = store->segments.all[i];
        if (!is_input(merge, segment) &&
            (segment->kind == SEGMENT_MERGED || segment->base_seq < merge->last_tombstone_seq))
            others[count++] = segment;
    }
    pthread_mutex_unlock(&store->segments.lock);
    if (!others)
        return kv_fail(KV_NO_MEMORY, "no memory for a list of segments");
    for (size_t i = 0; i < count; i++)
        look_at_survivor(merge, others[i]);
    free(others);
    return KV_OK;
}

static bool must_bury(struct merge *merge, uint64_t hash, uint64_t seq)
{
    for (struct burial *burial = first_burial(merge, hash); burial; burial = next_burial(merge, burial))
        if (burial->seq == seq)
            return burial->needed;
    return true; /* never; but to keep one too many does no harm */
}

/* Copying. */

struct candidate {
    uint64_t offset, hash;
};

/* The next records of the input that may have to be copied, checked, their index buckets under way. */
static kv_status look_ahead(struct merge *merge, struct segment *input, uint64_t *offset, struct candidate *out,
                            size_t *found)
{
    *found = 0;
    while (*found < AHEAD && *offset < input->end) {
        const struct record *record = segment_record(input, *offset);
        if (!record_check(record, input->end - *offset, segment_place(input, *offset))) {
            pthread_mutex_lock(&merge->store->segments.lock);
            input->spoiled = true;
            pthread_mutex_unlock(&merge->store->segments.lock);
            return segment_damaged(input, *offset, "a record contradicts its checksum; the segment cannot be merged");
        }
        if (record->type == RECORD_PUT || record->type == RECORD_DELETE) {
            out[*found] = (struct candidate){*offset, record_key_hash(record)};
            index_prefetch(merge->store->index, out[(*found)++].hash);
        }
        *offset += record_size(record);
    }
    return KV_OK;
}

static kv_status copy_one(struct merge *merge, struct segment *input, const struct candidate *candidate)
{
    const struct record *record = segment_record(input, candidate->offset);
    uint64_t             ref = ref_make(input, candidate->offset), offset;

    if (record->type == RECORD_DELETE) {
        if (!must_bury(merge, candidate->hash, record->seq))
            return KV_OK;
        merge->tombstone_bytes += record_size(record);
        return add(merge, record, candidate->hash, record_key(record), record_value(record), &offset);
    }
    if (index_find(merge->store->index, candidate->hash, record_key(record), match_ref, &ref) == 0)
        return KV_OK;
    TRY(add(merge, record, candidate->hash, record_key(record), record_value(record), &offset));
    return buf_append(&merge->moves, &(struct move){candidate->hash, ref, offset}, sizeof(struct move));
}

static kv_status copy_input(struct merge *merge, struct segment *input)
{
    struct candidate candidates[AHEAD];
    uint64_t         offset = SEGMENT_FIRST;
    kv_status        status = KV_OK;

    while (status == KV_OK && offset < input->end) {
        size_t found;
        epoch_enter(merge->slot);
        status = look_ahead(merge, input, &offset, candidates, &found);
        for (size_t i = 0; status == KV_OK && i < found; i++)
            status = copy_one(merge, input, &candidates[i]);
        epoch_exit(merge->slot);
    }
    return status;
}

static kv_status end_output(struct merge *merge)
{
    struct segment_header header;

    TRY(flush(merge));
    merge->output->end = merge->written;
    segment_header_fill(merge->output, durable_seq(merge->store), &header);
    TRY(file_write_at(&merge->file, &header, sizeof header, 0));
    return file_sync(&merge->file);
}

/* Taking the inputs' place. */

static kv_status install(struct merge *merge)
{
    struct bitcask *store = merge->store;
    struct segment *loaded;
    char            temporary[SEGMENT_NAME_MAX], name[SEGMENT_NAME_MAX];
    uint64_t        id = merge->output->id, durable;

    TRY(file_rename(store->dir.path, segment_name(temporary, id, "merged.tmp"), segment_name(name, id, "merged")));
    TRY(file_sync_dir(store->dir.path));
    TRY(segment_load(store->dir.path, name, O_RDWR, id, SEGMENT_MERGED, 0, false, &loaded));
    loaded->covers = merge->output->covers;
    merge->output->covers = (struct segment_ranges){0};
    segment_free(merge->output);
    merge->output = loaded;
    if (segment_header_read(loaded, &durable) != SEGMENT_GOOD)
        return segment_damaged(loaded, 0, "the header just written is damaged");
    loaded->synced = true;
    loaded->tombstone_bytes = merge->tombstone_bytes;
    return segments_add(store, loaded);
}

static void relocate(struct merge *merge)
{
    struct bitcask    *store = merge->store;
    const struct move *move = (const struct move *)merge->moves.data;
    size_t             moves = merge->moves.size / sizeof *move;

    for (size_t i = 0; i < moves; i++) {
        struct index_place place;
        if (i + AHEAD < moves)
            index_prefetch(store->index, move[i + AHEAD].hash);
        epoch_enter(merge->slot);
        index_lock(store->index, move[i].hash, &place);
        if (index_seek(&place, (slice){0}, match_ref, &move[i].from)) {
            if (index_put(store->index, &place, ref_make(merge->output, move[i].to)) != KV_OK)
                abort(); /* a key that is there takes no memory */
        } else {
            merge->dead_bytes += record_size(segment_record(merge->output, move[i].to)); /* displaced meanwhile */
        }
        index_unlock(store->index, merge->slot, &place);
        epoch_exit(merge->slot);
    }
}

static void count_again(struct merge *merge)
{
    struct log *log = &merge->store->log;

    pthread_mutex_lock(&log->lock);
    for (size_t i = 0; i < merge->count; i++) {
        log->total_bytes -= merge->inputs[i]->end - SEGMENT_FIRST;
        log->dead_bytes -= merge->inputs[i]->dead_bytes;
    }
    log->total_bytes += merge->output->end - SEGMENT_FIRST;
    log->dead_bytes += merge->dead_bytes; /* those displaced since were counted by who did it */
    merge->output->dead_bytes += merge->dead_bytes;
    merge_watch(merge->store, merge->output);
    pthread_mutex_unlock(&log->lock);
}

static kv_status remove_inputs(struct merge *merge)
{
    struct bitcask *store = merge->store;
    char            name[SEGMENT_NAME_MAX];
    kv_status       status = KV_OK;

    for (size_t i = 0; i < merge->count; i++) {
        struct segment *input = merge->inputs[i];
        if (status == KV_OK)
            status = file_unlink(store->dir.path, segment_name(name, input->id, "hint"));
        if (status == KV_OK)
            status = file_unlink(store->dir.path, segment_name(name, input->id, segment_ending(input->kind)));
        segments_remove(store, input);
        pthread_mutex_lock(&store->segments.lock);
        input->next = store->segments.retired;
        store->segments.retired = input;
        pthread_mutex_unlock(&store->segments.lock);
    }
    return status == KV_OK ? file_sync_dir(store->dir.path) : status;
}

/* From the rename on, a failure leaves two truths on the disk: the store stops writing, and the next open decides. */
static kv_status take_place(struct merge *merge)
{
    struct bitcask *store = merge->store;
    struct segment *output;

    TRY(install(merge));
    output = merge->output;
    relocate(merge);
    count_again(merge);
    TRY(remove_inputs(merge));
    segments_reap(store, merge->slot);
    if (store->options.hints && hint_write(store, output) == KV_OK)
        count(&store->counters.hint_writes, 1);
    pthread_mutex_lock(&store->segments.lock);
    output->settled = true;
    pthread_mutex_unlock(&store->segments.lock);
    count(&store->counters.merges, 1);
    return KV_OK;
}

static void discard(struct merge *merge)
{
    char said[FAIL_BYTES_MAX], name[SEGMENT_NAME_MAX];

    snprintf(said, sizeof said, "%s", fail_text());
    if (merge->output && file_unlink(merge->store->dir.path, segment_name(name, merge->output->id, "merged.tmp")) != KV_OK) {
        /* swept up at the next open */
    }
    fail_set("%s", said);
}

static void nothing(void *context, void *pointer)
{
    (void)context, (void)pointer;
}

/*
 * A record is in the log a moment before the keydir points at it, and its segment may have been sealed in between: it
 * would look dead.  Who writes through the mapping is inside the epoch from one to the other, and groups are applied in
 * turns.
 */
static kv_status wait_for_writers(struct bitcask *store, struct epoch_slot *slot)
{
    commit_wait_applied(store);
    TRY(epoch_reserve(slot, 1));
    epoch_retire(slot, store, 0, nothing, NULL);
    epoch_collect(slot, true);
    return KV_OK;
}

kv_status merge_run(struct bitcask *store, struct epoch_slot *slot, struct segment **inputs, size_t count_of)
{
    struct merge merge = {.store = store, .slot = slot, .inputs = inputs, .count = count_of, .file = FILE_CLOSED};
    bool         placing = false;
    kv_status    status = wait_for_writers(store, slot);

    if (status == KV_OK)
        status = begin_output(&merge);
    if (status == KV_OK)
        status = find_needed_burials(&merge);
    for (size_t i = 0; status == KV_OK && i < count_of; i++)
        status = copy_input(&merge, inputs[i]);
    if (status == KV_OK)
        status = end_output(&merge);
    if (status == KV_OK)
        status = log_sync(store);
    if (status == KV_OK) {
        placing = true;
        if ((status = take_place(&merge)) != KV_OK)
            status = store_fail(store);
    }
    if (!placing)
        discard(&merge);
    if (merge.output && merge.output->slot == SEGMENT_SLOTS)
        segment_free(merge.output);
    file_close(&merge.file);
    buf_free(&merge.pending);
    buf_free(&merge.moves);
    buf_free(&merge.burials);
    return status;
}
