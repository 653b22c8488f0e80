/* page.h -- the one page: what was run, the figures with the tables behind them, and every reason for doubt. */
#ifndef ASSAY_PLOT_PAGE_H
#define ASSAY_PLOT_PAGE_H

#include <stdbool.h>

#include "plot/figures.h"

/* The first line of every page, by which a former report is known. */
#define PAGE_GENERATOR "<meta name=\"generator\" content=\"assay report\">"

/* Writes dir/index.html; the figures' SVG files are there already.  False with fail_set(). */
bool page_write(const struct model *model, const struct figures *figures, const char *dir);

#endif
