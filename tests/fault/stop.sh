#!/usr/bin/env bash
# Peers stopped in the middle of transfers, over every path.
. "$(dirname "$0")/world.bash"
build stop
"$BUILD/fault/stop"
