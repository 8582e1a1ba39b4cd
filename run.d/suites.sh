# The labels of `./run test`: what each one runs.
# shellcheck shell=bash

# In the order in which they run: what fails most cheaply comes first.
LABELS=(rust metadata api flow leak compat tsan cpp cffi go consumer abi docs examples demo fault events interop fuzz)

suites_help() {
  cat <<EOF
usage: ./run test [LABEL...]

  rust      cargo test: units, properties, the header, the layers, a store of processes under chaos
  metadata  tests/metadata: etcd, Redis, Mooncake's own server and ours, killed, restarted, lying; TLS
  api       tests/capi/api_*.c: every function and its misuse; C99, C++11, AddressSanitizer
  flow      tests/capi/flow_*.c: whole transfers, the same three ways
  leak      tests/capi/leak_*.c: what must be given back, the same three ways
  compat    tests/compat: Mooncake's names, as their callers use them; C99, C++17, AddressSanitizer
  tsan      tests/capi/tsan_*.c: many threads under ThreadSanitizer
  cpp       tests/cpp: the C++ wrapper, with gcc and clang
  cffi      tests/cffi: the header through Python
  go        bindings/go: go vet and go test -race
  consumer  tests/consumer: find_package, pkg-config, add_subdirectory, plain -lmooncake, as Mooncake is found
  abi       tests/abi: exported symbols, SONAME, what the library needs, its size
  docs      tests/docs: examples in the documentation compile
  examples  examples: each program in C, C++ and Go runs
  demo      tests/demo: the demo ends well, and says so
  fault     tests/fault: peers that die, stop and come back; cut cables
  events    tests/events: conductors that follow publishers over pyzmq, which comes by pip; lost messages, restarts
  interop   tests/interop: with Mooncake's own engines, an old and a new one, which come by pip
  fuzz      fuzz: decoders against random bytes

The last line counts: N passed, N failed, N skipped. Logs: $LOGS
EOF
}

run_suites() {
  local label labels=("$@")
  [[ $# -gt 0 ]] || labels=("${LABELS[@]}")
  for label in "${labels[@]}"; do
    [[ " ${LABELS[*]} " == *" $label "* ]] || { echo "no label $label; there are: ${LABELS[*]}" >&2; exit 2; }
  done
  need rust cc c++ cmake pkg-config protoc
  # shellcheck disable=SC2046
  want $(for label in "${labels[@]}"; do tools_of "$label"; done | tr ' ' '\n' | sort -u)
  mkdir -p "$LOGS"
  for label in "${labels[@]}"; do
    local before=$((passed + failed + skipped))
    echo "== $label"
    "suite_$label"
    [[ $((passed + failed + skipped)) -gt $before ]] || fail "$label" "no test was found" ""
  done
  summary
}

tools_of() {
  case $1 in
    api | flow | leak | compat | tsan | cpp) echo clang ;;
    cffi) echo cffi ;;
    consumer) echo meson ;;
    events) echo venv ;;
    interop) echo cffi venv wheel-libraries etcd ;;
    go | examples) echo go ;;
    metadata) echo etcd etcdctl redis-server venv ;;
    fault | demo) echo ip nft unshare ;;
  esac
}

# A build that fails is reported once, and the suites that stand on it fail.
with_release() {
  if [[ -z ${release_status:-} ]]; then
    release_status=0
    install_release || release_status=$?
  fi
  [[ $release_status -eq 0 ]] || { fail "$1" "the release does not build" ""; return 1; }
}

with_sanitized() { # NAME address|thread
  local -n status=$2_status
  if [[ -z ${status:-} ]]; then
    status=0
    install_sanitized "$2" || status=$?
    if [[ $status -eq 0 ]] && ! nm -D "$PREFIX-$2/lib/libmooncake.so" | grep -e __asan_init -e __tsan_init >/dev/null; then
      echo "the library of $PREFIX-$2 was built without its sanitizer" >&2
      status=1
    fi
  fi
  [[ $status -eq 0 ]] || { fail "$1" "the library under the $2 sanitizer does not build" ""; return 1; }
}

suite_rust() { cargo_suite "cargo test" 1800; }

# cargo_suite NAME SECONDS ARGUMENT...: cargo test with these arguments; each test of it counts.
cargo_suite() {
  local name=$1 limit=$2 log status=0 passes fails shown
  shift 2
  log=$(log_of "$name")
  claim_target_dir "$CARGO_TARGET_DIR"
  timeout --kill-after=10 "$limit" cargo test --locked --no-fail-fast "$@" -- --show-output >"$log" 2>&1 </dev/null || status=$?
  read -r passes fails < <(awk '/^test result:/ { p += $4; f += $6 } END { print p + 0, f + 0 }' "$log")
  # A test of a facility that is not there prints "skipped: NAME: WHY" and returns.
  while IFS= read -r shown; do
    skip "$(cut -d: -f2 <<<"$shown" | xargs)" "$(cut -d: -f3- <<<"$shown" | xargs)"
    passes=$((passes - 1))
  done < <(grep '^skipped: ' "$log" || true)
  [[ $passes -le 0 ]] || pass "$name: $passes tests" "$passes"
  if [[ $fails -gt 0 ]]; then
    grep '^test .* FAILED$' "$log" | sed 's/^/  /'
    fail "$name" "$fails tests" "$log"
    failed=$((failed + fails - 1))
  elif [[ $status -ne 0 ]]; then
    fail "$name" "exit status $status" "$log"
  fi
}

# The release of Mooncake that tests talk to.
WHEEL=0.3.13.post1

# The servers that are missing skip their tests; in CI that is a failure.
suite_metadata() {
  local tool python
  for tool in etcd etcdctl redis-server; do
    has "$tool" || skip_without "metadata in ${tool%-server}" "$tool"
  done
  python=$(wheel "$WHEEL")
  [[ -n $python ]] || skip_without "metadata on Mooncake's own server" "its wheel"
  WHEEL_NEW=$python cargo_suite metadata 900 --test metadata
}

export ASAN_OPTIONS=detect_leaks=1:detect_stack_use_after_return=1
export UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1
export TSAN_OPTIONS=halt_on_error=1:second_deadlock_stack=1:suppressions=$ROOT/run.d/tsan.supp
C_WARNINGS=(-Wall -Wextra -Wpedantic -Werror)

# link_to PREFIX: how a program finds the library of an installed prefix, under the name in LINKED.
LINKED=mooncake
link_to() { echo "-x none -I$1/include -L$1/lib -Wl,-rpath,$1/lib -l$LINKED -lpthread -ldl -lm"; }

# sources_of FILE: a program and the parts that share its name.
sources_of() {
  local stem=${1%.*} extension=${1##*.} part
  echo "$1"
  for part in "${stem}"*_part."$extension"; do
    [[ ! -e $part ]] || echo "$part"
  done
}

# run_programs VARIANT PREFIX COMPILER... -- FILE...: compiles each test program, several at a time, then runs them.
run_programs() {
  local variant=$1 prefix=$2 compiler=() file name
  shift 2
  while [[ $1 != -- ]]; do compiler+=("$1"); shift; done
  shift
  for file in "$@"; do
    while [[ $(jobs -rp | wc -l) -ge $(nproc) ]]; do wait -n || true; done
    compile_program "$variant" "$prefix" "$file" "${compiler[@]}" &
  done
  wait
  for file in "$@"; do
    name=$(program_name "$variant" "$file")
    if [[ -x $(program_path "$variant" "$file") ]]; then
      check "$name" 300 env MOONCAKE_LIBRARY="$prefix/lib/libmooncake.so" "$(program_path "$variant" "$file")"
    else
      fail "$name" "does not compile" "$(log_of "$name")"
    fi
  done
}

program_name() { echo "$(basename "$(dirname "$2")")/$(basename "${2%.*}") ($1)"; } # VARIANT FILE
program_path() { echo "$BUILD/${2%.*}-${1// /-}"; }                                  # VARIANT FILE

compile_program() { # VARIANT PREFIX FILE COMPILER...
  local prefix=$2 file=$3 binary sources
  binary=$(program_path "$1" "$3")
  mapfile -t sources < <(sources_of "$file")
  mkdir -p "$(dirname "$binary")"
  rm -f "$binary"
  # shellcheck disable=SC2046
  "${@:4}" "${C_WARNINGS[@]}" -g -o "$binary" "${sources[@]}" $(link_to "$prefix") \
    >"$(log_of "$(program_name "$1" "$file")")" 2>&1 || true
}

# Programs with a main of their own: parts and shared headers are not.
programs() { # FOLDER PATTERN
  find "$1" -maxdepth 1 -name "$2" ! -name '*_part.*' 2>/dev/null | sort
}

suite_c() { # LABEL
  local files
  mapfile -t files < <(programs tests/capi "$1_*.c")
  [[ ${#files[@]} -gt 0 ]] || return 0
  with_release "$1" || return 0
  run_programs "gcc C99" "$PREFIX" gcc -std=c99 -- "${files[@]}"
  run_programs "g++ C++11" "$PREFIX" g++ -std=c++11 -x c++ -- "${files[@]}"
  has clang || { skip_without "$1 under AddressSanitizer" clang; return 0; }
  with_sanitized "$1" address || return 0
  run_programs "clang ASan" "$PREFIX-address" clang -std=c99 -fsanitize=address,undefined -- "${files[@]}"
}

suite_api() { suite_c api; }
suite_flow() { suite_c flow; }
suite_leak() { suite_c leak; }

suite_compat() {
  local files LINKED=transfer_engine
  mapfile -t files < <(programs tests/compat "*.c")
  with_release compat || return 0
  run_programs "gcc C99" "$PREFIX" gcc -std=c99 -- "${files[@]}"
  run_programs "g++ C++17" "$PREFIX" g++ -std=c++17 -x c++ -- "${files[@]}"
  upstream_layout
  has clang || { skip_without "compat under AddressSanitizer" clang; return 0; }
  with_sanitized compat address || return 0
  # The sanitized library knows no etcd.
  mapfile -t files < <(programs tests/compat "*.c" | grep -v /go_p2p_store)
  run_programs "clang ASan" "$PREFIX-address" clang -std=c99 -fsanitize=address,undefined -- "${files[@]}"
}

# The same layout by the header that Mooncake itself has.
upstream_layout() {
  local folder=${MOONCAKE_UPSTREAM:-}/mooncake-transfer-engine/include
  if [[ -z ${MOONCAKE_UPSTREAM:-} ]]; then
    skip "compat/layout with Mooncake's header" "MOONCAKE_UPSTREAM names no checkout of Mooncake"
    return 0
  fi
  check "compat/layout with Mooncake's header" 60 gcc -std=c11 -fsyntax-only -I"$folder" tests/compat/layout.c
}

suite_tsan() {
  local files
  mapfile -t files < <(programs tests/capi "tsan_*.c")
  [[ ${#files[@]} -gt 0 ]] || return 0
  has clang || { skip_without tsan clang; return 0; }
  with_sanitized tsan thread || return 0
  # The runtime is the one of rustc, whose instrumentation may be newer than clang's runtime.
  run_programs "clang TSan" "$PREFIX-thread" clang -std=c99 -fsanitize=thread -fno-sanitize-link-runtime \
    -Wl,--export-dynamic -Wl,--whole-archive "$(rustc --print target-libdir)"/librustc*_rt.tsan.a -Wl,--no-whole-archive \
    -lrt -- "${files[@]}"
}

suite_cpp() {
  local files
  mapfile -t files < <(programs tests/cpp "*.cpp")
  [[ ${#files[@]} -gt 0 ]] || return 0
  with_release cpp || return 0
  run_programs "g++ C++17" "$PREFIX" g++ -std=c++17 -- "${files[@]}"
  has clang || { skip_without "cpp with clang" clang; return 0; }
  with_sanitized cpp address || return 0
  run_programs "clang++ ASan" "$PREFIX-address" clang++ -std=c++17 -fsanitize=address,undefined -- "${files[@]}"
}

suite_cffi() {
  local file python
  python=$(cffi_python)
  [[ -n $python ]] || { skip_without cffi python3-cffi; return 0; }
  with_release cffi || return 0
  for file in $(programs tests/cffi "*.py"); do
    check "cffi $(basename "$file" .py)" 120 "$python" "$file"
  done
}

suite_go() {
  local log status=0
  has go || { skip_without go "Go 1.21 or later"; return 0; }
  with_release go || return 0
  export PKG_CONFIG_PATH=$PREFIX/lib/pkgconfig LD_LIBRARY_PATH=$PREFIX/lib
  check "go vet" 600 env -C bindings/go go vet ./...
  log=$(log_of "go test")
  timeout --kill-after=10 900 env -C bindings/go go test -race -v ./... >"$log" 2>&1 </dev/null || status=$?
  unset LD_LIBRARY_PATH
  local passes fails
  passes=$(grep -c '^--- PASS' "$log" || true)
  fails=$(grep -c '^--- FAIL' "$log" || true)
  [[ $passes -eq 0 ]] || pass "go test -race: $passes tests" "$passes"
  while IFS= read -r line; do skip "go ${line#--- SKIP: }" "see $log"; done < <(grep '^--- SKIP' "$log" || true)
  if [[ $status -ne 0 ]]; then
    fail "go test" "$fails tests" "$log"
    [[ $fails -le 1 ]] || failed=$((failed + fails - 1))
  fi
}

# Folders of scripts: each is a test, with PREFIX, BUILD, MOONCAKE and ROOT in its environment.
suite_scripts() { # LABEL SECONDS PATTERN
  local file files name
  mapfile -t files < <(find "tests/$1" -name "$3" 2>/dev/null | sort)
  [[ ${#files[@]} -gt 0 ]] || return 0
  with_release "$1" || return 0
  for file in "${files[@]}"; do
    name=${file#tests/}
    check "${name%.sh}" "$2" bash "$file"
  done
}

suite_consumer() { suite_scripts consumer 300 'test.sh'; }
suite_abi() { suite_scripts abi 300 '*.sh'; }
suite_docs() { suite_scripts docs 300 '*.sh'; }

with_examples() {
  with_release "$1" || return 1
  build_examples || { fail "$1" "the examples do not build" ""; return 1; }
}

# Without arguments an example does all that it can show, and ends with 0 if that worked.
suite_examples() {
  local source program
  with_examples examples || return 0
  for source in examples/c/*.c examples/cpp/*.cpp; do
    program=$BUILD/${source%.*}
    check "$source" 120 "$program"
  done
  has go || { skip_without "examples/go" "Go 1.21 or later"; return 0; }
  for source in $(find examples/go -name main.go -printf '%h\n' | sort); do
    check "$source" 300 env -C "$source" PKG_CONFIG_PATH="$PREFIX/lib/pkgconfig" LD_LIBRARY_PATH="$PREFIX/lib" go run .
  done
}

suite_demo() { with_examples demo || return 0; suite_scripts demo 600 '*.sh'; }
suite_fault() { with_examples fault || return 0; suite_scripts fault 600 '*.sh'; }

suite_events() {
  local python
  python=$(events_python)
  [[ -n $python ]] || { skip_without events "pyzmq and msgpack, by pip"; return 0; }
  with_release events || return 0
  check "events following" 900 "$python" tests/events/following.py
  grep -E 'a second, |resyncs, ' "$(log_of "events following")" | sed 's/^/  /' || true
}

# An old release speaks the first version of the data protocol, without acknowledgements.
OLD_WHEEL=0.3.10

suite_interop() {
  local file python new old
  python=$(cffi_python)
  [[ -n $python ]] || { skip_without interop python3-cffi; return 0; }
  new=$(wheel "$WHEEL") old=$(wheel "$OLD_WHEEL")
  [[ -n $new && -n $old ]] || { skip_without interop "Mooncake's wheels"; return 0; }
  with_release interop || return 0
  for file in $(programs tests/interop "[a-z]*_with_theirs.py"); do
    MOONCAKE=$PREFIX/bin/mooncake WHEEL_NEW=$new WHEEL_OLD=$old \
      check "interop $(basename "$file" .py)" 300 "$python" "$file"
  done
}

suite_fuzz() {
  [[ -e fuzz/run.sh ]] || return 0
  claim_target_dir "$CACHE/fuzz"
  check fuzz 1500 bash fuzz/run.sh
  grep -E 'executions|coverage' "$(log_of fuzz)" | sed 's/^/  /' || true
}
