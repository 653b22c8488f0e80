/*
 * leveldb.c -- LevelDB (Google's LSM tree) as an engine, through its C interface; written against 1.23.
 *
 * Files       STORE, LOCK, MADE: see base/storedir.h.  db/: LevelDB's own.
 * Durability  One log record for each put, del or batch, in the order in which writes are seen.
 *             process     WriteOptions::sync = false: each record ends in write(2) (doc/index.md, "Synchronous Writes")
 *             commit      sync = true: fdatasync before the acknowledgement, one for a group of waiting writers
 *             LevelDB syncs its directory for a MANIFEST only, so after a change of logs the file with a synced write may have no
 *             durable name (its issue #196), nor CURRENT its new content (#195).  The plug-in syncs the directory after an opening
 *             and, in tier commit, before it acknowledges the first write of a new log, of which inotify tells;
 *             sync_names=false leaves LevelDB to itself.
 *             sync syncs all logs that are there, and the directory: a synced write alone would cover the newest log only, while
 *             the one before still waits for its memtable's flush (#193).  What is in no log any more is in synced tables.
 *             close syncs, in both tiers.
 *             Where a disk keeps new names in any order (profile posix-minimal; a journal keeps their order), an opening that is cut
 *             short may leave a CURRENT that names a MANIFEST without a name (#195 is its sibling): such a store is refused.
 *             none, ordered, interval: refused, because their prefix does not outlive every loss of power: the old log is not synced
 *             when the memtable changes, so what the new one kept is there without what the old one lost (#193, open), and
 *             recovery takes a lost page, which reads as zeros, for padding where a record ended just before it
 *             (log_reader.cc, kZeroType).
 * Defaults    The library's own (options.h), with what doc/index.md advises: a bloom filter of 10 bits.  The block cache is what
 *             every engine gets (kv_cache_bytes).  Checksums are on, unlike LevelDB's own default, because an engine must not hand
 *             up wrong data: paranoid_checks when it opens and compacts, verify_reads for each block that is read.
 * Figures     debt_bytes: what exceeds the sizes at which LevelDB begins a compaction (4 files in level 0, 10 MiB in level 1, ten
 *             times that in each next; version_set.cc), from its property "leveldb.stats", in MiB.  rotations: logs begun
 *             since the opening.  disk_bytes, memory_bytes.  It tells of no stalls and counts no keys.
 * Full disk   A record that was cut short stays in the log, and LevelDB would append behind it; so the store takes no more writes
 *             until it is opened again, which needs room for what recovery flushes.  A write of another session between the
 *             failure and its return is the one that this cannot stop.
 * Limits      modify is the wrapper's: atomic against other modifies, not against puts.  get copies (LevelDB lends nothing but
 *             through iterators); get_many is the wrapper's.
 * Not done    Comparators, repair.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <leveldb/c.h>

#include "common/units.h"
#include "engines/base/snapshot.h"
#include "engines/base/storedir.h"
#include "engines/engine.h"
#include "engines/plugins/message.h"

#define FORMAT             1
#define MIB                (UINT64_C(1) << 20)
#define LEVEL0_FILES       4  /* db/dbformat.h: kL0_CompactionTrigger */
#define LEVEL1_MIB         10 /* db/version_set.cc: MaxBytesForLevel */

enum {
    OPTION_BLOCK_CACHE,
    OPTION_WRITE_BUFFER,
    OPTION_BLOCK_SIZE,
    OPTION_RESTART_INTERVAL,
    OPTION_TABLE_SIZE,
    OPTION_BLOOM_BITS,
    OPTION_COMPRESSION,
    OPTION_OPEN_FILES,
    OPTION_PARANOID_CHECKS,
    OPTION_VERIFY_READS,
    OPTION_SYNC_NAMES
};

static const char *const compression_words[] = {"none", "snappy", NULL};

static const struct kv_option options[] = {
    [OPTION_BLOCK_CACHE] = {"block_cache", KV_BYTES, "0", 0, 0, "uncompressed blocks in memory; 0: what every engine gets"},
    [OPTION_WRITE_BUFFER] = {"write_buffer", KV_BYTES, "4M", 65536, 1073741824, "a memtable of this size is flushed",
                             .small = "64k"},
    [OPTION_BLOCK_SIZE] = {"block_size", KV_BYTES, "4k", 1024, 4194304, "of a table, before compression"},
    [OPTION_RESTART_INTERVAL] = {"restart_interval", KV_COUNT, "16", 1, 1024, "keys of a block from one whole key to the next"},
    [OPTION_TABLE_SIZE] = {"table_size", KV_BYTES, "2M", 1048576, 1073741824, "of files (max_file_size)", .small = "1M"},
    [OPTION_BLOOM_BITS] = {"bloom_bits", KV_COUNT, "10", 0, 100, "bits a key of the tables' bloom filters; 0: no filters"},
    [OPTION_COMPRESSION] = {"compression", KV_WORD, "snappy", 0, 0, "of blocks", compression_words},
    [OPTION_OPEN_FILES] = {"open_files", KV_COUNT, "1000", 74, 50000, "table files kept open (max_open_files)"},
    [OPTION_PARANOID_CHECKS] = {"paranoid_checks", KV_BOOL, "true", 0, 0, "damage that is met at open or in a compaction is an error"},
    [OPTION_VERIFY_READS] = {"verify_reads", KV_BOOL, "true", 0, 0, "check the checksum of every block that is read from a file"},
    [OPTION_SYNC_NAMES] = {"sync_names", KV_BOOL, "true", 0, 0, "commit: sync the directory after a new log, which LevelDB does not"},
    {0},
};

struct level {
    struct kv_store          base;
    struct storedir          dir;
    char                    *path; /* of db/ */
    leveldb_t               *db;
    leveldb_options_t       *options;
    leveldb_cache_t         *cache;
    leveldb_filterpolicy_t  *filter;
    leveldb_readoptions_t   *read;
    leveldb_writeoptions_t  *write;
    struct kv_config         config; /* for settings: LevelDB tells nothing back */
    bool                     sync_names;
    int                      watch;      /* inotify: files that are made in db/ */
    pthread_mutex_t          watch_lock; /* held for the directory's sync too: who comes next waits for it */
    uint64_t                 rotations;  /* under watch_lock */
    pthread_mutex_t          failure_lock;
    kv_status                failed; /* atomic; KV_OK until then */
    char                     failure[FAIL_BYTES_MAX];
};

static struct level *store_of(struct kv_session *session)
{
    return (struct level *)session->store;
}

/* Errors. */

/* The status of a message, which is freed; NULL is KV_OK. */
static kv_status told(const struct level *store, char *message)
{
    kv_status status;

    if (!message)
        return KV_OK;
    status = kv_fail(message_status(message), "leveldb in %s: %s", store->path, message);
    leveldb_free(message);
    return status;
}

/* The first failure of a write or a sync is the last write, a full disk too. */
static kv_status failed_write(struct level *store, kv_status status)
{
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

/* A sync that failed is never tried again, whatever the reason: no writes from here on. */
static kv_status failed_sync(struct level *store, kv_status status)
{
    return status == KV_OK ? KV_OK : failed_write(store, kv_fail(KV_IO, "%s", fail_text()));
}

static kv_status check_writable(struct level *store)
{
    kv_status failed = __atomic_load_n(&store->failed, __ATOMIC_ACQUIRE);

    if (__builtin_expect(failed != KV_OK, 0))
        return kv_fail(failed, "%s", store->failure);
    return KV_OK;
}

/* Names of logs. */

/* How many logs were begun since the last call; at least one when the kernel lost count.  Under watch_lock. */
static unsigned new_logs(struct level *store)
{
    _Alignas(struct inotify_event) char bytes[8192];
    unsigned                            count = 0;
    ssize_t                             got;

    while ((got = read(store->watch, bytes, sizeof bytes)) > 0) {
        for (const char *at = bytes; at < bytes + got;) {
            const struct inotify_event *event = (const struct inotify_event *)at;
            const char                 *dot = event->len ? strrchr(event->name, '.') : NULL;

            count += event->mask & IN_Q_OVERFLOW || (dot && strcmp(dot, ".log") == 0);
            at += sizeof *event + event->len;
        }
    }
    store->rotations += count;
    return count;
}

/* After a synced write: its log has a durable name too. */
static kv_status sync_new_names(struct level *store)
{
    kv_status status = KV_OK;

    pthread_mutex_lock(&store->watch_lock);
    if (new_logs(store))
        status = file_sync_dir(store->path);
    pthread_mutex_unlock(&store->watch_lock);
    return status;
}

static kv_status sync_logs(struct level *store)
{
    TRY(check_writable(store));
    return failed_sync(store, storedir_sync_files(store->path, ".log"));
}

/* Opening. */

static kv_status level_close(struct kv_store *base)
{
    struct level *store = (struct level *)base;
    kv_status     status = KV_OK;

    if (store->db) {
        if (store->failed != KV_IO) /* after a full disk too: what was acknowledged is in the files, and no sync has failed */
            status = storedir_sync_files(store->path, ".log");
        leveldb_close(store->db); /* waits for a compaction under way to notice, at most for its present file */
    }
    if (store->read)
        leveldb_readoptions_destroy(store->read);
    if (store->write)
        leveldb_writeoptions_destroy(store->write);
    if (store->options)
        leveldb_options_destroy(store->options);
    if (store->cache)
        leveldb_cache_destroy(store->cache);
    if (store->filter)
        leveldb_filterpolicy_destroy(store->filter);
    if (store->watch >= 0)
        close(store->watch);
    storedir_close(&store->dir);
    pthread_mutex_destroy(&store->watch_lock);
    pthread_mutex_destroy(&store->failure_lock);
    free(store->path);
    free(store);
    return status;
}

static void set_options(struct level *store, const struct kv_config *config)
{
    const union kv_value *option = config->option;
    uint64_t              cache_bytes = option[OPTION_BLOCK_CACHE].u64;

    store->options = leveldb_options_create();
    store->cache = leveldb_cache_create_lru(cache_bytes ? cache_bytes : kv_cache_bytes(config));
    if (option[OPTION_BLOOM_BITS].u64) {
        store->filter = leveldb_filterpolicy_create_bloom((int)option[OPTION_BLOOM_BITS].u64);
        leveldb_options_set_filter_policy(store->options, store->filter);
    }
    leveldb_options_set_cache(store->options, store->cache);
    leveldb_options_set_write_buffer_size(store->options, option[OPTION_WRITE_BUFFER].u64);
    leveldb_options_set_block_size(store->options, option[OPTION_BLOCK_SIZE].u64);
    leveldb_options_set_block_restart_interval(store->options, (int)option[OPTION_RESTART_INTERVAL].u64);
    leveldb_options_set_max_file_size(store->options, option[OPTION_TABLE_SIZE].u64);
    leveldb_options_set_compression(store->options, option[OPTION_COMPRESSION].u64 ? leveldb_snappy_compression
                                                                                   : leveldb_no_compression);
    leveldb_options_set_max_open_files(store->options, (int)option[OPTION_OPEN_FILES].u64);
    leveldb_options_set_paranoid_checks(store->options, (uint8_t)option[OPTION_PARANOID_CHECKS].u64);
    store->read = leveldb_readoptions_create();
    leveldb_readoptions_set_verify_checksums(store->read, (uint8_t)option[OPTION_VERIFY_READS].u64);
    store->write = leveldb_writeoptions_create();
    leveldb_writeoptions_set_sync(store->write, config->durability.tier == KV_TIER_COMMIT);
    store->sync_names = config->durability.tier == KV_TIER_COMMIT && option[OPTION_SYNC_NAMES].u64;
}

/* An absent db/ is made, with its name made durable, once: what is missing later was lost. */
static kv_status open_database(struct level *store)
{
    char     *error = NULL;
    bool      made = storedir_is_made(&store->dir);
    kv_status status;

    if (!made && mkdir(store->path, 0755) != 0 && errno != EEXIST)
        return kv_fail_errno("mkdir %s", store->path);
    if (!made)
        TRY(file_sync_dir(store->dir.path));
    store->watch = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (store->watch < 0)
        return kv_fail_errno("inotify for %s", store->path);
    if (inotify_add_watch(store->watch, store->path, IN_CREATE | IN_MOVED_TO) < 0)
        return errno == ENOENT ? kv_fail(KV_CORRUPT, "%s is missing", store->path) : kv_fail_errno("watch %s", store->path);
    leveldb_options_set_create_if_missing(store->options, !made);
    store->db = leveldb_open(store->options, store->path, &error);
    status = told(store, error);
    if (status == KV_INVALID && made)
        return kv_fail(KV_CORRUPT, "%s", fail_text()); /* "does not exist (create_if_missing is false)" */
    TRY(status);
    new_logs(store); /* opening begins one; the directory is synced here in any case */
    store->rotations = 0;
    TRY(file_sync_dir(store->path));
    return made ? KV_OK : storedir_set_made(&store->dir);
}

static kv_status level_open(const struct kv_config *config, struct kv_store **out)
{
    static const struct storedir_kind kind = {.engine = PEER, .format = FORMAT};
    struct level                     *store = calloc(1, sizeof *store);
    kv_status                         status;

    if (!store)
        return kv_fail(KV_NO_MEMORY, "no memory for a store");
    pthread_mutex_init(&store->watch_lock, NULL);
    pthread_mutex_init(&store->failure_lock, NULL);
    store->dir.lock = FILE_CLOSED;
    store->watch = -1;
    store->config = *config;
    status = storedir_open(&store->dir, config->dir, &kind);
    if (status == KV_OK && asprintf(&store->path, "%s/db", config->dir) < 0) {
        store->path = NULL;
        status = kv_fail(KV_NO_MEMORY, "no memory for a store");
    }
    if (status == KV_OK) {
        set_options(store, config);
        status = open_database(store);
    }
    if (status == KV_OK) {
        *out = &store->base;
        return KV_OK;
    }
    store->failed = KV_IO; /* nothing was acknowledged, so nothing is synced */
    level_close(&store->base);
    return status;
}

/* LevelDB's calls are made from any thread. */
static kv_status level_session_open(struct kv_store *store, struct kv_session **out)
{
    (void)store;
    *out = calloc(1, sizeof **out);
    return *out ? KV_OK : kv_fail(KV_NO_MEMORY, "no memory for a session");
}

static void level_session_close(struct kv_session *session)
{
    free(session);
}

/* Writing. */

/* What comes between a write and its acknowledgement. */
static kv_status finish_write(struct level *store, char *error)
{
    if (__builtin_expect(error != NULL, 0))
        return failed_write(store, told(store, error));
    return store->sync_names ? failed_sync(store, sync_new_names(store)) : KV_OK;
}

static kv_status level_put(struct kv_session *session, slice key, slice value)
{
    struct level *store = store_of(session);
    char         *error = NULL;

    TRY(check_writable(store));
    leveldb_put(store->db, store->write, key.data, key.size, value.size ? value.data : "", value.size, &error);
    return finish_write(store, error);
}

static kv_status level_del(struct kv_session *session, slice key)
{
    struct level *store = store_of(session);
    char         *error = NULL;

    TRY(check_writable(store));
    leveldb_delete(store->db, store->write, key.data, key.size, &error);
    return finish_write(store, error);
}

static kv_status level_write(struct kv_session *session, const struct kv_write *writes, size_t count)
{
    struct level         *store = store_of(session);
    leveldb_writebatch_t *batch;
    char                 *error = NULL;

    TRY(check_writable(store));
    batch = leveldb_writebatch_create();
    for (size_t i = 0; i < count; i++) {
        slice key = writes[i].key, value = writes[i].value;
        if (writes[i].kind == KV_PUT)
            leveldb_writebatch_put(batch, key.data, key.size, value.size ? value.data : "", value.size);
        else
            leveldb_writebatch_delete(batch, key.data, key.size);
    }
    leveldb_write(store->db, store->write, batch, &error);
    leveldb_writebatch_destroy(batch);
    return finish_write(store, error);
}

static kv_status level_sync(struct kv_session *session)
{
    return sync_logs(store_of(session));
}

/* Reading. */

static kv_status level_get(struct kv_session *session, slice key, kv_visit *visit, void *arg)
{
    struct level *store = store_of(session);
    char         *error = NULL, *value;
    size_t        bytes = 0;

    value = leveldb_get(store->db, store->read, key.data, key.size, &bytes, &error);
    if (error)
        return told(store, error);
    if (!value)
        return KV_NOT_FOUND;
    visit(arg, key, slice_of(value, bytes));
    leveldb_free(value);
    return KV_OK;
}

/* An iterator sees the store as it was when it was made. */
static kv_status level_scan(struct kv_session *session, slice first, kv_visit *visit, void *arg)
{
    struct level       *store = store_of(session);
    leveldb_iterator_t *at = leveldb_create_iterator(store->db, store->read);
    char               *error = NULL;

    if (first.size)
        leveldb_iter_seek(at, first.data, first.size);
    else
        leveldb_iter_seek_to_first(at);
    for (; leveldb_iter_valid(at); leveldb_iter_next(at)) {
        slice key, value;
        key.data = leveldb_iter_key(at, &key.size);
        value.data = leveldb_iter_value(at, &value.size);
        if (!visit(arg, key, value))
            break;
    }
    leveldb_iter_get_error(at, &error);
    leveldb_iter_destroy(at);
    return told(store, error);
}

static kv_status add_records(struct snapshot_writer *writer, leveldb_iterator_t *at)
{
    for (leveldb_iter_seek_to_first(at); leveldb_iter_valid(at); leveldb_iter_next(at)) {
        slice key, value;
        key.data = leveldb_iter_key(at, &key.size);
        value.data = leveldb_iter_value(at, &value.size);
        TRY(snapshot_writer_add(writer, key, value));
        TRY(snapshot_writer_flush(writer));
    }
    return KV_OK;
}

static kv_status level_snapshot(struct kv_session *session, int fd)
{
    struct level             *store = store_of(session);
    const leveldb_snapshot_t *moment = leveldb_create_snapshot(store->db);
    leveldb_readoptions_t    *read = leveldb_readoptions_create();
    struct snapshot_writer    writer;
    leveldb_iterator_t       *at;
    char                     *error = NULL;
    kv_status                 status = snapshot_writer_open(&writer, fd);

    leveldb_readoptions_set_snapshot(read, moment);
    leveldb_readoptions_set_verify_checksums(read, 1);
    leveldb_readoptions_set_fill_cache(read, 0);
    at = leveldb_create_iterator(store->db, read);
    if (status == KV_OK)
        status = add_records(&writer, at);
    leveldb_iter_get_error(at, &error);
    if (error)
        status = told(store, error);
    if (status == KV_OK)
        status = snapshot_writer_end(&writer);
    snapshot_writer_free(&writer);
    leveldb_iter_destroy(at);
    leveldb_readoptions_destroy(read);
    leveldb_release_snapshot(store->db, moment);
    return status;
}

/* The rest. */

/* LevelDB does not say whether a compaction went well, but after one that did not it takes no writes, an empty batch neither. */
static kv_status level_compact(struct kv_session *session)
{
    TRY(check_writable(store_of(session)));
    leveldb_compact_range(store_of(session)->db, NULL, 0, NULL, 0);
    return level_write(session, NULL, 0);
}

/* Lines of "leveldb.stats": level, files, MiB, and more. */
static uint64_t debt_bytes(const struct level *store)
{
    char    *text = leveldb_property_value(store->db, "leveldb.stats"), *rest = NULL;
    uint64_t debt = 0;

    for (char *line = text ? strtok_r(text, "\n", &rest) : NULL; line; line = strtok_r(NULL, "\n", &rest)) {
        unsigned level, files;
        double   mib, limit = LEVEL1_MIB;

        if (sscanf(line, "%u %u %lf", &level, &files, &mib) != 3)
            continue;
        for (unsigned i = 1; i < level; i++)
            limit *= 10;
        if (level == 0 && files >= LEVEL0_FILES)
            debt += (uint64_t)(mib > 1 ? mib : 1) * MIB;
        else if (level > 0 && mib > limit)
            debt += (uint64_t)(mib - limit) * MIB;
    }
    leveldb_free(text);
    return debt;
}

static void level_stats(struct kv_store *base, kv_figure *figure, void *arg)
{
    struct level *store = (struct level *)base;
    char         *memory = leveldb_property_value(store->db, "leveldb.approximate-memory-usage");
    uint64_t      rotations;

    pthread_mutex_lock(&store->watch_lock);
    if (!store->sync_names) /* else who has written counts them, and syncs */
        new_logs(store);
    rotations = store->rotations;
    pthread_mutex_unlock(&store->watch_lock);
    figure(arg, "disk_bytes", storedir_disk_bytes(store->path));
    if (memory)
        figure(arg, "memory_bytes", strtoull(memory, NULL, 10));
    figure(arg, "debt_bytes", debt_bytes(store));
    figure(arg, "rotations", rotations);
    leveldb_free(memory);
}

static void level_settings(struct kv_store *base, kv_setting *setting, void *arg)
{
    struct level         *store = (struct level *)base;
    const union kv_value *option = store->config.option;
    uint64_t              cache_bytes = option[OPTION_BLOCK_CACHE].u64;
    char                  text[UNITS_TEXT_MAX];

    setting(arg, "WriteOptions.sync", store->config.durability.tier == KV_TIER_COMMIT ? "true" : "false");
    setting(arg, "directory synced after a new log", store->sync_names ? "true" : "false");
    setting(arg, "block_cache", units_exact_bytes(text, cache_bytes ? cache_bytes : kv_cache_bytes(&store->config)));
    setting(arg, "write_buffer_size", units_exact_bytes(text, option[OPTION_WRITE_BUFFER].u64));
    setting(arg, "block_size", units_exact_bytes(text, option[OPTION_BLOCK_SIZE].u64));
    setting(arg, "max_file_size", units_exact_bytes(text, option[OPTION_TABLE_SIZE].u64));
    setting(arg, "compression", compression_words[option[OPTION_COMPRESSION].u64]);
    snprintf(text, sizeof text, "%" PRIu64, option[OPTION_RESTART_INTERVAL].u64);
    setting(arg, "block_restart_interval", text);
    snprintf(text, sizeof text, "%" PRIu64, option[OPTION_BLOOM_BITS].u64);
    setting(arg, "bloom_bits", text);
    snprintf(text, sizeof text, "%" PRIu64, option[OPTION_OPEN_FILES].u64);
    setting(arg, "max_open_files", text);
    setting(arg, "paranoid_checks", option[OPTION_PARANOID_CHECKS].u64 ? "true" : "false");
    setting(arg, "ReadOptions.verify_checksums", option[OPTION_VERIFY_READS].u64 ? "true" : "false");
}

static const struct kv_engine engine = {
    .abi             = KV_ABI,
    .name            = PEER,
    .version         = LEVELDB_VERSION,
    .summary         = "LevelDB: LSM tree with a log, leveled compaction, block cache and bloom filters",
    .licence         = "BSD-3-Clause",
    .can             = KV_DURABLE | KV_SCAN | KV_ORDERED | KV_BATCH | KV_SNAPSHOT | KV_SESSIONS | KV_COMPACT | KV_RETAINS,
    .tiers           = KV_TIER_BIT(KV_TIER_PROCESS) | KV_TIER_BIT(KV_TIER_COMMIT),
    .key_bytes_max   = KV_KEY_BYTES_MAX,
    .value_bytes_max = KV_VALUE_BYTES_MAX,
    .options         = options,
    .open            = level_open,
    .close           = level_close,
    .session_open    = level_session_open,
    .session_close   = level_session_close,
    .put             = level_put,
    .get             = level_get,
    .del             = level_del,
    .write           = level_write,
    .scan            = level_scan,
    .sync            = level_sync,
    .snapshot        = level_snapshot,
    .compact         = level_compact,
    .stats           = level_stats,
    .settings        = level_settings,
};

__attribute__((visibility("default"))) const struct kv_engine *kv_plugin(void);

const struct kv_engine *kv_plugin(void)
{
    return &engine;
}
