# Counts what passed, failed and was skipped, and keeps the output of each test.
# shellcheck shell=bash

passed=0 failed=0 skipped=0

pass() { # NAME [COUNT]
  passed=$((passed + ${2:-1}))
  echo "ok: $1"
}

fail() { # NAME WHY LOG
  failed=$((failed + 1))
  echo "FAILED: $1: $2"
  if [[ -s ${3:-} ]]; then
    tail -n 30 "$3" | sed 's/^/  | /'
    echo "  all of it: $3"
  fi
}

# Something that this machine cannot do: a missing device, a kernel without the facility, a file that is not shipped.
skip() { # NAME WHY
  skipped=$((skipped + 1))
  echo "skipped: $1: $2"
}

# Something that could run here if a tool were installed. Where nobody is there to read, that is a failure.
skip_without() { # NAME TOOL
  skip "$1" "$2 is not installed"
  [[ ${CI:-} != true ]] || fail "$1" "in CI nothing that could run here is skipped" ""
}

log_of() { echo "$LOGS/$(printf %s "$1" | tr -c 'A-Za-z0-9._-' _).log"; }

# check NAME SECONDS COMMAND...: one test. 0 passed, 77 skipped (the last line says why), else failed.
check() {
  local name=$1 limit=$2 log status=0
  shift 2
  log=$(log_of "$name")
  timeout --kill-after=10 "$limit" "$@" >"$log" 2>&1 </dev/null || status=$?
  case $status in
    0) pass "$name" ;;
    77) skip "$name" "$(tail -n 1 "$log" | sed 's/^skipped: //')" ;;
    124 | 137) fail "$name" "still running after $limit s" "$log" ;;
    *) fail "$name" "exit status $status" "$log" ;;
  esac
}

summary() {
  echo
  echo "$passed passed, $failed failed, $skipped skipped"
  [[ $failed -eq 0 ]]
}
