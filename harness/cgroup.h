/*
 * cgroup.h -- one memory budget for a process and what it caches, version 1 or 2 of the kernel's groups.
 *
 * Pages stay charged to whoever read them first, so a limit means nothing before the cache was dropped.
 */
#ifndef ASSAY_HARNESS_CGROUP_H
#define ASSAY_HARNESS_CGROUP_H

#include <stdbool.h>
#include <stdint.h>

struct cgroup {
    char path[512]; /* "" when there is none */
    int  version;   /* 1 or 2 */
};

/* A new group below the caller's own.  False with fail_set() when there is no memory controller or no permission. */
bool cgroup_make(struct cgroup *group, uint64_t memory_bytes);
/* Moves this process, threads included, into the group. */
bool cgroup_enter(const struct cgroup *group);
/* Removes the group; its processes must be gone. */
void cgroup_remove(struct cgroup *group);

#endif
