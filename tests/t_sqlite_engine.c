/* t_sqlite_engine.c -- what the contract test does not ask of the plug-in sqlite: no session is told "busy", damage, settings. */
#include <time.h>

#include "tests/peer_util.h"

#define WRITERS 3
#define ROUNDS  600

struct worker {
    pthread_t        thread;
    struct kv_store *store;
    unsigned         number;
    const bool      *stop; /* atomic */
    kv_status        status;
    uint64_t         wrong;
    char             sentence[FAIL_BYTES_MAX];
};

/* Threads assert nothing. */
static bool fine(struct worker *worker, kv_status status)
{
    if (status == KV_OK)
        return true;
    worker->status = status;
    memcpy(worker->sentence, fail_text(), FAIL_BYTES_MAX);
    return false;
}

static kv_status change_to_value(void *arg, const slice *old, struct buf *out)
{
    (void)old;
    return buf_append(out, ((slice *)arg)->data, ((slice *)arg)->size);
}

/* Puts, batches and modifies in turns. */
static void *write_share(void *arg)
{
    struct worker     *worker = arg;
    struct kv_session *session;
    enum value_verdict verdict;

    if (!fine(worker, kv_session_open(worker->store, &session)))
        return NULL;
    for (uint64_t i = 0; i < ROUNDS && worker->status == KV_OK; i++) {
        uint64_t  number = i * WRITERS + worker->number;
        char      name[32], bytes[200];
        slice     key = peer_key(number, name), value = slice_of(bytes, sizeof bytes);
        kv_status status;

        value_make(bytes, sizeof bytes, key, 1, number, 0.5);
        if (i % 3 == 0)
            status = kv_put(session, key, value);
        else if (i % 3 == 1)
            status = kv_write(session, (struct kv_write[]){{KV_PUT, slice_text("batch"), slice_text("x")}, {KV_PUT, key, value},
                                                           {.kind = KV_DELETE, .key = slice_text("batch")}}, 3);
        else
            status = kv_modify(session, key, change_to_value, &value);
        if (fine(worker, status) && fine(worker, get_numbered(session, number, &verdict)))
            worker->wrong += verdict != VALUE_GOOD;
    }
    kv_session_close(session);
    return NULL;
}

static bool dawdle(void *arg, slice key, slice value)
{
    uint64_t *wrong = arg;

    *wrong += value_check(key, value) != VALUE_GOOD;
    nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
    return true;
}

/* A reader is always there, so that no checkpoint has the log to itself. */
static void *scan_on(void *arg)
{
    struct worker     *worker = arg;
    struct kv_session *session;

    if (!fine(worker, kv_session_open(worker->store, &session)))
        return NULL;
    while (!__atomic_load_n(worker->stop, __ATOMIC_ACQUIRE) && fine(worker, kv_scan(session, (slice){0}, dawdle, &worker->wrong)))
        ;
    kv_session_close(session);
    return NULL;
}

TEST(writers_readers_checkpoints_and_compactions_are_never_busy)
{
    struct db     db = open_db(KV_TIER_ORDERED, "wal_autocheckpoint=20");
    struct worker workers[WRITERS + 2] = {0};
    bool          stop = false;

    BODY;
    for (unsigned i = 0; i < WRITERS + 2; i++) {
        workers[i] = (struct worker){.store = db.store, .number = i, .stop = &stop};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, i < WRITERS ? write_share : scan_on, &workers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        must(kv_compact(db.session));
        must(kv_sync(db.session));
    }
    for (int i = 0; i < WRITERS; i++)
        pthread_join(workers[i].thread, NULL);
    __atomic_store_n(&stop, true, __ATOMIC_RELEASE);
    for (int i = WRITERS; i < WRITERS + 2; i++)
        pthread_join(workers[i].thread, NULL);
    for (int i = 0; i < WRITERS + 2; i++) {
        if (workers[i].status != KV_OK || workers[i].wrong) {
            print_error("worker %d: %s (%s), %llu wrong\n", i, kv_status_word(workers[i].status), workers[i].sentence,
                        (unsigned long long)workers[i].wrong);
            fail();
        }
    }
    expect_numbered(db.session, WRITERS * ROUNDS);
    close_db(&db);
    db = open_db(KV_TIER_ORDERED, "");
    expect_numbered(db.session, WRITERS * ROUNDS);
    close_db(&db);
}

TEST(each_tier_has_its_pragmas)
{
    static const struct { enum kv_tier tier; const char *synchronous; } cases[] = {
        {KV_TIER_PROCESS, "0"}, {KV_TIER_ORDERED, "1"}, {KV_TIER_INTERVAL, "1"}, {KV_TIER_COMMIT, "2"},
    };

    BODY;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct db db = open_db(cases[i].tier, "page_size=8k mmap_size=1M cache_bytes=2M");

        expect_setting(&db, "journal_mode", "wal");
        expect_setting(&db, "synchronous", cases[i].synchronous);
        expect_setting(&db, "page_size", "8192");
        expect_setting(&db, "mmap_size", "1048576");
        expect_setting(&db, "cache_size", "2048 KiB, shared by all sessions");
        close_db(&db);
    }
}

TEST(a_page_size_that_sqlite_would_ignore_is_refused)
{
    struct db db;

    BODY;
    assert_int_equal(try_open(&db, KV_TIER_PROCESS, "page_size=5000"), KV_INVALID);
    assert_non_null(strstr(fail_text(), "page_size"));
}

static bool in_order(void *arg, slice key, slice value)
{
    uint64_t *next = arg;
    char      name[32];

    (void)value;
    *next = slice_equal(key, peer_key(*next, name)) ? *next + 1 : UINT64_MAX / 2;
    return true;
}

TEST(a_table_with_a_rowid_does_the_same_and_stays_one)
{
    struct db db = open_db(KV_TIER_PROCESS, "rowid=true");
    uint64_t  next = 0;

    BODY;
    for (uint64_t i = 0; i < 500; i++) {
        must(put_numbered(db.session, i * 7 % 500, 30));
        must(put_numbered(db.session, i * 7 % 500, 60 + (uint32_t)i % 2000)); /* a second one replaces the first */
    }
    for (int round = 0; round < 2; round++) {
        expect_setting(&db, "table", "CREATE TABLE kv(key BLOB PRIMARY KEY NOT NULL, value BLOB NOT NULL)");
        expect_numbered(db.session, 500);
        next = 0;
        must(kv_scan(db.session, (slice){0}, in_order, &next));
        assert_int_equal(next, 500);
        must(kv_compact(db.session));
        close_db(&db);
        db = open_db(KV_TIER_COMMIT, "");
    }
    close_db(&db);
}

TEST(after_an_io_error_nothing_is_written_and_all_is_read)
{
    struct db db = open_db(KV_TIER_ORDERED, "");

    BODY;
    after_an_io_error_no_more_writes(&db, "");
}

/* Damage. */

static void fill(uint64_t count)
{
    struct db db = open_db(KV_TIER_PROCESS, "");

    for (uint64_t i = 0; i < count; i++)
        must(put_numbered(db.session, i, 100));
    close_db(&db);
}

TEST(a_lost_database_is_no_empty_store)
{
    BODY;
    a_lost_file_is_corruption("store.db");
}

static void copy_file(const char *from_dir, const char *to_dir, const char *name)
{
    char    path[400], bytes[65536];
    ssize_t got;
    int     from, to;

    snprintf(path, sizeof path, "%s/%s", from_dir, name);
    from = open(path, O_RDONLY | O_CLOEXEC);
    snprintf(path, sizeof path, "%s/%s", to_dir, name);
    to = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    assert_true(from >= 0 && to >= 0);
    while ((got = read(from, bytes, sizeof bytes)) > 0)
        assert_int_equal(write(to, bytes, (size_t)got), got);
    close(from);
    close(to);
}

/* As a kill would leave it: the first time even the table is in the log only, then the last key is.  Then the log goes. */
TEST(a_lost_log_is_no_older_store)
{
    static const char *const files[] = {"STORE", "MADE", "store.db", "store.db-wal"};
    struct db                db;
    char                     copy[300], path[400];
    struct stat              about;

    BODY;
    for (int round = 0; round < 2; round++) {
        db = open_db(KV_TIER_COMMIT, "");
        must(put_numbered(db.session, (uint64_t)round, 100));
        snprintf(copy, sizeof copy, "%s/copy%d", root, round);
        assert_int_equal(mkdir(copy, 0755), 0);
        for (size_t i = 0; i < sizeof files / sizeof *files; i++)
            copy_file(dir, copy, files[i]);
        close_db(&db);
        snprintf(path, sizeof path, "%s/store.db-wal", dir);
        assert_int_equal(stat(path, &about), 0);
        assert_int_equal(about.st_size, 0);
    }
    for (int round = 0; round < 2; round++) {
        snprintf(dir, sizeof dir, "%s/copy%d", root, round);
        snprintf(path, sizeof path, "%s/store.db-wal", dir);
        snprintf(copy, sizeof copy, "%s/away%d", root, round);
        assert_int_equal(rename(path, copy), 0);
        assert_int_equal(try_open(&db, KV_TIER_COMMIT, ""), KV_CORRUPT);
        assert_non_null(strstr(fail_text(), path));
        assert_int_equal(rename(copy, path), 0);
        db = open_db(KV_TIER_COMMIT, "");
        expect_numbered(db.session, (uint64_t)round + 1);
        close_db(&db);
    }
}

TEST(a_header_that_is_none_is_corrupt)
{
    struct db db;

    BODY;
    fill(100);
    alter_file("store.db", 0, "rubbish", 7);
    assert_int_equal(try_open(&db, KV_TIER_PROCESS, ""), KV_CORRUPT);
    assert_non_null(strstr(fail_text(), "store.db"));
}

TEST(a_page_that_is_none_is_corrupt)
{
    static char        rubbish[40 * 4096];
    enum value_verdict verdict;
    struct db          db;

    BODY;
    fill(3000);
    memset(rubbish, 0xa5, sizeof rubbish);
    alter_file("store.db", 4096, rubbish, sizeof rubbish);
    db = open_db(KV_TIER_PROCESS, "");
    assert_int_equal(get_numbered(db.session, 7, &verdict), KV_CORRUPT);
    assert_int_equal(put_numbered(db.session, 7, 100), KV_CORRUPT);
    close_db(&db);
}

TEST(a_file_that_was_cut_short_is_corrupt)
{
    enum value_verdict verdict;
    uint64_t           refused = 0;
    char               path[400];
    struct db          db;

    BODY;
    fill(3000);
    snprintf(path, sizeof path, "%s/store.db", dir);
    assert_int_equal(truncate(path, 20 * 4096), 0);
    for (int mapped = 0; mapped < 2; mapped++) {
        kv_status status = try_open(&db, KV_TIER_PROCESS, mapped ? "mmap_size=64M" : "");

        for (uint64_t i = 0; i < 3000 && status == KV_OK; i++) {
            kv_status got = get_numbered(db.session, i, &verdict);
            assert_true(got == KV_CORRUPT || (got == KV_OK && verdict == VALUE_GOOD));
            refused += got == KV_CORRUPT;
        }
        assert_true(status == KV_CORRUPT || refused > 0);
        if (status == KV_OK)
            close_db(&db);
    }
}

/* The pages of the tree have no checksums, as the banner of the plug-in says; the harness's values tell. */
TEST(a_flipped_byte_within_a_value_is_told_by_the_value)
{
    char               name[32], value[100];
    slice              key = peer_key(7, name);
    off_t              at;
    enum value_verdict verdict;
    struct db          db;

    BODY;
    fill(10);
    value_make(value, sizeof value, key, 1, 7, 0.5);
    assert_true((at = find_in_file("store.db", slice_of(value, sizeof value))) > 0);
    alter_file("store.db", at + 50, &(char){(char)~value[50]}, 1);
    db = open_db(KV_TIER_PROCESS, "");
    must(get_numbered(db.session, 7, &verdict));
    assert_int_equal(verdict, VALUE_TORN);
    must(get_numbered(db.session, 8, &verdict));
    assert_int_equal(verdict, VALUE_GOOD);
    close_db(&db);
}

TEST(a_log_ends_at_its_first_damaged_frame)
{
    struct db          db = open_db(KV_TIER_PROCESS, "");
    char               copy[300], name[32], value[100];
    slice              key = peer_key(60, name);
    uint64_t           there = 0;
    enum value_verdict verdict;
    off_t              at;

    BODY;
    for (uint64_t i = 0; i < 100; i++)
        must(put_numbered(db.session, i, 100));
    snprintf(copy, sizeof copy, "%s/copy", root); /* as a kill would leave it */
    assert_int_equal(mkdir(copy, 0755), 0);
    copy_file(dir, copy, "STORE");
    copy_file(dir, copy, "store.db");
    copy_file(dir, copy, "store.db-wal");
    close_db(&db);
    snprintf(dir, sizeof dir, "%s", copy);
    value_make(value, sizeof value, key, 1, 60, 0.5);
    assert_true((at = find_in_file("store.db-wal", slice_of(value, sizeof value))) > 0); /* the commit that brought it */
    alter_file("store.db-wal", at + 50, &(char){(char)~value[50]}, 1);
    db = open_db(KV_TIER_PROCESS, "");
    for (; there < 100 && get_numbered(db.session, there, &verdict) == KV_OK; there++)
        assert_int_equal(verdict, VALUE_GOOD);
    assert_int_equal(there, 60);
    for (uint64_t i = there; i < 100; i++)
        assert_int_equal(get_numbered(db.session, i, &verdict), KV_NOT_FOUND);
    close_db(&db);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, make_root, remove_root)
    const struct CMUnitTest tests[] = {
        CASE(writers_readers_checkpoints_and_compactions_are_never_busy),
        CASE(each_tier_has_its_pragmas),
        CASE(a_page_size_that_sqlite_would_ignore_is_refused),
        CASE(a_table_with_a_rowid_does_the_same_and_stays_one),
        CASE(after_an_io_error_nothing_is_written_and_all_is_read),
        CASE(a_lost_database_is_no_empty_store),
        CASE(a_lost_log_is_no_older_store),
        CASE(a_header_that_is_none_is_corrupt),
        CASE(a_page_that_is_none_is_corrupt),
        CASE(a_file_that_was_cut_short_is_corrupt),
        CASE(a_flipped_byte_within_a_value_is_told_by_the_value),
        CASE(a_log_ends_at_its_first_damaged_frame),
    };
    int skipped = find_peer("sqlite");

    return skipped ? skipped : cmocka_run_group_tests(tests, NULL, NULL);
}
