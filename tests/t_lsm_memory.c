/* t_lsm_memory.c -- the tree and memory: a write that got none takes nothing that was acknowledged with it; reads take little. */
#define ENGINE lsm_engine
#include "tests/bitcask_util.h"

#include <malloc.h>
#include <sys/wait.h>

#include "engines/lsm/store.h"

#define TURNS 12 /* more than a write asks for memory */

/* The linker turns every malloc() and realloc() of this program into these. */
void *__real_malloc(size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__real_realloc(void *memory, size_t bytes);
void *__wrap_realloc(void *memory, size_t bytes);

static _Thread_local int    left; /* this thread's malloc() that fails; 0: none */
static _Thread_local size_t most; /* that this thread wanted of realloc() at once */

void *__wrap_malloc(size_t bytes)
{
    return left > 0 && --left == 0 ? NULL : __real_malloc(bytes);
}

void *__wrap_realloc(void *memory, size_t bytes)
{
    most = bytes > most ? bytes : most;
    return __real_realloc(memory, bytes);
}

static kv_status put_bytes(struct db *db, const char *key, char byte, size_t bytes)
{
    static char value[4096];

    memset(value, byte, bytes);
    return kv_put(db->session, slice_text(key), slice_of(value, bytes));
}

/*
 * A large write wants a new log, and this thread gets no memory at some point of that.  What is small goes on into the old log
 * then, and the next large one begins another.  The process ends without a close.
 */
static void write_and_die(int turn, const char *options)
{
    struct db db = open_db(at("db"), options);
    kv_status status;

    must(put_bytes(&db, "a", 'a', 100));
    left = turn;
    status = put_bytes(&db, "refused", 'r', 4000);
    left = 0;
    if (status != KV_OK && status != KV_NO_MEMORY)
        _exit(2);
    must(put_bytes(&db, "b", 'b', 100));
    must(put_bytes(&db, "c", 'c', 4000));
    must(put_bytes(&db, "d", 'd', 100));
    _exit(status == KV_OK ? 0 : 1);
}

static void expect(struct db *db, const char *key, char byte)
{
    if (get(db, key)[0] != byte) {
        print_error("key %s: %s\n", key, get(db, key));
        fail();
    }
}

static void a_log_that_could_not_begin_takes_no_other_with_it(void **state)
{
    static const char *const options[] = {"memtable_bytes=4096", "memtable_bytes=4096 tier=commit"};
    int                      refused = 0;

    (void)state;
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        for (int turn = 1; turn <= TURNS; turn++) {
            struct db db;
            pid_t     child;
            int       status;
            remove_tree(at("db"));
            if ((child = fork()) == 0)
                write_and_die(turn, options[i]);
            assert_int_equal(waitpid(child, &status, 0), child);
            assert_true(WIFEXITED(status) && WEXITSTATUS(status) < 2);
            refused += WEXITSTATUS(status);
            db = open_db(at("db"), options[i]);
            expect(&db, "a", 'a');
            expect(&db, "b", 'b');
            expect(&db, "c", 'c');
            expect(&db, "d", 'd');
            close_db(&db);
        }
    }
    assert_true(refused > 0);
}

#define LARGE       300000
#define LARGE_COUNT 40

static void is_large(void *arg, size_t number, kv_status status, slice value)
{
    static char want[LARGE];

    assert_int_equal(status, KV_OK);
    assert_int_equal(value.size, LARGE);
    memset(want, (int)('A' + number), LARGE);
    assert_memory_equal(value.data, want, LARGE);
    ++*(size_t *)arg;
}

static size_t in_use(void)
{
    struct mallinfo2 info = mallinfo2(); /* zeros under a sanitizer */

    return info.uordblks + info.hblkhd;
}

struct answers {
    size_t count, in_use; /* the most while they were lent */
};

static void note_in_use(void *arg, size_t number, kv_status status, slice value)
{
    struct answers *answers = arg;
    size_t          now = in_use();

    assert_int_equal(number, answers->count++);
    assert_int_equal(status, KV_OK);
    assert_int_equal(value.size, LARGE);
    answers->in_use = now > answers->in_use ? now : answers->in_use;
}

/* Also where blocks are unpacked from mappings, one by one: they are lent until all are answered. */
static void many_large_values_are_unpacked_a_few_at_a_time(void **state)
{
    static char value[LARGE];
    struct db   db = open_db(at("db"), "cache_bytes=1M cache=mmap");
    slice       keys[LARGE_COUNT];
    size_t      before;
    struct answers answers = {0};

    (void)state;
    for (size_t i = 0; i < LARGE_COUNT; i++)
        keys[i] = slice_text("one");
    assert_int_equal(kv_put(db.session, keys[0], slice_of(value, LARGE)), KV_OK);
    assert_int_equal(kv_compact(db.session), KV_OK);
    before = in_use();
    assert_int_equal(kv_get_many(db.session, keys, LARGE_COUNT, note_in_use, &answers), KV_OK);
    assert_int_equal(answers.count, LARGE_COUNT);
    assert_true(answers.in_use <= before + 3 * LARGE);
    close_db(&db);
}

/* Frames of which dozens fit into the budget, and not one of their blocks. */
static void many_values_that_pack_well_are_read_a_few_at_a_time(void **state)
{
    static char    value[LARGE];
    struct db      db = open_db(at("db"), "cache_bytes=1M");
    char           text[LARGE_COUNT][16];
    slice          keys[LARGE_COUNT];
    size_t         before;
    struct answers answers = {0};

    (void)state;
    for (size_t i = 0; i < LARGE_COUNT; i++) {
        keys[i] = slice_of(text[i], (size_t)sprintf(text[i], "key %02zu", i));
        assert_int_equal(kv_put(db.session, keys[i], slice_of(value, LARGE)), KV_OK);
    }
    assert_int_equal(kv_compact(db.session), KV_OK);
    before = in_use();
    assert_int_equal(kv_get_many(db.session, keys, LARGE_COUNT, note_in_use, &answers), KV_OK);
    assert_int_equal(answers.count, LARGE_COUNT);
    assert_true(answers.in_use <= before + 3 * LARGE);
    close_db(&db);
}

/* A session reads what a share of the cache's budget holds, and keeps no memory for more. */
static void many_large_values_are_read_a_few_at_a_time(void **state)
{
    static char value[LARGE];
    struct db   db = open_db(at("db"), "cache_bytes=1M compression=none");
    char        text[LARGE_COUNT][16];
    slice       keys[LARGE_COUNT];
    size_t      seen = 0;

    (void)state;
    for (size_t i = 0; i < LARGE_COUNT; i++) {
        keys[i] = slice_of(text[i], (size_t)sprintf(text[i], "key %02zu", i));
        memset(value, (int)('A' + i), LARGE);
        assert_int_equal(kv_put(db.session, keys[i], slice_of(value, LARGE)), KV_OK);
    }
    assert_int_equal(kv_compact(db.session), KV_OK);
    most = 0;
    for (int round = 0; round < 3; round++)
        assert_int_equal(kv_get_many(db.session, keys, LARGE_COUNT, is_large, &seen), KV_OK);
    assert_in_range(most, LARGE, 3 * LARGE);
    assert_true(((struct lsm_session *)db.session)->frames.capacity < LARGE);
    assert_int_equal(seen, 3 * LARGE_COUNT);
    close_db(&db);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_log_that_could_not_begin_takes_no_other_with_it, make_root, remove_root),
        cmocka_unit_test_setup_teardown(many_large_values_are_unpacked_a_few_at_a_time, make_root, remove_root),
        cmocka_unit_test_setup_teardown(many_values_that_pack_well_are_read_a_few_at_a_time, make_root, remove_root),
        cmocka_unit_test_setup_teardown(many_large_values_are_read_a_few_at_a_time, make_root, remove_root),
    };
    return cmocka_run_group_tests_name("lsm and memory", tests, NULL, NULL);
}
