/* curves.h -- a figure of curves: panels of series, for lines.gp. */
#ifndef ASSAY_PLOT_CURVES_H
#define ASSAY_PLOT_CURVES_H

#include "plot/figure.h"
#include "plot/list.h"
#include "plot/model.h"

struct curves {
    struct figure *figure;
    size_t         panels, series;
    size_t         series_row; /* where the series at hand begins in the points */
    double         x_most, y_least, y_most; /* of the panel at hand */
    struct list    panel_title, panel_x_most, panel_y_least, panel_y_most;
    struct list    series_first, series_last, series_colour, series_point, series_dash;
    struct list    panel_first, panel_last;
};

/* In this order: init; for each panel curves_panel, for each series curves_series and its points, curves_panel_end; end. */
void curves_init(struct curves *curves, struct figure *figure, const struct column *columns, size_t count);
void curves_panel(struct curves *curves, const char *title);
void curves_series(struct curves *curves, const struct mark *mark, bool dashes);
/* A point with a mark is no part of the curve but a symbol on it. */
void curves_point(struct curves *curves, size_t round, double x, double y, bool mark);
void curves_panel_end(struct curves *curves, bool logarithmic);
/* engines: those of the legend, NULL: no legend. */
void curves_end(struct curves *curves, const struct model *model, const json_t *engines, size_t columns, double panel_px);

#endif
