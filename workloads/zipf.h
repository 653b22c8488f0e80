/*
 * zipf.h -- ranks 1 to n with probability proportional to rank^-exponent: exact for the n and the exponent given.
 *
 * Ranks lie in buckets, sixteen an octave, so that within a bucket the probability hardly falls.  A draw picks a bucket
 * by an alias table (Walker 1977, Vose 1991) over width * first^-exponent, then a rank in it, and keeps it with the
 * probability (rank / first)^-exponent.  That is rejection under a staircase: no sum over the ranks is needed, any
 * exponent >= 0 will do (0, 1 and above 1 too), and a power is computed only for the few draws that lie between two
 * bounds.  The table has 16 log2 n rows.  Rejection-inversion (Hörmann and Derflinger 1996) gives the same
 * distribution at three times the price; the tests hold one against the other.
 */
#ifndef ASSAY_WORKLOADS_ZIPF_H
#define ASSAY_WORKLOADS_ZIPF_H

#include <stdbool.h>
#include <stdint.h>

#include "common/rng.h"

struct zipf_bucket {
    uint64_t threshold; /* alias table: below it this bucket, else the alias */
    uint64_t first;     /* the lowest rank in the bucket */
    uint32_t alias;
    uint32_t sure;      /* in 2^-32: below it every rank of the bucket is accepted */
    uint32_t shift;     /* the bucket has 2^shift ranks */
};

struct zipf {
    uint64_t            n;
    double              exponent;
    uint32_t            count;
    struct zipf_bucket *bucket;
};

/* n > 0, exponent >= 0 and finite.  False with fail_set() when memory is short. */
bool zipf_init(struct zipf *zipf, uint64_t n, double exponent);
void zipf_free(struct zipf *zipf);

/* fraction * first^-exponent below rank^-exponent?  Fraction in 2^-64. */
bool zipf_accepts(double exponent, uint64_t first, uint64_t rank, uint64_t fraction);

/* A rank from 1 to n, where n <= zipf->n: a draw beyond n is rejected, so what is left is exact for the smaller n
 * too. */
static inline uint64_t zipf_draw_below(const struct zipf *zipf, struct rng *rng, uint64_t n)
{
    for (;;) {
        unsigned __int128         choice = (unsigned __int128)rng_u64(rng) * zipf->count;
        uint64_t                  row = (uint64_t)(choice >> 64), random = rng_u64(rng), rank, fraction;
        const struct zipf_bucket *bucket = &zipf->bucket[row];

        /* Arithmetic instead of a branch, which would be guessed wrong in every third draw. */
        row ^= (row ^ bucket->alias) & -(uint64_t)((uint64_t)choice >= bucket->threshold);
        bucket   = &zipf->bucket[row];
        rank     = bucket->first + ((random >> 1) >> (63 - bucket->shift));
        fraction = random << bucket->shift;
        if (__builtin_expect(fraction >> 32 < bucket->sure, 1) ||
            zipf_accepts(zipf->exponent, bucket->first, rank, fraction)) {
            if (__builtin_expect(rank <= n, 1))
                return rank;
        }
    }
}

static inline uint64_t zipf_draw(const struct zipf *zipf, struct rng *rng)
{
    return zipf_draw_below(zipf, rng, zipf->n);
}

#endif
