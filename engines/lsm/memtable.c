/* memtable.c -- the arena, its hash table, and its lazily sorted runs. */
#include "engines/lsm/memtable.h"

#include <assert.h>
#include <stdlib.h>

#include "engines/base/buf.h"
#include "engines/base/pages.h"

#define LOCKED       (UINT64_C(1) << 31)
#define NODE_MASK    (LOCKED - 1)
#define ENTRY_USUAL  128u /* bytes of the arena for each bucket */
#define RUNS_MAX     64u
#define AHEAD        8u   /* entries of a run that a cursor asks for before it comes to them */

/* ---- Life. ---- */

static uint64_t bucket_bytes(const struct memtable *memtable)
{
    return (memtable->bucket_mask + 1) * sizeof *memtable->bucket;
}

struct memtable *memtable_new(uint64_t arena_bytes, uint64_t log_id)
{
    struct memtable *memtable = calloc(1, sizeof *memtable);
    uint64_t         buckets = 64;

    assert(arena_bytes <= MEMTABLE_BYTES_MAX);
    if (!memtable) {
        fail_set("no memory for a memtable");
        return NULL;
    }
    while (buckets < arena_bytes / ENTRY_USUAL)
        buckets *= 2;
    memtable->references = 1;
    memtable->log_id = log_id;
    memtable->arena_bytes = arena_bytes + MEMTABLE_FIRST;
    memtable->used = memtable->sorted_to = MEMTABLE_FIRST;
    memtable->bucket_mask = buckets - 1;
    memtable->arena = pages_map(memtable->arena_bytes);
    memtable->bucket = pages_map(bucket_bytes(memtable));
    pthread_mutex_init(&memtable->order_lock, NULL);
    if (!memtable->arena || !memtable->bucket) {
        memtable_release(memtable);
        fail_set("no memory for a memtable of %llu bytes", (unsigned long long)arena_bytes);
        return NULL;
    }
    return memtable;
}

static void order_release(struct memtable_order *order);

void memtable_release(struct memtable *memtable)
{
    if (!memtable || __atomic_sub_fetch(&memtable->references, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    order_release(memtable->order);
    pages_unmap(memtable->arena, memtable->arena_bytes);
    pages_unmap(memtable->bucket, bucket_bytes(memtable));
    pthread_mutex_destroy(&memtable->order_lock);
    free(memtable);
}

/* ---- Writing and finding. ---- */

static inline struct node *node_at(const struct memtable *memtable, uint64_t number)
{
    return (struct node *)(memtable->arena + (number << 3));
}

static inline slice node_key(const struct node *node)
{
    return slice_of(node->bytes, node->key_bytes);
}

static inline void entry_of(const struct node *node, uint64_t seq, struct entry *out)
{
    *out = (struct entry){.key = node_key(node),
                          .value = slice_of(node->bytes + node->key_bytes, node->value_bytes),
                          .seq = seq,
                          .type = node->type};
}

static inline uint64_t seq_of(const struct node *node)
{
    return __atomic_load_n(&node->seq, __ATOMIC_RELAXED);
}

static inline uint64_t filter_bit(uint64_t hash)
{
    return UINT64_C(1) << (32 + (hash >> 59));
}

static uint64_t lock_bucket(uint64_t *bucket)
{
    uint64_t word = __atomic_load_n(bucket, __ATOMIC_RELAXED);

    for (;;) {
        if (word & LOCKED) {
            __builtin_ia32_pause();
            word = __atomic_load_n(bucket, __ATOMIC_RELAXED);
        } else if (__atomic_compare_exchange_n(bucket, &word, word | LOCKED, true, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
            return word;
        }
    }
}

/* Two writers of one key may come in the other order than their sequence numbers: the newer stays in front. */
static void link_version(const struct memtable *memtable, uint32_t number, struct node *node, struct node *newest, uint32_t newest_number,
                         uint32_t *link)
{
    if (seq_of(newest) < seq_of(node)) {
        node->older = newest_number;
        __atomic_store_n(&node->next, __atomic_load_n(&newest->next, __ATOMIC_RELAXED), __ATOMIC_RELAXED);
        __atomic_store_n(link, number, __ATOMIC_RELEASE);
        return;
    }
    while (__atomic_load_n(&newest->older, __ATOMIC_RELAXED) && seq_of(node_at(memtable, newest->older)) > seq_of(node))
        newest = node_at(memtable, newest->older);
    node->older = newest->older;
    __atomic_store_n(&newest->older, number, __ATOMIC_RELEASE);
}

void memtable_put(struct memtable *memtable, uint64_t place, const struct entry *entry, uint64_t hash)
{
    struct node *node = (struct node *)(memtable->arena + place);
    uint32_t     number = (uint32_t)(place >> 3), at, first;
    uint64_t    *bucket = &memtable->bucket[hash & memtable->bucket_mask], word;

    node->value_bytes = (uint32_t)entry->value.size;
    node->key_bytes = (uint16_t)entry->key.size;
    node->type = (uint8_t)entry->type;
    memcpy(node->bytes, entry->key.data, entry->key.size);
    if (entry->value.size)
        memcpy(node->bytes + entry->key.size, entry->value.data, entry->value.size);
    __atomic_store_n(&node->seq, entry->seq, __ATOMIC_RELEASE);
    word = lock_bucket(bucket);
    first = (uint32_t)(word & NODE_MASK);
    if (word & filter_bit(hash)) {
        uint32_t *link = &first;
        for (at = first; at; link = &node_at(memtable, at)->next, at = *link) {
            struct node *other = node_at(memtable, at);
            if (!slice_equal(node_key(other), entry->key))
                continue;
            link_version(memtable, number, node, other, at, link);
            __atomic_store_n(bucket, (word & ~NODE_MASK) | first, __ATOMIC_RELEASE);
            return;
        }
    }
    __atomic_store_n(&node->next, first, __ATOMIC_RELAXED);
    __atomic_store_n(bucket, (word & ~NODE_MASK) | filter_bit(hash) | number, __ATOMIC_RELEASE);
}

bool memtable_get(const struct memtable *memtable, slice key, uint64_t hash, uint64_t seq, struct entry *out)
{
    uint64_t word;
    uint32_t at;

    if (memtable_empty(memtable))
        return false;
    word = __atomic_load_n(&memtable->bucket[hash & memtable->bucket_mask], __ATOMIC_ACQUIRE);
    if (!(word & filter_bit(hash)))
        return false;
    for (at = (uint32_t)(word & NODE_MASK); at; at = __atomic_load_n(&node_at(memtable, at)->next, __ATOMIC_ACQUIRE)) {
        const struct node *node = node_at(memtable, at);
        if (!slice_equal(node_key(node), key))
            continue;
        while (seq_of(node) > seq) {
            uint32_t older = __atomic_load_n(&node->older, __ATOMIC_ACQUIRE);
            if (!older)
                return false;
            node = node_at(memtable, older);
        }
        entry_of(node, seq_of(node), out);
        return true;
    }
    return false;
}

/* ---- Sorted runs. ---- */

struct item {
    uint64_t prefix; /* key_prefix */
    uint32_t node;
    uint32_t zero;
};

struct run {
    uint32_t    references; /* atomic */
    uint32_t    count;
    struct item item[];
};

/* Never changes once it is a memtable's; a cursor keeps it. */
struct memtable_order {
    uint32_t    references; /* atomic */
    uint32_t    count;
    struct run *run[RUNS_MAX];
};

static void run_release(struct run *run)
{
    if (__atomic_sub_fetch(&run->references, 1, __ATOMIC_ACQ_REL) == 0)
        free(run);
}

static void order_release(struct memtable_order *order)
{
    if (!order || __atomic_sub_fetch(&order->references, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    for (uint32_t i = 0; i < order->count; i++)
        run_release(order->run[i]);
    free(order);
}

static int item_compare(const struct memtable *memtable, const struct item *a, const struct item *b)
{
    const struct node *x, *y;
    int                order;

    if (a->prefix != b->prefix)
        return a->prefix < b->prefix ? -1 : 1;
    x = node_at(memtable, a->node);
    y = node_at(memtable, b->node);
    order = slice_compare(node_key(x), node_key(y));
    return order ? order : (seq_of(x) < seq_of(y)) - (seq_of(x) > seq_of(y));
}

static int item_order(const void *a, const void *b, void *memtable)
{
    return item_compare(memtable, a, b);
}

static struct run *run_new(size_t count)
{
    struct run *run = malloc(sizeof *run + count * sizeof *run->item);

    if (run)
        *run = (struct run){.references = 1, .count = (uint32_t)count};
    return run;
}

/* What was filled since the last time, up to seq, sorted.  NULL in *out when there is nothing. */
static kv_status gather(struct memtable *memtable, uint64_t seq, struct run **out)
{
    uint64_t  end = memtable_used(memtable), at = memtable->sorted_to;
    struct buf items = {0};
    kv_status  status = KV_OK;

    *out = NULL;
    while (status == KV_OK && at < end) {
        const struct node *node = (const struct node *)(memtable->arena + at);
        uint64_t           own = __atomic_load_n(&node->seq, __ATOMIC_ACQUIRE);
        struct item        item = {.node = (uint32_t)(at >> 3)};
        if (own == 0 || own > seq)
            break;
        item.prefix = key_prefix(node_key(node));
        at += memtable_entry_bytes(node->key_bytes, node->value_bytes);
        status = buf_append(&items, &item, sizeof item);
    }
    if (status == KV_OK && items.size) {
        if ((*out = run_new(items.size / sizeof(struct item))) == NULL) {
            status = kv_fail(KV_NO_MEMORY, "no memory to sort a memtable");
        } else {
            memcpy((*out)->item, items.data, items.size);
            qsort_r((*out)->item, (*out)->count, sizeof(struct item), item_order, memtable);
            memtable->sorted_to = at;
        }
    }
    buf_free(&items);
    return status;
}

static struct run *merge(const struct memtable *memtable, const struct run *a, const struct run *b)
{
    struct run        *both = run_new((size_t)a->count + b->count);
    const struct item *x = a->item, *y = b->item, *x_end = x + a->count, *y_end = y + b->count;

    if (!both)
        return NULL;
    for (struct item *out = both->item; x < x_end || y < y_end; out++)
        *out = y == y_end || (x < x_end && item_compare(memtable, x, y) < 0) ? *x++ : *y++;
    return both;
}

/* A new order of the old runs and `fresh`, which it takes over; runs of like size become one. */
static kv_status extend(struct memtable *memtable, struct run *fresh)
{
    const struct memtable_order *old = memtable->order;
    struct memtable_order       *order = calloc(1, sizeof *order);

    if (!order) {
        run_release(fresh);
        return kv_fail(KV_NO_MEMORY, "no memory to sort a memtable");
    }
    order->references = 1;
    for (uint32_t i = 0; old && i < old->count; i++) {
        order->run[i] = old->run[i];
        __atomic_add_fetch(&order->run[i]->references, 1, __ATOMIC_RELAXED);
    }
    order->count = old ? old->count : 0;
    while (order->count && order->run[order->count - 1]->count <= 2 * (uint64_t)fresh->count) {
        struct run *both = merge(memtable, order->run[order->count - 1], fresh);
        if (!both)
            break; /* one run more, until there is memory */
        run_release(order->run[--order->count]);
        run_release(fresh);
        fresh = both;
    }
    if (order->count == RUNS_MAX) { /* only when there is no memory to merge */
        run_release(fresh);
        order_release(order);
        return kv_fail(KV_NO_MEMORY, "no memory to sort a memtable");
    }
    order->run[order->count++] = fresh;
    order_release(memtable->order);
    memtable->order = order;
    return KV_OK;
}

/* An order of all entries up to seq, at least; the caller's to release.  NULL: there are none. */
static kv_status sorted(struct memtable *memtable, uint64_t seq, struct memtable_order **out)
{
    uint64_t    was_sorted_to;
    struct run *fresh;
    kv_status   status;

    *out = NULL;
    pthread_mutex_lock(&memtable->order_lock);
    was_sorted_to = memtable->sorted_to;
    status = gather(memtable, seq, &fresh);
    if (status == KV_OK && fresh && (status = extend(memtable, fresh)) != KV_OK)
        memtable->sorted_to = was_sorted_to;
    if (status == KV_OK && (*out = memtable->order) != NULL)
        __atomic_add_fetch(&(*out)->references, 1, __ATOMIC_RELAXED);
    pthread_mutex_unlock(&memtable->order_lock);
    return status;
}

/* ---- The cursor. ---- */

kv_status memtable_cursor_open(struct memtable_cursor *cursor, struct memtable *memtable, uint64_t seq)
{
    *cursor = (struct memtable_cursor){.memtable = memtable, .seq = seq};
    TRY(sorted(memtable, seq, &cursor->order));
    if (!cursor->order)
        return KV_OK;
    cursor->at = calloc(2 * cursor->order->count, sizeof *cursor->at);
    if (!cursor->at) {
        order_release(cursor->order);
        return kv_fail(KV_NO_MEMORY, "no memory for a cursor");
    }
    cursor->heap = cursor->at + cursor->order->count;
    memtable_keep(memtable);
    return KV_OK;
}

void memtable_cursor_close(struct memtable_cursor *cursor)
{
    if (cursor->order) {
        memtable_release(cursor->memtable);
        order_release(cursor->order);
    }
    free(cursor->at);
    *cursor = (struct memtable_cursor){0};
}

static const struct item *item_of(const struct memtable_cursor *cursor, uint32_t run)
{
    return &cursor->order->run[run]->item[cursor->at[run]];
}

static bool before(const struct memtable_cursor *cursor, uint32_t a, uint32_t b)
{
    return item_compare(cursor->memtable, item_of(cursor, a), item_of(cursor, b)) < 0;
}

static void sift_down(struct memtable_cursor *cursor, uint32_t place)
{
    uint32_t *heap = cursor->heap;

    for (;;) {
        uint32_t child = 2 * place + 1, run = heap[place];
        if (child >= cursor->runs)
            return;
        if (child + 1 < cursor->runs && before(cursor, heap[child + 1], heap[child]))
            child++;
        if (!before(cursor, heap[child], run))
            return;
        heap[place] = heap[child];
        heap[child] = run;
        place = child;
    }
}

/* Moves the first run on by one.  Neighbours by key lie anywhere in the arena: some are asked for ahead of their use. */
static void advance(struct memtable_cursor *cursor)
{
    uint32_t          number = cursor->heap[0];
    const struct run *run = cursor->order->run[number];
    uint32_t          at = ++cursor->at[number];

    if (at + AHEAD < run->count) {
        const char *node = (const char *)node_at(cursor->memtable, run->item[at + AHEAD].node);
        __builtin_prefetch(node);
        __builtin_prefetch(node + 64);
        __builtin_prefetch(node + 128);
    }
    if (at == run->count)
        cursor->heap[0] = cursor->heap[--cursor->runs];
    if (cursor->runs)
        sift_down(cursor, 0);
}

/* The first entry from here on that is not too young. */
static bool settle(struct memtable_cursor *cursor)
{
    while (cursor->runs) {
        const struct node *node = node_at(cursor->memtable, item_of(cursor, cursor->heap[0])->node);
        if (seq_of(node) <= cursor->seq) {
            entry_of(node, seq_of(node), &cursor->entry);
            return true;
        }
        advance(cursor);
    }
    return false;
}

/* The first item of the run whose key is not below. */
static uint32_t lower_bound(const struct memtable *memtable, const struct run *run, slice first)
{
    uint64_t prefix = key_prefix(first);
    uint32_t low = 0, high = run->count;

    while (low < high) {
        uint32_t           middle = low + (high - low) / 2;
        const struct item *item = &run->item[middle];
        bool               below = item->prefix != prefix ? item->prefix < prefix
                                                          : slice_compare(node_key(node_at(memtable, item->node)), first) < 0;
        if (below)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool memtable_cursor_seek(struct memtable_cursor *cursor, slice first)
{
    cursor->runs = 0;
    for (uint32_t i = 0; cursor->order && i < cursor->order->count; i++) {
        cursor->at[i] = lower_bound(cursor->memtable, cursor->order->run[i], first);
        if (cursor->at[i] < cursor->order->run[i]->count)
            cursor->heap[cursor->runs++] = i;
    }
    for (uint32_t place = cursor->runs / 2; place-- > 0;)
        sift_down(cursor, place);
    return settle(cursor);
}

bool memtable_cursor_next(struct memtable_cursor *cursor)
{
    advance(cursor);
    return settle(cursor);
}
