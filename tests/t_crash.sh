#!/usr/bin/env bash
# t_crash.sh -- assay crash as people use it: a good engine is held, a liar is not, and a kept failure is judged the same again.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
assay=${ASSAY:-$PWD/build/assay} build=${BUILD:-build}
case $build in /*) ;; *) build=$PWD/$build ;; esac
dir=$(mktemp -d) || exit 1
trap 'rm -rf "$dir"' EXIT
cd "$dir" || exit 1

number=0 failed=0
ok() { # NAME, then the exit code of what was looked at
    number=$((number + 1))
    if [ "$2" = 0 ]; then echo "ok $number - $1"; else echo "not ok $number - $1"; failed=1; sed 's/^/# /' log 2>/dev/null; fi
}
says() { grep -q -- "$1" log; }
crash() { "$assay" crash "$@" >log 2>&1; }
verdict_of() { python3 -c 'import json,sys; r=json.load(open(sys.argv[1])); print(r["failures"][0]["verdict"])' "$1"; }
liar=$build/planted/skeleton-ack-in-buffer.so
echo 1..24

crash --engine skeleton --durability process --states 40 --out held.json
ok a_good_engine_is_held $?

python3 - <<'P' >log 2>&1
import json
r = json.load(open("held.json"))
assert r["kind"] == "crash" and r["complete"] and r["lives"] == 40 and r["verdicts"]["held"] == 40 and not r["failures"]
assert r["kills"] >= 40 and r["acked_p10"] <= r["acked_median"] <= r["acked_p90"] and r["engine"]["tier"] == "process"
P
ok the_result_says_what_was_covered $?

[ ! -e assay-crash ] && [ -z "$(ls -A | grep -v -e '^log$' -e '^held.json$')" ]
ok nothing_is_left_behind_when_all_was_held $?

crash --engine "$liar" --durability process --states 60 --until-failure --out liar.json
[ $? = 1 ] && says 'replay    assay crash --replay assay-crash/failures/01'
ok a_liar_is_caught $?

first=$(verdict_of liar.json)
same=0
for i in 1 2 3; do
    crash --replay assay-crash/failures/01
    [ $? = 1 ] && says "^$first: .*(kept as $first)" || same=1
done
ok a_replay_gives_the_same_verdict_every_time $same

cp -r assay-crash/failures/01 bent && truncate -s -8 bent/history.bin
crash --replay bent; [ $? = 2 ] && says 'not a whole history'
ok a_damaged_kept_failure_is_refused $?

crash --replay nowhere; [ $? = 2 ] && says nowhere
ok a_missing_token_is_named $?

crash --engine nonesuch; a=$?
says nonesuch || a=0
crash --engine skeleton --durability never; b=$?
crash --engine skeleton --mode kil; c=$?
says 'did you mean "kill"' || c=0
crash --engine skeleton --set skeleton.nonesuch=1; d=$?
crash --engine null; e=$?
crash --engine skeleton --durability none; f=$?
[ "$a$b$c$d$e$f" = 222222 ]
ok what_is_wrong_is_refused_before_anything_is_touched $?

[ -z "$(ls -d assay-crash/assay-run-* 2>/dev/null)" ]
ok no_scratch_directory_is_left $?

rm -rf assay-crash
"$assay" crash --engine skeleton --seconds 60 --out cut.json >log 2>&1 &
pid=$!
sleep 1
kill -INT $pid
wait $pid
python3 -c 'import json; r = json.load(open("cut.json")); assert r["complete"] is False and r["lives"] > 0 and not r["failures"]' \
    2>>log && [ ! -e assay-crash ]
ok an_interrupt_leaves_a_valid_result_and_no_directory $?

# kill -9 leaves directories; the next run takes them away, but not those of a run that lives.
"$assay" crash --engine skeleton --seconds 60 --dir killed >log 2>&1 &
killed=$!
"$assay" crash --engine skeleton --seconds 60 --dir killed >alive.log 2>&1 &
alive=$!
sleep 1
kill -9 $killed
wait $killed 2>/dev/null
sleep 0.2
before=$(ls -d killed/assay-run-crash-* | wc -l)
crash --engine skeleton --states 3 --dir killed
code=$?
after=$(ls -d killed/assay-run-crash-* | wc -l)
[ "$code $before $after" = '0 2 1' ]
ok the_directory_of_a_dead_run_is_removed_by_the_next_and_no_other $?
kill -INT $alive
wait $alive
[ -z "$(ls -A killed)" ] && grep -q ': held' alive.log
ok the_run_that_lived_went_on $?
rm -rf killed

sleep 0.2
! pgrep -f "crash --engine skeleton --seconds 60 --out cut.json" >/dev/null
ok an_interrupt_leaves_no_process $?

crash --engine skeleton --states 30 --set skeleton.buckets=16 --durability commit --threads 2 --keys 8 --ops 40
ok options_threads_and_keys_are_taken $?
rm -rf assay-crash
crash --engine skeleton --mode power --durability commit --states 60 --out power.json
ok a_good_engine_is_held_when_the_power_goes $?

eager=$build/planted/skeleton-ack-before-sync.so
crash --engine "$eager" --mode power --durability commit --states 100 --until-failure --out eager.json
[ $? = 1 ] && [ -s assay-crash/failures/01/trace.txt ]
ok who_acknowledges_before_the_sync_is_caught_when_the_power_goes $?

first=$(verdict_of eager.json)
crash --replay assay-crash/failures/01
[ $? = 1 ] && says "^$first: .*(kept as $first)"
ok a_kept_power_loss_is_judged_the_same_again $?

crash --engine "$eager" --durability commit --states 20
ok a_kill_does_not_take_what_was_only_not_synced $?

served=$build/tests/plugins/served.so # an engine that is another process
crash --engine "$served" --durability process --states 40
ok an_engine_that_is_another_process_is_killed_with_it $?

crash --engine "$served" --mode power --durability commit --states 60
ok the_syncs_of_another_process_are_seen $?

crash --engine "$served" --mode power --durability commit --set served.lie=true --states 100 --until-failure
[ $? = 1 ] && ! pgrep -f "servant bitcask $dir" >/dev/null
ok another_process_that_acknowledges_before_its_sync_is_caught $?

# As in a container that allows no filters: seccomp(2) fails with EPERM.
cat >unfiltered.py <<'P'
import ctypes, os, struct, sys
rows = [(0x20, 0, 0, 0), (0x15, 0, 1, 317), (0x06, 0, 0, 0x00050001), (0x06, 0, 0, 0x7fff0000)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *row) for row in rows))
class Program(ctypes.Structure):
    _fields_ = [("count", ctypes.c_ushort), ("code", ctypes.c_void_p)]
libc = ctypes.CDLL(None, use_errno=True)
program = Program(len(rows), ctypes.addressof(code))
if libc.prctl(38, 1, 0, 0, 0) or libc.prctl(22, 2, ctypes.byref(program), 0, 0):
    sys.exit(77)
os.execv(sys.argv[1], sys.argv[1:])
P
python3 unfiltered.py "$assay" crash --engine skeleton --mode power --durability commit --states 8 --out unguarded.json >log 2>&1
code=$?
if [ $code = 77 ]; then
    number=$((number + 1))
    echo "ok $number - a_missing_guard_is_warned_of # SKIP no seccomp filter can be set here"
else
    [ $code = 0 ] && says 'warning: this system has no seccomp' &&
        python3 -c 'import json; assert "seccomp" in json.load(open("unguarded.json"))["warnings"][0]' 2>>log
    ok a_missing_guard_is_warned_of $?
fi

crash --engine skeleton --mode power --profile floppy; a=$?
says 'posix-minimal' || says 'did you mean' || a=0
crash --engine skeleton --profile ext4; b=$?
crash --engine skeleton --mode power --profile kill; c=$?
crash --engine skeleton --workload ycsb-c; d=$?
[ "$a$b$c$d" = 2222 ]
ok wrong_profiles_and_workloads_are_refused $?

if python3 -c 'import jsonschema' 2>/dev/null; then
    python3 "$root/results/check.py" held.json liar.json cut.json power.json eager.json >log 2>&1
    ok results_hold_to_the_schema $?
else
    number=$((number + 1))
    echo "ok $number - results_hold_to_the_schema # SKIP python3-jsonschema is not installed"
fi
exit $failed
