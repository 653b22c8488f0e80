/* dump.c -- `assay dump`: a segment or a hint file for people, record by record, damage included. */
#include "engines/bitcask/dump.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>

#include "engines/base/print.h"
#include "engines/bitcask/hint.h"
#include "engines/bitcask/merge.h"

static void print_list(FILE *out, const struct segment *segment)
{
    struct merge_list list;

    if (merge_list_read(segment, &list) != KV_OK) {
        fprintf(out, "damaged list\n");
        return;
    }
    fprintf(out, "segments");
    for (uint64_t i = 0; i < list.input_count; i++)
        fprintf(out, " %" PRIu64, list.inputs[i]);
    fprintf(out, "; log records");
    for (uint64_t i = 0; i < list.range_count; i++)
        fprintf(out, " %" PRIu64 "-%" PRIu64, list.ranges[i].first, list.ranges[i].last);
    fputc('\n', out);
}

static void print_record(FILE *out, const struct segment *segment, uint64_t offset)
{
    static const char *const words[RECORD_TYPES] = {"", "put", "delete", "batch", "mark", "supersedes"};
    const struct record     *record = segment_record(segment, offset);
    slice                    value = record_value(record);
    struct record_batch      batch = {0};
    uint64_t                 seq = 0;

    fprintf(out, "%10" PRIu64 "  seq %" PRIu64 "  %s%s  ", offset, record->seq, record->flags & RECORD_IN_BATCH ? "  " : "",
            words[record->type]);
    switch ((enum record_type)record->type) {
    case RECORD_PUT:
        print_bytes(out, record_key(record));
        fprintf(out, " = ");
        print_bytes(out, value);
        fputc('\n', out);
        break;
    case RECORD_DELETE:
        print_bytes(out, record_key(record));
        fputc('\n', out);
        break;
    case RECORD_BATCH:
        if (value.size == sizeof batch)
            memcpy(&batch, value.data, sizeof batch);
        fprintf(out, "of %" PRIu64 " records, %" PRIu64 " bytes\n", batch.count, batch.bytes);
        break;
    case RECORD_MARK:
        if (value.size == sizeof seq)
            memcpy(&seq, value.data, sizeof seq);
        fprintf(out, "durable up to %" PRIu64 "\n", seq);
        break;
    default: print_list(out, segment); break;
    }
}

/* The next offset with a good record, or the end. */
static uint64_t next_good(const struct segment *segment, uint64_t offset, bool *zeros)
{
    *zeros = true;
    for (; offset + sizeof(struct record) <= segment->limit; offset += 8) {
        if (segment_record(segment, offset)->type != 0 &&
            record_check(segment_record(segment, offset), segment->limit - offset, segment_place(segment, offset)))
            return offset;
        *zeros &= *(const uint64_t *)(segment->map + offset) == 0;
    }
    for (; offset < segment->limit; offset++)
        *zeros &= segment->map[offset] == 0;
    return segment->limit;
}

/* The offset of the first damage, or 0. */
static uint64_t dump_records(FILE *out, const struct segment *segment)
{
    uint64_t damage = 0;

    for (uint64_t offset = SEGMENT_FIRST; offset < segment->limit;) {
        bool     zeros;
        uint64_t good = next_good(segment, offset, &zeros);
        if (good > offset && zeros && good == segment->limit) {
            fprintf(out, "%10" PRIu64 "  zeros to the end, %" PRIu64 " bytes\n", offset, segment->limit - offset);
            return damage;
        }
        if (good > offset) {
            fprintf(out, "%10" PRIu64 "  DAMAGE: %" PRIu64 " bytes are no record\n", offset, good - offset);
            damage = damage ? damage : offset;
        }
        if (good < segment->limit) {
            print_record(out, segment, good);
            good += record_size(segment_record(segment, good));
        }
        offset = good;
    }
    return damage;
}

/* The kind and number come from the header itself, so that a copy under any name can be read. */
static kv_status dump_segment(struct segment *segment, FILE *out)
{
    struct segment_header header = {0};
    uint64_t              durable_seq = 0, damage;

    if (segment->map)
        memcpy(&header, segment->map, sizeof header);
    segment->kind = header.kind == SEGMENT_MERGED ? SEGMENT_MERGED : SEGMENT_LOG;
    segment->id = header.id;
    switch (segment_header_read(segment, &durable_seq)) {
    case SEGMENT_FOREIGN:
        return segment_foreign(segment);
    case SEGMENT_GOOD:
        fprintf(out, "bitcask %s segment %" PRIu64 ", salt %016" PRIx64 ", from seq %" PRIu64 ", durable up to %" PRIu64 "\n",
                segment->kind == SEGMENT_LOG ? "log" : "merged", segment->id, segment->salt, segment->base_seq, durable_seq);
        break;
    case SEGMENT_BLANK:
        fprintf(out, "bitcask segment, not begun\n");
        return KV_OK;
    default: return segment_damaged(segment, 0, "the header of the segment contradicts its checksum");
    }
    if (segment->kind == SEGMENT_LOG)
        segment->end = segment->limit;
    damage = dump_records(out, segment);
    return damage ? segment_damaged(segment, damage, "there is damage, as printed") : KV_OK;
}

static kv_status dump_hint(const struct segment *file, FILE *out)
{
    struct hint hint;
    kv_status   status = hint_parse(slice_of(file->map, file->limit), &hint);

    if (status != KV_OK)
        return segment_damaged(file, 0, "the hint file contradicts its checksum, and is not used");
    fprintf(out, "bitcask hint, up to offset %" PRIu64 " and seq %" PRIu64 ", %zu records\n", hint.end, hint.last_seq,
            hint.count);
    for (size_t i = 0; i < hint.count; i++)
        fprintf(out, "%10" PRIu64 "  seq %" PRIu64 "  %s  key hash %016" PRIx64 ", %" PRIu64 " bytes\n",
                hint_offset(&hint.entries[i]), hint.entries[i].seq,
                hint.entries[i].shape & HINT_TOMBSTONE ? "delete" : "put", hint.entries[i].hash,
                hint_record_bytes(&hint.entries[i]));
    return KV_OK;
}

/* Of a file whose magic is damaged, or cut off. */
static bool is_named(const char *path, const char *ending)
{
    const char *slash = strrchr(path, '/');
    uint64_t    id;

    return segment_parse_name(slash ? slash + 1 : path, ending, &id);
}

kv_status bitcask_dump(const char *path, FILE *out)
{
    struct segment *file;
    kv_status       status = segment_load(*path == '/' ? "" : ".", *path == '/' ? path + 1 : path, O_RDONLY, 0, SEGMENT_LOG, 0,
                                          false, &file);

    if (status != KV_OK)
        return status;
    if (file->limit >= sizeof(struct segment_header) && memcmp(file->map, SEGMENT_MAGIC, 8) == 0)
        status = dump_segment(file, out);
    else if (file->limit >= 8 && memcmp(file->map, HINT_MAGIC, 8) == 0)
        status = dump_hint(file, out);
    else if (is_named(path, "log") || is_named(path, "merged"))
        status = dump_segment(file, out);
    else if (is_named(path, "hint"))
        status = dump_hint(file, out);
    else
        status = kv_fail(KV_MISMATCH, "%s is no file of bitcask", path);
    segment_free(file);
    return status;
}
