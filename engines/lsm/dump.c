/* dump.c -- `assay dump`: a log, a table or the manifest of the tree for people, entry by entry, damage included. */
#include "engines/lsm/dump.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "engines/base/print.h"
#include "engines/lsm/version.h"
#include "engines/lsm/wal.h"

static void print_entry(FILE *out, const struct entry *entry)
{
    fprintf(out, "  seq %" PRIu64 "  %s  ", entry->seq, entry->type == ENTRY_PUT ? "put" : "delete");
    print_bytes(out, entry->key);
    if (entry->type == ENTRY_PUT) {
        fprintf(out, " = ");
        print_bytes(out, entry->value);
    }
    fputc('\n', out);
}

/* ---- A log. ---- */

static void print_group(FILE *out, const struct wal *wal, const struct wal_group *group, slice writes)
{
    struct entry entry;
    uint64_t     seq = group->seq;
    bool         bad;

    fprintf(out, "%10" PRIu64 "  group of %" PRIu32 ", durable up to %" PRIu64 "\n", wal->tail, group->count, group->durable_seq);
    while (wal_next_write(&writes, &entry, &bad)) {
        entry.seq = seq++;
        print_entry(out, &entry);
    }
    if (bad || seq != group->seq + group->count)
        fprintf(out, "  DAMAGE: the group's writes are not what it says\n");
}

static bool is_zero(const struct wal *wal)
{
    for (uint64_t i = wal->tail; i < wal->capacity; i++)
        if (wal->map[i])
            return false;
    return true;
}

static kv_status dump_wal(FILE *out, struct wal *wal, enum wal_state state)
{
    struct wal_group group;
    slice            writes;
    uint64_t         seq = wal->base_seq, behind;

    if (state == WAL_BLANK) {
        fprintf(out, wal->capacity < WAL_FIRST ? "lsm log, cut off within its headers\n"
                     : is_zero(wal)            ? "lsm log, not begun\n"
                                               : "lsm log, not begun: what stands there is of an earlier life, or both headers are lost\n");
        return KV_OK;
    }
    if (state == WAL_OTHER)
        return wal_other_format(wal);
    if (state == WAL_GOOD && wal->capacity < WAL_FIRST)
        return kv_fail(KV_CORRUPT, "%s at %" PRIu64 ": the log is cut off", wal->file.path, wal->capacity);
    if (state == WAL_DAMAGED)
        return kv_fail(KV_CORRUPT, "%s at 0: the header of the log contradicts its checksum", wal->file.path);
    fprintf(out, "lsm log %" PRIu64 ", salt %016" PRIx64 ", from seq %" PRIu64 ", durable up to %" PRIu64 "\n", wal->id, wal->salt,
            wal->base_seq, wal->durable_seq);
    for (; wal_group_at(wal, seq, &group, &writes); wal->tail += wal_group_bytes(group.bytes)) {
        print_group(out, wal, &group, writes);
        seq = group.seq + group.count;
    }
    behind = wal_durable_behind(wal);
    if (behind >= seq) {
        fprintf(out, "%10" PRIu64 "  DAMAGE: more of it was durable, up to %" PRIu64 "\n", wal->tail, behind);
        return kv_fail(KV_CORRUPT, "%s at %" PRIu64 ": there is damage, as printed", wal->file.path, wal->tail);
    }
    fprintf(out, "%10" PRIu64 "  %s, %" PRIu64 " bytes\n", wal->tail, is_zero(wal) ? "zeros to the end" : "the log ends here",
            wal->capacity - wal->tail);
    return KV_OK;
}

/* ---- A table. ---- */

static void print_table(FILE *out, const struct table *table)
{
    fprintf(out, "lsm table %" PRIu64 ": %" PRIu64 " entries, %" PRIu64 " of them tombstones, in %" PRIu32 " blocks; %" PRIu64
                 " bytes for %" PRIu64 " of keys and %" PRIu64 " of values\n  seq %" PRIu64 " to %" PRIu64
                 "; %s entries; filter of %" PRIu64 " bytes, %" PRIu16 " probes%s\n  keys ",
            table->id, table->is.entries, table->is.tombstones, table->is.blocks, table->bytes, table->is.key_bytes,
            table->is.value_bytes, table->is.base_seq, table->is.last_seq, table->is.layout == LAYOUT_SPLIT ? "split" : "packed",
            table->filter_bytes, table->is.filter_probes,
            table->is.filter_hashes == FILTER_HASH_A_PROBE ? ", each with a hash of its own" : "");
    print_bytes(out, table->smallest);
    fprintf(out, " to ");
    print_bytes(out, table->largest);
    fputc('\n', out);
}

static kv_status dump_entries(FILE *out, struct table *table, struct epoch_slot *slot)
{
    struct table_cursor cursor;
    size_t              block = SIZE_MAX;
    kv_status           status;

    table_cursor_open(&cursor, table, slot, true);
    for (bool more = table_cursor_seek(&cursor, (slice){0}); more; more = table_cursor_next(&cursor)) {
        if (cursor.number != block) {
            block = cursor.number;
            fprintf(out, "%10" PRIu64 "  block of %" PRIu64 " bytes, from ", table->frame[block].offset, table->frame[block].bytes);
            print_bytes(out, table->key[block]);
            fputc('\n', out);
        }
        print_entry(out, table_cursor_entry(&cursor));
    }
    status = cursor.status;
    table_cursor_close(&cursor);
    return status == KV_OK ? table_verify(table, slot) : status;
}

static kv_status dump_table(FILE *out, const char *dir, const char *name)
{
    struct epoch      *epoch = NULL;
    struct epoch_slot *slot = NULL;
    struct cache      *cache = cache_open(0, 1, true);
    struct table      *table = NULL;
    kv_status          status = cache ? epoch_open(&epoch) : KV_NO_MEMORY;

    if (status == KV_OK)
        status = epoch_slot_open(epoch, &slot);
    if (status == KV_OK)
        status = table_open_named(dir, name, 0, cache, &table);
    if (status == KV_OK) {
        print_table(out, table);
        status = dump_entries(out, table, slot);
    }
    table_release(table);
    epoch_slot_close(slot);
    epoch_close(epoch);
    cache_close(cache);
    return status;
}

/* ---- The manifest. ---- */

static kv_status dump_manifest(FILE *out, const struct wal *file)
{
    const struct manifest_row *rows;
    struct manifest            manifest;
    bool                       newer;
    long                       count = manifest_parse(slice_of(file->map, file->capacity), &manifest, &rows, &newer);

    if (newer)
        return kv_fail(KV_MISMATCH, "%s was written by a newer program", file->file.path);
    if (count < 0)
        return kv_fail(KV_CORRUPT, "%s at 0: the manifest is damaged", file->file.path);
    fprintf(out, "lsm manifest: %ld tables, up to seq %" PRIu64 "; logs from %" PRIu64 " to %" PRIu64 "; durable up to seq %" PRIu64
            "; the next file is %" PRIu64 "\n", count, manifest.last_seq, manifest.log_id, manifest.youngest_log, manifest.durable_seq,
            manifest.next_id);
    for (long i = 0; i < count; i++)
        fprintf(out, "  level %" PRIu32 "  run %" PRIu32 "  table %" PRIu64 "\n", rows[i].level, rows[i].run, rows[i].id);
    return KV_OK;
}

/* ---- Any of them. ---- */

enum kind { KIND_NONE, KIND_WAL, KIND_MANIFEST, KIND_TABLE };

static bool has_magic(const struct wal *file, uint64_t offset, const char *magic)
{
    return file->capacity >= 8 && offset <= file->capacity - 8 && memcmp(file->map + offset, magic, 8) == 0;
}

static enum kind kind_of_bytes(const struct wal *file)
{
    if (has_magic(file, 0, WAL_MAGIC))
        return KIND_WAL;
    if (has_magic(file, 0, MANIFEST_MAGIC))
        return KIND_MANIFEST;
    if (file->capacity >= sizeof(struct table_footer) && has_magic(file, file->capacity - sizeof(struct table_footer), TABLE_MAGIC))
        return KIND_TABLE;
    return has_magic(file, WAL_SECOND, WAL_MAGIC) ? KIND_WAL : KIND_NONE; /* its second header */
}

/* Of a file whose magic is damaged, or cut off. */
static enum kind kind_of_name(const char *path)
{
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    uint64_t    id;

    return name_parse(name, wal_name, &id)     ? KIND_WAL
           : name_parse(name, table_name, &id) ? KIND_TABLE
           : strcmp(name, MANIFEST_NAME) == 0  ? KIND_MANIFEST
                                               : KIND_NONE;
}

kv_status lsm_dump(const char *path, FILE *out)
{
    const char    *dir = *path == '/' ? "" : ".", *name = *path == '/' ? path + 1 : path;
    enum kind      kind;
    enum wal_state state;
    struct wal    *file; /* whatever it is, it is mapped like a log */
    kv_status      status = KV_MISMATCH;

    TRY(wal_open_named(dir, name, 0, O_RDONLY, &file, &state));
    if ((kind = kind_of_bytes(file)) == KIND_NONE)
        kind = kind_of_name(path);
    switch (kind) {
    case KIND_WAL:      status = dump_wal(out, file, state); break;
    case KIND_MANIFEST: status = dump_manifest(out, file); break;
    case KIND_TABLE:    status = dump_table(out, dir, name); break;
    case KIND_NONE:     fail_set("%s is no file of lsm", path); break;
    }
    wal_free(file);
    return status;
}
