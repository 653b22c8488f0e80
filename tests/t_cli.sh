#!/usr/bin/env bash
# t_cli.sh -- what a person meets at the command: bad input is one line on stderr that names the thing, exit 2 when the
# command or a file of settings is wrong, 1 when data or a device failed, and nothing is left half-written.  TAP.
set -u
cd "$(dirname "$0")/.." || exit 1
assay=${ASSAY:-$PWD/build/assay}
work=$(mktemp -d "${TMPDIR:-/tmp}/assay-cli.XXXXXX") || exit 1
# shellcheck disable=SC2317
cleanup() {
    local at
    for at in "$work"/*.mount; do
        [ -d "$at" ] && umount "$at" 2>/dev/null
    done
    rm -rf "$work"
}
trap cleanup EXIT

number=0 failed=0
ok() { number=$((number + 1)); echo "ok $number - $1"; }
not_ok() { number=$((number + 1)); failed=1; echo "not ok $number - $1"; shift; printf '# %s\n' "$@"; }
skip() { number=$((number + 1)); echo "ok $number - $1 # SKIP $2"; }

# refused NAME CODE WORD COMMAND...: exit CODE, one line on stderr with WORD in it, nothing on stdout.
refused() {
    local name=$1 code=$2 word=$3 got lines
    shift 3
    timeout 60 "$assay" "$@" >"$work/out" 2>"$work/err" </dev/null
    got=$?
    lines=$(wc -l <"$work/err")
    if [ $got != "$code" ]; then
        not_ok "$name" "exit $got, not $code: assay $*" "$(head -c 400 "$work/err")"
    elif [ "$lines" != 1 ]; then
        not_ok "$name" "$lines lines on stderr: assay $*" "$(head -n 5 "$work/err")"
    elif ! grep -qF -- "$word" "$work/err"; then
        not_ok "$name" "the line does not say \"$word\": $(cat "$work/err")"
    elif [ -s "$work/out" ]; then
        not_ok "$name" "something on stdout: assay $*"
    else
        ok "$name"
    fi
}

# works NAME EXPECTED COMMAND...: exit 0, and stdout is EXPECTED.
works() {
    local name=$1 expected=$2 got code
    shift 2
    got=$(timeout 60 "$assay" "$@" 2>"$work/err" </dev/null)
    code=$?
    if [ $code = 0 ] && [ "$got" = "$expected" ]; then
        ok "$name"
    else
        not_ok "$name" "exit $code, stdout \"$got\": assay $*" "$(head -n 3 "$work/err")"
    fi
}

absent() { if [ -e "$2" ]; then not_ok "$1" "$2 is there"; else ok "$1"; fi; }

# The engine of these tests: the template is always there.
e=skeleton
store=$work/store

refused an_unknown_command_suggests_one 2 '"engines"' engine
refused an_unknown_option_suggests_one 2 --json engines --jsn
refused an_unknown_engine_is_named 2 nosuch engines nosuch
refused an_engine_nearly_right_is_suggested 2 '"memory"' engines memry
refused a_missing_plugin_is_named 2 ./nosuch.so engines ./nosuch.so
refused a_plugin_that_is_no_library_is_refused 2 Makefile engines ./Makefile

mkdir "$work/plugins" && echo 'libnone-dev none-server' >"$work/plugins/none.missing"
if [ "$(ASSAY_PLUGINS=$work/plugins "$assay" engines | grep ^none)" = 'none        not built: libnone-dev none-server is missing; make peers' ]; then
    ok a_plugin_that_is_not_built_has_one_short_line
else
    not_ok a_plugin_that_is_not_built_has_one_short_line "$(ASSAY_PLUGINS=$work/plugins "$assay" engines)"
fi
ASSAY_PLUGINS=$work/plugins refused a_plugin_that_is_not_built_names_its_package 2 'libnone-dev none-server is missing' engines none
width=$("$assay" engines | wc -L)
if [ "$width" -le 100 ]; then ok the_list_of_engines_fits_100_columns; else not_ok the_list_of_engines_fits_100_columns "$width"; fi

works a_value_comes_back '' put --engine $e --dir "$store" 'k\x00ey' 'va\tlue'
works a_value_is_printed_raw "$(printf 'va\tlue')" get --engine $e --dir "$store" 'k\x00ey'
works hexadecimal_goes_both_ways 76610a get --engine $e --dir "$store" --hex "$(
    "$assay" put --engine $e --dir "$store" --hex 6162 76610a >/dev/null; echo 6162)"
works a_scan_escapes_what_is_not_text "$(printf 'k\\x00ey\tva\\x09lue')" scan --engine $e --dir "$store" --prefix k
lines=$("$assay" scan --engine $e --dir "$store" --limit 1 | wc -l)
if [ "$lines" = 1 ]; then ok a_limit_holds; else not_ok a_limit_holds "$lines lines"; fi
works a_delete_deletes '' del --engine $e --dir "$store" --hex 6162
refused an_absent_key_is_an_answer_with_exit_1 1 ab get --engine $e --dir "$store" ab
works deleting_an_absent_key_is_fine '' del --engine $e --dir "$store" ab
if printf 'a\0b' | "$assay" put --engine $e --dir "$store" piped && [ "$("$assay" get --engine $e --dir "$store" --hex 7069706564)" = 610062 ]; then
    ok a_value_can_come_from_standard_input
else
    not_ok a_value_can_come_from_standard_input
fi
if "$assay" stats --engine $e --dir "$store" | grep -qE "^live_keys	2$"; then ok stats_are_names_and_values; else
    not_ok stats_are_names_and_values "$("$assay" stats --engine $e --dir "$store")"; fi

works a_store_to_lose '' put --engine $e --dir "$work/lost" key value
rm "$work/lost/skeleton.log"
refused a_lost_log_is_no_empty_store 1 'skeleton.log is lost' scan --engine $e --dir "$work/lost"
: >"$work/lost/skeleton.log"
refused an_emptied_log_is_no_empty_store 1 'skeleton.log is empty' scan --engine $e --dir "$work/lost"
printf 'assay' >"$work/lost/skeleton.log"
refused a_log_without_its_head_is_damage 1 'damage at offset 0' scan --engine $e --dir "$work/lost"

for command in get scan stats; do
    key=$([ $command = get ] && echo key)
    # shellcheck disable=SC2086
    refused "${command}_makes_no_store" 2 "$work/nowhere" $command --engine $e --dir "$work/nowhere" $key
    absent "${command}_leaves_nothing_behind" "$work/nowhere"
done
mkdir "$work/hollow"
refused an_empty_directory_is_no_store 2 "$work/hollow" get --engine $e --dir "$work/hollow" key
if [ -z "$(ls -A "$work/hollow")" ]; then ok and_it_stays_empty; else not_ok and_it_stays_empty "$(ls -A "$work/hollow")"; fi

refused no_engine_given 2 --engine get --dir "$store" key
refused no_directory_given 2 --dir get --engine $e key
refused no_key_given 2 KEY get --engine $e --dir "$store"
refused an_engine_that_keeps_nothing 2 memory get --engine memory --dir "$store" key
refused a_bad_escape 2 '\q' get --engine $e --dir "$store" '\q'
refused odd_hexadecimal_digits 2 abc get --engine $e --dir "$store" --hex abc
refused an_empty_key 2 'at least 1 byte' get --engine $e --dir "$store" ''
refused an_unknown_engine_option 2 '"buckets"' get --engine $e --dir "$store" --set $e.bucket=1 key
refused an_option_out_of_range 2 buckets get --engine $e --dir "$store" --set $e.buckets=0 key
refused an_option_with_an_unknown_unit 2 '"parsecs"' get --engine $e --dir "$store" --set $e.buckets=3parsecs key
refused a_setting_that_is_none 2 ENGINE.OPTION=VALUE get --engine $e --dir "$store" --set buckets=1 key
refused a_setting_of_another_engine 2 other.buckets=1 get --engine $e --dir "$store" --set other.buckets=1 key
refused an_unknown_tier 2 comit put --engine $e --dir "$store" --durability comit key value
refused a_tier_without_its_time 2 interval:10ms put --engine $e --dir "$store" --durability interval key value
refused a_tier_that_the_engine_refuses 2 none put --engine $e --dir "$store" --durability none key value
refused a_count_with_an_unknown_unit 2 '"x"' scan --engine $e --dir "$store" --limit 3x
refused an_option_without_its_value 2 --limit scan --engine $e --dir "$store" --limit

works a_store_for_a_checkpoint '' put --engine lsm --dir "$work/tree" key value
works a_checkpoint_is_made '' checkpoint --engine lsm --dir "$work/tree" --to "$work/copy"
works a_checkpoint_is_a_store "$(printf 'value')" get --engine lsm --dir "$work/copy" key
refused a_checkpoint_into_what_is_there 2 "$work/copy" checkpoint --engine lsm --dir "$work/tree" --to "$work/copy"
refused a_checkpoint_into_a_file 2 Makefile checkpoint --engine lsm --dir "$work/tree" --to Makefile
refused a_checkpoint_without_a_place 2 --to checkpoint --engine lsm --dir "$work/tree"
refused a_checkpoint_of_no_store 2 "$work/nowhere" checkpoint --engine lsm --dir "$work/nowhere" --to "$work/copy2"
refused a_checkpoint_of_an_engine_without 2 checkpoints checkpoint --engine $e --dir "$store" --to "$work/copy2"
refused a_checkpoint_beside_nothing 2 "make that first" checkpoint --engine lsm --dir "$work/tree" --to "$work/no/where"
absent a_refused_checkpoint_leaves_nothing "$work/copy2"
mkdir "$work/elsewhere" && ln -s "$work/tree" "$work/elsewhere/link"
before=$(cd "$work/tree" && ls -l --time-style=full-iso)
refused a_checkpoint_into_its_own_store 2 "within the store" checkpoint --engine lsm --dir "$work/tree" --to "$work/tree/copy"
refused by_whatever_path 2 "within the store" checkpoint --engine lsm --dir "$work/tree/" --to "$work/elsewhere/link/../tree/copy/"
if [ "$(cd "$work/tree" && ls -l --time-style=full-iso)" = "$before" ]; then ok and_nothing_was_touched; else not_ok and_nothing_was_touched; fi
mkdir "$work/monday.checkpointing" && echo hello >"$work/monday.checkpointing/letter.txt"
refused a_directory_where_a_checkpoint_is_built 2 "$work/monday.checkpointing" checkpoint --engine lsm --dir "$work/tree" --to "$work/monday"
if [ "$(cat "$work/monday.checkpointing/letter.txt")" = hello ]; then ok and_what_it_holds_stays; else not_ok and_what_it_holds_stays; fi
mv "$work/monday.checkpointing/letter.txt" "$work/monday.checkpointing/store"
refused a_file_of_that_name_is_no_leftover 2 "$work/monday.checkpointing" checkpoint --engine lsm --dir "$work/tree" --to "$work/monday"
if [ "$(cat "$work/monday.checkpointing/store")" = hello ]; then ok and_it_stays; else not_ok and_it_stays; fi
rm "$work/monday.checkpointing/store" && mkdir -p "$work/monday.checkpointing/store/deep"
works a_leftover_is_no_obstacle '' checkpoint --engine lsm --dir "$work/tree" --to "$work/monday"
absent and_it_is_gone "$work/monday.checkpointing"
mkdir "$work/elsewhere/empty" && ln -s empty "$work/elsewhere/to-empty" && ln -s nowhere "$work/elsewhere/dangling"
before=$(cd "$work/tree" && ls -l --time-style=full-iso)
for link in to-empty to-empty/ dangling dangling/; do
    refused "a_checkpoint_into_a_link: $link" 2 "symbolic link" checkpoint --engine lsm --dir "$work/tree" --to "$work/elsewhere/$link"
done
if [ "$(cd "$work/tree" && ls -l --time-style=full-iso)" = "$before" ]; then ok and_nothing_was_done; else not_ok and_nothing_was_done; fi
works a_name_that_begins_alike_is_another '' checkpoint --engine lsm --dir "$work/tree" --to "$work/tree.copy"

mkdir "$work/letters" && echo hello >"$work/letters/letter.txt"
refused a_directory_with_other_things_in_it 2 "$work/letters" put --engine $e --dir "$work/letters" key value
if [ "$(ls -A "$work/letters")" = letter.txt ]; then ok and_it_is_left_alone; else not_ok and_it_is_left_alone; fi
refused a_file_is_no_store 2 letter.txt get --engine $e --dir "$work/letters/letter.txt" key
refused a_key_that_is_too_long 2 65535 put --engine $e --dir "$store" "$(printf 'k%.0s' $(seq 65536))" value
refused dumping_what_nobody_knows 2 letter.txt dump "$work/letters/letter.txt"
refused dumping_what_is_not_there 2 nosuch dump "$work/nosuch"
refused dumping_a_directory 2 "$work/letters" dump "$work/letters"

# A file of a store is known by its magic, under any name; or by its name, when its magic is damaged or cut off.
overwrite() { printf 'XXXXXXXXXXXXXXXX' | dd of="$1" bs=1 seek="$2" conv=notrunc status=none; }
damaged_dump() { refused "$1" 1 "$2 at $3: " dump "$work/damaged/$2"; }
mkdir "$work/damaged"
head -c 6000 /dev/zero | tr '\0' v >"$work/value"
for key in a b c; do
    "$assay" put --engine lsm --dir "$work/flushed" --set lsm.memtable_bytes=4096 --set lsm.compression=none $key <"$work/value"
    "$assay" put --engine bitcask --dir "$work/hinted" --set bitcask.segment_bytes=4096 $key <"$work/value"
done
for kind in flushed/table flushed/wal hinted/log hinted/hint; do
    file=$(find "$work/${kind%/*}" -name "*.${kind#*/}" -size +0 | sort | head -n 1)
    [ -n "$file" ] || not_ok "there_is_a_${kind#*/}" "$(ls "$work/${kind%/*}")"
    cp "$file" "$work/damaged/00000001.${kind#*/}"
done
cp "$work/flushed/MANIFEST" "$work/damaged/MANIFEST"
cp "$work/damaged/00000001.table" "$work/damaged/something"
if "$assay" dump "$work/damaged/something" | grep -q '^lsm table'; then ok a_table_is_known_under_any_name; else not_ok a_table_is_known_under_any_name; fi
bytes=$(stat -c %s "$work/damaged/00000001.table")
overwrite "$work/damaged/00000001.table" $((bytes - 16))
damaged_dump a_table_with_another_sum 00000001.table $((bytes - 88))
overwrite "$work/damaged/00000001.table" $((bytes - 88))
damaged_dump a_table_with_another_magic 00000001.table $((bytes - 88))
truncate -s $((bytes - 40)) "$work/damaged/00000001.table"
damaged_dump a_table_that_is_cut 00000001.table $((bytes - 128))
: >"$work/damaged/00000001.table"
damaged_dump a_table_that_is_empty 00000001.table 0
overwrite "$work/damaged/MANIFEST" 0
damaged_dump a_manifest_with_another_magic MANIFEST 0
for file in wal log hint; do
    overwrite "$work/damaged/00000001.$file" 0
done
if "$assay" dump "$work/damaged/00000001.wal" >/dev/null; then ok the_second_header_of_a_log_does; else not_ok the_second_header_of_a_log_does; fi
overwrite "$work/damaged/00000001.wal" 4096
damaged_dump a_log_of_the_tree_with_another_magic 00000001.wal 0
damaged_dump a_segment_with_another_magic 00000001.log 0
damaged_dump a_hint_with_another_magic 00000001.hint 0
for key in a b c d; do
    "$assay" put --engine bitcask --dir "$work/few" $key value
done
file=$work/few/00000001.log
mapfile -t offsets < <("$assay" dump "$file" | awk '/ put / { print $1 }')
overwrite "$file" "${offsets[1]}"
overwrite "$file" "${offsets[3]}"
"$assay" dump "$file" >"$work/out" 2>"$work/err"
code=$?
if [ $code = 1 ] && grep -qF "00000001.log at ${offsets[1]}: " "$work/err" && [ "$(grep -c DAMAGE "$work/out")" = 2 ]; then
    ok a_damaged_log_has_the_offset_of_its_first_damage
else
    not_ok a_damaged_log_has_the_offset_of_its_first_damage "exit $code, not at ${offsets[1]}" "$(cat "$work/err" "$work/out")"
fi
works an_identity_is_text "$(cat "$work/flushed/STORE")" dump "$work/flushed/STORE"
sed s/lsm/lsn/ "$work/flushed/STORE" >"$work/damaged/STORE"
damaged_dump an_identity_with_another_sum STORE 0
sed s/assay/essay/ "$work/flushed/STORE" >"$work/damaged/STORE"
damaged_dump an_identity_with_another_magic STORE 0
for bytes in 40 15 5 0; do
    head -c $bytes "$work/flushed/STORE" >"$work/damaged/STORE"
    damaged_dump "an_identity_that_is_cut_to_$bytes" STORE 0
done

# A signal ends what looks into a store or writes to it at once, whatever it waits for.
mkfifo "$work/never"
for signal in TERM HUP; do
    "$assay" put --engine lsm --dir "$work/tree" key <"$work/never" 2>"$work/err" &
    pid=$!
    exec 3>"$work/never"
    for ((i = 0; i < 500; i++)); do
        [[ $(cat /proc/$pid/wchan /proc/$pid/cmdline 2>/dev/null | tr '\0' ' ') == *read*put* ]] && break
        sleep 0.01
    done
    kill -$signal $pid
    wait $pid 2>/dev/null
    code=$?
    exec 3>&-
    if [ $code = $((128 + $(kill -l $signal))) ]; then ok "SIG${signal}_ends_a_put"; else not_ok "SIG${signal}_ends_a_put" "exit $code: $(cat "$work/err")"; fi
done

# A store whose identity is gone is a damaged store; files of others are none.
mkdir "$work/others"
touch "$work/others/LOCK" "$work/others/CURRENT" "$work/others/000003.log"
for engine in lsm bitcask; do
    "$assay" put --engine $engine --dir "$work/lost-$engine" key value
    rm "$work/lost-$engine/STORE"
    before=$(ls "$work/lost-$engine")
    refused "a_store_of_${engine}_without_its_identity" 1 "lost-$engine/STORE at 0: " get --engine $engine --dir "$work/lost-$engine" key
    refused "and_${engine}_makes_none_of_it" 1 "lost-$engine/STORE at 0: " put --engine $engine --dir "$work/lost-$engine" key value
    if [ "$(ls "$work/lost-$engine")" = "$before" ]; then ok it_stays_as_it_is; else not_ok it_stays_as_it_is "$(ls "$work/lost-$engine")"; fi
    refused "a_database_of_others_is_no_store_of_$engine" 2 "$work/others" get --engine $engine --dir "$work/others" key
done

# Every engine that keeps data, against the store of every other.
engines=$("$assay" engines | awk 'NR > 1 && $NF != "-" && $2 != "not" { print $1 }')
for a in $engines; do
    "$assay" put --engine "$a" --dir "$work/of-$a" key value || not_ok "$a makes a store"
done
for a in $engines; do
    for b in $engines; do
        [ "$a" = "$b" ] || refused "a_store_of_${b}_is_refused_by_$a" 2 "$work/of-$b" get --engine "$a" --dir "$work/of-$b" key
    done
    works "and_${a}_still_reads_its_own" value get --engine "$a" --dir "$work/of-$a" key
done

# Workload files: where and what.
w=$work/w.json
printf '{"records": 10,\n "ops": 5,,}' >"$w"
refused a_syntax_error_has_its_line_and_column 2 "$w:2:11" workloads "$w"
printf '{"records": 10, "recordz": 10}' >"$w"
refused an_unknown_field_is_named 2 '"recordz"' workloads "$w"
printf '{"records": "ten"}' >"$w"
refused a_field_of_the_wrong_type_is_named 2 '"records"' workloads "$w"
printf '{"records": 10, "records": 20}' >"$w"
refused a_field_that_is_there_twice_is_named 2 records workloads "$w"
refused an_empty_workload_file 2 /dev/null workloads --json /dev/null
refused an_unknown_workload 2 '"nosuch"' workloads nosuch
refused shares_that_do_not_sum_to_1 2 0.5 workloads ycsb-a --mix read=50%
refused a_distribution_nearly_right 2 '"zipfian"' workloads ycsb-a --distribution zipfain
if "$assay" workloads ycsb-a --arrival paced --rate-per-s 1.5k --json | grep -q '"rate_per_s": 1500'; then
    ok a_rate_takes_units
else
    not_ok a_rate_takes_units "$("$assay" workloads ycsb-a --arrival paced --rate-per-s 1.5k 2>&1 | head -n 3)"
fi
refused a_paced_arrival_without_its_rate 2 rate_per_s workloads ycsb-a --arrival paced
refused keys_too_short_for_their_number 2 key_bytes workloads ycsb-a --key-bytes 3

mkdir "$work/stores"
bench() { # NAME CODE WORD OPTION...
    local name=$1 code=$2 word=$3
    shift 3
    refused "$name" "$code" "$word" bench --engine memory --workload ycsb-a --records 1k --ops 1k --dir "$work/stores" "$@"
}
refused bench_wants_engines 2 --engine bench --workload ycsb-a
refused bench_wants_a_workload 2 --workload bench --engine memory
bench bench_knows_no_such_engine 2 '"memory"' --engine memori
bench bench_knows_no_such_tier 2 '"commit"' --durability comit
bench bench_knows_no_such_unit 2 '"x"' --records 10x
bench bench_knows_no_such_option_of_an_engine 2 '"nosuch"' --set memory.nosuch=1
bench bench_sets_nothing_of_an_engine_that_is_not_there 2 '"other"' --set other.buckets=1
bench bench_takes_a_minimum_below_its_maximum 2 wait_min_ns --arrival bursty --wait-min-ns 5ms --wait-max-ns 1ms
bench bench_runs_at_least_one_round 2 --rounds --rounds 0
refused bench_wants_a_directory_that_is_there 2 "$work/nosuch" bench --engine memory --workload ycsb-a --dir "$work/nosuch"
bench bench_finds_out_early_that_a_result_cannot_be_written 2 "$work/nosuch/r.json" --out "$work/nosuch/r.json"
bench bench_puts_no_result_over_a_directory 2 "$work/stores" --out "$work/stores"
bench an_option_may_not_be_empty 2 "--out FILE" --out ''
bench nor_may_an_item_of_a_list 2 "empty item" --engine ''
bench a_name_in_tables_has_plain_letters 2 letters --engine "$(printf 'a\nb')=memory"
bench a_name_stands_for_one_engine 2 '"a=null"' --engine a=memory,a=null
bench no_time_is_no_timeout 2 --timeout --timeout 0
bench no_memory_is_no_budget 2 --memory --memory 0
bench reads_come_at_least_one_at_a_time 2 batch_gets --batch 0
bench a_line_end_in_a_word_breaks_no_line 2 'a?b' --workload "$(printf 'a\nb')"
if [ -z "$(ls -A "$work/stores")" ]; then ok and_none_of_them_left_a_store; else
    not_ok and_none_of_them_left_a_store "$(ls -A "$work/stores")"; fi

crash() {
    local name=$1 code=$2 word=$3
    shift 3
    refused "$name" "$code" "$word" crash --dir "$work/crashes" "$@"
}
crash crash_wants_an_engine 2 --engine
crash crash_knows_no_such_mode 2 '"kill"' --engine $e --mode kil
crash crash_wants_an_engine_that_keeps_data 2 memory --engine memory --mode kill
crash crash_wants_a_tier_of_that_engine 2 none --engine $e --mode kill --durability none
crash a_profile_belongs_to_power 2 --profile --engine $e --mode kill --profile ext4
crash crash_knows_no_such_profile 2 '"nosuch"' --engine $e --mode power --profile nosuch
crash crash_knows_no_such_option_of_an_engine 2 '"buckets"' --engine $e --mode kill --set $e.bukets=1
crash crash_takes_threads_in_their_range 2 --threads --engine $e --mode kill --threads 0
for option in states seconds threads keys value-bytes timeout; do
    crash "crash_takes_no_0_for_$option" 2 "--$option" --engine $e --mode kill --$option 0
done
refused crash_makes_one_directory_not_two 2 "$work/no/such" crash --engine $e --mode kill --states 1 --dir "$work/no/such"
refused crash_wants_a_directory 2 letter.txt crash --engine $e --mode kill --states 1 --dir "$work/letters/letter.txt"
crash a_replay_wants_what_was_kept 2 nosuch --replay "$work/nosuch"
absent and_none_of_them_left_a_directory "$work/crashes"

# What stands behind a run is in proportion to it: neither the hash of the stream nor the idle run makes values by the thousand.
if timeout -s KILL 60 "$assay" bench --engine null --workload ycsb-a --records 2 --ops 4 --value-bytes 16M --no-calibrate --no-meters \
    --dir "$work/stores" --out /dev/null 2>"$work/err"; then ok large_values_take_no_ages; else
    not_ok large_values_take_no_ages "$(head -n 3 "$work/err")"; fi

if "$assay" bench --engine null --workload ycsb-a --records 1k --ops 1k --dir "$work/stores" --out "$work/r.json" 2>"$work/err"; then
    ok bench_writes_a_result
else
    not_ok bench_writes_a_result "$(head -n 3 "$work/err")"
fi
head -c 3000 "$work/r.json" >"$work/cut.json"
echo '{"some": "thing"}' >"$work/other.json"
refused a_result_that_is_cut_off_is_named 1 "$work/cut.json" report "$work/cut.json" --out "$work/page"
refused a_file_that_is_no_result_is_named 1 "$work/other.json" report "$work/other.json" --out "$work/page"
refused a_result_that_is_not_there_is_named 1 "$work/nosuch.json" report "$work/nosuch.json" --out "$work/page"
refused one_bad_result_of_two_is_enough 1 "$work/cut.json" report "$work/r.json" "$work/cut.json" --out "$work/page"
refused a_report_has_a_parent 2 "$work/no/such" report "$work/r.json" --out "$work/no/such"
refused a_report_wants_a_place 2 --out report "$work/r.json"
absent and_nothing_half_written_is_left "$work/page"
refused calibrate_wants_a_directory_that_is_there 2 "$work/nosuch" calibrate --dir "$work/nosuch"

refused a_store_is_made_where_its_parent_is 2 "make that first" put --engine "$e" --dir "$work/no/store" key value
refused calibrate_wants_some_time 2 --seconds calibrate --dir "$work/stores" --seconds 0

# Output that is lost is no success, and a stream that is closed is no place for a store's file.
for command in --help engines "engines --json" "bench --help" "workloads ycsb-a" "scan --engine $e --dir $store"; do
    for gone in '>/dev/full' '>&-'; do
        # shellcheck disable=SC2086
        eval '"$assay" $command '"$gone"' 2>"$work/err"'
        code=$?
        if [ $code = 1 ] && grep -q 'standard output' "$work/err"; then ok "output_lost: $command $gone"; else
            not_ok "output_lost: $command $gone" "exit $code" "$(head -n 3 "$work/err")"; fi
    done
done

if [ "$(id -u)" = 0 ] && mkdir "$work/full.mount" && mount -t tmpfs -o size=256k assay "$work/full.mount" 2>/dev/null; then
    for a in $engines; do
        head -c 2000000 /dev/urandom >"$work/big"
        "$assay" put --engine "$a" --dir "$work/full.mount/$a" key <"$work/big" 2>"$work/err" >"$work/out"
        code=$?
        if [ $code = 1 ] && [ "$(wc -l <"$work/err")" = 1 ] && grep -qi 'no space\|is full' "$work/err"; then
            ok "a_full_disk_is_one_line: $a"
        else
            not_ok "a_full_disk_is_one_line: $a" "exit $code" "$(head -n 3 "$work/err")"
        fi
        rm -rf "$work/full.mount/$a"
    done
else
    skip a_full_disk_is_one_line "needs root, to mount a small disk"
fi
if [ "$(id -u)" = 0 ] && mkdir "$work/fixed.mount" && mount -t tmpfs -o size=512m assay "$work/fixed.mount" 2>/dev/null &&
    cp -r "$work"/of-* "$work/letters/letter.txt" "$work/fixed.mount/" && mount -o remount,ro "$work/fixed.mount"; then
    for a in $engines; do
        refused "a_read_only_directory_is_one_line: $a" 1 "Read-only" put --engine "$a" --dir "$work/fixed.mount/of-$a" key value
        refused "nor_is_a_store_made_there: $a" 1 "Read-only" put --engine "$a" --dir "$work/fixed.mount/new-$a" key value
    done
    for file in "$work"/fixed.mount/of-{bitcask/*.log,lsm/*.wal,lsm/MANIFEST,lsm/STORE}; do
        if "$assay" dump "$file" >"$work/out" 2>"$work/err" && [ -s "$work/out" ]; then ok "a_dump_only_reads: ${file##*/}"; else
            not_ok "a_dump_only_reads: ${file##*/}" "$(cat "$work/err")"; fi
    done
    refused a_dump_of_nothing_only_reads 2 letter.txt dump "$work/fixed.mount/letter.txt"
else
    skip a_read_only_directory_is_one_line "needs root, to mount a small disk"
    skip a_dump_only_reads "needs root, to mount a small disk"
fi

echo "1..$number"
exit $failed
