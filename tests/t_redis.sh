#!/usr/bin/env bash
# t_redis.sh -- the engine redis: its private server, a server by name, and a cluster of three whose slots move while it works.
#
# Starts and stops its servers itself, on loopback; none of them outlives it, also when it is interrupted or killed.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
build=${BUILD:-build}
case $build in /*) ;; *) build=$PWD/$build ;; esac
assay=${ASSAY:-$build/assay} contract=$build/tests/t_contract
case $assay in /*) ;; *) assay=$PWD/$assay ;; esac
if [ ! -e "$build/plugins/redis.so" ]; then
    echo "1..0 # skip hiredis is not installed (libhiredis-dev)"; exit 77
fi
if ! command -v redis-server >/dev/null || ! command -v redis-cli >/dev/null; then
    echo "1..0 # skip redis-server is not installed"; exit 77
fi
export ASSAY_PLUGINS=$build/plugins

dir=$(mktemp -d) || exit 1
pids=()
clean() {
    trap - EXIT
    [ ${#pids[@]} = 0 ] || kill -9 "${pids[@]}" 2>/dev/null
    wait 2>/dev/null
    rm -rf "$dir"
}
trap clean EXIT
trap 'exit 130' INT TERM HUP
cd "$dir" || exit 1

number=0 failed=0
ok() { # NAME, then the exit code of what was looked at
    number=$((number + 1))
    if [ "$2" = 0 ]; then echo "ok $number - $1"; else echo "not ok $number - $1"; failed=1; tail -n 40 log 2>/dev/null | sed 's/^/# /'; fi
}
says() { grep -q -- "$1" log; }

# A port that is free now, and so is the one that a cluster adds 10000 to.
free_port() {
    python3 - <<'P'
import socket
while True:
    a = socket.socket(); a.bind(("127.0.0.1", 0)); port = a.getsockname()[1]
    if port > 50000: continue
    b = socket.socket()
    try: b.bind(("127.0.0.1", port + 10000))
    except OSError: continue
    print(port); break
P
}

# PORT, then more words of its configuration.  setpriv: it dies with this shell, whatever ends it.
serve() {
    local port=$1 wrap=()
    shift
    mkdir -p "server-$port"
    setpriv --pdeathsig KILL true 2>/dev/null && wrap=(setpriv --pdeathsig KILL)
    "${wrap[@]}" redis-server --port "$port" --bind 127.0.0.1 --dir "$dir/server-$port" --save '' --daemonize no "$@" \
        >>"server-$port/log" 2>&1 &
    pids+=($!)
    last_pid=$!
    for _ in $(seq 200); do
        redis-cli -p "$port" ping 2>/dev/null | grep -q PONG && return 0
        sleep 0.02
    done
    return 1
}

# The words of a result: every cell ok, no operation failed, nothing wrong or missing.
sound() {
    python3 - "$1" <<'P' >>log 2>&1
import json, sys
r = json.load(open(sys.argv[1]))
assert r["complete"], "not complete"
for cell in r["cells"]:
    assert cell["status"] == "ok", cell["reason"]
    for phase in cell["phases"]:
        assert not phase["errors"], (phase["name"], phase["errors"])
        assert phase["name"] != "verify" or phase["checked"] > 0
        assert phase["name"] != "recovery" or phase["records_found"] > 0 < phase["keys_checked"]
P
}

cat >mix.json <<'J'
{"summary": "every kind", "records": "2k", "ops": "20k",
 "mix": {"read": 0.45, "update": 0.2, "insert": 0.05, "delete": 0.05, "rmw": 0.1, "miss": 0.15}}
J
bench() { "$assay" bench --engine redis --workload mix.json --no-calibrate --no-meters --dir "$dir" --out "$@" >log 2>&1; }
# The cases of the contract test whose names have the word, with the options of ASSAY_SET.
contract() {
    local word
    for word; do
        ASSAY_ONLY=$word CMOCKA_MESSAGE_OUTPUT=TAP "$contract" "$build/plugins/redis.so" >>log 2>&1 || return 1
        grep -q '^ok' log || return 1
    done
}
rest() { [ -x "$contract" ]; }
echo 1..25

# ---- The private server.

: >log
"$assay" put --engine redis --dir private --durability commit key value >log 2>&1
[ "$("$assay" get --engine redis --dir private key 2>>log)" = value ]
ok a_private_server_comes_and_goes $?

pgrep -f "$dir/private" >/dev/null || [ -n "$(find /proc/[0-9]*/cwd -maxdepth 0 -lname "$dir/private/*" 2>/dev/null)" ]
[ $? = 1 ]
ok it_leaves_no_process $?

"$assay" put --engine redis --dir other --set redis.binary=/nowhere/redis-server key value >log 2>&1
[ $? = 2 ] && says '/nowhere/redis-server' && [ ! -e other ]
ok a_server_that_is_not_there_is_named_and_nothing_made $?

"$assay" put --engine redis --dir other --set redis.binary=/bin/false key value >log 2>&1
[ $? = 1 ] && says 'redis.binary=/bin/false may be no redis-server' && rm -r other
ok a_program_that_is_no_server_is_named $?

"$assay" put --engine redis --dir other --set redis.database=1 key value >log 2>&1
[ $? = 2 ] && says 'redis.database=1 is of a named server' && [ ! -e other ]
ok a_database_of_no_server_is_refused_and_nothing_made $?

# From the AOF to a dump, and back: all of it, each time.
status=0
for tier in none process none commit; do
    "$assay" put --engine redis --dir private --durability $tier "$tier" "$tier" >>log 2>&1 || status=1
done
"$assay" scan --engine redis --dir private 2>>log | sort >found
printf 'commit\tcommit\nkey\tvalue\nnone\tnone\nprocess\tprocess\n' | cmp -s - found || status=1
[ ! -e private/data/dump.rdb ] && [ -e private/data/appendonly.aof.manifest ] || status=1
ok a_store_changes_between_dump_and_log $status

# What was lost is named, and no empty store comes in its place.
lost() { # STORE, then the file, and what the sentence names
    rm -rf lost && cp -r "$1" lost && rm -r "lost/$2" || return 1
    for _ in 1 2; do
        "$assay" get --engine redis --dir lost key >log 2>&1
        [ $? = 1 ] && says "lost/data/$3" && [ "$(wc -l <log)" = 1 ] || return 1
    done
    [ ! -e "lost/$2" ]
}
"$assay" put --engine redis --dir dumped --durability none key value >log 2>&1
base=$(basename "$(ls private/data/*.base.rdb)")
lost private data/appendonly.aof.manifest appendonly.aof.manifest && lost private data appendonly.aof.manifest &&
    lost private "data/$base" "$base"
ok a_lost_log_is_no_empty_store $?
lost dumped data/dump.rdb 'appendonly.aof.manifest.*dump.rdb'
ok a_lost_dump_is_no_empty_store $?
rm -rf lost && cp -r private lost && : >"lost/data/$base"
"$assay" get --engine redis --dir lost key >log 2>&1
[ $? = 1 ] && says "lost/data/$base is empty"
ok a_base_that_was_cut_to_nothing_is_told $?
rm -rf lost && cp -r private lost && rm -r lost/data lost/MADE
"$assay" put --engine redis --dir lost key value >log 2>&1 && [ -e lost/MADE ]
ok what_a_crash_left_half_made_is_made_again $?

# A log with something else at its end than a command that was cut: Redis refuses it, and we say why.
cp -r private damaged
log_file=$(ls damaged/data/*.incr.aof | tail -1)
printf 'rubbish\r\n' >>"$log_file"
"$assay" get --engine redis --dir damaged key >log 2>&1
[ $? = 1 ] && says 'redis-server (process [0-9]*) exited with 1; its log ends: .*format'
ok the_last_words_of_a_server_that_dies_are_told $?

# ---- A server by name.

port=$(free_port)
serve "$port" --appendonly yes --appendfsync no
server_pid=$last_pid
bench named.json --set "redis.server=127.0.0.1:$port" --threads 2 --batch 8 --set redis.found=flush && sound named.json
ok a_server_by_name_is_driven_without_an_error $?

bench refused.json --set "redis.server=127.0.0.1:$port" --durability commit
grep -q 'appendonly yes and appendfsync no, which does not keep durability commit' refused.json log
ok a_tier_that_the_server_does_not_keep_is_refused $?

"$assay" put --engine redis --dir new --set "redis.server=127.0.0.1:$port" --durability process key value >log 2>&1
[ $? = 2 ] && says 'holds [0-9]* keys, and this store is new'
ok keys_of_somebody_else_are_not_touched $?

"$assay" put --engine redis --dir kept --set "redis.server=127.0.0.1:$port" --set redis.found=flush --set redis.configure=true \
    --durability commit key value >log 2>&1 && [ "$(redis-cli -p "$port" config get appendfsync | tail -1)" = always ] &&
    [ "$(redis-cli -p "$port" get key)" = value ]
ok a_server_is_set_up_on_request $?

kill -9 "$server_pid"; wait "$server_pid" 2>/dev/null
"$assay" get --engine redis --dir kept --set "redis.server=127.0.0.1:$port" --set redis.timeout=200ms key >log 2>&1
[ $? = 1 ] && says "127.0.0.1:$port" && serve "$port" --appendonly yes --appendfsync always &&
    [ "$("$assay" get --engine redis --dir kept --set "redis.server=127.0.0.1:$port" key 2>>log)" = value ]
ok a_server_that_is_gone_is_named_and_found_again $?

"$assay" put --engine redis --dir kept --set redis.server=nonsense key value >log 2>&1
[ $? = 2 ] && says 'write HOST:PORT'
ok a_wrong_address_is_refused $?

"$assay" put --engine redis --dir other --set redis.server=no.such.host.invalid:6379 --set redis.timeout=1m key value >log 2>&1
[ $? = 2 ] && says 'no.such.host.invalid cannot be looked up' && [ ! -e other ]
ok a_host_that_nobody_knows_is_refused_and_nothing_made $?

if rest; then
    : >log
    export ASSAY_SET="redis.server=127.0.0.1:$port redis.found=flush"
    contract redis/commit:\ sessions redis/commit:\ concurrent a_scan_visits_each a_batch_is_done get_many_answers
    ok the_contract_holds_over_a_named_server $?
else
    number=$((number + 1)); echo "ok $number - the_contract_holds_over_a_named_server # SKIP $contract is not built"
fi

# Two load generators at once, their results as one.
: >log
generate() {
    "$assay" bench --engine redis --workload ycsb-b --records 2k --seconds 1 --seed "$1" --no-calibrate --no-meters --dir "$dir" \
        --set "redis.server=127.0.0.1:$port" --set "redis.database=$1" --durability commit --out "$2" >>log 2>&1
}
generate 1 one.json & pids+=($!); first=$!
generate 2 two.json & pids+=($!)
wait $first && wait $! && "$assay" merge --together one.json two.json --out both.json >>log 2>&1 &&
    "$assay" report both.json --out page >>log 2>&1 && [ -s page/index.html ] && python3 - <<'P' >>log 2>&1
import json
one, two, both = (json.load(open(name + ".json")) for name in ("one", "two", "both"))
def run(result, name="run"):
    return next(p for p in result["cells"][0]["phases"] if p["name"] == name)
assert run(both)["ops"] == run(one)["ops"] + run(two)["ops"]
assert abs(run(both)["ops_per_s_engine"] - run(one)["ops_per_s_engine"] - run(two)["ops_per_s_engine"]) < 1
of = [run(r, "latency")["latency_ns"]["all"] for r in (one, two, both)]
assert of[2]["count"] == of[0]["count"] + of[1]["count"] and of[2]["max"] == max(of[0]["max"], of[1]["max"])
assert min(of[0]["p99"], of[1]["p99"]) <= of[2]["p99"] <= max(of[0]["p99"], of[1]["p99"])
P
ok load_generators_are_added_exactly $?

# ---- A cluster.

ports=()
for _ in 1 2 3; do
    port=$(free_port)
    ports+=("$port")
    serve "$port" --cluster-enabled yes --cluster-node-timeout 5000 --appendonly yes --appendfsync no
done
nodes=("${ports[@]/#/127.0.0.1:}")
redis-cli --cluster create "${nodes[@]}" --cluster-yes >log 2>&1
for _ in $(seq 200); do
    joined=0
    for port in "${ports[@]}"; do redis-cli -p "$port" cluster info | grep -q 'cluster_state:ok' && joined=$((joined + 1)); done
    [ $joined = 3 ] && break
    sleep 0.05
done
cluster="redis.server=${nodes[1]},${nodes[2]}"

# Slots go from the first node to the second and back while it works; the map of the clients is old all the time.
move() {
    redis-cli --cluster reshard "${nodes[0]}" --cluster-from "$1" --cluster-to "$2" --cluster-slots 300 --cluster-yes \
        --cluster-pipeline 3 >>moves 2>&1
}
one=$(redis-cli -p "${ports[0]}" cluster myid) two=$(redis-cli -p "${ports[1]}" cluster myid)
bench cluster.json --set "$cluster" --set redis.found=flush --threads 2 --batch 8 --ops 60k &
bench_pid=$! moved=0
pids+=("$bench_pid")
while kill -0 $bench_pid 2>/dev/null && [ $moved -lt 12 ]; do
    move "$one" "$two" && move "$two" "$one" && moved=$((moved + 2))
done
wait $bench_pid && [ $moved -gt 0 ] && sound cluster.json
ok slots_that_move_are_followed_without_an_error $?
redis-cli -p "${ports[0]}" info errorstats >log
for port in "${ports[@]}"; do redis-cli -p "$port" info errorstats; done | tee log | grep -q 'MOVED'
ok and_they_did_move_under_it $?

if rest; then
    : >log
    export ASSAY_SET="$cluster redis.found=flush"
    contract redis/process:\ sessions redis/process:\ concurrent get_many_answers a_deleted_key keys_and_values many_keys
    ok the_contract_holds_over_a_cluster $?
else
    number=$((number + 1)); echo "ok $number - the_contract_holds_over_a_cluster # SKIP $contract is not built"
fi
unset ASSAY_SET

"$assay" bench --engine redis --workload mixed-batch --records 200 --ops 400 --set "$cluster" --set redis.found=flush --no-calibrate \
    --no-meters --dir "$dir" --out batch.json >log 2>&1
grep -q 'over the slots' batch.json log
ok a_batch_over_slots_is_refused $?

"$assay" put --engine redis --dir over --set "$cluster" --set redis.found=flush --durability none key value >log 2>&1
[ $? = 2 ] && says 'does not keep durability none'
ok a_prefix_over_nodes_is_not_promised $?
exit $failed
