/* figure.h -- one figure: its rows, its words, and the settings that its template reads. */
#ifndef ASSAY_PLOT_FIGURE_H
#define ASSAY_PLOT_FIGURE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "plot/table.h"

#define FIGURE_WIDTH   980
#define FIGURE_CHAR_PX 7.3 /* of the text beside an axis, amply */
#define FIGURE_HEAD_PX 26  /* above a panel: its title */
#define FIGURE_FOOT_PX 50  /* below a panel: tick labels and the axis' title */

/* The sections of the page, in order. */
enum section { SECTION_THROUGHPUT, SECTION_LATENCY, SECTION_TIME, SECTION_COST, SECTION_SPACE, SECTION_CRASH, SECTIONS };

struct figure {
    enum section section;
    char        *name;     /* of its files, without the ending */
    const char  *template; /* "bars.gp" */
    char        *title;
    char        *caption;  /* n, host, tier: plain text */
    char        *alt;      /* what is seen, for those who cannot */
    char        *notes;    /* HTML beside the figure: badges, limits; may be NULL */
    struct table table;    /* the rows behind it: NAME.tsv, and on the page; none when column_count is 0 */
    struct table points;   /* more rows that the figure draws: NAME-points.tsv; none when column_count is 0 */
    int          width, height;
    char        *settings; /* gnuplot assignments */
    size_t       settings_bytes;
    FILE        *gp;       /* writes settings while the figure is made */
};

/* Places panels in a grid, and so sets the height.  top_px: room for the legend. */
void figure_grid(struct figure *figure, size_t panels, size_t columns, double cell_h, double label_px, double top_px);

#endif
