/* recover.h -- the two halves of recovery: recover_files.c knows the directory, recover.c the records. */
#ifndef ASSAY_ENGINES_BITCASK_RECOVER_H
#define ASSAY_ENGINES_BITCASK_RECOVER_H

#include "engines/bitcask/store.h"

struct ids {
    uint64_t *id;
    size_t    count, capacity;
};

struct log_file {
    struct segment     *segment;
    enum segment_verdict verdict;
    uint64_t            scanned_from; /* records from here on were read from the segment itself */
    bool                hinted;       /* to its very end */
};

struct recovery {
    struct bitcask        *store;
    struct epoch_slot     *slot;
    struct ids             merged_ids, log_ids, hint_ids, superseded;
    struct log_file       *logs;
    size_t                 log_count;
    struct segment       **merged; /* those that are not superseded */
    size_t                 merged_count;
    struct segment_ranges  covered; /* log records whose fate a merged segment decided */
    struct buf             tombstones;
    uint64_t               hinted;      /* entries of all hints */
    uint64_t               durable_seq; /* the highest claim that was found */
    uint64_t               last_seq;    /* of the log so far */
};

/* Fills in the three lists of numbers, and next_id of the store; removes temporary files.  Takes the claims of hints. */
MUST_USE kv_status recover_list(struct recovery *recovery);
/* Opens the segments and reads their headers; merged ones first, because they say which others are superseded. */
MUST_USE kv_status recover_load_merged(struct recovery *recovery);
MUST_USE kv_status recover_load_logs(struct recovery *recovery);
MUST_USE kv_status recover_remove_superseded(struct recovery *recovery);
MUST_USE kv_status recover_remove(struct recovery *recovery, uint64_t id, const char *ending);

#endif
