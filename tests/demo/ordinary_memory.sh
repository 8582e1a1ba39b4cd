#!/usr/bin/env bash
# Ordinary memory on one host goes by cross-memory attach, where the host allows it.
. "$(dirname "${BASH_SOURCE[0]}")/setup.bash"
build_program

scope=/proc/sys/kernel/yama/ptrace_scope
if [[ -r $scope && $(cat $scope) -ge 1 && $EUID -ne 0 ]]; then
  skip "$scope is $(cat $scope): processes of one user may not read each other's memory"
fi
"$MOONCAKE" trace generate --requests 40 --seed 6 --out "$WORK/trace.jsonl"
expect 0 "every byte of them right" \
  "$PROGRAM" --trace "$WORK/trace.jsonl" --bytes-per-token 64 --cache 64MiB --path same-host --memory malloc
same "the path taken" "$(cell "bytes went by" 1 "$WORK/output")" cma
