/* t_index.c -- the concurrent hash index, with real hashes and with crafted ones that collide. */
#include "engines/base/index.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "common/rng.h"

/* A record is its key and a version; its ref is its address. */
struct item {
    uint64_t hash;
    uint64_t key;
    uint64_t version;
};

struct fixture {
    struct epoch      *epoch;
    struct epoch_slot *slot;
    struct index      *index;
    bool               unreadable; /* hash_of fails */
};

static struct item *item_of(uint64_t ref)
{
    return (struct item *)(uintptr_t)ref;
}

static bool match(const void *context, uint64_t ref, slice key)
{
    (void)context;
    return memcmp(&item_of(ref)->key, key.data, sizeof(uint64_t)) == 0;
}

static bool hash_of(void *context, uint64_t ref, uint64_t *hash)
{
    struct fixture *f = context;

    *hash = item_of(ref)->hash;
    return !f->unreadable;
}

static void free_item(void *context, void *pointer)
{
    (void)context;
    free(pointer);
}

static slice key_of(const uint64_t *key)
{
    return slice_of(key, sizeof *key);
}

static void open_fixture(struct fixture *f, uint64_t expected)
{
    struct index_ops ops = {.hash_of = hash_of, .context = f};

    f->unreadable = false;
    assert_int_equal(epoch_open(&f->epoch), KV_OK);
    assert_int_equal(epoch_slot_open(f->epoch, &f->slot), KV_OK);
    assert_int_equal(index_open(f->epoch, &ops, expected, &f->index), KV_OK);
}

static void close_fixture(struct fixture *f)
{
    struct index_refs refs = {0};
    uint64_t          position = 0;

    index_check(f->index);
    epoch_enter(f->slot);
    do {
        assert_int_equal(index_next(f->index, &position, &refs), KV_OK);
        for (size_t i = 0; i < refs.count; i++)
            free(item_of(refs.ref[i]));
    } while (refs.count);
    epoch_exit(f->slot);
    free(refs.ref);
    epoch_slot_close(f->slot);
    index_close(f->index);
    epoch_close(f->epoch);
}

static void put(struct fixture *f, struct epoch_slot *slot, uint64_t hash, uint64_t key, uint64_t version)
{
    struct item       *item = malloc(sizeof *item);
    struct index_place place;
    uint64_t           old;

    *item = (struct item){hash, key, version};
    epoch_enter(slot);
    index_lock(f->index, hash, &place);
    old = index_seek(&place, key_of(&key), match, NULL);
    assert_int_equal(index_put(f->index, &place, (uintptr_t)item), KV_OK);
    if (old)
        epoch_retire(slot, item_of(old), sizeof *item, free_item, NULL);
    index_unlock(f->index, slot, &place);
    epoch_exit(slot);
}

static void del(struct fixture *f, struct epoch_slot *slot, uint64_t hash, uint64_t key)
{
    struct index_place place;
    uint64_t           old;

    epoch_enter(slot);
    index_lock(f->index, hash, &place);
    old = index_seek(&place, key_of(&key), match, NULL);
    index_remove(f->index, &place);
    if (old)
        epoch_retire(slot, item_of(old), sizeof(struct item), free_item, NULL);
    index_unlock(f->index, slot, &place);
    epoch_exit(slot);
}

/* The version, or 0. */
static uint64_t get(struct fixture *f, struct epoch_slot *slot, uint64_t hash, uint64_t key)
{
    uint64_t ref, version;

    epoch_enter(slot);
    ref = index_find(f->index, hash, key_of(&key), match, NULL);
    version = ref ? item_of(ref)->version : 0;
    epoch_exit(slot);
    return version;
}

static uint64_t real_hash(uint64_t key)
{
    return index_hash(key_of(&key));
}

/* Only 64 different hashes, which share 4 tags and 2 shards. */
static uint64_t weak_hash(uint64_t key)
{
    return (key % 2) << 63 | (key % 8) << 40 | (key % 4);
}

static void agrees_with_a_model(uint64_t (*hash)(uint64_t), uint64_t keys, unsigned operations)
{
    struct fixture f;
    struct rng     rng;
    uint64_t      *model = calloc(keys, sizeof *model), live = 0;

    rng_seed(&rng, 1, 0);
    open_fixture(&f, 0);
    for (uint64_t i = 1; i <= operations; i++) {
        uint64_t key = rng_below(&rng, keys);
        if (rng_below(&rng, 3)) {
            put(&f, f.slot, hash(key), key, i);
            live += !model[key];
            model[key] = i;
        } else {
            del(&f, f.slot, hash(key), key);
            live -= model[key] != 0;
            model[key] = 0;
        }
        key = rng_below(&rng, keys);
        assert_int_equal(get(&f, f.slot, hash(key), key), model[key]);
        if (i % 1000 == 0)
            index_check(f.index);
    }
    assert_int_equal(index_count(f.index), live);
    for (uint64_t key = 0; key < keys; key++)
        assert_int_equal(get(&f, f.slot, hash(key), key), model[key]);
    close_fixture(&f);
    free(model);
}

static void random_puts_and_deletes_agree_with_a_model(void **state)
{
    (void)state;
    agrees_with_a_model(real_hash, 20000, 60000);
}

static void keys_whose_hashes_collide_stay_apart(void **state)
{
    (void)state;
    agrees_with_a_model(weak_hash, 300, 10000);
}

static void an_index_opened_for_many_keys_does_not_grow_for_them(void **state)
{
    struct fixture f;
    uint64_t       before;

    (void)state;
    open_fixture(&f, 50000);
    before = index_memory_bytes(f.index);
    for (uint64_t key = 0; key < 50000; key++)
        put(&f, f.slot, real_hash(key), key, 1);
    assert_true(index_memory_bytes(f.index) < before + before / 16); /* a few overflow buckets */
    close_fixture(&f);
}

static void a_growth_that_cannot_read_its_records_leaves_everything_findable(void **state)
{
    struct fixture f;

    (void)state;
    open_fixture(&f, 0);
    f.unreadable = true;
    for (uint64_t key = 0; key < 20000; key++)
        put(&f, f.slot, real_hash(key), key, key + 1);
    for (uint64_t key = 0; key < 20000; key++)
        assert_int_equal(get(&f, f.slot, real_hash(key), key), key + 1);
    f.unreadable = false;
    for (uint64_t key = 20000; key < 40000; key++)
        put(&f, f.slot, real_hash(key), key, key + 1);
    for (uint64_t key = 0; key < 40000; key++)
        assert_int_equal(get(&f, f.slot, real_hash(key), key), key + 1);
    close_fixture(&f);
}

static void a_candidate_is_the_ref_or_one_whose_tag_fits(void **state)
{
    struct fixture f;
    uint64_t       missed = 0;

    (void)state;
    open_fixture(&f, 0);
    for (uint64_t key = 0; key < 10000; key++)
        put(&f, f.slot, real_hash(key), key, key + 1);
    epoch_enter(f.slot);
    for (uint64_t key = 0; key < 10000; key++) {
        uint64_t ref = index_candidate(f.index, real_hash(key));
        assert_true(!ref || (item_of(ref)->hash & 0xffff) == (real_hash(key) & 0xffff));
        missed += !ref || item_of(ref)->key != key;
    }
    epoch_exit(f.slot);
    assert_true(missed < 1000); /* those in overflow buckets */
    close_fixture(&f);
}

/* Several threads at once.  Each key belongs to one thread, which knows what it must be; all read all keys. */

#define THREADS 3
#define KEYS    6000

struct worker {
    struct fixture *f;
    uint64_t (*hash)(uint64_t);
    unsigned  number, operations;
    uint64_t *seen; /* the newest version met of each key: it never goes back */
};

static void *work(void *arg)
{
    struct worker     *worker = arg;
    struct fixture    *f = worker->f;
    struct epoch_slot *slot;
    struct rng         rng;
    uint64_t          *model = calloc(KEYS, sizeof *model);

    rng_seed(&rng, 2, worker->number);
    assert_int_equal(epoch_slot_open(f->epoch, &slot), KV_OK);
    for (uint64_t i = 1; i <= worker->operations; i++) {
        uint64_t own = rng_below(&rng, KEYS / THREADS) * THREADS + worker->number, any = rng_below(&rng, KEYS), version;
        if (rng_below(&rng, 4)) {
            put(f, slot, worker->hash(own), own, i);
            model[own] = i;
        } else {
            del(f, slot, worker->hash(own), own);
            model[own] = 0;
        }
        assert_int_equal(get(f, slot, worker->hash(own), own), model[own]);
        version = get(f, slot, worker->hash(any), any);
        if (version) {
            assert_true(version >= worker->seen[any]);
            worker->seen[any] = version;
        }
    }
    for (uint64_t key = worker->number; key < KEYS; key += THREADS)
        assert_int_equal(get(f, slot, worker->hash(key), key), model[key]);
    free(model);
    epoch_slot_close(slot);
    return NULL;
}

static void works_concurrently(uint64_t (*hash)(uint64_t), unsigned operations)
{
    struct fixture f;
    struct worker  worker[THREADS];
    pthread_t      thread[THREADS];

    open_fixture(&f, 0);
    for (unsigned i = 0; i < THREADS; i++) {
        worker[i] = (struct worker){&f, hash, i, operations, calloc(KEYS, sizeof(uint64_t))};
        pthread_create(&thread[i], NULL, work, &worker[i]);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(thread[i], NULL);
        free(worker[i].seen);
    }
    close_fixture(&f);
}

static void threads_agree_with_their_models_while_tables_grow(void **state)
{
    (void)state;
    works_concurrently(real_hash, 30000);
}

static void threads_agree_with_their_models_on_colliding_hashes(void **state)
{
    (void)state;
    works_concurrently(weak_hash, 600);
}

struct walk {
    struct fixture *f;
    bool            stop;
};

static void *insert_until_stopped(void *arg)
{
    struct walk       *walk = arg;
    struct epoch_slot *slot;

    assert_int_equal(epoch_slot_open(walk->f->epoch, &slot), KV_OK);
    for (uint64_t key = 1000; !__atomic_load_n(&walk->stop, __ATOMIC_RELAXED); key++) {
        put(walk->f, slot, real_hash(key % 100000), key % 100000, 1);
        put(walk->f, slot, real_hash(key % 1000), key % 1000, 1); /* replaced, so live all the time */
    }
    epoch_slot_close(slot);
    return NULL;
}

static void going_through_meets_every_live_key_once_while_tables_grow(void **state)
{
    struct fixture    f;
    struct walk       walk = {&f, false};
    struct index_refs refs = {0};
    pthread_t         thread;

    (void)state;
    open_fixture(&f, 0);
    for (uint64_t key = 0; key < 1000; key++)
        put(&f, f.slot, real_hash(key), key, 1);
    pthread_create(&thread, NULL, insert_until_stopped, &walk);
    for (int round = 0; round < 30; round++) {
        uint64_t position = 0;
        unsigned met[1000] = {0};
        do {
            epoch_enter(f.slot);
            assert_int_equal(index_next(f.index, &position, &refs), KV_OK);
            for (size_t i = 0; i < refs.count; i++)
                if (item_of(refs.ref[i])->key < 1000)
                    met[item_of(refs.ref[i])->key]++;
            epoch_exit(f.slot);
        } while (refs.count);
        for (uint64_t key = 0; key < 1000; key++)
            assert_int_equal(met[key], 1);
    }
    __atomic_store_n(&walk.stop, true, __ATOMIC_RELAXED);
    pthread_join(thread, NULL);
    free(refs.ref);
    close_fixture(&f);
}

/* Batches move an amount between accounts, so the sum stays: under the locks, and in every cut. */

#define ACCOUNTS 400
#define SUM      (UINT64_C(1000) * ACCOUNTS)

struct bank {
    struct fixture f;
    uint64_t (*hash)(uint64_t);
    bool           stop;
    uint64_t       started;
    uint64_t       handed_over; /* the sum of what writers gave to the cut; its lock protects it */
};

static void transfer(struct bank *bank, struct epoch_slot *slot, struct index_batch *batch, struct rng *rng)
{
    uint64_t     key[3], balance[3], amount = rng_below(rng, 50);
    struct item *made[3], *old[3];

    key[0] = rng_below(rng, ACCOUNTS);
    key[1] = (key[0] + 1 + rng_below(rng, ACCOUNTS - 1)) % ACCOUNTS;
    key[2] = key[0]; /* the same key twice in one batch */
    for (int i = 0; i < 3; i++)
        made[i] = malloc(sizeof **made);
    assert_int_equal(index_batch_reserve(batch, 3), KV_OK);
    for (int i = 0; i < 3; i++)
        batch->place[i].hash = bank->hash(key[i]);
    epoch_enter(slot);
    index_lock_many(bank->f.index, batch);
    for (int i = 0; i < 3; i++) {
        old[i] = item_of(index_seek(&batch->place[i], key_of(&key[i]), match, NULL));
        balance[i] = old[i]->version - (i == 0 ? amount : 0) + (i == 1 ? amount : 0);
        *made[i] = (struct item){bank->hash(key[i]), key[i], balance[i]};
        assert_int_equal(index_put(bank->f.index, &batch->place[i], (uintptr_t)made[i]), KV_OK);
        epoch_retire(slot, old[i], sizeof *old[i], free_item, NULL);
    }
    index_unlock_many(bank->f.index, slot, batch);
    epoch_exit(slot);
}

static void *transfer_until_stopped(void *arg)
{
    struct bank       *bank = arg;
    struct epoch_slot *slot;
    struct index_batch batch = {0};
    struct rng         rng;

    rng_seed(&rng, 3, __atomic_fetch_add(&bank->started, 1, __ATOMIC_RELAXED));
    assert_int_equal(epoch_slot_open(bank->f.epoch, &slot), KV_OK);
    for (uint64_t i = 0; !__atomic_load_n(&bank->stop, __ATOMIC_RELAXED); i++) {
        transfer(bank, slot, &batch, &rng);
        put(&bank->f, slot, real_hash(ACCOUNTS + i % 20000), ACCOUNTS + i % 20000, 0); /* makes tables grow */
    }
    index_batch_free(&batch);
    epoch_slot_close(slot);
    return NULL;
}

static void add_handed_over(void *context, uint64_t ref)
{
    struct bank *bank = context;

    bank->handed_over += item_of(ref)->version;
}

static void cut_once(struct bank *bank, struct index_batch *batch, struct rng *rng, bool give_up)
{
    struct index_cut  cut = {.keep = add_handed_over, .context = bank};
    struct index_refs refs = {0}, early = {0};
    uint64_t          sum = 0, rounds = 0;

    bank->handed_over = 0;
    epoch_pause(bank->f.epoch);
    index_cut_begin(bank->f.index, &cut);
    epoch_resume(bank->f.epoch);
    transfer(bank, bank->f.slot, batch, rng); /* before the cut comes by */
    do {
        if (rounds++ % 4 == 0)
            sched_yield();
        epoch_enter(bank->f.slot);
        assert_int_equal(index_cut_next(bank->f.index, &cut, &refs), KV_OK);
        for (size_t i = 0; i < refs.count; i++)
            sum += item_of(refs.ref[i])->version;
        epoch_exit(bank->f.slot);
    } while (refs.count && !(give_up && rounds == 2));
    epoch_enter(bank->f.slot);
    index_cut_end(bank->f.index, &cut);
    epoch_exit(bank->f.slot);
    index_cut_early(&cut, &early);
    assert_true(early.count > 0);
    if (!give_up)
        assert_int_equal(sum + bank->handed_over, SUM);
    free(refs.ref);
    free(early.ref);
    index_cut_free(&cut);
}

static void cuts_see_batches_whole(uint64_t (*hash)(uint64_t))
{
    struct bank        bank = {.hash = hash};
    struct index_batch batch = {0};
    struct rng         rng;
    pthread_t          thread[2];

    rng_seed(&rng, 4, 0);
    open_fixture(&bank.f, 0);
    for (uint64_t key = 0; key < ACCOUNTS; key++)
        put(&bank.f, bank.f.slot, hash(key), key, SUM / ACCOUNTS);
    for (int i = 0; i < 2; i++)
        pthread_create(&thread[i], NULL, transfer_until_stopped, &bank);
    for (int round = 0; round < 60; round++)
        cut_once(&bank, &batch, &rng, round % 10 == 9);
    __atomic_store_n(&bank.stop, true, __ATOMIC_RELAXED);
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    index_batch_free(&batch);
    close_fixture(&bank.f);
}

static void a_cut_sees_every_batch_whole(void **state)
{
    (void)state;
    cuts_see_batches_whole(real_hash);
}

static void a_cut_sees_every_batch_whole_when_hashes_collide(void **state)
{
    (void)state;
    cuts_see_batches_whole(weak_hash);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_puts_and_deletes_agree_with_a_model),
        cmocka_unit_test(keys_whose_hashes_collide_stay_apart),
        cmocka_unit_test(an_index_opened_for_many_keys_does_not_grow_for_them),
        cmocka_unit_test(a_growth_that_cannot_read_its_records_leaves_everything_findable),
        cmocka_unit_test(a_candidate_is_the_ref_or_one_whose_tag_fits),
        cmocka_unit_test(threads_agree_with_their_models_while_tables_grow),
        cmocka_unit_test(threads_agree_with_their_models_on_colliding_hashes),
        cmocka_unit_test(going_through_meets_every_live_key_once_while_tables_grow),
        cmocka_unit_test(a_cut_sees_every_batch_whole),
        cmocka_unit_test(a_cut_sees_every_batch_whole_when_hashes_collide),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
