#!/usr/bin/env bash
# Throws bytes at every decoder: FUZZ_RUNS=N (1) times the executions below, TARGETS="..." to choose.
# New inputs that reach new code go to a scratch folder; copy those worth keeping into corpus/TARGET.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/mooncake/fuzz
host=$(rustc -vV | sed -n 's/^host: //p')

# Executions in one run: together more than 200,000. A session is a connection each.
declare -A runs=([frame]=60000 [control]=60000 [blob]=60000 [options]=60000 [config]=20000
  [session]=5000 [mooncake]=60000 [rpc]=60000 [store_wire]=60000 [store_master]=20000 [kv_events]=60000
  [conductor_snapshot]=20000)

# The coverage that libFuzzer is guided by, and AddressSanitizer; --target keeps build scripts out of it.
export RUSTC_BOOTSTRAP=1 CARGO_TARGET_DIR=$cache
export RUSTFLAGS="-Zsanitizer=address -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares --cfg fuzzing"
cargo build --release --locked --quiet --manifest-path "$here/Cargo.toml" --target "$host"

total=0
failed=0
for target in ${TARGETS:-frame control blob options config session mooncake rpc store_wire store_master kv_events conductor_snapshot}; do
  scratch=$cache/scratch/$target
  log=$cache/$target.log
  rm -rf "$scratch"
  mkdir -p "$scratch"
  status=0
  # A known seed: the same executions on every machine, unless more are asked for.
  (cd "$scratch" && ASAN_OPTIONS=detect_leaks=0 "$cache/$host/release/$target" -seed=1 -max_len=8192 -timeout=60 \
    -runs=$((${runs[$target]} * ${FUZZ_RUNS:-1})) -print_final_stats=1 -artifact_prefix="$scratch/crash-" \
    "$scratch" "$here/corpus/$target") >"$log" 2>&1 || status=$?
  executed=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log" | tail -1)
  edges=$(sed -n 's/.*(\([0-9]*\) inline 8-bit counters).*/\1/p' "$log" | head -1)
  covered=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$log" | tail -1)
  total=$((total + ${executed:-0}))
  echo "$target: ${executed:-0} executions, coverage ${covered:-0} of ${edges:-?} edges of the whole program"
  if [[ $status -ne 0 ]]; then
    failed=1
    tail -n 40 "$log"
    echo "$target failed: the input is in $scratch, all of the log in $log" >&2
  fi
done
echo "all targets: $total executions"
exit $failed
