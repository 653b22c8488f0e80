/* table_writer.c -- streams sorted entries into a table file, in large writes. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <lz4.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "common/clock.h"
#include "engines/lsm/table.h"

#define WRITING_BYTES_MIN (UINT32_C(256) << 10) /* written at once, from which the device may begin with it */
#define BLOCK_BYTES_MAX (UINT32_C(1) << 30)
#define ENTRY_BYTES_MAX   ((UINT32_C(256) << 20) + 65536 + 64) /* one entry's */

struct table_writer {
    struct file          file;
    char                *dir;
    uint64_t             id, salt, offset; /* offset: of what comes next, `out` included */
    struct table_options options;
    struct block_builder block;
    struct buf           out;        /* formed, not yet written */
    uint64_t             ahead;      /* bytes of the block under way that are in the file already */
    struct buf           index, hashes; /* what will be written behind the blocks */
    uint64_t             keys;
    struct buf           separator;     /* of the block under way */
    struct buf           smallest, last_key;
    struct table_properties is;
};

char *table_name(char out[TABLE_NAME_MAX], uint64_t id)
{
    snprintf(out, TABLE_NAME_MAX, "%08" PRIu64 ".table", id);
    return out;
}

static void writer_free(struct table_writer *writer)
{
    file_close(&writer->file);
    block_builder_free(&writer->block);
    buf_free(&writer->out);
    buf_free(&writer->index);
    buf_free(&writer->hashes);
    buf_free(&writer->separator);
    buf_free(&writer->last_key);
    buf_free(&writer->smallest);
    free(writer->dir);
    free(writer);
}

void table_writer_abandon(struct table_writer *writer)
{
    char name[TABLE_NAME_MAX];

    if (!writer)
        return;
    if (file_unlink(writer->dir, table_name(name, writer->id)) != KV_OK) {
        /* no version names it, so the next open removes it */
    }
    writer_free(writer);
}

kv_status table_writer_open(const char *dir, uint64_t id, const struct table_options *options, struct table_writer **out)
{
    struct table_writer *writer = calloc(1, sizeof *writer);
    char                 name[TABLE_NAME_MAX];
    kv_status            status;

    *out = NULL;
    if (!writer || !(writer->dir = strdup(dir))) {
        free(writer);
        return kv_fail(KV_NO_MEMORY, "no memory to write a table");
    }
    writer->id = id;
    writer->options = *options;
    writer->file = FILE_CLOSED;
    writer->block.base_seq = writer->is.base_seq = options->base_seq;
    writer->block.interval = options->restart_interval;
    writer->block.layout = options->layout;
    writer->is.layout = (uint8_t)options->layout;
    status = file_open(&writer->file, dir, table_name(name, id), O_RDWR | O_CREAT | O_TRUNC);
    if (status == KV_OK && getrandom(&writer->salt, sizeof writer->salt, 0) != sizeof writer->salt)
        status = kv_fail_errno("random numbers for a table");
    if (status != KV_OK) {
        writer_free(writer);
        return status;
    }
    *out = writer;
    return KV_OK;
}

void device_time_begin(struct device_time *device)
{
    if (device)
        __atomic_store_n(&device->since_ns, clock_now_ns(), __ATOMIC_RELEASE);
}

void device_time_end(struct device_time *device)
{
    if (!device)
        return;
    __atomic_fetch_add(&device->total_ns, clock_now_ns() - device->since_ns, __ATOMIC_RELEASE);
    __atomic_store_n(&device->since_ns, 0, __ATOMIC_RELEASE);
}

uint64_t device_time_ns(const struct device_time *device, uint64_t now_ns)
{
    uint64_t since_ns = device ? __atomic_load_n(&device->since_ns, __ATOMIC_ACQUIRE) : 0;
    uint64_t total_ns = device ? __atomic_load_n(&device->total_ns, __ATOMIC_ACQUIRE) : 0;

    return total_ns + (since_ns && now_ns > since_ns ? now_ns - since_ns : 0);
}

static kv_status flush(struct table_writer *writer)
{
    struct buf *out = &writer->out;
    uint64_t    from = writer->offset - out->size + writer->ahead, bytes = out->size - writer->ahead;
    kv_status   status;

    device_time_begin(writer->options.device);
    status = file_write_at(&writer->file, out->data + writer->ahead, bytes, from);
    if (status == KV_OK && bytes >= WRITING_BYTES_MIN)
        file_begin_writing(&writer->file, from, bytes);
    device_time_end(writer->options.device);
    TRY(status);
    out->size = writer->ahead = 0;
    if (!writer->options.reuse_buffers)
        buf_free(out);
    return KV_OK;
}

/* Without a buffer, what the block has got goes to the file entry by entry; not where it may yet be packed. */
static kv_status write_ahead(struct table_writer *writer)
{
    const struct buf *bytes = &writer->block.bytes;

    if (writer->options.buffer_bytes || writer->options.lz4)
        return KV_OK;
    TRY(file_write_at(&writer->file, bytes->data + writer->ahead, bytes->size - writer->ahead, writer->offset + writer->ahead));
    writer->ahead = bytes->size;
    return KV_OK;
}

/* Appends the payload as a frame. */
static kv_status add_frame(struct table_writer *writer, slice payload, bool squeeze, struct table_frame *where)
{
    struct frame_tail tail = {.raw_bytes = (uint32_t)payload.size};
    size_t            bound = squeeze ? (size_t)LZ4_compressBound((int)payload.size) : payload.size, bytes = payload.size;
    char             *at;
    int               squeezed = 0;

    TRY(buf_reserve(&writer->out, bound + sizeof tail));
    at = writer->out.data + writer->out.size;
    if (squeeze)
        squeezed = LZ4_compress_default(payload.data, at, (int)payload.size, (int)bound);
    if (squeezed > 0 && (size_t)squeezed < payload.size - payload.size / 8) { /* else not worth the unpacking */
        tail.kind = 1;
        bytes = (size_t)squeezed;
    } else if (payload.size) {
        memcpy(at, payload.data, payload.size);
    }
    memcpy(at + bytes, &tail, sizeof tail - sizeof tail.sum);
    tail.sum = XXH3_64bits_withSeed(at, bytes + sizeof tail - sizeof tail.sum, writer->salt + writer->offset);
    memcpy(at + bytes, &tail, sizeof tail);
    *where = (struct table_frame){writer->offset, bytes + sizeof tail};
    writer->out.size += where->bytes;
    writer->offset += where->bytes;
    return writer->out.size >= writer->options.buffer_bytes ? flush(writer) : KV_OK;
}

/* Closes the block and notes it in the index. */
static kv_status end_block(struct table_writer *writer)
{
    struct table_frame where;
    struct {
        uint64_t offset;
        uint32_t bytes, key_bytes;
    } row;

    if (!writer->block.entries)
        return KV_OK;
    TRY(block_builder_finish(&writer->block));
    TRY(add_frame(writer, buf_slice(&writer->block.bytes), writer->options.lz4, &where));
    row.offset = where.offset;
    row.bytes = (uint32_t)where.bytes;
    row.key_bytes = (uint32_t)writer->separator.size;
    TRY(buf_append(&writer->index, &row, sizeof row));
    TRY(buf_append(&writer->index, writer->separator.data, writer->separator.size));
    if (!writer->options.reuse_buffers)
        block_builder_free(&writer->block);
    block_builder_reset(&writer->block);
    writer->is.blocks++;
    return KV_OK;
}

/* The shortest key that is above the last one of the block before and not above this one. */
static kv_status set_separator(struct table_writer *writer, slice key)
{
    const char *last = writer->last_key.data, *now = key.data;
    size_t      size = 0;

    while (size < writer->last_key.size && size < key.size && last[size] == now[size])
        size++;
    writer->separator.size = 0;
    return buf_append(&writer->separator, now, size < key.size ? size + 1 : key.size);
}

/* For the filter, whose size is known at the end. */
static kv_status note_key(struct table_writer *writer, slice key)
{
    const struct table_options *options = &writer->options;
    bool                        one = options->filter_hashes == FILTER_ONE_HASH;
    uint32_t                    hashes = one ? 1 : filter_probes(options->filter_hashes, options->filter_bits);

    writer->keys++;
    if (!options->filter_bits)
        return KV_OK;
    for (uint32_t i = 0; i < hashes; i++) {
        uint64_t hash = one ? key_hash(key) : filter_hash_of_probe(key, i);
        TRY(buf_append(&writer->hashes, &hash, sizeof hash));
    }
    return KV_OK;
}

kv_status table_writer_add(struct table_writer *writer, const struct entry *entry)
{
    bool same_key = writer->is.entries && slice_equal(entry->key, buf_slice(&writer->last_key));

    assert(!writer->is.entries || same_key || slice_compare(entry->key, buf_slice(&writer->last_key)) > 0);
    if (!same_key && block_builder_bytes(&writer->block) >= writer->options.block_bytes)
        TRY(end_block(writer));
    /* The format's lengths are 32 bits, and LZ4's are int; one entry is at most 256 MiB and a key. */
    if (writer->block.bytes.size > BLOCK_BYTES_MAX - ENTRY_BYTES_MAX)
        return kv_fail(KV_TOO_LARGE, "%s: the versions of one key take more than 1 GiB", writer->file.path);
    if (!writer->block.entries)
        TRY(set_separator(writer, entry->key));
    TRY(block_builder_add(&writer->block, entry));
    TRY(write_ahead(writer));
    if (!same_key) {
        TRY(note_key(writer, entry->key));
        if (!writer->is.entries)
            TRY(buf_append(&writer->smallest, entry->key.data, entry->key.size));
        writer->last_key.size = 0;
        TRY(buf_append(&writer->last_key, entry->key.data, entry->key.size));
    }
    writer->is.entries++;
    writer->is.tombstones += entry->type == ENTRY_DELETE;
    writer->is.key_bytes += entry->key.size;
    writer->is.value_bytes += entry->value.size;
    if (entry->seq > writer->is.last_seq)
        writer->is.last_seq = entry->seq;
    return KV_OK;
}

uint64_t table_writer_bytes(const struct table_writer *writer)
{
    return writer->offset + writer->block.bytes.size + writer->index.size +
           writer->keys * writer->options.filter_bits / 8;
}

static kv_status add_filter(struct table_writer *writer, struct table_frame *where)
{
    size_t         hashes = writer->hashes.size / sizeof(uint64_t);
    uint64_t       bytes = hashes ? filter_bytes(writer->keys, writer->options.filter_bits) : 0, hash;
    unsigned char *filter = NULL;
    kv_status      status;

    if (bytes && !(filter = calloc(1, bytes)))
        return kv_fail(KV_NO_MEMORY, "no memory for a filter of %" PRIu64 " bytes", bytes);
    writer->is.filter_hashes = (uint8_t)writer->options.filter_hashes;
    writer->is.filter_probes = (uint16_t)(bytes ? filter_probes(writer->options.filter_hashes, writer->options.filter_bits) : 0);
    for (size_t i = 0; i < hashes; i++) {
        memcpy(&hash, writer->hashes.data + i * sizeof hash, sizeof hash);
        if (writer->is.filter_hashes == FILTER_ONE_HASH)
            filter_add(filter, bytes, writer->is.filter_probes, hash);
        else
            filter_add_probe(filter, bytes, hash);
    }
    status = add_frame(writer, slice_of(filter, bytes), false, where);
    free(filter);
    return status;
}

static kv_status add_properties(struct table_writer *writer, struct table_frame *where)
{
    struct buf payload = {0};
    kv_status  status;

    writer->is.smallest_bytes = (uint32_t)writer->smallest.size;
    writer->is.largest_bytes = (uint32_t)writer->last_key.size;
    status = buf_append(&payload, &writer->is, sizeof writer->is);
    if (status == KV_OK)
        status = buf_append(&payload, writer->smallest.data, writer->smallest.size);
    if (status == KV_OK)
        status = buf_append(&payload, writer->last_key.data, writer->last_key.size);
    if (status == KV_OK)
        status = add_frame(writer, buf_slice(&payload), false, where);
    buf_free(&payload);
    return status;
}

static kv_status finish(struct table_writer *writer)
{
    struct table_footer footer = {.magic = TABLE_MAGIC, .version = TABLE_VERSION, .id = writer->id, .salt = writer->salt};
    kv_status           status;

    TRY(end_block(writer));
    TRY(add_frame(writer, buf_slice(&writer->index), false, &footer.index));
    TRY(add_filter(writer, &footer.filter));
    TRY(add_properties(writer, &footer.properties));
    footer.sum = XXH3_64bits(&footer, offsetof(struct table_footer, sum));
    TRY(buf_append(&writer->out, &footer, sizeof footer));
    writer->offset += sizeof footer;
    TRY(flush(writer));
    device_time_begin(writer->options.device);
    status = file_sync_data(&writer->file);
    device_time_end(writer->options.device);
    return status;
}

kv_status table_writer_finish(struct table_writer *writer, uint64_t *bytes)
{
    kv_status status = finish(writer);

    *bytes = writer->offset;
    if (status == KV_OK)
        writer_free(writer);
    else
        table_writer_abandon(writer);
    return status;
}
