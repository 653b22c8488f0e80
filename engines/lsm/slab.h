/*
 * slab.h -- memory for cached blocks: pieces of like size side by side on huge pages.
 *
 * A miss of the cache would else pay the system for fresh pages, and a hit for a translation of each; both cost more than the
 * block's work.  A slab has pieces of one size class (32 classes a doubling, so 3 % are lost at most); one whose last piece has
 * come back serves any class.  After Bonwick (1994).  Memory goes back to the system when all is closed: there is never more than
 * the most that was in use at a time, and a slab that is partly free for each class.
 * Larger pieces, and under AddressSanitizer all, are malloc's.  Any thread.
 */
#ifndef ASSAY_ENGINES_LSM_SLAB_H
#define ASSAY_ENGINES_LSM_SLAB_H

#include <stddef.h>
#include <stdint.h>

struct slabs;

struct slabs *slabs_open(void);          /* NULL without memory */
void slabs_close(struct slabs *slabs);   /* when all pieces have come back; NULL is fine */

/* At least *bytes; how many there are, and have to be given back, is in *bytes then.  NULL without memory. */
void *slabs_take(struct slabs *slabs, size_t *bytes);
void slabs_give(struct slabs *slabs, void *piece, size_t bytes);
uint64_t slabs_bytes(const struct slabs *slabs); /* taken from the system; without malloc's */

#endif
