#!/usr/bin/env bash
# ladder.sh -- what `make bench-ladder` runs: the tree with its optimisations switched on one after the other, in one run.
#
#   harness/ladder.sh BUILD REPORT [OPTION OF BENCH...]
#
# The rungs are those of agao, "KV Store Performance Improvements" (algao1/crumbs, a tree in Go), in its order; what its benchmark
# set is set here too: memtables of 4 MiB, 8 entries to an index key, filters with 1 % of false positives, a write buffer of 64 kB,
# no compression, no block cache, and no compaction but the one that is asked for.  The last rung is the tree as it comes.
set -u
build=$1 report=$2
shift 2
results=$build/results-ladder
common=(memtable_bytes=4M block_bytes=1k compression=none cache_bytes=1 filter_bits=10 filter_bits_last=10
        runs=64 slowdown_runs=100 stop_runs=100 table_bytes=4G)
base=(write_buffer_bytes=0 reuse_buffers=false entry_layout=split filter_hashes=one-a-probe)
steps=(write_buffer_bytes=64k reuse_buffers=true entry_layout=packed filter_hashes=one) # each switches one of `base` on
rungs=(1-base 2-buffered-writes 3-reused-buffers 4-entry-layout 5-one-hash)

engines= settings=()
for rung in "${!rungs[@]}"; do
    engines=$engines${rungs[rung]}=lsm,
    for setting in "${common[@]}" "${steps[@]:0:rung}" "${base[@]:rung}"; do
        settings+=(--set "${rungs[rung]}.$setting")
    done
done
mkdir -p "$results"
"$build/assay" bench --engine "${engines}6-as-it-comes=lsm" "${settings[@]}" --baseline 1-base --workload lsm-ladder \
    --rounds "${ROUNDS:-3}" --dir "${DIR:-/var/tmp}" --out "$results/lsm-ladder.json" "$@" || exit
"$build/assay" report "$results/lsm-ladder.json" --out "$report" && echo "Look at $report/index.html"
