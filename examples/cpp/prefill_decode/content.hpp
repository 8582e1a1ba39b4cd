// Content: what is in the block of a hash id. Both sides know it, so that every byte can be checked.
#ifndef PREFILL_DECODE_CONTENT_HPP
#define PREFILL_DECODE_CONTENT_HPP

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>

namespace content {

// A block is a row of 64-bit words, a counter that starts at a number made from the hash id. Cheap to make and to
// compare, and no word occurs twice in a block or at the same place of two blocks: moved and mixed-up bytes are found.
constexpr std::uint64_t kStep = 0x9e3779b97f4a7c15;

inline std::uint64_t first_word(std::uint64_t hash_id) {
  std::uint64_t word = hash_id + kStep;
  word = (word ^ (word >> 30)) * 0xbf58476d1ce4e5b9;
  word = (word ^ (word >> 27)) * 0x94d049bb133111eb;
  return word ^ (word >> 31);
}

// `length` is a multiple of 8, and `block` is aligned to 8.
inline void fill(std::uint64_t hash_id, std::byte* block, std::size_t length) {
  auto* words = reinterpret_cast<std::uint64_t*>(block);
  std::uint64_t word = first_word(hash_id);
  for (std::size_t i = 0; i < length / sizeof word; ++i, word += kStep) words[i] = word;
}

// Offset of the first byte that is not as fill() makes it.
inline std::optional<std::size_t> find_difference(std::uint64_t hash_id, const std::byte* block, std::size_t length) {
  constexpr std::size_t kAtOnce = 512;  // words; the loop over them has no branch, so that it runs at memory speed
  const auto* words = reinterpret_cast<const std::uint64_t*>(block);
  std::uint64_t word = first_word(hash_id);
  const std::size_t count = length / sizeof word;
  for (std::size_t start = 0; start < count; start += kAtOnce) {
    const std::size_t end = std::min(count, start + kAtOnce);
    std::uint64_t different = 0, expected = word;
    for (std::size_t i = start; i < end; ++i, expected += kStep) different |= words[i] ^ expected;
    if (different == 0) {
      word = expected;
      continue;
    }
    for (std::size_t i = start;; ++i, word += kStep) {
      if (words[i] == word) continue;
      std::byte wanted[sizeof word];
      std::memcpy(wanted, &word, sizeof word);
      const std::byte* found = block + i * sizeof word;
      return i * sizeof word +
             static_cast<std::size_t>(std::mismatch(wanted, wanted + sizeof word, found).first - wanted);
    }
  }
  return std::nullopt;
}

}  // namespace content

#endif  // PREFILL_DECODE_CONTENT_HPP
