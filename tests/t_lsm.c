/* t_lsm.c -- the tree: known defects of other trees by name, and what it owes the system. */
#define ENGINE lsm_engine
#include "tests/bitcask_util.h"

#include <sys/mount.h>

/* Flushes after some tens of entries; merges soon. */
#define TINY "memtable_bytes=4096 level_bytes=16k table_bytes=8k small_bytes=8k runs=2 level_ratio=2 slowdown_runs=1000 compression=none "

static const char *const policies[] = {"leveled", "size-tiered", "count-tiered"};

static struct db open_policy(int policy, const char *options)
{
    char text[256];

    snprintf(text, sizeof text, TINY "compaction=%s %s", policies[policy], options);
    return open_db(at("db"), text);
}

static void settle(struct db *db)
{
    while (kv_stat(db->store, "debt_bytes") > 0)
        usleep(1000);
}

static const char *key_text(const char *prefix, int number)
{
    static char text[4][64];
    static int  next;
    char       *out = text[next++ % 4];

    snprintf(out, sizeof text[0], "%s%04d", prefix, number);
    return out;
}

/* So many entries of other keys, which sort behind those of the tests: memtables fill, and are written out. */
static void push(struct db *db, int entries)
{
    static int round;
    char       value[200];

    memset(value, 'x', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    round++;
    for (int i = 0; i < entries; i++)
        put(db, key_text("zzz", (round * 7919 + i) % 5000), value);
}

static void reopen(struct db *db, int policy)
{
    close_db(db);
    *db = open_policy(policy, "");
}

/* kevo dropped every tombstone in every merge: a key that lay deeper was back. */
static void defect_07_a_tombstone_is_kept_while_something_older_remains(void **state)
{
    (void)state;
    for (int policy = 0; policy < 3; policy++) {
        struct db db;
        uint64_t  compactions;
        remove_tree(at("db"));
        db = open_policy(policy, "");
        for (int i = 0; i < 200; i++)
            put(&db, key_text("key", i), "old");
        push(&db, 2000);
        settle(&db);
        must(kv_compact(db.session)); /* the puts lie at the bottom, some levels down or in a run much larger than others */
        compactions = kv_stat(db.store, "compactions");
        for (int i = 0; i < 200; i += 2)
            must(kv_del(db.session, slice_text(key_text("key", i))));
        for (int round = 0; round < 8; round++) {
            push(&db, 100);
            for (int i = 0; i < 200; i++)
                assert_string_equal(get(&db, key_text("key", i)), i % 2 ? "old" : "(absent)");
        }
        settle(&db);
        assert_true(kv_stat(db.store, "compactions") > compactions);
        reopen(&db, policy);
        must(kv_compact(db.session));
        for (int i = 0; i < 200; i++)
            assert_string_equal(get(&db, key_text("key", i)), i % 2 ? "old" : "(absent)");
        close_db(&db);
    }
}

/* crumbs' lsm lost what stood beside a tombstone. */
static void defect_09_the_neighbours_of_a_tombstone_live(void **state)
{
    (void)state;
    for (int policy = 0; policy < 3; policy++) {
        struct db db;
        remove_tree(at("db"));
        db = open_policy(policy, "block_bytes=64 restart_interval=2");
        for (int round = 0; round < 5; round++) {
            for (int i = 0; i < 300; i++)
                put(&db, key_text("key", i), key_text("value", i + round));
            for (int i = round; i < 300; i += 5)
                must(kv_del(db.session, slice_text(key_text("key", i))));
            if (round % 2)
                must(kv_compact(db.session));
            for (int i = 0; i < 300; i++)
                assert_string_equal(get(&db, key_text("key", i)), i % 5 == round ? "(absent)" : key_text("value", i + round));
        }
        close_db(&db);
    }
}

/* Three of the five searched the oldest table first. */
static void defect_10_the_youngest_version_is_read(void **state)
{
    (void)state;
    for (int policy = 0; policy < 3; policy++) {
        struct db db;
        remove_tree(at("db"));
        db = open_policy(policy, "");
        for (int round = 0; round < 30; round++) {
            for (int i = 0; i < 20; i++)
                put(&db, key_text("key", i), key_text("round", round));
            push(&db, 10 + round % 7);
            for (int i = 0; i < 20; i++)
                assert_string_equal(get(&db, key_text("key", i)), key_text("round", round));
            if (round % 10 == 9)
                reopen(&db, (policy + round / 10) % 3); /* and over what another policy has left */
        }
        close_db(&db);
    }
}

/* kevo wrote on into a log that was removed. */
static void defect_14_no_log_that_is_written_is_removed(void **state)
{
    struct db db = open_policy(0, "");

    (void)state;
    for (int round = 0; round < 40; round++) {
        DIR           *list;
        struct dirent *entry;
        push(&db, 60);
        if (round % 8 == 7)
            must(kv_compact(db.session));
        put(&db, key_text("last", round), "there");
        settle(&db);
        list = opendir("/proc/self/fd");
        assert_non_null(list);
        while ((entry = readdir(list)) != NULL) {
            char link[512] = "";
            /* A log that is in a table is removed first, and closed a moment later; it is not the one that is written. */
            for (int tries = 0; tries < 500; tries++) {
                ssize_t size = readlinkat(dirfd(list), entry->d_name, link, sizeof link - 1);
                link[size < 0 ? 0 : size] = '\0';
                if (!strstr(link, ".wal (deleted)"))
                    break;
                usleep(10000);
            }
            assert_null(strstr(link, ".wal (deleted)"));
        }
        closedir(list);
        reopen(&db, 0);
        for (int i = 0; i <= round; i++)
            assert_string_equal(get(&db, key_text("last", i)), "there");
    }
    close_db(&db);
}

/* kevo counted the first insert of a key only. */
static void defect_16_overwrites_fill_a_memtable_too(void **state)
{
    struct db db = open_db(at("db"), "memtable_bytes=16k compression=none");
    char      value[512];

    (void)state;
    for (int i = 0; i < 4000; i++) {
        snprintf(value, sizeof value, "%0400d", i);
        put(&db, "always the same key", value);
    }
    /* 4000 entries of some 450 bytes, and 16 KiB each; a memtable is never much larger than it may be. */
    assert_in_range(kv_stat(db.store, "rotations"), 4000 * 400 / 16384, 4000 * 500 / 16384 + 10);
    settle(&db);
    assert_true(kv_stat(db.store, "memory_bytes") - kv_stat(db.store, "cache_bytes") < 5 * 16384 + 100000);
    close_db(&db);
}

/* crumbs' lsm forgot a memtable that could not be written. */
static void defect_24_a_flush_that_fails_loses_nothing(void **state)
{
    char      disk[600], dir[700], value[1000];
    struct db db;
    int       written = 0, after;

    (void)state;
    snprintf(disk, sizeof disk, "%s", at("disk"));
    snprintf(dir, sizeof dir, "%s/db", disk);
    assert_int_equal(mkdir(disk, 0755), 0);
    if (mount("assay", disk, "tmpfs", 0, "size=2m") != 0)
        skip();
    db = open_db(dir, "memtable_bytes=64k table_bytes=64k compression=none");
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    for (kv_status status = KV_OK; status == KV_OK && written < 5000; written += status == KV_OK) {
        status = kv_put(db.session, slice_text(key_text("key", written)), slice_text(value));
        if (status != KV_OK)
            assert_int_equal(status, KV_NO_SPACE);
    }
    assert_in_range(written, 100, 4999);
    for (int i = 0; i < written; i++)
        assert_int_equal(strlen(get(&db, key_text("key", i))), 511); /* as much as get() takes of it */
    assert_int_equal(mount("assay", disk, "tmpfs", MS_REMOUNT, "size=64m"), 0);
    after = written + 300;
    for (int tries = 0; written < after; tries++) { /* the flusher tries again from time to time */
        kv_status status = kv_put(db.session, slice_text(key_text("key", written)), slice_text(value));
        assert_true(status == KV_OK || (status == KV_NO_SPACE && tries < 1000));
        written += status == KV_OK;
        if (status != KV_OK)
            usleep(10000);
    }
    close_db(&db);
    db = open_db(dir, "");
    for (int i = 0; i < written; i++)
        assert_int_equal(strlen(get(&db, key_text("key", i))), 511);
    close_db(&db);
    umount2(disk, MNT_DETACH);
}

/* crumbs' lsm could not close when nothing was in its active table. */
static void defect_32_an_empty_tree_closes(void **state)
{
    struct db db;

    (void)state;
    for (int policy = 0; policy < 3; policy++) {
        remove_tree(at("db"));
        db = open_policy(policy, "");
        reopen(&db, policy);
        must(kv_compact(db.session));
        must(kv_sync(db.session));
        reopen(&db, policy);
        put(&db, "a", "1");
        must(kv_compact(db.session)); /* the active memtable is empty again */
        reopen(&db, policy);
        assert_string_equal(get(&db, "a"), "1");
        must(kv_del(db.session, slice_text("a")));
        must(kv_compact(db.session)); /* and now so is the tree */
        assert_int_equal(kv_stat(db.store, "tables"), 0);
        reopen(&db, policy);
        assert_string_equal(get(&db, "a"), "(absent)");
        close_db(&db);
    }
}

/* kevo merged in the writer.  Here a merge is so slow that it never ends: writers go on, and so does a close. */
static void defect_33_no_writer_waits_for_a_merge(void **state)
{
    struct db db = open_db(at("db"), "memtable_bytes=64k runs=2 slowdown_runs=1000 compression=none rate=1k");
    char      value[400];

    (void)state;
    memset(value, 'v', sizeof value - 1);
    value[sizeof value - 1] = '\0';
    for (int i = 0; i < 5000; i++)
        put(&db, key_text("key", i * 7919 % 5000), value);
    assert_true(kv_stat(db.store, "flushes") > 20);
    assert_int_equal(kv_stat(db.store, "compactions"), 0);
    for (int i = 0; i < 5000; i++)
        assert_string_equal(get(&db, key_text("key", i)), value);
    close_db(&db);
}

static int descriptors(void)
{
    DIR *list = opendir("/proc/self/fd");
    int  count = 0;

    assert_non_null(list);
    while (readdir(list))
        count++;
    closedir(list);
    return count;
}

static void a_tree_of_many_tables_opens_few_of_them(void **state)
{
    int       before = descriptors();
    struct db db = open_policy(0, "open_files=3 cache_bytes=1k table_bytes=4096");

    (void)state;
    for (int i = 0; i < 3000; i++)
        put(&db, key_text("a key of some length, so that there are more tables ", i), key_text("a value, likewise: ", i));
    must(kv_compact(db.session));
    settle(&db);
    assert_true(kv_stat(db.store, "tables") > 15);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 3000; i += 3)
            assert_string_equal(get(&db, key_text("a key of some length, so that there are more tables ", i)), key_text("a value, likewise: ", i));
        assert_in_range(descriptors() - before, 1, 3 + 8); /* and some logs, and the lock */
        close_db(&db);
        db = open_policy(0, "open_files=3 cache_bytes=1k table_bytes=4096");
    }
    close_db(&db);
}

/* Who only puts never comes to where readers free what was retired. */
static void a_session_that_only_writes_keeps_nothing_old(void **state)
{
    struct db db = open_policy(0, "");

    (void)state;
    for (int i = 0; i < 200; i++)
        push(&db, 20);
    settle(&db);
    push(&db, 1);
    assert_true(kv_stat(db.store, "rotations") > 100);
    assert_true((uint64_t)files(at("db"), ".table", NULL) < kv_stat(db.store, "tables") + 30);
    close_db(&db);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make_root, remove_root)
    const struct CMUnitTest tests[] = {
        TEST(defect_07_a_tombstone_is_kept_while_something_older_remains),
        TEST(defect_09_the_neighbours_of_a_tombstone_live),
        TEST(defect_10_the_youngest_version_is_read),
        TEST(defect_14_no_log_that_is_written_is_removed),
        TEST(defect_16_overwrites_fill_a_memtable_too),
        TEST(defect_24_a_flush_that_fails_loses_nothing),
        TEST(defect_32_an_empty_tree_closes),
        TEST(defect_33_no_writer_waits_for_a_merge),
        TEST(a_tree_of_many_tables_opens_few_of_them),
        TEST(a_session_that_only_writes_keeps_nothing_old),
    };

    /* A disk would be waited for, and nothing else: flushes come often here. */
    if (access("/dev/shm", W_OK) == 0)
        setenv("TMPDIR", "/dev/shm", 1);
    return cmocka_run_group_tests_name("lsm", tests, NULL, NULL);
}
