/* t_report.c -- a report shows the numbers of its results, survives odd ones, and is there whole or not at all. */
#include <dirent.h>
#include <fcntl.h>
#include <jansson.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "common/commands.h"
#include "common/stop.h"
#include "plot/draw.h"
#include "plot/figures.h"
#include "plot/model.h"

#define SAID_BYTES 1000
#define GOLDEN "tests/golden/"

static char dir[256], out[300], input[300];

static void wipe(const char *folder)
{
    DIR *entries = opendir(folder);

    for (struct dirent *entry; entries && (entry = readdir(entries));)
        unlinkat(dirfd(entries), entry->d_name, 0);
    if (entries)
        closedir(entries);
    rmdir(folder);
}

static int make_dir(void **state)
{
    const char *base = getenv("TMPDIR");

    (void)state;
    snprintf(dir, sizeof dir, "%s/t_report-XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(dir))
        return -1;
    snprintf(out, sizeof out, "%s/report", dir);
    snprintf(input, sizeof input, "%s/input.json", dir);
    return 0;
}

static int remove_dir(void **state)
{
    (void)state;
    wipe(out);
    unlink(input);
    return rmdir(dir); /* fails when a report left something beside itself */
}

/* Runs the command; what it says on stderr goes to said (may be NULL). */
static int report(char *said, size_t room, const char *const *files)
{
    char  *argv[16] = {"report"}, complaint[300];
    int    argc = 1, kept = dup(2), rc, fd;
    size_t got = 0;

    while (*files)
        argv[argc++] = (char *)*files++;
    argv[argc++] = "--out";
    argv[argc++] = out;
    snprintf(complaint, sizeof complaint, "%s/stderr", dir);
    fflush(stderr);
    fd = open(complaint, O_RDWR | O_CREAT | O_TRUNC, 0600);
    dup2(fd, 2);
    rc = command_report(argc, argv);
    fflush(stderr);
    dup2(kept, 2);
    if (said) {
        ssize_t bytes = pread(fd, said, room - 1, 0);
        got           = bytes > 0 ? (size_t)bytes : 0;
        said[got]     = '\0';
    }
    close(fd);
    close(kept);
    unlink(complaint);
    return rc;
}

#define REPORT(said, ...) report(said, SAID_BYTES, (const char *const[]){__VA_ARGS__, NULL})

static char *read_out(const char *name)
{
    char  path[700];
    char *text;

    snprintf(path, sizeof path, "%s/%s", out, name);
    text = draw_read_file(path);
    if (!text)
        fail_msg("%s is not there", name);
    return text;
}

static bool is_there(const char *name)
{
    char path[700];

    snprintf(path, sizeof path, "%s/%s", out, name);
    return access(path, R_OK) == 0;
}

static unsigned count(const char *text, const char *word)
{
    unsigned found = 0;

    for (const char *at = text; (at = strstr(at, word)); at += strlen(word))
        found++;
    return found;
}

/* Cell `column` of the first row whose columns hold those values; "" when there is none. */
static void cell_of(const char *tsv, const char *column, const char *const where[][2], char *value, size_t room)
{
    char *copy = strdup(tsv), *rest = copy, *names[32], *line = strsep(&rest, "\n");
    int   columns = 0;

    *value = '\0';
    for (char *name; (name = strsep(&line, "\t"));)
        names[columns++] = name;
    while (!*value && (line = strsep(&rest, "\n")) && *line) {
        bool fits = true;
        int  at   = 0;
        char found[200] = "";

        for (char *cell; (cell = strsep(&line, "\t")); at++) {
            assert_true(at < columns);
            for (size_t i = 0; where[i][0]; i++)
                fits = fits && (strcmp(names[at], where[i][0]) != 0 || strcmp(cell, where[i][1]) == 0);
            if (strcmp(names[at], column) == 0)
                snprintf(found, sizeof found, "%s", cell);
        }
        assert_int_equal(at, columns); /* every row has every cell */
        if (fits)
            snprintf(value, room, "%s", found);
    }
    free(copy);
}

#define CELL(tsv, column, value, ...) \
    cell_of(tsv, column, (const char *const[][2]){__VA_ARGS__, {NULL, NULL}}, value, sizeof value)

static bool well_formed(const char *name)
{
    char path[700], *text = read_out(name);
    bool good = strstr(text, "</svg>") && strstr(text, "<title>") && !strstr(text, "<title>Gnuplot");

    free(text);
    snprintf(path, sizeof path, "command -v xmllint >/dev/null || exit 0; xmllint --noout --nonet '%s/%s'", out, name);
    return good && system(path) == 0;
}

static void a_report_has_every_figure_in_every_form(void **state)
{
    static const char *const figures[] = {
        "throughput-tier-process", "throughput-tier-commit", "latency-ycsb-a-tier-process", "latency-ycsb-c-tier-process",
        "timeline-ycsb-a-tier-process", "cost-ycsb-a-tier-process", "space-ycsb-a-tier-process", "crash-verdicts",
    };
    char *page;

    (void)state;
    assert_int_equal(REPORT(NULL, GOLDEN "bench-a.json", GOLDEN "bench-c.json", GOLDEN "bench-commit.json",
                            GOLDEN "crash-kill.json", GOLDEN "crash-power.json", GOLDEN "crash-lost.json",
                            GOLDEN "calibrate.json"), 0);
    page = read_out("index.html");
    for (size_t i = 0; i < sizeof figures / sizeof *figures; i++) {
        char name[100], *text;

        snprintf(name, sizeof name, "%s.svg", figures[i]);
        assert_true(well_formed(name));
        snprintf(name, sizeof name, "%s.png", figures[i]);
        text = read_out(name);
        assert_memory_equal(text, "\x89PNG", 4);
        free(text);
        snprintf(name, sizeof name, "%s.tsv", figures[i]);
        assert_true(is_there(name));
        snprintf(name, sizeof name, "<figure id=\"%s\">", figures[i]);
        assert_int_equal(count(page, name), 1);
    }
    /* One file, readable without the others and without a network. */
    assert_int_equal(count(page, "<svg role=\"img\""), count(page, "<figure "));
    assert_null(strstr(page, "<script"));
    assert_null(strstr(page, "src="));
    assert_null(strstr(page, "href=\"http"));
    assert_null(strstr(page, "url(http"));
    assert_null(strstr(page, "@import"));
    /* What must not be overlooked. */
    assert_non_null(strstr(page, "another process used 12 % of the machine during round 2"));
    assert_non_null(strstr(page, "unsteady: throughput still rose at the end"));
    assert_non_null(strstr(page, "refused: the engine does not offer tier commit"));
    assert_non_null(strstr(page, "--replay s7-1841"));
    assert_non_null(strstr(page, "assay bench --engine memory,bitcask,lsm,hybridlog --workload ycsb-a"));
    free(page);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

static void the_tables_have_the_numbers_of_the_results(void **state)
{
    json_t     *root = json_load_file(GOLDEN "bench-a.json", 0, NULL), *cell, *phase, *single;
    double      rates[3];
    size_t      i, j, n = 0;
    char        value[200], expected[64], *tsv;
    json_int_t  p99 = 0;

    (void)state;
    assert_int_equal(REPORT(NULL, GOLDEN "bench-a.json", GOLDEN "bench-c.json"), 0);
    json_array_foreach(json_object_get(root, "cells"), i, cell) {
        json_array_foreach(json_object_get(cell, "phases"), j, phase) {
            if (strcmp(json_string_value(json_object_get(cell, "engine")), "lsm") == 0 &&
                strcmp(json_string_value(json_object_get(phase, "name")), "run") == 0)
                rates[n++] = json_real_value(json_object_get(phase, "ops_per_s_engine"));
        }
    }
    assert_int_equal(n, 3);
    qsort(rates, 3, sizeof *rates, compare);
    tsv = read_out("throughput-tier-process.tsv");
    CELL(tsv, "median", value, {"experiment", "ycsb-a"}, {"phase", "run"}, {"engine", "lsm"});
    snprintf(expected, sizeof expected, "%.17g", rates[1]);
    assert_string_equal(value, expected);
    CELL(tsv, "min", value, {"experiment", "ycsb-a"}, {"phase", "run"}, {"engine", "lsm"});
    snprintf(expected, sizeof expected, "%.17g", rates[0]);
    assert_string_equal(value, expected);
    CELL(tsv, "n", value, {"experiment", "ycsb-a"}, {"phase", "run"}, {"engine", "lsm"});
    assert_string_equal(value, "3");
    free(tsv);
    json_decref(root);

    /* With one round the percentiles are those of the result, to the nanosecond. */
    single = json_load_file(GOLDEN "bench-c.json", 0, NULL);
    json_array_foreach(json_object_get(single, "cells"), i, cell) {
        json_array_foreach(json_object_get(cell, "phases"), j, phase) {
            json_t *read = json_object_get(json_object_get(phase, "latency_ns"), "read");

            if (read && strcmp(json_string_value(json_object_get(cell, "engine")), "bitcask") == 0)
                p99 = json_integer_value(json_object_get(read, "p99"));
        }
    }
    tsv = read_out("latency-ycsb-c-tier-process.tsv");
    CELL(tsv, "p99_ns", value, {"engine", "bitcask"}, {"kind", "read"});
    snprintf(expected, sizeof expected, "%lld", (long long)p99);
    assert_true(p99 > 0);
    assert_string_equal(value, expected);
    free(tsv);
    json_decref(single);
}

static void rename_engine(json_t *objects, const char *key, const char *from, const char *to)
{
    json_t *object;
    size_t  i;

    json_array_foreach(objects, i, object) {
        if (strcmp(json_string_value(json_object_get(object, key)), from) == 0)
            json_object_set_new(object, key, json_string(to));
    }
}

static void what_was_published_stands_beside_ours(void **state)
{
    json_t *root = json_load_file(GOLDEN "bench-c.json", 0, NULL), *cell, *phase;
    size_t  i, j;
    char    value[200], *tsv, *page;

    (void)state;
    json_object_set_new(json_object_get(root, "workload"), "name", json_string("lsm-ladder"));
    rename_engine(json_object_get(root, "engines"), "name", "bitcask", "3-reused-buffers");
    rename_engine(json_object_get(root, "cells"), "engine", "bitcask", "3-reused-buffers");
    json_array_foreach(json_object_get(root, "cells"), i, cell) {
        json_array_foreach(json_object_get(cell, "phases"), j, phase) {
            if (strcmp(json_string_value(json_object_get(cell, "engine")), "3-reused-buffers") == 0 &&
                strcmp(json_string_value(json_object_get(phase, "name")), "load") == 0)
                json_object_set_new(phase, "meters", json_pack("{s:i, s:i}", "cpu_user_ns", 1500000000, "cpu_system_ns", 250000000));
        }
    }
    assert_int_equal(json_dump_file(root, input, 0), 0);
    json_decref(root);
    assert_int_equal(REPORT(NULL, input), 0);
    assert_true(well_formed("published-lsm-ladder.svg"));
    tsv = read_out("published-lsm-ladder.tsv");
    CELL(tsv, "median", value, {"phase", "1 M puts of 128 bytes"}, {"engine", "3-reused-buffers"});
    assert_string_equal(value, "1750000000");
    CELL(tsv, "median_light", value, {"phase", "1 M puts of 128 bytes"}, {"engine", "3-reused-buffers"});
    assert_string_equal(value, "417000000");
    CELL(tsv, "median_light", value, {"phase", "compaction"}, {"engine", "3-reused-buffers"}); /* ours has none */
    assert_string_equal(value, "1728000000");
    CELL(tsv, "median", value, {"phase", "compaction"}, {"engine", "3-reused-buffers"});
    assert_string_equal(value, "");
    CELL(tsv, "median_light", value, {"phase", "1 M puts of 128 bytes"}, {"engine", "memory"});
    assert_string_equal(value, "");
    free(tsv);
    page = read_out("index.html");
    assert_non_null(strstr(page, "algao1/crumbs"));
    free(page);
}

/* The badge of an engine of a golden bench file, given crash files. */
static enum badge badge_of(const char *bench, const char *engine, const char *crash)
{
    const char  *paths[] = {bench, crash};
    struct model model;
    enum badge   badge;
    char        *why;

    assert_true(model_load(&model, paths, 2));
    badge = model_badge(&model, model.experiments[0].root, engine_at(model.experiments[0].root, engine), &why);
    free(why);
    model_clear(&model);
    return badge;
}

static void missing_syncs_break_a_badge_whatever_crash_runs_say(void **state)
{
    json_t *root = json_load_file(GOLDEN "bench-a.json", 0, NULL), *engine;
    size_t  i;
    char   *page;

    (void)state;
    json_array_foreach(json_object_get(root, "engines"), i, engine) {
        if (strcmp(json_string_value(json_object_get(engine, "name")), "bitcask") == 0)
            json_object_set_new(engine, "tier_check", json_pack("{s:s, s:b, s:s, s:[]}", "tier", "process", "ok", 0, "why",
                                                                "8 of 8 writes were not synced", "parts"));
    }
    assert_int_equal(json_dump_file(root, input, 0), 0);
    json_decref(root);
    assert_int_equal(badge_of(input, "bitcask", GOLDEN "crash-kill.json"), BADGE_BROKEN);
    assert_int_equal(REPORT(NULL, input), 0);
    page = read_out("index.html");
    assert_non_null(strstr(page, "SYNCS ARE MISSING: 8 of 8 writes were not synced"));
    free(page);
}

/* A golden crash file with one text changed: object NULL is the root. */
static const char *changed(const char *path, const char *object, const char *key, const char *text)
{
    json_t *root = json_load_file(path, 0, NULL);

    json_object_set_new(object ? json_object_get(root, object) : root, key, json_string(text));
    assert_int_equal(json_dump_file(root, input, 0), 0);
    json_decref(root);
    return input;
}

static void a_badge_needs_the_same_build_tier_and_options(void **state)
{
    (void)state;
    assert_int_equal(badge_of(GOLDEN "bench-a.json", "bitcask", GOLDEN "crash-kill.json"), BADGE_HELD);
    assert_int_equal(badge_of(GOLDEN "bench-a.json", "lsm", GOLDEN "crash-kill.json"), BADGE_UNVERIFIED);
    assert_int_equal(badge_of(GOLDEN "bench-a.json", "memory", GOLDEN "crash-kill.json"), BADGE_NOTHING_PROMISED);
    assert_int_equal(badge_of(GOLDEN "bench-commit.json", "bitcask", GOLDEN "crash-kill.json"), BADGE_UNVERIFIED);
    assert_int_equal(badge_of(GOLDEN "bench-a.json", "bitcask",
                              changed(GOLDEN "crash-kill.json", "engine", "binary_xxh3", "ffff")), BADGE_UNVERIFIED);
    assert_int_equal(badge_of(GOLDEN "bench-a.json", "bitcask",
                              changed(GOLDEN "crash-kill.json", "engine", "version", "2")), BADGE_UNVERIFIED);
    assert_int_equal(badge_of(GOLDEN "bench-a.json", "bitcask",
                              changed(GOLDEN "crash-kill.json", "engine", "options", "other")), BADGE_UNVERIFIED);
}

static void a_synced_tier_needs_power_loss_and_not_kills_alone(void **state)
{
    (void)state;
    assert_int_equal(badge_of(GOLDEN "bench-commit.json", "bitcask", GOLDEN "crash-power.json"), BADGE_HELD);
    assert_int_equal(badge_of(GOLDEN "bench-commit.json", "bitcask",
                              changed(GOLDEN "crash-kill.json", "engine", "tier", "commit")), BADGE_KILL_ONLY);
    assert_int_equal(badge_of(GOLDEN "bench-commit.json", "lsm", GOLDEN "crash-lost.json"), BADGE_BROKEN);
}

static void save(json_t *root)
{
    assert_int_equal(json_dump_file(root, input, 0), 0);
    json_decref(root);
}

static void names_with_odd_characters_stay_text(void **state)
{
    static const char name[] = "o'dd \"n\" <b>&{x}^2_@ `touch pwned` %d $(y) \\ ünï\t|;";
    json_t           *root = json_load_file(GOLDEN "bench-c.json", 0, NULL), *cell;
    char              said[1000], *page, *svg;
    size_t            i;

    (void)state;
    json_object_set_new(json_array_get(json_object_get(root, "engines"), 1), "name", json_string(name));
    json_array_foreach(json_object_get(root, "cells"), i, cell) {
        if (strcmp(json_string_value(json_object_get(cell, "engine")), "bitcask") == 0)
            json_object_set_new(cell, "engine", json_string(name));
    }
    json_object_set_new(json_object_get(root, "workload"), "name", json_string("../<w'`x`>%s"));
    save(root);
    if (REPORT(said, input) != 0)
        fail_msg("%s", said);
    page = read_out("index.html");
    assert_null(strstr(page, "<b>"));
    assert_null(strstr(page, "<w"));
    assert_non_null(strstr(page, "&lt;b&gt;&amp;{x}^2_@ `touch pwned` %d $(y) \\ ünï"));
    assert_false(is_there("pwned"));
    svg = read_out("throughput-tier-process.svg");
    assert_true(well_formed("throughput-tier-process.svg"));
    assert_non_null(strstr(svg, "o'dd \"n\" &lt;b>&amp;{x}^2_@ `t"));
    free(svg);
    free(page);
}

static void cells_that_failed_and_fields_that_are_null_are_said(void **state)
{
    json_t *root = json_load_file(GOLDEN "bench-c.json", 0, NULL), *cells = json_object_get(root, "cells"), *cell, *phase;
    char    said[1000], *page, *tsv, value[200];
    size_t  i, j;

    (void)state;
    json_array_foreach(cells, i, cell) {
        const char *engine = json_string_value(json_object_get(cell, "engine"));

        if (strcmp(engine, "lsm") == 0) {
            json_object_set_new(cell, "status", json_string("crashed"));
            json_object_set_new(cell, "reason", json_string("died of signal 11"));
        } else if (strcmp(engine, "memory") == 0) {
            json_array_foreach(json_object_get(cell, "phases"), j, phase) {
                const char *key;
                json_t     *field;
                void       *next;

                json_object_foreach_safe(phase, next, key, field) {
                    if (strcmp(key, "name") != 0)
                        json_object_set_new(phase, key, json_null());
                }
            }
            json_object_set_new(cell, "space", json_null());
            json_object_set_new(cell, "amplification", json_null());
        }
    }
    json_object_set_new(root, "host", json_null());
    json_object_set_new(root, "calibration", json_null());
    save(root);
    if (REPORT(said, input) != 0)
        fail_msg("%s", said);
    page = read_out("index.html");
    assert_non_null(strstr(page, "crashed: died of signal 11"));
    tsv = read_out("throughput-tier-process.tsv");
    CELL(tsv, "n", value, {"engine", "lsm"}, {"phase", "run"});
    assert_string_equal(value, "0"); /* what a crashed cell measured is no result */
    CELL(tsv, "status", value, {"engine", "memory"}, {"phase", "run"});
    assert_string_equal(value, "ok");
    CELL(tsv, "median", value, {"engine", "memory"}, {"phase", "run"});
    assert_string_equal(value, ""); /* unknown, and not 0 */
    assert_null(strstr(tsv, "nan"));
    free(tsv);
    free(page);
}

static void a_result_without_cells_makes_a_page(void **state)
{
    json_t *root = json_load_file(GOLDEN "bench-c.json", 0, NULL);
    char    said[1000];

    (void)state;
    json_object_set_new(root, "cells", json_array());
    save(root);
    if (REPORT(said, input) != 0)
        fail_msg("%s", said);
    root = json_pack("{s:s, s:s}", "schema", "assay/1", "kind", "bench");
    save(root);
    if (REPORT(said, input) != 0)
        fail_msg("%s", said);
}

static void twenty_engines_have_twenty_rows_and_marks(void **state)
{
    json_t *root = json_load_file(GOLDEN "bench-c.json", 0, NULL), *engines = json_object_get(root, "engines");
    json_t *cells = json_object_get(root, "cells"), *engine = json_deep_copy(json_array_get(engines, 1));
    json_t *cell = json_deep_copy(json_array_get(cells, 1)), *copy;
    struct model model;
    const char  *path = input;
    char         name[40], said[1000], *page;

    (void)state;
    json_array_clear(engines);
    json_array_clear(cells);
    for (int i = 0; i < 20; i++) {
        snprintf(name, sizeof name, "engine-number-%02d", i);
        copy = json_deep_copy(engine);
        json_object_set_new(copy, "name", json_string(name));
        json_array_append_new(engines, copy);
        copy = json_deep_copy(cell);
        json_object_set_new(copy, "engine", json_string(name));
        json_array_append_new(cells, copy);
    }
    json_decref(engine);
    json_decref(cell);
    save(root);
    if (REPORT(said, input) != 0)
        fail_msg("%s", said);
    page = read_out("index.html");
    assert_true(count(page, "engine-number-19") > 5);
    free(page);
    assert_true(model_load(&model, &path, 1));
    assert_int_equal(model.mark_count, 20);
    for (size_t i = 0; i < 20; i++) {
        for (size_t j = 0; j < i; j++)
            assert_false(model.marks[i].colour == model.marks[j].colour && model.marks[i].point == model.marks[j].point);
    }
    model_clear(&model);
}

static void the_same_results_make_the_same_bytes(void **state)
{
    static const char *const names[] = {"index.html", "throughput-tier-commit.svg", "throughput-tier-commit.png",
                                        "latency-ycsb-a-tier-commit.svg"};
    char *before[4], *after;

    (void)state;
    assert_int_equal(REPORT(NULL, GOLDEN "bench-commit.json"), 0);
    for (size_t i = 0; i < 4; i++)
        before[i] = read_out(names[i]);
    assert_int_equal(REPORT(NULL, GOLDEN "bench-commit.json"), 0); /* and replaces the former report */
    for (size_t i = 0; i < 4; i++) {
        after = read_out(names[i]);
        assert_string_equal(before[i], after);
        free(before[i]);
        free(after);
    }
}

static void many_figures_keep_their_own_settings(void **state)
{
    const char    *paths[8];
    struct figures figures;
    struct model   model;

    (void)state;
    for (size_t i = 0; i < 8; i++)
        paths[i] = GOLDEN "bench-c.json";
    assert_true(model_load(&model, paths, 8));
    figures_make(&figures, &model);
    assert_true(figures.count > 32);
    for (size_t i = 0; i < figures.count; i++) {
        assert_non_null(strstr(figures.items[i].settings, "panels = "));
        assert_true(figures.items[i].height > 100);
        for (size_t j = 0; j < i; j++)
            assert_string_not_equal(figures.items[i].name, figures.items[j].name);
    }
    figures_clear(&figures);
    model_clear(&model);
}

static void a_cut_or_foreign_file_is_named_with_its_line(void **state)
{
    char *text = draw_read_file(GOLDEN "crash-lost.json"), said[1000];
    FILE *file = fopen(input, "w");

    (void)state;
    fwrite(text, 1, strlen(text) / 2, file);
    fclose(file);
    free(text);
    assert_int_equal(REPORT(said, input), 1);
    assert_non_null(strstr(said, "input.json, line "));
    assert_non_null(strstr(said, ", column "));
    assert_int_equal(count(said, "\n"), 1);
    file = fopen(input, "w");
    fputs("{\"hello\": 1}", file);
    fclose(file);
    assert_int_equal(REPORT(said, input), 1);
    assert_non_null(strstr(said, "input.json"));
    assert_int_equal(REPORT(said, "tests/golden"), 1);
    assert_non_null(strstr(said, "tests/golden/*.json"));
    assert_int_equal(REPORT(said, "/nonexistent.json"), 1);
    assert_non_null(strstr(said, "/nonexistent.json"));
    assert_int_not_equal(access(out, F_OK), 0);
}

/* A child, because PATH and the stop flag belong to a process.  fake: the gnuplot that it finds; NULL: none. */
static int report_with_gnuplot(const char *fake, char *said)
{
    char tools[300], path[400];
    int  ends[2], status;

    snprintf(tools, sizeof tools, "%s/tools", dir);
    snprintf(path, sizeof path, "%s/gnuplot", tools);
    mkdir(tools, 0700);
    if (fake) {
        FILE *script = fopen(path, "w");

        fprintf(script, "#!/bin/sh\n%s\n", fake);
        fclose(script);
        chmod(path, 0700);
    }
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        char text[1000];
        int  rc;

        stop_install();
        setenv("PATH", tools, 1);
        rc = REPORT(text, GOLDEN "bench-c.json");
        (void)!write(ends[1], text, strlen(text) + 1);
        _exit(rc);
    }
    close(ends[1]);
    memset(said, 0, 1000);
    (void)!read(ends[0], said, 999);
    close(ends[0]);
    waitpid(pid, &status, 0);
    wipe(tools);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static void what_ends_in_the_middle_leaves_the_former_report(void **state)
{
    char said[1000], *before, *after;

    (void)state;
    assert_int_equal(REPORT(NULL, GOLDEN "crash-kill.json"), 0);
    before = read_out("index.html");

    assert_int_equal(report_with_gnuplot(NULL, said), 1);
    assert_non_null(strstr(said, "install the package gnuplot-nox"));

    assert_int_equal(report_with_gnuplot("kill -INT $PPID; exec /bin/sleep 60", said), 1); /* Ctrl-C */
    assert_non_null(strstr(said, "interrupted"));

    assert_int_equal(report_with_gnuplot("echo 'line 7: undefined variable: x' >&2; exit 1", said), 1);
    assert_non_null(strstr(said, "undefined variable: x"));

    after = read_out("index.html");
    assert_string_equal(before, after);
    assert_true(is_there("crash-verdicts.png"));
    assert_false(is_there("throughput-tier-process.svg"));
    free(before);
    free(after);
}

static void a_folder_that_is_no_report_is_not_touched(void **state)
{
    char said[1000], path[400];
    FILE *file;

    (void)state;
    mkdir(out, 0700);
    snprintf(path, sizeof path, "%s/thesis.txt", out);
    file = fopen(path, "w");
    fclose(file);
    assert_int_equal(REPORT(said, GOLDEN "crash-kill.json"), 2);
    assert_non_null(strstr(said, "thesis.txt"));
    assert_true(is_there("thesis.txt"));
    unlink(path);
    snprintf(path, sizeof path, "%s/index.html", out);
    file = fopen(path, "w");
    fputs("<p>my home page", file);
    fclose(file);
    assert_int_equal(REPORT(said, GOLDEN "crash-kill.json"), 2);
    assert_true(is_there("index.html"));
    unlink(path);
    assert_int_equal(REPORT(NULL, GOLDEN "crash-kill.json"), 0); /* an empty one is welcome */
}

static void a_command_without_files_or_folder_is_wrong(void **state)
{
    char *nothing[] = {"report", "--out", "x", NULL}, *nowhere[] = {"report", "x.json", NULL};

    (void)state;
    assert_int_equal(command_report(3, nothing), 2);
    assert_int_equal(command_report(2, nowhere), 2);
}

int main(void)
{
#define IN_DIR(name) cmocka_unit_test_setup_teardown(name, make_dir, remove_dir)
    const struct CMUnitTest tests[] = {
        IN_DIR(a_report_has_every_figure_in_every_form),
        IN_DIR(the_tables_have_the_numbers_of_the_results),
        IN_DIR(what_was_published_stands_beside_ours),
        IN_DIR(a_badge_needs_the_same_build_tier_and_options),
        IN_DIR(missing_syncs_break_a_badge_whatever_crash_runs_say),
        IN_DIR(a_synced_tier_needs_power_loss_and_not_kills_alone),
        IN_DIR(names_with_odd_characters_stay_text),
        IN_DIR(cells_that_failed_and_fields_that_are_null_are_said),
        IN_DIR(a_result_without_cells_makes_a_page),
        IN_DIR(twenty_engines_have_twenty_rows_and_marks),
        IN_DIR(the_same_results_make_the_same_bytes),
        cmocka_unit_test(many_figures_keep_their_own_settings),
        IN_DIR(a_cut_or_foreign_file_is_named_with_its_line),
        IN_DIR(what_ends_in_the_middle_leaves_the_former_report),
        IN_DIR(a_folder_that_is_no_report_is_not_touched),
        cmocka_unit_test(a_command_without_files_or_folder_is_wrong),
    };
    if (system("command -v gnuplot >/dev/null") != 0) {
        puts("1..0 # SKIP gnuplot is not installed");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
