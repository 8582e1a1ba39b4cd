#!/usr/bin/env bash
# Every installed header compiles when it is the only one, with gcc and clang: C headers as C99 and C++11, C++ headers as
# C++17, Mooncake's as all three.
set -euo pipefail
compilers=(gcc)
! command -v clang >/dev/null || compilers+=(clang)
count=0

alone() { # LANGUAGE STANDARD HEADER
  local compiler
  for compiler in "${compilers[@]}"; do
    echo "$compiler -std=$2: $3"
    printf '#include <%s>\nextern int something;\n' "$3" |
      "$compiler" -x "$1" -std="$2" -Wall -Wextra -Wpedantic -Werror -I"$PREFIX/include" -fsyntax-only -
    count=$((count + 1))
  done
}

cd "$PREFIX/include"
for header in mooncake.h mooncake/*.h; do
  alone c c99 "$header"
  alone c++ c++11 "$header"
done
for header in transfer_engine_c.h store_c.h; do
  alone c c99 "$header"
  alone c++ c++11 "$header"
  alone c++ c++17 "$header"
done
for header in mooncake/*.hpp; do
  alone c++ c++17 "$header"
done
echo "$count compiled"
