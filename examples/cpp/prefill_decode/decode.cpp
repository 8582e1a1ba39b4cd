// Decode: pulls the blocks of each request that it does not hold, has them checked, and tells prefill that they may go.
#include <algorithm>
#include <cstdio>
#include <fstream>

#include "block_cache.hpp"
#include "messages.hpp"
#include "peer.hpp"
#include "report.hpp"
#include "roles.hpp"
#include "verifier.hpp"

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

void write_file(const std::string& file, const std::string& text) {
  std::ofstream out(file);
  out << text << std::flush;
  if (!out) throw std::runtime_error("cannot write " + file);
}

// Paths that carried bytes to this engine.
std::string paths_taken(const mooncake::EngineStats& stats) {
  std::string text;
  const std::pair<const char*, const mc_path_stats_t*> paths[] = {
      {"memfd", &stats.memfd}, {"cma", &stats.cma}, {"tcp", &stats.tcp}, {"local", &stats.local}};
  for (const auto& [name, path] : paths) {
    if (path->read_bytes != 0) text += (text.empty() ? "" : "+") + std::string(name);
  }
  return text;
}

mooncake::MemoryOptions nobody_else() {
  mooncake::MemoryOptions access;
  access.remote_read = access.remote_write = false;
  return access;
}

// One prefill process, from its hello to its end.
class Decode {
 public:
  Decode(const Options& options, const mooncake::Engine& engine, const Hello& hello)
      : engine_(engine),
        hello_(hello),
        prefill_(engine, "prefill", hello.address, options.patience),
        memory_(make_memory(options)),
        cache_(memory_.data(), hello.block_length, options.cache_bytes / hello.block_length),
        verifier_(hello.block_length) {
    report_.asked = name_of(options.paths.front());
  }

  Report run() {
    try {
      prefill_.send(tag::kWelcome, {});
      const Clock::time_point start = Clock::now();
      const End end = pull_all();
      while (std::optional<Arrived> checked = verifier_.wait()) release(*checked);
      report_.seconds = seconds_since(start);
      prefill_.send_last(tag::kDone, "");
      return finished(end);
    } catch (const std::exception& error) {
      prefill_.send_last(tag::kFailed, error.what());
      throw;
    }
  }

 private:
  BlockMemory make_memory(const Options& options) {
    const std::uint64_t capacity = options.cache_bytes / hello_.block_length;
    if (capacity < hello_.largest_request) {
      const std::string reason = "its cache of " + size_text(static_cast<double>(options.cache_bytes)) + " holds " +
                                 std::to_string(capacity) + " blocks, and a request has " +
                                 std::to_string(hello_.largest_request) + ": give decode a larger --cache";
      prefill_.send_last(tag::kFailed, reason);
      throw std::runtime_error(reason);
    }
    return BlockMemory(engine_, capacity * hello_.block_length, options.memory, nobody_else());
  }

  End pull_all() {
    Progress progress(static_cast<double>(hello_.request_count));
    for (std::uint64_t request = 0;; ++request) {
      const std::string awaited = "request " + std::to_string(request);
      const mooncake::Notification message = prefill_.receive(awaited);
      if (message.tag == tag::kEnd && request == hello_.request_count) return decode_end(message);
      if (message.tag != tag::kBlocks) {
        throw std::runtime_error(prefill_.name() + " said \"" + message.tag + "\" where " + awaited + " was due");
      }
      const Blocks blocks = decode_blocks(message);
      if (blocks.request != request || blocks.places.size() > hello_.largest_request) {
        throw std::runtime_error(prefill_.name() + " sent a message that does not fit where " + awaited + " was due");
      }
      pull(blocks);
      progress.show(report_);
      while (std::optional<Arrived> checked = verifier_.poll()) release(*checked);
    }
  }

  void pull(const Blocks& blocks) {
    Arrived arrived;
    arrived.request = blocks.request;
    std::vector<mooncake::Request> reads;
    for (const BlockPlace& place : blocks.places) {
      const BlockCache::Pinned block = pin(place.hash_id);
      arrived.blocks.push_back(place.hash_id);
      if (block.was_cached) continue;
      arrived.pulled.push_back({place.hash_id, block.data});
      reads.push_back(mooncake::read(prefill_.segment(), place.address, {block.data, hello_.block_length}));
    }
    transfer(blocks.request, reads);
    report_.requests += 1;
    report_.blocks += static_cast<double>(blocks.places.size());
    report_.reused_blocks += static_cast<double>(blocks.places.size() - reads.size());
    report_.pulled_bytes += static_cast<double>(reads.size() * hello_.block_length);
    verifier_.check(std::move(arrived));
  }

  // All of the cache may be held by requests that are being checked. The next one fits when those are done.
  BlockCache::Pinned pin(std::uint64_t hash_id) {
    for (;;) {
      if (std::optional<BlockCache::Pinned> block = cache_.pin(hash_id)) return *block;
      std::optional<Arrived> checked = verifier_.wait();
      if (!checked) throw std::logic_error("the cache is full of blocks that nobody uses");
      release(*checked);
    }
  }

  // Returns when the bytes are here and prefill knows.
  void transfer(std::uint64_t request, const std::vector<mooncake::Request>& reads) {
    const std::vector<std::byte> number = encode(request);
    if (reads.empty()) return prefill_.send(tag::kPulled, number);
    mooncake::BatchOptions options;
    options.notify_tag = tag::kPulled;
    options.notify_data = number;
    const std::string attempted =
        "pulling " + std::to_string(reads.size()) + " blocks of request " + std::to_string(request);
    const Clock::time_point start = Clock::now();
    try {
      mooncake::Batch(engine_, reads, options).wait().check();
    } catch (const mooncake::Error& error) {
      prefill_.fail(attempted, error.what());
    }
    const double seconds = seconds_since(start);
    report_.pull_seconds += seconds;
    latencies_.push_back(1000 * seconds);
  }

  // From its end, so that the start of a prompt, which more requests share, is the last to go.
  void release(const Arrived& checked) {
    std::for_each(checked.blocks.rbegin(), checked.blocks.rend(),
                  [this](std::uint64_t hash_id) { cache_.unpin(hash_id); });
  }

  Report finished(const End& end) {
    report_.taken = paths_taken(engine_.stats());
    report_.latency_p50_ms = quantile(latencies_, 0.50);
    report_.latency_p99_ms = quantile(latencies_, 0.99);
    report_.made_blocks = static_cast<double>(end.made_blocks);
    report_.making_seconds = static_cast<double>(end.making_ns) / 1e9;
    return report_;
  }

  const mooncake::Engine& engine_;
  const Hello hello_;
  Peer prefill_;
  BlockMemory memory_;
  BlockCache cache_;
  Verifier verifier_;
  Report report_;
  std::vector<double> latencies_;  // of requests that pulled something, in milliseconds
};

}  // namespace

void run_decode(const Options& options) {
  const mooncake::Engine engine(engine_options(options, "decode"));
  const std::string address = engine.info().address;
  if (options.announce.empty()) {
    std::fprintf(stderr, "decode listens at %s; start prefill with --decode %s\n", address.c_str(), address.c_str());
  } else {
    write_file(options.announce, address + '\n');
  }
  const std::optional<mooncake::Notification> hello =
      mooncake::receive(engine, std::string(tag::kHello), options.patience);
  if (!hello)
    throw std::runtime_error("no prefill came to " + address + " in " + std::to_string(options.patience.count()) +
                             " s");

  const Report report = Decode(options, engine, decode_hello(*hello)).run();
  if (options.report.empty()) {
    std::fputs(table({report}).c_str(), stdout);
  } else {
    write_file(options.report, to_json(report));
  }
}
