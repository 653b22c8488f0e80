#!/usr/bin/env bash
# t_ladder.sh -- the tree without its optimisations keeps its contract, and each rung of the ladder does what it says.  TAP.
set -u
cd "$(dirname "$0")/.." || exit 1
build=${BUILD:-build}
work=$(mktemp -d "${TMPDIR:-/tmp}/assay-ladder.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
number=0 failed=0
verdict() { # NAME COMMAND...
    local name=$1
    shift
    number=$((number + 1))
    if "$@" >"$work/out" 2>&1; then
        echo "ok $number - $name"
    else
        echo "not ok $number - $name"
        tail -n 20 "$work/out" | sed 's/^/# /'
        failed=1
    fi
}

old='lsm.write_buffer_bytes=0 lsm.reuse_buffers=false lsm.entry_layout=split lsm.filter_hashes=one-a-probe'
keeps_contract() { ASSAY_SET=$1 CMOCKA_MESSAGE_OUTPUT=STDOUT "$build/tests/t_contract" lsm; }
verdict without_its_optimisations_the_contract_holds keeps_contract "$old lsm.compression=none"
verdict and_with_compression_too keeps_contract "$old"

# The assay that the ladder takes is the one of the build; results go beside it, so it gets a folder of its own.
mkdir "$work/build" && ln -s "$PWD/$build/assay" "$work/build/assay"
climb() { DIR=$work ROUNDS=1 harness/ladder.sh "$work/build" "$work/report" --no-calibrate --records 60k --ops 10k; }
verdict every_rung_can_be_stood_on climb
sound() {
    python3 - "$work/build/results-ladder/lsm-ladder.json" <<'P'
import json, sys
result = json.load(open(sys.argv[1]))
cells = {cell['engine']: cell for cell in result['cells']}
assert len(cells) == 6 and all(cell['status'] == 'ok' for cell in cells.values())
def read(engine): # allocations a read of the compacted tree, where each read takes its block from the file
    phases = [phase for phase in cells[engine]['phases'] if phase['name'] == 'meters' and phase['part'] == 'read-compacted']
    assert phases[0]['per_op']['syscalls_by_name']['pread64'] > 0.9, phases
    return phases[0]['per_op']['allocations']
assert 1.9 < read('2-buffered-writes') < 2.1, read('2-buffered-writes')
assert 0.9 < read('3-reused-buffers') < 1.1, read('3-reused-buffers')
disk = {engine: cell['space']['disk_bytes'] for engine, cell in cells.items()}
assert disk['4-entry-layout'] < 0.95 * disk['3-reused-buffers'], disk
P
}
verdict reused_buffers_are_no_allocations_and_the_packed_layout_is_smaller sound
if command -v gnuplot >/dev/null; then
    verdict the_ladder_is_drawn_beside_what_was_published test -s "$work/report/published-lsm-ladder.png"
fi
echo "1..$number"
exit $failed
