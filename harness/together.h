/*
 * together.h -- several load generators that ran at the same time, on one host or many, against one server: their cells
 * added into one.
 *
 * Counts and histograms are added exactly.  Rates are added too, which is right as far as the generators really ran at once:
 * each phase says when it began, and what did not overlap becomes a warning of the cell.
 */
#ifndef ASSAY_HARNESS_TOGETHER_H
#define ASSAY_HARNESS_TOGETHER_H

#include <jansson.h>
#include <stddef.h>

/* A new array: one cell for each engine and round of the first file.  NULL with fail_set(). */
json_t *together_cells(json_t *const *roots, const char *const *paths, size_t count);

#endif
