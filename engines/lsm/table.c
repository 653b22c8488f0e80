/* table.c -- opening a table and finding entries in it. */
#include "engines/lsm/table.h"

#include <inttypes.h>
#include <lz4.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#define STREAK_MAX   4u                    /* misses in a row, from which a cursor reads ahead */
#define AHEAD_BYTES  (UINT32_C(256) << 10) /* so much */
#define STREAM_BYTES (UINT32_C(1) << 20)   /* or so much, when it reads all anyway */
#define ENTRY_LINES  10u                   /* cache lines of a block that are asked for around where an entry should be */
#define FRAME_AHEAD  4096u                 /* bytes of a mapped frame that are asked for at once, before its sum is taken */
#define RAW_BYTES_MAX (UINT32_C(3) << 29)  /* of a frame; larger is damage */

static kv_status damaged(const struct table *table, uint64_t offset, const char *what)
{
    return kv_fail(KV_CORRUPT, "%s at %" PRIu64 ": %s", table->file.file.path, offset, what);
}

/* ---- Frames. ---- */

/* Checks the frame that stands at `bytes`; tail is out.  The payload is what lies before the tail. */
static kv_status check_frame(const struct table *table, struct table_frame where, const char *bytes, struct frame_tail *tail)
{
    memcpy(tail, bytes + where.bytes - sizeof *tail, sizeof *tail);
    if (tail->sum != XXH3_64bits_withSeed(bytes, where.bytes - sizeof tail->sum, table->salt + where.offset))
        return damaged(table, where.offset, "the checksum of a frame is wrong");
    if (tail->kind > 1 || tail->raw_bytes > RAW_BYTES_MAX ||
        (tail->kind == 0 && tail->raw_bytes != where.bytes - sizeof *tail))
        return damaged(table, where.offset, "a frame's kind or length is wrong");
    return KV_OK;
}

/* tail->raw_bytes of them, to out. */
static kv_status unpack(const struct table *table, struct table_frame where, const char *bytes, const struct frame_tail *tail,
                        char *out)
{
    size_t payload = where.bytes - sizeof *tail;

    if (tail->kind == 0)
        memcpy(out, bytes, payload);
    else if (LZ4_decompress_safe(bytes, out, (int)payload, (int)tail->raw_bytes) != (int)tail->raw_bytes)
        return damaged(table, where.offset, "a block does not unpack");
    return KV_OK;
}

static kv_status read_exactly(struct table *table, char *out, uint64_t bytes, uint64_t offset)
{
    size_t got;

    TRY(reopened_read_at(&table->file, out, bytes, offset, &got));
    return got == bytes ? KV_OK : damaged(table, offset + got, "the file is cut off");
}

/* The payload of a frame of the table's own; *out is the caller's to free. */
static kv_status read_part(struct table *table, struct table_frame where, char **out, uint64_t *bytes)
{
    struct frame_tail tail;
    char             *memory;
    kv_status         status;

    *out = NULL;
    *bytes = 0;
    if (where.bytes < sizeof tail || where.bytes > table->bytes || where.offset > table->bytes - where.bytes)
        return damaged(table, table->bytes - sizeof(struct table_footer), "the footer points outside of the file");
    memory = malloc(where.bytes);
    if (!memory)
        return kv_fail(KV_NO_MEMORY, "no memory for %" PRIu64 " bytes of %s", where.bytes, table->file.file.path);
    status = read_exactly(table, memory, where.bytes, where.offset);
    if (status == KV_OK)
        status = check_frame(table, where, memory, &tail);
    if (status == KV_OK && tail.kind != 0)
        status = damaged(table, where.offset, "a frame that is never packed is packed");
    if (status != KV_OK) {
        free(memory);
        return status;
    }
    *out = memory;
    *bytes = where.bytes - sizeof tail;
    return KV_OK;
}

/* ---- Opening. ---- */

static kv_status read_footer(struct table *table, struct table_footer *footer)
{
    TRY(reopened_size(&table->file, &table->bytes));
    if (table->bytes < sizeof *footer)
        return damaged(table, table->bytes, "too short for a table");
    TRY(read_exactly(table, (char *)footer, sizeof *footer, table->bytes - sizeof *footer));
    if (memcmp(footer->magic, TABLE_MAGIC, sizeof footer->magic) != 0 ||
        footer->sum != XXH3_64bits(footer, offsetof(struct table_footer, sum)))
        return damaged(table, table->bytes - sizeof *footer, "the footer is damaged");
    if (footer->version != TABLE_VERSION)
        return kv_fail(KV_MISMATCH, "%s has format %" PRIu32 ", this program reads %u", table->file.file.path, footer->version,
                       TABLE_VERSION);
    if (!table->id)
        table->id = footer->id;
    if (footer->id != table->id)
        return damaged(table, table->bytes - sizeof *footer, "it is another table under this one's name");
    table->salt = footer->salt;
    return KV_OK;
}

static kv_status read_properties(struct table *table, struct table_frame where, char **memory)
{
    uint64_t bytes;

    TRY(read_part(table, where, memory, &bytes));
    if (bytes < sizeof table->is)
        return damaged(table, where.offset, "the properties are too short");
    memcpy(&table->is, *memory, sizeof table->is);
    if (bytes != sizeof table->is + (uint64_t)table->is.smallest_bytes + table->is.largest_bytes ||
        table->is.filter_probes > FILTER_PROBES_MAX || table->is.filter_hashes >= FILTER_KINDS || table->is.layout >= LAYOUTS || !table->is.blocks || !table->is.entries)
        return damaged(table, where.offset, "the properties contradict themselves");
    table->smallest = slice_of(*memory + sizeof table->is, table->is.smallest_bytes);
    table->largest = slice_of(*memory + sizeof table->is + table->is.smallest_bytes, table->is.largest_bytes);
    return KV_OK;
}

static kv_status parse_index(struct table *table, struct table_frame where, const char *at, uint64_t bytes, uint64_t blocks_end)
{
    const char *end = at + bytes;
    uint64_t    expected = 0;

    for (size_t i = 0; i < table->is.blocks; i++) {
        uint64_t offset;
        uint32_t frame_bytes, key_bytes;
        if ((size_t)(end - at) < 16)
            return damaged(table, where.offset, "the index is too short");
        memcpy(&offset, at, 8);
        memcpy(&frame_bytes, at + 8, 4);
        memcpy(&key_bytes, at + 12, 4);
        at += 16;
        if (key_bytes > (size_t)(end - at) || frame_bytes <= sizeof(struct frame_tail) || offset != expected ||
            frame_bytes > blocks_end - offset)
            return damaged(table, where.offset, "the index points to what cannot be");
        expected = offset + frame_bytes;
        table->frame[i] = (struct table_frame){offset, frame_bytes};
        table->key[i] = slice_of(at, key_bytes);
        if (i > 0 && slice_compare(table->key[i - 1], table->key[i]) >= 0)
            return damaged(table, where.offset, "the index is not in order");
        at += key_bytes;
    }
    return at == end && expected == blocks_end ? KV_OK : damaged(table, where.offset, "the index has too many bytes");
}

/* Behind what all keys of the table begin with. */
static uint64_t prefix_behind(const struct table *table, slice key)
{
    return key_prefix(slice_of((const char *)key.data + table->shared, key.size - table->shared));
}

static uint64_t group_of(const struct table *table, uint64_t prefix)
{
    return prefix <= table->first_prefix ? 0 : (prefix - table->first_prefix) >> table->first_shift;
}

/* What all keys begin with tells nothing: the 8 bytes behind it do. */
static void make_prefixes(struct table *table)
{
    const char *first = table->smallest.data, *last = table->largest.data;

    while (table->shared < table->smallest.size && table->shared < table->largest.size &&
           first[table->shared] == last[table->shared])
        table->shared++;
    for (size_t i = 0; i < table->is.blocks; i++) {
        slice key = table->key[i];
        table->row[i].prefix = key.size > table->shared ? prefix_behind(table, key) : 0;
    }
}

/* Keys that are spread evenly are found with few steps: as many groups of prefixes as there are blocks, or more. */
static kv_status make_groups(struct table *table)
{
    size_t   blocks = table->is.blocks, block = 0;
    uint64_t span;

    table->first_prefix = table->row[blocks > 1].prefix; /* the first block's key may be cut to nothing */
    span = table->row[blocks - 1].prefix - table->first_prefix;
    while (span >> table->first_shift >= blocks)
        table->first_shift++;
    table->first_count = (uint32_t)(span >> table->first_shift) + 1;
    if (!(table->first = calloc(table->first_count + 1, sizeof *table->first)))
        return kv_fail(KV_NO_MEMORY, "no memory for the index of %s", table->file.file.path);
    table->memory_bytes += (table->first_count + 1) * sizeof *table->first;
    for (uint32_t group = 0; group <= table->first_count; group++) {
        while (block < blocks && group_of(table, table->row[block].prefix) < group)
            block++;
        table->first[group] = (uint32_t)block;
    }
    return KV_OK;
}

static kv_status read_index(struct table *table, const struct table_footer *footer, const char *index, uint64_t bytes)
{
    size_t blocks = table->is.blocks;

    if (blocks > bytes / 16)
        return damaged(table, footer->index.offset, "the index is too short");
    table->row = calloc(blocks, sizeof *table->row);
    table->frame = calloc(blocks, sizeof *table->frame);
    table->key = calloc(blocks, sizeof *table->key);
    if (!table->row || !table->frame || !table->key)
        return kv_fail(KV_NO_MEMORY, "no memory for the index of %s", table->file.file.path);
    table->memory_bytes += blocks * (sizeof *table->row + sizeof *table->frame + sizeof *table->key);
    TRY(parse_index(table, footer->index, index, bytes, footer->index.offset));
    make_prefixes(table);
    table->places_max = (uint16_t)(table->is.entries / blocks < 2000 ? 5 * table->is.entries / blocks / 4 + 4 : 0);
    return make_groups(table);
}

static kv_status read_filter(struct table *table, struct table_frame where)
{
    char *filter;

    TRY(read_part(table, where, &filter, &table->filter_bytes));
    table->filter = (unsigned char *)filter;
    if ((table->filter_bytes > 0) != (table->is.filter_probes > 0) || table->filter_bytes % FILTER_LINE_BYTES ||
        table->filter_bytes >> 32)
        return damaged(table, where.offset, "the filter has an impossible size");
    table->memory_bytes += table->filter_bytes;
    return KV_OK;
}

/* All of what the size at opening says, so no read that the index allows is behind the end.  A table that cannot be mapped (there
 * are only so many mappings in a process) is read like any other. */
static void map(struct table *table)
{
    int fd;

    if (reopened_pin(&table->file, &fd) != KV_OK)
        return;
    if (file_map(&table->file.file, table->bytes, false, &table->map) != KV_OK)
        table->map = NULL;
    reopened_unpin(&table->file);
    if (table->map)
        madvise(table->map, table->bytes, MADV_RANDOM); /* without it, it only takes longer */
}

static void table_free(struct table *table)
{
    for (size_t i = 0; table->row && i < table->is.blocks; i++)
        if (__atomic_load_n(&table->row[i].block, __ATOMIC_ACQUIRE)) /* the cache may throw one out just now */
            cache_remove(table->cache, &table->row[i].block);
    file_unmap(table->map, table->bytes);
    reopened_close(&table->file);
    free(table->filter);
    free(table->row);
    free(table->first);
    free(table->frame);
    free(table->key);
    free(table->memory);
    free(table->properties);
    free(table);
}

kv_status table_open(const char *dir, uint64_t id, struct cache *cache, struct table **out)
{
    char name[TABLE_NAME_MAX];

    return table_open_named(dir, table_name(name, id), id, cache, out);
}

kv_status table_open_named(const char *dir, const char *name, uint64_t id, struct cache *cache, struct table **out)
{
    struct table       *table = calloc(1, sizeof *table);
    struct table_footer footer;
    uint64_t            bytes = 0;
    kv_status           status;

    *out = NULL;
    if (!table)
        return kv_fail(KV_NO_MEMORY, "no memory for a table");
    table->id = id;
    table->references = 1;
    table->cache = cache;
    status = reopened_open(&table->file, cache_files(cache), dir, name);
    if (status != KV_OK) {
        free(table);
        return status;
    }
    if ((status = read_footer(table, &footer)) == KV_OK &&
        (status = read_properties(table, footer.properties, &table->properties)) == KV_OK &&
        (status = read_part(table, footer.index, &table->memory, &bytes)) == KV_OK &&
        (status = read_index(table, &footer, table->memory, bytes)) == KV_OK &&
        (status = read_filter(table, footer.filter)) == KV_OK) {
        table->memory_bytes += sizeof *table + bytes;
        if (cache_maps(cache))
            map(table);
        *out = table;
        return KV_OK;
    }
    table_free(table);
    return status;
}

void table_release(struct table *table)
{
    if (!table || __atomic_sub_fetch(&table->references, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    if (__atomic_load_n(&table->obsolete, __ATOMIC_ACQUIRE) && unlink(table->file.file.path) < 0) {
        /* no version names it, so the next open removes it */
    }
    table_free(table);
}

/* ---- Finding. ---- */

/* The last of `count` blocks from `low` on whose key is not above this one, or the first. */
static size_t find_by_key(const struct table *table, size_t low, size_t count, slice key)
{
    while (count > 1) {
        size_t half = count / 2;
        low = slice_compare(table->key[low + half], key) <= 0 ? low + half : low;
        count -= half;
    }
    return low;
}

void table_ask(const struct table *table, slice key, uint64_t hash)
{
    uint64_t group = key.size > table->shared ? group_of(table, prefix_behind(table, key)) : 0;

    if (table->filter_bytes && table->is.filter_hashes == FILTER_ONE_HASH)
        __builtin_prefetch(table->filter + filter_line(table->filter_bytes, hash));
    if (group < table->first_count)
        __builtin_prefetch(&table->row[table->first[group] ? table->first[group] - 1 : 0]);
}

size_t table_find_block(const struct table *table, slice key)
{
    const struct table_row *row = table->row;
    size_t                  low = 0, count = table->is.blocks;
    uint64_t                wanted, group;
    int                     order;

    if (key.size <= table->shared)
        return find_by_key(table, 0, count, key);
    if ((order = memcmp(key.data, table->smallest.data, table->shared)) != 0)
        return order < 0 ? 0 : count - 1;
    wanted = prefix_behind(table, key);
    group = group_of(table, wanted);
    if (group >= table->first_count) {
        low = count - 1;
    } else {
        low = table->first[group] ? table->first[group] - 1 : 0;
        count = table->first[group + 1] - low;
        /* The last block whose prefix is not above: without a branch that could be guessed wrong. */
        while (count > 1) {
            size_t half = count / 2;
            low = row[low + half].prefix <= wanted ? low + half : low;
            count -= half;
        }
    }
    /* Equal prefixes are told apart by the keys. */
    if (row[low].prefix != wanted || slice_compare(table->key[low], key) <= 0)
        return low;
    return find_by_key(table, 0, low, key);
}

static slice payload_of(const struct cached_block *block)
{
    return slice_of(cached_payload(block), block->bytes);
}

static void note_places(struct table *table, struct cached_block *block)
{
    struct block_view view;

    if (block_view_of(payload_of(block), (enum block_layout)table->is.layout, table->is.base_seq, &view)) {
        block->places = (uint16_t)block_places(&view, block->place, block->places_max);
        block->entries_bytes = (uint32_t)(view.restarts - view.data);
        __atomic_store_n(&table->entries_at, (uint32_t)(view.data - (const char *)block), __ATOMIC_RELAXED);
        __atomic_store_n(&table->entries_bytes, block->entries_bytes, __ATOMIC_RELAXED);
    }
}

/* A block of our own from a frame that was checked.  searched: it may come into the cache, with its places. */
static kv_status copy_out(struct table *table, struct table_frame where, const char *frame, const struct frame_tail *tail,
                          bool searched, struct cached_block **out)
{
    kv_status status;

    if (!(*out = cached_block_new(searched ? table->cache : NULL, tail->raw_bytes, searched ? table->places_max : 0)))
        return KV_NO_MEMORY;
    status = unpack(table, where, frame, tail, cached_payload(*out));
    if (status != KV_OK) {
        cached_block_release(*out);
        *out = NULL;
    }
    return status;
}

/* Its places are noted where it will be searched again: to find them takes longer than to search it once without. */
static struct cached_block *to_cache(struct table *table, struct epoch_slot *slot, size_t number, struct cached_block *block)
{
    struct cached_block **home = &table->row[number].block;

    if (!cache_admits(table->cache, slot, home, block)) {
        cached_block_lend(slot, block);
        return block;
    }
    note_places(table, block);
    return cache_add(table->cache, slot, home, block);
}

kv_status table_take_in(struct table *table, struct epoch_slot *slot, size_t number, const char *frame, struct cached_block **out)
{
    struct frame_tail    tail;
    struct cached_block *block;

    *out = NULL;
    TRY(check_frame(table, table->frame[number], frame, &tail));
    TRY(copy_out(table, table->frame[number], frame, &tail, true, &block));
    *out = to_cache(table, slot, number, block);
    return KV_OK;
}

static kv_status load(struct table *table, struct epoch_slot *slot, size_t number, struct cached_block **out)
{
    struct table_frame   where = table->frame[number];
    bool                 reuses = cache_reuses(table->cache);
    char                 small[16384], *bytes = small;
    struct cached_block *large = NULL; /* its memory for a frame that is */
    kv_status            status;

    *out = NULL;
    if (where.bytes > sizeof small || !reuses) {
        if (!(large = cached_block_new(reuses ? table->cache : NULL, where.bytes, 0)))
            return KV_NO_MEMORY;
        bytes = cached_payload(large);
    }
    status = read_exactly(table, bytes, where.bytes, where.offset);
    if (status == KV_OK)
        status = table_take_in(table, slot, number, bytes, out);
    cached_block_release(large);
    return status;
}

/* A block that is not in the cache, in the mapping.  The sum is checked each time: the kernel may have dropped the page since, and
 * read it again.  A plain block is used where it lies; *block stays NULL.  cached: a packed one goes to the cache; else the copy
 * is the caller's. */
static kv_status look_into_map(struct table *table, struct epoch_slot *slot, size_t number, bool cached, struct cached_block **block,
                               slice *payload)
{
    struct table_frame where = table->frame[number];
    struct frame_tail  tail;

    for (uint64_t at = 0; at < where.bytes && at < FRAME_AHEAD; at += 64)
        __builtin_prefetch(table->map + where.offset + at);
    TRY(check_frame(table, where, table->map + where.offset, &tail));
    if (tail.kind == 0) {
        *payload = slice_of(table->map + where.offset, tail.raw_bytes);
        return KV_OK;
    }
    TRY(copy_out(table, where, table->map + where.offset, &tail, cached, block));
    if (cached)
        *block = to_cache(table, slot, number, *block);
    *payload = payload_of(*block);
    return KV_OK;
}

/* block: whose payload it is, or NULL. */
static kv_status view_of(const struct table *table, size_t number, const struct cached_block *block, slice payload,
                         struct block_view *out)
{
    enum block_layout layout = (enum block_layout)table->is.layout;

    if (block && block->places) {
        *out = block_view_again(payload, block->entries_bytes, layout, table->is.base_seq);
        out->places = block->places;
        out->place = block->place;
    } else if (!block_view_of(payload, layout, table->is.base_seq, out)) {
        return damaged(table, table->frame[number].offset, "a block contradicts itself");
    }
    return KV_OK;
}

/* block: whose payload it is, or NULL. */
static kv_status search(const struct table *table, size_t number, const struct cached_block *block, slice payload, slice key,
                        uint64_t seq, struct entry *out)
{
    struct block_view view;

    TRY(view_of(table, number, block, payload, &view));
    switch (block_get(&view, key, seq, out)) {
    case BLOCK_FOUND:
        return KV_OK;
    case BLOCK_ABSENT:
        return KV_NOT_FOUND;
    default:
        return damaged(table, table->frame[number].offset, "a block's entries contradict themselves");
    }
}

kv_status table_search(const struct table *table, size_t number, const struct cached_block *block, slice key, uint64_t seq,
                       struct entry *out)
{
    return search(table, number, block, payload_of(block), key, seq, out);
}

/* Keys that are spread evenly tell by interpolation (Peterson 1957) where in its block an entry is, give or take a few: so it comes
 * together with the places, and not after them. */
static void ask_for_entry(const struct table *table, size_t number, slice key)
{
    const struct table_row *row = &table->row[number];
    uintptr_t               block = (uintptr_t)__atomic_load_n(&row->block, __ATOMIC_RELAXED);
    uint32_t                bytes = __atomic_load_n(&table->entries_bytes, __ATOMIC_RELAXED), middle, from;
    uint64_t                behind, span;

    if (!block || number + 1 >= table->is.blocks || key.size <= table->shared)
        return;
    behind = prefix_behind(table, key) - row[0].prefix;
    span = row[1].prefix - row[0].prefix;
    if (behind >= span)
        return;
    middle = (uint32_t)((double)bytes * ((double)behind / (double)span));
    from = middle < ENTRY_LINES * 32 ? 0 : middle - ENTRY_LINES * 32;
    block += __atomic_load_n(&table->entries_at, __ATOMIC_RELAXED);
    for (uint32_t at = from; at < from + ENTRY_LINES * 64 && at < bytes; at += 64)
        __builtin_prefetch((const void *)(block + at));
}

kv_status table_get_in(struct table *table, struct epoch_slot *slot, size_t number, slice key, uint64_t seq, struct entry *out)
{
    struct cached_block *block;
    slice                payload;

    ask_for_entry(table, number, key);
    block = cache_find(&table->row[number].block);
    if (!block && table->map) {
        TRY(look_into_map(table, slot, number, true, &block, &payload));
        return search(table, number, block, payload, key, seq, out);
    }
    if (!block)
        TRY(load(table, slot, number, &block));
    return search(table, number, block, payload_of(block), key, seq, out);
}

kv_status table_get(struct table *table, struct epoch_slot *slot, slice key, uint64_t seq, struct entry *out)
{
    return table_get_in(table, slot, table_find_block(table, key), key, seq, out);
}

/* ---- The cursor. ---- */

void table_cursor_open(struct table_cursor *cursor, struct table *table, struct epoch_slot *slot, bool streams)
{
    *cursor = (struct table_cursor){.table = table, .slot = slot, .streams = streams};
    table_keep(table);
}

void table_cursor_close(struct table_cursor *cursor)
{
    cached_block_release(cursor->held);
    block_cursor_free(&cursor->in);
    buf_free(&cursor->ahead);
    table_release(cursor->table);
    *cursor = (struct table_cursor){0};
}

/* Fills `ahead` so that it has the frame.  The kernel is not asked for what comes next: it sees that by itself, and telling it
 * gained nothing (scans and merges of 1 GB from a cold disk, ten interleaved runs). */
static kv_status read_ahead(struct table_cursor *cursor, struct table_frame where)
{
    struct table *table = cursor->table;
    uint64_t      blocks_end = table->frame[table->is.blocks - 1].offset + table->frame[table->is.blocks - 1].bytes;
    uint64_t      bytes = cursor->streams ? STREAM_BYTES : AHEAD_BYTES;

    if (cursor->ahead.size && where.offset >= cursor->ahead_at &&
        where.offset + where.bytes <= cursor->ahead_at + cursor->ahead.size)
        return KV_OK;
    if (bytes < where.bytes)
        bytes = where.bytes;
    if (bytes > blocks_end - where.offset)
        bytes = blocks_end - where.offset;
    if (!cache_reuses(table->cache))
        buf_free(&cursor->ahead);
    cursor->ahead.size = 0;
    TRY(buf_reserve(&cursor->ahead, bytes));
    TRY(read_exactly(table, cursor->ahead.data, bytes, where.offset));
    cursor->ahead.size = bytes;
    cursor->ahead_at = where.offset;
    return KV_OK;
}

/* A block of our own, from what was read ahead. */
static kv_status take_ahead(struct table_cursor *cursor, size_t number, struct cached_block **out)
{
    struct table_frame where = cursor->table->frame[number];
    struct frame_tail  tail;
    const char        *bytes;

    TRY(read_ahead(cursor, where));
    bytes = cursor->ahead.data + (where.offset - cursor->ahead_at);
    TRY(check_frame(cursor->table, where, bytes, &tail));
    return copy_out(cursor->table, where, bytes, &tail, false, out);
}

/* The mapping says that it is read at random: who goes on and on says what comes next. */
static void ask_ahead(struct table_cursor *cursor, struct table_frame where)
{
    uint64_t from = where.offset & ~UINT64_C(4095), bytes = AHEAD_BYTES;

    if (where.offset >= cursor->ahead_at && where.offset + where.bytes <= cursor->ahead_at + AHEAD_BYTES)
        return;
    if (bytes > cursor->table->bytes - from)
        bytes = cursor->table->bytes - from;
    madvise(cursor->table->map + from, bytes, MADV_WILLNEED); /* without it, it only takes longer */
    cursor->ahead_at = where.offset;
}

/* The beginning of the next block, so that it is there when this one is over. */
static void ask_for_next(const struct table *table, size_t number)
{
    const char *next = number + 1 < table->is.blocks ? (const char *)__atomic_load_n(&table->row[number + 1].block, __ATOMIC_RELAXED)
                                                     : NULL;

    for (size_t at = 0; next && at < 6 * 64; at += 64)
        __builtin_prefetch(next + at);
}

static kv_status hold(struct table_cursor *cursor, size_t number)
{
    struct table        *table = cursor->table;
    struct cached_block *block;
    struct block_view    view;
    slice                payload = {0};
    bool                 mapped = table->map && !cursor->streams, ours = false;
    kv_status            status = KV_OK;

    epoch_enter(cursor->slot);
    block = cache_find(&table->row[number].block);
    if (block) {
        cursor->streak = 0;
        ask_for_next(table, number);
    } else {
        ours = cursor->streams || ++cursor->streak > STREAK_MAX;
    }
    if (!block && mapped) {
        if (ours)
            ask_ahead(cursor, table->frame[number]);
        status = look_into_map(table, cursor->slot, number, !ours, &block, &payload);
    } else if (!block && !ours) {
        status = load(table, cursor->slot, number, &block);
    }
    if (block && !ours)
        cached_block_keep(block);
    epoch_exit(cursor->slot);
    if (status == KV_OK && !block && !mapped)
        status = take_ahead(cursor, number, &block);
    TRY(status);
    cached_block_release(cursor->held);
    cursor->held = block;
    cursor->number = number;
    TRY(view_of(table, number, block, block ? payload_of(block) : payload, &view));
    block_cursor_set(&cursor->in, &view);
    return KV_OK;
}

/* The block's entries are over: on to the next that has one. */
static bool settle(struct table_cursor *cursor)
{
    while (!cursor->in.valid) {
        if (cursor->in.damaged) {
            cursor->status = damaged(cursor->table, cursor->table->frame[cursor->number].offset,
                                     "a block's entries contradict themselves");
            return false;
        }
        if (cursor->number + 1 >= cursor->table->is.blocks)
            return false;
        if ((cursor->status = hold(cursor, cursor->number + 1)) != KV_OK)
            return false;
        block_cursor_next(&cursor->in);
    }
    return true;
}

bool table_cursor_seek(struct table_cursor *cursor, slice first)
{
    size_t number = first.size ? table_find_block(cursor->table, first) : 0;

    if ((cursor->status = hold(cursor, number)) != KV_OK)
        return false;
    if (first.size)
        block_cursor_seek(&cursor->in, first);
    else
        block_cursor_next(&cursor->in);
    return settle(cursor);
}

bool table_cursor_next(struct table_cursor *cursor)
{
    block_cursor_next(&cursor->in);
    return cursor->in.valid || settle(cursor);
}

kv_status table_verify(struct table *table, struct epoch_slot *slot)
{
    struct table_cursor cursor;
    struct buf          last = {0};
    uint64_t            last_seq = 0, entries = 0;
    kv_status           status = KV_OK;

    table_cursor_open(&cursor, table, slot, true);
    for (bool more = table_cursor_seek(&cursor, (slice){0}); more && status == KV_OK; more = table_cursor_next(&cursor)) {
        const struct entry *entry = table_cursor_entry(&cursor);
        struct entry        before = {.key = buf_slice(&last), .seq = last_seq};
        if ((entries && entry_compare(&before, entry) >= 0) || !table_covers(table, entry->key) ||
            entry->seq > table->is.last_seq || table_find_block(table, entry->key) != cursor.number) {
            status = damaged(table, table->frame[cursor.number].offset, "an entry is out of order");
        } else if (!table_may_have(table, entry->key, key_hash(entry->key))) {
            status = damaged(table, table->frame[cursor.number].offset, "the filter does not know a key");
        } else {
            last.size = 0;
            status = buf_append(&last, entry->key.data, entry->key.size);
        }
        last_seq = entry->seq;
        entries++;
    }
    if (status == KV_OK)
        status = cursor.status;
    if (status == KV_OK && entries != table->is.entries)
        status = damaged(table, table->bytes, "it has another number of entries than it says");
    table_cursor_close(&cursor);
    buf_free(&last);
    return status;
}
