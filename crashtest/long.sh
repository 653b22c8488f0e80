#!/usr/bin/env bash
# long.sh -- a long crash campaign of one engine: every tier that it maps, killed and under disk profiles, for each set of options.
#
#   crashtest/long.sh [-b BUILD] [-s SECONDS] [-d DIR] [-p "PROFILES"] [-o "OPTIONS"]... ENGINE
#
# -s: of each cell (60).  -p: which profiles; "kill" is the one without power loss.  -o: one set of options a cell, each
# ENGINE.OPTION=VALUE; several -o are several rounds.  A line a cell; exit 1 when one of them is not held, and what was kept of it
# stays in DIR.
set -u
cd "$(dirname "$0")/.." || exit 1

build=build seconds=60 dir=assay-crash-long profiles='kill drop-unsynced ext4 posix-minimal torn'
rounds=()
while getopts b:s:d:p:o: option; do
    case $option in
        b) build=$OPTARG ;;
        s) seconds=$OPTARG ;;
        d) dir=$OPTARG ;;
        p) profiles=$OPTARG ;;
        o) rounds+=("$OPTARG") ;;
        *) exit 2 ;;
    esac
done
shift $((OPTIND - 1))
[ $# = 1 ] || { echo 'long.sh: which engine? write crashtest/long.sh lsm' >&2; exit 2; }
engine=$1
[ ${#rounds[@]} -gt 0 ] || rounds=('')

# As `assay engines --json` tells them; an interval needs a time.
tiers=$("$build/assay" engines "$engine" --json | python3 -c '
import json, sys
said = json.load(sys.stdin)
engine = said[0] if isinstance(said, list) else said.get("engines", [said])[0]
print(*(tier + ":5ms" * (tier == "interval") for tier in engine["tiers"]))') && [ -n "$tiers" ] || {
    echo "long.sh: $engine is no engine that keeps anything" >&2
    exit 2
}

mkdir -p "$dir" || exit 1
failed=0 cells=0 lives=0
printf '%-14s %-18s %-34s %-8s %8s %8s\n' TIER PROFILE OPTIONS VERDICT LIVES STATES
for options in "${rounds[@]}"; do
    set=()
    for one in $options; do set+=(--set "$one"); done
    for tier in $tiers; do
        for profile in $profiles; do
            mode=(--mode power --profile "$profile")
            [ "$profile" = kill ] && mode=(--mode kill)
            cell=$dir/$((++cells))
            rm -rf "$cell"
            "$build/assay" crash --engine "$engine" "${mode[@]}" --durability "$tier" "${set[@]}" --seconds "$seconds" \
                --seed $((cells + ${SEED:-0})) --dir "$cell" --out "$dir/$cells.json" >"$dir/$cells.log" 2>&1
            code=$?
            read -r n states <<<"$(python3 -c '
import json, sys
said = json.load(open(sys.argv[1]))
print(said["lives"], said.get("states", "-"))' "$dir/$cells.json" 2>/dev/null)"
            lives=$((lives + ${n:-0}))
            word=held
            if [ $code != 0 ]; then word=FAILED failed=$((failed + 1)); else rm -rf "$cell"; fi
            printf '%-14s %-18s %-34s %-8s %8s %8s\n' "$tier" "$profile" "${options:--}" "$word" "${n:--}" "${states:--}"
            [ $code = 0 ] || sed 's/^/    /' "$dir/$cells.log"
        done
    done
done
echo "$((cells - failed)) of $cells cells held, $lives lives"
[ $failed = 0 ]
