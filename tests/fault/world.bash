# Sourced by the tests of this folder: builds their programs, and lends network namespaces of their own.
# shellcheck shell=bash
set -euo pipefail

folder=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
: "${PREFIX:?where the library is installed}" "${BUILD:?a folder for what is built}"
PATH=$PATH:/usr/sbin:/sbin

skip() { echo "skipped: $*"; exit 77; }

# build NAME: compiles NAME.c beside the scripts; the program is $BUILD/fault/NAME.
build() {
  mkdir -p "$BUILD/fault"
  cc -std=c99 -Wall -Wextra -Werror -O1 -g -o "$BUILD/fault/$1" "$folder/$1.c" \
    "-I$PREFIX/include" "-L$PREFIX/lib" "-Wl,-rpath,$PREFIX/lib" -lmooncake -lpthread
}

# need_namespaces TOOL...: skips where namespaces or the tools to fill them are missing.
need_namespaces() {
  local tool
  [[ $(id -u) -eq 0 ]] || skip "network namespaces need root"
  for tool in "$@"; do command -v "$tool" >/dev/null || skip "$tool is not installed"; done
  ip netns add "mc-$$-try" 2>/dev/null || skip "network namespaces cannot be made here"
  ip netns del "mc-$$-try"
}

# cable FAMILY [RATE]: two namespaces, $near and $far, joined by one cable: 10.91.0.1 and .2, or fd91::1 and ::2.
cable() {
  local side address
  near=mc-$$-near far=mc-$$-far
  trap cable_down EXIT
  ip netns add "$near"
  ip netns add "$far"
  ip link add cable netns "$near" type veth peer name cable netns "$far"
  for side in 1 2; do
    local namespace=$near
    [[ $side -eq 1 ]] || namespace=$far
    ip -n "$namespace" link set lo up
    if [[ $1 == ipv6 ]]; then
      ip -n "$namespace" addr del 127.0.0.1/8 dev lo
      address=fd91::$side/64
      ip -n "$namespace" addr add "$address" dev cable nodad
    else
      address=10.91.0.$side/24
      ip -n "$namespace" addr add "$address" dev cable
    fi
    ip -n "$namespace" link set cable up
    if [[ -n ${2:-} ]]; then
      ip netns exec "$namespace" tc qdisc add dev cable root tbf rate "$2" burst 256kb latency 20ms
    fi
  done
}

cable_down() {
  ip netns del "$near" 2>/dev/null || :
  ip netns del "$far" 2>/dev/null || :
}
