// Options: what the command line says.
#ifndef PREFILL_DECODE_OPTIONS_HPP
#define PREFILL_DECODE_OPTIONS_HPP

#include <chrono>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

enum class Role { both, prefill, decode };

// Which transports an engine may use.
enum class Path { any, same_host, tcp };

// Where blocks lie: in memory that the library allocates, which peers of this host map, or in ordinary memory.
enum class MemoryKind { shared, ordinary };

struct Options {
  Role role = Role::both;
  std::vector<Path> paths;  // one after the other; prefill and decode alone take one
  std::string trace;
  std::size_t requests = std::numeric_limits<std::size_t>::max();
  std::uint64_t bytes_per_token = 256;
  std::uint64_t cache_bytes = std::uint64_t{1} << 30;
  MemoryKind memory = MemoryKind::shared;
  double pace = 0;  // trace seconds per second; 0: as fast as possible
  std::size_t window = 8;
  std::string bind = "127.0.0.1";
  std::uint16_t port = 0;
  std::string decode_address;
  std::string announce;  // file
  std::string report;    // file
  std::chrono::seconds patience{30};
  std::uint64_t parent = 0;  // process id; 0: none
};

// The command line is wrong; what() says how.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

Options parse_options(const std::vector<std::string>& arguments);
const char* usage();

const char* name_of(Path path);
// As mooncake::EngineOptions::transports.
const char* transports_of(Path path);

#endif  // PREFILL_DECODE_OPTIONS_HPP
