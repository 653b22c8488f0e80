/* block.c -- building and searching the payload of a data block. */
#include "engines/lsm/block.h"

#include <assert.h>

#define PLACES_FEW 96u /* all are gone through; where there are more, a restart is sought first */

/* Building. */

void block_builder_reset(struct block_builder *builder)
{
    builder->bytes.size = builder->restarts.size = builder->last.size = 0;
    builder->since = builder->entries = 0;
}

void block_builder_free(struct block_builder *builder)
{
    buf_free(&builder->bytes);
    buf_free(&builder->restarts);
    buf_free(&builder->last);
}

/* How many bytes two strings have in common at their beginning, up to max. */
static inline size_t common(const char *a, const char *b, size_t max)
{
    size_t at = 0;

    while (at + 8 <= max) {
        uint64_t x, y;
        memcpy(&x, a + at, 8);
        memcpy(&y, b + at, 8);
        if (x != y)
            return at + (size_t)__builtin_ctzll(x ^ y) / 8;
        at += 8;
    }
    while (at < max && a[at] == b[at])
        at++;
    return at;
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

static kv_status add_split(struct block_builder *builder, const struct entry *entry)
{
    struct buf    *bytes = &builder->bytes;
    const uint32_t first = 0;
    const uint64_t key_bytes = entry->key.size;
    const uint64_t numbers[] = {(uint64_t)entry->value.size << 1 | (entry->type == ENTRY_PUT), entry->seq - builder->base_seq};

    assert(entry->seq >= builder->base_seq);
    if (builder->entries++ == 0)
        TRY(buf_append(&builder->restarts, &first, sizeof first));
    TRY(buf_append(bytes, &key_bytes, sizeof key_bytes));
    TRY(buf_append(bytes, entry->key.data, entry->key.size));
    TRY(buf_append(bytes, numbers, sizeof numbers));
    return buf_append(bytes, entry->value.data, entry->value.size);
}

kv_status block_builder_add(struct block_builder *builder, const struct entry *entry)
{
    if (builder->layout == LAYOUT_SPLIT)
        return add_split(builder, entry);

    struct buf *bytes = &builder->bytes, *last = &builder->last;
    uint32_t    offset = (uint32_t)bytes->size;
    size_t      shared = 0;

    TRY(buf_reserve(bytes, 4 * VARINT_BYTES_MAX + entry->key.size + entry->value.size));
    if (builder->entries == 0 || builder->since == builder->interval) {
        TRY(buf_append(&builder->restarts, &offset, sizeof offset));
        builder->since = 0;
    } else {
        shared = common(last->data, entry->key.data, smaller(last->size, entry->key.size));
    }
    last->size = shared;
    TRY(buf_append(last, (const char *)entry->key.data + shared, entry->key.size - shared));
    assert(entry->seq >= builder->base_seq);
    bytes->size += varint_write(bytes->data + bytes->size, shared);
    bytes->size += varint_write(bytes->data + bytes->size, entry->key.size - shared);
    bytes->size += varint_write(bytes->data + bytes->size, (uint64_t)entry->value.size << 1 | (entry->type == ENTRY_PUT));
    bytes->size += varint_write(bytes->data + bytes->size, entry->seq - builder->base_seq);
    memcpy(bytes->data + bytes->size, (const char *)entry->key.data + shared, entry->key.size - shared);
    bytes->size += entry->key.size - shared;
    if (entry->value.size)
        memcpy(bytes->data + bytes->size, entry->value.data, entry->value.size);
    bytes->size += entry->value.size;
    builder->since++;
    builder->entries++;
    return KV_OK;
}

kv_status block_builder_finish(struct block_builder *builder)
{
    uint32_t count = (uint32_t)(builder->restarts.size / sizeof(uint32_t));

    TRY(buf_append(&builder->bytes, builder->restarts.data, builder->restarts.size));
    return buf_append(&builder->bytes, &count, sizeof count);
}

/* Reading. */

bool block_view_of(slice payload, enum block_layout layout, uint64_t base_seq, struct block_view *out)
{
    uint32_t count;

    if (payload.size < sizeof count)
        return false;
    memcpy(&count, (const char *)payload.data + payload.size - sizeof count, sizeof count);
    if (count == 0 || count > (payload.size - sizeof count) / sizeof(uint32_t))
        return false;
    out->data = payload.data;
    out->restarts = out->data + payload.size - sizeof count - (size_t)count * sizeof(uint32_t);
    out->restart_count = count;
    out->layout = layout;
    out->base_seq = base_seq;
    out->places = 0;
    out->place = NULL;
    return true;
}

/* One entry as it stands in the payload. */
struct parsed {
    size_t      shared, unshared, value_bytes;
    uint64_t    age;
    bool        put;
    const char *key, *value, *end;
};

static bool parse_split(const struct block_view *view, const char *at, struct parsed *out)
{
    const char *end = view->restarts;
    uint64_t    numbers[2], key_bytes;

    if ((size_t)(end - at) < sizeof key_bytes + sizeof numbers)
        return false;
    memcpy(&key_bytes, at, sizeof key_bytes);
    at += sizeof key_bytes;
    if (key_bytes > (size_t)(end - at) - sizeof numbers)
        return false;
    memcpy(numbers, at + key_bytes, sizeof numbers);
    *out = (struct parsed){.unshared = key_bytes,
                           .value_bytes = numbers[0] >> 1,
                           .age = numbers[1],
                           .put = numbers[0] & 1,
                           .key = at,
                           .value = at + key_bytes + sizeof numbers};
    out->end = out->value + out->value_bytes;
    return out->value_bytes <= (size_t)(end - out->value) && (out->put || !out->value_bytes);
}

static inline bool parse_packed(const struct block_view *view, const char *at, struct parsed *out)
{
    const char *end = view->restarts;
    uint64_t    shared, unshared, tag;
    size_t      left;

    if (!(at = varint_read(at, end, &shared)) || !(at = varint_read(at, end, &unshared)) || !(at = varint_read(at, end, &tag)) ||
        !(at = varint_read(at, end, &out->age)))
        return false;
    left = (size_t)(end - at);
    if (unshared > left || tag >> 1 > left - unshared || (!(tag & 1) && tag))
        return false;
    out->shared = shared;
    out->unshared = unshared;
    out->put = tag & 1;
    out->value_bytes = tag >> 1;
    out->key = at;
    out->value = at + unshared;
    out->end = out->value + out->value_bytes;
    return true;
}

/* The layout is a parameter so that it can be a constant: a search then has one decision for the whole block. */
#define FOR_EACH_LAYOUT static inline __attribute__((always_inline))

FOR_EACH_LAYOUT bool parse(const struct block_view *view, enum block_layout layout, const char *at, struct parsed *out)
{
    return layout == LAYOUT_PACKED ? parse_packed(view, at, out) : parse_split(view, at, out);
}

static inline const char *restart_at(const struct block_view *view, uint32_t number)
{
    uint32_t offset;

    memcpy(&offset, view->restarts + (size_t)number * sizeof offset, sizeof offset);
    return offset < (size_t)(view->restarts - view->data) ? view->data + offset : NULL;
}

/* The last restart whose key is below `key`, or the first one: what is sought is not before it.  NULL: damage. */
FOR_EACH_LAYOUT const char *restart_before(const struct block_view *view, enum block_layout layout, slice key)
{
    uint32_t      low = 0, high = view->restart_count;
    struct parsed entry;

    while (high - low > 1) {
        uint32_t    middle = low + (high - low) / 2;
        const char *at = restart_at(view, middle);
        if (!at || !parse(view, layout, at, &entry) || entry.shared)
            return NULL;
        if (slice_compare(slice_of(entry.key, entry.unshared), key) < 0)
            low = middle;
        else
            high = middle;
    }
    return restart_at(view, low);
}

static void found(const struct block_view *view, slice key, const struct parsed *entry, struct entry *out)
{
    *out = (struct entry){.key = key,
                          .value = slice_of(entry->value, entry->value_bytes),
                          .seq = view->base_seq + entry->age,
                          .type = entry->put ? ENTRY_PUT : ENTRY_DELETE};
}

/*
 * No key is put together on the way.  `match` is how many bytes the entry before (which is below the key, or a version of it
 * that is too young) has in common with the key.  An entry that shares more with its predecessor stands to the key as that
 * does.  Any other begins as the key does as far as it shares, and is compared from there on, whether or not the writer could
 * have shared more.
 */
enum order { BELOW, EQUAL, ABOVE };

static inline enum order compare_rest(const struct parsed *entry, slice key, size_t *match)
{
    size_t left = key.size - entry->shared, both = smaller(entry->unshared, left),
           same = common(entry->key, (const char *)key.data + entry->shared, both);

    *match = entry->shared + same;
    if (same < both)
        return (unsigned char)entry->key[same] < ((const unsigned char *)key.data)[*match] ? BELOW : ABOVE;
    return same < left ? BELOW : same < entry->unshared ? ABOVE : EQUAL;
}

FOR_EACH_LAYOUT enum block_found search(const struct block_view *view, enum block_layout layout, slice key, uint64_t seq,
                                        struct entry *out)
{
    const char   *at = restart_before(view, layout, key);
    size_t        match = 0;
    struct parsed entry;
    enum order    order;

    if (!at || !parse(view, layout, at, &entry) || entry.shared)
        return BLOCK_DAMAGED;
    for (; at < view->restarts; at = entry.end) {
        if (!parse(view, layout, at, &entry))
            return BLOCK_DAMAGED;
        if (entry.shared > match)
            continue;
        if ((order = compare_rest(&entry, key, &match)) == ABOVE)
            return BLOCK_ABSENT;
        if (order == EQUAL && view->base_seq + entry.age <= seq) {
            found(view, key, &entry, out);
            return BLOCK_FOUND;
        }
    }
    return BLOCK_ABSENT;
}

/* The place of the last restart that is not behind the key. */
static const struct block_place *place_before(const struct block_view *view, slice key)
{
    const char *at = restart_before(view, LAYOUT_PACKED, key);
    uint32_t    low = 0, count = view->places;

    while (at && count > 1) {
        uint32_t half = count / 2;
        low = view->data + view->place[low + half].offset <= at ? low + half : low;
        count -= half;
    }
    return at ? &view->place[low] : NULL;
}

/* The same with places: only an entry that may be the key is looked at, one in most cases. */

struct sought {
    const struct block_place *first, *at;
    size_t        match;   /* bytes that the entry before `at`, which is below the key or a version of it, has in common with it */
    struct parsed entry;   /* at `at`: when it is EQUAL */
    bool          damaged;
};

static struct sought seek_from(const struct block_view *view, slice key)
{
    const struct block_place *first = view->places <= PLACES_FEW ? view->place : place_before(view, key);

    return (struct sought){.first = first, .at = first, .damaged = !first};
}

/* From sought->at to the first entry that is not below the key.  BELOW: there is none, or damage. */
static inline enum order seek_on(const struct block_view *view, slice key, struct sought *sought)
{
    const struct block_place *end = view->place + view->places, *at = sought->at;
    const unsigned char      *wanted = key.data;
    size_t                    match = sought->match;
    enum order                order = BELOW;

    for (; at < end && !sought->damaged; at++) {
        if (at != sought->first) {
            if (at->shared > match)
                continue;
            if (at->shared == match && match < key.size && at->next != wanted[match]) {
                if (at->next < wanted[match])
                    continue;
                order = ABOVE;
                break;
            }
        }
        __builtin_prefetch(view->data + at->offset + 64); /* the value is read next */
        /* What an entry leaves out is no more than it has in common with the one before; a restart leaves out nothing. */
        if (!parse(view, LAYOUT_PACKED, view->data + at->offset, &sought->entry) || sought->entry.shared > match)
            sought->damaged = true;
        else if ((order = compare_rest(&sought->entry, key, &match)) != BELOW)
            break;
    }
    sought->at = at;
    sought->match = match;
    return order;
}

static enum block_found search_places(const struct block_view *view, slice key, uint64_t seq, struct entry *out)
{
    struct sought sought = seek_from(view, key);

    while (seek_on(view, key, &sought) == EQUAL) {
        if (view->base_seq + sought.entry.age <= seq) {
            found(view, key, &sought.entry, out);
            return BLOCK_FOUND;
        }
        sought.at++;
    }
    return sought.damaged ? BLOCK_DAMAGED : BLOCK_ABSENT;
}

enum block_found block_get(const struct block_view *view, slice key, uint64_t seq, struct entry *out)
{
    if (view->places)
        return search_places(view, key, seq, out);
    return view->layout == LAYOUT_PACKED ? search(view, LAYOUT_PACKED, key, seq, out) : search(view, LAYOUT_SPLIT, key, seq, out);
}

uint32_t block_places(const struct block_view *view, struct block_place *place, uint32_t places_max)
{
    char          last[UINT8_MAX];
    size_t        last_bytes = 0;
    uint32_t      places = 0;
    struct parsed entry;

    if (view->layout != LAYOUT_PACKED || view->restarts - view->data > UINT16_MAX)
        return 0;
    for (const char *at = view->data; at < view->restarts; at = entry.end, places++) {
        size_t shared, bytes;
        if (places == places_max || !parse(view, LAYOUT_PACKED, at, &entry) || entry.shared > last_bytes)
            return 0;
        bytes = entry.shared + entry.unshared;
        if (bytes > sizeof last)
            return 0;
        /* More than it leaves out: a restart leaves out nothing. */
        shared = entry.shared + common(entry.key, last + entry.shared, smaller(entry.unshared, last_bytes - entry.shared));
        place[places] = (struct block_place){(uint16_t)(at - view->data), (uint8_t)shared,
                                             shared < bytes ? (unsigned char)entry.key[shared - entry.shared] : 0};
        memcpy(last + entry.shared, entry.key, entry.unshared);
        last_bytes = bytes;
    }
    return places;
}

/* The cursor. */

void block_cursor_set(struct block_cursor *cursor, const struct block_view *view)
{
    cursor->view = *view;
    cursor->next = view->data;
    cursor->key.size = 0;
    cursor->valid = cursor->damaged = false;
}

/* On the entry, whose key begins with `shared` bytes of what is in cursor->key. */
static inline void stand_on(struct block_cursor *cursor, const struct parsed *entry)
{
    cursor->key.size = entry->shared;
    if (buf_append(&cursor->key, entry->key, entry->unshared) != KV_OK) {
        cursor->damaged = true;
        return;
    }
    cursor->next = entry->end;
    cursor->entry = (struct entry){.key = buf_slice(&cursor->key),
                                   .value = slice_of(entry->value, entry->value_bytes),
                                   .seq = cursor->view.base_seq + entry->age,
                                   .type = entry->put ? ENTRY_PUT : ENTRY_DELETE};
    cursor->valid = true;
}

void block_cursor_next(struct block_cursor *cursor)
{
    struct parsed entry;

    cursor->valid = false;
    if (cursor->damaged || cursor->next >= cursor->view.restarts)
        return;
    if (!parse(&cursor->view, cursor->view.layout, cursor->next, &entry) || entry.shared > cursor->key.size ||
        entry.shared + entry.unshared == 0) /* no key is empty */
        cursor->damaged = true;
    else
        stand_on(cursor, &entry);
}

/* What the entry shares with the one before it shares with the key that is sought. */
static void seek_places(struct block_cursor *cursor, slice first)
{
    struct sought sought = seek_from(&cursor->view, first);
    struct parsed entry;

    cursor->next = cursor->view.restarts;
    if (seek_on(&cursor->view, first, &sought) == BELOW)
        cursor->damaged = sought.damaged;
    else if (!parse(&cursor->view, LAYOUT_PACKED, cursor->view.data + sought.at->offset, &entry) || entry.shared > sought.match ||
             buf_append(&cursor->key, first.data, entry.shared) != KV_OK)
        cursor->damaged = true;
    else
        stand_on(cursor, &entry);
}

void block_cursor_seek(struct block_cursor *cursor, slice first)
{
    const char *at;

    cursor->valid = cursor->damaged = false;
    cursor->key.size = 0;
    if (cursor->view.places) {
        seek_places(cursor, first);
        return;
    }
    at = restart_before(&cursor->view, cursor->view.layout, first);
    cursor->damaged = !at;
    cursor->next = at;
    do
        block_cursor_next(cursor);
    while (cursor->valid && slice_compare(cursor->entry.key, first) < 0);
}

void block_cursor_free(struct block_cursor *cursor)
{
    buf_free(&cursor->key);
}
