/* view.c -- the one pointer through which everything is found, and how far it is complete. */
#include <sched.h>
#include <stdlib.h>

#include "engines/lsm/store.h"

static void view_free(void *context, void *pointer)
{
    struct view *view = pointer;

    (void)context;
    if (__atomic_sub_fetch(&view->references, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    memtable_release(view->active);
    for (uint32_t i = 0; i < view->immutables; i++)
        memtable_release(view->immutable[i]);
    version_release(view->version);
    free(view);
}

void view_release(struct view *view)
{
    if (view)
        view_free(NULL, view);
}

struct view *view_keep(struct lsm *store, struct epoch_slot *slot)
{
    struct view *view;

    epoch_enter(slot);
    view = view_now(store);
    __atomic_add_fetch(&view->references, 1, __ATOMIC_RELAXED);
    epoch_exit(slot);
    return view;
}

/* Under view_lock.  The new view takes references of its own; the old one goes when nobody looks at it any more. */
static void publish(struct lsm *store, struct epoch_slot *slot, struct view *next)
{
    struct view *old = store->view;

    next->references = 1;
    memtable_keep(next->active);
    for (uint32_t i = 0; i < next->immutables; i++)
        memtable_keep(next->immutable[i]);
    version_keep(next->version);
    __atomic_store_n(&store->immutables, next->immutables, __ATOMIC_RELEASE);
    __atomic_store_n(&store->view, next, __ATOMIC_RELEASE);
    if (old)
        epoch_retire(slot, old, (size_t)1 << 20, view_free, NULL); /* what it holds is large: not to be kept for long */
}

/* Under view_lock. */
static void copy_now(const struct lsm *store, struct view *view)
{
    const struct view *now = store->view; /* field by field: others count its references meanwhile */

    *view = (struct view){.active = now->active, .immutables = now->immutables, .version = now->version};
    memcpy(view->immutable, now->immutable, sizeof view->immutable);
}

static struct view *view_copy(const struct lsm *store)
{
    struct view *view = malloc(sizeof *view);

    if (view)
        copy_now(store, view);
    else
        fail_set("no memory for a view of the tree");
    return view;
}

kv_status view_first(struct lsm *store, const struct view *first)
{
    struct view *view = malloc(sizeof *view);

    if (!view)
        return kv_fail(KV_NO_MEMORY, "no memory for a view of the tree");
    *view = *first;
    publish(store, NULL, view);
    return KV_OK;
}

kv_status view_reserve(struct epoch_slot *slot, struct view **room)
{
    *room = NULL;
    TRY(epoch_reserve(slot, 1));
    *room = malloc(sizeof **room);
    return *room ? KV_OK : kv_fail(KV_NO_MEMORY, "no memory for a view of the tree");
}

void view_rotate(struct lsm *store, struct epoch_slot *slot, struct view *room, struct memtable *active)
{
    pthread_mutex_lock(&store->view_lock);
    copy_now(store, room);
    if (!memtable_empty(room->active)) {
        assert(room->immutables < MEMTABLES_MAX);
        memmove(room->immutable + 1, room->immutable, room->immutables * sizeof *room->immutable);
        room->immutable[0] = room->active;
        room->immutables++;
    }
    room->active = active;
    publish(store, slot, room);
    pthread_mutex_unlock(&store->view_lock);
}

kv_status view_install(struct lsm *store, struct epoch_slot *slot, struct version *version, struct memtable *gone)
{
    struct view *next;

    TRY(epoch_reserve(slot, 1));
    pthread_mutex_lock(&store->view_lock);
    if ((next = view_copy(store)) != NULL) {
        next->version = version;
        if (gone) { /* the oldest goes first */
            assert(next->immutables && next->immutable[next->immutables - 1] == gone);
            next->immutables--;
        }
        publish(store, slot, next);
    }
    pthread_mutex_unlock(&store->view_lock);
    return next ? KV_OK : KV_NO_MEMORY;
}

/*
 * A session says which number it has taken before that number is the last one (both under the log lock), and takes that back
 * when its entries can be found.  So who reads the last number first, and then finds no session with a lower one, knows that
 * everything up to it can be found.  Who is in the way has its number, and only copies some bytes before it takes it back.
 */
uint64_t visible_seq(struct lsm *store)
{
    uint64_t seq = __atomic_load_n(&store->log.last_seq, __ATOMIC_ACQUIRE);
    bool     complete;

    do {
        complete = true;
        pthread_mutex_lock(&store->sessions_lock);
        for (const struct lsm_session *session = store->sessions; session; session = session->next) {
            uint64_t writing = __atomic_load_n(&session->writing_seq, __ATOMIC_ACQUIRE);
            complete &= !writing || writing > seq;
        }
        pthread_mutex_unlock(&store->sessions_lock);
        if (!complete)
            sched_yield();
    } while (!complete);
    return seq;
}
