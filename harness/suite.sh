#!/usr/bin/env bash
# suite.sh -- crash checks that vouch for the tiers, then the engines beside each other, then the page of figures.
#
#   harness/suite.sh BUILD REPORT          what `make bench` runs: our engines under three distributions and with synced
#                                          commits, and those peers that are built on less data
#   harness/suite.sh -p BUILD REPORT       what `make bench-peers` runs: all peers beside ours, every tier crashed
#
# Results go to BUILD/results (BUILD/results-peers), one file a run.  Ctrl-C ends the run that is under way, keeps what it
# measured, and draws what there is; -p goes on where it was left, as long as the program is the same.
set -u
peers=
[ "${1:-}" = -p ] && { peers=1; shift; }
build=$1 report=$2
assay=$build/assay
results=$build/results${peers:+-peers}
scratch=${DIR:-/var/tmp}
rounds=${ROUNDS:-3}

# Those of the named engines that are built, comma-separated.
built() {
    local engine list=
    for engine in "$@"; do
        "$assay" engines "$engine" >/dev/null 2>&1 && list=$list,$engine
    done
    echo "${list#,}"
}
# The tiers that an engine offers, a word each: the last column of the list of engines.
tiers_of() { "$assay" engines | awk -v engine="$1" 'NR == 1 { at = index($0, "TIERS") } $1 == engine { print substr($0, at) }'; }

all_peers=$(built rocksdb leveldb lmdb sqlite wiredtiger bdb tkrzw-hash tkrzw-tree kyoto-hash kyoto-tree redis)
if [ -n "$peers" ]; then
    engines=${ENGINES:-$(built null memory bitcask lsm),${all_peers:+$all_peers,}$(built tkrzw-tiny)}
    durable=${DURABLE:-$(built bitcask lsm),$all_peers}
    crash_seconds=${CRASH_SECONDS:-5}
else
    engines=${ENGINES:-$(built null memory bitcask lsm)}
    durable=${DURABLE:-$(built bitcask lsm)}
    beside=${PEERS:-$(built rocksdb lmdb sqlite)} # PEERS= leaves them out
    crash_seconds=${CRASH_SECONDS:-2}
fi
engines=${engines%,} durable=${durable%,}
baseline=${BASELINE:-${durable%%,*}}

stopped= failed= binary= verified=()
trap 'stopped=1' INT TERM
[ -n "$peers" ] || rm -rf "$results"
mkdir -p "$results" || exit 1

# Whether a result is there, whole, and of this very program.
done_before() {
    [ -n "$peers" ] && [ -e "$1" ] && grep -q '^ "complete": true' "$1" && grep -q "\"binary_xxh3\": \"$binary\"" "$1"
}
run() { # NAME COMMAND...: one run, its result in NAME.json
    local name=$1
    shift
    [ -z "$stopped" ] || return 0
    ! done_before "$results/$name.json" || return 0
    echo "== $name" >&2
    "$assay" "$@" --out "$results/$name.json" || failed="$failed $name"
}
crash() { # ENGINE TIER MODE: one campaign
    local engine=$1 tier=$2 mode=$3 profile=()
    [ "$mode" = kill ] || profile=(--profile drop-unsynced)
    [ "$tier" != interval ] || tier=interval:5ms
    run "$mode-$engine-${tier%:*}" crash --engine "$engine" --mode "$mode" "${profile[@]}" --durability "$tier" \
        --seconds "$crash_seconds" --dir "$scratch/assay-crash"
}
vouch() { # TIER: sets `verified` to the crash results of that tier
    verified=()
    for file in "$results"/{kill,power}-*-"$1".json; do
        [ ! -e "$file" ] || verified+=(--verified "$file")
    done
}
bench() { # NAME ENGINES OPTION...: one comparison
    local name=$1 engines=$2
    shift 2
    case ,$engines, in
    *,"$baseline",*) set -- --baseline "$baseline" "$@" ;;
    esac
    run "bench-$name" bench --engine "$engines" --rounds "$rounds" --dir "$scratch" "$@" "${verified[@]}"
}

run calibrate calibrate --dir "$scratch"
binary=$(sed -n 's/^  "binary_xxh3": "\(.*\)".*/\1/p' "$results/calibrate.json" 2>/dev/null | head -n 1)
for engine in ${durable//,/ }; do
    for tier in $(tiers_of "$engine"); do
        for mode in kill power; do
            crash "$engine" "$tier" "$mode"
        done
    done
done
if [ -n "$peers" ]; then
    vouch process
    bench process "$engines" --workload ycsb-a --records "${RECORDS:-1M}" --ops "${OPS:-1M}" --verify-tier
    vouch commit
    bench commit "$engines" --workload ycsb-a --durability commit --load-durability process --threads 8 --records 100k \
        --ops 10k --verify-tier
else
    for engine in ${beside//,/ }; do
        crash "$engine" process kill
    done
    vouch process
    for workload in uniform zipfian hotset; do
        bench "$workload" "$engines" --workload "$workload"
    done
    [ -z "$beside" ] || bench peers "$durable,$beside" --workload ycsb-a --records 100k --ops 200k --verify-tier
    vouch commit
    bench commit "$durable" --workload zipfian --durability commit --threads 8 --records 100k --ops 40k --verify-tier
fi

files=("$results"/*.json)
[ -e "${files[0]}" ] || exit 1
"$assay" report "${files[@]}" --out "$report" >/dev/null || failed="$failed report"
[ -z "$stopped" ] || { echo "stopped; $report/index.html shows what was measured" >&2; exit 130; }
[ -z "$failed" ] || { echo "failed:$failed; $report/index.html shows the rest" >&2; exit 1; }
echo "Look at $report/index.html"
