#!/usr/bin/env bash
# build.sh -- builds one planted bug as a plug-in.
#
#   crashtest/planted/build.sh NAME BUILD CC CFLAGS... -- LIBRARIES...
#
# Copies the engine's sources, applies crashtest/planted/NAME.patch to the copy, where any fuzz is an error, and links
# what comes out so that it can bind to nothing but itself: BUILD/planted/NAME.so.
set -eu
name=$1 build=$2 cc=$3
shift 3
cflags=()
while [ "$1" != -- ]; do
    cflags+=("$1")
    shift
done
shift

patch=crashtest/planted/$name.patch
engine=$(sed -n 's/^engine: *//p' "$patch")
for field in bug engine mode tier; do
    grep -q "^$field: *[a-z]" "$patch" || { echo "$patch: the header has no line \"$field: ...\"" >&2; exit 1; }
done

work=$build/planted/$name
rm -rf "$work"
mkdir -p "$work/engines"
if [ -e "engines/plugins/$engine.c" ]; then
    mkdir -p "$work/engines/plugins"
    cp "engines/plugins/$engine.c" "$work/engines/plugins/"
    identity=(-Dkv_plugin=planted_plugin)
    mutant=()
else
    cp -r "engines/$engine" "$work/engines/"
    identity=()
    mutant=(-DENGINE="${engine}_engine")
fi
patch --quiet --fuzz=0 --no-backup-if-mismatch -p1 -d "$work" <"$patch" >&2 || {
    echo "$patch does not apply to engines/$engine any more: write it anew" >&2
    exit 1
}
if find "$work" -name '*.rej' -o -name '*.orig' | grep -q .; then
    echo "$patch applies with an offset that patch(1) does not trust" >&2
    exit 1
fi

objects=()
while IFS= read -r source; do
    "$cc" -I"$work" "${cflags[@]}" "${identity[@]}" -fPIC -fvisibility=hidden -c -o "$source.o" "$source"
    objects+=("$source.o")
done < <(find "$work" -name '*.c' | sort)
"$cc" "${cflags[@]}" "${mutant[@]}" -DMUTANT_NAME="\"$engine+${name#"$engine"-}\"" -fPIC -fvisibility=hidden -c -o "$work/mutant.o" \
    crashtest/planted/mutant.c
"$cc" "${cflags[@]}" -fPIC -shared -Wl,-Bsymbolic -Wl,--exclude-libs,ALL -o "$build/planted/$name.so.new" "${objects[@]}" \
    "$work/mutant.o" "$@"
mv "$build/planted/$name.so.new" "$build/planted/$name.so"
