/* write.h -- puts, deletes, batches and read-modify-writes. */
#ifndef ASSAY_ENGINES_LSM_WRITE_H
#define ASSAY_ENGINES_LSM_WRITE_H

#include "engines/engine.h"

kv_status lsm_put(struct kv_session *session, slice key, slice value);
kv_status lsm_del(struct kv_session *session, slice key);
kv_status lsm_modify(struct kv_session *session, slice key, kv_change *change, void *arg);
kv_status lsm_write(struct kv_session *session, const struct kv_write *writes, size_t count);

#endif
