#!/usr/bin/env bash
# The cable between two network namespaces is cut in the middle of transfers and mended.
# shellcheck source=/dev/null
. "$(dirname "$0")/world.bash"
need_namespaces ip tc
build cable
cable ipv4 400mbit
# shellcheck disable=SC2154 # near and far come from cable()
ip netns exec "$near" "$BUILD/fault/cable" "$near" "$far" 10.91.0.1 10.91.0.2
