/*
 * compare.h -- what rounds add up to: medians that keep their samples, and paired ratios with a confidence interval.
 *
 * Rounds interleave the engines, so a ratio is taken within a round, where both met the same machine.  The interval is
 * the percentile bootstrap of the median ratio (Efron 1979).
 */
#ifndef ASSAY_HARNESS_COMPARE_H
#define ASSAY_HARNESS_COMPARE_H

#include <jansson.h>
#include <stddef.h>

#define COMPARE_RESAMPLES 10000
#define COMPARE_ROUNDS_MIN 3 /* below, an interval would mean nothing */

/* Both leave the samples in another order.  count > 0. */
double compare_median(double *samples, size_t count);
/* 95 % of the resampled medians lie in [low, high]. */
void compare_bootstrap(const double *samples, size_t count, double *low, double *high);

/* The arrays "summary" and "ratios" of a bench result from its cells; baseline is the label of an engine.  New
 * references. */
json_t *compare_summary(const json_t *cells);
json_t *compare_ratios(const json_t *cells, const char *baseline);

#endif
