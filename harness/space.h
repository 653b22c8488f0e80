/* space.h -- what a store's directory takes on disk; and its end. */
#ifndef ASSAY_HARNESS_SPACE_H
#define ASSAY_HARNESS_SPACE_H

#include <stdbool.h>
#include <stdint.h>

/* Allocated bytes (st_blocks) of all files below dir; files that vanish meanwhile are not counted. */
uint64_t space_used_bytes(const char *dir);
/* Free for this user on the file system of dir; KV_UNKNOWN when it cannot be told. */
uint64_t space_free_bytes(const char *dir);
/* Removes dir and all below, links not followed.  Silent: what cannot be removed stays. */
void space_remove(const char *dir);
/* Writes dirty pages and drops the pages of every file below dir from the page cache.  With root all clean caches of
 * the machine go too.  False when nothing could be dropped. */
bool space_drop_cache(const char *dir);

#endif
