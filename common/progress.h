/*
 * progress.h -- one line on stderr that says how far long work is; silent when stderr is no terminal.
 */
#ifndef ASSAY_COMMON_PROGRESS_H
#define ASSAY_COMMON_PROGRESS_H

#include <stdint.h>

struct progress {
    const char *unit;       /* "ops", "kills" */
    uint64_t    total;      /* 0: unknown */
    uint64_t    started_ns;
    uint64_t    shown_ns;   /* when the line was last drawn */
    int         live;
};

void progress_start(struct progress *progress, const char *unit, uint64_t total);
/* Draws at most ten times a second: label, done, rate, time left.  Cheap enough for a loop that is not measured. */
void progress_show(struct progress *progress, const char *label, uint64_t done);
/* Wipes the line, so that what is printed next stands alone. */
void progress_end(struct progress *progress);

#endif
