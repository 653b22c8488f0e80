/*
 * lsm.c -- a log-structured merge tree: writes go to a log and a memtable; memtables become sorted tables; tables are merged.
 *
 * After O'Neil et al. (1996), with what LevelDB, RocksDB and Cassandra have taught since; each part names its source.
 *
 * Files       STORE, LOCK       identity and lock (base/storedir.h)
 *             MANIFEST          which tables there are, and which logs are not in them yet (version.h); replaced whole
 *             00000007.wal      the log of one memtable (wal.h).  Prepared before it is needed.
 *             00000009.table    sorted entries (table.h)
 *             Numbers only grow, over both kinds; what neither the manifest names nor the log needs is removed at open.
 * Write       Every write has a sequence number.  log.c: a group of the log, then the memtable, where it can be found.  Nothing
 *             is ever changed in place.  A memtable that is full waits, with its log, for the flusher (flush.c).
 * Read        memtable.h, then the tables that cover the key and whose filter may have it, the youngest first; one block is
 *             searched in each.  Blocks are cached (cache.h), in memory of slab.h.  No lock is taken and no shared counter written.
 * Scan        All sources side by side over a moment: a view that stays, and the number up to which everything is there.
 * Delete      A tombstone, dropped by a merge when nothing older can have the key.
 * Compaction  compact.c: leveled, count-tiered or size-tiered; one merge at a time, in two threads.  Writers are held up in small delays when runs
 *             pile up (slowdown_runs), and when the last memtables fill, at the pace of the flusher; they stop only while all
 *             memtables wait to be written out.  All of it is figures.
 * Memory      Of a budget half is the cache's; memtables and their logs, which are page cache, get three eighths, so
 *             memtables are smaller than memtable_bytes where that asks for more; tables and merges have the rest.
 * Durability  none, process    the log is written by stores into its mapping, whose blocks are reserved: to the kernel that is a
 *                              write like any other (none costs the same as process, so it is the same).  A log that is in a
 *                              table is removed, most often before the kernel has written it to the disk.
 *             ordered          the same work: the log ends at its first damage, so a cut of power leaves a prefix
 *             interval:T       and base/ticker.h syncs it in time
 *             commit           groups by base/group.h, one pwrite and fdatasync over blocks that are there already; the memtable
 *                              has it when the disk has it.  A log that is in a table becomes the next one.
 *             close syncs, in every tier.  A failed sync or write makes the store refuse writes for good; a full disk does not.
 * Recovery    recover.c.
 * Figures     the standard ones, and rotations, syncs, flushes, flush_bytes, compactions, compaction_read_bytes,
 *             compaction_write_bytes, trivial_moves, compaction_failures, checkpoints, tables, runs, levels, cache_bytes,
 *             durable_seq; stalls, stall_ns (writes that stood still: no memtable or log was ready), and of these
 *             device_stall_ns, device_stall_max_ns while the flusher stood in a call of the device; delays, delay_ns (writes
 *             that were slowed down); imposed_max_ns: the longest that one write was held up by this engine, the device's part
 *             left out, and late_max_ns, by which a busy machine woke one later than it had asked for
 * Checkpoint  checkpoint.c: tables by hard links, a copy of manifest and logs.
 * Many gets   many.c: blocks that are not in the cache are read together, by io_uring where it is (reads.h).
 * mmap        With cache=mmap a table is mapped whole when it is opened, and its plain blocks are used where they lie in the page
 *             cache, which the kernel shares out; packed ones are unpacked into the block cache as ever (so set compression=none).
 *             The sum of a block is checked at each use, since a page may have been dropped and read again.  A file that was
 *             cut off is found when it is opened.  One that is cut off while it is open, or a device that fails to read, is
 *             SIGBUS and ends the process; with cache=block it is an error.  get_many waits for one page fault at a time.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "engines/lsm/dump.h"
#include "engines/lsm/read.h"
#include "engines/lsm/store.h"
#include "engines/lsm/write.h"

#define MEMTABLE_BYTES_MIN 4096u

static const char *const compression_words[] = {"none", "lz4", NULL};
static const char *const layout_words[] = {[LAYOUT_PACKED] = "packed", [LAYOUT_SPLIT] = "split", NULL};
static const char *const hashes_words[] = {[FILTER_ONE_HASH] = "one", [FILTER_HASH_A_PROBE] = "one-a-probe", NULL};
static const char *const policy_words[] = {"leveled", "size-tiered", "count-tiered", NULL};

static const char *const cache_words[] = {"block", "mmap", NULL};
static const char *const reads_words[] = {"ring", "advised", "plain", NULL};

static const struct kv_option options[] = {
    [OPTION_MEMTABLE_BYTES] = {"memtable_bytes", KV_BYTES, "64M", MEMTABLE_BYTES_MIN, 4294967296.0,
                               "size of a memtable, which becomes a table when it is full; less where the memory budget is small", .small = "16k"},
    [OPTION_MEMTABLES] = {"memtables", KV_COUNT, "3", 1, MEMTABLES_MAX - 2, "full memtables that may wait to be written out"},
    [OPTION_BLOCK_BYTES] = {"block_bytes", KV_BYTES, "4k", 64, 16777216, "size of a block of a table, before compression"},
    [OPTION_RESTART_INTERVAL] = {"restart_interval", KV_COUNT, "16", 1, 65536, "entries from one key in full to the next"},
    [OPTION_ENTRY_LAYOUT] = {"entry_layout", KV_WORD, "packed", 0, 0, "of blocks; split: each length in front of what it measures",
                             layout_words},
    [OPTION_FILTER_BITS] = {"filter_bits", KV_COUNT, "10", 0, 32, "bits a key of the tables' Bloom filters; 0: none"},
    [OPTION_FILTER_BITS_LAST] = {"filter_bits_last", KV_COUNT, "10", 0, 32, "the same for tables of the last level"},
    [OPTION_FILTER_HASHES] = {"filter_hashes", KV_WORD, "one", 0, 0, "that a filter takes of a key; one-a-probe: as it was first",
                              hashes_words},
    [OPTION_COMPRESSION] = {"compression", KV_WORD, "lz4", 0, 0, "of blocks", compression_words},
    [OPTION_COMPRESS_FROM_LEVEL] = {"compress_from_level", KV_COUNT, "0", 0, LEVELS_MAX, "levels above are not compressed"},
    [OPTION_WRITE_BUFFER_BYTES] = {"write_buffer_bytes", KV_BYTES, "1M", 0, 1 << 30,
                                   "written to a table at once; 0: each entry, or each compressed block"},
    [OPTION_REUSE_BUFFERS] = {"reuse_buffers", KV_BOOL, "true", 0, 0, "of tables; false: new memory for each block and each read"},
    [OPTION_CACHE_BYTES] = {"cache_bytes", KV_BYTES, "0", 0, 0, "block cache; 0: what the memory budget gives"},
    [OPTION_OPEN_FILES] = {"open_files", KV_COUNT, "256", 1, 1e6, "tables that are kept open; more are opened when they are read"},
    [OPTION_COMPACTION] = {"compaction", KV_WORD, "leveled", 0, 0, "which runs are merged", policy_words},
    [OPTION_RUNS] = {"runs", KV_COUNT, "4", 1, 64, "so many runs of level 0 (leveled) or of a level (count-tiered) are merged"},
    [OPTION_LEVEL_BYTES] = {"level_bytes", KV_BYTES, "256M", 4096, 1e15, "size of level 1", .small = "64k"},
    [OPTION_LEVEL_RATIO] = {"level_ratio", KV_REAL, "10", 2, 1000, "a level is so many times as large as the one above"},
    [OPTION_TABLE_BYTES] = {"table_bytes", KV_BYTES, "64M", 4096, 4294967296.0, "size of a table that a merge writes", .small = "16k"},
    [OPTION_BUCKET_LOW] = {"bucket_low", KV_REAL, "0.5", 0, 1, "size-tiered: runs from this part of a bucket's average"},
    [OPTION_BUCKET_HIGH] = {"bucket_high", KV_REAL, "1.5", 1, 100, "to so many times of it are alike"},
    [OPTION_THRESHOLD_MIN] = {"threshold_min", KV_COUNT, "4", 2, 64, "size-tiered: so many alike are merged"},
    [OPTION_THRESHOLD_MAX] = {"threshold_max", KV_COUNT, "32", 2, 1000, "and so many at a time at most"},
    [OPTION_SMALL_BYTES] = {"small_bytes", KV_BYTES, "50M", 0, 0, "size-tiered: runs below this are all alike", .small = "16k"},
    [OPTION_SLOWDOWN_RUNS] = {"slowdown_runs", KV_COUNT, "12", 2, 1000, "runs to search, from which writers are held up a little"},
    [OPTION_STOP_RUNS] = {"stop_runs", KV_COUNT, "36", 2, 1000, "and at which they are held up most"},
    [OPTION_RATE] = {"rate", KV_BYTES, "0", 0, 0, "bytes that merges write a second at most; 0: no limit"},
    [OPTION_READS] = {"reads", KV_WORD, "ring", 0, 0, "of blocks for many keys: by io_uring, after advice, one after the other", reads_words},
    [OPTION_MERGE_THREADS] = {"merge_threads", KV_COUNT, "2", 1, 16, "threads that one leveled merge is split among"},
    [OPTION_CACHE] = {"cache", KV_WORD, "block", 0, 0, "blocks in a cache of our own, or through mappings of the tables", cache_words},
    {0},
};

kv_status tree_fail(struct lsm *store)
{
    pthread_mutex_lock(&store->failure_lock);
    if (!store->failed) {
        snprintf(store->failure, sizeof store->failure, "%s", fail_text());
        __atomic_store_n(&store->failed, true, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&store->failure_lock);
    return tree_refuses(store);
}

kv_status tree_refuses(struct lsm *store)
{
    pthread_mutex_lock(&store->failure_lock);
    fail_set("%s", store->failure);
    pthread_mutex_unlock(&store->failure_lock);
    return KV_IO;
}

/* ---- Opening and closing. ---- */

static void init_locks(struct lsm *store)
{
    pthread_condattr_t monotonic;

    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&store->view_lock, NULL);
    pthread_mutex_init(&store->log.lock, NULL);
    pthread_cond_init(&store->log.landed, NULL);
    for (size_t i = 0; i < STRIPES; i++)
        pthread_mutex_init(&store->stripe[i], NULL);
    group_init(&store->commit.queue);
    pthread_mutex_init(&store->commit.turn, NULL);
    pthread_mutex_init(&store->sync_lock, NULL);
    pthread_mutex_init(&store->tree_lock, NULL);
    pthread_mutex_init(&store->background.lock, NULL);
    pthread_cond_init(&store->background.cond, &monotonic);
    pthread_mutex_init(&store->sessions_lock, NULL);
    pthread_mutex_init(&store->failure_lock, NULL);
    pthread_condattr_destroy(&monotonic);
}

static void free_store(struct lsm *store)
{
    for (struct wal *wal = store->sealed, *next; wal; wal = next) {
        next = wal->next;
        wal_free(wal);
    }
    wal_free(store->log.wal);
    wal_free(store->background.spare);
    memtable_release(store->background.spare_memtable);
    view_release(store->view);
    epoch_close(store->epoch);
    cache_close(store->cache);
    storedir_close(&store->dir);
    buf_free(&store->commit.bytes);
    pthread_mutex_destroy(&store->view_lock);
    pthread_mutex_destroy(&store->log.lock);
    pthread_cond_destroy(&store->log.landed);
    for (size_t i = 0; i < STRIPES; i++)
        pthread_mutex_destroy(&store->stripe[i]);
    group_destroy(&store->commit.queue);
    pthread_mutex_destroy(&store->commit.turn);
    pthread_mutex_destroy(&store->sync_lock);
    pthread_mutex_destroy(&store->tree_lock);
    pthread_mutex_destroy(&store->background.lock);
    pthread_cond_destroy(&store->background.cond);
    pthread_mutex_destroy(&store->sessions_lock);
    pthread_mutex_destroy(&store->failure_lock);
    free(store);
}

/* A budget has to do for the memtables that may be there, and as much page cache for their logs and the one that is ready. */
static uint64_t memtable_bytes(const struct kv_config *config)
{
    uint64_t asked = config->option[OPTION_MEMTABLE_BYTES].u64, most = config->memory_bytes / 8 * 3;

    most /= 2 * config->option[OPTION_MEMTABLES].u64 + 4;
    if (most < MEMTABLE_BYTES_MIN)
        most = MEMTABLE_BYTES_MIN;
    return config->memory_bytes && asked > most ? most : asked;
}

static void read_options(struct lsm *store, const struct kv_config *config)
{
    const union kv_value *value = config->option;

    store->durability = config->durability;
    store->mapped = config->durability.tier != KV_TIER_COMMIT;
    store->options = (struct options){
        .memtable_bytes      = memtable_bytes(config),
        .memtables           = (uint32_t)value[OPTION_MEMTABLES].u64,
        .block_bytes         = (uint32_t)value[OPTION_BLOCK_BYTES].u64,
        .restart_interval    = (uint32_t)value[OPTION_RESTART_INTERVAL].u64,
        .filter_bits         = (uint32_t)value[OPTION_FILTER_BITS].u64,
        .filter_hashes       = (enum filter_hashes)value[OPTION_FILTER_HASHES].u64,
        .entry_layout        = (enum block_layout)value[OPTION_ENTRY_LAYOUT].u64,
        .write_buffer_bytes  = (uint32_t)value[OPTION_WRITE_BUFFER_BYTES].u64,
        .reuse_buffers       = value[OPTION_REUSE_BUFFERS].u64,
        .filter_bits_last    = (uint32_t)value[OPTION_FILTER_BITS_LAST].u64,
        .lz4                 = value[OPTION_COMPRESSION].u64 == 1,
        .compress_from_level = (uint32_t)value[OPTION_COMPRESS_FROM_LEVEL].u64,
        .cache_bytes         = value[OPTION_CACHE_BYTES].u64 ? value[OPTION_CACHE_BYTES].u64 : kv_cache_bytes(config),
        .open_files          = (uint32_t)value[OPTION_OPEN_FILES].u64,
        .policy              = (enum policy)value[OPTION_COMPACTION].u64,
        .runs                = (uint32_t)value[OPTION_RUNS].u64,
        .level_bytes         = value[OPTION_LEVEL_BYTES].u64,
        .level_ratio         = value[OPTION_LEVEL_RATIO].real,
        .table_bytes         = value[OPTION_TABLE_BYTES].u64,
        .bucket_low          = value[OPTION_BUCKET_LOW].real,
        .bucket_high         = value[OPTION_BUCKET_HIGH].real,
        .threshold_min       = (uint32_t)value[OPTION_THRESHOLD_MIN].u64,
        .threshold_max       = (uint32_t)value[OPTION_THRESHOLD_MAX].u64,
        .small_bytes         = value[OPTION_SMALL_BYTES].u64,
        .slowdown_runs       = (uint32_t)value[OPTION_SLOWDOWN_RUNS].u64,
        .stop_runs           = (uint32_t)value[OPTION_STOP_RUNS].u64,
        .rate                = value[OPTION_RATE].u64,
        .mmap                = value[OPTION_CACHE].u64 == 1,
        .reads               = (enum reads_way)value[OPTION_READS].u64,
        .merge_threads       = (uint32_t)value[OPTION_MERGE_THREADS].u64,
    };
}

static kv_status lsm_check(const struct kv_config *config)
{
    static const enum option_row pairs[][2] = {{OPTION_SLOWDOWN_RUNS, OPTION_STOP_RUNS}, {OPTION_THRESHOLD_MIN, OPTION_THRESHOLD_MAX}};

    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        uint64_t least = config->option[pairs[i][0]].u64, most = config->option[pairs[i][1]].u64;
        if (most < least)
            return kv_fail(KV_INVALID, "%s %" PRIu64 " is below %s %" PRIu64 "; write at least as much", options[pairs[i][1]].name, most,
                           options[pairs[i][0]].name, least);
    }
    return KV_OK;
}

static kv_status sync_in_time(void *store)
{
    return tree_sync(store);
}

static kv_status open_parts(struct lsm *store)
{
    struct epoch_slot *slot;
    kv_status          status;

    TRY(epoch_open(&store->epoch));
    if (!(store->cache = cache_open(store->options.cache_bytes, store->options.open_files, store->options.reuse_buffers)))
        return KV_NO_MEMORY;
    if (store->options.mmap)
        cache_map_tables(store->cache);
    TRY(epoch_slot_open(store->epoch, &slot));
    status = tree_recover(store, slot);
    epoch_slot_close(slot);
    TRY(status);
    TRY(flusher_start(store));
    if (store->many_logs && (status = flush_wait(store)) != KV_OK && status != KV_NO_SPACE && status != KV_NO_MEMORY)
        return status;
    TRY(compactor_start(store));
    if (store->durability.tier == KV_TIER_INTERVAL &&
        !(store->ticker = ticker_start(store->durability.interval_ns, sync_in_time, store)))
        return KV_NO_MEMORY;
    return KV_OK;
}

static void stop_threads(struct lsm *store)
{
    ticker_stop(store->ticker);
    store->ticker = NULL;
    compactor_stop(store);
    flusher_stop(store);
}

/* The log stays as it is: the next open replays it, which is quicker than a table here. */
static kv_status lsm_close(struct kv_store *base)
{
    struct lsm *store = (struct lsm *)base;
    char        name[WAL_NAME_MAX];
    kv_status   status, named = KV_INVALID;

    stop_threads(store);
    status = tree_sync(store);
    /* All is durable, and the manifest says so: damage that comes later will be known for what it is.  On a full disk it goes on
     * naming the log that is ready, so that stays. */
    if (status == KV_OK && (named = tree_name_log(store, store->log.wal ? store->log.wal->id : 0, LOG_ALONE)) == KV_IO)
        status = KV_IO;
    if (named == KV_OK && store->background.spare &&
        file_unlink(store->dir.path, wal_name(name, store->background.spare->id)) != KV_OK) {
        /* blank, so it is swept up at the next open */
    }
    if (store->log.wal && status == KV_OK) {
        uint64_t tail = store->log.wal->tail; /* the rest of what was reserved is given back */
        file_unmap(store->log.wal->map, store->log.wal->capacity);
        store->log.wal->map = NULL;
        status = file_truncate(&store->log.wal->file, tail);
    }
    free_store(store);
    return status;
}

bool tree_owns(const char *name)
{
    uint64_t id;

    return name_parse(name, wal_name, &id) || name_parse(name, table_name, &id);
}

static kv_status lsm_open(const struct kv_config *config, struct kv_store **out)
{
    struct storedir_kind kind = STORE_KIND;
    struct lsm          *store = calloc(1, sizeof *store);
    kv_status            status;
    char                 said[FAIL_BYTES_MAX];

    if (!store)
        return kv_fail(KV_NO_MEMORY, "no memory for a store");
    init_locks(store);
    read_options(store, config);
    store->dir.lock = FILE_CLOSED;
    store->next_id = store->log.next_seq = 1;
    store->sealed_last = &store->sealed;
    if ((status = storedir_open(&store->dir, config->dir, &kind)) == KV_OK && (status = open_parts(store)) == KV_OK) {
        *out = &store->base;
        return KV_OK;
    }
    snprintf(said, sizeof said, "%s", fail_text());
    stop_threads(store);
    free_store(store);
    fail_set("%s", said);
    return status;
}

static kv_status lsm_session_open(struct kv_store *base, struct kv_session **out)
{
    struct lsm         *store = (struct lsm *)base;
    struct lsm_session *session = calloc(1, sizeof *session);
    kv_status           status;

    if (!session)
        return kv_fail(KV_NO_MEMORY, "no memory for a session");
    if ((status = epoch_slot_open(store->epoch, &session->epoch)) != KV_OK) {
        free(session);
        return status;
    }
    group_request_init(&session->request.base);
    pthread_mutex_lock(&store->sessions_lock);
    session->next = store->sessions;
    session->link = &store->sessions;
    if (session->next)
        session->next->link = &session->next;
    store->sessions = session;
    pthread_mutex_unlock(&store->sessions_lock);
    session->base.store = base;
    *out = &session->base;
    return KV_OK;
}

static void lsm_session_close(struct kv_session *base)
{
    struct lsm_session *session = (struct lsm_session *)base;
    struct lsm         *store = lsm_of(base);

    pthread_mutex_lock(&store->sessions_lock);
    *session->link = session->next;
    if (session->next)
        session->next->link = session->link;
    pthread_mutex_unlock(&store->sessions_lock);
    epoch_slot_close(session->epoch);
    group_request_destroy(&session->request.base);
    buf_free(&session->entries);
    buf_free(&session->hashes);
    buf_free(&session->places);
    buf_free(&session->value);
    buf_free(&session->frames);
    reads_close(session->reads);
    free(session);
}

/* ---- The rest of the table. ---- */

static kv_status lsm_sync(struct kv_session *base)
{
    return tree_sync(lsm_of(base));
}

static kv_status lsm_compact(struct kv_session *base)
{
    return compact_everything(lsm_of(base), ((struct lsm_session *)base)->epoch);
}

struct sizes {
    uint64_t table_bytes, memory_bytes, tables, runs, levels, due_bytes;
};

static kv_status measure(struct lsm *store, struct sizes *out)
{
    struct epoch_slot *slot;
    struct view       *view;

    *out = (struct sizes){0};
    TRY(epoch_slot_open(store->epoch, &slot));
    out->due_bytes = flush_debt(store, slot);
    view = view_keep(store, slot);
    out->memory_bytes = memtable_used(view->active);
    for (uint32_t i = 0; i < view->immutables; i++)
        out->memory_bytes += memtable_used(view->immutable[i]);
    for (size_t i = 0; i < view->version->count; i++)
        for (size_t j = 0; j < view->version->run[i].count; j++)
            out->memory_bytes += view->version->run[i].table[j]->memory_bytes;
    out->table_bytes = version_bytes(view->version);
    out->tables = version_tables(view->version);
    out->runs = view->version->count;
    out->levels = view->version->count ? version_last_level(view->version) + 1 : 0;
    view_release(view);
    epoch_slot_close(slot);
    return KV_OK;
}

/* Recovery has closed the one that it found. */
static uint64_t allocated(const struct wal *wal)
{
    return wal->file.fd >= 0 ? file_allocated_bytes(&wal->file) : wal->capacity;
}

static uint64_t log_bytes(struct lsm *store)
{
    uint64_t bytes = 0;

    pthread_mutex_lock(&store->log.lock);
    if (store->log.wal)
        bytes += allocated(store->log.wal);
    pthread_mutex_lock(&store->background.lock);
    for (struct wal *wal = store->sealed; wal; wal = wal->next)
        bytes += allocated(wal);
    if (store->background.spare)
        bytes += allocated(store->background.spare);
    pthread_mutex_unlock(&store->background.lock);
    pthread_mutex_unlock(&store->log.lock);
    return bytes;
}

static void lsm_stats(struct kv_store *base, kv_figure *figure, void *arg)
{
    struct lsm  *store = (struct lsm *)base;
    struct sizes sizes;

    if (measure(store, &sizes) != KV_OK)
        return;
#define COUNTER(name) figure(arg, #name, __atomic_load_n(&store->counters.name, __ATOMIC_RELAXED))
    figure(arg, "disk_bytes", sizes.table_bytes + log_bytes(store));
    figure(arg, "memory_bytes", sizes.memory_bytes + cache_memory_bytes(store->cache));
    figure(arg, "debt_bytes", sizes.due_bytes + __atomic_load_n(&store->background.compaction_debt, __ATOMIC_RELAXED));
    COUNTER(stalls);
    COUNTER(stall_ns);
    COUNTER(delays);
    COUNTER(delay_ns);
    COUNTER(imposed_max_ns);
    COUNTER(late_max_ns);
    COUNTER(device_stall_ns);
    COUNTER(device_stall_max_ns);
    COUNTER(rotations);
    COUNTER(syncs);
    COUNTER(flushes);
    COUNTER(flush_bytes);
    COUNTER(compactions);
    COUNTER(compaction_read_bytes);
    COUNTER(compaction_write_bytes);
    COUNTER(trivial_moves);
    COUNTER(compaction_failures);
    COUNTER(checkpoints);
    figure(arg, "tables", sizes.tables);
    figure(arg, "runs", sizes.runs);
    figure(arg, "levels", sizes.levels);
    figure(arg, "cache_bytes", cache_used_bytes(store->cache));
    figure(arg, "durable_seq", durable_seq(store));
#undef COUNTER
}

const struct kv_engine lsm_engine = {
    .abi             = KV_ABI,
    .name            = "lsm",
    .version         = "1",
    .summary         = "log-structured merge tree: memtables, sorted tables, leveled or tiered compaction",
    .can             = KV_DURABLE | KV_SCAN | KV_ORDERED | KV_BATCH | KV_SNAPSHOT | KV_MODIFY | KV_SESSIONS | KV_COMPACT | KV_RETAINS |
                       KV_CHECKPOINT,
    .tiers           = KV_TIERS_ALL,
    .key_bytes_max   = KV_KEY_BYTES_MAX,
    .value_bytes_max = KV_VALUE_BYTES_MAX,
    .options         = options,
    .open            = lsm_open,
    .close           = lsm_close,
    .session_open    = lsm_session_open,
    .session_close   = lsm_session_close,
    .put             = lsm_put,
    .get             = lsm_get,
    .del             = lsm_del,
    .get_many        = lsm_get_many,
    .modify          = lsm_modify,
    .write           = lsm_write,
    .scan            = lsm_scan,
    .sync            = lsm_sync,
    .snapshot        = lsm_snapshot,
    .checkpoint      = lsm_checkpoint,
    .compact         = lsm_compact,
    .stats           = lsm_stats,
    .dump            = lsm_dump,
    .check           = lsm_check,
};
