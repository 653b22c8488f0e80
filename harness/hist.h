/*
 * hist.h -- a histogram of nanoseconds: log-linear, 128 buckets an octave, so a quantile is at most 1/128 off.
 *
 * All of uint64_t has its bucket: nothing is clamped or dropped.  min, max, sum and count are exact.  One thread writes
 * a histogram; hist_merge adds those of several threads.  The layout is HdrHistogram's and fio's, without a ceiling.
 */
#ifndef ASSAY_HARNESS_HIST_H
#define ASSAY_HARNESS_HIST_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define HIST_BITS    7
#define HIST_BUCKETS ((64 - HIST_BITS + 1) << HIST_BITS)

struct hist {
    uint64_t          count, min, max;
    unsigned __int128 sum;
    uint64_t          bucket[HIST_BUCKETS];
};

/* Below 2^7 each value has its own bucket; above, the leading bit picks the octave and the next seven the bucket. */
static inline size_t hist_bucket(uint64_t ns)
{
    unsigned shift;

    if (ns < (1u << HIST_BITS))
        return (size_t)ns;
    shift = 63u - (unsigned)__builtin_clzll(ns) - HIST_BITS;
    return ((size_t)shift << HIST_BITS) + (size_t)(ns >> shift);
}

static inline void hist_record(struct hist *hist, uint64_t ns)
{
    hist->bucket[hist_bucket(ns)]++;
    hist->sum += ns;
    if (hist->count++ == 0 || ns < hist->min)
        hist->min = ns;
    if (ns > hist->max)
        hist->max = ns;
}

/* NULL with fail_set() when memory is short; free() it. */
struct hist *hist_new(void);
void hist_merge(struct hist *into, const struct hist *from);

/* The smallest value that falls into the bucket, and the largest. */
uint64_t hist_low(size_t bucket);
uint64_t hist_high(size_t bucket);

/* The value that at least q (0 to 1) of the samples do not exceed: the middle of its bucket, never outside min and max.
 * 0 for an empty histogram. */
uint64_t hist_quantile(const struct hist *hist, double q);

/* {count, sum, min, max, mean, p50, p90, p95, p99, p999, p9999, histogram}; null for an empty one.  A new reference. */
json_t *hist_json(const struct hist *hist);
/* Adds what hist_json wrote.  False with fail_set() when its parts contradict one another; *into is of no use then. */
bool hist_add_json(struct hist *into, const json_t *record);

#endif
