/*
 * recover.c -- what is there at open: the manifest's tables, and the logs that are not in them.
 *
 * The logs are replayed in order into memtables.  The log ends at the first damage or gap, across files: if something behind it
 * is known to have been durable, the damage is no crash's doing, and the store is KV_CORRUPT with file and offset; else the
 * rest is cut off, later logs are removed, and both are durable before anything is written.
 * A log that the manifest says is there, and a manifest that should be, are missed: KV_CORRUPT.
 * Files that the manifest does not name, and logs that are in tables, are removed.
 */
#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "engines/lsm/store.h"

#define ARENA_MAX (MEMTABLE_BYTES_MAX / 2)

struct recovery {
    struct lsm        *store;
    struct epoch_slot *slot;
    uint64_t          *log, *table; /* ids of the files that are there */
    size_t             logs, tables;
    uint64_t           log_bytes;   /* of the logs to be replayed */
    struct memtable   *memtable;    /* being filled */
    uint64_t           durable_seq; /* known */
    bool               ended;       /* the log ended; later files are not part of it */
    struct wal        *last;        /* where it ended */
};

/* ---- Which files. ---- */

static bool note(uint64_t **list, size_t *count, uint64_t id)
{
    uint64_t *more = realloc(*list, (*count + 1) * sizeof *more);

    if (!more)
        return false;
    *list = more;
    more[(*count)++] = id;
    return true;
}

static int by_id(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static kv_status list_files(struct recovery *recovery)
{
    const char    *path = recovery->store->dir.path;
    DIR           *dir = opendir(path);
    struct dirent *entry;
    uint64_t       id;
    bool           good = true;

    if (!dir)
        return kv_fail_errno("open %s", path);
    while (good && (entry = readdir(dir)) != NULL) {
        if (name_parse(entry->d_name, wal_name, &id))
            good = note(&recovery->log, &recovery->logs, id);
        else if (name_parse(entry->d_name, table_name, &id))
            good = note(&recovery->table, &recovery->tables, id);
        else
            continue;
        if (id >= recovery->store->next_id)
            recovery->store->next_id = id + 1;
    }
    for (size_t i = 0; i < recovery->logs; i++) {
        char        name[WAL_NAME_MAX];
        struct stat about;
        if (recovery->log[i] >= recovery->store->manifest.log_id && fstatat(dirfd(dir), wal_name(name, recovery->log[i]), &about, 0) == 0)
            recovery->log_bytes += (uint64_t)about.st_size;
    }
    closedir(dir);
    if (!good)
        return kv_fail(KV_NO_MEMORY, "no memory for the names in %s", path);
    if (recovery->logs)
        qsort(recovery->log, recovery->logs, sizeof *recovery->log, by_id);
    return KV_OK;
}

static bool in_version(const struct version *version, uint64_t id)
{
    for (size_t i = 0; i < version->count; i++)
        for (size_t j = 0; j < version->run[i].count; j++)
            if (version->run[i].table[j]->id == id)
                return true;
    return false;
}

static kv_status remove_leftovers(struct recovery *recovery, const struct version *version)
{
    const char *dir = recovery->store->dir.path;
    char        name[TABLE_NAME_MAX];

    for (size_t i = 0; i < recovery->tables; i++)
        if (!in_version(version, recovery->table[i]))
            TRY(file_unlink(dir, table_name(name, recovery->table[i])));
    return file_unlink(dir, MANIFEST_NAME ".tmp");
}

/* ---- Replaying. ---- */

/* What was filled is sealed, and next is filled from here on. */
static kv_status rotate(struct recovery *recovery, struct memtable *next)
{
    struct lsm  *store = recovery->store;
    struct view *room;
    kv_status    status = next ? view_reserve(recovery->slot, &room) : KV_NO_MEMORY;

    if (status != KV_OK) {
        memtable_release(next);
        return status;
    }
    recovery->memtable->last_seq = store->log.next_seq - 1;
    __atomic_store_n(&recovery->memtable->sealed, true, __ATOMIC_RELEASE);
    next->first_seq = store->log.next_seq;
    recovery->memtable = store->log.memtable = next;
    view_rotate(store, recovery->slot, room, next);
    memtable_release(next);
    return KV_OK;
}

/* The memtable is full, or the logs are over: it waits for the flusher like any other. */
static kv_status seal_memtable(struct recovery *recovery)
{
    return rotate(recovery, memtable_new(recovery->store->options.memtable_bytes, 0));
}

/* Recovery must not wait for a flusher that does not run yet: a memtable takes as much as it must. */
static kv_status make_room(struct recovery *recovery, uint64_t bytes)
{
    struct memtable *memtable = recovery->memtable;

    if (memtable_used(memtable) + bytes <= memtable->arena_bytes)
        return KV_OK;
    if (!memtable_empty(memtable))
        TRY(seal_memtable(recovery));
    if (bytes + MEMTABLE_FIRST <= recovery->memtable->arena_bytes)
        return KV_OK;
    return rotate(recovery, memtable_new(bytes, 0));
}

static kv_status damaged(const struct wal *wal, uint64_t offset, const char *what)
{
    return kv_fail(KV_CORRUPT, "%s at %" PRIu64 ": %s", wal->file.path, offset, what);
}

static kv_status replay_group(struct recovery *recovery, struct wal *wal, const struct wal_group *group, slice writes)
{
    struct lsm  *store = recovery->store;
    struct entry entry;
    slice        rest = writes;
    uint64_t     bytes = 0, place;
    uint32_t     entries = 0;
    bool         bad;

    while (wal_next_write(&rest, &entry, &bad)) {
        bytes += memtable_entry_bytes(entry.key.size, entry.value.size);
        entries++;
    }
    if (bad || entries != group->count || bytes > BATCH_BYTES_MAX * 2)
        return damaged(wal, wal->tail, "a group's writes are not what it says");
    TRY(make_room(recovery, bytes));
    place = memtable_take(recovery->memtable, bytes);
    assert(place);
    for (rest = writes; wal_next_write(&rest, &entry, &bad);) {
        entry.seq = store->log.next_seq++;
        memtable_put(recovery->memtable, place, &entry, key_hash(entry.key));
        place += memtable_entry_bytes(entry.key.size, entry.value.size);
    }
    if (group->durable_seq > recovery->durable_seq)
        recovery->durable_seq = group->durable_seq;
    return KV_OK;
}

static kv_status replay_groups(struct recovery *recovery, struct wal *wal)
{
    struct wal_group group;
    slice            writes;
    uint64_t         behind;

    while (wal_group_at(wal, recovery->store->log.next_seq, &group, &writes)) {
        TRY(replay_group(recovery, wal, &group, writes));
        wal->tail += wal_group_bytes(group.bytes);
    }
    behind = wal_durable_behind(wal);
    if (behind > recovery->durable_seq)
        recovery->durable_seq = behind;
    return KV_OK;
}

/* Nothing that was durable may be missing. */
static kv_status check_end(const struct recovery *recovery, const struct wal *wal, const char *what)
{
    return recovery->durable_seq < recovery->store->log.next_seq ? KV_OK : damaged(wal, wal->tail, what);
}

static void keep_as_sealed(struct lsm *store, struct wal *wal)
{
    wal->last_seq = store->log.next_seq - 1;
    wal->next = NULL;
    *store->sealed_last = wal;
    store->sealed_last = &wal->next;
}

static kv_status drop_log(struct recovery *recovery, struct wal *wal)
{
    char name[WAL_NAME_MAX];

    if (wal->id == recovery->store->manifest.youngest_log || wal->id == recovery->store->manifest.log_before)
        TRY(tree_name_log(recovery->store, wal->id, LOG_GOES));
    TRY(file_unlink(recovery->store->dir.path, wal_name(name, wal->id)));
    wal_free(wal);
    return KV_OK;
}

static kv_status check_there(const struct recovery *recovery, uint64_t id)
{
    char name[WAL_NAME_MAX];

    for (size_t i = 0; i < recovery->logs; i++)
        if (recovery->log[i] == id)
            return KV_OK;
    return !id || id < recovery->store->manifest.log_id
               ? KV_OK
               : kv_fail(KV_CORRUPT, "%s/%s at 0: the log is missing, and the manifest names it", recovery->store->dir.path,
                         wal_name(name, id));
}

static kv_status replay_log(struct recovery *recovery, uint64_t id)
{
    struct lsm    *store = recovery->store;
    enum wal_state state;
    struct wal    *wal;
    kv_status      status;

    TRY(wal_open(store->dir.path, id, &wal, &state));
    if (state == WAL_NEWER)
        status = kv_fail(KV_MISMATCH, "%s was written by a newer version of this program", wal->file.path);
    else if (state == WAL_BLANK)
        return drop_log(recovery, wal);
    else if (state == WAL_DAMAGED || wal->base_seq != store->log.next_seq || recovery->ended) {
        /* It is no continuation.  If it knows that what is missing was durable, that is damage; else it came too late. */
        if (state == WAL_GOOD) {
            uint64_t behind = wal_durable_behind(wal);
            if (wal->durable_seq > behind)
                behind = wal->durable_seq;
            if (behind > recovery->durable_seq)
                recovery->durable_seq = behind;
        }
        status = check_end(recovery, recovery->last ? recovery->last : wal, "the log ends here, but more of it was durable");
        recovery->ended = true;
        if (status == KV_OK)
            return drop_log(recovery, wal);
    } else {
        if (wal->durable_seq > recovery->durable_seq)
            recovery->durable_seq = wal->durable_seq;
        status = replay_groups(recovery, wal);
        if (status == KV_OK) {
            recovery->memtable->log_id = wal->id;
            keep_as_sealed(store, wal);
            recovery->last = wal;
            return KV_OK;
        }
    }
    wal_free(wal);
    return status;
}

static kv_status replay(struct recovery *recovery)
{
    struct lsm *store = recovery->store;
    char        name[WAL_NAME_MAX];

    TRY(check_there(recovery, store->manifest.log_before));
    TRY(check_there(recovery, store->manifest.youngest_log));
    for (size_t i = 0; i < recovery->logs; i++) {
        if (recovery->log[i] < store->manifest.log_id)
            TRY(file_unlink(store->dir.path, wal_name(name, recovery->log[i])));
        else
            TRY(replay_log(recovery, recovery->log[i]));
    }
    if (recovery->last)
        TRY(check_end(recovery, recovery->last, "the log is damaged here, and more of it was durable"));
    else if (recovery->durable_seq >= store->log.next_seq)
        return kv_fail(KV_CORRUPT, "%s: no log is there that begins with number %" PRIu64 ", and writes up to %" PRIu64 " were durable",
                       store->dir.path, store->log.next_seq, recovery->durable_seq);
    /* What is behind the end of the last log must never be taken for its continuation. */
    if (recovery->last)
        TRY(wal_cut(recovery->last));
    for (struct wal *wal = store->sealed; wal; wal = wal->next) {
        file_unmap(wal->map, wal->capacity);
        wal->map = NULL;
        TRY(file_sync_data(&wal->file));
        wal->synced = true;
    }
    TRY(file_sync_dir(store->dir.path)); /* also the names that the process before may have left unsynced */
    if (!memtable_empty(recovery->memtable))
        TRY(seal_memtable(recovery));
    raise_durable_seq(store, store->log.next_seq - 1);
    return KV_OK;
}

/* Room for all the logs, whatever the options were when they were written; only what is used costs memory. */
static uint64_t arena_for(const struct recovery *recovery)
{
    uint64_t bytes = recovery->log_bytes * 4; /* a tiny entry is so much larger in the arena */

    if (bytes < recovery->store->options.memtable_bytes)
        bytes = recovery->store->options.memtable_bytes;
    return bytes < ARENA_MAX ? bytes : ARENA_MAX;
}

kv_status tree_recover(struct lsm *store, struct epoch_slot *slot)
{
    struct recovery recovery = {.store = store, .slot = slot};
    struct version *version = NULL;
    kv_status       status = manifest_read(store->dir.path, store->cache, &store->manifest, &version);
    bool            fresh = status == KV_NOT_FOUND;

    if (fresh)
        status = (version = version_new(0)) ? KV_OK : KV_NO_MEMORY;
    if (status == KV_OK) {
        if (store->manifest.next_id > store->next_id)
            store->next_id = store->manifest.next_id;
        store->log.next_seq = store->manifest.last_seq + 1;
        recovery.durable_seq = store->manifest.durable_seq;
        status = list_files(&recovery);
    }
    /* The first open has made it before anything else. */
    if (status == KV_OK && fresh && (recovery.logs || recovery.tables))
        status = kv_fail(KV_CORRUPT, "%s/" MANIFEST_NAME " at 0: the manifest is missing, and logs or tables are there",
                         store->dir.path);
    if (status == KV_OK) {
        store->log.memtable = recovery.memtable = memtable_new(arena_for(&recovery), 0);
        status = recovery.memtable ? KV_OK : KV_NO_MEMORY;
    }
    if (status == KV_OK) {
        struct view first = {.active = recovery.memtable, .version = version};
        recovery.memtable->first_seq = store->log.next_seq;
        store->view = NULL;
        store->tree = version;
        status = view_first(store, &first);
        memtable_release(recovery.memtable);
    }
    if (status == KV_OK && fresh)
        status = tree_name_log(store, 0, LOG_ALONE);
    if (status == KV_OK)
        status = remove_leftovers(&recovery, version);
    if (status == KV_OK)
        status = replay(&recovery);
    __atomic_store_n(&store->log.last_seq, store->log.next_seq - 1, __ATOMIC_RELEASE);
    version_release(version);
    free(recovery.log);
    free(recovery.table);
    return status;
}
