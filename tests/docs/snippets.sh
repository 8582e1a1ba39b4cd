#!/usr/bin/env bash
# Every whole program in the documentation compiles without a warning, runs, and ends well. A program is a fenced block
# of C or C++ that has a main().
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export LD_LIBRARY_PATH=$PREFIX/lib
cd "$ROOT"

# Writes the blocks of one page to NUMBER.c and NUMBER.cpp.
blocks() { # PAGE FOLDER
  awk -v folder="$2" '
    /^```(c|cpp)$/ { language = substr($0, 4); file = folder "/" ++number "." language; next }
    /^```/ { language = "" ; next }
    language != "" { print > file }
  ' "$1"
}

count=0
for page in README.md $(git ls-files 'docs/*.md' 'bindings/*.md' 'examples/*.md'); do
  folder=$work/$(tr / _ <<<"$page")
  mkdir "$folder"
  blocks "$page" "$folder"
  for source in $(grep -l 'int main(' "$folder"/* 2>/dev/null || true); do
    case $source in
      *.c) compiler=(gcc -std=c99) ;;
      *.cpp) compiler=(g++ -std=c++17) ;;
    esac
    echo "$page: block $(basename "$source")"
    "${compiler[@]}" -Wall -Wextra -Werror -I"$PREFIX/include" "$source" -L"$PREFIX/lib" -lmooncake -o "$source.out"
    timeout 60 "$source.out"
    count=$((count + 1))
  done
done
echo "$count programs"
[[ $count -gt 0 ]]
