#!/usr/bin/env bash
# pkg-config, for the shared library and for the static one with Libs.private.
set -euo pipefail
source=$(dirname "$0")/../transfer.c
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
export PKG_CONFIG_PATH=$PREFIX/lib/pkgconfig

version=$(sed -n 's/^version = "\(.*\)"/\1/p' "$ROOT/Cargo.toml" | head -n 1)
[[ $(pkg-config --modversion mooncake) == "$version" ]]

read -r -a shared <<<"$(pkg-config --cflags --libs mooncake)"
gcc -std=c99 "$source" "${shared[@]}" -o "$build/shared"
LD_LIBRARY_PATH=$PREFIX/lib "$build/shared"

# Everything that the static library needs stands in Libs.private: the linker finds no shared one to fall back on.
mkdir "$build/lib"
ln -s "$PREFIX/lib/libmooncake.a" "$build/lib"
static=()
for flag in $(pkg-config --static --libs-only-l mooncake); do
  static+=("$flag")
done
gcc -std=c99 "$source" -I"$PREFIX/include" -L"$build/lib" "${static[@]}" -o "$build/static"
"$build/static"
