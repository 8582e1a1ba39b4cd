#!/usr/bin/env bash
# What a user can get wrong is said in words, with a status that is not 0.
. "$(dirname "${BASH_SOURCE[0]}")/setup.bash"
build_program
trace=$WORK/trace.jsonl
"$MOONCAKE" trace generate --requests 5 --out "$trace"

expect 0 "usage: prefill_decode" "$PROGRAM" --help
expect 2 "trace is missing.*mooncake trace generate" "$PROGRAM"
expect 2 "no option --cash" "$PROGRAM" --cash 1GiB
expect 2 "needs a value" "$PROGRAM" --trace
expect 2 "\"12X\": a size such as" "$PROGRAM" --trace "$trace" --cache 12X
expect 2 "a size such as" "$PROGRAM" --trace "$trace" --cache 99999999TiB
expect 2 "same-host or tcp" "$PROGRAM" --trace "$trace" --path pigeon
expect 2 "a number above 0" "$PROGRAM" --trace "$trace" --paced 0
expect 2 "a number from 1 to 1048576" "$PROGRAM" --trace "$trace" --bytes-per-token=0
expect 2 "means nothing here" "$PROGRAM" decode --trace "$trace"
expect 2 "--decode is missing" "$PROGRAM" prefill --trace "$trace"

expect 1 "cannot open the trace /nowhere/trace" "$PROGRAM" prefill --decode 127.0.0.1:1 --trace /nowhere/trace
{ cat "$trace"; echo '{"timestamp": 1, "input_length": 2}'; } >"$WORK/bad.jsonl"
expect 1 "bad.jsonl:6: output_length is missing" "$PROGRAM" prefill --decode 127.0.0.1:1 --trace "$WORK/bad.jsonl"
# The process that fails tells why, and the one that started it tells which.
expect 1 "bad.jsonl:6: " "$PROGRAM" --trace "$WORK/bad.jsonl" --path tcp --wait 2
expect 1 "prefill failed, with the reason above" "$PROGRAM" --trace "$WORK/bad.jsonl" --path tcp --wait 2
expect 1 "the cache holds 1: give --cache [0-9]+MiB or more" "$PROGRAM" --trace "$trace" --path tcp --cache 128KiB --wait 2
expect 1 "cannot reach decode at 127.0.0.1:1: " "$PROGRAM" prefill --trace "$trace" --decode 127.0.0.1:1 --cache 64MiB --wait 1
expect 1 "no prefill came to 127.0.0.1:[0-9]+ in 1 s" "$PROGRAM" decode --wait 1

# Decode's cache is too small for what prefill has: both say so.
"$PROGRAM" decode --announce "$WORK/address" --cache 128KiB 2>"$WORK/decode.log" &
started+=($!)
eventually 20 test -s "$WORK/address" || fail "decode did not start"
expect 1 "gave up: its cache of 128 KiB holds 1 blocks" "$PROGRAM" prefill --trace "$trace" --decode "$(cat "$WORK/address")"
status=0
wait "${started[0]}" || status=$?
same "decode's status" $status 1
grep -q "give decode a larger --cache" "$WORK/decode.log" || fail "decode does not say why it gave up"
echo "every mistake is named"
