// Errors: what is thrown when a call of the library fails.
#ifndef MOONCAKE_ERROR_HPP
#define MOONCAKE_ERROR_HPP

#include <mooncake.h>

#include <stdexcept>
#include <string>

namespace mooncake {

/// A failed call: what() says what happened to whom and what to do, code() is for programs.
///
/// Everything throws it except poll() and wait(), which hand the status back.
class Error : public std::runtime_error {
 public:
  Error(mc_status_t code, const std::string& text)
      : std::runtime_error(text.empty() ? mc_status_text(code) : text), code_(code) {}

  /// MC_ERR_*
  mc_status_t code() const noexcept { return code_; }
  /// Such as "TIMEOUT". Static.
  const char* name() const noexcept { return mc_status_name(code_); }
  /// The same call may succeed later without a change by the caller.
  bool is_retryable() const noexcept { return mc_status_is_retryable(code_); }

 private:
  mc_status_t code_;
};

/// Throws unless `status`, which a call of the C library just returned to this thread, is MC_OK.
inline void check(mc_status_t status) {
  if (status != MC_OK) throw Error(status, mc_last_error_message());
}

}  // namespace mooncake

#endif  // MOONCAKE_ERROR_HPP
