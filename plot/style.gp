# style.gp -- the look that all figures share, and the functions that their templates use.
#
# The program sets before: W, H (pixels), data, points (TSV files).  Panels lie in a grid of `columns`; a panel's place is
# given in pixels, so that text of a known size has room whatever the number of rows.

set encoding utf8
set datafile separator "\t"
set datafile commentschars ""
set datafile missing ""
set border 3 lc rgb "#888888" lw 0.8
set tics nomirror out scale 0.5 tc rgb "#333333"
set grid lc rgb "#dddddd" lw 0.6 lt 1 dt 1
unset key
unset title

ink   = "#222222"
muted = "#666666"

# Numbers as people read them.
digits(x)  = sprintf("%.3g", x)
si(x)    = x == 0 ? "0" : x < 0.000995 ? "<0.001" : x < 999.5 ? digits(x) : x < 999.5e3 ? digits(x/1e3) . " k" : x < 999.5e6 ? digits(x/1e6) . " M" : digits(x/1e9) . " G"
ns_text(x)  = x == 0 ? "0" : x < 999.5 ? digits(x) . " ns" : x < 999.5e3 ? digits(x/1e3) . " µs" : x < 999.5e6 ? digits(x/1e6) . " ms" : digits(x/1e9) . " s"
bytes_text(x) = x == 0 ? "0" : x < 1000 ? digits(x) . " B" : x < 1000*1024. ? digits(x/1024.) . " KiB" : x < 1000*1048576. ? digits(x/1048576.) . " MiB" : digits(x/1073741824.) . " GiB"
shown(kind, x) = kind eq "ns" ? ns_text(x) : kind eq "bytes" ? bytes_text(x) : si(x)

# A step that gives about `parts` round ticks up to `most`.
base_of(kind, most) = kind eq "bytes" && most >= 1024 ? 1024.**floor(log(most)/log(1024.)) : 1.
round_up(x) = x <= 0 ? 1. : (tens = 10.**floor(log10(x)), first = x/tens, (first <= 1.0001 ? 1 : first <= 2 ? 2 : first <= 2.5 ? 2.5 : first <= 5 ? 5 : 10)*tens)
step_of(kind, most, parts) = (unit = base_of(kind, most), unit*round_up(most/unit/parts))

# The frame of panel p (from 1), in pixels of the whole picture: room on the left for labels, above for a title.
column_of(p) = (p - 1) % columns
row_of(p)    = (p - 1) / columns
cell_w       = (W - 16.)/columns
left_of(p)   = (8 + column_of(p)*cell_w + label_px)/W
right_of(p)  = (8 + (column_of(p) + 1)*cell_w - 22)/W
top_of(p)    = 1 - (top_px + row_of(p)*cell_h + 26.)/H
bottom_of(p) = 1 - (top_px + (row_of(p) + 1)*cell_h - foot_px)/H
