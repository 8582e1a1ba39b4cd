// Content: every wrong byte is found, where it is; and the verifier says so.
#include "content.hpp"

#include <vector>

#include "unit.hpp"
#include "verifier.hpp"

namespace {

std::vector<std::byte> block(std::uint64_t hash_id, std::size_t length) {
  std::vector<std::byte> bytes(length);
  content::fill(hash_id, bytes.data(), length);
  return bytes;
}

void what_was_filled_is_right() {
  for (std::size_t length : {8, 64, 4096, 4104, 100000}) {
    CHECK(!content::find_difference(5, block(5, length).data(), length));
  }
}

void a_flipped_bit_is_found_wherever_it_is() {
  constexpr std::size_t kLength = 3 * 4096 + 8;
  std::vector<std::byte> bytes = block(42, kLength);
  for (std::size_t at = 0; at < kLength; ++at) {
    const std::byte flip{static_cast<unsigned char>(1 << at % 8)};
    bytes[at] ^= flip;
    CHECK(content::find_difference(42, bytes.data(), kLength) == at);
    bytes[at] ^= flip;
  }
}

void the_first_of_several_wrong_bytes_is_named() {
  std::vector<std::byte> bytes = block(42, 8192);
  bytes[5000] ^= std::byte{0xff};
  bytes[6000] ^= std::byte{0xff};
  CHECK(content::find_difference(42, bytes.data(), 8192) == 5000u);
}

void another_block_is_not_this_one() {
  for (std::uint64_t other : {0, 6, 4}) CHECK(content::find_difference(5, block(other, 4096).data(), 4096));
  CHECK(content::find_difference(0, std::vector<std::byte>(4096).data(), 4096));
}

void moved_words_are_found() {
  std::vector<std::byte> bytes = block(9, 8192);
  std::swap_ranges(bytes.begin(), bytes.begin() + 4096, bytes.begin() + 4096);
  CHECK(content::find_difference(9, bytes.data(), 8192));
}

Arrived arrived(std::uint64_t request, std::uint64_t hash_id, const std::vector<std::byte>& bytes) {
  Arrived arrived;
  arrived.request = request;
  arrived.pulled = {{hash_id, bytes.data()}};
  arrived.blocks = {hash_id};
  return arrived;
}

void the_verifier_hands_right_requests_back_in_order() {
  const std::vector<std::byte> bytes = block(3, 4096);
  Verifier verifier(4096);
  CHECK(!verifier.wait() && !verifier.poll());
  std::uint64_t next = 0;
  for (std::uint64_t request = 0; request < 100; ++request) {
    verifier.check(arrived(request, 3, bytes));
    while (auto checked = verifier.poll()) CHECK(checked->request == next++);
  }
  while (auto checked = verifier.wait()) CHECK(checked->request == next++);
  CHECK(next == 100);
}

void the_verifier_names_the_wrong_byte() {
  std::vector<std::byte> good = block(3, 4096), bad = block(77, 4096);
  bad[1234] = std::byte{0xab};
  Verifier verifier(4096);
  verifier.check(arrived(0, 3, good));
  verifier.check(arrived(1, 77, bad));
  const std::string text = thrown_by([&] {
    while (verifier.wait()) {
    }
  });
  CHECK(contains(text, "byte 1234 of block 77 of request 1 is 0xab"));
  CHECK(thrown_by([&] { verifier.check(arrived(2, 3, good)); }) == text);
}

}  // namespace

int main() {
  RUN(what_was_filled_is_right);
  RUN(a_flipped_bit_is_found_wherever_it_is);
  RUN(the_first_of_several_wrong_bytes_is_named);
  RUN(another_block_is_not_this_one);
  RUN(moved_words_are_found);
  RUN(the_verifier_hands_right_requests_back_in_order);
  RUN(the_verifier_names_the_wrong_byte);
}
