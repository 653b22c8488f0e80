/* t_merge.c -- merging adds exactly, and refuses what was not the same work. */
#include <jansson.h>
#include <setjmp.h>
#include <stdbool.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/commands.h"

#define FIRST "tests/golden/bench-a.json"

static char dir[256], second[300], out[300];

static int make_dir(void **state)
{
    const char *base = getenv("TMPDIR");

    (void)state;
    snprintf(dir, sizeof dir, "%s/t_merge-XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(dir))
        return -1;
    snprintf(second, sizeof second, "%s/second.json", dir);
    snprintf(out, sizeof out, "%s/out.json", dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    unlink(second);
    unlink(out);
    return rmdir(dir);
}

/* The first file as another run, for the caller to change. */
static json_t *other_run(void)
{
    json_t *root = json_load_file(FIRST, 0, NULL);

    assert_non_null(root);
    json_object_set_new(root, "run_id", json_string("another"));
    return root;
}

static int merge_with(json_t *root)
{
    char *argv[] = {"merge", FIRST, second, "--out", out, NULL};

    assert_int_equal(json_dump_file(root, second, 0), 0);
    json_decref(root);
    return command_merge(5, argv);
}

static json_t *row_of(json_t *array, const char *engine, const char *phase)
{
    json_t *row;
    size_t  i;

    json_array_foreach(array, i, row) {
        if (strcmp(json_string_value(json_object_get(row, "engine")), engine) == 0 &&
            strcmp(json_string_value(json_object_get(row, "phase")), phase) == 0)
            return row;
    }
    fail();
    return NULL;
}

/* The first cell of an engine. */
static json_t *row_of_cells(json_t *root, const char *engine)
{
    json_t *cell;
    size_t  i;

    json_array_foreach(json_object_get(root, "cells"), i, cell) {
        if (strcmp(json_string_value(json_object_get(cell, "engine")), engine) == 0)
            return cell;
    }
    fail();
    return NULL;
}

static json_int_t int_at(const json_t *object, const char *key)
{
    assert_true(json_is_integer(json_object_get(object, key)));
    return json_integer_value(json_object_get(object, key));
}

/* The sum over the cells of FIRST of a number of one engine's latency record. */
static json_int_t summed(json_t *root, const char *engine, const char *key, json_int_t low_ns)
{
    json_t    *cell, *phase, *pair;
    json_int_t sum = 0;
    size_t     i, j, k;

    json_array_foreach(json_object_get(root, "cells"), i, cell) {
        if (strcmp(json_string_value(json_object_get(cell, "engine")), engine) != 0)
            continue;
        json_array_foreach(json_object_get(cell, "phases"), j, phase) {
            json_t *record = json_object_get(json_object_get(phase, "latency_ns"), "read");

            if (record && key)
                sum += int_at(record, key);
            json_array_foreach(json_object_get(record, "histogram"), k, pair) {
                if (!key && json_integer_value(json_array_get(pair, 0)) == low_ns)
                    sum += json_integer_value(json_array_get(pair, 1));
            }
        }
    }
    return sum;
}

static void histograms_and_counts_are_added_exactly(void **state)
{
    json_t *root, *first = json_load_file(FIRST, 0, NULL), *row, *read, *pair;
    size_t  i;

    (void)state;
    assert_int_equal(merge_with(other_run()), 0);
    root = json_load_file(out, 0, NULL);
    row  = row_of(json_object_get(root, "pooled"), "lsm", "latency");
    read = json_object_get(json_object_get(row, "latency_ns"), "read");
    assert_int_equal(int_at(row, "rounds"), 6);
    assert_int_equal(int_at(row, "ops"), 6 * 200000);
    assert_int_equal(int_at(json_object_get(json_object_get(row, "by_kind"), "read"), "ops"), 6 * 100000);
    assert_int_equal(int_at(read, "count"), 2 * summed(first, "lsm", "count", 0));
    assert_int_equal(int_at(read, "sum"), 2 * summed(first, "lsm", "sum", 0));
    assert_true(json_array_size(json_object_get(read, "histogram")) > 50);
    json_array_foreach(json_object_get(read, "histogram"), i, pair)
        assert_int_equal(json_integer_value(json_array_get(pair, 1)),
                         2 * summed(first, "lsm", NULL, json_integer_value(json_array_get(pair, 0))));
    json_decref(root);
    json_decref(first);
}

static void rounds_are_counted_on_and_summed_up_anew(void **state)
{
    json_t *root, *row, *cell;
    int     cells_of[7] = {0};
    size_t  i;

    (void)state;
    assert_int_equal(merge_with(other_run()), 0);
    root = json_load_file(out, 0, NULL);
    assert_int_equal(json_array_size(json_object_get(root, "cells")), 24);
    json_array_foreach(json_object_get(root, "cells"), i, cell) {
        json_int_t round = int_at(cell, "round");

        assert_in_range(round, 1, 6);
        cells_of[round]++;
    }
    /* Rounds 1 to 3 of the first file; those of the second go on from 4. */
    for (i = 1; i < 7; i++)
        assert_int_equal(cells_of[i], 4);
    row = row_of(json_object_get(root, "summary"), "bitcask", "run");
    assert_int_equal(int_at(row, "n"), 6);
    assert_int_equal(json_array_size(json_object_get(row, "samples")), 6);
    assert_int_equal(json_array_size(json_object_get(root, "merged_from")), 2);
    assert_true(json_is_true(json_object_get(root, "complete")));
    json_decref(root);
}

static void the_same_run_is_not_counted_twice(void **state)
{
    json_t *root = json_load_file(FIRST, 0, NULL);

    (void)state;
    assert_int_equal(merge_with(root), 1);
    assert_int_not_equal(access(out, F_OK), 0);
}

static void other_work_is_refused(void **state)
{
    static const char *const changes[][2] = {
        {"workload", "records"}, {"settings", "durability"}, {"settings", "threads"}, {"settings", "cold"},
    };
    json_t *root;

    (void)state;
    for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
        root = other_run();
        json_object_set_new(json_object_get(root, changes[i][0]), changes[i][1], json_string("other"));
        assert_int_equal(merge_with(root), 1);
    }
    root = other_run();
    json_object_set_new(root, "opstream_xxh3", json_pack("[s]", "0000000000000000"));
    assert_int_equal(merge_with(root), 1);
    root = other_run();
    json_object_set_new(root, "schema", json_string("assay/2"));
    assert_int_equal(merge_with(root), 1);
    root = other_run();
    json_object_set_new(json_array_get(json_object_get(root, "engines"), 1), "tier", json_string("commit"));
    assert_int_equal(merge_with(root), 1);
    assert_int_not_equal(access(out, F_OK), 0);
}

static void a_histogram_that_contradicts_itself_is_refused(void **state)
{
    json_t *root = other_run(), *cell = json_array_get(json_object_get(root, "cells"), 0), *phase;
    size_t  i;

    (void)state;
    json_array_foreach(json_object_get(cell, "phases"), i, phase) {
        json_t *read = json_object_get(json_object_get(phase, "latency_ns"), "read");

        if (read)
            json_object_set_new(read, "count", json_integer(7));
    }
    assert_int_equal(merge_with(root), 1);
    assert_int_not_equal(access(out, F_OK), 0);
}

/* The first file as that of another generator: another seed, its phases begun offset_ns after those of the first. */
static json_t *other_generator(json_int_t offset_ns)
{
    json_t *root = other_run(), *cell, *phase;
    size_t  i, j;

    json_object_set_new(json_object_get(root, "workload"), "seed", json_integer(77));
    json_object_set_new(root, "opstream_xxh3", json_pack("[s]", "0000000000000000"));
    json_array_foreach(json_object_get(root, "cells"), i, cell) {
        json_array_foreach(json_object_get(cell, "phases"), j, phase)
            json_object_set_new(phase, "started_unix_ns", json_integer(INT64_C(1800000000000000000) + offset_ns));
    }
    return root;
}

static json_t *merge_together(json_int_t offset_ns)
{
    static char third[320];
    char       *argv[] = {"merge", "--together", third, second, "--out", out, NULL};
    json_t     *root = other_generator(0), *merged;

    snprintf(third, sizeof third, "%s.third", second);
    json_object_set_new(root, "run_id", json_string("a third"));
    json_object_set_new(json_object_get(root, "workload"), "seed", json_integer(78));
    json_object_set_new(root, "opstream_xxh3", json_pack("[s]", "1111111111111111"));
    assert_int_equal(json_dump_file(root, third, 0), 0);
    json_decref(root);
    root = other_generator(offset_ns);
    assert_int_equal(json_dump_file(root, second, 0), 0);
    json_decref(root);
    assert_int_equal(command_merge(6, argv), 0);
    unlink(third);
    merged = json_load_file(out, 0, NULL);
    assert_non_null(merged);
    return merged;
}

static json_t *phase_of(json_t *root, const char *engine, const char *name)
{
    json_t *phase;
    size_t  i;

    json_array_foreach(json_object_get(row_of_cells(root, engine), "phases"), i, phase) {
        if (strcmp(json_string_value(json_object_get(phase, "name")), name) == 0)
            return phase;
    }
    fail();
    return NULL;
}

static double real_at(const json_t *object, const char *key)
{
    assert_true(json_is_number(json_object_get(object, key)));
    return json_number_value(json_object_get(object, key));
}

static void generators_that_ran_together_are_one_load(void **state)
{
    json_t *first = json_load_file(FIRST, 0, NULL), *root = merge_together(0), *one, *both, *pair;
    size_t  i;

    (void)state;
    assert_int_equal(int_at(root, "together"), 2);
    assert_int_equal(json_array_size(json_object_get(root, "cells")), json_array_size(json_object_get(first, "cells")));
    assert_int_equal(int_at(json_object_get(root, "settings"), "threads"), 2 * int_at(json_object_get(first, "settings"), "threads"));
    one = phase_of(first, "lsm", "run");
    both = phase_of(root, "lsm", "run");
    assert_int_equal(int_at(both, "ops"), 2 * int_at(one, "ops"));
    assert_true(real_at(both, "ops_per_s_engine") == 2 * real_at(one, "ops_per_s_engine"));
    assert_true(real_at(both, "ops_per_s_all_in") == 2 * real_at(one, "ops_per_s_all_in"));
    assert_true(real_at(both, "engine_ns_per_op") == real_at(one, "engine_ns_per_op"));
    assert_true(real_at(both, "wall_s") - real_at(one, "wall_s") < 1e-6);
    assert_true(json_is_null(json_object_get(both, "per_op")) && json_is_null(json_object_get(both, "meters")));
    one = json_object_get(json_object_get(phase_of(first, "lsm", "latency"), "latency_ns"), "read");
    both = json_object_get(json_object_get(phase_of(root, "lsm", "latency"), "latency_ns"), "read");
    assert_int_equal(int_at(both, "count"), 2 * int_at(one, "count"));
    assert_int_equal(int_at(both, "p99"), int_at(one, "p99")); /* of all samples */
    assert_int_equal(json_array_size(json_object_get(both, "histogram")), json_array_size(json_object_get(one, "histogram")));
    json_array_foreach(json_object_get(one, "histogram"), i, pair) {
        json_t *sum = json_array_get(json_object_get(both, "histogram"), i);

        assert_int_equal(json_integer_value(json_array_get(sum, 0)), json_integer_value(json_array_get(pair, 0)));
        assert_int_equal(json_integer_value(json_array_get(sum, 1)), 2 * json_integer_value(json_array_get(pair, 1)));
    }
    assert_int_equal(json_array_size(json_object_get(row_of_cells(root, "lsm"), "warnings")),
                     2 * json_array_size(json_object_get(row_of_cells(first, "lsm"), "warnings")));
    json_decref(first);
    json_decref(root);
}

static bool warns_of(json_t *root, const char *engine, const char *word)
{
    json_t *warning;
    size_t  i;

    json_array_foreach(json_object_get(row_of_cells(root, engine), "warnings"), i, warning) {
        if (strstr(json_string_value(warning), word))
            return true;
    }
    return false;
}

static void generators_that_ran_one_after_the_other_are_told(void **state)
{
    json_t *root = merge_together(3600 * INT64_C(1000000000));

    (void)state;
    assert_true(warns_of(root, "lsm", "at the same time for 0 %"));
    json_decref(root);
}

static void a_generator_that_failed_leaves_no_sum(void **state)
{
    char   *argv[] = {"merge", "--together", FIRST, second, "--out", out, NULL};
    json_t *root = other_generator(0), *cell;
    size_t  i;

    (void)state;
    json_array_foreach(json_object_get(root, "cells"), i, cell) {
        if (i == 0)
            json_object_set_new(cell, "status", json_string("failed"));
    }
    assert_int_equal(json_dump_file(root, second, 0), 0);
    json_decref(root);
    assert_int_equal(command_merge(6, argv), 0);
    root = json_load_file(out, 0, NULL);
    cell = json_array_get(json_object_get(root, "cells"), 0);
    assert_string_equal(json_string_value(json_object_get(cell, "status")), "failed");
    assert_int_equal(json_array_size(json_object_get(cell, "phases")), 0);
    cell = json_array_get(json_object_get(root, "cells"), 1);
    assert_string_equal(json_string_value(json_object_get(cell, "status")), "ok");
    json_decref(root);
}

static void generators_of_other_work_are_refused(void **state)
{
    char   *argv[] = {"merge", "--together", FIRST, second, "--out", out, NULL};
    json_t *root = other_generator(0);

    (void)state;
    json_object_set_new(json_object_get(root, "workload"), "records", json_integer(7));
    assert_int_equal(json_dump_file(root, second, 0), 0);
    json_decref(root);
    assert_int_equal(command_merge(6, argv), 1);
    assert_int_not_equal(access(out, F_OK), 0);
}

static void a_command_without_files_is_wrong(void **state)
{
    char *argv[] = {"merge", NULL};

    (void)state;
    assert_int_equal(command_merge(1, argv), 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(histograms_and_counts_are_added_exactly, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(rounds_are_counted_on_and_summed_up_anew, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(the_same_run_is_not_counted_twice, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(other_work_is_refused, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(a_histogram_that_contradicts_itself_is_refused, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(generators_that_ran_together_are_one_load, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(generators_that_ran_one_after_the_other_are_told, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(a_generator_that_failed_leaves_no_sum, make_dir, remove_dir),
        cmocka_unit_test_setup_teardown(generators_of_other_work_are_refused, make_dir, remove_dir),
        cmocka_unit_test(a_command_without_files_is_wrong),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
