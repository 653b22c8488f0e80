/*
 * fuzz_store.c -- a store in which one file was altered, cut or replaced: it opens or refuses, and never hands up what was
 * not put.
 *
 * The input says which engine (of the built-in ones that keep data), which of its files, and then, when the second byte's
 * top bit is set, triples of offset (2 bytes) and what to xor there; else the file's whole new contents.
 */
#include <assert.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "engines/engine.h"

#define ENGINES_MAX 16
#define FILES_MAX   32
#define KEYS        90

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A store as it was closed: its files in memory. */
struct template {
    const struct kv_engine *engine;
    size_t                  files;
    char                   *name[FILES_MAX];
    struct buf              bytes[FILES_MAX];
};

static struct template templates[ENGINES_MAX];
static size_t          template_count;
static char            work[256], dir[300];

static void must(kv_status status)
{
    if (status != KV_OK) {
        fprintf(stderr, "%s: %s\n", kv_status_word(status), fail_text());
        abort();
    }
}

static slice value_of(uint32_t key, char out[1024])
{
    size_t bytes = key * 37 % 900;

    memset(out, (int)('a' + key % 26), bytes);
    return slice_of(out, bytes);
}

static struct kv_config config_of(const struct kv_engine *engine)
{
    struct kv_config config;

    kv_config_init(engine, &config);
    config.dir = dir;
    while (!(engine->tiers & KV_TIER_BIT(config.durability.tier)))
        config.durability.tier = (config.durability.tier + 1) % KV_TIER_COUNT;
    for (const struct kv_option *option = engine->options; option && option->name; option++)
        if (option->small)
            must(kv_config_set(engine, &config, option->name, option->small));
    return config;
}

static void remove_files(void)
{
    DIR           *list = opendir(dir);
    struct dirent *entry;

    while (list && (entry = readdir(list)))
        unlinkat(dirfd(list), entry->d_name, 0);
    if (list)
        closedir(list);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void keep_files(struct template *template)
{
    struct dirent **names;
    int             count = scandir(dir, &names, NULL, by_name);

    for (int i = 0; i < count; i++) {
        struct buf *bytes = &template->bytes[template->files];
        char        path[600];
        struct stat info;
        FILE       *file;

        snprintf(path, sizeof path, "%s/%s", dir, names[i]->d_name);
        if (stat(path, &info) == 0 && S_ISREG(info.st_mode) && template->files < FILES_MAX && (file = fopen(path, "rb"))) {
            must(buf_reserve(bytes, (size_t)info.st_size + 1));
            bytes->size = fread(bytes->data, 1, (size_t)info.st_size, file);
            fclose(file);
            template->name[template->files++] = strdup(names[i]->d_name);
        }
        free(names[i]);
    }
    free(names);
}

static void make_template(const struct kv_engine *engine)
{
    struct template   *template = &templates[template_count++];
    struct kv_config   config = config_of(engine);
    struct kv_store   *store;
    struct kv_session *session;
    char               value[1024];

    template->engine = engine;
    remove_files();
    must(kv_open(engine, &config, &store));
    must(kv_session_open(store, &session));
    for (uint32_t key = 1; key <= KEYS; key++) {
        must(kv_put(session, slice_of(&key, sizeof key), value_of(key, value)));
        if (key % 7 == 0)
            must(kv_del(session, slice_of(&key, sizeof key)));
    }
    kv_session_close(session);
    must(kv_close(store));
    keep_files(template);
}

static void clean_up(void)
{
    remove_files();
    rmdir(dir);
    rmdir(work);
    for (size_t i = 0; i < template_count; i++) {
        for (size_t j = 0; j < templates[i].files; j++) {
            free(templates[i].name[j]);
            buf_free(&templates[i].bytes[j]);
        }
    }
}

static void make_templates(void)
{
    snprintf(work, sizeof work, "%s/assay-fuzz-XXXXXX", access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
    if (!mkdtemp(work))
        abort();
    snprintf(dir, sizeof dir, "%s/store", work);
    for (size_t i = 0; kv_engines[i] && template_count < ENGINES_MAX; i++)
        if (kv_engines[i]->can & KV_DURABLE)
            make_template(kv_engines[i]);
    atexit(clean_up);
}

static void write_file(const char *name, const void *data, size_t size)
{
    char path[600];
    int  fd;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        abort();
    close(fd);
}

static bool is_one_of_ours(void *arg, slice key, slice value)
{
    char     wanted[1024];
    uint32_t number = 0;
    bool     is_new = key.size == 3 && memcmp(key.data, "new", 3) == 0;

    (void)arg;
    if (is_new)
        return true;
    assert(key.size == sizeof number);
    memcpy(&number, key.data, sizeof number);
    assert(number >= 1 && number <= KEYS);
    assert(slice_equal(value, value_of(number, wanted)));
    return true;
}

/* Returns whether it opened; a refusal is KV_CORRUPT or KV_MISMATCH, never an input or output error of ours. */
static bool look_into(const struct kv_engine *engine)
{
    struct kv_config   config = config_of(engine);
    struct kv_store   *store;
    struct kv_session *session;
    kv_status          status;

    fail_set("%s", "");
    status = kv_open(engine, &config, &store);
    if (status != KV_OK) {
        assert(*fail_text() && (status == KV_CORRUPT || status == KV_MISMATCH));
        return false;
    }
    must(kv_session_open(store, &session));
    for (uint32_t key = 0; key <= KEYS; key++) {
        status = kv_get(session, slice_of(&key, sizeof key), is_one_of_ours, NULL);
        assert(status == KV_OK || status == KV_NOT_FOUND || status == KV_CORRUPT || status == KV_IO);
    }
    if (engine->can & KV_SCAN && kv_scan(session, (slice){0}, is_one_of_ours, NULL) != KV_OK)
        assert(*fail_text());
    if (kv_put(session, slice_text("new"), slice_text("value")) != KV_OK)
        assert(*fail_text());
    kv_session_close(session);
    if (kv_close(store) != KV_OK)
        assert(*fail_text());
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct template *template;
    size_t                 altered;
    FILE                  *nowhere = fopen("/dev/null", "w");
    char                   path[600];

    if (!template_count)
        make_templates();
    if (size >= 2 && template_count) {
        template = &templates[data[0] % template_count];
        altered = (data[1] & 0x7f) % template->files;
        remove_files();
        for (size_t i = 0; i < template->files; i++) {
            if (i != altered)
                write_file(template->name[i], template->bytes[i].data, template->bytes[i].size);
            else if (!(data[1] & 0x80))
                write_file(template->name[i], data + 2, size - 2);
            else {
                struct buf bytes = {0};
                must(buf_append(&bytes, template->bytes[i].data, template->bytes[i].size));
                for (size_t at = 2; at + 3 <= size && bytes.size; at += 3)
                    bytes.data[(data[at] | data[at + 1] << 8) % bytes.size] ^= (char)data[at + 2];
                write_file(template->name[i], bytes.data, bytes.size);
                buf_free(&bytes);
            }
        }
        snprintf(path, sizeof path, "%s/%s", dir, template->name[altered]);
        if (template->engine->dump && nowhere && template->engine->dump(path, nowhere) == KV_CORRUPT)
            assert(*fail_text());
        /* Damage that an open does not read may be found by the next: that refuses, too. */
        if (look_into(template->engine))
            look_into(template->engine);
    }
    if (nowhere)
        fclose(nowhere);
    return 0;
}
