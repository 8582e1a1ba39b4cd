// Time: std::chrono on this side, milliseconds on the library's.
#ifndef MOONCAKE_TIME_HPP
#define MOONCAKE_TIME_HPP

#include <chrono>
#include <cstdint>

#include "mooncake/error.hpp"

namespace mooncake {

/// How long a call may wait: any duration, rounded up to milliseconds, none below zero.
class Timeout {
 public:
  template <typename Count, typename Period>
  constexpr Timeout(std::chrono::duration<Count, Period> time) noexcept  // NOLINT: a duration is a timeout
      : milliseconds_(rounded(time)) {}

  /// As the C functions take it; -1 is without end, or the call's own default.
  constexpr std::int64_t milliseconds() const noexcept { return milliseconds_; }

  static constexpr Timeout none() noexcept { return Timeout(); }

 private:
  constexpr Timeout() noexcept : milliseconds_(-1) {}

  template <typename Duration>
  static constexpr std::int64_t rounded(Duration time) noexcept {
    // Beyond a century the conversion could overflow, and nobody can tell the difference.
    if (time >= std::chrono::hours(24 * 365 * 100)) return -1;
    if (time <= Duration::zero()) return 0;
    return std::chrono::ceil<std::chrono::milliseconds>(time).count();
  }

  std::int64_t milliseconds_;
};

/// For calls that wait for something to happen: no end.
inline constexpr Timeout forever = Timeout::none();
/// For calls that ask a peer: the engine's default deadline (Segment::probe(): its keepalive).
inline constexpr Timeout engine_default = Timeout::none();

namespace detail {

/// A duration that stands in an options struct, where zero means default.
inline std::uint64_t option_milliseconds(std::chrono::milliseconds time, const char* name) {
  if (time.count() < 0) throw Error(MC_ERR_INVALID_ARGUMENT, std::string(name) + " is negative");
  return static_cast<std::uint64_t>(time.count());
}

}  // namespace detail
}  // namespace mooncake

#endif  // MOONCAKE_TIME_HPP
