/*
 * permute.h -- a seeded bijection on [0, n), so that hot ranks are spread over all keys and none is lost.
 *
 * Rounds of multiply and xor-shift are invertible on a power of two; a result outside [0, n) goes round again until
 * it is inside (cycle walking), which takes fewer than two turns on average.  `hash % n` would never choose 37 % of
 * the keys.
 */
#ifndef ASSAY_WORKLOADS_PERMUTE_H
#define ASSAY_WORKLOADS_PERMUTE_H

#include <stdint.h>

#include "common/rng.h"

#define PERMUTE_ROUNDS 3
#define PERMUTE_BLOCK  256

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

static inline uint64_t permute_round(const struct permute *permute, int i, uint64_t x)
{
    x = (x * permute->factor[i] + permute->term[i]) & permute->mask;
    return x ^ x >> permute->shift;
}

/* One turn: a bijection on the next power of two. */
static inline uint64_t permute_turn(const struct permute *permute, uint64_t x)
{
    return permute_round(permute, 2, permute_round(permute, 1, permute_round(permute, 0, x)));
}

/* Where x < n goes. */
static inline uint64_t permute_of(const struct permute *permute, uint64_t x)
{
    do
        x = permute_turn(permute, x);
    while (x >= permute->n);
    return x;
}

/* The same for up to PERMUTE_BLOCK numbers at once.  Those that need another turn are collected first: a branch on
 * each would be guessed wrong as often as n lies far from a power of two. */
static inline void permute_block(const struct permute *permute, uint64_t *numbers, uint32_t count)
{
    uint32_t outside[PERMUTE_BLOCK], left = 0;

    for (uint32_t i = 0; i < count; i++) {
        numbers[i] = permute_turn(permute, numbers[i]);
        outside[left] = i;
        left += numbers[i] >= permute->n;
    }
    while (left) {
        uint32_t still = 0;

        for (uint32_t i = 0; i < left; i++) {
            uint32_t at = outside[i];

            numbers[at] = permute_turn(permute, numbers[at]);
            outside[still] = at;
            still += numbers[at] >= permute->n;
        }
        left = still;
    }
}

#endif
