# percentiles.gp -- latency of many engines: one row an engine, a symbol a percentile, on one logarithmic axis.
#
# Columns of points: panel row p50 p90 p99 p999 max.

array names = ["p50", "p90", "p99", "p99.9", "slowest"]
array shape = [7, 9, 13, 5, 2]
array size_ = [1.0, 0.9, 1.0, 0.8, 0.8]
row_px = 22.
set multiplot
do for [p = 1:panels] {
    set lmargin at screen left_of(p)
    set rmargin at screen right_of(p)
    set tmargin at screen top_of(p)
    set bmargin at screen top_of(p) - (panel_rows[p]*row_px + 8.)/H
    unset label
    if (p == 1) {
        x0 = 14
        do for [i = 1:|names|] {
            set label i "" at screen (x0 + 8)/W, screen 1 - 15./H point pt shape[i] ps size_[i] lc rgb "#444444" front
            set label 100 + i names[i] at screen (x0 + 20)/W, screen 1 - 15./H left tc rgb ink front
            x0 = x0 + 20 + 7*strlen(names[i]) + 26
        }
    }
    set label 200 panel_title[p] at screen left_of(p), screen top_of(p) + 12./H left tc rgb ink font sprintf("%s:Bold,%g", face, title_size) front
    least = 10**floor(log10(panel_least[p]))
    set logscale x
    set xrange [least:panel_most[p]*1.6]
    set xtics ()
    do for [e = 0:12] { if (10.**e >= least && 10.**e <= panel_most[p]*1.6) { set xtics add (ns_text(10.**e) 10.**e) } }
    set yrange [panel_rows[p] + 0.6:0.4]
    set grid xtics ytics
    set ytics () scale 0
    do for [i = 1:|row_panel|] { if (row_panel[i] == p) { set ytics add (row_text[i] row_at[i]) } }
    set xlabel "latency, logarithmic" offset 0,0.4 tc rgb muted
    here(x) = column(1) == p ? x : NaN
    tint(i) = row_colour[int(i) + 1]
    plot points skip 1 using (here($3)):2:($7 - $3):(0):(tint($0)) with vectors nohead lw 1.6 lc rgb variable, \
         for [i = 1:|names|] points skip 1 using (here(column(2 + i))):2:(tint($0)) with points pt shape[i] ps size_[i] lc rgb variable
}
unset multiplot
