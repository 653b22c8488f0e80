/*
 * recorder_util.h -- what the tests of the recorder share: children that live under it, and images of what a crash leaves.
 *
 * After every life the image under `kill` must be the real directory, byte by byte: the recorder missed nothing.
 */
#ifndef ASSAY_TESTS_RECORDER_UTIL_H
#define ASSAY_TESTS_RECORDER_UTIL_H

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

/* No file of tests uses all of it. */
#define MAYBE_UNUSED __attribute__((unused))

static char                 root[200], base[256], work[256], out[256];
static struct trace        *trace;
static struct recorder_plan plan;

MAYBE_UNUSED static void must(bool good)
{
    if (!good)
        _exit(9);
}

/* ---- What bodies do. ---- */

MAYBE_UNUSED static int opened(const char *name, int flags)
{
    int fd = open(name, flags, 0644);

    must(fd >= 0);
    return fd;
}

MAYBE_UNUSED static void wrote(int fd, const char *text)
{
    must(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
}

MAYBE_UNUSED static void put_file(const char *name, const char *text)
{
    int fd = opened(name, O_WRONLY | O_CREAT | O_TRUNC);

    wrote(fd, text);
    close(fd);
}

MAYBE_UNUSED static void put_synced(const char *name, const char *text)
{
    int fd = opened(name, O_WRONLY | O_CREAT | O_TRUNC);

    wrote(fd, text);
    must(fsync(fd) == 0);
    close(fd);
}

MAYBE_UNUSED static void sync_dir(const char *name)
{
    int fd = opened(name, O_RDONLY | O_DIRECTORY);

    must(fsync(fd) == 0);
    close(fd);
}

MAYBE_UNUSED static void *mapped(int fd, size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

    must(memory != MAP_FAILED);
    return memory;
}

/* ---- Lives and images. ---- */

MAYBE_UNUSED static int life(void *arg)
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

MAYBE_UNUSED static struct child_result run(void (*body)(void))
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

MAYBE_UNUSED static void image(const char *profile)
{
    assert_true(tree_remove(out));
    if (!state_build(trace, trace->count, disk_profile_find(profile), 1, base, out))
        fail_msg("%s", fail_text());
}

MAYBE_UNUSED static void is_complete(void)
{
    image("kill");
    if (!tree_same(work, out)) {
        trace_print(stderr, trace, 0, trace->count);
        fail_msg("%s", fail_text());
    }
}

MAYBE_UNUSED static void live(void (*body)(void))
{
    struct child_result result = run(body);

    if (result.end != CHILD_EXITED || result.code != 0)
        fail_msg("the child %s", child_text(result));
    if (trace->unsupported)
        fail_msg("unsupported: %s", trace->unsupported_call);
    is_complete();
    image("drop-unsynced");
}

MAYBE_UNUSED static void do_nothing(void)
{
}

/* Where seccomp filters are forbidden only libc's own symbols are seen. */
MAYBE_UNUSED static void needs_guard(void)
{
    run(do_nothing);
    if (!trace->guarded)
        skip();
}

MAYBE_UNUSED static char *content_at(const char *dir, const char *name)
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

MAYBE_UNUSED static void holds(const char *name, const char *text)
{
    char *found = content_at(out, name);

    if (!found)
        fail_msg("%s is gone", name);
    assert_string_equal(found, text);
}

MAYBE_UNUSED static void is_gone(const char *name)
{
    char        path[600];
    struct stat st;

    snprintf(path, sizeof path, "%s/%s", out, name);
    assert_int_equal(lstat(path, &st), -1);
}

MAYBE_UNUSED static void has_bytes(const char *name, off_t bytes)
{
    char        path[600];
    struct stat st;

    snprintf(path, sizeof path, "%s/%s", out, name);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_size, bytes);
}

MAYBE_UNUSED static void base_file(const char *name, const char *text)
{
    char  path[600];
    FILE *stream;

    snprintf(path, sizeof path, "%s/%s", base, name);
    stream = fopen(path, "w");
    assert_non_null(stream);
    fputs(text, stream);
    assert_int_equal(fclose(stream), 0);
}

MAYBE_UNUSED static int fresh(void **unused)
{
    (void)unused;
    plan = (struct recorder_plan){.flags = RECORDER_SKIP_SYNC};
    return tree_remove(base) && mkdir(base, 0755) == 0 ? 0 : -1;
}

#define TEST(name) static void name(void **unused_)
#define BODY       (void)unused_

/* The tests of a file, with the recorder preloaded and a directory of their own. */
#define T(name) cmocka_unit_test_setup(name, fresh)
#define RECORDER_MAIN(...)                                                      \
    int main(int argc, char **argv)                                             \
    {                                                                           \
        const struct CMUnitTest tests[] = {__VA_ARGS__};                        \
        int                     failed;                                         \
                                                                                \
        (void)argc;                                                             \
        if (!prepared(argv, &failed))                                           \
            return failed;                                                      \
        failed = cmocka_run_group_tests(tests, NULL, NULL);                     \
        tree_remove(root);                                                      \
        return failed;                                                          \
    }

MAYBE_UNUSED static bool prepared(char **argv, int *code)
{
    const char *tmp = getenv("TMPDIR");

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    puts("skipped: a sanitizer and the recorder both want to stand before libc; the plain build tests it");
    *code = 77;
    return false;
#endif
    *code = 1;
    if (!recorder_preload(argv)) {
        fprintf(stderr, "%s\n", fail_text());
        return false;
    }
    snprintf(root, sizeof root, "%s/t_recorder-XXXXXX", tmp ? tmp : "/tmp");
    if (!mkdtemp(root))
        return false;
    snprintf(base, sizeof base, "%s/base", root);
    snprintf(work, sizeof work, "%s/work", root);
    snprintf(out, sizeof out, "%s/out", root);
    trace = trace_create(UINT64_C(1) << 30);
    return trace != NULL;
}

#endif
