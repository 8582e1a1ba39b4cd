// Replays a trace: asks the scheduler where each request runs, hands it to a prefill and then to a decode process, and
// tells the scheduler what became of it.
#include "router.hpp"

#include <poll.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <deque>
#include <fstream>
#include <map>
#include <unordered_set>

#include "../prefill_decode/trace.hpp"
#include "cluster.hpp"
#include "messages.hpp"
#include "outcome.hpp"
#include "scheduler.hpp"

namespace {

using Seconds = std::chrono::duration<double>;

Clock::duration ticks(double seconds) { return std::chrono::duration_cast<Clock::duration>(Seconds(seconds)); }

// Those that the next request may reuse: engines keep full blocks.
std::vector<std::uint64_t> full_blocks(const TraceRequest& request) {
  const std::size_t count = std::min<std::size_t>(request.hash_ids.size(), request.input_length / kTokens);
  return {request.hash_ids.begin(), request.hash_ids.begin() + static_cast<std::ptrdiff_t>(count)};
}

class Replay {
 public:
  Replay(const Options& options, const std::vector<TraceRequest>& trace, const std::string& policy, Cluster& cluster)
      : options_(options),
        trace_(trace),
        cluster_(cluster),
        scheduler_(policy, options.faster, options.bytes_per_token, cluster.prefill().size(), cluster.decode().size()),
        queues_(cluster.prefill().size()),
        under_way_(trace.size()) {
    outcome_.policy = policy;
  }

  Outcome run() {
    begin_ = Clock::now();
    while (outcome_.requests < trace_.size()) {
      for (; next_ < trace_.size() && arrival(next_) <= Clock::now(); ++next_) arrive(next_);
      wait();
      for (std::size_t i = 0; i < queues_.size(); ++i)
        while (auto line = cluster_.prefill()[i]->take()) hear_prefill(i, Words(*line));
      for (auto& worker : cluster_.decode())
        while (auto line = worker->take()) hear_decode(Words(*line));
      check_patience();
    }
    outcome_.seconds = Seconds(Clock::now() - begin_).count();
    return outcome_;
  }

 private:
  struct UnderWay {
    Placement placement;
    // When its prefill began.
    Clock::time_point since;
  };

  Clock::time_point arrival(std::size_t number) const {
    const std::uint64_t first = trace_.front().timestamp_ms;
    return begin_ + ticks(static_cast<double>(trace_[number].timestamp_ms - first) / 1e3 / options_.faster);
  }

  void arrive(std::size_t number) {
    const TraceRequest& request = trace_[number];
    const Placement placed = scheduler_.place(full_blocks(request), request.input_length, request.output_length);
    under_way_[number].placement = placed;
    queues_[placed.prefill].push_back(number);
    if (queues_[placed.prefill].size() == 1) begin(number);
  }

  // The first of a queue is what its process is at.
  void begin(std::size_t number) {
    const TraceRequest& request = trace_[number];
    UnderWay& one = under_way_[number];
    one.since = Clock::now();
    PrefillOrder order;
    order.request = number, order.tokens = std::max<std::uint64_t>(request.input_length, 1);
    order.reused = one.placement.reused, order.fetches = one.placement.moved > 0;
    order.linear = scheduler_.cost().linear, order.quadratic = scheduler_.cost().quadratic;
    order.blocks = request.hash_ids;
    cluster_.prefill()[one.placement.prefill]->send(line_of(order));
    scheduler_.started(one.placement.request);
  }

  void hear_prefill(std::size_t prefill, Words words) {
    const auto what = words.take<std::string>();
    if (what == "token") {
      const auto number = words.take<std::size_t>();
      outcome_.ttft.push_back(Seconds(Clock::now() - arrival(number)).count());
      return scheduler_.first_token(under_way_.at(number).placement.request);
    }
    const Prefilled done = prefilled(words);
    outcome_.local += done.local, outcome_.fetched += done.fetched, outcome_.computed += done.computed;
    outcome_.prefill_bytes += done.fetched_bytes, outcome_.put_bytes += done.put_bytes;
    const TraceRequest& request = trace_[done.request];
    scheduler_.holds(prefill, full_blocks(request), done.gone);
    const Placement& placement = under_way_[done.request].placement;
    const double seconds = placement.between_tokens * static_cast<double>(request.output_length);
    cluster_.decode()[placement.decode]->send(line_of(DecodeOrder{done.request, seconds, request.hash_ids}));
    decoding_[done.request] = Clock::now() + ticks(seconds) + options_.patience;
    queues_[prefill].pop_front();
    if (!queues_[prefill].empty()) begin(queues_[prefill].front());
  }

  void hear_decode(Words words) {
    const auto what = words.take<std::string>();
    const auto number = words.take<std::size_t>();
    if (what == "fetched") {
      outcome_.decode_bytes += words.take<std::uint64_t>();
      return;
    }
    scheduler_.finished(under_way_.at(number).placement.request);
    decoding_.erase(number);
    ++outcome_.requests;
    if (isatty(STDERR_FILENO))
      std::fprintf(stderr, "\r%s: request %llu of %zu\033[K", outcome_.policy.c_str(),
                   static_cast<unsigned long long>(outcome_.requests), trace_.size());
  }

  // Until somebody says something, or the next request comes; a tenth of a second at most.
  void wait() {
    std::vector<pollfd> entries;
    for (auto* workers : {&cluster_.prefill(), &cluster_.decode()})
      for (auto& worker : *workers) entries.push_back({worker->channel.descriptor(), POLLIN, 0});
    auto until = Clock::now() + std::chrono::milliseconds(100);
    if (next_ < trace_.size()) until = std::min(until, arrival(next_));
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(until - Clock::now()).count();
    poll(entries.data(), entries.size(), static_cast<int>(std::max<long long>(left, 0)));
  }

  void check_patience() {
    cluster_.check_master();
    const auto now = Clock::now();
    const auto silent = [&](Worker& worker, std::size_t number) {
      throw std::runtime_error(worker.process.name() + " does not answer: request " + std::to_string(number) +
                               ", for " + std::to_string(options_.patience.count()) + " s");
    };
    for (std::size_t i = 0; i < queues_.size(); ++i) {
      if (queues_[i].empty()) continue;
      const std::size_t number = queues_[i].front();
      if (now > under_way_[number].since + options_.patience) silent(*cluster_.prefill()[i], number);
    }
    for (const auto& [number, deadline] : decoding_)
      if (now > deadline) silent(*cluster_.decode()[under_way_[number].placement.decode], number);
  }

  const Options& options_;
  const std::vector<TraceRequest>& trace_;
  Cluster& cluster_;
  Scheduler scheduler_;
  std::vector<std::deque<std::size_t>> queues_;  // of each prefill process
  std::vector<UnderWay> under_way_;
  std::map<std::size_t, Clock::time_point> decoding_;  // by when they should be done
  std::size_t next_ = 0;
  Clock::time_point begin_;
  Outcome outcome_;
};

// So much memory for each of four that the store evicts nothing.
std::uint64_t memory_for(const Options& options, const std::vector<TraceRequest>& trace) {
  std::unordered_set<std::uint64_t> blocks;
  std::size_t longest = 0;
  for (const TraceRequest& request : trace) {
    blocks.insert(request.hash_ids.begin(), request.hash_ids.end());
    longest = std::max(longest, request.hash_ids.size());
  }
  if (longest > options.cache_blocks)
    throw std::runtime_error("a request has " + std::to_string(longest) + " blocks, and --cache is " +
                             std::to_string(options.cache_blocks) + ": give at least as many");
  return blocks.size() * kTokens * options.bytes_per_token + (std::uint64_t{16} << 20);
}

}  // namespace

void run_router(const Options& options) {
  const std::vector<TraceRequest> trace = read_trace(options.trace, options.requests);
  if (trace.empty()) throw std::runtime_error(options.trace + " has no requests");
  const std::uint64_t memory = memory_for(options, trace);
  std::printf(
      "a master, 2 prefill and 2 decode processes, a conductor; computing is slept, %g times as fast as the\n"
      "cost model says; blocks are put, fetched and compared\n",
      options.faster);
  std::fflush(stdout);
  std::vector<Outcome> outcomes;
  std::string json;
  for (const std::string& policy : options.policies) {
    Cluster cluster(options, memory);
    try {
      outcomes.push_back(Replay(options, trace, policy, cluster).run());
    } catch (const std::exception& error) {
      const std::string killed = cluster.killed();
      throw std::runtime_error(killed.empty() || killed == error.what() ? error.what() : killed + "; " + error.what());
    }
    const Outcome& last = outcomes.back();
    if (isatty(STDERR_FILENO)) std::fputs("\r\033[K", stderr);
    std::printf("%s: %llu requests in %.2f s, every byte that was fetched is right\n", policy.c_str(),
                static_cast<unsigned long long>(last.requests), last.seconds);
    std::fflush(stdout);
    json += to_json(last);
  }
  std::printf("\n%s", table(outcomes).c_str());
  if (options.json.empty()) return;
  std::ofstream file(options.json);
  file << json;
  if (!file.flush()) throw std::runtime_error("cannot write " + options.json);
}
