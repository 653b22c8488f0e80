#!/usr/bin/env bash
# table.sh -- the table of engines in README.md, as `assay engines` tells them.
#
#   engines/table.sh BUILD        prints its rows
#   engines/table.sh -w BUILD     puts them into README.md; an engine that is not built here keeps the row that it has
#   engines/table.sh -c BUILD     compares: exit 1 when a row of an engine that is built is another in README.md.  Versions are
#                                 those of the machine, and are not compared
set -eu
mode=
case ${1:-} in
-w | -c) mode=$1; shift ;;
esac
assay=$1/assay
begin='<!-- made by make engines-table -->' end='<!-- end of it -->'

rows() {
    "$assay" engines | awk 'NR > 1 && $2 != "not" { print $1 }' | while read -r engine; do
        "$assay" engines "$engine" | awk -v engine="$engine" '
            NR == 1 { sub(/^[^ ]+ /, ""); at = index($0, ": "); version = substr($0, 1, at - 1) }
            $1 == "can" || $1 == "tiers" || $1 == "licence" { word = $1; sub(/^ *[a-z]+ +/, ""); said[word] = $0 }
            END {
                printf "| `%s` | %s | %s | %s | %s |\n", engine, version, said["licence"] == "-" ? "ours (MIT)" : said["licence"],
                    said["tiers"] == "-" ? "keeps nothing" : said["tiers"], said["can"]
            }'
    done
}
in_readme() { awk -v begin="$begin" -v end="$end" '$0 == begin { on = 1; next } $0 == end { on = 0 } on && /^\| `/' README.md; }
row_of() { awk -v name="| \`$1\` |" 'index($0, name) == 1'; }
without_version() { awk -F'|' -v OFS='|' '{ $3 = ""; print }'; }

case $mode in
'')
    rows
    ;;
-c)
    bad=0
    while read -r row; do
        engine=$(echo "$row" | cut -d'`' -f2)
        if [ "$(echo "$row" | without_version)" != "$(in_readme | row_of "$engine" | without_version)" ]; then
            echo "README.md has another row for $engine; make engines-table writes: $row" >&2
            bad=1
        fi
    done < <(rows)
    exit $bad
    ;;
-w)
    new=$(mktemp README.md.XXXXXX)
    trap 'rm -f "$new"' EXIT
    {
        rows
        in_readme | while read -r row; do
            "$assay" engines "$(echo "$row" | cut -d'`' -f2)" >/dev/null 2>&1 || echo "$row"
        done
    } >"$new.rows"
    awk -v begin="$begin" -v end="$end" -v rows="$new.rows" '
        $0 == end { on = 0 }
        !on { print }
        $0 == begin {
            on = 1
            print "| engine | version here | licence | tiers | can |\n|---|---|---|---|---|"
            while ((getline row < rows) > 0) print row
        }' README.md >"$new"
    rm -f "$new.rows"
    cat "$new" >README.md
    ;;
esac
