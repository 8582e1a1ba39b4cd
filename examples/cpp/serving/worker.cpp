// Worker: a prefill or a decode process. It gives memory to the store, and does what the router says.
//
// Computing is slept. Blocks are real: prefill makes those that it has not, fetches those that it is told to from the
// store, and puts the others there; decode fetches all of a request. Every byte that was fetched is compared.
#include "worker.hpp"

#include <mooncake/store.hpp>

#include <algorithm>
#include <queue>
#include <thread>

#include "../prefill_decode/content.hpp"
#include "channel.hpp"
#include "local_cache.hpp"
#include "messages.hpp"

namespace {

using mooncake::Bytes;

std::string key_of(std::uint64_t block) { return "kv/" + std::to_string(block); }

// The store as this process sees it.
class Blocks {
 public:
  explicit Blocks(const Options& options)
      : length_(kTokens * options.bytes_per_token), patience_(options.patience), store_(open(options)) {
    own_.preferred = {options.name};
  }

  std::size_t length() const { return length_; }

  // Fetches and compares blocks; how many from the beginning were there.
  std::size_t fetch(const std::vector<std::uint64_t>& ids, const std::vector<std::byte*>& into) const {
    std::vector<std::string> keys;
    for (std::uint64_t id : ids) keys.push_back(key_of(id));
    std::vector<mooncake::StoreGet> gets;
    for (std::size_t i = 0; i < ids.size(); ++i) gets.push_back({keys[i], {Bytes(into[i], length_)}, {}});
    const std::vector<mooncake::StoreResult> results = store_.get_batch(gets);
    for (std::size_t i = 0; i < ids.size(); ++i) {
      if (results[i].status == MC_ERR_NOT_FOUND) return i;
      mooncake::check(results[i].status);
      compare(ids[i], into[i]);
    }
    return ids.size();
  }

  // Puts blocks; the bytes of those that were not there. Whoever else puts one of them at the same time is waited for.
  std::uint64_t put(const std::vector<std::uint64_t>& ids, const std::vector<std::byte*>& from) {
    std::vector<std::string> keys;
    for (std::uint64_t id : ids) keys.push_back(key_of(id));
    std::vector<mooncake::StorePut> puts;
    for (std::size_t i = 0; i < ids.size(); ++i) puts.push_back({keys[i], {Bytes(from[i], length_)}});
    std::uint64_t bytes = 0;
    for (const auto deadline = Clock::now() + patience_; !puts.empty();) {
      const std::vector<mooncake::StoreResult> results = store_.put_batch(puts, own_);
      std::vector<mooncake::StorePut> again;
      for (std::size_t i = 0; i < puts.size(); ++i) {
        if (results[i].status == MC_ERR_BUSY && Clock::now() < deadline) {
          again.push_back(puts[i]);
        } else if (results[i].status != MC_ERR_ALREADY_EXISTS) {
          mooncake::check(results[i].status);
          bytes += length_;
        }
      }
      if (!again.empty()) std::this_thread::sleep_for(std::chrono::milliseconds(2));
      puts.swap(again);
    }
    return bytes;
  }

 private:
  static mooncake::Store open(const Options& options) {
    mooncake::StoreOptions store;
    store.masters = options.masters;
    store.memory_bytes = options.memory;
    store.node_name = options.name;
    store.no_environment = true;
    store.deadline = options.patience;
    return mooncake::Store(store);
  }

  void compare(std::uint64_t id, const std::byte* block) const {
    const auto at = content::find_difference(id, block, length_);
    if (at) throw std::runtime_error("block " + std::to_string(id) + " is wrong at byte " + std::to_string(*at));
  }

  std::size_t length_;
  std::chrono::seconds patience_;
  mooncake::Store store_;
  mooncake::PutOptions own_;
};

class Prefill {
 public:
  Prefill(const Options& options, Blocks& blocks, Channel& router)
      : blocks_(blocks), router_(router), cache_(options.cache_blocks, blocks.length()) {}

  void serve(const PrefillOrder& order) {
    const std::vector<std::uint64_t>& ids = order.blocks;
    Prefilled done;
    done.request = order.request;
    std::vector<std::byte*> bytes(ids.size());
    std::size_t have = reuse(order, bytes, done);
    sleep_for_prefill(order, have);
    std::vector<std::uint64_t> made;
    std::vector<std::byte*> from;
    for (std::size_t i = have; i < ids.size(); ++i) {
      bytes[i] = cache_.find(ids[i]);
      if (!bytes[i]) content::fill(ids[i], bytes[i] = cache_.add(ids[i], done.gone), blocks_.length());
      made.push_back(ids[i]), from.push_back(bytes[i]);
    }
    router_.send(Words().put("token").put(order.request).line());
    if (!made.empty()) done.put_bytes = blocks_.put(made, from);
    done.computed = made.size();
    router_.send(line_of(done));
  }

 private:
  // The blocks from the beginning that are here or in the store: what is behind the first that is neither is computed.
  std::size_t reuse(const PrefillOrder& order, std::vector<std::byte*>& bytes, Prefilled& done) {
    std::vector<std::uint64_t> missing;
    std::vector<std::byte*> into;
    std::vector<std::size_t> places;
    std::size_t have = 0;
    for (; have < std::min<std::size_t>(order.reused, order.blocks.size()); ++have) {
      const std::uint64_t id = order.blocks[have];
      if ((bytes[have] = cache_.find(id))) continue;
      if (!order.fetches) break;
      bytes[have] = cache_.add(id, done.gone);
      missing.push_back(id), into.push_back(bytes[have]), places.push_back(have);
    }
    const std::size_t fetched = missing.empty() ? 0 : blocks_.fetch(missing, into);
    // The store has lost the rest.
    for (std::size_t i = fetched; i < missing.size(); ++i) cache_.drop(missing[i]);
    if (fetched < missing.size()) have = places[fetched];
    done.fetched = fetched, done.local = have - fetched, done.fetched_bytes = fetched * blocks_.length();
    return have;
  }

  static void sleep_for_prefill(const PrefillOrder& order, std::size_t have) {
    const double tokens = static_cast<double>(order.tokens);
    const double cached = std::min(static_cast<double>(have * kTokens), tokens - 1);
    const double seconds = order.linear * (tokens - cached) + order.quadratic * (tokens * tokens - cached * cached);
    std::this_thread::sleep_for(std::chrono::duration<double>(seconds));
  }

  Blocks& blocks_;
  Channel& router_;
  LocalCache cache_;
};

class Decode {
 public:
  Decode(Blocks& blocks, Channel& router) : blocks_(blocks), router_(router) {}

  void serve(const DecodeOrder& order) {
    const std::size_t count = order.blocks.size();
    memory_.resize(std::max(memory_.size(), count * blocks_.length() / sizeof memory_[0]));
    std::vector<std::byte*> into;
    for (std::size_t i = 0; i < count; ++i)
      into.push_back(reinterpret_cast<std::byte*>(memory_.data()) + i * blocks_.length());
    const std::size_t there = blocks_.fetch(order.blocks, into);
    if (there < count)
      throw std::runtime_error("block " + std::to_string(order.blocks[there]) + " of request " +
                               std::to_string(order.request) + " is not in the store");
    router_.send(Words().put("fetched").put(order.request).put(count * blocks_.length()).line());
    const auto stay = std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(order.seconds));
    ends_.push({Clock::now() + stay, order.request});
  }

  // Tells of those that are over; when the next one is.
  Clock::time_point pass() {
    const auto now = Clock::now();
    for (; !ends_.empty() && ends_.top().first <= now; ends_.pop())
      router_.send(Words().put("decoded").put(ends_.top().second).line());
    return ends_.empty() ? now + std::chrono::hours(1) : ends_.top().first;
  }

 private:
  using End = std::pair<Clock::time_point, std::uint64_t>;

  Blocks& blocks_;
  Channel& router_;
  std::vector<std::uint64_t> memory_;
  std::priority_queue<End, std::vector<End>, std::greater<End>> ends_;
};

}  // namespace

int run_worker(const Options& options) {
  Channel router(kWorkerDescriptor);
  try {
    Blocks blocks(options);
    Prefill prefill(options, blocks, router);
    Decode decode(blocks, router);
    router.send("ready");
    for (;;) {
      const std::optional<std::string> line = router.wait(decode.pass());
      if (!line) continue;
      Words words(*line);
      const auto what = words.take<std::string>();
      if (what == "prefill") prefill.serve(prefill_order(words));
      if (what == "decode") decode.serve(decode_order(words));
      if (what == "end") return 0;
    }
  } catch (const ChannelClosed&) {
    throw std::runtime_error("the router is gone");
  } catch (const std::exception& error) {
    router.send(std::string("failed ") + error.what());
    return 1;
  }
}
