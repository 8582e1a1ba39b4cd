# What `./run lint` checks, each one by its own tool; the last line counts as in `./run test`.
# shellcheck shell=bash

lint_all() {
  local feature
  mkdir -p "$LOGS"
  claim_target_dir "$CARGO_TARGET_DIR"
  check "rustfmt" 120 cargo fmt --check
  check "clippy" 1200 cargo clippy --locked --all-targets -- -D warnings
  check "features: none" 1200 cargo check --locked --no-default-features
  for feature in http redis etcd events; do
    check "features: $feature" 1200 cargo check --locked --no-default-features --features "$feature"
  done
  check "rustdoc" 1200 env RUSTDOCFLAGS=-Dwarnings cargo doc --locked --no-deps --document-private-items
  lint_c
  lint_go
  lint_shell
  summary
}

lint_c() {
  local files
  has clang-format || { skip_without clang-format clang-format; return 0; }
  # The generated header is as cbindgen wrote it.
  mapfile -t files < <(git ls-files '*.c' '*.h' '*.cpp' '*.hpp' ':!include/mooncake/api.h')
  check "clang-format" 120 clang-format --dry-run --Werror "${files[@]}"
}

lint_go() {
  has go || { skip_without gofmt "Go 1.21 or later"; return 0; }
  # gofmt only lists what it would change.
  # shellcheck disable=SC2016
  check "gofmt" 120 bash -c 'test -z "$(gofmt -l bindings/go examples/go | tee /dev/stderr)"'
  install_release || { fail "go vet" "the release does not build" ""; return 0; }
  check "go vet" 600 env -C bindings/go PKG_CONFIG_PATH="$PREFIX/lib/pkgconfig" go vet ./...
}

lint_shell() {
  local files
  has shellcheck || { skip_without shellcheck shellcheck; return 0; }
  mapfile -t files < <(git ls-files run .ci/run '*.sh')
  # Parts that are sourced name variables of each other (SC2154).
  check "shellcheck" 300 shellcheck -x -P SCRIPTDIR -S warning -e SC2154 "${files[@]}"
}
