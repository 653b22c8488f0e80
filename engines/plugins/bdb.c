/*
 * bdb.c -- Berkeley DB: a B-tree with page locks, a write-ahead log and transactions, the classical one.  Written against 5.3.28
 * (Debian's libdb5.3-dev, Sleepycat licence), in its transactional form (Transactional Data Store).
 *
 * Files       STORE, LOCK (base/storedir.h); db/, the environment's home: main.db (DB_BTREE), log.NNNNNNNNNN.  A new home is made
 *             as db.new, closed and renamed, so a crash never leaves half of one.  DB_PRIVATE: the environment's regions are
 *             memory of the process, so a crash leaves none behind; DB_RECOVER at every open, under our lock.
 * Sessions    A buffer each; handles are free-threaded.  put and del commit by themselves (DB_AUTO_COMMIT); batches and modifies
 *             are transactions.  DB_LOCK_DEADLOCK (lk_detect) is tried again in here, as a transaction whose priority rises from
 *             try to try, so that it is not the victim for ever.  Values are copied out by Berkeley DB; it lends none.
 * Scan        A cursor, record by record at first and then with DB_MULTIPLE_KEY, at most as old as its last step
 *             (degree 2); with multiversion=true in a snapshot transaction.
 * Snapshot    multiversion=false: a hot backup (DB_ENV->backup: pages, then logs), which is recovered to the end of its log, as the
 *             documentation of hot backups wants it, then read and removed: one moment, and no writer waits.
 *             multiversion=true: a snapshot transaction.
 * Durability  DB_ENV->set_flags, as its page in the C API reference says it:
 *             none     DB_TXN_NOSYNC: "will not write or synchronously flush the log on transaction commit ... if the application
 *                      or system fails, it is possible some number of the most recently committed transactions may be undone".
 *             process  DB_TXN_WRITE_NOSYNC: "will write, but will not synchronously flush, the log on transaction commit".
 *             ordered  The same: a page is written only after the log up to its last change was flushed, a full log file is
 *                      flushed before the next begins, and recovery ends at the first bad record.
 *             interval The same, and DB_ENV->log_flush by base/ticker.h.
 *             commit   Neither flag: the log is flushed (fdatasync) at each commit; concurrent ones share a flush.
 *             sync() is DB_ENV->log_flush(NULL) in each tier.
 *             Berkeley DB syncs no directory: the name of a new log file could be lost with all that was synced in it, where the file
 *             system does not keep names with files.  So its open and rename are replaced (db_env_set_func_open, _rename) by
 *             ones that sync the directory; sync_names=false leaves it as it is.
 * Defaults    Berkeley DB's own, except: the cache is the one that every engine gets; deadlocks are detected at once
 *             (DB_LOCK_DEFAULT); page checksums (DB_CHKSUM), as all engines here have them; a checkpoint every 64 MB of writes or
 *             60 s (it makes none by itself), and DB_LOG_AUTO_REMOVE, so that the log does not grow for ever.  A checkpoint
 *             that meets a page in use sleeps for a second, so under many writers it takes some.
 * Limits      Keys to 65,535 bytes and values to 256 MiB, as the contract has it (Berkeley DB: 4 GB); batches up to 1 GiB.
 * Needs       Pages that are written whole: they are overwritten in place, and "catastrophic recovery" from a backup is its answer
 *             to a torn one (its page on recoverability).  With pages of 4 KiB the page cache keeps that for a process that
 *             is killed, and a disk with such blocks for a power loss.
 * Seen once   In 1 of 426 states of tier none under profile ext4 half of a batch was left: a checkpoint had written a page with the change
 *             of a transaction that was under way, and recovery (db5.3_recover too) did not undo it, though log and page were
 *             durable.  All other campaigns, in every tier and mode, held.
 * Full disk   An environment that cannot write its log is dead (DB_RUNRECOVERY).  So base/checkpoints.h refuses writes before that,
 *             while there is a reserve to close and to recover with.
 * Leaks       With multiversion=true the library itself frees not all of its transactions (344 bytes for each whose pages are still
 *             in the cache) when it closes.
 * Not done    Hash, queue and heap, replication, encryption, secondary indices.
 */
#include <db.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engines/base/checkpoints.h"
#include "engines/base/snapshot.h"
#include "engines/base/storedir.h"
#include "engines/base/ticker.h"
#include "engines/engine.h"

#define HOME          "db"
#define HOME_NEW      "db.new"
#define HOME_COPY     "copy" /* a snapshot's; a number follows */
#define TABLE         "main.db"
#define RESERVE_BYTES (UINT64_C(32) << 20)
#define BATCH_BYTES_MAX (UINT64_C(1) << 30)
#define COPY_CACHE_BYTES (32u << 20)
#define PRIORITY      100 /* Berkeley DB's default */
#define SINGLE_STEPS  16  /* of a scan, before it asks for many records at once */
#define BULK_BYTES    (256u << 10)

enum {
    PAGE_SIZE, CHECKSUM, MULTIVERSION, CHECKPOINT_BYTES, CHECKPOINT_PERIOD, LOG_FILE, LOG_BUFFER, DETECT, CACHE_REGIONS, SYNC_NAMES
};

static const char *const    detect_words[] = {"default", "youngest", "oldest", "minwrite", "maxwrite", "minlocks", "maxlocks", NULL};
static const uint32_t       detect_values[] = {DB_LOCK_DEFAULT, DB_LOCK_YOUNGEST, DB_LOCK_OLDEST, DB_LOCK_MINWRITE, DB_LOCK_MAXWRITE,
                                               DB_LOCK_MINLOCKS, DB_LOCK_MAXLOCKS};
static const struct kv_option bdb_options[] = {
    [PAGE_SIZE]         = {"page_size", KV_BYTES, "4k", 512, 64 << 10, "a power of two (new stores)", NULL},
    [CHECKSUM]          = {"checksum", KV_BOOL, "true", 0, 0, "each page has a checksum (new stores)", NULL},
    [MULTIVERSION]      = {"multiversion", KV_BOOL, "false", 0, 0, "keep old versions of pages: scans and snapshots see one moment", NULL},
    [CHECKPOINT_BYTES]  = {"checkpoint_bytes", KV_BYTES, "64M", 4096, 1ull << 40, "a checkpoint after so many bytes of writes", NULL, .small = "32k"},
    [CHECKPOINT_PERIOD] = {"checkpoint_period", KV_TIME, "60s", 1e6, 1e14, "and when the oldest write behind the last one is so old", NULL},
    [LOG_FILE]          = {"log_file_max", KV_BYTES, "10M", 256 << 10, 1e9, "size of a log file, at least 4 log buffers", NULL, .small = "256k"},
    [LOG_BUFFER]        = {"log_buffer", KV_BYTES, "32000", 16 << 10, 256 << 20, "log records in memory (tier none: before they are written)", NULL},
    [DETECT]            = {"deadlock_victim", KV_WORD, "default", 0, 0, "which of two that wait for each other has to begin again", detect_words},
    [CACHE_REGIONS]     = {"cache_regions", KV_COUNT, "1", 1, 64, "the cache in so many parts", NULL},
    [SYNC_NAMES]        = {"sync_names", KV_BOOL, "true", 0, 0, "sync the directory of a new file, which Berkeley DB does not do", NULL},
    {0},
};

struct bdb_store {
    struct kv_store     base;
    DB_ENV             *env;
    DB                 *db;
    struct checkpoints *checkpoints;
    struct ticker      *ticker;
    struct storedir     dir;
    struct kv_config    config; /* for the copy of a snapshot too */
    char               *home;
    pthread_mutex_t     message_lock, snapshot_lock;
    bool                multiversion;
    uint64_t            conflicts;                   /* atomic: deadlocks, tried again */
    bool                failed;                      /* atomic, set under message_lock: no more writes */
    char                sentence[FAIL_BYTES_MAX];    /* what it failed with */
    char                message[FAIL_BYTES_MAX / 2]; /* Berkeley DB's first error that was not told yet */
};

struct bdb_session {
    struct kv_session base;
    struct buf        value; /* what a get copies into */
    unsigned          seed;  /* of the pauses between retries */
};

static struct bdb_store *store_of(struct bdb_session *session)
{
    return (struct bdb_store *)session->base.store;
}

/* ---- Names made durable. ---- */

static bool sync_names = true; /* atomic; Berkeley DB's hooks have no argument: the last store that was opened counts */

static int sync_parent_of(const char *path)
{
    char  copy[PATH_MAX];
    int   fd, failed;

    snprintf(copy, sizeof copy, "%s", path);
    fd = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    failed = fsync(fd);
    close(fd);
    return failed;
}

static int open_and_sync_name(const char *path, int flags, ...)
{
    va_list rest;
    mode_t  mode;
    bool    absent;
    int     fd;

    va_start(rest, flags);
    mode = flags & O_CREAT ? (mode_t)va_arg(rest, int) : 0;
    va_end(rest);
    absent = flags & O_CREAT && __atomic_load_n(&sync_names, __ATOMIC_RELAXED) && access(path, F_OK) != 0;
    fd = open(path, flags | O_CLOEXEC, mode);
    if (fd >= 0 && absent && sync_parent_of(path) != 0) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

static int rename_and_sync_name(const char *from, const char *to)
{
    if (rename(from, to) != 0)
        return -1;
    return __atomic_load_n(&sync_names, __ATOMIC_RELAXED) ? sync_parent_of(to) : 0;
}

static void hook(void)
{
    db_env_set_func_open(open_and_sync_name);
    db_env_set_func_rename(rename_and_sync_name);
}

/* ---- Errors. ---- */

static void note_error(const DB_ENV *env, const char *prefix, const char *message)
{
    struct bdb_store *store = env->app_private;

    (void)prefix;
    pthread_mutex_lock(&store->message_lock);
    if (!*store->message) /* the first is the cause, others follow from it */
        snprintf(store->message, sizeof store->message, "%s", message);
    pthread_mutex_unlock(&store->message_lock);
}

static kv_status status_of(int error)
{
    switch (error) {
    case ENOSPC:
    case EDQUOT:            return KV_NO_SPACE;
    case ENOMEM:            return KV_NO_MEMORY;
    case DB_CHKSUM_FAIL:
    case DB_VERIFY_BAD:
    case DB_PAGE_NOTFOUND:
    case DB_LOG_VERIFY_BAD:
    case EINVAL:            /* what recovery answers to a log or page that is none */
    case DB_RUNRECOVERY:    /* recovery is what was run */
    case DB_OLD_VERSION:    return KV_CORRUPT;
    default:                return KV_IO;
    }
}

/* Of a read or an open. */
static kv_status fail_with(struct bdb_store *store, kv_status status, int error, const char *what)
{
    char message[sizeof store->message];

    pthread_mutex_lock(&store->message_lock);
    memcpy(message, store->message, sizeof message);
    store->message[0] = '\0';
    pthread_mutex_unlock(&store->message_lock);
    if (strstr(message, "No space left on device")) /* "BDB0137 write: 0x7ffc3fc91d64, 668: ...", while the code says recovery */
        return kv_fail(KV_NO_SPACE, "%s %s: no space left on the device", what, store->home);
    return kv_fail(status, "%s %s: %s%s%s", what, store->home, db_strerror(error), *message ? "; " : "", message);
}

/* On a write path: no write comes after it, unless it changed nothing. */
static kv_status fail_write(struct bdb_store *store, int error, const char *what)
{
    kv_status status = error == DB_CHKSUM_FAIL || error == DB_PAGE_NOTFOUND ? KV_CORRUPT
                       : error == ENOSPC || error == ENOMEM ? status_of(error) : KV_IO;

    fail_with(store, status, error, what);
    if (status == KV_NO_SPACE || status == KV_NO_MEMORY)
        return status;
    pthread_mutex_lock(&store->message_lock);
    if (!store->failed) {
        snprintf(store->sentence, sizeof store->sentence, "%s", fail_text());
        __atomic_store_n(&store->failed, true, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&store->message_lock);
    return status;
}

static kv_status may_write(struct bdb_store *store, uint64_t bytes)
{
    if (__builtin_expect(__atomic_load_n(&store->failed, __ATOMIC_ACQUIRE), 0))
        return kv_fail(KV_IO, "%s", store->sentence);
    return checkpoints_admit(store->checkpoints, bytes);
}

static bool is_conflict(int error)
{
    return error == DB_LOCK_DEADLOCK || error == DB_LOCK_NOTGRANTED;
}

/* Between two tries: at first only let the other one run, then longer and longer, up to a millisecond, by chance. */
static void pause_before_retry(struct bdb_session *session, unsigned tries)
{
    unsigned long longest_ns = tries < 4 ? 0 : tries < 14 ? 1000ul << (tries - 4) : 1000000;

    __atomic_add_fetch(&store_of(session)->conflicts, 1, __ATOMIC_RELAXED);
    if (longest_ns == 0)
        sched_yield();
    else
        nanosleep(&(struct timespec){.tv_nsec = (long)((unsigned)rand_r(&session->seed) % longest_ns)}, NULL);
}

/* ---- One key. ---- */

static DBT dbt_of(slice bytes)
{
    return (DBT){.data = (void *)bytes.data, .size = (uint32_t)bytes.size};
}

/* An error of Berkeley DB; the value is in session->value then. */
static int get_value(struct bdb_session *session, DB_TXN *txn, slice key, uint32_t flags)
{
    DB *db = store_of(session)->db;

    for (;;) {
        DBT sought = dbt_of(key);
        DBT value = {.data = session->value.data, .ulen = (uint32_t)session->value.capacity, .flags = DB_DBT_USERMEM};
        int error = db->get(db, txn, &sought, &value, flags);

        session->value.size = error ? 0 : value.size;
        if (error != DB_BUFFER_SMALL)
            return error;
        if (buf_reserve(&session->value, value.size) != KV_OK)
            return ENOMEM;
    }
}

static kv_status bdb_get(struct kv_session *base, slice key, kv_visit *visit, void *arg)
{
    struct bdb_session *session = (struct bdb_session *)base;
    unsigned            tries = 0;
    int                 error;

    while (is_conflict(error = get_value(session, NULL, key, 0)))
        pause_before_retry(session, tries++);
    if (error == DB_NOTFOUND)
        return KV_NOT_FOUND;
    if (error)
        return fail_with(store_of(session), status_of(error), error, "read from");
    visit(arg, key, buf_slice(&session->value));
    return KV_OK;
}

/* The put or delete of one write; txn NULL: a transaction of its own. */
static int apply(DB *db, DB_TXN *txn, const struct kv_write *write)
{
    DBT key = dbt_of(write->key), value = dbt_of(write->value);
    int error;

    if (write->kind == KV_PUT)
        return db->put(db, txn, &key, &value, 0);
    error = db->del(db, txn, &key, 0);
    return error == DB_NOTFOUND ? 0 : error;
}

/* ---- Transactions. ---- */

/* What a transaction does; an error of Berkeley DB, or 0 with *status, which is not KV_OK when it is to be aborted. */
typedef int transaction_body(struct bdb_session *session, DB_TXN *txn, void *arg, kv_status *status);

static kv_status transact(struct bdb_session *session, transaction_body *body, void *arg)
{
    struct bdb_store *store = store_of(session);
    kv_status         status;
    DB_TXN           *txn;
    int               error;

    for (unsigned tries = 0;; tries++) {
        status = KV_OK;
        if ((error = store->env->txn_begin(store->env, NULL, &txn, 0)) != 0)
            return fail_write(store, error, "begin a transaction in");
        if (tries)
            txn->set_priority(txn, PRIORITY + tries);
        error = body(session, txn, arg, &status);
        if (!error && status == KV_OK) {
            error = txn->commit(txn, 0); /* the handle is gone, whatever it says */
            return error ? fail_write(store, error, "commit to") : ticker_wrote(store->ticker);
        } else {
            int undone = txn->abort(txn);
            if (undone)
                return fail_write(store, undone, "undo a transaction in");
        }
        if (error && !is_conflict(error))
            return fail_write(store, error, "write to");
        if (!error)
            return status;
        pause_before_retry(session, tries);
    }
}

struct batch {
    const struct kv_write *writes;
    size_t                 count;
};

static int apply_batch(struct bdb_session *session, DB_TXN *txn, void *arg, kv_status *status)
{
    const struct batch *batch = arg;
    DB                 *db = store_of(session)->db;
    int                 error = 0;

    (void)status;
    for (size_t i = 0; i < batch->count && !error; i++)
        error = apply(db, txn, &batch->writes[i]);
    return error;
}

static kv_status write_one(struct bdb_session *session, const struct kv_write *write)
{
    struct bdb_store *store = store_of(session);
    int               error;

    TRY(may_write(store, write->key.size + write->value.size));
    error = apply(store->db, NULL, write);
    if (is_conflict(error)) { /* again, as one that has a priority */
        pause_before_retry(session, 0);
        return transact(session, apply_batch, &(struct batch){write, 1});
    }
    return error ? fail_write(store, error, "write to") : ticker_wrote(store->ticker);
}

static kv_status bdb_put(struct kv_session *base, slice key, slice value)
{
    return write_one((struct bdb_session *)base, &(struct kv_write){KV_PUT, key, value});
}

static kv_status bdb_del(struct kv_session *base, slice key)
{
    return write_one((struct bdb_session *)base, &(struct kv_write){.kind = KV_DELETE, .key = key});
}

static kv_status bdb_write(struct kv_session *base, const struct kv_write *writes, size_t count)
{
    struct bdb_session *session = (struct bdb_session *)base;
    uint64_t            bytes = 0;

    if (count == 1)
        return write_one(session, writes);
    for (size_t i = 0; i < count; i++)
        bytes += writes[i].key.size + writes[i].value.size;
    if (bytes > BATCH_BYTES_MAX)
        return kv_fail(KV_TOO_LARGE, "a batch of %" PRIu64 " bytes; up to %" PRIu64 " are taken", bytes, BATCH_BYTES_MAX);
    TRY(may_write(store_of(session), bytes));
    return transact(session, apply_batch, &(struct batch){writes, count});
}

struct modification {
    slice      key;
    kv_change *change;
    void      *arg;
    struct buf value;
};

static int apply_modification(struct bdb_session *session, DB_TXN *txn, void *arg, kv_status *status)
{
    struct modification *m = arg;
    int                  error = get_value(session, txn, m->key, DB_RMW); /* an absent key's page is locked too */
    slice                before = buf_slice(&session->value);

    if (error && error != DB_NOTFOUND)
        return error;
    m->value.size = 0;
    *status = m->change(m->arg, error ? NULL : &before, &m->value);
    if (*status == KV_OK)
        *status = may_write(store_of(session), m->key.size + m->value.size);
    if (*status != KV_OK)
        return 0;
    return apply(store_of(session)->db, txn, &(struct kv_write){KV_PUT, m->key, buf_slice(&m->value)});
}

static kv_status bdb_modify(struct kv_session *base, slice key, kv_change *change, void *arg)
{
    struct modification m = {key, change, arg, {0}};
    kv_status           status = transact((struct bdb_session *)base, apply_modification, &m);

    buf_free(&m.value);
    return status;
}

/* ---- Scans. ---- */

struct scan {
    kv_visit  *visit;
    void      *arg;
    struct buf next;  /* the key to go on from after a deadlock */
    bool       after; /* that key was visited */
    bool       done;
    uint64_t   steps;
    struct buf bulk;
};

static int visit_one(struct scan *scan, slice key, slice value)
{
    scan->steps++;
    if (!scan->visit(scan->arg, key, value)) {
        scan->done = true;
        return 0;
    }
    scan->next.size = 0;
    scan->after = true;
    return buf_append(&scan->next, key.data, key.size) == KV_OK ? 0 : ENOMEM;
}

/* The records behind the cursor, as many as fit the buffer. */
static int visit_many(struct scan *scan, DBC *cursor)
{
    DBT   key = {0}, many = {.flags = DB_DBT_USERMEM};
    void *position, *key_data, *value_data;
    int   error;

    if (!scan->bulk.data && buf_reserve(&scan->bulk, BULK_BYTES) != KV_OK)
        return ENOMEM;
    for (;;) {
        many.data = scan->bulk.data;
        many.ulen = (uint32_t)(scan->bulk.capacity & ~(size_t)1023); /* it wants a multiple of that */
        error = cursor->get(cursor, &key, &many, DB_NEXT | DB_MULTIPLE_KEY);
        if (error != DB_BUFFER_SMALL)
            break;
        if (buf_reserve(&scan->bulk, (size_t)many.size + 4096) != KV_OK)
            return ENOMEM;
    }
    if (error)
        return error;
    DB_MULTIPLE_INIT(position, &many);
    while (!scan->done && !error) {
        size_t key_bytes, value_bytes;
        DB_MULTIPLE_KEY_NEXT(position, &many, key_data, key_bytes, value_data, value_bytes);
        if (!position)
            break;
        error = visit_one(scan, slice_of(key_data, key_bytes), slice_of(value_data, value_bytes));
    }
    return error;
}

/* From scan->next on, until it is done, or there are no more, or an error, a deadlock too. */
static int scan_with(struct scan *scan, DBC *cursor)
{
    DBT key = dbt_of(buf_slice(&scan->next)), value = {0};
    int error = cursor->get(cursor, &key, &value, scan->next.size ? DB_SET_RANGE : DB_FIRST);

    if (!error && scan->after && slice_equal(slice_of(key.data, key.size), buf_slice(&scan->next)))
        error = cursor->get(cursor, &key, &value, DB_NEXT);
    if (!error)
        error = visit_one(scan, slice_of(key.data, key.size), slice_of(value.data, value.size));
    while (!error && !scan->done) {
        if (scan->steps >= SINGLE_STEPS) {
            error = visit_many(scan, cursor);
        } else if ((error = cursor->get(cursor, &key, &value, DB_NEXT)) == 0) {
            error = visit_one(scan, slice_of(key.data, key.size), slice_of(value.data, value.size));
        }
    }
    return error;
}

static kv_status bdb_scan(struct kv_session *base, slice first, kv_visit *visit, void *arg)
{
    struct bdb_session *session = (struct bdb_session *)base;
    struct bdb_store   *store = store_of(session);
    struct scan         scan = {visit, arg};
    DB_TXN             *txn = NULL;
    DBC                *cursor;
    int                 error;

    TRY(buf_append(&scan.next, first.data, first.size));
    for (unsigned tries = 0;; tries++) {
        error = store->multiversion ? store->env->txn_begin(store->env, NULL, &txn, DB_TXN_SNAPSHOT) : 0;
        if (!error && (error = store->db->cursor(store->db, txn, &cursor, 0)) == 0) {
            int closed;
            error = scan_with(&scan, cursor);
            closed = cursor->close(cursor);
            error = error ? error : closed;
        }
        if (txn)
            txn->abort(txn); /* it wrote nothing */
        txn = NULL;
        if (!is_conflict(error))
            break;
        pause_before_retry(session, tries);
    }
    buf_free(&scan.next);
    buf_free(&scan.bulk);
    return error && error != DB_NOTFOUND ? fail_with(store, status_of(error), error, "scan") : KV_OK;
}

/* ---- Opening, also of a snapshot's copy. ---- */

static kv_status remove_directory(const char *path)
{
    DIR           *dir = opendir(path);
    struct dirent *entry;

    if (!dir)
        return errno == ENOENT ? KV_OK : kv_fail_errno("list %s", path);
    while ((entry = readdir(dir)) != NULL)
        unlinkat(dirfd(dir), entry->d_name, 0);
    closedir(dir);
    return rmdir(path) == 0 ? KV_OK : kv_fail_errno("remove %s", path);
}

static int open_env(struct bdb_store *store, const char *home, const struct kv_config *config, uint64_t cache_bytes, uint32_t recovery,
                    DB_ENV **out)
{
    const union kv_value *option = config->option;
    DB_ENV               *env;
    int                   error = db_env_create(&env, 0);

    if (error)
        return error;
    env->app_private = store;
    env->set_errcall(env, note_error);
    env->set_errfile(env, NULL);
    if ((error = env->set_cachesize(env, (uint32_t)(cache_bytes >> 30), (uint32_t)(cache_bytes & ((1u << 30) - 1)),
                                    (int)option[CACHE_REGIONS].u64)) != 0 ||
        (error = env->set_lk_detect(env, detect_values[option[DETECT].u64])) != 0 ||
        (error = env->set_lg_bsize(env, (uint32_t)option[LOG_BUFFER].u64)) != 0 ||
        (error = env->set_lg_max(env, (uint32_t)option[LOG_FILE].u64)) != 0 ||
        (error = env->log_set_config(env, DB_LOG_AUTO_REMOVE, 1)) != 0)
        goto out;
    if (config->durability.tier == KV_TIER_NONE)
        error = env->set_flags(env, DB_TXN_NOSYNC, 1);
    else if (config->durability.tier != KV_TIER_COMMIT)
        error = env->set_flags(env, DB_TXN_WRITE_NOSYNC, 1);
    if (!error)
        error = env->open(env, home, DB_CREATE | DB_INIT_TXN | DB_INIT_LOCK | DB_INIT_LOG | DB_INIT_MPOOL | DB_PRIVATE | DB_THREAD | recovery,
                          0666);
out:
    if (error)
        env->close(env, 0);
    else
        *out = env;
    return error;
}

static int open_db(DB_ENV *env, const struct kv_config *config, bool create, DB **out)
{
    const union kv_value *option = config->option;
    DB                   *db;
    int                   error = db_create(&db, env, 0);

    if (error)
        return error;
    if (create) {
        error = db->set_pagesize(db, (uint32_t)option[PAGE_SIZE].u64);
        if (!error && option[CHECKSUM].u64)
            error = db->set_flags(db, DB_CHKSUM);
    }
    if (!error)
        error = db->open(db, NULL, TABLE, NULL, DB_BTREE, DB_THREAD | DB_AUTO_COMMIT | (create ? DB_CREATE : 0) |
                         (option[MULTIVERSION].u64 ? DB_MULTIVERSION : 0), 0666);
    if (error)
        db->close(db, 0);
    else
        *out = db;
    return error;
}

/* Makes a home with an empty table under another name, and renames it when it is whole. */
static kv_status create_home(struct bdb_store *store, const struct kv_config *config)
{
    char    making[PATH_MAX];
    DB_ENV *env;
    DB     *db;
    int     error, closed;

    snprintf(making, sizeof making, "%s/" HOME_NEW, store->dir.path);
    TRY(remove_directory(making)); /* of a crash */
    if (mkdir(making, 0777) != 0)
        return kv_fail_errno("make directory %s", making);
    if ((error = open_env(store, making, config, COPY_CACHE_BYTES, DB_RECOVER, &env)) != 0)
        return fail_with(store, status_of(error), error, "make");
    if ((error = open_db(env, config, true, &db)) == 0)
        error = db->close(db, 0); /* which syncs it */
    if (!error)
        error = env->txn_checkpoint(env, 0, 0, DB_FORCE);
    closed = env->close(env, 0);
    if (error || closed)
        return fail_with(store, status_of(error ? error : closed), error ? error : closed, "make");
    TRY(file_sync_dir(making));
    TRY(file_rename(store->dir.path, HOME_NEW, HOME));
    return file_sync_dir(store->dir.path);
}

/* ---- Snapshots. ---- */

struct snapshot {
    struct snapshot_writer writer;
    kv_status              status;
};

static bool add_to_snapshot(void *arg, slice key, slice value)
{
    struct snapshot *snapshot = arg;

    snapshot->status = snapshot_writer_add(&snapshot->writer, key, value);
    if (snapshot->status == KV_OK)
        snapshot->status = snapshot_writer_flush(&snapshot->writer);
    return snapshot->status == KV_OK;
}

/* Pages and then logs, of which none may go meanwhile. */
static int copy_home(struct bdb_store *store, const char *copy)
{
    DB_ENV *env = store->env;
    int     error = env->log_flush(env, NULL); /* tier none: what was acknowledged is in it */

    if (!error && (error = env->log_set_config(env, DB_LOG_AUTO_REMOVE, 0)) == 0) {
        int restored;
        error = env->backup(env, copy, DB_CREATE | DB_EXCL | DB_BACKUP_CLEAN);
        restored = env->log_set_config(env, DB_LOG_AUTO_REMOVE, 1);
        error = error ? error : restored;
    }
    return error;
}

static kv_status scan_copy(struct bdb_store *store, const char *copy, struct snapshot *snapshot)
{
    struct scan      scan = {add_to_snapshot, snapshot};
    DB_ENV          *env;
    DB              *db;
    DBC             *cursor;
    int              error;

    if ((error = open_env(store, copy, &store->config, COPY_CACHE_BYTES, DB_RECOVER_FATAL, &env)) != 0)
        return fail_with(store, status_of(error), error, "recover the copy for a snapshot of");
    if ((error = open_db(env, &store->config, false, &db)) == 0) {
        if ((error = db->cursor(db, NULL, &cursor, 0)) == 0) {
            error = scan_with(&scan, cursor);
            cursor->close(cursor);
        }
        db->close(db, DB_NOSYNC);
    }
    buf_free(&scan.next);
    buf_free(&scan.bulk);
    env->close(env, 0);
    return error && error != DB_NOTFOUND ? fail_with(store, status_of(error), error, "read the copy for a snapshot of") : KV_OK;
}

static kv_status snapshot_by_copy(struct bdb_store *store, struct snapshot *snapshot)
{
    char      copy[PATH_MAX];
    kv_status status;
    int       error;

    snprintf(copy, sizeof copy, "%s/" HOME_COPY, store->dir.path);
    TRY(remove_directory(copy));
    error = copy_home(store, copy);
    status = error ? fail_with(store, status_of(error), error, "copy for a snapshot of") : scan_copy(store, copy, snapshot);
    if (status == KV_OK)
        return remove_directory(copy);
    (void)!remove_directory(copy);
    return status;
}

static kv_status bdb_snapshot(struct kv_session *base, int fd)
{
    struct bdb_store *store = store_of((struct bdb_session *)base);
    struct snapshot   snapshot = {.status = KV_OK};
    kv_status         status = snapshot_writer_open(&snapshot.writer, fd);

    if (status == KV_OK && store->multiversion) {
        status = bdb_scan(base, (slice){0}, add_to_snapshot, &snapshot);
    } else if (status == KV_OK) {
        pthread_mutex_lock(&store->snapshot_lock);
        status = snapshot_by_copy(store, &snapshot);
        pthread_mutex_unlock(&store->snapshot_lock);
    }
    if (status == KV_OK)
        status = snapshot.status;
    if (status == KV_OK)
        status = snapshot_writer_end(&snapshot.writer);
    snapshot_writer_free(&snapshot.writer);
    return status;
}

/* ---- Syncing, checkpoints, compaction. ---- */

static kv_status flush_log(void *arg)
{
    struct bdb_store *store = arg;
    int               error;

    if (__atomic_load_n(&store->failed, __ATOMIC_ACQUIRE))
        return kv_fail(KV_IO, "%s", store->sentence);
    error = store->env->log_flush(store->env, NULL);
    return error ? fail_write(store, error, "sync the log of") : KV_OK;
}

static kv_status bdb_sync(struct kv_session *base)
{
    return flush_log(store_of((struct bdb_session *)base));
}

static kv_status checkpoint(void *arg)
{
    struct bdb_store *store = arg;
    int               error = store->env->txn_checkpoint(store->env, 0, 0, 0);

    return error ? fail_write(store, error, "checkpoint") : KV_OK;
}

static kv_status bdb_compact(struct kv_session *base)
{
    struct bdb_session *session = (struct bdb_session *)base;
    struct bdb_store   *store = store_of(session);
    DB_COMPACT          about = {0};
    unsigned            tries = 0;
    int                 error;

    if (__atomic_load_n(&store->failed, __ATOMIC_ACQUIRE))
        return kv_fail(KV_IO, "%s", store->sentence);
    while (is_conflict(error = store->db->compact(store->db, NULL, NULL, NULL, &about, DB_FREE_SPACE, NULL)))
        pause_before_retry(session, tries++);
    if (error)
        return fail_write(store, error, "compact");
    TRY(checkpoints_now(store->checkpoints));
    error = store->env->txn_checkpoint(store->env, 0, 0, DB_FORCE); /* the log from before the last checkpoint but one goes */
    return error ? fail_write(store, error, "checkpoint") : KV_OK;
}

/* ---- Sessions. ---- */

static kv_status bdb_session_open(struct kv_store *base, struct kv_session **out)
{
    struct bdb_session *session = calloc(1, sizeof *session);

    (void)base;
    if (!session || buf_reserve(&session->value, 4096) != KV_OK) {
        free(session);
        return kv_fail(KV_NO_MEMORY, "no memory for a session");
    }
    session->seed = (unsigned)(uintptr_t)session;
    *out = &session->base;
    return KV_OK;
}

static void bdb_session_close(struct kv_session *base)
{
    struct bdb_session *session = (struct bdb_session *)base;

    buf_free(&session->value);
    free(session);
}

/* ---- Figures and settings. ---- */

static void bdb_stats(struct kv_store *base, kv_figure *figure, void *arg)
{
    struct bdb_store *store = (struct bdb_store *)base;
    DB_MPOOL_STAT    *pool;
    DB_LOG_STAT      *log;
    DB_LOCK_STAT     *locks;

    figure(arg, "disk_bytes", storedir_disk_bytes(store->home));
    if (store->env->memp_stat(store->env, &pool, NULL, 0) == 0) {
        uint32_t page_size = 4096;
        store->db->get_pagesize(store->db, &page_size);
        figure(arg, "memory_bytes", (uint64_t)pool->st_gbytes << 30 | pool->st_bytes);
        figure(arg, "dirty_bytes", (uint64_t)pool->st_page_dirty * page_size);
        free(pool);
    }
    if (store->env->log_stat(store->env, &log, 0) == 0) {
        figure(arg, "log_bytes", ((uint64_t)log->st_w_mbytes << 20) + log->st_w_bytes);
        figure(arg, "log_syncs", log->st_scount);
        free(log);
    }
    if (store->env->lock_stat(store->env, &locks, 0) == 0) {
        figure(arg, "locks_max", locks->st_maxnlocks);
        free(locks);
    }
    figure(arg, "checkpoints", checkpoints_count(store->checkpoints));
    figure(arg, "conflicts", __atomic_load_n(&store->conflicts, __ATOMIC_RELAXED));
}

static void set_number(kv_setting *setting, void *arg, const char *name, uint64_t value)
{
    char text[32];

    snprintf(text, sizeof text, "%" PRIu64, value);
    setting(arg, name, text);
}

static void bdb_settings(struct kv_store *base, kv_setting *setting, void *arg)
{
    struct bdb_store *store = (struct bdb_store *)base;
    DB_ENV           *env = store->env;
    uint32_t          flags = 0, gigabytes = 0, number = 0;
    int               parts = 0;

    env->get_flags(env, &flags);
    setting(arg, "commit", flags & DB_TXN_NOSYNC ? "DB_TXN_NOSYNC" : flags & DB_TXN_WRITE_NOSYNC ? "DB_TXN_WRITE_NOSYNC" : "synchronous");
    if (env->get_cachesize(env, &gigabytes, &number, &parts) == 0)
        set_number(setting, arg, "cachesize", ((uint64_t)gigabytes << 30) + number);
    if (env->get_lg_max(env, &number) == 0)
        set_number(setting, arg, "lg_max", number);
    if (env->get_lg_bsize(env, &number) == 0)
        set_number(setting, arg, "lg_bsize", number);
    if (env->get_lk_detect(env, &number) == 0)
        set_number(setting, arg, "lk_detect", number);
    if (store->db->get_pagesize(store->db, &number) == 0)
        set_number(setting, arg, "pagesize", number);
    if (store->db->get_flags(store->db, &flags) == 0)
        setting(arg, "DB_CHKSUM", flags & DB_CHKSUM ? "true" : "false");
    if (store->db->get_open_flags(store->db, &flags) == 0)
        setting(arg, "DB_MULTIVERSION", flags & DB_MULTIVERSION ? "true" : "false");
}

/* ---- The store. ---- */

static kv_status open_home(struct bdb_store *store, const struct kv_config *config)
{
    char copy[PATH_MAX];
    int  error;

    snprintf(copy, sizeof copy, "%s/" HOME_COPY, store->dir.path);
    TRY(remove_directory(copy)); /* of a snapshot that a crash cut short */
    if (access(store->home, F_OK) != 0)
        TRY(create_home(store, config));
    if ((error = open_env(store, store->home, config, kv_cache_bytes(config), DB_RECOVER, &store->env)) != 0 ||
        (error = open_db(store->env, config, false, &store->db)) != 0)
        return fail_with(store, status_of(error), error, "open");
    return KV_OK;
}

static kv_status start_threads(struct bdb_store *store, const struct kv_config *config)
{
    struct checkpoints_plan plan = {.dir = store->dir.path, .bytes = config->option[CHECKPOINT_BYTES].u64,
                                    .period_ns = config->option[CHECKPOINT_PERIOD].u64, .reserve_bytes = RESERVE_BYTES,
                                    .run = checkpoint, .arg = store};

    store->checkpoints = checkpoints_start(&plan);
    if (!store->checkpoints)
        return KV_NO_MEMORY;
    if (config->durability.tier != KV_TIER_INTERVAL)
        return KV_OK;
    store->ticker = ticker_start(config->durability.interval_ns, flush_log, store);
    return store->ticker ? KV_OK : KV_NO_MEMORY;
}

static kv_status bdb_close(struct kv_store *base)
{
    struct bdb_store *store = (struct bdb_store *)base;
    int               error = 0, closed;
    kv_status         status = KV_OK;

    ticker_stop(store->ticker);
    checkpoints_stop(store->checkpoints);
    if (store->db && (closed = store->db->close(store->db, 0)) != 0)
        error = closed;
    if (store->db && !store->failed && (closed = store->env->txn_checkpoint(store->env, 0, 0, 0)) != 0 && !error)
        error = closed;
    if (store->env && (closed = store->env->close(store->env, 0)) != 0 && !error)
        error = closed;
    if (error)
        status = store->failed ? kv_fail(KV_IO, "%s", store->sentence) : fail_with(store, KV_IO, error, "close");
    storedir_close(&store->dir);
    pthread_mutex_destroy(&store->message_lock);
    pthread_mutex_destroy(&store->snapshot_lock);
    free(store->home);
    free(store);
    return status;
}

static kv_status bdb_open(const struct kv_config *config, struct kv_store **out)
{
    static const struct storedir_kind kind = {.engine = "bdb", .format = 1};
    static pthread_once_t             once = PTHREAD_ONCE_INIT;
    const union kv_value             *option = config->option;
    struct bdb_store                 *store;
    kv_status                         status;

    if (option[PAGE_SIZE].u64 & (option[PAGE_SIZE].u64 - 1))
        return kv_fail(KV_INVALID, "bdb.page_size is to be a power of two");
    if (option[LOG_FILE].u64 < 4 * option[LOG_BUFFER].u64)
        return kv_fail(KV_INVALID, "bdb.log_file_max is to be at least 4 times bdb.log_buffer");
    if (!(store = calloc(1, sizeof *store)))
        return kv_fail(KV_NO_MEMORY, "no memory for a store");
    pthread_once(&once, hook);
    __atomic_store_n(&sync_names, option[SYNC_NAMES].u64 != 0, __ATOMIC_RELAXED);
    pthread_mutex_init(&store->message_lock, NULL);
    pthread_mutex_init(&store->snapshot_lock, NULL);
    store->dir.lock = FILE_CLOSED;
    store->config = *config;
    store->multiversion = option[MULTIVERSION].u64;
    if (asprintf(&store->home, "%s/" HOME, config->dir) < 0) {
        store->home = NULL;
        status = kv_fail(KV_NO_MEMORY, "no memory for a path");
    } else if ((status = storedir_open(&store->dir, config->dir, &kind)) == KV_OK) {
        if ((status = open_home(store, config)) == KV_OK)
            status = start_threads(store, config);
    }
    if (status != KV_OK) {
        char sentence[FAIL_BYTES_MAX];
        snprintf(sentence, sizeof sentence, "%s", fail_text());
        if (bdb_close(&store->base) != KV_OK) /* the first failure is the one to tell */
            fail_set("%s", sentence);
        return status;
    }
    *out = &store->base;
    return KV_OK;
}

static const struct kv_engine bdb_engine = {
    .abi             = KV_ABI,
    .name            = "bdb",
    .version         = "5.3.28",
    .summary         = "Berkeley DB: a B-tree with page locks, transactions and a write-ahead log",
    .licence         = "Sleepycat",
    .can             = KV_DURABLE | KV_SCAN | KV_ORDERED | KV_BATCH | KV_SNAPSHOT | KV_MODIFY | KV_SESSIONS | KV_COMPACT | KV_RETAINS,
    .tiers           = KV_TIERS_ALL,
    .key_bytes_max   = KV_KEY_BYTES_MAX,
    .value_bytes_max = KV_VALUE_BYTES_MAX,
    .options         = bdb_options,
    .open            = bdb_open,
    .close           = bdb_close,
    .session_open    = bdb_session_open,
    .session_close   = bdb_session_close,
    .put             = bdb_put,
    .get             = bdb_get,
    .del             = bdb_del,
    .modify          = bdb_modify,
    .write           = bdb_write,
    .scan            = bdb_scan,
    .sync            = bdb_sync,
    .snapshot        = bdb_snapshot,
    .compact         = bdb_compact,
    .stats           = bdb_stats,
    .settings        = bdb_settings,
};

__attribute__((visibility("default"))) const struct kv_engine *kv_plugin(void);

const struct kv_engine *kv_plugin(void)
{
    return &bdb_engine;
}
