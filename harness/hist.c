/* hist.c -- a log-linear histogram of nanoseconds. */
#include "harness/hist.h"

#include <math.h>
#include <stdlib.h>

#include "common/fail.h"

struct hist *hist_new(void)
{
    struct hist *hist = calloc(1, sizeof *hist);

    if (!hist)
        fail_set("no memory for a histogram");
    return hist;
}

void hist_merge(struct hist *into, const struct hist *from)
{
    if (from->count == 0)
        return;
    if (into->count == 0 || from->min < into->min)
        into->min = from->min;
    if (from->max > into->max)
        into->max = from->max;
    into->count += from->count;
    into->sum += from->sum;
    for (size_t i = 0; i < HIST_BUCKETS; i++)
        into->bucket[i] += from->bucket[i];
}

uint64_t hist_low(size_t bucket)
{
    size_t shift = bucket >> HIST_BITS; /* 0 and 1 share the resolution of 1 ns */

    if (shift <= 1)
        return bucket;
    return (uint64_t)(bucket - ((shift - 1) << HIST_BITS)) << (shift - 1);
}

uint64_t hist_high(size_t bucket)
{
    return bucket + 1 == HIST_BUCKETS ? UINT64_MAX : hist_low(bucket + 1) - 1;
}

uint64_t hist_quantile(const struct hist *hist, double q)
{
    uint64_t rank, seen = 0, middle;

    if (hist->count == 0)
        return 0;
    rank = (uint64_t)ceil(q * (double)hist->count);
    if (rank < 1)
        rank = 1;
    if (rank >= hist->count)
        return hist->max;
    for (size_t i = hist_bucket(hist->min); i < HIST_BUCKETS; i++) {
        seen += hist->bucket[i];
        if (seen < rank)
            continue;
        middle = hist_low(i) + (hist_high(i) - hist_low(i)) / 2;
        return middle < hist->min ? hist->min : middle > hist->max ? hist->max : middle;
    }
    return hist->max;
}

json_t *hist_json(const struct hist *hist)
{
    static const struct {
        const char *name;
        double      q;
    } quantiles[] = {{"p50", .5}, {"p90", .9}, {"p95", .95}, {"p99", .99}, {"p999", .999}, {"p9999", .9999}};
    json_t *buckets, *object;

    if (!hist || hist->count == 0)
        return json_null();
    buckets = json_array();
    for (size_t i = hist_bucket(hist->min); i <= hist_bucket(hist->max); i++) {
        if (hist->bucket[i])
            json_array_append_new(buckets, json_pack("[I, I]", (json_int_t)hist_low(i), (json_int_t)hist->bucket[i]));
    }
    object = json_pack("{s:I, s:I, s:I, s:I, s:f, s:o}", "count", (json_int_t)hist->count, "sum", (json_int_t)hist->sum,
                       "min", (json_int_t)hist->min, "max", (json_int_t)hist->max, "mean",
                       (double)hist->sum / (double)hist->count, "histogram", buckets);
    for (size_t i = 0; i < sizeof quantiles / sizeof *quantiles; i++)
        json_object_set_new(object, quantiles[i].name, json_integer((json_int_t)hist_quantile(hist, quantiles[i].q)));
    return object;
}

bool hist_add_json(struct hist *into, const json_t *record)
{
    json_int_t min = json_integer_value(json_object_get(record, "min"));
    json_int_t max = json_integer_value(json_object_get(record, "max"));
    json_int_t count = json_integer_value(json_object_get(record, "count")), seen = 0;
    json_t    *pair;
    size_t     i;

    json_array_foreach(json_object_get(record, "histogram"), i, pair) {
        json_int_t low = json_integer_value(json_array_get(pair, 0)), in = json_integer_value(json_array_get(pair, 1));

        if (low < 0 || in <= 0 || in > count - seen || hist_low(hist_bucket((uint64_t)low)) != (uint64_t)low) {
            fail_set("a histogram has the impossible bucket [%lld, %lld]", (long long)low, (long long)in);
            return false;
        }
        into->bucket[hist_bucket((uint64_t)low)] += (uint64_t)in;
        seen += in;
    }
    if (seen != count || count <= 0 || min < 0 || max < min) {
        fail_set("a histogram holds %lld samples, its count says %lld", (long long)seen, (long long)count);
        return false;
    }
    if (into->count == 0 || (uint64_t)min < into->min)
        into->min = (uint64_t)min;
    if ((uint64_t)max > into->max)
        into->max = (uint64_t)max;
    into->count += (uint64_t)count;
    into->sum += (unsigned __int128)json_integer_value(json_object_get(record, "sum"));
    return true;
}
