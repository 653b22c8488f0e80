#!/usr/bin/env bash
# deps.sh -- what `make`, the tests and the figures need from the system (Debian names).  Nothing to do: silent and quick.
# Missing: as root it installs; else it prints the command, and fails when the purpose (deps.sh test) cannot do without.
# deps.sh peers installs the packages that $PEERS names too; one that is not to be had is left out.
set -u
purpose=${1:-build}
cc=${CC:-gcc}
needed='' wanted=''

need() { needed="$needed $1"; }
want() { wanted="$wanted $1"; }

check_all() {
    needed='' wanted=''
    if ! command -v "$cc" >/dev/null; then
        need "${cc%%-*}"
        need libc6-dev
    fi
    if ! { has jansson.h && has xxhash.h && has lz4.h; }; then
        has jansson.h || need libjansson-dev
        has xxhash.h || need libxxhash-dev
        has lz4.h || need liblz4-dev
        has stdio.h || need libc6-dev
    fi
    has cmocka.h || if [ "$purpose" = test ]; then need libcmocka-dev; else want libcmocka-dev; fi
    has liburing.h || want liburing-dev
    for runtime in asan ubsan tsan; do
        case $cc in
            *gcc*) [ -e "$("$cc" -print-file-name=lib$runtime.so 2>/dev/null)" ] || want "gcc" ;;
        esac
    done
    command -v gnuplot >/dev/null || want gnuplot-nox
    command -v patch >/dev/null || want patch
    command -v python3 >/dev/null || want python3
    python3 -c 'import jsonschema' 2>/dev/null || want python3-jsonschema
    for package in ${PEERS:-}; do
        dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || want "$package"
    done
}

has() {
    printf '#include <stddef.h>\n#include <stdarg.h>\n#include <setjmp.h>\n#include <stdint.h>\n#include <%s>\n' "$1" |
        "$cc" -E -x c - >/dev/null 2>&1
}

check_all
missing=$(printf '%s\n' $needed $wanted | sort -u | paste -sd' ')
[ -n "$missing" ] || exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "  DEPS  $missing"
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq >/dev/null || true
    # shellcheck disable=SC2086
    apt-get install -y -qq --no-install-recommends $missing >/dev/null ||
        for package in $missing; do # one that is not to be had must not keep the others away
            apt-get install -y -qq --no-install-recommends "$package" >/dev/null || true
        done
    check_all
    missing=$(printf '%s\n' $needed $wanted | sort -u | paste -sd' ')
    [ -n "$missing" ] || exit 0
fi
echo "missing on this system; install with: apt-get install $missing" >&2
[ -z "$needed" ] || exit 1
echo "(going on without: what needs them is left out, and says so)" >&2
