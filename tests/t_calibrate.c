/* t_calibrate.c -- calibration measures everything, says what it cannot, and leaves nothing behind. */
#include "harness/calibrate.h"

#include <dirent.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/clock.h"
#include "common/commands.h"
#include "common/fail.h"
#include "common/stop.h"

#define BUDGET_NS (200 * NS_PER_MS)

static char dir[256];

static int make_dir(void **state)
{
    const char *base = getenv("TMPDIR");

    (void)state;
    snprintf(dir, sizeof dir, "%s/t_calibrate-XXXXXX", base ? base : "/tmp");
    return mkdtemp(dir) ? 0 : -1;
}

static int remove_dir(void **state)
{
    (void)state;
    return rmdir(dir); /* fails when something was left in it */
}

static unsigned entries(const char *path)
{
    DIR     *folder = opendir(path);
    unsigned count  = 0;

    assert_non_null(folder);
    while (readdir(folder))
        count++;
    closedir(folder);
    return count - 2;
}

static void every_quantity_is_null_or_positive(void **state)
{
    json_t     *all = calibrate_json(dir, BUDGET_NS), *value;
    const char *name;
    unsigned    count = 0;

    (void)state;
    assert_non_null(all);
    json_object_foreach(all, name, value) {
        count++;
        if (json_is_object(value)) {
            json_int_t p50 = json_integer_value(json_object_get(value, "p50_ns"));
            json_int_t p99 = json_integer_value(json_object_get(value, "p99_ns"));

            assert_true(json_number_value(json_object_get(value, "ops_per_s")) > 0);
            assert_true(json_integer_value(json_object_get(value, "n")) > 0);
            assert_true(p50 > 0 && p50 <= p99);
            assert_true(p99 <= json_integer_value(json_object_get(value, "max_ns")));
        } else if (!json_is_null(value)) {
            assert_true(json_number_value(value) > 0);
        }
    }
    assert_int_equal(count, 25);
    assert_true(json_is_object(json_object_get(all, "group_commit_64")));
    assert_int_equal(entries(dir), 0);
    json_decref(all);
}

static void the_table_names_what_is_not_available(void **state)
{
    json_t *all  = json_pack("{s:n, s:f}", "random_read_4096_depth_1", "syscall_ns", 86.0);
    char   *text = NULL;
    size_t  bytes;
    FILE   *stream = open_memstream(&text, &bytes);

    (void)state;
    calibrate_print(stream, all);
    fclose(stream);
    assert_non_null(strstr(text, "random 4 KiB read, direct, one at a time       not available here"));
    assert_non_null(strstr(text, "86.0 ns"));
    free(text);
    json_decref(all);
}

static int status_of(pid_t pid)
{
    int status;

    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* A file size limit is what a full disk looks like, without needing one. */
static void a_full_disk_is_an_error_that_leaves_nothing(void **state)
{
    pid_t pid = fork();

    (void)state;
    if (pid == 0) {
        struct rlimit limit = {1 << 20, 1 << 20};
        json_t       *all;

        signal(SIGXFSZ, SIG_IGN);
        setrlimit(RLIMIT_FSIZE, &limit);
        all = calibrate_json(dir, BUDGET_NS);
        _exit(all ? 2 : strstr(fail_text(), "File too large") ? 0 : 3);
    }
    assert_int_equal(status_of(pid), 0);
    assert_int_equal(entries(dir), 0);
}

static void ctrl_c_ends_it_at_once_and_leaves_nothing(void **state)
{
    pid_t pid = fork();

    (void)state;
    if (pid == 0) {
        char *argv[] = {"calibrate", "--seconds=1000", "--dir", dir, "--out", "-", NULL};

        stop_install();
        raise(SIGINT);
        (void)!freopen("/dev/null", "w", stderr);
        _exit(command_calibrate(6, argv));
    }
    assert_int_equal(status_of(pid), 1);
    assert_int_equal(entries(dir), 0);
}

static void a_folder_that_is_not_there_is_a_wrong_command(void **state)
{
    char *argv[] = {"calibrate", "--dir", "/nonexistent/x", NULL};

    (void)state;
    assert_int_equal(command_calibrate(3, argv), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_quantity_is_null_or_positive, make_dir, remove_dir),
        cmocka_unit_test(the_table_names_what_is_not_available),
        cmocka_unit_test_setup_teardown(a_full_disk_is_an_error_that_leaves_nothing, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(ctrl_c_ends_it_at_once_and_leaves_nothing, make_dir, remove_dir),
        cmocka_unit_test(a_folder_that_is_not_there_is_a_wrong_command),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
