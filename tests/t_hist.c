/* t_hist.c -- the histogram against sorted arrays of the same samples. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/rng.h"
#include "harness/hist.h"

#define SAMPLES 20000

static int by_value(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

/* Samples of very different shapes: small, wide, heavy-tailed, all equal, powers of two and their neighbours. */
static uint64_t sample(struct rng *rng, int shape)
{
    switch (shape) {
    case 0:  return rng_below(rng, 200);
    case 1:  return rng_below(rng, 1000000);
    case 2:  return (uint64_t)(100.0 * exp(12.0 * rng_unit(rng) * rng_unit(rng)));
    case 3:  return 4242;
    case 4:  return (UINT64_C(1) << rng_below(rng, 60)) + rng_below(rng, 3) - 1;
    default: return rng_u64(rng) >> rng_below(rng, 64);
    }
}

static void quantiles_are_within_one_part_in_128_of_the_sorted_samples(void **state)
{
    static const double q[] = {0, .01, .25, .5, .9, .95, .99, .999, .9999, 1};
    uint64_t           *sorted = malloc(SAMPLES * sizeof *sorted);

    (void)state;
    for (int shape = 0; shape < 6; shape++) {
        struct hist      *hist = hist_new();
        struct rng        rng;
        unsigned __int128 sum = 0;

        rng_seed(&rng, 7, (uint64_t)shape);
        for (size_t i = 0; i < SAMPLES; i++) {
            sorted[i] = sample(&rng, shape);
            sum += sorted[i];
            hist_record(hist, sorted[i]);
        }
        qsort(sorted, SAMPLES, sizeof *sorted, by_value);
        assert_true(hist->count == SAMPLES && hist->sum == sum);
        assert_true(hist->min == sorted[0] && hist->max == sorted[SAMPLES - 1]);
        for (size_t i = 0; i < sizeof q / sizeof *q; i++) {
            uint64_t rank = (uint64_t)ceil(q[i] * SAMPLES);
            double   exact = (double)sorted[rank ? rank - 1 : 0], found = (double)hist_quantile(hist, q[i]);

            assert_true(fabs(found - exact) <= exact / 128 + 0.5);
        }
        free(hist);
    }
    free(sorted);
}

static void every_value_falls_between_the_bounds_of_its_bucket(void **state)
{
    struct rng rng;

    (void)state;
    rng_seed(&rng, 1, 2);
    for (int i = 0; i < 200000; i++) {
        uint64_t value = sample(&rng, i % 6);
        size_t   bucket = hist_bucket(value);

        assert_true(bucket < HIST_BUCKETS);
        assert_true(hist_low(bucket) <= value && value <= hist_high(bucket));
    }
    for (size_t bucket = 0; bucket < HIST_BUCKETS; bucket++) {
        assert_true(hist_bucket(hist_low(bucket)) == bucket);
        assert_true(hist_bucket(hist_high(bucket)) == bucket);
    }
}

static void the_largest_number_is_neither_clamped_nor_dropped(void **state)
{
    struct hist *hist = hist_new();

    (void)state;
    hist_record(hist, UINT64_MAX);
    hist_record(hist, 0);
    assert_true(hist->max == UINT64_MAX && hist->min == 0 && hist->count == 2);
    assert_true(hist->sum == UINT64_MAX);
    assert_true(hist_quantile(hist, 1) == UINT64_MAX);
    free(hist);
}

static void merged_histograms_equal_one_of_all_samples(void **state)
{
    struct hist *parts[3] = {hist_new(), hist_new(), hist_new()}, *whole = hist_new(), *merged = hist_new();
    struct rng   rng;

    (void)state;
    rng_seed(&rng, 3, 3);
    for (int i = 0; i < 9000; i++) {
        uint64_t value = sample(&rng, i % 6);

        hist_record(parts[i % 2], value); /* the third stays empty: it must not pull min to 0 */
        hist_record(whole, value);
    }
    for (int i = 0; i < 3; i++)
        hist_merge(merged, parts[i]);
    assert_memory_equal(merged, whole, sizeof *whole);
    for (int i = 0; i < 3; i++)
        free(parts[i]);
    free(whole);
    free(merged);
}

static void percentiles_come_from_merged_buckets_and_not_from_means_of_percentiles(void **state)
{
    struct hist *fast = hist_new(), *slow = hist_new();

    (void)state;
    for (int i = 0; i < 9900; i++)
        hist_record(fast, 100);
    for (int i = 0; i < 100; i++)
        hist_record(slow, 1000000);
    hist_merge(fast, slow);
    assert_true(hist_quantile(fast, .99) == 100); /* a mean of the two p99 would say 500,050 */
    assert_true(hist_quantile(fast, .999) >= 990000);
    free(fast);
    free(slow);
}

static void the_json_holds_every_sample(void **state)
{
    struct hist *hist = hist_new();
    struct rng   rng;
    json_t      *object, *bucket;
    json_int_t   total = 0;
    size_t       i;

    (void)state;
    object = hist_json(hist);
    assert_true(json_is_null(object));
    json_decref(object);
    rng_seed(&rng, 4, 4);
    for (int n = 0; n < 5000; n++)
        hist_record(hist, sample(&rng, 2));
    object = hist_json(hist);
    json_array_foreach(json_object_get(object, "histogram"), i, bucket)
        total += json_integer_value(json_array_get(bucket, 1));
    assert_int_equal(total, 5000);
    assert_int_equal(json_integer_value(json_object_get(object, "count")), 5000);
    json_decref(object);
    free(hist);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(quantiles_are_within_one_part_in_128_of_the_sorted_samples),
        cmocka_unit_test(every_value_falls_between_the_bounds_of_its_bucket),
        cmocka_unit_test(the_largest_number_is_neither_clamped_nor_dropped),
        cmocka_unit_test(merged_histograms_equal_one_of_all_samples),
        cmocka_unit_test(percentiles_come_from_merged_buckets_and_not_from_means_of_percentiles),
        cmocka_unit_test(the_json_holds_every_sample),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
