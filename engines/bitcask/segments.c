/* segments.c -- which segments there are: their slots, their numbers, and when one that was merged away is let go. */
#include <stdlib.h>

#include "engines/bitcask/store.h"

static kv_status grow(struct bitcask *store)
{
    size_t           capacity = store->segments.capacity ? store->segments.capacity * 2 : 16;
    struct segment **all = realloc(store->segments.all, capacity * sizeof(struct segment *));

    if (!all)
        return kv_fail(KV_NO_MEMORY, "no memory for the list of segments");
    store->segments.all = all;
    store->segments.capacity = capacity;
    return KV_OK;
}

static kv_status find_slot(struct bitcask *store, struct segment *segment)
{
    for (uint32_t slot = 0; slot < SEGMENT_SLOTS; slot++) {
        if (store->slot[slot])
            continue;
        segment->slot = slot;
        __atomic_store_n(&store->slot[slot], segment, __ATOMIC_RELEASE);
        return KV_OK;
    }
    return kv_fail(KV_NO_SPACE, "%s has %u segments, and can have no more; make segment_bytes larger", store->dir.path,
                   SEGMENT_SLOTS);
}

kv_status segments_add(struct bitcask *store, struct segment *segment)
{
    kv_status status = KV_OK;

    pthread_mutex_lock(&store->segments.lock);
    if (store->segments.count == store->segments.capacity)
        status = grow(store);
    if (status == KV_OK && (status = find_slot(store, segment)) == KV_OK)
        store->segments.all[store->segments.count++] = segment;
    pthread_mutex_unlock(&store->segments.lock);
    return status;
}

void segments_remove(struct bitcask *store, struct segment *segment)
{
    pthread_mutex_lock(&store->segments.lock);
    for (size_t i = 0; i < store->segments.count; i++) {
        if (store->segments.all[i] != segment)
            continue;
        store->segments.all[i] = store->segments.all[--store->segments.count];
        break;
    }
    pthread_mutex_unlock(&store->segments.lock);
}

void segments_changed(struct bitcask *store)
{
    pthread_mutex_lock(&store->segments.lock);
    store->segments.changes++;
    pthread_cond_broadcast(&store->segments.cond);
    pthread_mutex_unlock(&store->segments.lock);
}

uint64_t segments_new_id(struct bitcask *store)
{
    return __atomic_fetch_add(&store->segments.next_id, 1, __ATOMIC_RELAXED);
}

/* Readers are out of sight of what was retired when epoch_collect has waited for them; snapshots say so themselves. */
static void let_go(void *context, void *pointer)
{
    struct bitcask *store = context;
    struct segment *segment = pointer;

    pthread_mutex_lock(&store->segments.lock);
    __atomic_store_n(&store->slot[segment->slot], NULL, __ATOMIC_RELEASE);
    pthread_mutex_unlock(&store->segments.lock);
    segment_free(segment);
}

void segments_reap(struct bitcask *store, struct epoch_slot *slot)
{
    struct segment *segment = NULL;

    pthread_mutex_lock(&store->segments.lock);
    if (store->segments.pins == 0) {
        segment = store->segments.retired;
        store->segments.retired = NULL;
    }
    pthread_mutex_unlock(&store->segments.lock);
    for (struct segment *next; segment; segment = next) {
        next = segment->next;
        if (epoch_reserve(slot, 1) != KV_OK)
            epoch_collect(slot, true);
        epoch_retire(slot, segment, segment->capacity, let_go, store);
    }
    epoch_collect(slot, true);
}
