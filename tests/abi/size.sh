#!/usr/bin/env bash
# The stripped library stays below 8 MB.
set -euo pipefail
stripped=$(mktemp)
trap 'rm -f "$stripped"' EXIT
strip -o "$stripped" "$PREFIX/lib/libmooncake.so"
size=$(stat -c %s "$stripped")
echo "$size bytes"
[[ $size -gt 0 && $size -le 8000000 ]]
