# lines.gp -- curves, one panel a kind of operation or an engine; the legend lies above the panels.
#
# Columns of points: panel series round x y mark.  A row with mark 1 is no part of the curve but a symbol on it.

set multiplot
do for [p = 1:panels] {
    set lmargin at screen left_of(p)
    set rmargin at screen right_of(p)
    set tmargin at screen top_of(p)
    set bmargin at screen bottom_of(p)
    unset label
    unset arrow
    if (p == 1) {
        do for [i = 1:legend_count] {
            x0 = 14 + ((i - 1) % legend_columns)*legend_px
            y  = 1 - (15. + 18*((i - 1)/legend_columns))/H
            set arrow i from screen x0/W, screen y to screen (x0 + 34)/W, screen y nohead lc rgb legend_colour[i] dt legend_dash[i] lw 2 front
            if (symbols) { set label i "" at screen (x0 + 17)/W, screen y point pt legend_point[i] ps 0.8 lc rgb legend_colour[i] front }
            set label 100 + i legend_text[i] at screen (x0 + 41)/W, screen y left tc rgb ink front
        }
    }
    set label 200 panel_title[p] at screen left_of(p), screen top_of(p) + 12./H left tc rgb ink font sprintf("%s:Bold,%g", face, title_size) front
    set grid xtics ytics
    if (x_is_percentile) {
        set logscale x 10
        set xrange [1:panel_x_most[p]]
        set xtics ("50" 2, "90" 10, "99" 100, "99.9" 1e3, "99.99" 1e4, "99.999" 1e5, "99.9999" 1e6, "99.99999" 1e7)
        if (panel_x_most[p] < 2e4) { set xtics add ("0" 1) }
        set logscale y 10
        set yrange [panel_y_least[p]:panel_y_most[p]]
        set ytics ()
        do for [e = 0:12] { do for [m in "1 2 5"] { v = m*10.**e
            if (v >= panel_y_least[p] && v <= panel_y_most[p] && (m eq "1" || panel_y_most[p]/panel_y_least[p] < 60)) { set ytics add (ns_text(v) v) } } }
    } else {
        unset logscale
        set xrange [0:panel_x_most[p]]
        step = step_of("", panel_x_most[p], 5)
        set xtics ()
        do for [i = 0:10] { if (i*step <= panel_x_most[p]) { set xtics add (sprintf("%g", i*step) i*step) } }
        most = panel_y_most[p] > 0 ? panel_y_most[p] : 1
        step = step_of("", most*1.08, 4)
        set yrange [0:most*1.08]
        set ytics ()
        do for [i = 0:8] { if (i*step <= most*1.08) { set ytics add (si(i*step) i*step) } }
    }
    set xlabel x_title offset 0,0.4 tc rgb muted
    set label 201 y_title at screen left_of(p) - 0, screen top_of(p) + 12./H right offset char -0.5,0 tc rgb muted front

    # The rows of a series lie together, from series_first to series_last.
    plot for [i = panel_first[p]:panel_last[p]] points skip 1 every ::series_first[i]::series_last[i] using \
             ($6 == 1 ? NaN : $4):5 with lines lc rgb series_colour[i] dt series_dash[i] lw line_width, \
         for [i = panel_first[p]:panel_last[p]] points skip 1 every ::series_first[i]::series_last[i] using \
             (symbols && $6 == 1 ? $4 : NaN):5 with points lc rgb series_colour[i] pt series_point[i] ps 0.8
}
unset multiplot
