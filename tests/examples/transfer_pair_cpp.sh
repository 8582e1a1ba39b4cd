#!/usr/bin/env bash
# The C++ example verifies at both ends, refuses what it does not know, and says why it cannot.
set -euo pipefail
# shellcheck source=/dev/null
. tests/examples/walk.bash
walk "$BUILD/examples/cpp/transfer_pair"
