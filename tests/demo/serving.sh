#!/usr/bin/env bash
# The second act over a small trace: blocks go through the store, and the conductor finds more of them than chance does.
. "$(dirname "${BASH_SOURCE[0]}")/setup.bash"
build_serving

trace=$WORK/trace.jsonl
"$MOONCAKE" trace generate --requests 150 --rate-scale 0.2 --seed 5 --out "$trace"
blocks=$(blocks_of "$trace")
unique=$(unique_blocks_of "$trace")
block=$((16 * 512))
status=0
timeout 120 "$SERVING" --trace "$trace" --mooncake "$MOONCAKE" --faster 120 --json "$WORK/json" >"$WORK/table" 2>"$WORK/log" || status=$?
cat "$WORK/table" "$WORK/log"
same status $status 0

# figure POLICY FIELD
figure() { sed -nE "/\"policy\": \"$1\"/s/.*\"$2\": ([0-9.e-]+).*/\1/p" "$WORK/json"; }
for policy in random global; do
  same "requests of $policy" "$(figure $policy requests)" 150
  same "blocks of $policy" \
    $(($(figure $policy local_blocks) + $(figure $policy fetched_blocks) + $(figure $policy computed_blocks))) "$blocks"
  same "bytes put by $policy" "$(figure $policy put_bytes)" $((unique * block))
  same "bytes fetched by decode of $policy" "$(figure $policy decode_fetched_bytes)" $((blocks * block))
  same "bytes fetched by prefill of $policy" \
    "$(figure $policy prefill_fetched_bytes)" $(($(figure $policy fetched_blocks) * block))
  grep -q "^$policy: 150 requests in .* every byte that was fetched is right$" "$WORK/table" || fail "$policy does not say that all was right"
done
same "blocks fetched by random" "$(figure random fetched_blocks)" 0
(($(figure global fetched_blocks) > 0)) || fail "KVCache-centric fetched nothing"
awk -v random="$(figure random hit_rate)" -v global="$(figure global hit_rate)" 'BEGIN { exit !(global > random) }' ||
  fail "KVCache-centric finds no more than random"
for row in "hit rate" "first token p50, ms" "first token p90, ms" "put by prefill, MiB"; do cell "$row" 2 "$WORK/table" >/dev/null; done

# Caches of one request: what was there before has gone, and the conductor knows it.
largest=$(awk -F'[][]' '{ n = split($2, ids, ","); if (n > most) most = n } END { print most }' "$trace")
timeout 120 "$SERVING" --trace "$trace" --mooncake "$MOONCAKE" --faster 300 --requests 60 --cache "$largest" --policy global \
  >"$WORK/table" 2>"$WORK/log" || { cat "$WORK/table" "$WORK/log" >&2; fail "small caches end it"; }
same "requests with small caches" "$(cell requests 1 "$WORK/table")" 60

expect 0 "usage: serving" "$SERVING" --help
expect 2 "trace is missing.*mooncake trace generate" "$SERVING"
expect 2 "no option --cash" "$SERVING" --cash 1
expect 2 "needs a value" "$SERVING" --trace
expect 2 "random, lb, local, global or maxhit" "$SERVING" --trace "$trace" --policy best
expect 2 "a number from 0.001" "$SERVING" --trace "$trace" --faster 0
expect 2 "a multiple of 8" "$SERVING" --trace "$trace" --bytes-per-token 9
expect 2 "the router starts this process" "$SERVING" prefill
expect 1 "cannot open the trace /nowhere" "$SERVING" --trace /nowhere
expect 1 "a request has [0-9]+ blocks, and --cache is 1" "$SERVING" --trace "$trace" --cache 1
expect 1 "cannot start /nowhere/mooncake: .*the master ended with status 1|the master ended with status 1" \
  "$SERVING" --trace "$trace" --mooncake /nowhere/mooncake
