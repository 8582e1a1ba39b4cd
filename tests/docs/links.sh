#!/usr/bin/env bash
# Links between pages of the repository lead somewhere.
set -euo pipefail
cd "$ROOT"
count=0 wrong=0
for page in $(git ls-files '*.md'); do
  while IFS= read -r target; do
    count=$((count + 1))
    if [[ ! -e $(dirname "$page")/${target%%#*} ]]; then
      echo "$page: $target does not exist"
      wrong=$((wrong + 1))
    fi
  done < <(grep -o ']([^)]*)' "$page" | sed 's/^](//; s/)$//' | grep -vE '^(https?:|#|mailto:)' || true)
done
echo "$count links, $wrong wrong"
[[ $count -gt 0 && $wrong -eq 0 ]]
