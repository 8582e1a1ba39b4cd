# What must be on the machine: looks for it, installs it where that is allowed, else says what to install.
# shellcheck shell=bash

# Which Debian and Ubuntu packages bring a tool.
package_of() {
  case $1 in
    cc) echo gcc libc6-dev binutils ;;
    c++) echo g++ ;;
    cmake) echo cmake make ;;
    clang) echo clang "$(clang_runtime_package)" ;;
    go) echo golang-go ;;
    ip) echo iproute2 ;;
    nft) echo nftables ;;
    unshare) echo util-linux ;;
    cffi) echo python3 python3-cffi ;;
    meson) echo meson ninja-build ;;
    venv) echo python3 python3-venv ;;
    wheel-libraries) echo libibverbs1 librdmacm1 libnuma1 libcurl4 liburing2 ;;
    protoc) echo protobuf-compiler libprotobuf-dev ;;
    etcd) echo etcd-server ;;
    etcdctl) echo etcd-client ;;
    *) echo "$1" ;;
  esac
}

# The sanitizers' runtime of clang is a package of its own on some releases.
clang_runtime_package() {
  apt-cache depends clang 2>/dev/null | sed -n 's/.*Depends: clang-\([0-9]*\)$/\1/p' | while read -r version; do
    apt-cache show "libclang-rt-$version-dev" >/dev/null 2>&1 && echo "libclang-rt-$version-dev"
  done
}

has() {
  case $1 in
    cffi) [[ -n $(cffi_python) ]] ;;
    venv) python3 -c 'import venv, ensurepip' 2>/dev/null ;;
    wheel-libraries) has_libraries libibverbs librdmacm libnuma libcurl liburing ;;
    go) command -v go >/dev/null && go_is_recent ;;
    clang) command -v clang >/dev/null && clang_sanitizes ;;
    cmake) command -v cmake >/dev/null && command -v make >/dev/null ;;
    protoc) protoc_has_its_own ;;
    redis-server | ip | nft) PATH=$PATH:/usr/sbin:/sbin command -v "$1" >/dev/null ;;
    *) command -v "$1" >/dev/null ;;
  esac
}

# What Mooncake's wheel takes from the host.
has_libraries() {
  local name
  for name in "$@"; do
    PATH=$PATH:/usr/sbin:/sbin ldconfig -p | grep -q "$name\.so" || return 1
  done
}

# It is of no use without the files that every .proto may import, which are a package of their own.
protoc_has_its_own() {
  local folder status=0
  command -v protoc >/dev/null || return 1
  folder=$(mktemp -d)
  printf 'syntax = "proto3"; import "google/protobuf/descriptor.proto";\n' >"$folder/try.proto"
  protoc -I"$folder" --descriptor_set_out=/dev/null "$folder/try.proto" 2>/dev/null || status=1
  rm -r "$folder"
  return $status
}

clang_sanitizes() {
  echo 'int main(void) { return 0; }' | clang -fsanitize=address -x c -o /dev/null - 2>/dev/null
}

go_is_recent() {
  local minimum
  minimum=$(sed -n 's/^go //p' bindings/go/go.mod)
  printf '%s\n' "$minimum" "$(go env GOVERSION | sed 's/^go//')" | sort -VC
}

# An older Go, such as Debian 12's, can fetch a later one as it fetches any module.
renew_go() {
  local module directory
  command -v go >/dev/null || return 1
  module=golang.org/toolchain@v0.0.1-go1.21.13.$(go env GOOS)-$(go env GOARCH)
  directory=$(go env GOMODCACHE)/$module
  echo "fetching: $module" >&2
  (cd / && go mod download "$module") >&2 || return 1
  chmod -R u+w,a+x "$directory/bin" "$directory/pkg/tool" || return 1
  export PATH=$directory/bin:$PATH GOTOOLCHAIN=local
  has go
}

# A Python that can import cffi: the one on the path, or the system's.
cffi_python() {
  local python
  for python in python3 /usr/bin/python3; do
    if "$python" -c 'import cffi' 2>/dev/null; then
      echo "$python"
      return
    fi
  done
}

# wheel VERSION: the Python of a virtual environment with that release of Mooncake; nothing when it cannot be had.
wheel() {
  local folder=$CACHE/wheel-$1
  if [[ ! -e $folder/ready ]]; then
    has venv || return 0
    echo "installing: Mooncake's wheel $1" >&2
    python3 -m venv "$folder" >&2 &&
      "$folder/bin/python3" -m pip install -q "mooncake-transfer-engine-non-cuda==$1" >&2 &&
      touch "$folder/ready" || return 0
  fi
  echo "$folder/bin/python3"
}

# The Python of a virtual environment with what publishes events; nothing when it cannot be had.
events_python() {
  local folder=$CACHE/events-27.3.0-1.2.4
  if [[ ! -e $folder/ready ]]; then
    has venv || return 0
    echo "installing: pyzmq 27.3.0, msgpack 1.2.4" >&2
    python3 -m venv "$folder" >&2 &&
      "$folder/bin/python3" -m pip install -q pyzmq==27.3.0 msgpack==1.2.4 >&2 &&
      touch "$folder/ready" || return 0
  fi
  echo "$folder/bin/python3"
}

apt_allowed() {
  command -v apt-get >/dev/null || return 1
  [[ $(id -u) -eq 0 ]] || { command -v sudo >/dev/null && { sudo -n true 2>/dev/null || [[ -t 0 ]]; }; }
}

as_root() { if [[ $(id -u) -eq 0 ]]; then "$@"; else sudo "$@"; fi; }

# Quiet unless it fails.
apt() {
  local output
  output=$(as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y "$@" 2>&1) || { echo "$output" >&2; return 1; }
}

# want TOOL...: installs what is missing if possible. Does not fail: whoever needs a tool asks has().
want() {
  local tool packages=() missing=()
  for tool in "$@"; do
    has "$tool" || { [[ $tool == go ]] && renew_go; } || missing+=("$tool")
  done
  [[ ${#missing[@]} -gt 0 ]] || return 0
  if apt_allowed; then
    apt update || echo "apt-get update failed: going on with the package lists there are" >&2
    for tool in "${missing[@]}"; do
      read -r -a packages <<<"$(package_of "$tool" | tr '\n' ' ')"
      echo "installing: ${packages[*]}" >&2
      apt install --no-install-recommends "${packages[@]}" || echo "could not install ${packages[*]}" >&2
      [[ $tool != go ]] || has go || renew_go || true
    done
  else
    for tool in "${missing[@]}"; do
      read -r -a packages <<<"${packages[*]} $(package_of "$tool" | tr '\n' ' ')"
    done
    echo "missing: ${missing[*]}. On Debian or Ubuntu: sudo apt-get install ${packages[*]}" >&2
  fi
}

# need TOOL...: as want, and ends the run when a tool is still missing.
need() {
  local tool tools=()
  for tool in "$@"; do
    if [[ $tool == rust ]]; then need_rust; else tools+=("$tool"); fi
  done
  want "${tools[@]}"
  for tool in "${tools[@]}"; do
    has "$tool" || { echo "cannot go on without $tool: $(package_of "$tool" | tr '\n' ' ')is the package" >&2; exit 1; }
  done
}

need_rust() {
  local minimum found
  minimum=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
  if ! command -v cargo >/dev/null && [[ -x $HOME/.cargo/bin/cargo ]]; then
    PATH=$HOME/.cargo/bin:$PATH
  fi
  if ! found=$(rustc --version 2>/dev/null | cut -d' ' -f2) || [[ -z $found ]]; then
    echo "Rust $minimum or later is needed, and none was found. Install it from https://rustup.rs" >&2
    exit 1
  fi
  if [[ $(printf '%s\n' "$minimum" "$found" | sort -V | head -n1) != "$minimum" ]]; then
    echo "Rust $minimum or later is needed, and this is $found. Update it: rustup update stable" >&2
    exit 1
  fi
}
