/* t_workloads.c -- workload files and options: what is wrong is one sentence that says what to write instead. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/fail.h"
#include "workloads/workload.h"

static void says(const char *wanted)
{
    if (!strstr(fail_text(), wanted))
        fail_msg("wanted \"%s\" in \"%s\"", wanted, fail_text());
    assert_null(strchr(fail_text(), '\n'));
}

static char *written(const struct workload *workload)
{
    json_t *json = workload_json(workload);
    char   *text = json_dumps(json, JSON_COMPACT | JSON_REAL_PRECISION(17));

    json_decref(json);
    return text;
}

static void every_preset_can_be_read_and_is_consistent(void **state)
{
    size_t count = 0;

    (void)state;
    for (const char *const *name = workload_names(); *name; name++, count++) {
        struct workload workload;

        if (!workload_load(&workload, *name) || !workload_check(&workload))
            fail_msg("%s: %s", *name, fail_text());
        assert_string_equal(workload.name, *name);
        assert_true(strlen(workload.summary) > 10);
        if (count)
            assert_true(strcmp(name[-1], *name) < 0);
    }
    assert_true(count >= 20);
}

static void a_resolved_workload_reads_back_to_itself(void **state)
{
    (void)state;
    for (const char *const *name = workload_names(); *name; name++) {
        struct workload first, second;
        char           *text, *again;

        assert_true(workload_load(&first, *name));
        text = written(&first);
        if (!workload_read(&second, text, strlen(text), "other.json"))
            fail_msg("%s: %s", *name, fail_text());
        again = written(&second);
        assert_string_equal(text, again);
        free(text);
        free(again);
    }
}

static void ycsb_presets_are_the_core_workloads(void **state)
{
    static const struct {
        const char            *name;
        double                 mix[OP_KINDS]; /* read update insert delete rmw scan miss */
        enum distribution_kind kind;
    } rows[] = {
        {"ycsb-a", {0.5, 0.5}, DISTRIBUTION_ZIPFIAN},        {"ycsb-b", {0.95, 0.05}, DISTRIBUTION_ZIPFIAN},
        {"ycsb-c", {1}, DISTRIBUTION_ZIPFIAN},               {"ycsb-d", {0.95, 0, 0.05}, DISTRIBUTION_LATEST},
        {"ycsb-e", {0, 0, 0.05, 0, 0, 0.95}, DISTRIBUTION_ZIPFIAN},
        {"ycsb-f", {0.5, 0, 0, 0, 0.5}, DISTRIBUTION_ZIPFIAN},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct workload workload;

        assert_true(workload_load(&workload, rows[i].name));
        assert_int_equal(workload.phase_count, 1);
        assert_memory_equal(workload.phases[0].mix, rows[i].mix, sizeof rows[i].mix);
        assert_int_equal(workload.phases[0].keys.kind, rows[i].kind);
        assert_true(workload.phases[0].keys.exponent == 0.99);
        assert_int_equal(workload.key_bytes, 16);
        assert_int_equal(workload.value_bytes_min, 100);
    }
}

static void the_example_of_the_page_is_what_the_page_says(void **state)
{
    static char     page[1 << 16];
    struct workload workload;
    FILE           *file = fopen("workloads/README.md", "r");
    char           *begin, *end;

    (void)state;
    if (!file)
        skip(); /* not started from the root of the sources */
    page[fread(page, 1, sizeof page - 1, file)] = '\0';
    fclose(file);
    begin = strstr(page, "```json\n");
    assert_non_null(begin);
    begin += strlen("```json\n");
    end = strstr(begin, "```");
    assert_non_null(end);
    if (!workload_read(&workload, begin, (size_t)(end - begin), "example.json") || !workload_check(&workload))
        fail_msg("%s", fail_text());
    assert_string_equal(workload.name, "example");
    assert_int_equal(workload.records, 100000);
    assert_int_equal(workload.phase_count, 3);
    assert_int_equal(workload.value_bytes_max, 1024);
    assert_int_equal(workload.phases[0].keys.kind, DISTRIBUTION_ZIPFIAN);
    assert_int_equal(workload.phases[1].ops, 1000000);
    assert_int_equal(workload.phases[2].ops, 250000);
    assert_true(workload.phases[1].repeat_keys && !workload.phases[0].repeat_keys);
    assert_true(workload.phases[2].compact_before && !workload.phases[1].compact_before);
    assert_true(workload.phases[1].mix[OP_MISS] == 0.01);
}

static void every_field_has_its_row_on_the_page(void **state)
{
    static char            page[1 << 16];
    struct workload        workload;
    FILE                  *file = fopen("workloads/README.md", "r");
    json_t                *json;
    const char            *name;
    json_t                *value;

    (void)state;
    if (!file)
        skip();
    page[fread(page, 1, sizeof page - 1, file)] = '\0';
    fclose(file);
    assert_true(workload_load(&workload, "uniform"));
    json = workload_json(&workload);
    for (int phase = 0; phase < 2; phase++) {
        json_t *object = phase ? json_array_get(json_object_get(json, "phases"), 0) : json;

        json_object_foreach(object, name, value) {
            char row[64];

            snprintf(row, sizeof row, "`%s`", name);
            if (!strstr(page, row))
                fail_msg("%s is not on the page", row);
        }
    }
    for (const char *const *preset = workload_names(); *preset; preset++)
        if (!strstr(page, *preset) && strncmp(*preset, "ycsb-", 5) != 0)
            fail_msg("%s is not on the page", *preset);
    json_decref(json);
}

static void what_is_wrong_in_a_file_is_named(void **state)
{
    static const struct {
        const char *json;
        const char *says;
    } rows[] = {
        {"{\n  \"records\": 10,\n}", "bad.json:3:"},
        {"{\"records\": 10", "bad.json:1:"},
        {"", "bad.json:1:"},
        {"[]", "a workload is a JSON object"},
        {"{\"records\": 1, \"records\": 2}", "duplicate"},
        {"{\"recrods\": 10}", "no field \"recrods\"; did you mean \"records\"?"},
        {"{\"quux\": 10}", "no field \"quux\"; workloads/README.md"},
        {"{\"records\": -5}", "\"records\": \"-5\" is not a number; write it like 250, 10k or 1M"},
        {"{\"records\": 1.5}", "is not a whole number"},
        {"{\"records\": \"10q\"}", "unknown unit \"q\""},
        {"{\"records\": null}", "\"records\" must be a number, or a text such as \"10k\""},
        {"{\"records\": [1]}", "\"records\" must be a number"},
        {"{\"records\": 1e30}", "\"records\""},
        {"{\"threads\": 0}", "\"threads\" is 0; write 1 to 1024"},
        {"{\"threads\": 5000}", "write 1 to 1024"},
        {"{\"load\": \"yes\"}", "\"load\" is \"yes\"; write true or false"},
        {"{\"load\": {}}", "\"load\" must be true or false"},
        {"{\"distribution\": \"zipfain\"}", "did you mean \"zipfian\"?"},
        {"{\"distribution\": 3}", "\"distribution\" must be a text; write one of uniform, zipfian"},
        {"{\"key_order\": \"sorted\"}", "\"key_order\" is \"sorted\""},
        {"{\"exponent\": -1}", "\"exponent\""},
        {"{\"exponent\": 1000}", "\"exponent\" is 1000; write 0 to 100"},
        {"{\"mix\": 3}", "\"mix\" must be an object such as"},
        {"{\"mix\": {\"reed\": 1}}", "\"mix\" has no operation \"reed\"; did you mean \"read\"?"},
        {"{\"mix\": {\"read\": 2}}", "\"read\" is 2; write 0 to 1"},
        {"{\"mix\": {\"read\": \"half\"}}", "\"read\" must be a share"},
        {"{\"wait_min_ns\": \"10\"}", NULL}, /* plain digits are ns */
        {"{\"wait_min_ns\": \"10 parsecs\"}", "unknown unit \"parsecs\""},
        {"{\"seconds\": \"10 parsecs\"}", "unknown unit \"parsecs\""},
        {"{\"name\": \"\"}", "\"name\" has 0 bytes"},
        {"{\"name\": \"a\\u0000b\"}", "bad.json"},
        {"{\"summary\": 3}", "\"summary\" must be a text"},
        {"{\"phases\": []}", "\"phases\" must be a list of 1 to 8"},
        {"{\"phases\": [3]}", "phases[0] must be an object"},
        {"{\"phases\": [{\"ops\": 3}]}", "phases[0] has no \"name\""},
        {"{\"phases\": [{\"name\": \"a\"}, {\"name\": \"b\", \"threads\": 3}]}",
         "phases[1]: there is no field \"threads\""},
        {"{\"phases\": [{\"name\": \"a\", \"opps\": 3}]}", "did you mean \"ops\"?"},
        {"{\"repeat_keys\": true}", "no field \"repeat_keys\""},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct workload workload;
        bool            read = workload_read(&workload, rows[i].json, strlen(rows[i].json), "dir/bad.json");

        if (read != (rows[i].says == NULL))
            fail_msg("%s: %s", rows[i].json, read ? "was read" : fail_text());
        if (!read) {
            says(rows[i].says);
            says("dir/bad.json");
        }
    }
}

static void contradictions_are_named(void **state)
{
    static const struct {
        const char *json;
        const char *says;
    } rows[] = {
        {"{\"mix\": {\"read\": 0.5}}", "the shares of \"mix\" sum to 0.5"},
        {"{\"mix\": {\"read\": 0.7, \"update\": 0.7}}", "sum to 1.4"},
        {"{\"mix\": {}}", "sum to 0"},
        {"{\"arrival\": \"poisson\"}", "\"arrival\" poisson needs \"rate_per_s\""},
        {"{\"rate_per_s\": 100}", "\"rate_per_s\" has no effect"},
        {"{\"ops\": 0}", "it would never end"},
        {"{\"records\": 0}", "\"records\" is 0"},
        {"{\"key_bytes\": 5}", "\"key_bytes\" is 5; write 8 or more"},
        {"{\"value_sizes\": \"fixed\", \"value_bytes_min\": 3}", "\"value_sizes\" is fixed, but"},
        {"{\"value_sizes\": \"uniform\", \"value_bytes_min\": 300}",
         "\"value_bytes_min\" 300 is above \"value_bytes_max\" 100"},
        {"{\"arrival\": \"bursty\", \"wait_min_ns\": \"1ms\"}", "\"wait_min_ns\" is above"},
        {"{\"long_wait_min_ns\": \"1s\"}", "\"long_wait_min_ns\" is above"},
        {"{\"distribution\": \"hotset\", \"drift_ops\": 100}", "moves the hot set before"},
        {"{\"distribution\": \"hotset\", \"hot_fraction\": 0}", "\"hot_fraction\" is 0"},
        {"{\"distribution\": \"exponential\", \"percentile\": 1}", "\"percentile\" must lie between"},
        {"{\"distribution\": \"zipfian\", \"exponent\": 0.9, \"ycsb_compat\": true}", "\"ycsb_compat\" needs"},
        {"{\"distribution\": \"uniform\", \"ycsb_compat\": true}", "\"ycsb_compat\" needs"},
        {"{\"phases\": [{\"name\": \"a\"}, {\"name\": \"a\"}]}", "two phases have this name"},
        {"{\"phases\": [{\"name\": \"a\", \"repeat_keys\": true}]}", "there is none"},
        {"{\"phases\": [{\"name\": \"a\"}, {\"name\": \"b\", \"ops\": 0}]}", "phase b: "},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        struct workload workload;

        if (!workload_read(&workload, rows[i].json, strlen(rows[i].json), "bad.json"))
            fail_msg("%s", fail_text());
        if (workload_check(&workload))
            fail_msg("%s: passed", rows[i].json);
        says(rows[i].says);
        says("bad");
    }
}

static void files_that_cannot_be_read_are_named(void **state)
{
    struct workload workload;

    (void)state;
    assert_false(workload_load(&workload, "/nonexistent/w.json"));
    says("/nonexistent/w.json: No such file");
    assert_false(workload_load(&workload, "w.json"));
    says("open w.json");
    assert_false(workload_load(&workload, "/tmp/"));
    says("/tmp/");
    assert_false(workload_load(&workload, "ycsb-z"));
    says("did you mean \"ycsb-");
    assert_false(workload_load(&workload, ""));
    says("write one of");
}

static void a_file_is_read_and_named_after_itself(void **state)
{
    char            path[] = "/tmp/assay-XXXXXX.json";
    int             fd = mkstemps(path, 5);
    struct workload workload;
    const char     *text = "{\"records\": \"10k\", \"ops\": 5e3, \"value_bytes\": \"1k\", \"seconds\": 0.25,\n"
                           " \"wait_max_ns\": \"1ms\"}";

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
    if (!workload_load(&workload, path))
        fail_msg("%s", fail_text());
    unlink(path);
    assert_int_equal(strncmp(workload.name, "assay-", 6), 0);
    assert_null(strstr(workload.name, ".json"));
    assert_int_equal(workload.records, 10000);
    assert_int_equal(workload.phases[0].ops, 5000);
    assert_int_equal(workload.phases[0].run_ns, 250000000);
    assert_int_equal(workload.value_bytes_min, 1024);
    assert_int_equal(workload.wait_max_ns, 1000000);
    assert_string_equal(workload.phases[0].name, "run");
}

static void options_override_fields_units_and_all(void **state)
{
    struct workload workload;

    (void)state;
    assert_true(workload_load(&workload, "lsm-put-read-compact"));
    assert_true(workload_set(&workload, "records", "10k"));
    assert_int_equal(workload.records, 10000);
    assert_true(workload_set(&workload, "value-bytes", "4k"));
    assert_true(workload.value_bytes_min == 4096 && workload.value_bytes_max == 4096);
    assert_true(workload_set(&workload, "distribution", "zipfian"));
    assert_true(workload_set(&workload, "mix", "read=90%,update=0.1"));
    assert_true(workload_set(&workload, "ops", "7k"));
    assert_true(workload_set(&workload, "seed", "1000000000000000000"));
    assert_false(workload_set(&workload, "seed", "18446744073709551615")); /* JSON readers would lose it */
    says("\"seed\" is 18446744073709551615; write 0 to 1e+18");
    for (size_t phase = 0; phase < 2; phase++) {
        assert_int_equal(workload.phases[phase].keys.kind, DISTRIBUTION_ZIPFIAN);
        assert_int_equal(workload.phases[phase].ops, 7000);
        assert_true(workload.phases[phase].mix[OP_READ] == 0.9 && workload.phases[phase].mix[OP_UPDATE] == 0.1);
    }
    assert_true(workload_check(&workload));
    assert_true(workload_set(&workload, "seconds", "1.5"));
    assert_true(workload.phases[1].ops == 0 && workload.phases[1].run_ns == 1500000000);
    assert_true(workload_set(&workload, "seconds", "2m"));
    assert_true(workload.phases[0].run_ns == UINT64_C(120000000000));
    assert_false(workload_set(&workload, "mix", "read"));
    says("write it like read=95%,update=5%");
    assert_false(workload_set(&workload, "mix", "read=x"));
    says("\"mix\", read:");
    assert_false(workload_set(&workload, "theta", "1"));
    says("no field \"theta\"");
    assert_false(workload_set(&workload, "name", "x") && workload_set(&workload, "phases", "x"));
}

static void options_of_a_command_keep_both_limits_when_both_are_given(void **state)
{
    static const char *const except[] = {"seed", NULL};
    struct workload_options  options;
    struct workload          workload;
    struct arg               rows[WORKLOAD_OPTIONS_MAX];
    size_t                   count = workload_option_rows(&options, rows, except);

    (void)state;
    assert_true(count > 20 && count <= WORKLOAD_OPTIONS_MAX);
    for (size_t i = 0; i < count; i++) {
        assert_string_not_equal(rows[i].name, "seed");
        assert_null(strchr(rows[i].name, '_'));
        assert_non_null(rows[i].help);
        if (strcmp(rows[i].name, "ops") == 0)
            *(const char **)rows[i].out = "5k";
        if (strcmp(rows[i].name, "seconds") == 0)
            *(const char **)rows[i].out = "3";
    }
    assert_true(workload_load(&workload, "grid-uniform"));
    assert_true(workload_set_options(&workload, &options));
    for (size_t phase = 0; phase < 2; phase++)
        assert_true(workload.phases[phase].ops == 5000 && workload.phases[phase].run_ns == UINT64_C(3000000000));
}

static void a_lost_key_can_be_told_from_one_that_may_be_absent(void **state)
{
    struct workload workload;

    (void)state;
    assert_true(workload_load(&workload, "ycsb-d"));
    assert_false(workload_may_miss(&workload, 0));
    workload.load = false;
    assert_true(workload_may_miss(&workload, 0));
    assert_true(workload_load(&workload, "mixed-batch"));
    assert_true(workload_may_miss(&workload, 0));
    assert_true(workload_load(&workload, "lsm-put-read-compact"));
    assert_false(workload_may_miss(&workload, 1));
    workload.phases[0].mix[OP_DELETE] = 0.5;
    assert_true(workload_may_miss(&workload, 1));
}

static void shares_of_threads_add_up(void **state)
{
    (void)state;
    for (uint32_t threads = 1; threads < 9; threads++) {
        struct workload workload = {.threads = threads};

        for (uint64_t total = 0; total < 30; total++) {
            uint64_t sum = 0;
            for (uint32_t thread = 0; thread < threads; thread++)
                sum += workload_share(&workload, total, thread);
            assert_int_equal(sum, total);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_preset_can_be_read_and_is_consistent),
        cmocka_unit_test(a_resolved_workload_reads_back_to_itself),
        cmocka_unit_test(ycsb_presets_are_the_core_workloads),
        cmocka_unit_test(the_example_of_the_page_is_what_the_page_says),
        cmocka_unit_test(every_field_has_its_row_on_the_page),
        cmocka_unit_test(what_is_wrong_in_a_file_is_named),
        cmocka_unit_test(contradictions_are_named),
        cmocka_unit_test(files_that_cannot_be_read_are_named),
        cmocka_unit_test(a_file_is_read_and_named_after_itself),
        cmocka_unit_test(options_override_fields_units_and_all),
        cmocka_unit_test(options_of_a_command_keep_both_limits_when_both_are_given),
        cmocka_unit_test(a_lost_key_can_be_told_from_one_that_may_be_absent),
        cmocka_unit_test(shares_of_threads_add_up),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
