#!/usr/bin/env bash
# Peers stopped in the middle of transfers, over every path.
# shellcheck source=/dev/null
. "$(dirname "$0")/world.bash"
build stop
"$BUILD/fault/stop"
