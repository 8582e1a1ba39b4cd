# Builds the library alone under AddressSanitizer or ThreadSanitizer. The runtime comes with the program that links it:
# compile that with -fsanitize=address or -fsanitize=thread.
if(NOT MOONCAKE_SANITIZE MATCHES "^(address|thread)$")
  message(FATAL_ERROR "MOONCAKE_SANITIZE is \"${MOONCAKE_SANITIZE}\": use address, thread or nothing")
endif()

execute_process(COMMAND rustc -vV OUTPUT_VARIABLE rustc_version)
string(REGEX REPLACE ".*host: ([^\n]+).*" "\\1" rust_host "${rustc_version}")

set(flags "-Zsanitizer=${MOONCAKE_SANITIZE}")
if(MOONCAKE_SANITIZE STREQUAL "thread")
  # The standard library comes compiled without it, and cannot be compiled anew without its sources.
  string(APPEND flags " -Cunsafe-allow-abi-mismatch=sanitizer")
endif()

# The switch is unstable, hence the bootstrap variable. An explicit --target keeps build scripts out of it.
set(MOONCAKE_CARGO_COMMAND ${CMAKE_COMMAND} -E env RUSTC_BOOTSTRAP=1 "RUSTFLAGS=$ENV{RUSTFLAGS} ${flags}"
  CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_STRIP=none CARGO_PROFILE_RELEASE_DEBUG=line-tables-only
  CARGO_PROFILE_RELEASE_DEBUG_ASSERTIONS=true CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16
  ${MOONCAKE_CARGO_COMMAND} --lib --target ${rust_host})
set(MOONCAKE_CARGO_OUTPUT "${MOONCAKE_CARGO_TARGET_DIR}/${rust_host}/release")
