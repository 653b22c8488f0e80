/*
 * figures.c -- what is drawn: for each figure its rows, its words, and the settings that its template reads.
 *
 * Strings reach gnuplot only in single quotes, where it expands nothing, and terminals draw them without markup: the
 * name of an engine may hold any character.
 */
#include "plot/figures.h"

#include <assert.h>
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "common/units.h"

#define WIDTH          980
#define LABEL_CHARS    26 /* of an engine's name beside an axis */
#define CHAR_PX        7.3
#define FOOT_PX        50 /* below a panel: tick labels and the axis' title */
#define HEAD_PX        26 /* above a panel: its title */
#define ROUNDS_MAX     256
#define INTERVALS_LEAST 5 /* a shorter run is no curve */

/* Text for gnuplot. */

static void gp_text(FILE *gp, const char *text)
{
    fputc('\'', gp);
    for (; *text; text++) {
        if (*text == '\'')
            fputc('\'', gp);
        fputc((unsigned char)*text < ' ' ? ' ' : *text, gp);
    }
    fputc('\'', gp);
}

/* At most `most` characters; the last is then an ellipsis. */
static char *shortened(const char *text, size_t most)
{
    size_t chars = 0, bytes = 0, cut = 0;

    for (; text[bytes]; bytes++) {
        if (((unsigned char)text[bytes] & 0xc0) == 0x80)
            continue;
        if (chars++ == most - 1)
            cut = bytes;
    }
    return chars > most ? text_of("%.*s…", (int)cut, text) : text_of("%s", text);
}

static size_t chars_of(const char *text)
{
    size_t chars = 0;

    for (; *text; text++)
        chars += ((unsigned char)*text & 0xc0) != 0x80;
    return chars;
}

/* A part of a file name: letters, digits and single dashes. */
static char *slug_of(const char *text)
{
    char  *slug = text_of("%s", text);
    size_t at   = 0;

    for (const char *c = text; *c; c++) {
        if (isalnum((unsigned char)*c))
            slug[at++] = (char)tolower((unsigned char)*c);
        else if (at && slug[at - 1] != '-')
            slug[at++] = '-';
    }
    while (at && slug[at - 1] == '-')
        at--;
    slug[at > 60 ? 60 : at] = '\0';
    return slug;
}

/* Arrays of a template, as they fill. */

struct list {
    char **item; /* ready for gnuplot: quoted, or a number */
    size_t count, room;
};

static void list_add(struct list *list, char *item)
{
    list->item                = grow(list->item, list->count, &list->room, sizeof *list->item);
    list->item[list->count++] = item;
}

static void list_text(struct list *list, const char *text)
{
    char  *quoted = NULL;
    size_t bytes;
    FILE  *stream = open_memstream(&quoted, &bytes);

    gp_text(stream, text);
    fclose(stream);
    list_add(list, quoted);
}

/* Text beside a tick, which gnuplot takes for a format. */
static void list_tick_text(struct list *list, const char *text)
{
    char  *doubled = text_of("%s%s", text, text), *to = doubled;

    for (; *text; text++) {
        if (*text == '%')
            *to++ = '%';
        *to++ = *text;
    }
    *to = '\0';
    list_text(list, doubled);
    free(doubled);
}

static void list_number(struct list *list, double number)
{
    list_add(list, text_of("%.17g", number));
}

/* Writes "array NAME[n] = [...]" and empties the list.  gnuplot knows no empty array: it gets one element that no panel
 * asks for. */
static void list_write(struct list *list, FILE *gp, const char *name)
{
    fprintf(gp, "array %s[%zu] = [", name, list->count ? list->count : 1);
    for (size_t i = 0; i < list->count; i++) {
        fprintf(gp, "%s%s", i ? ", " : "", list->item[i]);
        free(list->item[i]);
    }
    fputs(list->count ? "]\n" : "0]\n", gp);
    free(list->item);
    *list = (struct list){0};
}

/* Reading results. */

/* "per_op.cpu_user_ns" */
static double number_path(const json_t *object, const char *path)
{
    const char *dot = strchr(path, '.');
    char        head[64];

    if (!dot)
        return number_at(object, path);
    snprintf(head, sizeof head, "%.*s", (int)(dot - path), path);
    return number_path(json_object_get(object, head), dot + 1);
}

struct step { /* a phase as the page names it */
    const char *name, *part;
};

static bool is_step(const json_t *phase, struct step step)
{
    return strcmp(text_at(phase, "name"), step.name) == 0 && strcmp(text_at(phase, "part"), step.part) == 0;
}

static json_t *phase_of(const json_t *cell, struct step step)
{
    json_t *phase;
    size_t  i;

    json_array_foreach(json_object_get(cell, "phases"), i, phase) {
        if (is_step(phase, step))
            return phase;
    }
    return NULL;
}

#define STEPS_MAX 64

/* The different phases of an experiment whose name is one of `names` (NULL-terminated), in the order of their first
 * appearance. */
static size_t steps_of(const json_t *root, const char *const *names, struct step *out)
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
                if (!known && count < STEPS_MAX)
                    out[count++] = step;
            }
        }
    }
    return count;
}

static char *step_text(struct step step)
{
    return *step.part ? text_of("%s: %s", step.name, step.part) : text_of("%s", step.name);
}

/* A quantity over rounds. */
struct spread {
    double median, least, most;
    size_t n;
    double sample[ROUNDS_MAX];
};

static int compare(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Over the cells of an engine that are ok; step.name NULL: a quantity of the cell itself. */
static struct spread spread_of(const json_t *root, const char *engine, struct step step, const char *path)
{
    struct spread spread = {.median = NAN, .least = NAN, .most = NAN};
    double        sorted[ROUNDS_MAX];
    json_t       *cell;
    size_t        i;

    json_array_foreach(json_object_get(root, "cells"), i, cell) {
        double value;

        if (strcmp(text_at(cell, "engine"), engine) != 0 || strcmp(text_at(cell, "status"), "ok") != 0)
            continue;
        value = number_path(step.name ? phase_of(cell, step) : cell, path);
        if (isfinite(value) && spread.n < ROUNDS_MAX)
            spread.sample[spread.n++] = value;
    }
    if (spread.n == 0)
        return spread;
    memcpy(sorted, spread.sample, spread.n * sizeof *sorted);
    qsort(sorted, spread.n, sizeof *sorted, compare);
    spread.least  = sorted[0];
    spread.most   = sorted[spread.n - 1];
    spread.median = spread.n % 2 ? sorted[spread.n / 2] : (sorted[spread.n / 2 - 1] + sorted[spread.n / 2]) / 2;
    return spread;
}

/* "ok", "2 of 3 rounds ok; failed: lost a key", "refused: no such tier". */
static char *status_of(const json_t *root, const char *engine)
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
        return text_of("%s%s%s", *worst ? worst : "unknown", *reason ? ": " : "", reason);
    return text_of("%zu of %zu rounds ok; %s%s%s", good, all, *worst ? worst : "unknown", *reason ? ": " : "", reason);
}

/* "bitcask", or "memory (volatile)" where the tier is not the one that the setting names. */
static char *row_label(const json_t *root, const json_t *engine)
{
    const char *tier   = text_at(engine, "tier");
    bool        differ = strcmp(tier, text_at(json_object_get(root, "settings"), "durability")) != 0 && *tier;
    char       *name   = shortened(text_at(engine, "name"), LABEL_CHARS);
    char       *label  = differ ? text_of("%s (%s)", name, tier) : text_of("%s", name);

    free(name);
    return label;
}

static char *host_line(const json_t *root)
{
    json_t *host   = json_object_get(root, "host");
    double  memory = number_at(host, "memory_bytes"), cores = number_at(host, "cores");
    char    bytes[UNITS_TEXT_MAX];
    json_t *fs = json_object_get(host, "fs"), *device = json_object_get(host, "device");

    return text_of("%s%s%.0f cores, %s, Linux %s, %s%s%s", text_at(host, "cpu_model"),
                   *text_at(host, "cpu_model") ? ", " : "", isfinite(cores) ? cores : 0,
                   isfinite(memory) ? units_text_bytes(bytes, (uint64_t)memory) : "memory unknown",
                   text_at(host, "kernel"), *text_at(fs, "type") ? text_at(fs, "type") : "file system unknown",
                   *text_at(device, "name") ? " on " : "", text_at(device, "name"));
}

static char *build_line(const json_t *root)
{
    json_t *build = json_object_get(root, "build");

    return text_of("build %.12s%s%s%s", *text_at(build, "git") ? text_at(build, "git") : "unknown",
                   json_is_true(json_object_get(build, "dirty")) ? " (with changes)" : "",
                   *text_at(build, "sanitizer") ? ", sanitizer " : "", text_at(build, "sanitizer"));
}

/* Figures. */

static struct figure *figure_add(struct figures *figures, enum section section, const char *template, char *name,
                                 char *title)
{
    struct figure *figure;

    figures->items = grow(figures->items, figures->count, &figures->room, sizeof *figures->items);
    figure         = &figures->items[figures->count++];
    *figure        = (struct figure){.section = section, .template = template, .name = name, .title = title,
                                     .width = WIDTH};
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

    if (figure->gp)
        fclose(figure->gp);
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

static void grid_write(struct figure *figure, size_t panels, size_t columns, double cell_h, double label_px,
                       double top_px)
{
    size_t rows = (panels + columns - 1) / columns;

    figure->height = (int)(top_px + (double)rows * cell_h + 4);
    fprintf(figure->gp, "panels = %zu\ncolumns = %zu\ncell_h = %g\nlabel_px = %g\ntop_px = %g\nfoot_px = %d\n", panels,
            columns, cell_h, label_px, top_px, FOOT_PX);
}

/* Bars. */

/* One row of bars; the headings of the two bars differ. */
#define BAR_COLUMNS(solid, light)                                                                     \
    {"panel", "", COLUMN_PLACE},           {"row", "", COLUMN_PLACE},                                  \
    {"experiment", "", COLUMN_GROUP},      {"phase", "", COLUMN_GROUP},                                \
    {"metric", "", COLUMN_GROUP},          {"unit", "", COLUMN_GROUP},                                 \
    {"engine", "Engine", COLUMN_TEXT},     {"tier", "Tier", COLUMN_TEXT},                              \
    {"n", "n", COLUMN_COUNT},              {"median", solid ": median", COLUMN_AMOUNT},                \
    {"min", "min", COLUMN_AMOUNT},         {"max", "max", COLUMN_AMOUNT},                              \
    {"median_light", light ": median", COLUMN_AMOUNT}, {"min_light", "min", COLUMN_AMOUNT},            \
    {"max_light", "max", COLUMN_AMOUNT},   {"status", "Status", COLUMN_TEXT}

static const struct column throughput_columns[] = {BAR_COLUMNS("Engine's time", "All in")};
static const struct column quantity_columns[]   = {BAR_COLUMNS("First", "Second")};
static const struct column bar_point_columns[] = {
    {"panel", "", COLUMN_PLACE}, {"row", "", COLUMN_PLACE}, {"place", "", COLUMN_PLACE},
    {"value", "", COLUMN_AMOUNT}, {"value_light", "", COLUMN_AMOUNT},
};
#define COUNT_OF(array) (sizeof(array) / sizeof *(array))

struct bars {
    struct figure *figure;
    size_t         panels, rows_most;
    size_t         rows; /* of the panel at hand */
    double         most; /* of the panel at hand */
    double         ceiling; /* an engine that only measures the harness is not drawn beyond it; 0: no ceiling */
    bool           pair, pairs;
    double         label_chars;
    size_t         n_least, n_most;
    enum column_kind kind;
    const char      *metric, *unit;
    struct list    panel_title, panel_unit, panel_kind, panel_most, panel_rows, panel_pair;
    struct list    row_panel, row_at, row_text, row_colour, row_drawn, note_panel, note_at, note_text;
};

static void bars_init(struct bars *bars, struct figure *figure, const struct column *columns)
{
    *bars = (struct bars){.figure = figure, .n_least = SIZE_MAX};
    table_init(&figure->table, columns, COUNT_OF(throughput_columns));
    table_init(&figure->points, bar_point_columns, COUNT_OF(bar_point_columns));
}

static void bars_panel(struct bars *bars, const char *title, const char *metric, enum column_kind kind,
                       const char *unit, bool pair)
{
    char *text = shortened(title, 62);

    bars->panels++;
    bars->rows   = 0;
    bars->most    = 0;
    bars->ceiling = 0;
    bars->kind   = kind;
    bars->metric = metric;
    bars->unit   = unit;
    bars->pair   = pair;
    bars->pairs  = bars->pairs || pair;
    list_text(&bars->panel_title, text);
    list_text(&bars->panel_unit, unit);
    list_text(&bars->panel_kind, kind == COLUMN_NS ? "ns" : kind == COLUMN_BYTES ? "bytes" : "count");
    list_number(&bars->panel_pair, pair);
    free(text);
}

/* False for the engine that keeps nothing and so measures the harness. */
static bool retains(const json_t *engine)
{
    json_t *word;
    size_t  i;

    json_array_foreach(json_object_get(engine, "capabilities"), i, word) {
        if (json_is_string(word) && strcmp(json_string_value(word), "retains") == 0)
            return true;
    }
    return false;
}

/* Words in place of the bar of the row at hand. */
static void bars_note(struct bars *bars, const char *text)
{
    char *note = shortened(text, 46);

    list_number(&bars->note_panel, (double)bars->panels);
    list_number(&bars->note_at, (double)bars->rows);
    list_text(&bars->note_text, note);
    free(note);
}

static void bars_row(struct bars *bars, const struct model *model, const struct experiment *experiment,
                     const json_t *engine, const char *phase, const struct spread *value, const struct spread *light)
{
    static const struct spread nothing = {.median = NAN, .least = NAN, .most = NAN};
    struct table *table = &bars->figure->table, *points = &bars->figure->points;
    const char   *name   = text_at(engine, "name");
    char         *label  = row_label(experiment->root, engine);
    char         *status = status_of(experiment->root, name);
    bool          drawn  = true;

    light = light ? light : &nothing;
    if (bars->ceiling > 0 && value->median > bars->ceiling && !retains(engine))
        drawn = false;
    bars->rows++;
    table_value(table, (double)bars->panels);
    table_value(table, (double)bars->rows);
    table_text(table, experiment->label);
    table_text(table, phase);
    table_text(table, bars->metric);
    table_text(table, bars->unit);
    table_text(table, name);
    table_text(table, text_at(engine, "tier"));
    table_value(table, (double)value->n);
    table_amount(table, bars->kind, value->median);
    table_amount(table, bars->kind, value->least);
    table_amount(table, bars->kind, value->most);
    table_amount(table, bars->kind, light->median);
    table_amount(table, bars->kind, light->least);
    table_amount(table, bars->kind, light->most);
    table_text(table, status);
    for (size_t i = 0; drawn && (i < value->n || i < light->n); i++) {
        size_t n = value->n > light->n ? value->n : light->n;

        table_value(points, (double)bars->panels);
        table_value(points, (double)bars->rows);
        table_value(points, n > 1 ? (double)i / (double)(n - 1) : 0.5);
        table_amount(points, bars->kind, i < value->n ? value->sample[i] : NAN);
        table_amount(points, bars->kind, i < light->n ? light->sample[i] : NAN);
    }
    list_number(&bars->row_panel, (double)bars->panels);
    list_number(&bars->row_at, (double)bars->rows);
    list_tick_text(&bars->row_text, label);
    list_number(&bars->row_colour, (double)model_mark(model, name)->colour);
    list_number(&bars->row_drawn, drawn);
    if (!drawn) {
        char  a[NUMBER_TEXT_MAX], b[NUMBER_TEXT_MAX];
        char *note = text_of("%s, all in %s: the harness alone", number_text(a, bars->kind, value->median),
                             number_text(b, bars->kind, light->median));

        bars_note(bars, note);
        free(note);
    } else if (value->n == 0 && light->n == 0) {
        bars_note(bars, strcmp(status, "ok") != 0                            ? status
                        : strcmp(text_at(engine, "tier"), "volatile") == 0 ? "keeps nothing"
                                                                             : "not measured");
    } else {
        bars->n_least = value->n < bars->n_least ? value->n : bars->n_least;
        bars->n_most  = value->n > bars->n_most ? value->n : bars->n_most;
    }
    if (drawn && value->most > bars->most)
        bars->most = value->most;
    if (drawn && light->most > bars->most)
        bars->most = light->most;
    if ((double)chars_of(label) > bars->label_chars)
        bars->label_chars = (double)chars_of(label);
    if (bars->rows > bars->rows_most)
        bars->rows_most = bars->rows;
    free(label);
    free(status);
}

static void bars_panel_end(struct bars *bars)
{
    list_number(&bars->panel_most, bars->most);
    list_number(&bars->panel_rows, (double)bars->rows);
}

static void legend_entry(struct list *kind, struct list *text, const char *of, const char *says)
{
    list_text(kind, of);
    list_text(text, says);
}

static void bars_end(struct bars *bars, const char *solid, const char *light)
{
    struct figure *figure = bars->figure;
    struct list    legend_kind = {0}, legend_text = {0};
    double         row_px = bars->pairs ? 36 : 24;

    legend_entry(&legend_kind, &legend_text, "solid", solid);
    if (bars->pairs)
        legend_entry(&legend_kind, &legend_text, "light", light);
    legend_entry(&legend_kind, &legend_text, "rounds", "one round; whiskers: least to most");
    list_write(&legend_kind, figure->gp, "legend_kind");
    list_write(&legend_text, figure->gp, "legend_text");
    list_write(&bars->panel_title, figure->gp, "panel_title");
    list_write(&bars->panel_unit, figure->gp, "panel_unit");
    list_write(&bars->panel_kind, figure->gp, "panel_kind");
    list_write(&bars->panel_most, figure->gp, "panel_most");
    list_write(&bars->panel_rows, figure->gp, "panel_rows");
    list_write(&bars->panel_pair, figure->gp, "panel_pair");
    list_write(&bars->row_panel, figure->gp, "row_panel");
    list_write(&bars->row_at, figure->gp, "row_at");
    list_write(&bars->row_text, figure->gp, "row_text");
    list_write(&bars->row_colour, figure->gp, "row_colour");
    list_write(&bars->row_drawn, figure->gp, "row_drawn");
    list_write(&bars->note_panel, figure->gp, "note_panel");
    list_write(&bars->note_at, figure->gp, "note_at");
    list_write(&bars->note_text, figure->gp, "note_text");
    fprintf(figure->gp, "c_n = %zu\nc_value = %zu\nc_least = %zu\nc_most = %zu\n", table_column(&figure->table, "n"),
            table_column(&figure->table, "median"), table_column(&figure->table, "min"),
            table_column(&figure->table, "max"));
    fprintf(figure->gp, "c_light = %zu\nc_light_least = %zu\nc_light_most = %zu\n",
            table_column(&figure->table, "median_light"), table_column(&figure->table, "min_light"),
            table_column(&figure->table, "max_light"));
    grid_write(figure, bars->panels, bars->panels > 1 ? 2 : 1,
               HEAD_PX + (double)bars->rows_most * row_px + 8 + FOOT_PX, bars->label_chars * CHAR_PX + 16, 28);
}

static char *n_text(const struct bars *bars)
{
    if (bars->n_most == 0)
        return text_of("n = 0 rounds");
    if (bars->n_least == bars->n_most)
        return text_of("n = %zu round%s", bars->n_most, bars->n_most == 1 ? "" : "s, medians");
    return text_of("n = %zu to %zu rounds, medians", bars->n_least, bars->n_most);
}

/* Badges and limits beside a figure. */

static void write_badge(FILE *html, enum badge badge)
{
    static const char *const classes[] = {"none", "open", "open", "held", "broken"};
    static const char *const signs[]   = {"○", "?", "?", "✓", "✗"};

    fprintf(html, "<span class=\"badge %s\">%s %s</span>", classes[badge], signs[badge], badge_word(badge));
}

static const struct {
    const char      *name;
    enum column_kind kind;
    const char      *label;
    enum { NOWHERE, SYNCED, CACHED } limits; /* the tiers that sync, or the others */
} quantities[] = {
    {"append_fdatasync", COLUMN_RATE, "append 128 B + fdatasync", SYNCED},
    {"overwrite_fdatasync", COLUMN_RATE, "overwrite 128 B, preallocated, + fdatasync", SYNCED},
    {"overwrite_dsync", COLUMN_RATE, "overwrite 128 B, O_DSYNC", SYNCED},
    {"overwrite_direct_dsync_4096", COLUMN_RATE, "overwrite 4 KiB, O_DIRECT and O_DSYNC", SYNCED},
    {"group_commit_1", COLUMN_RATE, "group commit, one leader, 1 thread", SYNCED},
    {"group_commit_8", COLUMN_RATE, "group commit, one leader, 8 threads", SYNCED},
    {"group_commit_64", COLUMN_RATE, "group commit, one leader, 64 threads", SYNCED},
    {"create_fsync_dirsync", COLUMN_RATE, "create a file, fsync it and its directory", SYNCED},
    {"memory_dependent_ns", COLUMN_NS, "random memory access, each waits for the last", CACHED},
    {"memory_independent_ns", COLUMN_NS, "random memory access, many in flight", CACHED},
    {"syscall_ns", COLUMN_NS, "system call", CACHED},
    {"write_128_ns", COLUMN_NS, "write() of 128 B into the page cache", CACHED},
    {"pread_128_ns", COLUMN_NS, "pread() of 128 B from the page cache", CACHED},
    {"random_read_4096_depth_1", COLUMN_RATE, "random 4 KiB read, direct, one at a time", CACHED},
    {"random_read_4096_depth_32", COLUMN_RATE, "random 4 KiB read, direct, 32 in flight", CACHED},
    {"sequential_write_bytes_per_s", COLUMN_BANDWIDTH, "sequential write and one fdatasync", NOWHERE},
    {"sequential_read_bytes_per_s", COLUMN_BANDWIDTH, "sequential read, direct", NOWHERE},
    {"memcpy_bytes_per_s", COLUMN_BANDWIDTH, "memcpy, one thread", NOWHERE},
    {"xxh3_100_ns", COLUMN_NS, "xxh3 of 100 B", NOWHERE},
    {"xxh3_4096_ns", COLUMN_NS, "xxh3 of 4 KiB", NOWHERE},
    {"clock_gettime_ns", COLUMN_NS, "clock_gettime", NOWHERE},
    {"rdtsc_ns", COLUMN_NS, "rdtsc", NOWHERE},
};

/* The number of a quantity, and its latencies when it has some. */
static double quantity_of(const json_t *calibration, size_t i, double *p50_ns, double *p99_ns)
{
    const json_t *value = json_object_get(calibration, quantities[i].name);

    *p50_ns = number_at(value, "p50_ns");
    *p99_ns = number_at(value, "p99_ns");
    return json_is_object(value) ? number_at(value, "ops_per_s") : json_is_number(value) ? json_number_value(value) : NAN;
}

static bool tier_syncs(const char *tier)
{
    return strcmp(tier, "commit") == 0 || strcmp(tier, "ordered") == 0 || strncmp(tier, "interval", 8) == 0;
}

static void write_limits(FILE *html, const struct model *model, const json_t *root)
{
    json_t     *calibration = json_object_get(root, "calibration");
    const char *tier        = text_at(json_object_get(root, "settings"), "durability");
    double      p50_ns, p99_ns, fold_ns = number_at(json_object_get(root, "harness"), "fold_ns_per_100_bytes");
    struct step run = {"run", ""};
    char        text[NUMBER_TEXT_MAX], more[NUMBER_TEXT_MAX];
    json_t     *engine;
    size_t      e;

    if (!json_is_object(calibration))
        calibration = json_object_get(json_array_get(model->calibrations, 0), "calibration");
    fputs("<div class=\"limits\"><h4>Limits of machine and harness</h4><table><tbody>", html);
    for (size_t i = 0; i < COUNT_OF(quantities); i++) {
        double value = quantity_of(calibration, i, &p50_ns, &p99_ns);

        if (quantities[i].limits != (tier_syncs(tier) ? SYNCED : CACHED) || !isfinite(value))
            continue;
        fprintf(html, "<tr><td>%s</td><td class=\"n\">%s</td></tr>", quantities[i].label,
                number_text(text, quantities[i].kind, value));
    }
    json_array_foreach(json_object_get(root, "engines"), e, engine) {
        struct spread own = spread_of(root, text_at(engine, "name"), run, "engine_ns_per_op");
        struct spread all = spread_of(root, text_at(engine, "name"), run, "all_in_ns_per_op");

        if (retains(engine) || own.n == 0)
            continue;
        fprintf(html, "<tr><td>the harness alone, an operation: in the stamps, all in</td><td class=\"n\">%s, %s</td></tr>",
                number_text(text, COLUMN_NS, own.median), number_text(more, COLUMN_NS, all.median));
    }
    if (isfinite(fold_ns))
        fprintf(html, "<tr><td>reading every byte of a value of 100 B, in the stamps</td><td class=\"n\">%s</td></tr>",
                number_text(text, COLUMN_NS, fold_ns));
    fputs("</tbody></table></div>", html);
}

static void write_badges(FILE *html, const struct model *model, const char *setting)
{
    fputs("<div class=\"badges\"><h4>Durability</h4><table><tbody>", html);
    for (size_t m = 0; m < model->mark_count; m++) {
        bool told = false;

        for (size_t e = 0; e < model->experiment_count && !told; e++) {
            json_t *root   = model->experiments[e].root;
            json_t *engine = engine_at(root, model->marks[m].name);
            char   *why;

            if (!engine || strcmp(model->experiments[e].setting, setting) != 0)
                continue;
            enum badge badge = model_badge(model, root, engine, &why);
            fputs("<tr><td>", html);
            html_escape(html, model->marks[m].name);
            fputs("</td><td>", html);
            html_escape(html, text_at(engine, "tier"));
            fputs("</td><td>", html);
            write_badge(html, badge);
            fputs("</td><td class=\"why\">", html);
            html_escape(html, why);
            fputs("</td></tr>", html);
            free(why);
            told = true;
        }
    }
    fputs("</tbody></table></div>", html);
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
    struct step steps[STEPS_MAX];

    for (size_t e = 0; e < model->experiment_count; e++) {
        const struct experiment *experiment = &model->experiments[e];
        size_t                   count;

        if (strcmp(experiment->setting, setting) != 0)
            continue;
        count = steps_of(experiment->root, names, steps);
        if (count == 0 && strcmp(name, "run") == 0) { /* nothing ran: the panel says why, engine by engine */
            steps[0] = (struct step){"run", ""};
            count    = 1;
        }
        for (size_t s = 0; s < count; s++) {
            char   *phase = step_text(steps[s]), *title = text_of("%s — %s", experiment->label, phase);
            json_t *engine;
            size_t  i;

            bars_panel(bars, title, "throughput", COLUMN_RATE, "operations per second", true);
            json_array_foreach(json_object_get(experiment->root, "engines"), i, engine) {
                struct spread own = spread_of(experiment->root, text_at(engine, "name"), steps[s], "ops_per_s_engine");

                if (retains(engine) && own.most > bars->ceiling)
                    bars->ceiling = own.most;
            }
            json_array_foreach(json_object_get(experiment->root, "engines"), i, engine) {
                struct spread own = spread_of(experiment->root, text_at(engine, "name"), steps[s], "ops_per_s_engine");
                struct spread all = spread_of(experiment->root, text_at(engine, "name"), steps[s], "ops_per_s_all_in");

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
        slug   = slug_of(experiment->setting);
        figure = figure_add(figures, SECTION_THROUGHPUT, "throughput.gp", text_of("throughput-%s", slug),
                            text_of("Throughput, %s", experiment->setting));
        bars_init(&bars, figure, throughput_columns);
        throughput_panels(&bars, model, experiment->setting, "run");
        throughput_panels(&bars, model, experiment->setting, "load");
        bars_end(&bars, "engine's own time", "all in, with the harness");
        host            = host_line(experiment->root);
        build           = build_line(experiment->root);
        n               = n_text(&bars);
        figure->caption = text_of("%s; %s; %s; %s. Each panel has its own axis, from zero.", n, experiment->setting, host,
                                  build);
        figure->alt = text_of("Horizontal bars: operations per second of %zu engines in %zu panels, %s. The table below "
                              "has the numbers.", bars.rows_most, bars.panels, experiment->setting);
        html        = open_memstream(&figure->notes, &bytes);
        write_badges(html, model, experiment->setting);
        write_limits(html, model, experiment->root);
        fclose(html);
        free(slug);
        free(host);
        free(build);
        free(n);
    }
}

/* Cost and space: one quantity a panel. */

struct quantity {
    const char      *phase; /* NULL: of the cell */
    const char      *path, *light_path;
    const char      *metric;
    enum column_kind kind;
    const char      *unit;
};

static const struct quantity costs[] = {
    {"run", "per_op.cpu_user_ns", "per_op.cpu_system_ns", "CPU: user, system (light)", COLUMN_NS, "CPU time per operation"},
    {"load", "per_op.cpu_user_ns", "per_op.cpu_system_ns", "CPU: user, system (light)", COLUMN_NS, "CPU time per operation"},
    {"meters", "per_op.syscalls", NULL, "system calls", COLUMN_NUMBER, "system calls per operation"},
    {"meters", "per_op.allocations", NULL, "allocations", COLUMN_NUMBER, "allocations per operation"},
    {"run", "per_op.wchar", "per_op.device_write_bytes", "written: by calls, by device (light)", COLUMN_BYTES,
     "bytes per operation"},
    {"load", "per_op.wchar", "per_op.device_write_bytes", "written: by calls, by device (light)", COLUMN_BYTES,
     "bytes per operation"},
    {"run", "per_op.rchar", "per_op.device_read_bytes", "read: by calls, by device (light)", COLUMN_BYTES,
     "bytes per operation"},
    {"run", "per_op.device_flushes", NULL, "device flushes", COLUMN_NUMBER, "flushes per operation"},
    {"load", "per_op.device_flushes", NULL, "device flushes", COLUMN_NUMBER, "flushes per operation"},
};

static const struct quantity spaces[] = {
    {NULL, "amplification.space", NULL, "space amplification", COLUMN_NUMBER, "disk bytes by live bytes"},
    {NULL, "amplification.write_calls", "amplification.write_device",
     "write amplification: by calls, by device (light)", COLUMN_NUMBER, "bytes written by bytes put"},
    {NULL, "space.disk_bytes", "space.peak_disk_bytes", "disk: at the end, at its peak (light)", COLUMN_BYTES, "bytes"},
    {NULL, "space.memory_peak_bytes", NULL, "resident memory at its peak", COLUMN_BYTES, "bytes"},
    {NULL, "recovery_ns", NULL, "reopening the store", COLUMN_NS, "time"},
};

/* One panel, unless nobody measured it, or everybody measured 0: that is said in words. */
static void quantity_panel(struct bars *bars, const struct model *model, const struct experiment *experiment,
                           const struct quantity *quantity, struct step step, FILE *left_out)
{
    json_t *engines = json_object_get(experiment->root, "engines"), *engine;
    bool    any = false, above_zero = false, worth = false;
    double  floor_value = quantity->kind == COLUMN_BYTES ? 1 : quantity->kind == COLUMN_NS ? 0.1 : 0.001;
    char   *phase = step.name ? step_text(step) : text_of("%s", "whole cell");
    char   *title = step.name ? text_of("%s — %s", phase, quantity->metric) : text_of("%s", quantity->metric);
    size_t  i;

    for (int pass = 0; pass < 2; pass++) {
        if (pass == 1 && !worth) {
            char most[NUMBER_TEXT_MAX];

            fprintf(left_out, "%s%s: ", ftell(left_out) ? "; " : "", title);
            if (above_zero)
                fprintf(left_out, "below %s for every engine", number_text(most, quantity->kind, floor_value));
            else
                fputs(any ? "0 for every engine" : "not measured", left_out);
            break;
        }
        if (pass == 1)
            bars_panel(bars, title, quantity->metric, quantity->kind, quantity->unit, quantity->light_path != NULL);
        json_array_foreach(engines, i, engine) {
            struct spread value = spread_of(experiment->root, text_at(engine, "name"), step, quantity->path);
            struct spread light = {.median = NAN, .least = NAN, .most = NAN};

            if (quantity->light_path)
                light = spread_of(experiment->root, text_at(engine, "name"), step, quantity->light_path);
            if (pass == 1)
                bars_row(bars, model, experiment, engine, phase, &value, &light);
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
    char          *label = text_of("%s %s", experiment->label, experiment->setting), *slug = slug_of(label);
    struct figure *figure = figure_add(figures, section, section == SECTION_COST ? "cost.gp" : "space.gp",
                                       text_of("%s-%s", word, slug),
                                       text_of("%s: %s, %s", title, experiment->label, experiment->setting));
    char          *left_out = NULL, *host = host_line(experiment->root), *n;
    size_t         bytes;
    FILE          *words = open_memstream(&left_out, &bytes);
    struct bars    bars;

    bars_init(&bars, figure, quantity_columns);
    for (size_t q = 0; q < count; q++) {
        const char *names[] = {quantity[q].phase, NULL};
        struct step steps[STEPS_MAX];
        size_t      step_count = quantity[q].phase ? steps_of(experiment->root, names, steps) : 0;

        if (!quantity[q].phase)
            quantity_panel(&bars, model, experiment, &quantity[q], (struct step){NULL, NULL}, words);
        for (size_t s = 0; s < step_count; s++)
            quantity_panel(&bars, model, experiment, &quantity[q], steps[s], words);
    }
    fclose(words);
    n = n_text(&bars);
    bars_end(&bars, "what a title names first", "what it names second");
    figure->caption = text_of("%s; %s; %s.%s%s%s", n, experiment->setting, host, *left_out ? " Not drawn: " : "", left_out,
                              *left_out ? "." : "");
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

/* Curves. */

static const struct column curve_columns[] = {
    {"panel", "", COLUMN_PLACE}, {"series", "", COLUMN_PLACE}, {"round", "", COLUMN_PLACE},
    {"x", "", COLUMN_PLACE},     {"y", "", COLUMN_PLACE},      {"mark", "", COLUMN_PLACE},
};

struct curves {
    struct figure *figure;
    size_t         panels, series;
    size_t         series_row; /* where the series at hand begins in the points */
    double         x_most, y_least, y_most; /* of the panel at hand */
    struct list    panel_title, panel_x_most, panel_y_least, panel_y_most;
    struct list    series_first, series_last, series_colour, series_point, series_dash;
    struct list    panel_first, panel_last;
};

static void curves_panel(struct curves *curves, const char *title)
{
    char *text = shortened(title, 58);

    curves->panels++;
    curves->x_most = curves->y_most = 0;
    curves->y_least = INFINITY;
    list_text(&curves->panel_title, text);
    list_number(&curves->panel_first, (double)(curves->series + 1));
    free(text);
}

static void curves_point(struct curves *curves, size_t round, double x, double y, bool mark);

/* Ends the series at hand.  gnuplot cannot be given no rows: an empty one has a row that says nothing. */
static void curves_series_end(struct curves *curves)
{
    if (curves->series == 0)
        return;
    if (table_rows(&curves->figure->points) == curves->series_row)
        curves_point(curves, 0, NAN, NAN, false);
    list_number(&curves->series_last, (double)table_rows(&curves->figure->points) - 1);
}

static void curves_series(struct curves *curves, const struct mark *mark, bool dashes)
{
    curves_series_end(curves);
    curves->series++;
    curves->series_row = table_rows(&curves->figure->points);
    list_number(&curves->series_first, (double)curves->series_row);
    list_number(&curves->series_colour, (double)mark->colour);
    list_number(&curves->series_point, mark->point);
    list_number(&curves->series_dash, dashes ? mark->dash : 1);
}

static void curves_point(struct curves *curves, size_t round, double x, double y, bool mark)
{
    struct table *points = &curves->figure->points;

    table_value(points, (double)curves->panels);
    table_value(points, (double)curves->series);
    table_value(points, (double)round);
    table_value(points, x);
    table_value(points, y);
    table_value(points, mark);
    if (x > curves->x_most)
        curves->x_most = x;
    if (y > curves->y_most)
        curves->y_most = y;
    if (y < curves->y_least)
        curves->y_least = y;
}

/* To 1, 2 or 5 times a power of ten. */
static double round_down(double x)
{
    double tens = pow(10, floor(log10(x))), first = x / tens;

    return (first >= 5 ? 5 : first >= 2 ? 2 : 1) * tens;
}

static void curves_panel_end(struct curves *curves, bool logarithmic)
{
    double least = curves->y_least, most = curves->y_most, x = curves->x_most;

    if (logarithmic) {
        least = isfinite(least) && least >= 1 ? round_down(least) : 1;
        most  = most > 0 ? most * 1.3 : 10;
        x     = x > 10 ? x * 1.3 : 13;
    } else {
        least = 0;
        x     = x > 0 ? x : 1;
    }
    list_number(&curves->panel_last, (double)curves->series);
    list_number(&curves->panel_x_most, x);
    list_number(&curves->panel_y_least, least);
    list_number(&curves->panel_y_most, most);
}

static void curves_end(struct curves *curves, const struct model *model, const json_t *engines, size_t columns,
                       double panel_px)
{
    struct figure *figure = curves->figure;
    struct list    text = {0}, colour = {0}, point = {0}, dash = {0};
    size_t         longest = 0, count = json_array_size(engines), legend_columns, i;
    json_t        *engine;
    double         legend_px;

    json_array_foreach(engines, i, engine) {
        const struct mark *mark = model_mark(model, text_at(engine, "name"));
        char              *name = shortened(text_at(engine, "name"), LABEL_CHARS);

        if (chars_of(name) > longest)
            longest = chars_of(name);
        list_text(&text, name);
        list_number(&colour, (double)mark->colour);
        list_number(&point, mark->point);
        list_number(&dash, mark->dash);
        free(name);
    }
    legend_px      = 60 + (double)longest * CHAR_PX;
    legend_columns = (size_t)((WIDTH - 20) / legend_px);
    legend_columns = legend_columns ? legend_columns : 1;
    list_write(&text, figure->gp, "legend_text");
    list_write(&colour, figure->gp, "legend_colour");
    list_write(&point, figure->gp, "legend_point");
    list_write(&dash, figure->gp, "legend_dash");
    list_write(&curves->panel_title, figure->gp, "panel_title");
    list_write(&curves->panel_x_most, figure->gp, "panel_x_most");
    list_write(&curves->panel_y_least, figure->gp, "panel_y_least");
    list_write(&curves->panel_y_most, figure->gp, "panel_y_most");
    curves_series_end(curves);
    list_write(&curves->panel_first, figure->gp, "panel_first");
    list_write(&curves->panel_last, figure->gp, "panel_last");
    list_write(&curves->series_first, figure->gp, "series_first");
    list_write(&curves->series_last, figure->gp, "series_last");
    list_write(&curves->series_colour, figure->gp, "series_colour");
    list_write(&curves->series_point, figure->gp, "series_point");
    list_write(&curves->series_dash, figure->gp, "series_dash");
    fprintf(figure->gp, "legend_px = %g\nlegend_columns = %zu\nlegend_count = %zu\n", legend_px, legend_columns, count);
    grid_write(figure, curves->panels, columns, panel_px, 62,
               (count ? 14 : 0) + 18.0 * (double)((count + legend_columns - 1) / legend_columns));
}

/* Latency. */

struct bucket {
    json_int_t low_ns, count;
};

struct pool { /* one kind of one engine's operations in one phase, over rounds */
    struct bucket *bucket;
    size_t         count, room;
    json_int_t     samples;
    size_t         rounds;
    double         min_ns, max_ns, sum_ns;
    const json_t  *only; /* the record, when there is but one: its own percentiles are the best */
};

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

        if (bucket.count <= 0 || bucket.low_ns < 0)
            continue;
        pool->bucket                = grow(pool->bucket, pool->count, &pool->room, sizeof *pool->bucket);
        pool->bucket[pool->count++] = bucket;
        pool->samples += bucket.count;
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

/* The middle of a bucket; there are 128 an octave. */
static double middle_ns(const struct pool *pool, json_int_t low_ns)
{
    double width  = low_ns < 256 ? 1 : (double)(INT64_C(1) << (63 - __builtin_clzll((unsigned long long)low_ns) - 7));
    double middle = (double)low_ns + floor((width - 1) / 2);

    middle = middle > pool->max_ns ? pool->max_ns : middle;
    return middle < pool->min_ns ? pool->min_ns : middle;
}

static double pool_quantile(const struct pool *pool, double q, const char *name)
{
    json_int_t rank = (json_int_t)ceil(q * (double)pool->samples), seen = 0;

    if (pool->only && json_is_number(json_object_get(pool->only, name)))
        return number_at(pool->only, name);
    for (size_t i = 0; i < pool->count; i++) {
        seen += pool->bucket[i].count;
        if (seen >= rank)
            return middle_ns(pool, pool->bucket[i].low_ns);
    }
    return NAN;
}

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
    table_value(table, pool_quantile(pool, 0.5, "p50"));
    table_value(table, pool_quantile(pool, 0.9, "p90"));
    table_value(table, pool_quantile(pool, 0.99, "p99"));
    table_value(table, pool_quantile(pool, 0.999, "p999"));
    table_value(table, pool_quantile(pool, 0.9999, "p9999"));
    table_value(table, pool->max_ns);
}

/* The spectrum: latency over 1 / (1 - share of the samples that are not slower). */
static void spectrum(struct curves *curves, const struct pool *pool)
{
    static const double marks[] = {2, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7};
    json_int_t          seen    = 0;
    size_t              mark    = 0;
    double              all     = (double)pool->samples;

    curves_point(curves, 0, 1, pool->min_ns, false);
    for (size_t i = 0; i < pool->count; i++) {
        double y = middle_ns(pool, pool->bucket[i].low_ns);

        seen += pool->bucket[i].count;
        /* A symbol where the curve passes a usual percentile. */
        for (; mark < COUNT_OF(marks) && marks[mark] <= all && (double)seen >= all - all / marks[mark]; mark++)
            curves_point(curves, 0, marks[mark], y, true);
        if (seen < pool->samples)
            curves_point(curves, 0, all / (double)(pool->samples - seen), y, false);
    }
    curves_point(curves, 0, all, pool->max_ns, false);
}

/* The latencies of a phase by kind; "paced" has them from the intended start and from the real one. */
static const json_t *latencies_of(const json_t *phase, const char *side)
{
    const json_t *latency = json_object_get(phase, "latency_ns");

    return *side ? json_object_get(latency, side) : latency;
}

static struct pool pool_of(const json_t *root, const char *engine, struct step step, const char *side, const char *kind)
{
    struct pool pool = {.min_ns = NAN, .max_ns = NAN, .sum_ns = NAN};
    json_t     *cell;
    size_t      i;

    json_array_foreach(json_object_get(root, "cells"), i, cell) {
        const json_t *record;

        if (strcmp(text_at(cell, "engine"), engine) != 0 || strcmp(text_at(cell, "status"), "ok") != 0)
            continue;
        record = json_object_get(latencies_of(phase_of(cell, step), side), kind);
        if (json_is_object(record))
            pool_add(&pool, record);
    }
    pool_sort(&pool);
    return pool;
}

static void latency_panel(struct curves *curves, const struct model *model, const json_t *root, struct step step,
                          const char *side, const char *kind)
{
    char   *phase = step_text(step);
    char   *place = text_of("%s%s%s", phase, *side ? ", " : "", side), *title = text_of("%s — %s", kind, place);
    json_t *engine;
    size_t  i;

    curves_panel(curves, title);
    json_array_foreach(json_object_get(root, "engines"), i, engine) {
        struct pool pool = pool_of(root, text_at(engine, "name"), step, side, kind);

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

/* The kinds that any cell has in this phase; "all" only where it stands alone. */
static size_t kinds_of(const json_t *root, struct step step, const char *side, const char **out, size_t room)
{
    json_t     *cell, *record;
    const char *kind;
    size_t      i, count = 0;

    for (int pass = 0; pass < 2 && count == 0; pass++) {
        json_array_foreach(json_object_get(root, "cells"), i, cell) {
            json_object_foreach((json_t *)latencies_of(phase_of(cell, step), side), kind, record) {
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

static void curves_init(struct curves *curves, struct figure *figure, const struct column *columns, size_t count)
{
    *curves = (struct curves){.figure = figure};
    table_init(&figure->table, columns, count);
    table_init(&figure->points, curve_columns, COUNT_OF(curve_columns));
}

static void make_latency(struct figures *figures, const struct model *model, const struct experiment *experiment)
{
    static const char *const names[] = {"run", "latency", "paced", "load", NULL};
    static const char *const sides[] = {"", "response", "service"};
    char          *label = text_of("%s %s", experiment->label, experiment->setting), *slug = slug_of(label);
    struct figure *figure = figure_add(figures, SECTION_LATENCY, "latency.gp", text_of("latency-%s", slug),
                                       text_of("Latency: %s, %s", experiment->label, experiment->setting));
    struct step    steps[STEPS_MAX];
    size_t         count = steps_of(experiment->root, names, steps);
    char          *host  = host_line(experiment->root);
    struct curves  curves;

    curves_init(&curves, figure, latency_columns, COUNT_OF(latency_columns));
    for (size_t s = 0; s < count; s++) {
        for (size_t side = 0; side < COUNT_OF(sides); side++) {
            const char *kinds[16];
            size_t      kind_count = kinds_of(experiment->root, steps[s], sides[side], kinds, COUNT_OF(kinds));

            for (size_t k = 0; k < kind_count; k++)
                latency_panel(&curves, model, experiment->root, steps[s], sides[side], kinds[k]);
        }
    }
    fputs("x_is_percentile = 1\nsymbols = 1\nline_width = 1.6\nx_title = 'percentile: so many % of the operations are not slower'\n"
          "y_title = ''\n", figure->gp);
    curves_end(&curves, model, json_object_get(experiment->root, "engines"), curves.panels > 1 ? 2 : 1, 300);
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
        qsort(rates, drawn, sizeof *rates, compare);
        table_text(table, phase_text);
        table_text(table, engine);
        table_value(table, (double)round);
        table_value(table, (double)drawn);
        table_value(table, rates[0]);
        table_value(table, drawn % 2 ? rates[drawn / 2] : (rates[drawn / 2 - 1] + rates[drawn / 2]) / 2);
        table_value(table, rates[drawn - 1]);
    }
    free(rates);
}

static void make_time(struct figures *figures, const struct model *model, const struct experiment *experiment)
{
    static const char *const names[] = {"run", "paced", "load", NULL};
    char          *label = text_of("%s %s", experiment->label, experiment->setting), *slug = slug_of(label);
    struct figure *figure = figure_add(figures, SECTION_TIME, "timeline.gp", text_of("timeline-%s", slug),
                                       text_of("Throughput over time: %s, %s", experiment->label, experiment->setting));
    struct step    steps[STEPS_MAX];
    json_t        *engines = json_object_get(experiment->root, "engines"), *engine, *cell;
    size_t         count = steps_of(experiment->root, names, steps), e, c;
    char          *host  = host_line(experiment->root);
    struct curves  curves;

    curves_init(&curves, figure, time_columns, COUNT_OF(time_columns));
    json_array_foreach(engines, e, engine) {
        for (size_t s = 0; s < count; s++) {
            char *phase = step_text(steps[s]), *title = text_of("%s — %s", text_at(engine, "name"), phase);
            bool  begun = false;

            json_array_foreach(json_object_get(experiment->root, "cells"), c, cell) {
                const json_t *at = phase_of(cell, steps[s]);

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
    curves_end(&curves, model, NULL, curves.panels > 1 ? 2 : 1, 175); /* the panels' titles name the engines */
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

static void make_crashes(struct figures *figures, const struct model *model)
{
    struct figure *figure;
    struct list    row_text = {0}, word = {0}, cell_row = {0}, cell_column = {0}, cell_text = {0}, cell_colour = {0};
    size_t         longest = 0, kills = 0, states = 0;
    char          *host;

    if (model->crash_count == 0)
        return;
    figure = figure_add(figures, SECTION_CRASH, "verdicts.gp", text_of("crash-verdicts"), text_of("Crash verdicts"));
    table_init(&figure->table, crash_columns, COUNT_OF(crash_columns));
    for (size_t v = 0; v < COUNT_OF(verdict_words); v++)
        list_text(&word, verdict_words[v]);
    for (size_t i = 0; i < model->crash_count; i++) {
        const struct crash *crash  = &model->crashes[i];
        json_t             *engine = json_object_get(crash->root, "engine");
        json_t             *verdicts = json_object_get(crash->root, "verdicts");
        const char         *mode = text_at(crash->root, "mode"), *profile = text_at(crash->root, "profile");
        char               *name  = shortened(text_at(engine, "name"), LABEL_CHARS);
        char               *label = text_of("%s, %s — %s%s%s", name, text_at(engine, "tier"), mode, *profile ? " " : "",
                                            profile);

        list_text(&row_text, label);
        longest = chars_of(label) > longest ? chars_of(label) : longest;
        table_text(&figure->table, text_at(engine, "name"));
        table_text(&figure->table, text_at(engine, "tier"));
        table_text(&figure->table, mode);
        table_text(&figure->table, profile);
        table_json(&figure->table, json_object_get(crash->root, "lives"));
        table_json(&figure->table, json_object_get(crash->root, "kills"));
        table_json(&figure->table, json_object_get(crash->root, "kills_in_recovery"));
        table_json(&figure->table, json_object_get(crash->root, "states"));
        table_json(&figure->table, json_object_get(crash->root, "acked_median"));
        for (size_t v = 0; v < COUNT_OF(verdict_words); v++) {
            double count = number_at(verdicts, verdict_words[v]);
            char   amount[NUMBER_TEXT_MAX];
            char  *text = count > 0 ? text_of("%s %s", v ? "✗" : "✓", number_text(amount, COLUMN_COUNT, count))
                                    : text_of("%s", isfinite(count) ? "0" : "–");

            table_value(&figure->table, count);
            list_number(&cell_row, (double)(i + 1));
            list_number(&cell_column, (double)(v + 1));
            list_text(&cell_text, text);
            list_number(&cell_colour, !(count > 0) ? 0xf7f7f7 : v ? 0xf3c3a5 : 0xb5dfcf);
            free(text);
        }
        table_text(&figure->table, crash->broken ? "broken" : crash->held ? "held" : "nothing was tried");
        kills += strcmp(mode, "kill") == 0 ? (size_t)crash->tried : 0;
        states += strcmp(mode, "power") == 0 ? (size_t)crash->tried : 0;
        free(name);
        free(label);
    }
    list_write(&row_text, figure->gp, "row_text");
    list_write(&word, figure->gp, "word");
    list_write(&cell_row, figure->gp, "cell_row");
    list_write(&cell_column, figure->gp, "cell_column");
    list_write(&cell_text, figure->gp, "cell_text");
    list_write(&cell_colour, figure->gp, "cell_colour");
    fprintf(figure->gp, "label_px = %g\ncolumns = 1\ncell_h = 1\ntop_px = 0\nfoot_px = 0\n",
            (double)longest * CHAR_PX + 24);
    figure->height  = (int)(50 + 34 * model->crash_count);
    host            = host_line(model->crashes[0].root);
    figure->caption = text_of("%zu campaigns, %zu kills, %zu states after power loss; %s. ✓ held, ✗ a promise was broken.",
                              model->crash_count, kills, states, host);
    figure->alt = text_of("A table of verdicts, one row a campaign. The table below has the same counts.");
    free(host);
}

void figures_make(struct figures *figures, const struct model *model)
{
    *figures = (struct figures){0};
    make_throughput(figures, model);
    for (size_t e = 0; e < model->experiment_count; e++)
        make_latency(figures, model, &model->experiments[e]);
    for (size_t e = 0; e < model->experiment_count; e++)
        make_time(figures, model, &model->experiments[e]);
    for (size_t e = 0; e < model->experiment_count; e++)
        make_quantities(figures, model, &model->experiments[e], SECTION_COST, "cost", "Cost per operation", costs,
                        COUNT_OF(costs));
    for (size_t e = 0; e < model->experiment_count; e++)
        make_quantities(figures, model, &model->experiments[e], SECTION_SPACE, "space", "Space, writes and reopening",
                        spaces, COUNT_OF(spaces));
    make_crashes(figures, model);
    for (size_t i = 0; i < figures->count; i++) {
        fclose(figures->items[i].gp);
        figures->items[i].gp = NULL;
    }
}

/* Tables that have no figure. */

static const struct column headline_columns[] = {
    {"experiment", "", COLUMN_GROUP},            {"phase", "", COLUMN_GROUP},
    {"engine", "Engine", COLUMN_TEXT},           {"tier", "Tier", COLUMN_TEXT},
    {"verified", "Durability", COLUMN_TEXT},     {"n", "n", COLUMN_COUNT},
    {"ops_per_s_engine", "Engine", COLUMN_RATE}, {"min", "min", COLUMN_RATE},
    {"max", "max", COLUMN_RATE},                 {"ops_per_s_all_in", "All in", COLUMN_RATE},
    {"p99_ns", "p99", COLUMN_NS},                {"cpu_ns_per_op", "CPU/op", COLUMN_NS},
    {"write_bytes_per_op", "Written/op", COLUMN_BYTES}, {"status", "Status", COLUMN_TEXT},
};

/* p99 of all kinds together: of the phase itself, else of the latency pass of the same part. */
static double headline_p99(const json_t *root, const char *engine, struct step step)
{
    const struct step places[] = {step, {"latency", step.part}};

    for (size_t i = 0; i < COUNT_OF(places); i++) {
        struct pool pool = pool_of(root, engine, places[i], "", "all");
        double      p99  = pool.samples ? pool_quantile(&pool, 0.99, "p99") : NAN;

        free(pool.bucket);
        if (isfinite(p99) || strcmp(step.name, "run") != 0)
            return p99;
    }
    return NAN;
}

void figures_headline(struct table *table, const struct model *model)
{
    static const char *const names[] = {"run", "load", NULL};

    table_init(table, headline_columns, COUNT_OF(headline_columns));
    for (size_t e = 0; e < model->experiment_count; e++) {
        const struct experiment *experiment = &model->experiments[e];
        struct step              steps[STEPS_MAX];
        size_t                   count = steps_of(experiment->root, names, steps), i;
        char                    *place = text_of("%s, %s", experiment->label, experiment->setting);
        json_t                  *engine;

        if (count == 0)
            steps[count++] = (struct step){"run", ""};
        for (size_t s = 0; s < count; s++) {
            char *phase = step_text(steps[s]);

            json_array_foreach(json_object_get(experiment->root, "engines"), i, engine) {
                const char   *name   = text_at(engine, "name");
                struct spread own    = spread_of(experiment->root, name, steps[s], "ops_per_s_engine");
                struct spread all    = spread_of(experiment->root, name, steps[s], "ops_per_s_all_in");
                struct spread user   = spread_of(experiment->root, name, steps[s], "per_op.cpu_user_ns");
                struct spread system = spread_of(experiment->root, name, steps[s], "per_op.cpu_system_ns");
                struct spread wrote  = spread_of(experiment->root, name, steps[s], "per_op.wchar");
                char         *status = status_of(experiment->root, name), *why, *html = NULL;
                enum badge    badge  = model_badge(model, experiment->root, engine, &why);
                size_t        bytes;
                FILE         *stream = open_memstream(&html, &bytes);

                write_badge(stream, badge);
                fclose(stream);
                table_text(table, place);
                table_text(table, phase);
                table_text(table, name);
                table_text(table, text_at(engine, "tier"));
                table_markup(table, badge_word(badge), html);
                table_value(table, (double)own.n);
                table_value(table, own.median);
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

void figures_calibration(struct table *table, const struct model *model, struct column **columns)
{
    size_t  count = json_array_size(model->calibrations);
    json_t *entry;
    size_t  i;

    *columns      = calloc(count + 1, sizeof **columns);
    (*columns)[0] = (struct column){"quantity", "Quantity", COLUMN_TEXT};
    for (i = 0; i < count; i++)
        (*columns)[i + 1] = (struct column){"value", count > 1 ? "" : "This machine", COLUMN_NUMBER};
    table_init(table, *columns, count + 1);
    if (count > 1) {
        table_text(table, "measured by");
        json_array_foreach(model->calibrations, i, entry)
            table_text(table, text_at(entry, "path"));
    }
    for (size_t q = 0; q < COUNT_OF(quantities); q++) {
        table_text(table, quantities[q].label);
        json_array_foreach(model->calibrations, i, entry) {
            double p50_ns, p99_ns;
            double value = quantity_of(json_object_get(entry, "calibration"), q, &p50_ns, &p99_ns);
            char   a[NUMBER_TEXT_MAX], b[NUMBER_TEXT_MAX], c[NUMBER_TEXT_MAX];
            char  *exact = isfinite(value) ? text_of("%.17g", value) : text_of("%s", "");
            char  *html  = isfinite(p50_ns) ? text_of("%s <small>p50 %s, p99 %s</small>",
                                                      number_text(a, quantities[q].kind, value),
                                                      number_text(b, COLUMN_NS, p50_ns), number_text(c, COLUMN_NS, p99_ns))
                                            : text_of("%s", number_text(a, quantities[q].kind, value));

            table_markup(table, exact, html);
            free(exact);
            free(html);
        }
    }
}
