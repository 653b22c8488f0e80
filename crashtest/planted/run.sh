#!/usr/bin/env bash
# run.sh -- proves that the crash tester sees every planted bug, and that it says nothing against the engines without them.
#
#   crashtest/planted/run.sh [-b BUILD] [-n SEEDS] [-s SECONDS] [-k WORD] [-q]
#
# Each bug has SEEDS campaigns (1) of at most SECONDS (60), which the first failure ends.  A bug counts as caught when
# every seed caught it; one whose header says "rare: yes" may be missed, and has a quarter of the time.  Then each engine that has a bug runs as long as its slowest bug took, without one, in the same
# modes and tiers, and must be held.  Prints a table; exit 1 when a bug was missed or an engine was accused.
# -k takes only bugs with WORD in their name; -q leaves the engines without bugs out.
set -u
cd "$(dirname "$0")/../.." || exit 1
build=build seeds=1 seconds=60 only= quiet=
while getopts b:n:s:k:q option; do
    case $option in
        b) build=$OPTARG ;;
        n) seeds=$OPTARG ;;
        s) seconds=$OPTARG ;;
        k) only=$OPTARG ;;
        q) quiet=1 ;;
        *) exit 2 ;;
    esac
done

work=$(mktemp -d "${TMPDIR:-/tmp}/assay-planted.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

header() { sed -n "s/^$2: *//p" "crashtest/planted/$1.patch"; }
field() { python3 -c 'import json, sys; r = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$1" "$2"; }

failed=0 caught=0 missed=0
declare -A clean
printf '%-34s %-5s %-14s %-8s %-12s %9s %9s %9s\n' BUG MODE TIER CAUGHT VERDICT LIVES KILLS SECONDS
for patch in crashtest/planted/*.patch; do
    name=$(basename "$patch" .patch)
    case $name in *"$only"*) ;; *) continue ;; esac
    plugin=$build/planted/$name.so
    engine=$(header "$name" engine) mode=$(header "$name" mode) tier=$(header "$name" tier)
    profile=$(header "$name" profile)
    mapfile -t extra < <(header "$name" options | tr ' ' '\n' | sed '/^$/d')
    args=(--mode "$mode" --durability "$tier" ${profile:+--profile "$profile"} "${extra[@]}")
    # The mutant must say who it is, or a pass would prove nothing.
    "$build/assay" engines "$plugin" 2>/dev/null | grep -q "^$engine+${name#"$engine"-} " || {
        printf '%-34s is not the mutant that it should be\n' "$name"
        failed=1
        continue
    }
    hits=0 words= limit=$seconds
    [ "$(header "$name" rare)" = yes ] && limit=$(((seconds + 3) / 4))
    : >"$work/figures"
    for ((seed = 1; seed <= seeds; seed++)); do
        rm -rf "$work/dir"
        "$build/assay" crash --engine "$plugin" "${args[@]}" --seconds "$limit" --until-failure --seed "$seed" --dir "$work/dir" \
            --out "$work/result.json" >"$work/log" 2>&1
        code=$?
        if [ $code = 1 ] && [ "$(field "$work/result.json" 'len(r["failures"])' 2>/dev/null)" != 0 ]; then
            hits=$((hits + 1))
            words="$words $(field "$work/result.json" 'r["failures"][0]["verdict"]')"
            field "$work/result.json" '"%d %d %.1f" % (r["lives"], r["kills"], r["wall_s"])' >>"$work/figures"
        elif [ $code != 0 ] && [ $code != 1 ]; then
            tail -3 "$work/log"
        fi
    done
    word=$(tr ' ' '\n' <<<"$words" | sed '/^$/d' | sort | uniq -c | sort -rn | awk '{print $2; exit}')
    median() { cut -d' ' -f"$1" "$work/figures" | sort -n | awk '{a[NR]=$1} END {print NR ? a[int((NR+1)/2)] : "-"}'; }
    printf '%-34s %-5s %-14s %-8s %-12s %9s %9s %9s\n' "$name" "$mode" "$tier" "$hits/$seeds" "${word:--}" "$(median 1)" \
        "$(median 2)" "$(median 3)"
    if [ $hits = "$seeds" ]; then
        caught=$((caught + 1))
    else
        missed=$((missed + 1))
        [ "$(header "$name" rare)" = yes ] || failed=1
    fi
    clean["$engine ${args[*]}"]=1
done
[ $((caught + missed)) -gt 0 ] || { echo "no planted bug has \"$only\" in its name"; exit 1; }
echo "$caught of $((caught + missed)) planted bugs caught"

if [ -z "$quiet" ]; then
    for key in "${!clean[@]}"; do
        read -r engine args <<<"$key"
        # shellcheck disable=SC2086
        if "$build/assay" crash --engine "$engine" $args --seconds $((seconds < 10 ? seconds : 10)) --dir "$work/dir" \
            >"$work/log" 2>&1; then
            printf '%-34s %s: held\n' "$engine" "$args"
        else
            printf '%-34s %s: ACCUSED\n' "$engine" "$args"
            cat "$work/log"
            failed=1
        fi
    done
fi
exit $failed
