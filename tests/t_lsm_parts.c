/* t_lsm_parts.c -- parts of the merge tree by themselves: slabs, the block cache, varints, a recycled log, a ring that fails. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef ASSAY_LIBURING
#include <liburing.h>
#endif

#include "common/fail.h"
#include "common/rng.h"
#include "engines/base/epoch.h"
#include "engines/base/pages.h"
#include "engines/lsm/block.h"
#include "engines/lsm/cache.h"
#include "engines/lsm/reads.h"
#include "engines/lsm/slab.h"
#include "engines/lsm/wal.h"

/* ---- Slabs. ---- */

#define PIECES 3000

static void pieces_hold_what_was_asked_for_and_do_not_overlap(void **state)
{
    static unsigned char *piece[PIECES];
    static size_t         asked[PIECES], got[PIECES];
    struct slabs         *slabs = slabs_open();
    struct rng            rng;

    (void)state;
    rng_seed(&rng, 7, 0);
    for (size_t step = 0; step < 20 * PIECES; step++) {
        size_t i = (size_t)rng_below(&rng, PIECES);
        if (piece[i]) {
            for (size_t at = 0; at + 1 < asked[i]; at += 61)
                assert_int_equal(piece[i][at], (unsigned char)(i + at));
            assert_int_equal(piece[i][asked[i] - 1], (unsigned char)i);
            slabs_give(slabs, piece[i], got[i]);
            piece[i] = NULL;
            continue;
        }
        got[i] = asked[i] = 1 + (size_t)rng_below(&rng, step % 7 ? 6000 : 70000);
        piece[i] = slabs_take(slabs, &got[i]);
        assert_non_null(piece[i]);
        assert_true(got[i] >= asked[i] && got[i] <= asked[i] + (asked[i] > 32 << 10 ? asked[i] / 16 + 4096 : asked[i] / 32 + 64));
        memset(piece[i], 0xff, got[i]);
        for (size_t at = 0; at + 1 < asked[i]; at += 61)
            piece[i][at] = (unsigned char)(i + at);
        piece[i][asked[i] - 1] = (unsigned char)i;
    }
    for (size_t i = 0; i < PIECES; i++)
        if (piece[i])
            slabs_give(slabs, piece[i], got[i]);
    slabs_close(slabs);
    slabs_close(NULL);
}

static uint64_t fill_and_empty(struct slabs *slabs, size_t bytes, size_t all)
{
    static void *piece[1 << 16];
    size_t       count = 0, got = bytes;
    uint64_t     most;

    for (size_t took = 0; took < all && count < sizeof piece / sizeof *piece; took += bytes, count++) {
        got = bytes;
        assert_non_null(piece[count] = slabs_take(slabs, &got));
    }
    most = slabs_bytes(slabs);
    while (count--)
        slabs_give(slabs, piece[count], got);
    return most;
}

/* Sizes come and go with what a store is asked to keep: memory follows what is in use, not the sum of all peaks. */
static void an_empty_slab_serves_any_size(void **state)
{
    struct slabs *slabs = slabs_open();
    uint64_t      first;

    (void)state;
    if (PAGES_CHECKED) { /* all pieces are malloc's */
        slabs_close(slabs);
        skip();
    }
    assert_int_equal(slabs_bytes(slabs), 0);
    first = fill_and_empty(slabs, 4200, 32 << 20);
    assert_true(first >= 32 << 20 && first <= 36 << 20);
    assert_true(fill_and_empty(slabs, 700, 32 << 20) <= first + (2 << 20));
    assert_true(fill_and_empty(slabs, 9000, 32 << 20) <= first + (2 << 20));
    slabs_close(slabs);
}

/* Large pieces are not kept for a day when they may be needed; a few are, for the next. */
static void the_memory_of_large_pieces_goes_back(void **state)
{
    struct slabs *slabs = slabs_open();
    void         *first, *again;
    size_t        bytes = 100000;

    (void)state;
    if (PAGES_CHECKED) {
        slabs_close(slabs);
        skip();
    }
    assert_true(fill_and_empty(slabs, 100000, 32 << 20) >= 32 << 20);
    assert_true(slabs_bytes(slabs) <= 4 << 20);
    assert_true(fill_and_empty(slabs, 300000, 32 << 20) <= 39 << 20); /* with a sixteenth for rounding, and what is kept of the others */
    assert_true(slabs_bytes(slabs) <= 4 << 20);
    first = slabs_take(slabs, &bytes);
    slabs_give(slabs, first, bytes);
    bytes = 99990;
    assert_ptr_equal(again = slabs_take(slabs, &bytes), first);
    slabs_give(slabs, again, bytes);
    bytes = 9 << 20; /* more than is kept */
    assert_non_null(again = slabs_take(slabs, &bytes));
    memset(again, 1, bytes);
    slabs_give(slabs, again, bytes);
    assert_int_equal(slabs_bytes(slabs), 0);
    slabs_close(slabs);
}

/* ---- The block cache. ---- */

#define HOMES       512u
#define BLOCK_BYTES ((size_t)128 << 10)
#define BUDGET      ((uint64_t)8 << 20)

/* Reads one block a turn, as a session does that misses each. */
static size_t miss_all(struct cache *cache, struct epoch_slot *slot, struct cached_block **home, size_t turns)
{
    size_t most = 0;

    for (size_t turn = 0; turn < turns; turn++) {
        struct cached_block **here = &home[turn % HOMES], *block;
        epoch_enter(slot);
        if (!cache_find(here)) {
            assert_non_null(block = cached_block_new(cache, BLOCK_BYTES, 0));
            memset(cached_payload(block), (int)turn, block->bytes);
            if (cache_admits(cache, slot, here, block))
                block = cache_add(cache, slot, here, block);
            else
                cached_block_lend(slot, block);
            assert_int_equal((unsigned char)cached_payload(block)[block->bytes - 1], (unsigned char)turn); /* lent until the exit */
        }
        epoch_exit(slot);
        most = slot->bytes > most ? slot->bytes : most;
    }
    return most;
}

static long sleeps_of_this_thread(void)
{
    struct rusage usage;

    assert_int_equal(getrusage(RUSAGE_THREAD, &usage), 0);
    return usage.ru_nvcsw;
}

/* What is thrown out waits for the reader; so that it does not become more and more, nothing comes in any more.  Nor does each
 * miss wait for the reader. */
static void a_reader_that_stays_inside_does_not_make_the_cache_grow(void **state)
{
    static struct cached_block *home[HOMES];
    struct cache               *cache = cache_open(BUDGET, 2, true);
    struct epoch               *epoch;
    struct epoch_slot          *slot, *other;
    uint64_t                    before;
    long                        slept;

    (void)state;
    assert_non_null(cache);
    assert_int_equal(epoch_open(&epoch), KV_OK);
    assert_int_equal(epoch_slot_open(epoch, &slot), KV_OK);
    assert_int_equal(epoch_slot_open(epoch, &other), KV_OK);
    miss_all(cache, slot, home, 4 * HOMES);
    before = cache_used_bytes(cache);
    assert_true(before > BUDGET / 2 && before <= BUDGET);
    epoch_enter(other);
    slept = sleeps_of_this_thread();
    assert_in_range(miss_all(cache, slot, home, 16 * HOMES), (4 << 20) - BLOCK_BYTES, (4 << 20) + 4 * BLOCK_BYTES);
    assert_true(sleeps_of_this_thread() - slept < (long)(4 * HOMES));
    assert_true(cache_used_bytes(cache) <= BUDGET);
    epoch_exit(other);
    epoch_collect(slot, true);
    assert_int_equal(slot->bytes, 0);
    assert_true(miss_all(cache, slot, home, 8 * HOMES) > 0); /* now they come in again */
    for (size_t i = 0; i < HOMES; i++)
        if (home[i])
            cache_remove(cache, &home[i]);
    epoch_slot_close(other);
    epoch_slot_close(slot);
    epoch_close(epoch);
    cache_close(cache);
}

/* ---- Varints. ---- */

static void a_varint_is_read_back_and_a_cut_one_is_not(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 64; bit++) {
        for (int more = -1; more <= 1; more++) {
            uint64_t value = (UINT64_C(1) << bit) + (uint64_t)more, got = 1;
            char     wide[VARINT_BYTES_MAX + 8];
            size_t   size;
            memset(wide, 0xff, sizeof wide);
            size = varint_write(wide, value);
            assert_ptr_equal(varint_read(wide, wide + sizeof wide, &got), wide + size);
            assert_true(got == value);
            for (size_t end = 0; end <= size; end++) { /* in memory of that size, so that a sanitizer sees a byte too many */
                char *exact = malloc(end + 1);
                memcpy(exact, wide, end);
                got = 1;
                assert_ptr_equal(varint_read(exact, exact + end, &got), end == size ? exact + end : NULL);
                assert_true(end < size || got == value);
                free(exact);
            }
        }
    }
    for (size_t size = 1; size < 16; size++) { /* longer than 64 bits */
        char     endless[16];
        uint64_t got;
        memset(endless, 0x80, sizeof endless);
        assert_null(varint_read(endless, endless + size, &got));
        endless[10] = 1;
        assert_null(varint_read(endless, endless + sizeof endless, &got));
        endless[9] = 2;
        assert_null(varint_read(endless, endless + sizeof endless, &got));
        endless[9] = 1;
        assert_ptr_equal(varint_read(endless, endless + sizeof endless, &got), endless + 10);
        assert_true(got == UINT64_C(1) << 63);
    }
}

/* ---- A recycled log. ---- */

static enum wal_state state_under(const char *dir, uint64_t id)
{
    struct wal    *wal;
    enum wal_state state;

    assert_int_equal(wal_open(dir, id, &wal, &state), KV_OK);
    wal_free(wal);
    return state;
}

static void write_header(const char *dir, uint64_t id, size_t offset, const char *header, size_t size)
{
    char path[600], name[WAL_NAME_MAX];
    int  fd;

    snprintf(path, sizeof path, "%s/%s", dir, wal_name(name, id));
    fd = open(path, O_WRONLY);
    assert_true(fd >= 0 && pwrite(fd, header, size, (off_t)offset) == (ssize_t)size);
    close(fd);
}

/* It has the number of its name, and stands there twice: one that a disk has spoilt does not matter. */
static void a_header_of_an_earlier_life_is_no_log(void **state)
{
    char        dir[256], path[600], name[WAL_NAME_MAX], before[WAL_FIRST], after[WAL_FIRST], trash[sizeof(struct wal_header)];
    const char *base = getenv("TMPDIR");
    struct wal *wal, *again;
    struct wal_header other;

    (void)state;
    snprintf(dir, sizeof dir, "%s/assay-parts.XXXXXX", base && *base ? base : "/tmp");
    assert_non_null(mkdtemp(dir));
    assert_int_equal(wal_create(dir, 3, 8192, false, &wal), KV_OK);
    assert_int_equal(state_under(dir, 3), WAL_BLANK);
    assert_int_equal(wal_begin(wal, 1, 0), KV_OK);
    assert_int_equal(pread(wal->file.fd, before, sizeof before, 0), sizeof before);
    assert_int_equal(state_under(dir, 3), WAL_GOOD);
    assert_int_equal(wal_recycle(dir, wal, 5, &again), KV_OK);
    assert_int_equal(state_under(dir, 5), WAL_BLANK);
    write_header(dir, 5, 0, before, sizeof before);
    assert_int_equal(state_under(dir, 5), WAL_STRANGE);
    assert_int_equal(wal_begin(again, 9, 0), KV_OK);
    assert_int_equal(pread(again->file.fd, after, sizeof after, 0), sizeof after);
    assert_int_equal(state_under(dir, 5), WAL_GOOD);
    write_header(dir, 5, 0, before, sizeof trash);
    assert_int_equal(state_under(dir, 5), WAL_GOOD);
    write_header(dir, 5, 0, after, sizeof after);
    write_header(dir, 5, WAL_SECOND, before, sizeof trash);
    assert_int_equal(state_under(dir, 5), WAL_GOOD);
    /* Also of one that is so short that no group is in it. */
    assert_int_equal(truncate(again->file.path, sizeof(struct wal_header)), 0);
    assert_int_equal(state_under(dir, 5), WAL_GOOD);
    memcpy(&other, after, sizeof other);
    other.version--;
    other.sum = XXH3_64bits(&other, offsetof(struct wal_header, sum));
    write_header(dir, 5, 0, (const char *)&other, sizeof other);
    assert_int_equal(state_under(dir, 5), WAL_OTHER);
    assert_int_equal(truncate(again->file.path, sizeof(struct wal_header) - 1), 0);
    assert_int_equal(state_under(dir, 5), WAL_BLANK);
    assert_int_equal(truncate(again->file.path, 8192), 0);
    memset(trash, 0x5a, sizeof trash);
    write_header(dir, 5, 0, trash, sizeof trash);
    write_header(dir, 5, WAL_SECOND, trash, sizeof trash);
    assert_int_equal(state_under(dir, 5), WAL_DAMAGED);
    /* Nor is it another log's. */
    write_header(dir, 5, 0, after, sizeof after);
    snprintf(path, sizeof path, "%s/%s", dir, wal_name(name, 5));
    {
        char earlier[600];
        snprintf(earlier, sizeof earlier, "%s/%s", dir, wal_name(name, 4));
        assert_int_equal(rename(path, earlier), 0);
        assert_int_equal(state_under(dir, 4), WAL_STRANGE);
        unlink(earlier);
    }
    wal_free(again);
    assert_int_equal(rmdir(dir), 0);
}

/* Behind the end of a log may be what a value was made of.  Were each place that could be a group summed, this would not end. */
static void what_lies_behind_the_end_is_passed_over_at_once(void **state)
{
    static const size_t bytes = 32 << 20;
    char                dir[256], path[600], name[WAL_NAME_MAX];
    const char         *base = getenv("TMPDIR");
    struct wal         *wal;
    struct wal_group    group = {.seq = 20, .durable_seq = 12, .bytes = 16, .count = 1}, got;
    struct rng          rng;
    slice               writes;

    (void)state;
    snprintf(dir, sizeof dir, "%s/assay-parts.XXXXXX", base && *base ? base : "/tmp");
    assert_non_null(mkdtemp(dir));
    assert_int_equal(wal_create(dir, 1, bytes, true, &wal), KV_OK);
    assert_int_equal(wal_begin(wal, 10, 9), KV_OK);
    rng_seed(&rng, 3, 0);
    for (size_t at = WAL_FIRST; at < bytes; at += 8) {
        uint64_t word = rng_u64(&rng) & UINT64_C(0x00ffffff00ffffff); /* as a length, one that may be */
        memcpy(wal->map + at, &word, 8);
    }
    assert_true(wal_durable_behind(wal) == 0);
    /* And a group that is one is found there. */
    memcpy(wal->map + (16 << 20), &group, sizeof group);
    group.sum = XXH3_64bits_withSeed(wal->map + (16 << 20) + sizeof group.sum, wal_group_bytes(group.bytes) - sizeof group.sum,
                                     wal->salt + (16 << 20));
    memcpy(wal->map + (16 << 20), &group, sizeof group);
    assert_true(wal_durable_behind(wal) == 12);
    assert_false(wal_group_at(wal, 10, &got, &writes));
    wal_free(wal);
    snprintf(path, sizeof path, "%s/%s", dir, wal_name(name, 1));
    assert_int_equal(unlink(path) | rmdir(dir), 0);
}

/* ---- A ring that fails. ---- */

#ifdef ASSAY_LIBURING
static int ring_fails, ring_calls;

/* The linker turns the calls of this program into this one. */
int __real_io_uring_submit_and_wait(struct io_uring *ring, unsigned wait);
int __wrap_io_uring_submit_and_wait(struct io_uring *ring, unsigned wait);

int __wrap_io_uring_submit_and_wait(struct io_uring *ring, unsigned wait)
{
    ring_calls++;
    if (!ring_fails)
        return __real_io_uring_submit_and_wait(ring, wait);
    io_uring_submit(ring); /* the kernel has them, and yet the call fails */
    return -EIO;
}

static void *write_later(void *path)
{
    int fd = open(path, O_WRONLY);

    usleep(100000);
    return (void *)(intptr_t)(write(fd, "late", 4) == 4 && close(fd) == 0);
}

static void is_done(void *arg, size_t number)
{
    (void)number;
    ++*(int *)arg;
}

/* A pipe cannot be read plainly, at an offset: what comes out of it the ring has read, after all. */
static void a_ring_that_fails_is_waited_for(void **state)
{
    char            dir[256], path[300], data[8] = "";
    const char     *base = getenv("TMPDIR");
    struct files    files;
    struct reopened file;
    struct reads   *reads = reads_open(READS_RING);
    struct read     read = {.file = &file, .data = data, .bytes = 4};
    pthread_t       writer;
    void           *written;
    int             ended = 0, held;

    (void)state;
    snprintf(dir, sizeof dir, "%s/assay-parts.XXXXXX", base && *base ? base : "/tmp");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/pipe", dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    assert_true((held = open(path, O_RDWR)) >= 0);
    files_init(&files, 8);
    assert_int_equal(reopened_open(&file, &files, dir, "pipe"), KV_OK);
    assert_int_equal(pthread_create(&writer, NULL, write_later, path), 0);
    ring_fails = 1;
    ring_calls = 0;
    reads_run(reads, &read, 1, is_done, &ended);
    ring_fails = 0;
    pthread_join(writer, &written);
    assert_non_null(written);
    assert_int_equal(ended, 1);
    assert_int_equal(file.pins, 0);
    if (ring_calls) { /* else there are no rings here */
        assert_int_equal(read.status, KV_OK);
        assert_memory_equal(data, "late", 4);
    }
    reopened_close(&file);
    files_destroy(&files);
    reads_close(reads);
    close(held);
    assert_int_equal(unlink(path) | rmdir(dir), 0);
    if (!ring_calls)
        skip();
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
#ifdef ASSAY_LIBURING
        cmocka_unit_test(a_ring_that_fails_is_waited_for),
#endif
        cmocka_unit_test(pieces_hold_what_was_asked_for_and_do_not_overlap),
        cmocka_unit_test(an_empty_slab_serves_any_size),
        cmocka_unit_test(the_memory_of_large_pieces_goes_back),
        cmocka_unit_test(a_reader_that_stays_inside_does_not_make_the_cache_grow),
        cmocka_unit_test(a_varint_is_read_back_and_a_cut_one_is_not),
        cmocka_unit_test(a_header_of_an_earlier_life_is_no_log),
        cmocka_unit_test(what_lies_behind_the_end_is_passed_over_at_once),
    };
    return cmocka_run_group_tests_name("lsm parts", tests, NULL, NULL);
}
