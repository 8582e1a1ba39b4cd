#!/usr/bin/env bash
# The library exports exactly what symbols.txt lists. BLESS=1 rewrites the list: read the difference, it is an ABI event.
set -euo pipefail
export LC_ALL=C
list=$ROOT/tests/abi/symbols.txt
exported=$(nm -D --defined-only "$PREFIX/lib/libmooncake.so" | awk '{ print $3 }' | sort)
[[ -z ${BLESS:-} ]] || printf '%s\n' "$exported" >"$list"
diff -u "$list" <(printf '%s\n' "$exported")

# What the header declares is what the library has.
declared=$(grep -A 1 '^MC_API' "$ROOT/include/mooncake/api.h" | grep -o 'mc_[a-z0-9_]*(' | tr -d '(' | sort)
diff -u <(printf '%s\n' "$declared") <(printf '%s\n' "$exported")
