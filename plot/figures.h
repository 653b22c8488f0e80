/* figures.h -- what is drawn: the figures of a report, in the order of the page. */
#ifndef ASSAY_PLOT_FIGURES_H
#define ASSAY_PLOT_FIGURES_H

#include "plot/figure.h"
#include "plot/model.h"

struct figures {
    struct figure *items;
    size_t         count, room;
};

void figures_make(struct figures *figures, const struct model *model);
void figures_clear(struct figures *figures);

/* One row an engine and measured phase of every experiment: the table at the head of the page. */
void figures_headline(struct table *table, const struct model *model);
/* The paired ratios of every experiment to its baseline. */
void figures_ratios(struct table *table, const struct model *model);

#endif
