#!/usr/bin/env bash
# suite.sh -- what `make bench` runs: crash checks that vouch for the tiers, then the engines under three distributions
# and with synced commits, then the page of figures.
#
#   harness/suite.sh BUILD REPORT
#
# Results go to BUILD/results, one file a run.  Ctrl-C ends the run that is under way, keeps what it measured, and draws
# what there is.
set -u
build=$1 report=$2
assay=$build/assay
results=$build/results
engines=${ENGINES:-null,memory,bitcask}   # the first is the baseline of ratios
durable=${DURABLE:-bitcask}               # engines that keep data, for crash checks and the commit tier
rounds=${ROUNDS:-3}
crash_seconds=${CRASH_SECONDS:-3}
scratch=${DIR:-/var/tmp}

stopped= failed=
trap 'stopped=1' INT TERM
rm -rf "$results" && mkdir -p "$results" || exit 1

run() { # NAME COMMAND...: one run, its result in NAME.json
    local name=$1
    shift
    [ -z "$stopped" ] || return 0
    echo "== $name" >&2
    "$assay" "$@" --out "$results/$name.json" || failed="$failed $name"
}

run calibrate calibrate --dir "$scratch"
for engine in ${durable//,/ }; do
    for tier in none process ordered interval:5ms commit; do
        run "kill-$engine-${tier%:*}" crash --engine "$engine" --mode kill --durability "$tier" \
            --seconds "$crash_seconds" --dir "$scratch/assay-crash"
        run "power-$engine-${tier%:*}" crash --engine "$engine" --mode power --profile drop-unsynced --durability "$tier" \
            --seconds "$crash_seconds" --dir "$scratch/assay-crash"
    done
done
vouch() { # TIER: sets `verified` to the crash results of that tier
    verified=()
    for file in "$results"/{kill,power}-*-"$1".json; do
        [ ! -e "$file" ] || verified+=(--verified "$file")
    done
}
vouch process
for workload in uniform zipfian hotset; do
    run "bench-$workload" bench --engine "$engines" --workload "$workload" --rounds "$rounds" --dir "$scratch" "${verified[@]}"
done
vouch commit
run bench-commit bench --engine "$durable" --workload zipfian --durability commit --threads 8 --records 100k --ops 40k \
    --rounds "$rounds" --dir "$scratch" "${verified[@]}"

files=("$results"/*.json)
[ -e "${files[0]}" ] || exit 1
"$assay" report "${files[@]}" --out "$report" >/dev/null || failed="$failed report"
[ -z "$stopped" ] || { echo "stopped; $report/index.html shows what was measured" >&2; exit 130; }
[ -z "$failed" ] || { echo "failed:$failed; $report/index.html shows the rest" >&2; exit 1; }
echo "Look at $report/index.html"
