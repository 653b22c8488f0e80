/*
 * tkrzw.c -- Tkrzw 1.0.25 by its C interface, three engines: tkrzw-hash (HashDBM), tkrzw-tree (TreeDBM), tkrzw-tiny (TinyDBM).
 *
 * Quotations are from index.xhtml of Debian's tkrzw-doc, which is https://dbmx.net/tkrzw/ of this version.
 *
 * Files       STORE, LOCK, MADE: see base/storedir.h.  hash.tkh or tree.tkt: one file, in a shared mapping; absent or empty while MADE is
 *             there, it was lost: corruption.  tkrzw-hash also has END, see below.  tkrzw-tiny keeps nothing.
 * Durability  "Settings for Higher Durability": appending update mode, Synchronize after what must last, and restoration to the last
 *             Synchronize.
 *               none      no Synchronize but those of kv_sync, and they are hard.
 *               process   tree: Synchronize(hard=false) before each acknowledgement: "it can tolerate only process crashes".
 *                         hash: its records go to the end of a shared mapping at once, and a soft Synchronize only writes into the
 *                         file's head how far they are good, but at the price of cutting the file to its size and growing and
 *                         mapping it anew for the next write.  So this is kept here, in END (8 bytes, mapped; 0: see the head), by
 *                         one writer at a time, and RestoreDatabase takes it as its end_offset.
 *               commit    Synchronize(hard=true), one for all writers that wait.
 *             ordered and interval are refused: a soft Synchronize writes metadata that says how far the file is good, and nothing
 *             orders it behind the data on its way to the disk.
 *             The restoration that comes with an open syncs nothing, and a kill in its middle leaves a tree that does not open again
 *             ("bad magic data").  So it is done here, by RestoreDatabase into a file beside, which is synced and renamed.
 *             With the default restore mode and without Synchronize "there is no guarantee about which records, or even how many
 *             records, can be recovered", so that is no tier.
 *             Held: hash, killed, 3,533 lives at process, 519 at commit, 1,054 at none; commit under power loss, all of 29 states of
 *             drop-unsynced, 79 of ext4, 113 of posix-minimal.  Tree, killed, 192 lives at process; commit under drop-unsynced 65
 *             states; under ext4 a scan of 1 of 59 met a record that was cut, under posix-minimal of 1 of 67.
 * Batch       ProcessMulti; Synchronize waits for it, and nothing but a Synchronize is restored: all or nothing.
 * Defaults    num_buckets: "should be larger than the estimated number of records", and Rebuild takes twice; here it is twice a
 *             million.  Page cache of the tree: kv_cache_bytes over the page size.  All else is the library's own.
 * Full disk   A mapped file with holes ends the process where the disk has no block for it; so writes are admitted by base/room.h, and a
 *             restoration, which copies the file, only where there is room for that.
 * Limits      The hash table does not grow by itself, and the appending mode gives back no space: compact (Rebuild) does both.
 *             The tree at process or commit writes at least a leaf for each put: a Synchronize writes out all dirty pages, each to the
 *             end of the file, since only the appending mode can be restored to a Synchronize.  30,000 puts of 100 bytes made a
 *             file of 198 MB, 6.6 kB a put; at none, 2.4 MB.  The library's default is to write in place, without that protection.
 *             The tree has no compact: between the renaming in its Rebuild and the next Synchronize a crash leaves a file without
 *             the tree's metadata ("bad magic data").
 * Not done    Snapshots; a scan of an unordered engine (ProcessEach) goes through all records also after the visitor has stopped it.
 */
#include <dirent.h>
#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <tkrzw_langc.h>
#include <unistd.h>

#include "engines/base/room.h"
#include "engines/base/storedir.h"
#include "engines/engine.h"

#if defined TKRZW_HASH
#define CLASS     "HashDBM"
#define FILE_NAME "hash.tkh"
#elif defined TKRZW_TREE
#define CLASS     "TreeDBM"
#define FILE_NAME "tree.tkt"
#elif defined TKRZW_TINY
#define CLASS     "TinyDBM"
#define IN_MEMORY
#endif

/* What one write makes the library write beside key and value: a header and padding; or a leaf, its halves and what is above. */
#ifdef TKRZW_TREE
#define PAGES_BYTES_MAX (64u << 10)
#define TIMES           4 /* a leaf with a large value is appended again when a neighbour comes, and its halves when it is split */
#else
#define PAGES_BYTES_MAX 128u
#define TIMES           1
#endif

#ifdef TKRZW_HASH
#define END_NAME       "END"
#define END_BYTES      8
#define SYNCED_SIZE_AT 40 /* in the file's head, big-endian (tkrzw_dbm_hash.cc, META_OFFSET_FILE_SIZE) */
#endif

#define SETUP_BYTES_MAX 640
#define PATH_BYTES_MAX  4096
#define RESERVE_BYTES   (UINT64_C(1) << 20)

/* Rows of the table of options. */
enum {
    OPTION_BUCKETS,
    OPTION_OFFSET_WIDTH,
    OPTION_ALIGN_POW,
    OPTION_CRC,
    OPTION_COMPRESSION,
    OPTION_FILE,
    OPTION_PAGE_BYTES,
    OPTION_BRANCHES,
};

struct tkrzw_store {
    struct kv_store base;
    TkrzwDBM       *dbm;
    struct storedir dir;
    struct room     room;
    enum kv_tier    tier;
    uint64_t        written;      /* atomic: writes done */
    pthread_mutex_t lock;         /* of what follows, and held by the one that synchronizes */
    uint64_t        synced;       /* so many of them, at least, the last Synchronize covered */
    bool            failed;       /* atomic: a write or a sync went wrong: no more writes */
    char            sentence[FAIL_BYTES_MAX];
    char            setup[SETUP_BYTES_MAX]; /* what was passed to tkrzw_dbm_open */
#ifdef TKRZW_HASH
    struct file     end_file;
    uint64_t       *end;          /* mapped: where the acknowledged records end; 0: at the last Synchronize */
    bool            keeps_end;    /* tier process: the lock is held from before a write until *end covers it */
#endif
};

static struct tkrzw_store *store_of(struct kv_session *session)
{
    return (struct tkrzw_store *)session->store;
}

/* The library's last status in this thread, as ours. */
static kv_status explain(const struct tkrzw_store *store, const char *call)
{
    TkrzwStatus last = tkrzw_get_last_status();
    kv_status   status = KV_IO;

    if (last.code == TKRZW_STATUS_NOT_FOUND_ERROR)
        return KV_NOT_FOUND;
    if (last.code == TKRZW_STATUS_BROKEN_DATA_ERROR)
        status = KV_CORRUPT;
    else if (last.code == TKRZW_STATUS_INVALID_ARGUMENT_ERROR)
        status = KV_INVALID;
    else if (strstr(last.message, "No space") || strstr(last.message, "quota"))
        status = KV_NO_SPACE;
#ifdef IN_MEMORY
    (void)store;
    return kv_fail(status, "tkrzw %s: %s %s", call, tkrzw_status_code_name(last.code), last.message);
#else
    return kv_fail(status, "%s/" FILE_NAME ": tkrzw %s: %s %s", store->dir.path, call, tkrzw_status_code_name(last.code),
                   last.message);
#endif
}

/* Before each write, of so many bytes of keys and values. */
static kv_status admit(struct tkrzw_store *store, size_t bytes)
{
    if (__builtin_expect(__atomic_load_n(&store->failed, __ATOMIC_ACQUIRE), 0))
        return kv_fail(KV_IO, "%s", store->sentence);
#ifdef IN_MEMORY
    (void)bytes;
    return KV_OK;
#else
    return room_admit(&store->room, TIMES * bytes + PAGES_BYTES_MAX);
#endif
}

/* Keeps the first sentence for every later write.  A full disk is no exception: nothing says what a half-made write has changed.
 * The lock is held. */
static kv_status fail_store(struct tkrzw_store *store, kv_status status)
{
    if (!store->failed) {
        memcpy(store->sentence, fail_text(), FAIL_BYTES_MAX);
        __atomic_store_n(&store->failed, true, __ATOMIC_RELEASE);
    }
    return status;
}

/* All writes that were done before the call are synchronized after it; those who wait for the lock share the next Synchronize. */
static kv_status synchronize(struct tkrzw_store *store, bool hard, uint64_t mine)
{
    kv_status status = KV_OK;

    pthread_mutex_lock(&store->lock);
    if (store->failed) {
        status = kv_fail(KV_IO, "%s", store->sentence);
    } else if (store->synced < mine) {
        uint64_t all = __atomic_load_n(&store->written, __ATOMIC_ACQUIRE);
        if (tkrzw_dbm_synchronize(store->dbm, hard, NULL, NULL, "")) {
            store->synced = all;
            room_settled(&store->room);
        } else {
            status = fail_store(store, explain(store, "Synchronize"));
        }
    }
    pthread_mutex_unlock(&store->lock);
    return status;
}

/* Before a write; end_write() or wrote() after it. */
static void begin_write(struct tkrzw_store *store)
{
#ifdef TKRZW_HASH
    if (store->keeps_end)
        pthread_mutex_lock(&store->lock);
#else
    (void)store;
#endif
}

static void end_write(struct tkrzw_store *store)
{
#ifdef TKRZW_HASH
    if (store->keeps_end)
        pthread_mutex_unlock(&store->lock);
#else
    (void)store;
#endif
}

#ifdef TKRZW_HASH
/* Nobody else is writing: all records up to here are whole. */
static void note_end(struct tkrzw_store *store)
{
    int64_t bytes = tkrzw_dbm_get_file_size(store->dbm);

    if (bytes > 0)
        __atomic_store_n(store->end, (uint64_t)bytes, __ATOMIC_RELEASE);
}
#endif

/* Between a write and its acknowledgement. */
static kv_status wrote(struct tkrzw_store *store, bool done, const char *call)
{
    kv_status status;

#ifdef TKRZW_HASH
    if (store->keeps_end) {
        status = done ? KV_OK : explain(store, call);
        if (status == KV_NOT_FOUND) /* a delete of nothing */
            status = KV_OK;
        if (status == KV_OK)
            note_end(store);
        else
            fail_store(store, status);
        end_write(store);
        return status;
    }
#endif
    if (__builtin_expect(!done, 0)) {
        status = explain(store, call);
        if (status != KV_NOT_FOUND) { /* a delete of nothing */
            pthread_mutex_lock(&store->lock);
            fail_store(store, status);
            pthread_mutex_unlock(&store->lock);
            return status;
        }
    }
    if (store->tier == KV_TIER_PROCESS || store->tier == KV_TIER_COMMIT)
        return synchronize(store, store->tier == KV_TIER_COMMIT, __atomic_add_fetch(&store->written, 1, __ATOMIC_ACQ_REL));
    return KV_OK;
}

/* Opening. */

#ifdef IN_MEMORY
static const struct kv_option options[] = {
    {"num_buckets", KV_COUNT, "2000000", 1, 1 << 30, "size of the hash table: more than there will be records", NULL, NULL},
    {0},
};
#else
static const char *const crc_words[] = {"none", "8", "16", "32", NULL};
static const char *const crc_names[] = {"RECORD_CRC_NONE", "RECORD_CRC_8", "RECORD_CRC_16", "RECORD_CRC_32"};
static const char *const compression_words[] = {"none", "zlib", "zstd", "lz4", "lzma", NULL};
static const char *const compression_names[] = {"RECORD_COMP_NONE", "RECORD_COMP_ZLIB", "RECORD_COMP_ZSTD", "RECORD_COMP_LZ4",
                                                "RECORD_COMP_LZMA"};
static const char *const file_words[] = {"mmap-parallel", "mmap-atomic", "positional-parallel", "positional-atomic", "std", NULL};
static const char *const file_names[] = {"MemoryMapParallelFile", "MemoryMapAtomicFile", "PositionalParallelFile",
                                         "PositionalAtomicFile", "StdFile"};
#ifdef TKRZW_HASH
#define BUCKETS    "2000000"
#define ALIGN_POW  "3"
#else
#define BUCKETS    "131101"
#define ALIGN_POW  "10"
#endif
static const struct kv_option options[] = {
    [OPTION_BUCKETS]      = {"num_buckets", KV_COUNT, BUCKETS, 1, 1 << 30, "size of the hash table of records or pages", NULL, NULL},
    [OPTION_OFFSET_WIDTH] = {"offset_width", KV_COUNT, "4", 3, 6, "bytes of an offset: the file ends at 2^(8 * width + align_pow)",
                             NULL, NULL},
    [OPTION_ALIGN_POW]    = {"align_pow", KV_COUNT, ALIGN_POW, 0, 16, "records begin at multiples of 2 to this power", NULL, NULL},
    [OPTION_CRC]          = {"crc", KV_WORD, "none", 0, 0, "bits of a CRC beside the 6-bit checksum of each record", crc_words, NULL},
    [OPTION_COMPRESSION]  = {"compression", KV_WORD, "none", 0, 0, "of each value", compression_words, NULL},
    [OPTION_FILE]         = {"file", KV_WORD, "mmap-parallel", 0, 0, "how the file is read and written", file_words, NULL},
#ifdef TKRZW_TREE
    [OPTION_PAGE_BYTES]   = {"max_page_size", KV_BYTES, "8130", 512, 1 << 20, "a larger leaf is split", NULL, NULL},
    [OPTION_BRANCHES]     = {"max_branches", KV_COUNT, "256", 4, 65536, "children of an inner node", NULL, NULL},
#endif
    {0},
};
#endif

static void make_setup(const struct kv_config *config, char out[SETUP_BYTES_MAX])
{
    const union kv_value *option = config->option;
    int                   size = snprintf(out, SETUP_BYTES_MAX, "dbm=" CLASS ",num_buckets=%" PRIu64, option[OPTION_BUCKETS].u64);

#ifndef IN_MEMORY
    size += snprintf(out + size, (size_t)(SETUP_BYTES_MAX - size),
                     ",update_mode=UPDATE_APPENDING,restore_mode=RESTORE_SYNC:RESTORE_NO_SHORTCUTS"
                     ",offset_width=%" PRIu64 ",align_pow=%" PRIu64 ",record_crc_mode=%s,record_comp_mode=%s,file=%s,no_wait=true",
                     option[OPTION_OFFSET_WIDTH].u64, option[OPTION_ALIGN_POW].u64, crc_names[option[OPTION_CRC].u64],
                     compression_names[option[OPTION_COMPRESSION].u64], file_names[option[OPTION_FILE].u64]);
    if (config->durability.tier == KV_TIER_COMMIT)
        size += snprintf(out + size, (size_t)(SETUP_BYTES_MAX - size), ",sync_hard=true");
#endif
#ifdef TKRZW_TREE
    size += snprintf(out + size, (size_t)(SETUP_BYTES_MAX - size), ",max_page_size=%" PRIu64 ",max_branches=%" PRIu64
                     ",max_cached_pages=%" PRIu64, option[OPTION_PAGE_BYTES].u64, option[OPTION_BRANCHES].u64,
                     kv_cache_bytes(config) / option[OPTION_PAGE_BYTES].u64 + 1);
#endif
    (void)size;
}

static kv_status tkrzw_close(struct kv_store *base)
{
    struct tkrzw_store *store = (struct tkrzw_store *)base;
    kv_status           status = KV_OK;

    if (store->dbm && !tkrzw_dbm_close(store->dbm))
        status = explain(store, "Close");
#ifdef TKRZW_HASH
    file_unmap((char *)store->end, END_BYTES);
    file_close(&store->end_file);
#endif
    storedir_close(&store->dir);
    room_close(&store->room);
    pthread_mutex_destroy(&store->lock);
    free(store);
    return status;
}

#ifndef IN_MEMORY
/* A file comes into its place whole, and then the mark: what is missing later was lost.  *absent: there is none to open yet. */
static kv_status look_for_file(const struct tkrzw_store *store, const char *path, bool *absent)
{
    struct stat about;

    *absent = stat(path, &about) != 0;
    if (*absent && errno != ENOENT)
        return kv_fail_errno("stat %s", path);
    if (*absent)
        return storedir_is_made(&store->dir) ? kv_fail(KV_CORRUPT, "%s is lost: the rest of its store is there", path) : KV_OK;
    return about.st_size == 0 ? kv_fail(KV_CORRUPT, "%s is empty: it was cut to 0 bytes", path) : KV_OK;
}

/* Whatever a crash left of a making, a restoration or a rebuilding: the library finds its own temporary files in the way. */
static kv_status remove_leftovers(const char *dir)
{
    DIR      *entries = opendir(dir);
    kv_status status = KV_OK;

    if (!entries)
        return kv_fail_errno("open %s", dir);
    for (struct dirent *entry; status == KV_OK && (entry = readdir(entries));)
        if (strncmp(entry->d_name, FILE_NAME ".", sizeof FILE_NAME) == 0)
            status = file_unlink(dir, entry->d_name);
    closedir(entries);
    return status;
}

/* What was made beside the file takes its place, whole and durable. */
static kv_status put_in_place(struct tkrzw_store *store)
{
    struct file file;
    kv_status   status;

    TRY(file_open(&file, store->dir.path, FILE_NAME ".new", O_RDWR));
    status = file_sync(&file);
    file_close(&file);
    TRY(status);
    TRY(file_rename(store->dir.path, FILE_NAME ".new", FILE_NAME));
    return file_sync_dir(store->dir.path);
}

static kv_status create(struct tkrzw_store *store, const char *beside)
{
    TkrzwDBM *dbm;

    TRY(room_admit(&store->room, RESERVE_BYTES));
    dbm = tkrzw_dbm_open(beside, true, store->setup);
    return dbm && tkrzw_dbm_close(dbm) ? put_in_place(store) : explain(store, "Open");
}

#ifdef TKRZW_HASH
static kv_status open_end(struct tkrzw_store *store)
{
    uint64_t size;
    char    *map;

    TRY(file_open(&store->end_file, store->dir.path, END_NAME, O_RDWR | O_CREAT));
    TRY(file_size(&store->end_file, &size));
    if (size < END_BYTES)
        TRY(file_allocate(&store->end_file, 0, END_BYTES));
    TRY(file_map(&store->end_file, END_BYTES, true, &map));
    store->end = (uint64_t *)map;
    return KV_OK;
}

/* Of a file that was restored, or closed: it is whole, and what *end says is of another.  It goes, durably, before a tier that does not
 * keep it writes. */
static kv_status forget_end(struct tkrzw_store *store)
{
    if (*store->end == 0)
        return KV_OK;
    *store->end = 0;
    return msync(store->end, END_BYTES, MS_SYNC) == 0 ? KV_OK : kv_fail_errno("sync %s", store->end_file.path);
}

/* What RestoreDatabase is to read.  After a loss of power *end may be older than the last Synchronize, which is in the file's head. */
static int64_t restored_end(const struct tkrzw_store *store)
{
    struct file file;
    uint64_t    synced = 0;
    size_t      got = 0;

    if (*store->end == 0)
        return 0;
    if (file_open(&file, store->dir.path, FILE_NAME, O_RDONLY) == KV_OK) {
        if (file_read_at(&file, &synced, sizeof synced, SYNCED_SIZE_AT, &got) != KV_OK || got != sizeof synced)
            synced = 0;
        file_close(&file);
    }
    synced = be64toh(synced);
    return *store->end > synced ? (int64_t)*store->end : 0;
}
#endif

/* Back to the last Synchronize, or to what was acknowledged since, if the file was not closed. */
static kv_status restore(struct tkrzw_store *store, const char *path, const char *beside)
{
    TkrzwDBM *dbm = tkrzw_dbm_open(path, false, "dbm=" CLASS ",restore_mode=RESTORE_READ_ONLY");
    int64_t   bytes, end = 0;
    bool      healthy;

    if (!dbm)
        return explain(store, "Open");
    healthy = tkrzw_dbm_is_healthy(dbm);
    bytes = tkrzw_dbm_get_file_size(dbm);
    if (!tkrzw_dbm_close(dbm))
        return explain(store, "Close");
    if (healthy)
        return KV_OK;
    TRY(room_admit(&store->room, 2 * (uint64_t)bytes));
#ifdef TKRZW_HASH
    end = restored_end(store);
#endif
    return tkrzw_dbm_restore_database(path, beside, CLASS, end) ? put_in_place(store) : explain(store, "RestoreDatabase");
}
#endif

static kv_status open_dbm(struct tkrzw_store *store, const struct kv_config *config)
{
    char path[PATH_BYTES_MAX] = "";

    make_setup(config, store->setup);
#ifndef IN_MEMORY
    static const struct storedir_kind kind = {.engine = PEER, .format = 1};
    char                              beside[PATH_BYTES_MAX + 8];
    bool                              absent;

    TRY(storedir_open(&store->dir, config->dir, &kind));
    if ((size_t)snprintf(path, sizeof path, "%s/" FILE_NAME, config->dir) >= sizeof path)
        return kv_fail(KV_INVALID, "%s: a path of more than %zu bytes", config->dir, sizeof path);
    store->room.dir = store->dir.path;
    store->room.reserve_bytes = config->option[OPTION_BUCKETS].u64 * config->option[OPTION_OFFSET_WIDTH].u64 + RESERVE_BYTES;
#ifdef TKRZW_TREE
    if (store->tier == KV_TIER_NONE)
        store->room.cached_bytes_max = 2 * kv_cache_bytes(config);
#endif
    snprintf(beside, sizeof beside, "%s.new", path);
    TRY(remove_leftovers(config->dir));
    TRY(look_for_file(store, path, &absent));
#ifdef TKRZW_HASH
    TRY(open_end(store));
#endif
    TRY(absent ? create(store, beside) : restore(store, path, beside));
    if (!storedir_is_made(&store->dir))
        TRY(storedir_set_made(&store->dir));
#endif
#ifdef TKRZW_HASH
    TRY(forget_end(store));
#endif
    store->dbm = tkrzw_dbm_open(path, true, store->setup);
    if (!store->dbm)
        return explain(store, "Open");
#ifdef TKRZW_HASH
    store->keeps_end = store->tier == KV_TIER_PROCESS;
    if (store->keeps_end)
        note_end(store);
#endif
    return KV_OK;
}

static kv_status tkrzw_open(const struct kv_config *config, struct kv_store **out)
{
    struct tkrzw_store *store = calloc(1, sizeof *store);
    kv_status           status;

    if (!store)
        return kv_fail(KV_NO_MEMORY, "no memory for a store");
    pthread_mutex_init(&store->lock, NULL);
    room_open(&store->room);
    store->dir.lock = FILE_CLOSED;
#ifdef TKRZW_HASH
    store->end_file = FILE_CLOSED;
#endif
    store->tier = config->durability.tier;
#ifdef IN_MEMORY
    store->tier = KV_TIER_NONE;
#endif
    status = open_dbm(store, config);
    if (status == KV_OK) {
        *out = &store->base;
        return KV_OK;
    }
    char sentence[FAIL_BYTES_MAX];

    memcpy(sentence, fail_text(), sizeof sentence);
    (void)!tkrzw_close(&store->base);
    return kv_fail(status, "%s", sentence);
}

static kv_status tkrzw_session_open(struct kv_store *store, struct kv_session **out)
{
    (void)store;
    *out = calloc(1, sizeof **out);
    return *out ? KV_OK : kv_fail(KV_NO_MEMORY, "no memory for a session");
}

static void tkrzw_session_close(struct kv_session *session)
{
    free(session);
}

/* Writing. */

static const char *bytes_of(slice bytes)
{
    return bytes.size ? bytes.data : ""; /* the library asks for a pointer also to nothing */
}

static kv_status tkrzw_put(struct kv_session *session, slice key, slice value)
{
    struct tkrzw_store *store = store_of(session);

    TRY(admit(store, key.size + value.size));
    begin_write(store);
    return wrote(store, tkrzw_dbm_set(store->dbm, key.data, (int32_t)key.size, bytes_of(value), (int32_t)value.size, true), "Set");
}

static kv_status tkrzw_del(struct kv_session *session, slice key)
{
    struct tkrzw_store *store = store_of(session);

    TRY(admit(store, key.size));
    begin_write(store);
    return wrote(store, tkrzw_dbm_remove(store->dbm, key.data, (int32_t)key.size), "Remove");
}

static const char *apply_write(void *arg, const char *key, int32_t key_size, const char *value, int32_t value_size, int32_t *size)
{
    const struct kv_write *write = arg;

    (void)key, (void)key_size, (void)value_size;
    if (write->kind == KV_DELETE)
        return value ? TKRZW_REC_PROC_REMOVE : TKRZW_REC_PROC_NOOP;
    *size = (int32_t)write->value.size;
    return bytes_of(write->value);
}

static kv_status tkrzw_write(struct kv_session *session, const struct kv_write *writes, size_t count)
{
    struct tkrzw_store *store = store_of(session);
    TkrzwKeyProcPair   *pairs;
    size_t              bytes = 0;
    bool                done;

    for (size_t i = 0; i < count; i++)
        bytes += writes[i].key.size + writes[i].value.size + PAGES_BYTES_MAX;
    TRY(admit(store, bytes));
    pairs = malloc(count * sizeof *pairs);
    if (!pairs)
        return kv_fail(KV_NO_MEMORY, "no memory for a batch of %zu writes", count);
    for (size_t i = 0; i < count; i++)
        pairs[i] = (TkrzwKeyProcPair){writes[i].key.data, (int32_t)writes[i].key.size, apply_write, (void *)&writes[i]};
    begin_write(store);
    done = tkrzw_dbm_process_multi(store->dbm, pairs, (int32_t)count, true);
    free(pairs);
    return wrote(store, done, "ProcessMulti");
}

struct modifying {
    struct tkrzw_store *store;
    kv_change          *change;
    void               *arg;
    struct buf          value;
    kv_status           status;
};

static const char *apply_change(void *arg, const char *key, int32_t key_size, const char *value, int32_t value_size, int32_t *size)
{
    struct modifying *modifying = arg;
    slice             old = {value, value ? (size_t)value_size : 0};

    (void)key;
    modifying->status = modifying->change(modifying->arg, value ? &old : NULL, &modifying->value);
    if (modifying->status == KV_OK && modifying->value.size > KV_VALUE_BYTES_MAX)
        modifying->status = kv_fail(KV_TOO_LARGE, "a value of %zu bytes", modifying->value.size);
    if (modifying->status == KV_OK)
        modifying->status = admit(modifying->store, (size_t)key_size + modifying->value.size);
    if (modifying->status != KV_OK)
        return TKRZW_REC_PROC_NOOP;
    *size = (int32_t)modifying->value.size;
    return bytes_of(buf_slice(&modifying->value));
}

static kv_status tkrzw_modify(struct kv_session *session, slice key, kv_change *change, void *arg)
{
    struct tkrzw_store *store = store_of(session);
    struct modifying    modifying = {.store = store, .change = change, .arg = arg};
    kv_status           status;
    bool                done;

    begin_write(store);
    done = tkrzw_dbm_process(store->dbm, key.data, (int32_t)key.size, apply_change, &modifying, true);
    status = modifying.status;
    if (status == KV_OK)
        status = wrote(store, done, "Process");
    else
        end_write(store);
    buf_free(&modifying.value);
    return status;
}

#ifndef IN_MEMORY
/* Behind a hard Synchronize. */
static kv_status sync_end(struct tkrzw_store *store)
{
    room_settled(&store->room);
#ifdef TKRZW_HASH
    if (store->keeps_end && msync(store->end, END_BYTES, MS_SYNC) != 0)
        return fail_store(store, kv_fail_errno("sync %s", store->end_file.path));
#endif
    return KV_OK;
}
#endif

static kv_status tkrzw_sync(struct kv_session *session)
{
    struct tkrzw_store *store = store_of(session);

#ifdef IN_MEMORY
    (void)store; /* what is acknowledged is as durable as it gets */
    return KV_OK;
#else
    kv_status status;

    /* At the tier process soft ones have come before: only a hard one of its own will do. */
    pthread_mutex_lock(&store->lock);
    if (store->failed)
        status = kv_fail(KV_IO, "%s", store->sentence);
    else if (tkrzw_dbm_synchronize(store->dbm, true, NULL, NULL, ""))
        status = sync_end(store);
    else
        status = fail_store(store, explain(store, "Synchronize"));
    pthread_mutex_unlock(&store->lock);
    return status;
#endif
}

/* Reading. */

struct reading {
    kv_visit *visit;
    void     *arg;
    bool      found, stopped;
};

static const char *lend(void *arg, const char *key, int32_t key_size, const char *value, int32_t value_size, int32_t *size)
{
    struct reading *reading = arg;

    (void)size;
    if (value && !reading->stopped) {
        reading->found = true;
        reading->stopped = !reading->visit(reading->arg, slice_of(key, (size_t)key_size), slice_of(value, (size_t)value_size));
    }
    return TKRZW_REC_PROC_NOOP;
}

static kv_status tkrzw_get(struct kv_session *session, slice key, kv_visit *visit, void *arg)
{
    struct reading reading = {visit, arg, false, false};

    if (__builtin_expect(!tkrzw_dbm_process(store_of(session)->dbm, key.data, (int32_t)key.size, lend, &reading, false), 0))
        return explain(store_of(session), "Process");
    return reading.found ? KV_OK : KV_NOT_FOUND;
}

#ifdef TKRZW_TREE
static kv_status tkrzw_scan(struct kv_session *session, slice first, kv_visit *visit, void *arg)
{
    struct reading reading = {visit, arg, false, false};
    TkrzwDBMIter  *iterator = tkrzw_dbm_make_iterator(store_of(session)->dbm);
    bool           more = first.size ? tkrzw_dbm_iter_jump(iterator, first.data, (int32_t)first.size) : tkrzw_dbm_iter_first(iterator);
    kv_status      status = KV_NOT_FOUND; /* where a scan ends */

    while (more && !reading.stopped)
        more = tkrzw_dbm_iter_process(iterator, lend, &reading, false) && tkrzw_dbm_iter_next(iterator);
    if (!more)
        status = explain(store_of(session), "Iterator");
    tkrzw_dbm_iter_free(iterator);
    return status == KV_NOT_FOUND ? KV_OK : status;
}
#else
static kv_status tkrzw_scan(struct kv_session *session, slice first, kv_visit *visit, void *arg)
{
    struct reading reading = {visit, arg, false, false};

    (void)first;
    return tkrzw_dbm_process_each(store_of(session)->dbm, lend, &reading, false) ? KV_OK : explain(store_of(session), "ProcessEach");
}
#endif

/* The rest. */

#ifdef TKRZW_HASH
static kv_status tkrzw_compact(struct kv_session *session)
{
    struct tkrzw_store *store = store_of(session);
    kv_status           status;

    TRY(admit(store, (size_t)tkrzw_dbm_get_file_size(store->dbm)));
    pthread_mutex_lock(&store->lock); /* no write into the new file is acknowledged before the name of that file is durable */
    status = store->failed ? kv_fail(KV_IO, "%s", store->sentence) : KV_OK;
    if (status == KV_OK && store->keeps_end) { /* which is about the old file */
        if (tkrzw_dbm_synchronize(store->dbm, true, NULL, NULL, ""))
            status = forget_end(store);
        else
            status = fail_store(store, explain(store, "Synchronize"));
    }
    if (status == KV_OK && !tkrzw_dbm_rebuild(store->dbm, "sync_hard=true"))
        status = fail_store(store, explain(store, "Rebuild"));
    if (status == KV_OK && !tkrzw_dbm_synchronize(store->dbm, true, NULL, NULL, ""))
        status = fail_store(store, explain(store, "Synchronize"));
    if (status == KV_OK && (status = file_sync_dir(store->dir.path)) != KV_OK)
        fail_store(store, status);
    if (status == KV_OK && store->keeps_end)
        note_end(store);
    pthread_mutex_unlock(&store->lock);
    return status;
}
#endif

static void tkrzw_stats(struct kv_store *base, kv_figure *figure, void *arg)
{
    struct tkrzw_store *store = (struct tkrzw_store *)base;
    int64_t             count = tkrzw_dbm_count(store->dbm);
#ifndef IN_MEMORY
    int64_t             bytes = tkrzw_dbm_get_file_size(store->dbm);

    if (bytes >= 0)
        figure(arg, "disk_bytes", (uint64_t)bytes);
#endif
    if (count >= 0)
        figure(arg, "live_keys", (uint64_t)count);
    figure(arg, "debt_bytes", 0);
}

static void tkrzw_settings(struct kv_store *base, kv_setting *setting, void *arg)
{
    static const char *const told[] = {"class", "num_buckets", "offset_width", "align_pow", "update_mode", "record_crc_mode",
                                       "record_comp_mode", "max_page_size", "max_branches", "max_cached_pages"};
    struct tkrzw_store *store = (struct tkrzw_store *)base;
    int32_t             count;
    TkrzwKeyValuePair  *pairs = tkrzw_dbm_inspect(store->dbm, &count);

    for (int32_t i = 0; i < count; i++)
        for (size_t j = 0; j < sizeof told / sizeof *told; j++)
            if (strcmp(pairs[i].key_ptr, told[j]) == 0)
                setting(arg, told[j], pairs[i].value_ptr);
    tkrzw_free_str_map(pairs, count);
    setting(arg, "open", store->setup);
#ifdef TKRZW_HASH
    setting(arg, "Synchronize", store->tier == KV_TIER_COMMIT ? "hard, for each write" :
                                store->keeps_end ? "none: the end of the acknowledged records is kept in " END_NAME : "none");
#else
    setting(arg, "Synchronize", store->tier == KV_TIER_COMMIT ? "hard, for each write" :
                                store->tier == KV_TIER_PROCESS ? "soft, for each write" : "none");
#endif
}

static const struct kv_engine engine = {
    .abi             = KV_ABI,
    .name            = PEER,
    .version         = "1.0.25",
    .licence         = "Apache-2.0",
#if defined TKRZW_HASH
    .summary         = "Tkrzw HashDBM: a hash table in a mapped file, appending update mode",
    .can             = KV_RETAINS | KV_SESSIONS | KV_MODIFY | KV_BATCH | KV_SCAN | KV_DURABLE | KV_COMPACT,
#elif defined TKRZW_TREE
    .summary         = "Tkrzw TreeDBM: a B+ tree whose pages are records of a HashDBM, appending update mode",
    .can             = KV_RETAINS | KV_SESSIONS | KV_MODIFY | KV_BATCH | KV_SCAN | KV_ORDERED | KV_DURABLE,
#else
    .summary         = "Tkrzw TinyDBM: a hash table in memory; keeps nothing",
    .can             = KV_RETAINS | KV_SESSIONS | KV_MODIFY | KV_BATCH | KV_SCAN,
#endif
#ifndef IN_MEMORY
    .tiers           = KV_TIER_BIT(KV_TIER_NONE) | KV_TIER_BIT(KV_TIER_PROCESS) | KV_TIER_BIT(KV_TIER_COMMIT),
#endif
#ifdef TKRZW_HASH
    .compact         = tkrzw_compact,
#endif
    .key_bytes_max   = KV_KEY_BYTES_MAX,
    .value_bytes_max = KV_VALUE_BYTES_MAX,
    .options         = options,
    .open            = tkrzw_open,
    .close           = tkrzw_close,
    .session_open    = tkrzw_session_open,
    .session_close   = tkrzw_session_close,
    .put             = tkrzw_put,
    .get             = tkrzw_get,
    .modify          = tkrzw_modify,
    .del             = tkrzw_del,
    .write           = tkrzw_write,
    .scan            = tkrzw_scan,
    .sync            = tkrzw_sync,
    .stats           = tkrzw_stats,
    .settings        = tkrzw_settings,
};

__attribute__((visibility("default"))) const struct kv_engine *kv_plugin(void);

const struct kv_engine *kv_plugin(void)
{
    return &engine;
}
