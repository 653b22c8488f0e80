/*
 * t_bitcask_model.c -- long random histories of bitcask in tiny segments, against an array in memory.
 *
 * ASSAY_SEED sets the seed, ASSAY_OPS the number of operations of a history.
 */
#include "tests/bitcask_util.h"

#include <inttypes.h>
#include <pthread.h>
#include <sys/mman.h>

#define KEYS 400

struct model {
    struct rng rng;
    uint32_t   version[KEYS]; /* 0: absent */
    uint32_t   next;
};

static uint64_t number_from(const char *name, uint64_t fallback)
{
    const char *text = getenv(name);

    return text && *text ? strtoull(text, NULL, 10) : fallback;
}

static slice key_of(unsigned key, char out[64])
{
    /* of different lengths, up to one that makes up a good part of a segment */
    int size = snprintf(out, 64, "%u-%.*s", key, (int)(key % 37), "abcdefghijklmnopqrstuvwxyzabcdefghijklmnop");

    return slice_of(out, (size_t)size);
}

/* The value of a version says which key and version it is, and is as long as its version wants. */
static slice value_of(unsigned key, uint32_t version, char out[2048])
{
    size_t size = version % 97 == 0 ? 0 : version % 61 == 0 ? 1500 : 12 + version % 83;

    for (size_t i = 0; i < size; i++)
        out[i] = (char)(key * 31 + version * 7 + i);
    if (size >= 8) {
        memcpy(out, &key, 4);
        memcpy(out + 4, &version, 4);
    }
    return slice_of(out, size);
}

struct expected {
    unsigned key;
    uint32_t version;
    bool     right;
};

static bool check_value(void *arg, slice key, slice value)
{
    struct expected *expected = arg;
    char             wanted[2048];

    (void)key;
    expected->right = slice_equal(value, value_of(expected->key, expected->version, wanted));
    return true;
}

static void check_key(struct db *db, const struct model *model, unsigned key)
{
    char            text[64];
    struct expected expected = {key, model->version[key], false};
    kv_status       status = kv_get(db->session, key_of(key, text), check_value, &expected);

    if (model->version[key] ? status != KV_OK || !expected.right : status != KV_NOT_FOUND) {
        print_error("key %u, version %u: %s, %s\n", key, model->version[key], kv_status_word(status),
                    status == KV_OK ? "another value" : fail_text());
        fail();
    }
}

struct seen {
    const struct model *model;
    unsigned            count;
    uint8_t             met[KEYS];
};

static bool check_scanned(void *arg, slice key, slice value)
{
    struct seen *seen = arg;
    unsigned     number = (unsigned)strtoul(key.data, NULL, 10);
    char         text[2048];

    assert_true(number < KEYS && slice_equal(key, key_of(number, text)));
    assert_true(seen->model->version[number] != 0);
    assert_true(slice_equal(value, value_of(number, seen->model->version[number], text)));
    assert_int_equal(seen->met[number]++, 0);
    seen->count++;
    return true;
}

static void check_all(struct db *db, const struct model *model)
{
    struct seen seen = {.model = model};
    unsigned    live = 0;

    for (unsigned key = 0; key < KEYS; key++) {
        check_key(db, model, key);
        live += model->version[key] != 0;
    }
    must(kv_scan(db->session, (slice){0}, check_scanned, &seen));
    assert_int_equal(seen.count, live);
    assert_int_equal(kv_stat(db->store, "live_keys"), live);
}

static void put_or_delete(struct db *db, struct model *model, unsigned key, bool delete)
{
    char text[64], value[2048];

    if (delete) {
        must(kv_del(db->session, key_of(key, text)));
        model->version[key] = 0;
    } else {
        model->version[key] = ++model->next;
        must(kv_put(db->session, key_of(key, text), value_of(key, model->next, value)));
    }
}

static void batch(struct db *db, struct model *model)
{
    static char     texts[40][64], values[40][2048];
    struct kv_write writes[40];
    size_t          count = 1 + rng_below(&model->rng, 40);

    for (size_t i = 0; i < count; i++) {
        unsigned key = (unsigned)rng_below(&model->rng, i % 3 ? KEYS : 8); /* often the same key twice */
        writes[i] = (struct kv_write){KV_DELETE, key_of(key, texts[i]), {0}};
        model->version[key] = 0;
        if (rng_below(&model->rng, 4)) {
            model->version[key] = ++model->next;
            writes[i].kind = KV_PUT;
            writes[i].value = value_of(key, model->next, values[i]);
        }
    }
    must(kv_write(db->session, writes, count));
}

struct change {
    struct expected expected;
    uint32_t        to;
    bool            refuse;
};

static kv_status change_value(void *arg, const slice *old, struct buf *out)
{
    struct change *change = arg;
    char           value[2048];
    slice          now = value_of(change->expected.key, change->to, value);

    assert_true((old == NULL) == (change->expected.version == 0));
    if (old) {
        check_value(&change->expected, (slice){0}, *old);
        assert_true(change->expected.right);
    }
    return change->refuse ? kv_fail(KV_INVALID, "not this time") : buf_append(out, now.data, now.size);
}

static void modify(struct db *db, struct model *model, unsigned key)
{
    char          text[64];
    struct change change = {{key, model->version[key], false}, model->next + 1, rng_below(&model->rng, 5) == 0};
    kv_status     status = kv_modify(db->session, key_of(key, text), change_value, &change);

    assert_int_equal(status, change.refuse ? KV_INVALID : KV_OK);
    if (status == KV_OK)
        model->version[key] = ++model->next;
}

struct many {
    const struct model *model;
    unsigned            key[64];
};

static void check_one_of_many(void *arg, size_t position, kv_status status, slice value)
{
    const struct many *many = arg;
    unsigned           key = many->key[position];
    char               wanted[2048];

    if (many->model->version[key]) {
        assert_int_equal(status, KV_OK);
        assert_true(slice_equal(value, value_of(key, many->model->version[key], wanted)));
    } else {
        assert_int_equal(status, KV_NOT_FOUND);
    }
}

static void get_many(struct db *db, struct model *model)
{
    struct many many = {.model = model};
    static char texts[64][64];
    slice       keys[64];

    for (size_t i = 0; i < 64; i++) {
        many.key[i] = (unsigned)rng_below(&model->rng, KEYS);
        keys[i] = key_of(many.key[i], texts[i]);
    }
    must(kv_get_many(db->session, keys, 64, check_one_of_many, &many));
}

/* Snapshot, restore elsewhere, compare. */
static void snapshot(struct db *db, struct model *model)
{
    struct kv_config config;
    struct db        copy;
    int              fd = open(at("stream"), O_RDWR | O_CREAT | O_TRUNC, 0644);

    must(kv_snapshot(db->session, fd));
    lseek(fd, 0, SEEK_SET);
    remove_tree(at("restored"));
    kv_config_init(&bitcask_engine, &config);
    must(kv_config_set(&bitcask_engine, &config, "segment_bytes", "64k"));
    config.dir = at("restored");
    must(kv_restore(&bitcask_engine, &config, fd));
    close(fd);
    copy = open_db(at("restored"), "");
    check_all(&copy, model);
    close_db(&copy);
}

static const char *const tiers[] = {"process", "commit", "interval:3ms", "ordered", "none"};

static void reopen(struct db *db, struct model *model, bool kill)
{
    char options[256];

    /* Only when nothing moves are the copied files those of one moment. */
    while (kill && kv_stat(db->store, "debt_bytes"))
        usleep(100);
    if (kill)
        copy_dir(at("db"), at("killed"));
    close_db(db);
    if (kill) {
        remove_tree(at("db"));
        rename(at("killed"), at("db"));
    }
    snprintf(options, sizeof options, "segment_bytes=%d hints=%s merge=%s merge_trigger=%s verify_reads=%s tier=%s",
             4096 << rng_below(&model->rng, 3), rng_below(&model->rng, 3) ? "true" : "false",
             rng_below(&model->rng, 3) ? "true" : "false", rng_below(&model->rng, 2) ? "0.5" : "0.2",
             rng_below(&model->rng, 2) ? "true" : "false",
             tiers[rng_below(&model->rng, 8) ? 0 : rng_below(&model->rng, 5)]);
    *db = open_db(at("db"), options);
    check_all(db, model);
}

static void a_random_history_follows_the_model(void **state)
{
    struct model *model = calloc(1, sizeof *model);
    struct db     db = open_db(at("db"), "segment_bytes=4096");
    uint64_t      ops = number_from("ASSAY_OPS", 120000), seed = number_from("ASSAY_SEED", 1);

    (void)state;
    print_message("# ASSAY_SEED=%" PRIu64 " ASSAY_OPS=%" PRIu64 "\n", seed, ops);
    rng_seed(&model->rng, seed, 0);
    for (uint64_t i = 0; i < ops; i++) {
        uint64_t dice = rng_below(&model->rng, 6000);
        unsigned key = (unsigned)rng_below(&model->rng, rng_below(&model->rng, 2) ? KEYS : KEYS / 10);
        if (dice < 2500)
            put_or_delete(&db, model, key, false);
        else if (dice < 3500)
            put_or_delete(&db, model, key, true);
        else if (dice < 3800)
            modify(&db, model, key);
        else if (dice < 4000)
            batch(&db, model);
        else if (dice < 4200)
            get_many(&db, model);
        else if (dice < 5980)
            check_key(&db, model, key);
        else if (dice < 5984)
            check_all(&db, model);
        else if (dice < 5986)
            must(kv_compact(db.session));
        else if (dice < 5990)
            must(kv_sync(db.session));
        else if (dice < 5991)
            snapshot(&db, model);
        else if (dice < 5993)
            reopen(&db, model, dice % 2);
    }
    check_all(&db, model);
    close_db(&db);
    free(model);
}

/* Sessions on one store, each with keys of its own, while merges, compactions and snapshots go on. */

struct worker {
    struct kv_store *store;
    unsigned         number;
    uint32_t         rounds;
    _Atomic bool    *stop;
};

static void *work(void *arg)
{
    struct worker *worker = arg;
    struct model  *model = calloc(1, sizeof *model);
    struct db      db = {.store = worker->store};
    char           text[64], value[2048];

    must(kv_session_open(worker->store, &db.session));
    rng_seed(&model->rng, 7, worker->number);
    for (uint32_t i = 0; i < worker->rounds; i++) {
        unsigned        key = (unsigned)rng_below(&model->rng, KEYS / 4) * 4 + worker->number;
        struct expected expected = {key, model->version[key], false};
        if (i % 16 == 3) {
            struct kv_write writes[2];
            char            other_text[64], other_value[2048];
            unsigned        other = (key + 4) % KEYS;
            model->version[key] = ++model->next;
            model->version[other] = ++model->next;
            writes[0] = (struct kv_write){KV_PUT, key_of(key, text), value_of(key, model->version[key], value)};
            writes[1] = (struct kv_write){KV_PUT, key_of(other, other_text),
                                          value_of(other, model->version[other], other_value)};
            must(kv_write(db.session, writes, 2));
        } else if (i % 3 == 0) {
            put_or_delete(&db, model, key, i % 7 == 0);
        } else {
            kv_status status = kv_get(db.session, key_of(key, text), check_value, &expected);
            if (model->version[key] ? status != KV_OK || !expected.right : status != KV_NOT_FOUND) {
                fprintf(stderr, "key %u: %s %s\n", key, kv_status_word(status), fail_text());
                abort();
            }
        }
    }
    kv_session_close(db.session);
    free(model);
    return NULL;
}

static bool ignore(void *arg, slice key, slice value)
{
    (void)arg, (void)key, (void)value;
    return true;
}

static void *disturb(void *arg)
{
    struct worker     *worker = arg;
    struct kv_session *session;
    int                fd = memfd_create("snapshot", 0);

    must(kv_session_open(worker->store, &session));
    for (unsigned i = 0; !*worker->stop; i++) {
        assert_int_equal(ftruncate(fd, 0), 0);
        lseek(fd, 0, SEEK_SET);
        if (i % 4 == 0)
            must(kv_snapshot(session, fd));
        else if (i % 4 == 1)
            must(kv_scan(session, (slice){0}, ignore, NULL));
        else if (i % 4 == 2)
            must(kv_compact(session));
        else
            must(kv_sync(session));
        (void)kv_stat(worker->store, "debt_bytes");
    }
    close(fd);
    kv_session_close(session);
    return NULL;
}

static void defect_26_sessions_and_background_work_do_not_meet(void **state)
{
    (void)state;
    for (int tier = 0; tier < 3; tier++) {
        char          options[128];
        _Atomic bool  stop = false;
        pthread_t     threads[5];
        struct worker workers[5];
        struct db     db;
        snprintf(options, sizeof options, "segment_bytes=8k merge_trigger=0.3 tier=%s", tiers[tier]);
        remove_tree(at("db"));
        db = open_db(at("db"), options);
        for (unsigned i = 0; i < 5; i++) {
            workers[i] = (struct worker){db.store, i, tier == 1 ? 1500 : 12000, &stop};
            pthread_create(&threads[i], NULL, i < 4 ? work : disturb, &workers[i]);
        }
        for (unsigned i = 0; i < 4; i++)
            pthread_join(threads[i], NULL);
        stop = true;
        pthread_join(threads[4], NULL);
        close_db(&db);
        db = open_db(at("db"), options);
        must(kv_scan(db.session, (slice){0}, ignore, NULL));
        close_db(&db);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_random_history_follows_the_model, make_root, remove_root),
        cmocka_unit_test_setup_teardown(defect_26_sessions_and_background_work_do_not_meet, make_root, remove_root),
    };

    return cmocka_run_group_tests_name("bitcask_model", tests, NULL, NULL);
}
