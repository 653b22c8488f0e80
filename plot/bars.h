/* bars.h -- a figure of horizontal bars: panels of rows, each row with one bar or two, for bars.gp. */
#ifndef ASSAY_PLOT_BARS_H
#define ASSAY_PLOT_BARS_H

#include "plot/figure.h"
#include "plot/gather.h"
#include "plot/list.h"

#define BARS_COLUMNS 16
extern const struct column bars_throughput_columns[BARS_COLUMNS];
extern const struct column bars_quantity_columns[BARS_COLUMNS];
extern const struct column bars_published_columns[BARS_COLUMNS];

struct bars {
    struct figure *figure;
    size_t         panels, rows_most;
    size_t         rows; /* of the panel at hand */
    double         most; /* of the panel at hand */
    double         least; /* above 0 */
    bool           log;   /* the panel at hand has a logarithmic axis */
    size_t        *rows_of; /* of each panel */
    size_t         rows_room;
    double         ceiling; /* of the engines that retain what was put; 0: an engine that does not is drawn in any case */
    double         durable; /* of the engines that are no volatile ones; 0: volatile ones are drawn in any case */
    bool           pair, pairs;
    double         label_chars;
    size_t         n_least, n_most;
    enum text_kind kind;
    const char      *metric, *unit;
    struct list    panel_title, panel_unit, panel_kind, panel_most, panel_least, panel_log, panel_rows, panel_pair;
    struct list    row_panel, row_at, row_text, row_colour, row_hatched, row_point, row_drawn, note_panel, note_at, note_text;
};

/* In this order: init; for each panel bars_panel, a bars_row for each engine, bars_panel_end; end. */
void bars_init(struct bars *bars, struct figure *figure, const struct column *columns);
/* metric and unit are lent until the panel ends.  log: instead of bars from zero, points on a logarithmic axis. */
void bars_panel(struct bars *bars, const char *title, const char *metric, enum text_kind kind, const char *unit, bool pair,
                bool log);
void bars_row(struct bars *bars, const struct model *model, const struct experiment *experiment, const json_t *engine,
              const char *phase, const struct spread *value, const struct spread *light);
void bars_panel_end(struct bars *bars);
/* Whether bars of these lengths need a logarithmic axis; most and least above 0 of so many. */
bool bars_spread_is_wide(double least, double most, size_t count);
/* What the solid and the light bar mean. */
void bars_end(struct bars *bars, const char *solid, const char *light);
/* "n = 3 rounds, medians"; malloc'd. */
char *bars_n(const struct bars *bars);

#endif
