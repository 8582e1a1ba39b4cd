// Spans: lists and ranges of bytes that a call borrows, made from whatever the caller has.
#ifndef MOONCAKE_SPAN_HPP
#define MOONCAKE_SPAN_HPP

#include <mooncake.h>

#include <cstddef>
#include <initializer_list>
#include <iterator>
#include <string_view>
#include <type_traits>
#include <utility>

namespace mooncake {
namespace detail {

template <typename Container>
using ItemOf = std::remove_pointer_t<decltype(std::data(std::declval<Container&>()))>;

/// Containers whose items may be seen as `T`: the same type, or T is const and the item is not.
template <typename Container, typename T>
using IfListOf = std::enable_if_t<std::is_convertible_v<ItemOf<Container> (*)[], T (*)[]>>;

/// Containers whose items are plain bytes in a row. Arrays of characters are left out: is their last NUL meant?
template <typename Container, typename Void>
using IfBytes = std::enable_if_t<std::is_trivially_copyable_v<ItemOf<Container>> &&
                                 std::is_convertible_v<ItemOf<Container>*, Void*> &&
                                 !std::is_base_of_v<mc_span_t, std::remove_cv_t<ItemOf<Container>>> &&
                                 !std::is_array_v<std::remove_reference_t<Container>>>;

}  // namespace detail

/// A borrowed list: from a vector, an array, std::span, a braced list as an argument, or pointer and size.
template <typename T>
class Span {
 public:
  constexpr Span() noexcept = default;
  constexpr Span(T* data, std::size_t size) noexcept : data_(data), size_(size) {}

  template <typename Container, typename = detail::IfListOf<Container, T>>
  constexpr Span(Container&& list) noexcept  // NOLINT: lists are spans
      : Span(std::data(list), std::size(list)) {}

  /// For T const, as an argument: the list lives until the call returns.
  constexpr Span(std::initializer_list<std::remove_const_t<T>> list) noexcept : Span(list.begin(), list.size()) {}

  constexpr T* data() const noexcept { return data_; }
  constexpr std::size_t size() const noexcept { return size_; }
  constexpr bool empty() const noexcept { return size_ == 0; }
  constexpr T* begin() const noexcept { return data_; }
  constexpr T* end() const noexcept { return data_ + size_; }
  constexpr T& operator[](std::size_t index) const noexcept { return data_[index]; }

 private:
  T* data_ = nullptr;
  std::size_t size_ = 0;
};

/// A range of memory to register, to read into or to write from; also one piece of a scatter list.
struct Bytes : mc_span_t {
  constexpr Bytes() noexcept : mc_span_t{nullptr, 0} {}
  constexpr Bytes(void* address, std::size_t length) noexcept : mc_span_t{address, length} {}

  template <typename Container, typename = detail::IfBytes<Container, void>>
  Bytes(Container&& list) noexcept  // NOLINT: containers of plain items are memory
      : Bytes(std::data(list), std::size(list) * sizeof *std::data(list)) {}

  /// `count` bytes from `offset` on; the caller keeps it inside.
  Bytes part(std::size_t offset, std::size_t count) const noexcept {
    return {static_cast<std::byte*>(address) + offset, count};
  }
};

// Lists of Bytes go to the library as lists of mc_span_t.
static_assert(sizeof(Bytes) == sizeof(mc_span_t), "Bytes must add nothing to mc_span_t");

/// A range of memory that is only looked at.
struct ConstBytes {
  constexpr ConstBytes() noexcept = default;
  constexpr ConstBytes(const void* bytes, std::size_t count) noexcept : address(bytes), length(count) {}
  /// A text without its NUL.
  constexpr ConstBytes(const char* text) noexcept  // NOLINT: texts are bytes
      : ConstBytes(text, std::string_view(text).size()) {}

  template <typename Container, typename = detail::IfBytes<Container, const void>>
  ConstBytes(const Container& list) noexcept  // NOLINT: containers of plain items are memory
      : ConstBytes(std::data(list), std::size(list) * sizeof *std::data(list)) {}

  const void* address = nullptr;
  std::size_t length = 0;
};

}  // namespace mooncake

#endif  // MOONCAKE_SPAN_HPP
