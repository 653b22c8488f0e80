/*
 * chi_square.h -- does a sample fit its exact probabilities?
 *
 * Bins with fewer than ten expected draws are merged with their neighbours, and the degrees of freedom are the merged
 * bins less one.  The critical value is that of p = 1e-6 (Wilson and Hilferty 1931, a little high for few degrees), so
 * that with a fixed seed a right generator passes for good, and a wrong one, given enough draws, does not.
 */
#ifndef ASSAY_TESTS_CHI_SQUARE_H
#define ASSAY_TESTS_CHI_SQUARE_H

#include <math.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

/* Fewer draws under a sanitizer, which looks for other things and takes twenty times as long. */
#if defined __SANITIZE_THREAD__ || defined __SANITIZE_ADDRESS__
#define DRAWS(count) ((count) / 10)
#else
#define DRAWS(count) (count)
#endif

struct chi_square {
    double statistic, critical;
    size_t degrees;
};

/* expected: probabilities, or anything in proportion to them. */
static inline struct chi_square chi_square_of(const uint64_t *observed, const double *expected, size_t bins)
{
    struct chi_square chi = {0};
    double draws = 0, sum = 0, want = 0, got = 0, left;
    size_t merged = 0;

    for (size_t i = 0; i < bins; i++) {
        draws += (double)observed[i];
        sum += expected[i];
    }
    left = draws;
    for (size_t i = 0; i < bins; i++) {
        want += expected[i] / sum * draws;
        got += (double)observed[i];
        /* What would be left for a last bin of its own must be enough too. */
        if (i + 1 < bins && (want < 10 || left - want < 10))
            continue;
        if (want > 0)
            chi.statistic += (got - want) * (got - want) / want;
        else if (got > 0)
            chi.statistic = INFINITY;
        left -= want;
        want = got = 0;
        merged++;
    }
    chi.degrees = merged ? merged - 1 : 0;
    if (chi.degrees) {
        double d = 2.0 / (9.0 * (double)chi.degrees);
        chi.critical = (double)chi.degrees * pow(1 - d + 4.753424 * sqrt(d), 3);
    }
    return chi;
}

static inline bool chi_square_fits(const uint64_t *observed, const double *expected, size_t bins, const char *what)
{
    struct chi_square chi = chi_square_of(observed, expected, bins);
    bool fits = chi.degrees ? chi.statistic <= chi.critical : chi.statistic <= 1e-9;

    if (!fits)
        fprintf(stderr, "%s: chi-square %.1f, %zu degrees of freedom, critical %.1f\n", what, chi.statistic,
                chi.degrees, chi.critical);
    return fits;
}

#endif
