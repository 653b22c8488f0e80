/*
 * calibrate.h -- what this machine and this disk can do, in the terms that engines use.
 *
 * A synced engine cannot commit faster than the device syncs, nor an index answer faster than memory does: the figures
 * of a benchmark mean little without these beside them.  Group commit is measured as the best engines do it: one leader
 * takes all that wait, one write and one fdatasync, leadership handed over at once, one futex per waiter.
 */
#ifndef ASSAY_HARNESS_CALIBRATE_H
#define ASSAY_HARNESS_CALIBRATE_H

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

/*
 * Measures in a private folder under dir, which must exist, and removes it again.  Takes about budget_ns; below 10 s the
 * files and the memory that it works on are smaller.  A quantity that cannot be had here is null.
 *
 * Returns a new reference, or NULL with fail_set(): an I/O error, a full disk, or Ctrl-C.  One call at a time.
 */
json_t *calibrate_json(const char *dir, uint64_t budget_ns);

/* The same as a table for people. */
void calibrate_print(FILE *stream, const json_t *calibration);

#endif
