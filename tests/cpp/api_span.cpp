// Spans: what may be handed to a call, and what the compiler refuses.
#include "mooncake/span.hpp"

#include <array>
#include <cstdint>
#include <string>
#include <vector>
#if __cplusplus >= 202002L
#include <span>
#endif

#include "check.hpp"

using mooncake::Bytes;
using mooncake::ConstBytes;
using mooncake::Span;

static_assert(std::is_convertible_v<std::vector<int>&, Span<int>>, "a vector is a list");
static_assert(std::is_convertible_v<const std::vector<int>&, Span<const int>>, "also a const one, to look at");
static_assert(!std::is_convertible_v<const std::vector<int>&, Span<int>>, "a const list is not written to");
static_assert(!std::is_convertible_v<std::vector<short>&, Span<const int>>, "items are not converted");
static_assert(!std::is_convertible_v<const std::vector<char>&, Bytes>, "const memory is not written to");
static_assert(!std::is_convertible_v<std::vector<std::string>&, Bytes>, "objects are not bytes");
static_assert(!std::is_convertible_v<std::vector<Bytes>&, Bytes>, "a scatter list is not the memory it points to");
static_assert(!std::is_convertible_v<char (&)[8], Bytes>, "an array of characters may or may not mean its NUL");

static std::size_t size_of(Span<const std::uint64_t> list) { return list.size(); }

TEST(lists_are_borrowed_from_what_the_caller_has) {
  std::vector<std::uint64_t> vector{1, 2, 3};
  std::array<std::uint64_t, 2> array{4, 5};
  std::uint64_t plain[] = {6};
  CHECK(Span<const std::uint64_t>(vector).data() == vector.data());
  CHECK(size_of(vector) == 3);
  CHECK(size_of(array) == 2);
  CHECK(size_of(plain) == 1);
  CHECK(size_of({vector.data(), 2}) == 2);
  CHECK(size_of({}) == 0 && Span<int>().empty());
}

TEST(braced_lists_are_arguments) {
  std::uint64_t seven = 7;
  CHECK(size_of({seven, 8, 9}) == 3);
  CHECK(size_of({seven}) == 1);
}

TEST(spans_can_be_walked_and_written_through) {
  std::vector<int> numbers{1, 2, 3};
  Span<int> span(numbers);
  for (int& number : span) number *= 2;
  CHECK(span[2] == 6 && numbers[0] == 2);
}

TEST(memory_is_counted_in_bytes) {
  std::vector<float> floats(8);
  Bytes bytes(floats);
  CHECK(bytes.address == floats.data() && bytes.length == 32);
  Bytes part = bytes.part(4, 8);
  CHECK(part.address == &floats[1] && part.length == 8);
  CHECK(Bytes(&floats[2], 4).address == &floats[2]);
}

TEST(texts_are_bytes_without_their_nul) {
  CHECK(ConstBytes("four").length == 4);
  CHECK(ConstBytes(std::string("a\0b", 3)).length == 3);
  CHECK(ConstBytes().length == 0);
}

#if __cplusplus >= 202002L
TEST(standard_spans_are_taken_too) {
  std::vector<std::uint64_t> vector{1, 2, 3};
  std::span<std::uint64_t> standard(vector);
  CHECK(size_of(standard) == 3);
  CHECK(Span<std::uint64_t>(standard.first(2)).size() == 2);
  CHECK(Bytes(std::as_writable_bytes(standard)).length == 24);
  CHECK(ConstBytes(std::as_bytes(standard)).length == 24);
}
#endif
