/*
 * merge.c -- assay merge: several results of one benchmark into one, losing nothing.
 *
 * Cells stay as they are, their rounds counted on; summary and ratios are made anew from all of them.  What can be added is
 * added exactly, in "pooled": operations, errors, and histograms bucket by bucket, so that a percentile of the whole is
 * that of all samples and no average of percentiles.  Files that did not do the same work are refused.
 *
 * With --together the files are of load generators that ran at the same time: their cells of a round become one (together.h),
 * and their streams of operations differ.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/args.h"
#include "common/commands.h"
#include "common/fail.h"
#include "common/outfile.h"
#include "common/stop.h"
#include "harness/compare.h"
#include "harness/hist.h"
#include "harness/together.h"
#include "results/result.h"

static const char *text_at(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

/* The name of a field in which two objects differ, but for one that may; NULL when they are equal. */
static const char *difference(const json_t *a, const json_t *b, const char *may)
{
    const char *key;
    json_t     *value;

    json_object_foreach((json_t *)a, key, value) {
        if (!json_equal(value, json_object_get(b, key)) && (!may || strcmp(key, may) != 0))
            return key;
    }
    json_object_foreach((json_t *)b, key, value) {
        if (!json_object_get(a, key))
            return key;
    }
    return NULL;
}

static json_t *engine_of(const json_t *root, const char *name)
{
    json_t *engine;
    size_t  i;

    json_array_foreach(json_object_get(root, "engines"), i, engine) {
        if (strcmp(text_at(engine, "name"), name) == 0)
            return engine;
    }
    return NULL;
}

/* False with fail_set(): the two files did not do the same work. */
static bool same_work(const char *a_path, const json_t *a, const char *b_path, const json_t *b, bool together)
{
    static const char *const settings[] = {"durability", "load_durability", "memory_bytes", "cold", "threads", "batch", "baseline"};
    static const char *const fields[]   = {"engine", "version", "tier", "options"};
    const json_t *a_settings = json_object_get(a, "settings"), *b_settings = json_object_get(b, "settings");
    const char   *field      = difference(json_object_get(a, "workload"), json_object_get(b, "workload"), together ? "seed" : NULL);
    json_t       *engine;
    size_t        i;

    if (strcmp(text_at(a, "run_id"), text_at(b, "run_id")) == 0) {
        fail_set("%s and %s are the same run (%s); name each once", a_path, b_path, text_at(a, "run_id"));
        return false;
    }
    for (i = 0; i < sizeof settings / sizeof *settings; i++) {
        if (!json_equal(json_object_get(a_settings, settings[i]), json_object_get(b_settings, settings[i]))) {
            fail_set("%s and %s differ in settings.%s; only runs of one setting can be added", a_path, b_path, settings[i]);
            return false;
        }
    }
    if (field) {
        fail_set("%s and %s differ in workload.%s; only runs of one workload can be added", a_path, b_path, field);
        return false;
    }
    if (!together && !json_equal(json_object_get(a, "opstream_xxh3"), json_object_get(b, "opstream_xxh3"))) {
        fail_set("%s and %s differ in opstream_xxh3: they did not do the same operations", a_path, b_path);
        return false;
    }
    json_array_foreach(json_object_get(b, "engines"), i, engine) {
        const json_t *other = engine_of(a, text_at(engine, "name"));

        for (size_t f = 0; other && f < sizeof fields / sizeof *fields; f++) {
            if (together && strcmp(fields[f], "options") == 0)
                continue; /* where each finds the server may differ; it is told */
            if (!json_equal(json_object_get(engine, fields[f]), json_object_get(other, fields[f]))) {
                fail_set("%s and %s differ in the %s of engine %s", a_path, b_path, fields[f], text_at(engine, "name"));
                return false;
            }
        }
    }
    return true;
}

/* What summary and ratios take for granted of cells.  False with fail_set(). */
static bool sound_cells(const char *path, const json_t *root)
{
    json_t *cell, *phase;
    size_t  i, j;

    json_array_foreach(json_object_get(root, "cells"), i, cell) {
        json_int_t round = json_integer_value(json_object_get(cell, "round"));

        if (!*text_at(cell, "engine") || !*text_at(cell, "status") || round < 0 || round > INT32_MAX) {
            fail_set("%s: cell %zu has no engine, round or status", path, i);
            return false;
        }
        json_array_foreach(json_object_get(cell, "phases"), j, phase) {
            if (!*text_at(phase, "name")) {
                fail_set("%s: phase %zu of cell %zu has no name", path, j, i);
                return false;
            }
        }
    }
    return true;
}

/* What is added up. */

/* object[key] += count.  False with fail_set() when the sum has no room. */
static bool add_count(json_t *object, const char *key, const json_t *count)
{
    json_int_t sum = json_integer_value(json_object_get(object, key));

    if (!json_is_integer(count))
        return true;
    if (__builtin_add_overflow(sum, json_integer_value(count), &sum)) {
        fail_set("the counts of \"%s\" are too large to add", key);
        return false;
    }
    json_object_set_new(object, key, json_integer(sum));
    return true;
}

static json_t *object_in(json_t *object, const char *key)
{
    if (!json_is_object(json_object_get(object, key)))
        json_object_set_new(object, key, json_object());
    return json_object_get(object, key);
}

static bool is_phase(const json_t *phase, const char *name, const char *part)
{
    return strcmp(text_at(phase, "name"), name) == 0 && strcmp(text_at(phase, "part"), part) == 0;
}

/* latency_ns[side][kind] of all cells of an engine, side NULL: latency_ns[kind]; NULL with fail_set(). */
static json_t *pooled_latency(const json_t *cells, const char *engine, const char *name, const char *part,
                              const char *side, const char *kind)
{
    struct hist *hist = hist_new();
    json_t      *cell, *phase, *out = NULL;
    size_t       i, j;

    if (!hist)
        return NULL;
    json_array_foreach(cells, i, cell) {
        if (strcmp(text_at(cell, "engine"), engine) != 0 || strcmp(text_at(cell, "status"), "ok") != 0)
            continue;
        json_array_foreach(json_object_get(cell, "phases"), j, phase) {
            const json_t *latency = json_object_get(phase, "latency_ns"), *record;

            record = json_object_get(side ? json_object_get(latency, side) : latency, kind);
            if (is_phase(phase, name, part) && json_is_object(record) && !hist_add_json(hist, record)) {
                fail_set("%s, round %lld, %s, %s: %s", engine,
                         (long long)json_integer_value(json_object_get(cell, "round")), name, kind, fail_text());
                goto out;
            }
        }
    }
    out = hist_json(hist);
out:
    free(hist);
    return out;
}

/* Pools every kind that one phase of one cell knows, unless an earlier cell knew it. */
static bool pool_kinds(json_t *into, const json_t *kinds, const json_t *cells, const char *engine, const json_t *phase,
                       const char *side)
{
    const char *kind;
    json_t     *record, *sum;

    json_object_foreach((json_t *)kinds, kind, record) {
        if (!json_object_get(record, "histogram") || json_object_get(into, kind))
            continue;
        sum = pooled_latency(cells, engine, text_at(phase, "name"), text_at(phase, "part"), side, kind);
        if (!sum)
            return false;
        json_object_set_new(into, kind, sum);
    }
    return true;
}

static json_t *row_of(json_t *pooled, const char *engine, const json_t *phase)
{
    json_t *row;
    size_t  i;

    json_array_foreach(pooled, i, row) {
        if (strcmp(text_at(row, "engine"), engine) == 0 && strcmp(text_at(row, "phase"), text_at(phase, "name")) == 0 &&
            strcmp(text_at(row, "part"), text_at(phase, "part")) == 0)
            return row;
    }
    row = json_pack("{s:s, s:s, s:O?, s:i, s:i, s:{}, s:{}, s:{}}", "engine", engine, "phase", text_at(phase, "name"), "part",
                    json_object_get(phase, "part"), "rounds", 0, "ops", 0, "errors", "by_kind", "latency_ns");
    json_array_append_new(pooled, row);
    return row;
}

static bool pool_phase(json_t *pooled, const json_t *cells, const char *engine, const json_t *phase)
{
    static const char *const sides[] = {"service", "response"};
    json_t     *row = row_of(pooled, engine, phase), *latency = json_object_get(phase, "latency_ns"), *count, *counts;
    const char *key, *kind;

    if (!add_count(row, "ops", json_object_get(phase, "ops")))
        return false;
    json_object_set_new(row, "rounds", json_integer(json_integer_value(json_object_get(row, "rounds")) + 1));
    json_object_foreach(json_object_get(phase, "errors"), key, count) {
        if (!add_count(json_object_get(row, "errors"), key, count))
            return false;
    }
    json_object_foreach(json_object_get(phase, "by_kind"), kind, counts) {
        json_object_foreach(counts, key, count) {
            if (!add_count(object_in(json_object_get(row, "by_kind"), kind), key, count))
                return false;
        }
    }
    for (size_t i = 0; i < sizeof sides / sizeof *sides; i++) {
        const json_t *kinds = json_object_get(latency, sides[i]);

        if (json_is_object(kinds) && !pool_kinds(object_in(json_object_get(row, "latency_ns"), sides[i]), kinds, cells,
                                                 engine, phase, sides[i]))
            return false;
    }
    return pool_kinds(json_object_get(row, "latency_ns"), latency, cells, engine, phase, NULL);
}

static json_t *pool(const json_t *cells)
{
    json_t *pooled = json_array(), *cell, *phase;
    size_t  i, j;

    json_array_foreach(cells, i, cell) {
        if (strcmp(text_at(cell, "status"), "ok") != 0)
            continue;
        json_array_foreach(json_object_get(cell, "phases"), j, phase) {
            if (!pool_phase(pooled, cells, text_at(cell, "engine"), phase)) {
                json_decref(pooled);
                return NULL;
            }
        }
    }
    return pooled;
}

/* Appends a file's cells, their rounds counted on from those before. */
static void append_cells(json_t *cells, const json_t *root)
{
    json_int_t last = -1, first = INT64_MAX, round;
    json_t    *cell, *copy;
    size_t     i;

    json_array_foreach(cells, i, cell) {
        round = json_integer_value(json_object_get(cell, "round"));
        last  = round > last ? round : last;
    }
    json_array_foreach(json_object_get(root, "cells"), i, cell) {
        round = json_integer_value(json_object_get(cell, "round"));
        first = round < first ? round : first;
    }
    json_array_foreach(json_object_get(root, "cells"), i, cell) {
        round = json_integer_value(json_object_get(cell, "round"));
        copy  = json_copy(cell);
        if (last >= 0)
            json_object_set_new(copy, "round", json_integer(last + 1 + round - first));
        json_array_append_new(cells, copy);
    }
}

static void append_texts(json_t *result, const json_t *root, const char *path)
{
    json_t *warning, *engine, *engines = json_object_get(result, "engines");
    size_t  i;

    json_array_foreach(json_object_get(root, "warnings"), i, warning)
        result_warn(result, "%s: %s", path, json_string_value(warning) ? json_string_value(warning) : "");
    json_array_foreach(json_object_get(root, "engines"), i, engine) {
        if (!engine_of(result, text_at(engine, "name")))
            json_array_append(engines, engine);
    }
    if (json_is_false(json_object_get(root, "complete")))
        result_warn(result, "%s: the run was ended before it was complete", path);
    if (!json_equal(json_object_get(root, "build"), json_object_get(result, "build")))
        result_warn(result, "%s is of another build than the first file", path);
    if (!json_equal(json_object_get(json_object_get(root, "host"), "cpu_model"),
                    json_object_get(json_object_get(result, "host"), "cpu_model")))
        result_warn(result, "%s is of another machine than the first file", path);
}

/* Of generators that ran together options may differ, such as those that say where the server is. */
static void warn_of_options(json_t *result, const json_t *root, const char *path, const json_t *first)
{
    json_t *engine;
    size_t  i;

    json_array_foreach(json_object_get(root, "engines"), i, engine) {
        const char *name = text_at(engine, "name");
        const char *option = difference(json_object_get(engine, "options"), json_object_get(engine_of(first, name), "options"), NULL);

        if (option && engine_of(first, name))
            result_warn(result, "%s has another %s.%s than the first file", path, name, option);
    }
}

/* Everything that all files have in common is the first one's. */
static json_t *merged(int argc, char **argv, const struct arg_list *files, json_t *const *roots, bool together)
{
    static const char *const taken[] = {"build", "host", "calibration", "workload", "opstream_xxh3", "harness"};
    json_t *result = result_new("bench", argc, argv, NULL), *cells = json_array(), *from = json_array(), *order = json_array();
    json_t *pooled, *settings = json_copy(json_object_get(roots[0], "settings")), *round;
    json_t *generators = json_array(); /* the cells of each file, for the sums over all */
    size_t  r;

    for (size_t i = 0; i < sizeof taken / sizeof *taken; i++) {
        json_t *value = json_object_get(roots[0], taken[i]);
        if (value)
            json_object_set(result, taken[i], value);
    }
    json_object_set_new(result, "engines", json_array());
    for (size_t i = 0; i < files->count; i++) {
        append_cells(generators, roots[i]);
        append_texts(result, roots[i], files->item[i]);
        if (together)
            warn_of_options(result, roots[i], files->item[i], roots[0]);
        if (together && i > 0 && json_equal(json_object_get(roots[i], "opstream_xxh3"), json_object_get(roots[0], "opstream_xxh3")))
            result_warn(result, "%s did the very operations of the first file; give each generator a --seed of its own", files->item[i]);
        json_array_foreach(json_object_get(json_object_get(roots[i], "settings"), "order"), r, round)
            if (!together || i == 0)
                json_array_append(order, round);
        json_array_append_new(from, json_pack("{s:s, s:s, s:O?}", "run_id", text_at(roots[i], "run_id"), "started_utc",
                                              text_at(roots[i], "started_utc"), "wall_s",
                                              json_object_get(roots[i], "wall_s")));
    }
    if (together) {
        json_decref(cells);
        json_object_set_new(settings, "threads", json_integer(json_integer_value(json_object_get(settings, "threads")) *
                                                              (json_int_t)files->count));
        json_object_set_new(result, "together", json_integer((json_int_t)files->count));
        cells = together_cells(roots, files->item, files->count);
    } else {
        json_array_extend(cells, generators);
    }
    json_object_set_new(settings, "rounds", json_integer((json_int_t)json_array_size(order)));
    json_object_set_new(settings, "order", order);
    json_object_set_new(result, "settings", settings);
    json_object_set_new(result, "merged_from", from);
    pooled = cells ? pool(generators) : NULL;
    json_decref(generators);
    if (pooled) {
        json_object_set_new(result, "summary", compare_summary(cells));
        json_object_set_new(result, "ratios", compare_ratios(cells, text_at(settings, "baseline")));
        json_object_set_new(result, "cells", cells);
        json_object_set_new(result, "pooled", pooled);
        return result;
    }
    json_decref(cells);
    json_decref(result);
    return NULL;
}

int command_merge(int argc, char **argv)
{
    const char      *out       = "-";
    bool             together  = false;
    const struct arg options[] = {
        {"together", ARG_FLAG, &together, NULL, "the files are of load generators that ran at the same time: their rates are added"},
        {"out", ARG_TEXT, &out, "FILE", "where the one result goes (default: standard output)"},
        {0},
    };
    const struct arg_command command = {
        "assay merge", "RESULT.json... [--together] [--out FILE]",
        "Adds bench results of the same work: rounds side by side, histograms and counts exactly.", options,
        "  assay merge monday.json tuesday.json --out both.json\n"
        "  assay merge --together host1.json host2.json --out all.json\n"};
    struct arg_list files               = {0};
    json_t         *roots[ARG_LIST_MAX] = {0}, *result = NULL;
    struct outfile  file;
    int             rc = args_parse(&command, argc, argv, &files);
    bool            good = true;

    if (rc >= 0)
        return rc;
    stop_install(); /* it ends soon, and its temporary file is not left */
    if (files.count == 0)
        return args_wrong(&command, "no result file is named; write assay merge a.json b.json --out both.json");
    if (!outfile_open(&file, out))
        return args_wrong(&command, "--out: %s", fail_text());
    for (size_t i = 0; good && i < files.count; i++) {
        good = (roots[i] = result_read(files.item[i], "bench")) != NULL && sound_cells(files.item[i], roots[i]);
        for (size_t j = 0; good && j < i; j++)
            good = same_work(files.item[j], roots[j], files.item[i], roots[i], together);
    }
    if (good)
        good = (result = merged(argc, argv, &files, roots, together)) != NULL;
    for (size_t i = 0; i < files.count; i++)
        json_decref(roots[i]);
    if (!good)
        outfile_discard(&file);
    else
        good = result_write(result, &file, true);
    if (!good)
        fprintf(stderr, "assay merge: %s\n", fail_text());
    return good ? 0 : 1;
}
