/*
 * wiredtiger.c -- WiredTiger, MongoDB's storage engine: a B-tree with multiversion concurrency, a log, and checkpoints that write
 * changed pages to new places.  Written against 3.2.1 (Debian's libwiredtiger-dev, GPL-2+).
 *
 * Files       STORE, LOCK (base/storedir.h); db/, WiredTiger's home, with the one table:main, keys and values as they are
 *             (format u).  A new home is made as db.new, closed and renamed, so a crash never leaves half of one.
 * Sessions    A WT_SESSION and a cursor each, at snapshot isolation.  A get is a search of its own; the value is lent from
 *             WiredTiger's page, which the cursor keeps until it is reset.  put and del commit by themselves; batches, modifies,
 *             scans and snapshots are transactions.  WT_ROLLBACK (somebody else wrote the key) is tried again in here until it
 *             goes through: the first writer of a key wins, so of those that meet one always does.
 *             At this version's default, read-committed, writers of one key are not held apart: what is seen is the order of the
 *             updates in memory, what recovery makes of it the order of the commits in the log, and a value that was seen to be
 *             overwritten or deleted comes back after kill -9.  Later versions have snapshot as their default (WT-6710), and "all
 *             updates must be done using snapshot isolation" (explain_isolation, 10.0).
 * Durability  The log, as its page "Commit-level durability" (tune_durability) describes it, with transaction_sync=(enabled=true,
 *             method=none): "the operating system's write call will be called as each commit completes but no explicit disk flush
 *             is made.  This setting gives durability across application failure".
 *             process  That.
 *             commit   That, then WT_SESSION.log_flush("sync=on") before the acknowledgement, which "forces the data out via
 *                      fsync" (fdatasync); concurrent flushes share one.  Not method=fsync: the commit whose record is the last of
 *                      a log file syncs the new, empty file in place of its own (__wt_log_release syncs log->log_fh, which the
 *                      change of files has replaced; __wt_log_force_sync, behind log_flush, has opened its own since WT-2559).
 *                      A program that only inserts, with fdatasync watched: acknowledged before its file was synced in 9 of 10
 *                      changes of files, with log_flush in none; a power loss before the thread for old files comes round
 *                      loses it.  A checkpoint's records do the same and mark the file as synced, so a write that met a
 *                      checkpoint is flushed once more, behind a record in the next file (see flush_log).
 *             sync() is log_flush("sync=on") in both.
 *             none, ordered, interval: refused, because their prefix does not outlive every loss of power.  Where pages, sizes
 *                      or names of what is not synced survive in any order, recovery meets a log file without its beginning
 *                      behind one without its end: it cuts the later one behind its header, then reads on in it and answers
 *                      WT_TRY_SALVAGE, or it goes past the gap.  With these tiers mapped (enabled=false; method=none; that and
 *                      log_flush at each interval), of the crash states of --profile ext4 6 of 226 did not hold with none (5
 *                      refused, 1 with a hole), 3 of 736 with ordered (refused), 4 of 536 with interval:20ms (3 refused, 1
 *                      with a hole); of posix-minimal 5 of 256, 3 of 225 and 1 of 212 (refused; log files whose
 *                      names were lost too).  drop-unsynced, which loses all that is not synced alike, found none.  commit held
 *                      there: 636 states of ext4, 750 of posix-minimal.
 * Recovery    One that is killed may leave log files cut to their headers, at which the next one gives up (WT_TRY_SALVAGE).  They
 *             are lengthened before it, by an empty record (see mend_logs).
 *             A record that was under way when the power failed may need salvage when its end survives without its beginning
 *             (WT-4240); seen in no run.
 * Defaults    WiredTiger's own (wiredtiger_open, WT_SESSION.create), except: cache_size is the cache that every engine gets;
 *             a checkpoint every 60 s or 2 GB of writes, as MongoDB sets it, instead of never; log files grow by 1 MB instead
 *             of being reserved whole, with two more in advance: 300 MB less on disk, at the same speed (5,000 synced commits
 *             0.87 s against 0.92 s); statistics=(fast) for kv_stats; checksums on every block.
 * Limits      Keys to 65,535 bytes and values to 256 MiB, as the contract has it (WiredTiger: just under 4 GB).  The changes of a
 *             transaction stay in the cache until it commits, so a batch takes up to a quarter of the cache: beyond it
 *             KV_TOO_LARGE, but for a single write.
 * Full disk   WiredTiger ends with WT_PANIC when a write of its log fails.  So base/checkpoints.h refuses writes before that, while
 *             there is a reserve to close and to recover with.
 * Not done    Column stores, LSM trees, timestamps, encryption, WiredTiger's own backup cursor (a snapshot is a transaction's).
 */
#include <wiredtiger.h>

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "engines/base/checkpoints.h"
#include "engines/base/snapshot.h"
#include "engines/base/storedir.h"
#include "engines/engine.h"

#define HOME          "db"
#define HOME_NEW      "db.new"
#define TABLE         "table:main"
#define TABLE_FILE    "file:main.wt"
#define SESSIONS_MAX  1024
#define RESERVE_BYTES (UINT64_C(12) << 20) /* for the metadata, the next log files and recovery */
#define CONFIG_BYTES  2048
#define ALLOCATION    4096 /* of WiredTiger's pages, its default */
#define LOG_RECORD_BYTES 128 /* the least, and the size of a log file's header */

enum {
    COMPRESSOR, LEAF_PAGE, INTERNAL_PAGE, MEMORY_PAGE, PREFIX_COMPRESSION, CHECKPOINT_BYTES, CHECKPOINT_PERIOD, LOG_FILE, LOG_EXTEND,
    LOG_PREALLOC, LOG_COMPRESSOR, EVICTION_THREADS, EVICTION_DIRTY_TARGET, EVICTION_DIRTY_TRIGGER, DIRECT_IO
};

static const char *const compressors[] = {"none", "snappy", "zlib", NULL};

static const struct kv_option wiredtiger_options[] = {
    [COMPRESSOR]             = {"block_compressor", KV_WORD, "none", 0, 0, "how blocks of the table are compressed (new stores)", compressors},
    [LEAF_PAGE]              = {"leaf_page_max", KV_BYTES, "32k", 4096, 512 << 20, "largest leaf page on disk (new stores)", NULL},
    [INTERNAL_PAGE]          = {"internal_page_max", KV_BYTES, "4k", 4096, 512 << 20, "largest inner page on disk (new stores)", NULL},
    [MEMORY_PAGE]            = {"memory_page_max", KV_BYTES, "5M", 65536, 1 << 30, "a page that grew so large in memory is written (new stores)",
                                NULL},
    [PREFIX_COMPRESSION]     = {"prefix_compression", KV_BOOL, "false", 0, 0, "keys of a leaf share their prefixes (new stores)", NULL},
    [CHECKPOINT_BYTES]       = {"checkpoint_bytes", KV_BYTES, "2G", 4096, 1ull << 40, "a checkpoint after so many bytes of writes", NULL,
                                .small = "32k"},
    [CHECKPOINT_PERIOD]      = {"checkpoint_period", KV_TIME, "60s", 1e6, 1e14, "and when the oldest write behind the last one is so old",
                                NULL},
    [LOG_FILE]               = {"log_file_max", KV_BYTES, "100M", 100 << 10, 2e9, "size of a log file (at most 1/16 of the free space)", NULL,
                                .small = "100k"},
    [LOG_EXTEND]             = {"log_extend", KV_BYTES, "1M", 100 << 10, 2e9, "a log file grows by so much at a time", NULL, .small = "100k"},
    [LOG_PREALLOC]           = {"log_prealloc", KV_BOOL, "false", 0, 0, "log files are made in advance", NULL},
    [LOG_COMPRESSOR]         = {"log_compressor", KV_WORD, "none", 0, 0, "how log records are compressed", compressors},
    [EVICTION_THREADS]       = {"eviction_threads", KV_COUNT, "8", 1, 20, "at most so many threads evict pages from the cache", NULL},
    [EVICTION_DIRTY_TARGET]  = {"eviction_dirty_target", KV_COUNT, "5", 1, 99, "percent of dirty cache at which threads begin to write pages", NULL},
    [EVICTION_DIRTY_TRIGGER] = {"eviction_dirty_trigger", KV_COUNT, "20", 2, 99, "percent of dirty cache at which writers have to help", NULL},
    [DIRECT_IO]              = {"direct_io", KV_BOOL, "false", 0, 0, "the table's file passes the page cache by", NULL},
    {0},
};

struct wt_store {
    struct kv_store     base;
    WT_EVENT_HANDLER    events; /* WiredTiger gives it back to us, and so the store */
    WT_CONNECTION      *connection;
    WT_SESSION         *checkpoint_session, *stats_session;
    pthread_mutex_t     stats_lock, message_lock;
    struct checkpoints *checkpoints;
    struct storedir     dir;
    char               *home;
    uint64_t            cache_bytes, batch_bytes_max;
    uint64_t            log_turns, log_users;          /* atomic; see log_turn */
    uint64_t            synced_turn;                   /* atomic: of the last sync */
    uint64_t            conflicts;                     /* atomic: WT_ROLLBACK, tried again */
    bool                syncs_commits;                 /* tier commit */
    bool                failed;                        /* atomic, set under message_lock: no more writes */
    char                sentence[FAIL_BYTES_MAX];      /* what it failed with */
    char                message[FAIL_BYTES_MAX / 2];   /* WiredTiger's first error that was not told yet */
    char                config[CONFIG_BYTES];
};

struct wt_session {
    struct kv_session base;
    WT_SESSION       *session;
    WT_CURSOR        *cursor;
    unsigned          seed; /* of the pauses between retries */
};

static struct wt_store *store_of(struct wt_session *session)
{
    return (struct wt_store *)session->base.store;
}

/* ---- Errors. ---- */

/* "[seconds:microseconds][process:thread], file:kv.wt, WT_SESSION.open: __function, line: the words", which alone are for people. */
static const char *words_of(const char *message)
{
    const char *words = *message == '[' ? strstr(message, "], ") : NULL, *place;

    words = words ? words + 3 : message;
    place = strstr(words, ": __");
    place = place ? strstr(place + 4, ": ") : NULL;
    return place ? place + 2 : words;
}

static int note_error(WT_EVENT_HANDLER *handler, WT_SESSION *session, int error, const char *message)
{
    struct wt_store *store = (struct wt_store *)((char *)handler - offsetof(struct wt_store, events));

    (void)session, (void)error;
    pthread_mutex_lock(&store->message_lock);
    if (!*store->message) /* the first is the cause, others follow from it */
        snprintf(store->message, sizeof store->message, "%s", words_of(message));
    pthread_mutex_unlock(&store->message_lock);
    return 0;
}

static int note_nothing(WT_EVENT_HANDLER *handler, WT_SESSION *session, const char *message)
{
    (void)handler, (void)session, (void)message;
    return 0;
}

static int ignore_error(WT_EVENT_HANDLER *handler, WT_SESSION *session, int error, const char *message)
{
    (void)handler, (void)session, (void)error, (void)message;
    return 0;
}

static kv_status status_of(int error)
{
    switch (error) {
    case ENOSPC:
    case EDQUOT:        return KV_NO_SPACE;
    case ENOMEM:        return KV_NO_MEMORY;
    case EBUSY:         return KV_BUSY;
    case WT_TRY_SALVAGE:
    case WT_ERROR:      return KV_CORRUPT; /* what it answers to blocks that contradict themselves */
    default:            return KV_IO;
    }
}

static kv_status fail_with(struct wt_store *store, int error, const char *what)
{
    char message[sizeof store->message];

    pthread_mutex_lock(&store->message_lock);
    memcpy(message, store->message, sizeof message);
    store->message[0] = '\0';
    pthread_mutex_unlock(&store->message_lock);
    return kv_fail(status_of(error), "%s %s: %s%s%s", what, store->home, wiredtiger_strerror(error), *message ? "; " : "", message);
}

/* The same on a write path: no write comes after it, unless it changed nothing. */
static kv_status fail_write(struct wt_store *store, int error, const char *what)
{
    kv_status status = fail_with(store, error, what);

    if (status == KV_NO_SPACE || status == KV_NO_MEMORY || status == KV_BUSY)
        return status;
    pthread_mutex_lock(&store->message_lock);
    if (!store->failed) {
        snprintf(store->sentence, sizeof store->sentence, "%s", fail_text());
        __atomic_store_n(&store->failed, true, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&store->message_lock);
    return status;
}

static kv_status may_write(struct wt_store *store, uint64_t bytes)
{
    if (__builtin_expect(__atomic_load_n(&store->failed, __ATOMIC_ACQUIRE), 0))
        return kv_fail(KV_IO, "%s", store->sentence);
    return checkpoints_admit(store->checkpoints, bytes);
}

/* Between two tries: at first only let the other one run, then longer and longer, up to a millisecond, by chance. */
static void pause_before_retry(struct wt_session *session, unsigned tries)
{
    unsigned long longest_ns = tries < 4 ? 0 : tries < 14 ? 1000ul << (tries - 4) : 1000000;

    __atomic_add_fetch(&store_of(session)->conflicts, 1, __ATOMIC_RELAXED);
    if (longest_ns == 0)
        sched_yield();
    else
        nanosleep(&(struct timespec){.tv_nsec = (long)((unsigned)rand_r(&session->seed) % longest_ns)}, NULL);
}

/* ---- Syncing. ---- */

/* Changes when something else than a commit begins to write synced records to the log, and is 0 while it does. */
static uint64_t log_turn(struct wt_store *store)
{
    uint64_t turn = __atomic_load_n(&store->log_turns, __ATOMIC_SEQ_CST);

    return __atomic_load_n(&store->log_users, __ATOMIC_SEQ_CST) ? 0 : turn;
}

static void enter_log(struct wt_store *store)
{
    __atomic_add_fetch(&store->log_users, 1, __ATOMIC_SEQ_CST);
    __atomic_add_fetch(&store->log_turns, 1, __ATOMIC_SEQ_CST);
}

static void leave_log(struct wt_store *store)
{
    __atomic_sub_fetch(&store->log_users, 1, __ATOMIC_SEQ_CST);
}

/*
 * Syncs the log; `turn` is from before the records that are to be synced.  When the last record of a log file is a checkpoint's,
 * WiredTiger notes that file as synced when it is not yet (see the banner), and log_flush trusts the note.  But then a record that
 * is written now goes to the next file, and to flush that one waits until the file before it is really synced.
 */
static kv_status flush_log(struct wt_store *store, WT_SESSION *session, uint64_t turn)
{
    int error;

    if (__atomic_load_n(&store->failed, __ATOMIC_ACQUIRE))
        return kv_fail(KV_IO, "%s", store->sentence);
    error = session->log_flush(session, "sync=on");
    if (!error && (!turn || log_turn(store) != turn) && (error = session->log_printf(session, "sync")) == 0)
        error = session->log_flush(session, "sync=on");
    return error ? fail_write(store, error, "sync the log of") : KV_OK;
}

/* What was written is committed, and its record is in the log.  A delete that found nothing comes here too: the record of what it
 * found deleted may not be synced yet. */
static kv_status acknowledge(struct wt_session *session, uint64_t turn)
{
    struct wt_store *store = store_of(session);

    return store->syncs_commits ? flush_log(store, session->session, turn) : KV_OK;
}

/* ---- One key. ---- */

static WT_ITEM item_of(slice bytes)
{
    return (WT_ITEM){.data = bytes.size ? bytes.data : "", .size = bytes.size};
}

/* The insert or remove of one write, within whatever transaction there is; the errors of WiredTiger. */
static int apply(WT_CURSOR *cursor, const struct kv_write *write)
{
    WT_ITEM key = item_of(write->key), value = item_of(write->value);
    int     error;

    cursor->set_key(cursor, &key);
    if (write->kind == KV_PUT) {
        cursor->set_value(cursor, &value);
        return cursor->insert(cursor); /* the cursor overwrites */
    }
    error = cursor->remove(cursor);
    return error == WT_NOTFOUND ? 0 : error;
}

static kv_status write_one(struct wt_session *session, const struct kv_write *write)
{
    struct wt_store *store = store_of(session);
    uint64_t         turn = log_turn(store);
    unsigned         tries = 0;
    int              error;

    TRY(may_write(store, write->key.size + write->value.size));
    while ((error = apply(session->cursor, write)) == WT_ROLLBACK)
        pause_before_retry(session, tries++);
    session->cursor->reset(session->cursor);
    if (error)
        return fail_write(store, error, "write to");
    return acknowledge(session, turn);
}

static kv_status wt_put(struct kv_session *base, slice key, slice value)
{
    return write_one((struct wt_session *)base, &(struct kv_write){KV_PUT, key, value});
}

static kv_status wt_del(struct kv_session *base, slice key)
{
    return write_one((struct wt_session *)base, &(struct kv_write){.kind = KV_DELETE, .key = key});
}

static kv_status wt_get(struct kv_session *base, slice key, kv_visit *visit, void *arg)
{
    struct wt_session *session = (struct wt_session *)base;
    WT_CURSOR         *cursor = session->cursor;
    WT_ITEM            item = item_of(key), value;
    int                error;

    for (unsigned tries = 0;; tries++) {
        cursor->set_key(cursor, &item);
        if ((error = cursor->search(cursor)) != WT_ROLLBACK) /* for want of room in the cache */
            break;
        pause_before_retry(session, tries);
    }
    if (error == WT_NOTFOUND)
        return KV_NOT_FOUND;
    if (!error && (error = cursor->get_value(cursor, &value)) == 0)
        visit(arg, key, slice_of(value.data, value.size));
    cursor->reset(cursor);
    return error ? fail_with(store_of(session), error, "read from") : KV_OK;
}

/* ---- Transactions. ---- */

/* What a transaction does; an error of WiredTiger, or 0 with *status, which is not KV_OK when it is to be rolled back. */
typedef int transaction_body(struct wt_session *session, void *arg, kv_status *status);

/* Begins, does and commits, again and again as long as others write the same keys. */
static kv_status transact(struct wt_session *session, transaction_body *body, void *arg)
{
    struct wt_store *store = store_of(session);
    WT_SESSION      *s = session->session;
    uint64_t         turn = log_turn(store);
    kv_status        status;
    int              error;

    for (unsigned tries = 0;; tries++) {
        status = KV_OK;
        if ((error = s->begin_transaction(s, "isolation=snapshot")) != 0)
            return fail_write(store, error, "begin a transaction in");
        error = body(session, arg, &status);
        if (!error && status == KV_OK) {
            if ((error = s->commit_transaction(s, NULL)) == 0) /* rolls back by itself when it fails */
                return acknowledge(session, turn);
        } else {
            int undone = s->rollback_transaction(s, NULL); /* resets the cursor too */
            if (undone && error != WT_PANIC)
                error = undone;
        }
        if (error && error != WT_ROLLBACK)
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

static int apply_batch(struct wt_session *session, void *arg, kv_status *status)
{
    const struct batch *batch = arg;
    int                 error = 0;

    (void)status;
    for (size_t i = 0; i < batch->count && !error; i++)
        error = apply(session->cursor, &batch->writes[i]);
    return error;
}

static kv_status wt_write(struct kv_session *base, const struct kv_write *writes, size_t count)
{
    struct wt_session *session = (struct wt_session *)base;
    struct wt_store   *store = store_of(session);
    uint64_t           bytes = 0;

    if (count == 1)
        return write_one(session, writes);
    for (size_t i = 0; i < count; i++)
        bytes += writes[i].key.size + writes[i].value.size;
    if (bytes > store->batch_bytes_max)
        return kv_fail(KV_TOO_LARGE, "a batch of %" PRIu64 " bytes; with this cache %" PRIu64 " are taken", bytes, store->batch_bytes_max);
    TRY(may_write(store, bytes));
    return transact(session, apply_batch, &(struct batch){writes, count});
}

struct modification {
    slice      key;
    kv_change *change;
    void      *arg;
    struct buf value;
};

static int apply_modification(struct wt_session *session, void *arg, kv_status *status)
{
    struct modification *m = arg;
    WT_CURSOR           *cursor = session->cursor;
    WT_ITEM              key = item_of(m->key), old;
    slice                before;
    int                  error;

    m->value.size = 0;
    cursor->set_key(cursor, &key);
    error = cursor->search(cursor);
    if (error && error != WT_NOTFOUND)
        return error;
    if (!error) {
        if ((error = cursor->get_value(cursor, &old)) != 0)
            return error;
        before = slice_of(old.data, old.size);
        *status = m->change(m->arg, &before, &m->value);
    } else {
        *status = m->change(m->arg, NULL, &m->value);
    }
    if (*status == KV_OK)
        *status = may_write(store_of(session), m->key.size + m->value.size);
    if (*status != KV_OK)
        return 0;
    return apply(cursor, &(struct kv_write){KV_PUT, m->key, buf_slice(&m->value)});
}

static kv_status wt_modify(struct kv_session *base, slice key, kv_change *change, void *arg)
{
    struct modification m = {key, change, arg, {0}};
    kv_status           status = transact((struct wt_session *)base, apply_modification, &m);

    buf_free(&m.value);
    return status;
}

/* Goes up from the first key that is not below `first`, in one consistent view. */
static kv_status wt_scan(struct kv_session *base, slice first, kv_visit *visit, void *arg)
{
    struct wt_session *session = (struct wt_session *)base;
    WT_SESSION        *s = session->session;
    WT_CURSOR         *cursor = session->cursor;
    WT_ITEM            key = item_of(first), value;
    int                error, side = 0;

    if ((error = s->begin_transaction(s, "isolation=snapshot")) != 0)
        return fail_with(store_of(session), error, "begin a scan of");
    if (first.size) {
        cursor->set_key(cursor, &key);
        error = cursor->search_near(cursor, &side);
        if (!error && side < 0)
            error = cursor->next(cursor);
    } else {
        error = cursor->next(cursor);
    }
    for (; !error; error = cursor->next(cursor)) {
        if ((error = cursor->get_key(cursor, &key)) != 0 || (error = cursor->get_value(cursor, &value)) != 0 ||
            !visit(arg, slice_of(key.data, key.size), slice_of(value.data, value.size)))
            break;
    }
    cursor->reset(cursor);
    s->rollback_transaction(s, NULL); /* it wrote nothing */
    return error && error != WT_NOTFOUND ? fail_with(store_of(session), error, "scan") : KV_OK;
}

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

static kv_status wt_snapshot(struct kv_session *base, int fd)
{
    struct snapshot snapshot = {.status = KV_OK};
    kv_status       status = snapshot_writer_open(&snapshot.writer, fd);

    if (status == KV_OK)
        status = wt_scan(base, (slice){0}, add_to_snapshot, &snapshot);
    if (status == KV_OK)
        status = snapshot.status;
    if (status == KV_OK)
        status = snapshot_writer_end(&snapshot.writer);
    snapshot_writer_free(&snapshot.writer);
    return status;
}

/* ---- Syncing and checkpoints. ---- */

static kv_status wt_sync(struct kv_session *base)
{
    struct wt_session *session = (struct wt_session *)base;
    struct wt_store   *store = store_of(session);
    uint64_t           turn = log_turn(store);

    /* What it is to sync was written since the sync before it, or is synced. */
    TRY(flush_log(store, session->session, __atomic_load_n(&store->synced_turn, __ATOMIC_SEQ_CST)));
    __atomic_store_n(&store->synced_turn, turn, __ATOMIC_SEQ_CST);
    return KV_OK;
}

static kv_status checkpoint(void *arg)
{
    struct wt_store *store = arg;
    int              error;

    enter_log(store);
    error = store->checkpoint_session->checkpoint(store->checkpoint_session, NULL);
    leave_log(store);
    return error ? fail_write(store, error, "checkpoint") : KV_OK;
}

static kv_status wt_compact(struct kv_session *base)
{
    struct wt_session *session = (struct wt_session *)base;
    struct wt_store   *store = store_of(session);
    WT_SESSION        *s = session->session;
    int                error;

    if (__atomic_load_n(&store->failed, __ATOMIC_ACQUIRE))
        return kv_fail(KV_IO, "%s", store->sentence);
    TRY(checkpoints_now(store->checkpoints)); /* what is deleted is still in the last one */
    enter_log(store); /* it checkpoints */
    for (unsigned tries = 0; (error = s->compact(s, TABLE, "timeout=0")) == WT_ROLLBACK || error == EBUSY; tries++)
        pause_before_retry(session, tries);
    leave_log(store);
    if (error)
        return fail_write(store, error, "compact");
    return checkpoints_now(store->checkpoints); /* after which the log before it is needless */
}

/* ---- Sessions. ---- */

static kv_status wt_session_open(struct kv_store *base, struct kv_session **out)
{
    struct wt_store   *store = (struct wt_store *)base;
    struct wt_session *session = calloc(1, sizeof *session);
    int                error;

    if (!session)
        return kv_fail(KV_NO_MEMORY, "no memory for a session");
    session->seed = (unsigned)(uintptr_t)session;
    if ((error = store->connection->open_session(store->connection, NULL, "isolation=snapshot", &session->session)) != 0) {
        free(session);
        return fail_with(store, error, "open a session of");
    }
    if ((error = session->session->open_cursor(session->session, TABLE, NULL, NULL, &session->cursor)) != 0) {
        session->session->close(session->session, NULL);
        free(session);
        return fail_with(store, error, "open a cursor of");
    }
    *out = &session->base;
    return KV_OK;
}

static void wt_session_close(struct kv_session *base)
{
    struct wt_session *session = (struct wt_session *)base;

    session->session->close(session->session, NULL); /* and its cursor */
    free(session);
}

/* ---- Figures and settings. ---- */

/* One of WiredTiger's own figures; KV_UNKNOWN when it does not tell. */
static uint64_t statistic(WT_CURSOR *statistics, int number)
{
    const char *name, *text;
    int64_t     value;

    statistics->set_key(statistics, number);
    if (statistics->search(statistics) != 0 || statistics->get_value(statistics, &name, &text, &value) != 0 || value < 0)
        return KV_UNKNOWN;
    return (uint64_t)value;
}

static void wt_stats(struct kv_store *base, kv_figure *figure, void *arg)
{
    static const struct { const char *name; int number; } figures[] = {
        {"memory_bytes", WT_STAT_CONN_CACHE_BYTES_INUSE}, {"dirty_bytes", WT_STAT_CONN_CACHE_BYTES_DIRTY},
        {"stalls", WT_STAT_CONN_CACHE_EVICTION_APP}, {"log_bytes", WT_STAT_CONN_LOG_BYTES_WRITTEN},
        {"log_syncs", WT_STAT_CONN_LOG_SYNC},
    };
    struct wt_store *store = (struct wt_store *)base;
    WT_CURSOR       *statistics;

    pthread_mutex_lock(&store->stats_lock);
    if (store->stats_session->open_cursor(store->stats_session, "statistics:", NULL, NULL, &statistics) == 0) {
        for (size_t i = 0; i < sizeof figures / sizeof *figures; i++) {
            uint64_t value = statistic(statistics, figures[i].number);
            if (value != KV_UNKNOWN)
                figure(arg, figures[i].name, value);
        }
        statistics->close(statistics);
    }
    pthread_mutex_unlock(&store->stats_lock);
    figure(arg, "disk_bytes", storedir_disk_bytes(store->home));
    figure(arg, "checkpoints", checkpoints_count(store->checkpoints));
    figure(arg, "conflicts", __atomic_load_n(&store->conflicts, __ATOMIC_RELAXED));
}

static void wt_settings(struct kv_store *base, kv_setting *setting, void *arg)
{
    struct wt_store *store = (struct wt_store *)base;
    WT_SESSION      *s = store->stats_session;
    WT_CURSOR       *cursor;
    const char      *text;
    char             number[32];

    setting(arg, "wiredtiger_open", store->config);
    pthread_mutex_lock(&store->stats_lock);
    if (s->open_cursor(s, "statistics:", NULL, NULL, &cursor) == 0) {
        uint64_t bytes = statistic(cursor, WT_STAT_CONN_CACHE_BYTES_MAX);
        cursor->close(cursor);
        snprintf(number, sizeof number, "%" PRIu64, bytes);
        if (bytes != KV_UNKNOWN)
            setting(arg, "maximum bytes configured", number);
    }
    if (s->open_cursor(s, "metadata:", NULL, NULL, &cursor) == 0) {
        cursor->set_key(cursor, TABLE_FILE);
        if (cursor->search(cursor) == 0 && cursor->get_value(cursor, &text) == 0) {
            char *checkpoints, *own = strdup(text);
            if (own && (checkpoints = strstr(own, ",checkpoint=")) != NULL) /* addresses of blocks: no settings */
                *checkpoints = '\0';
            setting(arg, TABLE_FILE, own ? own : text);
            free(own);
        }
        cursor->close(cursor);
    }
    pthread_mutex_unlock(&store->stats_lock);
}

/* ---- Opening. ---- */

/* Where Debian has the compressors; they are extensions, loaded when an option names them. */
static void add_extension(char *config, size_t size, const struct kv_config *from)
{
    static const char *const format[] = {
        "", ",extensions=[/usr/lib/x86_64-linux-gnu/libwiredtiger_snappy.so]", ",extensions=[/usr/lib/x86_64-linux-gnu/libwiredtiger_zlib.so]",
        ",extensions=[/usr/lib/x86_64-linux-gnu/libwiredtiger_snappy.so,/usr/lib/x86_64-linux-gnu/libwiredtiger_zlib.so]"};
    unsigned wanted = 0;

    for (size_t i = 0; i < 2; i++) {
        uint64_t word = from->option[i ? LOG_COMPRESSOR : COMPRESSOR].u64;
        wanted |= word ? 1u << (word - 1) : 0;
    }
    snprintf(config + strlen(config), size - strlen(config), "%s", format[wanted]);
}

static uint64_t free_bytes(const char *path)
{
    struct statvfs about;

    return statvfs(path, &about) == 0 ? (uint64_t)about.f_bavail * about.f_frsize : UINT64_MAX;
}

static void make_config(struct wt_store *store, const struct kv_config *config)
{
    const union kv_value *option = config->option;
    uint64_t              log_file = option[LOG_FILE].u64, log_extend = option[LOG_EXTEND].u64;
    uint64_t              share = free_bytes(store->dir.path) / 16;

    if (log_file > share)
        log_file = share > (100 << 10) ? share : 100 << 10;
    if (log_extend > log_file)
        log_extend = log_file;
    snprintf(store->config, sizeof store->config,
             "create,config_base=false,use_environment=false,cache_size=%" PRIu64 ",session_max=%d,statistics=(fast),"
             "log=(enabled=true,archive=true,recover=on,file_max=%" PRIu64 ",prealloc=%s,compressor=%s),file_extend=(log=%" PRIu64 "),"
             "transaction_sync=(enabled=true,method=none),eviction=(threads_min=1,threads_max=%" PRIu64
             "),eviction_dirty_target=%" PRIu64 ",eviction_dirty_trigger=%" PRIu64 "%s",
             store->cache_bytes, SESSIONS_MAX, log_file, option[LOG_PREALLOC].u64 ? "true" : "false",
             compressors[option[LOG_COMPRESSOR].u64], log_extend, option[EVICTION_THREADS].u64,
             option[EVICTION_DIRTY_TARGET].u64, option[EVICTION_DIRTY_TRIGGER].u64, option[DIRECT_IO].u64 ? ",direct_io=[data]" : "");
    add_extension(store->config, sizeof store->config, config);
}

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

static kv_status fail_open(struct wt_store *store, int error, const char *what)
{
    kv_status status = fail_with(store, error, what);

    return status == KV_BUSY ? KV_IO : status; /* our own lock says who is there; this is something else */
}

/* Makes a home with an empty table under another name, and renames it when it is whole. */
static kv_status create_home(struct wt_store *store, const struct kv_config *config)
{
    const union kv_value *option = config->option;
    WT_CONNECTION        *connection;
    WT_SESSION           *session;
    char                  making[PATH_MAX], table[CONFIG_BYTES];
    int                   error, closed;

    snprintf(making, sizeof making, "%s/" HOME_NEW, store->dir.path);
    TRY(remove_directory(making)); /* of a crash */
    if (mkdir(making, 0777) != 0)
        return kv_fail_errno("make directory %s", making);
    snprintf(table, sizeof table,
             "key_format=u,value_format=u,checksum=on,leaf_page_max=%" PRIu64 ",internal_page_max=%" PRIu64 ",memory_page_max=%" PRIu64
             ",prefix_compression=%s,block_compressor=%s",
             option[LEAF_PAGE].u64, option[INTERNAL_PAGE].u64, option[MEMORY_PAGE].u64, option[PREFIX_COMPRESSION].u64 ? "true" : "false",
             compressors[option[COMPRESSOR].u64]);
    if ((error = wiredtiger_open(making, &store->events, store->config, &connection)) != 0)
        return fail_open(store, error, "make");
    if ((error = connection->open_session(connection, NULL, NULL, &session)) == 0)
        error = session->create(session, TABLE, table);
    closed = connection->close(connection, NULL); /* checkpoints and syncs */
    if (error || closed)
        return fail_open(store, error ? error : closed, "make");
    TRY(file_sync_dir(making));
    TRY(file_rename(store->dir.path, HOME_NEW, HOME));
    return file_sync_dir(store->dir.path);
}

/*
 * A recovery cuts the empty log files of recoveries that were killed before it behind their headers, of 128 bytes; when it is
 * killed too, the next one reads the record behind the header and calls its absence corruption.  A zero in its place is what such
 * a file had before, and means that there is none.
 */
static kv_status mend_logs(const struct wt_store *store)
{
    static const char log_name[] = "WiredTigerLog.";
    DIR              *dir = opendir(store->home);
    struct dirent    *entry;
    kv_status         status = KV_OK;

    if (!dir)
        return kv_fail_errno("list %s", store->home);
    while (status == KV_OK && (entry = readdir(dir)) != NULL) {
        char        path[PATH_MAX];
        struct stat about;

        if (strncmp(entry->d_name, log_name, sizeof log_name - 1) != 0 || fstatat(dirfd(dir), entry->d_name, &about, 0) != 0 ||
            about.st_size != LOG_RECORD_BYTES)
            continue;
        snprintf(path, sizeof path, "%s/%s", store->home, entry->d_name);
        if (truncate(path, 2 * LOG_RECORD_BYTES) != 0)
            status = kv_fail_errno("lengthen %s", path);
    }
    closedir(dir);
    return status;
}

static kv_status open_home(struct wt_store *store, const struct kv_config *config)
{
    WT_SESSION **sessions[] = {&store->checkpoint_session, &store->stats_session};
    int          error;

    if (access(store->home, F_OK) != 0)
        TRY(create_home(store, config));
    TRY(mend_logs(store));
    if ((error = wiredtiger_open(store->home, &store->events, store->config, &store->connection)) != 0) {
        store->connection = NULL;
        return fail_open(store, error, "open");
    }
    for (size_t i = 0; i < sizeof sessions / sizeof *sessions; i++)
        if ((error = store->connection->open_session(store->connection, NULL, NULL, sessions[i])) != 0)
            return fail_open(store, error, "open a session of");
    return KV_OK;
}

static kv_status start_checkpoints(struct wt_store *store, const struct kv_config *config)
{
    const union kv_value   *option = config->option;
    struct checkpoints_plan plan = {
        .dir = store->dir.path, .bytes = option[CHECKPOINT_BYTES].u64, .period_ns = option[CHECKPOINT_PERIOD].u64,
        /* Pages of so many bytes may be dirty, and each is written to a new place. */
        .reserve_bytes = RESERVE_BYTES + store->cache_bytes * option[EVICTION_DIRTY_TRIGGER].u64 / 100,
        .run = checkpoint, .arg = store};

    store->checkpoints = checkpoints_start(&plan);
    return store->checkpoints ? KV_OK : KV_NO_MEMORY;
}

static kv_status wt_close(struct kv_store *base)
{
    struct wt_store *store = (struct wt_store *)base;
    kv_status        status = KV_OK;
    int              error;

    checkpoints_stop(store->checkpoints);
    if (store->connection && (error = store->connection->close(store->connection, NULL)) != 0)
        status = store->failed ? kv_fail(KV_IO, "%s", store->sentence) : fail_open(store, error, "close");
    storedir_close(&store->dir);
    pthread_mutex_destroy(&store->message_lock);
    pthread_mutex_destroy(&store->stats_lock);
    free(store->home);
    free(store);
    return status;
}

static kv_status wt_open(const struct kv_config *config, struct kv_store **out)
{
    static const struct storedir_kind kind = {.engine = "wiredtiger", .format = 1};
    struct wt_store                  *store;
    kv_status                         status;

    if (config->option[EVICTION_DIRTY_TARGET].u64 >= config->option[EVICTION_DIRTY_TRIGGER].u64)
        return kv_fail(KV_INVALID, "wiredtiger.eviction_dirty_target is to be below eviction_dirty_trigger");
    if (config->option[LEAF_PAGE].u64 % ALLOCATION || config->option[INTERNAL_PAGE].u64 % ALLOCATION)
        return kv_fail(KV_INVALID, "wiredtiger.leaf_page_max and internal_page_max are to be multiples of 4k");
    if (!(store = calloc(1, sizeof *store)))
        return kv_fail(KV_NO_MEMORY, "no memory for a store");
    pthread_mutex_init(&store->message_lock, NULL);
    pthread_mutex_init(&store->stats_lock, NULL);
    store->dir.lock = FILE_CLOSED;
    store->events = (WT_EVENT_HANDLER){.handle_error = note_error, .handle_message = note_nothing};
    store->cache_bytes = kv_cache_bytes(config) > (1 << 20) ? kv_cache_bytes(config) : 1 << 20; /* its least */
    store->batch_bytes_max = store->cache_bytes / 4;
    store->syncs_commits = config->durability.tier == KV_TIER_COMMIT;
    store->log_turns = 1;
    if (asprintf(&store->home, "%s/" HOME, config->dir) < 0) {
        store->home = NULL;
        status = kv_fail(KV_NO_MEMORY, "no memory for a path");
    } else if ((status = storedir_open(&store->dir, config->dir, &kind)) == KV_OK) {
        make_config(store, config);
        if ((status = open_home(store, config)) == KV_OK)
            status = start_checkpoints(store, config);
    }
    if (status != KV_OK) {
        char sentence[FAIL_BYTES_MAX];
        snprintf(sentence, sizeof sentence, "%s", fail_text());
        if (wt_close(&store->base) != KV_OK) /* the first failure is the one to tell */
            fail_set("%s", sentence);
        return status;
    }
    *out = &store->base;
    return KV_OK;
}

/* The first wiredtiger_open of a process counts to a hundred million, to learn how fast the clock ticks; this one does no more. */
static void wt_prepare(void)
{
    WT_EVENT_HANDLER silent = {.handle_error = ignore_error, .handle_message = note_nothing};
    WT_CONNECTION   *connection;

    if (wiredtiger_open("/dev/null/none", &silent, "", &connection) == 0)
        connection->close(connection, NULL); /* a directory below a device: it cannot be */
}

static const struct kv_engine wiredtiger_engine = {
    .abi             = KV_ABI,
    .name            = "wiredtiger",
    .version         = "3.2.1",
    .summary         = "MongoDB's B-tree: multiversion transactions, a log with group commit, copy-on-write checkpoints",
    .licence         = "GPL-2.0-or-later",
    .can             = KV_DURABLE | KV_SCAN | KV_ORDERED | KV_BATCH | KV_SNAPSHOT | KV_MODIFY | KV_SESSIONS | KV_COMPACT | KV_RETAINS,
    .tiers           = KV_TIER_BIT(KV_TIER_PROCESS) | KV_TIER_BIT(KV_TIER_COMMIT),
    .key_bytes_max   = KV_KEY_BYTES_MAX,
    .value_bytes_max = KV_VALUE_BYTES_MAX,
    .options         = wiredtiger_options,
    .open            = wt_open,
    .close           = wt_close,
    .session_open    = wt_session_open,
    .session_close   = wt_session_close,
    .put             = wt_put,
    .get             = wt_get,
    .del             = wt_del,
    .modify          = wt_modify,
    .write           = wt_write,
    .scan            = wt_scan,
    .sync            = wt_sync,
    .snapshot        = wt_snapshot,
    .compact         = wt_compact,
    .stats           = wt_stats,
    .settings        = wt_settings,
    .prepare         = wt_prepare,
};

__attribute__((visibility("default"))) const struct kv_engine *kv_plugin(void);

const struct kv_engine *kv_plugin(void)
{
    return &wiredtiger_engine;
}
