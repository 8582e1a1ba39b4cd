#!/usr/bin/env bash
# The demo's parts, each on its own: block cache, content, trace reader, messages, report, verifier.
. "$(dirname "${BASH_SOURCE[0]}")/setup.bash"

for unit in "$ROOT"/tests/demo/unit_*.cpp; do
  name=$(basename "$unit" .cpp)
  "${CXX:-c++}" -std=c++17 -Wall -Wextra -Werror -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all \
    -I"$PREFIX/include" -I"$SOURCE" "$unit" "$SOURCE"/{trace,messages,report,verifier}.cpp -pthread -o "$WORK/$name"
  (cd "$WORK" && "./$name") || fail "$name"
done
