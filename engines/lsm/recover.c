/*
 * recover.c -- what is there at open: the manifest's tables, and the logs that are not in them.
 *
 * The logs are replayed in order into memtables.  The log ends at the first damage or gap, across files: if something behind it
 * is known to have been durable, the damage is no crash's doing, and the store is KV_CORRUPT with file and offset; else the
 * rest is cut off, later logs are removed, and both are durable before anything is written.
 * A log that the manifest says is there, and a manifest that should be, are missed: KV_CORRUPT.
 * What was replayed is a memtable that waits for the flusher, in a log or more until it has grown or there are too many.
 * Files that the manifest does not name, and logs that are in tables, are removed.
 * Nothing is removed, cut or written before all has been found good: an open that tells of damage leaves every file as it was.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "engines/lsm/store.h"

#define ARENA_MAX (MEMTABLE_BYTES_MAX / 2)
#define LOGS_MAX  16u /* more than those become a table, however small: a process that writes little and ends leaves one each time */

struct recovery {
    struct lsm        *store;
    struct epoch_slot *slot;
    uint64_t          *log, *table; /* ids of the files that are there */
    size_t             logs, tables;
    uint64_t           log_bytes;   /* of the logs to be replayed */
    uint64_t           arena_bytes; /* of a memtable that takes them */
    struct memtable   *memtable;    /* being filled */
    uint64_t           durable_seq; /* known */
    bool               ended;       /* the log ended; later files are not part of it */
    struct wal        *last;        /* where it ended */
    uint64_t           gap;         /* the log behind that which has no good header, and so may be where it went on; 0: none */
    enum wal_state     gap_state;
    uint64_t           late;        /* the first that is no continuation; 0: none */
    size_t             unneeded;    /* so many of `log`, its first ones, go when all has been found good */
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
    kv_status    status = next ? KV_OK : kv_fail(KV_NO_MEMORY, "no memory for the logs in %s", store->dir.path);

    if (status == KV_OK && store->immutables >= MEMTABLES_MAX)
        status = kv_fail(KV_NO_MEMORY, "%s: more logs are there than %u memtables of %" PRIu64 " bytes hold", store->dir.path,
                         MEMTABLES_MAX, recovery->arena_bytes);
    if (status == KV_OK)
        status = view_reserve(recovery->slot, &room);
    if (status != KV_OK) {
        memtable_release(next);
        return status;
    }
    next->log_id = recovery->memtable->log_id; /* until all of another log is in it */
    recovery->memtable->last_seq = store->log.next_seq - 1;
    __atomic_store_n(&recovery->memtable->sealed, true, __ATOMIC_RELEASE);
    next->first_seq = store->log.next_seq;
    recovery->memtable = store->log.memtable = next;
    view_rotate(store, recovery->slot, room, next);
    memtable_release(next);
    return KV_OK;
}

/* Recovery must not wait for a flusher that does not run yet: a memtable takes as much as it must. */
static kv_status make_room(struct recovery *recovery, uint64_t bytes)
{
    struct memtable *memtable = recovery->memtable;

    if (memtable_used(memtable) + bytes <= memtable->arena_bytes)
        return KV_OK;
    return rotate(recovery, memtable_new(bytes > recovery->arena_bytes ? bytes : recovery->arena_bytes, 0));
}

static kv_status damaged(const struct wal *wal, uint64_t offset, const char *what)
{
    return kv_fail(KV_CORRUPT, "%s at %" PRIu64 ": %s", wal->file.path, offset, what);
}

static void durable_at_least(struct recovery *recovery, uint64_t seq)
{
    if (seq > recovery->durable_seq)
        recovery->durable_seq = seq;
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
    durable_at_least(recovery, group->durable_seq);
    return KV_OK;
}

/* The groups of a log, but for those that are in a table: a memtable may have been full, and written out, in the middle of one. */
static kv_status replay_groups(struct recovery *recovery, struct wal *wal)
{
    const uint64_t  *next_seq = &recovery->store->log.next_seq;
    struct wal_group group;
    slice            writes;

    for (uint64_t seq = wal->base_seq; wal_group_at(wal, seq, &group, &writes); seq += group.count) {
        if (seq >= *next_seq)
            TRY(replay_group(recovery, wal, &group, writes));
        else if (seq + group.count > *next_seq)
            return damaged(wal, wal->tail, "a table has half of a group's writes");
        wal->tail += wal_group_bytes(group.bytes);
    }
    durable_at_least(recovery, wal_durable_behind(wal));
    return KV_OK;
}

static bool is_continuation(const struct recovery *recovery, const struct wal *wal)
{
    uint64_t next_seq = recovery->store->log.next_seq;

    return !recovery->ended && (wal->base_seq == next_seq || (wal->base_seq < next_seq && !recovery->last));
}

/* Nothing that was durable may be missing.  Where it could have been is told with what is known of that place. */
static kv_status check_end(const struct recovery *recovery)
{
    const char       *dir = recovery->store->dir.path, *state = recovery->gap_state == WAL_BLANK ? "blank" : "damaged";
    const struct wal *last = recovery->last;
    uint64_t          next_seq = recovery->store->log.next_seq;
    char              name[WAL_NAME_MAX], durable[96];

    if (recovery->durable_seq < next_seq)
        return KV_OK;
    snprintf(durable, sizeof durable, "writes %" PRIu64 " to %" PRIu64 ", which were durable, are missing", next_seq, recovery->durable_seq);
    if (recovery->gap && (!last || recovery->gap_state == WAL_DAMAGED))
        return kv_fail(KV_CORRUPT, "%s/%s at 0: the log's header is %s, and %s", dir, wal_name(name, recovery->gap), state, durable);
    if (recovery->gap)
        return kv_fail(KV_CORRUPT, "%s at %" PRIu64 ": the log ends here, the header of %s is %s, and %s", last->file.path, last->tail,
                       wal_name(name, recovery->gap), state, durable);
    if (last && recovery->late)
        return kv_fail(KV_CORRUPT, "%s at %" PRIu64 ": the log ends here, %s does not begin with the next number, and %s", last->file.path,
                       last->tail, wal_name(name, recovery->late), durable);
    if (last)
        return kv_fail(KV_CORRUPT, "%s at %" PRIu64 ": the log is damaged here, and %s", last->file.path, last->tail, durable);
    if (recovery->late)
        return kv_fail(KV_CORRUPT, "%s/%s at 0: the log before it is missing, and %s", dir, wal_name(name, recovery->late), durable);
    return kv_fail(KV_CORRUPT, "%s/" MANIFEST_NAME " at 0: no log is there that goes on behind it, and %s", dir, durable);
}

static void keep_as_sealed(struct lsm *store, struct wal *wal)
{
    wal->last_seq = store->log.next_seq - 1;
    wal->next = NULL;
    *store->sealed_last = wal;
    store->sealed_last = &wal->next;
}

/* It is durable, and needs no descriptor any more: there may be many. */
static kv_status put_away(struct wal *wal)
{
    file_unmap(wal->map, wal->capacity);
    wal->map = NULL;
    TRY(file_sync_data(&wal->file));
    wal->synced = true;
    file_close(&wal->file);
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

/* The next log.  *kept: it is part of the store's log, and the store's; else it is closed again. */
static kv_status replay_log(struct recovery *recovery, uint64_t id, bool *kept)
{
    struct lsm    *store = recovery->store;
    enum wal_state state;
    struct wal    *wal, *before = recovery->last;
    kv_status      status = KV_OK;

    *kept = false;
    TRY(wal_open(store->dir.path, id, &wal, &state));
    if (state == WAL_OTHER) {
        status = wal_other_format(wal);
    } else if (state == WAL_STRANGE) {
        status = damaged(wal, 0, "the header is another log's");
    } else if (state == WAL_GOOD && wal->capacity < WAL_FIRST) {
        status = damaged(wal, wal->capacity, "the log is cut off");
    } else if (state == WAL_GOOD) {
        durable_at_least(recovery, wal->durable_seq);
        if (is_continuation(recovery, wal)) {
            if ((status = replay_groups(recovery, wal)) == KV_OK) {
                recovery->memtable->log_id = id; /* all of it is in there, or in those before */
                recovery->gap = 0;
                recovery->last = wal;
                keep_as_sealed(store, wal);
                *kept = true;
                return before ? put_away(before) : KV_OK;
            }
        } else {
            /* It is no continuation.  If it knows that what is missing was durable, that is damage; else it came too late. */
            durable_at_least(recovery, wal_durable_behind(wal));
            recovery->late = recovery->late ? recovery->late : id;
            recovery->ended = true;
        }
    } else {
        if (!recovery->gap && !recovery->ended) {
            recovery->gap = id;
            recovery->gap_state = state;
        }
        recovery->ended |= state == WAL_DAMAGED;
    }
    wal_free(wal);
    return status;
}

/* One that the manifest names gives its blocks back first: on a full disk the next manifest may need them. */
static kv_status remove_log(struct recovery *recovery, uint64_t id)
{
    const struct manifest *manifest = &recovery->store->manifest;
    const char            *dir = recovery->store->dir.path;
    struct file            log;
    char                   name[WAL_NAME_MAX];
    kv_status              status;

    wal_name(name, id);
    if (id >= manifest->log_id && (id == manifest->youngest_log || id == manifest->log_before)) {
        TRY(file_open(&log, dir, name, O_WRONLY));
        status = file_truncate(&log, 0);
        file_close(&log);
        TRY(status);
        TRY(tree_name_log(recovery->store, id, LOG_GOES));
    }
    return file_unlink(dir, name);
}

static kv_status replay(struct recovery *recovery)
{
    struct lsm *store = recovery->store;
    size_t      kept_logs = 0;
    bool        kept;

    TRY(check_there(recovery, store->manifest.log_before));
    TRY(check_there(recovery, store->manifest.youngest_log));
    for (size_t i = 0; i < recovery->logs; i++) {
        kept = false;
        if (recovery->log[i] >= store->manifest.log_id)
            TRY(replay_log(recovery, recovery->log[i], &kept));
        if (kept)
            kept_logs++;
        else
            recovery->log[recovery->unneeded++] = recovery->log[i];
    }
    store->many_logs = kept_logs > LOGS_MAX;
    return check_end(recovery);
}

/* All has been found good: what is not needed goes, and what is there becomes durable. */
static kv_status settle(struct recovery *recovery)
{
    struct lsm *store = recovery->store;

    while (recovery->unneeded) /* the youngest first: what is left, if this is cut short, ends where it ended before */
        TRY(remove_log(recovery, recovery->log[--recovery->unneeded]));
    /* What is behind the end of the last log must never be taken for its continuation. */
    if (recovery->last) {
        TRY(wal_cut(recovery->last));
        TRY(put_away(recovery->last));
    }
    TRY(file_sync_dir(store->dir.path)); /* also the names that the process before may have left unsynced */
    if (!memtable_empty(recovery->memtable)) /* it waits for the flusher like any other */
        TRY(rotate(recovery, memtable_new(store->options.memtable_bytes, 0)));
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
        recovery.arena_bytes = arena_for(&recovery);
        store->log.memtable = recovery.memtable = memtable_new(recovery.arena_bytes, store->manifest.log_id ? store->manifest.log_id - 1 : 0);
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
        status = replay(&recovery);
    if (status == KV_OK)
        status = remove_leftovers(&recovery, version);
    if (status == KV_OK)
        status = settle(&recovery);
    __atomic_store_n(&store->log.last_seq, store->log.next_seq - 1, __ATOMIC_RELEASE);
    version_release(version);
    free(recovery.log);
    free(recovery.table);
    return status;
}
