// Outcome: what one run came to, and how it is shown.
#ifndef SERVING_OUTCOME_HPP
#define SERVING_OUTCOME_HPP

#include <cstdint>
#include <string>
#include <vector>

struct Outcome {
  std::string policy;
  std::uint64_t requests = 0;
  std::uint64_t local = 0, fetched = 0, computed = 0;  // blocks of prompts
  std::uint64_t put_bytes = 0;                         // into the store, by prefill
  std::uint64_t prefill_bytes = 0, decode_bytes = 0;   // out of the store
  std::vector<double> ttft;                            // seconds
  double seconds = 0;
};

std::string to_json(const Outcome& outcome);

// One column for each.
std::string table(const std::vector<Outcome>& outcomes);

#endif  // SERVING_OUTCOME_HPP
