/*
 * epoch.h -- when may memory be freed that other sessions read without a lock?  When all have left that could see it.
 *
 * Each session has a slot.  Around every operation on shared structures it calls epoch_enter and epoch_exit; what it
 * found in between stays valid until the exit.  Whoever unlinks something hands it to epoch_retire instead of free();
 * it is freed, in bulk, when every slot has been outside, or has entered anew, since.
 *
 * Entering costs a store and a look whether the epoch is still the one that the session saw last: the fence that the reader
 * would need is paid by the side that collects, once per some hundred objects, with membarrier(2).  That is the asymmetric fence of liburcu
 * (urcu-memb); the epochs are Fraser's, with a slot for each session as in FASTER.  Where membarrier is missing, and
 * under ThreadSanitizer, the reader has a fence of its own.
 *
 * A slot belongs to one thread at a time.  Enter does not nest.  A session that stays inside keeps everything from
 * being freed: copy what a slow consumer needs, then leave.
 */
#ifndef ASSAY_ENGINES_BASE_EPOCH_H
#define ASSAY_ENGINES_BASE_EPOCH_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "engines/base/status.h"

#if defined(__SANITIZE_THREAD__)
#define EPOCH_TSAN 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define EPOCH_TSAN 1
#endif
#endif
#ifndef EPOCH_TSAN
#define EPOCH_TSAN 0
#endif

#define EPOCH_SPARE 8 /* retirements that every operation has room for without epoch_reserve */

typedef void epoch_free(void *context, void *pointer);

struct epoch_garbage {
    void       *pointer;
    epoch_free *release;
    void       *context;
    size_t      bytes;
};

/* Part of something that only one session has seen. */
struct epoch_own {
    struct epoch_own *next;
    void (*release)(struct epoch_own *own);
};

struct epoch {
    uint64_t now;    /* the epoch, counted in twos; bit 0: the world is stopped */
    bool     fenced; /* readers must fence: there is no membarrier */
    struct epoch_inner *inner;
};

/* One for each session; on cache lines of its own. */
struct epoch_slot {
    _Alignas(128) uint64_t inside; /* 0, or the epoch in which the session entered */
    uint64_t              seen;    /* the epoch when it entered last; 1, which none is: look anew */
    struct epoch         *epoch;
    struct epoch_garbage *garbage; /* oldest first; the first `sealed` wait for all to pass `seal` */
    size_t                count, capacity, sealed, collect_at;
    size_t                bytes, collect_at_bytes; /* of the garbage */
    uint64_t              seal;
    struct epoch_own     *own;     /* goes at the exit */
    size_t                own_bytes; /* of it */
    struct epoch_slot    *next, **link;
};

MUST_USE kv_status epoch_open(struct epoch **out);
void epoch_close(struct epoch *epoch); /* after all slots; NULL is fine */

MUST_USE kv_status epoch_slot_open(struct epoch *epoch, struct epoch_slot **out);
/* Frees what the slot retired; waits for the operations of other sessions that are still inside.  NULL is fine. */
void epoch_slot_close(struct epoch_slot *slot);

/* Stops the world: returns when every session is outside, and new entries wait until the resume.  The caller must be
 * outside.  One at a time; keep it short. */
void epoch_pause(struct epoch *epoch);
void epoch_resume(struct epoch *epoch);

/* Room for `count` retirements in this operation, beyond EPOCH_SPARE.  Inside or outside. */
MUST_USE kv_status epoch_reserve(struct epoch_slot *slot, size_t count);

/* Frees what can be freed now; outside only.  With wait, waits until all that this slot retired is free. */
void epoch_collect(struct epoch_slot *slot, bool wait);
/* At the next exit, whatever has come together. */
static inline void epoch_collect_soon(struct epoch_slot *slot)
{
    slot->collect_at = 0;
}

void epoch_release_own(struct epoch_slot *slot);

void epoch_enter_(struct epoch_slot *slot);

static inline void epoch_enter(struct epoch_slot *slot)
{
    uint64_t seen = slot->seen;

    assert(slot->inside == 0);
#if EPOCH_TSAN
    (void)seen;
    epoch_enter_(slot);
#else
    /* The store must be visible before anything that is read inside.  The collector's membarrier sees to that, so here
     * only the compiler has to keep the order.  An epoch that is over by now, or the bit that stops the world, differ. */
    __atomic_store_n(&slot->inside, seen, __ATOMIC_RELEASE);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    if (__builtin_expect(__atomic_load_n(&slot->epoch->now, __ATOMIC_ACQUIRE) != seen, 0))
        epoch_enter_(slot);
#endif
}

static inline void epoch_exit(struct epoch_slot *slot)
{
    __atomic_store_n(&slot->inside, 0, __ATOMIC_RELEASE);
    if (__builtin_expect(slot->own != NULL, 0))
        epoch_release_own(slot);
    if (__builtin_expect(slot->count >= slot->collect_at || slot->bytes >= slot->collect_at_bytes, 0))
        epoch_collect(slot, false);
}

/* The exit of an operation that retired nothing. */
static inline void epoch_exit_reader(struct epoch_slot *slot)
{
    assert(!slot->own);
    __atomic_store_n(&slot->inside, 0, __ATOMIC_RELEASE);
}

/*
 * Calls release(context, pointer) later, from this thread, outside, when nobody can see the pointer any more.  Nobody
 * may find it from now on: unlink first.  `bytes` is what it holds, so that large things do not wait for long.
 */
static inline void epoch_retire(struct epoch_slot *slot, void *pointer, size_t bytes, epoch_free *release, void *context)
{
    assert(slot->count < slot->capacity); /* else an epoch_reserve is missing */
    slot->garbage[slot->count++] = (struct epoch_garbage){pointer, release, context, bytes};
    slot->bytes += bytes;
}

/* Inside.  Calls own->release(own) at the exit: nobody else has ever seen it, so nobody is waited for.  `bytes` is what
 * it holds: slot->own_bytes tells the sum. */
static inline void epoch_release_at_exit(struct epoch_slot *slot, struct epoch_own *own, size_t bytes)
{
    own->next = slot->own;
    slot->own = own;
    slot->own_bytes += bytes;
}

#endif
