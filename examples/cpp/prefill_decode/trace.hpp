// Trace: the requests that a service received, as Mooncake publishes them.
#ifndef PREFILL_DECODE_TRACE_HPP
#define PREFILL_DECODE_TRACE_HPP

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

// Tokens that one block of the KV cache holds.
constexpr std::size_t kBlockTokens = 512;

struct TraceRequest {
  std::uint64_t timestamp_ms = 0;
  std::uint64_t input_length = 0;
  std::uint64_t output_length = 0;
  // One per block of the input. Equal ids mean equal blocks with equal blocks before them.
  std::vector<std::uint64_t> hash_ids;
};

// Reads the first `limit` requests of a file of JSON lines. Throws std::runtime_error with "file:line: reason".
std::vector<TraceRequest> read_trace(const std::string& file, std::size_t limit);

#endif  // PREFILL_DECODE_TRACE_HPP
