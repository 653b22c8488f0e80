/*
 * rocksdb.c -- RocksDB (Meta's LSM tree) as an engine, through its C interface; written against 7.8.3.
 *
 * Files       STORE, LOCK, MADE: see base/storedir.h.  db/: RocksDB's own.
 * Durability  One WAL record for each put, del or batch, in the order in which writes are seen.
 *             process     the default WAL: log::Writer::AddRecord ends in write(2) (wiki, "WAL Performance", non-sync mode)
 *             commit      WriteOptions::sync: fdatasync before the acknowledgement, one for a group of waiting writers
 *             sync is SyncWAL: it covers every WAL that is still needed and, after a new one, the directory; what is in no WAL any
 *             more is in synced tables.  close syncs, in both tiers.
 *             none, ordered, interval: refused, because their prefix does not outlive every loss of power.  The old WAL is not synced
 *             when the memtable changes, and recovery does not miss the end of a WAL that others follow, so what the new one
 *             kept is there without what the old one lost (only track_and_verify_wals, of versions after 9, looks for the
 *             gap).  And point-in-time recovery ends at damage that it sees, but takes a lost page, which reads as zeros, for
 *             padding where a record ended just before it (log_reader.cc, kZeroType).  With the settings of process
 *             `assay crash --mode power --profile ext4` finds such holes in seconds; drop-unsynced, which loses all that is
 *             not synced alike, finds none.
 *             Where a disk keeps new names in any order (profile posix-minimal; a journal keeps their order), an opening that is cut
 *             short may leave a CURRENT that names a MANIFEST without a name: the directory is synced only after both.  The store
 *             is refused then, in every tier.
 * Defaults    What the wiki recommends to begin with ("Setup Options and Basic Tuning"): LZ4; blocks of 16 KiB; index and filter blocks
 *             in the block cache, those of level 0 pinned; a bloom filter of 10 bits; bytes_per_sync 1 MiB; dynamic level sizes;
 *             kMinOverlappingRatio (the default of this version).  It recommends ZSTD for the last level where there is
 *             processor time to spare; here that is LZ4 too, as for the other engines, and bottommost_compression changes it.
 *             max_background_jobs is the number of processors (options.h, IncreaseParallelism), at least its default of 2.
 *             The block cache is what every engine gets (kv_cache_bytes).  Under a memory budget a write buffer takes at most an
 *             eighth of it.  Everything else has RocksDB's own default; `more` sets any option of an OPTIONS file by name.
 * Read        get_pinned lends blocks of the cache without a copy; get_many is the batched MultiGet, 256 keys at a time.
 * Figures     debt_bytes: estimate-pending-compaction-bytes and immutable memtables.  stalls, stall_ns: writes that were slowed down or
 *             stopped, from the texts cfstats and dbstats.  disk_bytes, memory_bytes; rotations: changes of the set of memtables
 *             and tables; running_flushes, running_compactions.  Counts of keys are estimates in RocksDB and therefore left out.
 * Full disk   Writes are KV_NO_SPACE before the WAL meets the end of the disk.  Where a flush or others meet it first, the store takes no
 *             more writes until it is opened again, which needs room for what recovery flushes.
 * Limits      modify is the wrapper's: atomic against other modifies, not against puts (that takes TransactionDB, another engine).
 * Not done    Column families, merge operators, transactions, secondary instances.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <rocksdb/c.h>

#include "common/clock.h"
#include "engines/base/snapshot.h"
#include "engines/base/storedir.h"
#include "engines/engine.h"
#include "engines/plugins/message.h"

#define FORMAT       1
#define MANY_AT_ONCE 256
#define RECORD_BYTES_MAX   64 /* beside key and value, in the WAL */
#define ROOM_BYTES         (UINT64_C(4) << 20)
#define BACKGROUND_WAIT_NS (5 * NS_PER_S)

enum {
    OPTION_BLOCK_CACHE,
    OPTION_WRITE_BUFFER,
    OPTION_WRITE_BUFFERS,
    OPTION_BLOCK_SIZE,
    OPTION_BLOOM_BITS,
    OPTION_CACHE_INDEX,
    OPTION_PIN_L0,
    OPTION_COMPRESSION,
    OPTION_BOTTOMMOST_COMPRESSION,
    OPTION_COMPACTION,
    OPTION_DYNAMIC_LEVELS,
    OPTION_LEVEL_BASE,
    OPTION_TABLE_SIZE,
    OPTION_L0_TRIGGER,
    OPTION_BACKGROUND_JOBS,
    OPTION_OPEN_FILES,
    OPTION_BYTES_PER_SYNC,
    OPTION_WAL_BYTES_PER_SYNC,
    OPTION_WAL_RECOVERY,
    OPTION_WAL_RECYCLE,
    OPTION_PIPELINED_WRITE,
    OPTION_DIRECT_READS,
    OPTION_DIRECT_WRITES,
    OPTION_VERIFY_READS,
    OPTION_STATISTICS,
    OPTION_MORE
};

static const char *const compression_words[] = {"none", "snappy", "zlib", "lz4", "lz4hc", "zstd", NULL};
static const int         compression_values[] = {rocksdb_no_compression, rocksdb_snappy_compression, rocksdb_zlib_compression,
                                                 rocksdb_lz4_compression, rocksdb_lz4hc_compression, rocksdb_zstd_compression};
static const char *const compaction_words[] = {"level", "universal", NULL};
static const int         compaction_values[] = {rocksdb_level_compaction, rocksdb_universal_compaction};
static const char *const recovery_words[] = {"point-in-time", "tolerate-tail", "absolute", NULL};
static const int         recovery_values[] = {rocksdb_point_in_time_recovery, rocksdb_tolerate_corrupted_tail_records_recovery,
                                              rocksdb_absolute_consistency_recovery};

static const struct kv_option options[] = {
    [OPTION_BLOCK_CACHE] = {"block_cache", KV_BYTES, "0", 0, 0, "uncompressed blocks in memory; 0: what every engine gets"},
    [OPTION_WRITE_BUFFER] = {"write_buffer", KV_BYTES, "64M", 65536, 17179869184.0, "a memtable of this size is flushed",
                             .small = "64k"},
    [OPTION_WRITE_BUFFERS] = {"write_buffers", KV_COUNT, "2", 2, 64, "memtables, with those that wait for their flush"},
    [OPTION_BLOCK_SIZE] = {"block_size", KV_BYTES, "16k", 512, 16777216, "of a table, before compression"},
    [OPTION_BLOOM_BITS] = {"bloom_bits", KV_REAL, "10", 0, 100, "bits a key of the tables' bloom filters; 0: no filters"},
    [OPTION_CACHE_INDEX] = {"cache_index", KV_BOOL, "true", 0, 0, "index and filter blocks live in the block cache"},
    [OPTION_PIN_L0] = {"pin_l0", KV_BOOL, "true", 0, 0, "and those of level 0 stay there"},
    [OPTION_COMPRESSION] = {"compression", KV_WORD, "lz4", 0, 0, "of blocks", compression_words},
    [OPTION_BOTTOMMOST_COMPRESSION] = {"bottommost_compression", KV_WORD, "lz4", 0, 0, "of blocks in the last level",
                                       compression_words},
    [OPTION_COMPACTION] = {"compaction", KV_WORD, "level", 0, 0, "style", compaction_words},
    [OPTION_DYNAMIC_LEVELS] = {"dynamic_levels", KV_BOOL, "true", 0, 0, "level sizes follow that of the last level"},
    [OPTION_LEVEL_BASE] = {"level_base", KV_BYTES, "256M", 65536, 1ull << 50, "size of level 1 (max_bytes_for_level_base)",
                           .small = "256k"},
    [OPTION_TABLE_SIZE] = {"table_size", KV_BYTES, "64M", 4096, 1ull << 40, "of the files of level 1 (target_file_size_base)",
                           .small = "64k"},
    [OPTION_L0_TRIGGER] = {"l0_trigger", KV_COUNT, "4", 1, 1000, "files in level 0 that begin a compaction"},
    [OPTION_BACKGROUND_JOBS] = {"background_jobs", KV_COUNT, "0", 0, 256, "flushes and compactions at once; 0: one a processor"},
    [OPTION_OPEN_FILES] = {"open_files", KV_COUNT, "0", 0, 1e9, "table files kept open; 0: all"},
    [OPTION_BYTES_PER_SYNC] = {"bytes_per_sync", KV_BYTES, "1M", 0, 1ull << 40, "tables go to the disk in such pieces; 0: as the kernel likes"},
    [OPTION_WAL_BYTES_PER_SYNC] = {"wal_bytes_per_sync", KV_BYTES, "0", 0, 1ull << 40, "and so does the WAL"},
    [OPTION_WAL_RECOVERY] = {"wal_recovery", KV_WORD, "point-in-time", 0, 0, "what recovery makes of damage in the WAL",
                             recovery_words},
    [OPTION_WAL_RECYCLE] = {"wal_recycle", KV_COUNT, "0", 0, 1000, "old WAL files that new ones overwrite (recycle_log_file_num)"},
    [OPTION_PIPELINED_WRITE] = {"pipelined_write", KV_BOOL, "false", 0, 0, "the WAL of one group while the memtable takes another"},
    [OPTION_DIRECT_READS] = {"direct_reads", KV_BOOL, "false", 0, 0, "past the page cache"},
    [OPTION_DIRECT_WRITES] = {"direct_writes", KV_BOOL, "false", 0, 0, "of flushes and compactions, past the page cache"},
    [OPTION_VERIFY_READS] = {"verify_reads", KV_BOOL, "true", 0, 0, "check the checksum of every block that is read from a file"},
    [OPTION_STATISTICS] = {"statistics", KV_BOOL, "false", 0, 0, "RocksDB's own counters, which cost some percent"},
    [OPTION_MORE] = {"more", KV_TEXT, "", 0, 0, "any other options, as in an OPTIONS file: \"name=value;name=value\""},
    {0},
};

struct rocks {
    struct kv_store                  base;
    struct storedir                  dir;
    char                            *path; /* of db/ */
    rocksdb_t                       *db;
    rocksdb_options_t               *options;
    rocksdb_block_based_table_options_t *table;
    rocksdb_cache_t                 *cache;
    rocksdb_column_family_handle_t  *family; /* "default", which the batched MultiGet wants by name */
    rocksdb_readoptions_t           *read, *scan;
    rocksdb_writeoptions_t          *write;
    pthread_mutex_t                  room_lock;
    int64_t                          credit;         /* atomic: bytes that may be written before the disk is asked again */
    uint64_t                         buffers_bytes;  /* that may be written out at any moment */
    pthread_mutex_t                  failure_lock;
    kv_status                        failed; /* atomic; KV_OK until then */
    char                             failure[FAIL_BYTES_MAX];
};

static struct rocks *store_of(struct kv_session *session)
{
    return (struct rocks *)session->store;
}

/* Errors. */

/* The status of a message, which is freed; NULL is KV_OK. */
static kv_status told(const struct rocks *store, char *message)
{
    kv_status status;

    if (!message)
        return KV_OK;
    status = kv_fail(message_status(message), "rocksdb in %s: %s", store->path, message);
    rocksdb_free(message);
    return status;
}

/* The same for a write or a sync: the first failure of the device is the last write, a full disk too.  RocksDB would go on once
 * there is room, but a build with assertions, as Debian's is, dies of the next call to the WAL that could not be written
 * (WritableFileWriter::AssertFalseAndGetStatusForPrevError). */
static kv_status told_of_write(struct rocks *store, char *message)
{
    kv_status status = told(store, message);

    if (status == KV_IO || status == KV_CORRUPT || status == KV_NO_SPACE) {
        pthread_mutex_lock(&store->failure_lock);
        if (store->failed == KV_OK) {
            snprintf(store->failure, sizeof store->failure, "%s", fail_text());
            __atomic_store_n(&store->failed, status == KV_NO_SPACE ? KV_NO_SPACE : KV_IO, __ATOMIC_RELEASE);
        }
        pthread_mutex_unlock(&store->failure_lock);
    }
    return status;
}

static kv_status check_writable(struct rocks *store)
{
    kv_status failed = __atomic_load_n(&store->failed, __ATOMIC_ACQUIRE);

    if (__builtin_expect(failed != KV_OK, 0))
        return kv_fail(failed, "%s", store->failure);
    return KV_OK;
}

static uint64_t property(const struct rocks *store, const char *name)
{
    uint64_t value = 0;

    return rocksdb_property_int(store->db, name, &value) == 0 ? value : 0;
}

/*
 * A WAL that could not be written must not happen: a build with assertions dies of the next call to it, and that is the one that
 * closes it.  So where the disk could be full soon, one write at a time looks first, while nothing is being written in the
 * background.
 */
static kv_status admit_slowly(struct rocks *store, uint64_t bytes)
{
    uint64_t       until_ns = clock_now_ns() + BACKGROUND_WAIT_NS, free_bytes, busy;
    struct statvfs disk;

    do {
        if (statvfs(store->path, &disk) != 0)
            return kv_fail_errno("statvfs %s", store->path);
        free_bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
        if (free_bytes > 2 * store->buffers_bytes + ROOM_BYTES + 2 * bytes) {
            __atomic_store_n(&store->credit, (int64_t)((free_bytes - 2 * store->buffers_bytes - ROOM_BYTES - 2 * bytes) / 2), __ATOMIC_RELAXED);
            return KV_OK;
        }
        busy = property(store, "rocksdb.num-running-flushes") + property(store, "rocksdb.num-running-compactions");
    } while (busy && clock_now_ns() < until_ns && usleep(1000) == 0);
    if (free_bytes >= 2 * bytes + ROOM_BYTES)
        return KV_OK;
    return kv_fail(KV_NO_SPACE, "%s: no space left for the write-ahead log", store->path);
}

static kv_status admit(struct rocks *store, uint64_t bytes)
{
    kv_status status = KV_OK;

    if (__builtin_expect(__atomic_sub_fetch(&store->credit, (int64_t)bytes + RECORD_BYTES_MAX, __ATOMIC_RELAXED) >= 0, 1))
        return KV_OK;
    pthread_mutex_lock(&store->room_lock);
    status = admit_slowly(store, bytes);
    pthread_mutex_unlock(&store->room_lock);
    return status;
}

/* Opening. */

static kv_status sync_wal(struct rocks *store)
{
    char *error = NULL;

    TRY(check_writable(store));
    rocksdb_flush_wal(store->db, 1, &error);
    return told_of_write(store, error);
}

static kv_status rocks_close(struct kv_store *base)
{
    struct rocks *store = (struct rocks *)base;
    kv_status     status = KV_OK;

    if (store->db) {
        if (store->failed == KV_OK)
            status = sync_wal(store);
        else if (store->failed == KV_NO_SPACE) /* no sync has failed yet, and what was acknowledged is in the files */
            status = storedir_sync_files(store->path, ".log");
        rocksdb_column_family_handle_destroy(store->family);
        rocksdb_close(store->db); /* running compactions are given up, not waited for */
    }
    if (store->read)
        rocksdb_readoptions_destroy(store->read);
    if (store->scan)
        rocksdb_readoptions_destroy(store->scan);
    if (store->write)
        rocksdb_writeoptions_destroy(store->write);
    if (store->options)
        rocksdb_options_destroy(store->options);
    if (store->table)
        rocksdb_block_based_options_destroy(store->table);
    if (store->cache)
        rocksdb_cache_destroy(store->cache);
    storedir_close(&store->dir);
    pthread_mutex_destroy(&store->room_lock);
    pthread_mutex_destroy(&store->failure_lock);
    free(store->path);
    free(store);
    return status;
}

static void set_table(struct rocks *store, const struct kv_config *config)
{
    const union kv_value *option = config->option;
    uint64_t              cache_bytes = option[OPTION_BLOCK_CACHE].u64;

    store->cache = rocksdb_cache_create_lru(cache_bytes ? cache_bytes : kv_cache_bytes(config));
    store->table = rocksdb_block_based_options_create();
    rocksdb_block_based_options_set_block_cache(store->table, store->cache);
    rocksdb_block_based_options_set_block_size(store->table, option[OPTION_BLOCK_SIZE].u64);
    rocksdb_block_based_options_set_cache_index_and_filter_blocks(store->table, (unsigned char)option[OPTION_CACHE_INDEX].u64);
    rocksdb_block_based_options_set_pin_l0_filter_and_index_blocks_in_cache(store->table,
                                                                            (unsigned char)option[OPTION_PIN_L0].u64);
    if (option[OPTION_BLOOM_BITS].real > 0) /* the table owns the policy */
        rocksdb_block_based_options_set_filter_policy(store->table,
                                                      rocksdb_filterpolicy_create_bloom_full(option[OPTION_BLOOM_BITS].real));
    rocksdb_options_set_block_based_table_factory(store->options, store->table);
}

static void set_options(struct rocks *store, const struct kv_config *config)
{
    const union kv_value *option = config->option;
    rocksdb_options_t    *set = store->options;
    uint64_t              write_buffer = option[OPTION_WRITE_BUFFER].u64, jobs = option[OPTION_BACKGROUND_JOBS].u64;
    long                  processors = sysconf(_SC_NPROCESSORS_ONLN);

    if (config->memory_bytes && write_buffer > config->memory_bytes / 8)
        write_buffer = config->memory_bytes / 8;
    if (!jobs)
        jobs = processors > 2 ? (uint64_t)processors : 2;
    rocksdb_options_set_write_buffer_size(set, write_buffer);
    store->buffers_bytes = write_buffer * option[OPTION_WRITE_BUFFERS].u64;
    rocksdb_options_set_max_write_buffer_number(set, (int)option[OPTION_WRITE_BUFFERS].u64);
    rocksdb_options_set_compression(set, compression_values[option[OPTION_COMPRESSION].u64]);
    rocksdb_options_set_bottommost_compression(set, compression_values[option[OPTION_BOTTOMMOST_COMPRESSION].u64]);
    rocksdb_options_set_compaction_style(set, compaction_values[option[OPTION_COMPACTION].u64]);
    rocksdb_options_set_level_compaction_dynamic_level_bytes(set, (unsigned char)option[OPTION_DYNAMIC_LEVELS].u64);
    rocksdb_options_set_max_bytes_for_level_base(set, option[OPTION_LEVEL_BASE].u64);
    rocksdb_options_set_target_file_size_base(set, option[OPTION_TABLE_SIZE].u64);
    rocksdb_options_set_level0_file_num_compaction_trigger(set, (int)option[OPTION_L0_TRIGGER].u64);
    rocksdb_options_set_max_background_jobs(set, (int)jobs);
    rocksdb_options_set_max_open_files(set, option[OPTION_OPEN_FILES].u64 ? (int)option[OPTION_OPEN_FILES].u64 : -1);
    rocksdb_options_set_bytes_per_sync(set, option[OPTION_BYTES_PER_SYNC].u64);
    rocksdb_options_set_wal_bytes_per_sync(set, option[OPTION_WAL_BYTES_PER_SYNC].u64);
    rocksdb_options_set_wal_recovery_mode(set, recovery_values[option[OPTION_WAL_RECOVERY].u64]);
    rocksdb_options_set_recycle_log_file_num(set, option[OPTION_WAL_RECYCLE].u64);
    rocksdb_options_set_enable_pipelined_write(set, (unsigned char)option[OPTION_PIPELINED_WRITE].u64);
    rocksdb_options_set_use_direct_reads(set, (unsigned char)option[OPTION_DIRECT_READS].u64);
    rocksdb_options_set_use_direct_io_for_flush_and_compaction(set, (unsigned char)option[OPTION_DIRECT_WRITES].u64);
    if (option[OPTION_STATISTICS].u64)
        rocksdb_options_enable_statistics(set);
    rocksdb_options_set_keep_log_file_num(set, 4); /* of the texts for people; a thousand would be kept */
    rocksdb_options_set_stats_dump_period_sec(set, 0);
    rocksdb_options_set_stats_persist_period_sec(set, 0);
    set_table(store, config);
    store->read = rocksdb_readoptions_create();
    rocksdb_readoptions_set_verify_checksums(store->read, (unsigned char)option[OPTION_VERIFY_READS].u64);
    store->scan = rocksdb_readoptions_create();
    rocksdb_readoptions_set_verify_checksums(store->scan, (unsigned char)option[OPTION_VERIFY_READS].u64);
    store->write = rocksdb_writeoptions_create();
    rocksdb_writeoptions_set_sync(store->write, config->durability.tier == KV_TIER_COMMIT);
}

static kv_status set_more(struct rocks *store, const char *more)
{
    char     *error = NULL;
    kv_status status;

    if (!*more)
        return KV_OK;
    rocksdb_get_options_from_string(store->options, more, store->options, &error);
    if (!error)
        return KV_OK;
    status = kv_fail(KV_INVALID, "rocksdb.more=%s: %s", more, error);
    rocksdb_free(error);
    return status;
}

/* An absent db/ is made, with its name made durable, once: what is missing later was lost. */
static kv_status open_database(struct rocks *store)
{
    const char              *name = "default";
    const rocksdb_options_t *family_options[1];
    char                    *error = NULL;
    bool                     made = storedir_is_made(&store->dir);
    kv_status                status;

    if (!made && mkdir(store->path, 0755) != 0 && errno != EEXIST)
        return kv_fail_errno("mkdir %s", store->path);
    if (!made)
        TRY(file_sync_dir(store->dir.path));
    rocksdb_options_set_create_if_missing(store->options, !made);
    family_options[0] = store->options;
    store->db = rocksdb_open_column_families(store->options, store->path, 1, &name, family_options, &store->family, &error);
    status = told(store, error);
    if (status == KV_INVALID && made && strstr(fail_text(), "create_if_missing is false"))
        return kv_fail(KV_CORRUPT, "%s", fail_text());
    TRY(status);
    return made ? KV_OK : storedir_set_made(&store->dir);
}

static kv_status rocks_open(const struct kv_config *config, struct kv_store **out)
{
    static const struct storedir_kind kind = {.engine = PEER, .format = FORMAT};
    struct rocks                     *store = calloc(1, sizeof *store);
    kv_status                         status;

    if (!store)
        return kv_fail(KV_NO_MEMORY, "no memory for a store");
    pthread_mutex_init(&store->room_lock, NULL);
    pthread_mutex_init(&store->failure_lock, NULL);
    store->dir.lock = FILE_CLOSED;
    store->options = rocksdb_options_create();
    set_options(store, config);
    status = set_more(store, config->option[OPTION_MORE].text); /* a wrong one is found before anything is made */
    if (status == KV_OK)
        status = storedir_open(&store->dir, config->dir, &kind);
    if (status == KV_OK && asprintf(&store->path, "%s/db", config->dir) < 0) {
        store->path = NULL;
        status = kv_fail(KV_NO_MEMORY, "no memory for a store");
    }
    if (status == KV_OK)
        status = open_database(store);
    if (status == KV_OK) {
        *out = &store->base;
        return KV_OK;
    }
    store->failed = KV_IO; /* nothing was acknowledged, so nothing is synced */
    rocks_close(&store->base);
    return status;
}

/* RocksDB's calls are made from any thread. */
static kv_status rocks_session_open(struct kv_store *store, struct kv_session **out)
{
    (void)store;
    *out = calloc(1, sizeof **out);
    return *out ? KV_OK : kv_fail(KV_NO_MEMORY, "no memory for a session");
}

static void rocks_session_close(struct kv_session *session)
{
    free(session);
}

/* Writing. */

static kv_status rocks_put(struct kv_session *session, slice key, slice value)
{
    struct rocks *store = store_of(session);
    char         *error = NULL;

    TRY(check_writable(store));
    TRY(admit(store, key.size + value.size));
    rocksdb_put(store->db, store->write, key.data, key.size, value.size ? value.data : "", value.size, &error);
    return told_of_write(store, error);
}

static kv_status rocks_del(struct kv_session *session, slice key)
{
    struct rocks *store = store_of(session);
    char         *error = NULL;

    TRY(check_writable(store));
    TRY(admit(store, key.size));
    rocksdb_delete(store->db, store->write, key.data, key.size, &error);
    return told_of_write(store, error);
}

static kv_status rocks_write(struct kv_session *session, const struct kv_write *writes, size_t count)
{
    struct rocks         *store = store_of(session);
    rocksdb_writebatch_t *batch;
    char                 *error = NULL;
    uint64_t              bytes = 0;

    TRY(check_writable(store));
    for (size_t i = 0; i < count; i++)
        bytes += writes[i].key.size + RECORD_BYTES_MAX + (writes[i].kind == KV_PUT ? writes[i].value.size : 0);
    TRY(admit(store, bytes));
    batch = rocksdb_writebatch_create();
    for (size_t i = 0; i < count; i++) {
        slice key = writes[i].key, value = writes[i].value;
        if (writes[i].kind == KV_PUT)
            rocksdb_writebatch_put(batch, key.data, key.size, value.size ? value.data : "", value.size);
        else
            rocksdb_writebatch_delete(batch, key.data, key.size);
    }
    rocksdb_write(store->db, store->write, batch, &error);
    rocksdb_writebatch_destroy(batch);
    return told_of_write(store, error);
}

static kv_status rocks_sync(struct kv_session *session)
{
    return sync_wal(store_of(session));
}

/* Reading. */

static kv_status rocks_get(struct kv_session *session, slice key, kv_visit *visit, void *arg)
{
    struct rocks            *store = store_of(session);
    char                    *error = NULL;
    rocksdb_pinnableslice_t *pinned = rocksdb_get_pinned(store->db, store->read, key.data, key.size, &error);
    slice                    value;

    if (error)
        return told(store, error);
    if (!pinned)
        return KV_NOT_FOUND;
    value.data = rocksdb_pinnableslice_value(pinned, &value.size);
    visit(arg, key, value);
    rocksdb_pinnableslice_destroy(pinned);
    return KV_OK;
}

static kv_status rocks_get_many(struct kv_session *session, const slice *keys, size_t count, kv_visit_many *visit, void *arg)
{
    struct rocks            *store = store_of(session);
    const char              *data[MANY_AT_ONCE];
    size_t                   sizes[MANY_AT_ONCE];
    rocksdb_pinnableslice_t *pinned[MANY_AT_ONCE];
    char                    *errors[MANY_AT_ONCE];

    for (size_t at = 0; at < count; at += MANY_AT_ONCE) {
        size_t some = count - at < MANY_AT_ONCE ? count - at : MANY_AT_ONCE;

        for (size_t i = 0; i < some; i++) {
            data[i] = keys[at + i].data;
            sizes[i] = keys[at + i].size;
        }
        rocksdb_batched_multi_get_cf(store->db, store->read, store->family, some, data, sizes, pinned, errors, false);
        for (size_t i = 0; i < some; i++) {
            slice     value = {0};
            kv_status status = errors[i] ? told(store, errors[i]) : pinned[i] ? KV_OK : KV_NOT_FOUND;

            if (status == KV_OK)
                value.data = rocksdb_pinnableslice_value(pinned[i], &value.size);
            visit(arg, at + i, status, value);
            if (pinned[i])
                rocksdb_pinnableslice_destroy(pinned[i]);
        }
    }
    return KV_OK;
}

/* An iterator sees the store as it was when it was made. */
static kv_status rocks_scan(struct kv_session *session, slice first, kv_visit *visit, void *arg)
{
    struct rocks       *store = store_of(session);
    rocksdb_iterator_t *at = rocksdb_create_iterator(store->db, store->scan);
    char               *error = NULL;

    if (first.size)
        rocksdb_iter_seek(at, first.data, first.size);
    else
        rocksdb_iter_seek_to_first(at);
    for (; rocksdb_iter_valid(at); rocksdb_iter_next(at)) {
        slice key, value;
        key.data = rocksdb_iter_key(at, &key.size);
        value.data = rocksdb_iter_value(at, &value.size);
        if (!visit(arg, key, value))
            break;
    }
    rocksdb_iter_get_error(at, &error);
    rocksdb_iter_destroy(at);
    return told(store, error);
}

static kv_status add_records(struct snapshot_writer *writer, rocksdb_iterator_t *at)
{
    for (rocksdb_iter_seek_to_first(at); rocksdb_iter_valid(at); rocksdb_iter_next(at)) {
        slice key, value;
        key.data = rocksdb_iter_key(at, &key.size);
        value.data = rocksdb_iter_value(at, &value.size);
        TRY(snapshot_writer_add(writer, key, value));
        TRY(snapshot_writer_flush(writer));
    }
    return KV_OK;
}

static kv_status rocks_snapshot(struct kv_session *session, int fd)
{
    struct rocks              *store = store_of(session);
    const rocksdb_snapshot_t  *moment = rocksdb_create_snapshot(store->db);
    rocksdb_readoptions_t     *read = rocksdb_readoptions_create();
    struct snapshot_writer     writer;
    rocksdb_iterator_t        *at;
    char                      *error = NULL;
    kv_status                  status = snapshot_writer_open(&writer, fd);

    rocksdb_readoptions_set_snapshot(read, moment);
    rocksdb_readoptions_set_fill_cache(read, 0);
    at = rocksdb_create_iterator(store->db, read);
    if (status == KV_OK)
        status = add_records(&writer, at);
    rocksdb_iter_get_error(at, &error);
    if (error)
        status = told(store, error);
    if (status == KV_OK)
        status = snapshot_writer_end(&writer);
    snapshot_writer_free(&writer);
    rocksdb_iter_destroy(at);
    rocksdb_readoptions_destroy(read);
    rocksdb_release_snapshot(store->db, moment);
    return status;
}

/* The rest. */

/* RocksDB does not say whether a compaction went well, but it counts background errors. */
static kv_status rocks_compact(struct kv_session *session)
{
    struct rocks             *store = store_of(session);
    rocksdb_compactoptions_t *set;
    uint64_t                  before = 0, after = 0;

    TRY(check_writable(store));
    rocksdb_property_int(store->db, "rocksdb.background-errors", &before);
    set = rocksdb_compactoptions_create();
    rocksdb_compactoptions_set_bottommost_level_compaction(set, 3); /* kForceOptimized: not what this very call has written */
    rocksdb_compact_range_opt(store->db, set, NULL, 0, NULL, 0);
    rocksdb_compactoptions_destroy(set);
    rocksdb_property_int(store->db, "rocksdb.background-errors", &after);
    if (after != before)
        return kv_fail(KV_IO, "rocksdb in %s: a compaction failed; its LOG says why", store->path);
    return KV_OK;
}

/* "Stalls(count): 0 level0_slowdown, 0 level0_slowdown_with_compaction, ... " */
static void figure_stalls(const struct rocks *store, kv_figure *figure, void *arg)
{
    char       *text = rocksdb_property_value(store->db, "rocksdb.cfstats-no-file-histogram");
    const char *at = text ? strstr(text, "Stalls(count):") : NULL;
    uint64_t    stalls = 0, count;
    int         used;

    if (at) {
        at += strlen("Stalls(count):");
        /* The last word is the interval's sum. */
        while (sscanf(at, " %" SCNu64 " %n", &count, &used) == 1 && strncmp(at + used, "interval", 8) != 0) {
            stalls += count;
            at = strchr(at + used, ',');
            if (!at++)
                break;
        }
        figure(arg, "stalls", stalls);
    }
    rocksdb_free(text);
}

/* "Cumulative stall: 00:00:0.123 H:M:S, 0.1 percent" */
static void figure_stall_time(const struct rocks *store, kv_figure *figure, void *arg)
{
    char       *text = rocksdb_property_value(store->db, "rocksdb.dbstats");
    const char *at = text ? strstr(text, "Cumulative stall:") : NULL;
    unsigned    hours, minutes;
    double      seconds;

    if (at && sscanf(at, "Cumulative stall: %u:%u:%lf", &hours, &minutes, &seconds) == 3)
        figure(arg, "stall_ns", (uint64_t)((hours * 3600.0 + minutes * 60.0 + seconds) * 1e9));
    rocksdb_free(text);
}

static void rocks_stats(struct kv_store *base, kv_figure *figure, void *arg)
{
    struct rocks *store = (struct rocks *)base;
    uint64_t      memtables = property(store, "rocksdb.cur-size-all-mem-tables");
    uint64_t      active = property(store, "rocksdb.cur-size-active-mem-table");

    figure(arg, "disk_bytes", storedir_disk_bytes(store->path));
    figure(arg, "memory_bytes", property(store, "rocksdb.size-all-mem-tables") + rocksdb_cache_get_usage(store->cache) +
                                    property(store, "rocksdb.estimate-table-readers-mem"));
    figure(arg, "debt_bytes", property(store, "rocksdb.estimate-pending-compaction-bytes") +
                                  (memtables > active ? memtables - active : 0));
    figure(arg, "rotations", property(store, "rocksdb.current-super-version-number"));
    figure(arg, "running_flushes", property(store, "rocksdb.num-running-flushes"));
    figure(arg, "running_compactions", property(store, "rocksdb.num-running-compactions"));
    figure_stalls(store, figure, arg);
    figure_stall_time(store, figure, arg);
}

/* What RocksDB wrote down as its options when it opened: the OPTIONS file with the highest number. */
static FILE *open_options_file(const struct rocks *store)
{
    DIR                 *dir = opendir(store->path);
    const struct dirent *entry;
    unsigned long        number, newest = 0;
    char                 path[4096];
    int                  used;

    while (dir && (entry = readdir(dir)))
        if (sscanf(entry->d_name, "OPTIONS-%lu%n", &number, &used) == 1 && !entry->d_name[used] && number >= newest)
            newest = number;
    if (dir)
        closedir(dir);
    snprintf(path, sizeof path, "%s/OPTIONS-%06lu", store->path, newest);
    return fopen(path, "re");
}

static void rocks_settings(struct kv_store *base, kv_setting *setting, void *arg)
{
    static const char *const names[] = {
        "rocksdb_version", "wal_recovery_mode", "use_fsync", "wal_bytes_per_sync", "recycle_log_file_num",
        "write_buffer_size", "max_write_buffer_number", "enable_pipelined_write", "allow_concurrent_memtable_write",
        "compression", "bottommost_compression", "block_size", "filter_policy", "cache_index_and_filter_blocks",
        "pin_l0_filter_and_index_blocks_in_cache", "format_version", "checksum", "compaction_style", "compaction_pri",
        "level_compaction_dynamic_level_bytes", "max_bytes_for_level_base", "max_bytes_for_level_multiplier",
        "target_file_size_base", "level0_file_num_compaction_trigger", "max_background_jobs", "max_subcompactions",
        "max_open_files", "bytes_per_sync", "use_direct_reads", "use_direct_io_for_flush_and_compaction",
    };
    struct rocks *store = (struct rocks *)base;
    FILE         *file = open_options_file(store);
    char         *line = NULL, text[32];
    size_t        capacity = 0;

    setting(arg, "WriteOptions.sync", rocksdb_writeoptions_get_sync(store->write) ? "true" : "false");
    snprintf(text, sizeof text, "%zu", rocksdb_cache_get_capacity(store->cache));
    setting(arg, "block_cache", text);
    while (file && getline(&line, &capacity, file) > 0) {
        char *name = line + strspn(line, " "), *equals = strchr(name, '=');
        if (!equals)
            continue;
        *equals = '\0';
        equals[1 + strcspn(equals + 1, "\n")] = '\0';
        for (size_t i = 0; i < sizeof names / sizeof *names; i++)
            if (strcmp(names[i], name) == 0)
                setting(arg, name, equals + 1);
    }
    free(line);
    if (file)
        fclose(file);
}

static const struct kv_engine engine = {
    .abi             = KV_ABI,
    .name            = PEER,
    .version         = ROCKSDB_VERSION,
    .summary         = "RocksDB: LSM tree with a WAL, leveled compaction, block cache and bloom filters",
    .licence         = "Apache-2.0 OR GPL-2.0-only",
    .can             = KV_DURABLE | KV_SCAN | KV_ORDERED | KV_BATCH | KV_SNAPSHOT | KV_SESSIONS | KV_COMPACT | KV_RETAINS,
    .tiers           = KV_TIER_BIT(KV_TIER_PROCESS) | KV_TIER_BIT(KV_TIER_COMMIT),
    .key_bytes_max   = KV_KEY_BYTES_MAX,
    .value_bytes_max = KV_VALUE_BYTES_MAX,
    .options         = options,
    .open            = rocks_open,
    .close           = rocks_close,
    .session_open    = rocks_session_open,
    .session_close   = rocks_session_close,
    .put             = rocks_put,
    .get             = rocks_get,
    .del             = rocks_del,
    .get_many        = rocks_get_many,
    .write           = rocks_write,
    .scan            = rocks_scan,
    .sync            = rocks_sync,
    .snapshot        = rocks_snapshot,
    .compact         = rocks_compact,
    .stats           = rocks_stats,
    .settings        = rocks_settings,
};

__attribute__((visibility("default"))) const struct kv_engine *kv_plugin(void);

const struct kv_engine *kv_plugin(void)
{
    return &engine;
}
