/*
 * commit.h -- tier commit: writes that are acknowledged when they are on the disk, many with one sync.
 */
#ifndef ASSAY_ENGINES_BITCASK_COMMIT_H
#define ASSAY_ENGINES_BITCASK_COMMIT_H

#include "engines/bitcask/store.h"

/* One session's write on its way; belongs to the session that waits for it. */
struct commit_request {
    struct group_request base;        /* first; its bytes are those in the log */
    struct log_write    *writes;
    size_t               count;
    bool                 batch;       /* all or none */
    bool                 conditional; /* one write, only if the keydir still has `expected` for its key (0: none) */
    bool                 lost;        /* the condition did not hold; nothing was written */
    uint64_t             expected;
};

kv_status commit_open(struct bitcask *store);
void commit_close(struct bitcask *store);

/* Returns when the keydir knows of every record that was in a sealed segment at the call. */
void commit_wait_applied(struct bitcask *store);

MUST_USE kv_status commit_request_open(struct commit_request **out);
void commit_request_close(struct commit_request *request); /* NULL is fine */

/* Outside of the epoch.  Fill in writes (type, key, value, hash), count, batch and conditional; then look at lost. */
MUST_USE kv_status commit_write(struct bitcask_session *session, struct commit_request *request);

#endif
