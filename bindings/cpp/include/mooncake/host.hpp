// Host: which library was loaded, and what it found on this machine.
#ifndef MOONCAKE_HOST_HPP
#define MOONCAKE_HOST_HPP

#include <string>

#include "mooncake/handle.hpp"

namespace mooncake {

/// The loaded library's version, such as "0.1.0".
inline std::string version() { return mc_version(); }

/// What works on this host, what does not, why, and what to do, as JSON.
inline std::string host_report() { return detail::output<std::string>(mc_host_get_report); }

}  // namespace mooncake

#endif  // MOONCAKE_HOST_HPP
