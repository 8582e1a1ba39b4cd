// Prefill: makes the blocks of each request in its own cache, as a model would, and tells decode where they are.
#include <algorithm>
#include <chrono>
#include <deque>
#include <thread>

#include "block_cache.hpp"
#include "content.hpp"
#include "messages.hpp"
#include "peer.hpp"
#include "report.hpp"
#include "roles.hpp"
#include "trace.hpp"

namespace {

using Clock = std::chrono::steady_clock;

const TraceRequest& largest(const std::vector<TraceRequest>& trace) {
  return *std::max_element(trace.begin(), trace.end(),
                           [](const auto& a, const auto& b) { return a.hash_ids.size() < b.hash_ids.size(); });
}

// Blocks that the cache holds. A request that does not fit as a whole could never be pulled.
std::size_t capacity(const Options& options, std::uint64_t block_length, std::size_t needed) {
  const std::uint64_t count = options.cache_bytes / block_length;
  if (needed > kMostBlocks)
    throw std::runtime_error("the trace has a request of " + std::to_string(needed) + " blocks");
  if (count >= needed) return count;
  throw std::runtime_error("the largest request has " + std::to_string(needed) + " blocks of " +
                           size_text(block_length) + ", but the cache holds " + std::to_string(count) +
                           ": give --cache " + std::to_string((needed * block_length >> 20) + 1) +
                           "MiB or more, or fewer --bytes-per-token");
}

class Prefill {
 public:
  explicit Prefill(const Options& options)
      : options_(options),
        trace_(read_trace(options.trace, options.requests)),
        block_length_(options.bytes_per_token * kBlockTokens),
        capacity_(capacity(options, block_length_, largest(trace_).hash_ids.size())),
        engine_(engine_options(options, "prefill")),
        memory_(engine_, capacity_ * block_length_, options.memory, decode_reads()),
        cache_(memory_.data(), block_length_, capacity_),
        decode_(engine_, "decode", options.decode_address, options.patience) {}

  void run() {
    try {
      introduce();
      const Clock::time_point start = Clock::now();
      for (std::size_t request = 0; request < trace_.size(); ++request) {
        wait_for_turn(start, trace_[request]);
        offer(request);
      }
      while (!offered_.empty()) release(decode_.receive(awaited()));
      decode_.send(tag::kEnd, encode(end_));
      expect(decode_.receive("its word that every byte was right"), tag::kDone);
    } catch (const std::exception& error) {
      decode_.send_last(tag::kFailed, error.what());
      throw;
    }
  }

 private:
  static mooncake::MemoryOptions decode_reads() {
    mooncake::MemoryOptions access;
    access.remote_write = false;
    return access;
  }

  void introduce() {
    Hello hello{block_length_, trace_.size(), largest(trace_).hash_ids.size(), engine_.info().address};
    decode_.send(tag::kHello, encode(hello));
    expect(decode_.receive("its welcome"), tag::kWelcome);
  }

  void wait_for_turn(Clock::time_point start, const TraceRequest& request) const {
    if (options_.pace == 0) return;
    const std::chrono::duration<double, std::milli> offset((request.timestamp_ms - trace_[0].timestamp_ms) /
                                                           options_.pace);
    std::this_thread::sleep_until(start + std::chrono::duration_cast<Clock::duration>(offset));
  }

  // Makes what is not in the cache, and keeps the whole request there until decode has it.
  void offer(std::size_t request) {
    while (auto message = decode_.poll()) release(*message);
    while (offered_.size() >= options_.window) release(decode_.receive(awaited()));
    Blocks blocks;
    blocks.request = request;
    for (std::uint64_t hash_id : trace_[request].hash_ids) {
      blocks.places.push_back({hash_id, reinterpret_cast<std::uintptr_t>(make(hash_id))});
    }
    offered_.push_back(request);
    decode_.send(tag::kBlocks, encode(blocks));
  }

  std::byte* make(std::uint64_t hash_id) {
    std::optional<BlockCache::Pinned> block;
    // All of the cache is kept for requests that decode has yet to pull. This one fits when those are gone.
    while (!(block = cache_.pin(hash_id))) release(decode_.receive(awaited()));
    if (block->was_cached) {
      ++end_.kept_blocks;
      return block->data;
    }
    const Clock::time_point start = Clock::now();
    content::fill(hash_id, block->data, block_length_);
    end_.making_ns += static_cast<std::uint64_t>(std::chrono::nanoseconds(Clock::now() - start).count());
    ++end_.made_blocks;
    return block->data;
  }

  std::string awaited() const { return "request " + std::to_string(offered_.front()) + " to be pulled"; }

  // Decode has the oldest request.
  void release(const mooncake::Notification& message) {
    expect(message, tag::kPulled);
    const std::uint64_t request = decode_number(message);
    if (offered_.empty() || request != offered_.front()) {
      throw std::runtime_error(decode_.name() + " pulled request " + std::to_string(request) +
                               ", which was not its turn");
    }
    offered_.pop_front();
    // From its end, so that the start of a prompt, which more requests share, is the last to go.
    const std::vector<std::uint64_t>& blocks = trace_[request].hash_ids;
    std::for_each(blocks.rbegin(), blocks.rend(), [this](std::uint64_t hash_id) { cache_.unpin(hash_id); });
  }

  void expect(const mooncake::Notification& message, const char* tag) const {
    if (message.tag == tag) return;
    throw std::runtime_error(decode_.name() + " said \"" + message.tag + "\" where \"" + tag + "\" was due");
  }

  const Options& options_;
  const std::vector<TraceRequest> trace_;
  const std::uint64_t block_length_;
  const std::size_t capacity_;
  const mooncake::Engine engine_;
  const BlockMemory memory_;
  BlockCache cache_;
  Peer decode_;
  std::deque<std::size_t> offered_;  // requests that decode has yet to pull, oldest first
  End end_;
};

}  // namespace

void run_prefill(const Options& options) { Prefill(options).run(); }
