/* beside.h -- what stands beside figures: durability badges, and the limits of machine and harness. */
#ifndef ASSAY_PLOT_BESIDE_H
#define ASSAY_PLOT_BESIDE_H

#include "plot/model.h"
#include "plot/table.h"

/* "✓ held", as HTML. */
void beside_badge(FILE *html, enum badge badge);
/* The badges of all engines of a setting, each with its reason. */
void beside_badges(FILE *html, const struct model *model, const char *setting);
/* The quantities of `assay calibrate` that limit the tier of this result, and what the harness itself costs. */
void beside_limits(FILE *html, const struct model *model, const json_t *root);

/* Every quantity of `assay calibrate`, one column a machine and disk.  The caller frees *columns, after the table. */
void beside_calibration(struct table *table, const struct model *model, struct column **columns);

#endif
