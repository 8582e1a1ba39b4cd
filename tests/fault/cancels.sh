#!/usr/bin/env bash
# Ten thousand cancels at random moments.
# shellcheck source=/dev/null
. "$(dirname "$0")/world.bash"
build cancels
"$BUILD/fault/cancels"
