/*
 * iterate.h -- entries of several memtables and runs in one order: keys ascending, of one key the youngest first.
 *
 * A heap of sources, the one with the smallest entry on top.  What an iterator reads is kept by whoever opened it (a view, or
 * the inputs of a compaction).  One thread; outside the epoch.
 */
#ifndef ASSAY_ENGINES_LSM_ITERATE_H
#define ASSAY_ENGINES_LSM_ITERATE_H

#include "engines/lsm/memtable.h"
#include "engines/lsm/version.h"

struct source;

struct iterator {
    struct source **heap; /* those that are not at their end come first */
    size_t          count, live;
    struct buf      last; /* key of the entry that iterator_next_key passes over */
    kv_status       status; /* why it ended early */
    char            said[256];
};

/* Room for so many sources. */
MUST_USE kv_status iterator_open(struct iterator *iterator, size_t sources_max);
void iterator_close(struct iterator *iterator);
MUST_USE kv_status iterator_add_memtable(struct iterator *iterator, struct memtable *memtable, uint64_t seq);
/* Tables that do not overlap, in key order; the array must stay. */
MUST_USE kv_status iterator_add_tables(struct iterator *iterator, struct table *const *tables, size_t count, struct epoch_slot *slot,
                                       bool streams);

/* To the first entry whose key is not below first.  False at the end, and after a failure, which `status` tells apart. */
bool iterator_seek(struct iterator *iterator, slice first);
const struct entry *iterator_entry(const struct iterator *iterator);
bool iterator_next(struct iterator *iterator);
/* To the youngest entry of the next key. */
bool iterator_next_key(struct iterator *iterator);

#endif
