#!/usr/bin/env bash
# Both processes over a small generated trace: every block pulled once, however small the caches and whatever the memory.
. "$(dirname "${BASH_SOURCE[0]}")/setup.bash"
build_program

trace=$WORK/trace.jsonl
"$MOONCAKE" trace generate --requests 60 --seed 5 --out "$trace"
requests=60
blocks=$(blocks_of "$trace")
unique=$(unique_blocks_of "$trace")
largest=$(awk -F'[][]' '{ n = split($2, ids, ","); if (n > most) most = n } END { print most }' "$trace")
block=$((64 * 512)) # --bytes-per-token 64

# both NAME OPTION...: runs the demo and keeps its table.
both() {
  local name=$1 status=0
  shift
  timeout 120 "$PROGRAM" --trace "$trace" --bytes-per-token 64 "$@" >"$WORK/$name" 2>"$WORK/$name.log" || status=$?
  [[ $status == 0 ]] || { cat "$WORK/$name" "$WORK/$name.log" >&2; fail "$name ended with status $status"; }
}

# Caches that hold everything: each block moves once, over the path that was asked for.
both roomy --cache 256MiB
for column in 1 2; do
  same requests "$(cell requests $column "$WORK/roomy")" "$requests"
  same blocks "$(cell blocks $column "$WORK/roomy")" "$blocks"
  same "GiB pulled" "$(cell "pulled and checked, GiB" $column "$WORK/roomy")" \
    "$(awk -v bytes=$((unique * block)) 'BEGIN { printf "%.3f", bytes / 2^30 }')"
done
same "first path" "$(cell "bytes went by" 1 "$WORK/roomy")" memfd
same "second path" "$(cell "bytes went by" 2 "$WORK/roomy")" tcp
[[ $(grep -c "every byte of them right" "$WORK/roomy") == 2 ]] || fail "the runs do not say that all was right"
echo "caches that hold everything: $unique of $blocks blocks pulled, by both paths"

# Caches that hold one request and no block more: both sides have to wait for each other all the time.
both tight --cache $((largest * block)) --window 64
same requests "$(cell requests 2 "$WORK/tight")" "$requests"
echo "caches of $largest blocks, the largest request: ends, with all $blocks blocks"

both single --path tcp --window 1 --requests 10
same requests "$(cell requests 1 "$WORK/single")" 10
echo "a window of one request: ends"

both ordinary --path tcp --memory malloc
same "path of ordinary memory" "$(cell "bytes went by" 1 "$WORK/ordinary")" tcp
echo "ordinary memory: ends"

both paced --path tcp --paced 10 --requests 30
awk -v found="$(cell seconds 1 "$WORK/paced")" -v wanted="$(sed -n 30p "$trace" | sed -E 's/.*"timestamp": ([0-9]+).*/\1/')" \
  'BEGIN { exit !(found >= wanted / 10000) }' || fail "a paced run was over before its last request was due"
echo "paced: no request before its time"
