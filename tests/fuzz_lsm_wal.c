/*
 * fuzz_lsm_wal.c -- a log of the tree from anywhere: what is taken from it lies inside, in order, and is what its groups say.
 *
 * A first byte of 0: the rest is the whole file.  Else groups follow a good header, each bytes:u16 count:u16 flags:u8 and its
 * writes; they get right sums, unless a flag says otherwise: 1 a wrong sum, 2 a number that does not follow, 4 one that is
 * known durable and was not yet written.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <fcntl.h>
#include <unistd.h>

#include "engines/base/buf.h"
#include "engines/lsm/wal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(kv_status status)
{
    if (status != KV_OK)
        abort();
}

static void form(const uint8_t *data, size_t size, struct buf *out)
{
    struct wal_header header = {.magic = WAL_MAGIC, .version = WAL_VERSION, .id = 1, .salt = 7, .base_seq = 1};
    struct wal        wal = {.salt = header.salt};
    uint64_t          seq = 1;

    header.sum = XXH3_64bits(&header, offsetof(struct wal_header, sum));
    must(buf_reserve(out, WAL_FIRST));
    memset(out->data, 0, WAL_FIRST);
    memcpy(out->data, &header, sizeof header);
    memcpy(out->data + WAL_SECOND, &header, sizeof header);
    out->size = WAL_FIRST;
    while (size >= 5) {
        uint16_t bytes, count;
        uint8_t  flags = data[4];
        char    *group;
        memcpy(&bytes, data, 2);
        memcpy(&count, data + 2, 2);
        data += 5;
        size -= 5;
        if (bytes > size)
            bytes = (uint16_t)size;
        must(buf_reserve(out, wal_group_bytes(bytes)));
        group = out->data + out->size;
        memcpy(group + sizeof(struct wal_group), data, bytes);
        wal_seal_group(&wal, group, out->size, seq + (flags & 2 ? 1 : 0), flags & 4 ? seq + 3 : seq - 1, bytes, count);
        *group = (char)(*group ^ (flags & 1));
        out->size += wal_group_bytes(bytes);
        data += bytes;
        size -= bytes;
        seq += count;
    }
}

static void walk(struct wal *wal)
{
    struct wal_group  group;
    volatile unsigned touched = 0;
    uint64_t          seq = wal->base_seq;
    slice             writes;

    for (; wal_group_at(wal, seq, &group, &writes); wal->tail += wal_group_bytes(group.bytes), seq += group.count) {
        struct entry entry;
        bool         damaged;
        assert(group.seq == seq && wal->tail + wal_group_bytes(group.bytes) <= wal->capacity);
        while (wal_next_write(&writes, &entry, &damaged)) {
            assert(entry.key.size && (entry.type == ENTRY_PUT || !entry.value.size));
            for (size_t i = 0; i < entry.key.size; i++)
                touched = touched + ((const unsigned char *)entry.key.data)[i];
            for (size_t i = 0; i < entry.value.size; i++)
                touched = touched + ((const unsigned char *)entry.value.data)[i];
        }
    }
    (void)wal_durable_behind(wal);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum wal_state state;
    struct buf     bytes = {0};
    struct wal    *wal;
    char           name[16];
    int            fd;

    if (!size)
        return 0;
    if (data[0])
        form(data + 1, size - 1, &bytes);
    else
        must(buf_append(&bytes, data + 1, size - 1));
    fd = memfd_create("log", MFD_CLOEXEC);
    if (fd < 0 || write(fd, bytes.data, bytes.size) != (ssize_t)bytes.size)
        abort();
    snprintf(name, sizeof name, "%d", fd);
    must(wal_open_named("/proc/self/fd", name, 0, O_RDONLY, &wal, &state));
    if (state == WAL_GOOD)
        walk(wal);
    wal_free(wal);
    close(fd);
    buf_free(&bytes);
    return 0;
}
