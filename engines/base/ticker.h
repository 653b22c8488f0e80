/*
 * ticker.h -- the tier `interval:T` for an engine that can sync but has no clock of its own.
 *
 * A thread syncs when the oldest write that is not durable is T/2 old.  ticker_wrote stands between a write and its
 * acknowledgement, and holds it up when a sync comes so late that the promise would break: nothing is acknowledged while
 * something older than T is not durable.
 */
#ifndef ASSAY_ENGINES_BASE_TICKER_H
#define ASSAY_ENGINES_BASE_TICKER_H

#include <stdbool.h>
#include <stdint.h>

#include "engines/base/status.h"

struct ticker;

/* Makes durable all writes that returned before the call.  Called by the ticker's thread alone. */
typedef kv_status ticker_sync(void *arg);

/* NULL, with a sentence, without memory or threads. */
struct ticker *ticker_start(uint64_t interval_ns, ticker_sync *sync, void *arg);
/* After each write, before it is acknowledged; any thread.  KV_IO, with the first sentence, once a sync has failed: a failed
 * sync is never retried.  A NULL ticker (another tier) is KV_OK. */
MUST_USE kv_status ticker_wrote(struct ticker *ticker);
/* Waits for a sync under way and ends the thread; what was written since is the caller's to sync.  NULL is fine. */
void ticker_stop(struct ticker *ticker);

#endif
