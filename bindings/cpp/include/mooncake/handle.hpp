// Handles: how an object of this binding owns one id of an engine.
#ifndef MOONCAKE_HANDLE_HPP
#define MOONCAKE_HANDLE_HPP

#include <cstdint>
#include <string>
#include <utility>

#include "mooncake/error.hpp"

namespace mooncake {
namespace detail {

/// Owns an id of an engine's child and ends it with `End`.
///
/// The engine is known by name only, never kept alive: a child that outlives its engine ended with it, and ending it
/// again is an error that nobody sees. So objects may be destroyed in any order.
template <mc_status_t (*End)(mc_engine_t*, std::uint64_t)>
class Handle {
 public:
  Handle(Handle&& other) noexcept : engine_(other.engine_), id_(std::exchange(other.id_, 0)) {}
  Handle& operator=(Handle&& other) noexcept {
    Handle old(std::move(*this));
    engine_ = other.engine_;
    id_ = std::exchange(other.id_, 0);
    return *this;
  }
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  /// The id for calls of the C library; 0 after a move or close().
  std::uint64_t id() const noexcept { return id_; }
  mc_engine_t* engine() const noexcept { return engine_; }

  /// Ends it now and tells when that fails, which the destructor cannot; then it still stands.
  void close() {
    check(End(engine_, id_));
    id_ = 0;
  }

 protected:
  Handle(mc_engine_t* engine, std::uint64_t id) noexcept : engine_(engine), id_(id) {}
  ~Handle() {
    if (id_ != 0) End(engine_, id_);
  }
  /// It was ended by other means.
  void forget() noexcept { id_ = 0; }

 private:
  mc_engine_t* engine_;
  std::uint64_t id_;
};

/// A text for the C library; "" is NULL, which means default.
inline const char* option_text(const std::string& text, const char* name) {
  if (text.find('\0') != std::string::npos) {
    throw Error(MC_ERR_INVALID_ARGUMENT, std::string(name) + " contains a NUL character");
  }
  return text.empty() ? nullptr : text.c_str();
}

/// Calls `call(buffer, size, &length)` with a buffer that grows until the output fits.
template <typename Buffer, typename Call>
Buffer output(Call call) {
  Buffer buffer(256, typename Buffer::value_type{});
  std::size_t length = 0;
  for (;;) {
    mc_status_t status = call(buffer.data(), buffer.size(), &length);
    if (status != MC_ERR_BUFFER_TOO_SMALL) {
      check(status);
      buffer.resize(length);
      return buffer;
    }
    buffer.resize(length + 1);  // one more, for the NUL of texts
  }
}

}  // namespace detail
}  // namespace mooncake

#endif  // MOONCAKE_HANDLE_HPP
