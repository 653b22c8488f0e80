/* t_state.c -- states of traces written by hand, the rules of profiles that choose by seed, and traces as files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/commands.h"
#include "common/fail.h"
#include "common/rng.h"
#include "crashtest/state.h"
#include "crashtest/tree.h"

#define PAGE 4096

static char          root[200], base[256], out[256], file[256];
static struct trace *trace;
static uint32_t      next_file;

/* ---- Traces by hand.  Each returns the number of the record. ---- */

static uint64_t add_names(enum trace_kind kind, uint32_t id, uint32_t dir, const char *name, uint32_t dir2, const char *name2)
{
    size_t               bytes = strlen(name), bytes2 = name2 ? strlen(name2) : 0;
    struct trace_record *rec = trace_begin(trace, kind, bytes + 1 + (name2 ? bytes2 + 1 : 0));

    assert_non_null(rec);
    rec->file = id;
    rec->dir = dir;
    rec->dir2 = dir2;
    rec->name_bytes = (uint16_t)bytes;
    rec->name2_bytes = (uint16_t)bytes2;
    memcpy(rec->payload, name, bytes + 1);
    if (name2)
        memcpy(rec->payload + bytes + 1, name2, bytes2 + 1);
    trace_end(trace, rec);
    return trace->count - 1;
}

static uint32_t add_file(const char *name)
{
    add_names(TRACE_CREATE, ++next_file, TRACE_ROOT, name, 0, NULL);
    return next_file;
}

static uint64_t add_write(uint32_t id, uint64_t offset, char fill, uint64_t length)
{
    struct trace_record *rec = trace_begin(trace, TRACE_WRITE, length);

    assert_non_null(rec);
    rec->file = id;
    rec->offset = offset;
    rec->length = length;
    memset(rec->payload, fill, length);
    trace_end(trace, rec);
    return trace->count - 1;
}

static uint64_t add(enum trace_kind kind, uint32_t id, uint64_t offset, uint64_t length, unsigned flags)
{
    struct trace_record *rec = trace_begin(trace, kind, 0);

    assert_non_null(rec);
    rec->file = id;
    rec->offset = offset;
    rec->length = length;
    rec->flags = (uint8_t)flags;
    if (kind == TRACE_SYNC || kind == TRACE_SYNC_ALL)
        rec->covers = (uint32_t)trace->count;
    trace_end(trace, rec);
    return trace->count - 1;
}

static void add_sync(uint32_t id)
{
    add(TRACE_SYNC, id, 0, UINT64_MAX, 0);
}

static int fresh(void **unused)
{
    (void)unused;
    trace_reset(trace);
    next_file = TRACE_ROOT;
    return tree_remove(base) && mkdir(base, 0755) == 0 ? 0 : -1;
}

/* ---- Looking at an image. ---- */

static void build(const char *profile, uint64_t seed)
{
    assert_true(tree_remove(out));
    if (!trace_settle(trace) || !state_build(trace, trace->count, disk_profile_find(profile), seed, base, out))
        fail_msg("%s", fail_text());
}

static off_t bytes_of(const char *name) /* -1: not there */
{
    char        path[600];
    struct stat st;

    snprintf(path, sizeof path, "%s/%s", out, name);
    return stat(path, &st) == 0 ? st.st_size : -1;
}

static int byte_at(const char *name, off_t offset)
{
    char          path[600];
    unsigned char byte = 0;
    int           fd;

    snprintf(path, sizeof path, "%s/%s", out, name);
    fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    assert_int_equal(pread(fd, &byte, 1, offset), 1);
    close(fd);
    return byte;
}

#define TEST(name) static void name(void **unused_)
#define BODY       (void)unused_

/* ---- Profiles that choose. ---- */

TEST(within_a_page_a_later_write_never_survives_an_earlier_one)
{
    bool seen[8] = {false};

    BODY;
    uint32_t id = add_file("x");
    add_write(id, 0, '0', PAGE);
    add_sync(id);
    add_sync(TRACE_ROOT);
    add_write(id, 10, 'a', 1);
    add_write(id, 20, 'b', 1);
    add_write(id, 30, 'c', 1);
    for (uint64_t seed = 0; seed < 200; seed++) {
        bool a, b, c;

        build("posix-minimal", seed);
        a = byte_at("x", 10) == 'a';
        b = byte_at("x", 20) == 'b';
        c = byte_at("x", 30) == 'c';
        assert_true((!b || a) && (!c || b));
        seen[a + b + c] = true;
    }
    assert_true(seen[0] && seen[1] && seen[2] && seen[3]);
}

TEST(different_pages_are_free_of_each_other)
{
    bool seen[4] = {false};

    BODY;
    uint32_t id = add_file("x");
    add_write(id, 0, '0', 2 * PAGE);
    add_sync(id);
    add_sync(TRACE_ROOT);
    add_write(id, 0, 'a', 2 * PAGE);
    for (uint64_t seed = 0; seed < 200; seed++) {
        build("posix-minimal", seed);
        seen[2 * (byte_at("x", 0) == 'a') + (byte_at("x", PAGE) == 'a')] = true;
    }
    assert_true(seen[0] && seen[1] && seen[2] && seen[3]);
}

TEST(a_torn_disk_splits_a_page_at_sectors)
{
    int torn = 0;

    BODY;
    uint32_t id = add_file("x");
    add_write(id, 0, '0', PAGE);
    add_sync(id);
    add_sync(TRACE_ROOT);
    add_write(id, 0, 'a', PAGE);
    for (uint64_t seed = 0; seed < 100; seed++) {
        int news = 0;

        build("torn", seed);
        for (off_t at = 0; at < PAGE; at += 512) {
            assert_int_equal(byte_at("x", at), byte_at("x", at + 511));
            news += byte_at("x", at) == 'a';
        }
        torn += news > 0 && news < 8;
    }
    assert_true(torn > 10);
}

TEST(what_was_synced_survives_every_choice)
{
    BODY;
    uint32_t id = add_file("x");
    add_write(id, 0, 'a', 3 * PAGE);
    add_sync(id);
    add_sync(TRACE_ROOT);
    add_write(id, PAGE, 'b', 5 * PAGE);
    add_names(TRACE_UNLINK, add_file("y"), TRACE_ROOT, "y", 0, NULL);
    for (const struct disk_profile *profile = disk_profiles; profile->name; profile++) {
        for (uint64_t seed = 0; seed < 50; seed++) {
            build(profile->name, seed);
            assert_true(bytes_of("x") >= 3 * PAGE);
            assert_int_equal(byte_at("x", 0), 'a');
            assert_true(byte_at("x", 2 * PAGE) != 0);
        }
    }
}

TEST(on_ext4_names_survive_in_their_order)
{
    bool seen[4] = {false};

    BODY;
    add_file("a");
    add_file("b");
    add_names(TRACE_RENAME, 2, TRACE_ROOT, "a", TRACE_ROOT, "c");
    for (uint64_t seed = 0; seed < 100; seed++) {
        bool a, b, c;

        build("ext4", seed);
        a = bytes_of("a") >= 0;
        b = bytes_of("b") >= 0;
        c = bytes_of("c") >= 0;
        assert_false(a && c);
        assert_true(!b || a || c);
        assert_true(!c || b);
        seen[a + b + c] = true;
    }
    assert_true(seen[0] && seen[1] && seen[2]);
}

TEST(on_posix_names_survive_in_any_order)
{
    bool only_second = false;

    BODY;
    add_file("a");
    add_file("b");
    for (uint64_t seed = 0; seed < 100; seed++) {
        build("posix-minimal", seed);
        only_second |= bytes_of("b") >= 0 && bytes_of("a") < 0;
    }
    assert_true(only_second);
}

TEST(on_ext4_a_sync_of_one_file_keeps_the_names_of_all)
{
    BODY;
    uint32_t a = add_file("a"), b = add_file("b");
    add_write(a, 0, 'a', 10);
    add_write(b, 0, 'b', 10);
    add_sync(b);
    build("drop-unsynced-ext4", 0);
    assert_int_equal(bytes_of("a"), 0); /* its name, not its bytes */
    assert_int_equal(bytes_of("b"), 10);
    build("drop-unsynced", 0);
    assert_int_equal(bytes_of("a"), -1);
    assert_int_equal(bytes_of("b"), -1);
}

TEST(on_ext4_an_fdatasync_of_an_overwrite_commits_nothing_else)
{
    BODY;
    uint32_t a = add_file("a");
    add_write(a, 0, 'a', PAGE);
    add_sync(a);
    add_file("b");
    add_write(a, 0, 'A', 10);
    add(TRACE_SYNC, a, 0, UINT64_MAX, TRACE_DATA);
    build("drop-unsynced-ext4", 0);
    assert_int_equal(byte_at("a", 0), 'A');
    assert_int_equal(bytes_of("b"), -1);
}

TEST(on_ext4_a_size_never_runs_ahead_of_its_last_page)
{
    BODY;
    uint32_t id = add_file("x");
    add_sync(id);
    for (int i = 0; i < 4; i++)
        add_write(id, (uint64_t)i * PAGE, 'a', PAGE);
    for (uint64_t seed = 0; seed < 100; seed++) {
        off_t bytes;

        build("ext4", seed);
        bytes = bytes_of("x");
        assert_true(bytes == 0 || byte_at("x", bytes - 1) == 'a');
    }
}

TEST(a_later_change_of_a_name_implies_the_earlier_ones)
{
    BODY;
    /* a is created, renamed away across directories, and created anew; the second creation is durable */
    uint32_t a = add_file("a");
    add_names(TRACE_MKDIR, ++next_file, TRACE_ROOT, "d", 0, NULL);
    uint32_t d = next_file;
    add_names(TRACE_RENAME, a, TRACE_ROOT, "a", d, "a");
    uint32_t again = add_file("a");
    add_write(again, 0, 'n', 5);
    add_sync(again);
    add_sync(TRACE_ROOT);
    build("drop-unsynced", 0);
    assert_int_equal(bytes_of("a"), 5);
    assert_int_equal(bytes_of("d/a"), 0); /* a rename is whole */
}

TEST(low_seeds_lose_and_keep_each_pending_thing_alone)
{
    bool lost[5] = {false}, kept[5] = {false};

    BODY;
    char name[2] = "a";
    for (int i = 0; i < 5; i++, name[0]++)
        add_file(name);
    for (uint64_t seed = 0; seed < 4 * 5; seed++) {
        int there = 0, which_there = 0, which_gone = 0;

        build("posix-minimal", seed);
        name[0] = 'a';
        for (int i = 0; i < 5; i++, name[0]++) {
            if (bytes_of(name) >= 0)
                there++, which_there = i;
            else
                which_gone = i;
        }
        if (there == 1)
            kept[which_there] = true;
        if (there == 4)
            lost[which_gone] = true;
    }
    for (int i = 0; i < 5; i++)
        assert_true(lost[i] && kept[i]);
}

TEST(a_later_change_of_the_new_name_implies_the_rename)
{
    BODY;
    uint32_t a = add_file("a");
    add_sync(TRACE_ROOT);
    add_names(TRACE_MKDIR, ++next_file, TRACE_ROOT, "d", 0, NULL);
    uint32_t d = next_file;
    add_sync(TRACE_ROOT);
    add_names(TRACE_RENAME, a, TRACE_ROOT, "a", d, "b");
    add_names(TRACE_UNLINK, a, d, "b", 0, NULL);
    add_sync(d); /* the unlink is durable, so the rename before it was */
    build("drop-unsynced", 0);
    assert_int_equal(bytes_of("a"), -1);
    assert_int_equal(bytes_of("d/b"), -1);
}

TEST(what_a_failed_sync_gave_up_no_later_sync_brings_back)
{
    BODY;
    uint32_t id = add_file("x");
    add_sync(TRACE_ROOT);
    add_write(id, 0, 'a', PAGE);
    add_sync(id);
    add_write(id, PAGE, 'b', PAGE);
    add_write(id, 2 * PAGE, 'c', PAGE);
    add(TRACE_SYNC, id, 0, UINT64_MAX, TRACE_FAILED);
    add_write(id, 2 * PAGE + 5, 'd', 1); /* this page is dirty again, and goes as a whole */
    add_write(id, 3 * PAGE, 'e', PAGE);
    add_sync(id);
    build("drop-unsynced", 0);
    assert_int_equal(bytes_of("x"), 4 * PAGE);
    assert_int_equal(byte_at("x", 0), 'a');
    assert_int_equal(byte_at("x", PAGE), 0);
    assert_int_equal(byte_at("x", 2 * PAGE), 'c');
    assert_int_equal(byte_at("x", 2 * PAGE + 5), 'd');
    assert_int_equal(byte_at("x", 3 * PAGE), 'e');
    build("data-first", 0);
    assert_int_equal(byte_at("x", PAGE), 0);
    build("kill", 0); /* the cache still has it */
    assert_int_equal(byte_at("x", PAGE), 'b');
}

/* ---- Prefixes, cuts, hashes. ---- */

TEST(a_cut_write_survives_a_kill_in_part)
{
    const struct disk_profile *kill_profile = disk_profile_find("kill"), *drop = disk_profile_find("drop-unsynced");
    struct state              *state;

    BODY;
    uint32_t id = add_file("x");
    add_sync(TRACE_ROOT);
    uint64_t write = add_write(id, 0, 'a', 100);
    assert_true(trace_settle(trace));
    assert_true(tree_remove(out));
    state = state_make(trace, write, 37, kill_profile, 0, base);
    assert_non_null(state);
    assert_true(state_write(state, out));
    assert_int_equal(bytes_of("x"), 37);
    state_free(state);
    assert_true(tree_remove(out));
    state = state_make(trace, write, 37, drop, 0, base);
    assert_non_null(state);
    assert_true(state_write(state, out));
    assert_int_equal(bytes_of("x"), 0);
    state_free(state);
}

TEST(equal_states_have_equal_hashes_and_others_do_not)
{
    uint64_t hash[8];

    BODY;
    uint32_t id = add_file("x");
    add_sync(TRACE_ROOT);
    add_write(id, 0, 'a', 100);
    add_sync(id);
    add(TRACE_MARK, 1, 2, 3, 0);
    add(TRACE_TRUNCATE, id, 0, 50, 0);
    add_sync(id);
    assert_true(trace_settle(trace));
    for (uint64_t upto = 0; upto <= 7; upto++) {
        struct state *state = state_make(trace, upto, 0, disk_profile_find("drop-unsynced"), 0, base);

        assert_non_null(state);
        hash[upto] = state_hash(state);
        state_free(state);
    }
    assert_int_equal(hash[0], hash[1]); /* a name without its directory */
    assert_int_not_equal(hash[1], hash[2]);
    assert_int_equal(hash[2], hash[3]);
    assert_int_not_equal(hash[3], hash[4]);
    assert_int_equal(hash[4], hash[5]);
    assert_int_equal(hash[5], hash[6]);
    assert_int_not_equal(hash[6], hash[7]);
}

TEST(a_base_that_is_not_the_recorded_one_is_refused)
{
    struct trace_record *rec;
    char                 path[300];
    FILE                *stream;

    BODY;
    rec = trace_begin(trace, TRACE_CREATE, 2);
    rec->file = ++next_file;
    rec->dir = TRACE_ROOT;
    rec->flags = TRACE_BASE;
    rec->length = 10;
    rec->name_bytes = 1;
    memcpy(rec->payload, "x", 2);
    trace_end(trace, rec);
    assert_true(trace_settle(trace));
    assert_true(tree_remove(out));
    assert_false(state_build(trace, 1, disk_profiles, 0, base, out));
    snprintf(path, sizeof path, "%s/x", base);
    stream = fopen(path, "w");
    assert_non_null(stream);
    fputs("too short", stream);
    fclose(stream);
    assert_true(tree_remove(out));
    assert_false(state_build(trace, 1, disk_profiles, 0, base, out));
    assert_non_null(strstr(fail_text(), "9 bytes, had 10"));
}

/* ---- Traces as files. ---- */

static void add_some(void)
{
    uint32_t id = add_file("x");

    add_write(id, 0, 'a', 1000);
    add(TRACE_ALLOCATE, id, 0, 3 * PAGE, 0);
    add(TRACE_ZERO, id, 100, 200, 0);
    add_sync(id);
    add_names(TRACE_MKDIR, ++next_file, TRACE_ROOT, "d", 0, NULL);
    add_names(TRACE_RENAME, id, TRACE_ROOT, "x", next_file, "y");
    add_names(TRACE_SYMLINK, ++next_file, TRACE_ROOT, "s", 0, "d/y");
    add(TRACE_MARK, 9, 1, 2, 0);
    add(TRACE_SYNC_ALL, 0, 0, UINT64_MAX, 0);
    add_names(TRACE_NOTE, 0, 0, "a call", 0, NULL);
}

TEST(a_saved_trace_loads_as_it_was)
{
    struct trace *loaded;

    BODY;
    add_some();
    assert_true(trace_settle(trace));
    assert_true(trace_save(trace, file));
    loaded = trace_load(file);
    assert_non_null(loaded);
    assert_int_equal(loaded->count, trace->count);
    assert_int_equal(loaded->used_bytes, trace->used_bytes);
    assert_memory_equal(loaded + 1, trace + 1, trace->used_bytes);
    trace_destroy(loaded);
}

TEST(a_damaged_trace_file_is_refused)
{
    struct stat st;
    int         fd;

    BODY;
    add_some();
    assert_true(trace_settle(trace) && trace_save(trace, file));
    assert_int_equal(stat(file, &st), 0);
    fd = open(file, O_RDWR);
    for (off_t at = 0; at < st.st_size; at += 7) {
        unsigned char was, now;

        assert_int_equal(pread(fd, &was, 1, at), 1);
        now = was ^ 0x20;
        assert_int_equal(pwrite(fd, &now, 1, at), 1);
        assert_null(trace_load(file));
        assert_int_equal(pwrite(fd, &was, 1, at), 1);
    }
    for (off_t bytes = st.st_size - 1; bytes > 0; bytes -= 13) {
        assert_int_equal(ftruncate(fd, bytes), 0);
        assert_null(trace_load(file));
    }
    close(fd);
}

/* A trace that a wild child scribbled over has no checksum to save it: whatever settles must also build and print. */
TEST(no_scribble_over_a_trace_leads_astray)
{
    struct rng rng;
    char      *records = (char *)(trace + 1);
    FILE      *nowhere = fopen("/dev/null", "w");
    int        settled = 0;

    BODY;
    rng_seed(&rng, 1, 1);
    for (int round = 0; round < 20000; round++) {
        trace_reset(trace);
        next_file = TRACE_ROOT;
        add_some();
        for (uint64_t n = 1 + rng_below(&rng, 3); n > 0; n--)
            records[rng_below(&rng, trace->used_bytes)] = (char)(rng_below(&rng, 4) ? rng_below(&rng, 8) : rng_u64(&rng));
        if (!trace_settle(trace))
            continue;
        settled++;
        if (settled % 20)
            continue;
        trace_print(nowhere, trace, 0, trace->count);
        for (const struct disk_profile *profile = disk_profiles; profile->name; profile++) {
            struct state *state = state_make(trace, rng_below(&rng, trace->count + 2), rng_below(&rng, 9), profile, 1, base);

            if (state)
                state_hash(state);
            state_free(state);
        }
    }
    fclose(nowhere);
    assert_true(settled > 100);
}

TEST(a_printed_trace_names_its_files)
{
    char  *text = NULL;
    size_t bytes = 0;
    FILE  *stream = open_memstream(&text, &bytes);

    BODY;
    add_some();
    assert_true(trace_settle(trace));
    trace_print(stream, trace, 0, trace->count);
    fclose(stream);
    assert_non_null(strstr(text, "create x\n"));
    assert_non_null(strstr(text, "write x at 0, 1000 bytes\n"));
    assert_non_null(strstr(text, "rename x to d/y\n"));
    assert_non_null(strstr(text, "symlink s -> d/y\n"));
    free(text);
}

/* Its output goes nowhere: stdout is the test's own. */
static int dumped(const char *path)
{
    int own, nowhere = open("/dev/null", O_WRONLY), code;

    fflush(stdout);
    own = dup(STDOUT_FILENO);
    assert_true(own >= 0 && dup2(nowhere, STDOUT_FILENO) >= 0);
    code = dump_trace(path);
    assert_true(dup2(own, STDOUT_FILENO) >= 0);
    close(own);
    close(nowhere);
    return code;
}

TEST(a_dump_knows_traces_and_tells_a_cut_one)
{
    BODY;
    add_some();
    assert_true(trace_settle(trace) && trace_save(trace, file));
    assert_int_equal(dumped(file), 0);
    assert_int_equal(truncate(file, 700), 0);
    assert_int_equal(dumped(file), 1);
    assert_int_equal(truncate(file, 5), 0);
    assert_int_equal(dumped(file), -1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup(name, fresh)
        T(within_a_page_a_later_write_never_survives_an_earlier_one),
        T(different_pages_are_free_of_each_other),
        T(a_torn_disk_splits_a_page_at_sectors),
        T(what_was_synced_survives_every_choice),
        T(on_ext4_names_survive_in_their_order),
        T(on_posix_names_survive_in_any_order),
        T(on_ext4_a_sync_of_one_file_keeps_the_names_of_all),
        T(on_ext4_an_fdatasync_of_an_overwrite_commits_nothing_else),
        T(on_ext4_a_size_never_runs_ahead_of_its_last_page),
        T(a_later_change_of_a_name_implies_the_earlier_ones),
        T(a_later_change_of_the_new_name_implies_the_rename),
        T(what_a_failed_sync_gave_up_no_later_sync_brings_back),
        T(low_seeds_lose_and_keep_each_pending_thing_alone),
        T(a_cut_write_survives_a_kill_in_part),
        T(equal_states_have_equal_hashes_and_others_do_not),
        T(a_base_that_is_not_the_recorded_one_is_refused),
        T(a_saved_trace_loads_as_it_was),
        T(a_damaged_trace_file_is_refused),
        T(no_scribble_over_a_trace_leads_astray),
        T(a_printed_trace_names_its_files),
        T(a_dump_knows_traces_and_tells_a_cut_one),
#undef T
    };
    const char *tmp = getenv("TMPDIR");
    int         failed;

    snprintf(root, sizeof root, "%s/t_state-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(root))
        return 1;
    snprintf(base, sizeof base, "%s/base", root);
    snprintf(out, sizeof out, "%s/out", root);
    snprintf(file, sizeof file, "%s/trace", root);
    trace = trace_create(1 << 24);
    failed = trace ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
    trace_destroy(trace);
    tree_remove(root);
    return failed;
}
