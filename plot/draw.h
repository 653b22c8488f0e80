/* draw.h -- a figure's rows and settings through gnuplot into SVG and PNG. */
#ifndef ASSAY_PLOT_DRAW_H
#define ASSAY_PLOT_DRAW_H

#include <limits.h>
#include <stdbool.h>

#include "plot/figures.h"

/* The folder of the templates: $ASSAY_PLOT, beside the program (../plot), or where it was installed.  False with
 * fail_set(). */
bool draw_find_templates(char out[PATH_MAX]);

/* Writes NAME.tsv, NAME.svg, NAME.png (and NAME-points.tsv) into dir.  The SVG bears title and description, and its ids
 * begin with the figure's name, so that several can stand in one page.  False with fail_set(). */
bool draw_figure(const struct figure *figure, const char *templates, const char *dir);

/* The SVG of a drawn figure as it stands inside a page: without prolog; malloc'd.  NULL with fail_set(). */
char *draw_inline_svg(const struct figure *figure, const char *dir);

/* A whole small file, NUL-terminated and malloc'd; NULL with fail_set(). */
char *draw_read_file(const char *path);

#endif
