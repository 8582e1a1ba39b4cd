#!/usr/bin/env bash
# Connections reset at random for 10 s, every byte verified. Longer: SECONDS_OF_RESETS=600 tests/fault/resets.sh
# shellcheck source=/dev/null
. "$(dirname "$0")/world.bash"
need_namespaces ip nft
build resets
name=mc-$$-resets
ip netns add "$name"
trap 'ip netns del "$name"' EXIT
ip -n "$name" link set lo up
# A reset towards the sender of one packet in so many, not counting those that open a connection.
ip netns exec "$name" nft -f - <<'RULES' || skip "nftables cannot reset connections here"
table inet resets {
  chain output {
    type filter hook output priority 0;
    tcp flags & (syn | rst) == 0 meta length > 100 numgen random mod 3000 == 0 reject with tcp reset
  }
}
RULES
ip netns exec "$name" "$BUILD/fault/resets" "${SECONDS_OF_RESETS:-10}"
