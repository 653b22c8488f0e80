/*
 * t_harness.c -- assay bench from outside: what its results say, what it notices, and what it leaves behind.
 *
 * tests/plugins/faulty.c is an engine that goes wrong on order.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/clock.h"
#include "harness/cell.h"
#include "harness/space.h"

static char assay[PATH_MAX], faulty[PATH_MAX], work[PATH_MAX / 2], out[PATH_MAX], err[PATH_MAX], stores[PATH_MAX];

static int set_up(void **state)
{
    const char *base = getenv("TMPDIR");
    char        here[PATH_MAX - 64];
    ssize_t     size = readlink("/proc/self/exe", here, sizeof here - 1);

    (void)state;
    here[size] = '\0';
    *strrchr(here, '/') = '\0';
    snprintf(faulty, sizeof faulty, "%s/plugins/faulty.so", here);
    *strrchr(here, '/') = '\0';
    snprintf(assay, sizeof assay, "%s/assay", here);
    snprintf(work, sizeof work, "%s/t_harness.XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(work));
    snprintf(out, sizeof out, "%s/r.json", work);
    snprintf(err, sizeof err, "%s/err", work);
    snprintf(stores, sizeof stores, "%s/stores", work);
    return mkdir(stores, 0755);
}

static int tear_down(void **state)
{
    (void)state;
    space_remove(work);
    return 0;
}

/* Runs "assay bench --dir ... --out ... WORDS"; returns the exit code. */
static int bench(const char *format, ...)
{
    char    words[4096], line[5 * PATH_MAX + 8192];
    va_list arguments;
    int     status;

    va_start(arguments, format);
    vsnprintf(words, sizeof words, format, arguments);
    va_end(arguments);
    unlink(out);
    snprintf(line, sizeof line, "'%s' bench --dir '%s' --out '%s' --no-calibrate %s >'%s/stdout' 2>'%s'", assay, stores,
             out, words, work, err);
    status = system(line);
    assert_true(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static json_t *result(void)
{
    json_error_t error;
    json_t      *json = json_load_file(out, 0, &error);

    if (!json)
        fail_msg("%s: %s", out, error.text);
    return json;
}

static json_t *cell_of(json_t *json, const char *engine, int round)
{
    json_t *cell;
    size_t  i;

    json_array_foreach(json_object_get(json, "cells"), i, cell) {
        if (strcmp(json_string_value(json_object_get(cell, "engine")), engine) == 0 &&
            json_integer_value(json_object_get(cell, "round")) == round)
            return cell;
    }
    fail_msg("no cell of %s in round %d", engine, round);
    return NULL;
}

static json_t *phase_of(json_t *cell, const char *name)
{
    json_t *phase;
    size_t  i;

    json_array_foreach(json_object_get(cell, "phases"), i, phase) {
        if (strcmp(json_string_value(json_object_get(phase, "name")), name) == 0)
            return phase;
    }
    return NULL;
}

static const char *text_of(json_t *object, const char *field)
{
    return json_string_value(json_object_get(object, field));
}

static json_int_t count_of(json_t *object, const char *field)
{
    return json_integer_value(json_object_get(object, field));
}

static void assert_nothing_left(void)
{
    DIR           *dir = opendir(stores);
    struct dirent *entry;

    while ((entry = readdir(dir)))
        if (entry->d_name[0] != '.')
            fail_msg("%s was left behind", entry->d_name);
    closedir(dir);
}

static void assert_valid(void)
{
    char line[2 * PATH_MAX];
    int  status;

    snprintf(line, sizeof line, "python3 results/check.py '%s' >&2", out);
    status = system(line);
    if (WEXITSTATUS(status) == 77 || WEXITSTATUS(status) == 127)
        skip();
    assert_int_equal(status, 0);
}

/* Results. */

static void a_result_is_what_the_schema_says(void **state)
{
    (void)state;
    assert_int_equal(bench("--engine null,memory,%s --workload ycsb-a --records 2k --ops 4k --rounds 3", faulty), 0);
    assert_nothing_left();
    assert_valid();
}

static void a_paced_result_is_what_the_schema_says(void **state)
{
    (void)state;
    assert_int_equal(bench("--engine memory --workload ycsb-b --records 500 --ops 400 --arrival poisson --rate-per-s "
                           "4000 --no-meters"),
                     0);
    assert_valid();
}

static void a_result_of_a_failed_run_is_what_the_schema_says(void **state)
{
    (void)state;
    assert_int_equal(
        bench("--engine null,a=%s,b=%s --set a.fault=crash --set b.fault=error --workload ycsb-a --records 3k "
              "--ops 4k --no-meters",
              faulty, faulty),
        1);
    assert_valid();
}

static void both_times_stand_in_every_run_and_the_engines_is_the_smaller(void **state)
{
    json_t *json, *run;

    (void)state;
    assert_int_equal(bench("--engine null --workload ycsb-a --records 2k --ops 20k --no-meters"), 0);
    json = result();
    run = phase_of(cell_of(json, "null", 0), "run");
    assert_int_equal(count_of(run, "ops"), 20000);
    assert_true(json_real_value(json_object_get(run, "engine_s")) > 0);
    assert_true(json_real_value(json_object_get(run, "engine_s")) < json_real_value(json_object_get(run, "wall_s")));
    assert_true(json_real_value(json_object_get(json_object_get(json, "harness"), "fold_ns_per_100_bytes")) > 0);
    json_decref(json);
}

static void one_seed_gives_one_order_and_one_stream(void **state)
{
    json_t *first, *second, *other;

    (void)state;
    assert_int_equal(
        bench(
            "--engine a=null,b=null,c=null --workload ycsb-b --records 100 --ops 100 --rounds 6 --seed 7 --no-meters"),
        0);
    first = result();
    assert_int_equal(
        bench(
            "--engine a=null,b=null,c=null --workload ycsb-b --records 100 --ops 100 --rounds 6 --seed 7 --no-meters"),
        0);
    second = result();
    assert_int_equal(
        bench(
            "--engine a=null,b=null,c=null --workload ycsb-b --records 100 --ops 100 --rounds 6 --seed 8 --no-meters"),
        0);
    other = result();
#define ORDER(json) json_object_get(json_object_get(json, "settings"), "order")
    assert_true(json_equal(ORDER(first), ORDER(second)));
    assert_false(json_equal(ORDER(first), ORDER(other)));
    assert_true(json_equal(json_object_get(first, "opstream_xxh3"), json_object_get(second, "opstream_xxh3")));
    assert_false(json_equal(json_object_get(first, "opstream_xxh3"), json_object_get(other, "opstream_xxh3")));
    assert_int_equal(json_array_size(json_object_get(first, "cells")), 18);
    json_decref(first);
    json_decref(second);
    json_decref(other);
}

static void the_same_engine_twice_is_compared_with_itself(void **state)
{
    json_t *json, *ratio;

    (void)state;
    assert_int_equal(bench("--engine null,null --workload ycsb-b --records 100 --ops 100 --rounds 3 --no-meters"), 0);
    json = result();
    ratio = json_array_get(json_object_get(json, "ratios"), 0);
    assert_string_equal(text_of(ratio, "engine"), "null#2");
    assert_string_equal(text_of(ratio, "baseline"), "null");
    assert_int_equal(json_array_size(json_object_get(ratio, "samples")), 3);
    assert_int_equal(json_array_size(json_object_get(ratio, "ci95")), 2);
    json_decref(json);
}

static void options_go_to_the_engine_that_they_name(void **state)
{
    json_t *json, *engines;

    (void)state;
    assert_int_equal(bench("--engine a=%s,b=%s --set b.after=77 --workload ycsb-b --records 100 --ops 100 --no-meters",
                           faulty, faulty),
                     0);
    json = result();
    engines = json_object_get(json, "engines");
    assert_string_equal(text_of(json_object_get(json_array_get(engines, 0), "options"), "after"), "1000");
    assert_string_equal(text_of(json_object_get(json_array_get(engines, 1), "options"), "after"), "77");
    json_decref(json);
}

static void system_calls_and_allocations_are_counted_by_operation(void **state)
{
    json_t *json, *meters, *per_op, *calls, *skeleton;

    (void)state;
    if (access("build/plugins/skeleton.so", R_OK) != 0)
        skip();
    assert_int_equal(bench("--engine skeleton --workload ycsb-a --mix update=1 --records 500 --ops 1k"), 0);
    json = result();
    skeleton = cell_of(json, "skeleton", 0);
    meters = phase_of(skeleton, "meters");
    assert_non_null(meters);
    per_op = json_object_get(meters, "per_op");
    calls = json_object_get(json_object_get(meters, "meters"), "syscalls_by_name");
    if (json_is_null(calls)) {
        json_decref(json);
        skip();
    }
    /* One write for each put, and nothing else that grows with the operations. */
    assert_true(count_of(calls, "pwrite64") + count_of(calls, "write") >= 1000);
    assert_true(json_number_value(json_object_get(per_op, "syscalls")) < 1.5);
    if (!json_is_null(json_object_get(per_op, "allocations"))) {
        assert_true(json_number_value(json_object_get(per_op, "allocations")) >= 1);
        assert_true(json_number_value(json_object_get(per_op, "allocated_bytes")) >= 100);
    }
    json_decref(json);
}

static void every_phase_of_a_workload_is_counted(void **state)
{
    json_t     *json, *phase;
    const char *parts[4] = {NULL};
    size_t      i, found = 0;

    (void)state;
    assert_int_equal(bench("--engine bitcask --workload grid-uniform --records 500 --ops 500"), 0);
    json = result();
    json_array_foreach(json_object_get(cell_of(json, "bitcask", 0), "phases"), i, phase) {
        if (strcmp(text_of(phase, "name"), "meters") == 0 && found < 4) {
            parts[found++] = text_of(phase, "part");
            assert_int_equal(count_of(phase, "ops"), 500);
        }
    }
    assert_int_equal(found, 2);
    assert_string_equal(parts[0], "write");
    assert_string_equal(parts[1], "read");
    json_decref(json);
    assert_valid();
}

static void threads_that_share_processors_are_not_counted_as_if_each_had_one(void **state)
{
    (void)state;
    /* 8 threads, 1M operations, 40 ns each in the stamps and 100 ns with the harness: 2 processors do 50 M/s, not 200. */
    assert_true(fabs(cell_rate(200e6, 1e6, 40e6, 100e6, 8, 2) - 50e6) < 1);
    /* They wait in the stamps, for a sync or for a processor: what they took of processors counts. */
    assert_true(fabs(cell_rate(8e4, 1e6, 1e11, 4e9, 8, 2) - 8e4) < 1e-6);
    assert_true(fabs(cell_rate(200e6, 1e6, 400e6, 100e6, 8, 2) - 20e6) < 1);
    /* Each has its own, or nobody knows. */
    assert_true(cell_rate(200e6, 1e6, 40e6, 100e6, 8, 8) == 200e6);
    assert_true(cell_rate(200e6, 1e6, 40e6, 100e6, 8, 0) == 200e6);
}

/* The process that has the store is not ours. */
static void what_a_server_used_is_metered(void **state)
{
    json_t *json, *run;
    char    served[PATH_MAX];

    (void)state;
    snprintf(served, sizeof served, "%.*s/served.so", (int)(strrchr(faulty, '/') - faulty), faulty);
    assert_int_equal(bench("--engine %s --workload fill --records 10 --ops 2000 --value-bytes 1000 "
                           "--no-meters", served), 0);
    json = result();
    run = phase_of(cell_of(json, "served", 0), "run");
    /* Values are written by us and read by the server, from the socket between. */
    assert_true(json_number_value(json_object_get(json_object_get(run, "per_op"), "rchar")) > 900);
    json_decref(json);
}

static void what_a_store_wrote_is_metered(void **state)
{
    json_t *json, *cell, *meters;

    (void)state;
    if (access("build/plugins/skeleton.so", R_OK) != 0)
        skip();
    assert_int_equal(bench("--engine skeleton --workload ycsb-a --mix update=1 --records 500 --ops 2k --no-meters"), 0);
    json = result();
    cell = cell_of(json, "skeleton", 0);
    meters = json_object_get(phase_of(cell, "run"), "meters");
    assert_true(count_of(meters, "wchar") >= 2000 * 116);
    assert_true(count_of(json_object_get(cell, "space"), "disk_bytes") >= 2500 * 116);
    assert_true(json_real_value(json_object_get(json_object_get(cell, "amplification"), "write_calls")) >= 1);
    assert_true(count_of(cell, "recovery_ns") > 0);
    assert_int_equal(count_of(phase_of(cell, "recovery"), "keys_checked"), 500);
    json_decref(json);
}

/* Wrong engines. */

static void expect_failure(const char *fault, const char *workload, const char *status, const char *words)
{
    json_t *json, *cell;

    if (bench("--engine null,%s --set faulty.fault=%s --workload %s --records 2k --ops 6k --timeout 2 --no-meters",
              faulty, fault, workload) != 1)
        fail_msg("fault %s was not noticed", fault);
    json = result();
    cell = cell_of(json, "faulty", 0);
    assert_string_equal(text_of(cell, "status"), status);
    if (!text_of(cell, "reason") || !strstr(text_of(cell, "reason"), words))
        fail_msg("fault %s: the reason is \"%s\"", fault, text_of(cell, "reason"));
    assert_string_equal(text_of(cell_of(json, "null", 0), "status"), "ok");
    assert_true(json_is_true(json_object_get(json, "complete")));
    json_decref(json);
    assert_nothing_left();
}

static void a_correct_engine_raises_no_alarm(void **state)
{
    (void)state;
    assert_int_equal(bench("--engine %s --workload ycsb-a --records 2k --ops 6k --threads 3", faulty), 0);
    assert_int_equal(bench("--engine %s --workload churn --batch-writes 1 --records 2k --ops 6k --no-meters", faulty),
                     0);
    assert_int_equal(bench("--engine %s --workload ycsb-d --records 2k --ops 6k --no-meters", faulty), 0);
    assert_int_equal(bench("--engine %s --workload missing --records 2k --ops 6k --no-meters", faulty), 0);
}

static void the_value_of_another_key_fails_the_run(void **state)
{
    (void)state;
    expect_failure("another", "ycsb-a", "failed", "another key");
}

static void a_torn_value_fails_the_run(void **state)
{
    (void)state;
    expect_failure("torn", "ycsb-a", "failed", "torn");
}

static void a_lost_key_fails_the_run(void **state)
{
    (void)state;
    expect_failure("lose", "ycsb-b", "failed", "must be there");
}

static void an_old_value_fails_the_run(void **state)
{
    (void)state;
    expect_failure("stale", "ycsb-a", "failed", "old value");
}

static void a_deleted_key_that_is_back_fails_the_run(void **state)
{
    (void)state;
    expect_failure("undead", "churn --batch-writes 1 --set faulty.after=300", "failed", "deleted");
}

static void what_a_close_forgets_fails_the_run(void **state)
{
    (void)state;
    expect_failure("forget", "ycsb-a", "failed", "is lost");
}

/* Seed defect 31: a fuzz test that looked up only keys which it had put could not see a key that should not be there.
 */
static void defect_31_keys_that_were_never_written_are_asked_for_too(void **state)
{
    json_t *json;

    (void)state;
    expect_failure("ghost", "ycsb-a", "failed",
                   "never written"); /* a workload whose own reads ask for present keys only */
    assert_int_equal(bench("--engine %s --workload ycsb-a --records 500 --ops 4k --no-meters", faulty), 0);
    json = result();
    assert_int_equal(count_of(phase_of(cell_of(json, "faulty", 0), "verify"), "absent_checked"), 1000);
    json_decref(json);
}

static void an_error_is_no_fast_operation(void **state)
{
    json_t *json, *load;

    (void)state;
    expect_failure("error", "ycsb-a", "failed", "write faulty.log");
    json = result();
    load = phase_of(cell_of(json, "faulty", 0), "load");
    assert_int_equal(count_of(load, "ops"), 1000); /* then each put fails */
    assert_true(count_of(json_object_get(load, "errors"), "io") > 0);
    json_decref(json);
}

static void a_crash_takes_down_its_cell_only(void **state)
{
    json_t *json;

    (void)state;
    expect_failure("crash", "ycsb-a", "crashed", "signal 6");
    expect_failure("exit", "ycsb-a", "crashed", "exited with 3");
    assert_int_equal(
        bench("--engine %s,null --set faulty.fault=crash --set faulty.after=2500 --workload ycsb-a --records 2k "
              "--ops 6k --rounds 2 --no-meters",
              faulty),
        1);
    json = result();
    assert_string_equal(text_of(cell_of(json, "null", 1), "status"), "ok");
    assert_non_null(phase_of(cell_of(json, "faulty", 0), "load")); /* what was measured before outlives the process */
    json_decref(json);
}

static void a_hang_takes_down_its_cell_only(void **state)
{
    (void)state;
    expect_failure("hang", "ycsb-a", "hung", "no progress");
}

static void a_refused_tier_is_a_cell_that_says_so(void **state)
{
    json_t *json;

    (void)state;
    assert_int_equal(
        bench("--engine null,%s --durability commit --workload ycsb-b --records 100 --ops 100 --no-meters", faulty), 0);
    json = result();
    assert_string_equal(text_of(cell_of(json, "faulty", 0), "status"), "refused");
    assert_non_null(strstr(text_of(cell_of(json, "faulty", 0), "reason"), "process"));
    assert_string_equal(text_of(cell_of(json, "null", 0), "status"), "ok");
    json_decref(json);
}

static void expect_wrong(const char *words, const char *command)
{
    char        line[1024] = "", second[1024], stdout_path[PATH_MAX];
    FILE       *stream;
    struct stat stat_;

    if (bench("%s", command) != 2)
        fail_msg("not exit 2: %s", command);
    stream = fopen(err, "r");
    assert_non_null(fgets(line, sizeof line, stream));
    if (fgets(second, sizeof second, stream))
        fail_msg("more than one line: %s", command);
    fclose(stream);
    if (!strstr(line, words))
        fail_msg("%s: \"%s\" is not in: %s", command, words, line);
    assert_int_not_equal(access(out, F_OK), 0);
    snprintf(stdout_path, sizeof stdout_path, "%s/stdout", work);
    assert_int_equal(stat(stdout_path, &stat_), 0);
    assert_int_equal(stat_.st_size, 0);
    assert_nothing_left();
}

static void ratios_are_to_the_baseline_that_was_named(void **state)
{
    json_t *json, *ratios, *ratio;
    size_t  i;

    (void)state;
    assert_int_equal(bench("--engine null,memory,%s --workload ycsb-b --records 100 --ops 100 --no-meters", faulty), 0);
    json = result(); /* not null, which only measures the harness */
    assert_string_equal(text_of(json_object_get(json, "settings"), "baseline"), "memory");
    json_decref(json);
    assert_int_equal(bench("--engine null,memory,%s --baseline faulty --workload ycsb-b --records 100 --ops 100 --no-meters",
                           faulty), 0);
    json = result();
    ratios = json_object_get(json, "ratios");
    assert_true(json_array_size(ratios) > 0);
    json_array_foreach(ratios, i, ratio)
        assert_string_equal(text_of(ratio, "baseline"), "faulty");
    json_decref(json);
    expect_wrong("did you mean", "--engine null,memory --baseline memry --workload ycsb-b");
    expect_wrong("not interval", "--engine null,skeleton,memory --baseline skeleton --workload ycsb-b --durability interval:5ms");
}

static void a_missing_capability_is_a_cell_that_says_so(void **state)
{
    json_t *json;

    (void)state;
    assert_int_equal(
        bench("--engine null,%s --workload ycsb-b --batch-writes 4 --records 100 --ops 100 --no-meters", faulty), 2);
    assert_int_equal(
        bench("--engine memory,%s --workload ycsb-a --batch-writes 4 --records 100 --ops 100 --no-meters", faulty), 0);
    json = result();
    assert_string_equal(text_of(cell_of(json, "faulty", 0), "status"), "unsupported");
    json_decref(json);
}

/* Seed defects 29 and 30. */

/* 29: a baseline that slept, or waited for a timeout, in what it timed. */
static void defect_29_the_harness_does_not_sleep_in_a_throughput_pass(void **state)
{
    json_t *json, *run;

    (void)state;
    /* The schedule of the paced pass takes 0.5 s of sleep; the throughput pass of the same workload must not follow it.
     */
    assert_int_equal(
        bench("--engine null --workload ycsb-b --records 100 --ops 500 --arrival paced --rate-per-s 1000 --no-meters"),
        0);
    json = result();
    run = phase_of(cell_of(json, "null", 0), "run");
    assert_int_equal(count_of(run, "ops"), 500);
    assert_true(count_of(json_object_get(run, "meters"), "voluntary_switches") < 100); /* a sleep is one each */
    json_decref(json);
}

/* 30: pacing that was disabled. */
static void defect_30_a_paced_pass_follows_its_schedule(void **state)
{
    json_t *json, *paced;

    (void)state;
    assert_int_equal(
        bench("--engine null --workload ycsb-b --records 100 --ops 200 --arrival paced --rate-per-s 1000 --no-meters"),
        0);
    json = result();
    paced = phase_of(cell_of(json, "null", 0), "paced");
    assert_int_equal(count_of(paced, "ops"), 200);
    assert_true(json_real_value(json_object_get(paced, "wall_s")) >=
                0.199); /* the least that 200 intervals of 1 ms take */
    assert_non_null(json_object_get(json_object_get(paced, "latency_ns"), "response"));
    json_decref(json);
}

/* 30: an untimed flush at the end of a load. */
static void defect_30_the_load_pays_for_its_sync(void **state)
{
    json_t *json, *load;

    (void)state;
    assert_int_equal(
        bench("--engine %s --set faulty.fault=slow-sync --workload ycsb-b --records 100 --ops 100 --no-meters", faulty),
        0);
    json = result();
    load = phase_of(cell_of(json, "faulty", 0), "load");
    assert_true(json_real_value(json_object_get(load, "engine_s")) >= 0.05); /* what that sync sleeps */
    assert_true(json_real_value(json_object_get(load, "wall_s")) >= 0.05);
    json_decref(json);
}

/* 30: state that one cell leaves to the next. */
static void defect_30_every_cell_begins_with_nothing(void **state)
{
    json_t *json, *first, *second;

    (void)state;
    assert_int_equal(
        bench("--engine %s --workload ycsb-a --load false --records 1k --ops 2k --rounds 2 --no-meters", faulty), 0);
    json = result();
    first = json_object_get(json_object_get(phase_of(cell_of(json, "faulty", 0), "run"), "by_kind"), "read");
    second = json_object_get(json_object_get(phase_of(cell_of(json, "faulty", 1), "run"), "by_kind"), "read");
    assert_true(count_of(first, "not_found") > 0);
    assert_int_equal(count_of(first, "not_found"), count_of(second, "not_found"));
    json_decref(json);
}

/* 30: percentiles of means; each sampled operation is one sample. */
static void defect_30_every_sampled_operation_is_one_sample(void **state)
{
    json_t *json, *latency, *all;

    (void)state;
    assert_int_equal(bench("--engine %s --workload ycsb-a --records 500 --ops 8k --threads 2 --no-meters", faulty), 0);
    json = result();
    latency = phase_of(cell_of(json, "faulty", 0), "latency");
    all = json_object_get(json_object_get(latency, "latency_ns"), "all");
    if (count_of(latency, "sampling") == 1)
        assert_int_equal(count_of(all, "count"), count_of(latency, "ops"));
    else
        assert_true(count_of(all, "count") * 4 > count_of(latency, "ops") / 2 &&
                    count_of(all, "count") * 32 > count_of(latency, "ops"));
    json_decref(json);
}

/* Batches and memory. */

static void groups_of_reads_and_writes_do_the_same_work(void **state)
{
    json_t *json, *run;

    (void)state;
    assert_int_equal(
        bench("--engine memory --workload ycsb-a --batch 16 --batch-writes 8 --records 1k --ops 10k --no-meters"), 0);
    json = result();
    run = phase_of(cell_of(json, "memory", 0), "run");
    assert_int_equal(count_of(run, "ops"), 10000);
    assert_int_equal(count_of(json_object_get(json_object_get(run, "by_kind"), "read"), "ops") +
                     count_of(json_object_get(json_object_get(run, "by_kind"), "update"), "ops"), 10000);
    assert_non_null(
        json_object_get(json_object_get(phase_of(cell_of(json, "memory", 0), "latency"), "latency_ns"), "read_many"));
    json_decref(json);
}

static void a_memory_limit_is_in_force_or_says_that_it_is_not(void **state)
{
    json_t *json, *limit;

    (void)state;
    assert_int_equal(bench("--engine %s --workload ycsb-b --memory 256M --records 100 --ops 500 --no-meters", faulty),
                     0);
    json = result();
    limit = json_object_get(cell_of(json, "faulty", 0), "memory_limit");
    assert_int_equal(count_of(limit, "bytes"), 256 << 20);
    if (json_is_true(json_object_get(limit, "limited")))
        assert_non_null(text_of(limit, "cgroup"));
    else
        assert_true(json_array_size(json_object_get(json, "warnings")) > 0);
    json_decref(json);
}

static void a_crash_result_vouches_only_for_the_same_build_options_and_tier(void **state)
{
    json_t *json, *crash, *engine;
    char    path[PATH_MAX];

    (void)state;
    snprintf(path, sizeof path, "%s/crash.json", work);
    assert_int_equal(bench("--engine %s --workload ycsb-b --records 100 --ops 100 --no-meters", faulty), 0);
    json = result();
    engine = json_deep_copy(json_array_get(json_object_get(json, "engines"), 0));
    assert_true(json_is_null(json_object_get(engine, "verified")));
    json_object_del(engine, "engine");
    crash = json_pack("{s:s, s:s, s:s, s:s, s:o, s:s, s:n, s:i, s:n, s:{s:i, s:i}}", "schema", "assay/1", "kind",
                      "crash", "run_id", "x", "started_utc", "y", "engine", engine, "mode", "kill", "profile", "lives",
                      100, "states", "verdicts", "held", 100, "lost", 0);
    json_decref(json);
    json_dump_file(crash, path, 0);
    assert_int_equal(
        bench("--engine %s --workload ycsb-b --records 100 --ops 100 --no-meters --verified '%s'", faulty, path), 0);
    json = result();
    engine = json_object_get(json_array_get(json_object_get(json, "engines"), 0), "verified");
    assert_true(json_is_true(json_object_get(json_object_get(engine, "kill"), "held")));
    json_decref(json);
    assert_int_equal(
        bench("--engine %s --workload ycsb-b --durability none --records 100 --ops 100 --no-meters --verified '%s'",
              faulty, path),
        0);
    json = result();
    assert_true(json_is_null(json_object_get(json_array_get(json_object_get(json, "engines"), 0), "verified")));
    assert_non_null(strstr(json_string_value(json_array_get(json_object_get(json, "warnings"), 0)), "another tier"));
    json_decref(json);
    json_decref(crash);
}

/* Bad input. */

static void a_wrong_command_is_one_line_and_touches_nothing(void **state)
{
    (void)state;
    expect_wrong("--engine", "--workload ycsb-a");
    expect_wrong("--workload", "--engine null");
    expect_wrong("did you mean", "--engine nul --workload ycsb-a");
    expect_wrong("did you mean", "--engine null --workload ycsb-q");
    expect_wrong("--recordz", "--engine null --workload ycsb-a --recordz 5");
    expect_wrong("records", "--engine null --workload ycsb-a --records many");
    expect_wrong("durability", "--engine null --workload ycsb-a --durability forever");
    expect_wrong("interval", "--engine null --workload ycsb-a --durability interval");
    expect_wrong("--set", "--engine null --workload ycsb-a --set null");
    expect_wrong("no engine", "--engine null --workload ycsb-a --set memory.size=1");
    expect_wrong("no options", "--engine null --workload ycsb-a --set null.size=1");
    expect_wrong("--rounds", "--engine null --workload ycsb-a --rounds 0");
    expect_wrong("ordered scan", "--engine null --workload ycsb-e");
    expect_wrong("No such file", "--engine null --workload ycsb-a --dir /nowhere/at/all");
    expect_wrong("/nowhere/r.json", "--engine null --workload ycsb-a --out /nowhere/r.json");
    expect_wrong("/nowhere/c.json", "--engine null --workload ycsb-a --verified /nowhere/c.json");
    expect_wrong("is not expected", "--engine null --workload ycsb-a more");
}

static void a_disk_that_is_too_small_is_found_before_the_run(void **state)
{
    char command[PATH_MAX + 128];

    (void)state;
    snprintf(command, sizeof command, "--engine %s --workload ycsb-a --records 4G", faulty);
    expect_wrong("free", command);
}

/* Ctrl-C. */

static bool process_in_session(pid_t session)
{
    DIR           *proc = opendir("/proc");
    struct dirent *entry;
    bool           found = false;

    while (proc && (entry = readdir(proc))) {
        pid_t pid = (pid_t)atoi(entry->d_name);

        if (pid > 0 && pid != session && getsid(pid) == session)
            found = true;
    }
    if (proc)
        closedir(proc);
    return found;
}

static void interrupt(int signal_, const char *workload)
{
    pid_t   pid = fork();
    int     status;
    json_t *json = NULL;

    unlink(out);
    if (pid == 0) {
        int quiet = open("/dev/null", O_WRONLY);

        setsid();
        dup2(quiet, 2);
        execl(assay, "assay", "bench", "--engine", "null,memory", "--workload", workload, "--records", "1k",
              "--seconds", "1", "--rounds", "100", "--dir", stores, "--out", out, "--no-calibrate", NULL);
        _exit(127);
    }
    clock_sleep_until_ns(clock_now_ns() + 1500 * NS_PER_MS); /* into some cell, whichever */
    kill(pid, signal_);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 1); /* what was asked for was not done */
    assert_false(process_in_session(pid));
    assert_nothing_left();
    json = result();
    assert_true(json_is_false(json_object_get(json, "complete")));
    json_decref(json);
    assert_valid();
}

static void ctrl_c_leaves_a_valid_result_no_process_and_no_directory(void **state)
{
    (void)state;
    interrupt(SIGINT, "ycsb-a");
    interrupt(SIGTERM, "shard-bursty");
}

static void a_bench_that_is_killed_takes_its_cell_with_it(void **state)
{
    pid_t pid = fork();
    int   status;
    bool  stray = true;

    (void)state;
    if (pid == 0) {
        int quiet = open("/dev/null", O_WRONLY);

        setsid();
        dup2(quiet, 2);
        execl(assay, "assay", "bench", "--engine", "memory", "--workload", "ycsb-a", "--records", "1k", "--seconds",
              "100", "--dir", stores, "--out", out, "--no-calibrate", NULL);
        _exit(127);
    }
    clock_sleep_until_ns(clock_now_ns() + 700 * NS_PER_MS);
    kill(pid, SIGKILL);
    waitpid(pid, &status, 0);
    for (int i = 0; stray && i < 500; i++) {
        clock_sleep_until_ns(clock_now_ns() + 20 * NS_PER_MS);
        stray = process_in_session(pid);
    }
    assert_false(stray);
    space_remove(stores);
    mkdir(stores, 0755);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_result_is_what_the_schema_says),
        cmocka_unit_test(a_paced_result_is_what_the_schema_says),
        cmocka_unit_test(a_result_of_a_failed_run_is_what_the_schema_says),
        cmocka_unit_test(both_times_stand_in_every_run_and_the_engines_is_the_smaller),
        cmocka_unit_test(one_seed_gives_one_order_and_one_stream),
        cmocka_unit_test(the_same_engine_twice_is_compared_with_itself),
        cmocka_unit_test(options_go_to_the_engine_that_they_name),
        cmocka_unit_test(system_calls_and_allocations_are_counted_by_operation),
        cmocka_unit_test(every_phase_of_a_workload_is_counted),
        cmocka_unit_test(threads_that_share_processors_are_not_counted_as_if_each_had_one),
        cmocka_unit_test(what_a_server_used_is_metered),
        cmocka_unit_test(what_a_store_wrote_is_metered),
        cmocka_unit_test(a_correct_engine_raises_no_alarm),
        cmocka_unit_test(the_value_of_another_key_fails_the_run),
        cmocka_unit_test(a_torn_value_fails_the_run),
        cmocka_unit_test(a_lost_key_fails_the_run),
        cmocka_unit_test(an_old_value_fails_the_run),
        cmocka_unit_test(a_deleted_key_that_is_back_fails_the_run),
        cmocka_unit_test(what_a_close_forgets_fails_the_run),
        cmocka_unit_test(defect_31_keys_that_were_never_written_are_asked_for_too),
        cmocka_unit_test(an_error_is_no_fast_operation),
        cmocka_unit_test(a_crash_takes_down_its_cell_only),
        cmocka_unit_test(a_hang_takes_down_its_cell_only),
        cmocka_unit_test(a_refused_tier_is_a_cell_that_says_so),
        cmocka_unit_test(ratios_are_to_the_baseline_that_was_named),
        cmocka_unit_test(a_missing_capability_is_a_cell_that_says_so),
        cmocka_unit_test(defect_29_the_harness_does_not_sleep_in_a_throughput_pass),
        cmocka_unit_test(defect_30_a_paced_pass_follows_its_schedule),
        cmocka_unit_test(defect_30_the_load_pays_for_its_sync),
        cmocka_unit_test(defect_30_every_cell_begins_with_nothing),
        cmocka_unit_test(defect_30_every_sampled_operation_is_one_sample),
        cmocka_unit_test(groups_of_reads_and_writes_do_the_same_work),
        cmocka_unit_test(a_memory_limit_is_in_force_or_says_that_it_is_not),
        cmocka_unit_test(a_crash_result_vouches_only_for_the_same_build_options_and_tier),
        cmocka_unit_test(a_wrong_command_is_one_line_and_touches_nothing),
        cmocka_unit_test(a_disk_that_is_too_small_is_found_before_the_run),
        cmocka_unit_test(ctrl_c_leaves_a_valid_result_no_process_and_no_directory),
        cmocka_unit_test(a_bench_that_is_killed_takes_its_cell_with_it),
    };

    return cmocka_run_group_tests(tests, set_up, tear_down);
}
