/*
 * t_recorder.c -- children do a few calls under the recorder; what a crash may leave of them is known beforehand.
 */
#include "tests/recorder_util.h"

/* ---- Names. ---- */

static void do_unsynced(void) { put_file("x", "hello"); }

TEST(an_unsynced_file_is_gone)
{
    BODY;
    live(do_unsynced);
    is_gone("x");
}

static void do_synced_without_directory(void) { put_synced("x", "hello"); }

TEST(a_synced_new_file_is_gone_without_its_directory)
{
    BODY;
    live(do_synced_without_directory);
    is_gone("x");
    image("drop-unsynced-ext4");
    holds("x", "hello");
}

static void do_synced_with_directory(void)
{
    put_synced("x", "hello");
    sync_dir(".");
}

TEST(a_synced_file_in_a_synced_directory_stays)
{
    BODY;
    live(do_synced_with_directory);
    holds("x", "hello");
}

static void do_directory_only(void)
{
    put_file("x", "hello");
    sync_dir(".");
}

TEST(a_synced_directory_keeps_names_and_no_bytes)
{
    BODY;
    live(do_directory_only);
    holds("x", "");
}

static void do_sync_all(void)
{
    int fd;

    put_file("x", "hello");
    fd = opened(".", O_RDONLY);
    must(syncfs(fd) == 0);
    sync();
    put_file("y", "hello");
    close(fd);
}

TEST(a_sync_of_everything_keeps_everything)
{
    BODY;
    live(do_sync_all);
    holds("x", "hello");
    is_gone("y");
}

static void do_directory_too_early(void)
{
    sync_dir(".");
    put_synced("x", "hello");
}

TEST(a_sync_covers_nothing_that_comes_after_it)
{
    BODY;
    live(do_directory_too_early);
    is_gone("x");
}

static void do_unlink(void)
{
    must(unlink("x") == 0);
}

TEST(an_unlink_comes_back_until_the_directory_is_synced)
{
    BODY;
    base_file("x", "old");
    live(do_unlink);
    holds("x", "old");
    image("names-first");
    is_gone("x");
}

static void do_unlink_synced(void)
{
    must(unlink("x") == 0);
    sync_dir(".");
}

TEST(a_synced_unlink_stays)
{
    BODY;
    base_file("x", "old");
    live(do_unlink_synced);
    is_gone("x");
}

static void do_rename(void)
{
    put_synced("x.new", "new");
    must(rename("x.new", "x") == 0);
}

TEST(a_rename_without_directory_sync_leaves_the_old_content)
{
    BODY;
    base_file("x", "old");
    live(do_rename);
    holds("x", "old");
    is_gone("x.new");
}

static void do_rename_synced(void)
{
    do_rename();
    sync_dir(".");
}

TEST(a_rename_over_a_file_is_whole_after_the_directory_sync)
{
    BODY;
    base_file("x", "old");
    live(do_rename_synced);
    holds("x", "new");
    is_gone("x.new");
}

static void do_rename_unsynced_file(void)
{
    put_file("x.new", "new");
    must(rename("x.new", "x") == 0);
    sync_dir(".");
}

TEST(a_rename_before_the_sync_of_the_file_leaves_an_empty_file)
{
    BODY;
    base_file("x", "old");
    live(do_rename_unsynced_file);
    holds("x", "");
}

static void do_rename_across(void)
{
    must(mkdir("a", 0755) == 0 && mkdir("b", 0755) == 0);
    put_synced("a/x", "moved");
    sync_dir("a");
    sync_dir(".");
    must(rename("a/x", "b/x") == 0);
    sync_dir("b");
}

TEST(a_rename_across_directories_needs_both)
{
    BODY;
    live(do_rename_across);
    holds("a/x", "moved");
    is_gone("b/x");
}

static void do_rename_across_both(void)
{
    do_rename_across();
    sync_dir("a");
}

TEST(a_rename_across_directories_is_there_after_both_syncs)
{
    BODY;
    live(do_rename_across_both);
    holds("b/x", "moved");
    is_gone("a/x");
}

static void do_mkdir(void)
{
    must(mkdir("d", 0755) == 0);
    put_synced("d/x", "hello");
    sync_dir("d");
}

TEST(a_directory_that_its_parent_does_not_know_is_gone_with_all_in_it)
{
    BODY;
    live(do_mkdir);
    is_gone("d");
}

static void do_mkdir_synced(void)
{
    do_mkdir();
    sync_dir(".");
    must(rename("d", "e") == 0);
    put_synced("e/y", "2");
    sync_dir("e");
}

TEST(a_renamed_directory_keeps_its_content_under_its_durable_name)
{
    BODY;
    live(do_mkdir_synced);
    holds("d/x", "hello");
    holds("d/y", "2");
    is_gone("e");
}

static void do_link(void)
{
    put_synced("x", "one");
    must(link("x", "y") == 0);
    sync_dir(".");
    must(unlink("x") == 0);
    sync_dir(".");
    int fd = opened("y", O_WRONLY | O_APPEND);
    wrote(fd, " two");
    must(fdatasync(fd) == 0);
    wrote(fd, " three");
    close(fd);
}

TEST(a_hard_link_is_the_same_file)
{
    BODY;
    live(do_link);
    holds("y", "one two");
    is_gone("x");
}

static void do_reuse_of_inodes(void)
{
    for (int i = 0; i < 20; i++) {
        put_synced("x", "first");
        must(unlink("x") == 0);
        put_file("y", "second");
        must(unlink("y") == 0);
    }
    put_file("x", "last");
    sync_dir(".");
}

TEST(a_new_file_with_an_old_inode_number_is_a_new_file)
{
    BODY;
    live(do_reuse_of_inodes);
    holds("x", "");
}

static void do_outside(void)
{
    for (int i = 0; i < 20; i++) {
        put_file("x", "in");
        must(unlink("x") == 0);
        put_file("../outside", "out"); /* often the inode that x had */
        must(unlink("../outside") == 0);
    }
}

TEST(a_file_outside_with_the_inode_number_of_one_inside_stays_outside)
{
    BODY;
    live(do_outside);
    assert_int_equal(trace->calls, 20 * 3);
}

static void do_symlink(void)
{
    must(symlink("x", "points") == 0);
    put_synced("x", "target");
    int fd = opened("points", O_WRONLY | O_APPEND); /* through the link, to x */
    wrote(fd, "+");
    must(fsync(fd) == 0);
    close(fd);
    sync_dir(".");
}

TEST(a_write_through_a_symbolic_link_belongs_to_its_target)
{
    BODY;
    live(do_symlink);
    holds("x", "target+");
}

static void do_exchange(void)
{
    must(renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_EXCHANGE) == 0);
    sync_dir(".");
}

TEST(an_exchange_swaps_two_names)
{
    BODY;
    base_file("a", "A");
    base_file("b", "B");
    live(do_exchange);
    holds("a", "B");
    holds("b", "A");
}

static void do_nameless(void)
{
    char path[64];
    int  fd = opened(".", O_TMPFILE | O_RDWR);

    wrote(fd, "nameless");
    must(fsync(fd) == 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    must(linkat(AT_FDCWD, path, AT_FDCWD, "x", AT_SYMLINK_FOLLOW) == 0);
    close(fd);
    sync_dir(".");
}

TEST(a_nameless_file_gets_its_name_by_link)
{
    BODY;
    live(do_nameless);
    holds("x", "nameless");
}

/* ---- Bytes. ---- */

static void do_append(void)
{
    int fd = opened("x", O_WRONLY | O_APPEND);

    wrote(fd, " more");
    must(fsync(fd) == 0);
    wrote(fd, " lost");
    close(fd);
}

TEST(an_append_after_the_sync_is_lost_with_its_size)
{
    BODY;
    base_file("x", "old");
    live(do_append);
    holds("x", "old more");
    image("sizes-first");
    has_bytes("x", 13);
}

static void do_overwrite(void)
{
    int fd = opened("x", O_RDWR);

    must(pwrite(fd, "NEW", 3, 4) == 3);
    close(fd);
}

TEST(an_unsynced_overwrite_leaves_the_old_bytes)
{
    BODY;
    base_file("x", "old old old");
    live(do_overwrite);
    holds("x", "old old old");
}

static void do_truncate_at_open(void)
{
    put_file("x", "new");
}

TEST(an_unsynced_truncation_leaves_the_old_file)
{
    BODY;
    base_file("x", "old old old");
    live(do_truncate_at_open);
    holds("x", "old old old");
}

static void do_ftruncate(void)
{
    int fd = opened("x", O_RDWR);

    must(ftruncate(fd, 3) == 0);
    must(pwrite(fd, "!", 1, 6) == 1);
    must(fdatasync(fd) == 0);
    must(ftruncate(fd, 0) == 0);
    must(truncate("x", 9) == 0);
    close(fd);
}

TEST(a_synced_truncation_zeroes_what_it_cut_off)
{
    char *found;

    BODY;
    base_file("x", "old old old");
    live(do_ftruncate);
    has_bytes("x", 7);
    found = content_at(out, "x");
    assert_memory_equal(found, "old\0\0\0!", 7);
}

static void do_dsync(void)
{
    int fd = opened("x", O_RDWR), own = opened("x", O_RDWR | O_DSYNC);

    must(fcntl(own, F_GETFL) & O_DSYNC);
    must(pwrite(fd, "1", 1, 0) == 1);
    must(pwrite(own, "2", 1, PAGE) == 1);
    must(pwrite(fd, "3", 1, 2 * PAGE) == 1);
    must(pwritev2(fd, &(struct iovec){"4", 1}, 1, 3 * PAGE, RWF_DSYNC) == 1);
    close(fd);
    close(own);
}

TEST(a_write_through_o_dsync_is_its_own_sync_and_no_other_ones)
{
    char *found;

    BODY;
    base_file("x", "old");
    live(do_dsync);
    has_bytes("x", 3 * PAGE + 1);
    found = content_at(out, "x");
    assert_memory_equal(found, "old", 3);
    assert_int_equal(found[PAGE], '2');
    assert_int_equal(found[2 * PAGE], 0);
    assert_int_equal(found[3 * PAGE], '4');
}

static void do_every_write(void)
{
    int          fd = opened("x", O_RDWR | O_CREAT), copy = dup(fd), appends;
    struct iovec two[] = {{"ab", 2}, {"cd", 2}};
    loff_t       at = 30;

    must(copy >= 0);
    wrote(fd, "01");
    wrote(copy, "23"); /* one position for both */
    must(writev(fd, two, 2) == 4);
    must(pwritev(copy, two, 2, 12) == 4);
    must(lseek(fd, 20, SEEK_SET) == 20);
    wrote(copy, "20");
    must(dup2(fd, 90) == 90);
    wrote(90, "22");
    appends = fcntl(fd, F_DUPFD_CLOEXEC, 95);
    must(appends >= 95 && fcntl(appends, F_SETFL, O_APPEND) == 0);
    close(90);
    close(fd);
    must(lseek(appends, 0, SEEK_SET) == 0);
    wrote(appends, "24");                      /* at the end */
    must(pwrite(appends, "26", 2, 0) == 2);    /* Linux: at the end, too */
    close(appends);
    close(copy);
    copy = opened("x", O_WRONLY);
    fd = opened("from", O_RDONLY);
    must(copy_file_range(fd, &(loff_t){0}, copy, &at, 3, 0) == 3);
    must(lseek(copy, 40, SEEK_SET) == 40);
    must(sendfile(copy, fd, &(off_t){1}, 2) == 2);
    close(fd);
    close(copy);
    must(syscall(SYS_pwrite64, opened("x", O_RDWR), "raw", 3L, 50L) == 3);
}

TEST(every_way_to_write_is_seen_at_its_place)
{
    BODY;
    base_file("from", "XYZ");
    needs_guard();
    live(do_every_write);
    assert_true(trace->trapped > 0); /* the raw system call */
}

static void do_fallocate(void)
{
    int fd = opened("x", O_RDWR | O_CREAT);

    must(posix_fallocate(fd, 0, 3 * PAGE) == 0);
    must(pwrite(fd, "data", 4, 0) == 4);
    must(fsync(fd) == 0);
    sync_dir(".");
    must(fallocate(fd, FALLOC_FL_KEEP_SIZE, 0, 100 * PAGE) == 0);
    must(fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, PAGE) == 0);
    must(posix_fallocate(fd, 0, 5 * PAGE) == 0);
}

TEST(a_preallocated_size_is_what_was_synced)
{
    BODY;
    live(do_fallocate);
    has_bytes("x", 3 * PAGE);
    holds("x", "data");
}

static void do_stdio(void)
{
    FILE *stream = fopen("log", "w");

    must(stream != NULL);
    for (int i = 0; i < 2000; i++)
        fprintf(stream, "line %d\n", i);
    must(fflush(stream) == 0 && fsync(fileno(stream)) == 0);
    fprintf(stream, "last\n");
    must(fclose(stream) == 0);
    sync_dir(".");
}

TEST(what_stdio_writes_inside_libc_is_caught)
{
    char *real;
    off_t bytes;

    BODY;
    needs_guard();
    live(do_stdio);
    assert_true(trace->guarded);
    assert_true(trace->trapped > 1);
    real = content_at(work, "log");
    assert_non_null(real);
    image("kill");
    bytes = 2000 * 6 + 10 + 90 * 2 + 900 * 3 + 1000 * 4;
    has_bytes("log", bytes + 5);
    image("drop-unsynced");
    has_bytes("log", bytes);
}

static void do_zeros(void)
{
    char *zeros = calloc(1, 64 * PAGE);
    int   fd = opened("x", O_RDWR);

    must(write(fd, zeros, 64 * PAGE) == 64 * PAGE);
    must(pwrite(fd, "x", 1, 5 * PAGE) == 1);
    must(pwrite(fd, zeros, 3 * PAGE, 5 * PAGE - 1) == 3 * PAGE);
    must(pwrite(fd, "y", 1, 60 * PAGE) == 1);
    must(fsync(fd) == 0);
    free(zeros);
}

TEST(zeros_need_no_room_in_the_trace)
{
    BODY;
    base_file("x", "what was there before the zeros");
    live(do_zeros);
    assert_true(trace->used_bytes < 1000);
    has_bytes("x", 64 * PAGE);
    holds("x", "");
}

/* ---- Mappings. ---- */

static void do_store_synced(void)
{
    int   fd = opened("x", O_RDWR);
    char *memory = mapped(fd, 3 * PAGE);

    memory[10] = 'a';
    must(fdatasync(fd) == 0);
    memory[PAGE] = 'b';
    must(msync(memory + PAGE, PAGE, MS_SYNC) == 0);
    memory[2 * PAGE] = 'c';
    must(msync(memory, 3 * PAGE, MS_ASYNC) == 0);
}

TEST(a_store_is_kept_by_the_sync_that_follows_it)
{
    char  text[3 * PAGE + 1];
    char *found;

    BODY;
    memset(text, '.', sizeof text);
    text[3 * PAGE] = '\0';
    base_file("x", text);
    live(do_store_synced);
    found = content_at(out, "x");
    assert_int_equal(found[10], 'a');
    assert_int_equal(found[PAGE], 'b');
    assert_int_equal(found[2 * PAGE], '.');
}

static void do_msync_short(void)
{
    int   fd = opened("x", O_RDWR | O_CREAT);
    char *memory;

    must(ftruncate(fd, 2 * PAGE) == 0 && fsync(fd) == 0);
    sync_dir(".");
    memory = mapped(fd, 2 * PAGE);
    close(fd);
    memory[0] = 'a';
    memory[PAGE] = 'b';
    must(msync(memory, PAGE, MS_SYNC) == 0);
    must(munmap(memory, 2 * PAGE) == 0);
}

TEST(an_msync_of_one_page_keeps_one_page)
{
    char *found;

    BODY;
    live(do_msync_short);
    has_bytes("x", 2 * PAGE);
    found = content_at(out, "x");
    assert_int_equal(found[0], 'a');
    assert_int_equal(found[PAGE], 0);
}

static void do_mix(void)
{
    int   fd = opened("x", O_RDWR | O_CREAT);
    char *memory;

    must(posix_fallocate(fd, 0, 8 * PAGE) == 0);
    memory = mapped(fd, 8 * PAGE);
    memory[1] = 'm';
    must(pwrite(fd, "w", 1, 2) == 1);
    memory[3 * PAGE] = 'm';
    must(ftruncate(fd, 2 * PAGE) == 0 && ftruncate(fd, 8 * PAGE) == 0);
    memory[3 * PAGE + 1] = 'n';
    must(munmap(memory + 4 * PAGE, 4 * PAGE) == 0);
    memory[0] = 'l';
}

TEST(stores_and_calls_mix)
{
    BODY;
    live(do_mix);
}

static void do_unmap(void)
{
    int   fd = opened("x", O_RDWR);
    char *memory = mapped(fd, PAGE);

    memory[1] = 'm';
    must(munmap(memory, PAGE) == 0);
    must(fsync(fd) == 0);
}

TEST(a_store_is_not_forgotten_when_its_mapping_goes)
{
    BODY;
    base_file("x", "old");
    live(do_unmap);
    holds("x", "omd");
}

/* ---- Engines. ---- */

static const struct kv_engine *engine;
static struct kv_durability    durability;

static void do_engine(void)
{
    struct kv_config   config;
    struct kv_store   *store;
    struct kv_session *session;
    char               value[600];

    kv_config_init(engine, &config);
    for (size_t i = 0; engine->options && engine->options[i].name; i++) {
        if (engine->options[i].small)
            must(kv_config_set(engine, &config, engine->options[i].name, engine->options[i].small) == KV_OK);
    }
    config.dir = "store";
    config.durability = durability;
    must(kv_open(engine, &config, &store) == KV_OK && kv_session_open(store, &session) == KV_OK);
    for (int i = 0; i < 300; i++) {
        char key[16];
        int  bytes = snprintf(key, sizeof key, "key %d", i % 41);

        memset(value, 'a' + i % 26, sizeof value);
        recorder()->mark(1, (uint64_t)i, 0);
        if (i % 5 == 4)
            must(kv_del(session, slice_of(key, (size_t)bytes)) == KV_OK);
        else
            must(kv_put(session, slice_of(key, (size_t)bytes), slice_of(value, (size_t)(i * 2))) == KV_OK);
    }
    must(kv_sync(session) == KV_OK);
    kv_session_close(session);
    must(kv_close(store) == KV_OK);
}

TEST(of_every_engine_nothing_is_missed_in_any_tier)
{
    BODY;
    for (size_t i = 0; kv_engines[i]; i++) {
        engine = kv_engines[i];
        for (int tier = 0; engine->can & KV_DURABLE && tier < KV_TIER_COUNT; tier++) {
            durability = (struct kv_durability){(enum kv_tier)tier, tier == KV_TIER_INTERVAL ? 1000000 : 0};
            if (!(engine->tiers & KV_TIER_BIT(tier)))
                continue;
            plan.flags = RECORDER_SKIP_SYNC | RECORDER_LOOK_AT_MARKS;
            live(do_engine);
            assert_true(trace->calls > 0);
        }
    }
}

RECORDER_MAIN(T(an_unsynced_file_is_gone),
              T(a_synced_new_file_is_gone_without_its_directory),
              T(a_synced_file_in_a_synced_directory_stays),
              T(a_synced_directory_keeps_names_and_no_bytes),
              T(a_sync_of_everything_keeps_everything),
              T(a_sync_covers_nothing_that_comes_after_it),
              T(an_unlink_comes_back_until_the_directory_is_synced),
              T(a_synced_unlink_stays),
              T(a_rename_without_directory_sync_leaves_the_old_content),
              T(a_rename_over_a_file_is_whole_after_the_directory_sync),
              T(a_rename_before_the_sync_of_the_file_leaves_an_empty_file),
              T(a_rename_across_directories_needs_both),
              T(a_rename_across_directories_is_there_after_both_syncs),
              T(a_directory_that_its_parent_does_not_know_is_gone_with_all_in_it),
              T(a_renamed_directory_keeps_its_content_under_its_durable_name),
              T(a_hard_link_is_the_same_file),
              T(a_new_file_with_an_old_inode_number_is_a_new_file),
              T(a_file_outside_with_the_inode_number_of_one_inside_stays_outside),
              T(a_write_through_a_symbolic_link_belongs_to_its_target),
              T(an_exchange_swaps_two_names),
              T(a_nameless_file_gets_its_name_by_link),
              T(an_append_after_the_sync_is_lost_with_its_size),
              T(an_unsynced_overwrite_leaves_the_old_bytes),
              T(an_unsynced_truncation_leaves_the_old_file),
              T(a_synced_truncation_zeroes_what_it_cut_off),
              T(a_write_through_o_dsync_is_its_own_sync_and_no_other_ones),
              T(every_way_to_write_is_seen_at_its_place),
              T(a_preallocated_size_is_what_was_synced),
              T(what_stdio_writes_inside_libc_is_caught),
              T(zeros_need_no_room_in_the_trace),
              T(a_store_is_kept_by_the_sync_that_follows_it),
              T(an_msync_of_one_page_keeps_one_page),
              T(stores_and_calls_mix),
              T(a_store_is_not_forgotten_when_its_mapping_goes),
              T(of_every_engine_nothing_is_missed_in_any_tier))
