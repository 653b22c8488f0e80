#include "engines/base/snapshot.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#define MAGIC        "ASSAYSNP"
#define VERSION      1u
#define KEY_MAX      65535u
#define VALUE_MAX    (UINT32_C(256) << 20)
#define FLUSH_BYTES  ((size_t)256 << 10)
#define READ_BYTES   ((size_t)256 << 10)

struct header {
    char     magic[8];
    uint32_t version, flags;
    uint64_t sum;
};

struct record {
    uint64_t sum;
    uint32_t key_bytes, value_bytes;
};

struct end {
    uint64_t count, chain;
};

_Static_assert(sizeof(struct header) == 24 && sizeof(struct record) == 16 && sizeof(struct end) == 16, "on disk");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "numbers are written as they are in memory");

static uint64_t header_sum(const struct header *header)
{
    return XXH3_64bits(header, offsetof(struct header, sum));
}

/* Of a record that stands whole in memory. */
static uint64_t record_sum(const char *record, size_t bytes, uint64_t position)
{
    return XXH3_64bits_withSeed(record + sizeof(uint64_t), bytes - sizeof(uint64_t), position);
}

static uint64_t chain_on(uint64_t chain, uint64_t sum)
{
    uint64_t both[2] = {chain, sum};

    return XXH3_64bits(both, sizeof both);
}

/* Writing. */

static kv_status write_pending(struct snapshot_writer *writer)
{
    size_t done = 0;

    while (done < writer->pending.size) {
        ssize_t wrote = write(writer->fd, writer->pending.data + done, writer->pending.size - done);
        if (wrote < 0 && errno == EINTR)
            continue;
        if (wrote < 0)
            return kv_fail_errno("write the snapshot, record %" PRIu64, writer->count);
        done += (size_t)wrote;
    }
    writer->pending.size = 0;
    return KV_OK;
}

/* Sums and keeps a record of which the header, without sum, and all else was appended at `start`. */
static uint64_t seal_record(struct snapshot_writer *writer, size_t start)
{
    char    *at = writer->pending.data + start;
    uint64_t sum = record_sum(at, writer->pending.size - start, writer->count);

    memcpy(at, &sum, sizeof sum);
    return sum;
}

kv_status snapshot_writer_open(struct snapshot_writer *writer, int fd)
{
    struct header header = {.magic = MAGIC, .version = VERSION};

    *writer = (struct snapshot_writer){.fd = fd};
    header.sum = header_sum(&header);
    return buf_append(&writer->pending, &header, sizeof header);
}

kv_status snapshot_writer_add(struct snapshot_writer *writer, slice key, slice value)
{
    struct record record = {.key_bytes = (uint32_t)key.size, .value_bytes = (uint32_t)value.size};
    size_t        start = writer->pending.size;

    assert(key.size >= 1 && key.size <= KEY_MAX);
    assert(value.size <= VALUE_MAX);
    TRY(buf_reserve(&writer->pending, sizeof record + key.size + value.size));
    TRY(buf_append(&writer->pending, &record, sizeof record));
    TRY(buf_append(&writer->pending, key.data, key.size));
    TRY(buf_append(&writer->pending, value.data, value.size));
    writer->chain = chain_on(writer->chain, seal_record(writer, start));
    writer->count++;
    return KV_OK;
}

kv_status snapshot_writer_flush(struct snapshot_writer *writer)
{
    return writer->pending.size >= FLUSH_BYTES ? write_pending(writer) : KV_OK;
}

kv_status snapshot_writer_end(struct snapshot_writer *writer)
{
    struct record record = {.value_bytes = sizeof(struct end)};
    struct end    end = {.count = writer->count, .chain = writer->chain};
    size_t        start = writer->pending.size;

    TRY(buf_append(&writer->pending, &record, sizeof record));
    TRY(buf_append(&writer->pending, &end, sizeof end));
    seal_record(writer, start);
    return write_pending(writer);
}

void snapshot_writer_free(struct snapshot_writer *writer)
{
    buf_free(&writer->pending);
}

/* Reading. */

static size_t held(const struct snapshot_reader *reader)
{
    return reader->bytes.size - reader->at;
}

/* Reads on until `wanted` bytes are held, or the stream ends: then *whole is false.  Memory grows with what arrives, not
 * with what a damaged length claims. */
static kv_status hold(struct snapshot_reader *reader, size_t wanted, bool *whole)
{
    if (held(reader) < wanted && reader->at) {
        memmove(reader->bytes.data, reader->bytes.data + reader->at, held(reader));
        reader->bytes.size -= reader->at;
        reader->at = 0;
    }
    while (held(reader) < wanted) {
        ssize_t got;
        TRY(buf_reserve(&reader->bytes, READ_BYTES));
        got = read(reader->fd, reader->bytes.data + reader->bytes.size, reader->bytes.capacity - reader->bytes.size);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return kv_fail_errno("read the snapshot, record %" PRIu64, reader->count);
        if (got == 0)
            break;
        reader->bytes.size += (size_t)got;
    }
    *whole = held(reader) >= wanted;
    return KV_OK;
}

static kv_status corrupt(const struct snapshot_reader *reader, const char *what)
{
    return kv_fail(KV_CORRUPT, "snapshot, record %" PRIu64 ": %s", reader->count, what);
}

kv_status snapshot_reader_open(struct snapshot_reader *reader, int fd)
{
    struct header header;
    bool          whole;

    *reader = (struct snapshot_reader){.fd = fd};
    TRY(hold(reader, sizeof header, &whole));
    if (!whole)
        return kv_fail(KV_CORRUPT, "snapshot: the stream ends within its header");
    memcpy(&header, reader->bytes.data, sizeof header);
    if (memcmp(header.magic, MAGIC, sizeof header.magic) != 0)
        return kv_fail(KV_CORRUPT, "snapshot: the stream does not start with " MAGIC);
    if (header.sum != header_sum(&header))
        return kv_fail(KV_CORRUPT, "snapshot: the header contradicts its checksum");
    if (header.version != VERSION || header.flags)
        return kv_fail(KV_MISMATCH, "snapshot: format version %" PRIu32 "; this program reads version %u", header.version,
                       VERSION);
    reader->at = sizeof header;
    return KV_OK;
}

static kv_status check_end(struct snapshot_reader *reader, const char *at)
{
    struct end end;
    bool       more;

    memcpy(&end, at + sizeof(struct record), sizeof end);
    if (end.count != reader->count || end.chain != reader->chain)
        return corrupt(reader, "the end record does not fit the records before it");
    TRY(hold(reader, 1, &more));
    if (more)
        return corrupt(reader, "there are bytes behind the end record");
    reader->ended = true;
    return KV_NOT_FOUND;
}

kv_status snapshot_reader_next(struct snapshot_reader *reader, slice *key, slice *value)
{
    struct record record;
    const char   *at;
    size_t        bytes;
    bool          whole;

    if (reader->ended)
        return KV_NOT_FOUND;
    TRY(hold(reader, sizeof record, &whole));
    if (!whole)
        return corrupt(reader, "the stream is cut off");
    memcpy(&record, reader->bytes.data + reader->at, sizeof record);
    if (record.key_bytes > KEY_MAX || record.value_bytes > VALUE_MAX ||
        (record.key_bytes == 0 && record.value_bytes != sizeof(struct end)))
        return corrupt(reader, "its lengths cannot be");
    bytes = sizeof record + record.key_bytes + record.value_bytes;
    TRY(hold(reader, bytes, &whole));
    if (!whole)
        return corrupt(reader, "the stream is cut off");
    at = reader->bytes.data + reader->at;
    if (record.sum != record_sum(at, bytes, reader->count))
        return corrupt(reader, "it contradicts its checksum");
    reader->at += bytes;
    if (record.key_bytes == 0)
        return check_end(reader, at);
    reader->chain = chain_on(reader->chain, record.sum);
    reader->count++;
    *key = slice_of(at + sizeof record, record.key_bytes);
    *value = slice_of(at + sizeof record + record.key_bytes, record.value_bytes);
    return KV_OK;
}

void snapshot_reader_free(struct snapshot_reader *reader)
{
    buf_free(&reader->bytes);
}
