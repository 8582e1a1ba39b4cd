#!/usr/bin/env bash
# The SONAME carries the ABI number of the header, and the installed links lead from it to the file.
set -euo pipefail
abi=$(sed -n 's/^#define MC_ABI_VERSION //p' "$PREFIX/include/mooncake/api.h")
version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml" | head -n 1)
cd "$PREFIX/lib"

readelf -d libmooncake.so | grep -F "[libmooncake.so.$abi]"
[[ $(readlink libmooncake.so) == "libmooncake.so.$abi" ]]
[[ $(readlink "libmooncake.so.$abi") == "libmooncake.so.$version" ]]
[[ -f libmooncake.so.$version && ! -L libmooncake.so.$version ]]
