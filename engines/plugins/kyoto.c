/*
 * kyoto.c -- Kyoto Cabinet 1.2.79 by its C interface, two engines: kyoto-hash (HashDB) and kyoto-tree (TreeDB).
 *
 * Quotations are from doc/spex.html of Debian's kyotocabinet-doc, which is https://dbmx.net/kyotocabinet/spex.html.
 *
 * Files       STORE, LOCK, MADE: see base/storedir.h.  hash.kch or tree.kct, its first map_bytes in a shared mapping; beside it its
 *             write-ahead log (.wal) while a transaction runs.  The library makes an empty database where it finds none, and not
 *             at once, so MADE comes when the file is synced: before, what is there is made again; later, a file that is absent,
 *             empty or without its header is corruption.  Format 1 had no MADE.
 *             The tree has one record more than its users see: the empty key.  Beginning and end of a transaction write the meta data
 *             (which leaf is the first, which node the root) only if the number of records or of leaves made has changed
 *             (kcplantdb.h, begin_transaction_impl and commit_transaction), so a batch that empties the first leaf and puts as
 *             many new keys as it deletes leaves meta data that name a removed leaf, until the next single write that splits or
 *             empties one, or a close.  A kill in between, and no scan finds its beginning; or no get, when all leaves were emptied.
 *             With that record, which is never deleted, the first leaf stays the first and the root is never replaced by a smaller
 *             one; a scan begins behind it.
 * Durability  "Transaction": the table of risks.
 *               process   OAUTOTRAN: "risk on process crash: none"
 *               commit    OAUTOTRAN | OAUTOSYNC: "risk on system crash: none"
 *             none is refused: without transactions a crash leaves the file to be reorganized, and "some records may be missing",
 *             also older ones than the last sync; a prefix is not promised.  So are ordered and interval, for the log is not
 *             synced, and what it protects may reach the disk before it does.
 *             autotran=false is Kyoto's default, kept here for comparisons.  It breaks the tier: a crash shows it.
 *             A sync is an empty transaction with hard synchronization.  synchronize() would do, but it also saves the list of free
 *             blocks, and a process that is killed later in auto transaction mode leaves that list behind, stale: the next open
 *             believes it, and new records overwrite old ones (kchashdb.h, synchronize_impl and open).  With it, a third of
 *             all kills lost or damaged records.
 *             The log has no checksums, and is emptied by writing zeros over it.  A kill tears a write(2) between two pages; a record of
 *             the log that was torn over such zeros looks whole, and taking it back wrote zeros over good pages (kyoto-tree: 11 of 4,172
 *             killed lives on tmpfs).  So after each transaction a log of more than a page is cut to one: then the torn record is
 *             cut off, which the library sees and leaves out, and its transaction had not yet changed what it is about.
 *             Held under kill (tmpfs, three seeds): tree 2,852 lives at commit and 1,862 at process, hash 923 and 547.  Under power loss
 *             commit held where all that was not synced is gone (tree 177 states, hash 129).  Where any part of it may be there it is
 *             not (hash 4 of 144 and tree 1 of 237 states under ext4, tree 3 of 46 under posix-minimal): end_transaction puts zeros
 *             over the log first and syncs the data then (kcfile.cc), so the zeros may be on the disk before the data.
 * Batch       begin_transaction, end_transaction.  Writes of other threads would become a part of it, so they wait; the library lets one
 *             transaction at a time run anyway.
 * Defaults    bnum: "suggested is the twice of the total number of records", and linear chaining with it; the map is to be "larger
 *             than the expected size of the database".  Page cache of the tree: kv_cache_bytes.  All else is the library's own.
 * Full disk   A mapped file with holes ends the process where the disk has no block for it; so writes are admitted by base/room.h.
 * Limits      The hash table does not grow.  Space of dead records is used again, and never given back.
 *             The tree does not tell live_keys: after a kill the library's count is that of the last split of a leaf.
 * Not done    Snapshots, compaction (the C interface has no defragmentation).
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <kclangc.h>
#include <pthread.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engines/base/room.h"
#include "engines/base/storedir.h"
#include "engines/engine.h"

#ifdef KYOTO_TREE
#define FILE_NAME "tree.kct"
#define BUCKETS   "200000" /* "about 10% of the number of records" */
#else
#define FILE_NAME "hash.kch"
#define BUCKETS   "2000000"
#endif

/* What one write makes the library write beside key and value: a header and padding; or a leaf, its halves and what is above. */
#ifdef KYOTO_TREE
#define PAGES_BYTES_MAX (32u << 10)
#else
#define PAGES_BYTES_MAX 128u
#endif

#define RESERVE_BYTES (UINT64_C(4) << 20)

#define LOG_BYTES 4096 /* a page: a kill tears a write(2) between pages only */

/* Of STORE: from FORMAT_WITH_MARK on a store without MADE was never finished; before, there was no such mark. */
#define FORMAT           2
#define FORMAT_WITH_MARK 2

enum { OPTION_BUCKETS, OPTION_LINEAR, OPTION_COMPRESS, OPTION_ALIGN_POW, OPTION_MAP, OPTION_DEFRAG, OPTION_AUTOTRAN, OPTION_PAGE_BYTES };

static const struct kv_option options[] = {
    [OPTION_BUCKETS]    = {"bnum", KV_COUNT, BUCKETS, 1, 1 << 30, "size of the hash table of records or pages", NULL, NULL},
    [OPTION_LINEAR]     = {"linear", KV_BOOL, "true", 0, 0, "collisions are chained in a list, not in a binary tree", NULL, NULL},
    [OPTION_COMPRESS]   = {"compress", KV_BOOL, "false", 0, 0, "values (pages) are compressed with zlib", NULL, NULL},
#ifdef KYOTO_TREE
    [OPTION_ALIGN_POW]  = {"apow", KV_COUNT, "8", 0, 15, "records begin at multiples of 2 to this power", NULL, NULL},
#else
    [OPTION_ALIGN_POW]  = {"apow", KV_COUNT, "3", 0, 15, "records begin at multiples of 2 to this power", NULL, NULL},
#endif
    [OPTION_MAP]        = {"map_bytes", KV_BYTES, "4G", 0, 1ull << 50, "so much of the file is in a shared mapping", NULL, NULL},
    [OPTION_DEFRAG]     = {"dfunit", KV_COUNT, "0", 0, 1 << 20, "defragmentation after so many updates; 0: none", NULL, NULL},
    [OPTION_AUTOTRAN]   = {"autotran", KV_BOOL, "true", 0, 0, "each write is a transaction; false breaks the tier", NULL, NULL},
#ifdef KYOTO_TREE
    [OPTION_PAGE_BYTES] = {"psiz", KV_BYTES, "8192", 512, 1 << 20, "a larger page is split", NULL, NULL},
#endif
    {0},
};

struct kyoto_store {
    struct kv_store  base;
    KCDB            *db;
    struct storedir  dir;
    struct room      room;
    enum kv_tier     tier;
    bool             autotran;
    pthread_mutex_t  turn;   /* one writes at a time, a batch as a whole; of the library's log, and of what follows */
    int              log;    /* the library's log, by a descriptor of our own; below 0: not open yet */
    pthread_mutex_t  lock;   /* of the sentence */
    bool             failed; /* atomic: a write or a sync went wrong: no more writes */
    char             sentence[FAIL_BYTES_MAX];
    char             path[4096]; /* of the database; "" until it was opened */
};

static struct kyoto_store *store_of(struct kv_session *session)
{
    return (struct kyoto_store *)session->store;
}

/* The library's last error in this thread, as ours. */
static kv_status explain(struct kyoto_store *store, const char *call)
{
    int32_t     code = kcdbecode(store->db);
    const char *text = kcdbemsg(store->db);
    kv_status   status = KV_IO;

    if (code == KCENOREC)
        return KV_NOT_FOUND;
    if (code == KCEBROKEN)
        status = KV_CORRUPT;
    else if (code == KCEINVALID || code == KCENOREPOS || code == KCENOPERM)
        status = KV_INVALID;
    return kv_fail(status, "%s/" FILE_NAME ": kyoto %s: %s: %s", store->dir.path, call, kcecodename(code), text);
}

/* Keeps the first sentence for every later write. */
static kv_status keep_failure(struct kyoto_store *store, kv_status status)
{
    pthread_mutex_lock(&store->lock);
    if (!store->failed) {
        memcpy(store->sentence, fail_text(), FAIL_BYTES_MAX);
        __atomic_store_n(&store->failed, true, __ATOMIC_RELEASE);
    }
    pthread_mutex_unlock(&store->lock);
    return status;
}

static kv_status fail_store(struct kyoto_store *store, const char *call)
{
    kv_status status = explain(store, call);

    return keep_failure(store, status);
}

static kv_status refuse_after_failure(struct kyoto_store *store)
{
    if (__builtin_expect(__atomic_load_n(&store->failed, __ATOMIC_ACQUIRE), 0))
        return kv_fail(KV_IO, "%s", store->sentence);
    return KV_OK;
}

/* Before each write, of so many bytes of keys and values: they are written, and what they replace goes to the log. */
static kv_status admit(struct kyoto_store *store, size_t bytes)
{
    TRY(refuse_after_failure(store));
    return room_admit(&store->room, 3 * (bytes + PAGES_BYTES_MAX));
}

static bool name_log(const struct kyoto_store *store, char path[4096])
{
    return snprintf(path, 4096, "%s/" FILE_NAME ".wal", store->dir.path) < 4096;
}

/* After each transaction: the log goes back to LOG_BYTES, so that the next record which crosses a page makes the file longer, and one
 * that a kill tears leaves it too short for what the record says.  The library only fills it with zeros.  The turn is held. */
static kv_status shorten_log(struct kyoto_store *store)
{
    char        path[4096];
    struct stat about;

    if (!store->autotran || !name_log(store, path))
        return KV_OK;
    if (store->log < 0 && (store->log = open(path, O_RDWR | O_CLOEXEC)) < 0)
        return errno == ENOENT ? KV_OK : kv_fail_errno("open %s", path); /* nothing was written yet */
    if (fstat(store->log, &about) != 0)
        return kv_fail_errno("stat %s", path);
    if (about.st_size > LOG_BYTES && ftruncate(store->log, LOG_BYTES) != 0)
        return kv_fail_errno("cut %s", path);
    return KV_OK;
}

/* Gives the turn to the next, when a write has become what `status` says. */
static kv_status end_turn(struct kyoto_store *store, kv_status status)
{
    if (status == KV_OK && (status = shorten_log(store)) != KV_OK)
        keep_failure(store, status);
    pthread_mutex_unlock(&store->turn);
    return status;
}

/* Everything that was written before is durable after it: see the banner for why it is not synchronize(). */
static kv_status sync_file(struct kyoto_store *store)
{
    if (!store->autotran)
        return kcdbsync(store->db, true, NULL, NULL) ? (room_settled(&store->room), KV_OK) : fail_store(store, "synchronize");
    if (!kcdbbegintran(store->db, true))
        return fail_store(store, "begin_transaction");
    return kcdbendtran(store->db, true) ? KV_OK : fail_store(store, "end_transaction");
}

/* Opening. */

static kv_status kyoto_close(struct kv_store *base)
{
    struct kyoto_store *store = (struct kyoto_store *)base;
    kv_status           status = KV_OK;

    if (store->db) {
        if (*store->path && !kcdbclose(store->db))
            status = explain(store, "close");
        kcdbdel(store->db);
    }
    storedir_close(&store->dir);
    room_close(&store->room);
    if (store->log >= 0)
        close(store->log);
    pthread_mutex_destroy(&store->turn);
    pthread_mutex_destroy(&store->lock);
    free(store);
    return status;
}

/* A crash while the store was made: what it left is no store yet, and may be half a header. */
static kv_status remove_unmade(const char *dir)
{
    static const char *const names[] = {FILE_NAME, FILE_NAME ".wal"};
    char                     path[4096];

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (snprintf(path, sizeof path, "%s/%s", dir, names[i]) < (int)sizeof path && unlink(path) != 0 && errno != ENOENT)
            return kv_fail_errno("remove %s", path);
    return KV_OK;
}

#ifdef KYOTO_TREE
/* The record that keeps the first leaf where it is: see the banner. */
static kv_status plant_floor(struct kyoto_store *store)
{
    if (kcdbcheck(store->db, "", 0) >= 0 || kcdbset(store->db, "", 0, "", 0))
        return KV_OK;
    return explain(store, "set");
}
#endif

static kv_status name_db(const struct kyoto_store *store, const struct kv_config *config, char *out, size_t out_bytes)
{
    const union kv_value *option = config->option;
    size_t                size;

    size = (size_t)snprintf(out, out_bytes, "%s/" FILE_NAME "#bnum=%" PRIu64 "#opts=%s%s#apow=%" PRIu64 "#msiz=%" PRIu64
                            "#dfunit=%" PRIu64, store->dir.path, option[OPTION_BUCKETS].u64, option[OPTION_LINEAR].u64 ? "l" : "",
                            option[OPTION_COMPRESS].u64 ? "c" : "", option[OPTION_ALIGN_POW].u64, option[OPTION_MAP].u64,
                            option[OPTION_DEFRAG].u64);
#ifdef KYOTO_TREE
    if (size < out_bytes)
        size += (size_t)snprintf(out + size, out_bytes - size, "#psiz=%" PRIu64 "#pccap=%" PRIu64, option[OPTION_PAGE_BYTES].u64,
                                 kv_cache_bytes(config));
#endif
    return size < out_bytes ? KV_OK : kv_fail(KV_INVALID, "%s: too long a path", store->dir.path);
}

/* Whether a user's record is in the file: then the store was made, whatever its mark says. */
static bool holds_records(const char *path)
{
    KCDB *db = kcdbnew();
    bool  found = false;

    if (kcdbopen(db, path, KCOREADER | KCOTRYLOCK | KCONOREPAIR)) {
        KCCUR *cursor = kcdbcursor(db);
#ifdef KYOTO_TREE
        found = kccurjumpkey(cursor, "", 1); /* a zero byte: behind the record with the empty key */
#else
        found = kccurjump(cursor);
#endif
        kccurdel(cursor);
        (void)!kcdbclose(db);
    }
    kcdbdel(db);
    return found;
}

static kv_status open_db(struct kyoto_store *store, const struct kv_config *config)
{
    static const struct storedir_kind kind = {.engine = PEER, .format = FORMAT};
    uint32_t                          mode = KCOWRITER | KCOTRYLOCK;
    char                              path[sizeof store->path];
    bool                              made;

    if (strchr(config->dir, '#'))
        return kv_fail(KV_INVALID, "%s: Kyoto Cabinet takes what follows a # in a path for its settings", config->dir);
    TRY(storedir_open(&store->dir, config->dir, &kind));
    TRY(name_db(store, config, path, sizeof path));
    made = storedir_is_made(&store->dir);
    store->autotran = config->option[OPTION_AUTOTRAN].u64;
    store->room.dir = store->dir.path;
    store->room.reserve_bytes = config->option[OPTION_BUCKETS].u64 * 6 + RESERVE_BYTES;
#ifdef KYOTO_TREE
    if (!store->autotran)
        store->room.cached_bytes_max = 2 * kv_cache_bytes(config);
#endif
    if (made) {
        TRY(storedir_refuse_lost(&store->dir, FILE_NAME, false)); /* the library would make an empty one in its place */
    } else {
        if (store->dir.format >= FORMAT_WITH_MARK && holds_records(path))
            return kv_fail(KV_CORRUPT, "%s/MADE is lost, and " FILE_NAME " holds records: put an empty file of that name there",
                           config->dir);
        if (store->dir.format >= FORMAT_WITH_MARK)
            TRY(remove_unmade(config->dir));
        TRY(room_admit(&store->room, RESERVE_BYTES));
        mode |= KCOCREATE;
    }
    if (store->autotran)
        mode |= KCOAUTOTRAN;
    if (store->tier == KV_TIER_COMMIT)
        mode |= KCOAUTOSYNC;
    store->db = kcdbnew();
    if (!kcdbopen(store->db, path, mode)) {
        kv_status status = explain(store, "open");
        return made && status == KV_INVALID ? kv_fail(KV_CORRUPT, "%s", fail_text()) : status; /* "invalid magic data" */
    }
    memcpy(store->path, path, sizeof path);
#ifdef KYOTO_TREE
    TRY(plant_floor(store));
#endif
    if (!made || store->tier == KV_TIER_COMMIT) { /* the names of the file and of its log, which each open makes anew */
        TRY(sync_file(store));
        TRY(file_sync_dir(config->dir));
    }
    TRY(shorten_log(store));
    return made ? KV_OK : storedir_set_made(&store->dir);
}

static kv_status kyoto_open(const struct kv_config *config, struct kv_store **out)
{
    struct kyoto_store *store = calloc(1, sizeof *store);
    char                sentence[FAIL_BYTES_MAX];
    kv_status           status;

    if (!store)
        return kv_fail(KV_NO_MEMORY, "no memory for a store");
    pthread_mutex_init(&store->turn, NULL);
    store->log = -1;
    room_open(&store->room);
    pthread_mutex_init(&store->lock, NULL);
    store->dir.lock = FILE_CLOSED;
    store->tier = config->durability.tier;
    status = open_db(store, config);
    if (status == KV_OK) {
        *out = &store->base;
        return KV_OK;
    }
    memcpy(sentence, fail_text(), sizeof sentence);
    (void)!kyoto_close(&store->base);
    return kv_fail(status, "%s", sentence);
}

static kv_status kyoto_session_open(struct kv_store *store, struct kv_session **out)
{
    (void)store;
    *out = calloc(1, sizeof **out);
    return *out ? KV_OK : kv_fail(KV_NO_MEMORY, "no memory for a session");
}

static void kyoto_session_close(struct kv_session *session)
{
    free(session);
}

/* Writing. */

static const char *bytes_of(slice bytes)
{
    return bytes.size ? bytes.data : ""; /* the library asks for a pointer also to nothing */
}

static kv_status put_one(struct kyoto_store *store, slice key, slice value)
{
    return kcdbset(store->db, key.data, key.size, bytes_of(value), value.size) ? KV_OK : fail_store(store, "set");
}

static kv_status delete_one(struct kyoto_store *store, slice key)
{
    if (!kcdbremove(store->db, key.data, key.size) && kcdbecode(store->db) != KCENOREC)
        return fail_store(store, "remove");
    return KV_OK;
}

static kv_status kyoto_put(struct kv_session *session, slice key, slice value)
{
    struct kyoto_store *store = store_of(session);

    TRY(admit(store, key.size + value.size));
    pthread_mutex_lock(&store->turn);
    return end_turn(store, put_one(store, key, value));
}

static kv_status kyoto_del(struct kv_session *session, slice key)
{
    struct kyoto_store *store = store_of(session);

    TRY(admit(store, key.size));
    pthread_mutex_lock(&store->turn);
    return end_turn(store, delete_one(store, key));
}

static kv_status kyoto_write(struct kv_session *session, const struct kv_write *writes, size_t count)
{
    struct kyoto_store *store = store_of(session);
    kv_status           status = KV_OK;
    size_t              bytes = 0;

    for (size_t i = 0; i < count; i++)
        bytes += writes[i].key.size + writes[i].value.size + PAGES_BYTES_MAX;
    TRY(admit(store, bytes));
    pthread_mutex_lock(&store->turn);
    if (!kcdbbegintran(store->db, store->tier == KV_TIER_COMMIT)) {
        status = fail_store(store, "begin_transaction");
    } else {
        for (size_t i = 0; i < count && status == KV_OK; i++)
            status = writes[i].kind == KV_PUT ? put_one(store, writes[i].key, writes[i].value) : delete_one(store, writes[i].key);
        if (!kcdbendtran(store->db, status == KV_OK) && status == KV_OK)
            status = fail_store(store, "end_transaction");
    }
    return end_turn(store, status);
}

struct modifying {
    struct kyoto_store *store;
    kv_change          *change;
    void               *arg;
    struct buf          value;
    kv_status           status;
};

static const char *change_to(struct modifying *modifying, const slice *old, size_t *size)
{
    modifying->status = modifying->change(modifying->arg, old, &modifying->value);
    if (modifying->status == KV_OK && modifying->value.size > KV_VALUE_BYTES_MAX)
        modifying->status = kv_fail(KV_TOO_LARGE, "a value of %zu bytes", modifying->value.size);
    if (modifying->status == KV_OK)
        modifying->status = admit(modifying->store, KV_KEY_BYTES_MAX + modifying->value.size);
    if (modifying->status != KV_OK)
        return KCVISNOP;
    *size = modifying->value.size;
    return bytes_of(buf_slice(&modifying->value));
}

static const char *change_full(const char *key, size_t key_size, const char *value, size_t value_size, size_t *size, void *arg)
{
    slice old = {value, value_size};

    (void)key, (void)key_size;
    return change_to(arg, &old, size);
}

static const char *change_empty(const char *key, size_t key_size, size_t *size, void *arg)
{
    (void)key, (void)key_size;
    return change_to(arg, NULL, size);
}

static kv_status kyoto_modify(struct kv_session *session, slice key, kv_change *change, void *arg)
{
    struct kyoto_store *store = store_of(session);
    struct modifying    modifying = {.store = store, .change = change, .arg = arg};

    pthread_mutex_lock(&store->turn);
    if (!kcdbaccept(store->db, key.data, key.size, change_full, change_empty, &modifying, true) && modifying.status == KV_OK)
        modifying.status = fail_store(store, "accept");
    buf_free(&modifying.value);
    return end_turn(store, modifying.status);
}

static kv_status kyoto_sync(struct kv_session *session)
{
    struct kyoto_store *store = store_of(session);

    TRY(refuse_after_failure(store));
    pthread_mutex_lock(&store->turn); /* not in the middle of a transaction */
    return end_turn(store, sync_file(store));
}

/* Reading. */

struct reading {
    kv_visit *visit;
    void     *arg;
    bool      found, stopped;
};

static const char *lend(const char *key, size_t key_size, const char *value, size_t value_size, size_t *size, void *arg)
{
    struct reading *reading = arg;

    (void)size;
    reading->found = true;
    reading->stopped = !reading->visit(reading->arg, slice_of(key, key_size), slice_of(value, value_size));
    return KCVISNOP;
}

static const char *lend_nothing(const char *key, size_t key_size, size_t *size, void *arg)
{
    (void)key, (void)key_size, (void)size, (void)arg;
    return KCVISNOP;
}

static kv_status kyoto_get(struct kv_session *session, slice key, kv_visit *visit, void *arg)
{
    struct kyoto_store *store = store_of(session);
    struct reading      reading = {visit, arg, false, false};

    if (__builtin_expect(!kcdbaccept(store->db, key.data, key.size, lend, lend_nothing, &reading, false), 0))
        return explain(store, "accept");
    return reading.found ? KV_OK : KV_NOT_FOUND;
}

static kv_status kyoto_scan(struct kv_session *session, slice first, kv_visit *visit, void *arg)
{
    struct kyoto_store *store = store_of(session);
    struct reading      reading = {visit, arg, false, false};
    KCCUR              *cursor = kcdbcursor(store->db);
    kv_status           status = KV_NOT_FOUND; /* where a scan ends */
#ifdef KYOTO_TREE
    slice smallest = first.size ? first : slice_of("", 1); /* a zero byte: behind the record with the empty key */
    bool  more = kccurjumpkey(cursor, smallest.data, smallest.size);
#else
    bool more = kccurjump(cursor);
#endif

    (void)first;
    while (more && !reading.stopped)
        more = kccuraccept(cursor, lend, &reading, false, true);
    if (!more)
        status = explain(store, "cursor");
    kccurdel(cursor);
    return status == KV_NOT_FOUND ? KV_OK : status;
}

/* The rest. */

static void kyoto_stats(struct kv_store *base, kv_figure *figure, void *arg)
{
    struct kyoto_store *store = (struct kyoto_store *)base;
    int64_t             bytes = kcdbsize(store->db);
#ifndef KYOTO_TREE /* whose count is that of the last split of a leaf, after a kill */
    int64_t count = kcdbcount(store->db);

    if (count >= 0)
        figure(arg, "live_keys", (uint64_t)count);
#endif

    if (bytes >= 0)
        figure(arg, "disk_bytes", (uint64_t)bytes);
    figure(arg, "debt_bytes", 0);
}

static void kyoto_settings(struct kv_store *base, kv_setting *setting, void *arg)
{
    static const char *const told[] = {"bnum", "apow", "fpow", "opts", "msiz", "dfunit", "psiz", "pccap"};
    struct kyoto_store *store = (struct kyoto_store *)base;
    char               *status = kcdbstatus(store->db), *rest = status; /* lines of NAME<tab>VALUE */

    for (char *line; status && (line = strsep(&rest, "\n"));) {
        char *value = strchr(line, '\t');
        for (size_t i = 0; value && i < sizeof told / sizeof *told; i++)
            if ((size_t)(value - line) == strlen(told[i]) && strncmp(line, told[i], strlen(told[i])) == 0)
                setting(arg, told[i], value + 1);
    }
    kcfree(status);
    setting(arg, "OAUTOTRAN", store->autotran ? "true" : "false: the tier is not kept");
    setting(arg, "OAUTOSYNC", store->tier == KV_TIER_COMMIT ? "true" : "false");
}

static const struct kv_engine engine = {
    .abi             = KV_ABI,
    .name            = PEER,
    .version         = "1.2.79",
    .licence         = "GPL-3.0-or-later",
#ifdef KYOTO_TREE
    .summary         = "Kyoto Cabinet TreeDB: a B+ tree whose pages are records of a HashDB, with a write-ahead log",
    .can             = KV_RETAINS | KV_SESSIONS | KV_MODIFY | KV_BATCH | KV_SCAN | KV_ORDERED | KV_DURABLE,
#else
    .summary         = "Kyoto Cabinet HashDB: a hash table in a mapped file, updated in place under a write-ahead log",
    .can             = KV_RETAINS | KV_SESSIONS | KV_MODIFY | KV_BATCH | KV_SCAN | KV_DURABLE,
#endif
    .tiers           = KV_TIER_BIT(KV_TIER_PROCESS) | KV_TIER_BIT(KV_TIER_COMMIT),
    .key_bytes_max   = KV_KEY_BYTES_MAX,
    .value_bytes_max = KV_VALUE_BYTES_MAX,
    .options         = options,
    .open            = kyoto_open,
    .close           = kyoto_close,
    .session_open    = kyoto_session_open,
    .session_close   = kyoto_session_close,
    .put             = kyoto_put,
    .get             = kyoto_get,
    .modify          = kyoto_modify,
    .del             = kyoto_del,
    .write           = kyoto_write,
    .scan            = kyoto_scan,
    .sync            = kyoto_sync,
    .stats           = kyoto_stats,
    .settings        = kyoto_settings,
};

__attribute__((visibility("default"))) const struct kv_engine *kv_plugin(void);

const struct kv_engine *kv_plugin(void)
{
    return &engine;
}
