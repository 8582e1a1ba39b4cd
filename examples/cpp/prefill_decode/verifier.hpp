// Verifier: a thread that compares pulled blocks with what their hash ids say, while the next ones come in.
#ifndef PREFILL_DECODE_VERIFIER_HPP
#define PREFILL_DECODE_VERIFIER_HPP

#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

// A request whose blocks have all arrived.
struct Arrived {
  struct Block {
    std::uint64_t hash_id;
    const std::byte* data;
  };
  std::uint64_t request = 0;
  std::vector<Block> pulled;          // to compare
  std::vector<std::uint64_t> blocks;  // all of the request's; they stay in place until it is checked
};

class Verifier {
 public:
  explicit Verifier(std::size_t block_length);
  ~Verifier();  // without waiting for what was not checked yet
  Verifier(const Verifier&) = delete;
  Verifier& operator=(const Verifier&) = delete;

  // Waits while many requests are to be checked already.
  void check(Arrived arrived);

  // A request that was checked; nothing: none now. These throw std::runtime_error on a byte that is wrong.
  std::optional<Arrived> poll();
  // The same, waiting for one; nothing: none is on its way.
  std::optional<Arrived> wait();

 private:
  void run();
  std::string compare(const Arrived& arrived) const;
  std::optional<Arrived> take(std::unique_lock<std::mutex>& lock);

  const std::size_t block_length_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Arrived> waiting_;
  std::deque<Arrived> checked_;
  std::string mismatch_;
  bool is_busy_ = false;
  bool is_ending_ = false;
  std::thread thread_;  // the last: it uses all of the above
};

#endif  // PREFILL_DECODE_VERIFIER_HPP
