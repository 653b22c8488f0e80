#!/usr/bin/env bash
# lsm.sh -- what `make bench-lsm` runs: our merge tree beside RocksDB and LevelDB, in turns, reads and writes.
#
#   harness/lsm.sh BUILD [WORKLOAD...]      all of lsm-write, lsm-read and lsm-read-compacted, or those that are named
#
# Half of each value can be compressed; one thread, tier process, the same block cache for all.  The fill is the phase `load`.
# Ratios are to the first of ENGINES that is not lsm; `space` and `write` are bytes on disk and bytes written by the user's bytes.
# ROUNDS=n RECORDS="1M 10M" ENGINES=a,b SETTINGS="--set lsm.runs=8" DIR=folder; results go to BUILD/results-lsm.
set -u
build=$1
shift
assay=$build/assay
results=$build/results-lsm
workloads=${*:-lsm-write lsm-read lsm-read-compacted}
engines= baseline= failed=

for engine in $(tr , ' ' <<<"${ENGINES:-lsm,rocksdb,leveldb}"); do
    if "$assay" engines "${engine#*=}" >/dev/null 2>&1; then
        engines=$engines,$engine
        [ "${engine%%=*}" = lsm ] || baseline=${baseline:-${engine%%=*}}
    else
        echo "$engine is not built, and left out" >&2
    fi
done
engines=${engines#,}
mkdir -p "$results" || exit 1
for records in ${RECORDS:-1M 10M}; do
    for workload in $workloads; do
        # shellcheck disable=SC2086
        "$assay" bench --engine "$engines" ${baseline:+--baseline "$baseline"} --workload "$workload" --records "$records" \
            --rounds "${ROUNDS:-3}" --dir "${DIR:-/var/tmp}" --out "$results/$workload-$records.json" ${SETTINGS:-} ||
            failed="$failed $workload-$records"
    done
done
[ -z "$failed" ] || { echo "failed:$failed" >&2; exit 1; }
