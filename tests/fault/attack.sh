#!/usr/bin/env bash
# A flood of connections and garbage on the port of an engine while transfers run.
# shellcheck source=/dev/null
. "$(dirname "$0")/world.bash"
build attack
"$BUILD/fault/attack"
