/* hint.c -- writing and reading hint files. */
#include "engines/bitcask/hint.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "engines/bitcask/store.h"

#define HINT_VERSION 1u

struct hint_header {
    char     magic[8];
    uint32_t version;
    uint32_t kind;
    uint64_t id;
    uint64_t salt;
    uint64_t end;
    uint64_t base_seq;
    uint64_t last_seq;
    uint64_t count;
    uint64_t entries_sum;
    uint64_t sum; /* of all before */
};

static_assert(sizeof(struct hint_header) == 80, "the format");

/* Writing. */

static kv_status collect(const struct segment *segment, struct buf *out)
{
    for (uint64_t offset = SEGMENT_FIRST; offset < segment->end;) {
        const struct record *record = segment_record(segment, offset);
        uint64_t             bytes = segment->end - offset < sizeof *record ? 0 : record_size(record);
        if (bytes == 0 || bytes > segment->end - offset)
            return segment_damaged(segment, offset, "a record leads out of its segment");
        if (record->type == RECORD_PUT || record->type == RECORD_DELETE) {
            uint64_t          padding = bytes - sizeof *record - record->key_size - record->value_size;
            struct hint_entry entry = {record_key_hash(record), record->seq, (uint32_t)(offset >> 3),
                                       (uint32_t)(bytes >> 3 | padding << 27)};
            if (record->type == RECORD_DELETE)
                entry.shape |= HINT_TOMBSTONE;
            TRY(buf_append(out, &entry, sizeof entry));
        }
        offset += bytes;
    }
    return KV_OK;
}

static kv_status write_whole(const char *dir, const char *name, const char *temporary, slice bytes)
{
    struct file file;
    kv_status   status;

    TRY(file_open(&file, dir, temporary, O_WRONLY | O_CREAT | O_TRUNC));
    if ((status = file_write_at(&file, bytes.data, bytes.size, 0)) == KV_OK)
        status = file_sync(&file);
    file_close(&file);
    if (status == KV_OK)
        status = file_rename(dir, temporary, name);
    if (status != KV_OK && file_unlink(dir, temporary) != KV_OK) {
        /* swept up at the next open */
    }
    return status;
}

kv_status hint_write(struct bitcask *store, struct segment *segment)
{
    char               name[SEGMENT_NAME_MAX], temporary[SEGMENT_NAME_MAX];
    struct hint_header header = {.version = HINT_VERSION, .kind = segment->kind, .id = segment->id, .salt = segment->salt,
                                 .end = segment->end, .base_seq = segment->base_seq, .last_seq = segment->last_seq};
    struct buf         bytes = {0};
    kv_status          status;

    memcpy(header.magic, HINT_MAGIC, sizeof header.magic);
    if ((status = buf_append(&bytes, &header, sizeof header)) == KV_OK && (status = collect(segment, &bytes)) == KV_OK) {
        header.count = (bytes.size - sizeof header) / sizeof(struct hint_entry);
        header.entries_sum = XXH3_64bits(bytes.data + sizeof header, bytes.size - sizeof header);
        header.sum = XXH3_64bits(&header, offsetof(struct hint_header, sum));
        memcpy(bytes.data, &header, sizeof header);
        status = write_whole(store->dir.path, segment_name(name, segment->id, "hint"),
                             segment_name(temporary, segment->id, "hint.tmp"), buf_slice(&bytes));
    }
    buf_free(&bytes);
    return status;
}

/* Reading. */

static bool header_is_whole(const struct hint_header *header, uint64_t id)
{
    return memcmp(header->magic, HINT_MAGIC, sizeof header->magic) == 0 &&
           header->sum == XXH3_64bits(header, offsetof(struct hint_header, sum)) && header->version == HINT_VERSION &&
           header->id == id;
}

/* What the index is told to look at later must at least lie within the segment. */
static bool entries_fit(const struct hint *hint)
{
    for (size_t i = 0; i < hint->count; i++) {
        uint64_t offset = hint_offset(&hint->entries[i]), bytes = hint_record_bytes(&hint->entries[i]);
        if (offset < SEGMENT_FIRST || bytes < sizeof(struct record) + 8 || offset + bytes > hint->end)
            return false;
    }
    return true;
}

static bool parse(slice bytes, struct hint_header *header, struct hint *out)
{
    if (bytes.size < sizeof *header)
        return false;
    memcpy(header, bytes.data, sizeof *header);
    if (!header_is_whole(header, header->id) || header->end < SEGMENT_FIRST ||
        header->count != (bytes.size - sizeof *header) / sizeof(struct hint_entry) ||
        bytes.size != sizeof *header + header->count * sizeof(struct hint_entry) ||
        header->entries_sum != XXH3_64bits((const char *)bytes.data + sizeof *header, bytes.size - sizeof *header))
        return false;
    out->end = header->end;
    out->last_seq = header->last_seq;
    out->count = header->count;
    out->entries = (const struct hint_entry *)((const char *)bytes.data + sizeof *header);
    return entries_fit(out);
}

kv_status hint_parse(slice bytes, struct hint *out)
{
    struct hint_header header;

    *out = (struct hint){0};
    return parse(bytes, &header, out) ? KV_OK : KV_NOT_FOUND;
}

static kv_status judge(const struct segment *segment, size_t size, struct hint *out)
{
    struct hint_header header;

    if (!parse(slice_of(out->bytes, size), &header, out) || header.id != segment->id ||
        header.kind != (uint32_t)segment->kind || header.salt != segment->salt || header.base_seq != segment->base_seq ||
        header.end > segment->limit)
        return KV_NOT_FOUND;
    return KV_OK;
}

static kv_status read_whole(const char *dir, uint64_t id, uint64_t bytes_max, char **out, size_t *got)
{
    char        name[SEGMENT_NAME_MAX];
    struct file file;
    uint64_t    size = 0;
    kv_status   status = file_open(&file, dir, segment_name(name, id, "hint"), O_RDONLY);

    *out = NULL;
    *got = 0;
    if (status != KV_OK)
        return errno == ENOENT ? KV_NOT_FOUND : status;
    if ((status = file_size(&file, &size)) == KV_OK) {
        size = size < bytes_max ? size : bytes_max;
        *out = malloc(size ? size : 1);
        status = *out ? file_read_at(&file, *out, size, 0, got)
                      : kv_fail(KV_NO_MEMORY, "no memory for hint file %s", file.path);
    }
    file_close(&file);
    return status;
}

kv_status hint_read(const char *dir, const struct segment *segment, struct hint *out)
{
    size_t    got;
    kv_status status;

    *out = (struct hint){0};
    status = read_whole(dir, segment->id, UINT64_MAX, &out->bytes, &got);
    if (status == KV_OK)
        status = judge(segment, got, out);
    if (status != KV_OK)
        hint_free(out);
    return status;
}

uint64_t hint_durable_seq(const char *dir, uint64_t id, uint64_t *entries)
{
    struct hint_header header = {.last_seq = 0};
    char              *bytes;
    size_t             got;

    if (read_whole(dir, id, sizeof header, &bytes, &got) == KV_OK && got == sizeof header)
        memcpy(&header, bytes, sizeof header);
    free(bytes);
    *entries = 0;
    if (!header_is_whole(&header, id))
        return 0;
    *entries = header.count;
    return header.last_seq;
}

void hint_free(struct hint *hint)
{
    free(hint->bytes);
    *hint = (struct hint){0};
}
