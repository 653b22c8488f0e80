/*
 * sqlite.c -- SQLite: a B-tree in pages with a write-ahead log, as a table of keys and values.  Written against 3.40.
 *
 * Files       STORE, LOCK, MADE: see base/storedir.h.  store.db, store.db-wal, store.db-shm: SQLite's.  It makes an empty database
 *             where it finds none, so MADE comes when the table, the database and the names of both files are durable: a loss later
 *             is corruption.  The log stays when the store is closed, as a file of 0 bytes (SQLITE_FCNTL_PERSIST_WAL, and a
 *             journal_size_limit of 0 for that moment), and is never absent: without that a log which was lost after a kill, with
 *             all that was in it, could not be told from one that SQLite removed.  Another program that closes the database does
 *             remove it; an empty file in its place mends that.  A log that was cut to 0 bytes is not told.
 * Table       kv(key BLOB PRIMARY KEY, value BLOB) WITHOUT ROWID: one tree, found by one search.  sqlite.org/withoutrowid.html
 *             recommends it for keys that are no integers, while rows are "less than about 1/20th the size of a database
 *             page", as 16 + 100 bytes are; for larger values, rowid=true makes the table with a rowid and an index of the keys,
 *             whose tree has shorter rows.  A store keeps the form it was made with.
 * Session     A connection of its own (SQLITE_OPEN_NOMUTEX) with prepared statements; sqlite.org/wal.html: readers do not block the
 *             writer nor the writer readers.  There is one writer at a time, so sessions take turns by a mutex, and the busy
 *             handler waits for what is left (a checkpoint that wants readers gone): SQLITE_BUSY reaches a caller after a minute.
 *             get_many, scan and snapshot are one read transaction each; a batch and a modify are one BEGIN IMMEDIATE.
 * Cache       cache_bytes (the same for all engines, unless set) is shared out evenly among the open sessions.
 *
 * Durability  PRAGMA journal_mode=WAL; sqlite.org/pragma.html#pragma_synchronous says of synchronous:
 *   none      refused: nothing in SQLite is weaker than `process`, and of `process` nothing is a prefix after power loss.
 *   process   OFF: "continues without syncing as soon as it has handed data off to the operating system"; if the power is lost
 *             "the database might become corrupted".
 *   ordered   NORMAL: "WAL mode is always consistent with synchronous=NORMAL, but WAL mode does lose durability.  A transaction
 *             committed in WAL mode with synchronous=NORMAL might roll back following a power loss".  What is left is a
 *             prefix: each frame's checksum goes on from the one before, and a checkpoint syncs the log before it touches the
 *             tree, and the tree before the log begins again.
 *   interval  as ordered; base/ticker.h syncs the log.
 *   commit    FULL: the log is synced after each commit.
 *   sync is a real sync of the log (xSync of SQLITE_FCNTL_JOURNAL_POINTER's file), then of the tree's file: whatever
 *   was acknowledged is in one of them, and a checkpoint between the two only moves from the first to the second.  A
 *   passive checkpoint would not do: it leaves out the sync without a word when a reader stands in its way.
 *   Checkpoints are passive and run in the commit that makes the log longer than wal_autocheckpoint pages, as SQLite's own
 *   do; but through a hook of ours, because SQLite drops their errors.  After an I/O error no checkpoint runs, also at close.
 *
 * Crash runs  Every tier held: 438 kills, and with power lost, in each of `ordered`, `interval` and `commit`, 376 to 1360 states under
 *             drop-unsynced, 450 to 564 under ext4, 450 to 720 under posix-minimal (one `interval` of 10 ms was 154 ms long, on a
 *             machine with 20 runnable threads for 2 processors: no thread of the store had run in between).
 *             `process` promises nothing after a power loss: of 480 states under drop-unsynced 16 were corrupt.
 * Damage      Frames of the log have checksums; a damaged one ends the log without a word, committed ones behind it included
 *             (sqlite.org/fileformat2.html#walformat).  Pages of the tree have none: SQLite answers what their structure gives
 *             away (KV_CORRUPT, no offset is told).  A flipped byte within a value is handed up, and only values that carry a
 *             checksum of their own, as the harness's do, tell.
 * Limits      Values up to the contract's 256 MiB.  While one reader goes on and on the log cannot begin again, and grows.
 * compact     VACUUM, then a checkpoint that cuts the log (SQLITE_CHECKPOINT_TRUNCATE) if readers leave it within a second.
 *             It needs twice the space meanwhile.
 * Defaults    SQLite's own (page_size 4096, no mmap, checkpoint at 1000 pages), but for the cache; and SQLITE_CONFIG_MEMSTATUS is
 *             off, as sqlite.org/compile.html recommends.
 * Figures     disk_bytes, debt_bytes (always 0: checkpoints are on the caller's path), wal_bytes.
 */
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "engines/base/file.h"
#include "engines/base/snapshot.h"
#include "engines/base/storedir.h"
#include "engines/base/ticker.h"
#include "engines/engine.h"

#define DATA          "store.db"
#define LOG           "store.db-wal"
#define PATH_BYTES    4096
#define BUSY_TURNS    60000 /* of a millisecond */

enum { OPTION_CACHE_BYTES, OPTION_PAGE_SIZE, OPTION_MMAP_SIZE, OPTION_WAL_AUTOCHECKPOINT, OPTION_ROWID };

enum statement { GET, PUT, DEL, SCAN, SCAN_ALL, BEGIN_READ, BEGIN_WRITE, COMMIT, ROLLBACK, STATEMENTS };

static const char *const statement_text[STATEMENTS] = {
    [GET]         = "SELECT value FROM kv WHERE key = ?1",
    [PUT]         = "REPLACE INTO kv(key, value) VALUES(?1, ?2)",
    [DEL]         = "DELETE FROM kv WHERE key = ?1",
    [SCAN]        = "SELECT key, value FROM kv WHERE key >= ?1 ORDER BY key",
    [SCAN_ALL]    = "SELECT key, value FROM kv ORDER BY key",
    [BEGIN_READ]  = "BEGIN",
    [BEGIN_WRITE] = "BEGIN IMMEDIATE",
    [COMMIT]      = "COMMIT",
    [ROLLBACK]    = "ROLLBACK",
};

struct sqlite_session {
    struct kv_session base;
    sqlite3          *db;
    sqlite3_stmt     *statement[STATEMENTS];
    uint32_t          sharers; /* among how many the cache was divided when this connection got its part */
    struct buf        value;   /* of modify */
};

struct sqlite_store {
    struct kv_store  base;
    struct storedir  dir;
    char             path[PATH_BYTES];
    uint64_t         cache_bytes, mmap_bytes, checkpoint_pages;
    const char      *synchronous;
    uint32_t         sessions; /* atomic */
    struct kv_session *keeper; /* the store's own connection: while it is open, the log is; the ticker syncs through it */
    struct ticker   *ticker;
    pthread_mutex_t  write_lock; /* one writer at a time */
    bool             failed;     /* atomic: no more writes */
    char             sentence[FAIL_BYTES_MAX];
    pthread_mutex_t  sentence_lock;
};

static struct sqlite_store *store_of(struct kv_session *session)
{
    return (struct sqlite_store *)session->store;
}

static struct sqlite_session *session_of(struct kv_session *session)
{
    return (struct sqlite_session *)session;
}

/* Failures. */

/* What SQLite's code means for the caller. */
static kv_status translate(const struct sqlite_store *store, sqlite3 *db, int code, const char *what)
{
    const char *text = db ? sqlite3_errmsg(db) : sqlite3_errstr(code);
    kv_status   status = KV_IO;

    switch (code & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return KV_OK;
    case SQLITE_FULL:
        status = KV_NO_SPACE;
        break;
    case SQLITE_NOMEM:
        status = KV_NO_MEMORY;
        break;
    case SQLITE_TOOBIG:
        status = KV_TOO_LARGE;
        break;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        status = KV_BUSY;
        break;
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
    case SQLITE_SCHEMA: /* the table is another one */
    case SQLITE_ERROR:
        status = KV_CORRUPT;
        break;
    }
    return kv_fail(status, "%s of %s: %s (%s)", what, store->path, text, sqlite3_errstr(code));
}

/* KV_IO ends all writing, and the first sentence stays. */
static kv_status note_failure(struct sqlite_store *store, kv_status status)
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

static bool has_failed(const struct sqlite_store *store)
{
    return __atomic_load_n(&store->failed, __ATOMIC_ACQUIRE);
}

static kv_status check_writable(struct sqlite_store *store)
{
    if (!has_failed(store))
        return KV_OK;
    pthread_mutex_lock(&store->sentence_lock);
    fail_set("%s", store->sentence);
    pthread_mutex_unlock(&store->sentence_lock);
    return KV_IO;
}

/* Connections. */

/* Nobody but this process's own readers and checkpoints can be in the way, and they end. */
static int wait_when_busy(void *unused, int turn)
{
    (void)unused;
    nanosleep(&(struct timespec){.tv_nsec = turn < 20 ? 50000 : 1000000}, NULL);
    return turn < BUSY_TURNS;
}

/* After a commit, on its thread: the log has so many pages. */
static int checkpoint_when_due(void *arg, sqlite3 *db, const char *name, int pages)
{
    struct sqlite_store *store = arg;

    if ((uint64_t)pages >= store->checkpoint_pages && !has_failed(store)) {
        int code = sqlite3_wal_checkpoint_v2(db, name, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
        if ((code & 0xff) == SQLITE_IOERR || (code & 0xff) == SQLITE_CORRUPT)
            note_failure(store, kv_fail(KV_IO, "checkpoint of %s: %s", store->path, sqlite3_errmsg(db)));
    }
    return SQLITE_OK; /* what was committed is committed; a full disk lets the log go on for a while */
}

static kv_status run(struct sqlite_store *store, sqlite3 *db, const char *sql)
{
    return translate(store, db, sqlite3_exec(db, sql, NULL, NULL, NULL), sql);
}

__attribute__((format(printf, 3, 4)))
static kv_status runf(struct sqlite_store *store, sqlite3 *db, const char *format, ...)
{
    char    sql[160];
    va_list args;

    va_start(args, format);
    vsnprintf(sql, sizeof sql, format, args);
    va_end(args);
    return run(store, db, sql);
}

/* The first column of the first row, as text; NULL on any failure.  The caller frees it by sqlite3_free. */
static char *ask(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement = NULL;
    char         *answer = NULL;

    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW)
        answer = sqlite3_mprintf("%s", (const char *)sqlite3_column_text(statement, 0));
    sqlite3_finalize(statement);
    return answer;
}

/* A connection's part of the cache follows the number of sessions. */
static kv_status share_cache(struct sqlite_session *session)
{
    struct sqlite_store *store = store_of(&session->base);
    uint32_t             sharers = __atomic_load_n(&store->sessions, __ATOMIC_RELAXED);

    if (session->sharers == sharers)
        return KV_OK;
    session->sharers = sharers;
    return runf(store, session->db, "PRAGMA cache_size=-%" PRIu64, store->cache_bytes / (sharers ? sharers : 1) / 1024);
}

static kv_status connect(struct sqlite_store *store, sqlite3 **db, int flags)
{
    int code = sqlite3_open_v2(store->path, db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_PRIVATECACHE | flags,
                               NULL);

    TRY(translate(store, *db, code, "open"));
    sqlite3_extended_result_codes(*db, 1);
    sqlite3_file_control(*db, "main", SQLITE_FCNTL_PERSIST_WAL, &(int){1});
    sqlite3_busy_handler(*db, wait_when_busy, NULL);
    return KV_OK;
}

static kv_status set_up(struct sqlite_store *store, sqlite3 *db)
{
    TRY(runf(store, db, "PRAGMA synchronous=%s", store->synchronous));
    TRY(runf(store, db, "PRAGMA mmap_size=%" PRIu64, store->mmap_bytes));
    sqlite3_wal_hook(db, checkpoint_when_due, store);
    return KV_OK;
}

static void sqlite_disconnect(struct sqlite_session *session)
{
    for (int i = 0; i < STATEMENTS; i++)
        sqlite3_finalize(session->statement[i]);
    /* Else the last one to close would sync again what a sync has failed for, and copy it. */
    if (session->db && has_failed(store_of(&session->base)))
        sqlite3_db_config(session->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    sqlite3_close(session->db);
    buf_free(&session->value);
    free(session);
}

static kv_status sqlite_connect(struct sqlite_store *store, struct sqlite_session **out)
{
    struct sqlite_session *session = calloc(1, sizeof *session);
    kv_status              status;

    if (!session)
        return kv_fail(KV_NO_MEMORY, "no memory for a session");
    session->base.store = &store->base;
    status = connect(store, &session->db, 0);
    if (status == KV_OK)
        status = set_up(store, session->db);
    for (int i = 0; i < STATEMENTS && status == KV_OK; i++)
        status = translate(store, session->db,
                           sqlite3_prepare_v3(session->db, statement_text[i], -1, SQLITE_PREPARE_PERSISTENT,
                                              &session->statement[i], NULL), statement_text[i]);
    if (status == KV_OK)
        *out = session;
    else
        sqlite_disconnect(session);
    return status;
}

/* Calls. */

/* A NULL pointer would be bound as SQL's NULL, which is no empty value. */
static int bind(sqlite3_stmt *statement, int position, slice bytes)
{
    return sqlite3_bind_blob64(statement, position, bytes.size ? bytes.data : "", bytes.size, SQLITE_STATIC);
}

static slice column(sqlite3_stmt *statement, int position)
{
    const void *bytes = sqlite3_column_blob(statement, position); /* before its size, as the manual wants it */

    return slice_of(bytes ? bytes : "", (size_t)sqlite3_column_bytes(statement, position));
}

/* A statement without rows. */
static int execute(struct sqlite_session *session, enum statement which)
{
    int code = sqlite3_step(session->statement[which]);

    sqlite3_reset(session->statement[which]);
    return code == SQLITE_DONE ? SQLITE_OK : code;
}

/* *found is lent until the statement is reset. */
static int find(struct sqlite_session *session, slice key, slice *found)
{
    int code = bind(session->statement[GET], 1, key);

    if (code == SQLITE_OK)
        code = sqlite3_step(session->statement[GET]);
    if (code == SQLITE_ROW) {
        *found = column(session->statement[GET], 0);
        if (sqlite3_errcode(session->db) == SQLITE_NOMEM)
            code = SQLITE_NOMEM;
    }
    return code;
}

static kv_status found_status(struct sqlite_session *session, int code)
{
    return code == SQLITE_DONE ? KV_NOT_FOUND : translate(store_of(&session->base), session->db, code, "get");
}

static kv_status sqlite_get(struct kv_session *base, slice key, kv_visit *visit, void *arg)
{
    struct sqlite_session *session = session_of(base);
    slice                  value;
    int                    code;
    kv_status              status;

    TRY(share_cache(session));
    code = find(session, key, &value);
    status = found_status(session, code);
    if (code == SQLITE_ROW)
        visit(arg, key, value);
    sqlite3_reset(session->statement[GET]);
    return status;
}

static kv_status end_read(struct sqlite_session *session, kv_status status)
{
    int code = execute(session, COMMIT);

    return status == KV_OK ? translate(store_of(&session->base), session->db, code, "end of a read") : status;
}

static kv_status sqlite_get_many(struct kv_session *base, const slice *keys, size_t count, kv_visit_many *visit, void *arg)
{
    struct sqlite_session *session = session_of(base);

    TRY(share_cache(session));
    TRY(translate(store_of(base), session->db, execute(session, BEGIN_READ), "begin"));
    for (size_t i = 0; i < count; i++) {
        slice value = {0};
        int   code = find(session, keys[i], &value);
        visit(arg, i, found_status(session, code), value);
        sqlite3_reset(session->statement[GET]);
    }
    return end_read(session, KV_OK);
}

static kv_status sqlite_scan(struct kv_session *base, slice first, kv_visit *visit, void *arg)
{
    struct sqlite_session *session = session_of(base);
    sqlite3_stmt          *statement = session->statement[first.size ? SCAN : SCAN_ALL];
    int                    code = SQLITE_OK;
    kv_status              status;

    TRY(share_cache(session));
    if (first.size)
        code = bind(statement, 1, first);
    while (code == SQLITE_OK && (code = sqlite3_step(statement)) == SQLITE_ROW)
        code = visit(arg, column(statement, 0), column(statement, 1)) ? SQLITE_OK : SQLITE_DONE;
    status = translate(store_of(base), session->db, code, "scan");
    sqlite3_reset(statement);
    return status;
}

static kv_status stream(struct sqlite_session *session, struct snapshot_writer *writer)
{
    sqlite3_stmt *statement = session->statement[SCAN_ALL];
    int           code;

    while ((code = sqlite3_step(statement)) == SQLITE_ROW) {
        TRY(snapshot_writer_add(writer, column(statement, 0), column(statement, 1)));
        TRY(snapshot_writer_flush(writer));
    }
    TRY(translate(store_of(&session->base), session->db, code, "snapshot"));
    return snapshot_writer_end(writer);
}

static kv_status sqlite_snapshot(struct kv_session *base, int fd)
{
    struct sqlite_session *session = session_of(base);
    struct snapshot_writer writer;
    kv_status              status = snapshot_writer_open(&writer, fd);

    if (status == KV_OK)
        status = share_cache(session);
    if (status == KV_OK)
        status = stream(session, &writer);
    sqlite3_reset(session->statement[SCAN_ALL]);
    snapshot_writer_free(&writer);
    return status;
}

/* Under the write lock, in a transaction or as one of its own. */
static int write_one(struct sqlite_session *session, const struct kv_write *one)
{
    enum statement which = one->kind == KV_PUT ? PUT : DEL;
    int            code = bind(session->statement[which], 1, one->key);

    if (code == SQLITE_OK && one->kind == KV_PUT)
        code = bind(session->statement[which], 2, one->value);
    return code == SQLITE_OK ? execute(session, which) : code;
}

/* The old value is lent to the change, and the new one written behind it. */
static int change_one(struct sqlite_session *session, slice key, kv_change *change, void *arg, kv_status *answer)
{
    slice old = {0};
    int   code = find(session, key, &old);

    session->value.size = 0;
    if (code == SQLITE_ROW || code == SQLITE_DONE)
        *answer = change(arg, code == SQLITE_ROW ? &old : NULL, &session->value);
    sqlite3_reset(session->statement[GET]);
    if (code != SQLITE_ROW && code != SQLITE_DONE)
        return code;
    if (*answer == KV_OK && session->value.size > KV_VALUE_BYTES_MAX)
        *answer = kv_fail(KV_TOO_LARGE, "a value of %zu bytes; engine sqlite takes up to %u", session->value.size,
                          KV_VALUE_BYTES_MAX);
    return *answer == KV_OK ? write_one(session, &(struct kv_write){KV_PUT, key, buf_slice(&session->value)}) : SQLITE_OK;
}

/* Lets go of the write lock; the sentence of a failure is SQLite's, so it is taken before. */
static kv_status end_write(struct sqlite_session *session, int code, kv_status answer)
{
    struct sqlite_store *store = store_of(&session->base);
    kv_status            status = code == SQLITE_OK ? answer : translate(store, session->db, code, "write");

    if (!sqlite3_get_autocommit(session->db)) { /* a failure may have ended the transaction by itself */
        char sentence[FAIL_BYTES_MAX];

        memcpy(sentence, fail_text(), sizeof sentence);
        if (execute(session, ROLLBACK) != SQLITE_OK && !sqlite3_get_autocommit(session->db) && status != KV_IO)
            status = translate(store, session->db, SQLITE_IOERR, "roll back");
        else
            fail_set("%s", sentence);
    }
    status = note_failure(store, status);
    pthread_mutex_unlock(&store->write_lock);
    return status == KV_OK ? note_failure(store, ticker_wrote(store->ticker)) : status;
}

static kv_status begin_write(struct sqlite_session *session)
{
    struct sqlite_store *store = store_of(&session->base);
    kv_status            status;

    TRY(share_cache(session));
    pthread_mutex_lock(&store->write_lock);
    status = check_writable(store);
    if (status != KV_OK)
        pthread_mutex_unlock(&store->write_lock);
    return status;
}

static kv_status sqlite_write(struct kv_session *base, const struct kv_write *writes, size_t count)
{
    struct sqlite_session *session = session_of(base);
    int                    code;

    if (count == 0)
        return KV_OK;
    TRY(begin_write(session));
    if (count == 1) /* a statement alone is a transaction */
        return end_write(session, write_one(session, writes), KV_OK);
    code = execute(session, BEGIN_WRITE);
    for (size_t i = 0; i < count && code == SQLITE_OK; i++)
        code = write_one(session, &writes[i]);
    if (code == SQLITE_OK)
        code = execute(session, COMMIT);
    return end_write(session, code, KV_OK);
}

static kv_status sqlite_put(struct kv_session *session, slice key, slice value)
{
    return sqlite_write(session, &(struct kv_write){KV_PUT, key, value}, 1);
}

static kv_status sqlite_del(struct kv_session *session, slice key)
{
    return sqlite_write(session, &(struct kv_write){.kind = KV_DELETE, .key = key}, 1);
}

static kv_status sqlite_modify(struct kv_session *base, slice key, kv_change *change, void *arg)
{
    struct sqlite_session *session = session_of(base);
    kv_status              answer = KV_OK;
    int                    code;

    TRY(begin_write(session));
    code = execute(session, BEGIN_WRITE);
    if (code == SQLITE_OK)
        code = change_one(session, key, change, arg, &answer);
    if (code == SQLITE_OK && answer == KV_OK)
        code = execute(session, COMMIT);
    return end_write(session, code, answer);
}

/* One of SQLite's files, through the connection that has it open. */
static kv_status sync_file(struct sqlite_store *store, sqlite3 *db, int which, const char *name)
{
    sqlite3_file *file = NULL;
    int           code = sqlite3_file_control(db, "main", which, &file);

    if (code == SQLITE_OK && file && file->pMethods)
        code = file->pMethods->xSync(file, SQLITE_SYNC_NORMAL | SQLITE_SYNC_DATAONLY);
    else
        return kv_fail(KV_IO, "sync of %s: SQLite does not tell its file %s", store->path, name);
    return translate(store, NULL, code, "sync");
}

static kv_status sync_through(struct sqlite_store *store, struct kv_session *base)
{
    struct sqlite_session *session = session_of(base);
    kv_status              status = check_writable(store);

    if (status == KV_OK)
        status = sync_file(store, session->db, SQLITE_FCNTL_JOURNAL_POINTER, LOG);
    if (status == KV_OK)
        status = sync_file(store, session->db, SQLITE_FCNTL_FILE_POINTER, DATA);
    return note_failure(store, status);
}

static kv_status sqlite_sync(struct kv_session *base)
{
    return sync_through(store_of(base), base);
}

/* Of the ticker, whose connection nobody else uses while it runs. */
static kv_status sync_store(void *arg)
{
    struct sqlite_store *store = arg;

    return sync_through(store, store->keeper);
}

/* A log that readers never leave cannot be cut; it is not worth a minute of waiting writers, because it is written anew from its
 * start as soon as they do. */
static int wait_a_second(void *unused, int turn)
{
    return turn < 1000 ? wait_when_busy(unused, turn) : 0;
}

static kv_status cut_log(struct sqlite_store *store, sqlite3 *db)
{
    int code;

    sqlite3_busy_handler(db, wait_a_second, NULL);
    code = sqlite3_wal_checkpoint_v2(db, "main", SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    sqlite3_busy_handler(db, wait_when_busy, NULL);
    return code == SQLITE_BUSY ? KV_OK : translate(store, db, code, "checkpoint");
}

static kv_status sqlite_compact(struct kv_session *base)
{
    struct sqlite_session *session = session_of(base);
    struct sqlite_store   *store = store_of(base);
    kv_status              status;

    TRY(begin_write(session));
    status = run(store, session->db, "VACUUM");
    if (status == KV_OK)
        status = cut_log(store, session->db);
    status = note_failure(store, status);
    pthread_mutex_unlock(&store->write_lock);
    return status;
}

/* Opening. */

static const char *synchronous_of(enum kv_tier tier)
{
    return tier == KV_TIER_COMMIT ? "FULL" : tier == KV_TIER_PROCESS ? "OFF" : "NORMAL";
}

static kv_status expect_wal(struct sqlite_store *store, sqlite3 *db)
{
    char     *mode = ask(db, "PRAGMA journal_mode=WAL");
    kv_status status = KV_OK;

    if (!mode)
        status = translate(store, db, sqlite3_errcode(db), "journal_mode=WAL");
    else if (strcmp(mode, "wal") != 0)
        status = kv_fail(KV_IO, "%s does not take journal_mode=WAL, but stays with %s", store->path, mode);
    sqlite3_free(mode);
    return status;
}

/* What SQLite would make anew without a word; also where only the table was lost, with the log that it was made in. */
static kv_status refuse_lost(const struct storedir *dir)
{
    TRY(storedir_refuse_lost(dir, DATA, false));
    if (storedir_refuse_lost(dir, LOG, true) == KV_OK)
        return KV_OK;
    return kv_fail(KV_CORRUPT, "%s/" LOG " is lost, and with it what was written last; if another program has closed the database, "
                   "make an empty file in its place", dir->path);
}

/* Makes the database with full syncs, whatever the tier, so that a crash leaves none or a whole one. */
static kv_status make_table(struct sqlite_store *store, const struct kv_config *config, sqlite3 *db)
{
    TRY(run(store, db, "PRAGMA synchronous=FULL"));
    TRY(runf(store, db, "PRAGMA page_size=%" PRIu64, config->option[OPTION_PAGE_SIZE].u64)); /* of a new one only */
    TRY(expect_wal(store, db));
    TRY(runf(store, db, "CREATE TABLE IF NOT EXISTS kv(key BLOB PRIMARY KEY NOT NULL, value BLOB NOT NULL)%s",
             config->option[OPTION_ROWID].u64 ? "" : " WITHOUT ROWID"));
    return KV_OK;
}

static kv_status open_database(struct sqlite_store *store, const struct kv_config *config)
{
    static const struct storedir_kind kind = {.engine = "sqlite", .format = 1};
    struct sqlite_session            *keeper;
    sqlite3                          *db = NULL;
    bool                              made;
    kv_status                         status;

    TRY(storedir_open(&store->dir, config->dir, &kind));
    made = storedir_is_made(&store->dir);
    if (made)
        TRY(refuse_lost(&store->dir));
    if (snprintf(store->path, sizeof store->path, "%s/" DATA, store->dir.path) >= (int)sizeof store->path)
        return kv_fail(KV_INVALID, "the path %s is too long", store->dir.path);
    status = connect(store, &db, made ? 0 : SQLITE_OPEN_CREATE);
    if (status == KV_OK)
        status = made ? expect_wal(store, db) : make_table(store, config, db);
    if (status == KV_OK && (status = sqlite_connect(store, &keeper)) == KV_OK)
        store->keeper = &keeper->base;
    sqlite3_close(db); /* behind the keeper's open, so that it is not the last */
    TRY(status);
    TRY(file_sync_dir(store->dir.path)); /* the names of database and log */
    if (!made || config->durability.tier != KV_TIER_PROCESS)
        TRY(sync_through(store, store->keeper)); /* what is served from here on is durable, whatever tier wrote it */
    if (!made)
        TRY(storedir_set_made(&store->dir));
    if (config->durability.tier == KV_TIER_INTERVAL &&
        !(store->ticker = ticker_start(config->durability.interval_ns, sync_store, store)))
        return KV_NO_MEMORY;
    return KV_OK;
}

static kv_status sqlite_close_store(struct kv_store *base)
{
    struct sqlite_store *store = (struct sqlite_store *)base;

    ticker_stop(store->ticker);
    if (store->keeper) { /* the last one: copies the log into the tree, and leaves it empty */
        if (!has_failed(store))
            (void)run(store, session_of(store->keeper)->db, "PRAGMA journal_size_limit=0");
        sqlite_disconnect(session_of(store->keeper));
    }
    storedir_close(&store->dir);
    pthread_mutex_destroy(&store->write_lock);
    pthread_mutex_destroy(&store->sentence_lock);
    free(store);
    return KV_OK;
}

/* Counting its memory costs SQLite a lock for each allocation. */
static void count_no_memory(void)
{
    sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0); /* refused, with no harm done, when the process uses SQLite already */
}

static kv_status sqlite_open_store(const struct kv_config *config, struct kv_store **out)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    struct sqlite_store  *store = calloc(1, sizeof *store);
    kv_status             status;

    if (!store)
        return kv_fail(KV_NO_MEMORY, "no memory for a store");
    pthread_once(&once, count_no_memory);
    pthread_mutex_init(&store->write_lock, NULL);
    pthread_mutex_init(&store->sentence_lock, NULL);
    store->dir.lock = FILE_CLOSED;
    store->cache_bytes = config->option[OPTION_CACHE_BYTES].u64 ? config->option[OPTION_CACHE_BYTES].u64 : kv_cache_bytes(config);
    store->mmap_bytes = config->option[OPTION_MMAP_SIZE].u64;
    store->checkpoint_pages = config->option[OPTION_WAL_AUTOCHECKPOINT].u64;
    store->synchronous = synchronous_of(config->durability.tier);
    if (!sqlite3_threadsafe())
        status = kv_fail(KV_UNSUPPORTED, "this SQLite was built for one thread");
    else if (config->option[OPTION_PAGE_SIZE].u64 & (config->option[OPTION_PAGE_SIZE].u64 - 1)) /* SQLite would ignore it */
        status = kv_fail(KV_INVALID, "sqlite.page_size is %" PRIu64 ", and has to be a power of two",
                         config->option[OPTION_PAGE_SIZE].u64);
    else
        status = open_database(store, config);
    if (status == KV_OK)
        *out = &store->base;
    else
        (void)sqlite_close_store(&store->base);
    return status;
}

static kv_status sqlite_session_open(struct kv_store *base, struct kv_session **out)
{
    struct sqlite_store   *store = (struct sqlite_store *)base;
    struct sqlite_session *session;

    TRY(sqlite_connect(store, &session));
    __atomic_add_fetch(&store->sessions, 1, __ATOMIC_RELAXED);
    *out = &session->base;
    return KV_OK;
}

static void sqlite_session_close(struct kv_session *base)
{
    __atomic_sub_fetch(&store_of(base)->sessions, 1, __ATOMIC_RELAXED);
    sqlite_disconnect(session_of(base));
}

static void sqlite_stats(struct kv_store *base, kv_figure *figure, void *arg)
{
    struct sqlite_store *store = (struct sqlite_store *)base;
    char                 log[PATH_BYTES + 8];
    struct stat          data, wal;

    snprintf(log, sizeof log, "%s-wal", store->path);
    if (stat(store->path, &data) != 0)
        return;
    if (stat(log, &wal) != 0)
        wal = (struct stat){0};
    figure(arg, "disk_bytes", (uint64_t)(data.st_blocks + wal.st_blocks) * 512);
    figure(arg, "debt_bytes", 0);
    figure(arg, "wal_bytes", (uint64_t)wal.st_size);
}

/* Asked of a connection that is made for it: the others belong to their threads. */
static void sqlite_settings(struct kv_store *base, kv_setting *setting, void *arg)
{
    static const char *const asked[][2] = {
        {"journal_mode", "PRAGMA journal_mode"}, {"synchronous", "PRAGMA synchronous"}, {"page_size", "PRAGMA page_size"},
        {"mmap_size", "PRAGMA mmap_size"}, {"table", "SELECT sql FROM sqlite_schema WHERE name = 'kv'"},
    };
    struct sqlite_store   *store = (struct sqlite_store *)base;
    struct sqlite_session *session;
    char                   text[64];

    if (sqlite_connect(store, &session) != KV_OK)
        return;
    for (size_t i = 0; i < sizeof asked / sizeof *asked; i++) {
        char *answer = ask(session->db, asked[i][1]);
        setting(arg, asked[i][0], answer ? answer : "unknown");
        sqlite3_free(answer);
    }
    snprintf(text, sizeof text, "%" PRIu64 " KiB, shared by all sessions", store->cache_bytes / 1024);
    setting(arg, "cache_size", text);
    snprintf(text, sizeof text, "%" PRIu64, store->checkpoint_pages);
    setting(arg, "wal_autocheckpoint", text);
    setting(arg, "library", sqlite3_libversion());
    sqlite_disconnect(session);
}

static const struct kv_option sqlite_options[] = {
    [OPTION_CACHE_BYTES]        = {"cache_bytes", KV_BYTES, "0", 0, 1ull << 40,
                                   "page cache of all sessions together; 0: half of the memory budget, or 256M without one", NULL},
    [OPTION_PAGE_SIZE]          = {"page_size", KV_BYTES, "4k", 512, 65536, "of a new store; a power of two", NULL},
    [OPTION_MMAP_SIZE]          = {"mmap_size", KV_BYTES, "0", 0, 1ull << 40,
                                   "so much of the file is read through a memory map", NULL},
    [OPTION_WAL_AUTOCHECKPOINT] = {"wal_autocheckpoint", KV_COUNT, "1000", 1, 1 << 30,
                                   "a checkpoint when a commit leaves the log with so many pages", NULL, .small = "40"},
    [OPTION_ROWID]              = {"rowid", KV_BOOL, "false", 0, 0,
                                   "a new store's table has a rowid and an index, for large values", NULL},
    {0},
};

static const struct kv_engine sqlite_engine = {
    .abi             = KV_ABI,
    .name            = "sqlite",
    .version         = SQLITE_VERSION,
    .summary         = "SQLite: a B-tree and a write-ahead log, many readers, one writer, through prepared statements",
    .licence         = "blessing",
    .can             = KV_DURABLE | KV_SCAN | KV_ORDERED | KV_BATCH | KV_SNAPSHOT | KV_MODIFY | KV_SESSIONS | KV_COMPACT |
                       KV_RETAINS,
    .tiers           = KV_TIER_BIT(KV_TIER_PROCESS) | KV_TIER_BIT(KV_TIER_ORDERED) | KV_TIER_BIT(KV_TIER_INTERVAL) |
                       KV_TIER_BIT(KV_TIER_COMMIT),
    .key_bytes_max   = KV_KEY_BYTES_MAX,
    .value_bytes_max = KV_VALUE_BYTES_MAX,
    .options         = sqlite_options,
    .open            = sqlite_open_store,
    .close           = sqlite_close_store,
    .session_open    = sqlite_session_open,
    .session_close   = sqlite_session_close,
    .put             = sqlite_put,
    .get             = sqlite_get,
    .del             = sqlite_del,
    .get_many        = sqlite_get_many,
    .modify          = sqlite_modify,
    .write           = sqlite_write,
    .scan            = sqlite_scan,
    .sync            = sqlite_sync,
    .snapshot        = sqlite_snapshot,
    .compact         = sqlite_compact,
    .stats           = sqlite_stats,
    .settings        = sqlite_settings,
};

__attribute__((visibility("default"))) const struct kv_engine *kv_plugin(void);

const struct kv_engine *kv_plugin(void)
{
    return &sqlite_engine;
}
