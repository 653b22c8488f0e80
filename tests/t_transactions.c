/*
 * t_transactions.c -- engines of others that lock, log and recover: what the contract test cannot ask of every engine.
 *
 * Conflicts are tried again inside the engine, a copy of a live store's files recovers, scans see one moment, the log does not
 * grow for ever, and half a creation is no store.  Runs for wiredtiger and bdb, if they were built.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <ftw.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engines/engine.h"

/* An engine and the options that a test wants. */
struct subject {
    const char *engine;
    const char *set[8]; /* name, value, name, value ... */
};

static char root[256];

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info, (void)kind, (void)where;
    return remove(path);
}

static int make_root(void **state)
{
    const char *base = getenv("TMPDIR");

    (void)state;
    snprintf(root, sizeof root, "%s/assay-transactions.XXXXXX", base && *base ? base : "/tmp");
    return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state)
{
    (void)state;
    return nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void must_at(kv_status status, const char *call, int line)
{
    if (status != KV_OK) {
        print_error("line %d: %s is %s (%s)\n", line, call, kv_status_word(status), fail_text());
        _fail(__FILE__, line);
    }
}
#define must(call) must_at(call, #call, __LINE__)

static const struct kv_engine *engine_of(const struct subject *subject)
{
    const struct kv_engine *engine;

    if (kv_engine_find(subject->engine, &engine) != KV_OK) {
        print_message("%s\n", fail_text());
        skip();
    }
    return engine;
}

static struct kv_store *open_at(const struct subject *subject, const char *name, enum kv_tier tier, uint64_t memory_bytes)
{
    const struct kv_engine *engine = engine_of(subject);
    char                    dir[512];
    struct kv_config        config;
    struct kv_store        *store;

    snprintf(dir, sizeof dir, "%s/%s", root, name);
    kv_config_init(engine, &config);
    for (size_t i = 0; subject->set[i]; i += 2)
        must(kv_config_set(engine, &config, subject->set[i], subject->set[i + 1]));
    config.dir = dir;
    config.durability.tier = tier;
    config.memory_bytes = memory_bytes;
    must(kv_open(engine, &config, &store));
    return store;
}

static bool take_number(void *arg, slice key, slice value)
{
    (void)key;
    assert_true(value.size >= sizeof(uint64_t));
    memcpy(arg, value.data, sizeof(uint64_t));
    return true;
}

/* ---- Conflicts. ---- */

#define MEETING_KEYS  64
#define MEETING_BYTES 1000 /* so that the keys lie on many pages: some engines lock those */
#define THREADS       4

struct writer {
    pthread_t        thread;
    struct kv_store *store;
    unsigned         number;
    uint64_t         rounds;
    const bool      *stop;
    kv_status        status; /* the first failure */
    char             sentence[FAIL_BYTES_MAX];
};

/* Even writers go up through the keys, odd ones go down; all keys of a batch get the same number. */
static void *write_batches(void *arg)
{
    struct writer     *writer = arg;
    struct kv_session *session = NULL;
    uint64_t           keys[MEETING_KEYS], number;
    struct kv_write    writes[MEETING_KEYS];
    char               value[MEETING_BYTES] = {0};

    writer->status = kv_session_open(writer->store, &session);
    for (uint64_t i = 1; i <= writer->rounds && writer->status == KV_OK && !(writer->stop && __atomic_load_n(writer->stop, __ATOMIC_ACQUIRE));
         i++) {
        number = i * THREADS + writer->number;
        memcpy(value, &number, sizeof number);
        for (uint64_t k = 0; k < MEETING_KEYS; k++) {
            keys[k] = (writer->number % 2 ? MEETING_KEYS - 1 - k : k) * UINT64_C(0x0101010101010101);
            writes[k] = (struct kv_write){KV_PUT, slice_of(&keys[k], sizeof keys[k]), slice_of(value, sizeof value)};
        }
        writer->status = kv_write(session, writes, MEETING_KEYS);
    }
    snprintf(writer->sentence, sizeof writer->sentence, "%s", fail_text());
    kv_session_close(session);
    return NULL;
}

static void start(struct writer *writers, struct kv_store *store, uint64_t rounds, const bool *stop)
{
    for (unsigned i = 0; i < THREADS; i++) {
        writers[i] = (struct writer){.store = store, .number = i, .rounds = rounds, .stop = stop};
        assert_int_equal(pthread_create(&writers[i].thread, NULL, write_batches, &writers[i]), 0);
    }
}

static void finish(struct writer *writers)
{
    for (unsigned i = 0; i < THREADS; i++)
        pthread_join(writers[i].thread, NULL);
    for (unsigned i = 0; i < THREADS; i++) {
        if (writers[i].status != KV_OK)
            print_error("writer %u: %s (%s)\n", i, kv_status_word(writers[i].status), writers[i].sentence);
        assert_int_equal(writers[i].status, KV_OK);
    }
}

static void batches_in_opposite_order_all_go_through(void **state)
{
    const struct subject *subject = *state;
    struct kv_store      *store = open_at(subject, "store", KV_TIER_PROCESS, 0);
    struct kv_session    *session;
    struct writer         writers[THREADS];
    uint64_t              first, other;

    start(writers, store, 400, NULL);
    finish(writers);
    assert_true(kv_stat(store, "conflicts") > 0); /* else they never met, and nothing was tested */
    must(kv_session_open(store, &session));
    must(kv_get(session, slice_of(&(uint64_t){0}, 8), take_number, &first));
    for (uint64_t k = 1; k < MEETING_KEYS; k++) { /* the batch that was last is there as a whole */
        uint64_t key = k * UINT64_C(0x0101010101010101);
        must(kv_get(session, slice_of(&key, sizeof key), take_number, &other));
        assert_int_equal(other, first);
    }
    kv_session_close(session);
    must(kv_close(store));
}

struct equals {
    uint64_t number, count, different;
};

static bool compare(void *arg, slice key, slice value)
{
    struct equals *equals = arg;
    uint64_t       number = 0;

    (void)key;
    memcpy(&number, value.data, sizeof number);
    equals->different += equals->count++ && number != equals->number;
    equals->number = number;
    return true;
}

static void a_scan_sees_one_moment(void **state)
{
    const struct subject *subject = *state;
    struct kv_store      *store = open_at(subject, "store", KV_TIER_PROCESS, 0);
    struct kv_session    *session;
    struct writer         writers[THREADS];
    bool                  stop = false;
    uint64_t              full = 0;

    must(kv_session_open(store, &session));
    start(writers, store, UINT64_MAX, &stop);
    for (int i = 0; i < 200 || (full < 20 && i < 100000); i++) {
        struct equals equals = {0};
        must(kv_scan(session, (slice){0}, compare, &equals));
        assert_true(equals.count == 0 || equals.count == MEETING_KEYS);
        assert_int_equal(equals.different, 0);
        full += equals.count != 0;
    }
    __atomic_store_n(&stop, true, __ATOMIC_RELEASE);
    finish(writers);
    assert_true(full > 0);
    kv_session_close(session);
    must(kv_close(store));
}

/* ---- Recovery. ---- */

static void copy_store(const char *from, const char *to)
{
    char command[1100];

    snprintf(command, sizeof command, "cp -r %s/%s %s/%s", root, from, root, to);
    assert_int_equal(system(command), 0);
}

static void a_copy_of_a_live_stores_files_recovers(void **state)
{
    const struct subject *subject = *state;
    struct kv_store      *store = open_at(subject, "live", KV_TIER_PROCESS, 0), *copy;
    struct kv_session    *session;
    uint64_t              number;

    must(kv_session_open(store, &session));
    for (uint64_t i = 0; i < 3000; i++)
        must(kv_put(session, slice_of(&i, sizeof i), slice_of(&(uint64_t){i * 3}, 8)));
    for (uint64_t i = 0; i < 3000; i += 5)
        must(kv_del(session, slice_of(&i, sizeof i)));
    copy_store("live", "copy"); /* every acknowledged write is in the kernel, and nobody writes */
    for (uint64_t i = 0; i < 3000; i++)
        must(kv_put(session, slice_of(&i, sizeof i), slice_of(&(uint64_t){7}, 8)));
    kv_session_close(session);
    must(kv_close(store));
    for (int round = 0; round < 2; round++) {
        copy = open_at(subject, "copy", KV_TIER_PROCESS, 0);
        must(kv_session_open(copy, &session));
        for (uint64_t i = 0; i < 3000; i++) {
            if (i % 5 == 0) {
                assert_int_equal(kv_get(session, slice_of(&i, sizeof i), take_number, &number), KV_NOT_FOUND);
            } else {
                must(kv_get(session, slice_of(&i, sizeof i), take_number, &number));
                assert_int_equal(number, i * 3);
            }
        }
        kv_session_close(session);
        must(kv_close(copy));
    }
}

static void half_a_creation_is_no_store(void **state)
{
    const struct subject *subject = *state;
    struct kv_store      *store = open_at(subject, "store", KV_TIER_PROCESS, 0);
    struct kv_session    *session;
    char                  from[300], to[300];
    FILE                 *file;

    must(kv_close(store));
    snprintf(from, sizeof from, "%s/store/db", root);
    snprintf(to, sizeof to, "%s/store/db.new", root);
    assert_int_equal(rename(from, to), 0); /* as if it had died before the last step */
    snprintf(from, sizeof from, "%s/store/db.new/rest", root);
    assert_non_null(file = fopen(from, "w"));
    fclose(file);
    store = open_at(subject, "store", KV_TIER_PROCESS, 0);
    assert_int_equal(access(to, F_OK), -1);
    must(kv_session_open(store, &session));
    must(kv_put(session, slice_text("key"), slice_text("value")));
    kv_session_close(session);
    must(kv_close(store));
}

/* ---- Bounds. ---- */

static void the_log_does_not_grow_for_ever(void **state)
{
    const struct subject *subject = *state;
    struct kv_store      *store = open_at(subject, "store", KV_TIER_PROCESS, 0);
    struct kv_session    *session;
    char                  value[2000];
    uint64_t              bytes = UINT64_MAX;

    memset(value, 'v', sizeof value);
    must(kv_session_open(store, &session));
    for (uint64_t i = 0; i < 20000; i++) { /* 40 MB over 200 KB of live values */
        memcpy(value, &i, sizeof i);
        must(kv_put(session, slice_of(&(uint64_t){i % 100}, 8), slice_of(value, sizeof value)));
    }
    for (int i = 0; i < 300 && bytes > UINT64_C(8) << 20; i++) { /* a checkpoint may be under way, and the log goes with the next */
        for (int j = 0; j < 100; j++)
            must(kv_put(session, slice_of(&(uint64_t){0}, 8), slice_of(value, sizeof value)));
        usleep(50000);
        bytes = kv_stat(store, "disk_bytes");
    }
    assert_true(kv_stat(store, "checkpoints") > 1);
    if (bytes > UINT64_C(8) << 20) {
        print_error("%" PRIu64 " bytes on disk\n", bytes);
        fail();
    }
    kv_session_close(session);
    must(kv_close(store));
}

/* A batch that does not fit the cache is refused as a whole; the same bytes in smaller ones are taken. */
static void a_batch_beyond_the_cache_is_too_large(void **state)
{
    const struct subject *subject = *state;
    struct kv_store      *store = open_at(subject, "store", KV_TIER_PROCESS, 16 << 20);
    struct kv_session    *session;
    struct kv_write       writes[64];
    uint64_t              keys[64];
    char                 *value = calloc(1, 100000);

    must(kv_session_open(store, &session));
    for (uint64_t i = 0; i < 64; i++) {
        keys[i] = i;
        writes[i] = (struct kv_write){KV_PUT, slice_of(&keys[i], sizeof keys[i]), slice_of(value, 100000)};
    }
    assert_int_equal(kv_write(session, writes, 64), KV_TOO_LARGE);
    assert_int_equal(kv_get(session, writes[0].key, take_number, NULL), KV_NOT_FOUND);
    for (size_t i = 0; i < 64; i += 16)
        must(kv_write(session, writes + i, 16));
    kv_session_close(session);
    must(kv_close(store));
    free(value);
}

#ifdef __SANITIZE_ADDRESS__
#define LEAKS "no such engine" /* the library leaks transactions then: see the plug-in's banner */
#else
#define LEAKS "bdb"
#endif

static struct subject wiredtiger = {"wiredtiger", {NULL}};
static struct subject wiredtiger_small = {"wiredtiger", {"checkpoint_bytes", "1M", "log_file_max", "200k"}};
static struct subject bdb = {"bdb", {NULL}};
static struct subject bdb_versions = {LEAKS, {"multiversion", "true"}};
static struct subject bdb_small = {"bdb", {"checkpoint_bytes", "1M", "log_file_max", "256k"}};

int main(void)
{
#define T(test, subject) {#subject ": " #test, test, make_root, remove_root, &subject}
    const struct CMUnitTest tests[] = {
        T(batches_in_opposite_order_all_go_through, wiredtiger),
        T(batches_in_opposite_order_all_go_through, bdb),
        T(batches_in_opposite_order_all_go_through, bdb_versions),
        T(a_scan_sees_one_moment, wiredtiger),
        T(a_scan_sees_one_moment, bdb_versions),
        T(a_copy_of_a_live_stores_files_recovers, wiredtiger),
        T(a_copy_of_a_live_stores_files_recovers, bdb),
        T(a_copy_of_a_live_stores_files_recovers, bdb_versions),
        T(half_a_creation_is_no_store, wiredtiger),
        T(half_a_creation_is_no_store, bdb),
        T(the_log_does_not_grow_for_ever, wiredtiger_small),
        T(the_log_does_not_grow_for_ever, bdb_small),
        T(a_batch_beyond_the_cache_is_too_large, wiredtiger),
    };
    char    path[4096], *slash;
    ssize_t bytes = readlink("/proc/self/exe", path, sizeof path - 32);

    assert_true(bytes > 0);
    path[bytes] = '\0';
    slash = strrchr(path, '/');
    strcpy(slash, "/../plugins");
    setenv("ASSAY_PLUGINS", path, 0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
