/* t_lsm_table.c -- the tree's table files: whatever goes in comes out, by key and in order, and no damaged byte passes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/fail.h"
#include "common/rng.h"
#include "engines/lsm/table.h"

static char               dir[256];
static struct epoch      *epoch;
static struct epoch_slot *slot;

static int set_up(void **state)
{
    const char *base = getenv("TMPDIR");

    (void)state;
    snprintf(dir, sizeof dir, "%s/assay-table.XXXXXX", base && *base ? base : "/tmp");
    assert_non_null(mkdtemp(dir));
    assert_int_equal(epoch_open(&epoch), KV_OK);
    assert_int_equal(epoch_slot_open(epoch, &slot), KV_OK);
    return 0;
}

static int tear_down(void **state)
{
    char path[512], name[TABLE_NAME_MAX];

    (void)state;
    epoch_slot_close(slot);
    epoch_close(epoch);
    for (uint64_t id = 1; id < 10; id++) {
        snprintf(path, sizeof path, "%s/%s", dir, table_name(name, id));
        unlink(path);
    }
    return rmdir(dir);
}

/* ---- A set of entries, sorted; what a table should say. ---- */

struct rows {
    struct entry *row;
    size_t        count;
};

static int by_order(const void *a, const void *b)
{
    return entry_compare(a, b);
}

/* Few different keys, so that some have many versions; keys that are prefixes of others; empty values. */
static struct rows make_rows(size_t count, uint64_t seed, size_t value_bytes_max)
{
    struct rows rows = {calloc(count, sizeof(struct entry)), count};
    struct rng  rng;

    rng_seed(&rng, seed, 0);
    for (size_t i = 0; i < count; i++) {
        size_t key_bytes = 1 + rng_u64(&rng) % 12, value_bytes = value_bytes_max ? rng_u64(&rng) % (value_bytes_max + 1) : 0;
        char  *key = malloc(key_bytes + 5), *value = malloc(value_bytes + 1);
        memcpy(key, "user", 4);
        for (size_t at = 4; at < key_bytes + 4; at++)
            key[at] = (char)("ab\xff\0c"[rng_u64(&rng) % 5]);
        for (size_t at = 0; at < value_bytes; at++)
            value[at] = (char)(rng_u64(&rng) % 4);
        rows.row[i] = (struct entry){.key = slice_of(key, key_bytes + 4), .seq = 100 + i, .type = rng_u64(&rng) % 5 ? ENTRY_PUT : ENTRY_DELETE};
        rows.row[i].value = slice_of(value, rows.row[i].type == ENTRY_PUT ? value_bytes : 0);
    }
    qsort(rows.row, count, sizeof *rows.row, by_order);
    return rows;
}

static void free_rows(struct rows *rows)
{
    for (size_t i = 0; i < rows->count; i++) {
        free((void *)rows->row[i].key.data);
        free((void *)rows->row[i].value.data);
    }
    free(rows->row);
}

static const struct entry *expected(const struct rows *rows, slice key, uint64_t seq)
{
    for (size_t i = 0; i < rows->count; i++)
        if (slice_equal(rows->row[i].key, key) && rows->row[i].seq <= seq)
            return &rows->row[i];
    return NULL;
}

static void write_table(uint64_t id, const struct rows *rows, const struct table_options *options)
{
    struct table_writer *writer;
    uint64_t             bytes;

    assert_int_equal(table_writer_open(dir, id, options, &writer), KV_OK);
    for (size_t i = 0; i < rows->count; i++)
        assert_int_equal(table_writer_add(writer, &rows->row[i]), KV_OK);
    assert_int_equal(table_writer_finish(writer, &bytes), KV_OK);
}

static void same_entry(const struct entry *got, const struct entry *want)
{
    assert_true(slice_equal(got->key, want->key));
    assert_true(slice_equal(got->value, want->value));
    assert_true(got->seq == want->seq);
    assert_int_equal(got->type, want->type);
}

static void check_gets(struct table *table, const struct rows *rows, uint64_t seed)
{
    struct rows other = make_rows(200, seed, 4);

    for (size_t i = 0; i < rows->count + other.count; i++) {
        const struct entry *ask = i < rows->count ? &rows->row[i] : &other.row[i - rows->count];
        uint64_t            bounds[] = {ask->seq, ask->seq - 1, SEQ_MAX};
        for (size_t j = 0; j < 3; j++) {
            const struct entry *want = expected(rows, ask->key, bounds[j]);
            struct entry        got;
            kv_status           status;
            epoch_enter(slot);
            status = table_get(table, slot, ask->key, bounds[j], &got);
            assert_int_equal(status, want ? KV_OK : KV_NOT_FOUND);
            if (want)
                same_entry(&got, want);
            epoch_exit(slot);
        }
        if (expected(rows, ask->key, SEQ_MAX))
            assert_true(table_may_have(table, ask->key, key_hash(ask->key)));
    }
    free_rows(&other);
}

static void check_cursor(struct table *table, const struct rows *rows, bool streams)
{
    struct table_cursor cursor;

    table_cursor_open(&cursor, table, slot, streams);
    for (size_t from = 0; from <= rows->count; from += 1 + rows->count / 20) {
        slice  first = from ? rows->row[from - 1].key : (slice){0};
        size_t at = 0;
        bool   more = table_cursor_seek(&cursor, first);
        while (at < rows->count && slice_compare(rows->row[at].key, first) < 0)
            at++;
        for (; at < rows->count; at++, more = table_cursor_next(&cursor)) {
            assert_true(more);
            same_entry(table_cursor_entry(&cursor), &rows->row[at]);
        }
        assert_false(more);
        assert_int_equal(cursor.status, KV_OK);
    }
    table_cursor_close(&cursor);
}

static void whatever_goes_in_comes_out_by_key_and_in_order(void **state)
{
    static const struct table_options shapes[] = {
        {.block_bytes = 64, .restart_interval = 1, .filter_bits = 10, .buffer_bytes = 1 << 20, .reuse_buffers = true, .base_seq = 100},
        {.block_bytes = 512, .restart_interval = 16, .filter_bits = 0, .buffer_bytes = 1 << 12, .lz4 = true, .base_seq = 3},
        {.block_bytes = 4096, .restart_interval = 4, .filter_bits = 20, .lz4 = true, .reuse_buffers = true, .base_seq = 100},
        {.block_bytes = 1 << 20, .restart_interval = 1000, .filter_bits = 1, .buffer_bytes = 1, .base_seq = 0},
        {.block_bytes = 300, .layout = LAYOUT_SPLIT, .filter_bits = 10, .filter_hashes = FILTER_HASH_A_PROBE, .base_seq = 100},
        {.block_bytes = 4096, .layout = LAYOUT_SPLIT, .filter_bits = 1, .filter_hashes = FILTER_HASH_A_PROBE, .lz4 = true,
         .buffer_bytes = 1 << 16, .reuse_buffers = true, .base_seq = 7},
        {.block_bytes = 64, .restart_interval = 2, .filter_bits = 32, .filter_hashes = FILTER_HASH_A_PROBE, .base_seq = 100},
    };
    static const size_t counts[] = {1, 2, 37, 1500};

    (void)state;
    for (size_t shape = 0; shape < sizeof shapes / sizeof *shapes; shape++) {
        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
            /* A cache of nothing, one that throws out all the time, one that keeps all, and a mapping. */
            for (int kind = 0; kind < 4; kind++) {
                static const uint64_t rooms[] = {0, 1 << 14, 1 << 24, 1 << 14};
                bool                  maps = kind == 3;
                struct rows   rows = make_rows(counts[i], shape * 10 + i, shape == 1 ? 300 : 20);
                struct cache *cache = cache_open(rooms[kind], 2, shapes[shape].reuse_buffers);
                struct table *table;
                if (maps)
                    cache_map_tables(cache);
                write_table(1, &rows, &shapes[shape]);
                assert_int_equal(table_open(dir, 1, cache, &table), KV_OK);
                assert_int_equal(table->map != NULL, maps);
                assert_true(table->is.entries == counts[i]);
                assert_int_equal(table_verify(table, slot), KV_OK);
                check_gets(table, &rows, shape + 77);
                check_cursor(table, &rows, false);
                check_cursor(table, &rows, true);
                table_release(table);
                cache_close(cache);
                free_rows(&rows);
            }
        }
    }
}

/* All of the file that matters is under some checksum: flip each byte, and each answer is right or an error that names it. */
static void no_damaged_byte_of(const struct table_options *options, bool maps)
{
    struct rows          rows = make_rows(60, 5, 30);
    struct cache        *cache = cache_open(1 << 20, 2, true);
    struct table        *table;
    char                 path[512], name[TABLE_NAME_MAX];
    uint64_t             bytes;
    size_t               refused = 0;
    int                  fd;

    if (maps)
        cache_map_tables(cache);
    write_table(1, &rows, options);
    assert_int_equal(table_open(dir, 1, cache, &table), KV_OK);
    bytes = table->bytes;
    table_release(table);
    snprintf(path, sizeof path, "%s/%s", dir, table_name(name, 1));
    fd = open(path, O_RDWR);
    assert_true(fd >= 0);
    for (uint64_t at = 0; at < bytes; at++) {
        char      byte, bad;
        kv_status status;
        assert_int_equal(pread(fd, &byte, 1, (off_t)at), 1);
        bad = (char)(byte ^ (1 << at % 8));
        assert_int_equal(pwrite(fd, &bad, 1, (off_t)at), 1);
        status = table_open(dir, 1, cache, &table);
        if (status == KV_OK) {
            status = table_verify(table, slot);
            for (size_t i = 0; i < rows.count; i++) {
                struct entry got;
                kv_status    answer;
                epoch_enter(slot);
                answer = table_get(table, slot, rows.row[i].key, rows.row[i].seq, &got);
                assert_true(answer == KV_OK || answer == KV_CORRUPT);
                if (answer == KV_OK)
                    same_entry(&got, &rows.row[i]);
                epoch_exit(slot);
            }
            table_release(table);
        }
        assert_int_equal(status, KV_CORRUPT);
        assert_non_null(strstr(fail_text(), name));
        refused++;
        assert_int_equal(pwrite(fd, &byte, 1, (off_t)at), 1);
    }
    assert_true(refused == bytes);
    for (uint64_t cut = 0; cut < bytes; cut++) { /* downwards the file gets shorter and shorter */
        assert_int_equal(ftruncate(fd, (off_t)(bytes - 1 - cut)), 0);
        assert_int_equal(table_open(dir, 1, cache, &table), KV_CORRUPT);
    }
    close(fd);
    cache_close(cache);
    free_rows(&rows);
}

static void no_damaged_byte_passes(void **state)
{
    (void)state;
    for (int maps = 0; maps < 2; maps++) {
        no_damaged_byte_of(&(struct table_options){.block_bytes = 128, .restart_interval = 4, .filter_bits = 10, .lz4 = true,
                                                   .base_seq = 100}, maps);
        no_damaged_byte_of(&(struct table_options){.block_bytes = 128, .layout = LAYOUT_SPLIT, .filter_bits = 10,
                                                   .filter_hashes = FILTER_HASH_A_PROBE, .base_seq = 100}, maps);
    }
}

/* A page may be dropped and read again behind our back: what was right once is not trusted. */
static void a_mapped_block_is_checked_each_time(void **state)
{
    struct table_options options = {.block_bytes = 128, .restart_interval = 4, .base_seq = 100};
    struct rows          rows = make_rows(60, 5, 30);
    struct cache        *cache = cache_open(1 << 20, 2, true);
    struct table        *table;
    struct entry         got;
    char                 path[512], name[TABLE_NAME_MAX], byte;
    int                  fd;

    (void)state;
    cache_map_tables(cache);
    write_table(1, &rows, &options);
    assert_int_equal(table_open(dir, 1, cache, &table), KV_OK);
    epoch_enter(slot);
    assert_int_equal(table_get(table, slot, rows.row[0].key, SEQ_MAX, &got), KV_OK);
    epoch_exit(slot);
    snprintf(path, sizeof path, "%s/%s", dir, table_name(name, 1));
    assert_true((fd = open(path, O_RDWR)) >= 0);
    assert_int_equal(pread(fd, &byte, 1, 7), 1);
    byte ^= 1;
    assert_int_equal(pwrite(fd, &byte, 1, 7), 1);
    epoch_enter(slot);
    assert_int_equal(table_get(table, slot, rows.row[0].key, SEQ_MAX, &got), KV_CORRUPT);
    epoch_exit(slot);
    assert_int_equal(table_verify(table, slot), KV_CORRUPT);
    close(fd);
    table_release(table);
    cache_close(cache);
    free_rows(&rows);
}

static void touch(struct table *table, size_t first, size_t count, size_t step, const char *format)
{
    char         key[32];
    struct entry got;

    for (size_t i = first; i < count; i += step) {
        epoch_enter(slot);
        assert_int_equal(table_get(table, slot, slice_of(key, (size_t)sprintf(key, format, i)), SEQ_MAX, &got), KV_OK);
        epoch_exit(slot);
    }
}

static size_t missing(const struct table *table, size_t blocks)
{
    size_t count = 0;

    for (size_t i = 0; i < blocks; i++)
        count += table->row[i].block == NULL;
    return count;
}

#define SCANNED 20000

static struct table *scanned_table(struct cache *cache, const char *format)
{
    struct table_options options = {.block_bytes = 1024, .restart_interval = 16, .filter_bits = 0, .buffer_bytes = 1 << 20, .base_seq = 1};
    struct table_writer *writer;
    struct table        *table;
    uint64_t             bytes;
    char                 key[32], value[100] = {1};

    assert_int_equal(table_writer_open(dir, 1, &options, &writer), KV_OK);
    for (size_t i = 0; i < SCANNED; i++) {
        struct entry entry = {.key = slice_of(key, (size_t)sprintf(key, format, i)), .value = slice_of(value, sizeof value),
                              .seq = 1 + i, .type = ENTRY_PUT};
        assert_int_equal(table_writer_add(writer, &entry), KV_OK);
    }
    assert_int_equal(table_writer_finish(writer, &bytes), KV_OK);
    assert_int_equal(table_open(dir, 1, cache, &table), KV_OK);
    return table;
}

/* What is asked for often stays, whatever passes by once: a scan, a compaction, or gets of all the rest. */
static void what_is_used_often_outlives_scans(void **state)
{
    static const char format[] = "key%08zu";
    char              key[32];

    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        struct cache        *cache = cache_open(256 << 10, 2, true); /* a ninth of the table */
        struct table        *table;
        size_t               hot = 400, lost = 0, blocks;

        table = scanned_table(cache, format);
        for (int round = 0; round < 2; round++)
            touch(table, 0, hot, 1, format);
        blocks = table_find_block(table, slice_of(key, (size_t)sprintf(key, format, hot - 1)));
        for (size_t from = hot; from < SCANNED; from += 1000) {
            if (kind < 2) {
                struct table_cursor cursor;
                table_cursor_open(&cursor, table, slot, kind == 1);
                for (bool more = table_cursor_seek(&cursor, slice_of(key, (size_t)sprintf(key, format, from))); more;
                     more = table_cursor_next(&cursor))
                    continue;
                table_cursor_close(&cursor);
            } else {
                touch(table, from, from + 1000 < SCANNED ? from + 1000 : SCANNED, 10, format);
            }
            lost += missing(table, blocks);
            touch(table, 0, hot, 1, format); /* which is what makes it hot */
        }
        if (kind < 2) /* a whole scan at once, with nothing in between */
            assert_int_equal(table_verify(table, slot), KV_OK);
        lost += missing(table, blocks);
        assert_true(lost <= (kind < 2 ? 0 : blocks)); /* of 20 times as many */
        table_release(table);
        cache_close(cache);
    }
}

/* Of what is read once few blocks come into a cache that is full; one that is asked for four times is in it. */
static void a_full_cache_lets_in_what_comes_again(void **state)
{
    static const char    format[] = "key%08zu";
    struct cache        *cache = cache_open(256 << 10, 2, true); /* a ninth of the table */
    struct table        *table = scanned_table(cache, format);
    char                 key[32];
    size_t               absent = 0, came_in = 0, number, at = 0;

    (void)state;
    touch(table, 0, SCANNED, 1, format);
    assert_true(cache_used_bytes(cache) > 200 << 10 && cache_used_bytes(cache) <= 256 << 10);
    for (; at < SCANNED && absent < 400; at++) {
        number = table_find_block(table, slice_of(key, (size_t)sprintf(key, format, at)));
        if (table_holds(table, number))
            continue;
        absent++;
        touch(table, at, at + 1, 1, format);
        came_in += table_holds(table, number);
    }
    assert_int_equal(absent, 400);
    assert_in_range(came_in, 50, 400 / 4 + 16); /* each of 16 rings counts for itself */
    while (table_holds(table, number = table_find_block(table, slice_of(key, (size_t)sprintf(key, format, at)))))
        at++;
    for (size_t i = 0; i < 4; i++)
        touch(table, at, at + 1, 1, format);
    assert_true(table_holds(table, number));
    table_release(table);
    cache_close(cache);
}

/* ---- A block by hand: a writer may leave out less of a key than it could. ---- */

static void add_by_hand(struct block_builder *block, const struct entry *entry, slice last, struct rng *rng)
{
    size_t   shared = 0, at;
    uint32_t offset = (uint32_t)block->bytes.size;
    char     head[4 * VARINT_BYTES_MAX];

    while (shared < last.size && shared < entry->key.size &&
           ((const char *)last.data)[shared] == ((const char *)entry->key.data)[shared])
        shared++;
    if (block->since == 0 || rng_u64(rng) % 8 == 0) {
        assert_int_equal(buf_append(&block->restarts, &offset, sizeof offset), KV_OK);
        shared = 0;
    } else if (rng_u64(rng) % 2) {
        shared = rng_u64(rng) % (shared + 1);
    }
    block->since = 1;
    at = varint_write(head, shared);
    at += varint_write(head + at, entry->key.size - shared);
    at += varint_write(head + at, entry->value.size << 1 | (entry->type == ENTRY_PUT));
    at += varint_write(head + at, entry->seq);
    assert_int_equal(buf_append(&block->bytes, head, at), KV_OK);
    assert_int_equal(buf_append(&block->bytes, (const char *)entry->key.data + shared, entry->key.size - shared), KV_OK);
    assert_int_equal(buf_append(&block->bytes, entry->value.data, entry->value.size), KV_OK);
}

static void a_key_is_found_however_little_its_writer_left_out(void **state)
{
    static struct block_place place[2000];

    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct block_builder block = {0};
        struct rows          rows = make_rows(seed * seed * 4, seed, 3), other = make_rows(300, seed + 100, 0);
        struct block_view    view;
        struct rng           rng;

        rng_seed(&rng, seed, 1);
        for (size_t i = 0; i < rows.count; i++)
            add_by_hand(&block, &rows.row[i], i ? rows.row[i - 1].key : (slice){0}, &rng);
        assert_int_equal(block_builder_finish(&block), KV_OK);
        assert_true(block_view_of(buf_slice(&block.bytes), LAYOUT_PACKED, 0, &view));
        for (int with_places = 0; with_places < 2; with_places++) {
            view.place = place;
            view.places = with_places ? block_places(&view, place, 2000) : 0;
            assert_int_equal(view.places, with_places ? rows.count : 0);
            for (size_t i = 0; i < rows.count + other.count; i++) {
                const struct entry *ask = i < rows.count ? &rows.row[i] : &other.row[i - rows.count];
                uint64_t            bounds[] = {ask->seq, ask->seq - 1, SEQ_MAX};
                for (size_t j = 0; j < 3; j++) {
                    const struct entry *want = expected(&rows, ask->key, bounds[j]);
                    struct entry        got;
                    assert_int_equal(block_get(&view, ask->key, bounds[j], &got), want ? BLOCK_FOUND : BLOCK_ABSENT);
                    if (want)
                        same_entry(&got, want);
                }
            }
        }
        block_builder_free(&block);
        free_rows(&rows);
        free_rows(&other);
    }
}

static void a_table_under_anothers_name_is_refused(void **state)
{
    struct table_options options = {.block_bytes = 128, .restart_interval = 4, .base_seq = 100};
    struct rows          rows = make_rows(10, 5, 30);
    struct cache        *cache = cache_open(1 << 20, 2, true);
    struct table        *table;
    char                 name[TABLE_NAME_MAX], other[TABLE_NAME_MAX];

    (void)state;
    write_table(1, &rows, &options);
    assert_int_equal(file_rename(dir, table_name(name, 1), table_name(other, 2)), KV_OK);
    assert_int_equal(table_open(dir, 2, cache, &table), KV_CORRUPT);
    cache_close(cache);
    free_rows(&rows);
}

static bool passes(const struct table *table, const char *key, int size)
{
    return table_may_have(table, slice_of(key, (size_t)size), key_hash(slice_of(key, (size_t)size)));
}

/* defect 25: all hashes of a filter were the same, or none worked after it was loaded. */
static void filter_passes_few(enum filter_hashes hashes)
{
    struct table_options options = {.block_bytes = 4096, .restart_interval = 16, .filter_bits = 10, .filter_hashes = hashes,
                                    .buffer_bytes = 1 << 20, .reuse_buffers = true, .base_seq = 1};
    struct table_writer *writer;
    struct cache        *cache = cache_open(1 << 20, 2, true);
    struct table        *table;
    uint64_t             bytes;
    size_t               passed = 0, count = 100000;
    char                 key[32];

    assert_int_equal(table_writer_open(dir, 1, &options, &writer), KV_OK);
    for (size_t i = 0; i < count; i++) {
        struct entry entry = {.key = slice_of(key, (size_t)sprintf(key, "key%08zu", i)), .seq = 1 + i, .type = ENTRY_PUT};
        assert_int_equal(table_writer_add(writer, &entry), KV_OK);
    }
    assert_int_equal(table_writer_finish(writer, &bytes), KV_OK);
    assert_int_equal(table_open(dir, 1, cache, &table), KV_OK);
    for (size_t i = 0; i < count; i++) {
        assert_true(passes(table, key, sprintf(key, "key%08zu", i)));
        passed += passes(table, key, sprintf(key, "not%08zu", i));
    }
    assert_in_range(passed, 1, count / 50); /* 1 % and a little, at 10 bits */
    table_release(table);
    cache_close(cache);
}

static void defect_25_a_filter_passes_every_key_and_few_others(void **state)
{
    (void)state;
    filter_passes_few(FILTER_ONE_HASH);
    filter_passes_few(FILTER_HASH_A_PROBE);
}

/* What the kernel counts for this process; other threads there are none. */
static uint64_t calls_of(const char *kind)
{
    FILE    *io = fopen("/proc/self/io", "re");
    char     line[128];
    uint64_t calls = 0;

    while (io && fgets(line, sizeof line, io))
        if (strncmp(line, kind, 6) == 0 && sscanf(line + 6, " %" SCNu64, &calls) == 1)
            break;
    if (io)
        fclose(io);
    return calls;
}

static uint64_t write_calls_of_a_table(uint32_t buffer_bytes, bool lz4, uint64_t *blocks)
{
    struct table_options options = {.block_bytes = 1024, .restart_interval = 16, .filter_bits = 10, .buffer_bytes = buffer_bytes,
                                    .lz4 = lz4, .reuse_buffers = true, .base_seq = 100};
    struct rows          rows = make_rows(1000, 9, 200);
    struct cache        *cache = cache_open(1 << 20, 2, true);
    struct table        *table;
    uint64_t             before = calls_of("syscw:"), calls;

    write_table(1, &rows, &options);
    calls = calls_of("syscw:") - before;
    assert_int_equal(table_open(dir, 1, cache, &table), KV_OK);
    assert_int_equal(table_verify(table, slot), KV_OK);
    check_gets(table, &rows, 3);
    *blocks = table->is.blocks;
    table_release(table);
    cache_close(cache);
    free_rows(&rows);
    return calls;
}

/* Behind the blocks come index, filter, properties and footer. */
static void without_a_buffer_each_entry_is_a_write_of_its_own(void **state)
{
    uint64_t blocks;

    (void)state;
    if (!calls_of("syscw:"))
        skip(); /* the kernel does not count them */
    assert_true(write_calls_of_a_table(1 << 20, false, &blocks) == 1);
    assert_true(blocks > 50);
    assert_in_range(write_calls_of_a_table(1 << 14, false, &blocks), 4, blocks / 4);
    assert_true(write_calls_of_a_table(0, false, &blocks) == 1000 + blocks + 4);
    assert_true(write_calls_of_a_table(0, true, &blocks) == blocks + 4);
}

static void a_scan_reads_ahead_and_a_short_one_does_not(void **state)
{
    struct table_options options = {.block_bytes = 1024, .restart_interval = 16, .buffer_bytes = 1 << 20, .base_seq = 100};
    struct rows          rows = make_rows(30000, 3, 100);
    struct cache        *cache = cache_open(0, 2, true);
    struct table        *table;
    struct table_cursor  cursor;
    uint64_t             before;
    size_t               entries;

    (void)state;
    write_table(1, &rows, &options);
    assert_int_equal(table_open(dir, 1, cache, &table), KV_OK);
    assert_true(table->is.blocks > 1000);
    for (int streams = 0; streams < 2; streams++) {
        before = calls_of("syscr:");
        if (!before)
            skip();
        table_cursor_open(&cursor, table, slot, streams);
        entries = 0;
        for (bool more = table_cursor_seek(&cursor, (slice){0}); more; more = table_cursor_next(&cursor))
            entries++;
        table_cursor_close(&cursor);
        assert_int_equal(entries, rows.count);
        assert_true(calls_of("syscr:") - before <= table->bytes / (256 << 10) + 10);
    }
    table_cursor_open(&cursor, table, slot, false);
    assert_true(table_cursor_seek(&cursor, (slice){0}));
    assert_true(cursor.ahead.capacity == 0);
    table_cursor_close(&cursor);
    table_release(table);
    cache_close(cache);
    free_rows(&rows);
}

/* It is read each time, and the budget holds. */
static void a_block_that_the_cache_cannot_hold_is_not_kept(void **state)
{
    struct table_options options = {.block_bytes = 4096, .restart_interval = 16, .buffer_bytes = 1 << 20, .base_seq = 1};
    struct cache        *cache = cache_open(1 << 20, 2, true);
    struct table_writer *writer;
    struct table        *table;
    struct entry         got;
    char                 key[16], *value = calloc(1, 100000);
    uint64_t             bytes;

    (void)state;
    assert_int_equal(table_writer_open(dir, 1, &options, &writer), KV_OK);
    for (size_t i = 0; i < 40; i++) {
        struct entry entry = {.key = slice_of(key, (size_t)sprintf(key, "key%02zu", i)), .value = slice_of(value, i % 2 ? 100000 : 100),
                              .seq = 1 + i, .type = ENTRY_PUT};
        memset(value, (int)i, 100000);
        assert_int_equal(table_writer_add(writer, &entry), KV_OK);
    }
    assert_int_equal(table_writer_finish(writer, &bytes), KV_OK);
    assert_int_equal(table_open(dir, 1, cache, &table), KV_OK);
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < 40; i++) {
            memset(value, (int)i, 100000);
            epoch_enter(slot);
            assert_int_equal(table_get(table, slot, slice_of(key, (size_t)sprintf(key, "key%02zu", i)), SEQ_MAX, &got), KV_OK);
            assert_int_equal(got.value.size, i % 2 ? 100000 : 100);
            assert_memory_equal(got.value.data, value, got.value.size);
            epoch_exit(slot);
        }
        assert_true(cache_used_bytes(cache) <= 1 << 20);
    }
    assert_int_equal(table_verify(table, slot), KV_OK);
    table_release(table);
    cache_close(cache);
    free(value);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(whatever_goes_in_comes_out_by_key_and_in_order, set_up, tear_down),
        cmocka_unit_test_setup_teardown(no_damaged_byte_passes, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_mapped_block_is_checked_each_time, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_scan_reads_ahead_and_a_short_one_does_not, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_used_often_outlives_scans, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_full_cache_lets_in_what_comes_again, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_block_that_the_cache_cannot_hold_is_not_kept, set_up, tear_down),
        cmocka_unit_test(a_key_is_found_however_little_its_writer_left_out),
        cmocka_unit_test_setup_teardown(a_table_under_anothers_name_is_refused, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_a_buffer_each_entry_is_a_write_of_its_own, set_up, tear_down),
        cmocka_unit_test_setup_teardown(defect_25_a_filter_passes_every_key_and_few_others, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
