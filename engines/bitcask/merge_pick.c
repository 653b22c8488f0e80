/*
 * merge_pick.c -- when to merge what: Bitcask's triggers (a segment that is mostly dead) and its rules for what joins in
 * (enough dead bytes, or smallness), in a thread of its own and for compact.
 */
#include "engines/bitcask/merge_pick.h"

#include <stdlib.h>

#include "common/clock.h"
#include "engines/bitcask/merge.h"
#include "engines/bitcask/store.h"

#define RETRY_NS NS_PER_S /* after a merge that failed for want of space */

static uint64_t size_of(const struct segment *segment)
{
    return segment->end - SEGMENT_FIRST;
}

/* Bytes that a merge would write again, at most. */
static uint64_t kept_of(const struct segment *segment)
{
    return size_of(segment) - (segment->dead_bytes < size_of(segment) ? segment->dead_bytes : size_of(segment));
}

static double dead_part(const struct segment *segment, bool tombstones)
{
    uint64_t dead = segment->dead_bytes + (tombstones ? segment->tombstone_bytes : 0);

    return size_of(segment) ? (double)dead / (double)size_of(segment) : 0;
}

/* Where log_displaced should wake the merger. */
void merge_watch(struct bitcask *store, struct segment *segment)
{
    double bytes = store->options.merge_trigger * (double)size_of(segment);

    segment->wake_at = bytes < (double)store->options.merge_trigger_bytes ? (uint64_t)bytes : store->options.merge_trigger_bytes;
    if (segment->dead_bytes >= segment->wake_at)
        segments_changed(store);
}

static bool triggers(const struct options *options, const struct segment *segment)
{
    return size_of(segment) > 0 && (dead_part(segment, false) >= options->merge_trigger ||
                                    segment->dead_bytes >= options->merge_trigger_bytes);
}

static bool joins(const struct options *options, const struct segment *segment)
{
    return triggers(options, segment) || dead_part(segment, true) >= options->merge_threshold ||
           size_of(segment) < options->merge_small_bytes;
}

static int most_dead_first(const void *a, const void *b)
{
    double x = dead_part(*(struct segment *const *)a, true), y = dead_part(*(struct segment *const *)b, true);

    return (x < y) - (x > y);
}

/* Under log.lock and segments.lock.  Settled segments that fit the rule, as many as make up one output. */
static size_t pick(struct bitcask *store, struct segment **out)
{
    bool     triggered = false;
    size_t   found = 0, taken = 0;
    uint64_t kept = 0;

    for (size_t i = 0; i < store->segments.count; i++) {
        struct segment *segment = store->segments.all[i];
        if (!segment->settled || segment->spoiled || !joins(&store->options, segment))
            continue;
        triggered |= triggers(&store->options, segment);
        out[found++] = segment;
    }
    if (!triggered)
        return 0;
    qsort(out, found, sizeof(struct segment *), most_dead_first);
    while (taken < found && (taken == 0 || kept + kept_of(out[taken]) <= store->options.segment_bytes))
        kept += kept_of(out[taken++]);
    return taken;
}

static struct segment **list_for(struct bitcask *store)
{
    struct segment **list = malloc((store->segments.count + 1) * sizeof(struct segment *));

    if (!list)
        fail_set("no memory for a list of segments");
    return list;
}

uint64_t merge_debt(struct bitcask *store)
{
    struct segment **list;
    uint64_t         debt = 0;

    pthread_mutex_lock(&store->log.lock);
    pthread_mutex_lock(&store->segments.lock);
    for (struct segment *segment = store->segments.settle_first; segment; segment = segment->next)
        debt += size_of(segment);
    debt += store->segments.merging_bytes; /* until the very end, when its inputs are gone already */
    if (store->merger_runs && !store->segments.merging && (list = list_for(store)) != NULL) {
        size_t picked = pick(store, list);
        for (size_t i = 0; i < picked; i++)
            debt += size_of(list[i]);
        free(list);
    }
    pthread_mutex_unlock(&store->segments.lock);
    pthread_mutex_unlock(&store->log.lock);
    return debt;
}

/* The background. */

static void update_throttle(struct bitcask *store)
{
    pthread_mutex_lock(&store->log.lock);
    log_check_throttle(store);
    pthread_mutex_unlock(&store->log.lock);
    segments_changed(store);
}

/* One merge, if there is need for one; *merged says whether there was. */
static kv_status merge_if_due(struct bitcask *store, struct epoch_slot *slot, bool *merged)
{
    struct segment **inputs;
    size_t           picked = 0;
    kv_status        status = KV_OK;

    pthread_mutex_lock(&store->log.lock);
    pthread_mutex_lock(&store->segments.lock);
    inputs = list_for(store);
    if (inputs && !store->segments.merging && !store_failed(store))
        picked = pick(store, inputs);
    if (picked)
        store->segments.merging = true;
    for (size_t i = 0; i < picked; i++)
        store->segments.merging_bytes += size_of(inputs[i]);
    pthread_mutex_unlock(&store->segments.lock);
    pthread_mutex_unlock(&store->log.lock);
    if (picked) {
        status = merge_run(store, slot, inputs, picked);
        pthread_mutex_lock(&store->segments.lock);
        store->segments.merging = false;
        store->segments.merging_bytes = 0;
        pthread_mutex_unlock(&store->segments.lock);
        update_throttle(store);
    }
    *merged = picked > 0;
    free(inputs);
    return status;
}

static void rest(struct bitcask *store)
{
    uint64_t        until_ns = clock_now_ns() + RETRY_NS;
    struct timespec until = {.tv_sec = (time_t)(until_ns / NS_PER_S), .tv_nsec = (long)(until_ns % NS_PER_S)};

    pthread_mutex_lock(&store->segments.lock);
    while (!store->segments.merger_stops &&
           pthread_cond_timedwait(&store->segments.cond, &store->segments.lock, &until) == 0)
        continue;
    pthread_mutex_unlock(&store->segments.lock);
}

static void *merge_on_and_on(void *arg)
{
    struct bitcask *store = arg;
    bool            merged = true;
    uint64_t        seen = 0;

    for (;;) {
        pthread_mutex_lock(&store->segments.lock);
        while (!merged && seen == store->segments.changes && !store->segments.merger_stops)
            pthread_cond_wait(&store->segments.cond, &store->segments.lock);
        seen = store->segments.changes;
        if (store->segments.merger_stops) {
            pthread_mutex_unlock(&store->segments.lock);
            return NULL;
        }
        pthread_mutex_unlock(&store->segments.lock);
        if (merge_if_due(store, store->merger_slot, &merged) != KV_OK) {
            count(&store->counters.merge_failures, 1);
            rest(store);
        }
    }
}

kv_status merge_thread_start(struct bitcask *store)
{
    int failed;

    if (!store->options.merge)
        return KV_OK;
    TRY(epoch_slot_open(store->epoch, &store->merger_slot));
    store->merger_runs = true; /* before it does, for it reads this */
    failed = pthread_create(&store->merger, NULL, merge_on_and_on, store);
    if (failed)
        store->merger_runs = false;
    return failed ? kv_fail(KV_NO_MEMORY, "no thread for merges: %s", strerror(failed)) : KV_OK;
}

void merge_thread_stop(struct bitcask *store)
{
    pthread_mutex_lock(&store->segments.lock);
    __atomic_store_n(&store->segments.merger_stops, true, __ATOMIC_RELEASE);
    pthread_cond_broadcast(&store->segments.cond);
    pthread_mutex_unlock(&store->segments.lock);
    if (store->merger_runs)
        pthread_join(store->merger, NULL);
    store->merger_runs = false;
    epoch_slot_close(store->merger_slot);
    store->merger_slot = NULL;
}

/* compact. */

static int oldest_first(const void *a, const void *b)
{
    const struct segment *x = *(struct segment *const *)a, *y = *(struct segment *const *)b;

    return (x->id > y->id) - (x->id < y->id);
}

/* Settled segments up to a number that have something to give back.  *list is the caller's. */
static kv_status list_worthwhile(struct bitcask *store, uint64_t id_max, bool tombstones_only, struct segment ***list,
                                 size_t *count)
{
    size_t found = 0;

    pthread_mutex_lock(&store->log.lock);
    pthread_mutex_lock(&store->segments.lock);
    *list = list_for(store);
    for (size_t i = 0; *list && i < store->segments.count; i++) {
        struct segment *segment = store->segments.all[i];
        bool            dead = segment->dead_bytes > 0 || size_of(segment) < store->options.segment_bytes / 2;
        if (segment->settled && segment->id <= id_max && ((dead && !tombstones_only) || segment->tombstone_bytes > 0))
            (*list)[found++] = segment;
    }
    pthread_mutex_unlock(&store->segments.lock);
    pthread_mutex_unlock(&store->log.lock);
    if (!*list)
        return KV_NO_MEMORY;
    qsort(*list, found, sizeof(struct segment *), oldest_first);
    *count = found;
    return KV_OK;
}

static kv_status merge_in_groups(struct bitcask *store, struct epoch_slot *slot, struct segment **list, size_t count)
{
    for (size_t from = 0, to; from < count; from = to) {
        uint64_t kept = 0;
        pthread_mutex_lock(&store->log.lock);
        for (to = from; to < count && (to == from || kept + kept_of(list[to]) <= store->options.segment_bytes); to++)
            kept += kept_of(list[to]);
        pthread_mutex_unlock(&store->log.lock);
        TRY(merge_run(store, slot, list + from, to - from));
    }
    return KV_OK;
}

static kv_status merge_pass(struct bitcask *store, struct epoch_slot *slot, uint64_t id_max, bool tombstones_only)
{
    struct segment **list;
    size_t           count = 0;
    kv_status        status = list_worthwhile(store, id_max, tombstones_only, &list, &count);

    if (status == KV_OK)
        status = merge_in_groups(store, slot, list, count);
    free(list);
    return status;
}

kv_status merge_everything(struct bitcask *store, struct epoch_slot *slot)
{
    kv_status status = KV_OK;

    log_seal(store);
    pthread_mutex_lock(&store->segments.lock);
    while ((store->segments.settle_first || store->segments.merging) && !store_failed(store))
        pthread_cond_wait(&store->segments.cond, &store->segments.lock);
    if (!store_failed(store))
        store->segments.merging = true;
    else
        status = KV_IO;
    pthread_mutex_unlock(&store->segments.lock);
    if (status != KV_OK)
        return store_refuses(store);
    status = merge_pass(store, slot, __atomic_load_n(&store->segments.next_id, __ATOMIC_RELAXED) - 1, false);
    if (status == KV_OK) /* tombstones that the first pass kept because a later group had something older */
        status = merge_pass(store, slot, UINT64_MAX, true);
    pthread_mutex_lock(&store->segments.lock);
    store->segments.merging = false;
    pthread_mutex_unlock(&store->segments.lock);
    update_throttle(store);
    return status;
}
