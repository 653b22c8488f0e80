/* iterate.c -- the heap of sources. */
#include "engines/lsm/iterate.h"

#include <stdio.h>
#include <stdlib.h>

struct source {
    const struct entry *entry; /* where it stands */
    uint64_t            prefix;
    bool                of_memtable;
    union {
        struct memtable_cursor memtable;
        struct {
            struct table *const *table;
            size_t               count, at;
            struct table_cursor  cursor;
            struct epoch_slot   *slot;
            bool                 open, streams;
        } run;
    };
};

kv_status iterator_open(struct iterator *iterator, size_t sources_max)
{
    *iterator = (struct iterator){.heap = calloc(sources_max ? sources_max : 1, sizeof *iterator->heap)};
    return iterator->heap ? KV_OK : kv_fail(KV_NO_MEMORY, "no memory for an iterator");
}

static void run_close(struct source *source)
{
    if (source->run.open)
        table_cursor_close(&source->run.cursor);
    source->run.open = false;
}

void iterator_close(struct iterator *iterator)
{
    for (size_t i = 0; i < iterator->count; i++) {
        if (iterator->heap[i]->of_memtable)
            memtable_cursor_close(&iterator->heap[i]->memtable);
        else
            run_close(iterator->heap[i]);
        free(iterator->heap[i]);
    }
    free(iterator->heap);
    buf_free(&iterator->last);
    *iterator = (struct iterator){0};
}

kv_status iterator_add_memtable(struct iterator *iterator, struct memtable *memtable, uint64_t seq)
{
    struct source *source = calloc(1, sizeof *source);
    kv_status      status;

    if (!source)
        return kv_fail(KV_NO_MEMORY, "no memory for an iterator");
    source->of_memtable = true;
    status = memtable_cursor_open(&source->memtable, memtable, seq);
    if (status == KV_OK)
        iterator->heap[iterator->count++] = source;
    else
        free(source);
    return status;
}

kv_status iterator_add_tables(struct iterator *iterator, struct table *const *tables, size_t count, struct epoch_slot *slot, bool streams)
{
    struct source *source = calloc(1, sizeof *source);

    if (!source)
        return kv_fail(KV_NO_MEMORY, "no memory for an iterator");
    source->run.table = tables;
    source->run.count = count;
    source->run.slot = slot;
    source->run.streams = streams;
    iterator->heap[iterator->count++] = source;
    return KV_OK;
}

/* ---- One source. ---- */

/* Stands on an entry, or is at its end; false also after a failure, which is the iterator's then. */
static bool stand(struct iterator *iterator, struct source *source, bool more, const struct entry *entry, kv_status status)
{
    if (status != KV_OK && iterator->status == KV_OK) {
        iterator->status = status;
        snprintf(iterator->said, sizeof iterator->said, "%s", fail_text());
    }
    if (!more)
        return false;
    source->entry = entry;
    source->prefix = key_prefix(entry->key);
    return true;
}

/* Through the run's tables from source->run.at on. */
static bool run_enter(struct iterator *iterator, struct source *source, slice first)
{
    kv_status status = KV_OK;
    bool      more = false;

    while (!more && status == KV_OK && source->run.at < source->run.count) {
        run_close(source);
        table_cursor_open(&source->run.cursor, source->run.table[source->run.at++], source->run.slot, source->run.streams);
        source->run.open = true;
        more = table_cursor_seek(&source->run.cursor, first);
        status = source->run.cursor.status;
        first = (slice){0};
    }
    return stand(iterator, source, more, more ? table_cursor_entry(&source->run.cursor) : NULL, status);
}

static bool source_seek(struct iterator *iterator, struct source *source, slice first)
{
    if (source->of_memtable)
        return stand(iterator, source, memtable_cursor_seek(&source->memtable, first), &source->memtable.entry, KV_OK);
    struct run_of_tables run = {.count = source->run.count, .table = (struct table **)source->run.table};
    source->run.at = first.size ? run_lower_bound(&run, first) : 0;
    return run_enter(iterator, source, first);
}

static bool source_next(struct iterator *iterator, struct source *source)
{
    if (source->of_memtable)
        return stand(iterator, source, memtable_cursor_next(&source->memtable), &source->memtable.entry, KV_OK);
    if (table_cursor_next(&source->run.cursor))
        return stand(iterator, source, true, table_cursor_entry(&source->run.cursor), KV_OK);
    if (source->run.cursor.status != KV_OK)
        return stand(iterator, source, false, NULL, source->run.cursor.status);
    return run_enter(iterator, source, (slice){0});
}

/* ---- The heap. ---- */

static inline bool before(const struct source *a, const struct source *b)
{
    return a->prefix != b->prefix ? a->prefix < b->prefix : entry_compare(a->entry, b->entry) < 0;
}

static void sift_down(struct iterator *iterator, size_t place)
{
    struct source **heap = iterator->heap, *moved = heap[place];

    for (size_t child; (child = 2 * place + 1) < iterator->live; place = child) {
        if (child + 1 < iterator->live && before(heap[child + 1], heap[child]))
            child++;
        if (!before(heap[child], moved))
            break;
        heap[place] = heap[child];
    }
    heap[place] = moved;
}

/* The source at the place is at its end. */
static void drop(struct iterator *iterator, size_t place)
{
    struct source *gone = iterator->heap[place];

    iterator->heap[place] = iterator->heap[--iterator->live];
    iterator->heap[iterator->live] = gone;
}

bool iterator_seek(struct iterator *iterator, slice first)
{
    iterator->status = KV_OK;
    iterator->live = iterator->count;
    for (size_t i = 0; i < iterator->live;) {
        if (source_seek(iterator, iterator->heap[i], first))
            i++;
        else
            drop(iterator, i);
    }
    for (size_t place = iterator->live / 2; place-- > 0;)
        sift_down(iterator, place);
    return iterator->live > 0 && iterator->status == KV_OK;
}

const struct entry *iterator_entry(const struct iterator *iterator)
{
    return iterator->heap[0]->entry;
}

bool iterator_next(struct iterator *iterator)
{
    if (!source_next(iterator, iterator->heap[0]))
        drop(iterator, 0);
    if (iterator->live > 1)
        sift_down(iterator, 0);
    return iterator->live > 0 && iterator->status == KV_OK;
}

bool iterator_next_key(struct iterator *iterator)
{
    slice    key = iterator_entry(iterator)->key;
    uint64_t prefix = iterator->heap[0]->prefix;

    iterator->last.size = 0;
    if ((iterator->status = buf_append(&iterator->last, key.data, key.size)) != KV_OK)
        return false;
    while (iterator_next(iterator))
        if (iterator->heap[0]->prefix != prefix || !slice_equal(iterator_entry(iterator)->key, buf_slice(&iterator->last)))
            return true;
    return false;
}
