/*
 * t_recorder.c -- children do a few calls under the recorder; what a crash may leave of them is known beforehand.
 *
 * After every life the image under `kill` must be the real directory, byte by byte: the recorder missed nothing.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/child.h"
#include "common/fail.h"
#include "crashtest/recorder.h"
#include "crashtest/state.h"
#include "crashtest/tree.h"
#include "engines/engine.h"

#define PAGE 4096

static char                 root[200], base[256], work[256], out[256];
static struct trace        *trace;
static struct recorder_plan plan;

static void must(bool good)
{
    if (!good)
        _exit(9);
}

/* ---- What bodies do. ---- */

static int opened(const char *name, int flags)
{
    int fd = open(name, flags, 0644);

    must(fd >= 0);
    return fd;
}

static void wrote(int fd, const char *text)
{
    must(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
}

static void put_file(const char *name, const char *text)
{
    int fd = opened(name, O_WRONLY | O_CREAT | O_TRUNC);

    wrote(fd, text);
    close(fd);
}

static void put_synced(const char *name, const char *text)
{
    int fd = opened(name, O_WRONLY | O_CREAT | O_TRUNC);

    wrote(fd, text);
    must(fsync(fd) == 0);
    close(fd);
}

static void sync_dir(const char *name)
{
    int fd = opened(name, O_RDONLY | O_DIRECTORY);

    must(fsync(fd) == 0);
    close(fd);
}

static void *mapped(int fd, size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    must(memory != MAP_FAILED);
    return memory;
}

/* ---- Lives and images. ---- */

static int life(void *arg)
{
    void (*body)(void);
    const char *reason;

    memcpy(&body, &arg, sizeof body);
    must(chdir(work) == 0);
    reason = recorder()->start(&plan);
    if (reason) {
        fprintf(stderr, "%s\n", reason);
        return 8;
    }
    body();
    recorder()->stop();
    return 0;
}

static struct child_result run(void (*body)(void))
{
    void *arg;
    pid_t pid;
    struct child_result result;

    memcpy(&arg, &body, sizeof arg);
    assert_true(tree_remove(work));
    assert_true(tree_copy(base, work));
    trace_reset(trace);
    plan.trace = trace;
    plan.dir = work;
    pid = child_start(life, arg);
    assert_true(pid > 0);
    result = child_wait(pid, 0);
    if (!trace_settle(trace))
        fail_msg("%s", fail_text());
    return result;
}

static void image(const char *profile)
{
    assert_true(tree_remove(out));
    if (!state_build(trace, trace->count, disk_profile_find(profile), 1, base, out))
        fail_msg("%s", fail_text());
}

static void is_complete(void)
{
    image("kill");
    if (!tree_same(work, out)) {
        trace_print(stderr, trace, 0, trace->count);
        fail_msg("%s", fail_text());
    }
}

static void live(void (*body)(void))
{
    struct child_result result = run(body);

    if (result.end != CHILD_EXITED || result.code != 0)
        fail_msg("the child %s", child_text(result));
    if (trace->unsupported)
        fail_msg("unsupported: %s", trace->unsupported_call);
    is_complete();
    image("drop-unsynced");
}

static void do_nothing(void)
{
}

/* Where seccomp filters are forbidden only libc's own symbols are seen. */
static void needs_guard(void)
{
    run(do_nothing);
    if (!trace->guarded)
        skip();
}

static char *content_at(const char *dir, const char *name)
{
    static char text[4 * PAGE + 1];
    char        path[600];
    int         fd;
    ssize_t     bytes;

    snprintf(path, sizeof path, "%s/%s", dir, name);
    fd = open(path, O_RDONLY);
    if (fd < 0)
        return NULL;
    bytes = read(fd, text, sizeof text - 1);
    close(fd);
    assert_true(bytes >= 0);
    text[bytes] = '\0';
    return text;
}

static void holds(const char *name, const char *text)
{
    char *found = content_at(out, name);

    if (!found)
        fail_msg("%s is gone", name);
    assert_string_equal(found, text);
}

static void is_gone(const char *name)
{
    char        path[600];
    struct stat st;

    snprintf(path, sizeof path, "%s/%s", out, name);
    assert_int_equal(lstat(path, &st), -1);
}

static void has_bytes(const char *name, off_t bytes)
{
    char        path[600];
    struct stat st;

    snprintf(path, sizeof path, "%s/%s", out, name);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, bytes);
}

static void base_file(const char *name, const char *text)
{
    char  path[600];
    FILE *stream;

    snprintf(path, sizeof path, "%s/%s", base, name);
    stream = fopen(path, "w");
    assert_non_null(stream);
    fputs(text, stream);
    assert_int_equal(fclose(stream), 0);
}

static int fresh(void **unused)
{
    (void)unused;
    plan = (struct recorder_plan){.flags = RECORDER_SKIP_SYNC};
    return tree_remove(base) && mkdir(base, 0755) == 0 ? 0 : -1;
}

#define TEST(name) static void name(void **unused_)
#define BODY       (void)unused_

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

/* ---- Deaths. ---- */

static void do_ten_writes(void)
{
    int fd = opened("x", O_WRONLY | O_CREAT | O_APPEND); /* call 1 */

    for (int i = 0; i < 10; i++) /* calls 2 to 11 */
        wrote(fd, "0123456789");
}

TEST(the_nth_call_is_the_same_in_every_life)
{
    BODY;
    live(do_ten_writes);
    assert_int_equal(trace->calls, 11);
    for (uint64_t n = 1; n <= 11; n++) {
        for (int after = 0; after < 2; after++) {
            struct child_result result;
            uint64_t            writes = n - 1 + (uint64_t)after;
            struct stat         st;
            char                path[300];

            plan.act = after ? RECORDER_KILL_AFTER : RECORDER_KILL_BEFORE;
            plan.at = n;
            result = run(do_ten_writes);
            assert_int_equal(result.end, CHILD_SIGNALLED);
            assert_int_equal(result.code, SIGKILL);
            assert_int_equal(trace->killed, 1);
            is_complete();
            snprintf(path, sizeof path, "%s/x", work);
            if (writes == 0) {
                assert_int_equal(stat(path, &st), -1);
            } else {
                assert_int_equal(stat(path, &st), 0);
                assert_int_equal(st.st_size, (writes - 1) * 10);
            }
        }
    }
}

TEST(a_count_alone_kills_at_the_same_call)
{
    struct child_result result;
    struct stat         st;
    char                path[300];

    BODY;
    plan = (struct recorder_plan){.flags = RECORDER_COUNT_ONLY, .act = RECORDER_KILL_BEFORE, .at = 5};
    result = run(do_ten_writes);
    assert_int_equal(result.code, SIGKILL);
    assert_int_equal(trace->calls, 5);
    assert_int_equal(trace->count, 0);
    snprintf(path, sizeof path, "%s/x", work);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, 30);
}

TEST(a_kill_inside_a_write_leaves_a_part_of_it)
{
    bool seen[11] = {false};
    int  different = 0;

    BODY;
    plan.act = RECORDER_KILL_INSIDE;
    plan.at = 3;
    for (plan.seed = 1; plan.seed <= 40; plan.seed++) {
        struct stat st;
        char        path[300];

        assert_int_equal(run(do_ten_writes).code, SIGKILL);
        is_complete();
        snprintf(path, sizeof path, "%s/x", work);
        assert_int_equal(stat(path, &st), 0);
        assert_in_range(st.st_size, 10, 20);
        seen[st.st_size - 10] = true;
    }
    for (int i = 0; i <= 10; i++)
        different += seen[i];
    assert_true(different >= 5);
}

static void do_refused(void)
{
    int fd = opened("x", O_WRONLY | O_CREAT);

    wrote(fd, "1");
    must(write(fd, "2", 1) == -1 && errno == ENOSPC);
    wrote(fd, "3");
    must(fsync(fd) == 0);
    sync_dir(".");
}

TEST(a_call_that_is_made_to_fail_did_nothing)
{
    BODY;
    plan.act = RECORDER_FAIL;
    plan.at = 3;
    plan.error_number = ENOSPC;
    live(do_refused);
    holds("x", "13");
    assert_int_equal(trace->failed, 1);
}

static void do_retried(void)
{
    int fd = opened("x", O_RDWR);

    wrote(fd, "new");
    must(fsync(fd) == -1 && errno == EIO);
    must(fsync(fd) == 0); /* as Linux says after a failure */
}

TEST(a_retried_sync_is_a_lie)
{
    BODY;
    base_file("x", "old");
    plan.act = RECORDER_FAIL;
    plan.at = 2;
    plan.error_number = EIO;
    live(do_retried);
    holds("x", "old");
}

static void do_short(void)
{
    int     fd = opened("x", O_WRONLY | O_CREAT);
    ssize_t n = write(fd, "0123456789", 10);

    must(n > 0 && n <= 10);
    if (n < 10)
        must(write(fd, &"0123456789"[n], (size_t)(10 - n)) == 10 - n);
    must(fsync(fd) == 0);
    sync_dir(".");
}

TEST(a_write_that_is_cut_short_says_so)
{
    BODY;
    plan.act = RECORDER_SHORT;
    plan.at = 2;
    for (plan.seed = 1; plan.seed < 10; plan.seed++) {
        live(do_short);
        holds("x", "0123456789");
    }
}

static void do_too_much(void)
{
    char *block = malloc(64 * PAGE);
    int   fd = opened("x", O_WRONLY | O_CREAT);

    memset(block, 'x', 64 * PAGE);

    for (int i = 0; i < 1000; i++)
        must(write(fd, block, 64 * PAGE) == 64 * PAGE);
}

TEST(a_full_trace_ends_the_life_and_says_so)
{
    struct trace       *large = trace;
    struct child_result result;

    BODY;
    trace = trace_create(1 << 20);
    assert_non_null(trace);
    result = run(do_too_much);
    assert_int_equal(result.code, SIGKILL);
    assert_int_equal(trace->full, 1);
    is_complete(); /* up to its end it is a trace like any other */
    trace_destroy(trace);
    trace = large;
}

/* ---- Processes. ---- */

static pid_t forked(void (*body)(void))
{
    pid_t pid = fork();

    must(pid >= 0);
    if (pid == 0) {
        body();
        _exit(0);
    }
    return pid;
}

static void ended_well(pid_t pid)
{
    int status;

    must(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* Says nothing when the shell says it. */
static void ran(const char *script)
{
    pid_t pid = fork();

    if (pid == 0) {
        execl("/bin/sh", "sh", "-c", script, (char *)NULL);
        _exit(126);
    }
    ended_well(pid);
}

static void put_by_the_child(void) { put_synced("by-the-child", "x"); }

static void do_ordinary_fork(void)
{
    put_synced("before", "1");
    ended_well(forked(put_by_the_child));
    sync_dir(".");
    put_synced("after", "2");
}

TEST(what_a_forked_process_does_stands_in_the_same_order)
{
    BODY;
    live(do_ordinary_fork);
    assert_int_equal(trace->processes, 2);
    holds("before", "1");
    holds("by-the-child", "x");
    is_gone("after");
}

static void append_by_the_child(void)
{
    wrote(3, "child;");
    must(fdatasync(3) == 0);
    wrote(3, "late;");
}

static void do_inherited(void)
{
    int fd = opened("x", O_WRONLY | O_CREAT);

    must(dup2(fd, 3) == 3 && (fd == 3 || close(fd) == 0));
    sync_dir(".");
    wrote(3, "parent;");
    ended_well(forked(append_by_the_child));
}

TEST(a_descriptor_of_the_parent_leads_to_its_file)
{
    BODY;
    live(do_inherited);
    holds("x", "parent;child;");
}

static void do_exec(void)
{
    ran("echo by a program > x; echo unsynced > y; echo more >> x; mkdir d; mv y d/z; sync x; rm -f d/nothing");
    sync_dir(".");
}

TEST(a_program_that_is_run_is_recorded_too)
{
    BODY;
    needs_guard();
    live(do_exec);
    assert_true(trace->processes >= 4);
    holds("x", "by a program\nmore\n");
    is_gone("d/z");
}

static void do_exec_inherited(void)
{
    int fd = opened("x", O_WRONLY | O_CREAT);

    must(dup2(fd, 9) == 9 && (fd == 9 || close(fd) == 0));
    sync_dir(".");
    ran("echo through nine >&9; sync x; echo and unsynced >&9");
}

TEST(a_descriptor_that_a_program_inherits_leads_to_its_file)
{
    BODY;
    needs_guard();
    live(do_exec_inherited);
    holds("x", "through nine\n");
}

static void do_system(void)
{
    FILE *pipe;

    must(system("echo 1 > by-system; sync by-system .") == 0);
    pipe = popen("cat > by-popen; sync by-popen .", "w");
    must(pipe && fputs("2", pipe) >= 0 && pclose(pipe) == 0);
}

TEST(system_and_popen_work_and_are_seen)
{
    BODY;
    needs_guard();
    live(do_system);
    holds("by-system", "1\n");
    holds("by-popen", "2");
}

static void do_exec_without_environment(void)
{
    char *const nothing[] = {NULL}, *const words[] = {"sh", "-c", "echo escaped > escaped", NULL};
    pid_t       pid = fork();
    int         status;

    if (pid == 0) {
        execve("/bin/sh", words, nothing);
        _exit(0);
    }
    must(waitpid(pid, &status, 0) == pid);
    must(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
    must(access("escaped", F_OK) != 0);
}

TEST(a_program_without_the_recorder_dies_before_it_changes_anything)
{
    BODY;
    needs_guard();
    live(do_exec_without_environment);
}

static void do_exec_without_descriptors(void)
{
    pid_t pid = fork();
    int   status;

    if (pid == 0) {
        close(2); /* what it says is no part of this test */
        close_range(3, ~0u, 0);
        execl("/bin/sh", "sh", "-c", "echo escaped > escaped", (char *)NULL);
        _exit(0);
    }
    must(waitpid(pid, &status, 0) == pid);
    must(WIFEXITED(status) && WEXITSTATUS(status) == 127);
    must(access("escaped", F_OK) != 0);
}

TEST(a_program_that_cannot_join_the_recorder_does_not_run)
{
    BODY;
    live(do_exec_without_descriptors);
}

/* A process of its own session that writes for ever. */
static void serve(void)
{
    int fd;

    setsid();
    fd = opened("served", O_WRONLY | O_CREAT | O_APPEND);
    for (;;)
        wrote(fd, ".");
}

static void do_serve(void)
{
    forked(serve);
    for (;;)
        pause();
}

TEST(the_nth_call_may_be_one_of_another_process_and_all_die_at_it)
{
    struct child_result result;

    BODY;
    plan.flags = RECORDER_COUNT_ONLY;
    for (int when = 0; when < 2; when++) {
        plan.act = when ? RECORDER_KILL_AFTER : RECORDER_KILL_BEFORE;
        plan.at = 8;
        result = run(do_serve);
        assert_true(result.end == CHILD_SIGNALLED && result.code == SIGKILL);
        assert_true(trace->killed);
        assert_string_equal(content_at(work, "served"), when ? "......." : "......");
    }
}

static void kill_a_writer(void)
{
    pid_t pid = forked(serve);

    while (access("served", F_OK) != 0)
        usleep(100);
    usleep(2000);
    kill(pid, SIGKILL);
    waitpid(pid, NULL, 0);
    put_synced("after", "x");
    sync_dir(".");
}

/* Whoever dies in the middle of a call may have done it without a record: then the life ends there, and else goes on. */
TEST(the_death_of_one_process_leaves_a_trace_that_is_whole)
{
    BODY;
    for (int i = 0; i < 30; i++) {
        struct child_result result = run(kill_a_writer);

        assert_true((result.end == CHILD_EXITED && result.code == 0) || trace->killed);
        assert_int_equal(trace->unsupported, 0);
        if (!trace->killed) {
            is_complete();
            image("drop-unsynced");
            holds("after", "x");
        }
    }
}

static void leave_at_signal(int signal)
{
    (void)signal;
    _exit(5);
}

static void serve_until_signalled(void)
{
    signal(SIGUSR1, leave_at_signal);
    serve();
}

static void signal_a_writer(void)
{
    pid_t pid = forked(serve_until_signalled);
    int   status;

    while (access("served", F_OK) != 0)
        usleep(100);
    usleep(500);
    kill(pid, SIGUSR1);
    must(waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status) == 5);
    put_synced("after", "x");
}

TEST(a_process_that_leaves_from_a_signal_handler_leaves_between_calls)
{
    BODY;
    for (int i = 0; i < 30; i++)
        live(signal_a_writer);
}

static char *shared_page;

static void store_by_the_child(void) { shared_page[1] = 'c'; }
static void sync_by_the_child(void) { must(msync(shared_page, PAGE, MS_SYNC) == 0); }

static void do_fork_with_mapping(void)
{
    int fd = opened("x", O_RDWR | O_CREAT);

    sync_dir(".");
    must(ftruncate(fd, 2) == 0);
    shared_page = mapped(fd, PAGE);
    shared_page[0] = 'p';
    ended_well(forked(store_by_the_child));
    must(msync(shared_page, PAGE, MS_SYNC) == 0);
    ended_well(forked(store_by_the_child));
    shared_page[0] = 'q';
}

TEST(what_a_forked_process_stores_is_seen_by_its_parent)
{
    BODY;
    live(do_fork_with_mapping);
    holds("x", "pc");
}

static void do_sync_by_a_fork(void)
{
    int fd = opened("x", O_RDWR | O_CREAT);

    must(ftruncate(fd, 2) == 0);
    shared_page = mapped(fd, PAGE);
    ended_well(forked(sync_by_the_child));
}

TEST(a_mapping_that_another_process_syncs_is_not_modelled_and_said_so)
{
    BODY;
    run(do_sync_by_a_fork);
    assert_true(trace->unsupported > 0);
    assert_string_equal(trace->unsupported_call, "a file that another process has mapped");
}

#define PROCESSES 4

static int process_number;

static void write_as_a_process(void)
{
    char name[32], text[32];
    int  all = opened("shared", O_WRONLY | O_CREAT | O_APPEND);

    for (int i = 0; i < 100; i++) {
        snprintf(text, sizeof text, "%d:%d;", process_number, i);
        wrote(all, text);
        snprintf(name, sizeof name, "of-%d.new", process_number);
        put_synced(name, text);
        snprintf(text, sizeof text, "of-%d", process_number);
        must(rename(name, text) == 0);
        sync_dir(".");
    }
}

static void do_processes(void)
{
    pid_t pids[PROCESSES];

    for (process_number = 0; process_number < PROCESSES; process_number++)
        pids[process_number] = forked(write_as_a_process);
    for (int i = 0; i < PROCESSES; i++)
        ended_well(pids[i]);
}

TEST(processes_are_recorded_in_an_order_that_happened)
{
    BODY;
    plan.sync_delay_ns = 2000;
    live(do_processes); /* compares every byte with the real directory */
    assert_int_equal(trace->processes, PROCESSES + 1);
    for (int i = 0; i < PROCESSES; i++) {
        char name[32], text[32];

        snprintf(name, sizeof name, "of-%d", i);
        snprintf(text, sizeof text, "%d:99;", i);
        holds(name, text);
    }
}

static void do_io_uring(void)
{
    char parameters[120] = {0};

    must(syscall(SYS_io_uring_setup, 8, parameters) == -1 && errno == ENOSYS);
}

TEST(io_uring_is_not_there_so_engines_fall_back)
{
    BODY;
    needs_guard();
    live(do_io_uring);
}

/* ---- Threads. ---- */

#define THREADS 4
#define ROUNDS  200

static void *write_rounds(void *arg)
{
    int  number = (int)(intptr_t)arg, shared = opened("shared", O_WRONLY | O_CREAT | O_APPEND);
    char name[32], text[32];

    for (int i = 0; i < ROUNDS; i++) {
        snprintf(text, sizeof text, "%d:%d;", number, i);
        wrote(shared, text);
        recorder()->mark(7, (uint64_t)number, (uint64_t)i);
        snprintf(name, sizeof name, "own-%d.new", number);
        put_synced(name, text);
        snprintf(text, sizeof text, "own-%d", number);
        must(rename(name, text) == 0);
        sync_dir(".");
    }
    close(shared);
    return NULL;
}

static void do_threads(void)
{
    pthread_t threads[THREADS];

    for (intptr_t i = 0; i < THREADS; i++)
        must(pthread_create(&threads[i], NULL, write_rounds, (void *)i) == 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

TEST(threads_are_recorded_in_an_order_that_happened)
{
    int marks = 0;

    BODY;
    plan.sync_delay_ns = 2000;
    live(do_threads); /* compares every byte with the real directory */
    for (const struct trace_record *rec = trace_first(trace); rec; rec = trace_next(trace, rec))
        marks += rec->kind == TRACE_MARK && rec->file == 7;
    assert_int_equal(marks, THREADS * ROUNDS);
    for (int i = 0; i < THREADS; i++) {
        char name[32], text[32];

        snprintf(name, sizeof name, "own-%d", i);
        snprintf(text, sizeof text, "%d:%d;", i, ROUNDS - 1);
        holds(name, text);
    }
}

static void *block_all_and_print(void *unused)
{
    sigset_t all;
    FILE    *stream;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, NULL);
    stream = fopen("log", "w");
    must(stream && fputs("from a thread that blocks signals\n", stream) > 0 && fclose(stream) == 0);
    return unused;
}

static void do_blocked_signals(void)
{
    pthread_t thread;

    must(pthread_create(&thread, NULL, block_all_and_print, NULL) == 0);
    pthread_join(thread, NULL);
}

TEST(a_thread_that_blocks_all_signals_is_seen_too)
{
    BODY;
    needs_guard();
    live(do_blocked_signals);
}

static void do_marks(void)
{
    recorder()->mark(1, 10, 20);
    put_file("x", "1");
    recorder()->mark(2, 11, 21);
}

TEST(marks_stand_between_the_calls)
{
    const struct trace_record *rec;

    BODY;
    live(do_marks);
    rec = trace_first(trace);
    assert_int_equal(rec->kind, TRACE_MARK);
    assert_int_equal(rec->file, 1);
    assert_int_equal(rec->offset, 10);
    assert_int_equal(rec->length, 20);
    rec = trace_next(trace, trace_next(trace, rec));
    assert_int_equal(rec->kind, TRACE_WRITE);
    rec = trace_next(trace, rec);
    assert_int_equal(rec->file, 2);
    assert_null(trace_next(trace, rec));
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

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup(name, fresh)
        T(an_unsynced_file_is_gone),
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
        T(the_nth_call_is_the_same_in_every_life),
        T(a_count_alone_kills_at_the_same_call),
        T(a_kill_inside_a_write_leaves_a_part_of_it),
        T(a_call_that_is_made_to_fail_did_nothing),
        T(a_retried_sync_is_a_lie),
        T(a_write_that_is_cut_short_says_so),
        T(a_full_trace_ends_the_life_and_says_so),
        T(what_a_forked_process_does_stands_in_the_same_order),
        T(a_descriptor_of_the_parent_leads_to_its_file),
        T(a_program_that_is_run_is_recorded_too),
        T(a_descriptor_that_a_program_inherits_leads_to_its_file),
        T(system_and_popen_work_and_are_seen),
        T(a_program_without_the_recorder_dies_before_it_changes_anything),
        T(a_program_that_cannot_join_the_recorder_does_not_run),
        T(the_nth_call_may_be_one_of_another_process_and_all_die_at_it),
        T(the_death_of_one_process_leaves_a_trace_that_is_whole),
        T(a_process_that_leaves_from_a_signal_handler_leaves_between_calls),
        T(what_a_forked_process_stores_is_seen_by_its_parent),
        T(a_mapping_that_another_process_syncs_is_not_modelled_and_said_so),
        T(processes_are_recorded_in_an_order_that_happened),
        T(io_uring_is_not_there_so_engines_fall_back),
        T(threads_are_recorded_in_an_order_that_happened),
        T(a_thread_that_blocks_all_signals_is_seen_too),
        T(marks_stand_between_the_calls),
        T(of_every_engine_nothing_is_missed_in_any_tier),
#undef T
    };
    const char *tmp = getenv("TMPDIR");
    int         failed;

    (void)argc;
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    puts("skipped: a sanitizer and the recorder both want to stand before libc; the plain build tests it");
    return 77;
#endif
    if (!recorder_preload(argv)) {
        fprintf(stderr, "%s\n", fail_text());
        return 1;
    }
    snprintf(root, sizeof root, "%s/t_recorder-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(root))
        return 1;
    snprintf(base, sizeof base, "%s/base", root);
    snprintf(work, sizeof work, "%s/work", root);
    snprintf(out, sizeof out, "%s/out", root);
    trace = trace_create(UINT64_C(1) << 30);
    failed = trace ? cmocka_run_group_tests(tests, NULL, NULL) : 1;
    tree_remove(root);
    return failed;
}
