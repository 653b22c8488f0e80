#include "engines/base/epoch.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* So many objects or bytes are retired by a session before it looks for what can be freed.  A membarrier costs one or
 * two microseconds while other sessions run, and a few hundred small records are what a cache holds anyway. */
#define COLLECT_COUNT 256
#define COLLECT_BYTES ((size_t)1 << 20)
#define RETRY_COUNT   32  /* when something could not be freed, the next look comes sooner */
#define PATIENCE      200 /* looks at a slot that is in the way before large garbage is left for later */

struct epoch_inner {
    pthread_mutex_t    registry; /* slots */
    struct epoch_slot *slots;
    pthread_mutex_t    pausing; /* held from pause to resume */
    pthread_mutex_t    gate;    /* with opened: where sessions wait for the resume */
    pthread_cond_t     opened;
};

/* Everything that any thread did before this call is seen by all after it, and the other way round. */
static void fence_all_threads(const struct epoch *epoch)
{
    if (epoch->fenced) {
#if !EPOCH_TSAN
        __atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
        return;
    }
    if (syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) != 0) {
        /* It worked at open, and readers count on it: to go on would free memory under them. */
        fprintf(stderr, "membarrier stopped working: %s\n", strerror(errno));
        abort();
    }
}

static uint64_t inside_of(const struct epoch_slot *slot)
{
    return __atomic_load_n(&slot->inside, EPOCH_TSAN ? __ATOMIC_SEQ_CST : __ATOMIC_ACQUIRE);
}

static void breathe(unsigned round)
{
    if (round < 32)
        __builtin_ia32_pause();
    else if (round < 128)
        sched_yield();
    else
        nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL);
}

kv_status epoch_open(struct epoch **out)
{
    struct epoch       *epoch = aligned_alloc(128, 128);
    struct epoch_inner *inner = calloc(1, sizeof *inner);

    *out = NULL;
    if (!epoch || !inner) {
        free(epoch);
        free(inner);
        return kv_fail(KV_NO_MEMORY, "no memory for an epoch");
    }
    *epoch = (struct epoch){.now = 2, .inner = inner};
    epoch->fenced = EPOCH_TSAN || syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0) != 0;
    pthread_mutex_init(&inner->registry, NULL);
    pthread_mutex_init(&inner->pausing, NULL);
    pthread_mutex_init(&inner->gate, NULL);
    pthread_cond_init(&inner->opened, NULL);
    *out = epoch;
    return KV_OK;
}

void epoch_close(struct epoch *epoch)
{
    if (!epoch)
        return;
    assert(!epoch->inner->slots);
    pthread_mutex_destroy(&epoch->inner->registry);
    pthread_mutex_destroy(&epoch->inner->pausing);
    pthread_mutex_destroy(&epoch->inner->gate);
    pthread_cond_destroy(&epoch->inner->opened);
    free(epoch->inner);
    free(epoch);
}

kv_status epoch_slot_open(struct epoch *epoch, struct epoch_slot **out)
{
    struct epoch_slot *slot = aligned_alloc(_Alignof(struct epoch_slot), sizeof *slot);

    *out = NULL;
    if (!slot)
        return kv_fail(KV_NO_MEMORY, "no memory for a session's epoch");
    *slot = (struct epoch_slot){.seen = 1, .epoch = epoch, .collect_at = COLLECT_COUNT, .collect_at_bytes = COLLECT_BYTES};
    if (epoch_reserve(slot, 2 * COLLECT_COUNT) != KV_OK) {
        free(slot);
        return KV_NO_MEMORY;
    }
    pthread_mutex_lock(&epoch->inner->registry);
    slot->next = epoch->inner->slots;
    slot->link = &epoch->inner->slots;
    if (slot->next)
        slot->next->link = &slot->next;
    epoch->inner->slots = slot;
    pthread_mutex_unlock(&epoch->inner->registry);
    *out = slot;
    return KV_OK;
}

void epoch_slot_close(struct epoch_slot *slot)
{
    if (!slot)
        return;
    assert(slot->inside == 0 && !slot->own);
    epoch_collect(slot, true);
    pthread_mutex_lock(&slot->epoch->inner->registry);
    *slot->link = slot->next;
    if (slot->next)
        slot->next->link = slot->link;
    pthread_mutex_unlock(&slot->epoch->inner->registry);
    free(slot->garbage);
    free(slot);
}

kv_status epoch_reserve(struct epoch_slot *slot, size_t count)
{
    size_t                wanted = slot->count + count + EPOCH_SPARE;
    size_t                capacity = slot->capacity ? slot->capacity : 64;
    struct epoch_garbage *garbage;

    if (wanted <= slot->capacity)
        return KV_OK;
    while (capacity < wanted)
        capacity *= 2;
    garbage = realloc(slot->garbage, capacity * sizeof *garbage);
    if (!garbage)
        return kv_fail(KV_NO_MEMORY, "no memory for a list of %zu retired objects", capacity);
    slot->garbage = garbage;
    slot->capacity = capacity;
    return KV_OK;
}

/* True when every slot is outside, or entered at or after `seal`. */
static bool all_passed(struct epoch *epoch, uint64_t seal, unsigned patience)
{
    struct epoch_inner *inner = epoch->inner;
    bool                passed = true;

    pthread_mutex_lock(&inner->registry);
    for (struct epoch_slot *slot = inner->slots; slot && passed; slot = slot->next) {
        for (unsigned round = 0;; round++) {
            uint64_t inside = inside_of(slot);
            passed = inside == 0 || inside >= seal;
            if (passed || round >= patience)
                break;
            breathe(round);
        }
    }
    pthread_mutex_unlock(&inner->registry);
    return passed;
}

static void free_sealed(struct epoch_slot *slot)
{
    size_t sealed = slot->sealed;

    for (size_t i = 0; i < sealed; i++) {
        struct epoch_garbage *item = &slot->garbage[i];
        slot->bytes -= item->bytes;
        item->release(item->context, item->pointer);
    }
    slot->count -= sealed;
    slot->sealed = 0;
    memmove(slot->garbage, slot->garbage + sealed, slot->count * sizeof *slot->garbage);
}

void epoch_release_own(struct epoch_slot *slot)
{
    slot->own_bytes = 0;
    while (slot->own) {
        struct epoch_own *own = slot->own;
        slot->own = own->next;
        own->release(own);
    }
}

/* Waiting is safe here: the caller is outside, so nobody waits for it. */
void epoch_collect(struct epoch_slot *slot, bool wait)
{
    struct epoch *epoch = slot->epoch;
    bool          patient = slot->bytes >= slot->collect_at_bytes; /* as much again has come since the last look */

    assert(slot->inside == 0);
    for (int pass = 0; slot->count && pass < 2; pass++) { /* the second for what came after the seal of the first */
        if (!slot->sealed) {
            /* Whoever enters from now on reads the new epoch, and with it all that was unlinked before. */
            slot->seal = __atomic_add_fetch(&epoch->now, 2, __ATOMIC_SEQ_CST) & ~UINT64_C(1);
            slot->sealed = slot->count;
            fence_all_threads(epoch);
        }
        /* A wait lets go of the registry from time to time, for others who want to look. */
        bool passed;
        do {
            passed = all_passed(epoch, slot->seal, wait || patient ? PATIENCE : 0);
        } while (wait && !passed);
        if (!passed)
            break;
        free_sealed(slot);
    }
    slot->collect_at = slot->count + (slot->count ? RETRY_COUNT : COLLECT_COUNT);
    slot->collect_at_bytes = slot->bytes + COLLECT_BYTES;
    if (epoch_reserve(slot, COLLECT_COUNT) != KV_OK && slot->capacity - slot->count < EPOCH_SPARE)
        epoch_collect(slot, true); /* the next operation must find room */
}

void epoch_pause(struct epoch *epoch)
{
    pthread_mutex_lock(&epoch->inner->pausing);
    __atomic_or_fetch(&epoch->now, 1, __ATOMIC_SEQ_CST);
    fence_all_threads(epoch);
    /* Who enters now sees the bit and turns back, so each slot has to be seen outside only once. */
    while (!all_passed(epoch, UINT64_MAX, PATIENCE))
        continue;
}

void epoch_resume(struct epoch *epoch)
{
    pthread_mutex_lock(&epoch->inner->gate);
    __atomic_and_fetch(&epoch->now, ~UINT64_C(1), __ATOMIC_SEQ_CST);
    pthread_cond_broadcast(&epoch->inner->opened);
    pthread_mutex_unlock(&epoch->inner->gate);
    pthread_mutex_unlock(&epoch->inner->pausing);
}

/* The world is stopped. */
static void wait_outside(struct epoch_slot *slot)
{
    struct epoch_inner *inner = slot->epoch->inner;

    __atomic_store_n(&slot->inside, 0, __ATOMIC_RELEASE);
    pthread_mutex_lock(&inner->gate);
    while (__atomic_load_n(&slot->epoch->now, __ATOMIC_ACQUIRE) & 1)
        pthread_cond_wait(&inner->opened, &inner->gate);
    pthread_mutex_unlock(&inner->gate);
}

void epoch_enter_(struct epoch_slot *slot)
{
    struct epoch *epoch = slot->epoch;

    for (;;) {
        uint64_t now = __atomic_load_n(&epoch->now, __ATOMIC_ACQUIRE) & ~UINT64_C(1);
#if EPOCH_TSAN
        __atomic_exchange_n(&slot->inside, now, __ATOMIC_SEQ_CST);
        if (!(__atomic_load_n(&epoch->now, __ATOMIC_SEQ_CST) & 1))
            return;
#else
        __atomic_store_n(&slot->inside, now, __ATOMIC_RELEASE);
        if (epoch->fenced)
            __atomic_thread_fence(__ATOMIC_SEQ_CST); /* and so each time: seen stays as it was */
        else
            slot->seen = now;
        __atomic_signal_fence(__ATOMIC_SEQ_CST);
        if (!(__atomic_load_n(&epoch->now, __ATOMIC_ACQUIRE) & 1))
            return;
#endif
        wait_outside(slot);
    }
}
