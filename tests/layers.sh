#!/usr/bin/env bash
# layers.sh -- includes point down only, and nothing above engine.h names an engine.  TAP.
set -u
shopt -s lastpipe # so that verdict, at the end of a pipe, can count
cd "$(dirname "$0")/.." || exit 1

# A file under the left path may include what the right side matches (extended regular expressions on the path from the
# root); its own folder always.  The longest left path wins.
table='
assay.c             ^common/
common              ^common/
engines/base        ^(common|engines/base)/
engines             ^(common|engines/base)/|^engines/engine\.h$
workloads           ^(workloads|common|engines/base)/|^engines/engine\.h$
results             ^(results|common|engines/base)/|^engines/engine\.h$
harness             ^(harness|common|engines/base|workloads|results)/|^engines/engine\.h$
crashtest           ^(crashtest|common|engines/base|workloads|results)/|^engines/engine\.h$
plot                ^(plot|common|engines/base|workloads|results)/|^engines/engine\.h$
tests               .
'
number=0
verdict() { # NAME, then the offending lines on stdin
    local lines
    lines=$(cat)
    number=$((number + 1))
    if [ -z "$lines" ]; then
        echo "ok $number - $1"
    else
        echo "not ok $number - $1"
        printf '%s\n' "$lines" | sed 's/^/# /'
        failed=1
    fi
}
failed=0
echo 1..4

files=$(find assay.c common engines workloads results harness crashtest plot tests -name '*.[ch]' 2>/dev/null | sort)

# shellcheck disable=SC2086
grep -nE '^[[:space:]]*#[[:space:]]*include[[:space:]]*"' $files | awk -v table="$table" '
    BEGIN {
        while ((getline line < "Makefile") > 0) # what the Makefile generates into the build folder
            if (match(line, /^\$\(BUILD\)\/[a-z.-]+:/)) generated[substr(line, 10, RLENGTH - 10)] = 1
        rows = split(table, row, "\n")
        for (i = 1; i <= rows; i++)
            if (split(row[i], field, " ") == 2) may[field[1]] = field[2]
    }
    {
        match($0, /^[^:]+:[0-9]+:/)
        where = substr($0, 1, RLENGTH - 1)
        file = where; sub(/:.*/, "", file)
        split($0, quoted, "\""); wanted = quoted[2]
        folder = file; sub(/\/[^\/]*$/, "", folder)
        best = ""
        for (left in may)
            if ((file == left || index(file, left "/") == 1) && length(left) > length(best)) best = left
        if (wanted in generated) next
        if (wanted !~ /\//) { print where ": \"" wanted "\" is not a path from the root"; next }
        if (index(wanted, folder "/") == 1) next
        if (wanted !~ may[best]) print where ": " file " may not include \"" wanted "\""
    }' | verdict "includes_point_down_only"

# A .c includes its own header before anything else, which proves that the header stands alone.
for file in $files; do
    header=${file%.c}.h
    [ "$file" != "$header" ] && [ -e "$header" ] || continue
    first=$(grep -m1 -nE '^[[:space:]]*#[[:space:]]*include' "$file")
    case $first in *"\"$header\""*) ;; *) echo "$file:${first%%:*}: the first include is not \"$header\"" ;; esac
done | verdict "each_file_includes_its_own_header_first"

# Engines are known by the registry only.  Names are the folders of engines/ and the plug-ins; a comment may name one.
names=$(find engines -mindepth 1 -maxdepth 1 -type d ! -name base ! -name plugins -printf '%f\n' 2>/dev/null
        find engines/plugins -name '*.c' -printf '%f\n' 2>/dev/null | sed 's/\.c$//')
# "null" and "memory" are ordinary words, too.
pattern=$(printf '%s\n' "$names" | grep -vxE 'null|memory' | paste -sd'|')
above=$(printf '%s\n' "$files" | grep -E '^(assay\.c|common/|workloads/|results/|harness/|crashtest/|plot/|engines/(engine|plugin|list|tools)\.[ch])' |
        grep -v '^engines/engine\.c$')
# Comments and string literals that are help text (examples) are for people; code must not decide by a name.
# shellcheck disable=SC2086
grep -nwE "(strcmp|strncmp|strcasecmp|kv_engine_find|slice_equal)[^;]*\"($pattern)\"|($pattern|null|memory)_engine" $above /dev/null |
    verdict "nothing_above_the_contract_names_an_engine"

# An engine keeps to its own folder: it includes no other engine.
# shellcheck disable=SC2086
grep -nE '#[[:space:]]*include[[:space:]]*"engines/' $files | awk '
    {
        file = $0; sub(/:.*/, "", file)
        if (file !~ /^engines\/[^\/]+\// || file ~ /^engines\/(base|plugins)\//) next
        split(file, part, "/"); split($0, quoted, "\""); split(quoted[2], into, "/")
        if (into[2] != "base" && into[2] != "engine.h" && into[2] != part[2]) print $0
    }' | verdict "no_engine_includes_another"
exit $failed
