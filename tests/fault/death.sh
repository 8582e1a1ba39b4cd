#!/usr/bin/env bash
# Peers killed in the middle of transfers, over every path.
# shellcheck source=/dev/null
. "$(dirname "$0")/world.bash"
build death
"$BUILD/fault/death"
