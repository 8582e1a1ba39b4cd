#!/usr/bin/env bash
# mooncake trace: the same seed gives the same bytes, limits are kept, and mistakes are named.
. "$(dirname "${BASH_SOURCE[0]}")/setup.bash"
cd "$WORK"

"$MOONCAKE" trace generate --seed 3 --requests 1000 --out one.jsonl
"$MOONCAKE" trace generate --seed 3 --requests 1000 >two.jsonl
cmp one.jsonl two.jsonl || fail "the same seed gave two traces"
same requests "$(wc -l <one.jsonl)" 1000
"$MOONCAKE" trace generate --seed 4 --requests 1000 --out other.jsonl
! cmp -s one.jsonl other.jsonl || fail "two seeds gave one trace"

"$MOONCAKE" trace generate --seed 3 --seconds 60 --out minute.jsonl
same "the last time stamp" "$(tail -n 1 minute.jsonl | sed -E 's/^.*"timestamp": ([0-9]+),.*$/\1/')" 57000
cmp <(head -n 100 minute.jsonl) <(head -n 100 one.jsonl) || fail "a shorter trace is not the beginning of a longer one"

"$MOONCAKE" trace describe one.jsonl other.jsonl >figures
figure() { awk -v name="$1" 'index($0, name "  ") == 1 { sub(name, ""); print $1 }' figures; }
same "described requests" "$(figure requests)" 1000
same "described blocks" "$(figure blocks)" "$(blocks_of one.jsonl)"
same "described unique blocks" "$(figure "unique blocks")" "$(unique_blocks_of one.jsonl)"

"$MOONCAKE" trace generate | head -n 1 >/dev/null || fail "a reader that had enough is an error"
expect 1 "rate-scale is 0: it can be" "$MOONCAKE" trace generate --rate-scale 0
expect 1 "nowhere/trace" "$MOONCAKE" trace generate --out nowhere/trace
echo nonsense >>other.jsonl
expect 1 "other.jsonl:1001: " "$MOONCAKE" trace describe other.jsonl
echo "traces are reproducible"
