/*
 * permute.h -- a seeded bijection on [0, n), so that hot ranks are spread over all keys and none is lost.
 *
 * Rounds of multiply and xor-shift are invertible on a power of two; a result outside [0, n) goes round again until it is
 * inside (cycle walking), which takes fewer than two turns on average.  `hash % n` would never choose 37 % of the keys.
 */
#ifndef ASSAY_WORKLOADS_PERMUTE_H
#define ASSAY_WORKLOADS_PERMUTE_H

#include <stdint.h>

#include "common/rng.h"

#define PERMUTE_ROUNDS 3

struct permute {
    uint64_t n;
    uint64_t mask; /* of the next power of two */
    uint32_t shift;
    uint64_t factor[PERMUTE_ROUNDS], term[PERMUTE_ROUNDS];
};

/* n > 0. */
static inline void permute_init(struct permute *permute, uint64_t n, uint64_t seed)
{
    uint32_t bits = n > 1 ? 64 - (uint32_t)__builtin_clzll(n - 1) : 1;

    *permute = (struct permute){.n = n, .mask = UINT64_MAX >> (64 - bits), .shift = bits / 2 + 1};
    for (int i = 0; i < PERMUTE_ROUNDS; i++) {
        permute->factor[i] = rng_mix(seed + 2 * (uint64_t)i + 1) | 1;
        permute->term[i]   = rng_mix(seed + 2 * (uint64_t)i + 2);
    }
}

/* Where x < n goes. */
static inline uint64_t permute_of(const struct permute *permute, uint64_t x)
{
    do {
        for (int i = 0; i < PERMUTE_ROUNDS; i++) {
            x = (x * permute->factor[i] + permute->term[i]) & permute->mask;
            x ^= x >> permute->shift;
        }
    } while (x >= permute->n);
    return x;
}

#endif
