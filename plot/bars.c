#include "plot/bars.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

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

#define VOLATILE_MOST 4 /* times the fastest durable engine: what lies beyond is told in words */
#define WIDE_SPREAD   50 /* from here on the least of a panel is no bar any more */
#define WIDE_COUNT    4
#define MANY_ROWS     10 /* from here on rows are lower */

const struct column bars_throughput_columns[BARS_COLUMNS] = {BAR_COLUMNS("Engine's time", "All in")};
const struct column bars_quantity_columns[BARS_COLUMNS] = {BAR_COLUMNS("First", "Second")};
const struct column bars_published_columns[BARS_COLUMNS] = {BAR_COLUMNS("Here", "Published")};
static const struct column bar_point_columns[] = {
    {"panel", "", COLUMN_PLACE}, {"row", "", COLUMN_PLACE}, {"place", "", COLUMN_PLACE},
    {"value", "", COLUMN_AMOUNT}, {"value_light", "", COLUMN_AMOUNT},
};
void bars_init(struct bars *bars, struct figure *figure, const struct column *columns)
{
    *bars = (struct bars){.figure = figure, .n_least = SIZE_MAX};
    table_init(&figure->table, columns, BARS_COLUMNS);
    table_init(&figure->points, bar_point_columns, COUNT_OF(bar_point_columns));
}

void bars_panel(struct bars *bars, const char *title, const char *metric, enum text_kind kind,
                       const char *unit, bool pair, bool log)
{
    char *text = text_shortened(title, 62);

    bars->panels++;
    bars->rows   = 0;
    bars->most    = 0;
    bars->least   = INFINITY;
    bars->log     = log;
    bars->ceiling = 0;
    bars->durable = 0;
    bars->kind   = kind;
    bars->metric = metric;
    bars->unit   = unit;
    bars->pair   = pair;
    bars->pairs  = bars->pairs || pair;
    list_text(&bars->panel_title, text);
    free(text);
    text = text_of("%s%s", unit, log ? ", logarithmic" : "");
    list_text(&bars->panel_unit, text);
    list_number(&bars->panel_log, log);
    list_text(&bars->panel_kind, kind == TEXT_NS ? "ns" : kind == TEXT_BYTES ? "bytes" : "count");
    list_number(&bars->panel_pair, pair);
    free(text);
}

/* Words in place of the bar of the row at hand. */
static void write_note(struct bars *bars, const char *text)
{
    char *note = text_shortened(text, 56);

    list_number(&bars->note_panel, (double)bars->panels);
    list_number(&bars->note_at, (double)bars->rows);
    list_text(&bars->note_text, note);
    free(note);
}

void bars_row(struct bars *bars, const struct model *model, const struct experiment *experiment,
                     const json_t *engine, const char *phase, const struct spread *value, const struct spread *light)
{
    static const struct spread nothing = {.median = NAN, .least = NAN, .most = NAN};
    struct table *table = &bars->figure->table, *points = &bars->figure->points;
    const char   *name   = text_at(engine, "name");
    char         *label  = gather_label(experiment->root, engine);
    char         *status = gather_status(experiment->root, name);
    bool          drawn  = true;

    light = light ? light : &nothing;
    /* A bar that dwarfs those of which the figure speaks is told in words. */
    if (bars->ceiling > 0 && value->median > bars->ceiling && !gather_retains(engine))
        drawn = false;
    if (!bars->log && bars->durable > 0 && value->median > VOLATILE_MOST * bars->durable &&
        strcmp(text_at(engine, "tier"), "volatile") == 0)
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
    list_number(&bars->row_hatched, model_mark(model, name)->hatched);
    list_number(&bars->row_point, model_mark(model, name)->point);
    list_number(&bars->row_drawn, drawn);
    if (!drawn) {
        char  a[TEXT_NUMBER_MAX], b[TEXT_NUMBER_MAX];
        char *note = text_of("%s, all in %s: %s", text_number(a, bars->kind, value->median),
                             text_number(b, bars->kind, light->median),
                             gather_retains(engine) ? "keeps nothing" : "the harness alone");

        write_note(bars, note);
        free(note);
    } else if (value->n == 0 && light->n == 0) {
        write_note(bars, strcmp(status, "ok") != 0                            ? status
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
    for (int i = 0; drawn && i < 4; i++) {
        double x = i == 0 ? value->least : i == 1 ? light->least : i == 2 ? value->median : light->median;

        bars->least = x > 0 && x < bars->least ? x : bars->least;
    }
    if ((double)text_chars(label) > bars->label_chars)
        bars->label_chars = (double)text_chars(label);
    if (bars->rows > bars->rows_most)
        bars->rows_most = bars->rows;
    free(label);
    free(status);
}

bool bars_spread_is_wide(double least, double most, size_t count)
{
    return count >= WIDE_COUNT && least > 0 && most / least >= WIDE_SPREAD;
}

void bars_panel_end(struct bars *bars)
{
    bars->rows_of = text_grow(bars->rows_of, bars->panels - 1, &bars->rows_room, sizeof *bars->rows_of);
    bars->rows_of[bars->panels - 1] = bars->rows;
    list_number(&bars->panel_least, isfinite(bars->least) ? bars->least : 1);
    list_number(&bars->panel_most, bars->most);
    list_number(&bars->panel_rows, (double)bars->rows);
}

static void legend_entry(struct list *kind, struct list *text, const char *of, const char *says)
{
    list_text(kind, of);
    list_text(text, says);
}

/* Panels have as many rows as they need, so each goes below the shorter of the two columns. */
static void place_panels(struct bars *bars)
{
    struct list column = {0}, top = {0};
    bool        low    = bars->rows_most > MANY_ROWS;
    double      row_px = bars->pairs ? (low ? 29 : 36) : (low ? 20 : 24), end[2] = {28, 28};
    size_t      columns = bars->panels > 1 ? 2 : 1;

    for (size_t p = 0; p < bars->panels; p++) {
        size_t at = columns > 1 && end[1] < end[0];

        list_number(&column, (double)at);
        list_number(&top, end[at]);
        end[at] += FIGURE_HEAD_PX + (double)bars->rows_of[p] * row_px + 8 + FIGURE_FOOT_PX;
    }
    list_write(&column, bars->figure->gp, "panel_column");
    list_write(&top, bars->figure->gp, "panel_top");
    figure_grid(bars->figure, bars->panels, columns, 0, bars->label_chars * FIGURE_CHAR_PX + 16, 28);
    fprintf(bars->figure->gp, "row_px = %g\n", row_px);
    bars->figure->height = (int)(end[0] > end[1] ? end[0] : end[1]) + 4;
}

void bars_end(struct bars *bars, const char *solid, const char *light)
{
    struct figure *figure = bars->figure;
    struct list    legend_kind = {0}, legend_text = {0};

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
    list_write(&bars->panel_least, figure->gp, "panel_least");
    list_write(&bars->panel_log, figure->gp, "panel_log");
    list_write(&bars->panel_rows, figure->gp, "panel_rows");
    list_write(&bars->panel_pair, figure->gp, "panel_pair");
    list_write(&bars->row_panel, figure->gp, "row_panel");
    list_write(&bars->row_at, figure->gp, "row_at");
    list_write(&bars->row_text, figure->gp, "row_text");
    list_write(&bars->row_colour, figure->gp, "row_colour");
    list_write(&bars->row_hatched, figure->gp, "row_hatched");
    list_write(&bars->row_point, figure->gp, "row_point");
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
    place_panels(bars);
    free(bars->rows_of);
}

char *bars_n(const struct bars *bars)
{
    if (bars->n_most == 0)
        return text_of("n = 0 rounds");
    if (bars->n_least == bars->n_most)
        return text_of("n = %zu round%s", bars->n_most, bars->n_most == 1 ? "" : "s, medians");
    return text_of("n = %zu to %zu rounds, medians", bars->n_least, bars->n_most);
}
