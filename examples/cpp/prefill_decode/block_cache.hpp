// Block cache: which block of the KV cache lies in which piece of memory, and which goes when room is needed.
#ifndef PREFILL_DECODE_BLOCK_CACHE_HPP
#define PREFILL_DECODE_BLOCK_CACHE_HPP

#include <cstddef>
#include <cstdint>
#include <list>
#include <optional>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <vector>

// Least recently used first out; a block that is pinned stays. For one thread.
class BlockCache {
 public:
  struct Pinned {
    std::byte* data;
    // False: it has a place now, and whatever was there before is still in it.
    bool was_cached;
  };

  // `memory` holds `capacity` blocks; it is borrowed.
  BlockCache(std::byte* memory, std::size_t block_length, std::size_t capacity)
      : memory_(memory), block_length_(block_length), places_(capacity) {
    for (std::size_t place = 0; place < capacity; ++place) places_[place].idle = idle_.insert(idle_.end(), place);
  }

  std::size_t capacity() const { return places_.size(); }
  std::size_t block_length() const { return block_length_; }

  // Keeps a block where it is until unpin(), and gives it a place when it has none. Pins are counted.
  // Nothing: every place is pinned; unpin something first.
  std::optional<Pinned> pin(std::uint64_t hash_id) {
    auto known = place_of_.find(hash_id);
    if (known != place_of_.end()) {
      hold(known->second);
      return Pinned{data(known->second), true};
    }
    if (idle_.empty()) return std::nullopt;
    const std::size_t place = idle_.front();
    if (places_[place].is_used) place_of_.erase(places_[place].hash_id);
    places_[place].hash_id = hash_id;
    places_[place].is_used = true;
    place_of_.emplace(hash_id, place);
    hold(place);
    return Pinned{data(place), false};
  }

  // The block becomes the most recently used one when this was its last pin.
  void unpin(std::uint64_t hash_id) {
    auto known = place_of_.find(hash_id);
    if (known == place_of_.end() || places_[known->second].pins == 0) {
      throw std::logic_error("block " + std::to_string(hash_id) + " is not pinned");
    }
    Place& place = places_[known->second];
    if (--place.pins == 0) place.idle = idle_.insert(idle_.end(), known->second);
  }

 private:
  struct Place {
    std::uint64_t hash_id = 0;
    std::size_t pins = 0;
    bool is_used = false;
    std::list<std::size_t>::iterator idle;  // valid while pins is 0
  };

  std::byte* data(std::size_t place) const { return memory_ + place * block_length_; }

  void hold(std::size_t place) {
    if (places_[place].pins++ == 0) idle_.erase(places_[place].idle);
  }

  std::byte* memory_;
  std::size_t block_length_;
  std::vector<Place> places_;
  std::list<std::size_t> idle_;  // places without pins, the one that goes next in front
  std::unordered_map<std::uint64_t, std::size_t> place_of_;
};

#endif  // PREFILL_DECODE_BLOCK_CACHE_HPP
