# bars.gp -- horizontal bars from zero, one panel a quantity, one row an engine; whiskers are least and most over rounds,
# small circles the rounds themselves.  A row may have two bars: the solid one and, under it, the light one.  Where the lengths
# differ so much that the least would be none, the axis is logarithmic, has no zero, and symbols on stems stand for the bars.
#
# Columns of data: panel row ... n value least most light light_least light_most (their numbers are set by the program).

set multiplot
do for [p = 1:panels] {
    left   = (8 + panel_column[p]*cell_w + label_px)/W
    top    = 1 - (panel_top[p] + 26.)/H
    bottom = top - (panel_rows[p]*row_px + 8.)/H
    set lmargin at screen left
    set rmargin at screen (8 + (panel_column[p] + 1)*cell_w - 22)/W
    set tmargin at screen top
    set bmargin at screen bottom
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
    set label 200 panel_title[p] at screen left, screen top + 12./H left tc rgb ink font sprintf("%s:Bold,%g", face, title_size) front
    kind = panel_kind[p]
    most = panel_most[p] > 0 ? panel_most[p] : 1
    set xtics ()
    if (panel_log[p]) {
        base  = kind eq "bytes" ? 16. : 10.
        zero  = base**floor(log(panel_least[p])/log(base) - 0.02)
        right = most*(most/zero)**0.34
        set logscale x
        set xrange [zero:right]
        decades = ceil(log(right/zero)/log(base))
        skip_   = 1 + int(decades/6)
        do for [i = 0:int(decades)] { if (i % skip_ == 0 && zero*base**i <= right) { set xtics add (shown(kind, zero*base**i) zero*base**i) } }
    } else {
        unset logscale
        zero  = 0
        right = most*1.3
        step  = step_of(kind, most, 4)
        set xrange [0:right]
        do for [i = 0:6] { if (i*step <= right) { set xtics add (shown(kind, i*step) i*step) } }
    }
    set yrange [panel_rows[p] + 0.6:0.4]
    set grid xtics noytics
    set ytics () scale 0
    do for [i = 1:|row_panel|] { if (row_panel[i] == p) { set ytics add (row_text[i] row_at[i]) } }
    do for [i = 1:|note_panel|] { if (note_panel[i] == p) { set label 300 + i note_text[i] at graph 0, first note_at[i] left offset char 0.6,0 tc rgb muted front } }
    set xlabel panel_unit[p] offset 0,0.4 tc rgb muted

    pair   = panel_pair[p]
    up     = pair ? 0.22 : 0      # the solid bar's middle lies so far above the row's
    half   = pair ? 0.17 : 0.3
    at(y)  = y - up
    low(y) = y + up
    seen(x)    = x < zero ? zero : x # and what is unknown stays so
    here(x)    = column(1) == p ? seen(x) : NaN
    row(x)     = column(1) == p && row_drawn[int(column(0)) + 1] ? x : NaN
    several(x) = column(c_n) > 1 ? row(x) : NaN
    hatched(x) = row_hatched[int(column(0)) + 1] ? row(x) : NaN
    tint(i)    = row_colour[int(i) + 1]
    shape(i)   = row_point[int(i) + 1]
    spot(place, y) = y + (place - 0.5)*half*1.2 # rounds lie beside one another
    far(a, b)  = seen(b > a ? b : a)
    any_hatched = 0
    do for [i = 1:|row_panel|] { if (row_panel[i] == p && row_drawn[i] && row_hatched[i]) { any_hatched = 1 } }

    # Only what is there: gnuplot 5.4 falls over when too many of the parts have no valid point.
    d = "data skip 1 using "
    box(keep, y, c, half_) = sprintf("%s(%s(zero)):(%s($2)):(zero):(%s(seen(column(%s)))):(%s($2) - %s):(%s($2) + %s):(tint($0)) with boxxyerror lc rgb variable ", d, keep, y, keep, c, y, half_, y, half_)
    whiskers(y, c, a, b) = sprintf("%s(several(seen(column(%s)))):(%s($2)):(seen(column(%s))):(seen(column(%s))) with xerrorbars pt -1 lc rgb 'white' lw 3.4, %s(several(seen(column(%s)))):(%s($2)):(seen(column(%s))):(seen(column(%s))) with xerrorbars pt -1 lc rgb ink lw 1.1, ", d, c, y, a, b, d, c, y, a, b)
    rounds(y, c) = sprintf("points skip 1 using (here(%s)):(spot($3, %s($2))) with points pt 7 ps 0.5 lc rgb 'white', points skip 1 using (here(%s)):(spot($3, %s($2))) with points pt 6 ps 0.5 lc rgb ink lw 0.8, ", c, y, c, y)
    amount(y, c, m, tone) = sprintf("%s(row(far(column(%s), column(%s)))):(%s($2)):(shown(kind, column(%s))) with labels left offset char 0.9,0 tc rgb %s", d, c, m, y, c, tone)
    symbol(y, c, size) = sprintf("%s(row(seen(column(%s)))):(%s($2)):(shape($0)):(tint($0)) with points pt variable ps %s lc rgb variable, ", d, c, y, size)

    if (panel_log[p]) {
        all = box("row", "at", "c_value", "0.05") . "fs solid 1 noborder, " . sprintf("%s(several(seen($%d))):(at($2)):(seen($%d)):(seen($%d)) with xerrorbars pt -1 lc rgb ink lw 1.1, ", d, c_value, c_least, c_most) . symbol("at", "c_value", "1.1")
        if (pair) { all = all . box("row", "low", "c_light", "0.03") . "fs solid 0.5 noborder, " . symbol("low", "c_light", "0.7") . amount("low", "c_light", "c_light", "muted") . ", " }
    } else {
        all = box("row", "at", "c_value", "half") . "fs solid 1 noborder, "
        if (any_hatched) { all = all . box("hatched", "at", "c_value", "half") . "fs solid 0.35 border, " . box("hatched", "at", "c_value", "half") . "fs transparent pattern 4 border, " }
        if (pair) { all = all . box("row", "low", "c_light", "half") . "fs solid 0.3 border, " . whiskers("low", "c_light", "c_light_least", "c_light_most") . rounds("low", "$5") . amount("low", "c_light", "c_light_most", "muted") . ", " }
        all = all . whiskers("at", "c_value", "c_least", "c_most") . rounds("at", "$4")
    }
    all = all . amount("at", "c_value", "c_most", "ink")
    eval "plot " . all
}
unset multiplot
