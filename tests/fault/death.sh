#!/usr/bin/env bash
# Peers killed in the middle of transfers, over every path.
# shellcheck source=/dev/null
. "$(dirname "$0")/world.bash"
build death
# The path within a process has no peer that could die or stop alone.
MC_TEST_TRANSPORTS=memfd,cma,tcp "$BUILD/fault/death"
