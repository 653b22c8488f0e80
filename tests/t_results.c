/* t_results.c -- result files: whole or not at all, read back, and what is wrong with a bad one is told. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "results/facts.h"
#include "results/result.h"

static char dir[256], path[300];

static int make_dir(void **state)
{
    const char *base = getenv("TMPDIR");

    (void)state;
    snprintf(dir, sizeof dir, "%s/t_results.XXXXXX", base ? base : "/tmp");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/r.json", dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    unlink(path);
    return rmdir(dir);
}

static json_t *some_result(void)
{
    char *argv[] = {"bench", "--engine", "null", "\xff"};

    return result_new("bench", 4, argv, dir);
}

static void a_written_result_reads_back_the_same(void **state)
{
    struct outfile file;
    json_t        *result = some_result(), *back;

    (void)state;
    json_object_set_new(result, "big", json_integer(INT64_C(9007199254740993)));
    json_object_set_new(result, "real", json_real(0.1 + 0.2));
    result_warn(result, "unsteady: %d", 7);
    result_warn(result, "unsteady: %d", 7);
    assert_int_equal(json_array_size(json_object_get(result, "warnings")), 1);
    json_incref(result);
    assert_true(outfile_open(&file, path));
    assert_true(result_write(result, &file, false));
    back = result_read(path, "bench");
    assert_non_null(back);
    assert_true(json_equal(result, back));
    assert_true(json_is_false(json_object_get(back, "complete")));
    json_decref(result);
    json_decref(back);
}

static void a_result_that_is_given_up_leaves_the_old_file(void **state)
{
    struct outfile file;
    json_t        *back;

    (void)state;
    assert_true(outfile_open(&file, path));
    assert_true(result_write(some_result(), &file, true));
    assert_true(outfile_open(&file, path));
    fputs("half", file.stream);
    outfile_discard(&file);
    back = result_read(path, NULL);
    assert_non_null(back);
    json_decref(back);
}

static void a_cut_result_names_the_file_and_the_line(void **state)
{
    FILE *stream = fopen(path, "w");

    (void)state;
    fputs("{\n \"schema\": \"assay/1\",\n \"ki", stream);
    fclose(stream);
    assert_null(result_read(path, NULL));
    assert_non_null(strstr(fail_text(), path));
    assert_non_null(strstr(fail_text(), "line 3"));
}

static void a_file_of_another_schema_or_kind_is_refused(void **state)
{
    FILE *stream = fopen(path, "w");

    (void)state;
    fputs("{\"schema\": \"assay/9\", \"kind\": \"bench\"}", stream);
    fclose(stream);
    assert_null(result_read(path, NULL));
    assert_non_null(strstr(fail_text(), "assay/9"));
    stream = fopen(path, "w");
    fputs("{\"schema\": \"assay/1\", \"kind\": \"bench\"}", stream);
    fclose(stream);
    assert_null(result_read(path, "crash"));
    assert_non_null(strstr(fail_text(), "crash"));
    assert_null(result_read("/nowhere/r.json", NULL));
    assert_non_null(strstr(fail_text(), "/nowhere/r.json"));
}

static void an_unknown_figure_is_null_and_never_zero(void **state)
{
    json_t *unknown = result_known(KV_UNKNOWN), *zero = result_known(0), *ratio = result_ratio(1, 0);

    (void)state;
    assert_true(json_is_null(unknown));
    assert_true(json_is_integer(zero));
    assert_true(json_is_null(ratio));
    json_decref(unknown);
    json_decref(zero);
    json_decref(ratio);
}

static kv_status open_told(const struct kv_config *config, struct kv_store **out)
{
    (void)config;
    *out = calloc(1, sizeof **out);
    return *out ? KV_OK : KV_NO_MEMORY;
}

static kv_status close_told(struct kv_store *store)
{
    free(store);
    return KV_OK;
}

static void settings_told(struct kv_store *store, kv_setting *setting, void *arg)
{
    (void)store;
    setting(arg, "WAL", "sync=true");
    setting(arg, "cache", "128M \xff");
}

static void an_engine_tells_how_it_is_really_set_up(void **state)
{
    struct kv_engine engine = *kv_engines[0];
    struct kv_config config;
    json_t          *settings, *told;

    (void)state;
    engine.options = NULL;
    kv_config_init(&engine, &config);
    engine.open     = open_told;
    engine.close    = close_told;
    engine.settings = settings_told;
    engine.licence  = "BSD-3-Clause";
    settings        = result_settings_of(&engine, &config);
    assert_int_equal(json_object_size(settings), 2);
    assert_string_equal(json_string_value(json_object_get(settings, "WAL")), "sync=true");
    assert_string_equal(json_string_value(json_object_get(settings, "cache")), "(not UTF-8)");
    json_decref(settings);
    told = result_engine(&engine, &config);
    assert_string_equal(json_string_value(json_object_get(told, "licence")), "BSD-3-Clause");
    assert_true(json_is_null(json_object_get(told, "settings")));
    json_decref(told);
    engine.settings = NULL;
    settings        = result_settings_of(&engine, &config);
    assert_true(json_is_null(settings));
    json_decref(settings);
}

static void a_shorter_text_leaves_nothing_of_the_longer_one_before(void **state)
{
    int     fd = memfd_create("t_results", 0);
    json_t *longer = json_pack("[s, s, s]", "one", "two", "three"), *shorter = json_pack("[f]", 0.1), *back;

    (void)state;
    assert_null(result_take(fd));
    result_publish(longer, fd);
    result_publish(shorter, fd);
    back = result_take(fd);
    assert_true(json_equal(back, shorter));
    json_decref(longer);
    json_decref(shorter);
    json_decref(back);
    close(fd);
}

static void an_engine_tells_every_option_and_its_tier(void **state)
{
    for (size_t i = 0; kv_engines[i]; i++) {
        struct kv_config config;
        json_t          *engine;
        size_t           count = 0;

        (void)state;
        kv_config_init(kv_engines[i], &config);
        engine = result_engine(kv_engines[i], &config);
        while (kv_engines[i]->options && kv_engines[i]->options[count].name)
            count++;
        assert_int_equal(json_object_size(json_object_get(engine, "options")) +
                             json_object_size(json_object_get(engine, "sizes")), count);
        assert_string_equal(json_string_value(json_object_get(engine, "tier")),
                            kv_engines[i]->can & KV_DURABLE ? "process" : "volatile");
        assert_int_equal(json_string_length(json_object_get(engine, "binary_xxh3")), 16);
        json_decref(engine);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_written_result_reads_back_the_same),
        cmocka_unit_test(a_result_that_is_given_up_leaves_the_old_file),
        cmocka_unit_test(a_cut_result_names_the_file_and_the_line),
        cmocka_unit_test(a_file_of_another_schema_or_kind_is_refused),
        cmocka_unit_test(an_unknown_figure_is_null_and_never_zero),
        cmocka_unit_test(an_engine_tells_every_option_and_its_tier),
        cmocka_unit_test(an_engine_tells_how_it_is_really_set_up),
        cmocka_unit_test(a_shorter_text_leaves_nothing_of_the_longer_one_before),
    };

    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
