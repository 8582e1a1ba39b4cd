# How cargo is called: MOONCAKE_CARGO_COMMAND builds, MOONCAKE_CARGO_OUTPUT is where the results lie.
find_program(CARGO cargo HINTS "$ENV{CARGO_HOME}/bin" "$ENV{HOME}/.cargo/bin")
if(NOT CARGO)
  message(FATAL_ERROR "cargo was not found: install Rust from https://rustup.rs, or pass -DCARGO=/path/to/cargo")
endif()

# The default features have metadata in etcd, whose client is generated from .proto files.
if(MOONCAKE_FEATURES MATCHES "default|etcd")
  find_program(PROTOC protoc HINTS "$ENV{PROTOC}")
  if(NOT PROTOC)
    message(FATAL_ERROR "protoc was not found: install it (Debian, Ubuntu: protobuf-compiler and libprotobuf-dev), or "
      "leave etcd out: -DMOONCAKE_FEATURES=cli,compat,http,redis")
  endif()
endif()

set(default_target_dir "$ENV{CARGO_TARGET_DIR}")
if(NOT default_target_dir)
  set(default_target_dir "${PROJECT_BINARY_DIR}/cargo")
endif()
set(MOONCAKE_CARGO_TARGET_DIR "${default_target_dir}" CACHE PATH "Where cargo keeps what it builds")

set(MOONCAKE_CARGO_COMMAND ${CARGO} build --release --locked --no-default-features
  --target-dir ${MOONCAKE_CARGO_TARGET_DIR} --features=${MOONCAKE_FEATURES})
set(MOONCAKE_CARGO_OUTPUT "${MOONCAKE_CARGO_TARGET_DIR}/release")

if(MOONCAKE_SANITIZE)
  include(Sanitizers)
endif()
