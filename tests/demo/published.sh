#!/usr/bin/env bash
# The whole published conversation trace runs, over both paths, and has the figures that it is known for.
. "$(dirname "${BASH_SOURCE[0]}")/setup.bash"
trace=${MOONCAKE_TRACES:-$ROOT/../shared/traces}/conversation_trace.jsonl
[[ -r $trace ]] || skip "no $trace; README.md says where it is published, MOONCAKE_TRACES names its folder"
build_program

"$MOONCAKE" trace describe "$trace" >"$WORK/figures"
for figure in "requests +12031" "blocks +288500" "unique blocks +182790" "blocks reused as a prefix +36.64 %" \
  "hits of an LRU cache of 10000 blocks +21.12 %"; do
  grep -Eq "^$figure$" "$WORK/figures" || { cat "$WORK/figures" >&2; fail "not described: $figure"; }
done

status=0
# 8 KiB a block, and caches of 10,000 blocks, of which the share that a cache of that size finds is known.
timeout 500 "$PROGRAM" --trace "$trace" --bytes-per-token 16 --cache 81920000 >"$WORK/output" 2>"$WORK/log" || status=$?
[[ $status == 0 ]] || { cat "$WORK/output" "$WORK/log" >&2; fail "the run ended with status $status"; }
cat "$WORK/output"
for column in 1 2; do
  same requests "$(cell requests $column "$WORK/output")" 12031
  same blocks "$(cell blocks $column "$WORK/output")" 288500
  for side in prefill decode; do
    reuse=$(cell "reuse in $side" $column "$WORK/output")
    awk -v reuse="${reuse%\%}" 'BEGIN { exit !(reuse > 20.6 && reuse < 21.6) }' || fail "reuse in $side is $reuse, not about 21.1 %"
  done
done
