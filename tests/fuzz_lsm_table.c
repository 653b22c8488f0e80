/*
 * fuzz_lsm_table.c -- a table of the tree from anywhere: it opens or is refused, and what is read of it lies inside.
 *
 * A first byte of 0: the rest is the whole file.  Else so many parts follow, each bytes:u16 kind:u8 raw_bytes:u16 and its payload;
 * they become frames with right sums, the last three the index, the filter and the properties: so the parsers behind the sums
 * get their share.
 */
#include <assert.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "engines/lsm/table.h"

#define PARTS_MAX 12
#define SALT      UINT64_C(0x5a17)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(kv_status status)
{
    if (status != KV_OK)
        abort();
}

/* False: too few parts, or they are cut off. */
static bool form(const uint8_t *data, size_t size, struct buf *out)
{
    struct table_footer footer = {.magic = TABLE_MAGIC, .version = TABLE_VERSION, .id = 1, .salt = SALT};
    struct table_frame  frame[PARTS_MAX];
    size_t              parts = data[0];

    if (parts < 3 || parts > PARTS_MAX)
        return false;
    data++;
    size--;
    for (size_t i = 0; i < parts; i++) {
        struct frame_tail tail = {0};
        uint16_t          bytes, raw_bytes;
        if (size < 5)
            return false;
        memcpy(&bytes, data, 2);
        memcpy(&raw_bytes, data + 3, 2);
        tail.kind = data[2];
        tail.raw_bytes = tail.kind ? raw_bytes : bytes;
        data += 5;
        size -= 5;
        if (bytes > size)
            return false;
        frame[i] = (struct table_frame){out->size, bytes + sizeof tail};
        must(buf_append(out, data, bytes));
        must(buf_append(out, &tail, sizeof tail - sizeof tail.sum));
        tail.sum = XXH3_64bits_withSeed(out->data + frame[i].offset, bytes + sizeof tail - sizeof tail.sum, SALT + frame[i].offset);
        must(buf_append(out, &tail.sum, sizeof tail.sum));
        data += bytes;
        size -= bytes;
    }
    footer.index = frame[parts - 3];
    footer.filter = frame[parts - 2];
    footer.properties = frame[parts - 1];
    footer.sum = XXH3_64bits(&footer, offsetof(struct table_footer, sum));
    must(buf_append(out, &footer, sizeof footer));
    return true;
}

static volatile unsigned touched;

static void touch(slice bytes)
{
    for (size_t i = 0; i < bytes.size; i++)
        touched += ((const unsigned char *)bytes.data)[i];
}

/* Each key that the table has, and one below and one above of it, by get and by a seek; and all of it in order. */
static void look_into(struct table *table, struct epoch_slot *slot)
{
    struct table_cursor all, seek;
    size_t              entries = 0;
    kv_status           status;

    fail_set("%s", "");
    status = table_verify(table, slot);
    assert(status == KV_OK || (status == KV_CORRUPT && *fail_text()));
    table_cursor_open(&all, table, slot, true);
    table_cursor_open(&seek, table, slot, false);
    for (bool more = table_cursor_seek(&all, (slice){0}); more && entries < 200; more = table_cursor_next(&all), entries++) {
        struct entry entry = *table_cursor_entry(&all), found;
        slice        keys[] = {entry.key, slice_of(entry.key.data, entry.key.size / 2), slice_text("\xff")};
        touch(entry.key);
        touch(entry.value);
        for (size_t i = 0; i < 3; i++) {
            kv_status got;
            (void)table_may_have(table, keys[i], key_hash(keys[i]));
            epoch_enter(slot);
            got = table_get(table, slot, keys[i], i ? SEQ_MAX : entry.seq, &found);
            assert(got == KV_OK || got == KV_NOT_FOUND || got == KV_CORRUPT);
            if (got == KV_OK) {
                assert(i || found.seq <= entry.seq);
                touch(found.value);
            }
            epoch_exit(slot);
            if (table_cursor_seek(&seek, keys[i]))
                touch(table_cursor_entry(&seek)->key);
        }
    }
    table_cursor_close(&seek);
    table_cursor_close(&all);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct buf         bytes = {0};
    struct epoch      *epoch;
    struct epoch_slot *slot;
    struct cache      *cache;
    struct table      *table;
    char               name[16];
    int                fd;

    if (!size || (data[0] && !form(data, size, &bytes))) {
        buf_free(&bytes);
        return 0;
    }
    if (!data[0])
        must(buf_append(&bytes, data + 1, size - 1));
    fd = memfd_create("table", MFD_CLOEXEC);
    if (fd < 0 || write(fd, bytes.data, bytes.size) != (ssize_t)bytes.size || !(cache = cache_open(4096, 1, true)))
        abort();
    must(epoch_open(&epoch));
    must(epoch_slot_open(epoch, &slot));
    snprintf(name, sizeof name, "%d", fd);
    fail_set("%s", "");
    kv_status status = table_open_named("/proc/self/fd", name, 0, cache, &table);
    assert(status == KV_OK || (*fail_text() && (status == KV_CORRUPT || status == KV_MISMATCH)));
    if (status == KV_OK)
        look_into(table, slot);
    table_release(table);
    epoch_slot_close(slot);
    epoch_close(epoch);
    cache_close(cache);
    close(fd);
    buf_free(&bytes);
    return 0;
}
