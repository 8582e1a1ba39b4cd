# What every test of the demo needs: where things are, a folder of its own, and words for what went wrong.
set -euo pipefail

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
SOURCE=$ROOT/examples/cpp/prefill_decode
PROGRAM=$BUILD/examples/cpp/prefill_decode/prefill_decode
SERVING=$BUILD/examples/cpp/serving/serving

# started: processes to be gone when the test is.
started=()
WORK=$(mktemp -d)
cleanup() {
  local pid
  for pid in "${started[@]}"; do kill -9 "$pid" 2>/dev/null || true; done
  rm -rf "$WORK"
}
trap cleanup EXIT

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

skip() {
  echo "skipped: $*"
  exit 77
}

build_program() { build_in "$SOURCE" "$PROGRAM"; }
build_serving() { build_in "$ROOT/examples/cpp/serving" "$SERVING"; }

# build_in FOLDER PROGRAM: the program of that folder, unless it is there.
build_in() {
  [[ ! -x $2 ]] || return 0
  mkdir -p "$(dirname "$2")"
  cmake -S "$1" -B "$(dirname "$2")" -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH="$PREFIX" >"$WORK/cmake.log" 2>&1 &&
    cmake --build "$(dirname "$2")" >>"$WORK/cmake.log" 2>&1 || {
    cat "$WORK/cmake.log" >&2
    fail "the demo does not build"
  }
}

# expect STATUS PATTERN COMMAND...: the command ends with that status and writes something that matches.
expect() {
  local wanted=$1 pattern=$2 status=0
  shift 2
  timeout 120 "$@" >"$WORK/output" 2>&1 || status=$?
  [[ $status == "$wanted" ]] || { cat "$WORK/output" >&2; fail "status $status instead of $wanted: $*"; }
  grep -Eq -- "$pattern" "$WORK/output" || { cat "$WORK/output" >&2; fail "no /$pattern/ from: $*"; }
}

# cell ROW COLUMN FILE: a figure of the demo's table.
cell() {
  awk -v name="$1" -v column="$2" '
    index($0, name "  ") == 1 { sub(name, ""); gsub(/ %/, "%"); print $column; found = 1 }
    END { exit !found }' "$3" || fail "the table has no row \"$1\""
}

# same WHAT FOUND WANTED
same() { [[ $2 == "$3" ]] || fail "$1 is $2 instead of $3"; }

# References to blocks in a trace, and how many different ones.
blocks_of() { sed -E 's/.*\[(.*)\].*/\1/; s/, */\n/g' "$1" | wc -l; }
unique_blocks_of() { sed -E 's/.*\[(.*)\].*/\1/; s/, */\n/g' "$1" | sort -u | wc -l; }

# eventually SECONDS COMMAND...: the command succeeds before long.
eventually() {
  local end=$((SECONDS + $1))
  shift
  until "$@"; do
    ((SECONDS < end)) || return 1
    sleep 0.05
  done
}
