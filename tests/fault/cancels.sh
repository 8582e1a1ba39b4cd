#!/usr/bin/env bash
# Ten thousand cancels at random moments.
. "$(dirname "$0")/world.bash"
build cancels
"$BUILD/fault/cancels"
