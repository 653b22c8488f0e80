/* merge_pick.h -- which segments to merge, and when; merge.h is what a merge is. */
#ifndef ASSAY_ENGINES_BITCASK_MERGE_PICK_H
#define ASSAY_ENGINES_BITCASK_MERGE_PICK_H

#include <stddef.h>

#include "engines/base/status.h"

struct bitcask;
struct epoch_slot;
struct segment;

/* merge.c: one merge of these, which must be settled.  One at a time.  slot is the caller's, outside. */
MUST_USE kv_status merge_run(struct bitcask *store, struct epoch_slot *slot, struct segment **inputs, size_t count);

#endif
