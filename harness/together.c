#include "harness/together.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "common/args.h"
#include "common/clock.h"
#include "common/fail.h"
#include "harness/hist.h"
#include "results/result.h"

#define OVERLAP_LEAST 0.9 /* of a phase's whole time; below, a warning */

static const char *text_at(const json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "";
}

static const json_t *cell_of(const json_t *root, const char *engine, json_int_t round)
{
    json_t *cell;
    size_t  i;

    json_array_foreach(json_object_get(root, "cells"), i, cell) {
        if (strcmp(text_at(cell, "engine"), engine) == 0 && json_integer_value(json_object_get(cell, "round")) == round)
            return cell;
    }
    return NULL;
}

static const json_t *phase_of(const json_t *cell, const json_t *like)
{
    json_t *phase;
    size_t  i;

    json_array_foreach(json_object_get(cell, "phases"), i, phase) {
        if (strcmp(text_at(phase, "name"), text_at(like, "name")) == 0 && strcmp(text_at(phase, "part"), text_at(like, "part")) == 0)
            return phase;
    }
    return NULL;
}

/* Adds the whole numbers of an object, and of the objects in it.  False with fail_set() when a sum has no room. */
static bool add_counts(json_t *into, const json_t *from)
{
    const char *key;
    json_t     *value;
    json_int_t  sum;

    json_object_foreach((json_t *)from, key, value) {
        json_t *old = json_object_get(into, key);

        if (json_is_object(value)) {
            if (!old)
                json_object_set_new(into, key, old = json_object());
            if (!add_counts(old, value))
                return false;
        } else if (json_is_integer(value)) {
            if (__builtin_add_overflow(json_integer_value(old), json_integer_value(value), &sum)) {
                fail_set("the counts of \"%s\" are too large to add", key);
                return false;
            }
            json_object_set_new(into, key, json_integer(sum));
        }
    }
    return true;
}

/* The record of one kind, of all of them together: histograms bucket by bucket.  NULL with fail_set(). */
static json_t *add_histograms(json_t *const *records, size_t count)
{
    struct hist *hist = hist_new();
    json_t      *sum = NULL;
    bool         good = hist != NULL;

    for (size_t i = 0; i < count && good; i++)
        good = !json_is_object(records[i]) || hist_add_json(hist, records[i]);
    if (good)
        sum = hist_json(hist);
    free(hist);
    return sum;
}

/* latency_ns: records by kind, or those under "service" and "response".  NULL with fail_set(). */
static json_t *add_latencies(json_t *const *objects, size_t count)
{
    json_t     *sum = NULL, *value, *below;
    const char *key;

    for (size_t i = 0; i < count; i++) {
        json_object_foreach(objects[i], key, value) {
            json_t *of[ARG_LIST_MAX];

            if (!sum)
                sum = json_object();
            if (json_object_get(sum, key))
                continue;
            for (size_t g = 0; g < count; g++)
                of[g] = json_object_get(objects[g], key);
            below = json_object_get(value, "histogram") ? add_histograms(of, count) : add_latencies(of, count);
            if (!below) {
                json_decref(sum);
                return NULL;
            }
            json_object_set_new(sum, key, below);
        }
    }
    return sum ? sum : json_null();
}

/* The sum of a real over the generators, or its mean weighted by operations; null when one does not have it. */
static json_t *add_reals(const json_t *const *phases, size_t count, const char *field, bool mean)
{
    double sum = 0, weight = 0;

    for (size_t g = 0; g < count; g++) {
        const json_t *value = json_object_get(phases[g], field);
        double        ops = (double)json_integer_value(json_object_get(phases[g], "ops"));

        if (!json_is_number(value))
            return json_null();
        sum += json_number_value(value) * (mean ? ops : 1);
        weight += ops;
    }
    return mean ? result_ratio(sum, weight) : json_real(sum);
}

/* Sets when it began and how long it took, from the first that began to the last that ended; warns when they did not overlap. */
static void add_times(json_t *sum, const json_t *const *phases, size_t count, json_t *cell)
{
    json_int_t begin = INT64_MAX, end = 0, all_begin = 0, all_end = INT64_MAX;
    double     longest_s = 0, wall_s, overlap;
    bool       known = true;

    for (size_t g = 0; g < count; g++) {
        json_int_t at = json_integer_value(json_object_get(phases[g], "started_unix_ns")), until;
        double     took_s = json_number_value(json_object_get(phases[g], "wall_s"));

        known &= at > 0;
        until = at + (json_int_t)(took_s * (double)NS_PER_S);
        begin = at < begin ? at : begin;
        end = until > end ? until : end;
        all_begin = at > all_begin ? at : all_begin;
        all_end = until < all_end ? until : all_end;
        longest_s = took_s > longest_s ? took_s : longest_s;
    }
    wall_s = known ? (double)(end - begin) / (double)NS_PER_S : longest_s;
    json_object_set_new(sum, "wall_s", json_real(wall_s));
    if (!known) {
        result_warn(cell, "%s: the files do not say when it ran, so nobody knows whether its rates may be added", text_at(sum, "name"));
        return;
    }
    json_object_set_new(sum, "started_unix_ns", json_integer(begin));
    overlap = all_end > all_begin && end > begin ? (double)(all_end - all_begin) / (double)(end - begin) : 0;
    if (overlap < OVERLAP_LEAST)
        result_warn(cell, "%s: the generators ran at the same time for %.0f %% of it; the sum of their rates is more than what the "
                    "server did at any time", text_at(sum, "name"), overlap * 100);
}

/* NULL with fail_set(). */
static json_t *add_phase(const json_t *const *phases, size_t count, json_t *cell)
{
    static const char *const counts[] = {"ops", "bytes_written", "bytes_read", "checked", "absent_checked"};
    static const char *const objects[] = {"errors", "by_kind"};
    static const char *const sums[] = {"ops_per_s_engine", "ops_per_s_all_in", "offered_per_s"};
    static const char *const means[] = {"engine_ns_per_op", "all_in_ns_per_op", "engine_s"};
    static const char *const unknown[] = {"timeseries", "meters", "per_op"};
    const json_t *first = phases[0];
    json_t       *sum = json_pack("{s:O, s:O?}", "name", json_object_get(first, "name"), "part", json_object_get(first, "part"));
    json_t       *latencies[ARG_LIST_MAX], *latency;
    bool          good = true, sustained = true;

    if (!json_object_get(sum, "part"))
        json_object_set_new(sum, "part", json_null());
    for (size_t g = 0; g < count && good; g++) {
        json_t *numbers = json_object();

        for (size_t i = 0; i < sizeof counts / sizeof *counts; i++)
            if (json_object_get(phases[g], counts[i]))
                json_object_set(numbers, counts[i], json_object_get(phases[g], counts[i]));
        for (size_t i = 0; i < sizeof objects / sizeof *objects; i++)
            json_object_set(numbers, objects[i], json_object_get(phases[g], objects[i]));
        good = add_counts(sum, numbers);
        json_decref(numbers);
        latencies[g] = json_object_get(phases[g], "latency_ns");
        sustained &= !json_is_false(json_object_get(phases[g], "sustained"));
    }
    latency = good ? add_latencies(latencies, count) : NULL;
    if (!latency) {
        json_decref(sum);
        return NULL;
    }
    json_object_set_new(sum, "latency_ns", latency);
    for (size_t i = 0; i < sizeof sums / sizeof *sums; i++)
        if (json_object_get(first, sums[i]))
            json_object_set_new(sum, sums[i], add_reals(phases, count, sums[i], false));
    for (size_t i = 0; i < sizeof means / sizeof *means; i++)
        json_object_set_new(sum, means[i], add_reals(phases, count, means[i], true));
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        json_object_set_new(sum, unknown[i], json_null());
    if (json_object_get(first, "sampling"))
        json_object_set(sum, "sampling", json_object_get(first, "sampling"));
    if (json_object_get(first, "sustained"))
        json_object_set_new(sum, "sustained", json_boolean(sustained));
    add_times(sum, phases, count, cell);
    return sum;
}

/* Only what is the work of all of them; settling, recovery and meters are each one's own. */
static bool is_shared(const json_t *phase)
{
    static const char *const names[] = {"load", "warmup", "run", "latency", "paced", "verify"};

    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strcmp(text_at(phase, "name"), names[i]) == 0)
            return true;
    return false;
}

static void append_warnings(json_t *cell, const json_t *from, const char *path)
{
    json_t *warning;
    size_t  i;

    json_array_foreach(json_object_get(from, "warnings"), i, warning)
        result_warn(cell, "%s: %s", path, json_string_value(warning) ? json_string_value(warning) : "");
}

/* NULL with fail_set(). */
static json_t *add_cell(json_t *const *roots, const char *const *paths, size_t count, const json_t *first)
{
    const char   *engine = text_at(first, "engine");
    json_int_t    round = json_integer_value(json_object_get(first, "round"));
    const json_t *cells[ARG_LIST_MAX] = {first};
    json_t *sum = json_pack("{s:s, s:I, s:O, s:s, s:n, s:[], s:[], s:n, s:n, s:n, s:n, s:n}", "engine", engine, "round", round,
                            "slot", json_object_get(first, "slot"), "status", "ok", "reason", "warnings", "phases", "space",
                            "amplification", "recovery_ns", "contamination", "memory_limit");
    json_t *phase;
    size_t  i;

    for (size_t g = 0; g < count; g++) {
        if (!(cells[g] = cell_of(roots[g], engine, round))) {
            fail_set("%s has no round %lld of engine %s, %s has", paths[g], (long long)round, engine, paths[0]);
            json_decref(sum);
            return NULL;
        }
        append_warnings(sum, cells[g], paths[g]);
        if (strcmp(text_at(cells[g], "status"), "ok") != 0 && strcmp(text_at(sum, "status"), "ok") == 0) {
            json_object_set(sum, "status", json_object_get(cells[g], "status"));
            json_object_set_new(sum, "reason", json_sprintf("%s: %s", paths[g], text_at(cells[g], "reason")));
        }
    }
    if (strcmp(text_at(sum, "status"), "ok") != 0)
        return sum; /* with one of them gone the load was another */
    json_array_foreach(json_object_get(first, "phases"), i, phase) {
        const json_t *phases[ARG_LIST_MAX];
        json_t       *added;
        bool          all = is_shared(phase);

        for (size_t g = 0; g < count && all; g++)
            all = (phases[g] = phase_of(cells[g], phase)) != NULL;
        if (!all)
            continue;
        if (!(added = add_phase(phases, count, sum))) {
            fail_set("%s, round %lld, %s: %s", engine, (long long)round, text_at(phase, "name"), fail_text());
            json_decref(sum);
            return NULL;
        }
        json_array_append_new(json_object_get(sum, "phases"), added);
    }
    return sum;
}

json_t *together_cells(json_t *const *roots, const char *const *paths, size_t count)
{
    json_t *cells = json_array(), *first, *sum;
    size_t  i;

    json_array_foreach(json_object_get(roots[0], "cells"), i, first) {
        if (!(sum = add_cell(roots, paths, count, first))) {
            json_decref(cells);
            return NULL;
        }
        json_array_append_new(cells, sum);
    }
    return cells;
}
