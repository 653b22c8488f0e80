/* t_memory.c -- what the memory engine promises beyond the contract: memory comes back, and nothing tears. */
#include "engines/engine.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/rng.h"
#include "engines/base/epoch.h"
#include "engines/memory/pool.h"

struct opened {
    struct kv_store   *store;
    struct kv_session *session;
};

static void open_memory(struct opened *o)
{
    const struct kv_engine *engine;
    struct kv_config        config;

    assert_int_equal(kv_engine_find("memory", &engine), KV_OK);
    kv_config_init(engine, &config);
    assert_int_equal(kv_open(engine, &config, &o->store), KV_OK);
    assert_int_equal(kv_session_open(o->store, &o->session), KV_OK);
}

static void close_memory(struct opened *o)
{
    kv_session_close(o->session);
    assert_int_equal(kv_close(o->store), KV_OK);
}

static slice key_of(char text[32], uint64_t i)
{
    snprintf(text, 32, "key %llu", (unsigned long long)i);
    return slice_text(text);
}

/* Values that show a tear: their first and last bytes, and a length that follows from them. */

static size_t bytes_for(uint64_t i)
{
    return 8 + (i * 37) % 300;
}

static slice make_value(char *out, uint64_t i)
{
    memset(out, (int)(i & 0xff), bytes_for(i));
    memcpy(out, &i, sizeof i);
    return slice_of(out, bytes_for(i));
}

static uint64_t check_value(slice value)
{
    const unsigned char *bytes = value.data;
    uint64_t             i;

    assert_true(value.size >= sizeof i);
    memcpy(&i, bytes, sizeof i);
    assert_int_equal(value.size, bytes_for(i));
    for (size_t at = sizeof i; at < value.size; at++)
        assert_int_equal(bytes[at], i & 0xff);
    return i;
}

static bool check_one(void *arg, slice key, slice value)
{
    (void)key;
    *(uint64_t *)arg = check_value(value);
    return true;
}

static void keys_that_share_bucket_and_tag_stay_apart(void **state)
{
    /* Of so many keys some dozen pairs fall into one bucket with one tag, so that only the key itself tells them apart. */
    static const size_t sizes[] = {3, 8, 16, 21, 70};
    const uint64_t      keys = EPOCH_TSAN ? 30000 : 300000;
    struct opened       o;
    char                key[70], value[512];
    uint64_t            found;

    (void)state;
    open_memory(&o);
    memset(key, 'k', sizeof key);
    for (int get = 0; get < 2; get++) {
        for (uint64_t i = 0; i < keys; i++) {
            slice name = slice_of(key, sizes[i % 5]);
            memcpy(key, &i, 3);
            if (get == 0) {
                assert_int_equal(kv_put(o.session, name, make_value(value, i)), KV_OK);
                continue;
            }
            assert_int_equal(kv_get(o.session, name, check_one, &found), KV_OK);
            assert_int_equal(found, i);
        }
    }
    assert_int_equal(kv_stat(o.store, "live_keys"), keys);
    close_memory(&o);
}

struct many {
    const uint64_t *wanted; /* UINT64_MAX: absent */
    size_t          next;
};

static void check_many(void *arg, size_t position, kv_status status, slice value)
{
    struct many *many = arg;
    uint64_t     wanted = many->wanted[position];

    assert_int_equal(position, many->next++);
    assert_int_equal(status, wanted == UINT64_MAX ? KV_NOT_FOUND : KV_OK);
    if (status == KV_OK)
        assert_int_equal(check_value(value), wanted);
}

static void a_batch_of_gets_answers_in_order_with_duplicates_and_absent_keys(void **state)
{
    enum { KEYS = 3000, ASKED = 1000 };
    struct opened o;
    struct rng    rng;
    char          value[512], text[ASKED][32], name[32];
    uint64_t      wanted[ASKED];
    slice         keys[ASKED];

    (void)state;
    rng_seed(&rng, 1, 0);
    open_memory(&o);
    for (uint64_t i = 0; i < KEYS; i += 2)
        assert_int_equal(kv_put(o.session, key_of(name, i), make_value(value, i)), KV_OK);
    for (size_t count = 0; count <= ASKED; count += 37) {
        struct many many = {.wanted = wanted};
        for (size_t i = 0; i < count; i++) {
            uint64_t key = i && rng_below(&rng, 4) == 0 ? (uint64_t)(rng_below(&rng, 4)) : rng_below(&rng, KEYS);
            wanted[i] = key % 2 ? UINT64_MAX : key;
            keys[i] = key_of(text[i], key);
        }
        assert_int_equal(kv_get_many(o.session, keys, count, check_many, &many), KV_OK);
        assert_int_equal(many.next, count);
    }
    close_memory(&o);
}

static void a_large_value_that_was_replaced_is_freed_at_once(void **state)
{
    struct opened o, other;
    const size_t  large = 8 << 20;
    char         *value = calloc(1, large);
    uint64_t      before;

    (void)state;
    open_memory(&o);
    other.store = o.store;
    assert_int_equal(kv_session_open(o.store, &other.session), KV_OK);
    assert_int_equal(kv_put(o.session, slice_text("k"), slice_of(value, large)), KV_OK);
    before = kv_stat(o.store, "memory_bytes");
    for (int i = 0; i < 20; i++)
        assert_int_equal(kv_put(o.session, slice_text("k"), slice_of(value, large)), KV_OK);
    assert_true(kv_stat(o.store, "memory_bytes") <= before);
    assert_int_equal(kv_del(o.session, slice_text("k")), KV_OK);
    assert_true(kv_stat(o.store, "memory_bytes") < before - large / 2);
    assert_int_equal(kv_stat(o.store, "live_bytes"), 0);
    kv_session_close(other.session);
    close_memory(&o);
    free(value);
}

static void overwrites_and_snapshots_do_not_make_the_store_grow(void **state)
{
    struct opened o;
    char          text[32], value[512];
    int           null = open("/dev/null", O_WRONLY);
    uint64_t      before = 0;

    (void)state;
    open_memory(&o);
    for (int round = 0; round < 12; round++) {
        for (uint64_t i = 0; i < 20000; i++)
            assert_int_equal(kv_put(o.session, key_of(text, i), make_value(value, i)), KV_OK);
        assert_int_equal(kv_snapshot(o.session, null), KV_OK);
        if (round == 1)
            before = kv_stat(o.store, "memory_bytes");
    }
    assert_true(kv_stat(o.store, "memory_bytes") <= before + (2 << 20));
    assert_int_equal(kv_stat(o.store, "live_keys"), 20000);
    close(null);
    close_memory(&o);
}

static void stats_know_the_live_bytes_over_all_sessions(void **state)
{
    struct opened o, other;
    uint64_t      wanted = 0;
    char          text[32], value[512];

    (void)state;
    open_memory(&o);
    assert_int_equal(kv_session_open(o.store, &other.session), KV_OK);
    for (uint64_t i = 0; i < 1000; i++) {
        assert_int_equal(kv_put(o.session, key_of(text, i), make_value(value, i + 1)), KV_OK);
        assert_int_equal(kv_put(other.session, key_of(text, i), make_value(value, i)), KV_OK);
        if (i % 3)
            wanted += strlen(text) + bytes_for(i);
        else
            assert_int_equal(kv_del(other.session, key_of(text, i)), KV_OK);
    }
    kv_session_close(other.session);
    assert_int_equal(kv_stat(o.store, "live_bytes"), wanted);
    assert_int_equal(kv_stat(o.store, "live_keys"), 666);
    close_memory(&o);
}

/* Threads. */

#define THREADS 3
#define SHARED  50

struct worker {
    struct kv_store *store;
    unsigned         number;
    int              snapshots; /* where this one writes them; -1: it does none */
};

static kv_status add_one(void *arg, const slice *old, struct buf *out)
{
    uint64_t count = 0;

    (void)arg;
    if (old)
        memcpy(&count, old->data, sizeof count);
    count++;
    return buf_append(out, &count, sizeof count);
}

static bool read_count(void *arg, slice key, slice value)
{
    (void)key;
    memcpy(arg, value.data, sizeof(uint64_t));
    return true;
}

static void *do_everything(void *arg)
{
    struct worker     *worker = arg;
    struct kv_session *session;
    struct rng         rng;
    char               text[2][32], value[2][512];
    uint64_t           seen;

    rng_seed(&rng, 5, worker->number);
    assert_int_equal(kv_session_open(worker->store, &session), KV_OK);
    for (int i = 0; i < 6000; i++) {
        slice     key = key_of(text[0], rng_below(&rng, SHARED));
        uint64_t  number = rng_below(&rng, 1000);
        kv_status status;
        switch (rng_below(&rng, 5)) {
        case 0: assert_int_equal(kv_put(session, key, make_value(value[0], number)), KV_OK); break;
        case 1: assert_int_equal(kv_del(session, key), KV_OK); break;
        case 2: assert_int_equal(kv_modify(session, slice_text("counter"), add_one, NULL), KV_OK); break;
        case 3: {
            struct kv_write writes[] = {
                {KV_PUT, key, make_value(value[0], number)},
                {KV_DELETE, key_of(text[1], rng_below(&rng, SHARED)), {0}},
                {KV_PUT, key, make_value(value[1], number + 1)}, /* the later one counts */
            };
            assert_int_equal(kv_write(session, writes, 3), KV_OK);
            break;
        }
        default:
            status = kv_get(session, key, check_one, &seen);
            assert_true(status == KV_OK || status == KV_NOT_FOUND);
        }
        if (worker->snapshots >= 0 && i % 300 == 0)
            assert_int_equal(kv_snapshot(session, worker->snapshots), KV_OK);
    }
    kv_session_close(session);
    return NULL;
}

static void defect_26_threads_tear_no_value_and_lose_no_modify(void **state)
{
    struct opened o;
    struct worker worker[THREADS];
    pthread_t     thread[THREADS];
    struct rng    rng;
    uint64_t      wanted = 0, count = 0;
    int           null = open("/dev/null", O_WRONLY);

    (void)state;
    open_memory(&o);
    for (unsigned i = 0; i < THREADS; i++) {
        worker[i] = (struct worker){o.store, i, i == 0 ? null : -1};
        pthread_create(&thread[i], NULL, do_everything, &worker[i]);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
        rng_seed(&rng, 5, i); /* the same draws again, to count the modifies */
        for (int draw = 0; draw < 6000; draw++) {
            uint64_t kind;
            rng_below(&rng, SHARED);
            rng_below(&rng, 1000);
            kind = rng_below(&rng, 5);
            wanted += kind == 2;
            if (kind == 3)
                rng_below(&rng, SHARED);
        }
    }
    assert_int_equal(kv_get(o.session, slice_text("counter"), read_count, &count), KV_OK);
    assert_int_equal(count, wanted);
    close(null);
    close_memory(&o);
}

/* The pool. */

static void pool_blocks_hold_what_was_asked_for_and_do_not_overlap(void **state)
{
    struct pool      *pool;
    struct pool_cache cache;
    enum { BLOCKS = 2000 };
    char   *block[BLOCKS];
    uint8_t class[BLOCKS];
    size_t  bytes[BLOCKS];

    (void)state;
    assert_int_equal(pool_open(&pool), KV_OK);
    pool_cache_open(pool, &cache);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < BLOCKS; i++) {
            bytes[i] = (i * i * 7 + (size_t)round) % (POOL_BYTES_MAX + 100) + 1;
            block[i] = pool_take(&cache, bytes[i], &class[i]);
            assert_non_null(block[i]);
            assert_int_equal((uintptr_t)block[i] % 16, 0);
            memset(block[i], (int)(i & 0xff), bytes[i]);
        }
        for (size_t i = 0; i < BLOCKS; i++) {
            assert_int_equal((unsigned char)block[i][0], i & 0xff);
            assert_int_equal((unsigned char)block[i][bytes[i] - 1], i & 0xff);
            pool_give(&cache, block[i], bytes[i], class[i]);
        }
    }
    pool_cache_close(&cache);
    pool_close(pool);
}

static void what_one_cache_frees_another_takes(void **state)
{
    struct pool      *pool;
    struct pool_cache from, to;
    uint8_t           class;
    uint64_t          before = 0;

    (void)state;
    assert_int_equal(pool_open(&pool), KV_OK);
    pool_cache_open(pool, &from);
    pool_cache_open(pool, &to);
    for (int i = 0; i < 200000; i++) {
        void *block = pool_take(&from, 128, &class);
        assert_non_null(block);
        pool_give(&to, block, 128, class);
        if (i == 60000)
            before = pool_bytes(pool);
    }
    assert_int_equal(pool_bytes(pool), before);
    pool_cache_close(&from);
    pool_cache_close(&to);
    pool_close(pool);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(keys_that_share_bucket_and_tag_stay_apart),
        cmocka_unit_test(a_batch_of_gets_answers_in_order_with_duplicates_and_absent_keys),
        cmocka_unit_test(a_large_value_that_was_replaced_is_freed_at_once),
        cmocka_unit_test(overwrites_and_snapshots_do_not_make_the_store_grow),
        cmocka_unit_test(stats_know_the_live_bytes_over_all_sessions),
        cmocka_unit_test(defect_26_threads_tear_no_value_and_lose_no_modify),
        cmocka_unit_test(pool_blocks_hold_what_was_asked_for_and_do_not_overlap),
        cmocka_unit_test(what_one_cache_frees_another_takes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
