// Local cache: the blocks that a prefill process keeps for itself, least recently used out first.
#ifndef SERVING_LOCAL_CACHE_HPP
#define SERVING_LOCAL_CACHE_HPP

#include <cstddef>
#include <cstdint>
#include <list>
#include <unordered_map>
#include <vector>

class LocalCache {
 public:
  LocalCache(std::size_t capacity, std::size_t block_length) : memory_(capacity * block_length / sizeof memory_[0]) {
    for (std::size_t place = 0; place < capacity; ++place)
      free_.push_back(reinterpret_cast<std::byte*>(memory_.data()) + place * block_length);
  }

  // The block's bytes, now the most recently used; nullptr: it is not here.
  std::byte* find(std::uint64_t id) {
    auto known = known_.find(id);
    if (known == known_.end()) return nullptr;
    order_.splice(order_.end(), order_, known->second);
    return known->second->bytes;
  }

  // Room for a block that is not here, the most recently used from now on. Who has to go for it is added to `gone`.
  std::byte* add(std::uint64_t id, std::vector<std::uint64_t>& gone) {
    if (free_.empty()) {
      gone.push_back(order_.front().id);
      drop(order_.front().id);
    }
    order_.push_back({id, free_.back()});
    free_.pop_back();
    known_[id] = std::prev(order_.end());
    return order_.back().bytes;
  }

  void drop(std::uint64_t id) {
    auto known = known_.find(id);
    if (known == known_.end()) return;
    free_.push_back(known->second->bytes);
    order_.erase(known->second);
    known_.erase(known);
  }

 private:
  struct Entry {
    std::uint64_t id;
    std::byte* bytes;
  };

  std::vector<std::uint64_t> memory_;  // words, so that blocks are aligned
  std::vector<std::byte*> free_;
  std::list<Entry> order_;
  std::unordered_map<std::uint64_t, std::list<Entry>::iterator> known_;
};

#endif  // SERVING_LOCAL_CACHE_HPP
