/* ops.h -- the calls of a session, for the table in bitcask.c. */
#ifndef ASSAY_ENGINES_BITCASK_OPS_H
#define ASSAY_ENGINES_BITCASK_OPS_H

#include "engines/engine.h"

/* write.c */
kv_status ops_put(struct kv_session *session, slice key, slice value);
kv_status ops_del(struct kv_session *session, slice key);
kv_status ops_modify(struct kv_session *session, slice key, kv_change *change, void *arg);
kv_status ops_write(struct kv_session *session, const struct kv_write *writes, size_t count);

/* read.c */
kv_status ops_get(struct kv_session *session, slice key, kv_visit *visit, void *arg);
kv_status ops_get_many(struct kv_session *session, const slice *keys, size_t count, kv_visit_many *visit, void *arg);
kv_status ops_scan(struct kv_session *session, slice first, kv_visit *visit, void *arg);

/* snapshot.c */
kv_status ops_snapshot(struct kv_session *session, int fd);

#endif
