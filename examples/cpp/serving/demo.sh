#!/usr/bin/env bash
# Runs the second act of the demo that ./run demo has built; without --trace it makes a trace first.
#   BUILD     where examples were built
#   MOONCAKE  the mooncake program
set -euo pipefail
program=$BUILD/examples/cpp/serving/serving

for argument in "$@"; do
  case $argument in
    --trace | --trace=* | -h | --help) exec "$program" --mooncake "$MOONCAKE" "$@" ;;
  esac
done

# As many requests as two prefill processes can do, for eleven minutes.
trace=$BUILD/examples/cpp/serving/trace.jsonl
"$MOONCAKE" trace generate --rate-scale 0.2 --requests 400 --seed 1 --out "$trace"
exec "$program" --mooncake "$MOONCAKE" --trace "$trace" "$@"
