/*
 * t_workloads_draws.c -- each distribution against its exact probabilities, and the same test against the generators
 * that the projects before us got wrong.
 */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/fail.h"
#include "tests/chi_square.h"
#include "workloads/arrival.h"
#include "workloads/keys.h"
#include "workloads/permute.h"
#include "workloads/zipf.h"

#define BINS_MAX 4096

/* ---- Bins: every rank its own up to 1000 or 64, then bins that share no border with those of the sampler. ---- */

struct bins {
    uint64_t first[BINS_MAX]; /* the lowest rank of each */
    double   expected[BINS_MAX];
    uint64_t observed[BINS_MAX];
    size_t   count;
};

static void bins_init(struct bins *bins, uint64_t n, double exponent)
{
    uint64_t singles = n <= 1000 ? n : 64, rank = 1;
    double   sum = 0;

    memset(bins, 0, sizeof *bins);
    while (rank <= n) {
        uint64_t width = rank <= singles ? 1 : (uint64_t)((double)rank * 0.07) + 1, end = rank + width;

        sum = 0;
        bins->first[bins->count] = rank;
        for (; rank < end && rank <= n; rank++)
            sum += pow((double)rank, -exponent);
        bins->expected[bins->count++] = sum;
    }
}

static void bins_add(struct bins *bins, uint64_t rank)
{
    size_t low = 0, high = bins->count;

    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (bins->first[middle] <= rank)
            low = middle;
        else
            high = middle;
    }
    bins->observed[low]++;
}

static bool bins_fit(const struct bins *bins, const char *what)
{
    return chi_square_fits(bins->observed, bins->expected, bins->count, what);
}

static const double exponents[] = {0, 0.5, 0.99, 1, 1.2, 2};
#define EXPONENTS (sizeof exponents / sizeof *exponents)

static void zipfian_ranks_have_their_exact_probabilities(void **state)
{
    static const uint64_t ns[] = {1, 2, 3, 10, 31, 33, 1000, 1000000};
    static struct bins    bins;

    (void)state;
    for (size_t i = 0; i < sizeof ns / sizeof *ns; i++) {
        for (size_t j = 0; j < EXPONENTS; j++) {
            struct zipf zipf;
            struct rng  rng;
            char        what[64];

            rng_seed(&rng, 20, i * EXPONENTS + j);
            assert_true(zipf_init(&zipf, ns[i], exponents[j]));
            bins_init(&bins, ns[i], exponents[j]);
            for (int draw = 0; draw < DRAWS(1000000); draw++) {
                uint64_t rank = zipf_draw(&zipf, &rng);
                if (rank < 1 || rank > ns[i])
                    fail_msg("rank %llu of %llu", (unsigned long long)rank, (unsigned long long)ns[i]);
                bins_add(&bins, rank);
            }
            snprintf(what, sizeof what, "n %llu exponent %g", (unsigned long long)ns[i], exponents[j]);
            assert_true(bins_fit(&bins, what));
            zipf_free(&zipf);
        }
    }
}

static void a_table_for_more_ranks_serves_fewer_exactly(void **state)
{
    static struct bins bins;
    struct zipf zipf;
    struct rng  rng;

    (void)state;
    rng_seed(&rng, 21, 0);
    assert_true(zipf_init(&zipf, 1300, 0.99));
    bins_init(&bins, 1000, 0.99);
    for (int draw = 0; draw < DRAWS(1000000); draw++)
        bins_add(&bins, zipf_draw_below(&zipf, &rng, 1000));
    assert_true(bins_fit(&bins, "1000 of 1300"));
    zipf_free(&zipf);
}

static void extreme_exponents_and_sizes_neither_hang_nor_leave_the_range(void **state)
{
    static const uint64_t ns[] = {1, 2, 1000000007, UINT64_C(1) << 40};
    static const double   steep[] = {0, 1e-9, 50, 100};

    (void)state;
    for (size_t i = 0; i < 4; i++) {
        for (size_t j = 0; j < 4; j++) {
            struct zipf zipf;
            struct rng  rng;

            rng_seed(&rng, 22, i * 4 + j);
            assert_true(zipf_init(&zipf, ns[i], steep[j]));
            for (int draw = 0; draw < 10000; draw++) {
                uint64_t rank = zipf_draw(&zipf, &rng);
                assert_true(rank >= 1 && rank <= ns[i]);
                if (steep[j] >= 50)
                    assert_int_equal(rank, 1); /* rank 2 would come once in 2^50 draws */
            }
            zipf_free(&zipf);
        }
    }
}

/* ---- Another exact method, from the paper: rejection-inversion (Hörmann and Derflinger 1996). ---- */

struct inversion {
    double n, exponent, h_first, h_last, s;
    double shift; /* 0.5; a generator that forgets it favours rank 1 and never draws rank n */
};

static double h_integral(double exponent, double x)
{
    double log_x = log(x), t = (1 - exponent) * log_x;

    return fabs(t) > 1e-8 ? expm1(t) / t * log_x : log_x * (1 + t / 2);
}

static double h_inverse(double exponent, double x)
{
    double t = x * (1 - exponent);

    if (t < -1)
        t = -1;
    return exp(fabs(t) > 1e-8 ? log1p(t) / t * x : x * (1 - t / 2));
}

static struct inversion inversion_of(double n, double exponent)
{
    struct inversion inversion = {n, exponent, h_integral(exponent, 1.5) - 1, h_integral(exponent, n + 0.5), 0, 0.5};

    inversion.s = 2 - h_inverse(exponent, h_integral(exponent, 2.5) - pow(2, -exponent));
    return inversion;
}

static uint64_t inversion_draw(const struct inversion *inversion, struct rng *rng)
{
    for (;;) {
        double u = inversion->h_last + rng_unit(rng) * (inversion->h_first - inversion->h_last);
        double x = h_inverse(inversion->exponent, u), k = floor(x + inversion->shift);

        k = k < 1 ? 1 : k > inversion->n ? inversion->n : k;
        if (k - x <= inversion->s ||
            u >= h_integral(inversion->exponent, k + 0.5) - pow(k, -inversion->exponent))
            return (uint64_t)k;
    }
}

static void rejection_inversion_draws_from_the_same_distribution(void **state)
{
    static struct bins bins;

    (void)state;
    for (size_t j = 0; j < EXPONENTS; j++) {
        struct inversion inversion = inversion_of(1000, exponents[j]);
        struct rng rng;

        rng_seed(&rng, 23, j);
        bins_init(&bins, 1000, exponents[j]);
        for (int draw = 0; draw < DRAWS(500000); draw++)
            bins_add(&bins, inversion_draw(&inversion, &rng));
        assert_true(bins_fit(&bins, "rejection-inversion"));
    }
}

/* ---- The test must refuse what is wrong. ---- */

static bool wrong_generator_fits(uint64_t n, double exponent, uint64_t (*draw)(struct rng *rng))
{
    static struct bins bins;
    struct rng         rng;
    struct chi_square  chi;

    rng_seed(&rng, 24, 0);
    bins_init(&bins, n, exponent);
    for (int i = 0; i < 1000000; i++)
        bins_add(&bins, draw(&rng));
    chi = chi_square_of(bins.observed, bins.expected, bins.count);
    return chi.statistic <= chi.critical;
}

/* Gray et al. 1994 as YCSB and its descendants have it: ranks 1 and 2 are right, rank 3 is a fifth too hot. */
static uint64_t gray_draw(struct rng *rng)
{
    static double zeta, eta;
    double u = rng_unit(rng), uz;

    if (zeta == 0) {
        for (int i = 1; i <= 1000; i++)
            zeta += pow(i, -0.99);
        eta = (1 - pow(2.0 / 1000, 0.01)) / (1 - (1 + pow(0.5, 0.99)) / zeta);
    }
    uz = u * zeta;
    if (uz < 1)
        return 1;
    if (uz < 1 + pow(0.5, 0.99))
        return 2;
    return 1 + (uint64_t)(1000 * pow(eta * u - eta + 1, 1 / 0.01));
}

static uint64_t half_forgotten_draw(struct rng *rng)
{
    struct inversion inversion = inversion_of(1000, 0.99);

    inversion.shift = 0;
    return inversion_draw(&inversion, rng);
}

static uint64_t off_by_one_draw(struct rng *rng)
{
    struct inversion inversion = inversion_of(1000, 0.99);
    uint64_t         rank = inversion_draw(&inversion, rng) + 1;

    return rank > 1000 ? 1000 : rank;
}

static uint64_t biased_modulo_draw(struct rng *rng)
{
    return (rng_u64(rng) & 0x3fff) % 1000 + 1; /* the first 384 ranks 6 % more often than the rest */
}

static uint64_t right_draw(struct rng *rng)
{
    struct inversion inversion = inversion_of(1000, 0.99);

    return inversion_draw(&inversion, rng);
}

static void defect_28_the_test_refuses_generators_that_are_known_to_be_wrong(void **state)
{
    (void)state;
    assert_true(wrong_generator_fits(1000, 0.99, right_draw));
    assert_false(wrong_generator_fits(1000, 0.99, gray_draw));
    assert_false(wrong_generator_fits(1000, 0.99, half_forgotten_draw));
    assert_false(wrong_generator_fits(1000, 0.99, off_by_one_draw));
    assert_false(wrong_generator_fits(1000, 1.0, right_draw)); /* a neighbouring exponent */
    assert_false(wrong_generator_fits(1000, 0, biased_modulo_draw));
}

/* ---- The drawer: ranks spread over keys. ---- */

static struct workload workload_of(enum distribution_kind kind, uint64_t records)
{
    struct workload workload;

    assert_true(workload_load(&workload, "uniform"));
    workload.records = records;
    workload.phases[0].keys.kind = kind;
    return workload;
}

/* The rank of each key, 0 the hottest: the inverse of the drawer's bijection. */
static uint64_t *ranks_of(const struct keys *keys)
{
    uint64_t *rank = malloc(keys->records * sizeof *rank);

    assert_non_null(rank);
    for (uint64_t i = 0; i < keys->records; i++)
        rank[permute_of(&keys->permute, i)] = i;
    return rank;
}

static void fits_after(int draws, const struct workload *workload, bool permuted, const double *expected,
                       const char *what)
{
    uint64_t   *observed = calloc(workload->records, sizeof *observed), *rank, drawn[500];
    struct keys keys;

    assert_non_null(observed);
    assert_true(keys_init(&keys, workload, &workload->phases[0].keys, 0, 0));
    rank = ranks_of(&keys);
    for (int block = 0; block < draws / 500; block++) {
        keys_draw(&keys, drawn, sizeof *drawn, 500);
        for (int i = 0; i < 500; i++) {
            if (drawn[i] >= workload->records)
                fail_msg("key %llu of %llu", (unsigned long long)drawn[i], (unsigned long long)workload->records);
            observed[permuted ? rank[drawn[i]] : drawn[i]]++;
        }
    }
    assert_true(chi_square_fits(observed, expected, workload->records, what));
    keys_free(&keys);
    free(rank);
    free(observed);
}

static void fits_by_rank(const struct workload *workload, bool permuted, const double *expected, const char *what)
{
    fits_after(DRAWS(1000000), workload, permuted, expected, what);
}

static void uniform_keys_are_drawn_alike(void **state)
{
    static const uint64_t ns[] = {1, 2, 10, 1000, 65537};
    static double         expected[65537];

    (void)state;
    for (size_t i = 0; i < 65537; i++)
        expected[i] = 1;
    for (size_t i = 0; i < 5; i++) {
        struct workload workload = workload_of(DISTRIBUTION_UNIFORM, ns[i]);
        fits_by_rank(&workload, false, expected, "uniform");
    }
}

static void zipfian_keys_are_drawn_by_their_ranks(void **state)
{
    static double expected[1000];

    (void)state;
    for (size_t j = 0; j < EXPONENTS; j++) {
        struct workload workload = workload_of(DISTRIBUTION_ZIPFIAN, 1000);

        workload.phases[0].keys.exponent = exponents[j];
        for (int i = 0; i < 1000; i++)
            expected[i] = pow(i + 1, -exponents[j]);
        fits_by_rank(&workload, true, expected, "zipfian keys");
    }
}

static void exponential_keys_have_their_exact_probabilities(void **state)
{
    static const uint64_t ns[] = {1, 2, 10, 1000};
    static double         expected[1000];

    (void)state;
    for (size_t k = 0; k < 4; k++) {
        struct workload workload = workload_of(DISTRIBUTION_EXPONENTIAL, ns[k]);
        double          decay = -log(1 - 0.95) / ((double)ns[k] * 0.5);

        workload.phases[0].keys.percentile   = 0.95;
        workload.phases[0].keys.key_fraction = 0.5;
        for (uint64_t i = 0; i < ns[k]; i++)
            expected[i] = exp(-decay * (double)i) - exp(-decay * (double)(i + 1));
        fits_by_rank(&workload, true, expected, "exponential");
    }
}

static void hot_keys_get_their_share_and_no_other_way_round(void **state)
{
    static const uint64_t ns[] = {1, 2, 10, 1000};
    static double         expected[1000], inverted[1000];
    static uint64_t       observed[1000];
    struct workload       workload;
    struct chi_square     chi;
    struct rng            rng;

    (void)state;
    for (size_t k = 0; k < 4; k++) {
        uint64_t hot = ns[k] / 5 ? ns[k] / 5 : 1;

        workload = workload_of(DISTRIBUTION_HOTSET, ns[k]);
        for (uint64_t i = 0; i < ns[k]; i++) {
            expected[i] = ns[k] == 1 ? 1 : i < hot ? 0.9 / (double)hot : 0.1 / (double)(ns[k] - hot);
            inverted[i] = ns[k] == 1 ? 1 : i < hot ? 0.1 / (double)hot : 0.9 / (double)(ns[k] - hot);
        }
        fits_by_rank(&workload, true, expected, "hot set");
    }
    /* The generator with the probability the wrong way round, and the test that must see it. */
    rng_seed(&rng, 25, 0);
    for (int draw = 0; draw < 10000; draw++)
        observed[rng_unit(&rng) < 0.9 ? 200 + rng_below(&rng, 800) : rng_below(&rng, 200)]++;
    assert_true(chi_square_fits(observed, inverted, 1000, "inverted, against itself"));
    chi = chi_square_of(observed, expected, 1000);
    assert_true(chi.statistic > chi.critical);
}

static void a_drifting_hot_set_is_hot_at_every_moment_and_even_in_the_long_run(void **state)
{
    static double   expected[1000], even[1000];
    static uint64_t by_offset[1000], by_rank[1000];
    struct workload workload = workload_of(DISTRIBUTION_HOTSET, 1000);
    struct keys     keys;
    uint64_t       *rank, key, drift = 40000;

    (void)state;
    workload.phases[0].keys.drift_ops = drift;
    assert_true(workload_check(&workload));
    assert_true(keys_init(&keys, &workload, &workload.phases[0].keys, 0, 0));
    rank = ranks_of(&keys);
    for (uint64_t i = 0; i < 5 * drift; i++) { /* once around: the set is a fifth of the keys */
        uint64_t window = i * 200 / drift;

        keys_draw(&keys, &key, sizeof key, 1);
        by_rank[rank[key]]++;
        by_offset[(rank[key] + 1000 - window % 1000) % 1000]++;
    }
    for (int i = 0; i < 1000; i++) {
        expected[i] = i < 200 ? 0.9 / 200 : 0.1 / 800;
        even[i]     = 1;
    }
    assert_true(chi_square_fits(by_offset, expected, 1000, "within the window"));
    assert_true(chi_square_fits(by_rank, even, 1000, "over a whole turn"));
    keys_free(&keys);
    free(rank);
}

static void defect_28_a_hot_set_too_fast_to_be_reused_is_refused(void **state)
{
    struct workload workload = workload_of(DISTRIBUTION_HOTSET, 10000);

    (void)state;
    workload.phases[0].keys.drift_ops = 100; /* 2000 hot keys, 90 hits while they are hot */
    assert_false(workload_check(&workload));
    assert_non_null(strstr(fail_text(), "drift_ops"));
    assert_non_null(strstr(fail_text(), "4445"));
    workload.phases[0].keys.drift_ops = 4445;
    assert_true(workload_check(&workload));
}

static void latest_follows_the_inserts_exactly(void **state)
{
    static uint64_t observed[300];
    static double   expected[300];
    struct workload workload = workload_of(DISTRIBUTION_LATEST, 10);
    struct keys     keys;

    (void)state;
    workload.threads = 3;
    assert_true(keys_init(&keys, &workload, &workload.phases[0].keys, 0, 1));
    for (uint64_t inserts = 0; inserts < 200; inserts++) {
        uint64_t known = 10 + inserts;
        double   sum = 0;

        for (uint64_t rank = 1; rank <= known; rank++)
            sum += pow((double)rank, -0.99);
        for (uint64_t rank = 1; rank <= known; rank++)
            expected[rank] += pow((double)rank, -0.99) / sum;
        for (int draw = 0; draw < DRAWS(10000); draw++) {
            uint64_t key, index;

            assert_true(keys_draw_latest(&keys, inserts, &key));
            index = key < 10 ? key : 10 + (key - 10) / 3;
            assert_true(index < known);
            if (key >= 10)
                assert_int_equal((key - 10) % 3, 1); /* this stream's own */
            observed[known - index]++;
        }
    }
    assert_true(chi_square_fits(observed, expected, 211, "latest"));
    keys_free(&keys);
}

static void sequential_threads_cover_every_key_once_a_turn(void **state)
{
    struct workload workload = workload_of(DISTRIBUTION_SEQUENTIAL, 1003);
    int             seen[1003] = {0};

    (void)state;
    workload.threads = 4;
    for (uint32_t thread = 0; thread < 4; thread++) {
        struct keys keys;
        uint64_t    share = workload_share(&workload, 1003, thread), key, before = 0;

        assert_true(keys_init(&keys, &workload, &workload.phases[0].keys, 0, thread));
        for (uint64_t i = 0; i < 2 * share; i++) {
            keys_draw(&keys, &key, sizeof key, 1);
            assert_true(i % share == 0 ? key == thread : key > before);
            before = key;
            seen[key]++;
        }
        keys_free(&keys);
    }
    for (int i = 0; i < 1003; i++)
        assert_int_equal(seen[i], 2);
}

/* YCSB's own arithmetic: the probability that ZipfianGenerator draws below rank k. */
static double ycsb_below(double k)
{
    const double items = 1e10 + 1, zetan = 26.46902820178302, two = 1 + pow(0.5, 0.99);
    double       eta = (1 - pow(2 / items, 0.01)) / (1 - two / zetan);

    if (k <= 0)
        return 0;
    if (k <= 1)
        return 1 / zetan;
    return (pow(k / items, 0.01) - 1 + eta) / eta;
}

static uint64_t ycsb_fold(uint64_t number)
{
    uint64_t hash = UINT64_C(14695981039346656037);

    for (int i = 0; i < 8; i++)
        hash = (hash ^ (number >> (8 * i) & 0xff)) * UINT64_C(0x100000001b3);
    return (uint64_t)llabs((long long)hash);
}

static void ycsb_compat_draws_what_ycsb_draws(void **state)
{
    static const uint64_t ns[] = {25, 1000};
    const uint64_t        heads = 1 << 18;

    (void)state;
    /* The first key that YCSB loads is user6284781860667377211. */
    assert_true(ycsb_fold(0) == UINT64_C(6284781860667377211));
    for (size_t k = 0; k < 2; k++) {
        struct workload workload = workload_of(DISTRIBUTION_ZIPFIAN, ns[k]);
        double          expected[1000] = {0};

        workload.phases[0].keys.ycsb_compat = true;
        assert_true(workload_check(&workload));
        for (uint64_t i = 0; i < heads; i++)
            expected[ycsb_fold(i) % ns[k]] += ycsb_below((double)i + 1) - ycsb_below((double)i);
        for (uint64_t i = 0; i < ns[k]; i++) /* the ranks beyond are so many that each key gets the same of them */
            expected[i] += (1 - ycsb_below((double)heads)) / (double)ns[k];
        /* So many that its constants are told from near ones. */
        fits_after(DRAWS(5000000), &workload, false, expected, "ycsb_compat");
    }
}

/* ---- The bijection. ---- */

static void a_permutation_hits_every_number_once(void **state)
{
    static bool seen[100003];

    (void)state;
    for (uint64_t n = 1; n <= 100003; n = n < 300 ? n + 1 : n * 3 + 1) {
        for (uint64_t seed = 0; seed < 3; seed++) {
            struct permute permute;

            memset(seen, 0, sizeof seen);
            permute_init(&permute, n, seed);
            for (uint64_t i = 0; i < n; i++) {
                uint64_t to = permute_of(&permute, i);
                if (to >= n || seen[to])
                    fail_msg("n %llu: %llu", (unsigned long long)n, (unsigned long long)to);
                seen[to] = true;
            }
        }
    }
}

static void a_permutation_spreads_the_hot_ranks(void **state)
{
    static const uint64_t ns[] = {10000, 65536, 1000000};
    uint64_t              observed[20], low_bits[16];
    double                even[20];

    (void)state;
    for (int i = 0; i < 20; i++)
        even[i] = 1;
    for (size_t k = 0; k < 3; k++) {
        struct permute permute;

        memset(observed, 0, sizeof observed);
        memset(low_bits, 0, sizeof low_bits);
        permute_init(&permute, ns[k], 1);
        for (uint64_t i = 0; i < 1000; i++) {
            uint64_t to = permute_of(&permute, i);
            observed[to * 20 / ns[k]]++;
            low_bits[to % 16]++;
        }
        assert_true(chi_square_fits(observed, even, 20, "hot ranks by place"));
        assert_true(chi_square_fits(low_bits, even, 16, "hot ranks by low bits"));
    }
}

/* ---- Arrival. ---- */

static void paced_operations_come_at_the_rate_asked_for(void **state)
{
    struct workload workload = workload_of(DISTRIBUTION_UNIFORM, 10);
    uint64_t        start[4];

    (void)state;
    workload.arrival    = ARRIVAL_PACED;
    workload.rate_per_s = 3000;
    workload.threads    = 4;
    for (uint32_t thread = 0; thread < 4; thread++) {
        struct arrival arrival;
        uint64_t       at = 0;

        arrival_begin(&arrival, &workload, 0, thread);
        for (int i = 0; i <= 750; i++) {
            at = arrival_next_ns(&arrival);
            if (i == 0)
                start[thread] = at;
        }
        assert_int_equal(at - start[thread], 1000000000); /* 750 operations a second of each thread */
    }
    assert_int_equal(start[0], 0);
    assert_int_equal(start[1], 333333);
    assert_int_equal(start[3], 1000000);
}

static void poisson_gaps_are_exponential(void **state)
{
    struct workload workload = workload_of(DISTRIBUTION_UNIFORM, 10);
    struct arrival  arrival;
    uint64_t        observed[101] = {0}, before = 0;
    double          expected[101];

    (void)state;
    workload.arrival    = ARRIVAL_POISSON;
    workload.rate_per_s = 2000;
    workload.threads    = 2;
    arrival_begin(&arrival, &workload, 0, 1);
    for (int i = 0; i < DRAWS(300000); i++) { /* mean gap 1 ms, in bins of 50 us */
        uint64_t at = arrival_next_ns(&arrival), bin = (at - before) / 50000;
        assert_true(at >= before);
        observed[bin < 100 ? bin : 100]++;
        before = at;
    }
    for (int i = 0; i < 100; i++)
        expected[i] = exp(-0.05 * i) - exp(-0.05 * (i + 1));
    expected[100] = exp(-5.0);
    assert_true(chi_square_fits(observed, expected, 101, "poisson"));
}

static void defect_28_long_waits_of_bursty_load_are_the_rare_ones(void **state)
{
    struct workload   workload;
    struct arrival    arrival;
    uint64_t          observed[2] = {0}, before = 0;
    double            expected[2] = {0.95, 0.05}, inverted[2] = {0.05, 0.95};
    struct chi_square chi;

    (void)state;
    assert_true(workload_load(&workload, "shard-bursty"));
    arrival_begin(&arrival, &workload, 0, 3);
    for (int i = 0; i < 100000; i++) {
        uint64_t at = arrival_next_ns(&arrival), gap = at - before;
        bool     is_long = gap > 1000000;

        if (is_long ? gap < 59999999 || gap > 200000001 : gap < 9999 || gap > 20001)
            fail_msg("a wait of %llu ns", (unsigned long long)gap);
        observed[is_long]++;
        before = at;
    }
    assert_true(chi_square_fits(observed, expected, 2, "bursty"));
    chi = chi_square_of(observed, inverted, 2);
    assert_true(chi.statistic > chi.critical);
}

static void one_seed_gives_one_schedule(void **state)
{
    struct workload workload;
    struct arrival  a, b, other;
    bool            differs = false;

    (void)state;
    assert_true(workload_load(&workload, "shard-consistent"));
    arrival_begin(&a, &workload, 0, 0);
    arrival_begin(&b, &workload, 0, 0);
    arrival_begin(&other, &workload, 0, 1);
    for (int i = 0; i < 1000; i++) {
        uint64_t at = arrival_next_ns(&a);
        assert_int_equal(at, arrival_next_ns(&b));
        differs = differs || at != arrival_next_ns(&other);
    }
    assert_true(differs);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zipfian_ranks_have_their_exact_probabilities),
        cmocka_unit_test(a_table_for_more_ranks_serves_fewer_exactly),
        cmocka_unit_test(extreme_exponents_and_sizes_neither_hang_nor_leave_the_range),
        cmocka_unit_test(rejection_inversion_draws_from_the_same_distribution),
        cmocka_unit_test(defect_28_the_test_refuses_generators_that_are_known_to_be_wrong),
        cmocka_unit_test(uniform_keys_are_drawn_alike),
        cmocka_unit_test(zipfian_keys_are_drawn_by_their_ranks),
        cmocka_unit_test(exponential_keys_have_their_exact_probabilities),
        cmocka_unit_test(hot_keys_get_their_share_and_no_other_way_round),
        cmocka_unit_test(a_drifting_hot_set_is_hot_at_every_moment_and_even_in_the_long_run),
        cmocka_unit_test(defect_28_a_hot_set_too_fast_to_be_reused_is_refused),
        cmocka_unit_test(latest_follows_the_inserts_exactly),
        cmocka_unit_test(sequential_threads_cover_every_key_once_a_turn),
        cmocka_unit_test(ycsb_compat_draws_what_ycsb_draws),
        cmocka_unit_test(a_permutation_hits_every_number_once),
        cmocka_unit_test(a_permutation_spreads_the_hot_ranks),
        cmocka_unit_test(paced_operations_come_at_the_rate_asked_for),
        cmocka_unit_test(poisson_gaps_are_exponential),
        cmocka_unit_test(defect_28_long_waits_of_bursty_load_are_the_rare_ones),
        cmocka_unit_test(one_seed_gives_one_schedule),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
