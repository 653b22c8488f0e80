#!/usr/bin/env bash
# run.sh -- runs the tests of one or more build folders and counts test functions.
#
#   tests/run.sh [-j N] [-k WORD] [-s] BUILD...
#
# The first folder is the plain build: it also gets the shell tests (layers.sh, t_*.sh).  Folders built with a sanitizer
# get the C tests (-s: so does the first).  Every program speaks TAP; one that ends otherwise than its TAP says (a signal, a sanitizer's report,
# a missing line) counts one failure more.  Exit 77 means that a privilege was missing: skipped, never passed.
# -k runs only the programs with WORD in their name.  The last line is the count, alone; exit 1 when anything failed.
set -u
cd "$(dirname "$0")/.." || exit 1

jobs=$(nproc) only='' first=1
while getopts j:k:s option; do
    case $option in
        j) jobs=$OPTARG ;;
        k) only=$OPTARG ;;
        s) first=0 ;;
        *) exit 2 ;;
    esac
done
shift $((OPTIND - 1))
[ $# -gt 0 ] || { echo "run.sh: which build folder? write tests/run.sh build" >&2; exit 2; }

work=$(mktemp -d "${TMPDIR:-/tmp}/assay-run.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

export CMOCKA_MESSAGE_OUTPUT=TAP
export ASAN_OPTIONS=detect_leaks=1:abort_on_error=0:detect_stack_use_after_return=1 UBSAN_OPTIONS=print_stacktrace=1
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1:atexit_sleep_ms=0:suppressions=$PWD/tests/tsan.supp
export LSAN_OPTIONS=report_objects=0:print_suppressions=0:suppressions=$PWD/tests/lsan.supp

# One program: BUILD PROGRAM LIMIT_S.  Leaves NAME.out and NAME.sum ("passed failed skipped seconds") in $work.
run_one() {
    local build=$1 program=$2 limit=${3:-900} name start end code counts
    local -a wrap=()
    name=${build##*/}-$(basename "$program")
    # ThreadSanitizer of gcc 12 cannot place its shadow under the address randomisation of recent kernels.
    case $build in *thread*) command -v setarch >/dev/null && wrap=(setarch "$(uname -m)" -R) ;; esac
    mkdir -p "$work/tmp-$name"
    start=$(date +%s%N)
    TMPDIR=$work/tmp-$name ASSAY_PLUGINS=$PWD/$build/plugins ASSAY=$PWD/$build/assay BUILD=$build \
        timeout -k 5 "$limit" "${wrap[@]}" "$program" >"$work/$name.out" 2>"$work/$name.err" </dev/null
    code=$?
    end=$(date +%s%N)
    rm -rf "$work/tmp-$name"
    counts=$(awk -v code=$code '
        /^1\.\.[0-9]+/               { split($1, plan, /\.\./); planned += plan[2] }
        /^(not )?ok .*# *[Ss][Kk][Ii][Pp]/ { skipped++; next }
        /^ok /                       { passed++; next }
        /^not ok /                   { failed++; next }
        END {
            seen = passed + failed + skipped
            if (code == 77 && !seen) skipped++
            else if (seen < planned || !seen || (code != 0 && !failed)) failed++
            print passed + 0, failed + 0, skipped + 0
        }' "$work/$name.out")
    echo "$counts $(((end - start) / 1000000)) $code" >"$work/$name.sum"
    report "$build" "$program" "$name"
}

report() {
    local passed failed skipped ms code
    read -r passed failed skipped ms code <"$work/$3.sum"
    {
        flock 9
        printf '%-6s %-28s %-24s %4d passed' "$([ "$failed" = 0 ] && echo ok || echo FAILED)" "$(basename "$2")" "$1" "$passed"
        [ "$failed" = 0 ] || printf ', %d failed' "$failed"
        [ "$skipped" = 0 ] || printf ', %d skipped' "$skipped"
        printf '  %d.%01d s\n' $((ms / 1000)) $((ms % 1000 / 100))
        if [ "$failed" != 0 ]; then
            [ "$code" -lt 124 ] || echo "       ended with $code ($([ "$code" = 124 ] && echo 'took too long' || echo 'a signal'))"
            grep -v '^ok ' "$work/$3.out" | head -n 60 | sed 's/^/       /'
            tail -n 40 "$work/$3.err" | sed 's/^/       /'
        fi
    } 9>"$work/lock"
}

# The slowest first, so that no core waits for one at the end: shell tests, then the builds from the last.
list=()
if [ $first = 1 ]; then
    for program in tests/layers.sh tests/t_*.sh; do
        [ -e "$program" ] && list+=("$1 $program")
    done
fi
for ((i = $#; i > 0; i--)); do
    for program in "${!i}"/tests/t_* "${!i}"/tests/fuzz_*; do
        case $program in *.d | *.o) continue ;; esac
        [ -x "$program" ] && list+=("${!i} $program")
    done
done

running=0
for entry in "${list[@]}"; do
    read -r build program <<<"$entry"
    case $program in *"$only"*) ;; *) continue ;; esac
    if [ $running -ge "$jobs" ]; then
        wait -n
        running=$((running - 1))
    fi
    run_one "$build" "$program" &
    running=$((running + 1))
done
wait

cat "$work"/*.sum 2>/dev/null | awk '
    { passed += $1; failed += $2; skipped += $3 }
    END {
        printf "%d passed, %d failed, %d skipped\n", passed, failed, skipped
        exit failed > 0 || passed == 0
    }'
