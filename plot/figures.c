#include "plot/figures.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "plot/bars.h"
#include "plot/beside.h"
#include "plot/curves.h"
#include "plot/gather.h"
#include "plot/published.h"

#define INTERVALS_LEAST 5 /* a shorter run is no curve */
#define MANY_ENGINES    8 /* with more, the curves of a panel are hard to follow: their percentiles get a picture of their own */

/* All settings of the figure are written. */
static void figure_end(struct figure *figure)
{
    if (figure->gp)
        fclose(figure->gp);
    figure->gp = NULL;
}

static struct figure *figure_add(struct figures *figures, enum section section, const char *template, char *name,
                                 char *title)
{
    struct figure *figure;

    /* Its stream writes to an address inside items, which may move now. */
    if (figures->count)
        figure_end(&figures->items[figures->count - 1]);
    figures->items = text_grow(figures->items, figures->count, &figures->room, sizeof *figures->items);
    figure         = &figures->items[figures->count++];
    *figure        = (struct figure){.section = section, .template = template, .name = name, .title = title,
                                     .width = FIGURE_WIDTH};
    /* Two experiments may be called alike. */
    for (size_t i = 0; i + 1 < figures->count; i++) {
        if (strcmp(figures->items[i].name, figure->name) == 0) {
            char *longer = text_of("%s-%zu", name, figures->count);
            free(figure->name);
            figure->name = longer;
            break;
        }
    }
    figure->gp = open_memstream(&figure->settings, &figure->settings_bytes);
    return figure;
}

static void figure_drop(struct figures *figures)
{
    struct figure *figure = &figures->items[--figures->count];

    figure_end(figure);
    free(figure->name);
    free(figure->title);
    free(figure->caption);
    free(figure->alt);
    free(figure->notes);
    free(figure->settings);
    if (figure->table.columns)
        table_clear(&figure->table);
    if (figure->points.columns)
        table_clear(&figure->points);
}

void figures_clear(struct figures *figures)
{
    while (figures->count)
        figure_drop(figures);
    free(figures->items);
    *figures = (struct figures){0};
}

/* Throughput. */

static bool first_of_setting(const struct model *model, size_t at)
{
    for (size_t i = 0; i < at; i++)
        if (strcmp(model->experiments[i].setting, model->experiments[at].setting) == 0)
            return false;
    return true;
}

static void throughput_panels(struct bars *bars, const struct model *model, const char *setting, const char *name)
{
    const char *names[] = {name, NULL};
    struct step steps[GATHER_STEPS_MAX];

    for (size_t e = 0; e < model->experiment_count; e++) {
        const struct experiment *experiment = &model->experiments[e];
        size_t                   count, drawn;
        double                   ceiling, durable, least;

        if (strcmp(experiment->setting, setting) != 0)
            continue;
        count = gather_steps(experiment->root, names, steps);
        if (count == 0 && strcmp(name, "run") == 0) { /* nothing ran: the panel says why, engine by engine */
            steps[0] = (struct step){"run", ""};
            count    = 1;
        }
        for (size_t s = 0; s < count; s++) {
            char   *phase = gather_place(experiment->root, steps[s]);
            char   *title = text_of("%s — %s", experiment->label, phase);
            json_t *engine;
            size_t  i;

            ceiling = durable = 0;
            least   = INFINITY;
            drawn   = 0;
            json_array_foreach(json_object_get(experiment->root, "engines"), i, engine) {
                struct spread own = gather_spread(experiment->root, text_at(engine, "name"), steps[s], "ops_per_s_engine");
                bool          is_durable = strcmp(text_at(engine, "tier"), "volatile") != 0;

                ceiling = gather_retains(engine) && own.most > ceiling ? own.most : ceiling;
                durable = is_durable && own.most > durable ? own.most : durable;
                least   = gather_retains(engine) && own.median > 0 && own.median < least ? own.median : least;
                drawn += is_durable && own.n > 0;
            }
            /* Two hash tables in memory are no reason for another axis: they are told in words then. */
            bars_panel(bars, title, "throughput", TEXT_RATE, "operations per second", true,
                       bars_spread_is_wide(least, durable, drawn));
            bars->ceiling = ceiling;
            bars->durable = durable;
            json_array_foreach(json_object_get(experiment->root, "engines"), i, engine) {
                struct spread own = gather_spread(experiment->root, text_at(engine, "name"), steps[s], "ops_per_s_engine");
                struct spread all = gather_spread(experiment->root, text_at(engine, "name"), steps[s], "ops_per_s_all_in");

                /* Why an engine did not run is said once, in the panel of the run. */
                if (own.n || all.n || strcmp(name, "run") == 0)
                    bars_row(bars, model, experiment, engine, phase, &own, &all);
            }
            bars_panel_end(bars);
            free(phase);
            free(title);
        }
    }
}

static void make_throughput(struct figures *figures, const struct model *model)
{
    for (size_t e = 0; e < model->experiment_count; e++) {
        const struct experiment *experiment = &model->experiments[e];
        char                    *slug, *host, *build, *n;
        struct figure           *figure;
        struct bars              bars;
        size_t                   bytes;
        FILE                    *html;

        if (!first_of_setting(model, e))
            continue;
        slug   = text_slug(experiment->setting);
        figure = figure_add(figures, SECTION_THROUGHPUT, "throughput.gp", text_of("throughput-%s", slug),
                            text_of("Throughput, %s", experiment->setting));
        bars_init(&bars, figure, bars_throughput_columns);
        throughput_panels(&bars, model, experiment->setting, "run");
        throughput_panels(&bars, model, experiment->setting, "load");
        bars_end(&bars, "engine's own time", "all in, with the harness");
        host            = gather_host(experiment->root);
        build           = gather_build(experiment->root);
        n               = bars_n(&bars);
        figure->caption = text_of("%s; %s; %s; %s. Each panel has its own axis, from zero where it "
                                  "is not logarithmic.", n, experiment->setting, host, build);
        figure->alt = text_of("Horizontal bars: operations per second of %zu engines in %zu panels, %s. The table below "
                              "has the numbers.", bars.rows_most, bars.panels, experiment->setting);
        html        = open_memstream(&figure->notes, &bytes);
        beside_badges(html, model, experiment->setting);
        beside_limits(html, model, experiment->root);
        fclose(html);
        free(slug);
        free(host);
        free(build);
        free(n);
    }
}

/* Beside what was published. */

/* Processor time of a step, background threads included: other work on the machine does not lengthen it. */
static struct spread step_ns(const json_t *root, const char *engine, const struct published_step *step)
{
    struct step   place = {step->phase, step->part};
    struct spread user = gather_spread(root, engine, place, "meters.cpu_user_ns");
    struct spread system = gather_spread(root, engine, place, "meters.cpu_system_ns");
    struct spread both = {.median = NAN, .least = NAN, .most = NAN};
    double        sorted[GATHER_ROUNDS_MAX];

    for (both.n = 0; both.n < user.n && both.n < system.n; both.n++)
        sorted[both.n] = both.sample[both.n] = user.sample[both.n] + system.sample[both.n];
    if (both.n) {
        both.median = gather_median(sorted, both.n);
        both.least  = sorted[0];
        both.most   = sorted[both.n - 1];
    }
    return both;
}

static void published_panels(struct bars *bars, const struct model *model, const struct experiment *experiment,
                             const struct published *published)
{
    json_t *engine;
    size_t  i;

    for (size_t s = 0; s < PUBLISHED_STEPS; s++) {
        bars_panel(bars, published->step[s].title, "time", TEXT_NS, "time: processor (here), elapsed (published)", true, false);
        json_array_foreach(json_object_get(experiment->root, "engines"), i, engine) {
            const char   *name = text_at(engine, "name");
            struct spread own = step_ns(experiment->root, name, &published->step[s]);
            double        ns = published_seconds(published, name, s) * 1e9;
            /* Beside rounds of ours it is no round: a bar without a circle. */
            struct spread theirs = {.median = ns, .least = ns, .most = ns, .n = own.n == 0 && isfinite(ns), .sample = {ns}};

            bars_row(bars, model, experiment, engine, published->step[s].title, &own, &theirs);
        }
        bars_panel_end(bars);
    }
}

static void make_published(struct figures *figures, const struct model *model)
{
    for (size_t e = 0; e < model->experiment_count; e++) {
        const struct experiment *experiment = &model->experiments[e];
        const char              *workload = text_at(json_object_get(experiment->root, "workload"), "name");
        const struct published  *published = published_of(workload);
        struct figure           *figure;
        struct bars              bars;
        char                    *slug, *host, *n;

        if (!published)
            continue;
        slug   = text_slug(workload);
        figure = figure_add(figures, SECTION_THROUGHPUT, "ladder.gp", text_of("published-%s", slug),
                            text_of("%s beside what was published, %s", experiment->label, experiment->setting));
        bars_init(&bars, figure, bars_published_columns);
        published_panels(&bars, model, experiment, published);
        bars_end(&bars, "here, processor time", "published");
        host            = gather_host(experiment->root);
        n               = bars_n(&bars);
        figure->caption = text_of("%s; %s; %s. Published: %s. Two machines, and ours is processor time, published is time elapsed: what compares is the way from row to row.", n,
                                  experiment->setting, host, published->source);
        figure->alt = text_of("Horizontal bars: seconds of each of %zu steps for %zu engines, ours and the published ones. The "
                              "table below has the numbers.", bars.panels, bars.rows_most);
        free(slug);
        free(host);
        free(n);
    }
}

/* Cost and space: one quantity a panel. */

struct quantity {
    const char      *phase; /* NULL: of the cell */
    const char      *path, *light_path;
    const char      *metric;
    enum text_kind kind;
    const char      *unit;
};

static const struct quantity costs[] = {
    {"run", "per_op.cpu_user_ns", "per_op.cpu_system_ns", "CPU: user, system (light)", TEXT_NS, "CPU time per operation"},
    {"load", "per_op.cpu_user_ns", "per_op.cpu_system_ns", "CPU: user, system (light)", TEXT_NS, "CPU time per operation"},
    {"meters", "per_op.syscalls", NULL, "system calls", TEXT_PLAIN, "system calls per operation"},
    {"meters", "per_op.allocations", NULL, "allocations", TEXT_PLAIN, "allocations per operation"},
    {"run", "per_op.write_bytes", "per_op.device_write_bytes", "written: process, device (light)", TEXT_BYTES,
     "bytes per operation"},
    {"load", "per_op.write_bytes", "per_op.device_write_bytes", "written: process, device (light)", TEXT_BYTES,
     "bytes per operation"},
    {"run", "per_op.rchar", "per_op.device_read_bytes", "read: calls, device (light)", TEXT_BYTES,
     "bytes per operation"},
    {"run", "per_op.device_flushes", NULL, "device flushes", TEXT_PLAIN, "flushes per operation"},
    {"load", "per_op.device_flushes", NULL, "device flushes", TEXT_PLAIN, "flushes per operation"},
};

static const struct quantity spaces[] = {
    {NULL, "amplification.space", NULL, "space amplification", TEXT_PLAIN, "disk bytes by live bytes"},
    {NULL, "amplification.write_calls", "amplification.write_device",
     "writes: calls, device (light)", TEXT_PLAIN, "bytes written by bytes put"},
    {NULL, "space.disk_bytes", "space.peak_disk_bytes", "disk: at the end, at its peak (light)", TEXT_BYTES, "bytes"},
    {NULL, "space.memory_peak_bytes", NULL, "resident memory at its peak", TEXT_BYTES, "bytes"},
    {NULL, "recovery_ns", NULL, "reopening the store", TEXT_NS, "time"},
};

/* One panel, unless nobody measured it, or everybody measured 0: that is said in words. */
static void quantity_panel(struct bars *bars, const struct model *model, const struct experiment *experiment,
                           const struct quantity *quantity, struct step step, FILE *left_out)
{
    json_t *engines = json_object_get(experiment->root, "engines"), *engine;
    bool    any = false, above_zero = false, worth = false;
    double  most = 0, least = INFINITY;
    size_t  count = 0;
    double  floor_value = quantity->kind == TEXT_BYTES ? 1 : quantity->kind == TEXT_NS ? 0.1 : 0.001;
    char   *phase = step.name ? gather_place(experiment->root, step) : text_of("%s", "whole cell");
    char   *title = step.name ? text_of("%s — %s", phase, quantity->metric) : text_of("%s", quantity->metric);
    size_t  i;

    for (int pass = 0; pass < 2; pass++) {
        if (pass == 1 && !worth) {
            char limit[TEXT_NUMBER_MAX];

            fprintf(left_out, "%s%s: ", ftell(left_out) ? "; " : "", title);
            if (above_zero)
                fprintf(left_out, "below %s for every engine", text_number(limit, quantity->kind, floor_value));
            else
                fputs(any ? "0 for every engine" : "not measured", left_out);
            break;
        }
        if (pass == 1)
            bars_panel(bars, title, quantity->metric, quantity->kind, quantity->unit, quantity->light_path != NULL,
                       bars_spread_is_wide(least, most, count));
        json_array_foreach(engines, i, engine) {
            struct spread value = gather_spread(experiment->root, text_at(engine, "name"), step, quantity->path);
            struct spread light = {.median = NAN, .least = NAN, .most = NAN};

            if (quantity->light_path)
                light = gather_spread(experiment->root, text_at(engine, "name"), step, quantity->light_path);
            if (pass == 1 && (value.n || light.n))
                bars_row(bars, model, experiment, engine, phase, &value, &light);
            if (pass == 0 && value.median > floor_value) {
                most  = value.median > most ? value.median : most;
                least = value.median < least ? value.median : least;
                count++;
            }
            any        = any || value.n || light.n;
            above_zero = above_zero || value.most > 0 || light.most > 0;
            worth      = worth || value.most >= floor_value || light.most >= floor_value;
        }
    }
    if (worth)
        bars_panel_end(bars);
    free(phase);
    free(title);
}

static void make_quantities(struct figures *figures, const struct model *model, const struct experiment *experiment,
                            enum section section, const char *word, const char *title, const struct quantity *quantity,
                            size_t count)
{
    char          *label = text_of("%s %s", experiment->label, experiment->setting), *slug = text_slug(label);
    struct figure *figure = figure_add(figures, section, section == SECTION_COST ? "cost.gp" : "space.gp",
                                       text_of("%s-%s", word, slug),
                                       text_of("%s: %s, %s", title, experiment->label, experiment->setting));
    char          *left_out = NULL, *host = gather_host(experiment->root), *n;
    size_t         bytes;
    FILE          *words = open_memstream(&left_out, &bytes);
    struct bars    bars;

    bars_init(&bars, figure, bars_quantity_columns);
    for (size_t q = 0; q < count; q++) {
        const char *names[] = {quantity[q].phase, NULL};
        struct step steps[GATHER_STEPS_MAX];
        size_t      step_count = quantity[q].phase ? gather_steps(experiment->root, names, steps) : 0;

        if (!quantity[q].phase)
            quantity_panel(&bars, model, experiment, &quantity[q], (struct step){NULL, NULL}, words);
        for (size_t s = 0; s < step_count; s++)
            quantity_panel(&bars, model, experiment, &quantity[q], steps[s], words);
    }
    fclose(words);
    n = bars_n(&bars);
    bars_end(&bars, "what a title names first", "what it names second");
    figure->caption = text_of("%s; %s; %s. An engine without a value is left out.%s%s%s", n, experiment->setting, host,
                              *left_out ? " Not drawn: " : "", left_out, *left_out ? "." : "");
    figure->alt = text_of("Horizontal bars, %zu panels, %zu engines each: %s of %s. The table below has the numbers.",
                          bars.panels, bars.rows_most, word, experiment->label);
    free(label);
    free(slug);
    free(host);
    free(n);
    free(left_out);
    if (bars.panels == 0)
        figure_drop(figures);
}

/* Latency. */

static const struct column latency_columns[] = {
    {"phase", "", COLUMN_GROUP}, {"kind", "", COLUMN_GROUP}, {"engine", "Engine", COLUMN_TEXT},
    {"tier", "Tier", COLUMN_TEXT},   {"rounds", "n", COLUMN_COUNT}, {"samples", "Samples", COLUMN_COUNT},
    {"mean_ns", "Mean", COLUMN_NS},  {"p50_ns", "p50", COLUMN_NS},  {"p90_ns", "p90", COLUMN_NS},
    {"p99_ns", "p99", COLUMN_NS},    {"p999_ns", "p99.9", COLUMN_NS}, {"p9999_ns", "p99.99", COLUMN_NS},
    {"max_ns", "Max", COLUMN_NS},
};

static void latency_row(struct table *table, const struct pool *pool, const char *phase, const char *kind,
                        const json_t *engine)
{
    table_text(table, phase);
    table_text(table, kind);
    table_text(table, text_at(engine, "name"));
    table_text(table, text_at(engine, "tier"));
    table_value(table, (double)pool->rounds);
    table_value(table, (double)pool->samples);
    table_value(table, pool->samples ? pool->sum_ns / (double)pool->samples : NAN);
    table_value(table, gather_quantile(pool, 0.5, "p50"));
    table_value(table, gather_quantile(pool, 0.9, "p90"));
    table_value(table, gather_quantile(pool, 0.99, "p99"));
    table_value(table, gather_quantile(pool, 0.999, "p999"));
    table_value(table, gather_quantile(pool, 0.9999, "p9999"));
    table_value(table, pool->max_ns);
}

/* The spectrum: latency over 1 / (1 - share of the samples that are not slower). */
static void spectrum(struct curves *curves, const struct pool *pool)
{
    static const double marks[] = {2, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7};
    double              all     = (double)pool->samples;
    json_int_t          seen    = 0;
    size_t              mark    = 0;

    curves_point(curves, 0, 1, pool->min_ns, false);
    for (size_t i = 0; i < pool->count; i++) {
        seen += pool->bucket[i].count;
        if (seen < pool->samples)
            curves_point(curves, 0, all / (double)(pool->samples - seen), gather_middle_ns(pool, pool->bucket[i].low_ns), false);
    }
    curves_point(curves, 0, all, pool->max_ns, false);
    /* A symbol where the curve passes a usual percentile; behind the curve, which a symbol between would interrupt. */
    seen = 0;
    for (size_t i = 0; i < pool->count; i++) {
        seen += pool->bucket[i].count;
        for (; mark < COUNT_OF(marks) && marks[mark] <= all && (double)seen >= all - all / marks[mark]; mark++)
            curves_point(curves, 0, marks[mark], gather_middle_ns(pool, pool->bucket[i].low_ns), true);
    }
}

static void latency_panel(struct curves *curves, const struct model *model, const json_t *root, struct step step,
                          const char *side, const char *kind)
{
    char   *phase = gather_step_text(step);
    char   *place = text_of("%s%s%s", phase, *side ? ", " : "", side), *title = text_of("%s — %s", kind, place);
    json_t *engine;
    size_t  i;

    curves_panel(curves, title);
    json_array_foreach(json_object_get(root, "engines"), i, engine) {
        struct pool pool = gather_pool(root, text_at(engine, "name"), step, side, kind);

        if (pool.samples > 0) {
            curves_series(curves, model_mark(model, text_at(engine, "name")), true);
            spectrum(curves, &pool);
            latency_row(&curves->figure->table, &pool, place, kind, engine);
        }
        free(pool.bucket);
    }
    curves_panel_end(curves, true);
    free(phase);
    free(place);
    free(title);
}

static void make_latency(struct figures *figures, const struct model *model, const struct experiment *experiment)
{
    static const char *const names[] = {"run", "latency", "paced", "load", NULL};
    static const char *const sides[] = {"", "response", "service"};
    char          *label = text_of("%s %s", experiment->label, experiment->setting), *slug = text_slug(label);
    struct figure *figure = figure_add(figures, SECTION_LATENCY, "latency.gp", text_of("latency-%s", slug),
                                       text_of("Latency: %s, %s", experiment->label, experiment->setting));
    struct step    steps[GATHER_STEPS_MAX];
    size_t         count = gather_steps(experiment->root, names, steps);
    char          *host  = gather_host(experiment->root);
    struct curves  curves;

    curves_init(&curves, figure, latency_columns, COUNT_OF(latency_columns));
    for (size_t s = 0; s < count; s++) {
        for (size_t side = 0; side < COUNT_OF(sides); side++) {
            const char *kinds[16];
            size_t      kind_count = gather_kinds(experiment->root, steps[s], sides[side], kinds, COUNT_OF(kinds));

            for (size_t k = 0; k < kind_count; k++)
                latency_panel(&curves, model, experiment->root, steps[s], sides[side], kinds[k]);
        }
    }
    fputs("x_is_percentile = 1\nsymbols = 1\nline_width = 1.6\nx_title = 'percentile: so many % of the operations are not slower'\n"
          "y_title = ''\n", figure->gp);
    curves_end(&curves, model, json_object_get(experiment->root, "engines"), curves.panels > 1 ? 2 : 1,
               json_array_size(json_object_get(experiment->root, "engines")) > MANY_ENGINES ? 420 : 300);
    figure->caption = text_of("All rounds together (n in the table); successful operations only; %s; %s. Both axes are "
                              "logarithmic.", experiment->setting, host);
    figure->alt = text_of("Latency by percentile, one line an engine, %zu panels. The table below has the percentiles.",
                          curves.panels);
    free(label);
    free(slug);
    free(host);
    if (curves.series == 0)
        figure_drop(figures);
}

/* The percentiles of many engines: a row an engine, so that names and places say what colours no longer can. */

static const struct column percentile_columns[] = {
    {"panel", "", COLUMN_PLACE}, {"row", "", COLUMN_PLACE}, {"p50_ns", "", COLUMN_PLACE}, {"p90_ns", "", COLUMN_PLACE},
    {"p99_ns", "", COLUMN_PLACE}, {"p999_ns", "", COLUMN_PLACE}, {"max_ns", "", COLUMN_PLACE},
};

struct rows {
    struct figure *figure;
    size_t         panels, most;
    struct list    panel_title, panel_rows, panel_least, panel_most, row_panel, row_at, row_text, row_colour;
    double         label_chars;
};

static void percentile_panel(struct rows *rows, const struct model *model, const json_t *root, struct step step, const char *side,
                             const char *kind)
{
    char   *phase = gather_step_text(step), *title = text_of("%s — %s%s%s", kind, phase, *side ? ", " : "", side);
    double  least = INFINITY, most = 0;
    size_t  row = 0, i;
    json_t *engine;

    rows->panels++;
    json_array_foreach(json_object_get(root, "engines"), i, engine) {
        struct pool  pool = gather_pool(root, text_at(engine, "name"), step, side, kind);
        const double values[] = {gather_quantile(&pool, 0.5, "p50"), gather_quantile(&pool, 0.9, "p90"),
                                 gather_quantile(&pool, 0.99, "p99"), gather_quantile(&pool, 0.999, "p999"), pool.max_ns};
        char        *label = gather_label(root, engine);

        for (size_t v = 0; pool.samples > 0 && v < COUNT_OF(values); v++) {
            if (v == 0) {
                table_value(&rows->figure->points, (double)rows->panels);
                table_value(&rows->figure->points, (double)++row);
            }
            table_value(&rows->figure->points, values[v]);
            least = values[v] > 0 && values[v] < least ? values[v] : least;
            most  = values[v] > most ? values[v] : most;
        }
        if (pool.samples > 0) {
            list_number(&rows->row_panel, (double)rows->panels);
            list_number(&rows->row_at, (double)row);
            list_tick_text(&rows->row_text, label);
            list_number(&rows->row_colour, (double)model_mark(model, text_at(engine, "name"))->colour);
            if ((double)text_chars(label) > rows->label_chars)
                rows->label_chars = (double)text_chars(label);
        }
        free(label);
        free(pool.bucket);
    }
    list_text(&rows->panel_title, title);
    list_number(&rows->panel_rows, (double)row);
    list_number(&rows->panel_least, isfinite(least) ? least : 1);
    list_number(&rows->panel_most, most > 0 ? most : 10);
    rows->most = row > rows->most ? row : rows->most;
    free(phase);
    free(title);
}

static void make_percentiles(struct figures *figures, const struct model *model, const struct experiment *experiment)
{
    static const char *const names[] = {"run", "latency", "paced", NULL};
    static const char *const sides[] = {"", "response", "service"};
    char          *label, *slug, *host;
    struct figure *figure;
    struct step    steps[GATHER_STEPS_MAX];
    size_t         count = gather_steps(experiment->root, names, steps);
    struct rows    rows  = {0};

    if (json_array_size(json_object_get(experiment->root, "engines")) <= MANY_ENGINES)
        return;
    label  = text_of("%s %s", experiment->label, experiment->setting);
    slug   = text_slug(label);
    host   = gather_host(experiment->root);
    figure = figure_add(figures, SECTION_LATENCY, "percentiles.gp", text_of("percentiles-%s", slug),
                        text_of("Percentiles: %s, %s", experiment->label, experiment->setting));
    rows.figure = figure;
    table_init(&figure->table, percentile_columns, 0);
    table_init(&figure->points, percentile_columns, COUNT_OF(percentile_columns));
    for (size_t s = 0; s < count; s++) {
        for (size_t side = 0; side < COUNT_OF(sides); side++) {
            const char *kinds[16];
            size_t      kind_count = gather_kinds(experiment->root, steps[s], sides[side], kinds, COUNT_OF(kinds));

            for (size_t k = 0; k < kind_count; k++)
                percentile_panel(&rows, model, experiment->root, steps[s], sides[side], kinds[k]);
        }
    }
    list_write(&rows.panel_title, figure->gp, "panel_title");
    list_write(&rows.panel_rows, figure->gp, "panel_rows");
    list_write(&rows.panel_least, figure->gp, "panel_least");
    list_write(&rows.panel_most, figure->gp, "panel_most");
    list_write(&rows.row_panel, figure->gp, "row_panel");
    list_write(&rows.row_at, figure->gp, "row_at");
    list_write(&rows.row_text, figure->gp, "row_text");
    list_write(&rows.row_colour, figure->gp, "row_colour");
    figure_grid(figure, rows.panels, rows.panels > 1 ? 2 : 1,
                FIGURE_HEAD_PX + (double)rows.most * 22 + 8 + FIGURE_FOOT_PX, rows.label_chars * FIGURE_CHAR_PX + 16, 28);
    figure->caption = text_of("All rounds together; successful operations only; %s; %s. The axis is logarithmic.",
                              experiment->setting, host);
    figure->alt = text_of("Percentiles of latency, one row an engine, %zu panels. The table below the next figure has the numbers.",
                          rows.panels);
    free(label);
    free(slug);
    free(host);
    if (rows.panels == 0)
        figure_drop(figures);
}

/* Throughput over time. */

static const struct column time_columns[] = {
    {"phase", "", COLUMN_GROUP},            {"engine", "Engine", COLUMN_TEXT},
    {"round", "Round", COLUMN_COUNT},       {"intervals", "Intervals", COLUMN_COUNT},
    {"least", "Slowest interval", COLUMN_RATE}, {"median", "Median interval", COLUMN_RATE},
    {"most", "Fastest interval", COLUMN_RATE},
};

/* One round's curve.  The last interval was cut short by the end of the phase: it is judged by its own length, and left
 * out when it is too short to say anything. */
static void time_series(struct curves *curves, const json_t *phase, const char *phase_text, const char *engine,
                        size_t round)
{
    const json_t *series = json_object_get(phase, "timeseries");
    size_t        count  = json_array_size(series), drawn = 0;
    double       *rates  = count ? malloc(count * sizeof *rates) : NULL;
    struct table *table  = &curves->figure->table;
    double        wall_s = number_at(phase, "wall_s"), usual_s = NAN;

    for (size_t i = 0; rates && i < count; i++) {
        const json_t *here   = json_array_get(series, i), *next = json_array_get(series, i + 1);
        double        t_s    = json_number_value(json_array_get(here, 0));
        double        end_s  = next ? json_number_value(json_array_get(next, 0)) : wall_s;
        double        length = end_s - t_s;

        if (next)
            usual_s = length;
        if (!(length > 0) || (!next && length < usual_s / 2))
            continue;
        if (!next && length > usual_s)
            length = usual_s; /* the wall clock also saw the end of the phase */
        rates[drawn] = json_number_value(json_array_get(here, 1)) / length;
        curves_point(curves, round, t_s + length / 2, rates[drawn++], false);
    }
    if (drawn) {
        double median = gather_median(rates, drawn);

        table_text(table, phase_text);
        table_text(table, engine);
        table_value(table, (double)round);
        table_value(table, (double)drawn);
        table_value(table, rates[0]);
        table_value(table, median);
        table_value(table, rates[drawn - 1]);
    }
    free(rates);
}

static void make_time(struct figures *figures, const struct model *model, const struct experiment *experiment)
{
    static const char *const names[] = {"run", "paced", "load", NULL};
    char          *label = text_of("%s %s", experiment->label, experiment->setting), *slug = text_slug(label);
    struct figure *figure = figure_add(figures, SECTION_TIME, "timeline.gp", text_of("timeline-%s", slug),
                                       text_of("Throughput over time: %s, %s", experiment->label, experiment->setting));
    struct step    steps[GATHER_STEPS_MAX];
    json_t        *engines = json_object_get(experiment->root, "engines"), *engine, *cell;
    size_t         count = gather_steps(experiment->root, names, steps), e, c;
    char          *host  = gather_host(experiment->root);
    struct curves  curves;

    curves_init(&curves, figure, time_columns, COUNT_OF(time_columns));
    json_array_foreach(engines, e, engine) {
        for (size_t s = 0; s < count; s++) {
            char *phase = gather_step_text(steps[s]), *title = text_of("%s — %s", text_at(engine, "name"), phase);
            bool  begun = false;

            json_array_foreach(json_object_get(experiment->root, "cells"), c, cell) {
                const json_t *at = gather_phase(cell, steps[s]);

                if (strcmp(text_at(cell, "engine"), text_at(engine, "name")) != 0 ||
                    json_array_size(json_object_get(at, "timeseries")) < INTERVALS_LEAST)
                    continue;
                if (!begun)
                    curves_panel(&curves, title);
                begun = true;
                curves_series(&curves, model_mark(model, text_at(engine, "name")), false);
                time_series(&curves, at, phase, text_at(engine, "name"),
                            (size_t)json_integer_value(json_object_get(cell, "round")));
            }
            if (begun)
                curves_panel_end(&curves, false);
            free(phase);
            free(title);
        }
    }
    fputs("x_is_percentile = 0\nsymbols = 0\nline_width = 1.1\nx_title = 'seconds since the phase began'\n"
          "y_title = 'ops/s'\n", figure->gp);
    curves_end(&curves, model, NULL, curves.panels > 8 ? 3 : curves.panels > 1 ? 2 : 1, 175); /* the panels' titles name the engines */
    figure->caption = text_of("Operations per second in each interval, one line a round, failed rounds included; %s; %s. "
                              "Each panel has its own axis, from zero.", experiment->setting, host);
    figure->alt = text_of("Operations per second over time, %zu panels, one line a round. The table below has the slowest, "
                          "the median and the fastest interval of each.", curves.panels);
    free(label);
    free(slug);
    free(host);
    if (curves.series == 0 || table_rows(&figure->points) == 0)
        figure_drop(figures);
}

/* Whether an engine keeps up: what it held its callers up, and its space, second by second. */

static const struct column watch_columns[] = {
    {"phase", "", COLUMN_GROUP},                 {"engine", "Engine", COLUMN_TEXT},
    {"round", "Round", COLUMN_COUNT},            {"seconds", "Seconds", COLUMN_COUNT},
    {"held_up_ns", "Held up, all", COLUMN_NS},   {"held_up_most_ns", "most in a second", COLUMN_NS},
    {"disk_most_bytes", "On disk, most", COLUMN_BYTES}, {"disk_end_bytes", "at the end", COLUMN_BYTES},
};

#define WATCH_LEAST 5 /* rows, from which there is a course to be seen */

/* NaN where the engine does not tell. */
static double held_up_ns(const json_t *row)
{
    double stall = number_at(row, "stall_ns"), delay = number_at(row, "delay_ns");

    return isnan(stall) ? delay : isnan(delay) ? stall : stall + delay;
}

static void watch_series(struct curves *curves, const json_t *rows, size_t round, bool space)
{
    double before = NAN, before_s = 0;

    for (size_t i = 0; i < json_array_size(rows); i++) {
        const json_t *row  = json_array_get(rows, i);
        double        t_s  = number_at(row, "t_s"), now = space ? number_at(row, "disk_bytes") : held_up_ns(row);
        double        show = space ? now : (now - before) / 1e6 / (t_s - before_s);

        if (!isnan(show) && (space || t_s > before_s))
            curves_point(curves, round, t_s, show, false);
        before   = now;
        before_s = t_s;
    }
}

static void watch_row(struct table *table, const json_t *rows, const char *phase, const char *engine, size_t round)
{
    size_t count = json_array_size(rows);
    double disk_most = NAN, held_most = NAN;

    for (size_t i = 0; i < count; i++) {
        const json_t *row = json_array_get(rows, i);

        disk_most = fmax(disk_most, number_at(row, "disk_bytes"));
        if (i)
            held_most = fmax(held_most, held_up_ns(row) - held_up_ns(json_array_get(rows, i - 1)));
    }
    table_text(table, phase);
    table_text(table, engine);
    table_value(table, (double)round);
    table_value(table, (double)count);
    table_value(table, held_up_ns(json_array_get(rows, count - 1)) - held_up_ns(json_array_get(rows, 0)));
    table_value(table, held_most);
    table_value(table, disk_most);
    table_value(table, number_at(json_array_get(rows, count - 1), "disk_bytes"));
}

/* One panel: an engine in a phase, all rounds.  False: there was nothing to draw. */
static bool watch_panel(struct curves *curves, const struct model *model, const struct experiment *experiment, const json_t *engine,
                        struct step step, bool space)
{
    char   *phase = gather_step_text(step);
    char   *title = text_of("%s — %s, %s", text_at(engine, "name"), phase, space ? "bytes on disk" : "ms held up in a second");
    bool    begun = false;
    json_t *cell;
    size_t  c;

    json_array_foreach(json_object_get(experiment->root, "cells"), c, cell) {
        const json_t *rows  = json_object_get(gather_phase(cell, step), "watch"), *last = json_array_get(rows, json_array_size(rows) - 1);
        size_t        round = (size_t)json_integer_value(json_object_get(cell, "round"));

        if (strcmp(text_at(cell, "engine"), text_at(engine, "name")) != 0 || json_array_size(rows) < WATCH_LEAST ||
            isnan(space ? number_at(last, "disk_bytes") : held_up_ns(last)))
            continue;
        if (!begun)
            curves_panel(curves, title);
        begun = true;
        curves_series(curves, model_mark(model, text_at(engine, "name")), false);
        watch_series(curves, rows, round, space);
        if (space)
            watch_row(&curves->figure->table, rows, phase, text_at(engine, "name"), round);
    }
    if (begun)
        curves_panel_end(curves, false);
    free(phase);
    free(title);
    return begun;
}

static void make_watch(struct figures *figures, const struct model *model, const struct experiment *experiment)
{
    static const char *const names[] = {"run", "paced", "load", NULL};
    char          *label = text_of("%s %s", experiment->label, experiment->setting), *slug = text_slug(label);
    struct figure *figure = figure_add(figures, SECTION_TIME, "timeline.gp", text_of("upkeep-%s", slug),
                                       text_of("Space and hold-ups over time: %s, %s", experiment->label, experiment->setting));
    struct step    steps[GATHER_STEPS_MAX];
    size_t         count = gather_steps(experiment->root, names, steps), e;
    char          *host  = gather_host(experiment->root);
    json_t        *engine;
    struct curves  curves;
    bool           any = false;

    curves_init(&curves, figure, watch_columns, COUNT_OF(watch_columns));
    json_array_foreach(json_object_get(experiment->root, "engines"), e, engine) {
        for (size_t s = 0; s < count; s++) {
            any |= watch_panel(&curves, model, experiment, engine, steps[s], true);
            any |= watch_panel(&curves, model, experiment, engine, steps[s], false);
        }
    }
    fputs("x_is_percentile = 0\nsymbols = 0\nline_width = 1.1\nx_title = 'seconds since the phase began'\ny_title = ''\n", figure->gp);
    curves_end(&curves, model, NULL, curves.panels > 1 ? 2 : 1, 175);
    figure->caption = text_of("Read once a second: bytes on disk, and how long the engine says that it held its callers up, by delays "
                              "and by waits for background work; one line a round; %s; %s. Each panel has its own axis, from zero.",
                              experiment->setting, host);
    figure->alt = text_of("Bytes on disk and milliseconds held up in each second, %zu panels. The table below has the sums and the "
                          "largest.", curves.panels);
    free(label);
    free(slug);
    free(host);
    if (!any || table_rows(&figure->points) == 0)
        figure_drop(figures);
}

/* Crash verdicts. */

static const char *const verdict_words[] = {"held", "lost", "hole", "resurrected", "corrupt", "refused", "crashed", "hung"};

static const struct column crash_columns[] = {
    {"engine", "Engine", COLUMN_TEXT},    {"tier", "Tier", COLUMN_TEXT},     {"mode", "Mode", COLUMN_TEXT},
    {"profile", "Profile", COLUMN_TEXT},  {"lives", "Lives", COLUMN_COUNT},  {"kills", "Kills", COLUMN_COUNT},
    {"kills_in_recovery", "in recovery", COLUMN_COUNT}, {"states", "States", COLUMN_COUNT},
    {"acked_median", "Acked, median", COLUMN_COUNT}, {"held", "Held", COLUMN_COUNT},
    {"lost", "Lost", COLUMN_COUNT},       {"hole", "Hole", COLUMN_COUNT},    {"resurrected", "Resurrected", COLUMN_COUNT},
    {"corrupt", "Corrupt", COLUMN_COUNT}, {"refused", "Refused", COLUMN_COUNT}, {"crashed", "Crashed", COLUMN_COUNT},
    {"hung", "Hung", COLUMN_COUNT},       {"verdict", "Verdict", COLUMN_TEXT},
};

/* One column of the picture: a tier under one kind of crash. */
struct trial {
    const char *tier, *mode, *profile;
};

#define TRIALS_MAX 64

static const char *const tier_order[] = {"none", "process", "ordered", "interval", "commit"};

static size_t tier_rank(const char *tier)
{
    size_t rank = 0;

    while (rank < COUNT_OF(tier_order) && strncmp(tier, tier_order[rank], strlen(tier_order[rank])) != 0)
        rank++;
    return rank;
}

static struct trial trial_of(const struct crash *crash)
{
    return (struct trial){text_at(json_object_get(crash->root, "engine"), "tier"), text_at(crash->root, "mode"),
                          text_at(crash->root, "profile")};
}

static int compare_trials(const void *a, const void *b)
{
    const struct trial *x = a, *y = b;
    size_t              rank_x = tier_rank(x->tier), rank_y = tier_rank(y->tier);
    int                 order = rank_x != rank_y ? (rank_x > rank_y) - (rank_x < rank_y) : strcmp(x->tier, y->tier);

    order = order ? order : strcmp(x->mode, y->mode);
    return order ? order : strcmp(x->profile, y->profile);
}

/* The different trials of all campaigns, sorted. */
static size_t trials_of(const struct model *model, struct trial *out)
{
    size_t count = 0;

    for (size_t i = 0; i < model->crash_count; i++) {
        struct trial trial = trial_of(&model->crashes[i]);
        bool         known = false;

        for (size_t t = 0; t < count; t++)
            known = known || compare_trials(&out[t], &trial) == 0;
        if (!known && count < TRIALS_MAX)
            out[count++] = trial;
    }
    qsort(out, count, sizeof *out, compare_trials);
    return count;
}

/* Whether the engine offers the tier; true where an older result does not say. */
static bool offers(const json_t *engine, const char *tier)
{
    json_t *tiers = json_object_get(engine, "tiers"), *word;
    size_t  i;

    if (!json_is_array(tiers))
        return true;
    json_array_foreach(tiers, i, word) {
        if (json_is_string(word) && strncmp(tier, json_string_value(word), strlen(json_string_value(word))) == 0)
            return true;
    }
    return false;
}

/* What all campaigns of one engine and trial found: the worst word, how often, and of how many.  malloc'd. */
static char *verdict_text(const struct model *model, const char *engine, const struct trial *trial, double *colour)
{
    double sums[COUNT_OF(verdict_words)] = {0}, all = 0, bad = 0;
    size_t worst = 0, campaigns = 0;
    bool   offered = true;
    char   a[TEXT_NUMBER_MAX], b[TEXT_NUMBER_MAX];

    for (size_t i = 0; i < model->crash_count; i++) {
        const struct crash *crash = &model->crashes[i];
        json_t             *its   = json_object_get(crash->root, "engine");
        struct trial        other = trial_of(crash);

        if (strcmp(text_at(its, "name"), engine) != 0)
            continue;
        offered = offered && offers(its, trial->tier);
        if (compare_trials(&other, trial) != 0)
            continue;
        campaigns++;
        for (size_t v = 0; v < COUNT_OF(verdict_words); v++) {
            double count = number_at(json_object_get(crash->root, "verdicts"), verdict_words[v]);

            sums[v] += count > 0 ? count : 0;
        }
    }
    for (size_t v = 0; v < COUNT_OF(verdict_words); v++) {
        all += sums[v];
        bad += v ? sums[v] : 0;
        if (v && sums[v] > (worst ? sums[worst] : 0))
            worst = v;
    }
    *colour = bad > 0 ? 0xf3c3a5 : all > 0 ? 0xb5dfcf : 0xf7f7f7;
    if (campaigns == 0)
        return text_of("%s", offered ? "not run" : "no such tier");
    if (bad > 0)
        return text_of("✗ %s %s/%s", verdict_words[worst], text_number(a, TEXT_COUNT, bad), text_number(b, TEXT_COUNT, all));
    return all > 0 ? text_of("✓ held %s", text_number(a, TEXT_COUNT, all)) : text_of("nothing judged");
}

static void crash_rows(struct figure *figure, const struct model *model, size_t *kills, size_t *states)
{
    for (size_t i = 0; i < model->crash_count; i++) {
        const struct crash *crash  = &model->crashes[i];
        json_t             *engine = json_object_get(crash->root, "engine");
        json_t             *verdicts = json_object_get(crash->root, "verdicts");
        const char         *mode = text_at(crash->root, "mode");

        table_text(&figure->table, text_at(engine, "name"));
        table_text(&figure->table, text_at(engine, "tier"));
        table_text(&figure->table, mode);
        table_text(&figure->table, text_at(crash->root, "profile"));
        table_json(&figure->table, json_object_get(crash->root, "lives"));
        table_json(&figure->table, json_object_get(crash->root, "kills"));
        table_json(&figure->table, json_object_get(crash->root, "kills_in_recovery"));
        table_json(&figure->table, json_object_get(crash->root, "states"));
        table_json(&figure->table, json_object_get(crash->root, "acked_median"));
        for (size_t v = 0; v < COUNT_OF(verdict_words); v++)
            table_value(&figure->table, number_at(verdicts, verdict_words[v]));
        table_text(&figure->table, crash->broken ? "broken" : crash->held ? "held" : "nothing was tried");
        *kills += strcmp(mode, "kill") == 0 ? (size_t)crash->tried : 0;
        *states += strcmp(mode, "power") == 0 ? (size_t)crash->tried : 0;
    }
}

static bool first_of_engine(const struct model *model, size_t at)
{
    const char *name = text_at(json_object_get(model->crashes[at].root, "engine"), "name");

    for (size_t i = 0; i < at; i++)
        if (strcmp(text_at(json_object_get(model->crashes[i].root, "engine"), "name"), name) == 0)
            return false;
    return true;
}

/* Engines by tiers and kinds of crash, a word in each cell. */
static void make_crashes(struct figures *figures, const struct model *model)
{
    struct figure *figure;
    struct list    row_text = {0}, head = {0}, below = {0}, cell_row = {0}, cell_column = {0}, cell_text = {0}, cell_colour = {0};
    struct trial   trials[TRIALS_MAX];
    size_t         longest = 0, kills = 0, states = 0, rows = 0, trial_count;
    char          *host;

    if (model->crash_count == 0)
        return;
    figure = figure_add(figures, SECTION_CRASH, "verdicts.gp", text_of("crash-verdicts"), text_of("Crash verdicts"));
    table_init(&figure->table, crash_columns, COUNT_OF(crash_columns));
    crash_rows(figure, model, &kills, &states);
    trial_count = trials_of(model, trials);
    for (size_t t = 0; t < trial_count; t++) {
        char *words = text_of("%s%s%s", trials[t].mode, *trials[t].profile ? " " : "", trials[t].profile);

        list_text(&head, trials[t].tier);
        list_text(&below, words);
        free(words);
    }
    for (size_t i = 0; i < model->crash_count; i++) {
        const char *engine = text_at(json_object_get(model->crashes[i].root, "engine"), "name");
        char       *name;

        if (!first_of_engine(model, i))
            continue;
        rows++;
        name = text_shortened(engine, LABEL_CHARS);
        list_text(&row_text, name);
        longest = text_chars(name) > longest ? text_chars(name) : longest;
        free(name);
        for (size_t t = 0; t < trial_count; t++) {
            double colour;
            char  *text = verdict_text(model, engine, &trials[t], &colour);

            list_number(&cell_row, (double)rows);
            list_number(&cell_column, (double)(t + 1));
            list_text(&cell_text, text);
            list_number(&cell_colour, colour);
            free(text);
        }
    }
    list_write(&row_text, figure->gp, "row_text");
    list_write(&head, figure->gp, "head");
    list_write(&below, figure->gp, "below");
    list_write(&cell_row, figure->gp, "cell_row");
    list_write(&cell_column, figure->gp, "cell_column");
    list_write(&cell_text, figure->gp, "cell_text");
    list_write(&cell_colour, figure->gp, "cell_colour");
    fprintf(figure->gp, "label_px = %g\ncolumns = 1\ncell_h = 1\ntop_px = 0\nfoot_px = 0\npanels = 1\n",
            (double)longest * FIGURE_CHAR_PX + 24);
    figure->height = (int)(66 + 30 * rows);
    /* A word needs its room: many columns make the picture wider, and the page scrolls it. */
    figure->width   = (int)fmax(FIGURE_WIDTH, (double)longest * FIGURE_CHAR_PX + 36 + 118.0 * (double)trial_count);
    host            = gather_host(model->crashes[0].root);
    figure->caption = text_of("%zu campaigns, %zu kills, %zu states after power loss; %s. ✓ held, so many times; ✗ a promise was "
                              "broken, so many times of all; the table has each verdict.", model->crash_count, kills, states, host);
    figure->alt = text_of("A table of verdicts, one row an engine, one column a tier and kind of crash. The table below has the "
                          "counts.");
    free(host);
}

void figures_make(struct figures *figures, const struct model *model)
{
    *figures = (struct figures){0};
    make_throughput(figures, model);
    make_published(figures, model);
    for (size_t e = 0; e < model->experiment_count; e++) {
        make_percentiles(figures, model, &model->experiments[e]);
        make_latency(figures, model, &model->experiments[e]);
    }
    for (size_t e = 0; e < model->experiment_count; e++) {
        make_time(figures, model, &model->experiments[e]);
        make_watch(figures, model, &model->experiments[e]);
    }
    for (size_t e = 0; e < model->experiment_count; e++)
        make_quantities(figures, model, &model->experiments[e], SECTION_COST, "cost", "Cost per operation", costs,
                        COUNT_OF(costs));
    for (size_t e = 0; e < model->experiment_count; e++)
        make_quantities(figures, model, &model->experiments[e], SECTION_SPACE, "space", "Space, writes and reopening",
                        spaces, COUNT_OF(spaces));
    make_crashes(figures, model);
    if (figures->count)
        figure_end(&figures->items[figures->count - 1]);
}

/* Tables that have no figure. */

static const struct column headline_columns[] = {
    {"experiment", "", COLUMN_GROUP},            {"phase", "", COLUMN_GROUP},
    {"engine", "Engine", COLUMN_TEXT},           {"tier", "Tier", COLUMN_TEXT},
    {"verified", "Durability", COLUMN_TEXT},     {"n", "n", COLUMN_COUNT},
    {"ops_per_s_engine", "Engine", COLUMN_RATE}, {"ratio", "Ratio", COLUMN_NUMBER}, {"min", "min", COLUMN_RATE},
    {"max", "max", COLUMN_RATE},                 {"ops_per_s_all_in", "All in", COLUMN_RATE},
    {"p99_ns", "p99", COLUMN_NS},                {"cpu_ns_per_op", "CPU/op", COLUMN_NS},
    {"write_bytes_per_op", "To disk/op", COLUMN_BYTES}, {"status", "Status", COLUMN_TEXT},
};

/* p99 of all kinds together: of the phase itself, else of the latency pass of the same part. */
static double headline_p99(const json_t *root, const char *engine, struct step step)
{
    const struct step places[] = {step, {"latency", step.part}};

    for (size_t i = 0; i < COUNT_OF(places); i++) {
        struct pool pool = gather_pool(root, engine, places[i], "", "all");
        double      p99  = pool.samples ? gather_quantile(&pool, 0.99, "p99") : NAN;

        free(pool.bucket);
        if (isfinite(p99) || strcmp(step.name, "run") != 0)
            return p99;
    }
    return NAN;
}

/* To the baseline of the run, which itself has 1; unknown where that one only measures the harness. */
static double headline_ratio(const json_t *root, const char *engine, struct step step)
{
    const char *baseline = text_at(json_object_get(root, "settings"), "baseline");
    json_t     *row;
    size_t      i;

    if (!gather_retains(engine_at(root, baseline)))
        return NAN;
    if (strcmp(engine, baseline) == 0)
        return 1;
    json_array_foreach(json_object_get(root, "ratios"), i, row) {
        if (strcmp(text_at(row, "engine"), engine) == 0 && strcmp(text_at(row, "metric"), "ops_per_s_engine") == 0 &&
            strcmp(text_at(row, "phase"), step.name) == 0 && strcmp(text_at(row, "part"), step.part) == 0)
            return number_at(row, "ratio_median");
    }
    return NAN;
}

void figures_headline(struct table *table, const struct model *model)
{
    static const char *const names[] = {"run", "load", NULL};

    table_init(table, headline_columns, COUNT_OF(headline_columns));
    for (size_t e = 0; e < model->experiment_count; e++) {
        const struct experiment *experiment = &model->experiments[e];
        struct step              steps[GATHER_STEPS_MAX];
        size_t                   count = gather_steps(experiment->root, names, steps), i;
        char                    *place = text_of("%s, %s", experiment->label, experiment->setting);
        json_t                  *engine;

        if (count == 0)
            steps[count++] = (struct step){"run", ""};
        for (size_t s = 0; s < count; s++) {
            char *phase = gather_place(experiment->root, steps[s]);

            json_array_foreach(json_object_get(experiment->root, "engines"), i, engine) {
                const char   *name   = text_at(engine, "name");
                struct spread own    = gather_spread(experiment->root, name, steps[s], "ops_per_s_engine");
                struct spread all    = gather_spread(experiment->root, name, steps[s], "ops_per_s_all_in");
                struct spread user   = gather_spread(experiment->root, name, steps[s], "per_op.cpu_user_ns");
                struct spread system = gather_spread(experiment->root, name, steps[s], "per_op.cpu_system_ns");
                struct spread wrote  = gather_spread(experiment->root, name, steps[s], "per_op.write_bytes");
                char         *status = gather_status(experiment->root, name), *why, *html = NULL;
                enum badge    badge  = model_badge(model, experiment->root, engine, &why);
                size_t        bytes;
                FILE         *stream = open_memstream(&html, &bytes);

                beside_badge(stream, badge);
                fclose(stream);
                table_text(table, place);
                table_text(table, phase);
                table_text(table, name);
                table_text(table, text_at(engine, "tier"));
                table_markup(table, badge_word(badge), html);
                table_value(table, (double)own.n);
                table_value(table, own.median);
                table_value(table, own.n ? headline_ratio(experiment->root, name, steps[s]) : NAN);
                table_value(table, own.least);
                table_value(table, own.most);
                table_value(table, all.median);
                table_value(table, headline_p99(experiment->root, name, steps[s]));
                table_value(table, user.median + system.median);
                table_value(table, wrote.median);
                table_text(table, status);
                free(status);
                free(why);
                free(html);
            }
            free(phase);
        }
        free(place);
    }
}

static const struct column ratio_columns[] = {
    {"experiment", "", COLUMN_GROUP},     {"phase", "", COLUMN_GROUP},       {"engine", "Engine", COLUMN_TEXT},
    {"baseline", "by", COLUMN_TEXT},      {"n", "n", COLUMN_COUNT},          {"ratio", "Ratio, median", COLUMN_NUMBER},
    {"low", "95 % from", COLUMN_NUMBER}, {"high", "to", COLUMN_NUMBER},
};

static void ratio_row(struct table *table, const char *place, const json_t *row)
{
    char   *phase    = gather_step_text((struct step){text_at(row, "phase"), text_at(row, "part")});
    json_t *interval = json_object_get(row, "ci95");

    table_text(table, place);
    table_text(table, phase);
    table_text(table, text_at(row, "engine"));
    table_text(table, text_at(row, "baseline"));
    table_json(table, json_object_get(row, "n"));
    table_json(table, json_object_get(row, "ratio_median"));
    table_json(table, json_array_get(interval, 0));
    table_json(table, json_array_get(interval, 1));
    free(phase);
}

static bool same_phase(const json_t *a, const json_t *b)
{
    return strcmp(text_at(a, "phase"), text_at(b, "phase")) == 0 && strcmp(text_at(a, "part"), text_at(b, "part")) == 0;
}

/* Row by row as in the result, but those of one phase together.  A ratio to the engine that only measures the harness says
 * nothing of engines. */
void figures_ratios(struct table *table, const struct model *model)
{
    table_init(table, ratio_columns, COUNT_OF(ratio_columns));
    for (size_t e = 0; e < model->experiment_count; e++) {
        const struct experiment *experiment = &model->experiments[e];
        json_t                  *ratios     = json_object_get(experiment->root, "ratios"), *row, *other;
        char                    *place      = text_of("%s, %s", experiment->label, experiment->setting);
        size_t                   i, j;

        json_array_foreach(ratios, i, row) {
            bool first = gather_retains(engine_at(experiment->root, text_at(row, "baseline")));

            for (j = 0; j < i; j++)
                first = first && !same_phase(row, json_array_get(ratios, j));
            json_array_foreach(ratios, j, other) {
                if (first && same_phase(row, other))
                    ratio_row(table, place, other);
            }
        }
        free(place);
    }
}
