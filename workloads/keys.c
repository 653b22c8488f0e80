/*
 * keys.c -- which key is asked for.
 *
 * uniform      Each of the n keys alike.
 * zipfian      zipf.h over n ranks; a bijection spreads the ranks over the keys.  With ycsb_compat: YCSB's scrambled
 *              generator as it is, whose skew is that of 10^10 items whatever n is
 *              (core/.../ScrambledZipfianGenerator.java).
 * hotset       A window of hot_fraction * n keys gets hot_probability of the draws, the other keys the rest, each side
 *              uniformly.  The window slides: a key stays hot for drift_ops draws.
 * latest       zipf.h over recency: rank 1 is the newest key that the stream knows of.
 * sequential   Each thread goes through its own share (thread, thread + threads, ...) and begins again.
 * exponential  The discrete exponential of YCSB, cut at n: `percentile` of the uncut one lies on the first
 *              key_fraction * n.
 */
#include "workloads/keys.h"

#include <math.h>
#include <string.h>

/* Draws of different purposes come from generators of their own; this sets them apart. */
#define KEY_STREAM UINT64_C(0x6b657973) /* "keys" */

/* ycsb_compat: ZipfianGenerator.java with the constants of ScrambledZipfianGenerator.java. */
#define YCSB_ITEMS    1e10
#define YCSB_ZETAN    26.46902820178302
#define YCSB_EXPONENT 0.99

bool keys_init(struct keys *keys, const struct workload *workload, const struct distribution *distribution,
               size_t stream, uint32_t thread)
{
    double n = (double)workload->records;

    *keys = (struct keys){
        .distribution = *distribution, .records = workload->records, .thread = thread, .threads = workload->threads,
    };
    rng_seed(&keys->rng, workload->seed ^ KEY_STREAM, (uint64_t)stream << 32 | thread);
    if (workload->records == 0)
        return true;
    permute_init(&keys->permute, workload->records, workload->seed);
    switch (distribution->kind) {
    case DISTRIBUTION_ZIPFIAN:
    case DISTRIBUTION_LATEST:
        return distribution->ycsb_compat || zipf_init(&keys->zipf, workload->records, distribution->exponent);
    case DISTRIBUTION_HOTSET:
        keys->hot_keys = (uint64_t)llround(n * distribution->hot_fraction);
        if (keys->hot_keys == 0)
            keys->hot_keys = 1;
        break;
    case DISTRIBUTION_EXPONENTIAL:
        keys->decay = -log1p(-distribution->percentile) / (n * distribution->key_fraction);
        keys->reach = -expm1(-keys->decay * n);
        break;
    default:
        break;
    }
    return true;
}

void keys_free(struct keys *keys)
{
    zipf_free(&keys->zipf);
}

static uint64_t draw_hotset(const struct keys *keys, struct rng *rng, uint64_t position)
{
    uint64_t n = keys->records, hot = keys->hot_keys, drift = keys->distribution.drift_ops, window = 0, at;

    if (hot >= n)
        return rng_below(rng, n);
    if (drift) /* position * hot / drift, which may exceed 64 bits */
        window = (uint64_t)((unsigned __int128)position * hot / drift % n);
    if (rng_unit(rng) < keys->distribution.hot_probability)
        at = window + rng_below(rng, hot);
    else
        at = window + hot + rng_below(rng, n - hot);
    return at % n;
}

static uint64_t draw_exponential(const struct keys *keys, struct rng *rng)
{
    double   at     = -log1p(-rng_unit(rng) * keys->reach) / keys->decay;
    uint64_t number = (uint64_t)at;

    return number < keys->records ? number : keys->records - 1; /* rounding at the very end */
}

static uint64_t ycsb_rank(struct rng *rng)
{
    static const double half_power = 0.50347777502835944; /* 0.5^0.99 */
    static const double eta_left = 1.0;
    double u = rng_unit(rng), uz = u * YCSB_ZETAN, items = YCSB_ITEMS + 1;
    double eta;

    if (uz < 1)
        return 0;
    if (uz < 1 + half_power)
        return 1;
    eta = (eta_left - pow(2 / items, 1 - YCSB_EXPONENT)) / (1 - (1 + half_power) / YCSB_ZETAN);
    return (uint64_t)(items * pow(eta * u - eta + 1, 1 / (1 - YCSB_EXPONENT)));
}

/* Utils.fnvhash64, sign removed as Java's Math.abs does. */
static uint64_t ycsb_hash(uint64_t number)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);

    for (int i = 0; i < 8; i++, number >>= 8)
        hash = (hash ^ (number & 0xff)) * UINT64_C(1099511628211);
    return (int64_t)hash < 0 ? 0 - hash : hash;
}

static uint64_t sequential_at(const struct keys *keys, uint64_t position)
{
    uint64_t share;

    if (keys->thread >= keys->records)
        return keys->thread % keys->records;
    share = (keys->records - keys->thread + keys->threads - 1) / keys->threads;
    return keys->thread + position % share * keys->threads;
}

/* Ranks (0 the hottest) where permuted, else key numbers. */
static void draw_block(struct keys *keys, uint64_t *out, uint32_t count)
{
    struct rng rng = keys->rng; /* in registers while the loop runs */

    switch (keys->distribution.kind) {
    case DISTRIBUTION_UNIFORM:
        for (uint32_t i = 0; i < count; i++)
            out[i] = rng_below(&rng, keys->records);
        break;
    case DISTRIBUTION_ZIPFIAN:
        if (keys->distribution.ycsb_compat)
            for (uint32_t i = 0; i < count; i++)
                out[i] = ycsb_hash(ycsb_rank(&rng)) % keys->records;
        else
            for (uint32_t i = 0; i < count; i++)
                out[i] = zipf_draw(&keys->zipf, &rng) - 1;
        break;
    case DISTRIBUTION_HOTSET:
        for (uint32_t i = 0; i < count; i++)
            out[i] = draw_hotset(keys, &rng, keys->position + i);
        break;
    case DISTRIBUTION_SEQUENTIAL:
        for (uint32_t i = 0; i < count; i++)
            out[i] = sequential_at(keys, keys->position + i);
        break;
    case DISTRIBUTION_EXPONENTIAL:
        for (uint32_t i = 0; i < count; i++)
            out[i] = draw_exponential(keys, &rng);
        break;
    case DISTRIBUTION_LATEST:
    case DISTRIBUTION_KINDS:
        __builtin_unreachable();
    }
    keys->position += count;
    keys->rng = rng;
}

static bool is_permuted(const struct distribution *distribution)
{
    return (distribution->kind == DISTRIBUTION_ZIPFIAN && !distribution->ycsb_compat) ||
           distribution->kind == DISTRIBUTION_HOTSET || distribution->kind == DISTRIBUTION_EXPONENTIAL;
}

void keys_draw(struct keys *keys, uint64_t *out, size_t stride, size_t count)
{
    uint64_t block[PERMUTE_BLOCK];
    bool     permuted = is_permuted(&keys->distribution);
    char    *at = (char *)out;

    while (count) {
        uint32_t now = count < PERMUTE_BLOCK ? (uint32_t)count : PERMUTE_BLOCK;

        draw_block(keys, block, now);
        if (permuted)
            permute_block(&keys->permute, block, now);
        for (uint32_t i = 0; i < now; i++, at += stride)
            memcpy(at, &block[i], sizeof *block);
        count -= now;
    }
}

bool keys_draw_latest(struct keys *keys, uint64_t inserts, uint64_t *out)
{
    uint64_t known = keys->records + inserts, index;

    if (known > keys->zipf.n) {
        /* A quarter more than needed, because draws beyond what is known are rejected and a new table is not free. */
        zipf_free(&keys->zipf);
        if (!zipf_init(&keys->zipf, known + known / 4 + 16, keys->distribution.exponent))
            return false;
    }
    index = known - zipf_draw_below(&keys->zipf, &keys->rng, known);
    *out = index < keys->records ? index : keys->records + keys->thread + (index - keys->records) * keys->threads;
    return true;
}
