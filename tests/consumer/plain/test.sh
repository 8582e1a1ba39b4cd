#!/usr/bin/env bash
# Nothing but a compiler: -lmooncake, in C99 and in C++11, with gcc.
set -euo pipefail
source=$(dirname "$0")/../transfer.c
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
export LD_LIBRARY_PATH=$PREFIX/lib

gcc -std=c99 "$source" -I"$PREFIX/include" -L"$PREFIX/lib" -lmooncake -o "$build/c99"
g++ -std=c++11 -x c++ "$source" -I"$PREFIX/include" -L"$PREFIX/lib" -lmooncake -o "$build/cpp11"
"$build/c99"
"$build/cpp11"
