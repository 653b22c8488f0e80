/* version.c -- lists of tables, and writing and reading the manifest. */
#include "engines/lsm/version.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define MANIFEST_TMP MANIFEST_NAME ".tmp"

struct manifest_head {
    char     magic[8];
    uint32_t version, tables;
    uint64_t next_id, log_id, last_seq, durable_seq, youngest_log, log_before;
};

static_assert(sizeof(struct manifest_head) == 64 && sizeof(struct manifest_row) == 16, "the format");

struct version *version_new(size_t runs_max)
{
    struct version *version = calloc(1, sizeof *version + runs_max * sizeof *version->run);

    if (version)
        version->references = 1;
    else
        fail_set("no memory for a version of the tree");
    return version;
}

static int by_key(const void *a, const void *b)
{
    return slice_compare((*(struct table *const *)a)->smallest, (*(struct table *const *)b)->smallest);
}

kv_status version_add_run(struct version *version, uint32_t level, struct table *const *tables, size_t count)
{
    struct run_of_tables *run = &version->run[version->count];

    if (count == 0)
        return KV_OK;
    *run = (struct run_of_tables){.level = level, .count = count, .table = malloc(count * sizeof *run->table)};
    if (!run->table)
        return kv_fail(KV_NO_MEMORY, "no memory for a version of the tree");
    memcpy(run->table, tables, count * sizeof *run->table);
    for (size_t i = 0; i < count; i++) {
        table_keep(tables[i]);
        run->bytes += tables[i]->bytes;
        if (tables[i]->is.last_seq > run->last_seq)
            run->last_seq = tables[i]->is.last_seq;
    }
    qsort(run->table, count, sizeof *run->table, by_key);
    version->count++;
    return KV_OK;
}

static int by_age(const void *a, const void *b)
{
    const struct run_of_tables *x = a, *y = b;

    if (x->level != y->level)
        return x->level < y->level ? -1 : 1;
    return (x->last_seq < y->last_seq) - (x->last_seq > y->last_seq);
}

void version_seal(struct version *version)
{
    qsort(version->run, version->count, sizeof *version->run, by_age);
}

void version_release(struct version *version)
{
    if (!version || __atomic_sub_fetch(&version->references, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    for (size_t i = 0; i < version->count; i++) {
        for (size_t j = 0; j < version->run[i].count; j++)
            table_release(version->run[i].table[j]);
        free(version->run[i].table);
    }
    free(version);
}

uint64_t version_bytes(const struct version *version)
{
    uint64_t bytes = 0;

    for (size_t i = 0; i < version->count; i++)
        bytes += version->run[i].bytes;
    return bytes;
}

size_t version_tables(const struct version *version)
{
    size_t tables = 0;

    for (size_t i = 0; i < version->count; i++)
        tables += version->run[i].count;
    return tables;
}

uint32_t version_last_level(const struct version *version)
{
    return version->count ? version->run[version->count - 1].level : 0;
}

size_t run_lower_bound(const struct run_of_tables *run, slice first)
{
    size_t low = 0, high = run->count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (slice_compare(run->table[middle]->largest, first) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

struct table *run_find(const struct run_of_tables *run, slice key)
{
    size_t at = run->count == 1 ? 0 : run_lower_bound(run, key);

    return at < run->count && table_covers(run->table[at], key) ? run->table[at] : NULL;
}

/* ---- The manifest. ---- */

static kv_status form(const struct manifest *manifest, const struct version *version, struct buf *out)
{
    struct manifest_head head = {.magic = MANIFEST_MAGIC, .version = MANIFEST_VERSION, .tables = (uint32_t)version_tables(version),
                                 .next_id = manifest->next_id, .log_id = manifest->log_id, .last_seq = manifest->last_seq,
                                 .durable_seq = manifest->durable_seq, .youngest_log = manifest->youngest_log,
                                 .log_before = manifest->log_before};
    uint32_t             number = 0;
    uint64_t             sum;

    TRY(buf_append(out, &head, sizeof head));
    for (size_t i = 0; i < version->count; i++) {
        const struct run_of_tables *run = &version->run[i];
        number = i > 0 && run->level == version->run[i - 1].level ? number + 1 : 0;
        for (size_t j = 0; j < run->count; j++) {
            struct manifest_row row = {run->table[j]->id, run->level, number};
            TRY(buf_append(out, &row, sizeof row));
        }
    }
    sum = XXH3_64bits(out->data, out->size);
    return buf_append(out, &sum, sizeof sum);
}

kv_status manifest_write(const char *dir, const struct manifest *manifest, const struct version *version)
{
    struct buf  bytes = {0};
    struct file file = FILE_CLOSED;
    kv_status   status = form(manifest, version, &bytes);

    if (status == KV_OK)
        status = file_open(&file, dir, MANIFEST_TMP, O_WRONLY | O_CREAT | O_TRUNC);
    if (status == KV_OK)
        status = file_write_at(&file, bytes.data, bytes.size, 0);
    if (status == KV_OK)
        status = file_sync(&file);
    file_close(&file);
    buf_free(&bytes);
    TRY(status);
    TRY(file_rename(dir, MANIFEST_TMP, MANIFEST_NAME));
    return file_sync_dir(dir) == KV_OK ? KV_OK : KV_IO; /* whatever it was: the new one may be there or not */
}

long manifest_parse(slice bytes, struct manifest *manifest, const struct manifest_row **rows, bool *newer)
{
    struct manifest_head head;
    uint64_t             sum;

    *newer = false;
    if (bytes.size < sizeof head + sizeof sum)
        return -1;
    memcpy(&head, bytes.data, sizeof head);
    memcpy(&sum, (const char *)bytes.data + bytes.size - sizeof sum, sizeof sum);
    if (memcmp(head.magic, MANIFEST_MAGIC, sizeof head.magic) != 0 || sum != XXH3_64bits(bytes.data, bytes.size - sizeof sum))
        return -1;
    *newer = head.version != MANIFEST_VERSION;
    if (*newer || head.tables > TABLES_MAX || bytes.size != sizeof head + sizeof sum + (size_t)head.tables * sizeof **rows)
        return -1;
    *manifest = (struct manifest){head.next_id, head.log_id, head.last_seq, head.durable_seq, head.youngest_log, head.log_before};
    *rows = (const struct manifest_row *)((const char *)bytes.data + sizeof head);
    for (uint32_t i = 0; i < head.tables; i++) {
        const struct manifest_row *row = *rows + i, *before = row - 1;
        if (row->level >= LEVELS_MAX || row->id >= head.next_id)
            return -1;
        if (i == 0 ? row->run != 0
                   : row->level < before->level || (row->level > before->level && row->run != 0) ||
                         (row->level == before->level && row->run - before->run > 1))
            return -1;
    }
    return (long)head.tables;
}

static kv_status read_all(const char *dir, struct file *file, struct buf *bytes)
{
    uint64_t size;
    size_t   got;

    TRY(file_open(file, dir, MANIFEST_NAME, O_RDONLY));
    TRY(file_size(file, &size));
    if (size > sizeof(struct manifest_head) + 8 + (uint64_t)TABLES_MAX * sizeof(struct manifest_row))
        return kv_fail(KV_CORRUPT, "%s: too large for a manifest", file->path);
    TRY(buf_reserve(bytes, size + 1));
    TRY(file_read_at(file, bytes->data, size, 0, &got));
    bytes->size = got;
    return KV_OK;
}

static kv_status open_table(const char *dir, uint64_t id, struct cache *cache, struct table **out)
{
    kv_status status = table_open(dir, id, cache, out);
    char      path[PATH_MAX], name[TABLE_NAME_MAX];

    snprintf(path, sizeof path, "%s/%s", dir, table_name(name, id));
    if (status != KV_OK && access(path, F_OK) < 0 && errno == ENOENT)
        return kv_fail(KV_CORRUPT, "%s at 0: the table is missing, and the manifest names it", path);
    return status;
}

/* Opens the tables of one run, from row `first` on, and adds it. */
static kv_status open_run(const char *dir, const struct file *file, struct cache *cache, const struct manifest_row *rows, size_t count,
                          struct version *version)
{
    struct table **tables = calloc(count, sizeof *tables);
    kv_status      status = tables ? KV_OK : kv_fail(KV_NO_MEMORY, "no memory for a version of the tree");
    size_t         opened = 0;

    while (status == KV_OK && opened < count) {
        status = open_table(dir, rows[opened].id, cache, &tables[opened]);
        if (status == KV_OK && opened > 0 && slice_compare(tables[opened - 1]->largest, tables[opened]->smallest) >= 0)
            status = kv_fail(KV_CORRUPT, "%s: tables %" PRIu64 " and %" PRIu64 " overlap", file->path, rows[opened - 1].id,
                             rows[opened].id);
        opened += tables[opened] != NULL;
    }
    if (status == KV_OK)
        status = version_add_run(version, rows[0].level, tables, count);
    while (opened > 0)
        table_release(tables[--opened]);
    free(tables);
    return status;
}

static kv_status open_tables(const char *dir, const struct file *file, struct cache *cache, const struct manifest_row *rows,
                             size_t count, struct version *version)
{
    for (size_t first = 0, end; first < count; first = end) {
        end = first + 1;
        while (end < count && rows[end].level == rows[first].level && rows[end].run == rows[first].run)
            end++;
        TRY(open_run(dir, file, cache, rows + first, end - first, version));
    }
    version_seal(version);
    return KV_OK;
}

kv_status manifest_read(const char *dir, struct cache *cache, struct manifest *manifest, struct version **version)
{
    const struct manifest_row *rows;
    struct file                file = FILE_CLOSED;
    struct buf                 bytes = {0};
    kv_status                  status = read_all(dir, &file, &bytes);
    long                       count;
    bool                       newer;

    *version = NULL;
    if (status != KV_OK) {
        bool absent = file.fd < 0 && errno == ENOENT;
        buf_free(&bytes);
        file_close(&file);
        return absent ? KV_NOT_FOUND : status;
    }
    count = manifest_parse(buf_slice(&bytes), manifest, &rows, &newer);
    if (newer)
        status = kv_fail(KV_MISMATCH, "%s was written by a newer version of this program", file.path);
    else if (count < 0)
        status = kv_fail(KV_CORRUPT, "%s at 0: the manifest is damaged", file.path);
    else if (!(*version = version_new((size_t)count)))
        status = KV_NO_MEMORY;
    else
        status = open_tables(dir, &file, cache, rows, (size_t)count, *version);
    if (status != KV_OK) {
        version_release(*version);
        *version = NULL;
    }
    buf_free(&bytes);
    file_close(&file);
    return status;
}
