#!/usr/bin/env bash
# crosscheck.sh -- what `make crosscheck` runs: engines under their own benchmark tool and under ours, on the same work, in turns.
#
#   harness/crosscheck.sh BUILD [CASE...]
#
# The work is what all tools can do: N puts into an empty store, then N gets; one thread.  Which keys, and whether the gets repeat
# them, is what each tool does, and ours is told to do the same; so are sizes, compressibility and the engine's settings.  The
# figure of a tool is its own (it times its whole loop); of ours both stand there, inside the stamps and all in.  The best of
# ROUNDS rounds counts on both sides, because other work on the machine only slows; BUILD/crosscheck.tsv keeps every round.  A difference beyond 15 % is marked, and results/README.md explains it.
# A tool or an engine that is not installed is named and left out.
set -u
build=$1
shift
assay=$build/assay
table=$build/crosscheck.tsv
rounds=${ROUNDS:-5}
puts=${PUTS:-1000000}        # of the engines inside the process
server_puts=${SERVER_PUTS:-100000}
cache=$((256 << 20))         # what kv_cache_bytes gives an engine when no budget is set
scratch=$(mktemp -d "${DIR:-/var/tmp}/assay-crosscheck.XXXXXX") || exit 1
server=

end() {
    [ -z "$server" ] || kill "$server" 2>/dev/null
    rm -rf "$scratch"
}
trap end EXIT
trap 'exit 130' INT TERM

# ---- The tools: each prints `put OPS_PER_S` and `get OPS_PER_S`.  $1: a directory of its own. ----

tkrzw() { # DBM OPTION...: keys of 8 digits, drawn with replacement from one seed, so that the gets repeat the keys of the puts
    tkrzw_dbm_perf sequence --dbm "$1" --iter "$puts" --size 100 --random_key "${@:2}" |
        sed -n 's/^Setting done:.*qps=\([0-9]*\).*/put \1/p; s/^Getting done:.*qps=\([0-9]*\).*/get \1/p'
}
tool_tkrzw_tiny() { tkrzw tiny --buckets 2000000; }
tool_tkrzw_hash() { tkrzw hash --append --buckets 2000000 --path "$1/hash.tkh"; }
tool_tkrzw_tree() { tkrzw tree --append --buckets 131101 --max_cached_pages $((cache / 8130 + 1)) --path "$1/tree.tkt"; }

kyoto() { # TOOL OPTION... PATH: keys of 8 digits in rising order, the value is the key
    "$1" order "${@:2}" "$puts" | awk -v puts="$puts" '
        /^setting records/ { part = "put" } /^getting records:/ { part = "get" } /^getting records with/ { part = "" }
        /^time:/ && part { printf "%s %.0f\n", part, puts / $2; part = "" }'
}
tool_kyoto_hash() { kyoto kchashtest -oat -tl -bnum 2000000 -msiz $((4 << 30)) "$1/hash.kch"; }
tool_kyoto_hash_bare() { kyoto kchashtest -tl -bnum 2000000 -msiz $((4 << 30)) "$1/hash.kch"; }
tool_kyoto_tree_bare() { kyoto kctreetest -tl -bnum 200000 -msiz $((4 << 30)) -psiz 8192 -pccap "$cache" "$1/tree.kct"; }

tool_rocksdb() { # keys drawn with replacement; the gets draw anew
    db_bench --benchmarks=fillrandom,waitforcompaction,readrandom --db="$1/db" --num="$puts" --reads="$puts" --threads=1 \
        --key_size=16 --value_size=100 --compression_ratio=0.5 --compression_type=lz4 --sync=0 --disable_wal=0 \
        --enable_pipelined_write=0 --write_buffer_size=$((64 << 20)) --max_write_buffer_number=2 --block_size=16384 \
        --bloom_bits=10 --cache_size="$cache" --cache_index_and_filter_blocks=1 --pin_l0_filter_and_index_blocks_in_cache=1 \
        --level_compaction_dynamic_level_bytes=1 --max_bytes_for_level_base=$((256 << 20)) \
        --target_file_size_base=$((64 << 20)) --level0_file_num_compaction_trigger=4 --open_files=-1 \
        --max_background_jobs="$(nproc | awk '{ print $1 < 2 ? 2 : $1 }')" --bytes_per_sync=$((1 << 20)) 2>/dev/null |
        tr '\r' '\n' | sed -n 's/^fillrandom *:.* \([0-9]*\) ops\/sec.*/put \1/p; s/^readrandom *:.* \([0-9]*\) ops\/sec.*/get \1/p'
}

tool_redis() { # keys of 16 bytes, drawn with replacement; the gets draw anew; one request at a time
    local socket=$1/redis.sock
    (cd "$1" && exec redis-server --port 0 --unixsocket redis.sock --dir . --save '' --appendonly yes --appendfsync no \
        --auto-aof-rewrite-percentage 0 --databases 2 --logfile redis.log) &
    server=$!
    for _ in $(seq 100); do [ -S "$socket" ] && redis-cli -s "$socket" ping >/dev/null 2>&1 && break; sleep 0.05; done
    redis-benchmark -s "$socket" -c 1 -P 1 -n "$server_puts" -r "$server_puts" -d 100 -t set,get --csv 2>/dev/null |
        sed -n 's/^"SET","\([0-9]*\).*/put \1/p; s/^"GET","\([0-9]*\).*/get \1/p'
    kill "$server"
    wait "$server" 2>/dev/null
    server=
}

# ---- Ours. ----

workload() { # OPS KEY_BYTES VALUE_BYTES KEYS REPEAT: KEYS is random (drawn with replacement) or rising
    local distribution=uniform order=random
    [ "$4" = random ] || { distribution=sequential order=ordered; }
    cat <<END
{"records": $1, "load": false, "ops": $1, "key_bytes": $2, "key_order": "$order", "value_sizes": "fixed", "value_bytes": $3,
 "compressibility": 0.5, "distribution": "$distribution",
 "phases": [{"name": "put", "mix": {"update": 1}}, {"name": "get", "mix": {"read": 1}, "repeat_keys": $5}]}
END
}

ours() { # DIR ENGINE TIER WORKLOAD OPTION...
    "$assay" bench --engine "$2" --durability "$3" --workload "$4" --no-meters --no-calibrate --dir "$1" --out "$1/out.json" "${@:5}" \
        >/dev/null 2>"$1/err" || { tail -1 "$1/err" >&2; return 1; }
    ! grep -q contaminated "$1/err" || echo "$2" >> "$scratch/contaminated"
    python3 - "$1/out.json" <<'END'
import json, sys
for phase in json.load(open(sys.argv[1]))["cells"][0]["phases"]:
    if phase["name"] == "run":
        print(phase["part"], round(phase["ops_per_s_engine"]), round(phase["ops_per_s_all_in"]))
END
}

# CASE  TOOL  ENGINE  TIER  OPS  KEY_BYTES  VALUE_BYTES  KEYS  REPEAT  OPTIONS
cases="
tkrzw_tiny       tkrzw_dbm_perf   tkrzw-tiny  process  $puts         8   100  random  true
tkrzw_hash       tkrzw_dbm_perf   tkrzw-hash  none     $puts         8   100  random  true
tkrzw_tree       tkrzw_dbm_perf   tkrzw-tree  none     $puts         8   100  random  true
kyoto_hash       kchashtest       kyoto-hash  process  $puts         8   8    rising  true
kyoto_hash_bare  kchashtest       kyoto-hash  process  $puts         8   8    rising  true   --set kyoto-hash.autotran=false
kyoto_tree_bare  kctreetest       kyoto-tree  process  $puts         8   8    rising  true   --set kyoto-tree.autotran=false
rocksdb          db_bench         rocksdb     process  $puts         16  100  random  false
redis            redis-benchmark  redis       process  $server_puts  16  100  random  false
"

printf 'case\top\tround\ttool_ops_per_s\tours_engine_ops_per_s\tours_all_in_ops_per_s\n' > "$table"
failed=
while read -r name tool engine tier ops key_bytes value_bytes keys repeat options; do
    [ -n "$name" ] || continue
    [ $# = 0 ] || case " $* " in *" $name "*) ;; *) continue ;; esac
    if ! command -v "$tool" >/dev/null; then
        echo "$name: left out, $tool is not installed" >&2
        continue
    fi
    if [ ! -e "$build/plugins/$engine.so" ]; then
        echo "$name: left out, the engine $engine is not built (make peers)" >&2
        continue
    fi
    workload "$ops" "$key_bytes" "$value_bytes" "$keys" "$repeat" > "$scratch/work.json"
    for round in $(seq "$rounds"); do
        echo "== $name, round $round of $rounds" >&2
        mkdir "$scratch/run" || exit 1
        theirs=$("tool_$name" "$scratch/run" </dev/null)
        rm -rf "$scratch/run" && mkdir "$scratch/run" || exit 1
        # shellcheck disable=SC2086
        mine=$(ours "$scratch/run" "$engine" "$tier" "$scratch/work.json" $options </dev/null)
        rm -rf "$scratch/run"
        for op in put get; do
            a=$(awk -v op=$op '$1 == op { print $2 }' <<< "$theirs") b=$(awk -v op=$op '$1 == op { print $2 "\t" $3 }' <<< "$mine")
            if [ -n "$a" ] && [ -n "$b" ]; then
                printf '%s\t%s\t%s\t%s\t%s\n' "$name" $op "$round" "$a" "$b" >> "$table"
            else
                echo "$name: no figure for $op of $([ -n "$a" ] && echo "$engine" || echo "$tool")" >&2
                failed=1
            fi
        done
    done
done <<< "$cases"

python3 - "$table" <<'END'
import csv, sys
rows = {}
for row in csv.DictReader(open(sys.argv[1]), delimiter="\t"):
    rows.setdefault((row["case"], row["op"]), []).append([float(row[k]) for k in list(row)[3:]])
print(f'{"case":16} {"op":4} {"tool":>10} {"ours":>10} {"all in":>10}  ours / tool   (thousand operations a second; * beyond 15 %)')
for (case, op), values in rows.items():
    tool, engine, all_in = (max(column) for column in zip(*values))
    ratio = engine / tool
    print(f'{case:16} {op:4} {tool / 1e3:10.1f} {engine / 1e3:10.1f} {all_in / 1e3:10.1f}  {ratio:8.2f} {"" if 0.85 <= ratio <= 1.15 else "*"}')
END
[ ! -e "$scratch/contaminated" ] || echo "(other processes used the machine during $(wc -l < "$scratch/contaminated") of our runs)"
[ -z "$failed" ]
