/*
 * checkpoints.h -- when to checkpoint, and when to refuse a write, for an engine of others that keeps a log.
 *
 * A thread calls the engine's checkpoint when so many bytes were written since the last one, or when the oldest write since
 * is so old: with that the log, and recovery, stay short.  And since most engines do not survive a full disk (a failed write
 * of the log ends them), each write is admitted only while the file system has room for it, for what the engine still has
 * to write from memory, and for a reserve with which it can be closed, opened and recovered.
 */
#ifndef ASSAY_ENGINES_BASE_CHECKPOINTS_H
#define ASSAY_ENGINES_BASE_CHECKPOINTS_H

#include <stdint.h>

#include "engines/base/status.h"

struct checkpoints;

/* Writes what memory holds to the engine's files, and drops the log that this makes needless.  Called by one thread at a time:
 * the helper's, or one that waits in checkpoints_now or checkpoints_admit. */
typedef kv_status checkpoints_run(void *arg);

struct checkpoints_plan {
    const char      *dir;           /* in the file system that fills; lent until checkpoints_stop */
    uint64_t         bytes;         /* a checkpoint after so many bytes of keys and values */
    uint64_t         period_ns;     /* or so long after the first write behind the last one */
    uint64_t         reserve_bytes; /* of the disk, never to be used by a write */
    checkpoints_run *run;
    void            *arg;
};

/* NULL, with a sentence, without memory or threads. */
struct checkpoints *checkpoints_start(const struct checkpoints_plan *plan);
/* Before a write of `bytes` of keys and values; any thread.  KV_NO_SPACE when the disk has no room even after a checkpoint,
 * KV_IO, with the first sentence, once a checkpoint has failed. */
MUST_USE kv_status checkpoints_admit(struct checkpoints *checkpoints, uint64_t bytes);
/* A checkpoint, at once and waited for. */
MUST_USE kv_status checkpoints_now(struct checkpoints *checkpoints);
/* How many there were. */
uint64_t checkpoints_count(const struct checkpoints *checkpoints);
/* Waits for one under way and ends the thread.  NULL is fine. */
void checkpoints_stop(struct checkpoints *checkpoints);

#endif
