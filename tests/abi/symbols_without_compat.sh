#!/usr/bin/env bash
# Without the feature compat the library exports mc_* and nothing else: exactly symbols.txt.
set -euo pipefail
export LC_ALL=C
cd "$ROOT"
cargo build --locked --lib --no-default-features
exported=$(nm -D --defined-only "$CARGO_TARGET_DIR/debug/libmooncake.so" | awk '{ print $3 }' | sort)
diff -u tests/abi/symbols.txt <(printf '%s\n' "$exported")
