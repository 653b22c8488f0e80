/*
 * scratch.h -- a directory for one run, which is gone after it, however the run ended.
 *
 * The run holds a lock on its directory (flock), which ends with the last of its processes.  Who makes one removes first what
 * dead runs left beside it: directories of the same name and user whose lock nobody holds.
 */
#ifndef ASSAY_COMMON_SCRATCH_H
#define ASSAY_COMMON_SCRATCH_H

#include <limits.h>
#include <stdbool.h>

struct scratch {
    char path[PATH_MAX]; /* "": there is none */
    int  fd;             /* holds the lock */
};

/* PARENT/assay-run-WHAT-XXXXXX.  False with fail_set(). */
bool scratch_make(struct scratch *scratch, const char *parent, const char *what);
/* With all that is in it; what cannot be removed stays.  One that is zeroed, or was removed, is fine. */
void scratch_remove(struct scratch *scratch);

#endif
