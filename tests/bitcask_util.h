/*
 * bitcask_util.h -- what the tests of bitcask share: directories, stores that open in one line, images of a kill.
 *
 * The tests of another engine set ENGINE before they include it.
 */
#ifndef ASSAY_TESTS_BITCASK_UTIL_H
#define ASSAY_TESTS_BITCASK_UTIL_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/rng.h"
#include "engines/engine.h"

#ifndef ENGINE
#define ENGINE bitcask_engine
#endif
extern const struct kv_engine ENGINE;

#define must(call)                                                                       \
    do {                                                                                 \
        kv_status must_status_ = (call);                                                 \
        if (must_status_ != KV_OK) {                                                     \
            print_error("%s: %s (%s)\n", #call, kv_status_word(must_status_), fail_text()); \
            fail();                                                                      \
        }                                                                                \
    } while (0)

struct db {
    struct kv_store   *store;
    struct kv_session *session;
};

static int remove_one(const char *path, const struct stat *info, int kind, struct FTW *where)
{
    (void)info, (void)kind, (void)where;
    return remove(path);
}

static void remove_tree(const char *path)
{
    nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static char root[256]; /* of the test that runs */

static int make_root(void **state)
{
    const char *base = getenv("TMPDIR");

    (void)state;
    snprintf(root, sizeof root, "%s/assay-engine.XXXXXX", base && *base ? base : "/tmp");
    return mkdtemp(root) ? 0 : -1;
}

static int remove_root(void **state)
{
    (void)state;
    remove_tree(root);
    return 0;
}

/* A path below the root, lent until the eighth call from now. */
static char *at(const char *name)
{
    static char path[8][600];
    static int  next;
    char       *out = path[next++ % 8];

    snprintf(out, sizeof path[0], "%s/%s", root, name);
    return out;
}

/* options: "segment_bytes=4096 hints=false", also "tier=commit". */
static kv_status try_open(const char *dir, const char *options, struct db *db)
{
    struct kv_config config;
    char             text[1024], *rest = text;

    kv_config_init(&ENGINE, &config);
    config.dir = dir;
    assert_true((size_t)snprintf(text, sizeof text, "%s", options) < sizeof text);
    for (char *word; (word = strtok_r(rest, " ", &rest)) != NULL;) {
        char *value = strchr(word, '=');
        *value++ = '\0';
        if (strcmp(word, "tier") == 0)
            must(kv_durability_parse(value, &config.durability));
        else
            must(kv_config_set(&ENGINE, &config, word, value));
    }
    *db = (struct db){0};
    kv_status status = kv_open(&ENGINE, &config, &db->store);
    if (status == KV_OK)
        must(kv_session_open(db->store, &db->session));
    return status;
}

__attribute__((unused)) static struct db open_db(const char *dir, const char *options)
{
    struct db db;

    must(try_open(dir, options, &db));
    return db;
}

__attribute__((unused)) static void close_db(struct db *db)
{
    kv_session_close(db->session);
    must(kv_close(db->store));
}

__attribute__((unused)) static void put(struct db *db, const char *key, const char *value)
{
    must(kv_put(db->session, slice_text(key), slice_text(value)));
}

static bool take_value(void *arg, slice key, slice value)
{
    char *out = arg;

    (void)key;
    snprintf(out, 512, "%.*s", (int)value.size, (const char *)value.data);
    return true;
}

/* The value, "(absent)", or the status. */
__attribute__((unused)) static const char *get(struct db *db, const char *key)
{
    static char value[512];
    kv_status   status = kv_get(db->session, slice_text(key), take_value, value);

    if (status != KV_OK)
        snprintf(value, sizeof value, "(%s)", status == KV_NOT_FOUND ? "absent" : kv_status_word(status));
    return value;
}

/* Files. */

static void copy_file(const char *from, const char *to)
{
    static char piece[1 << 16];
    int         in = open(from, O_RDONLY), out;
    ssize_t     got;

    if (in < 0)
        return; /* a hint's temporary file that has its name by now */
    out = open(to, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    assert_true(out >= 0);
    while ((got = read(in, piece, sizeof piece)) > 0)
        assert_int_equal(write(out, piece, (size_t)got), got);
    close(in);
    close(out);
}

/* Of a store that is open: what a kill at this moment leaves. */
__attribute__((unused)) static void copy_dir(const char *from, const char *to)
{
    DIR           *list = opendir(from);
    struct dirent *entry;
    char           a[1024], b[1024];

    assert_non_null(list);
    remove_tree(to);
    assert_int_equal(mkdir(to, 0755), 0);
    while ((entry = readdir(list)) != NULL) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(a, sizeof a, "%s/%s", from, entry->d_name);
        snprintf(b, sizeof b, "%s/%s", to, entry->d_name);
        copy_file(a, b);
    }
    closedir(list);
}

/* How many files end so; the last in alphabetical order goes to name (256 bytes; may be NULL). */
__attribute__((unused)) static int files(const char *dir, const char *ending, char *name)
{
    DIR           *list = opendir(dir);
    struct dirent *entry;
    int            found = 0;

    assert_non_null(list);
    if (name)
        *name = '\0';
    while ((entry = readdir(list)) != NULL) {
        size_t length = strlen(entry->d_name), tail = strlen(ending);
        if (entry->d_name[0] == '.' || length < tail || strcmp(entry->d_name + length - tail, ending) != 0)
            continue;
        found++;
        if (name && strcmp(entry->d_name, name) > 0)
            snprintf(name, 256, "%s", entry->d_name);
    }
    closedir(list);
    return found;
}

__attribute__((unused)) static char *read_file(const char *path, size_t *size)
{
    struct stat info;
    int         fd = open(path, O_RDONLY);
    char       *bytes;

    assert_true(fd >= 0);
    fstat(fd, &info);
    *size = (size_t)info.st_size;
    bytes = malloc(*size + 1);
    assert_int_equal(read(fd, bytes, *size), (ssize_t)*size);
    close(fd);
    return bytes;
}

__attribute__((unused)) static void write_file(const char *path, const void *bytes, size_t size)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, bytes, size), (ssize_t)size);
    close(fd);
}

#endif
