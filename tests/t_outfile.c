/* t_outfile.c -- a file is there whole or not at all, and a device stays a device. */
#include "common/outfile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <cmocka.h>

static char dir[256], path[300];

static int make_dir(void **state)
{
    const char *base = getenv("TMPDIR");

    (void)state;
    snprintf(dir, sizeof dir, "%s/t_outfile-XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(dir))
        return -1;
    snprintf(path, sizeof path, "%s/file", dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(dir); /* fails when a temporary was left */
}

static void expect(const char *text)
{
    char  found[64] = "";
    FILE *file      = fopen(path, "r");

    assert_non_null(file);
    (void)!fread(found, 1, sizeof found - 1, file);
    fclose(file);
    assert_string_equal(found, text);
}

static void put(const char *text, bool commit)
{
    struct outfile file;

    assert_true(outfile_open(&file, path));
    fputs(text, file.stream);
    if (commit)
        assert_true(outfile_commit(&file));
    else
        outfile_discard(&file);
}

static void what_is_discarded_leaves_the_former_file(void **state)
{
    (void)state;
    put("former", true);
    put("latter", false);
    expect("former");
    put("latter", true);
    expect("latter");
}

static void a_pipe_is_written_and_not_replaced(void **state)
{
    struct outfile file;
    struct stat    status;
    char           found[8] = "";

    (void)state;
    assert_int_equal(mkfifo(path, 0600), 0);
    FILE *reader = fopen(path, "r+"); /* both ends, so that neither open waits */
    assert_non_null(reader);
    assert_true(outfile_open(&file, path));
    fputs("text", file.stream);
    assert_true(outfile_commit(&file));
    assert_int_equal(stat(path, &status), 0);
    assert_true(S_ISFIFO(status.st_mode));
    assert_int_equal(fread(found, 1, 4, reader), 4);
    assert_string_equal(found, "text");
    fclose(reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(what_is_discarded_leaves_the_former_file, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(a_pipe_is_written_and_not_replaced, make_dir, remove_dir),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
