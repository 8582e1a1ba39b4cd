#!/usr/bin/env bash
# Programs written for Mooncake find our library as they find Mooncake's: by find_library and find_path, by meson, by a bare
# -ltransfer_engine or -lmooncake_store; and one that was linked with a libtransfer_engine.so of its own loads ours by that name.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
export LD_LIBRARY_PATH=$PREFIX/lib

echo "-- CMake"
cmake -S "$here" -B "$build/cmake" -DMOONCAKE_ROOT="$PREFIX"
cmake --build "$build/cmake"
"$build/cmake/program"

echo "-- a bare -ltransfer_engine"
gcc -std=c99 "$here/transfer.c" -I"$PREFIX/include" -L"$PREFIX/lib" -ltransfer_engine -o "$build/c99"
g++ -std=c++17 -x c++ "$here/transfer.c" -I"$PREFIX/include" -L"$PREFIX/lib" -ltransfer_engine -o "$build/cpp17"
"$build/c99"
"$build/cpp17"

echo "-- a bare -lmooncake_store"
gcc -std=c99 "$here/store.c" -I"$PREFIX/include" -L"$PREFIX/lib" -lmooncake_store -o "$build/store"
"$build/store"

echo "-- a program that was linked with another libtransfer_engine.so"
mkdir "$build/other"
sed 's/^/void /; s/$/(void) {}/' "$ROOT/tests/abi/symbols_compat.txt" |
  gcc -shared -fPIC -x c - -o "$build/other/libtransfer_engine.so" -Wl,-soname,libtransfer_engine.so
gcc -std=c99 "$here/transfer.c" -I"$PREFIX/include" -L"$build/other" -ltransfer_engine -o "$build/theirs"
readelf -d "$build/theirs" | grep 'NEEDED.*\[libtransfer_engine\.so\]'
"$build/theirs"

if command -v meson >/dev/null; then
  echo "-- meson"
  CPATH=$PREFIX/include LIBRARY_PATH=$PREFIX/lib meson setup "$build/meson" "$here"
  CPATH=$PREFIX/include LIBRARY_PATH=$PREFIX/lib meson compile -C "$build/meson"
  "$build/meson/program"
elif [[ ${CI:-} == true ]]; then
  echo "in CI meson is installed"
  exit 1
else
  echo "-- without meson: it is not installed"
fi
