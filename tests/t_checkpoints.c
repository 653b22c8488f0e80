/* t_checkpoints.c -- the thread that checkpoints for engines of others, and its gate before a full disk. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engines/base/checkpoints.h"

struct log {
    uint64_t  runs; /* atomic */
    kv_status answer;
};

static kv_status run(void *arg)
{
    struct log *log = arg;

    __atomic_add_fetch(&log->runs, 1, __ATOMIC_RELEASE);
    return log->answer == KV_OK ? KV_OK : kv_fail(log->answer, "the disk is on fire");
}

static struct checkpoints *started(struct log *log, uint64_t bytes, uint64_t period_ns, uint64_t reserve_bytes)
{
    struct checkpoints_plan plan = {.dir = "/", .bytes = bytes, .period_ns = period_ns, .reserve_bytes = reserve_bytes, .run = run, .arg = log};
    struct checkpoints     *checkpoints = checkpoints_start(&plan);

    assert_non_null(checkpoints);
    return checkpoints;
}

static void wait_for_runs(const struct log *log, uint64_t runs)
{
    for (int i = 0; i < 10000 && __atomic_load_n(&log->runs, __ATOMIC_ACQUIRE) < runs; i++)
        usleep(1000);
    assert_true(__atomic_load_n(&log->runs, __ATOMIC_ACQUIRE) >= runs);
}

#define LONG_NS UINT64_C(3600000000000)

static void so_many_bytes_bring_a_checkpoint(void **state)
{
    struct log          log = {0};
    struct checkpoints *checkpoints = started(&log, 1000, LONG_NS, 0);

    (void)state;
    for (int i = 0; i < 9; i++)
        assert_int_equal(checkpoints_admit(checkpoints, 100), KV_OK);
    usleep(20000);
    assert_int_equal(__atomic_load_n(&log.runs, __ATOMIC_ACQUIRE), 0);
    for (uint64_t runs = 1; runs <= 3; runs++) {
        assert_int_equal(checkpoints_admit(checkpoints, 1000), KV_OK);
        wait_for_runs(&log, runs);
    }
    checkpoints_stop(checkpoints);
}

static void so_long_after_a_write_comes_a_checkpoint_and_none_without(void **state)
{
    struct log          log = {0};
    struct checkpoints *checkpoints = started(&log, UINT64_C(1) << 40, 5000000, 0);

    (void)state;
    usleep(30000);
    assert_int_equal(__atomic_load_n(&log.runs, __ATOMIC_ACQUIRE), 0);
    assert_int_equal(checkpoints_admit(checkpoints, 1), KV_OK);
    wait_for_runs(&log, 1);
    checkpoints_stop(checkpoints);
}

static void after_a_failure_no_write_is_admitted(void **state)
{
    struct log          log = {.answer = KV_IO};
    struct checkpoints *checkpoints = started(&log, 1 << 20, LONG_NS, 0);

    (void)state;
    assert_int_equal(checkpoints_admit(checkpoints, 100), KV_OK);
    assert_int_equal(checkpoints_now(checkpoints), KV_IO);
    fail_set("%s", "");
    assert_int_equal(checkpoints_admit(checkpoints, 100), KV_IO);
    assert_string_equal(fail_text(), "the disk is on fire");
    assert_int_equal(checkpoints_now(checkpoints), KV_IO);
    assert_int_equal(log.runs, 1); /* never tried again */
    assert_int_equal(checkpoints_count(checkpoints), 0);
    checkpoints_stop(checkpoints);
}

/* No disk is so large that it has that reserve. */
static void without_room_a_write_is_refused_and_others_are_again_when_there_is(void **state)
{
    struct log          log = {0};
    struct checkpoints *full = started(&log, 1 << 20, LONG_NS, UINT64_C(1) << 60), *empty = started(&log, 1 << 20, LONG_NS, 0);

    (void)state;
    for (int i = 0; i < 3; i++)
        assert_int_equal(checkpoints_admit(full, 10), KV_NO_SPACE);
    assert_int_equal(log.runs, 0); /* nothing was written that a checkpoint could help */
    assert_int_equal(checkpoints_admit(empty, UINT64_C(1) << 55), KV_NO_SPACE);
    assert_int_equal(checkpoints_admit(empty, 10), KV_OK);
    checkpoints_stop(full);
    checkpoints_stop(empty);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(so_many_bytes_bring_a_checkpoint),
        cmocka_unit_test(so_long_after_a_write_comes_a_checkpoint_and_none_without),
        cmocka_unit_test(after_a_failure_no_write_is_admitted),
        cmocka_unit_test(without_room_a_write_is_refused_and_others_are_again_when_there_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
