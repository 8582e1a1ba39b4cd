#!/usr/bin/env bash
# A second prefill that comes to a busy decode does not disturb the first one, and is told that decode went.
. "$(dirname "${BASH_SOURCE[0]}")/setup.bash"
build_program
"$MOONCAKE" trace generate --requests 60 --seed 9 --out "$WORK/trace.jsonl"

"$PROGRAM" decode --cache 128MiB --announce "$WORK/address" --report "$WORK/report" 2>"$WORK/decode.log" &
decode=$!
started+=("$decode")
eventually 30 test -s "$WORK/address" || fail "decode did not start"
start_prefill() { "$PROGRAM" prefill --cache 128MiB --decode "$(cat "$WORK/address")" --trace "$WORK/trace.jsonl" "$@"; }

start_prefill --paced 5 2>"$WORK/first.log" &
first=$!
started+=("$first")
eventually 60 grep -q "request .* of 60" "$WORK/decode.log" || fail "no block was pulled"
start_prefill 2>"$WORK/second.log" &
second=$!
started+=("$second")

wait "$first" || { cat "$WORK/first.log" >&2; fail "the first prefill was disturbed"; }
wait "$decode" || { cat "$WORK/decode.log" >&2; fail "decode was disturbed"; }
grep -q '"requests": 60,' "$WORK/report" || fail "decode's report: $(cat "$WORK/report")"
status=0
wait "$second" || status=$?
same "the second prefill's status" $status 1
grep -q "lost decode .*welcome" "$WORK/second.log" || { cat "$WORK/second.log" >&2; fail "the second prefill does not say what it waited for"; }
tail -n 1 "$WORK/second.log"
