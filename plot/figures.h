/* figures.h -- what is drawn: for each figure its rows, its words, and the settings that its template reads. */
#ifndef ASSAY_PLOT_FIGURES_H
#define ASSAY_PLOT_FIGURES_H

#include <stdbool.h>
#include <stdio.h>

#include "plot/model.h"
#include "plot/table.h"

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
    struct table table;    /* the rows behind it: NAME.tsv, and on the page */
    struct table points;   /* more rows that the figure draws: NAME-points.tsv; none when column_count is 0 */
    int          width, height;
    char        *settings; /* gnuplot assignments */
    size_t       settings_bytes;
    FILE        *gp;       /* writes settings while the figure is made */
};

struct figures {
    struct figure *items;
    size_t         count, room;
};

void figures_make(struct figures *figures, const struct model *model);
void figures_clear(struct figures *figures);

/* One row an engine and measured phase of every experiment: the table at the head of the page. */
void figures_headline(struct table *table, const struct model *model);
/* Every quantity of `assay calibrate`, one column a machine and disk. */
void figures_calibration(struct table *table, const struct model *model, struct column **columns);

#endif
