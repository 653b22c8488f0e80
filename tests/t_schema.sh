#!/usr/bin/env bash
# t_schema.sh -- the results that the tests of merge and report use are results, and so is what merge makes of them.  TAP.
set -u
cd "$(dirname "$0")/.." || exit 1
build=${BUILD:-build}
work=$(mktemp -d "${TMPDIR:-/tmp}/assay-schema.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
python3 -c 'import jsonschema' 2>/dev/null || { echo "1..0 # SKIP python3-jsonschema is not installed"; exit 77; }
number=0 failed=0
verdict() { # NAME COMMAND...
    local name=$1
    shift
    number=$((number + 1))
    if "$@" >"$work/out" 2>&1; then
        echo "ok $number - $name"
    else
        echo "not ok $number - $name"
        head -n 10 "$work/out" | sed 's/^/# /'
        failed=1
    fi
}
echo 1..5
verdict the_golden_results_keep_the_schema python3 results/check.py tests/golden/*.json
sed 's/"run_id":"[^"]*"/"run_id":"20261121T021500Z-00000002"/' tests/golden/bench-a.json >"$work/b.json"
verdict merge_adds_them "$build/assay" merge tests/golden/bench-a.json "$work/b.json" --out "$work/merged.json"
verdict what_merge_makes_keeps_the_schema python3 results/check.py "$work/merged.json"
verdict merge_adds_generators_that_ran_together "$build/assay" merge --together tests/golden/bench-a.json "$work/b.json" --out "$work/together.json"
verdict what_it_makes_of_them_keeps_the_schema python3 results/check.py "$work/together.json"
exit $failed
