// Scheduler: the conductor, as the router uses it. Times are seconds as they pass here.
#ifndef SERVING_SCHEDULER_HPP
#define SERVING_SCHEDULER_HPP

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

// Where a request runs.
struct Placement {
  std::uint64_t request = 0;  // what the conductor calls it
  std::size_t prefill = 0, decode = 0;
  std::uint64_t reused = 0, moved = 0;  // blocks
  double between_tokens = 0;
};

// What a prefill takes: for each token that is computed, and for each square.
struct PrefillCost {
  double linear = 0, quadratic = 0;
};

class Scheduler {
 public:
  // For so many processes of each kind, that compute `faster` than the model of the paper on its machines.
  Scheduler(const std::string& policy, double faster, std::uint64_t bytes_per_token, std::size_t prefill,
            std::size_t decode);
  ~Scheduler();
  Scheduler(const Scheduler&) = delete;
  Scheduler& operator=(const Scheduler&) = delete;

  PrefillCost cost() const;

  // The keys of the full blocks of a prompt.
  Placement place(const std::vector<std::uint64_t>& blocks, std::uint64_t tokens, std::uint64_t output);

  // What happened to a request.
  void started(std::uint64_t request);
  void first_token(std::uint64_t request);
  void finished(std::uint64_t request);

  // A prefill process has these blocks now, and those no more; the store has what it has.
  void holds(std::size_t prefill, const std::vector<std::uint64_t>& blocks, const std::vector<std::uint64_t>& gone);

 private:
  struct Held;
  std::unique_ptr<Held> held_;
};

#endif  // SERVING_SCHEDULER_HPP
