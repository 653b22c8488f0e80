/*
 * many.c -- gets of many keys: what one waits for, all wait for together.
 *
 * First for memory: buckets and filters of a group of keys are fetched together.  Then for the disk: a key that needs a block which
 * is not in the cache waits, and the keys behind it are looked up until so many wait; then all their blocks are read at once
 * (reads.h), and each key goes on from where it was.  With the filters few need a second block.
 */
#include "engines/lsm/read.h"

#define GROUP        16u                   /* keys whose misses of memory are in flight together */
#define FLIGHT       READS_MAX             /* keys whose reads are */
#define FLIGHT_BYTES_MIN (UINT64_C(128) << 10) /* of their frames and blocks, about: a share of the cache's budget between these */
#define FLIGHT_BYTES_MAX (UINT64_C(8) << 20)
#define FLIGHT_SHARE     32u

struct lookup {
    slice         key;
    uint64_t      hash;
    struct entry  entry;  /* the youngest so far; seq 0: none */
    kv_status     status; /* a failure ends it */
    size_t        run;    /* of the version, to go on with */
    struct table *table;  /* whose block `number` it waits for; NULL: it has its answer */
    size_t        number, read;
};

/* Keys from `first` on that are looked up in one moment, and what they read. */
struct flight {
    struct lsm_session *session;
    struct view        *view;
    size_t              count, waiting;
    struct lookup       lookup[FLIGHT];
    uint64_t            bytes, bytes_max; /* of the frames that are waited for, and their blocks */
    size_t              reads;
    struct read         read[READS_MAX];
    struct {
        struct table        *table;
        size_t               number;
        struct cached_block *block;
        kv_status            status;
    } wanted[READS_MAX]; /* of each read */
};

/* ---- One key. ---- */

static void take(struct lookup *lookup, kv_status status, const struct entry *entry)
{
    if (status == KV_OK && entry->seq > lookup->entry.seq)
        lookup->entry = *entry;
    else if (status != KV_OK && status != KV_NOT_FOUND)
        lookup->status = status;
}

/* Until it has its answer, or waits for a block.  As find_in_tables does it. */
static void go_on(struct flight *flight, struct lookup *lookup)
{
    const struct version *version = flight->view->version;

    lookup->table = NULL;
    for (; lookup->run < version->count && lookup->status == KV_OK; lookup->run++) {
        const struct run_of_tables *run = &version->run[lookup->run];
        struct table               *table;
        struct entry                entry;
        size_t                      number;
        if (run->last_seq <= lookup->entry.seq || !(table = run_find(run, lookup->key)) ||
            table->is.last_seq <= lookup->entry.seq || !table_may_have(table, lookup->key, lookup->hash))
            continue;
        number = table_find_block(table, lookup->key);
        if (!table_holds(table, number)) {
            lookup->table = table;
            lookup->number = number;
            flight->waiting++;
            flight->bytes += table->frame[number].bytes + table_block_bytes(table, number);
            return;
        }
        take(lookup, table_get_in(table, flight->session->epoch, number, lookup->key, SEQ_MAX, &entry), &entry);
    }
}

static void start(struct flight *flight, struct lookup *lookup, slice key, uint64_t hash)
{
    const struct view *view = flight->view;
    bool               found;

    *lookup = (struct lookup){.key = key, .hash = hash};
    found = memtable_get(view->active, key, hash, SEQ_MAX, &lookup->entry);
    for (uint32_t i = 0; i < view->immutables && !found; i++)
        found = memtable_get(view->immutable[i], key, hash, SEQ_MAX, &lookup->entry);
    if (!found) {
        lookup->entry.seq = 0;
        go_on(flight, lookup);
    }
}

/* ---- A group of keys. ---- */

/* Frames that are to be read, with their blocks, and blocks that were unpacked from a mapping: lent until all is answered. */
static bool has_room(const struct flight *flight)
{
    return flight->bytes + flight->session->epoch->own_bytes < flight->bytes_max;
}

/* Fewer when their frames or blocks are large. */
static void start_group(struct flight *flight, const slice *keys, size_t count)
{
    const struct view *view = flight->view;
    uint64_t           hash[GROUP];

    for (size_t i = 0; i < count; i++) {
        hash[i] = key_hash(keys[i]);
        memtable_prefetch(view->active, hash[i]);
        for (uint32_t j = 0; j < view->immutables; j++)
            memtable_prefetch(view->immutable[j], hash[i]);
    }
    for (size_t r = 0; r < view->version->count; r++) {
        for (size_t i = 0; i < count; i++) {
            const struct table *table = run_find(&view->version->run[r], keys[i]);
            if (table)
                table_ask(table, keys[i], hash[i]);
        }
    }
    for (size_t i = 0; i < count && has_room(flight); i++)
        start(flight, &flight->lookup[flight->count++], keys[i], hash[i]);
}

/* ---- Reads. ---- */

/* Two keys of one block read it once. */
static size_t read_of(struct flight *flight, struct table *table, size_t number)
{
    struct table_frame where = table->frame[number];
    size_t             at = 0;

    while (at < flight->reads && (flight->wanted[at].table != table || flight->wanted[at].number != number))
        at++;
    if (at == flight->reads) {
        flight->wanted[at].table = table;
        flight->wanted[at].number = number;
        flight->wanted[at].block = NULL;
        flight->read[at] = (struct read){.file = &table->file, .bytes = where.bytes, .offset = where.offset};
        flight->reads++;
    }
    return at;
}

static void arrived(void *arg, size_t number)
{
    struct flight     *flight = arg;
    const struct read *read = &flight->read[number];
    struct table      *table = flight->wanted[number].table;
    kv_status          status = read->status;

    if (status == KV_OK)
        status = read->got == read->bytes ? table_take_in(table, flight->session->epoch, flight->wanted[number].number, read->data,
                                                          &flight->wanted[number].block)
                                          : KV_CORRUPT;
    flight->wanted[number].status = status;
}

/* Frames go to memory that the session keeps, unless it is large (forget_large). */
static kv_status place_reads(struct flight *flight)
{
    struct buf *frames = &flight->session->frames;
    size_t      bytes = 0;

    for (size_t i = 0; i < flight->reads; i++)
        bytes += flight->read[i].bytes;
    frames->size = 0;
    TRY(buf_reserve(frames, bytes));
    for (size_t i = 0, at = 0; i < flight->reads; at += flight->read[i++].bytes)
        flight->read[i].data = frames->data + at;
    return KV_OK;
}

/* One round: every key that waits gets its block, and goes on. */
static kv_status read_together(struct flight *flight)
{
    struct lsm_session *session = flight->session;

    if (!session->reads && !(session->reads = reads_open(lsm_of(&session->base)->options.reads)))
        return KV_NO_MEMORY;
    flight->reads = flight->waiting = flight->bytes = 0;
    for (size_t i = 0; i < flight->count; i++)
        if (flight->lookup[i].table)
            flight->lookup[i].read = read_of(flight, flight->lookup[i].table, flight->lookup[i].number);
    TRY(place_reads(flight));
    reads_run(session->reads, flight->read, flight->reads, arrived, flight);
    for (size_t i = 0; i < flight->count; i++) {
        struct lookup *lookup = &flight->lookup[i];
        struct entry   entry;
        kv_status      status;
        if (!lookup->table)
            continue;
        if ((status = flight->wanted[lookup->read].status) == KV_OK)
            status = table_search(lookup->table, lookup->number, flight->wanted[lookup->read].block, lookup->key, SEQ_MAX, &entry);
        take(lookup, status, &entry);
        lookup->run++;
        go_on(flight, lookup);
    }
    return KV_OK;
}

/* ---- The call. ---- */

static uint64_t flight_bytes(const struct lsm *store)
{
    uint64_t share = store->options.cache_bytes / FLIGHT_SHARE;

    return share < FLIGHT_BYTES_MIN ? FLIGHT_BYTES_MIN : share > FLIGHT_BYTES_MAX ? FLIGHT_BYTES_MAX : share;
}

/* A block that is larger than a flight should be was read: its memory is not kept. */
static void forget_large(struct lsm_session *session, uint64_t most)
{
    if (session->frames.capacity > 2 * most)
        buf_free(&session->frames);
}

static void answer(struct flight *flight, size_t first, kv_visit_many *visit, void *arg)
{
    for (size_t i = 0; i < flight->count; i++) {
        struct lookup *lookup = &flight->lookup[i];
        kv_status      status = lookup->status;
        if (status != KV_OK) /* again, for the sentence of this one */
            status = tree_find(lsm_of(&flight->session->base), flight->view, flight->session->epoch, lookup->key, lookup->hash, SEQ_MAX,
                               &lookup->entry);
        else if (!lookup->entry.seq)
            status = KV_NOT_FOUND;
        if (status == KV_OK && lookup->entry.type == ENTRY_DELETE)
            status = KV_NOT_FOUND;
        visit(arg, first + i, status, status == KV_OK ? lookup->entry.value : (slice){0});
    }
}

kv_status lsm_get_many(struct kv_session *base, const slice *keys, size_t count, kv_visit_many *visit, void *arg)
{
    struct lsm_session *session = (struct lsm_session *)base;
    struct flight       flight;
    kv_status           status = KV_OK;

    flight.session = session;
    flight.bytes_max = flight_bytes(lsm_of(base));
    for (size_t first = 0; first < count && status == KV_OK; first += flight.count) {
        size_t left = count - first;
        flight.count = flight.waiting = flight.bytes = 0;
        epoch_enter(session->epoch);
        flight.view = view_now(lsm_of(base));
        do {
            size_t rest = left - flight.count;
            start_group(&flight, keys + first + flight.count, rest < GROUP ? rest : GROUP);
        } while (flight.waiting && flight.count < left && flight.count + GROUP <= FLIGHT && has_room(&flight));
        while (flight.waiting && status == KV_OK)
            status = read_together(&flight);
        if (status == KV_OK)
            answer(&flight, first, visit, arg);
        epoch_exit(session->epoch);
        forget_large(session, flight.bytes_max);
    }
    return status;
}
