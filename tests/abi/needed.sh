#!/usr/bin/env bash
# The library runs on every machine: it needs the C library, libm and libgcc_s, and no vendor's.
set -euo pipefail
needed=$(readelf -d "$PREFIX/lib/libmooncake.so" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p')
echo "$needed"
[[ -n $needed ]]
if grep -vE '^(libc\.so\.6|libm\.so\.6|libgcc_s\.so\.1|ld-linux-[a-z0-9_-]+\.so\.[0-9]+)$' <<<"$needed"; then
  echo "the libraries above do not exist on every machine"
  exit 1
fi
