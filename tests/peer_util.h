/* peer_util.h -- what the tests of single peers share: the plug-in or none, directories, stores with options in one line. */
#ifndef ASSAY_TESTS_PEER_UTIL_H
#define ASSAY_TESTS_PEER_UTIL_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/clock.h"
#include "engines/engine.h"
#include "workloads/value.h"

#define TEST(name) static void name(void **unused_)
#define BODY       (void)unused_

static const struct kv_engine *engine; /* the one that the file tests */
static char                    root[256], dir[300]; /* of the test that runs; its store */

#define must(call)                                                                           \
    do {                                                                                     \
        kv_status must_status_ = (call);                                                     \
        if (must_status_ != KV_OK) {                                                         \
            print_error("%s: %s (%s)\n", #call, kv_status_word(must_status_), fail_text()); \
            fail();                                                                          \
        }                                                                                    \
    } while (0)

struct db {
    struct kv_store   *store;
    struct kv_session *session;
};

static inline int remove_one(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info, (void)kind, (void)where;
    return remove(path);
}

static inline int make_root(void **state)
{
    const char *base = getenv("TMPDIR");

    (void)state;
    snprintf(root, sizeof root, "%s/assay-%s.XXXXXX", base && *base ? base : "/tmp", engine->name);
    if (!mkdtemp(root))
        return -1;
    snprintf(dir, sizeof dir, "%s/store", root);
    return 0;
}

static inline int remove_root(void **state)
{
    (void)state;
    umount2(root, MNT_DETACH); /* of a test that made its disk small */
    nftw(root, remove_one, 16, FTW_DEPTH | FTW_PHYS);
    return 0;
}

/* sets: "option=value" words with blanks between, or "". */
static inline kv_status try_open(struct db *db, enum kv_tier tier, const char *sets)
{
    struct kv_config config;
    char             words[256], *next = words, *word;
    kv_status        status;

    *db = (struct db){0};
    kv_config_init(engine, &config);
    config.dir = dir;
    config.durability = (struct kv_durability){tier, tier == KV_TIER_INTERVAL ? 5 * NS_PER_MS : 0};
    snprintf(words, sizeof words, "%s", sets);
    while ((word = strsep(&next, " ")) != NULL) {
        char *value = strchr(word, '=');
        if (!value)
            continue;
        *value++ = '\0';
        must(kv_config_set(engine, &config, word, value));
    }
    status = kv_open(engine, &config, &db->store);
    return status == KV_OK ? kv_session_open(db->store, &db->session) : status;
}

static inline struct db open_db(enum kv_tier tier, const char *sets)
{
    struct db db;

    must(try_open(&db, tier, sets));
    return db;
}

static inline void close_db(struct db *db)
{
    kv_session_close(db->session);
    must(kv_close(db->store));
    *db = (struct db){0};
}

/* Key number n, of 16 bytes, and the value that goes with it and tells itself. */
#define PEER_VALUE_MAX 4096

static inline slice peer_key(uint64_t number, char out[32])
{
    snprintf(out, 32, "key %011llu", (unsigned long long)number);
    return slice_of(out, 15);
}

static inline kv_status put_numbered(struct kv_session *session, uint64_t number, uint32_t bytes)
{
    char  name[32], value[PEER_VALUE_MAX];
    slice key = peer_key(number, name);

    value_make(value, bytes, key, 1, number, 0.5);
    return kv_put(session, key, slice_of(value, bytes));
}

struct verdict {
    slice              key;
    enum value_verdict value;
    size_t             bytes;
};

static inline bool judge(void *arg, slice key, slice value)
{
    struct verdict *verdict = arg;

    (void)key;
    verdict->value = value_check(verdict->key, value);
    verdict->bytes = value.size;
    return true;
}

static inline kv_status get_numbered(struct kv_session *session, uint64_t number, enum value_verdict *out)
{
    char           name[32];
    struct verdict verdict = {.key = peer_key(number, name)};
    kv_status      status = kv_get(session, verdict.key, judge, &verdict);

    *out = verdict.value;
    return status;
}

/* All of 0 .. count-1 are there, and right. */
static inline void expect_numbered(struct kv_session *session, uint64_t count)
{
    for (uint64_t i = 0; i < count; i++) {
        enum value_verdict verdict;
        kv_status          status = get_numbered(session, i, &verdict);

        if (status != KV_OK || verdict != VALUE_GOOD) {
            print_error("key %llu: %s (%s), verdict %d\n", (unsigned long long)i, kv_status_word(status), fail_text(), verdict);
            fail();
        }
    }
}

/* A file that may not grow: no full disk, but a call that fails.  Then the limit is gone, and the store still refuses. */
static inline void after_an_io_error_no_more_writes(struct db *db, const char *sets)
{
    struct rlimit was, less;
    uint64_t      count = 0;
    char          first[FAIL_BYTES_MAX];
    kv_status     status = KV_OK;
    void        (*handler)(int) = signal(SIGXFSZ, SIG_IGN);

    for (; count < 50; count++)
        must(put_numbered(db->session, count, 1000));
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    less = (struct rlimit){3u << 20, was.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &less), 0);
    while (count < 5000 && (status = put_numbered(db->session, count, PEER_VALUE_MAX)) == KV_OK)
        count++;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
    signal(SIGXFSZ, handler);
    assert_int_equal(status, KV_IO);
    snprintf(first, sizeof first, "%s", fail_text());
    fail_set("%s", "");
    assert_int_equal(put_numbered(db->session, 1, 100), KV_IO);
    assert_string_equal(fail_text(), first);
    assert_int_equal(kv_sync(db->session), KV_IO);
    expect_numbered(db->session, count);
    kv_session_close(db->session);
    status = kv_close(db->store); /* which may complain once more, or not */
    *db = open_db(KV_TIER_COMMIT, sets);
    expect_numbered(db->session, count); /* and whatever the failed one left */
    must(put_numbered(db->session, count, 100));
    expect_numbered(db->session, count + 1);
    close_db(db);
}

static inline void alter_file(const char *name, off_t at, const void *bytes, size_t size)
{
    char path[400];
    int  fd;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    fd = open(path, O_RDWR | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, size, at), (ssize_t)size);
    close(fd);
}

/* Where `wanted` stands in the file; -1: nowhere. */
static inline off_t find_in_file(const char *name, slice wanted)
{
    char        path[400], *bytes, *found;
    struct stat about;
    off_t       at;
    int         fd;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0 && fstat(fd, &about) == 0);
    bytes = malloc((size_t)about.st_size);
    assert_int_equal(read(fd, bytes, (size_t)about.st_size), about.st_size);
    close(fd);
    found = memmem(bytes, (size_t)about.st_size, wanted.data, wanted.size);
    at = found ? found - bytes : -1;
    free(bytes);
    return at;
}

/* A store whose data file was removed, or cut to nothing, is no empty store: it is refused, with one line that names the file, and
 * what is left of it stays as it is. */
static inline void a_lost_file_is_corruption(const char *name)
{
    char      path[400];
    struct db db = open_db(KV_TIER_PROCESS, "");

    snprintf(path, sizeof path, "%s/%s", dir, name);
    for (uint64_t i = 0; i < 10; i++)
        must(put_numbered(db.session, i, 100));
    must(kv_sync(db.session));
    close_db(&db);
    assert_int_equal(truncate(path, 0), 0);
    for (int absent = 0; absent < 2; absent++) {
        fail_set("%s", "");
        assert_int_equal(try_open(&db, KV_TIER_PROCESS, ""), KV_CORRUPT);
        assert_non_null(strstr(fail_text(), path));
        assert_null(strchr(fail_text(), '\n'));
        if (!absent)
            assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(access(path, F_OK), -1);
}

/* A store that nobody finished: its identity is there, and any part of its data file. */
static inline void half_a_making_is_made_again(const char *name)
{
    char      path[400];
    struct db db = open_db(KV_TIER_PROCESS, "");

    close_db(&db);
    snprintf(path, sizeof path, "%s/MADE", dir);
    assert_int_equal(unlink(path), 0);
    snprintf(path, sizeof path, "%s/%s", dir, name);
    assert_int_equal(truncate(path, 0), 0);
    assert_int_equal(truncate(path, 4096), 0);
    db = open_db(KV_TIER_PROCESS, "");
    must(put_numbered(db.session, 0, 100));
    expect_numbered(db.session, 1);
    close_db(&db);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(try_open(&db, KV_TIER_PROCESS, ""), KV_CORRUPT);
}

struct wanted_setting {
    const char *name;
    char        value[256];
};

static inline void keep_setting(void *arg, const char *name, const char *value)
{
    struct wanted_setting *wanted = arg;

    if (strcmp(name, wanted->name) == 0)
        snprintf(wanted->value, sizeof wanted->value, "%s", value);
}

static inline void expect_setting(struct db *db, const char *name, const char *value)
{
    struct wanted_setting wanted = {.name = name};

    kv_settings(db->store, keep_setting, &wanted);
    assert_string_equal(wanted.value, value);
}

/* Finds the plug-in; 77, which is "skipped", where it was not built. */
static inline int find_peer(const char *name)
{
    if (kv_engine_find(name, &engine) == KV_OK)
        return 0;
    printf("skipped: %s\n", fail_text());
    return 77;
}

#endif
