/*
 * t_recorder_calls.c -- the calls that only other people's engines make, and mappings that live, grow, move and are many.
 */
#include <linux/falloc.h>
#include <linux/openat2.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "common/rng.h"
#include "tests/recorder_util.h"

/* ---- Opens and names. ---- */

static void do_every_open(void)
{
    struct open_how how = {.flags = O_WRONLY | O_CREAT, .mode = 0644};
    char            template[] = "mkstemp-XXXXXX";
    int             dir, fd;
    FILE           *stream;

    must(mkdir("d", 0755) == 0);
    dir = opened("d", O_RDONLY | O_DIRECTORY);
    fd = openat(dir, "openat", O_WRONLY | O_CREAT, 0644);
    wrote(fd, "1");
    must(fsync(fd) == 0 && fsync(dir) == 0);
    fd = open64("open64", O_WRONLY | O_CREAT, 0644);
    wrote(fd, "2");
    fd = creat("creat", 0644);
    wrote(fd, "3");
    fd = (int)syscall(SYS_openat2, AT_FDCWD, "openat2", &how, sizeof how);
    wrote(fd, "4");
    fd = (int)syscall(SYS_open, "open", O_WRONLY | O_CREAT | O_TRUNC, 0644);
    wrote(fd, "5");
    fd = mkstemp(template);
    must(fd >= 0);
    wrote(fd, "6");
    must(rename(template, "mkstemp") == 0);
    stream = fopen64("fopen64", "w");
    must(stream && fputs("7", stream) >= 0);
    stream = freopen("freopen", "w", stream);
    must(stream && fputs("8", stream) >= 0 && fclose(stream) == 0);
    fd = openat(dir, "../up", O_WRONLY | O_CREAT, 0644);
    wrote(fd, "9");
    must(truncate("open64", 100) == 0 && renameat(dir, "openat", AT_FDCWD, "moved") == 0);
    sync_dir(".");
    must(fsync(dir) == 0);
}

TEST(every_way_to_open_is_seen)
{
    BODY;
    needs_guard();
    live(do_every_open);
    holds("moved", "1");
    holds("up", "");
}

static void do_duplicates(void)
{
    int fd = opened("x", O_WRONLY | O_CREAT), high = fcntl(fd, F_DUPFD, 700), low;

    sync_dir(".");
    must(high >= 700);
    close(fd);
    low = dup(high);
    must(dup2(low, 90) == 90 && dup3(low, 91, O_CLOEXEC) == 91);
    wrote(high, "a");
    wrote(90, "b");
    close_range(90, 90, 0);
    wrote(91, "c");
    must(fdatasync(low) == 0);
    wrote(low, "lost");
}

TEST(a_duplicated_descriptor_is_the_same_file)
{
    BODY;
    live(do_duplicates);
    holds("x", "abc");
}

static void do_unlink_while_open(void)
{
    char path[64];
    int  fd = opened("x", O_RDWR | O_CREAT), other;

    must(unlink("x") == 0);
    wrote(fd, "nobody's");
    put_file("x", "another");
    must(unlink("x") == 0);
    other = open(".", O_TMPFILE | O_RDWR, 0644);
    must(other >= 0);
    wrote(other, "came back");
    must(fsync(other) == 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", other);
    must(linkat(AT_FDCWD, path, AT_FDCWD, "back", AT_SYMLINK_FOLLOW) == 0);
    wrote(fd, " still");
    sync_dir(".");
}

TEST(what_was_unlinked_while_it_was_open_harms_no_other)
{
    BODY;
    live(do_unlink_while_open);
    holds("back", "came back");
    is_gone("x");
}

static void do_socket(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "socket"};
    int                fd = socket(AF_UNIX, SOCK_STREAM, 0);

    must(bind(fd, (struct sockaddr *)&address, sizeof address) == 0 && listen(fd, 1) == 0);
    put_synced("x", "1");
    must(unlink("socket") == 0);
    sync_dir(".");
}

TEST(a_socket_in_the_directory_is_nothing_to_keep)
{
    BODY;
    live(do_socket);
    holds("x", "1");
}

static void do_leave_a_socket(void)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = "socket"};

    must(bind(socket(AF_UNIX, SOCK_STREAM, 0), (struct sockaddr *)&address, sizeof address) == 0);
    put_synced("x", "1");
    sync_dir(".");
}

static void do_with_a_left_socket(void)
{
    unlink("socket"); /* it is there, or not */
    do_leave_a_socket();
}

TEST(a_socket_that_a_killed_server_left_is_passed_over)
{
    BODY;
    run(do_leave_a_socket);
    assert_true(tree_remove(base) && tree_copy(work, base));
    run(do_with_a_left_socket);
    assert_int_equal(trace->unsupported, 0);
    image("drop-unsynced");
    holds("x", "1");
}

static void do_whiteout(void)
{
    put_file("x", "1");
    (void)!syscall(SYS_renameat2, AT_FDCWD, "x", AT_FDCWD, "y", 4 /* RENAME_WHITEOUT */);
}

static void do_collapse(void)
{
    int fd = opened("x", O_RDWR | O_CREAT);

    must(ftruncate(fd, 4 * PAGE) == 0);
    (void)!fallocate(fd, FALLOC_FL_COLLAPSE_RANGE, PAGE, PAGE);
}

static void do_madvise_remove(void)
{
    int   fd = opened("x", O_RDWR | O_CREAT);
    char *memory;

    must(ftruncate(fd, PAGE) == 0);
    memory = mapped(fd, PAGE);
    (void)!madvise(memory, PAGE, MADV_REMOVE);
}

/* Or by the file system; never done and unsaid. */
TEST(what_cannot_be_modelled_is_said_or_refused)
{
    void (*const bodies[])(void) = {do_whiteout, do_collapse, do_madvise_remove};

    BODY;
    needs_guard();
    for (size_t i = 0; i < sizeof bodies / sizeof *bodies; i++) {
        run(bodies[i]);
        if (!trace->unsupported)
            is_complete();
    }
    assert_string_equal(trace->unsupported_call, "madvise(MADV_REMOVE)");
}

/* ---- Bytes. ---- */

static void do_direct(void)
{
    char *block = NULL;
    int   fd = open("x", O_WRONLY | O_CREAT | O_DIRECT, 0644);

    if (fd < 0)
        _exit(77);
    must(posix_memalign((void **)&block, 4096, 8192) == 0);
    memset(block, 'd', 8192);
    must(pwrite(fd, block, 8192, 0) == 8192 && fdatasync(fd) == 0);
    memset(block, 'e', 4096);
    must(pwrite(fd, block, 4096, 4096) == 4096);
    sync_dir(".");
}

TEST(a_direct_write_is_no_sync)
{
    BODY;
    if (run(do_direct).code == 77)
        skip();
    live(do_direct);
    has_bytes("x", 8192);
    assert_int_equal(content_at(out, "x")[5000], 'd');
}

static void do_copies(void)
{
    int  in = opened("in", O_RDWR | O_CREAT), to = opened("x", O_RDWR | O_CREAT), pipes[2];
    char text[101];

    memset(text, 'c', 100);
    text[100] = '\0';
    wrote(in, text);
    must(lseek(in, 0, SEEK_SET) == 0 && sendfile(to, in, NULL, 40) == 40);
    must(copy_file_range(in, NULL, to, NULL, 30, 0) == 30);
    must(pipe(pipes) == 0 && write(pipes[1], "piped", 5) == 5);
    must(splice(pipes[0], NULL, to, NULL, 5, 0) == 5);
    must(fsync(to) == 0);
    must(pwrite(to, "-", 1, 0) == 1);
    must(fallocate(to, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 10, 10) == 0);
    must(sync_file_range(to, 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER) == 0);
    sync_dir(".");
}

TEST(copies_are_kept_by_a_sync_and_not_by_sync_file_range)
{
    BODY;
    live(do_copies);
    has_bytes("x", 75);
    assert_int_equal(content_at(out, "x")[0], 'c');
    assert_int_equal(content_at(out, "x")[15], 'c');
    assert_string_equal(content_at(out, "x") + 70, "piped");
}

/* ---- Mappings. ---- */

static void do_map_for_reading(void)
{
    int         fd = opened("x", O_RDWR | O_CREAT);
    const char *memory;

    must(ftruncate(fd, PAGE) == 0);
    memory = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
    must(memory != MAP_FAILED && memory[0] == 0);
    must(pwrite(fd, "w", 1, 0) == 1 && memory[0] == 'w'); /* it is the file */
    must(mprotect((void *)memory, PAGE, PROT_READ | PROT_WRITE) == -1 && errno == EACCES);
    must(msync((void *)memory, PAGE, MS_SYNC) == 0); /* syncs the file all the same */
    sync_dir(".");
}

TEST(a_mapping_for_reading_cannot_become_one_for_writing)
{
    BODY;
    live(do_map_for_reading);
    has_bytes("x", PAGE);
    assert_string_equal(content_at(out, "x"), "w");
}

#define PAGES  300
#define STEPS  3000
#define COPIES 12

static struct rng rng;
static char      *memory;
static size_t     memory_bytes;
static int        file;
static bool       forks;

static void map_again(size_t bytes)
{
    must(munmap(memory, memory_bytes) == 0);
    memory_bytes = bytes;
    memory = mapped(file, bytes);
}

static void one_step(void)
{
    uint64_t size = (uint64_t)lseek(file, 0, SEEK_END), dice = rng_below(&rng, 1000);
    uint64_t end = size < memory_bytes ? size : memory_bytes, at = end ? rng_below(&rng, end) : 0;
    char     byte = (char)('a' + rng_below(&rng, 26));
    char    *second;
    pid_t    pid;

    if (dice < 850 && end) {
        memory[at] = byte;
    } else if (dice < 880) {
        must(pwrite(file, &byte, 1, (off_t)rng_below(&rng, PAGES * PAGE)) == 1);
    } else if (dice < 900) {
        must(ftruncate(file, (off_t)rng_below(&rng, PAGES * PAGE)) == 0);
    } else if (dice < 920) {
        size_t bytes = (1 + rng_below(&rng, PAGES)) * PAGE;

        memory = mremap(memory, memory_bytes, bytes, MREMAP_MAYMOVE);
        must(memory != MAP_FAILED);
        memory_bytes = bytes;
    } else if (dice < 930) {
        map_again((1 + rng_below(&rng, PAGES)) * PAGE);
    } else if (dice < 945) {
        must(madvise(memory, memory_bytes, MADV_DONTNEED) == 0);
    } else if (dice < 960 && size) {
        second = mapped(file, PAGES * PAGE);
        second[rng_below(&rng, size)] = byte;
        must(munmap(second, PAGES * PAGE) == 0);
    } else if (dice < 961 && end && forks) {
        pid = fork();
        if (pid == 0) {
            memory[at] = '!';
            _exit(0);
        }
        must(waitpid(pid, NULL, 0) == pid);
    } else if (dice > 990) {
        must(fdatasync(file) == 0);
    }
}

/* The file as it is, where nobody records. */
static void copy_file(int number)
{
    static char bytes[PAGES * PAGE];
    char        path[300];
    ssize_t     size = pread(file, bytes, sizeof bytes, 0);
    int         copy;

    snprintf(path, sizeof path, "%s/copy-%d", root, number);
    must(size >= 0 && mkdir(path, 0755) == 0);
    strcat(path, "/x");
    copy = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    must(copy >= 0 && write(copy, bytes, (size_t)size) == size);
    close(copy);
}

static void do_random_stores(void)
{
    file = opened("x", O_RDWR | O_CREAT);
    sync_dir(".");
    must(ftruncate(file, PAGES / 2 * PAGE) == 0);
    memory_bytes = PAGES / 2 * PAGE;
    memory = mapped(file, memory_bytes);
    for (int copy = 0; copy < COPIES; copy++) {
        for (int i = 0; i < STEPS / COPIES; i++)
            one_step();
        must(fsync(file) == 0);
        copy_file(copy);
        recorder()->mark(5, (uint64_t)copy, 0);
    }
}

TEST(every_store_is_in_the_trace_when_its_file_is_synced)
{
    BODY;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        uint64_t number = 0;

        rng_seed(&rng, seed, 0);
        forks = seed % 3 == 0;
        live(do_random_stores);
        for (const struct trace_record *rec = trace_first(trace); rec; rec = trace_next(trace, rec), number++) {
            char path[300];

            if (rec->kind != TRACE_MARK || rec->file != 5)
                continue;
            snprintf(path, sizeof path, "%s/copy-%d", root, (int)rec->offset);
            assert_true(tree_remove(out));
            assert_true(state_build(trace, number, disk_profile_find("drop-unsynced"), 1, base, out));
            if (!tree_same(path, out))
                fail_msg("seed %d, copy %d: %s", (int)seed, (int)rec->offset, fail_text());
            assert_true(tree_remove(path));
        }
    }
}

RECORDER_MAIN(T(every_way_to_open_is_seen),
              T(a_duplicated_descriptor_is_the_same_file),
              T(what_was_unlinked_while_it_was_open_harms_no_other),
              T(a_socket_in_the_directory_is_nothing_to_keep),
              T(a_socket_that_a_killed_server_left_is_passed_over),
              T(what_cannot_be_modelled_is_said_or_refused),
              T(a_direct_write_is_no_sync),
              T(copies_are_kept_by_a_sync_and_not_by_sync_file_range),
              T(a_mapping_for_reading_cannot_become_one_for_writing),
              T(every_store_is_in_the_trace_when_its_file_is_synced))
