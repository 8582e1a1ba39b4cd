#!/usr/bin/env bash
# A process that is killed in the middle of a run is named by the other one, which ends with an error.
. "$(dirname "${BASH_SOURCE[0]}")/setup.bash"
build_program
"$MOONCAKE" trace generate --requests 400 --seed 8 --out "$WORK/trace.jsonl"

# run_pair PATH: starts both, slowly enough to be caught, and returns when blocks flow.
run_pair() {
  rm -f "$WORK/address"
  "$PROGRAM" decode --path "$1" --cache 128MiB --announce "$WORK/address" >/dev/null 2>"$WORK/decode.log" &
  decode=$!
  started+=("$decode")
  eventually 30 test -s "$WORK/address" || fail "decode did not start"
  "$PROGRAM" prefill --path "$1" --cache 128MiB --decode "$(cat "$WORK/address")" --trace "$WORK/trace.jsonl" --paced 1 \
    2>"$WORK/prefill.log" &
  prefill=$!
  started+=("$prefill")
  eventually 60 grep -q "request .* of 400" "$WORK/decode.log" || { cat "$WORK"/*.log >&2; fail "no block was pulled"; }
}

# survivor NAME PID PATTERN: ends before long, with status 1, and says who is lost.
survivor() {
  local status=0
  eventually 60 not_running "$2" || fail "$1 still waits for a process that is gone"
  wait "$2" || status=$?
  same "$1's status" $status 1
  grep -Eq "$3" "$WORK/$1.log" || { cat "$WORK/$1.log" >&2; fail "$1 does not say /$3/"; }
}
# A process that ended may stay in the list until somebody asks for its status.
not_running() { [[ ! -e /proc/$1 ]] || grep -q "^State:.*Z" "/proc/$1/status" 2>/dev/null; }

for path in same-host tcp; do
  run_pair $path
  kill -9 "$prefill"
  survivor decode "$decode" "^decode: lost prefill at 127\.0\.0\.1:[0-9]+ while "
  tail -n 1 "$WORK/decode.log"

  run_pair $path
  kill -9 "$decode"
  survivor prefill "$prefill" "^prefill: lost decode at 127\.0\.0\.1:[0-9]+ while "
  tail -n 1 "$WORK/prefill.log"
done

# A process that is stopped is lost as well; when it goes on, it learns that nobody waited.
run_pair tcp
kill -STOP "$prefill"
survivor decode "$decode" "^decode: lost prefill at "
kill -CONT "$prefill"
survivor prefill "$prefill" "^prefill: (lost )?decode at "
tail -n 1 "$WORK/prefill.log"

# Started as one program, it says which of the two it was.
"$PROGRAM" --trace "$WORK/trace.jsonl" --paced 1 --path tcp --cache 128MiB >"$WORK/both" 2>"$WORK/both.log" &
both=$!
started+=("$both")
eventually 60 grep -q "request .* of 400" "$WORK/both.log" || fail "no block was pulled"
for child in $(cat "/proc/$both/task/$both/children"); do
  tr '\0' ' ' <"/proc/$child/cmdline" | grep -q "^prefill_decode prefill " && victim=$child
done
[[ -n ${victim:-} ]] || fail "the prefill process is not to be found"
kill -9 "$victim"
eventually 60 not_running "$both" || fail "the demo still waits for a process that is gone"
status=0
wait "$both" || status=$?
same "the demo's status" $status 1
grep -q "prefill was killed by signal 9" "$WORK/both.log" || { cat "$WORK/both.log" >&2; fail "the demo does not say who was killed"; }
tail -n 1 "$WORK/both.log"

# Killed itself, it takes both with it.
rm "$WORK/both.log"
"$PROGRAM" --trace "$WORK/trace.jsonl" --paced 1 --path tcp --cache 128MiB >/dev/null 2>"$WORK/both.log" &
both=$!
started+=("$both")
eventually 60 grep -q "request .* of 400" "$WORK/both.log" || fail "no block was pulled"
read -ra children < <(cat "/proc/$both/task/$both/children"; echo)
same "the number of processes" ${#children[@]} 2
started+=("${children[@]}")
kill -9 "$both"
for child in "${children[@]}"; do
  eventually 30 not_running "$child" || fail "process $child outlives the demo"
done
