#!/usr/bin/env bash
# The demo's parts, each on its own: block cache, content, trace reader, messages, report, verifier; and those of the
# second act.
. "$(dirname "${BASH_SOURCE[0]}")/setup.bash"

compile() { "${CXX:-c++}" -std=c++17 -Wall -Wextra -Werror -g -O1 -fsanitize=address,undefined -fno-sanitize-recover=all "$@"; }

objects=()
for part in trace messages report verifier; do
  compile -c -I"$PREFIX/include" "$SOURCE/$part.cpp" -o "$WORK/$part.o"
  objects+=("$WORK/$part.o")
done
for unit in "$ROOT"/tests/demo/unit_*.cpp; do
  name=$(basename "$unit" .cpp)
  compile -I"$PREFIX/include" -I"$SOURCE" "$unit" "${objects[@]}" -pthread -o "$WORK/$name"
  (cd "$WORK" && "./$name") || fail "$name"
done

serving=$ROOT/examples/cpp/serving
compile -I"$serving" "$ROOT/tests/demo/serving_units.cpp" "$serving/channel.cpp" -pthread -o "$WORK/serving_units"
"$WORK/serving_units" || fail serving_units
