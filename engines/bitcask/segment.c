/* segment.c -- making, opening and mapping the files of records. */
#include "engines/bitcask/segment.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <unistd.h>

#define PAGE_BYTES 4096u

char *segment_name(char out[SEGMENT_NAME_MAX], uint64_t id, const char *ending)
{
    snprintf(out, SEGMENT_NAME_MAX, "%08" PRIu64 ".%s", id, ending);
    return out;
}

const char *segment_ending(enum segment_kind kind)
{
    return kind == SEGMENT_LOG ? "log" : "merged";
}

bool segment_parse_name(const char *name, const char *ending, uint64_t *id)
{
    char again[SEGMENT_NAME_MAX];

    /* Written back and compared: so 7.log, +7.log and 007.log are nobody's, whatever strtoull would make of them. */
    if (*name < '0' || *name > '9')
        return false;
    errno = 0;
    *id = strtoull(name, NULL, 10);
    return errno == 0 && *id > 0 && strcmp(name, segment_name(again, *id, ending)) == 0;
}

static struct segment *segment_new(uint64_t id, enum segment_kind kind)
{
    struct segment *segment = calloc(1, sizeof *segment);

    if (segment) {
        segment->id = id;
        segment->kind = kind;
        segment->slot = SEGMENT_SLOTS;
        segment->file = FILE_CLOSED;
    }
    return segment;
}

void segment_free(struct segment *segment)
{
    if (!segment)
        return;
    file_unmap(segment->map, segment->capacity);
    file_close(&segment->file);
    free(segment->covers.range);
    free(segment);
}

/* Room that stores and writes can count on: blocks reserved, and written once where syncs are to be cheap. */
static kv_status prepare(const struct file *file, uint64_t from, uint64_t to, bool zeroed)
{
    TRY(file_allocate(file, from, to - from));
    return zeroed ? file_zero(file, from, to - from) : KV_OK;
}

kv_status segment_create(const char *dir, const char *name, uint64_t id, enum segment_kind kind, uint64_t bytes,
                         bool zeroed, bool writable, struct segment **out)
{
    struct segment *segment = segment_new(id, kind);
    kv_status       status;
    char            said[FAIL_BYTES_MAX];

    *out = NULL;
    if (!segment)
        return kv_fail(KV_NO_MEMORY, "no memory for a segment");
    segment->capacity = (bytes + PAGE_BYTES - 1) & ~(uint64_t)(PAGE_BYTES - 1);
    if (getrandom(&segment->salt, sizeof segment->salt, 0) != sizeof segment->salt)
        segment->salt = id * UINT64_C(0x9e3779b97f4a7c15); /* only before the kernel has its entropy */
    if ((status = file_open(&segment->file, dir, name, O_RDWR | O_CREAT | O_EXCL)) != KV_OK) {
        segment_free(segment);
        return status;
    }
    if ((status = prepare(&segment->file, 0, segment->capacity, zeroed)) == KV_OK &&
        (status = file_sync(&segment->file)) == KV_OK && (status = file_sync_dir(dir)) == KV_OK &&
        (status = file_map(&segment->file, segment->capacity, writable, &segment->map)) == KV_OK) {
        segment->limit = segment->capacity;
        *out = segment;
        return KV_OK;
    }
    snprintf(said, sizeof said, "%s", fail_text());
    segment_free(segment);
    if (file_unlink(dir, name) == KV_OK)
        fail_set("%s", said);
    return status;
}

kv_status segment_load(const char *dir, const char *name, int flags, uint64_t id, enum segment_kind kind,
                       uint64_t map_bytes, bool writable, struct segment **out)
{
    struct segment *segment = segment_new(id, kind);
    kv_status       status;

    *out = NULL;
    if (!segment)
        return kv_fail(KV_NO_MEMORY, "no memory for a segment");
    if ((status = file_open(&segment->file, dir, name, flags)) == KV_OK &&
        (status = file_size(&segment->file, &segment->limit)) == KV_OK) {
        segment->capacity = segment->limit > map_bytes ? segment->limit : map_bytes;
        segment->capacity = (segment->capacity + PAGE_BYTES - 1) & ~(uint64_t)(PAGE_BYTES - 1);
        if (segment->capacity > 0)
            status = file_map(&segment->file, segment->capacity, writable, &segment->map);
    }
    if (status == KV_OK)
        *out = segment;
    else
        segment_free(segment);
    return status;
}

kv_status segment_extend(struct segment *segment, bool zeroed)
{
    uint64_t size;

    TRY(file_size(&segment->file, &size));
    /* Reserved from the start, not from the end: what a crash left may have holes. */
    TRY(file_allocate(&segment->file, 0, segment->capacity));
    if (zeroed && segment->capacity > size)
        TRY(file_zero(&segment->file, size, segment->capacity - size));
    TRY(file_sync(&segment->file));
    __atomic_store_n(&segment->limit, segment->capacity, __ATOMIC_RELAXED);
    return KV_OK;
}

/* Headers. */

static uint64_t header_sum(const struct segment_header *header)
{
    return XXH3_64bits(header, offsetof(struct segment_header, sum));
}

void segment_header_fill(const struct segment *segment, uint64_t durable_seq, struct segment_header *out)
{
    *out = (struct segment_header){.version = SEGMENT_VERSION, .kind = segment->kind, .id = segment->id,
                                   .salt = segment->salt, .base_seq = segment->base_seq, .durable_seq = durable_seq,
                                   .end = segment->kind == SEGMENT_MERGED ? segment->end : 0};
    memcpy(out->magic, SEGMENT_MAGIC, sizeof out->magic);
    out->sum = header_sum(out);
}

enum segment_verdict segment_header_read(struct segment *segment, uint64_t *durable_seq)
{
    static const struct segment_header blank;
    struct segment_header              header;

    if (segment->limit < sizeof header)
        return segment->limit == 0 ? SEGMENT_BLANK : SEGMENT_DAMAGED;
    memcpy(&header, segment->map, sizeof header);
    if (memcmp(&header, &blank, sizeof header) == 0)
        return SEGMENT_BLANK;
    if (memcmp(header.magic, SEGMENT_MAGIC, sizeof header.magic) != 0 || header.sum != header_sum(&header) ||
        header.id != segment->id || header.kind != (uint32_t)segment->kind)
        return SEGMENT_DAMAGED;
    if (header.version != SEGMENT_VERSION)
        return SEGMENT_FOREIGN;
    if (header.kind == SEGMENT_MERGED && (header.end < SEGMENT_FIRST || header.end > segment->limit))
        return SEGMENT_DAMAGED;
    segment->salt = header.salt;
    segment->base_seq = header.base_seq;
    segment->end = header.end;
    *durable_seq = header.durable_seq;
    return SEGMENT_GOOD;
}

kv_status segment_foreign(const struct segment *segment)
{
    struct segment_header header;

    memcpy(&header, segment->map, sizeof header);
    if (header.version > SEGMENT_VERSION)
        return kv_fail(KV_MISMATCH, "%s was written by a newer program", segment->file.path);
    return kv_fail(KV_MISMATCH, "%s is in version %" PRIu32 " of the format, and this program reads %u only", segment->file.path,
                   header.version, SEGMENT_VERSION);
}

kv_status segment_damaged(const struct segment *segment, uint64_t offset, const char *what)
{
    return kv_fail(KV_CORRUPT, "%s at %" PRIu64 ": %s", segment->file.path, offset, what);
}

/* Ranges. */

kv_status segment_ranges_add(struct segment_ranges *ranges, struct segment_range range)
{
    struct segment_range *more;
    size_t                at = 0, behind;

    if (range.first > range.last)
        return KV_OK; /* of a segment without records */
    while (at < ranges->count && ranges->range[at].last + 1 < range.first)
        at++;
    for (behind = at; behind < ranges->count && ranges->range[behind].first <= range.last + 1; behind++) {
        if (ranges->range[behind].first < range.first)
            range.first = ranges->range[behind].first;
        if (ranges->range[behind].last > range.last)
            range.last = ranges->range[behind].last;
    }
    if (behind == at) {
        more = realloc(ranges->range, (ranges->count + 1) * sizeof *more);
        if (!more)
            return kv_fail(KV_NO_MEMORY, "no memory for the list of merged sequence numbers");
        ranges->range = more;
    }
    memmove(&ranges->range[at + 1], &ranges->range[behind], (ranges->count - behind) * sizeof range);
    ranges->range[at] = range;
    ranges->count += 1 + at - behind;
    return KV_OK;
}

uint64_t segment_ranges_reach(const struct segment_ranges *ranges, uint64_t seq)
{
    for (size_t i = 0; i < ranges->count; i++)
        if (ranges->range[i].first <= seq && seq <= ranges->range[i].last)
            return ranges->range[i].last;
    return 0;
}
