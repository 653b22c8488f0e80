#!/usr/bin/env bash
# t_install.sh -- an installed program finds its plug-ins, libraries, presets and figures.  TAP.
set -u
cd "$(dirname "$0")/.." || exit 1
build=${BUILD:-build}
work=$(mktemp -d "${TMPDIR:-/tmp}/assay-install.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
unset ASSAY_PLUGINS ASSAY_PLOT ASSAY_RECORDER
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

# Copied from a build that stands: nothing is compiled here.
verdict make_install_installs make -s BUILD="$build" DESTDIR="$work/root" PREFIX=/usr install
assay=$work/root/usr/bin/assay
mv "$work/root" "$work/moved" && assay=$work/moved/usr/bin/assay # and wherever it is put
cd "$work" || exit 1
verdict the_installed_program_runs "$assay" --help
verdict it_finds_its_plugins "$assay" engines skeleton
verdict it_finds_its_presets "$assay" workloads ycsb-a
verdict the_manual_page_is_there test -s "$work/moved/usr/share/man/man1/assay.1"
if "$assay" --help | grep -q '^  bench '; then
    mkdir stores
    verdict it_measures "$assay" bench --engine memory --workload ycsb-a --records 1000 --ops 2000 --dir stores --out r.json
    if command -v gnuplot >/dev/null; then
        verdict it_draws "$assay" report r.json --out page
        verdict the_page_is_there test -s page/index.html
    fi
fi
power() { "$assay" crash --engine skeleton --mode power --profile drop-unsynced --durability commit --states 3 --dir crashes; }
if power 2>&1 | grep -q 'not there yet'; then
    number=$((number + 1))
    echo "ok $number - it_finds_its_recorder # SKIP mode power is not there yet"
else
    verdict it_finds_its_recorder power
fi
verdict make_uninstall_takes_it_away sh -c "make -s -C '$OLDPWD' BUILD='$build' DESTDIR='$work/moved' PREFIX=/usr uninstall && ! find '$work/moved' -type f | grep ."
echo "1..$number"
exit $failed
