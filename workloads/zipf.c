/* zipf.c -- the table of zipf.h. */
#include "workloads/zipf.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/fail.h"

#define OCTAVE_BUCKETS_LOG2 4
#define BUCKETS_MAX         (64u << OCTAVE_BUCKETS_LOG2)

bool zipf_accepts(double exponent, uint64_t first, uint64_t rank, uint64_t fraction)
{
    double x = (double)(rank - first) / (double)first, share = (double)fraction * 0x1p-64;

    /* Taylor's series of (1 + x)^-exponent alternates, so it is bounded by its first terms: a power is hardly ever
     * needed. */
    if (share < 1 - exponent * x)
        return true;
    if (share >= 1 - exponent * x * (1 - (exponent + 1) / 2 * x))
        return false;
    return share < pow(1 + x, -exponent);
}

/* Buckets of one rank up to 2^5, then sixteen an octave. */
static uint32_t lay_buckets(struct zipf_bucket *bucket, uint64_t n)
{
    uint32_t count = 0;
    uint64_t first = 1;

    while (first <= n) {
        uint32_t octave = 63 - (uint32_t)__builtin_clzll(first);

        bucket[count] = (struct zipf_bucket){
            .first = first,
            .shift = octave > OCTAVE_BUCKETS_LOG2 ? octave - OCTAVE_BUCKETS_LOG2 : 0,
        };
        first += UINT64_C(1) << bucket[count++].shift;
    }
    return count;
}

static uint64_t fixed_point(double share)
{
    return share >= 1 ? UINT64_MAX : (uint64_t)(share * 0x1p64);
}

/* Vose's construction: each row is topped up by one richer row. */
static void make_alias_table(struct zipf_bucket *bucket, uint32_t count, double *weight)
{
    uint32_t poor[BUCKETS_MAX], rich[BUCKETS_MAX], poor_count = 0, rich_count = 0;
    double   sum = 0;

    for (uint32_t i = 0; i < count; i++)
        sum += weight[i];
    for (uint32_t i = 0; i < count; i++) {
        weight[i] *= (double)count / sum;
        if (weight[i] < 1)
            poor[poor_count++] = i;
        else
            rich[rich_count++] = i;
    }
    while (poor_count && rich_count) {
        uint32_t low = poor[--poor_count], high = rich[rich_count - 1];

        bucket[low].threshold = fixed_point(weight[low]);
        bucket[low].alias     = high;
        weight[high] -= 1 - weight[low];
        if (weight[high] < 1) {
            rich_count--;
            poor[poor_count++] = high;
        }
    }
    /* What is left differs from 1 by rounding only. */
    while (rich_count) {
        uint32_t i = rich[--rich_count];
        bucket[i].threshold = UINT64_MAX;
        bucket[i].alias     = i;
    }
    while (poor_count) {
        uint32_t i = poor[--poor_count];
        bucket[i].threshold = UINT64_MAX;
        bucket[i].alias     = i;
    }
}

bool zipf_init(struct zipf *zipf, uint64_t n, double exponent)
{
    struct zipf_bucket bucket[BUCKETS_MAX];
    double             weight[BUCKETS_MAX];

    *zipf = (struct zipf){.n = n, .exponent = exponent, .count = lay_buckets(bucket, n)};
    for (uint32_t i = 0; i < zipf->count; i++) {
        double first = (double)bucket[i].first, width = (double)(UINT64_C(1) << bucket[i].shift);
        double least = pow((first + width - 1) / first, -exponent) * 0x1p32;

        weight[i] = width * pow(first, -exponent);
        bucket[i].sure = least >= UINT32_MAX ? UINT32_MAX : least < 1 ? 0 : (uint32_t)least - 1;
    }
    make_alias_table(bucket, zipf->count, weight);
    zipf->bucket = malloc(zipf->count * sizeof *bucket);
    if (!zipf->bucket) {
        fail_set("no memory for a Zipfian table of %u rows", zipf->count);
        return false;
    }
    memcpy(zipf->bucket, bucket, zipf->count * sizeof *bucket);
    return true;
}

void zipf_free(struct zipf *zipf)
{
    free(zipf->bucket);
    zipf->bucket = NULL;
}
