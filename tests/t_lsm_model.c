/*
 * t_lsm_model.c -- long random histories of the tree with tiny memtables and levels, against a sorted array in memory.
 *
 * What is in a history: puts, deletes, stretches of deletes, batches, modify, get, get_many, scans from a key on, scans that are held
 * while another session writes and compacts, snapshots that are restored, checkpoints, sync, compact, and opening again with other options.
 * ASSAY_SEED sets the seed, ASSAY_OPS the number of operations of a history; ASSAY_LONG=1: a million, by several sessions too.
 */
#define ENGINE lsm_engine
#include "tests/bitcask_util.h"

#include <inttypes.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>

#define KEYS        600
#define VALUE_BYTES 2048
#define KEY_BYTES   64

struct model {
    struct rng rng;
    uint32_t   version[KEYS]; /* by number of the key, which is also its place in key order; 0: absent */
    uint32_t   next;
};

static uint64_t number_from(const char *name, uint64_t fallback)
{
    const char *text = getenv(name);

    return text && *text ? strtoull(text, NULL, 10) : fallback;
}

/* In the order of the numbers; with long common beginnings, of different lengths, and some are the beginning of others. */
static slice key_of(unsigned number, char out[KEY_BYTES])
{
    int size = snprintf(out, KEY_BYTES, "%s%03u", number < KEYS / 2 ? "a-long-beginning-that-many-have/" : "a", number / 3);

    if (number % 3)
        size += snprintf(out + size, KEY_BYTES - (size_t)size, "%s", number % 3 == 1 ? "\x01" : "\xff-and-more");
    return slice_of(out, (size_t)size);
}

/* The value of a version says which key and version it is, and is as long as its version wants. */
static slice value_of(unsigned key, uint32_t version, char out[VALUE_BYTES])
{
    size_t size = version % 97 == 0 ? 0 : version % 61 == 0 ? 1900 : 12 + version % 83;

    for (size_t i = 0; i < size; i++)
        out[i] = (char)(version % 5 ? key * 31 + version * 7 : (key + i) * (version | 1) * 0x9e3779b9u >> 24);
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
    char             wanted[VALUE_BYTES];

    (void)key;
    expected->right = slice_equal(value, value_of(expected->key, expected->version, wanted));
    return true;
}

static void check_key(struct db *db, const struct model *model, unsigned key)
{
    char            text[KEY_BYTES];
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
    unsigned            next;  /* where the scan stands in the model */
    unsigned            limit; /* keys still to come */
};

/* Exactly the next live key of the model. */
static bool check_scanned(void *arg, slice key, slice value)
{
    struct seen *seen = arg;
    char         text[VALUE_BYTES];

    while (seen->next < KEYS && !seen->model->version[seen->next])
        seen->next++;
    assert_true(seen->next < KEYS);
    assert_true(slice_equal(key, key_of(seen->next, text)));
    assert_true(slice_equal(value, value_of(seen->next, seen->model->version[seen->next], text)));
    seen->next++;
    return --seen->limit > 0;
}

static void scan(struct db *db, const struct model *model, unsigned first, unsigned limit)
{
    struct seen seen = {model, first, limit};
    char        text[KEY_BYTES];

    must(kv_scan(db->session, key_of(first, text), check_scanned, &seen));
    while (seen.limit && seen.next < KEYS && !model->version[seen.next])
        seen.next++;
    assert_true(seen.limit == 0 || seen.next == KEYS); /* it did not end early */
}

static void check_all(struct db *db, const struct model *model)
{
    for (unsigned key = 0; key < KEYS; key++)
        check_key(db, model, key);
    scan(db, model, 0, KEYS + 1);
}

static void put_or_delete(struct db *db, struct model *model, unsigned key, bool delete)
{
    char text[KEY_BYTES], value[VALUE_BYTES];

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
    static char     texts[40][KEY_BYTES], values[40][VALUE_BYTES];
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

/* A whole stretch goes: tombstones beside each other, and tables that have nothing else. */
static void delete_range(struct db *db, struct model *model)
{
    unsigned first = (unsigned)rng_below(&model->rng, KEYS), count = (unsigned)rng_below(&model->rng, 60);

    for (unsigned key = first; key < KEYS && key < first + count; key++)
        put_or_delete(db, model, key, true);
}

struct change {
    struct expected expected;
    uint32_t        to;
    bool            refuse;
};

static kv_status change_value(void *arg, const slice *old, struct buf *out)
{
    struct change *change = arg;
    char           value[VALUE_BYTES];
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
    char          text[KEY_BYTES];
    struct change change = {{key, model->version[key], false}, model->next + 1, rng_below(&model->rng, 5) == 0};
    kv_status     status = kv_modify(db->session, key_of(key, text), change_value, &change);

    assert_int_equal(status, change.refuse ? KV_INVALID : KV_OK);
    if (status == KV_OK)
        model->version[key] = ++model->next;
}

struct many {
    const struct model *model;
    unsigned            key[40];
};

static void check_one_of_many(void *arg, size_t position, kv_status status, slice value)
{
    const struct many *many = arg;
    unsigned           key = many->key[position];
    char               wanted[VALUE_BYTES];

    assert_int_equal(status, many->model->version[key] ? KV_OK : KV_NOT_FOUND);
    if (status == KV_OK)
        assert_true(slice_equal(value, value_of(key, many->model->version[key], wanted)));
}

static void get_many(struct db *db, struct model *model)
{
    struct many many = {.model = model};
    static char texts[40][KEY_BYTES];
    slice       keys[40];

    for (size_t i = 0; i < 40; i++) {
        many.key[i] = (unsigned)rng_below(&model->rng, KEYS);
        keys[i] = key_of(many.key[i], texts[i]);
    }
    must(kv_get_many(db->session, keys, 40, check_one_of_many, &many));
}

/* A checkpoint is a store of its own, whatever becomes of this one. */
static void checkpoint(struct db *db, struct model *model)
{
    struct model then = *model;
    struct db    copy;

    remove_tree(at("checkpoint"));
    must(kv_checkpoint(db->session, at("checkpoint")));
    for (unsigned i = 0; i < 50; i++)
        put_or_delete(db, model, (unsigned)rng_below(&model->rng, KEYS), i % 2);
    copy = open_db(at("checkpoint"), "memtable_bytes=4096");
    check_all(&copy, &then);
    must(kv_compact(copy.session));
    check_all(&copy, &then);
    close_db(&copy);
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
    kv_config_init(&lsm_engine, &config);
    must(kv_config_set(&lsm_engine, &config, "memtable_bytes", "16k"));
    config.dir = at("restored");
    must(kv_restore(&lsm_engine, &config, fd));
    close(fd);
    copy = open_db(at("restored"), "memtable_bytes=4096");
    check_all(&copy, model);
    close_db(&copy);
}

/* ---- A scan that is held while another session writes: it goes on over the moment of its start. ---- */

static void some_writes(struct db *db, struct model *model, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        unsigned key = (unsigned)rng_below(&model->rng, KEYS);
        switch (rng_below(&model->rng, 24)) {
        case 0:
            batch(db, model);
            break;
        case 1:
            delete_range(db, model);
            break;
        case 2:
            modify(db, model, key);
            break;
        default:
            put_or_delete(db, model, key, i % 3 == 0);
        }
    }
}

struct meanwhile {
    struct kv_store *store;
    struct model    *model;
    unsigned         writes;
    bool             compact;
};

static void *write_meanwhile(void *arg)
{
    struct meanwhile *meanwhile = arg;
    struct db         db = {.store = meanwhile->store};

    must(kv_session_open(db.store, &db.session));
    some_writes(&db, meanwhile->model, meanwhile->writes);
    if (meanwhile->compact)
        must(kv_compact(db.session));
    check_all(&db, meanwhile->model);
    kv_session_close(db.session);
    return NULL;
}

struct held {
    struct seen      seen; /* in the model of the start */
    struct meanwhile meanwhile;
    unsigned         until; /* keys to the pause */
};

static bool check_held(void *arg, slice key, slice value)
{
    struct held *held = arg;
    char         mine[VALUE_BYTES];
    size_t       bytes = value.size;

    memcpy(mine, value.data, bytes);
    if (held->until-- == 0) {
        pthread_t thread;
        pthread_create(&thread, NULL, write_meanwhile, &held->meanwhile);
        pthread_join(thread, NULL);
    }
    assert_true(value.size == bytes && memcmp(value.data, mine, bytes) == 0); /* lent: it stays as it is */
    return check_scanned(&held->seen, key, value);
}

static void held_scan(struct db *db, struct model *model, unsigned first)
{
    struct model then = *model;
    struct held  held = {.seen = {&then, first, KEYS + 1},
                         .meanwhile = {db->store, model, 1 + (unsigned)rng_below(&model->rng, 400), rng_below(&model->rng, 4) == 0},
                         .until = (unsigned)rng_below(&model->rng, 60)};
    char         text[KEY_BYTES];

    must(kv_scan(db->session, key_of(first, text), check_held, &held));
    while (held.seen.next < KEYS && !then.version[held.seen.next])
        held.seen.next++;
    assert_int_equal(held.seen.next, KEYS); /* it did not end early */
}

struct history {
    const char *policy; /* NULL: another one after each open, over what the one before has left */
};

static const char *any_policy(struct model *model)
{
    static const char *const policies[] = {"leveled", "size-tiered", "count-tiered"};

    return policies[rng_below(&model->rng, 3)];
}

static struct db open_tiny(struct model *model, const struct history *history)
{
    static const char *const tiers[] = {"process", "commit", "interval:3ms", "ordered", "none"};
    static const unsigned    runs[] = {1, 2, 3, 4}, bits[] = {0, 1, 10, 20};
    static const char *const rungs[] = {"write_buffer_bytes=0 ", "reuse_buffers=false ", "entry_layout=split ", "filter_hashes=one-a-probe ",
                                           "cache=mmap ", "reads=plain ", "reads=advised ", "merge_threads=1 ", "merge_threads=4 "};
    char                     options[700] = "";

    /* Each opening chooses anew, so files of every kind lie side by side. */
    for (size_t i = 0; i < sizeof rungs / sizeof *rungs; i++)
        if (rng_below(&model->rng, 2))
            strcat(options, rungs[i]);
    size_t size = strlen(options);
    snprintf(options + size, sizeof options - size,
             "memtable_bytes=4096 level_bytes=16k table_bytes=%u small_bytes=8k level_ratio=2 slowdown_runs=1000 stop_runs=1000 "
             "block_bytes=%u restart_interval=%u filter_bits=%u cache_bytes=%u open_files=%u runs=%u compression=%s compaction=%s tier=%s",
             4096u << rng_below(&model->rng, 2), 64u << rng_below(&model->rng, 6), 1 + (unsigned)rng_below(&model->rng, 20),
             bits[rng_below(&model->rng, 4)], 1u << (10 + rng_below(&model->rng, 8)), 1 + (unsigned)rng_below(&model->rng, 20),
             runs[rng_below(&model->rng, 4)], rng_below(&model->rng, 2) ? "lz4" : "none",
             history->policy ? history->policy : any_policy(model), tiers[rng_below(&model->rng, 8) ? 0 : rng_below(&model->rng, 5)]);
    return open_db(at("db"), options);
}

static void a_random_history_follows_the_model(void **state)
{
    const struct history *history = *state;
    struct model         *model = calloc(1, sizeof *model);
    struct db             db;
    uint64_t              ops = number_from("ASSAY_OPS", getenv("ASSAY_LONG") ? 1000000 : 60000), seed = number_from("ASSAY_SEED", 1);

    print_message("# ASSAY_SEED=%" PRIu64 " ASSAY_OPS=%" PRIu64 "\n", seed, ops);
    assert_int_equal(make_root(NULL), 0);
    rng_seed(&model->rng, seed, 0);
    db = open_tiny(model, history);
    for (uint64_t i = 0; i < ops; i++) {
        uint64_t dice = rng_below(&model->rng, 6000);
        unsigned key = (unsigned)rng_below(&model->rng, rng_below(&model->rng, 2) ? KEYS : KEYS / 10);
        if (dice < 2200)
            put_or_delete(&db, model, key, false);
        else if (dice < 3200)
            put_or_delete(&db, model, key, true);
        else if (dice < 3500)
            modify(&db, model, key);
        else if (dice < 3700)
            batch(&db, model);
        else if (dice < 3720)
            delete_range(&db, model);
        else if (dice < 3800)
            get_many(&db, model);
        else if (dice < 4100)
            scan(&db, model, key, 1 + (unsigned)rng_below(&model->rng, 30));
        else if (dice < 5970)
            check_key(&db, model, key);
        else if (dice < 5976)
            check_all(&db, model);
        else if (dice < 5980)
            must(kv_compact(db.session));
        else if (dice < 5985)
            must(kv_sync(db.session));
        else if (dice < 5987)
            snapshot(&db, model);
        else if (dice < 5988)
            checkpoint(&db, model);
        else if (dice < 5990)
            held_scan(&db, model, key);
        else if (dice < 5994) {
            close_db(&db);
            db = open_tiny(model, history);
            check_all(&db, model);
        }
    }
    check_all(&db, model);
    must(kv_compact(db.session));
    check_all(&db, model);
    close_db(&db);
    free(model);
    remove_root(NULL);
}

/* ---- Sessions on one store, each with keys of its own, while flushes, compactions, scans and snapshots go on. ---- */

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

    must(kv_session_open(worker->store, &db.session));
    rng_seed(&model->rng, 7, worker->number);
    for (uint32_t i = 0; i < worker->rounds; i++) {
        unsigned key = (unsigned)rng_below(&model->rng, KEYS / 4) * 4 + worker->number;
        if (i % 3 == 0)
            put_or_delete(&db, model, key, i % 7 == 0);
        else if (i % 16 == 1)
            modify(&db, model, key);
        else
            check_key(&db, model, key);
    }
    kv_session_close(db.session);
    free(model);
    return NULL;
}

/* In order, each key once, and its value is one of its own. */
static bool check_order(void *arg, slice key, slice value)
{
    struct buf *last = arg;
    uint32_t    version;
    unsigned    number;
    char        text[VALUE_BYTES];

    assert_true(!last->size || slice_compare(buf_slice(last), key) < 0);
    last->size = 0;
    must(buf_append(last, key.data, key.size));
    if (value.size >= 8) {
        memcpy(&number, value.data, 4);
        memcpy(&version, (const char *)value.data + 4, 4);
        assert_true(number < KEYS && slice_equal(key, key_of(number, text)));
        assert_true(slice_equal(value, value_of(number, version, text)));
    }
    return true;
}

static void *disturb(void *arg)
{
    struct worker     *worker = arg;
    struct kv_session *session;
    struct buf         last = {0};
    int                fd = memfd_create("snapshot", 0);

    must(kv_session_open(worker->store, &session));
    for (unsigned i = 0; !*worker->stop; i++) {
        last.size = 0;
        if (i % 8 == 0) {
            assert_int_equal(ftruncate(fd, 0), 0);
            lseek(fd, 0, SEEK_SET);
            must(kv_snapshot(session, fd));
        } else if (i % 8 == 2) {
            must(kv_compact(session));
        } else if (i % 8 == 3) {
            must(kv_sync(session));
        } else {
            must(kv_scan(session, (slice){0}, check_order, &last));
        }
        (void)kv_stat(worker->store, "debt_bytes");
    }
    buf_free(&last);
    close(fd);
    kv_session_close(session);
    return NULL;
}

static void defect_26_sessions_and_background_work_do_not_meet(void **state)
{
    static const char *const policies[] = {"leveled", "size-tiered", "count-tiered"}, *const tiers[] = {"process", "commit", "interval:3ms"};
    uint32_t                 rounds = getenv("ASSAY_LONG") ? 120000 : 4000; /* of four sessions under three policies: a million and more */

    (void)state;
    assert_int_equal(make_root(NULL), 0);
    for (int i = 0; i < 3; i++) {
        char          options[256];
        _Atomic bool  stop = false;
        pthread_t     threads[5];
        struct worker workers[5];
        struct db     db;
        snprintf(options, sizeof options,
                 "memtable_bytes=4096 level_bytes=16k table_bytes=8k small_bytes=8k runs=2 cache_bytes=8k open_files=3 compaction=%s tier=%s",
                 policies[i], tiers[i]);
        remove_tree(at("db"));
        db = open_db(at("db"), options);
        for (unsigned j = 0; j < 5; j++) {
            workers[j] = (struct worker){db.store, j, rounds / (i == 1 ? 4 : 1), &stop};
            pthread_create(&threads[j], NULL, j < 4 ? work : disturb, &workers[j]);
        }
        for (unsigned j = 0; j < 4; j++)
            pthread_join(threads[j], NULL);
        stop = true;
        pthread_join(threads[4], NULL);
        close_db(&db);
    }
    remove_root(NULL);
}

/* ---- A snapshot whose reader is slow: it is of its moment, whatever is written and merged meanwhile. ---- */

#define MANY 4000

struct streaming {
    struct kv_store *store;
    int              fd;
};

static void *stream(void *arg)
{
    struct streaming  *streaming = arg;
    struct kv_session *session;

    must(kv_session_open(streaming->store, &session));
    must(kv_snapshot(session, streaming->fd));
    kv_session_close(session);
    close(streaming->fd);
    return NULL;
}

static void put_all(struct db *db, const char *what, int step)
{
    char key[32], value[256];

    for (int i = 0; i < MANY; i += step) {
        snprintf(key, sizeof key, "key%05d", i);
        snprintf(value, sizeof value, "%s %0150d", what, i);
        put(db, key, value);
    }
}

static void a_snapshot_with_a_slow_reader_is_of_one_moment(void **state)
{
    static const char *const policies[] = {"leveled", "size-tiered", "count-tiered"};

    (void)state;
    assert_int_equal(make_root(NULL), 0);
    for (int i = 0; i < 3; i++) {
        char             options[256], piece[4096], wanted[256], key[32];
        struct kv_config config;
        struct db        db, copy;
        struct streaming streaming;
        pthread_t        thread;
        ssize_t          got;
        int              ends[2], waiting = 0, file = open(at("stream"), O_RDWR | O_CREAT | O_TRUNC, 0644);
        snprintf(options, sizeof options, "memtable_bytes=16k level_bytes=64k table_bytes=16k small_bytes=8k slowdown_runs=1000 stop_runs=1000 compaction=%s",
                 policies[i]);
        remove_tree(at("db"));
        remove_tree(at("restored"));
        db = open_db(at("db"), options);
        put_all(&db, "old", 1);
        assert_int_equal(pipe(ends), 0);
        assert_true(fcntl(ends[1], F_SETPIPE_SZ, 4096) > 0);
        streaming = (struct streaming){db.store, ends[1]};
        pthread_create(&thread, NULL, stream, &streaming);
        while (waiting < 1000) { /* records are on their way */
            assert_int_equal(ioctl(ends[0], FIONREAD, &waiting), 0);
            usleep(1000);
        }
        put_all(&db, "new", 2);
        for (int j = 1; j < MANY; j += 4) {
            snprintf(key, sizeof key, "key%05d", j);
            must(kv_del(db.session, slice_text(key)));
        }
        must(kv_compact(db.session));
        while ((got = read(ends[0], piece, sizeof piece)) > 0)
            assert_int_equal(write(file, piece, (size_t)got), got);
        pthread_join(thread, NULL);
        close(ends[0]);
        close_db(&db);
        lseek(file, 0, SEEK_SET);
        kv_config_init(&lsm_engine, &config);
        config.dir = at("restored");
        must(kv_restore(&lsm_engine, &config, file));
        close(file);
        copy = open_db(at("restored"), "");
        for (int j = 0; j < MANY; j++) {
            snprintf(key, sizeof key, "key%05d", j);
            snprintf(wanted, sizeof wanted, "old %0150d", j);
            assert_string_equal(get(&copy, key), wanted);
        }
        close_db(&copy);
    }
    remove_root(NULL);
}

int main(void)
{
    static struct history leveled = {.policy = "leveled"}, size_tiered = {.policy = "size-tiered"}, count_tiered = {.policy = "count-tiered"},
                          mixed = {.policy = NULL};

    /* Flushes and merges come so often here that a disk would be waited for, and nothing else; crash tests look at syncs. */
    if (access("/dev/shm", W_OK) == 0)
        setenv("TMPDIR", "/dev/shm", 1);
    const struct CMUnitTest tests[] = {
        {"leveled: a_random_history_follows_the_model", a_random_history_follows_the_model, NULL, NULL, &leveled},
        {"size-tiered: a_random_history_follows_the_model", a_random_history_follows_the_model, NULL, NULL, &size_tiered},
        {"count-tiered: a_random_history_follows_the_model", a_random_history_follows_the_model, NULL, NULL, &count_tiered},
        {"all policies: a_random_history_follows_the_model", a_random_history_follows_the_model, NULL, NULL, &mixed},
        cmocka_unit_test(defect_26_sessions_and_background_work_do_not_meet),
        cmocka_unit_test(a_snapshot_with_a_slow_reader_is_of_one_moment),
    };

    return cmocka_run_group_tests_name("lsm_model", tests, NULL, NULL);
}
