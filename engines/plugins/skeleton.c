/*
 * skeleton.c -- the template of an engine: a hash table in memory and an append log, kept small enough to read in one go.
 *
 * Start here  cp engines/plugins/skeleton.c mine.c; rename what says skeleton; then, in this folder's root,
 *                 make plugin SRC=mine.c OUT=mine.so
 *                 build/assay bench --engine ./mine.so,bitcask --workload ycsb-a
 *                 build/assay crash --engine ./mine.so --mode kill --durability commit --seconds 20
 *             A .c in engines/plugins is built and tested by `make test` with no further word.
 *
 * Files       STORE, LOCK, MADE: see base/storedir.h.    skeleton.log := magic:8 version:u32 zero:u32 group*    little-endian
 *             group := check:u64 offset:u64 synced:u64 bytes:u32 count:u32 write*     check is XXH3 of all that follows
 *             write := key_bytes:u32 value_bytes:u32 (DELETED: none) key value
 * Write       One group for each put, del or batch, by one write(2); then the table changes.  One lock for everything.
 * Read        The table has the values; they are lent under the lock.
 * Durability  process, ordered: written to the log.  commit: and fdatasync before the table changes.  `ordered` costs no
 *             more than `process`, because recovery ends at the first damage, and so leaves a prefix.
 * Recovery    Read the log from its start; the first bad group ends it, and what is behind is cut off and the cut synced.
 *             But `synced` says how far the log was durable when a group was written: a good group behind the damage that
 *             says more than the damage's offset proves that the damage is no torn tail, and the store is KV_CORRUPT.
 * Not done    Tiers none and interval, snapshots, ordered scans, giving back space: the log grows for ever.
 */
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>
#include <xxhash.h>

#include "engines/base/file.h"
#include "engines/base/storedir.h"
#include "engines/engine.h"

#define LOG_NAME  "skeleton.log"
#define VERSION   1u
#define DELETED   UINT32_MAX
#define GROUP_MAX (UINT32_C(1) << 30)

struct log_header { char magic[8]; uint32_t version, zero; };
struct group      { uint64_t check, offset, synced; uint32_t bytes, count; };
struct write_head { uint32_t key_bytes, value_bytes; };

static const struct log_header log_header = {"ASSAYskl", VERSION, 0};

struct entry {
    struct entry *next;
    uint32_t      key_bytes, value_bytes;
    char          bytes[]; /* key, value */
};

/* The first member is the contract's part; the rest is ours, and nobody else looks at it. */
struct skeleton_store {
    struct kv_store base;
    pthread_mutex_t lock;
    struct entry  **bucket;
    size_t          buckets, live_keys, live_bytes; /* buckets: a power of two */
    struct storedir dir;                            /* holds the lock of the store */
    struct file     log;
    uint64_t        log_bytes, synced_bytes;
    bool            sync_each;
    bool            failed;                         /* a write or a sync went wrong: no more writes */
    char            sentence[FAIL_BYTES_MAX];
};

static struct skeleton_store *store_of(struct kv_session *session)
{
    return (struct skeleton_store *)session->store;
}

/* The table. */

static struct entry **find(struct skeleton_store *store, slice key)
{
    struct entry **link = &store->bucket[XXH3_64bits(key.data, key.size) & (store->buckets - 1)];

    while (*link && !slice_equal(slice_of((*link)->bytes, (*link)->key_bytes), key))
        link = &(*link)->next;
    return link;
}

/* Without memory for a larger table the old one goes on, with longer chains. */
static void grow(struct skeleton_store *store)
{
    struct entry **old = store->bucket, **wider = calloc(store->buckets * 2, sizeof *wider);
    size_t         count = store->buckets;

    if (!wider)
        return;
    store->bucket = wider;
    store->buckets *= 2;
    for (size_t i = 0; i < count; i++) {
        for (struct entry *entry = old[i], *next; entry; entry = next) {
            struct entry **link = find(store, slice_of(entry->bytes, entry->key_bytes));
            next = entry->next;
            entry->next = NULL;
            *link = entry;
        }
    }
    free(old);
}

/* Puts entry in place of what the key had (entry NULL: takes it out).  Cannot fail, because the log has it by now. */
static void apply(struct skeleton_store *store, slice key, struct entry *entry)
{
    struct entry **link = find(store, key), *old = *link;

    if (old) {
        *link = old->next;
        store->live_keys--;
        store->live_bytes -= old->key_bytes + old->value_bytes;
        free(old);
    }
    if (entry) {
        link = find(store, key);
        entry->next = *link;
        *link = entry;
        store->live_bytes += entry->key_bytes + entry->value_bytes;
        if (++store->live_keys > store->buckets)
            grow(store);
    }
}

static struct entry *entry_new(slice key, slice value)
{
    struct entry *entry = malloc(sizeof *entry + key.size + value.size);

    if (entry) {
        entry->key_bytes = (uint32_t)key.size;
        entry->value_bytes = (uint32_t)value.size;
        memcpy(entry->bytes, key.data, key.size);
        if (value.size)
            memcpy(entry->bytes + key.size, value.data, value.size);
    }
    return entry;
}

/* The log. */

/* Keeps the first sentence for every later write. */
static kv_status fail_store(struct skeleton_store *store)
{
    store->failed = true;
    memcpy(store->sentence, fail_text(), FAIL_BYTES_MAX);
    return KV_IO;
}

static kv_status sync_log(struct skeleton_store *store)
{
    if (store->failed)
        return kv_fail(KV_IO, "%s", store->sentence);
    if (store->synced_bytes == store->log_bytes)
        return KV_OK;
    if (file_sync_data(&store->log) != KV_OK) /* never tried again: the kernel may have dropped the pages */
        return fail_store(store);
    store->synced_bytes = store->log_bytes;
    return KV_OK;
}

/* All of it, or KV_NO_SPACE with the log as it was, or the store is done for. */
static kv_status append(struct skeleton_store *store, slice group)
{
    kv_status status = file_write_at(&store->log, group.data, group.size, store->log_bytes);

    if (status == KV_OK)
        store->log_bytes += group.size;
    else if (status != KV_NO_SPACE || ftruncate(store->log.fd, (off_t)store->log_bytes) != 0)
        return fail_store(store);
    return status;
}

static kv_status write_locked(struct skeleton_store *store, const struct kv_write *writes, size_t count)
{
    struct entry **entries = calloc(count, sizeof *entries);
    struct buf     group = {0};
    struct group   head = {.offset = store->log_bytes, .synced = store->synced_bytes, .count = (uint32_t)count};
    kv_status      status = entries ? buf_append(&group, &head, sizeof head) : kv_fail(KV_NO_MEMORY, "no memory for a batch");

    if (store->failed)
        status = kv_fail(KV_IO, "%s", store->sentence);
    for (size_t i = 0; i < count && status == KV_OK; i++) { /* whatever can fail comes before the log changes */
        const struct kv_write *one = &writes[i];
        struct write_head      write = {(uint32_t)one->key.size, one->kind == KV_PUT ? (uint32_t)one->value.size : DELETED};

        status = buf_append(&group, &write, sizeof write);
        if (status == KV_OK)
            status = buf_append(&group, one->key.data, one->key.size);
        if (status == KV_OK && one->kind == KV_PUT)
            status = buf_append(&group, one->value.data, one->value.size);
        if (status == KV_OK && group.size > GROUP_MAX)
            status = kv_fail(KV_TOO_LARGE, "a batch of more than 1 GiB");
        if (status == KV_OK && one->kind == KV_PUT && !(entries[i] = entry_new(one->key, one->value)))
            status = kv_fail(KV_NO_MEMORY, "no memory for a value of %zu bytes", one->value.size);
    }
    if (status == KV_OK) {
        head.bytes = (uint32_t)(group.size - sizeof head);
        memcpy(group.data, &head, sizeof head);
        head.check = XXH3_64bits(group.data + sizeof head.check, group.size - sizeof head.check);
        memcpy(group.data, &head.check, sizeof head.check);
        status = append(store, buf_slice(&group));
    }
    if (status == KV_OK && store->sync_each)
        status = sync_log(store);
    for (size_t i = 0; i < count && entries; i++) {
        if (status == KV_OK)
            apply(store, writes[i].key, entries[i]);
        else
            free(entries[i]);
    }
    free(entries);
    buf_free(&group);
    return status;
}

/* The good group at `at`, or NULL.  Bytes of a file are the world: nothing is believed before its check. */
static const struct group *group_at(const char *log, uint64_t log_bytes, uint64_t at, struct group *head)
{
    if (log_bytes - at < sizeof *head)
        return NULL;
    memcpy(head, log + at, sizeof *head);
    if (head->offset != at || head->bytes > log_bytes - at - sizeof *head ||
        head->check != XXH3_64bits(log + at + sizeof head->check, sizeof *head - sizeof head->check + head->bytes))
        return NULL;
    return head;
}

static kv_status replay_group(struct skeleton_store *store, const char *at, const struct group *head)
{
    const char *end = at + head->bytes;

    for (uint32_t i = 0; i < head->count; i++) {
        struct write_head write;
        struct entry     *entry = NULL;
        slice             key;
        size_t            value_bytes;

        if ((size_t)(end - at) < sizeof write)
            break;
        memcpy(&write, at, sizeof write);
        at += sizeof write;
        value_bytes = write.value_bytes == DELETED ? 0 : write.value_bytes;
        if ((uint64_t)write.key_bytes + value_bytes > (uint64_t)(end - at))
            break;
        key = slice_of(at, write.key_bytes);
        at += write.key_bytes + value_bytes;
        if (write.value_bytes != DELETED && !(entry = entry_new(key, slice_of(at - value_bytes, value_bytes))))
            return kv_fail(KV_NO_MEMORY, "no memory for the values of %s", store->log.path);
        apply(store, key, entry);
    }
    return at == end ? KV_OK : kv_fail(KV_CORRUPT, "%s: the group at offset %llu contradicts itself",
                                       store->log.path, (unsigned long long)head->offset);
}

static kv_status replay(struct skeleton_store *store, const char *log, uint64_t log_bytes)
{
    const struct group *found;
    struct group        head;
    uint64_t            at = sizeof log_header;

    for (; (found = group_at(log, log_bytes, at, &head)); at += sizeof head + head.bytes)
        TRY(replay_group(store, log + at + sizeof head, found));
    for (uint64_t behind = at + 1; behind < log_bytes; behind++)
        if ((found = group_at(log, log_bytes, behind, &head)) && found->synced > at)
            return kv_fail(KV_CORRUPT, "%s: damage at offset %llu, where it was synced", store->log.path,
                           (unsigned long long)at);
    store->log_bytes = store->synced_bytes = at;
    if (at < log_bytes)
        TRY(file_truncate(&store->log, at));
    return file_sync_data(&store->log); /* what was read and will be served is durable from here on */
}

/* Opening. */

/* A new log, or one whose making a crash cut short, which is before any write was acknowledged. */
static kv_status create_log(struct skeleton_store *store)
{
    TRY(file_write_at(&store->log, &log_header, sizeof log_header, 0));
    TRY(file_sync(&store->log));
    return file_sync_dir(store->dir.path);
}

static kv_status open_log(struct skeleton_store *store)
{
    uint64_t  log_bytes;
    size_t    got = 0;
    char     *log;
    kv_status status;

    if (storedir_is_made(&store->dir)) /* a log that was lost is an error, and not an empty store */
        TRY(storedir_refuse_lost(&store->dir, LOG_NAME, false));
    TRY(file_open(&store->log, store->dir.path, LOG_NAME, O_RDWR | O_CREAT));
    TRY(file_size(&store->log, &log_bytes));
    if (!storedir_is_made(&store->dir) && log_bytes <= sizeof log_header) {
        TRY(create_log(store));
        log_bytes = sizeof log_header;
    }
    log = malloc(log_bytes);
    if (!log)
        return kv_fail(KV_NO_MEMORY, "no memory to read %s", store->log.path);
    status = file_read_at(&store->log, log, log_bytes, 0, &got);
    if (status == KV_OK && (got != log_bytes || got < sizeof log_header || memcmp(log, &log_header, sizeof log_header) != 0))
        status = kv_fail(KV_CORRUPT, "%s: damage at offset 0", store->log.path);
    if (status == KV_OK)
        status = replay(store, log, log_bytes);
    free(log);
    return status == KV_OK && !storedir_is_made(&store->dir) ? storedir_set_made(&store->dir) : status;
}

/* Required.  Frees the store also when it reports a failure, and when open calls it for a store half made. */
static kv_status skeleton_close(struct kv_store *base)
{
    struct skeleton_store *store = (struct skeleton_store *)base;

    for (size_t i = 0; i < store->buckets; i++) {
        for (struct entry *entry = store->bucket[i], *next; entry; entry = next) {
            next = entry->next;
            free(entry);
        }
    }
    free(store->bucket);
    file_close(&store->log);
    storedir_close(&store->dir);
    pthread_mutex_destroy(&store->lock);
    free(store);
    return KV_OK;
}

/* Required.  Called once a store; the wrapper has checked the directory's name and the tier against the table below. */
static kv_status skeleton_open(const struct kv_config *config, struct kv_store **out)
{
    static const struct storedir_kind kind = {.engine = "skeleton", .format = VERSION};
    struct skeleton_store            *store = calloc(1, sizeof *store);
    kv_status                         status;

    if (!store)
        return kv_fail(KV_NO_MEMORY, "no memory for a store");
    pthread_mutex_init(&store->lock, NULL);
    store->log = store->dir.lock = FILE_CLOSED;
    store->sync_each = config->durability.tier == KV_TIER_COMMIT;
    store->buckets = 1;
    while (store->buckets < config->option[0].u64) /* options come by row, parsed and in range */
        store->buckets *= 2;
    store->bucket = calloc(store->buckets, sizeof *store->bucket);
    if (!store->bucket) {
        status = kv_fail(KV_NO_MEMORY, "no memory for a table of %zu buckets", store->buckets);
        store->buckets = 0;
    } else if ((status = storedir_open(&store->dir, config->dir, &kind)) == KV_OK) { /* ours? new? in use? */
        status = open_log(store);
    }
    if (status != KV_OK)
        skeleton_close(&store->base);
    else
        *out = &store->base;
    return status;
}

/* Required.  A session belongs to one thread: the place for its buffers and its slot in an epoch table. */
static kv_status skeleton_session_open(struct kv_store *store, struct kv_session **out)
{
    (void)store;
    *out = calloc(1, sizeof **out);
    return *out ? KV_OK : kv_fail(KV_NO_MEMORY, "no memory for a session");
}

static void skeleton_session_close(struct kv_session *session)
{
    free(session);
}

/* Required for KV_BATCH; here every write is a batch. */
static kv_status skeleton_write(struct kv_session *session, const struct kv_write *writes, size_t count)
{
    struct skeleton_store *store = store_of(session);
    kv_status              status;

    pthread_mutex_lock(&store->lock);
    status = write_locked(store, writes, count);
    pthread_mutex_unlock(&store->lock);
    return status;
}

/* Required. */
static kv_status skeleton_put(struct kv_session *session, slice key, slice value)
{
    return skeleton_write(session, &(struct kv_write){KV_PUT, key, value}, 1);
}

/* Required.  KV_OK also when the key was absent. */
static kv_status skeleton_del(struct kv_session *session, slice key)
{
    return skeleton_write(session, &(struct kv_write){.kind = KV_DELETE, .key = key}, 1);
}

/* Required.  The value is lent until visit returns: the lock keeps it still. */
static kv_status skeleton_get(struct kv_session *session, slice key, kv_visit *visit, void *arg)
{
    struct skeleton_store *store = store_of(session);
    struct entry          *entry;

    pthread_mutex_lock(&store->lock);
    entry = *find(store, key);
    if (entry)
        visit(arg, key, slice_of(entry->bytes + entry->key_bytes, entry->value_bytes));
    pthread_mutex_unlock(&store->lock);
    return entry ? KV_OK : KV_NOT_FOUND;
}

/* Optional; without it the wrapper does a get and a put.  With KV_MODIFY it is atomic against every write. */
static kv_status skeleton_modify(struct kv_session *session, slice key, kv_change *change, void *arg)
{
    struct skeleton_store *store = store_of(session);
    struct buf             value = {0};
    struct entry          *entry;
    kv_status              status;

    pthread_mutex_lock(&store->lock);
    entry = *find(store, key);
    status = change(arg, entry ? &(slice){entry->bytes + entry->key_bytes, entry->value_bytes} : NULL, &value);
    if (status == KV_OK)
        status = write_locked(store, &(struct kv_write){KV_PUT, key, buf_slice(&value)}, 1);
    pthread_mutex_unlock(&store->lock);
    buf_free(&value);
    return status;
}

/* Required for KV_SCAN.  Without KV_ORDERED `first` is always empty, and any order will do. */
static kv_status skeleton_scan(struct kv_session *session, slice first, kv_visit *visit, void *arg)
{
    struct skeleton_store *store = store_of(session);
    bool                   more = true;

    (void)first;
    pthread_mutex_lock(&store->lock);
    for (size_t i = 0; i < store->buckets && more; i++)
        for (struct entry *entry = store->bucket[i]; entry && more; entry = entry->next)
            more = visit(arg, slice_of(entry->bytes, entry->key_bytes),
                         slice_of(entry->bytes + entry->key_bytes, entry->value_bytes));
    pthread_mutex_unlock(&store->lock);
    return KV_OK;
}

/* Required.  All that was acknowledged before the call is durable after it, whatever the tier. */
static kv_status skeleton_sync(struct kv_session *session)
{
    struct skeleton_store *store = store_of(session);
    kv_status              status;

    pthread_mutex_lock(&store->lock);
    status = sync_log(store);
    pthread_mutex_unlock(&store->lock);
    return status;
}

/* Optional.  From any thread, at any time, also without a session. */
static void skeleton_stats(struct kv_store *base, kv_figure *figure, void *arg)
{
    struct skeleton_store *store = (struct skeleton_store *)base;

    pthread_mutex_lock(&store->lock);
    figure(arg, "live_keys", store->live_keys);
    figure(arg, "live_bytes", store->live_bytes);
    figure(arg, "memory_bytes",
           store->live_bytes + store->live_keys * sizeof(struct entry) + store->buckets * sizeof *store->bucket);
    figure(arg, "disk_bytes", file_allocated_bytes(&store->log));
    figure(arg, "debt_bytes", 0);
    pthread_mutex_unlock(&store->lock);
}

static const struct kv_option skeleton_options[] = {
    {"buckets", KV_COUNT, "65536", 1, 1 << 30, "size of the hash table at open; it doubles when it is full", NULL},
    {0},
};

static const struct kv_engine skeleton_engine = {
    .abi             = KV_ABI,
    .name            = "skeleton", /* your engine's; lower case */
    .version         = "1",
    .summary         = "the template: a hash table under one lock, and a log that is synced for each commit",
    .can             = KV_DURABLE | KV_SCAN | KV_BATCH | KV_MODIFY | KV_SESSIONS | KV_RETAINS, /* each is tested */
    .tiers           = KV_TIER_BIT(KV_TIER_PROCESS) | KV_TIER_BIT(KV_TIER_ORDERED) | KV_TIER_BIT(KV_TIER_COMMIT),
    .key_bytes_max   = KV_KEY_BYTES_MAX,
    .value_bytes_max = KV_VALUE_BYTES_MAX,
    .options         = skeleton_options,
    .open            = skeleton_open,
    .close           = skeleton_close,
    .session_open    = skeleton_session_open,
    .session_close   = skeleton_session_close,
    .put             = skeleton_put,
    .get             = skeleton_get,
    .del             = skeleton_del,
    .modify          = skeleton_modify,
    .write           = skeleton_write,
    .scan            = skeleton_scan,
    .sync            = skeleton_sync,
    .stats           = skeleton_stats,
};

/* The one symbol that a plug-in exports. */
__attribute__((visibility("default"))) const struct kv_engine *kv_plugin(void);

const struct kv_engine *kv_plugin(void)
{
    return &skeleton_engine;
}
