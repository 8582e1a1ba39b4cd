#!/usr/bin/env bash
# Owners that free, truncate, die and stop under running copies of processes of the same host.
# shellcheck source=/dev/null
. "$(dirname "$0")/world.bash"
build shared
MC_TEST_TRANSPORTS=memfd,cma "$BUILD/fault/shared"
