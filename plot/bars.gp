# bars.gp -- horizontal bars from zero, one panel a quantity, one row an engine; whiskers are least and most over rounds,
# small circles the rounds themselves.  A row may have two bars: the solid one and, under it, the light one.
#
# Columns of data: panel row ... n value least most light light_least light_most (their numbers are set by the program).

set multiplot
do for [p = 1:panels] {
    set lmargin at screen left_of(p)
    set rmargin at screen right_of(p)
    set tmargin at screen top_of(p)
    set bmargin at screen bottom_of(p)
    unset label
    unset object
    if (p == 1) {
        x0 = 14
        do for [i = 1:|legend_text|] {
            y = 1 - 15./H
            if (legend_kind[i] eq "solid") { set object i rect from screen x0/W, screen y - 5./H to screen (x0 + 22)/W, screen y + 5./H fs solid 1 noborder fc rgb "#666666" front }
            if (legend_kind[i] eq "light") { set object i rect from screen x0/W, screen y - 5./H to screen (x0 + 22)/W, screen y + 5./H fs solid 0.3 border lc rgb "#666666" fc rgb "#666666" front }
            if (legend_kind[i] eq "rounds") { set label i "○" at screen (x0 + 11)/W, screen y center tc rgb ink front }
            set label 100 + i legend_text[i] at screen (x0 + 29)/W, screen y left tc rgb ink front
            x0 = x0 + 29 + 6.6*strlen(legend_text[i]) + 26
        }
    }
    set label 200 panel_title[p] at screen left_of(p), screen top_of(p) + 12./H left tc rgb ink font sprintf("%s:Bold,%g", face, title_size) front
    most = panel_most[p] > 0 ? panel_most[p] : 1
    step = step_of(panel_kind[p], most, 4)
    set xrange [0:most*1.3]
    set yrange [panel_rows[p] + 0.6:0.4]
    set xtics ()
    do for [i = 0:6] { if (i*step <= most*1.3) { set xtics add (shown(panel_kind[p], i*step) i*step) } }
    set grid xtics noytics
    set ytics () scale 0
    do for [i = 1:|row_panel|] { if (row_panel[i] == p) { set ytics add (row_text[i] row_at[i]) } }
    do for [i = 1:|note_panel|] { if (note_panel[i] == p) { set label 300 + i note_text[i] at first 0, first note_at[i] left offset char 0.6,0 tc rgb muted front } }
    set xlabel panel_unit[p] offset 0,0.4 tc rgb muted

    pair   = panel_pair[p]
    up     = pair ? 0.19 : 0      # the solid bar's middle lies so far above the row's
    half   = pair ? 0.17 : 0.3
    at(y)  = y - up
    low(y) = y + up
    here(x)    = column(1) == p ? x : NaN
    row(x)     = column(1) == p && row_drawn[int(column(0)) + 1] ? x : NaN
    several(x) = column(c_n) > 1 ? row(x) : NaN
    tint(i)    = row_colour[int(i) + 1]
    spot(place, y) = y + (place - 0.5)*half*1.2 # rounds lie beside one another
    far(a, b)  = b > a ? b : a

    # Only what is there: gnuplot 5.4 falls over when too many of the parts have no valid point.
    if (pair) {
        plot data skip 1 using (row(0)):(at($2)):(0):(row(column(c_value))):(at($2) - half):(at($2) + half):(tint($0)) with boxxyerror lc rgb variable fs solid 1 noborder, \
             data skip 1 using (row(0)):(low($2)):(0):(row(column(c_light))):(low($2) - half):(low($2) + half):(tint($0)) with boxxyerror lc rgb variable fs solid 0.3 border, \
             data skip 1 using (several(column(c_value))):(at($2)):(column(c_least)):(column(c_most)) with xerrorbars pt -1 lc rgb "white" lw 3.4, \
             data skip 1 using (several(column(c_value))):(at($2)):(column(c_least)):(column(c_most)) with xerrorbars pt -1 lc rgb ink lw 1.1, \
             data skip 1 using (several(column(c_light))):(low($2)):(column(c_light_least)):(column(c_light_most)) with xerrorbars pt -1 lc rgb "white" lw 3.4, \
             data skip 1 using (several(column(c_light))):(low($2)):(column(c_light_least)):(column(c_light_most)) with xerrorbars pt -1 lc rgb ink lw 1.1, \
             points skip 1 using (here($4)):(spot($3, at($2))) with points pt 7 ps 0.5 lc rgb "white", \
             points skip 1 using (here($4)):(spot($3, at($2))) with points pt 6 ps 0.5 lc rgb ink lw 0.8, \
             points skip 1 using (here($5)):(spot($3, low($2))) with points pt 7 ps 0.5 lc rgb "white", \
             points skip 1 using (here($5)):(spot($3, low($2))) with points pt 6 ps 0.5 lc rgb ink lw 0.8, \
             data skip 1 using (row(far(column(c_value), column(c_most)))):(at($2)):(shown(panel_kind[p], column(c_value))) with labels left offset char 0.7,0 tc rgb ink, \
             data skip 1 using (row(far(column(c_light), column(c_light_most)))):(low($2)):(shown(panel_kind[p], column(c_light))) with labels left offset char 0.7,0 tc rgb muted
    } else {
        plot data skip 1 using (row(0)):(at($2)):(0):(row(column(c_value))):(at($2) - half):(at($2) + half):(tint($0)) with boxxyerror lc rgb variable fs solid 1 noborder, \
             data skip 1 using (several(column(c_value))):(at($2)):(column(c_least)):(column(c_most)) with xerrorbars pt -1 lc rgb "white" lw 3.4, \
             data skip 1 using (several(column(c_value))):(at($2)):(column(c_least)):(column(c_most)) with xerrorbars pt -1 lc rgb ink lw 1.1, \
             points skip 1 using (here($4)):(spot($3, at($2))) with points pt 7 ps 0.5 lc rgb "white", \
             points skip 1 using (here($4)):(spot($3, at($2))) with points pt 6 ps 0.5 lc rgb ink lw 0.8, \
             data skip 1 using (row(far(column(c_value), column(c_most)))):(at($2)):(shown(panel_kind[p], column(c_value))) with labels left offset char 0.7,0 tc rgb ink
    }
}
unset multiplot
