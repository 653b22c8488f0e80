#include "harness/compare.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/rng.h"

#define SEED UINT64_C(0x6173736179) /* fixed: the same samples give the same interval */

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double compare_median(double *samples, size_t count)
{
    qsort(samples, count, sizeof *samples, by_value);
    return count % 2 ? samples[count / 2] : (samples[count / 2 - 1] + samples[count / 2]) / 2;
}

void compare_bootstrap(const double *samples, size_t count, double *low, double *high)
{
    double    *medians = malloc(COMPARE_RESAMPLES * sizeof *medians), *drawn = malloc(count * sizeof *drawn);
    struct rng rng;

    *low = *high = samples[0];
    rng_seed(&rng, SEED, count);
    if (medians && drawn) {
        for (size_t i = 0; i < COMPARE_RESAMPLES; i++) {
            for (size_t n = 0; n < count; n++)
                drawn[n] = samples[rng_below(&rng, count)];
            medians[i] = compare_median(drawn, count);
        }
        qsort(medians, COMPARE_RESAMPLES, sizeof *medians, by_value);
        *low = medians[(size_t)(0.025 * COMPARE_RESAMPLES)];
        *high = medians[(size_t)(0.975 * COMPARE_RESAMPLES) - 1];
    }
    free(medians);
    free(drawn);
}

/* Summary: rows are found by what they are about, and made when first met. */

static bool same_text(const json_t *object, const char *field, const char *text)
{
    const char *found = json_string_value(json_object_get(object, field));

    return found && text ? strcmp(found, text) == 0 : !found && !text;
}

static void add_sample(json_t *summary, const char *engine, const char *phase, const char *part, const char *metric,
                       const char *unit, const json_t *value)
{
    json_t *row;
    size_t  i;

    if (!json_is_number(value))
        return;
    json_array_foreach(summary, i, row) {
        if (same_text(row, "engine", engine) && same_text(row, "phase", phase) && same_text(row, "part", part) &&
            same_text(row, "metric", metric)) {
            json_array_append_new(json_object_get(row, "samples"), json_real(json_number_value(value)));
            return;
        }
    }
    json_array_append_new(summary,
                          json_pack("{s:s, s:s, s:s?, s:s, s:s, s:[f]}", "engine", engine, "phase", phase, "part", part,
                                    "metric", metric, "unit", unit, "samples", json_number_value(value)));
}

static const char *unit_of(const char *metric)
{
    size_t length = strlen(metric);

    if (strncmp(metric, "ops_per_s", 9) == 0)
        return "ops/s";
    if (strstr(metric, "_ns"))
        return "ns";
    if (length > 6 && strcmp(metric + length - 6, "_bytes") == 0)
        return "bytes";
    return strstr(metric, "char") ? "bytes" : "1";
}

static void add_latency(json_t *summary, const char *engine, const char *phase, const char *part, const char *prefix,
                        json_t *by_kind)
{
    static const char *const quantiles[] = {"p50", "p90", "p99", "p999", "max"};
    const char              *kind;
    json_t                  *one;

    json_object_foreach(by_kind, kind, one) {
        for (size_t i = 0; i < sizeof quantiles / sizeof *quantiles; i++) {
            char metric[64];

            snprintf(metric, sizeof metric, "%s%s_%s_ns", prefix, kind, quantiles[i]);
            add_sample(summary, engine, phase, part, metric, "ns", json_object_get(one, quantiles[i]));
        }
    }
}

static void add_phase(json_t *summary, const char *engine, const json_t *phase)
{
    static const char *const metrics[] = {"ops_per_s_engine", "ops_per_s_all_in", "engine_ns_per_op",
                                          "all_in_ns_per_op"};
    const char *name = json_string_value(json_object_get(phase, "name"));
    const char *part = json_string_value(json_object_get(phase, "part")), *metric;
    json_t     *latency = json_object_get(phase, "latency_ns"), *value;

    if (strcmp(name, "warmup") == 0)
        return;
    for (size_t i = 0; i < sizeof metrics / sizeof *metrics; i++)
        add_sample(summary, engine, name, part, metrics[i], unit_of(metrics[i]), json_object_get(phase, metrics[i]));
    if (json_object_get(latency, "service")) {
        add_latency(summary, engine, name, part, "service_", json_object_get(latency, "service"));
        add_latency(summary, engine, name, part, "response_", json_object_get(latency, "response"));
    } else {
        add_latency(summary, engine, name, part, "", latency);
    }
    json_object_foreach(json_object_get(phase, "per_op"), metric, value)
        add_sample(summary, engine, name, part, metric, unit_of(metric), value);
}

static void add_cell(json_t *summary, const char *engine, const json_t *cell)
{
    static const char *const spaces[] = {"disk_bytes", "peak_disk_bytes", "memory_peak_bytes"};
    json_t *space = json_object_get(cell, "space"), *amplification = json_object_get(cell, "amplification");

    for (size_t i = 0; i < sizeof spaces / sizeof *spaces; i++)
        add_sample(summary, engine, "cell", NULL, spaces[i], "bytes", json_object_get(space, spaces[i]));
    add_sample(summary, engine, "cell", NULL, "space_amplification", "1", json_object_get(amplification, "space"));
    add_sample(summary, engine, "cell", NULL, "write_amplification_device", "1",
               json_object_get(amplification, "write_device"));
    add_sample(summary, engine, "cell", NULL, "write_amplification_calls", "1",
               json_object_get(amplification, "write_calls"));
    add_sample(summary, engine, "cell", NULL, "recovery_ns", "ns", json_object_get(cell, "recovery_ns"));
}

static double *numbers(const json_t *array)
{
    size_t  count = json_array_size(array);
    double *out = malloc((count + 1) * sizeof *out);

    for (size_t i = 0; out && i < count; i++)
        out[i] = json_number_value(json_array_get(array, i));
    return out;
}

json_t *compare_summary(const json_t *cells)
{
    json_t *summary = json_array(), *cell, *phase, *row;
    size_t  i, j;

    json_array_foreach(cells, i, cell) {
        const char *engine = json_string_value(json_object_get(cell, "engine"));

        if (!same_text(cell, "status", "ok"))
            continue;
        json_array_foreach(json_object_get(cell, "phases"), j, phase)
            add_phase(summary, engine, phase);
        add_cell(summary, engine, cell);
    }
    json_array_foreach(summary, i, row) {
        json_t *samples = json_object_get(row, "samples");
        size_t  count = json_array_size(samples);
        double *sorted = numbers(samples);

        if (!sorted)
            continue;
        json_object_set_new(row, "n", json_integer((json_int_t)count));
        json_object_set_new(row, "median", json_real(compare_median(sorted, count)));
        json_object_set_new(row, "min", json_real(sorted[0]));
        json_object_set_new(row, "max", json_real(sorted[count - 1]));
        free(sorted);
    }
    return summary;
}

/* Ratios. */

static const json_t *find_phase(const json_t *cell, const char *name, const char *part)
{
    json_t *phase;
    size_t  i;

    json_array_foreach(json_object_get(cell, "phases"), i, phase) {
        if (same_text(phase, "name", name) && same_text(phase, "part", part))
            return phase;
    }
    return NULL;
}

static const json_t *find_cell(const json_t *cells, const char *engine, json_int_t round)
{
    json_t *cell;
    size_t  i;

    json_array_foreach(cells, i, cell) {
        if (same_text(cell, "engine", engine) && json_integer_value(json_object_get(cell, "round")) == round &&
            same_text(cell, "status", "ok"))
            return cell;
    }
    return NULL;
}

static json_t *find_ratio(json_t *ratios, const char *engine, const char *name, const char *part)
{
    json_t *row;
    size_t  i;

    json_array_foreach(ratios, i, row) {
        if (same_text(row, "engine", engine) && same_text(row, "phase", name) && same_text(row, "part", part))
            return row;
    }
    return NULL;
}

json_t *compare_ratios(const json_t *cells, const char *baseline)
{
    json_t *ratios = json_array(), *cell, *phase, *row;
    size_t  i, j;

    json_array_foreach(cells, i, cell) {
        const char   *engine = json_string_value(json_object_get(cell, "engine"));
        const json_t *other = find_cell(cells, baseline, json_integer_value(json_object_get(cell, "round")));

        if (!other || strcmp(engine, baseline) == 0 || !same_text(cell, "status", "ok"))
            continue;
        json_array_foreach(json_object_get(cell, "phases"), j, phase) {
            const char   *name = json_string_value(json_object_get(phase, "name"));
            const char   *part = json_string_value(json_object_get(phase, "part"));
            const json_t *base = find_phase(other, name, part);
            double        own = json_number_value(json_object_get(phase, "ops_per_s_engine"));
            double        its = json_number_value(json_object_get(base, "ops_per_s_engine"));

            if (own <= 0 || its <= 0 || (strcmp(name, "run") != 0 && strcmp(name, "load") != 0))
                continue;
            if (!(row = find_ratio(ratios, engine, name, part))) {
                row = json_pack("{s:s, s:s, s:s, s:s?, s:s, s:[], s:n}", "engine", engine, "baseline", baseline,
                                "phase", name, "part", part, "metric", "ops_per_s_engine", "samples", "ci95");
                json_array_append_new(ratios, row);
            }
            json_array_append_new(json_object_get(row, "samples"), json_real(own / its));
        }
    }
    json_array_foreach(ratios, i, row) {
        json_t *samples = json_object_get(row, "samples");
        size_t  count = json_array_size(samples);
        double *values = numbers(samples), low, high;

        if (!values)
            continue;
        if (count >= COMPARE_ROUNDS_MIN) {
            compare_bootstrap(values, count, &low, &high);
            json_object_set_new(row, "ci95", json_pack("[f, f]", low, high));
        }
        json_object_set_new(row, "n", json_integer((json_int_t)count));
        json_object_set_new(row, "ratio_median", json_real(compare_median(values, count)));
        free(values);
    }
    return ratios;
}
