// Log: where the lines of every engine of this process go.
#ifndef MOONCAKE_LOG_HPP
#define MOONCAKE_LOG_HPP

#include <functional>
#include <memory>
#include <string_view>
#include <utility>

#include "mooncake/error.hpp"

namespace mooncake {

/// A level includes all below it.
enum class LogLevel : mc_log_level_t {
  off = MC_LOG_LEVEL_OFF,
  error = MC_LOG_LEVEL_ERROR,
  warn = MC_LOG_LEVEL_WARN,
  info = MC_LOG_LEVEL_INFO,
  debug = MC_LOG_LEVEL_DEBUG,
  trace = MC_LOG_LEVEL_TRACE,
};

/// Receives lines without a line feed, from any thread, from several at once. It must not call the library.
using LogCallback = std::function<void(LogLevel level, std::string_view target, std::string_view message)>;

namespace detail {

// An exception cannot pass through the library: the line is lost, the program goes on.
inline void write_log(void* callback, mc_log_level_t level, const char* target, const char* message) noexcept {
  try {
    (*static_cast<LogCallback*>(callback))(static_cast<LogLevel>(level), target, message);
  } catch (...) {
  }
}

inline void drop_log(void* callback) noexcept { delete static_cast<LogCallback*>(callback); }

}  // namespace detail

/// Sends the log to `callback`; an empty one: nowhere, as at the start. The one before is destroyed after its last line.
inline void set_log_callback(LogCallback callback) {
  if (!callback) return check(mc_log_set_callback(nullptr, nullptr, nullptr));
  auto owned = std::make_unique<LogCallback>(std::move(callback));
  check(mc_log_set_callback(detail::write_log, owned.get(), detail::drop_log));
  owned.release();
}

inline void set_log_level(LogLevel level) { check(mc_log_set_level(static_cast<mc_log_level_t>(level))); }

}  // namespace mooncake

#endif  // MOONCAKE_LOG_HPP
