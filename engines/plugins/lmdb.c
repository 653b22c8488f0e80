/*
 * lmdb.c -- LMDB: a copy-on-write B+tree in one memory-mapped file.  Written against 0.9.24; "lmdb.h" below is its manual.
 *
 * Files       STORE, LOCK, MADE: see base/storedir.h.  data.mdb, lock.mdb: LMDB's.  data.new: a file that is being made, by the
 *             first open or by compact; it is synced and renamed when it is whole, and removed when a crash left it.  LMDB makes an
 *             empty store where it finds no data.mdb, or an empty one, so MADE comes when that has its name: a loss later is
 *             corruption.
 * Read        One reset read transaction a session, renewed for each get (MDB_NOTLS ties its slot of the reader table to the
 *             session, not to the thread); values are lent from the map.  get_many and scan are one transaction each.
 * Write       One write transaction a call, a batch in one; LMDB lets one writer in at a time.  modify is one of them.
 * Map         lmdb.h, mdb_env_set_mapsize: "as large as possible, to accommodate future growth", and to be changed only "if
 *             no transactions are active in this process".  map_bytes reserves 64 GiB of addresses.  When MDB_MAP_FULL is met,
 *             the call gives its transaction up, waits until no session is inside a call, doubles the map and tries again.
 *             So a call that lasts (a scan, a snapshot into a slow pipe) holds up a growth, and with it the writers.
 * writemap    Off, as is LMDB's default ("total immunity to corruption" by stray pointers).  On, pages are stored into the map.
 *             The file is then as long as the map and full of holes.
 * Full disk   LMDB takes the short write of a full disk for EIO, and a store into a hole would be SIGBUS.  So blocks are
 *             reserved (fallocate) inside each write transaction that might need more than there are, 4 MiB ahead.
 *
 * Durability  Two meta pages take turns; each names the root of its version and is the last that a commit writes, its number
 *             behind all else.  A version's pages are not used again before two later versions were committed
 *             (mdb_find_oldest), so a kill anywhere in a commit leaves the version before whole: no log, no recovery.
 *   none      refused: nothing in LMDB is weaker than `process`, and of `process` nothing is a prefix after power loss.
 *   process   MDB_NOSYNC.  Pages, then the meta page, are written by pwrite(2), or stored into the shared map (writemap).
 *             lmdb.h: "a system crash can corrupt the database or lose the last transactions": the tier promises no more.
 *             (MDB_MAPASYNC would add an msync(MS_ASYNC), which on Linux does nothing.)
 *   ordered   MDB_NOMETASYNC: the pages of a version are synced, its meta page is not.  lmdb.h: "maintains database integrity,
 *             but a system crash may undo the last committed transaction".  That sync covers the meta page before, so what
 *             is on the disk is whole and at most one version old.  MDB_NOSYNC would only do "if the filesystem preserves
 *             write order", and no Linux file system promises that; so `ordered` costs a sync for each commit.
 *   interval  as ordered; base/ticker.h calls mdb_env_sync for the last one.
 *   commit    no flag: fdatasync for the pages, then the meta page through a descriptor with O_DSYNC (writemap: two msync).
 *   sync is mdb_env_sync(force): fdatasync or msync(MS_SYNC), in every tier.  There is no group commit: lmdb.h, "writes are
 *   fully serialized".
 *
 * Crash runs  Every tier held: 823 kills, and with power lost, in each of `ordered`, `interval` and `commit`, 889 to 1447 states under
 *             drop-unsynced, 673 to 1349 under ext4, 603 to 864 under posix-minimal.
 * Damage      LMDB has no checksums.  It answers what its page headers give away (KV_CORRUPT); a file that is too short for its
 *             meta page is found here, at open.  A flipped byte within a value is handed up, and only values that carry a
 *             checksum of their own, as the harness's do, tell; one within a page's structure may end the process (LMDB
 *             asserts).
 * Memory      LMDB's cache is the page cache, so there is none to size: kv_cache_bytes has no use here.
 * Limits      Keys of 511 bytes (MDB_MAXKEYSIZE of the library as Debian builds it).  As many sessions as `readers`.  A batch
 *             that dirties more pages than a transaction holds is KV_TOO_LARGE.  The file never shrinks but by compact, which
 *             copies what lives (mdb_env_copyfd2, MDB_CP_COMPACT) while all sessions wait.  A page is the machine's.
 * Defaults    Those of lmdb.h but for the map (10 MiB there) and the readers (126 there).
 * Figures     live_keys, disk_bytes, debt_bytes (always 0); map_bytes, used_bytes (pages up to the last one in use), tree_depth.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <lmdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engines/base/file.h"
#include "engines/base/snapshot.h"
#include "engines/base/storedir.h"
#include "engines/base/ticker.h"
#include "engines/engine.h"

#define DATA            "data.mdb"
#define DATA_NEW        "data.new"
#define FREE_DBI        0                       /* LMDB's own list of free pages, as mdb_stat reads it */
#define RESERVE_BYTES   (UINT64_C(4) << 20)
#define SLACK_PAGES     256u
#define ENTRY_BYTES     64u                     /* more than LMDB's own of an entry */
#define WORDS(x)        WORDS_OF(x)
#define WORDS_OF(x)     #x

enum { OPTION_MAP_BYTES, OPTION_WRITEMAP, OPTION_READAHEAD, OPTION_MEMINIT, OPTION_READERS };

/* Each call holds the lock of its session; whoever changes the map holds all of them. */
struct lmdb_session {
    struct kv_session    base;
    pthread_mutex_t      lock;
    MDB_txn             *txn;    /* reset; NULL: the environment was lost */
    MDB_cursor          *cursor; /* of scans; made by the first */
    struct buf           value;  /* of modify */
    struct lmdb_session *next;
};

struct lmdb_store {
    struct kv_store      base;
    struct storedir      dir;
    pthread_mutex_t      lock;      /* of the sessions' list and of env; before any session's */
    struct lmdb_session *sessions;
    MDB_env             *env;       /* changed with all locks held */
    MDB_dbi              dbi;
    unsigned             env_flags, readers;
    uint64_t             map_bytes;      /* changed with all locks held */
    uint64_t             reserved_bytes; /* blocks are there up to here; inside a write transaction, and atomic for tools
                                         * that do not see LMDB's lock */
    struct ticker       *ticker;
    bool                 failed;         /* atomic: no more writes */
    pthread_mutex_t      sentence_lock;
    char                 sentence[FAIL_BYTES_MAX];
};

static struct lmdb_store *store_of(struct kv_session *session)
{
    return (struct lmdb_store *)session->store;
}

static struct lmdb_session *session_of(struct kv_session *session)
{
    return (struct lmdb_session *)session;
}

/* Failures. */

/* What LMDB's code means for the caller.  Its own codes are negative; positive ones are errno's. */
static kv_status translate(const struct lmdb_store *store, int code, const char *what)
{
    switch (code) {
    case MDB_SUCCESS:
        return KV_OK;
    case MDB_NOTFOUND:
        return KV_NOT_FOUND;
    case MDB_PAGE_NOTFOUND:
    case MDB_CORRUPTED:
    case MDB_INVALID:
        return kv_fail(KV_CORRUPT, "%s/" DATA ": %s: %s", store->dir.path, what, mdb_strerror(code));
    case MDB_VERSION_MISMATCH:
        return kv_fail(KV_MISMATCH, "%s/" DATA ": %s: %s", store->dir.path, what, mdb_strerror(code));
    case MDB_TXN_FULL:
        return kv_fail(KV_TOO_LARGE, "%s: more changed pages than one transaction of LMDB holds", what);
    case MDB_READERS_FULL:
        return kv_fail(KV_INVALID, "more sessions than LMDB's table of readers has slots: raise lmdb.readers (%u)", store->readers);
    default:
        if (code > 0) {
            errno = code;
            return kv_fail_errno("%s of %s/" DATA, what, store->dir.path);
        }
        return kv_fail(KV_IO, "%s of %s/" DATA ": %s", what, store->dir.path, mdb_strerror(code));
    }
}

/* KV_IO ends all writing, and the first sentence stays. */
static kv_status note_failure(struct lmdb_store *store, kv_status status)
{
    if (status != KV_IO)
        return status;
    pthread_mutex_lock(&store->sentence_lock);
    if (!store->failed) {
        memcpy(store->sentence, fail_text(), FAIL_BYTES_MAX);
        __atomic_store_n(&store->failed, true, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&store->sentence_lock);
    return status;
}

static kv_status refuse_failed(struct lmdb_store *store)
{
    pthread_mutex_lock(&store->sentence_lock);
    fail_set("%s", store->sentence);
    pthread_mutex_unlock(&store->sentence_lock);
    return KV_IO;
}

static kv_status check_writable(struct lmdb_store *store)
{
    return __atomic_load_n(&store->failed, __ATOMIC_ACQUIRE) ? refuse_failed(store) : KV_OK;
}

/* The environment. */

static kv_status data_path(const struct lmdb_store *store, const char *name, char out[4096])
{
    return snprintf(out, 4096, "%s/%s", store->dir.path, name) < 4096
               ? KV_OK : kv_fail(KV_INVALID, "the path %s is too long", store->dir.path);
}

/* Opens env at path; NULL again after a failure, as LMDB wants it. */
static kv_status open_env(struct lmdb_store *store, const char *path, unsigned flags, MDB_env **out)
{
    int code = mdb_env_create(out);

    if (code == 0)
        code = mdb_env_set_mapsize(*out, store->map_bytes);
    if (code == 0)
        code = mdb_env_set_maxreaders(*out, store->readers);
    if (code == 0)
        code = mdb_env_open(*out, path, flags, 0644);
    if (code != 0 && *out) {
        mdb_env_close(*out);
        *out = NULL;
    }
    return translate(store, code, "open");
}

/* The two meta pages of a new file reach the disk before its name does: half of them would be no file of LMDB's. */
static kv_status create_data(struct lmdb_store *store)
{
    char        path[4096];
    struct file data;
    MDB_env    *env;
    kv_status   status;

    TRY(data_path(store, DATA_NEW, path));
    TRY(open_env(store, path, MDB_NOSUBDIR | MDB_NOLOCK, &env));
    mdb_env_close(env);
    TRY(file_open(&data, store->dir.path, DATA_NEW, O_RDWR));
    status = file_sync(&data);
    file_close(&data);
    TRY(status);
    TRY(file_rename(store->dir.path, DATA_NEW, DATA));
    return file_sync_dir(store->dir.path);
}

/* How many pages from `first` on are free. */
static int count_free(MDB_txn *txn, size_t first, size_t *out)
{
    MDB_cursor *cursor;
    MDB_val     key, data;
    int         code = mdb_cursor_open(txn, FREE_DBI, &cursor);

    *out = 0;
    if (code != 0)
        return code;
    while ((code = mdb_cursor_get(cursor, &key, &data, MDB_NEXT)) == 0) {
        size_t page, count = data.mv_size / sizeof page; /* a count, then the numbers */
        for (size_t i = 1; i < count; i++) {
            memcpy(&page, (const char *)data.mv_data + i * sizeof page, sizeof page);
            *out += page >= first;
        }
    }
    mdb_cursor_close(cursor);
    return code == MDB_NOTFOUND ? 0 : code;
}

/* Reading behind the end of a mapped file is SIGBUS, so a file that was cut off is found before.  Pages at the end that are
 * free may never have been written. */
static kv_status check_length(struct lmdb_store *store, MDB_txn *txn, uint64_t file_bytes)
{
    mdb_filehandle_t fd;
    MDB_envinfo      info;
    MDB_stat         stat;
    size_t           there, missing, unused = 0;
    int              code;

    mdb_env_get_fd(store->env, &fd);
    mdb_env_info(store->env, &info);
    mdb_env_stat(store->env, &stat);
    there = file_bytes / stat.ms_psize;
    if (there > info.me_last_pgno)
        return KV_OK;
    missing = info.me_last_pgno + 1 - there;
    if (!(store->env_flags & MDB_WRITEMAP) && ftruncate(fd, (off_t)((info.me_last_pgno + 1) * stat.ms_psize)) != 0)
        return kv_fail_errno("make %s/" DATA " longer", store->dir.path); /* the list may be among what is missing */
    code = count_free(txn, there, &unused);
    if (code == 0 && unused == missing)
        return KV_OK;
    if (ftruncate(fd, (off_t)file_bytes) != 0) /* as it was, for who looks next */
        return kv_fail_errno("cut %s/" DATA " as it was", store->dir.path);
    return kv_fail(KV_CORRUPT, "%s/" DATA ": ends at offset %" PRIu64 ", but has %zu pages, of which the missing are in use",
                   store->dir.path, file_bytes, info.me_last_pgno + 1);
}

static bool syncs(const struct lmdb_store *store)
{
    return !(store->env_flags & MDB_NOSYNC);
}

/* A longer file (writemap) is so after power loss too, before anything in it counts. */
static kv_status sync_length(struct lmdb_store *store)
{
    mdb_filehandle_t fd;

    __atomic_store_n(&store->reserved_bytes, 0, __ATOMIC_RELAXED);
    if (!(store->env_flags & MDB_WRITEMAP) || !syncs(store))
        return KV_OK;
    mdb_env_get_fd(store->env, &fd);
    return fsync(fd) == 0 ? KV_OK : kv_fail_errno("sync of %s/" DATA, store->dir.path);
}

/* Opens data.mdb, which is there.  What is served from here on is durable, whatever tier wrote it. */
static kv_status open_data(struct lmdb_store *store)
{
    MDB_envinfo info;
    MDB_txn    *txn;
    struct stat about;
    char        path[4096];
    kv_status   status;

    TRY(data_path(store, DATA, path));
    if (stat(path, &about) != 0) /* before LMDB makes it longer */
        return kv_fail_errno("look for %s", path);
    if (about.st_size == 0) /* LMDB would take it for a new one */
        return kv_fail(KV_CORRUPT, "%s is empty: it was cut to 0 bytes", path);
    TRY(open_env(store, store->dir.path, store->env_flags, &store->env));
    TRY(translate(store, mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn), "begin"));
    status = check_length(store, txn, (uint64_t)about.st_size);
    if (status == KV_OK)
        status = translate(store, mdb_dbi_open(txn, NULL, 0, &store->dbi), "open the table");
    if (status == KV_OK)
        status = translate(store, mdb_txn_commit(txn), "open the table");
    else
        mdb_txn_abort(txn);
    TRY(status);
    mdb_env_info(store->env, &info);
    store->map_bytes = info.me_mapsize; /* more than was asked for, when the file is longer */
    TRY(sync_length(store));
    return syncs(store) ? translate(store, mdb_env_sync(store->env, 1), "sync") : KV_OK;
}

/* With all locks held.  Gives up what a session has of the environment. */
static void detach(struct lmdb_session *session)
{
    if (session->cursor)
        mdb_cursor_close(session->cursor);
    if (session->txn)
        mdb_txn_abort(session->txn);
    session->cursor = NULL;
    session->txn = NULL;
}

static kv_status attach(struct lmdb_store *store, struct lmdb_session *session)
{
    TRY(translate(store, mdb_txn_begin(store->env, NULL, MDB_RDONLY, &session->txn), "begin"));
    mdb_txn_reset(session->txn);
    return KV_OK;
}

/* With all locks held: the environment is no more, and neither reads nor writes are. */
static kv_status lose_env(struct lmdb_store *store, kv_status status)
{
    note_failure(store, KV_IO);
    for (struct lmdb_session *session = store->sessions; session; session = session->next)
        detach(session);
    if (store->env)
        mdb_env_close(store->env);
    store->env = NULL;
    return status;
}

/* Waits until no session is in a call and lets none in.  The caller is in none. */
static void stop_sessions(struct lmdb_store *store)
{
    pthread_mutex_lock(&store->lock);
    for (struct lmdb_session *session = store->sessions; session; session = session->next)
        pthread_mutex_lock(&session->lock);
}

static void let_sessions_go(struct lmdb_store *store)
{
    for (struct lmdb_session *session = store->sessions; session; session = session->next)
        pthread_mutex_unlock(&session->lock);
    pthread_mutex_unlock(&store->lock);
}

/* With all locks held: gives the environment up, and opens what is data.mdb by now. */
static void close_env(struct lmdb_store *store)
{
    for (struct lmdb_session *session = store->sessions; session; session = session->next)
        detach(session);
    mdb_env_close(store->env);
    store->env = NULL;
}

static kv_status reopen_env(struct lmdb_store *store)
{
    kv_status status = open_data(store);

    for (struct lmdb_session *session = store->sessions; session && status == KV_OK; session = session->next)
        status = attach(store, session);
    return status == KV_OK ? status : lose_env(store, status);
}

/* Doubles the map, unless somebody did since it was full_bytes. */
static kv_status grow_map(struct lmdb_store *store, uint64_t full_bytes)
{
    kv_status status = KV_OK;

    stop_sessions(store);
    if (store->env && store->map_bytes == full_bytes) {
        int code = mdb_env_set_mapsize(store->env, full_bytes * 2);
        if (code == 0) {
            store->map_bytes = full_bytes * 2;
            status = note_failure(store, sync_length(store));
        } else { /* the old map is gone by then, and LMDB makes no other in this environment */
            close_env(store);
            status = reopen_env(store);
            if (status == KV_OK)
                status = translate(store, code, "grow the map");
        }
    }
    let_sessions_go(store);
    return status;
}

/* Reading. */

static kv_status begin_read(struct lmdb_session *session)
{
    struct lmdb_store *store = store_of(&session->base);

    pthread_mutex_lock(&session->lock);
    if (!session->txn)
        return refuse_failed(store);
    return translate(store, mdb_txn_renew(session->txn), "begin");
}

static void end_read(struct lmdb_session *session, kv_status began)
{
    if (began == KV_OK)
        mdb_txn_reset(session->txn);
    pthread_mutex_unlock(&session->lock);
}

static MDB_val val_of(slice bytes)
{
    return (MDB_val){bytes.size, (void *)bytes.data}; /* LMDB does not write through it */
}

static kv_status lmdb_get(struct kv_session *base, slice key, kv_visit *visit, void *arg)
{
    struct lmdb_session *session = session_of(base);
    struct lmdb_store   *store = store_of(base);
    MDB_val              name = val_of(key), value;
    kv_status            began = begin_read(session), status = began;

    if (status == KV_OK) {
        status = translate(store, mdb_get(session->txn, store->dbi, &name, &value), "get");
        if (status == KV_OK)
            visit(arg, key, slice_of(value.mv_data, value.mv_size));
    }
    end_read(session, began);
    return status;
}

static kv_status lmdb_get_many(struct kv_session *base, const slice *keys, size_t count, kv_visit_many *visit, void *arg)
{
    struct lmdb_session *session = session_of(base);
    struct lmdb_store   *store = store_of(base);
    kv_status            began = begin_read(session);

    for (size_t i = 0; i < count && began == KV_OK; i++) {
        MDB_val   name = val_of(keys[i]), value = {0};
        kv_status status = translate(store, mdb_get(session->txn, store->dbi, &name, &value), "get");
        visit(arg, i, status, slice_of(value.mv_data, value.mv_size));
    }
    end_read(session, began);
    return began;
}

/* Inside a read transaction. */
static kv_status renew_cursor(struct lmdb_session *session)
{
    struct lmdb_store *store = store_of(&session->base);

    if (session->cursor)
        return translate(store, mdb_cursor_renew(session->txn, session->cursor), "scan");
    return translate(store, mdb_cursor_open(session->txn, store->dbi, &session->cursor), "scan");
}

static kv_status lmdb_scan(struct kv_session *base, slice first, kv_visit *visit, void *arg)
{
    struct lmdb_session *session = session_of(base);
    MDB_val              key = val_of(first), value;
    kv_status            began = begin_read(session), status = began;
    int                  code = 0;

    if (status == KV_OK)
        status = renew_cursor(session);
    if (status == KV_OK) {
        code = mdb_cursor_get(session->cursor, &key, &value, first.size ? MDB_SET_RANGE : MDB_FIRST);
        while (code == 0 && visit(arg, slice_of(key.mv_data, key.mv_size), slice_of(value.mv_data, value.mv_size)))
            code = mdb_cursor_get(session->cursor, &key, &value, MDB_NEXT);
        status = code == MDB_NOTFOUND ? KV_OK : translate(store_of(base), code, "scan");
    }
    end_read(session, began);
    return status;
}

static kv_status stream(struct lmdb_session *session, struct snapshot_writer *writer)
{
    MDB_val key, value;
    int     code;

    TRY(renew_cursor(session));
    for (code = mdb_cursor_get(session->cursor, &key, &value, MDB_FIRST); code == 0;
         code = mdb_cursor_get(session->cursor, &key, &value, MDB_NEXT)) {
        TRY(snapshot_writer_add(writer, slice_of(key.mv_data, key.mv_size), slice_of(value.mv_data, value.mv_size)));
        TRY(snapshot_writer_flush(writer));
    }
    return code == MDB_NOTFOUND ? snapshot_writer_end(writer) : translate(store_of(&session->base), code, "snapshot");
}

static kv_status lmdb_snapshot(struct kv_session *base, int fd)
{
    struct lmdb_session   *session = session_of(base);
    struct snapshot_writer writer;
    kv_status              status = snapshot_writer_open(&writer, fd), began;

    if (status == KV_OK) {
        status = began = begin_read(session);
        if (status == KV_OK)
            status = stream(session, &writer);
        end_read(session, began);
    }
    snapshot_writer_free(&writer);
    return status;
}

/* Writing. */

struct change {
    const struct kv_write *writes;
    size_t                 count;
    slice                  key;    /* of modify, with count 0 */
    kv_change             *modify;
    void                  *arg;
};

/* The pages that a change may need, generously: what is new at a fifth of its place, a copy of each page on the way, and the
 * list of pages that come free. */
static uint64_t pages_for(const struct change *change, const MDB_stat *stat, size_t modified_bytes)
{
    uint64_t bytes = modified_bytes, count = change->count ? change->count : 1;
    uint64_t tree = stat->ms_branch_pages + stat->ms_leaf_pages, touched = count * (stat->ms_depth + 1);

    for (size_t i = 0; i < change->count; i++)
        if (change->writes[i].kind == KV_PUT)
            bytes += change->writes[i].value.size + change->writes[i].key.size + ENTRY_BYTES;
    touched = touched < tree ? touched : tree;
    return bytes / stat->ms_psize * 5 + touched + touched / 128 + SLACK_PAGES;
}

static int allocate(MDB_env *env, uint64_t from, uint64_t end, bool keep_size)
{
    mdb_filehandle_t fd;

    mdb_env_get_fd(env, &fd);
    if (!keep_size)
        return posix_fallocate(fd, (off_t)from, (off_t)(end - from));
    return fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)from, (off_t)(end - from)) == 0 || errno == EOPNOTSUPP ? 0 : errno;
}

/* Blocks for what the write transaction under way may write: LMDB takes the short write of a full disk for EIO, and a store
 * into a hole would be SIGBUS. */
static kv_status reserve(struct lmdb_store *store, const struct change *change, size_t modified_bytes)
{
    bool        keep_size = !(store->env_flags & MDB_WRITEMAP);
    MDB_envinfo info;
    MDB_stat    stat;
    uint64_t    reserved = __atomic_load_n(&store->reserved_bytes, __ATOMIC_RELAXED), needed, wanted;
    int         code;

    mdb_env_info(store->env, &info);
    mdb_env_stat(store->env, &stat);
    needed = (info.me_last_pgno + 1 + pages_for(change, &stat, modified_bytes)) * stat.ms_psize;
    if (needed > store->map_bytes)
        needed = store->map_bytes; /* what is behind is MDB_MAP_FULL */
    if (needed <= reserved)
        return KV_OK;
    wanted = needed + RESERVE_BYTES < store->map_bytes ? needed + RESERVE_BYTES : store->map_bytes;
    code = allocate(store->env, reserved, wanted, keep_size);
    if (code == ENOSPC && needed < wanted)
        code = allocate(store->env, reserved, wanted = needed, keep_size);
    if (code == 0)
        __atomic_store_n(&store->reserved_bytes, wanted, __ATOMIC_RELAXED);
    return translate(store, code, "reserve blocks");
}

static int apply(struct lmdb_store *store, MDB_txn *txn, const struct change *change, bool *changed)
{
    int code = 0;

    for (size_t i = 0; i < change->count && code == 0; i++) {
        const struct kv_write *one = &change->writes[i];
        MDB_val                key = val_of(one->key), value = val_of(one->value);

        code = one->kind == KV_PUT ? mdb_put(txn, store->dbi, &key, &value, 0) : mdb_del(txn, store->dbi, &key, NULL);
        *changed |= code == 0;
        if (code == MDB_NOTFOUND && one->kind == KV_DELETE)
            code = 0;
    }
    return code;
}

/* *answer is the caller's change's; LMDB's code comes back. */
static int apply_modify(struct lmdb_session *session, MDB_txn *txn, const struct change *change, kv_status *answer)
{
    struct lmdb_store *store = store_of(&session->base);
    MDB_val            key = val_of(change->key), old, new;
    slice              was;
    int                code = mdb_get(txn, store->dbi, &key, &old);

    if (code != 0 && code != MDB_NOTFOUND)
        return code;
    was = slice_of(old.mv_data, old.mv_size);
    session->value.size = 0;
    *answer = change->modify(change->arg, code == 0 ? &was : NULL, &session->value);
    if (*answer == KV_OK && session->value.size > KV_VALUE_BYTES_MAX)
        *answer = kv_fail(KV_TOO_LARGE, "a value of %zu bytes; engine lmdb takes up to %u", session->value.size,
                          KV_VALUE_BYTES_MAX);
    if (*answer == KV_OK)
        *answer = reserve(store, change, session->value.size + change->key.size + ENTRY_BYTES);
    new = val_of(buf_slice(&session->value));
    return *answer == KV_OK ? mdb_put(txn, store->dbi, &key, &new, 0) : 0;
}

/* One write transaction, whole or not at all.  *full: there was no room in the map, of *full_bytes. */
static kv_status write_once(struct lmdb_session *session, const struct change *change, bool *full, uint64_t *full_bytes)
{
    struct lmdb_store *store = store_of(&session->base);
    MDB_txn           *txn = NULL;
    kv_status          status;
    bool               changed = change->modify;
    int                code;

    pthread_mutex_lock(&session->lock);
    *full = false;
    *full_bytes = store->map_bytes;
    status = session->txn ? check_writable(store) : refuse_failed(store);
    if (status == KV_OK && (code = mdb_txn_begin(store->env, NULL, 0, &txn)) != 0)
        status = note_failure(store, translate(store, code, "begin"));
    else if (status == KV_OK && (status = check_writable(store)) == KV_OK && /* again, now that no other writes */
             (change->modify || (status = reserve(store, change, 0)) == KV_OK)) {
        code = change->modify ? apply_modify(session, txn, change, &status) : apply(store, txn, change, &changed);
        if (code == 0 && status == KV_OK && changed) {
            code = mdb_txn_commit(txn); /* frees it also when it fails */
            txn = NULL;
        }
        *full = code == MDB_MAP_FULL;
        if (code != 0 && !*full)
            status = note_failure(store, translate(store, code, "write"));
    }
    if (txn)
        mdb_txn_abort(txn);
    pthread_mutex_unlock(&session->lock);
    return status;
}

static kv_status write_change(struct kv_session *base, const struct change *change)
{
    struct lmdb_store *store = store_of(base);
    uint64_t           full_bytes;
    bool               full;

    TRY(write_once(session_of(base), change, &full, &full_bytes));
    while (full) {
        TRY(grow_map(store, full_bytes));
        TRY(write_once(session_of(base), change, &full, &full_bytes));
    }
    return note_failure(store, ticker_wrote(store->ticker)); /* outside the session's lock: it may wait for a sync */
}

static kv_status lmdb_write(struct kv_session *session, const struct kv_write *writes, size_t count)
{
    return count ? write_change(session, &(struct change){.writes = writes, .count = count}) : KV_OK;
}

static kv_status lmdb_put(struct kv_session *session, slice key, slice value)
{
    return lmdb_write(session, &(struct kv_write){KV_PUT, key, value}, 1);
}

static kv_status lmdb_del(struct kv_session *session, slice key)
{
    return lmdb_write(session, &(struct kv_write){.kind = KV_DELETE, .key = key}, 1);
}

static kv_status lmdb_modify(struct kv_session *session, slice key, kv_change *change, void *arg)
{
    return write_change(session, &(struct change){.key = key, .modify = change, .arg = arg});
}

static kv_status lmdb_sync(struct kv_session *base)
{
    struct lmdb_session *session = session_of(base);
    struct lmdb_store   *store = store_of(base);
    kv_status            status;

    pthread_mutex_lock(&session->lock); /* the map stays */
    status = session->txn ? check_writable(store) : refuse_failed(store);
    if (status == KV_OK)
        status = note_failure(store, translate(store, mdb_env_sync(store->env, 1), "sync"));
    pthread_mutex_unlock(&session->lock);
    return status;
}

/* Of the ticker. */
static kv_status sync_store(void *arg)
{
    struct lmdb_store *store = arg;
    kv_status          status;

    pthread_mutex_lock(&store->lock);
    status = store->env ? translate(store, mdb_env_sync(store->env, 1), "sync") : refuse_failed(store);
    pthread_mutex_unlock(&store->lock);
    return note_failure(store, status);
}

/* With all locks held.  The copy is whole and synced before it takes the old one's name. */
static kv_status copy_living(struct lmdb_store *store)
{
    struct file copy;
    kv_status   status;

    TRY(file_open(&copy, store->dir.path, DATA_NEW, O_RDWR | O_CREAT | O_TRUNC));
    status = translate(store, mdb_env_copyfd2(store->env, copy.fd, MDB_CP_COMPACT), "copy");
    if (status == KV_OK)
        status = file_sync(&copy);
    if (status != KV_OK)
        unlink(copy.path); /* else the next open does */
    file_close(&copy);
    return status;
}

static kv_status swap_data(struct lmdb_store *store)
{
    kv_status status;

    close_env(store);
    status = file_rename(store->dir.path, DATA_NEW, DATA);
    if (status == KV_OK)
        status = file_sync_dir(store->dir.path);
    return status == KV_OK ? reopen_env(store) : lose_env(store, status);
}

static kv_status lmdb_compact(struct kv_session *base)
{
    struct lmdb_store *store = store_of(base);
    kv_status          status;

    stop_sessions(store);
    status = check_writable(store);
    if (status == KV_OK)
        status = copy_living(store);
    if (status == KV_OK)
        status = swap_data(store);
    let_sessions_go(store);
    return status;
}

/* Opening. */

static kv_status lmdb_close(struct kv_store *base)
{
    struct lmdb_store *store = (struct lmdb_store *)base;
    kv_status          status = KV_OK;

    ticker_stop(store->ticker);
    if (store->env && syncs(store) && !store->failed)
        status = translate(store, mdb_env_sync(store->env, 1), "sync");
    if (store->env)
        mdb_env_close(store->env);
    storedir_close(&store->dir);
    pthread_mutex_destroy(&store->lock);
    pthread_mutex_destroy(&store->sentence_lock);
    free(store);
    return status;
}

static unsigned flags_for(const struct kv_config *config)
{
    unsigned flags = MDB_NOTLS;

    if (config->durability.tier == KV_TIER_PROCESS)
        flags |= MDB_NOSYNC;
    else if (config->durability.tier != KV_TIER_COMMIT)
        flags |= MDB_NOMETASYNC;
    return flags | (config->option[OPTION_WRITEMAP].u64 ? MDB_WRITEMAP : 0) |
           (config->option[OPTION_READAHEAD].u64 ? 0 : MDB_NORDAHEAD) | (config->option[OPTION_MEMINIT].u64 ? 0 : MDB_NOMEMINIT);
}

static kv_status open_store(struct lmdb_store *store, const struct kv_config *config)
{
    static const struct storedir_kind kind = {.engine = "lmdb", .format = 1};
    char                              path[4096];
    bool                              made;

    TRY(storedir_open(&store->dir, config->dir, &kind));
    TRY(file_unlink(store->dir.path, DATA_NEW));
    TRY(data_path(store, DATA, path));
    made = storedir_is_made(&store->dir);
    if (made)
        TRY(storedir_refuse_lost(&store->dir, DATA, false));
    else if (access(path, F_OK) != 0)
        TRY(create_data(store));
    TRY(open_data(store));
    if (!made)
        TRY(storedir_set_made(&store->dir));
    if (config->durability.tier == KV_TIER_INTERVAL &&
        !(store->ticker = ticker_start(config->durability.interval_ns, sync_store, store)))
        return KV_NO_MEMORY;
    return KV_OK;
}

static kv_status lmdb_open(const struct kv_config *config, struct kv_store **out)
{
    struct lmdb_store *store = calloc(1, sizeof *store);
    uint64_t           page = (uint64_t)sysconf(_SC_PAGESIZE);
    kv_status          status;

    if (!store)
        return kv_fail(KV_NO_MEMORY, "no memory for a store");
    pthread_mutex_init(&store->lock, NULL);
    pthread_mutex_init(&store->sentence_lock, NULL);
    store->dir.lock = FILE_CLOSED;
    store->env_flags = flags_for(config);
    store->readers = (unsigned)config->option[OPTION_READERS].u64;
    store->map_bytes = (config->option[OPTION_MAP_BYTES].u64 + page - 1) / page * page;
    if ((status = open_store(store, config)) == KV_OK)
        *out = &store->base;
    else
        (void)lmdb_close(&store->base);
    return status;
}

static kv_status lmdb_session_open(struct kv_store *base, struct kv_session **out)
{
    struct lmdb_store   *store = (struct lmdb_store *)base;
    struct lmdb_session *session = calloc(1, sizeof *session);
    kv_status            status;

    if (!session)
        return kv_fail(KV_NO_MEMORY, "no memory for a session");
    pthread_mutex_init(&session->lock, NULL);
    pthread_mutex_lock(&store->lock);
    status = store->env ? attach(store, session) : refuse_failed(store);
    if (status == KV_OK) {
        session->next = store->sessions;
        store->sessions = session;
        *out = &session->base;
    }
    pthread_mutex_unlock(&store->lock);
    if (status != KV_OK) {
        pthread_mutex_destroy(&session->lock);
        free(session);
    }
    return status;
}

static void lmdb_session_close(struct kv_session *base)
{
    struct lmdb_session *session = session_of(base), **link;
    struct lmdb_store   *store = store_of(base);

    pthread_mutex_lock(&store->lock);
    for (link = &store->sessions; *link != session; link = &(*link)->next)
        ;
    *link = session->next;
    detach(session);
    pthread_mutex_unlock(&store->lock);
    pthread_mutex_destroy(&session->lock);
    buf_free(&session->value);
    free(session);
}

static void lmdb_stats(struct kv_store *base, kv_figure *figure, void *arg)
{
    struct lmdb_store *store = (struct lmdb_store *)base;
    mdb_filehandle_t   fd;
    MDB_envinfo        info;
    MDB_stat           tree;
    struct stat        about;
    bool               known = false;

    pthread_mutex_lock(&store->lock);
    if (store->env) {
        mdb_env_get_fd(store->env, &fd);
        known = mdb_env_info(store->env, &info) == 0 && mdb_env_stat(store->env, &tree) == 0 && fstat(fd, &about) == 0;
    }
    pthread_mutex_unlock(&store->lock);
    if (!known)
        return;
    figure(arg, "live_keys", tree.ms_entries);
    figure(arg, "disk_bytes", (uint64_t)about.st_blocks * 512);
    figure(arg, "debt_bytes", 0);
    figure(arg, "map_bytes", info.me_mapsize);
    figure(arg, "used_bytes", (info.me_last_pgno + 1) * tree.ms_psize);
    figure(arg, "tree_depth", tree.ms_depth);
}

static void lmdb_settings(struct kv_store *base, kv_setting *setting, void *arg)
{
    static const struct { unsigned flag; const char *name; } flags[] = {
        {MDB_NOSYNC, "MDB_NOSYNC"}, {MDB_NOMETASYNC, "MDB_NOMETASYNC"}, {MDB_WRITEMAP, "MDB_WRITEMAP"},
        {MDB_NOTLS, "MDB_NOTLS"}, {MDB_NORDAHEAD, "MDB_NORDAHEAD"}, {MDB_NOMEMINIT, "MDB_NOMEMINIT"},
    };
    struct lmdb_store *store = (struct lmdb_store *)base;
    MDB_envinfo        info = {0};
    MDB_stat           tree = {0};
    unsigned           set = 0;
    char               text[160] = "";
    int                major, minor, patch;

    pthread_mutex_lock(&store->lock);
    if (store->env) {
        mdb_env_get_flags(store->env, &set);
        mdb_env_info(store->env, &info);
        mdb_env_stat(store->env, &tree);
    }
    pthread_mutex_unlock(&store->lock);
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++)
        if (set & flags[i].flag)
            snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", *text ? "|" : "", flags[i].name);
    setting(arg, "flags", text);
    snprintf(text, sizeof text, "%zu", info.me_mapsize);
    setting(arg, "mapsize", text);
    snprintf(text, sizeof text, "%u", info.me_maxreaders);
    setting(arg, "maxreaders", text);
    snprintf(text, sizeof text, "%u", tree.ms_psize);
    setting(arg, "page_size", text);
    mdb_version(&major, &minor, &patch);
    snprintf(text, sizeof text, "%d.%d.%d", major, minor, patch);
    setting(arg, "library", text);
}

static const struct kv_option lmdb_options[] = {
    [OPTION_MAP_BYTES] = {"map_bytes", KV_BYTES, "64G", 1 << 20, 1ull << 45,
                          "size of the memory map at open; it doubles when it is full", NULL, .small = "1M"},
    [OPTION_WRITEMAP]  = {"writemap", KV_BOOL, "false", 0, 0,
                          "MDB_WRITEMAP: store pages into the map, instead of writing them", NULL},
    [OPTION_READAHEAD] = {"readahead", KV_BOOL, "true", 0, 0,
                          "without: MDB_NORDAHEAD, for stores larger than memory", NULL},
    [OPTION_MEMINIT]   = {"meminit", KV_BOOL, "true", 0, 0,
                          "without: MDB_NOMEMINIT, unused bytes of a page are what memory had", NULL},
    [OPTION_READERS]   = {"readers", KV_COUNT, "1024", 1, 1 << 20,
                          "slots in the table of readers: how many sessions there may be", NULL},
    {0},
};

static const struct kv_engine lmdb_engine = {
    .abi             = KV_ABI,
    .name            = "lmdb",
    .version         = WORDS(MDB_VERSION_MAJOR) "." WORDS(MDB_VERSION_MINOR) "." WORDS(MDB_VERSION_PATCH),
    .summary         = "LMDB: copy-on-write B+tree in a memory map, many readers, one writer",
    .licence         = "OLDAP-2.8",
    .can             = KV_DURABLE | KV_SCAN | KV_ORDERED | KV_BATCH | KV_SNAPSHOT | KV_MODIFY | KV_SESSIONS | KV_COMPACT |
                       KV_RETAINS,
    .tiers           = KV_TIER_BIT(KV_TIER_PROCESS) | KV_TIER_BIT(KV_TIER_ORDERED) | KV_TIER_BIT(KV_TIER_INTERVAL) |
                       KV_TIER_BIT(KV_TIER_COMMIT),
    .key_bytes_max   = 511,
    .value_bytes_max = KV_VALUE_BYTES_MAX,
    .options         = lmdb_options,
    .open            = lmdb_open,
    .close           = lmdb_close,
    .session_open    = lmdb_session_open,
    .session_close   = lmdb_session_close,
    .put             = lmdb_put,
    .get             = lmdb_get,
    .del             = lmdb_del,
    .get_many        = lmdb_get_many,
    .modify          = lmdb_modify,
    .write           = lmdb_write,
    .scan            = lmdb_scan,
    .sync            = lmdb_sync,
    .snapshot        = lmdb_snapshot,
    .compact         = lmdb_compact,
    .stats           = lmdb_stats,
    .settings        = lmdb_settings,
};

__attribute__((visibility("default"))) const struct kv_engine *kv_plugin(void);

const struct kv_engine *kv_plugin(void)
{
    return &lmdb_engine;
}
