#!/usr/bin/env bash
# The library exports exactly what symbols.txt and symbols_compat.txt list. BLESS=1 rewrites the lists: read the
# difference, it is an ABI event.
set -euo pipefail
export LC_ALL=C
native=$ROOT/tests/abi/symbols.txt
compat=$ROOT/tests/abi/symbols_compat.txt
exported=$(nm -D --defined-only "$PREFIX/lib/libmooncake.so" | awk '{ print $3 }' | sort)
if [[ -n ${BLESS:-} ]]; then
  grep '^mc_' <<<"$exported" >"$native"
  grep -v '^mc_' <<<"$exported" >"$compat"
fi
diff -u <(sort "$native" "$compat") <(printf '%s\n' "$exported")

# What the headers declare is what the library has.
declared=$(grep -A 1 '^MC_API' "$ROOT/include/mooncake/api.h" | grep -o 'mc_[a-z0-9_]*(' | tr -d '(' | sort)
diff -u <(printf '%s\n' "$declared") "$native"
declared=$(
  {
    grep -oE '[a-zA-Z]+\((const char \*metadata|transfer_engine_t|notify_msg_t)' "$ROOT/include/compat/transfer_engine_c.h"
    grep -oE 'mooncake_store_[a-z_]+\((void|mooncake_store_t)' "$ROOT/include/compat/store_c.h"
  } | cut -d'(' -f1 | sort
)
diff -u <(printf '%s\n' "$declared") "$compat"
