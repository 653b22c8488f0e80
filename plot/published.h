/* published.h -- figures that others have published of a workload that is a preset here, to stand beside ours. */
#ifndef ASSAY_PLOT_PUBLISHED_H
#define ASSAY_PLOT_PUBLISHED_H

#include <stddef.h>

/* A stretch of the workload that was timed, by the names that it has in a result; part "" for one without. */
struct published_step {
    const char *phase, *part, *title;
};

#define PUBLISHED_STEPS 4

struct published_row {
    const char *engine; /* the label that a run of ours gives to the same */
    double      seconds[PUBLISHED_STEPS]; /* 0: not published */
};

struct published {
    const char                 *workload, *source;
    struct published_step       step[PUBLISHED_STEPS];
    const struct published_row *row;
    size_t                      rows;
};

/* NULL: nobody has. */
const struct published *published_of(const char *workload);
/* Of that row and step; NaN: not published. */
double published_seconds(const struct published *published, const char *engine, size_t step);

#endif
