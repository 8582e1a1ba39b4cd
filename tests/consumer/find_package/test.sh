#!/usr/bin/env bash
# find_package(Mooncake) in a project of its own: shared, static, C++.
set -euo pipefail
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT

cmake -S "$(dirname "$0")" -B "$build" -DCMAKE_PREFIX_PATH="$PREFIX"
cmake --build "$build"
for program in shared static wrapper; do
  "$build/$program"
done

readelf -d "$build/shared" | grep 'NEEDED.*libmooncake\.so\.0\]'
if readelf -d "$build/static" | grep 'NEEDED.*libmooncake'; then
  echo "the program linked with Mooncake::static needs the shared library"
  exit 1
fi

mkdir "$build/newer"
printf 'cmake_minimum_required(VERSION 3.16)\nproject(newer LANGUAGES C)\nfind_package(Mooncake 9.0 REQUIRED)\n' \
  >"$build/newer/CMakeLists.txt"
if cmake -S "$build/newer" -B "$build/newer/build" -DCMAKE_PREFIX_PATH="$PREFIX" >/dev/null 2>&1; then
  echo "version 9.0 was asked for and found"
  exit 1
fi
