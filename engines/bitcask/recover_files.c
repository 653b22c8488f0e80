/* recover_files.c -- recovery's view of the directory: which files there are, which of them count, which go. */
#include "engines/bitcask/recover.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "engines/bitcask/hint.h"
#include "engines/bitcask/merge.h"

/* Listing. */

static kv_status ids_add(struct ids *ids, uint64_t id)
{
    if (ids->count == ids->capacity) {
        size_t    capacity = ids->capacity ? ids->capacity * 2 : 16;
        uint64_t *more = realloc(ids->id, capacity * sizeof *more);
        if (!more)
            return kv_fail(KV_NO_MEMORY, "no memory for a list of files");
        ids->id = more;
        ids->capacity = capacity;
    }
    ids->id[ids->count++] = id;
    return KV_OK;
}

static bool ids_have(const struct ids *ids, uint64_t id)
{
    for (size_t i = 0; i < ids->count; i++)
        if (ids->id[i] == id)
            return true;
    return false;
}

static int by_number(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

    return (x > y) - (x < y);
}

static kv_status list_file(struct recovery *recovery, const char *name)
{
    const char *dir = recovery->store->dir.path;
    uint64_t    id;

    if (segment_parse_name(name, "log", &id)) {
        TRY(ids_add(&recovery->log_ids, id));
    } else if (segment_parse_name(name, "merged", &id)) {
        TRY(ids_add(&recovery->merged_ids, id));
    } else if (segment_parse_name(name, "hint", &id)) {
        TRY(ids_add(&recovery->hint_ids, id));
    } else if (segment_parse_name(name, "merged.tmp", &id) || segment_parse_name(name, "hint.tmp", &id)) {
        TRY(file_unlink(dir, name));
    } else {
        return KV_OK; /* nobody's: left alone */
    }
    if (id >= recovery->store->segments.next_id)
        recovery->store->segments.next_id = id + 1;
    return KV_OK;
}

kv_status recover_list(struct recovery *recovery)
{
    DIR           *listing = opendir(recovery->store->dir.path);
    struct dirent *entry;
    kv_status      status = KV_OK;

    if (!listing)
        return kv_fail_errno("list %s", recovery->store->dir.path);
    while (status == KV_OK && (errno = 0, entry = readdir(listing)) != NULL)
        status = list_file(recovery, entry->d_name);
    if (status == KV_OK && errno)
        status = kv_fail_errno("list %s", recovery->store->dir.path);
    closedir(listing);
    if (status == KV_OK && recovery->log_ids.count)
        qsort(recovery->log_ids.id, recovery->log_ids.count, sizeof(uint64_t), by_number);
    for (size_t i = 0; i < recovery->hint_ids.count; i++) {
        uint64_t entries, claim = hint_durable_seq(recovery->store->dir.path, recovery->hint_ids.id[i], &entries);
        recovery->hinted += entries;
        if (claim > recovery->durable_seq)
            recovery->durable_seq = claim;
    }
    return status;
}

/* Headers. */

static kv_status read_header(struct recovery *recovery, struct segment *segment, enum segment_verdict *verdict)
{
    uint64_t durable_seq = 0;

    *verdict = segment_header_read(segment, &durable_seq);
    if (durable_seq > recovery->durable_seq)
        recovery->durable_seq = durable_seq;
    return *verdict == SEGMENT_FOREIGN ? segment_foreign(segment) : KV_OK;
}

static kv_status load(struct recovery *recovery, uint64_t id, enum segment_kind kind, struct segment **out)
{
    struct bitcask *store = recovery->store;
    char            name[SEGMENT_NAME_MAX];
    bool            is_log = kind == SEGMENT_LOG;

    /* Only the last log segment can be continued, but which that is shows later; address space costs nothing. */
    return segment_load(store->dir.path, segment_name(name, id, segment_ending(kind)), O_RDWR, id, kind,
                        is_log ? store->options.segment_bytes : 0, is_log && store->mapped, out);
}

kv_status recover_load_merged(struct recovery *recovery)
{
    recovery->merged = calloc(recovery->merged_ids.count + 1, sizeof *recovery->merged);
    if (!recovery->merged)
        return kv_fail(KV_NO_MEMORY, "no memory for a list of segments");
    for (size_t i = 0; i < recovery->merged_ids.count; i++) {
        enum segment_verdict verdict;
        struct segment     **segment = &recovery->merged[recovery->merged_count];
        struct merge_list    list;
        TRY(load(recovery, recovery->merged_ids.id[i], SEGMENT_MERGED, segment));
        recovery->merged_count++;
        TRY(read_header(recovery, *segment, &verdict));
        if (verdict != SEGMENT_GOOD)
            return segment_damaged(*segment, 0, "the header of a merged segment is damaged");
        if ((*segment)->end != (*segment)->limit)
            return segment_damaged(*segment, (*segment)->limit, "the file is not as long as its header says");
        TRY(merge_list_read(*segment, &list));
        for (size_t j = 0; j < list.input_count; j++)
            TRY(ids_add(&recovery->superseded, list.inputs[j]));
        for (size_t j = 0; j < list.range_count; j++) {
            TRY(segment_ranges_add(&recovery->covered, list.ranges[j]));
            TRY(segment_ranges_add(&(*segment)->covers, list.ranges[j]));
        }
    }
    return KV_OK;
}

kv_status recover_load_logs(struct recovery *recovery)
{
    recovery->logs = calloc(recovery->log_ids.count + 1, sizeof *recovery->logs);
    if (!recovery->logs)
        return kv_fail(KV_NO_MEMORY, "no memory for a list of segments");
    for (size_t i = 0; i < recovery->log_ids.count; i++) {
        struct log_file *log = &recovery->logs[recovery->log_count];
        if (ids_have(&recovery->superseded, recovery->log_ids.id[i]))
            continue;
        TRY(load(recovery, recovery->log_ids.id[i], SEGMENT_LOG, &log->segment));
        recovery->log_count++;
        TRY(read_header(recovery, log->segment, &log->verdict));
    }
    return KV_OK;
}

kv_status recover_remove(struct recovery *recovery, uint64_t id, const char *ending)
{
    char name[SEGMENT_NAME_MAX];

    return file_unlink(recovery->store->dir.path, segment_name(name, id, ending));
}

/* A merge that had its name was complete; all that was left to do was this. */
kv_status recover_remove_superseded(struct recovery *recovery)
{
    size_t kept = 0, removed = 0;

    for (size_t i = 0; i < recovery->merged_count; i++) {
        struct segment *segment = recovery->merged[i];
        if (ids_have(&recovery->superseded, segment->id))
            segment_free(segment);
        else
            recovery->merged[kept++] = segment;
    }
    recovery->merged_count = kept;
    for (size_t i = 0; i < recovery->superseded.count; i++) {
        uint64_t id = recovery->superseded.id[i];
        bool     is_log = ids_have(&recovery->log_ids, id), is_merged = ids_have(&recovery->merged_ids, id);
        if (ids_have(&recovery->hint_ids, id))
            TRY(recover_remove(recovery, id, "hint"));
        if (is_log || is_merged)
            TRY(recover_remove(recovery, id, is_log ? "log" : "merged"));
        removed += is_log || is_merged;
    }
    return removed ? file_sync_dir(recovery->store->dir.path) : KV_OK;
}
