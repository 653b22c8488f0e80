/* read.h -- gets and scans. */
#ifndef ASSAY_ENGINES_LSM_READ_H
#define ASSAY_ENGINES_LSM_READ_H

#include "engines/lsm/iterate.h"
#include "engines/lsm/store.h"

kv_status lsm_get(struct kv_session *session, slice key, kv_visit *visit, void *arg);
kv_status lsm_get_many(struct kv_session *session, const slice *keys, size_t count, kv_visit_many *visit, void *arg);
kv_status lsm_scan(struct kv_session *session, slice first, kv_visit *visit, void *arg);
kv_status lsm_snapshot(struct kv_session *session, int fd);

/* A moment of the store: a view, and the number up to which it counts. */
struct moment {
    struct view    *view;
    uint64_t        seq;
    struct iterator iterator;
};

MUST_USE kv_status moment_open(struct moment *moment, struct lsm_session *session, bool streams);
void moment_close(struct moment *moment);
/* The first live entry from where the iterator stands; false at the end or after a failure (iterator.status). */
bool moment_live(struct moment *moment, bool more);

#endif
