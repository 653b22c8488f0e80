/* read.c -- get, get_many and scan: index, record in the mapping, checksum, visitor. */
#include "engines/bitcask/read.h"

#include <stdlib.h>

#include "engines/bitcask/ops.h"

#define GROUP 32 /* keys of get_many whose misses overlap: more than a core can have in flight */

kv_status read_damaged(const struct bitcask *store, uint64_t ref)
{
    return segment_damaged(ref_segment(store, ref), ref_offset(ref), RECORD_DAMAGED);
}

/* A lookup: where the record is, and what it met that was damaged. */
struct lookup {
    const struct bitcask *store;
    const struct segment *segment;
    const struct record  *record;
    uint64_t              offset;
    uint64_t              damaged; /* ref, 0: none */
};

static __attribute__((noinline, cold)) bool is_damaged(const struct segment *segment, uint64_t offset)
{
    return !record_check(segment_record(segment, offset), segment_limit(segment) - offset, segment_place(segment, offset));
}

/*
 * index_match.  A tag fits by chance once in some ten thousand times; so when the key is another one, the record is
 * checked: with a damaged key it may be the one that is sought.
 */
static inline bool match_or_suspect(const void *context, uint64_t ref, slice key)
{
    struct lookup        *lookup = (struct lookup *)context;
    const struct segment *segment = ref_segment(lookup->store, ref);
    uint64_t              offset = ref_offset(ref);
    const struct record  *record = segment_record(segment, offset);

    /* The lines behind the key, which the checksum wants next, on their way before what waits for the key's is in the way. */
    __builtin_prefetch((const char *)record + 64);
    __builtin_prefetch((const char *)record + 128);
    if (__builtin_expect(record->key_size == key.size && record_fits(segment, offset, key.size, record->value_size) &&
                         same_bytes((const char *)(record + 1), key.data, key.size), 1)) {
        lookup->segment = segment;
        lookup->record = record;
        lookup->offset = offset;
        return true;
    }
    if (is_damaged(segment, offset))
        lookup->damaged = ref;
    return false;
}

static __attribute__((noinline, cold)) kv_status not_found(const struct bitcask *store, uint64_t damaged)
{
    return damaged ? read_damaged(store, damaged) : KV_NOT_FOUND;
}

/*
 * The key's record; false: absent, or lookup->damaged.  This and what follows is inlined and kept in registers: how much a get
 * has to do once the bucket is there decides how many gets the processor has in flight.
 */
INDEX_INLINE bool find_record(struct lookup *lookup, slice key, uint64_t hash)
{
    return index_find(lookup->store->index, hash, key, match_or_suspect, lookup) != 0;
}

INDEX_INLINE bool passes(const struct lookup *lookup, uint64_t hash, slice value)
{
    return !lookup->store->options.verify_reads ||
           record_passes(lookup->record, segment_place(lookup->segment, lookup->offset), hash, value);
}

static __attribute__((noinline)) kv_status get_any(struct kv_session *base, slice key, kv_visit *visit, void *arg)
{
    struct bitcask_session *session = (struct bitcask_session *)base;
    struct lookup           lookup = {.store = (struct bitcask *)base->store};
    uint64_t                hash = index_hash(key);
    kv_status               status = KV_OK;

    epoch_enter(session->epoch);
    if (__builtin_expect(find_record(&lookup, key, hash), 1)) {
        slice value = record_value_behind(lookup.record, key.size);
        if (__builtin_expect(passes(&lookup, hash, value), 1))
            visit(arg, key, value);
        else
            status = segment_damaged(lookup.segment, lookup.offset, RECORD_DAMAGED);
    } else {
        status = not_found(lookup.store, lookup.damaged);
    }
    epoch_exit_reader(session->epoch);
    return status;
}

/* At most: where there is so much room, the record need not be asked whether it ends in its segment. */
#define USUAL_BYTES (sizeof(struct record) + 16 + RECORD_SHORT_MAX)

/*
 * What most gets are: a key of 16 bytes, found at the first candidate, or nowhere and at once.  What is not, down to the least
 * doubt about a byte, is done again from its start the long way, so that here is one way only.
 */
kv_status ops_get(struct kv_session *base, slice key, kv_visit *visit, void *arg)
{
    struct bitcask_session *session = (struct bitcask_session *)base;
    const struct bitcask   *store = (struct bitcask *)base->store;
    struct epoch_slot      *epoch = session->epoch;
    uint64_t                hash, ref;
    bool                    more;

    if (__builtin_expect(key.size != 16, 0))
        return get_any(base, key, visit, arg);
    hash = XXH3_64bits(key.data, 16);
    epoch_enter(epoch);
    ref = index_only_candidate(store->index, hash, &more);
    if (__builtin_expect(ref != 0, 1)) {
        const struct segment *segment = ref_segment(store, ref);
        uint64_t              offset = ref_offset(ref);
        const struct record  *record = segment_record(segment, offset);
        slice                 value = record_value_behind(record, 16);
        const char           *stored = (const char *)(record + 1);
        __builtin_prefetch((const char *)record + 64);
        __builtin_prefetch((const char *)record + 128);
        if (__builtin_expect(offset + USUAL_BYTES <= segment_limit(segment), 1) &&
            __builtin_expect(record->key_size == 16 && value.size <= RECORD_SHORT_MAX, 1) &&
            __builtin_expect(record_word_(stored) == record_word_(key.data), 1) &&
            __builtin_expect(record_word_(stored + 8) == record_word_((const char *)key.data + 8), 1) &&
            (!store->options.verify_reads ||
             __builtin_expect(record_passes(record, segment_place(segment, offset), hash, value), 1))) {
            visit(arg, key, value);
            epoch_exit_reader(epoch);
            return KV_OK;
        }
    }
    epoch_exit_reader(epoch);
    return more ? get_any(base, key, visit, arg) : KV_NOT_FOUND;
}

static void prefetch_record(const struct bitcask *store, uint64_t ref)
{
    const char *record = (const char *)ref_record(store, ref);

    __builtin_prefetch(record);
    __builtin_prefetch(record + 64);
    __builtin_prefetch(record + 128);
}

kv_status ops_get_many(struct kv_session *base, const slice *keys, size_t count, kv_visit_many *visit, void *arg)
{
    struct bitcask_session *session = (struct bitcask_session *)base;
    struct bitcask         *store = (struct bitcask *)base->store;
    uint64_t                hash[GROUP];

    for (size_t from = 0; from < count; from += GROUP) {
        size_t group = count - from < GROUP ? count - from : GROUP;
        epoch_enter(session->epoch);
        for (size_t i = 0; i < group; i++)
            index_prefetch(store->index, hash[i] = index_hash(keys[from + i]));
        for (size_t i = 0; i < group; i++) {
            uint64_t ref = index_candidate(store->index, hash[i]);
            if (ref)
                prefetch_record(store, ref);
        }
        for (size_t i = 0; i < group; i++) {
            struct lookup lookup = {.store = store};
            slice         value = {0};
            kv_status     status = KV_OK;
            if (!find_record(&lookup, keys[from + i], hash[i])) {
                status = not_found(store, lookup.damaged);
            } else {
                value = record_value_behind(lookup.record, keys[from + i].size);
                if (!passes(&lookup, hash[i], value))
                    status = segment_damaged(lookup.segment, lookup.offset, RECORD_DAMAGED);
            }
            visit(arg, from + i, status, value);
        }
        epoch_exit_reader(session->epoch);
    }
    return KV_OK;
}

/* Scan. */

static kv_status visit_ref(const struct bitcask *store, uint64_t ref, kv_visit *visit, void *arg, bool *go_on)
{
    const struct segment *segment = ref_segment(store, ref);
    const struct record  *record = segment_record(segment, ref_offset(ref));

    if (!record_check(record, segment_limit(segment) - ref_offset(ref), segment_place(segment, ref_offset(ref))))
        return read_damaged(store, ref);
    *go_on = visit(arg, record_key(record), record_value(record));
    return KV_OK;
}

/* Collects refs of several buckets, so that the misses for their records overlap. */
static kv_status next_refs(const struct bitcask *store, uint64_t *position, struct index_refs *some, struct index_refs *refs)
{
    refs->count = 0;
    while (refs->count < GROUP) {
        TRY(index_next(store->index, position, some));
        if (some->count == 0)
            break;
        for (size_t i = 0; i < some->count; i++) {
            if (refs->count == refs->capacity) {
                size_t    capacity = refs->capacity ? refs->capacity * 2 : 2 * GROUP;
                uint64_t *more = realloc(refs->ref, capacity * sizeof *more);
                if (!more)
                    return kv_fail(KV_NO_MEMORY, "no memory for a scan");
                refs->ref = more;
                refs->capacity = capacity;
            }
            prefetch_record(store, some->ref[i]);
            refs->ref[refs->count++] = some->ref[i];
        }
    }
    return KV_OK;
}

kv_status ops_scan(struct kv_session *base, slice first, kv_visit *visit, void *arg)
{
    struct bitcask_session *session = (struct bitcask_session *)base;
    struct bitcask         *store = (struct bitcask *)base->store;
    struct index_refs       some = {0}, refs = {0};
    uint64_t                position = 0;
    bool                    go_on = true;
    kv_status               status = KV_OK;

    (void)first;
    while (status == KV_OK && go_on) {
        epoch_enter(session->epoch); /* left between groups, so that a long scan holds no merged segment */
        status = next_refs(store, &position, &some, &refs);
        for (size_t i = 0; status == KV_OK && go_on && i < refs.count; i++)
            status = visit_ref(store, refs.ref[i], visit, arg, &go_on);
        epoch_exit_reader(session->epoch);
        if (refs.count == 0)
            break;
    }
    free(some.ref);
    free(refs.ref);
    return status;
}
