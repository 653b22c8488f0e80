/* t_epoch.c -- memory is freed when nobody can see it, not before, and not much later. */
#include "engines/base/epoch.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static void count_and_free(void *context, void *pointer)
{
    ++*(size_t *)context;
    free(pointer);
}

static void retire_one(struct epoch_slot *slot, size_t bytes, size_t *freed)
{
    epoch_enter(slot);
    epoch_retire(slot, malloc(8), bytes, count_and_free, freed);
    epoch_exit(slot);
}

static void closing_a_slot_frees_what_it_retired(void **state)
{
    struct epoch      *epoch;
    struct epoch_slot *slot;
    size_t             freed = 0;

    (void)state;
    assert_int_equal(epoch_open(&epoch), KV_OK);
    assert_int_equal(epoch_slot_open(epoch, &slot), KV_OK);
    for (int i = 0; i < 10; i++)
        retire_one(slot, 8, &freed);
    assert_int_equal(freed, 0);
    epoch_slot_close(slot);
    assert_int_equal(freed, 10);
    epoch_close(epoch);
}

struct seen_by_one {
    struct epoch_own own;
    size_t          *freed;
};

static void count_own(struct epoch_own *own)
{
    ++*((struct seen_by_one *)own)->freed;
}

static void what_one_session_alone_has_seen_goes_at_its_exit(void **state)
{
    struct epoch      *epoch;
    struct epoch_slot *slot, *other;
    size_t             freed = 0;
    struct seen_by_one one = {.own.release = count_own, .freed = &freed}, two = one;

    (void)state;
    assert_int_equal(epoch_open(&epoch), KV_OK);
    assert_int_equal(epoch_slot_open(epoch, &slot), KV_OK);
    assert_int_equal(epoch_slot_open(epoch, &other), KV_OK);
    epoch_enter(other); /* stays inside, and keeps what is retired */
    for (size_t round = 1; round <= 3; round++) {
        epoch_enter(slot);
        epoch_release_at_exit(slot, &one.own, 3);
        epoch_release_at_exit(slot, &two.own, 4);
        assert_int_equal(slot->own_bytes, 7);
        assert_int_equal(freed, 2 * round - 2);
        epoch_exit(slot);
        assert_int_equal(freed, 2 * round);
        assert_int_equal(slot->own_bytes, 0);
    }
    epoch_exit(other);
    epoch_slot_close(slot);
    epoch_slot_close(other);
    epoch_close(epoch);
}

static void garbage_stays_bounded_and_large_things_go_at_once(void **state)
{
    struct epoch      *epoch;
    struct epoch_slot *slot, *idle;
    size_t             freed = 0;

    (void)state;
    assert_int_equal(epoch_open(&epoch), KV_OK);
    assert_int_equal(epoch_slot_open(epoch, &slot), KV_OK);
    assert_int_equal(epoch_slot_open(epoch, &idle), KV_OK);
    for (size_t i = 1; i <= 100000; i++) {
        retire_one(slot, 8, &freed);
        assert_true(i - freed <= 256);
    }
    retire_one(slot, 2 << 20, &freed);
    assert_int_equal(freed, 100001);
    epoch_slot_close(slot);
    epoch_slot_close(idle);
    epoch_close(epoch);
}

static void nothing_is_freed_while_a_session_is_inside_that_could_see_it(void **state)
{
    struct epoch      *epoch;
    struct epoch_slot *slot, *reader;
    size_t             freed = 0;

    (void)state;
    assert_int_equal(epoch_open(&epoch), KV_OK);
    assert_int_equal(epoch_slot_open(epoch, &slot), KV_OK);
    assert_int_equal(epoch_slot_open(epoch, &reader), KV_OK);
    epoch_enter(reader);
    for (int i = 0; i < 10000; i++)
        retire_one(slot, 4 << 10, &freed);
    epoch_collect(slot, false);
    assert_int_equal(freed, 0);
    epoch_exit(reader);
    /* One that entered after everything was unlinked and sealed is not in the way. */
    epoch_enter(reader);
    epoch_collect(slot, false);
    assert_true(freed > 0);
    epoch_exit(reader);
    epoch_collect(slot, false);
    assert_int_equal(freed, 10000);
    epoch_slot_close(slot);
    epoch_slot_close(reader);
    epoch_close(epoch);
}

static void a_reserve_makes_room_for_a_large_batch(void **state)
{
    struct epoch      *epoch;
    struct epoch_slot *slot;
    size_t             freed = 0;

    (void)state;
    assert_int_equal(epoch_open(&epoch), KV_OK);
    assert_int_equal(epoch_slot_open(epoch, &slot), KV_OK);
    epoch_enter(slot);
    assert_int_equal(epoch_reserve(slot, 65536), KV_OK);
    for (int i = 0; i < 65536 + EPOCH_SPARE; i++)
        epoch_retire(slot, malloc(8), 8, count_and_free, &freed);
    epoch_exit(slot);
    assert_int_equal(freed, 65536 + EPOCH_SPARE);
    epoch_slot_close(slot);
    epoch_close(epoch);
}

/* Threads that replace one shared object and read it. */

#define THREADS 4

struct object {
    uint64_t a, b; /* equal as long as the object lives */
};

struct shared {
    struct epoch  *epoch;
    struct object *object;
    uint64_t       left, right; /* equal when nobody is inside */
    bool           stop;
};

static void spoil_and_free(void *context, void *pointer)
{
    struct object *object = pointer;

    (void)context;
    object->a = 1;
    object->b = 2;
    free(object);
}

static void *replace_and_read(void *arg)
{
    struct shared     *shared = arg;
    struct epoch_slot *slot;

    assert_int_equal(epoch_slot_open(shared->epoch, &slot), KV_OK);
    for (uint64_t i = 1; !__atomic_load_n(&shared->stop, __ATOMIC_RELAXED); i++) {
        epoch_enter(slot);
        if (i % 4 == 0) {
            struct object *object = malloc(sizeof *object);
            *object = (struct object){i, i};
            object = __atomic_exchange_n(&shared->object, object, __ATOMIC_ACQ_REL);
            epoch_retire(slot, object, sizeof *object, spoil_and_free, NULL);
        }
        const struct object *seen = __atomic_load_n(&shared->object, __ATOMIC_ACQUIRE);
        uint64_t             a = seen->a;
        if (i % 64 == 0)
            sched_yield();
        assert_int_equal(a, seen->b);
        __atomic_add_fetch(&shared->left, 1, __ATOMIC_RELAXED);
        __atomic_add_fetch(&shared->right, 1, __ATOMIC_RELAXED);
        epoch_exit(slot);
    }
    epoch_slot_close(slot);
    return NULL;
}

static void readers_never_see_freed_memory_and_a_pause_finds_nobody_inside(void **state)
{
    struct shared shared = {.object = calloc(1, sizeof(struct object))};
    pthread_t     thread[THREADS];

    (void)state;
    assert_int_equal(epoch_open(&shared.epoch), KV_OK);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&thread[i], NULL, replace_and_read, &shared);
    for (int i = 0; i < 300; i++) {
        uint64_t before;
        epoch_pause(shared.epoch);
        before = __atomic_load_n(&shared.left, __ATOMIC_RELAXED);
        assert_int_equal(before, __atomic_load_n(&shared.right, __ATOMIC_RELAXED));
        sched_yield();
        assert_int_equal(before, __atomic_load_n(&shared.left, __ATOMIC_RELAXED));
        epoch_resume(shared.epoch);
        while (__atomic_load_n(&shared.left, __ATOMIC_RELAXED) < before + 100)
            sched_yield();
    }
    __atomic_store_n(&shared.stop, true, __ATOMIC_RELAXED);
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    free(shared.object);
    epoch_close(shared.epoch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(closing_a_slot_frees_what_it_retired),
        cmocka_unit_test(what_one_session_alone_has_seen_goes_at_its_exit),
        cmocka_unit_test(garbage_stays_bounded_and_large_things_go_at_once),
        cmocka_unit_test(nothing_is_freed_while_a_session_is_inside_that_could_see_it),
        cmocka_unit_test(a_reserve_makes_room_for_a_large_batch),
        cmocka_unit_test(readers_never_see_freed_memory_and_a_pause_finds_nobody_inside),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
