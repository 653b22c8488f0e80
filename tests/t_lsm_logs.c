/*
 * t_lsm_logs.c -- the numbers of the tree's logs are in the order in which they are used, whoever makes them; and a log of
 * which a table has the first part only is replayed from there.
 */
#define ENGINE lsm_engine
#include "tests/bitcask_util.h"

#include <pthread.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "engines/lsm/store.h"

#define PATIENCE 5000 /* ms */

/* The linker turns these calls of the engine's parts into ours. */
kv_status __real_manifest_write(const char *dir, const struct manifest *manifest, const struct version *version);
kv_status __wrap_manifest_write(const char *dir, const struct manifest *manifest, const struct version *version);
kv_status __real_table_open(const char *dir, uint64_t id, struct cache *cache, struct table **out);
kv_status __wrap_table_open(const char *dir, uint64_t id, struct cache *cache, struct table **out);
kv_status __real_tree_name_log(struct lsm *store, uint64_t id, enum naming naming);
kv_status __wrap_tree_name_log(struct lsm *store, uint64_t id, enum naming naming);
struct memtable *__real_memtable_new(uint64_t arena_bytes, uint64_t log_id);
struct memtable *__wrap_memtable_new(uint64_t arena_bytes, uint64_t log_id);

static _Thread_local bool checkpoints; /* this thread does */
static uint64_t           arena_most;  /* 0: any */
static int                copied, may_end, names, hold, held;

static void set(int *flag, int value)
{
    __atomic_store_n(flag, value, __ATOMIC_RELEASE);
}

static void wait_for(const int *flag, int value)
{
    for (int i = 0; i < PATIENCE && __atomic_load_n(flag, __ATOMIC_ACQUIRE) != value; i++)
        usleep(1000);
}

/* A checkpoint takes long, so that logs wait for its end. */
kv_status __wrap_manifest_write(const char *dir, const struct manifest *manifest, const struct version *version)
{
    if (checkpoints) {
        set(&copied, 1);
        wait_for(&may_end, 1);
    }
    return __real_manifest_write(dir, manifest, version);
}

/* A flush takes long. */
kv_status __wrap_table_open(const char *dir, uint64_t id, struct cache *cache, struct table **out)
{
    set(&held, 1);
    wait_for(&hold, 0);
    return __real_table_open(dir, id, cache, out);
}

/* And so does it to name the log that the end of a checkpoint has set free. */
kv_status __wrap_tree_name_log(struct lsm *store, uint64_t id, enum naming naming)
{
    if (checkpoints) {
        set(&names, 1);
        usleep(300000);
    }
    return __real_tree_name_log(store, id, naming);
}

struct memtable *__wrap_memtable_new(uint64_t arena_bytes, uint64_t log_id)
{
    return __real_memtable_new(arena_most && arena_bytes > arena_most ? arena_most : arena_bytes, log_id);
}

static void *make_checkpoint(void *arg)
{
    struct db *db = arg;
    kv_status  status;

    checkpoints = true;
    status = kv_checkpoint(db->session, at("checkpoint"));
    return (void *)(intptr_t)(status == KV_OK);
}

/* So much that each of them begins a memtable and a log. */
static void put_large(struct db *db, const char *key)
{
    static char value[3000];

    memset(value, *key, sizeof value);
    must(kv_put(db->session, slice_text(key), slice_of(value, sizeof value)));
}

static void write_and_die(void)
{
    struct db db = open_db(at("db"), "memtable_bytes=4096 memtables=8"), other = db;
    pthread_t thread;
    void     *made;

    must(kv_session_open(db.store, &other.session));
    put_large(&db, "a");
    if (pthread_create(&thread, NULL, make_checkpoint, &other))
        _exit(1);
    wait_for(&copied, 1);
    put_large(&db, "b"); /* a's memtable is written out, its log waits for the checkpoint */
    while (kv_stat(db.store, "flushes") < 1 || kv_stat(db.store, "debt_bytes") > 0)
        usleep(1000);
    usleep(50000);
    set(&held, 0);
    set(&hold, 1);
    put_large(&db, "c");
    wait_for(&held, 1);
    put_large(&db, "d"); /* takes the log that was ready; the flusher is to make the next one, and does not come to it */
    set(&may_end, 1);
    wait_for(&names, 1); /* a's log is becoming the next one */
    set(&hold, 0);
    usleep(100000);
    set(&hold, 1);
    put_large(&db, "e");
    pthread_join(thread, &made);
    put_large(&db, "f");
    _exit(made ? 0 : 1);
}

static void two_that_make_a_log_do_not_overtake_each_other(void **state)
{
    static const char *const keys[] = {"a", "b", "c", "d", "e", "f"};
    struct db                db;
    pid_t                    child;
    int                      status;

    (void)state;
    if ((child = fork()) == 0)
        write_and_die();
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    db = open_db(at("db"), "memtable_bytes=4096");
    for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
        assert_int_equal(get(&db, keys[i])[0], *keys[i]);
    close_db(&db);
}

enum { VALUE_BYTES = 500 };

static void put_range(struct db *db, int from, int to)
{
    char key[16], value[VALUE_BYTES + 1] = {0};

    for (int i = from; i < to; i++) {
        snprintf(key, sizeof key, "%d", i);
        memset(value, '!' + i, VALUE_BYTES);
        put(db, key, value);
    }
}

static void expect_range(struct db *db, int to)
{
    char key[16], value[VALUE_BYTES + 1] = {0};

    for (int i = 0; i < to; i++) {
        snprintf(key, sizeof key, "%d", i);
        memset(value, '!' + i, VALUE_BYTES);
        assert_string_equal(get(db, key), value);
    }
}

/* Recovery fills memtables as small as this, as it does with logs that take more than the largest; then they are written out, but for
 * the last, which is small and waits. */
static void recover_in_pieces(uint64_t arena, int flushes)
{
    struct db db;

    arena_most = arena;
    db = open_db(at("db"), "memtable_bytes=64k");
    for (int i = 0; i < PATIENCE && kv_stat(db.store, "flushes") < (uint64_t)flushes; i++)
        usleep(1000);
    assert_int_equal(kv_stat(db.store, "flushes"), flushes);
    close_db(&db);
    arena_most = 0;
}

static void a_log_that_recovery_splits_is_replayed_from_where_tables_end(void **state)
{
    struct db db = open_db(at("db"), "memtable_bytes=64k");

    (void)state;
    put_range(&db, 0, 40);
    close_db(&db);
    recover_in_pieces(9000, 2); /* sixteen of them each */
    for (int again = 0; again < 2; again++) {
        db = open_db(at("db"), "memtable_bytes=64k");
        expect_range(&db, 40);
        close_db(&db);
    }
}

/* A checkpoint may keep a log that is in tables, and a kill leave it: it is no part of the store's log any more. */
static void the_manifest_does_not_go_back_to_a_log_that_is_in_tables(void **state)
{
    struct db db = open_db(at("db"), "memtable_bytes=64k");
    char      path[1024], name[256], *bytes;
    size_t    size;

    (void)state;
    put_range(&db, 0, 10);
    close_db(&db);
    db = open_db(at("db"), "memtable_bytes=64k"); /* cuts it */
    assert_int_equal(files(at("db"), ".wal", name) > 0, true);
    snprintf(path, sizeof path, "%s/%s", at("db"), "00000001.wal");
    bytes = read_file(path, &size);
    put_range(&db, 10, 40);
    close_db(&db);
    recover_in_pieces(9000, 2);
    assert_int_not_equal(access(path, F_OK), 0);
    write_file(path, bytes, size);
    free(bytes);
    db = open_db(at("db"), "memtable_bytes=64k");
    expect_range(&db, 40);
    close_db(&db);
}

static void more_than_memory_takes_is_refused_and_left_alone(void **state)
{
    struct db db = open_db(at("db"), "memtable_bytes=64k");

    (void)state;
    put_range(&db, 0, 40);
    close_db(&db);
    arena_most = 1200;
    assert_int_equal(try_open(at("db"), "memtable_bytes=64k", &db), KV_NO_MEMORY);
    assert_non_null(strstr(fail_text(), "memtables"));
    arena_most = 0;
    db = open_db(at("db"), "memtable_bytes=64k");
    expect_range(&db, 40);
    close_db(&db);
}

/* A process that writes little and ends leaves a log each time: they do not pile up. */
static void small_logs_become_a_table(void **state)
{
    char key[16];

    (void)state;
    for (int i = 0; i < 40; i++) {
        struct db db = open_db(at("db"), "");
        assert_in_range(files(at("db"), ".wal", NULL), 0, 18); /* with the next one, and one that is just going */
        snprintf(key, sizeof key, "%d", i);
        put(&db, key, key);
        close_db(&db);
    }
    for (int again = 0; again < 2; again++) {
        struct db db = open_db(at("db"), "");
        for (int i = 0; i < 40; i++) {
            snprintf(key, sizeof key, "%d", i);
            assert_string_equal(get(&db, key), key);
        }
        close_db(&db);
    }
    assert_in_range(files(at("db"), ".table", NULL), 1, 40 / 16);
}

/* Numbers go on from the largest of the files that are there, but not from one that no store comes to. */
static void a_name_of_no_number_is_left_alone(void **state)
{
    static const char *const strays[] = {"18446744073709551614.wal", "18446744073709551615.table", "99999999999999999999.wal"};
    struct db                db = open_db(at("db"), "");
    char                     path[1024], key[16];

    (void)state;
    close_db(&db);
    for (size_t i = 0; i < sizeof strays / sizeof *strays; i++) {
        snprintf(path, sizeof path, "%s/%s", at("db"), strays[i]);
        write_file(path, "x", 1);
    }
    for (int i = 0; i < 4; i++) {
        db = open_db(at("db"), "");
        snprintf(key, sizeof key, "%d", i);
        put(&db, key, key);
        for (int j = 0; j <= i; j++) {
            snprintf(key, sizeof key, "%d", j);
            assert_string_equal(get(&db, key), key);
        }
        close_db(&db);
    }
    for (size_t i = 0; i < sizeof strays / sizeof *strays; i++) {
        snprintf(path, sizeof path, "%s/%s", at("db"), strays[i]);
        assert_int_equal(access(path, F_OK), 0);
    }
}

/* No descriptor is left for the next log: the write fails with the reason, and the store takes no more, as engine.h has it. */
static void a_log_that_does_not_open_is_told_in_each_tier(void **state)
{
    static const char *const options[] = {"memtable_bytes=4096", "memtable_bytes=4096 tier=commit"};
    struct rlimit            before, none = {0};

    (void)state;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    none.rlim_max = before.rlim_max;
    for (size_t i = 0; i < 2; i++) {
        static char value[3000];
        struct db   db = open_db(at(i ? "b" : "a"), options[i]);
        slice       large = slice_of(value, sizeof value);
        kv_status   status = KV_OK;
        int         taken = 0;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
        while (taken < 100 && (status = kv_put(db.session, slice_text("key"), large)) == KV_OK)
            taken++;
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
        assert_int_equal(status, KV_IO);
        assert_non_null(strstr(fail_text(), ": Too many open files"));
        assert_int_equal(kv_put(db.session, slice_text("k"), slice_text("v")), KV_IO);
        assert_non_null(strstr(fail_text(), ": Too many open files"));
        kv_session_close(db.session);
        assert_int_equal(kv_close(db.store), KV_IO);
        db = open_db(at(i ? "b" : "a"), options[i]);
        put(&db, "k", "v");
        assert_string_equal(get(&db, "k"), "v");
        close_db(&db);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(two_that_make_a_log_do_not_overtake_each_other, make_root, remove_root),
        cmocka_unit_test_setup_teardown(a_log_that_recovery_splits_is_replayed_from_where_tables_end, make_root, remove_root),
        cmocka_unit_test_setup_teardown(the_manifest_does_not_go_back_to_a_log_that_is_in_tables, make_root, remove_root),
        cmocka_unit_test_setup_teardown(more_than_memory_takes_is_refused_and_left_alone, make_root, remove_root),
        cmocka_unit_test_setup_teardown(small_logs_become_a_table, make_root, remove_root),
        cmocka_unit_test_setup_teardown(a_name_of_no_number_is_left_alone, make_root, remove_root),
        cmocka_unit_test_setup_teardown(a_log_that_does_not_open_is_told_in_each_tier, make_root, remove_root),
    };
    return cmocka_run_group_tests_name("lsm logs", tests, NULL, NULL);
}
