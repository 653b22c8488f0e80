/*
 * bitcask.c -- an append log in segments, and a hash index in memory of where each key's newest record is.
 *
 * After Basho's Bitcask (Sheehy and Smith 2010): log-structured segments, keydir, hint files, merge by dead bytes.
 *
 * Files       STORE, LOCK      identity and lock (base/storedir.h)
 *             00000007.log     a segment of the log.  Numbers only grow and order the log.  Preallocated while it is the
 *                              active one or prepared to be the next (header all zeros), cut to its end when sealed.
 *             00000009.merged  what was alive in some older segments, which it names and supersedes.  Complete and synced
 *                              before it got its name.
 *             00000007.hint    keys' hashes, sequence numbers and places of a segment's records (hint.h)
 *             *.tmp            under way when a crash came; removed at open
 *             Segment = 64-byte header (segment.h), then records (record.h) at multiples of 8:
 *                 sum:u64 seq:u64 value_size:u32 key_size:u16 type:u8 flags:u8 key value padding
 *             Every log record has the next sequence number, over all segments; copies in merged segments keep theirs.
 *             BATCH precedes the records of a batch and says how many there are: all of them are good or none counts.
 *             MARK says up to which number the log was known to be durable; so do segment headers and hint files.
 * Write       Appends a record, then points the keydir at it, both under the lock of the key's bucket; never in place.
 *             Tiers none to interval store the record into the mapped segment, whose blocks are reserved: to the kernel
 *             that is a write like any other (none costs the same as process, so it is the same), and it costs no call.
 *             Records are completed in the order of the log, so a kill can leave a torn one only behind everything that
 *             was acknowledged.  Tier commit: commit.c; there the keydir learns of a record when it is on the disk.
 *             A background thread prepares the next segment, and syncs and hints the sealed one (log.c).
 * Read        Epoch, index, record in the mapping; the record's checksum is verified (verify_reads), then lent.  A batch
 *             of gets has the misses for its buckets, and then for its records, in flight together.
 *             A record of the wrong key is verified too: damage must not make a key look absent.
 * Scan        Every live key once, in hash order.  Keys that come or go meanwhile may be met or not.
 * Delete      A tombstone; the key leaves the keydir.  A merge drops a tombstone when no other segment has an older
 *             record of that key (hash), and only then.
 * Merge       merge.c and merge_pick.c: in the background, when a segment is mostly dead; writers wait, within bounds,
 *             when dead bytes exceed dead_max times the live ones.  Needs the space of one output beside its inputs.
 * Durability  none, process    no sync in a writer's way; a power cut may lose what was not synced
 *             ordered          the same work: the log ends at its first damage, so a cut of power leaves a prefix
 *             interval:T       a thread syncs at T/2; a writer waits while the oldest write not synced is as old as 7/8 T
 *             commit           as said above
 *             close syncs, in every tier.  A failed sync or write makes the store refuse writes for good.
 * Recovery    recover.c.  The log ends at the first damage or gap; below what was known to be durable that is KV_CORRUPT
 *             with file and offset; above it, the rest is cut off, and the cut is synced before anything is appended.
 *             With hint files only the last segment's newest part is read.
 * Figures     merges, rotations, syncs, segments, dead_bytes, log_bytes (of all records), hint_loads, hint_writes,
 *             merge_failures, durable_seq, and the standard ones.
 * Not done    Expiry.  Reads of segments larger than memory are page faults, one at a time.  After a failed sync, a new
 *             process writes again what the kernel may hold as clean only in tiers interval and commit.
 */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "engines/bitcask/commit.h"
#include "engines/bitcask/dump.h"
#include "engines/bitcask/merge.h"
#include "engines/bitcask/ops.h"
#include "engines/bitcask/store.h"

#define FORMAT 3 /* 1: records had xxh3 sums; 2: CRC32C */

static const struct kv_option options[] = {
    [OPTION_SEGMENT_BYTES] = {"segment_bytes", KV_BYTES, "64M", 4096, 17179869184.0,
                              "size of a segment of the log; a larger record gets one of its own", .small = "32k"},
    [OPTION_MERGE] = {"merge", KV_BOOL, "true", 0, 0, "merge in the background"},
    [OPTION_MERGE_TRIGGER] = {"merge_trigger", KV_REAL, "0.6", 0.01, 1, "merge when a segment is dead to this part"},
    [OPTION_MERGE_TRIGGER_BYTES] = {"merge_trigger_bytes", KV_BYTES, "512M", 0, 0, "or has so many dead bytes"},
    [OPTION_MERGE_THRESHOLD] = {"merge_threshold", KV_REAL, "0.4", 0.01, 1,
                                "segments that are dead to this part join a merge"},
    [OPTION_MERGE_SMALL_BYTES] = {"merge_small_bytes", KV_BYTES, "8M", 0, 0, "and so do those smaller than this"},
    [OPTION_DEAD_MAX] = {"dead_max", KV_REAL, "3", 0.1, 1000,
                         "writers wait a little for merges when dead bytes exceed the live ones so many times"},
    [OPTION_VERIFY_READS] = {"verify_reads", KV_BOOL, "true", 0, 0, "check the checksum of every record that is read"},
    [OPTION_HINTS] = {"hints", KV_BOOL, "true", 0, 0, "write hint files, for a faster open"},
    [OPTION_EXPECTED_KEYS] = {"expected_keys", KV_COUNT, "0", 0, 1e11, "the index starts with room for so many keys"},
    {0},
};

kv_status store_fail(struct bitcask *store)
{
    pthread_mutex_lock(&store->failure_lock);
    if (!store->failed) {
        snprintf(store->failure, sizeof store->failure, "%s", fail_text());
        __atomic_store_n(&store->failed, true, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&store->failure_lock);
    pthread_mutex_lock(&store->durable_lock);
    pthread_cond_broadcast(&store->durable_cond);
    pthread_mutex_unlock(&store->durable_lock);
    return store_refuses(store);
}

kv_status store_refuses(struct bitcask *store)
{
    pthread_mutex_lock(&store->failure_lock);
    fail_set("%s", store->failure);
    pthread_mutex_unlock(&store->failure_lock);
    return KV_IO;
}

/* The index asks for these when it grows. */

static bool hash_of(void *context, uint64_t ref, uint64_t *hash)
{
    slice key = ref_key(context, ref);

    *hash = index_hash(key);
    return key.size > 0;
}

static void prefetch(void *context, uint64_t ref)
{
    __builtin_prefetch(ref_record(context, ref));
}

/* Opening and closing. */

static void init_locks(struct bitcask *store)
{
    pthread_condattr_t monotonic;

    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&store->log.lock, NULL);
    pthread_cond_init(&store->log.settled, NULL);
    pthread_mutex_init(&store->sync_lock, NULL);
    pthread_mutex_init(&store->durable_lock, NULL);
    pthread_cond_init(&store->durable_cond, &monotonic);
    pthread_mutex_init(&store->segments.lock, NULL);
    pthread_cond_init(&store->segments.cond, &monotonic);
    pthread_mutex_init(&store->failure_lock, NULL);
    pthread_mutex_init(&store->snapshot_lock, NULL);
    pthread_condattr_destroy(&monotonic);
    commit_open(store);
}

static void free_store(struct bitcask *store)
{
    for (size_t i = 0; i < store->segments.count; i++)
        segment_free(store->segments.all[i]);
    free(store->segments.all);
    free(store->slot);
    index_close(store->index);
    epoch_close(store->epoch);
    storedir_close(&store->dir);
    commit_close(store);
    pthread_mutex_destroy(&store->log.lock);
    pthread_cond_destroy(&store->log.settled);
    pthread_mutex_destroy(&store->sync_lock);
    pthread_mutex_destroy(&store->durable_lock);
    pthread_cond_destroy(&store->durable_cond);
    pthread_mutex_destroy(&store->segments.lock);
    pthread_cond_destroy(&store->segments.cond);
    pthread_mutex_destroy(&store->failure_lock);
    pthread_mutex_destroy(&store->snapshot_lock);
    free(store);
}

static void read_options(struct bitcask *store, const struct kv_config *config)
{
    const union kv_value *value = config->option;

    store->durability = config->durability;
    store->mapped = config->durability.tier != KV_TIER_COMMIT;
    store->options = (struct options){
        .segment_bytes       = value[OPTION_SEGMENT_BYTES].u64,
        .merge               = value[OPTION_MERGE].u64,
        .merge_trigger       = value[OPTION_MERGE_TRIGGER].real,
        .merge_trigger_bytes = value[OPTION_MERGE_TRIGGER_BYTES].u64,
        .merge_threshold     = value[OPTION_MERGE_THRESHOLD].real,
        .merge_small_bytes   = value[OPTION_MERGE_SMALL_BYTES].u64,
        .dead_max            = value[OPTION_DEAD_MAX].real,
        .verify_reads        = value[OPTION_VERIFY_READS].u64,
        .hints               = value[OPTION_HINTS].u64,
        .expected_keys       = value[OPTION_EXPECTED_KEYS].u64,
    };
    /* The default is meant for the default segment size; with smaller ones, small is what is small beside them. */
    if (store->options.merge_small_bytes > store->options.segment_bytes / 8)
        store->options.merge_small_bytes = store->options.segment_bytes / 8;
}

static kv_status recover_store(struct bitcask *store)
{
    struct epoch_slot *slot;
    kv_status          status;

    TRY(epoch_slot_open(store->epoch, &slot));
    status = recover(store, slot);
    epoch_slot_close(slot);
    /* What is acknowledged from now on must not stand behind something that can be lost. */
    if (status == KV_OK && !store->mapped)
        status = log_sync(store);
    return status;
}

static kv_status open_parts(struct bitcask *store)
{
    store->index_ops = (struct index_ops){.hash_of = hash_of, .prefetch = prefetch, .context = store};
    store->slot = calloc(SEGMENT_SLOTS, sizeof(struct segment *));
    if (!store->slot)
        return kv_fail(KV_NO_MEMORY, "no memory for a store");
    TRY(epoch_open(&store->epoch));
    TRY(recover_store(store));
    TRY(log_threads_start(store));
    return merge_thread_start(store);
}

static kv_status bitcask_close(struct kv_store *base)
{
    struct bitcask *store = (struct bitcask *)base;
    char            name[SEGMENT_NAME_MAX];
    kv_status       status = KV_OK;

    merge_thread_stop(store);
    /* The keeper syncs the last segment, and leaves a hint for the next open; if nothing was written, both are there. */
    if (store->log.active || store->log.written_seq > durable_seq(store) || !store->log.resume_hinted)
        log_seal(store);
    log_threads_stop(store);
    if (store_failed(store))
        status = store_refuses(store);
    if (store->log.spare) {
        if (file_unlink(store->dir.path, segment_name(name, store->log.spare->id, "log")) != KV_OK) {
            /* blank, so it is swept up at the next open */
        }
        segment_free(store->log.spare);
    }
    if (store->epoch) {
        struct epoch_slot *slot;
        if (epoch_slot_open(store->epoch, &slot) == KV_OK) {
            segments_reap(store, slot);
            epoch_slot_close(slot);
        }
    }
    free_store(store);
    return status;
}

static kv_status check_format(const struct bitcask *store)
{
    if (store->dir.format == FORMAT)
        return KV_OK;
    return kv_fail(KV_MISMATCH, "%s holds a store of bitcask in format %" PRIu32 ", and this program reads format %d only: take a "
                   "snapshot with the program that wrote it, and load that", store->dir.path, store->dir.format, FORMAT);
}

static bool is_own(const char *name)
{
    uint64_t id;

    return segment_parse_name(name, "log", &id) || segment_parse_name(name, "merged", &id);
}

static kv_status bitcask_open(const struct kv_config *config, struct kv_store **out)
{
    struct storedir_kind kind = {.engine = "bitcask", .format = FORMAT, .owns = is_own};
    struct bitcask      *store = calloc(1, sizeof *store);
    kv_status            status;
    char                 said[FAIL_BYTES_MAX];

    if (!__builtin_cpu_supports("aes")) {
        free(store);
        return kv_fail(KV_UNSUPPORTED, "bitcask sums its records by AES instructions, which this processor does not have");
    }
    if (!store)
        return kv_fail(KV_NO_MEMORY, "no memory for a store");
    init_locks(store);
    read_options(store, config);
    store->dir.lock = FILE_CLOSED;
    store->segments.next_id = 1;
    store->log.next_seq = 1;
    store->segments.settle_last = &store->segments.settle_first;
    if ((status = storedir_open(&store->dir, config->dir, &kind)) == KV_OK && (status = check_format(store)) == KV_OK &&
        (status = open_parts(store)) == KV_OK) {
        *out = &store->base;
        return KV_OK;
    }
    snprintf(said, sizeof said, "%s", fail_text());
    merge_thread_stop(store);
    log_threads_stop(store);
    free_store(store);
    fail_set("%s", said);
    return status;
}

static kv_status bitcask_session_open(struct kv_store *base, struct kv_session **out)
{
    struct bitcask         *store = (struct bitcask *)base;
    struct bitcask_session *session = calloc(1, sizeof *session);
    kv_status               status;

    if (!session)
        return kv_fail(KV_NO_MEMORY, "no memory for a session");
    if ((status = epoch_slot_open(store->epoch, &session->epoch)) != KV_OK ||
        (status = commit_request_open(&session->request)) != KV_OK) {
        epoch_slot_close(session->epoch);
        free(session);
        return status;
    }
    *out = &session->base;
    return KV_OK;
}

static void bitcask_session_close(struct kv_session *base)
{
    struct bitcask_session *session = (struct bitcask_session *)base;

    epoch_slot_close(session->epoch);
    commit_request_close(session->request);
    index_batch_free(&session->batch);
    buf_free(&session->writes);
    buf_free(&session->value);
    free(session);
}

/* The rest of the table. */

static kv_status bitcask_sync(struct kv_session *base)
{
    return log_sync((struct bitcask *)base->store);
}

static kv_status bitcask_compact(struct kv_session *base)
{
    return merge_everything((struct bitcask *)base->store, ((struct bitcask_session *)base)->epoch);
}

static uint64_t disk_bytes(struct bitcask *store)
{
    uint64_t bytes = 0;

    pthread_mutex_lock(&store->segments.lock);
    for (size_t i = 0; i < store->segments.count; i++)
        bytes += file_allocated_bytes(&store->segments.all[i]->file);
    for (struct segment *segment = store->segments.retired; segment; segment = segment->next)
        bytes += file_allocated_bytes(&segment->file); /* unlinked, but held by a reader or a snapshot */
    if (store->log.spare)
        bytes += file_allocated_bytes(&store->log.spare->file);
    pthread_mutex_unlock(&store->segments.lock);
    return bytes;
}

static void bitcask_stats(struct kv_store *base, kv_figure *figure, void *arg)
{
    struct bitcask *store = (struct bitcask *)base;
    uint64_t        live_bytes, dead_bytes, total_bytes, segments;

#define COUNTER(name) figure(arg, #name, __atomic_load_n(&store->counters.name, __ATOMIC_RELAXED))
    pthread_mutex_lock(&store->log.lock);
    live_bytes = store->log.live_bytes;
    dead_bytes = store->log.dead_bytes;
    total_bytes = store->log.total_bytes;
    pthread_mutex_unlock(&store->log.lock);
    pthread_mutex_lock(&store->segments.lock);
    segments = store->segments.count;
    pthread_mutex_unlock(&store->segments.lock);
    figure(arg, "live_keys", index_count(store->index));
    figure(arg, "live_bytes", live_bytes);
    figure(arg, "disk_bytes", disk_bytes(store));
    figure(arg, "memory_bytes", index_memory_bytes(store->index));
    figure(arg, "debt_bytes", merge_debt(store));
    COUNTER(stalls);
    COUNTER(stall_ns);
    COUNTER(merges);
    COUNTER(rotations);
    COUNTER(syncs);
    figure(arg, "segments", segments);
    figure(arg, "dead_bytes", dead_bytes);
    figure(arg, "log_bytes", total_bytes);
    COUNTER(hint_loads);
    COUNTER(hint_writes);
    COUNTER(merge_failures);
    figure(arg, "durable_seq", durable_seq(store));
#undef COUNTER
}

const struct kv_engine bitcask_engine = {
    .abi             = KV_ABI,
    .name            = "bitcask",
    .version         = "1",
    .summary         = "append log in segments and a hash index in memory, merged by dead bytes",
    .can             = KV_DURABLE | KV_SCAN | KV_BATCH | KV_SNAPSHOT | KV_MODIFY | KV_SESSIONS | KV_COMPACT | KV_RETAINS,
    .tiers           = KV_TIERS_ALL,
    .key_bytes_max   = KV_KEY_BYTES_MAX,
    .value_bytes_max = KV_VALUE_BYTES_MAX,
    .options         = options,
    .open            = bitcask_open,
    .close           = bitcask_close,
    .session_open    = bitcask_session_open,
    .session_close   = bitcask_session_close,
    .put             = ops_put,
    .get             = ops_get,
    .del             = ops_del,
    .get_many        = ops_get_many,
    .modify          = ops_modify,
    .write           = ops_write,
    .scan            = ops_scan,
    .sync            = bitcask_sync,
    .snapshot        = ops_snapshot,
    .compact         = bitcask_compact,
    .stats           = bitcask_stats,
    .dump            = bitcask_dump,
};
