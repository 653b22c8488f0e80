#!/usr/bin/env bash
# t_readme.sh -- the table of engines in README.md says what the engines that are built here say.  TAP.
set -u
cd "$(dirname "$0")/.." || exit 1
unset ASSAY_PLUGINS
echo 1..1
if said=$(engines/table.sh -c "${BUILD:-build}" 2>&1); then
    echo "ok 1 - the_table_of_engines_is_what_they_say"
else
    echo "not ok 1 - the_table_of_engines_is_what_they_say"
    echo "$said" | sed 's/^/# /'
    exit 1
fi
