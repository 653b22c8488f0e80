#include "plot/gather.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "plot/text.h"

double gather_number(const json_t *object, const char *path)
{
    const char *dot = strchr(path, '.');
    char        head[64];

    if (!dot)
        return number_at(object, path);
    snprintf(head, sizeof head, "%.*s", (int)(dot - path), path);
    return gather_number(json_object_get(object, head), dot + 1);
}

static bool is_step(const json_t *phase, struct step step)
{
    return strcmp(text_at(phase, "name"), step.name) == 0 && strcmp(text_at(phase, "part"), step.part) == 0;
}

json_t *gather_phase(const json_t *cell, struct step step)
{
    json_t *phase;
    size_t  i;

    json_array_foreach(json_object_get(cell, "phases"), i, phase) {
        if (is_step(phase, step))
            return phase;
    }
    return NULL;
}

size_t gather_steps(const json_t *root, const char *const *names, struct step *out)
{
    json_t *cell, *phase;
    size_t  i, j, count = 0;

    for (; *names; names++) {
        json_array_foreach(json_object_get(root, "cells"), i, cell) {
            json_array_foreach(json_object_get(cell, "phases"), j, phase) {
                struct step step  = {text_at(phase, "name"), text_at(phase, "part")};
                bool        known = strcmp(step.name, *names) != 0;

                for (size_t k = 0; k < count; k++)
                    known = known || is_step(phase, out[k]);
                if (!known && count < GATHER_STEPS_MAX)
                    out[count++] = step;
            }
        }
    }
    return count;
}

char *gather_step_text(struct step step)
{
    return *step.part ? text_of("%s: %s", step.name, step.part) : text_of("%s", step.name);
}

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

double gather_median(double *values, size_t count)
{
    qsort(values, count, sizeof *values, compare);
    return count % 2 ? values[count / 2] : (values[count / 2 - 1] + values[count / 2]) / 2;
}

struct spread gather_spread(const json_t *root, const char *engine, struct step step, const char *path)
{
    struct spread spread = {.median = NAN, .least = NAN, .most = NAN};
    double        sorted[GATHER_ROUNDS_MAX];
    json_t       *cell;
    size_t        i;

    json_array_foreach(json_object_get(root, "cells"), i, cell) {
        double value;

        if (strcmp(text_at(cell, "engine"), engine) != 0 || strcmp(text_at(cell, "status"), "ok") != 0)
            continue;
        value = gather_number(step.name ? gather_phase(cell, step) : cell, path);
        if (isfinite(value) && spread.n < GATHER_ROUNDS_MAX)
            spread.sample[spread.n++] = value;
    }
    if (spread.n == 0)
        return spread;
    memcpy(sorted, spread.sample, spread.n * sizeof *sorted);
    spread.median = gather_median(sorted, spread.n);
    spread.least  = sorted[0];
    spread.most   = sorted[spread.n - 1];
    return spread;
}

char *gather_place(const json_t *root, struct step step)
{
    json_t     *settings = json_object_get(root, "settings");
    const char *tier     = text_at(settings, "load_durability");
    char       *text     = gather_step_text(step), *longer;

    if (strcmp(step.name, "load") != 0 || !*tier || strcmp(tier, text_at(settings, "durability")) == 0)
        return text;
    longer = text_of("%s (tier %s)", text, tier);
    free(text);
    return longer;
}

/* What follows "engine NAME " where a reason begins so. */
static const char *without_name(const char *reason)
{
    const char *space = strncmp(reason, "engine ", 7) == 0 ? strchr(reason + 7, ' ') : NULL;

    return space ? space + 1 : reason;
}

char *gather_status(const json_t *root, const char *engine)
{
    const char *worst = "", *reason = "";
    size_t      good = 0, all = 0, i;
    json_t     *cell;

    json_array_foreach(json_object_get(root, "cells"), i, cell) {
        if (strcmp(text_at(cell, "engine"), engine) != 0)
            continue;
        all++;
        if (strcmp(text_at(cell, "status"), "ok") == 0) {
            good++;
        } else if (!*worst) {
            worst  = text_at(cell, "status");
            reason = text_at(cell, "reason");
        }
    }
    if (all == 0)
        return text_of("not run");
    if (good == all)
        return text_of("ok");
    if (good == 0)
        return text_of("%s%s%s", *worst ? worst : "unknown", *reason ? ": " : "", without_name(reason));
    return text_of("%zu of %zu rounds ok; %s%s%s", good, all, *worst ? worst : "unknown", *reason ? ": " : "", without_name(reason));
}

char *gather_label(const json_t *root, const json_t *engine)
{
    const char *tier   = text_at(engine, "tier");
    bool        differ = strcmp(tier, text_at(json_object_get(root, "settings"), "durability")) != 0 && *tier;
    char       *name   = text_shortened(text_at(engine, "name"), LABEL_CHARS);
    char       *label  = differ ? text_of("%s (%s)", name, tier) : text_of("%s", name);

    free(name);
    return label;
}

char *gather_host(const json_t *root)
{
    json_t *host   = json_object_get(root, "host");
    double  memory = number_at(host, "memory_bytes"), cores = number_at(host, "cores");
    char    bytes[TEXT_NUMBER_MAX];
    json_t *fs = json_object_get(host, "fs"), *device = json_object_get(host, "device");

    return text_of("%s%s%.0f cores, %s, Linux %s, %s%s%s", text_at(host, "cpu_model"),
                   *text_at(host, "cpu_model") ? ", " : "", isfinite(cores) ? cores : 0,
                   isfinite(memory) ? text_number(bytes, TEXT_BYTES, memory) : "memory unknown",
                   text_at(host, "kernel"), *text_at(fs, "type") ? text_at(fs, "type") : "file system unknown",
                   *text_at(device, "name") ? " on " : "", text_at(device, "name"));
}

char *gather_build(const json_t *root)
{
    json_t *build = json_object_get(root, "build");

    return text_of("build %.12s%s%s%s", *text_at(build, "git") ? text_at(build, "git") : "unknown",
                   json_is_true(json_object_get(build, "dirty")) ? " (with changes)" : "",
                   *text_at(build, "sanitizer") ? ", sanitizer " : "", text_at(build, "sanitizer"));
}

bool gather_retains(const json_t *engine)
{
    json_t *word;
    size_t  i;

    json_array_foreach(json_object_get(engine, "capabilities"), i, word) {
        if (json_is_string(word) && strcmp(json_string_value(word), "retains") == 0)
            return true;
    }
    return false;
}

/* Latencies. */

static int compare_buckets(const void *a, const void *b)
{
    json_int_t x = ((const struct bucket *)a)->low_ns, y = ((const struct bucket *)b)->low_ns;

    return (x > y) - (x < y);
}

static void pool_add(struct pool *pool, const json_t *record)
{
    json_t *pair;
    double  min_ns = number_at(record, "min"), max_ns = number_at(record, "max"), sum_ns = number_at(record, "sum");
    size_t  i;

    json_array_foreach(json_object_get(record, "histogram"), i, pair) {
        struct bucket bucket = {json_integer_value(json_array_get(pair, 0)), json_integer_value(json_array_get(pair, 1))};

        if (bucket.count <= 0 || bucket.low_ns < 0 ||
            __builtin_add_overflow(pool->samples, bucket.count, &pool->samples)) /* no real histogram */
            continue;
        pool->bucket                = text_grow(pool->bucket, pool->count, &pool->room, sizeof *pool->bucket);
        pool->bucket[pool->count++] = bucket;
    }
    pool->only   = pool->rounds == 0 ? record : NULL;
    pool->min_ns = pool->rounds == 0 || min_ns < pool->min_ns ? min_ns : pool->min_ns;
    pool->max_ns = pool->rounds == 0 || max_ns > pool->max_ns ? max_ns : pool->max_ns;
    pool->sum_ns = (pool->rounds == 0 ? 0 : pool->sum_ns) + sum_ns;
    pool->rounds++;
}

static void pool_sort(struct pool *pool)
{
    size_t kept = 0;

    if (pool->count == 0)
        return;
    qsort(pool->bucket, pool->count, sizeof *pool->bucket, compare_buckets);
    for (size_t i = 1; i < pool->count; i++) {
        if (pool->bucket[i].low_ns == pool->bucket[kept].low_ns)
            pool->bucket[kept].count += pool->bucket[i].count;
        else
            pool->bucket[++kept] = pool->bucket[i];
    }
    pool->count = kept + 1;
}

double gather_middle_ns(const struct pool *pool, json_int_t low_ns)
{
    double width  = low_ns < 256 ? 1 : (double)(INT64_C(1) << (63 - __builtin_clzll((unsigned long long)low_ns) - 7));
    double middle = (double)low_ns + floor((width - 1) / 2);

    middle = middle > pool->max_ns ? pool->max_ns : middle;
    return middle < pool->min_ns ? pool->min_ns : middle;
}

double gather_quantile(const struct pool *pool, double q, const char *name)
{
    json_int_t rank = (json_int_t)ceil(q * (double)pool->samples), seen = 0;

    if (pool->only && json_is_number(json_object_get(pool->only, name)))
        return number_at(pool->only, name);
    for (size_t i = 0; i < pool->count; i++) {
        seen += pool->bucket[i].count;
        if (seen >= rank)
            return gather_middle_ns(pool, pool->bucket[i].low_ns);
    }
    return NAN;
}

/* The latencies of a phase by kind; "paced" has them from the intended start and from the real one. */
static const json_t *latencies_of(const json_t *phase, const char *side)
{
    const json_t *latency = json_object_get(phase, "latency_ns");

    return *side ? json_object_get(latency, side) : latency;
}

struct pool gather_pool(const json_t *root, const char *engine, struct step step, const char *side, const char *kind)
{
    struct pool pool = {.min_ns = NAN, .max_ns = NAN, .sum_ns = NAN};
    json_t     *cell;
    size_t      i;

    json_array_foreach(json_object_get(root, "cells"), i, cell) {
        const json_t *record;

        if (strcmp(text_at(cell, "engine"), engine) != 0 || strcmp(text_at(cell, "status"), "ok") != 0)
            continue;
        record = json_object_get(latencies_of(gather_phase(cell, step), side), kind);
        if (json_is_object(record))
            pool_add(&pool, record);
    }
    pool_sort(&pool);
    return pool;
}

size_t gather_kinds(const json_t *root, struct step step, const char *side, const char **out, size_t room)
{
    json_t     *cell, *record;
    const char *kind;
    size_t      i, count = 0;

    for (int pass = 0; pass < 2 && count == 0; pass++) {
        json_array_foreach(json_object_get(root, "cells"), i, cell) {
            json_object_foreach((json_t *)latencies_of(gather_phase(cell, step), side), kind, record) {
                bool known = !json_is_object(record) || !json_object_get(record, "histogram") ||
                             strcmp(text_at(cell, "status"), "ok") != 0 ||
                             (pass == 0 && strcmp(kind, "all") == 0);

                for (size_t k = 0; k < count; k++)
                    known = known || strcmp(out[k], kind) == 0;
                if (!known && count < room)
                    out[count++] = kind;
            }
        }
    }
    return count;
}
