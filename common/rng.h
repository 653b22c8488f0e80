/*
 * rng.h -- seeded random numbers: xoshiro256** (Blackman and Vigna), seeded by splitmix64.
 *
 * One generator belongs to one thread.  The same (seed, stream) gives the same numbers on every machine; different
 * streams of one seed are independent.
 */
#ifndef ASSAY_COMMON_RNG_H
#define ASSAY_COMMON_RNG_H

#include <stdint.h>

struct rng {
    uint64_t s[4];
};

/* A bijection on 64 bits that leaves no visible pattern (the finaliser of splitmix64). */
static inline uint64_t rng_mix(uint64_t x)
{
    x ^= x >> 30;
    x *= UINT64_C(0xbf58476d1ce4e5b9);
    x ^= x >> 27;
    x *= UINT64_C(0x94d049bb133111eb);
    return x ^ (x >> 31);
}

static inline void rng_seed(struct rng *rng, uint64_t seed, uint64_t stream)
{
    uint64_t x = rng_mix(seed + UINT64_C(0x9e3779b97f4a7c15)) ^ rng_mix(~stream);

    for (int i = 0; i < 4; i++)
        rng->s[i] = rng_mix(x += UINT64_C(0x9e3779b97f4a7c15));
}

static inline uint64_t rng_u64(struct rng *rng)
{
    uint64_t *s      = rng->s;
    uint64_t  scaled = s[1] * 5;
    uint64_t  result = ((scaled << 7) | (scaled >> 57)) * 9;
    uint64_t  t      = s[1] << 17;

    s[2] ^= s[0];
    s[3] ^= s[1];
    s[1] ^= s[2];
    s[0] ^= s[3];
    s[2] ^= t;
    s[3] = (s[3] << 45) | (s[3] >> 19);
    return result;
}

/* Uniform in [0, n), n > 0, without the bias of a modulo (Lemire 2019). */
static inline uint64_t rng_below(struct rng *rng, uint64_t n)
{
    unsigned __int128 product = (unsigned __int128)rng_u64(rng) * n;

    if ((uint64_t)product < n) {
        uint64_t reject_below = -n % n;
        while ((uint64_t)product < reject_below)
            product = (unsigned __int128)rng_u64(rng) * n;
    }
    return (uint64_t)(product >> 64);
}

/* Uniform in [0, 1), 53 bits. */
static inline double rng_unit(struct rng *rng)
{
    return (double)(rng_u64(rng) >> 11) * 0x1p-53;
}

#endif
