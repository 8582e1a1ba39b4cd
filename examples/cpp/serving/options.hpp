// Options: what the command line says.
#ifndef SERVING_OPTIONS_HPP
#define SERVING_OPTIONS_HPP

#include <chrono>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

enum class Role { router, prefill, decode };

struct Options {
  Role role = Role::router;
  // Of the router.
  std::string trace;
  std::string program = "mooncake";  // what a master is started from
  std::size_t requests = std::numeric_limits<std::size_t>::max();
  std::vector<std::string> policies = {"random", "global"};
  double faster = 60;  // by how much time runs faster than in the trace
  std::uint64_t bytes_per_token = 16;
  std::size_t cache_blocks = 4096;  // of each prefill process
  std::chrono::seconds patience{30};
  std::string json;  // file
  // Of a worker.
  std::string name;
  std::string masters;
  std::uint64_t memory = 0;
  std::uint64_t parent = 0;  // process id
};

// The command line is wrong; what() says how.
struct UsageError : std::runtime_error {
  using std::runtime_error::runtime_error;
};

Options parse_options(const std::vector<std::string>& arguments);
const char* usage();

#endif  // SERVING_OPTIONS_HPP
