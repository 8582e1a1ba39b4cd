#!/usr/bin/env bash
# add_subdirectory: the library is built with the project that uses it. Cargo's target folder is the one of the other
# tests, so that only the files change place.
set -euo pipefail
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT

cmake -S "$(dirname "$0")" -B "$build"
cmake --build "$build" --parallel 2
for program in shared static wrapper; do
  "$build/$program"
done
