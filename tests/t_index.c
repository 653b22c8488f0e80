/* t_index.c -- the concurrent hash index, with real hashes and with crafted ones that collide. */
#include "engines/base/index.h"

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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(random_puts_and_deletes_agree_with_a_model),
        cmocka_unit_test(keys_whose_hashes_collide_stay_apart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
