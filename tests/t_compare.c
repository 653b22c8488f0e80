/* t_compare.c -- medians, paired ratios and their confidence interval. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <string.h>

#include "common/rng.h"
#include "harness/compare.h"

static json_t *cell(const char *engine, int round, double rate)
{
    return json_pack("{s:s, s:i, s:s, s:[{s:s, s:n, s:f, s:{s:f}}], s:n, s:n, s:n}", "engine", engine, "round", round, "status",
                     "ok", "phases", "name", "run", "part", "ops_per_s_engine", rate, "per_op", "syscalls", 2.0, "space",
                     "amplification", "recovery_ns");
}

static void the_median_is_the_middle_one_or_the_mean_of_two(void **state)
{
    double odd[] = {9, 1, 5}, even[] = {4, 1, 3, 2}, one[] = {7};

    (void)state;
    assert_true(compare_median(odd, 3) == 5);
    assert_true(compare_median(even, 4) == 2.5);
    assert_true(compare_median(one, 1) == 7);
}

static void the_interval_is_the_same_each_time_and_holds_the_median(void **state)
{
    double samples[] = {1.0, 1.2, 0.9, 1.1, 1.05, 0.95, 1.15}, sorted[7], low[2], high[2];

    (void)state;
    memcpy(sorted, samples, sizeof sorted);
    for (int i = 0; i < 2; i++)
        compare_bootstrap(samples, 7, &low[i], &high[i]);
    assert_true(low[0] == low[1] && high[0] == high[1]);
    assert_true(low[0] >= 0.9 && high[0] <= 1.2);
    assert_true(low[0] <= compare_median(sorted, 7) && high[0] >= compare_median(sorted, 7));
}

/* Of samples whose true median is 0, about 95 intervals of 100 hold it; with few samples the bootstrap is a little short. */
static void nineteen_of_twenty_intervals_hold_the_true_median(void **state)
{
    struct rng rng;
    int        hold = 0;

    (void)state;
    rng_seed(&rng, 11, 0);
    for (int trial = 0; trial < 200; trial++) {
        double samples[15], low, high;

        for (int i = 0; i < 15; i++)
            samples[i] = rng_unit(&rng) + rng_unit(&rng) - 1;
        compare_bootstrap(samples, 15, &low, &high);
        hold += low <= 0 && high >= 0;
    }
    assert_in_range(hold, 176, 199);
}

static void ratios_are_taken_within_a_round(void **state)
{
    json_t *cells = json_array(), *ratios, *row;

    (void)state;
    /* The machine is twice as slow in the second round; the ratio does not see it. */
    json_array_append_new(cells, cell("a", 0, 100));
    json_array_append_new(cells, cell("b", 0, 150));
    json_array_append_new(cells, cell("b", 1, 75));
    json_array_append_new(cells, cell("a", 1, 50));
    json_array_append_new(cells, cell("a", 2, 80)); /* b has no cell here: no pair */
    ratios = compare_ratios(cells, "a");
    assert_int_equal(json_array_size(ratios), 1);
    row = json_array_get(ratios, 0);
    assert_int_equal(json_integer_value(json_object_get(row, "n")), 2);
    assert_true(json_real_value(json_object_get(row, "ratio_median")) == 1.5);
    assert_true(json_is_null(json_object_get(row, "ci95"))); /* two rounds say nothing about spread */
    json_decref(ratios);
    json_decref(cells);
}

static void a_summary_keeps_every_sample_and_leaves_out_failed_cells(void **state)
{
    json_t *cells = json_array(), *bad = cell("a", 3, 1e9), *summary, *row;
    size_t  i, rows = 0;

    (void)state;
    for (int round = 0; round < 3; round++)
        json_array_append_new(cells, cell("a", round, 10 * (round + 1)));
    json_object_set_new(bad, "status", json_string("failed"));
    json_array_append_new(cells, bad);
    summary = compare_summary(cells);
    json_array_foreach(summary, i, row) {
        if (strcmp(json_string_value(json_object_get(row, "metric")), "ops_per_s_engine") != 0)
            continue;
        rows++;
        assert_int_equal(json_array_size(json_object_get(row, "samples")), 3);
        assert_true(json_real_value(json_object_get(row, "median")) == 20);
        assert_true(json_real_value(json_object_get(row, "min")) == 10);
        assert_true(json_real_value(json_object_get(row, "max")) == 30);
        assert_string_equal(json_string_value(json_object_get(row, "unit")), "ops/s");
    }
    assert_int_equal(rows, 1);
    json_decref(summary);
    json_decref(cells);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_median_is_the_middle_one_or_the_mean_of_two),
        cmocka_unit_test(the_interval_is_the_same_each_time_and_holds_the_median),
        cmocka_unit_test(nineteen_of_twenty_intervals_hold_the_true_median),
        cmocka_unit_test(ratios_are_taken_within_a_round),
        cmocka_unit_test(a_summary_keeps_every_sample_and_leaves_out_failed_cells),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
