#!/usr/bin/env bash
# Runs the demo that ./run demo has built; without --trace it makes a trace first.
#   BUILD     where examples were built
#   MOONCAKE  the mooncake program
set -euo pipefail
program=$BUILD/examples/cpp/prefill_decode/prefill_decode

for argument in "$@"; do
  case $argument in
    --trace | --trace=* | -h | --help) exec "$program" "$@" ;;
  esac
done

trace=$BUILD/examples/cpp/prefill_decode/trace.jsonl
"$MOONCAKE" trace generate --out "$trace"
# The first ten minutes of it: enough to see blocks come back, and over soon. What the user asks for comes last and wins.
exec "$program" --trace "$trace" --requests 2000 "$@"
