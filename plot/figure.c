#include "plot/figure.h"

void figure_grid(struct figure *figure, size_t panels, size_t columns, double cell_h, double label_px,
                       double top_px)
{
    size_t rows = (panels + columns - 1) / columns;

    figure->height = (int)(top_px + (double)rows * cell_h + 4);
    fprintf(figure->gp, "panels = %zu\ncolumns = %zu\ncell_h = %g\nlabel_px = %g\ntop_px = %g\nfoot_px = %d\n", panels,
            columns, cell_h, label_px, top_px, FIGURE_FOOT_PX);
}
