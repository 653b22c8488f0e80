/* t_kyoto.c -- what the contract test does not ask of Kyoto Cabinet: a killed tree whose meta data is older than its leaves, a lost file. */
#define XXH_INLINE_ALL
#include <endian.h>
#include <sys/wait.h>
#include <xxhash.h>

#include "tests/peer_util.h"

#define RECORDS 40
#define BATCH   6

static bool count_good(void *arg, slice key, slice value)
{
    uint64_t *good = arg;

    *good += value_check(key, value) == VALUE_GOOD;
    return true;
}

/* Takes the smallest keys away, and so the first leaf, and gives as many new ones: the library finds its counts as they were. */
static void exchange_smallest(struct kv_session *session)
{
    struct kv_write writes[2 * BATCH];
    char            names[2 * BATCH][32], values[BATCH][64];

    for (unsigned i = 0; i < BATCH; i++) {
        struct kv_write *put = &writes[BATCH + i];

        writes[i] = (struct kv_write){.kind = KV_DELETE, .key = peer_key(i, names[i])};
        *put = (struct kv_write){.kind = KV_PUT, .key = peer_key(RECORDS + i, names[BATCH + i])};
        value_make(values[i], sizeof values[i], put->key, 1, RECORDS + i, 0.5);
        put->value = slice_of(values[i], sizeof values[i]);
    }
    must(kv_write(session, writes, 2 * BATCH));
}

static void after_a_kill(void (*work)(struct kv_session *session), enum kv_tier tier)
{
    pid_t child = fork();
    int   how;

    assert_true(child >= 0);
    if (child == 0) {
        struct db db = open_db(tier, "");

        for (uint64_t i = 0; i < RECORDS; i++)
            must(put_numbered(db.session, i, 3000));
        work(db.session);
        raise(SIGKILL);
    }
    assert_int_equal(waitpid(child, &how, 0), child);
    assert_true(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL);
}

TEST(a_batch_that_takes_the_first_leaf_away_does_not_hide_the_rest_from_a_scan_after_a_kill)
{
    BODY;
    uint64_t  good = 0;
    struct db db;

    after_a_kill(exchange_smallest, KV_TIER_PROCESS);
    db = open_db(KV_TIER_PROCESS, "");
    must(kv_scan(db.session, (slice){0}, count_good, &good));
    assert_int_equal(good, RECORDS);
    close_db(&db);
}

/* All keys go, and as many others come, in one batch: the root is another one for a while. */
static void exchange_all(struct kv_session *session)
{
    struct kv_write writes[2 * RECORDS];
    char            names[2 * RECORDS][32], values[RECORDS][24];

    for (unsigned i = 0; i < RECORDS; i++) {
        struct kv_write *put = &writes[RECORDS + i];

        writes[i] = (struct kv_write){.kind = KV_DELETE, .key = peer_key(i, names[i])};
        *put = (struct kv_write){.kind = KV_PUT, .key = peer_key(RECORDS + i, names[RECORDS + i])};
        value_make(values[i], sizeof values[i], put->key, 1, RECORDS + i, 0.5);
        put->value = slice_of(values[i], sizeof values[i]);
    }
    must(kv_write(session, writes, 2 * RECORDS));
}

TEST(a_batch_that_takes_every_leaf_away_leaves_a_tree_that_opens_after_a_kill)
{
    BODY;
    uint64_t  good = 0;
    struct db db;

    after_a_kill(exchange_all, KV_TIER_COMMIT);
    db = open_db(KV_TIER_COMMIT, "");
    must(kv_scan(db.session, (slice){0}, count_good, &good));
    assert_int_equal(good, RECORDS);
    close_db(&db);
}

static void delete_one(struct kv_session *session)
{
    char name[32];

    must(kv_del(session, peer_key(3, name)));
}

TEST(a_killed_store_tells_how_many_keys_it_has_or_nothing)
{
    BODY;
    struct db db;
    uint64_t  told;

    after_a_kill(delete_one, KV_TIER_PROCESS);
    db = open_db(KV_TIER_PROCESS, "");
    told = kv_stat(db.store, "live_keys");
    if (told != KV_UNKNOWN)
        assert_int_equal(told, RECORDS - 1);
    close_db(&db);
}

static const char *file_name(void)
{
    return strcmp(engine->name, "kyoto-tree") == 0 ? "tree.kct" : "hash.kch";
}

static off_t log_bytes(char path[400])
{
    struct stat about;

    snprintf(path, 400, "%s/%s.wal", dir, file_name());
    return stat(path, &about) == 0 ? about.st_size : -1;
}

/* Over the zeros of a longer one a torn record would look whole. */
TEST(between_writes_the_log_is_not_longer_than_a_page)
{
    BODY;
    struct db db = open_db(KV_TIER_PROCESS, "");
    char      path[400];

    for (uint64_t i = 0; i < 60; i++) {
        must(put_numbered(db.session, i % 20, 4000));
        assert_true(log_bytes(path) <= 4096);
    }
    close_db(&db);
}

static void nothing_more(struct kv_session *session)
{
    (void)session;
}

TEST(a_record_of_the_log_that_a_kill_tore_is_left_out)
{
    BODY;
    unsigned char log[4096] = "KW\n";
    char          path[400], data[400];
    struct stat   about;
    uint64_t      bytes, at, size = htobe64(8192);
    struct db     db;
    int           fd;

    after_a_kill(nothing_more, KV_TIER_PROCESS);
    assert_true(log_bytes(path) >= 0);
    snprintf(data, sizeof data, "%s/%s", dir, file_name());
    assert_int_equal(stat(data, &about), 0);
    bytes = htobe64((uint64_t)about.st_size);
    at = htobe64((uint64_t)about.st_size - 8192);
    memcpy(log + 4, &bytes, 8);
    log[12] = 0xee; /* the record of 8192 bytes, of which less than 4096 are there */
    memcpy(log + 13, &at, 8);
    memcpy(log + 21, &size, 8);
    fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    assert_int_equal(write(fd, log, sizeof log), sizeof log);
    close(fd);
    db = open_db(KV_TIER_PROCESS, "");
    expect_numbered(db.session, RECORDS);
    close_db(&db);
}

TEST(a_store_that_lost_its_file_is_corrupt_and_not_empty)
{
    BODY;
    a_lost_file_is_corruption(file_name());
}

TEST(a_lost_mark_costs_no_record)
{
    BODY;
    char      path[400];
    struct db db = open_db(KV_TIER_PROCESS, "");
    int       mark;

    snprintf(path, sizeof path, "%s/MADE", dir);
    for (uint64_t i = 0; i < 10; i++)
        must(put_numbered(db.session, i, 100));
    close_db(&db);
    assert_int_equal(unlink(path), 0);
    fail_set("%s", "");
    assert_int_equal(try_open(&db, KV_TIER_PROCESS, ""), KV_CORRUPT);
    assert_non_null(strstr(fail_text(), path));
    assert_true((mark = open(path, O_WRONLY | O_CREAT, 0666)) >= 0);
    close(mark);
    db = open_db(KV_TIER_PROCESS, "");
    expect_numbered(db.session, 10);
    close_db(&db);
}

TEST(a_store_whose_making_was_interrupted_is_made_again)
{
    BODY;
    half_a_making_is_made_again(file_name());
}

TEST(a_file_without_its_beginning_is_corrupt_and_named)
{
    BODY;
    static const char zeros[64];
    struct db         db = open_db(KV_TIER_PROCESS, "");

    must(put_numbered(db.session, 0, 100));
    close_db(&db);
    alter_file(file_name(), 0, zeros, sizeof zeros);
    assert_int_equal(try_open(&db, KV_TIER_PROCESS, ""), KV_CORRUPT);
    assert_non_null(strstr(fail_text(), file_name()));
}

/* So was a store made before there was the mark. */
TEST(a_store_without_the_mark_in_the_first_format_keeps_its_records)
{
    BODY;
    char              text[128], path[400];
    struct db         db = open_db(KV_TIER_PROCESS, "");
    int               size, fd;

    must(put_numbered(db.session, 0, 100));
    close_db(&db);
    snprintf(path, sizeof path, "%s/MADE", dir);
    assert_int_equal(unlink(path), 0);
    size = snprintf(text, sizeof text, "assay store 1\nengine %s\nformat 1\n", engine->name);
    size += snprintf(text + size, sizeof text - (size_t)size, "sum %016" PRIx64 "\n", XXH3_64bits(text, (size_t)size));
    snprintf(path, sizeof path, "%s/STORE", dir);
    fd = open(path, O_WRONLY | O_TRUNC | O_CLOEXEC);
    assert_int_equal(write(fd, text, (size_t)size), size);
    close(fd);
    db = open_db(KV_TIER_PROCESS, "");
    expect_numbered(db.session, 1);
    close_db(&db);
}

#define ROW(test) cmocka_unit_test_setup_teardown(test, make_root, remove_root)

static const struct CMUnitTest of_both[] = {
    ROW(a_killed_store_tells_how_many_keys_it_has_or_nothing),
    ROW(a_store_that_lost_its_file_is_corrupt_and_not_empty),
    ROW(a_lost_mark_costs_no_record),
    ROW(a_store_whose_making_was_interrupted_is_made_again),
    ROW(between_writes_the_log_is_not_longer_than_a_page),
    ROW(a_record_of_the_log_that_a_kill_tore_is_left_out),
    ROW(a_file_without_its_beginning_is_corrupt_and_named),
    ROW(a_store_without_the_mark_in_the_first_format_keeps_its_records),
};

static const struct CMUnitTest of_the_tree[] = {
    ROW(a_batch_that_takes_the_first_leaf_away_does_not_hide_the_rest_from_a_scan_after_a_kill),
    ROW(a_batch_that_takes_every_leaf_away_leaves_a_tree_that_opens_after_a_kill),
};

int main(void)
{
    int rc = find_peer("kyoto-hash"), failed;

    if (rc)
        return rc;
    failed = cmocka_run_group_tests(of_both, NULL, NULL);
    if ((rc = find_peer("kyoto-tree")) != 0)
        return rc;
    return failed + cmocka_run_group_tests(of_both, NULL, NULL) + cmocka_run_group_tests(of_the_tree, NULL, NULL);
}
