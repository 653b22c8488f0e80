/* wal.c -- making, opening and reading log files. */
#include "engines/lsm/wal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

char *wal_name(char out[WAL_NAME_MAX], uint64_t id)
{
    snprintf(out, WAL_NAME_MAX, "%08" PRIu64 ".wal", id);
    return out;
}

bool name_parse(const char *name, char *(*form)(char *, uint64_t), uint64_t *id)
{
    char again[64];

    /* Written back and compared: 7.wal, +7.wal and 007.wal are nobody's, whatever strtoull would make of them. */
    if (*name < '0' || *name > '9')
        return false;
    errno = 0;
    *id = strtoull(name, NULL, 10);
    return errno == 0 && *id > 0 && *id < FILE_ID_MAX && strcmp(name, form(again, *id)) == 0;
}

void wal_free(struct wal *wal)
{
    if (!wal)
        return;
    file_unmap(wal->map, wal->capacity);
    file_close(&wal->file);
    free(wal);
}

static kv_status wal_new(uint64_t id, struct wal **out)
{
    struct wal *wal = calloc(1, sizeof *wal);

    *out = wal;
    if (!wal)
        return kv_fail(KV_NO_MEMORY, "no memory for a log");
    wal->id = id;
    wal->file = FILE_CLOSED;
    wal->tail = WAL_FIRST;
    return KV_OK;
}

static kv_status new_salt(struct wal *wal)
{
    if (getrandom(&wal->salt, sizeof wal->salt, 0) != sizeof wal->salt)
        return kv_fail_errno("random numbers for a log");
    return KV_OK;
}

static kv_status create(struct wal *wal, const char *dir)
{
    char name[WAL_NAME_MAX];

    TRY(new_salt(wal));
    TRY(file_open(&wal->file, dir, wal_name(name, wal->id), O_RDWR | O_CREAT | O_EXCL));
    TRY(file_allocate(&wal->file, 0, wal->capacity));
    if (wal->mapped) {
        TRY(file_map(&wal->file, wal->capacity, true, &wal->map));
    } else {
        TRY(file_zero(&wal->file, 0, wal->capacity));
        TRY(file_sync(&wal->file));
    }
    return file_sync_dir(dir);
}

kv_status wal_create(const char *dir, uint64_t id, uint64_t capacity, bool mapped, struct wal **out)
{
    struct wal *wal;
    char        name[WAL_NAME_MAX], said[FAIL_BYTES_MAX];
    kv_status   status;

    TRY(wal_new(id, &wal));
    *out = NULL;
    wal->mapped = mapped;
    wal->capacity = capacity;
    if ((status = create(wal, dir)) == KV_OK) {
        *out = wal;
        return KV_OK;
    }
    snprintf(said, sizeof said, "%s", fail_text());
    if (wal->file.fd >= 0 && file_unlink(dir, wal_name(name, id)) != KV_OK) {
        /* blank, so the next open removes it */
    }
    wal_free(wal);
    fail_set("%s", said);
    return status;
}

/* A header of zeros stands under the new name until the log is begun: it says that it was not. */
static kv_status recycle(const char *dir, struct wal *wal, uint64_t id)
{
    static const char blank[WAL_FIRST];
    char              from[WAL_NAME_MAX], to[WAL_NAME_MAX], *path;

    TRY(new_salt(wal));
    TRY(file_write_at(&wal->file, blank, sizeof blank, 0));
    TRY(file_sync_data(&wal->file));
    TRY(file_rename(dir, wal_name(from, wal->id), wal_name(to, id)));
    wal->id = id;
    if (asprintf(&path, "%s/%s", dir, to) < 0)
        return kv_fail(KV_NO_MEMORY, "no memory for the path of a log");
    free(wal->file.path);
    wal->file.path = path;
    return file_sync_dir(dir);
}

kv_status wal_recycle(const char *dir, struct wal *old, uint64_t id, struct wal **out)
{
    kv_status status = recycle(dir, old, id);

    *out = NULL;
    if (status != KV_OK) {
        wal_free(old);
        return status;
    }
    old->tail = WAL_FIRST;
    old->base_seq = old->durable_seq = old->last_seq = 0;
    old->synced = false;
    old->next = NULL;
    *out = old;
    return KV_OK;
}

kv_status wal_begin(struct wal *wal, uint64_t base_seq, uint64_t durable_seq)
{
    struct wal_header header = {.magic = WAL_MAGIC, .version = WAL_VERSION, .id = wal->id, .salt = wal->salt,
                                .base_seq = base_seq, .durable_seq = durable_seq};
    char              both[WAL_FIRST] = {0};

    header.sum = XXH3_64bits(&header, offsetof(struct wal_header, sum));
    wal->base_seq = base_seq;
    wal->durable_seq = durable_seq;
    memcpy(both, &header, sizeof header);
    memcpy(both + WAL_SECOND, &header, sizeof header);
    if (!wal->mapped)
        return file_write_at(&wal->file, both, sizeof both, 0);
    wal_make_ready(wal, sizeof both);
    memcpy(wal->map, both, sizeof both);
    return KV_OK;
}

/* ---- Reading. ---- */

static enum wal_state read_header(struct wal *wal, size_t offset)
{
    static const struct wal_header blank;
    struct wal_header              header;

    memcpy(&header, wal->map + offset, sizeof header);
    if (memcmp(&header, &blank, sizeof header) == 0)
        return WAL_BLANK;
    if (memcmp(header.magic, WAL_MAGIC, sizeof header.magic) != 0 || header.sum != XXH3_64bits(&header, offsetof(struct wal_header, sum)))
        return WAL_DAMAGED;
    if (header.version != WAL_VERSION)
        return WAL_OTHER;
    if (wal->id && header.id != wal->id)
        return WAL_STRANGE;
    wal->id = header.id;
    wal->salt = header.salt;
    wal->base_seq = header.base_seq;
    wal->durable_seq = header.durable_seq;
    return WAL_GOOD;
}

static enum wal_state read_headers(struct wal *wal)
{
    enum wal_state first, second;

    if (wal->capacity < sizeof(struct wal_header))
        return WAL_BLANK; /* its space was not reserved yet, or that was never durable */
    first = read_header(wal, 0);
    second = first == WAL_GOOD || wal->capacity < WAL_FIRST ? first : read_header(wal, WAL_SECOND);
    return first > second ? first : second;
}

kv_status wal_other_format(const struct wal *wal)
{
    return kv_fail(KV_MISMATCH, "%s was written by another version of this program, in a format that this one does not read",
                   wal->file.path);
}

kv_status wal_open(const char *dir, uint64_t id, struct wal **out, enum wal_state *state)
{
    char name[WAL_NAME_MAX];

    return wal_open_named(dir, wal_name(name, id), id, O_RDWR, out, state);
}

kv_status wal_open_named(const char *dir, const char *name, uint64_t id, int flags, struct wal **out, enum wal_state *state)
{
    struct wal *wal;
    kv_status   status;

    *state = WAL_BLANK;
    TRY(wal_new(id, &wal));
    *out = NULL;
    if ((status = file_open(&wal->file, dir, name, flags)) == KV_OK &&
        (status = file_size(&wal->file, &wal->capacity)) == KV_OK && wal->capacity > 0)
        status = file_map(&wal->file, wal->capacity, false, &wal->map);
    if (status != KV_OK) {
        wal_free(wal);
        return status;
    }
    *state = wal->map ? read_headers(wal) : WAL_BLANK;
    *out = wal;
    return KV_OK;
}

static bool good_group(const struct wal *wal, uint64_t offset, struct wal_group *group)
{
    uint64_t all;

    if (wal->capacity < sizeof *group || offset > wal->capacity - sizeof *group)
        return false;
    memcpy(group, wal->map + offset, sizeof *group);
    all = wal_group_bytes(group->bytes);
    return group->count > 0 && all <= wal->capacity - offset &&
           group->sum == XXH3_64bits_withSeed(wal->map + offset + sizeof group->sum, all - sizeof group->sum, wal->salt + offset);
}

bool wal_group_at(const struct wal *wal, uint64_t seq, struct wal_group *group, slice *writes)
{
    if (!good_group(wal, wal->tail, group) || group->seq != seq)
        return false;
    *writes = slice_of(wal->map + wal->tail + sizeof *group, group->bytes);
    return true;
}

bool wal_next_write(slice *writes, struct entry *out, bool *damaged)
{
    const char      *at = writes->data;
    struct wal_write write;
    uint64_t         bytes;

    *damaged = false;
    if (!writes->size)
        return false;
    *damaged = true;
    if (writes->size < sizeof write)
        return false;
    memcpy(&write, at, sizeof write);
    bytes = wal_write_bytes(write.key_bytes, write.value_bytes);
    if (bytes > writes->size || !write.key_bytes || write.type > ENTRY_PUT || (write.type == ENTRY_DELETE && write.value_bytes))
        return false;
    *damaged = false;
    *out = (struct entry){.key = slice_of(at + sizeof write, write.key_bytes),
                          .value = slice_of(at + sizeof write + write.key_bytes, write.value_bytes),
                          .type = write.type};
    *writes = slice_of(at + bytes, writes->size - bytes);
    return true;
}

/* Whether it can be one of this log's: what lies behind the end may be the bytes of a value, at every 8 of which this is asked, and
 * to take a sum over each would take for ever.  A write takes at least its head and a byte of its key. */
static bool may_be_group(const struct wal *wal, const struct wal_group *group)
{
    return group->count && group->count <= group->bytes / (sizeof(struct wal_write) + 1) && group->seq >= wal->base_seq &&
           group->seq - wal->base_seq <= wal->capacity / (sizeof(struct wal_write) + 1) && group->durable_seq >= wal->durable_seq &&
           group->durable_seq < group->seq;
}

uint64_t wal_durable_behind(const struct wal *wal)
{
    uint64_t         durable_seq = 0;
    struct wal_group group;

    for (uint64_t offset = wal->tail; offset + sizeof group <= wal->capacity; offset += 8) {
        memcpy(&group, wal->map + offset, sizeof group);
        if (!may_be_group(wal, &group) || !good_group(wal, offset, &group))
            continue;
        if (group.durable_seq > durable_seq)
            durable_seq = group.durable_seq;
        offset += wal_group_bytes(group.bytes) - 8;
    }
    return durable_seq;
}

kv_status wal_cut(struct wal *wal)
{
    if (wal->capacity == wal->tail)
        return KV_OK;
    file_unmap(wal->map, wal->capacity);
    wal->map = NULL;
    wal->capacity = wal->tail;
    TRY(file_truncate(&wal->file, wal->tail));
    return file_sync(&wal->file);
}
