/*
 * state.c -- what is on disk after a crash.
 *
 * The model.  A trace is a list of changes 0, 1, 2... of names, sizes and bytes, with syncs between them.  To crash
 * after n records is to choose, for each thing that survives or is lost as one, how far along the list it came:
 *
 *   a page of a file     its *cut*: every write to it before the cut is there, none behind.  So within a page a later
 *                        write never survives an earlier one, which no page cache could do; different pages are free.
 *   the size of a file   likewise.  A kept truncation also zeroes what it cut off.
 *   a name               each change of it is kept or not; a kept change implies every earlier change of the same name.
 *                        A rename is one change of two names.
 *
 * Syncs push cuts forward: a sync of a file sets the frontier of its pages and its size to where the trace was when the
 * sync was called (a write through O_DSYNC and an msync do so for their range only); a sync of a directory does it for
 * the names in it.  A cut lies between its frontier and n, and the profile says where: at the frontier (DISK_LOST), at n
 * (DISK_KEPT), or anywhere, by the seed (DISK_CHOSEN).  `kill` is "n everywhere", `drop-unsynced` "the frontier
 * everywhere"; all others lie between.
 *
 * Most mistakes in the order of syncs show only when one thing is lost and all else is there, or the other way round, and
 * free dice seldom fall so (a window of one call in RocksDB was found by the first try of such a search, and not by twenty
 * thousand random states).  So a seed is also a place in a list: seed % 4 == 1 loses one pending thing, 2 keeps one, 0
 * and 3 choose freely; seed / 4 says which thing, counted over the pending names and then the pending files.
 *
 * A sync that failed is worse than none: on Linux the pages that could not be written pass for clean from then on, so
 * the next sync says yes without them.  What was pending in them is lost to every later sync, until a write makes the
 * page dirty again; then all of the page goes, as it stands in memory.  (Their size is metadata, and survives.)
 *
 * Names refer to file numbers, so a name that survives its unlink brings back the bytes that were durable under that
 * number, and a directory that was never synced into its parent is gone with all that is in it.
 *
 * The work is four walks over the records: what exists and how large; syncs; names; and at last bytes, only for files
 * that still have a name.
 */
#include "crashtest/state.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "common/fail.h"
#include "common/rng.h"
#include "crashtest/tree.h"

#define PAGE    4096u /* of memory here; the profile has its own */
#define NOWHERE UINT32_MAX

#define EXTENT_MAX (UINT64_C(1) << 34) /* of written bytes in one file; sizes may be larger */

enum object_kind { OBJECT_NONE, OBJECT_FILE, OBJECT_DIRECTORY, OBJECT_SYMLINK };

/* Changes from..to of a range of a file that a failed sync gave up. */
struct failure {
    uint64_t        from, to, offset, end;
    uint32_t       *page_frontier; /* a copy from that time; may be NULL */
    struct failure *before;
};

struct object {
    enum object_kind kind;
    bool             base;          /* has bytes in base_dir */
    bool             dirty;         /* the walk over syncs: created, or its size changed, since its last sync */
    uint32_t         links;         /* names that survived */
    uint32_t         base_dir;      /* where it was at the start */
    const char      *base_name;
    const char      *target;        /* of a symbolic link */
    uint64_t         base_bytes;
    uint64_t         extent;        /* no write goes beyond */
    uint64_t         walk_bytes;    /* the walk over syncs: size as the process saw it */
    uint64_t         frontier;      /* records before it are durable */
    uint64_t         size_frontier; /* the same for the size alone */
    uint32_t        *page_frontier; /* the same page by page; NULL: nothing more than frontier */
    uint64_t         last;          /* one more than the number of the last change of its bytes or size */
    struct failure  *failures;
    uint32_t        *touched_last;  /* with failures: of each page, one more than the number of its last kept write */
    uint64_t         size_cut;
    uint64_t         bytes;         /* the size that survived */
    unsigned char   *data;          /* extent bytes; NULL: as in base_dir, or none */
    unsigned char   *touched;       /* one byte a PAGE: has something other than a hole */
};

struct slot { /* a name in a directory */
    uint32_t    dir, file;
    const char *name;
    uint32_t    hash;
    bool        implied; /* a later change of it is kept, so earlier ones are too */
};

struct change {
    uint64_t number;
    uint32_t slot, slot2;
    uint32_t file;
    uint8_t  kind;
    bool     base;
    bool     kept;
};

enum search { SEARCH_FREE, SEARCH_LOSE_ONE, SEARCH_KEEP_ONE };

struct state {
    const struct trace        *trace;
    const struct disk_profile *profile;
    const char                *base;
    uint64_t                   seed;
    enum search                search;
    uint64_t                   single_change; /* number of the one change of a name, or */
    uint32_t                   single_file;   /* the one file, that the search has picked */
    uint64_t                   upto;
    uint64_t                   end; /* one more than upto when the write behind it had begun */
    uint64_t                   metadata_frontier; /* of the one journal */
    struct object             *objects;
    uint32_t                   object_count;
    bool                       failed; /* in the fourth walk */
    struct slot               *slots; /* at the end only those with a file, sorted by directory and name */
    uint32_t                   slot_count;
    uint32_t                  *slot_index; /* open addressing, a power of two */
    uint32_t                   slot_mask;
    struct change             *changes;
    uint64_t                   change_count;
};

static bool no_memory(void)
{
    fail_set("no memory for a crash state");
    return false;
}

static void *zeroed(uint64_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return memory == MAP_FAILED ? NULL : memory;
}

static uint64_t least(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

static uint64_t most(uint64_t a, uint64_t b)
{
    return a > b ? a : b;
}

static uint64_t single_cut(const struct state *state, bool single, uint64_t frontier)
{
    return single == (state->search == SEARCH_LOSE_ONE) ? least(frontier, state->end) : state->end;
}

/* Where a cut lies.  `what` and `which` name the thing, so that one seed gives one state whatever the order of asking.
 * The extremes are likely: most bugs need one thing lost and another kept. */
static uint64_t choose(const struct state *state, enum disk_fate fate, uint64_t frontier, uint64_t what, uint64_t which)
{
    uint64_t dice;

    frontier = least(frontier, state->end);
    if (fate != DISK_CHOSEN)
        return fate == DISK_KEPT ? state->end : frontier;
    dice = rng_mix(rng_mix(state->seed + what) + which);
    switch (dice & 7) {
    case 0: case 1: case 2:
        return frontier;
    case 3: case 4: case 5:
        return state->end;
    default:
        return frontier + (dice >> 3) % (state->end - frontier + 1);
    }
}

enum { DICE_NAMES = 1, DICE_SIZE, DICE_PAGE, DICE_FILE }; /* the first part of `what` */

/* ---- First walk: what exists. ---- */

static bool is_bytes(unsigned kind)
{
    return kind == TRACE_WRITE || kind == TRACE_TRUNCATE || kind == TRACE_ALLOCATE || kind == TRACE_ZERO;
}

static bool is_name(unsigned kind)
{
    return kind <= TRACE_EXCHANGE;
}

static bool walk_objects(struct state *state)
{
    const struct trace_record *rec = trace_first(state->trace);

    state->objects[TRACE_ROOT].kind = OBJECT_DIRECTORY;
    for (uint64_t number = 0; rec && number <= state->upto; number++, rec = trace_next(state->trace, rec)) {
        struct object *object;

        if (rec->kind == TRACE_MARK || rec->kind == TRACE_NOTE || rec->kind == TRACE_SYNC_ALL)
            continue;
        object = &state->objects[rec->file];
        if (rec->kind == TRACE_MKDIR) {
            object->kind = OBJECT_DIRECTORY;
        } else if (rec->kind == TRACE_SYMLINK) {
            object->kind = OBJECT_SYMLINK;
            object->target = trace_name2(rec);
        } else if ((rec->kind == TRACE_CREATE || is_bytes(rec->kind)) && object->kind == OBJECT_NONE) {
            object->kind = OBJECT_FILE;
        }
        if (rec->kind == TRACE_CREATE && rec->flags & TRACE_BASE) {
            object->base = true;
            object->base_dir = rec->dir;
            object->base_name = trace_name(rec);
            object->base_bytes = object->walk_bytes = object->bytes = rec->length;
            object->extent = most(object->extent, rec->length);
        } else if (rec->kind == TRACE_MKDIR && rec->flags & TRACE_BASE) {
            object->base_dir = rec->dir;
            object->base_name = trace_name(rec);
        }
        if (rec->kind == TRACE_WRITE)
            object->extent = most(object->extent, rec->offset + rec->length);
        if (object->extent > EXTENT_MAX) {
            fail_set("trace record %llu: a file of %llu bytes is too large for a crash state", (unsigned long long)number,
                     (unsigned long long)object->extent);
            return false;
        }
        if (is_name(rec->kind))
            state->change_count++;
    }
    return true;
}

/* ---- Second walk: syncs. ---- */

static uint64_t page_count(const struct state *state, const struct object *object)
{
    return (object->extent + state->profile->page_bytes - 1) / state->profile->page_bytes;
}

static bool sync_range(struct state *state, struct object *object, uint64_t offset, uint64_t length, uint64_t frontier)
{
    uint32_t unit = state->profile->page_bytes;
    uint64_t first = offset / unit, end;

    object->size_frontier = most(object->size_frontier, frontier);
    if (offset >= object->extent || length == 0)
        return true;
    end = (least(length, object->extent - offset) + offset + unit - 1) / unit;
    if (!object->page_frontier) {
        object->page_frontier = zeroed(page_count(state, object) * sizeof *object->page_frontier);
        if (!object->page_frontier)
            return no_memory();
    }
    for (uint64_t page = first; page < end; page++)
        object->page_frontier[page] = (uint32_t)most(object->page_frontier[page], frontier);
    return true;
}

static void sync_whole(struct object *object, uint64_t frontier)
{
    object->frontier = most(object->frontier, frontier);
    object->size_frontier = most(object->size_frontier, frontier);
}

static bool sync_failed(struct state *state, struct object *object, const struct trace_record *rec)
{
    struct failure *failure;
    uint64_t        bytes = page_count(state, object) * sizeof *object->page_frontier;

    if (!state->profile->power || object->kind != OBJECT_FILE || object->extent == 0)
        return true;
    failure = calloc(1, sizeof *failure);
    if (!failure)
        return no_memory();
    *failure = (struct failure){.from = object->frontier, .to = rec->covers, .offset = rec->offset,
                                .end = rec->offset + least(rec->length, object->extent), .before = object->failures};
    object->failures = failure;
    if (object->page_frontier) {
        failure->page_frontier = malloc(bytes);
        if (!failure->page_frontier)
            return no_memory();
        memcpy(failure->page_frontier, object->page_frontier, bytes);
    }
    return true;
}

static bool walk_syncs(struct state *state)
{
    const struct trace_record *rec = trace_first(state->trace);

    for (uint64_t number = 0; rec && number < state->upto; number++, rec = trace_next(state->trace, rec)) {
        struct object *object = rec->kind == TRACE_MARK ? NULL : &state->objects[rec->file];
        uint64_t       frontier = rec->covers;
        uint64_t       end = rec->offset + rec->length;

        switch (rec->kind) {
        case TRACE_ZERO:
            object->last = number + 1;
            break;
        case TRACE_CREATE: case TRACE_MKDIR:
            object->dirty = !(rec->flags & TRACE_BASE);
            break;
        case TRACE_TRUNCATE:
            object->walk_bytes = rec->length;
            object->dirty = true;
            object->last = number + 1;
            break;
        case TRACE_WRITE: case TRACE_ALLOCATE:
            object->last = number + 1;
            if (end > object->walk_bytes) {
                object->walk_bytes = end;
                object->dirty = true;
            }
            if (rec->flags & TRACE_DSYNC) {
                frontier = number + 1;
                if (!sync_range(state, object, rec->offset, rec->length, frontier))
                    return false;
                if (object->dirty)
                    state->metadata_frontier = most(state->metadata_frontier, frontier);
            }
            break;
        case TRACE_SYNC:
            if (rec->flags & TRACE_FAILED) {
                if (!sync_failed(state, object, rec))
                    return false;
                break;
            }
            if (rec->offset == 0 && rec->length >= object->extent)
                sync_whole(object, frontier);
            else if (!sync_range(state, object, rec->offset, rec->length, frontier))
                return false;
            /* fdatasync commits the journal only when there is something of this file in it. */
            if (!(rec->flags & TRACE_DATA) || object->dirty)
                state->metadata_frontier = most(state->metadata_frontier, frontier);
            object->dirty = false;
            break;
        case TRACE_SYNC_ALL:
            for (uint32_t file = TRACE_ROOT; file < state->object_count; file++)
                sync_whole(&state->objects[file], frontier);
            state->metadata_frontier = most(state->metadata_frontier, frontier);
            break;
        default:
            break;
        }
    }
    return true;
}

/* ---- Third walk: names. ---- */

static uint32_t slot_of(struct state *state, uint32_t dir, const char *name, size_t bytes)
{
    uint32_t hash = (uint32_t)XXH3_64bits_withSeed(name, bytes, dir);

    for (uint32_t at = hash & state->slot_mask;; at = (at + 1) & state->slot_mask) {
        struct slot *slot;

        if (state->slot_index[at] == NOWHERE) {
            state->slots[state->slot_count] = (struct slot){.dir = dir, .name = name, .hash = hash};
            return state->slot_index[at] = state->slot_count++;
        }
        slot = &state->slots[state->slot_index[at]];
        if (slot->hash == hash && slot->dir == dir && strcmp(slot->name, name) == 0)
            return state->slot_index[at];
    }
}

static bool walk_names(struct state *state)
{
    const struct trace_record *rec = trace_first(state->trace);
    uint64_t                   size = 16;

    while (size < state->change_count * 4 + 16)
        size *= 2;
    state->changes = calloc(state->change_count + 1, sizeof *state->changes);
    state->slots = calloc(2 * state->change_count + 1, sizeof *state->slots);
    state->slot_index = malloc(size * sizeof *state->slot_index);
    state->slot_mask = (uint32_t)(size - 1);
    if (!state->changes || !state->slots || !state->slot_index)
        return no_memory();
    memset(state->slot_index, 0xff, size * sizeof *state->slot_index);
    state->change_count = 0;
    for (uint64_t number = 0; rec && number < state->upto; number++, rec = trace_next(state->trace, rec)) {
        struct change *change = &state->changes[state->change_count];

        if (!is_name(rec->kind))
            continue;
        *change = (struct change){.number = number, .kind = rec->kind, .file = rec->file, .slot2 = NOWHERE,
                                  .base = rec->flags & TRACE_BASE};
        change->slot = slot_of(state, rec->dir, trace_name(rec), rec->name_bytes);
        if (rec->kind == TRACE_RENAME || rec->kind == TRACE_EXCHANGE)
            change->slot2 = slot_of(state, rec->dir2, trace_name2(rec), rec->name2_bytes);
        state->change_count++;
    }
    return true;
}

/* Synced, so no choice. */
static bool change_is_durable(const struct state *state, const struct change *change)
{
    const struct object *objects = state->objects;

    if (change->base || change->number < objects[state->slots[change->slot].dir].frontier) {
        if (change->base || change->slot2 == NOWHERE ||
            change->number < objects[state->slots[change->slot2].dir].frontier)
            return true;
    }
    if (state->profile->sync_keeps_metadata && change->number < state->metadata_frontier)
        return true;
    return state->profile->sync_keeps_name && (change->kind == TRACE_CREATE || change->kind == TRACE_MKDIR) &&
           change->number < most(objects[change->file].frontier, objects[change->file].size_frontier);
}

static bool is_pending(const struct object *object)
{
    return object->kind == OBJECT_FILE && object->last > object->frontier;
}

/* Of a search for one thing: which.  There may be nothing to search. */
static void pick_single(struct state *state, uint64_t seed)
{
    bool     names = state->profile->names == DISK_CHOSEN && !state->profile->names_in_order;
    uint64_t count = 0, wanted = seed / 4;

    if (state->profile->data != DISK_CHOSEN || (seed % 4 != 1 && seed % 4 != 2))
        return;
    for (int round = 0; round < 2; round++) { /* first counts, then finds */
        uint64_t at = 0;

        for (uint64_t i = 0; names && i < state->change_count; i++) {
            if (!change_is_durable(state, &state->changes[i]) && at++ == wanted && round)
                state->single_change = state->changes[i].number;
        }
        for (uint32_t file = TRACE_ROOT; file < state->object_count; file++) {
            if (is_pending(&state->objects[file]) && at++ == wanted && round)
                state->single_file = file;
        }
        count = at;
        if (count == 0)
            return;
        wanted %= count;
    }
    state->search = seed % 4 == 1 ? SEARCH_LOSE_ONE : SEARCH_KEEP_ONE;
}

static bool name_is_chosen(const struct state *state, const struct change *change)
{
    if (state->search != SEARCH_FREE)
        return single_cut(state, change->number == state->single_change, change->number) > change->number;
    return choose(state, state->profile->names, change->number, DICE_NAMES, change->number) > change->number;
}

static void choose_names(struct state *state)
{
    const struct disk_profile *profile = state->profile;
    uint64_t                   journal = state->search != SEARCH_FREE
                                             ? single_cut(state, false, state->metadata_frontier)
                                             : choose(state, profile->names, state->metadata_frontier, DICE_NAMES, 0);

    for (uint64_t i = state->change_count; i-- > 0;) {
        struct change *change = &state->changes[i];
        struct slot   *slot = &state->slots[change->slot];
        struct slot   *slot2 = change->slot2 == NOWHERE ? slot : &state->slots[change->slot2];

        change->kept = change_is_durable(state, change) || slot->implied || slot2->implied ||
                       (profile->names_in_order ? change->number < journal : name_is_chosen(state, change));
        if (change->kept)
            slot->implied = slot2->implied = true;
    }
    for (uint64_t i = 0; i < state->change_count; i++) {
        struct change *change = &state->changes[i];
        struct slot   *slot = &state->slots[change->slot];
        uint32_t       was;

        if (!change->kept)
            continue;
        switch (change->kind) {
        case TRACE_UNLINK: case TRACE_RMDIR:
            slot->file = 0;
            break;
        case TRACE_RENAME:
            slot->file = 0;
            state->slots[change->slot2].file = change->file;
            break;
        case TRACE_EXCHANGE:
            was = slot->file;
            slot->file = state->slots[change->slot2].file;
            state->slots[change->slot2].file = was;
            break;
        default:
            slot->file = change->file;
            break;
        }
    }
}

static int by_directory(const void *a, const void *b)
{
    const struct slot *x = a, *y = b;

    if (x->dir != y->dir)
        return x->dir < y->dir ? -1 : 1;
    return strcmp(x->name, y->name);
}

static void sort_names(struct state *state)
{
    uint32_t kept = 0;

    for (uint32_t i = 0; i < state->slot_count; i++) {
        if (state->slots[i].file && state->objects[state->slots[i].file].kind != OBJECT_NONE)
            state->slots[kept++] = state->slots[i];
    }
    state->slot_count = kept;
    qsort(state->slots, kept, sizeof *state->slots, by_directory);
}

/* First name of a directory in the sorted slots. */
static uint32_t first_of(const struct state *state, uint32_t dir)
{
    uint32_t low = 0, high = state->slot_count;

    while (low < high) {
        uint32_t middle = low + (high - low) / 2;

        if (state->slots[middle].dir < dir)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* Marks what can be reached.  A directory is entered once, so a trace that makes a circle ends too. */
static void count_links(struct state *state, uint32_t dir)
{
    for (uint32_t i = first_of(state, dir); i < state->slot_count && state->slots[i].dir == dir; i++) {
        struct object *object = &state->objects[state->slots[i].file];

        object->links++;
        if (object->kind == OBJECT_DIRECTORY && object->links == 1 && state->slots[i].file != TRACE_ROOT)
            count_links(state, state->slots[i].file);
    }
}

/* ---- Fourth walk: bytes. ---- */

/* Path in base_dir; false when it is too long or makes no sense. */
static bool base_path(const struct state *state, const struct object *object, char out[PATH_MAX])
{
    const char *names[64];
    size_t      depth = 0, used = strlen(state->base);
    uint32_t    dir;

    names[depth++] = object->base_name;
    for (dir = object->base_dir; dir != TRACE_ROOT && depth < 64 && state->objects[dir].base_name; dir = state->objects[dir].base_dir)
        names[depth++] = state->objects[dir].base_name;
    if (dir != TRACE_ROOT || used >= PATH_MAX)
        return false;
    memcpy(out, state->base, used + 1);
    while (depth-- > 0) {
        size_t bytes = strlen(names[depth]);

        if (used + bytes + 2 > PATH_MAX)
            return false;
        out[used++] = '/';
        memcpy(out + used, names[depth], bytes + 1);
        used += bytes;
    }
    return true;
}

static int open_base(const struct state *state, const struct object *object)
{
    char        path[PATH_MAX];
    struct stat st;
    int         fd;

    if (!state->base || !base_path(state, object, path)) {
        fail_set("the trace began with a file %s, but there is no directory to take it from", object->base_name);
        return -1;
    }
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        fail_set("open %s: %s", path, strerror(errno));
    } else if (fstat(fd, &st) != 0 || (uint64_t)st.st_size != object->base_bytes) {
        fail_set("%s has %lld bytes, had %llu when the trace began: not the directory that was recorded", path,
                 (long long)st.st_size, (unsigned long long)object->base_bytes);
        close(fd);
        fd = -1;
    }
    return fd;
}

/* The first page from `page` on, before `end`, that is not a hole; else `end`. */
static uint64_t next_touched(const struct object *object, uint64_t page, uint64_t end)
{
    const unsigned char *found = page < end ? memchr(object->touched + page, 1, end - page) : NULL;

    return found ? (uint64_t)(found - object->touched) : end;
}

static void touch(struct object *object, uint64_t offset, uint64_t length)
{
    memset(object->touched + offset / PAGE, 1, (offset + length - 1) / PAGE - offset / PAGE + 1);
}

/* The bytes of the file in memory, as they were at the start.  Only when something of it changes: else it is copied. */
static bool load(const struct state *state, struct object *object)
{
    uint64_t at = 0;
    bool     ok = true;
    int      fd;

    if (object->data || object->extent == 0)
        return true;
    object->data = zeroed(object->extent);
    object->touched = object->data ? calloc(1, object->extent / PAGE + 1) : NULL;
    if (!object->touched)
        return no_memory();
    if (object->base_bytes == 0)
        return true;
    fd = open_base(state, object);
    if (fd < 0)
        return false;
    while (ok && at < object->base_bytes) {
        off_t data = lseek(fd, (off_t)at, SEEK_DATA), hole;

        if (data < 0)
            break; /* a hole to the end */
        hole = lseek(fd, data, SEEK_HOLE);
        at = (uint64_t)data;
        while (ok && at < (uint64_t)hole) {
            ssize_t n = pread(fd, object->data + at, (uint64_t)hole - at, (off_t)at);

            ok = n > 0;
            if (ok) {
                touch(object, at, (uint64_t)n);
                at += (uint64_t)n;
            }
        }
    }
    close(fd);
    if (!ok)
        fail_set("read %s of the directory before the crash: %s", object->base_name, strerror(errno));
    return ok;
}

/* What was never touched is zero already, and stays a hole. */
static void put_zeros(struct object *object, uint64_t offset, uint64_t length)
{
    uint64_t end = offset + length, last = (end + PAGE - 1) / PAGE;

    for (uint64_t page = offset / PAGE; (page = next_touched(object, page, last)) < last; page++) {
        uint64_t from = most(offset, page * PAGE);

        memset(object->data + from, 0, least(end, (page + 1) * PAGE) - from);
    }
}

static void put(struct state *state, struct object *object, uint64_t offset, const unsigned char *data, uint64_t length)
{
    if (!load(state, object)) {
        state->failed = true;
    } else if (data) {
        memcpy(object->data + offset, data, length);
        touch(object, offset, length);
    } else {
        put_zeros(object, offset, length);
    }
}

static uint64_t page_cut(const struct state *state, uint32_t file, uint64_t page)
{
    const struct object *object = &state->objects[file];
    uint64_t             frontier = object->frontier;
    uint64_t             cut;

    if (object->page_frontier)
        frontier = most(frontier, object->page_frontier[page]);
    if (state->profile->data != DISK_CHOSEN)
        return choose(state, state->profile->data, frontier, 0, 0);
    if (state->search != SEARCH_FREE)
        return single_cut(state, file == state->single_file, frontier);
    /* Half of the files share one cut, so that a whole file is lost or kept often enough. */
    cut = rng_mix(state->seed ^ file) & 1 ? choose(state, DISK_CHOSEN, frontier, DICE_FILE, file)
                                          : choose(state, DISK_CHOSEN, frontier, DICE_PAGE + 4 * (uint64_t)file, page);
    return cut;
}

static bool given_up(const struct object *object, uint64_t number, uint64_t page, uint64_t offset)
{
    for (const struct failure *failure = object->failures; failure; failure = failure->before) {
        uint64_t from = failure->from;

        if (failure->page_frontier)
            from = most(from, failure->page_frontier[page]);
        if (number >= from && number < failure->to && offset >= failure->offset && offset < failure->end &&
            object->touched_last[page] <= failure->to)
            return true;
    }
    return false;
}

static bool survives(const struct state *state, uint32_t file, uint64_t number, uint64_t offset)
{
    const struct object *object = &state->objects[file];
    uint64_t             page = offset / state->profile->page_bytes;

    return number < page_cut(state, file, page) && !(object->failures && given_up(object, number, page, offset));
}

/* Which pages became dirty again after a failed sync, and were written then. */
static bool walk_touches(struct state *state)
{
    const struct trace_record *rec = trace_first(state->trace);
    uint32_t                   unit = state->profile->page_bytes;
    bool                       any = false;

    for (uint32_t file = TRACE_ROOT; file < state->object_count; file++) {
        struct object *object = &state->objects[file];

        any |= object->failures != NULL;
        if (object->failures)
            object->touched_last = calloc(page_count(state, object), sizeof *object->touched_last);
        if (object->failures && !object->touched_last)
            return no_memory();
    }
    for (uint64_t number = 0; any && rec && number < state->upto; number++, rec = trace_next(state->trace, rec)) {
        struct object *object = &state->objects[rec->kind == TRACE_WRITE ? rec->file : 0];

        if (!object->touched_last || rec->length == 0)
            continue;
        for (uint64_t page = rec->offset / unit; page <= (rec->offset + rec->length - 1) / unit; page++) {
            if (number < page_cut(state, rec->file, page))
                object->touched_last[page] = (uint32_t)number + 1;
        }
    }
    return true;
}

/* Applies the pages of one change that survive.  Returns the end of the last of them, 0 when there was none. */
static uint64_t put_pages(struct state *state, uint32_t file, uint64_t number, uint64_t offset,
                          const unsigned char *data, uint64_t length)
{
    struct object *object = &state->objects[file];
    uint32_t       unit = state->profile->page_bytes;
    uint64_t       end = offset + length, kept_end = 0;

    if (!object->page_frontier && !object->failures && state->profile->data != DISK_CHOSEN) {
        if (number >= page_cut(state, file, 0))
            return 0;
        put(state, object, offset, data, length);
        return end;
    }
    for (uint64_t at = offset; at < end;) {
        uint64_t page_end = least((at / unit + 1) * unit, end);

        if (survives(state, file, number, at)) {
            put(state, object, at, data ? data + (at - offset) : NULL, page_end - at);
            kept_end = page_end;
        }
        at = page_end;
    }
    return kept_end;
}

static void cut_off(struct object *object, uint64_t bytes)
{
    if (object->data && bytes < object->extent) {
        put_zeros(object, bytes, object->extent - bytes);
        memset(object->touched + (bytes + PAGE - 1) / PAGE, 0, (object->extent + PAGE - 1) / PAGE - (bytes + PAGE - 1) / PAGE);
    }
}

static bool apply(struct state *state, const struct trace_record *rec, uint64_t number, uint64_t length)
{
    const struct disk_profile *profile = state->profile;
    struct object             *object = &state->objects[rec->file];
    bool                       size_kept = number < object->size_cut;
    uint64_t                   kept_end;

    if (rec->kind != TRACE_WRITE && profile->sync_keeps_metadata && number < state->metadata_frontier)
        size_kept = true; /* an explicit size is metadata */
    switch (rec->kind) {
    case TRACE_TRUNCATE:
        if (!size_kept)
            break;
        if (rec->length < object->base_bytes && !load(state, object))
            return false;
        cut_off(object, rec->length);
        object->bytes = rec->length;
        break;
    case TRACE_ALLOCATE:
        if (size_kept)
            object->bytes = most(object->bytes, rec->offset + rec->length);
        break;
    case TRACE_ZERO:
        if (rec->offset < object->extent)
            put_pages(state, rec->file, number, rec->offset, NULL, least(length, object->extent - rec->offset));
        break;
    default:
        if (length == 0)
            break;
        kept_end = put_pages(state, rec->file, number, rec->offset,
                             rec->flags & TRACE_ZEROS ? NULL : rec->payload, length);
        if (profile->size_follows_data && number >= object->size_frontier)
            object->bytes = most(object->bytes, kept_end);
        else if (size_kept)
            object->bytes = most(object->bytes, rec->offset + length);
        break;
    }
    return !state->failed;
}

static bool walk_bytes(struct state *state, uint64_t cut_bytes)
{
    const struct trace_record *rec = trace_first(state->trace);
    uint64_t                   number = 0;

    for (uint32_t file = TRACE_ROOT; file < state->object_count; file++) {
        struct object *object = &state->objects[file];

        uint64_t       frontier = most(object->frontier, object->size_frontier);

        object->size_cut = state->search != SEARCH_FREE ? single_cut(state, file == state->single_file, frontier)
                                                        : choose(state, state->profile->size, frontier, DICE_SIZE, file);
    }
    if (!walk_touches(state))
        return false;
    for (; rec && number < state->upto; number++, rec = trace_next(state->trace, rec)) {
        if (is_bytes(rec->kind) && state->objects[rec->file].links > 0 && !apply(state, rec, number, rec->length))
            return false;
    }
    if (rec && cut_bytes > 0 && rec->kind == TRACE_WRITE && state->objects[rec->file].links > 0)
        return apply(state, rec, number, least(cut_bytes, rec->length));
    return true;
}

/* ---- The calls. ---- */

/* What was there at the start was there all of it, however early the crash. */
static uint64_t base_records(const struct trace *trace)
{
    const struct trace_record *rec = trace_first(trace);
    uint64_t                   count = 0;

    for (; rec && rec->flags & TRACE_BASE; rec = trace_next(trace, rec))
        count++;
    return count;
}

struct state *state_make(const struct trace *trace, uint64_t upto, uint64_t cut_bytes,
                         const struct disk_profile *profile, uint64_t seed, const char *base_dir)
{
    struct state *state = calloc(1, sizeof *state);

    if (!state) {
        no_memory();
        return NULL;
    }
    upto = least(most(upto, base_records(trace)), trace->count);
    *state = (struct state){.trace = trace, .profile = profile, .base = base_dir, .seed = rng_mix(seed), .single_change = UINT64_MAX,
                            .upto = upto, .end = upto + (cut_bytes > 0),
                            .object_count = (uint32_t)least(trace->count, UINT32_MAX - 8) + 3};
    state->objects = calloc(state->object_count, sizeof *state->objects);
    if (!state->objects) {
        no_memory();
        goto bad;
    }
    if (!walk_objects(state) || !walk_syncs(state) || !walk_names(state))
        goto bad;
    pick_single(state, seed);
    choose_names(state);
    sort_names(state);
    state->objects[TRACE_ROOT].links = 1;
    count_links(state, TRACE_ROOT);
    if (walk_bytes(state, cut_bytes))
        return state;
bad:
    state_free(state);
    return NULL;
}

void state_free(struct state *state)
{
    if (!state)
        return;
    for (uint32_t file = 0; state->objects && file < state->object_count; file++) {
        struct object *object = &state->objects[file];

        if (object->data)
            munmap(object->data, object->extent);
        if (object->page_frontier)
            munmap(object->page_frontier, page_count(state, object) * sizeof *object->page_frontier);
        free(object->touched);
        free(object->touched_last);
        while (object->failures) {
            struct failure *failure = object->failures;

            object->failures = failure->before;
            free(failure->page_frontier);
            free(failure);
        }
    }
    free(state->objects);
    free(state->slots);
    free(state->slot_index);
    free(state->changes);
    free(state);
}

static bool all_zero(const unsigned char *data, uint64_t bytes)
{
    return bytes == 0 || (data[0] == 0 && memcmp(data, data + 1, bytes - 1) == 0);
}

static void hash_object(const struct state *state, uint32_t file, XXH3_state_t *hash)
{
    const struct object *object = &state->objects[file];
    uint64_t             visible = least(object->bytes, object->extent);

    XXH3_64bits_update(hash, &object->bytes, sizeof object->bytes);
    if (!object->data) {
        if (object->base)
            XXH3_64bits_update(hash, &file, sizeof file);
        return;
    }
    for (uint64_t page = 0, last = (visible + PAGE - 1) / PAGE; (page = next_touched(object, page, last)) < last; page++) {
        uint64_t at = page * PAGE, bytes = least(PAGE, visible - at);

        if (!all_zero(object->data + at, bytes)) {
            XXH3_64bits_update(hash, &at, sizeof at);
            XXH3_64bits_update(hash, object->data + at, bytes);
        }
    }
}

static void hash_directory(const struct state *state, uint32_t dir, XXH3_state_t *hash)
{
    for (uint32_t i = first_of(state, dir); i < state->slot_count && state->slots[i].dir == dir; i++) {
        const struct slot   *slot = &state->slots[i];
        const struct object *object = &state->objects[slot->file];

        XXH3_64bits_update(hash, slot->name, strlen(slot->name) + 1);
        XXH3_64bits_update(hash, &object->kind, sizeof object->kind);
        if (object->kind == OBJECT_DIRECTORY && object->links == 1 && slot->file != TRACE_ROOT)
            hash_directory(state, slot->file, hash);
        else if (object->kind == OBJECT_SYMLINK)
            XXH3_64bits_update(hash, object->target, strlen(object->target) + 1);
        else if (object->kind == OBJECT_FILE)
            hash_object(state, slot->file, hash);
    }
    XXH3_64bits_update(hash, "", 1); /* the end of a directory counts too */
}

uint64_t state_hash(const struct state *state)
{
    XXH3_state_t hash;

    XXH3_64bits_reset(&hash);
    hash_directory(state, TRACE_ROOT, &hash);
    return XXH3_64bits_digest(&hash);
}

static bool write_pages(const struct object *object, int fd)
{
    uint64_t visible = least(object->bytes, object->extent), last = (visible + PAGE - 1) / PAGE;

    if (ftruncate(fd, (off_t)object->bytes) != 0)
        return false;
    for (uint64_t page = 0; object->data && (page = next_touched(object, page, last)) < last;) {
        uint64_t at = page * PAGE, end;

        while (page < last && object->touched[page])
            page++;
        end = least(page * PAGE, visible);
        while (at < end) {
            ssize_t n = pwrite(fd, object->data + at, end - at, (off_t)at);

            if (n <= 0)
                return false;
            at += (uint64_t)n;
        }
    }
    return true;
}

static bool write_file(const struct state *state, const struct object *object, const char *path)
{
    int  fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644), from;
    bool ok = false;

    if (fd < 0) {
        fail_set("create %s: %s", path, strerror(errno));
        return false;
    }
    if (object->base && !object->data && object->base_bytes > 0) {
        from = open_base(state, object);
        if (from < 0)
            goto out;
        ok = ftruncate(fd, (off_t)object->bytes) == 0 && tree_copy_bytes(from, fd, (off_t)object->base_bytes);
        close(from);
    } else {
        ok = write_pages(object, fd);
    }
    if (!ok)
        fail_set("write %s: %s", path, strerror(errno));
out:
    close(fd);
    return ok;
}

/* paths[file] is where a file with several names was written first. */
static bool write_directory(const struct state *state, uint32_t dir, char path[PATH_MAX], char **paths)
{
    size_t used = strlen(path);
    bool   ok = true;

    for (uint32_t i = first_of(state, dir); ok && i < state->slot_count && state->slots[i].dir == dir; i++) {
        const struct slot   *slot = &state->slots[i];
        const struct object *object = &state->objects[slot->file];

        if ((size_t)snprintf(path + used, PATH_MAX - used, "/%s", slot->name) >= PATH_MAX - used) {
            fail_set("%s/%s: the path is too long", path, slot->name);
            return false;
        }
        switch (object->kind) {
        case OBJECT_DIRECTORY:
            if (slot->file == TRACE_ROOT || object->links != 1) {
                fail_set("the trace has the directory %s in two places", path);
                return false;
            }
            ok = tree_make_empty(path) && write_directory(state, slot->file, path, paths);
            break;
        case OBJECT_SYMLINK:
            ok = symlink(object->target, path) == 0;
            if (!ok)
                fail_set("make the link %s: %s", path, strerror(errno));
            break;
        default:
            if (object->links > 1 && paths[slot->file]) {
                ok = link(paths[slot->file], path) == 0;
                if (!ok)
                    fail_set("link %s: %s", path, strerror(errno));
                break;
            }
            ok = write_file(state, object, path);
            if (ok && object->links > 1) {
                paths[slot->file] = strdup(path);
                if (!paths[slot->file])
                    ok = no_memory();
            }
            break;
        }
        path[used] = '\0';
    }
    return ok;
}

bool state_write(const struct state *state, const char *out_dir)
{
    char   path[PATH_MAX];
    char **paths;
    bool   ok;

    if ((size_t)snprintf(path, sizeof path, "%s", out_dir) >= sizeof path) {
        fail_set("%s: the path is too long", out_dir);
        return false;
    }
    if (!tree_make_empty(out_dir))
        return false;
    paths = calloc(state->object_count, sizeof *paths);
    if (!paths)
        return no_memory();
    ok = write_directory(state, TRACE_ROOT, path, paths);
    for (uint32_t file = 0; file < state->object_count; file++)
        free(paths[file]);
    free(paths);
    return ok;
}

bool state_build(const struct trace *trace, uint64_t upto, const struct disk_profile *profile, uint64_t seed,
                 const char *base_dir, const char *out_dir)
{
    struct state *state = state_make(trace, upto, STATE_NO_CUT, profile, seed, base_dir);
    bool          ok = state && state_write(state, out_dir);

    state_free(state);
    return ok;
}
