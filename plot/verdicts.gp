# verdicts.gp -- what crash runs found, engines by tiers and kinds of crash: a table that reads without colour.
#
# Arrays: row_text (engines); head, below (the columns: tier, crash); cell_row, cell_column, cell_text, cell_colour.

set multiplot
set lmargin at screen label_px/W
set rmargin at screen 1 - 12./W
set tmargin at screen 1 - 50./H
set bmargin at screen 14./H
set xrange [0.5:|head| + 0.5]
set yrange [|row_text| + 0.5:0.5]
unset xtics
unset ytics
unset grid
unset border
do for [i = 1:|head|] {
    set label i head[i] at first i, screen 1 - 16./H center tc rgb ink font sprintf("%s:Bold,%g", face, title_size)
    set label 100 + i below[i] at first i, screen 1 - 34./H center tc rgb muted font sprintf("%s,%g", face, title_size - 2)
}
do for [i = 1:|row_text|] { set label 200 + i row_text[i] at screen (label_px - 10.)/W, first i right tc rgb ink }
do for [i = 1:|cell_row|] {
    set object i rect center cell_column[i], cell_row[i] size 0.95, 0.86 fc rgb cell_colour[i] fs solid 1 border lc rgb "#bbbbbb" behind
    set label 1000 + i cell_text[i] at first cell_column[i], first cell_row[i] center tc rgb ink font sprintf("%s,%g", face, title_size - 1.5)
}
plot NaN
unset multiplot
