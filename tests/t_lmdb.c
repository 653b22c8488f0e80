/* t_lmdb.c -- what the contract test does not ask of LMDB: a map that grows among sessions, a damaged file. */
#include "tests/peer_util.h"

#define WORKERS 4
#define ROUNDS  1500

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

static void join(struct worker *workers, int count)
{
    for (int i = 0; i < count; i++)
        pthread_join(workers[i].thread, NULL);
    for (int i = 0; i < count; i++) {
        if (workers[i].status != KV_OK || workers[i].wrong) {
            print_error("worker %d: %s (%s), %llu wrong\n", i, kv_status_word(workers[i].status), workers[i].sentence,
                        (unsigned long long)workers[i].wrong);
            fail();
        }
    }
}

/* Writes its share of the numbers, and reads what it wrote: a session sees its own writes, wherever the map is. */
static void *write_share(void *arg)
{
    struct worker     *worker = arg;
    struct kv_session *session;
    enum value_verdict verdict;

    if (!fine(worker, kv_session_open(worker->store, &session)))
        return NULL;
    for (uint64_t i = 0; i < ROUNDS && worker->status == KV_OK; i++) {
        uint64_t number = i * WORKERS + worker->number, earlier = i / 2 * WORKERS + worker->number;

        if (fine(worker, put_numbered(session, number, 24 + (uint32_t)(number % 3000))) &&
            fine(worker, get_numbered(session, earlier, &verdict)))
            worker->wrong += verdict != VALUE_GOOD;
    }
    kv_session_close(session);
    return NULL;
}

struct seen {
    uint64_t count, wrong;
};

static bool see(void *arg, slice key, slice value)
{
    struct seen *seen = arg;

    seen->count++;
    seen->wrong += value_check(key, value) != VALUE_GOOD;
    return true;
}

/* Scans and snapshots stay in their transaction for long. */
static void *scan_on(void *arg)
{
    struct worker     *worker = arg;
    struct kv_session *session;
    uint64_t           before = 0;
    int                null = open("/dev/null", O_WRONLY | O_CLOEXEC);

    if (!fine(worker, kv_session_open(worker->store, &session)))
        return NULL;
    while (!__atomic_load_n(worker->stop, __ATOMIC_ACQUIRE) && worker->status == KV_OK) {
        struct seen seen = {0};

        if (fine(worker, kv_scan(session, (slice){0}, see, &seen)) && fine(worker, kv_snapshot(session, null)))
            worker->wrong += seen.wrong + (seen.count < before);
        before = seen.count;
    }
    kv_session_close(session);
    close(null);
    return NULL;
}

static void grow_among_sessions(const char *sets)
{
    struct db     db = open_db(KV_TIER_PROCESS, sets);
    struct worker workers[WORKERS + 1] = {0};
    bool          stop = false;

    for (unsigned i = 0; i <= WORKERS; i++) {
        workers[i] = (struct worker){.store = db.store, .number = i, .stop = &stop};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, i < WORKERS ? write_share : scan_on, &workers[i]), 0);
    }
    join(workers, WORKERS);
    __atomic_store_n(&stop, true, __ATOMIC_RELEASE);
    join(workers + WORKERS, 1);
    assert_true(kv_stat(db.store, "map_bytes") >= (8u << 20)); /* three times larger, at least */
    assert_int_equal(kv_stat(db.store, "live_keys"), WORKERS * ROUNDS);
    expect_numbered(db.session, WORKERS * ROUNDS);
    close_db(&db);
    db = open_db(KV_TIER_PROCESS, sets); /* with an option that is too small by now */
    expect_numbered(db.session, WORKERS * ROUNDS);
    close_db(&db);
}

TEST(the_map_grows_among_running_sessions)
{
    BODY;
    grow_among_sessions("map_bytes=1M");
}

TEST(a_map_that_is_written_through_grows_among_running_sessions)
{
    BODY;
    grow_among_sessions("map_bytes=1M writemap=true");
}

static void a_batch_outgrows(const char *sets)
{
    struct db        db = open_db(KV_TIER_PROCESS, sets);
    struct kv_write *writes = calloc(2000, sizeof *writes);
    char             (*names)[32] = calloc(2000, sizeof *names), (*values)[PEER_VALUE_MAX] = calloc(2000, sizeof *values);

    for (uint64_t i = 0; i < 2000; i++) {
        writes[i] = (struct kv_write){.kind = KV_PUT, .key = peer_key(i, names[i])};
        value_make(values[i], PEER_VALUE_MAX, writes[i].key, 1, i, 0.5);
        writes[i].value = slice_of(values[i], PEER_VALUE_MAX);
    }
    must(kv_write(db.session, writes, 2000));
    expect_numbered(db.session, 2000);
    close_db(&db);
    free(writes);
    free(names);
    free(values);
}

TEST(a_batch_larger_than_the_map_is_taken_whole)
{
    BODY;
    a_batch_outgrows("map_bytes=1M");
    assert_int_equal(nftw(dir, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
    a_batch_outgrows("map_bytes=1M writemap=true");
}

/* Every session's transaction belongs to the file that was, and gets one of the file that is. */
TEST(a_compaction_among_running_sessions_loses_nothing)
{
    struct db     db = open_db(KV_TIER_PROCESS, "map_bytes=2M");
    struct worker workers[WORKERS + 1] = {0};
    bool          stop = false;

    BODY;
    for (unsigned i = 0; i <= WORKERS; i++) {
        workers[i] = (struct worker){.store = db.store, .number = i, .stop = &stop};
        assert_int_equal(pthread_create(&workers[i].thread, NULL, i < WORKERS ? write_share : scan_on, &workers[i]), 0);
    }
    for (int i = 0; i < 5; i++) {
        must(kv_compact(db.session));
        usleep(20000);
    }
    join(workers, WORKERS);
    __atomic_store_n(&stop, true, __ATOMIC_RELEASE);
    join(workers + WORKERS, 1);
    must(kv_compact(db.session));
    expect_numbered(db.session, WORKERS * ROUNDS);
    close_db(&db);
    db = open_db(KV_TIER_COMMIT, "");
    expect_numbered(db.session, WORKERS * ROUNDS);
    close_db(&db);
}

/* A store into a hole of the file would be SIGBUS. */
TEST(a_full_disk_is_an_error_with_a_written_map_too)
{
    struct db db;
    uint64_t  count = 0;
    kv_status status = KV_OK;

    BODY;
    if (mount("assay", root, "tmpfs", 0, "size=16m") != 0)
        skip();
    db = open_db(KV_TIER_PROCESS, "writemap=true");
    while (count < 20000 && (status = put_numbered(db.session, count, PEER_VALUE_MAX)) == KV_OK)
        count++;
    assert_int_equal(status, KV_NO_SPACE);
    assert_int_equal(put_numbered(db.session, count, PEER_VALUE_MAX), KV_NO_SPACE);
    expect_numbered(db.session, count);
    close_db(&db);
    db = open_db(KV_TIER_PROCESS, "writemap=true");
    expect_numbered(db.session, count);
    close_db(&db);
}

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true /* has all addresses for itself */
#else
#define SANITIZED false
#endif

static uint64_t pages_mapped(void)
{
    FILE    *statm = fopen("/proc/self/statm", "re");
    uint64_t pages = 0;

    assert_true(statm && fscanf(statm, "%" SCNu64, &pages) == 1);
    fclose(statm);
    return pages;
}

TEST(a_map_that_cannot_grow_changes_nothing)
{
    struct db          db;
    struct kv_session *other;
    struct rlimit      was, less;
    uint64_t           count = 0;
    kv_status          status = KV_OK;

    BODY;
    if (SANITIZED)
        skip();
    db = open_db(KV_TIER_PROCESS, "map_bytes=1M");
    must(kv_session_open(db.store, &other));
    assert_int_equal(getrlimit(RLIMIT_AS, &was), 0);
    less = (struct rlimit){pages_mapped() * 4096 + (256u << 10), was.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_AS, &less), 0);
    while (count < 2000 && (status = put_numbered(db.session, count, 2000)) == KV_OK)
        count++;
    assert_int_equal(setrlimit(RLIMIT_AS, &was), 0);
    assert_int_equal(status, KV_NO_MEMORY);
    expect_numbered(db.session, count);
    expect_numbered(other, count);
    for (uint64_t i = count; i < 1000; i++)
        must(put_numbered(other, i, 2000));
    expect_numbered(db.session, 1000);
    kv_session_close(other);
    close_db(&db);
}

TEST(after_an_io_error_nothing_is_written_and_all_is_read)
{
    struct db db = open_db(KV_TIER_COMMIT, "");

    BODY;
    after_an_io_error_no_more_writes(&db, "");
}

TEST(more_sessions_than_readers_are_refused_and_say_which_option)
{
    struct db          db = open_db(KV_TIER_PROCESS, "readers=3");
    struct kv_session *more[3];

    BODY;
    must(kv_session_open(db.store, &more[0]));
    must(kv_session_open(db.store, &more[1]));
    assert_int_equal(kv_session_open(db.store, &more[2]), KV_INVALID);
    assert_non_null(strstr(fail_text(), "lmdb.readers"));
    kv_session_close(more[0]);
    must(kv_session_open(db.store, &more[2]));
    kv_session_close(more[1]);
    kv_session_close(more[2]);
    close_db(&db);
}

TEST(each_tier_has_its_flags)
{
    static const struct { enum kv_tier tier; const char *sets, *flags; } cases[] = {
        {KV_TIER_PROCESS, "", "MDB_NOSYNC|MDB_NOTLS"}, {KV_TIER_ORDERED, "", "MDB_NOMETASYNC|MDB_NOTLS"},
        {KV_TIER_INTERVAL, "", "MDB_NOMETASYNC|MDB_NOTLS"}, {KV_TIER_COMMIT, "", "MDB_NOTLS"},
        {KV_TIER_COMMIT, "writemap=true readahead=false", "MDB_WRITEMAP|MDB_NOTLS|MDB_NORDAHEAD"},
    };

    BODY;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct db db = open_db(cases[i].tier, cases[i].sets);

        expect_setting(&db, "flags", cases[i].flags);
        close_db(&db);
    }
}

/* Damage. */

static void fill(uint64_t count)
{
    struct db db = open_db(KV_TIER_PROCESS, "");

    for (uint64_t i = 0; i < count; i++)
        must(put_numbered(db.session, i, 100));
    close_db(&db);
}

TEST(a_file_that_was_cut_short_is_corrupt)
{
    char        path[400];
    struct stat about;
    struct db   db;

    BODY;
    fill(3000);
    snprintf(path, sizeof path, "%s/data.mdb", dir);
    assert_int_equal(truncate(path, 20 * 4096), 0);
    for (int written = 0; written < 2; written++) {
        assert_int_equal(try_open(&db, KV_TIER_PROCESS, written ? "writemap=true" : ""), KV_CORRUPT);
        assert_non_null(strstr(fail_text(), "data.mdb"));
        assert_int_equal(stat(path, &about), 0); /* though a map that is written makes the file as long as itself */
        assert_int_equal(about.st_size, 20 * 4096);
    }
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(try_open(&db, KV_TIER_PROCESS, ""), KV_CORRUPT);
}

TEST(a_lost_data_file_is_no_empty_store)
{
    BODY;
    a_lost_file_is_corruption("data.mdb");
}

TEST(a_meta_page_that_is_none_is_corrupt)
{
    static const char zeros[64];
    struct db         db;

    BODY;
    fill(100);
    alter_file("data.mdb", 4096, zeros, sizeof zeros);
    assert_int_equal(try_open(&db, KV_TIER_PROCESS, ""), KV_CORRUPT);
    assert_non_null(strstr(fail_text(), "data.mdb"));
}

TEST(a_page_that_is_none_is_corrupt)
{
    static const char  zeros[200 * 4096];
    enum value_verdict verdict;
    struct seen        seen = {0};
    struct db          db;

    BODY;
    fill(3000);
    alter_file("data.mdb", 2 * 4096, zeros, sizeof zeros); /* all that are no meta pages */
    db = open_db(KV_TIER_PROCESS, "");
    assert_int_equal(get_numbered(db.session, 7, &verdict), KV_CORRUPT);
    assert_int_equal(kv_scan(db.session, (slice){0}, see, &seen), KV_CORRUPT);
    assert_int_equal(seen.count, 0);
    close_db(&db);
}

/* LMDB has no checksums, as the banner of its plug-in says; the harness's values tell. */
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
    while ((at = find_in_file("data.mdb", slice_of(value, sizeof value))) >= 0) /* also in pages of versions before */
        alter_file("data.mdb", at + 50, &(char){(char)~value[50]}, 1);
    db = open_db(KV_TIER_PROCESS, "");
    must(get_numbered(db.session, 7, &verdict));
    assert_int_equal(verdict, VALUE_TORN);
    must(get_numbered(db.session, 8, &verdict));
    assert_int_equal(verdict, VALUE_GOOD);
    close_db(&db);
}

TEST(what_a_crash_left_half_made_is_made_again)
{
    struct db db;
    char      path[400];
    int       fd;

    BODY;
    fill(0);
    snprintf(path, sizeof path, "%s/data.mdb", dir);
    assert_int_equal(unlink(path), 0);
    snprintf(path, sizeof path, "%s/MADE", dir);
    assert_int_equal(unlink(path), 0);
    snprintf(path, sizeof path, "%s/data.new", dir);
    fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
    assert_int_equal(ftruncate(fd, 5000), 0);
    close(fd);
    db = open_db(KV_TIER_COMMIT, "");
    must(put_numbered(db.session, 0, 100));
    close_db(&db);
    assert_int_equal(access(path, F_OK), -1);
    db = open_db(KV_TIER_COMMIT, "");
    expect_numbered(db.session, 1);
    close_db(&db);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, make_root, remove_root)
    const struct CMUnitTest tests[] = {
        CASE(the_map_grows_among_running_sessions),
        CASE(a_map_that_is_written_through_grows_among_running_sessions),
        CASE(a_batch_larger_than_the_map_is_taken_whole),
        CASE(a_compaction_among_running_sessions_loses_nothing),
        CASE(a_full_disk_is_an_error_with_a_written_map_too),
        CASE(a_map_that_cannot_grow_changes_nothing),
        CASE(after_an_io_error_nothing_is_written_and_all_is_read),
        CASE(more_sessions_than_readers_are_refused_and_say_which_option),
        CASE(each_tier_has_its_flags),
        CASE(a_file_that_was_cut_short_is_corrupt),
        CASE(a_lost_data_file_is_no_empty_store),
        CASE(a_meta_page_that_is_none_is_corrupt),
        CASE(a_page_that_is_none_is_corrupt),
        CASE(a_flipped_byte_within_a_value_is_told_by_the_value),
        CASE(what_a_crash_left_half_made_is_made_again),
    };
    int skipped = find_peer("lmdb");

    return skipped ? skipped : cmocka_run_group_tests(tests, NULL, NULL);
}
