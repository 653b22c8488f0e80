/* t_ticker.c -- the tier interval:T of engines without a clock of their own: every write is synced, in time, or held up. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <pthread.h>

#include "common/clock.h"
#include "common/fail.h"
#include "engines/base/ticker.h"

/* A log of one number: how far it was written, and how far synced. */
struct log {
    uint64_t written, synced, syncs; /* atomic */
    uint64_t sync_takes_ns;
    bool     breaks;
};

static kv_status sync_log(void *arg)
{
    struct log *log = arg;
    uint64_t    written = __atomic_load_n(&log->written, __ATOMIC_ACQUIRE);

    __atomic_add_fetch(&log->syncs, 1, __ATOMIC_RELAXED);
    if (log->sync_takes_ns)
        clock_sleep_until_ns(clock_now_ns() + log->sync_takes_ns);
    if (log->breaks)
        return kv_fail(KV_IO, "sync the log: the disk is gone");
    __atomic_store_n(&log->synced, written, __ATOMIC_RELEASE);
    return KV_OK;
}

static void a_write_is_synced_without_another_one(void **state)
{
    struct log     log = {.written = 1};
    struct ticker *ticker = ticker_start(2 * NS_PER_MS, sync_log, &log);

    (void)state;
    assert_non_null(ticker);
    assert_int_equal(ticker_wrote(ticker), KV_OK);
    while (__atomic_load_n(&log.synced, __ATOMIC_ACQUIRE) != 1)
        clock_sleep_until_ns(clock_now_ns() + NS_PER_MS); /* for ever, if it never comes: the runner ends it */
    ticker_stop(ticker);
}

static void without_a_write_nothing_is_synced(void **state)
{
    struct log     log = {0};
    struct ticker *ticker = ticker_start(NS_PER_MS, sync_log, &log);

    (void)state;
    assert_non_null(ticker);
    clock_sleep_until_ns(clock_now_ns() + 20 * NS_PER_MS);
    ticker_stop(ticker);
    assert_int_equal(log.syncs, 0);
}

/* Every sync takes longer than the interval, so each write but the first few has to wait for one. */
static void nothing_is_acknowledged_while_something_older_than_the_interval_is_not_durable(void **state)
{
    struct log     log = {.sync_takes_ns = 5 * NS_PER_MS};
    uint64_t       interval_ns = 2 * NS_PER_MS, at_ns[200];
    struct ticker *ticker = ticker_start(interval_ns, sync_log, &log);

    (void)state;
    assert_non_null(ticker);
    for (uint64_t i = 1; i <= 200; i++) {
        uint64_t began_ns = clock_now_ns(), synced;
        __atomic_store_n(&log.written, i, __ATOMIC_RELEASE);
        assert_int_equal(ticker_wrote(ticker), KV_OK);
        at_ns[i - 1] = clock_now_ns();
        synced = __atomic_load_n(&log.synced, __ATOMIC_ACQUIRE);
        if (synced < i - 1) /* at_ns[synced]: when the oldest that is not durable was acknowledged */
            assert_true(at_ns[synced] + interval_ns >= began_ns);
        clock_sleep_until_ns(clock_now_ns() + NS_PER_MS / 10);
    }
    ticker_stop(ticker);
    assert_true(log.syncs > 1);
}

static void after_a_failed_sync_every_write_is_refused_with_its_sentence(void **state)
{
    struct log     log = {.breaks = true};
    struct ticker *ticker = ticker_start(2 * NS_PER_MS, sync_log, &log);
    kv_status      status;

    (void)state;
    assert_non_null(ticker);
    while ((status = ticker_wrote(ticker)) == KV_OK)
        clock_sleep_until_ns(clock_now_ns() + NS_PER_MS / 10);
    assert_int_equal(status, KV_IO);
    fail_set("%s", "");
    assert_int_equal(ticker_wrote(ticker), KV_IO);
    assert_string_equal(fail_text(), "sync the log: the disk is gone");
    ticker_stop(ticker);
    assert_int_equal(log.syncs, 1); /* never retried */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_write_is_synced_without_another_one),
        cmocka_unit_test(without_a_write_nothing_is_synced),
        cmocka_unit_test(nothing_is_acknowledged_while_something_older_than_the_interval_is_not_durable),
        cmocka_unit_test(after_a_failed_sync_every_write_is_refused_with_its_sentence),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
