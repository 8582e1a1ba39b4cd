#!/usr/bin/env bash
# The Go example verifies at both ends, refuses what it does not know, and says why it cannot.
set -euo pipefail
# shellcheck source=/dev/null
. tests/examples/walk.bash
if ! command -v go >/dev/null; then
  echo "skipped: go is not installed"
  exit 77
fi
export PKG_CONFIG_PATH=$PREFIX/lib/pkgconfig LD_LIBRARY_PATH=$PREFIX/lib
(cd examples/go && go vet ./... && go build -o "$BUILD/examples/go/" ./transfer_pair)
walk "$BUILD/examples/go/transfer_pair"
