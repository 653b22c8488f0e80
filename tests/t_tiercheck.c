/*
 * t_tiercheck.c -- a tier is checked and not believed: who claims commit and syncs nothing, or the wrong file, or too early, is
 * told so, and who keeps its word is not.
 *
 * tests/plugins/liar.c syncs as its option says.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "harness/space.h"
#include "harness/tiercheck.h"
#include "results/facts.h"

static char assay[PATH_MAX], liar[PATH_MAX], work[PATH_MAX / 2], out[PATH_MAX], err[PATH_MAX];

static int set_up(void **state)
{
    const char *base = getenv("TMPDIR");
    char        here[PATH_MAX - 64];
    ssize_t     size = readlink("/proc/self/exe", here, sizeof here - 1);

    (void)state;
    here[size] = '\0';
    *strrchr(here, '/') = '\0';
    snprintf(liar, sizeof liar, "%s/plugins/liar.so", here);
    *strrchr(here, '/') = '\0';
    snprintf(assay, sizeof assay, "%s/assay", here);
    snprintf(work, sizeof work, "%s/t_tiercheck.XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(work));
    snprintf(out, sizeof out, "%s/r.json", work);
    snprintf(err, sizeof err, "%s/err", work);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    space_remove(work);
    return 0;
}

/* Runs a bench with the check; its result, and its exit code. */
static json_t *bench_in(const char *dir, const char *words, int *code)
{
    char    line[5 * PATH_MAX];
    int     status;
    json_t *json;

    unlink(out);
    snprintf(line, sizeof line, "'%s' bench --workload uniform --records 100 --ops 100 --no-calibrate --no-meters --verify-tier "
             "--dir '%s' --out '%s' %s 2>'%s'", assay, dir, out, words, err);
    status = system(line);
    assert_true(WIFEXITED(status));
    *code = WEXITSTATUS(status);
    json = json_load_file(out, 0, NULL);
    assert_non_null(json);
    return json;
}

static json_t *check_of(json_t *result)
{
    return json_object_get(json_array_get(json_object_get(result, "engines"), 0), "tier_check");
}

static bool a_sync_says_something(void)
{
    char device[PATH_MAX];

    return !facts_fs_is_memory(work) && facts_device_path(work, device, sizeof device);
}

/* kept 1, broken 0 (why holds the words), unknown -1. */
static void expect(const char *lie, const char *tier, int verdict, const char *words)
{
    char        line[PATH_MAX + 256];
    json_t     *json, *check, *ok;
    const char *why;
    int         code;

    snprintf(line, sizeof line, "--engine '%s' --set liar.lie=%s --durability %s --force", liar, lie, tier);
    json  = bench_in(work, line, &code);
    check = check_of(json);
    if (!json_is_object(check))
        fail_msg("%s, %s: no tier_check", lie, tier);
    ok  = json_object_get(check, "ok");
    why = json_string_value(json_object_get(check, "why"));
    if (verdict == 1 && !a_sync_says_something())
        verdict = -1;
    if (verdict != (json_is_null(ok) ? -1 : json_is_true(ok)))
        fail_msg("%s, %s: not %d: %s", lie, tier, verdict, json_dumps(check, JSON_COMPACT));
    assert_int_equal(code, verdict == 0 ? 1 : 0);
    if (verdict == 0) {
        json_t *warning = json_array_get(json_object_get(json, "warnings"), 0);

        assert_non_null(strstr(why, words));
        assert_non_null(strstr(json_string_value(warning), tier));
    }
    json_decref(json);
}

static void an_engine_that_syncs_keeps_its_tier(void **state)
{
    (void)state;
    expect("none", "commit", 1, "");
    expect("none", "process", 1, "");
    expect("none", "interval:20ms", 1, "");
}

static void an_engine_that_writes_through_keeps_its_tier(void **state)
{
    (void)state;
    expect("dsync", "commit", 1, "");
}

static void an_engine_whose_process_is_another_keeps_its_tier(void **state)
{
    (void)state;
    expect("in-a-child", "commit", 1, "");
}

static void a_server_that_lies_is_told(void **state)
{
    char    line[2 * PATH_MAX];
    json_t *json;
    int     code;

    (void)state;
    for (int lie = 0; lie < 2; lie++) {
        snprintf(line, sizeof line, "--engine '%.*s/served.so' --set served.lie=%s --durability commit --force",
                 (int)(strrchr(liar, '/') - liar), liar, lie ? "true" : "false");
        json = bench_in(work, line, &code);
        assert_int_equal(code, lie);
        assert_true(json_is_false(json_object_get(check_of(json), "ok")) == lie);
        json_decref(json);
    }
}

static void an_engine_that_does_not_sync_is_told(void **state)
{
    (void)state;
    expect("no-sync", "commit", 0, "48 of 48 writes (one session)");
    expect("no-sync", "process", 0, "when a call of sync had returned");
    expect("no-sync", "interval:20ms", 0, "0 syncs in");
}

static void an_engine_that_syncs_another_file_is_told(void **state)
{
    (void)state;
    expect("idle-file", "commit", 0, "48 of 48 writes");
    expect("other-file", "commit", 0, "48 of 48 writes");
    expect("idle-file", "interval:20ms", 0, "0 syncs");
}

static void an_engine_that_syncs_before_it_writes_is_told(void **state)
{
    (void)state;
    expect("before-write", "commit", 0, "48 of 48 writes");
}

static void a_sync_of_a_range_and_one_that_fails_are_none(void **state)
{
    (void)state;
    expect("range", "commit", 0, "48 of 48 writes");
    expect("failed", "commit", 0, "48 of 48 writes");
}

static void in_memory_nothing_is_known_and_never_ok(void **state)
{
    char    line[PATH_MAX + 256], dir[] = "/dev/shm/t_tiercheck.XXXXXX";
    json_t *json;
    int     code;

    (void)state;
    if (!facts_fs_is_memory("/dev/shm") || !mkdtemp(dir))
        skip();
    snprintf(line, sizeof line, "--engine '%s' --durability commit --force", liar);
    json = bench_in(dir, line, &code);
    assert_true(json_is_null(json_object_get(check_of(json), "ok")));
    assert_non_null(strstr(json_string_value(json_object_get(check_of(json), "why")), "memory"));
    assert_int_equal(code, 0);
    json_decref(json);
    snprintf(line, sizeof line, "--engine '%s' --set liar.lie=no-sync --durability commit --force", liar);
    json = bench_in(dir, line, &code);
    assert_true(json_is_false(json_object_get(check_of(json), "ok")));
    assert_int_equal(code, 1);
    json_decref(json);
    rmdir(dir);
}

static void who_keeps_nothing_is_not_checked(void **state)
{
    int     code;
    json_t *json = bench_in(work, "--engine memory,null", &code);

    (void)state;
    assert_true(json_is_null(check_of(json)));
    assert_int_equal(code, 0);
    json_decref(json);
}

/* The judge, over events written by hand. */

static struct tiercheck_page page;

static void begin(uint64_t flushes)
{
    memset(&page, 0, sizeof page);
    page.done = true;
    page.spans[TIERCHECK_ONE] = (struct tiercheck_span){.begin_ns = 1, .end_ns = 1000000, .flushes = flushes, .syncs_due = 1};
    page.file_count = 2;
}

static void event(uint64_t at, uint64_t end, enum tiercheck_kind kind, uint32_t file)
{
    page.events[page.event_count++] = (struct tiercheck_event){.begin_ns = at, .end_ns = end, .file = file,
                                                               .call = SYS_fdatasync, .kind = (uint8_t)kind,
                                                               .bytes = kind == TIERCHECK_FSYNC ? 0 : 2000};
}

static void group(uint64_t from, uint64_t to)
{
    page.groups[page.group_count++] = (struct tiercheck_group){from, to, TIERCHECK_ONE};
}

/* 1, 0, -1: kept, broken, unknown. */
static int verdict(void)
{
    json_t *json = tiercheck_judge(&page, (struct kv_durability){.tier = KV_TIER_COMMIT}, NULL), *ok = json_object_get(json, "ok");
    int     found = json_is_null(ok) ? -1 : json_is_true(ok);

    json_decref(json);
    return found;
}

static void a_sync_counts_within_the_time_of_its_write_only(void **state)
{
    (void)state;
    begin(5);
    group(100, 200);
    event(110, 115, TIERCHECK_WRITE, 0);
    event(120, 190, TIERCHECK_FSYNC, 0);
    assert_int_equal(verdict(), 1);
    page.events[1].end_ns = 201; /* it returned after the acknowledgement */
    assert_int_equal(verdict(), 0);
    page.events[1].end_ns = 0; /* it failed */
    assert_int_equal(verdict(), 0);
    page.events[1].end_ns = 190;
    page.events[0].end_ns = 130; /* it began before the write was done */
    assert_int_equal(verdict(), 0);
    page.events[0].end_ns = 115;
    page.events[0].bytes = TIERCHECK_VALUE - 1; /* what was written is less than the value */
    assert_int_equal(verdict(), 0);
    page.events[0] = (struct tiercheck_event){.begin_ns = 90, .end_ns = 99, .bytes = 2000, .kind = TIERCHECK_WRITE};
    assert_int_equal(verdict(), 0); /* and this was written before the value came */
}

static void one_sync_serves_all_writes_that_wait_for_it(void **state)
{
    (void)state;
    begin(1);
    for (uint64_t i = 0; i < 8; i++)
        group(100 + i, 300 + i);
    event(150, 155, TIERCHECK_WRITE, 0);
    event(160, 290, TIERCHECK_FSYNC, 0);
    assert_int_equal(verdict(), 1);
    group(170, 310); /* this one came when the sync was on its way */
    assert_int_equal(verdict(), 0);
}

static void a_mapped_file_may_have_been_written_at_any_time(void **state)
{
    (void)state;
    begin(5);
    group(100, 200);
    event(120, 190, TIERCHECK_FSYNC, 1);
    assert_int_equal(verdict(), 0);
    page.files[1].mapped = true;
    assert_int_equal(verdict(), 1);
}

static void what_a_ring_did_is_not_known(void **state)
{
    (void)state;
    begin(5);
    group(100, 200);
    event(120, 0, TIERCHECK_RING, TIERCHECK_NO_FILE);
    assert_int_equal(verdict(), -1);
}

static void a_device_that_is_not_flushed_makes_it_unknown(void **state)
{
    (void)state;
    begin(0);
    group(100, 200);
    event(110, 115, TIERCHECK_WRITE, 0);
    event(120, 190, TIERCHECK_FSYNC, 0);
    assert_int_equal(verdict(), -1);
    page.spans[TIERCHECK_ONE].flushes = KV_UNKNOWN;
    assert_int_equal(verdict(), 1);
}

static void a_check_that_did_not_end_is_unknown(void **state)
{
    (void)state;
    begin(5);
    page.done = false;
    assert_int_equal(verdict(), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_engine_that_syncs_keeps_its_tier),
        cmocka_unit_test(an_engine_that_writes_through_keeps_its_tier),
        cmocka_unit_test(an_engine_whose_process_is_another_keeps_its_tier),
        cmocka_unit_test(a_server_that_lies_is_told),
        cmocka_unit_test(an_engine_that_does_not_sync_is_told),
        cmocka_unit_test(an_engine_that_syncs_another_file_is_told),
        cmocka_unit_test(an_engine_that_syncs_before_it_writes_is_told),
        cmocka_unit_test(a_sync_of_a_range_and_one_that_fails_are_none),
        cmocka_unit_test(in_memory_nothing_is_known_and_never_ok),
        cmocka_unit_test(who_keeps_nothing_is_not_checked),
        cmocka_unit_test(a_sync_counts_within_the_time_of_its_write_only),
        cmocka_unit_test(one_sync_serves_all_writes_that_wait_for_it),
        cmocka_unit_test(a_mapped_file_may_have_been_written_at_any_time),
        cmocka_unit_test(what_a_ring_did_is_not_known),
        cmocka_unit_test(a_device_that_is_not_flushed_makes_it_unknown),
        cmocka_unit_test(a_check_that_did_not_end_is_unknown),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
