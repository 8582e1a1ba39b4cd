#!/usr/bin/env bash
# A process of the second act that is killed or stopped is named, and all others end with it.
. "$(dirname "${BASH_SOURCE[0]}")/setup.bash"
build_serving
"$MOONCAKE" trace generate --requests 300 --rate-scale 0.2 --seed 8 --out "$WORK/trace.jsonl"

# start OPTION...: the demo, and the processes that it has started.
start() {
  "$SERVING" --trace "$WORK/trace.jsonl" --mooncake "$MOONCAKE" --policy global --faster 20 "$@" >"$WORK/table" 2>"$WORK/log" &
  router=$!
  started+=("$router")
  eventually 60 has_children || { cat "$WORK/log" >&2; fail "the demo has not started"; }
  started+=("${children[@]}")
  # Requests are under way.
  sleep 2
}
has_children() {
  read -ra children < <(cat "/proc/$router/task/$router/children" 2>/dev/null; echo)
  [[ ${#children[@]} == 5 ]] || return 1
  local child
  for child in "${children[@]}"; do named "$child" >/dev/null || return 1; done
}
named() { tr '\0' ' ' <"/proc/$1/cmdline" | grep -E "^serving (prefill|decode) |^[^ ]*mooncake master "; }

# victim PATTERN: the first process whose command line has it.
victim() {
  local child
  for child in "${children[@]}"; do
    if named "$child" | grep -q -- "$1"; then echo "$child" && return; fi
  done
  fail "no process has $1"
}
not_running() { [[ ! -e /proc/$1 ]] || grep -q "^State:.*Z" "/proc/$1/status" 2>/dev/null; }

# ends PATTERN: the demo ends before long with status 1 and these words, and nothing of it is left.
ends() {
  local status=0 child
  eventually 60 not_running "$router" || fail "the demo still waits"
  wait "$router" || status=$?
  same "the demo's status" $status 1
  grep -Eq "$1" "$WORK/log" || { cat "$WORK/log" >&2; fail "the demo does not say /$1/"; }
  tail -n 1 "$WORK/log"
  for child in "${children[@]}"; do eventually 30 not_running "$child" || fail "process $child outlives the demo"; done
}

start
kill -9 "$(victim "--name=prefill-1")"
ends "^serving: prefill 1 was killed by signal 9"

start
kill -9 "$(victim "--name=decode-0")"
ends "^serving: decode 0 was killed by signal 9"

start
kill -9 "$(victim "mooncake master")"
ends "^serving: the master was killed by signal 9"

start --wait 3
kill -STOP "$(victim "--name=prefill-0")"
ends "^serving: prefill 0 does not answer: request [0-9]+, for 3 s"

start
kill -9 "$router"
wait "$router" || true
for child in "${children[@]}"; do eventually 30 not_running "$child" || fail "process $child outlives the demo"; done
echo "nothing outlives the one that started it"
