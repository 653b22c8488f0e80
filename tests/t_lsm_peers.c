/* t_lsm_peers.c -- what the contract test does not ask of RocksDB and LevelDB: damaged and lost files, options that reach the library. */
#include "tests/peer_util.h"

#include <dirent.h>

#define KEYS 3000

static const struct kv_engine *rocksdb, *leveldb;

static int use_rocksdb(void **state)
{
    engine = rocksdb;
    return make_root(state);
}

static int use_leveldb(void **state)
{
    engine = leveldb;
    return make_root(state);
}

/* The file with the lowest name that ends so; below dir, as alter_file wants it. */
static const char *file_with(const char *ending)
{
    static char          name[300];
    char                 path[400];
    DIR                 *files;
    const struct dirent *entry;

    *name = '\0';
    snprintf(path, sizeof path, "%s/db", dir);
    files = opendir(path);
    assert_non_null(files);
    while ((entry = readdir(files))) {
        const char *end = strstr(entry->d_name, ending);
        if (end && !end[strlen(ending)] && (!*name || strcmp(entry->d_name, name + 3) < 0))
            snprintf(name, sizeof name, "db/%s", entry->d_name);
    }
    closedir(files);
    assert_true(*name);
    return name;
}

static const char *table_ending(void)
{
    return engine == rocksdb ? ".sst" : ".ldb";
}

static off_t file_bytes(const char *name)
{
    char        path[700];
    struct stat about;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(stat(path, &about), 0);
    return about.st_size;
}

static void lose(const char *name)
{
    char path[700], away[700];

    snprintf(path, sizeof path, "%s/%s", dir, name);
    snprintf(away, sizeof away, "%s/lost", root);
    assert_int_equal(rename(path, away), 0);
}

/* A store whose keys are all in tables. */
static void make_tables(void)
{
    struct db db = open_db(KV_TIER_PROCESS, "");

    for (uint64_t i = 0; i < KEYS; i++)
        must(put_numbered(db.session, i, 200));
    must(kv_compact(db.session));
    expect_numbered(db.session, KEYS);
    close_db(&db);
}

/* Every key is right, or an error that names the store. */
static size_t errors_in(struct db *db)
{
    size_t errors = 0;

    for (uint64_t i = 0; i < KEYS; i++) {
        enum value_verdict verdict;
        kv_status          status = get_numbered(db->session, i, &verdict);

        if (status == KV_OK) {
            assert_int_equal(verdict, VALUE_GOOD);
            continue;
        }
        assert_int_equal(status, KV_CORRUPT);
        assert_non_null(strstr(fail_text(), dir));
        errors++;
    }
    return errors;
}

TEST(a_damaged_table_is_an_error_and_never_wrong_data)
{
    const char *table;
    off_t       bytes;
    size_t      seen = 0;

    BODY;
    make_tables();
    table = file_with(table_ending());
    bytes = file_bytes(table);
    for (int i = 0; i < 24; i++) {
        off_t         at = i < 20 ? bytes * i / 20 : bytes - 1 - 40 * (i - 20);
        char          path[700];
        unsigned char old, new;
        struct db     db;
        kv_status     status;
        int           fd;

        snprintf(path, sizeof path, "%s/%s", dir, table);
        fd = open(path, O_RDONLY | O_CLOEXEC);
        assert_int_equal(pread(fd, &old, 1, at), 1);
        close(fd);
        new = old ^ 0x20;
        alter_file(table, at, &new, 1);
        status = try_open(&db, KV_TIER_PROCESS, "");
        if (status == KV_OK) {
            seen += errors_in(&db) > 0;
            close_db(&db);
        } else {
            assert_int_equal(status, KV_CORRUPT);
            assert_non_null(strstr(fail_text(), dir));
            seen++;
        }
        alter_file(table, at, &old, 1);
    }
    assert_true(seen >= 15); /* the rest hit what is read around: a filter, statistics of the table */
    struct db db = open_db(KV_TIER_PROCESS, "");
    expect_numbered(db.session, KEYS);
    close_db(&db);
}

/* A store that lost files does not open, or says so when it is read: it never passes for one that has fewer keys. */
static void expect_refused(void)
{
    struct db db;
    kv_status status = try_open(&db, KV_TIER_PROCESS, "");

    if (status == KV_OK) {
        assert_true(errors_in(&db) > 0);
        close_db(&db);
        return;
    }
    assert_true(status == KV_CORRUPT || status == KV_IO);
    assert_non_null(strstr(fail_text(), dir));
}

TEST(a_lost_table_is_an_error)
{
    BODY;
    make_tables();
    lose(file_with(table_ending()));
    expect_refused();
}

TEST(a_lost_current_is_an_error_and_no_empty_store)
{
    BODY;
    make_tables();
    lose("db/CURRENT");
    expect_refused();
}

TEST(a_lost_database_is_an_error_and_no_empty_store)
{
    BODY;
    make_tables();
    lose("db");
    expect_refused();
    expect_refused(); /* the first refusal made nothing either */
}

TEST(options_by_their_own_names_reach_rocksdb)
{
    struct db db = open_db(KV_TIER_COMMIT, "more=max_subcompactions=3;compaction_pri=kOldestLargestSeqFirst bloom_bits=0");

    BODY;
    expect_setting(&db, "max_subcompactions", "3");
    expect_setting(&db, "compaction_pri", "kOldestLargestSeqFirst");
    expect_setting(&db, "filter_policy", "nullptr");
    expect_setting(&db, "WriteOptions.sync", "true");
    expect_setting(&db, "wal_recovery_mode", "kPointInTimeRecovery");
    close_db(&db);
    snprintf(dir, sizeof dir, "%s/new", root);
    assert_int_equal(try_open(&db, KV_TIER_PROCESS, "more=no_such_option=1"), KV_INVALID);
    assert_non_null(strstr(fail_text(), "no_such_option"));
    assert_int_equal(access(dir, F_OK), -1);
}

int main(void)
{
#define BOTH(test) {"rocksdb: " #test, test, use_rocksdb, remove_root, NULL}, {"leveldb: " #test, test, use_leveldb, remove_root, NULL}
    const struct CMUnitTest tests[] = {
        BOTH(a_damaged_table_is_an_error_and_never_wrong_data),
        BOTH(a_lost_table_is_an_error),
        BOTH(a_lost_current_is_an_error_and_no_empty_store),
        BOTH(a_lost_database_is_an_error_and_no_empty_store),
        {"rocksdb: options_by_their_own_names_reach_rocksdb", options_by_their_own_names_reach_rocksdb, use_rocksdb, remove_root,
         NULL},
    };
    int missing = find_peer("rocksdb");

    rocksdb = engine;
    if (!missing)
        missing = find_peer("leveldb");
    leveldb = engine;
    return missing ? missing : cmocka_run_group_tests(tests, NULL, NULL);
}
