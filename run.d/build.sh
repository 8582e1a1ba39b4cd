# What is built, once each: the release, the copies under sanitizers, the examples.
# shellcheck shell=bash

# Cargo knows what is stale by file, not by checkout, and writes the library under one name: when another checkout
# built last in a target folder, its library would be taken for ours.
claim_target_dir() {
  mkdir -p "$1"
  if [[ -e $1/.checkout && $(<"$1/.checkout") != "$ROOT" ]]; then
    find "$1" -path '*/.fingerprint/mooncake-*' -name '*mooncake*' -type f -delete
  fi
  printf '%s\n' "$ROOT" >"$1/.checkout"
}

# cmake_install NAME TARGET_DIR PREFIX OPTION...
cmake_install() {
  local name=$1 target=$2 prefix=$3 log
  shift 3
  log=$LOGS/build-$name.log
  mkdir -p "$BUILD" "$LOGS"
  claim_target_dir "$target"
  echo "building: $name" >&2
  {
    cmake -S "$ROOT" -B "$BUILD/$name" -DCMAKE_BUILD_TYPE=Release -DCMAKE_INSTALL_PREFIX="$prefix" -DBUILD_TESTING=OFF \
      -DMOONCAKE_CARGO_TARGET_DIR="$target" "$@" &&
      cmake --build "$BUILD/$name" &&
      cmake --install "$BUILD/$name"
  } >"$log" 2>&1 && return
  tail -n 40 "$log" >&2
  echo "building $name failed; all of it: $log" >&2
  return 1
}

install_release() { cmake_install release "$CARGO_TARGET_DIR" "$PREFIX"; }

# install_sanitized address|thread: installs beside the release; without the metadata clients, whose hundred crates are
# not what is looked for.
install_sanitized() {
  cmake_install "$1" "$CACHE/$1" "$PREFIX-$1" -DMOONCAKE_SANITIZE="$1" -DMOONCAKE_FEATURES=compat
}

# Every project under examples/ is built against the installed release, as a user would: DIR into $BUILD/DIR.
build_examples() {
  local folder log=$LOGS/build-examples.log
  for folder in $(find examples -name CMakeLists.txt -printf '%h\n' | sort); do
    echo "building: $folder" >&2
    {
      cmake -S "$folder" -B "$BUILD/$folder" -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH="$PREFIX" &&
        cmake --build "$BUILD/$folder"
    } >"$log" 2>&1 && continue
    tail -n 40 "$log" >&2
    echo "building $folder failed; all of it: $log" >&2
    return 1
  done
}
