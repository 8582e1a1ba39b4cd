#!/usr/bin/env bash
# Two namespaces with IPv6 addresses only.
# shellcheck source=/dev/null
. "$(dirname "$0")/world.bash"
[[ -e /proc/net/if_inet6 ]] || skip "this host has no IPv6"
need_namespaces ip
build ipv6
cable ipv6
# shellcheck disable=SC2154 # near and far come from cable()
ip netns exec "$near" "$BUILD/fault/ipv6" "$far" fd91::1 fd91::2
