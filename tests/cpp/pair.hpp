// Pair: two engines of one process that know each other, with memory on both sides.
#ifndef TESTS_CPP_PAIR_HPP
#define TESTS_CPP_PAIR_HPP

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>

#include "mooncake/memory.hpp"
#include "mooncake/segment.hpp"

namespace test {

/// Long enough for any machine: a guard against hanging, never a measurement.
inline constexpr std::chrono::seconds guard{30};

inline mooncake::EngineOptions on_loopback(const char* name = "") {
  mooncake::EngineOptions options;
  options.name = name;
  options.bind_address = "127.0.0.1";
  return options;
}

/// Bytes that depend on their place, so that a shifted copy is noticed.
inline void fill(mooncake::Bytes range, unsigned seed) {
  auto* bytes = static_cast<unsigned char*>(range.address);
  for (std::size_t i = 0; i < range.length; ++i) bytes[i] = static_cast<unsigned char>(seed + i * 7 + (i >> 8));
}

inline bool holds(mooncake::Bytes range, unsigned seed) {
  auto* bytes = static_cast<const unsigned char*>(range.address);
  for (std::size_t i = 0; i < range.length; ++i) {
    if (bytes[i] != static_cast<unsigned char>(seed + i * 7 + (i >> 8))) return false;
  }
  return true;
}

struct Pair {
  explicit Pair(std::size_t size = 1 << 16)
      : target(on_loopback("target")),
        initiator(on_loopback("initiator")),
        remote(target, size),
        local(initiator, size),
        peer(initiator, target.info().address, guard) {}

  /// The peer's address of the byte at `offset`.
  std::uint64_t at(std::size_t offset = 0) const { return reinterpret_cast<std::uintptr_t>(remote.data()) + offset; }

  mooncake::Engine target;
  mooncake::Engine initiator;
  mooncake::Allocation remote;
  mooncake::Allocation local;
  mooncake::Segment peer;
};

}  // namespace test

#endif  // TESTS_CPP_PAIR_HPP
