/* t_tkrzw.c -- what the contract test does not ask of Tkrzw: a lost file, a damaged one. */
#include "tests/peer_util.h"

static const char *file_name(void)
{
    return strcmp(engine->name, "tkrzw-tree") == 0 ? "tree.tkt" : "hash.tkh";
}

TEST(a_store_that_lost_its_file_is_corrupt_and_not_empty)
{
    BODY;
    a_lost_file_is_corruption(file_name());
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

/* A file comes into its place whole, so one that is there without the mark is good: it was made before there was the mark, or by a
 * process that ended just then. */
TEST(a_store_without_the_mark_keeps_its_records_and_gets_it)
{
    BODY;
    char      path[400];
    struct db db = open_db(KV_TIER_PROCESS, "");

    must(put_numbered(db.session, 0, 100));
    close_db(&db);
    snprintf(path, sizeof path, "%s/MADE", dir);
    assert_int_equal(unlink(path), 0);
    db = open_db(KV_TIER_PROCESS, "");
    expect_numbered(db.session, 1);
    close_db(&db);
    assert_int_equal(access(path, F_OK), 0);
}

#define ROW(test) cmocka_unit_test_setup_teardown(test, make_root, remove_root)

static const struct CMUnitTest of_both[] = {
    ROW(a_store_that_lost_its_file_is_corrupt_and_not_empty),
    ROW(a_file_without_its_beginning_is_corrupt_and_named),
    ROW(a_store_without_the_mark_keeps_its_records_and_gets_it),
};

int main(void)
{
    int rc = find_peer("tkrzw-hash"), failed;

    if (rc)
        return rc;
    failed = cmocka_run_group_tests(of_both, NULL, NULL);
    if ((rc = find_peer("tkrzw-tree")) != 0)
        return rc;
    return failed + cmocka_run_group_tests(of_both, NULL, NULL);
}
