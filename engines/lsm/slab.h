/*
 * slab.h -- memory for cached blocks: pieces of like size side by side on huge pages.
 *
 * A miss of the cache would else pay the system for fresh pages, and a hit for a translation of each; both cost more than the
 * block's work.  A slab has pieces of one size class (a step of 64 bytes up to 2 KiB, then 32 classes a doubling; what does not fill
 * a slab is lost, a hundredth with pieces of 4 KiB, a seventh at worst with those of 28 KiB).  One whose last piece has come back
 * serves any class.  After Bonwick (1994).
 * Memory goes back to the system when all is closed.  A piece that stays keeps its whole slab in its class: where blocks of
 * another size take over for good, the few old ones that stay in the cache hold memory beyond its budget, which the figure
 * memory_bytes tells.
 * A larger piece is a mapping of its own, so its memory is nobody's when it is not needed; the last few MiB that came back are kept for the
 * next.  Under AddressSanitizer all are malloc's.  Any thread.
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
uint64_t slabs_bytes(const struct slabs *slabs); /* taken from the system; 0 where all are malloc's */

#endif
