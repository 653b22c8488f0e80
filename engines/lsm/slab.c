/* slab.c -- slabs, cut from huge pages, and their free pieces. */
#include "engines/lsm/slab.h"

#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

#include "engines/base/pages.h"

#define SLAB_BYTES  ((size_t)256 << 10) /* and its alignment */
#define PIECE_MAX   ((size_t)32 << 10)
#define STEP        64u                 /* between classes, up to FINE_BYTES */
#define FINE_BYTES  2048u
#define PER_DOUBLE  32u
#define KEPT_MAX    ((size_t)4 << 20)   /* of large pieces that are free */
#define PAGE        ((size_t)4096)
#define CLASSES     (FINE_BYTES / STEP + 4 * PER_DOUBLE) /* 2 KiB doubled four times is PIECE_MAX */

struct piece {
    struct piece *next;
};

/* At the beginning of a slab. */
struct slab {
    _Alignas(64) struct slab *next, *previous; /* among those of its class that have a free piece */
    struct piece *free;
    uint32_t      used;     /* pieces that are taken */
    uint32_t      touched;  /* bytes from the slab's beginning that were ever given out */
    uint32_t      bytes;    /* of a piece */
    uint32_t      class;
};

struct region {
    struct region *next;
    char          *memory;
};

/* At the beginning of a large piece that is free. */
struct kept {
    struct kept *next;
    size_t       bytes;
};

struct slabs {
    pthread_mutex_t lock;
    struct slab    *open[CLASSES]; /* slabs with a free piece */
    struct slab    *empty;         /* of no class */
    struct region  *regions;
    struct kept    *kept;          /* the youngest first */
    uint64_t        bytes;         /* atomic: of the regions and the large pieces */
};

static size_t size_of(size_t bytes, uint32_t *class)
{
    size_t   step = STEP;
    unsigned above = 0; /* doublings beyond FINE_BYTES */

    if (bytes > FINE_BYTES) {
        above = 63 - (unsigned)__builtin_clzll((bytes - 1) / FINE_BYTES);
        step = ((size_t)FINE_BYTES << above) / PER_DOUBLE;
    }
    bytes = bytes ? (bytes + step - 1) / step * step : step;
    *class = (uint32_t)(bytes <= FINE_BYTES ? bytes / step - 1
                                            : FINE_BYTES / STEP + above * PER_DOUBLE + bytes / step - PER_DOUBLE - 1);
    return bytes;
}

struct slabs *slabs_open(void)
{
    struct slabs *slabs = calloc(1, sizeof *slabs);

    if (slabs)
        pthread_mutex_init(&slabs->lock, NULL);
    return slabs;
}

uint64_t slabs_bytes(const struct slabs *slabs)
{
    return __atomic_load_n(&slabs->bytes, __ATOMIC_RELAXED);
}

static void link_in(struct slab **list, struct slab *slab)
{
    slab->previous = NULL;
    slab->next = *list;
    if (slab->next)
        slab->next->previous = slab;
    *list = slab;
}

static void take_out(struct slab **list, struct slab *slab)
{
    if (slab->previous)
        slab->previous->next = slab->next;
    else
        *list = slab->next;
    if (slab->next)
        slab->next->previous = slab->previous;
}

/* More empty slabs. */
static void add_region(struct slabs *slabs)
{
    struct region *region = malloc(sizeof *region);

    if (!region)
        return;
    *region = (struct region){slabs->regions, pages_map(PAGES_HUGE)};
    if (!region->memory) {
        free(region);
        return;
    }
    slabs->regions = region;
    __atomic_add_fetch(&slabs->bytes, PAGES_HUGE, __ATOMIC_RELAXED);
    for (size_t at = PAGES_HUGE; at; at -= SLAB_BYTES) /* the first one is taken first */
        link_in(&slabs->empty, (struct slab *)(void *)(region->memory + at - SLAB_BYTES));
}

static bool has_room(const struct slab *slab)
{
    return slab->free || slab->touched + slab->bytes <= SLAB_BYTES;
}

static struct slab *open_slab(struct slabs *slabs, size_t bytes, uint32_t class)
{
    struct slab *slab;

    if (!slabs->empty)
        add_region(slabs);
    if (!(slab = slabs->empty))
        return NULL;
    take_out(&slabs->empty, slab);
    slab->free = NULL;
    slab->used = 0;
    slab->touched = sizeof *slab;
    slab->bytes = (uint32_t)bytes;
    slab->class = class;
    link_in(&slabs->open[class], slab);
    return slab;
}

/* ---- Large pieces: each is a mapping of its own. ---- */

static size_t large_size(size_t bytes)
{
    size_t step = ((size_t)1 << (63 - __builtin_clzll(bytes))) / 16;

    step = step < PAGE ? PAGE : step;
    return (bytes + step - 1) / step * step;
}

static void *take_large(struct slabs *slabs, size_t *bytes)
{
    struct kept **link, *piece;

    *bytes = large_size(*bytes);
    pthread_mutex_lock(&slabs->lock);
    for (link = &slabs->kept; *link && (*link)->bytes != *bytes; link = &(*link)->next)
        continue;
    if ((piece = *link))
        *link = piece->next;
    pthread_mutex_unlock(&slabs->lock);
    if (!piece && (piece = pages_map(*bytes)))
        __atomic_add_fetch(&slabs->bytes, *bytes, __ATOMIC_RELAXED);
    return piece;
}

static void unmap_kept(struct slabs *slabs, struct kept *piece)
{
    while (piece) {
        struct kept *next = piece->next;
        __atomic_sub_fetch(&slabs->bytes, piece->bytes, __ATOMIC_RELAXED);
        pages_unmap(piece, piece->bytes);
        piece = next;
    }
}

/* The next one is likely to be of its size; the oldest go to the system. */
static void give_large(struct slabs *slabs, void *memory, size_t bytes)
{
    struct kept *piece = memory, **link, *gone;
    size_t       kept = 0;

    pthread_mutex_lock(&slabs->lock);
    *piece = (struct kept){slabs->kept, bytes};
    slabs->kept = piece;
    for (link = &slabs->kept; *link && kept + (*link)->bytes <= KEPT_MAX; link = &(*link)->next)
        kept += (*link)->bytes;
    gone = *link;
    *link = NULL;
    pthread_mutex_unlock(&slabs->lock);
    unmap_kept(slabs, gone);
}

/* ---- Any piece. ---- */

void slabs_close(struct slabs *slabs)
{
    if (!slabs)
        return;
    unmap_kept(slabs, slabs->kept);
    for (struct region *region = slabs->regions, *next; region; region = next) {
        next = region->next;
        pages_unmap(region->memory, PAGES_HUGE);
        free(region);
    }
    pthread_mutex_destroy(&slabs->lock);
    free(slabs);
}

void *slabs_take(struct slabs *slabs, size_t *bytes)
{
    void        *piece = NULL;
    struct slab *slab;
    uint32_t     class;

    if (PAGES_CHECKED)
        return malloc(*bytes);
    if (*bytes > PIECE_MAX)
        return take_large(slabs, bytes);
    *bytes = size_of(*bytes, &class);
    pthread_mutex_lock(&slabs->lock);
    if ((slab = slabs->open[class]) || (slab = open_slab(slabs, *bytes, class))) {
        if (slab->free) {
            piece = slab->free;
            slab->free = slab->free->next;
        } else {
            piece = (char *)slab + slab->touched;
            slab->touched += slab->bytes;
        }
        slab->used++;
        if (!has_room(slab))
            take_out(&slabs->open[class], slab);
    }
    pthread_mutex_unlock(&slabs->lock);
    return piece;
}

void slabs_give(struct slabs *slabs, void *memory, size_t bytes)
{
    struct slab  *slab = (struct slab *)((uintptr_t)memory & ~(uintptr_t)(SLAB_BYTES - 1));
    struct piece *piece = memory;
    bool          had_room;

    if (PAGES_CHECKED) {
        free(memory);
        return;
    }
    if (bytes > PIECE_MAX) {
        give_large(slabs, memory, bytes);
        return;
    }
    pthread_mutex_lock(&slabs->lock);
    assert(slab->bytes == bytes && slab->used);
    had_room = has_room(slab);
    piece->next = slab->free;
    slab->free = piece;
    if (--slab->used == 0) {
        if (had_room)
            take_out(&slabs->open[slab->class], slab);
        link_in(&slabs->empty, slab);
    } else if (!had_room) {
        link_in(&slabs->open[slab->class], slab);
    }
    pthread_mutex_unlock(&slabs->lock);
}
