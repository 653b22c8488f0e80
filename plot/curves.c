#include "plot/curves.h"

#include <math.h>
#include <stdlib.h>

#include "plot/gather.h"

static const struct column curve_columns[] = {
    {"panel", "", COLUMN_PLACE}, {"series", "", COLUMN_PLACE}, {"round", "", COLUMN_PLACE},
    {"x", "", COLUMN_PLACE},     {"y", "", COLUMN_PLACE},      {"mark", "", COLUMN_PLACE},
};

void curves_panel(struct curves *curves, const char *title)
{
    char *text = text_shortened(title, 58);

    curves->panels++;
    curves->x_most = curves->y_most = 0;
    curves->y_least = INFINITY;
    list_text(&curves->panel_title, text);
    list_number(&curves->panel_first, (double)(curves->series + 1));
    free(text);
}

/* Ends the series at hand.  gnuplot cannot be given no rows: an empty one has a row that says nothing. */
static void series_end(struct curves *curves)
{
    if (curves->series == 0)
        return;
    if (table_rows(&curves->figure->points) == curves->series_row)
        curves_point(curves, 0, NAN, NAN, false);
    list_number(&curves->series_last, (double)table_rows(&curves->figure->points) - 1);
}

void curves_series(struct curves *curves, const struct mark *mark, bool dashes)
{
    series_end(curves);
    curves->series++;
    curves->series_row = table_rows(&curves->figure->points);
    list_number(&curves->series_first, (double)curves->series_row);
    list_number(&curves->series_colour, (double)mark->colour);
    list_number(&curves->series_point, mark->point);
    list_number(&curves->series_dash, dashes && mark->hatched ? 2 : 1);
}

void curves_point(struct curves *curves, size_t round, double x, double y, bool mark)
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

void curves_panel_end(struct curves *curves, bool logarithmic)
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

void curves_end(struct curves *curves, const struct model *model, const json_t *engines, size_t columns,
                       double panel_px)
{
    struct figure *figure = curves->figure;
    struct list    text = {0}, colour = {0}, point = {0}, dash = {0};
    size_t         longest = 0, count = json_array_size(engines), legend_columns, i;
    json_t        *engine;
    double         legend_px;

    json_array_foreach(engines, i, engine) {
        const struct mark *mark = model_mark(model, text_at(engine, "name"));
        char              *name = text_shortened(text_at(engine, "name"), LABEL_CHARS);

        if (text_chars(name) > longest)
            longest = text_chars(name);
        list_text(&text, name);
        list_number(&colour, (double)mark->colour);
        list_number(&point, mark->point);
        list_number(&dash, mark->hatched ? 2 : 1);
        free(name);
    }
    legend_px      = 60 + (double)longest * FIGURE_CHAR_PX;
    legend_columns = (size_t)((FIGURE_WIDTH - 20) / legend_px);
    legend_columns = legend_columns ? legend_columns : 1;
    list_write(&text, figure->gp, "legend_text");
    list_write(&colour, figure->gp, "legend_colour");
    list_write(&point, figure->gp, "legend_point");
    list_write(&dash, figure->gp, "legend_dash");
    list_write(&curves->panel_title, figure->gp, "panel_title");
    list_write(&curves->panel_x_most, figure->gp, "panel_x_most");
    list_write(&curves->panel_y_least, figure->gp, "panel_y_least");
    list_write(&curves->panel_y_most, figure->gp, "panel_y_most");
    series_end(curves);
    list_write(&curves->panel_first, figure->gp, "panel_first");
    list_write(&curves->panel_last, figure->gp, "panel_last");
    list_write(&curves->series_first, figure->gp, "series_first");
    list_write(&curves->series_last, figure->gp, "series_last");
    list_write(&curves->series_colour, figure->gp, "series_colour");
    list_write(&curves->series_point, figure->gp, "series_point");
    list_write(&curves->series_dash, figure->gp, "series_dash");
    fprintf(figure->gp, "legend_px = %g\nlegend_columns = %zu\nlegend_count = %zu\n", legend_px, legend_columns, count);
    figure_grid(figure, curves->panels, columns, panel_px, 62,
               (count ? 14 : 0) + 18.0 * (double)((count + legend_columns - 1) / legend_columns));
}

void curves_init(struct curves *curves, struct figure *figure, const struct column *columns, size_t count)
{
    *curves = (struct curves){.figure = figure};
    table_init(&figure->table, columns, count);
    table_init(&figure->points, curve_columns, COUNT_OF(curve_columns));
}
