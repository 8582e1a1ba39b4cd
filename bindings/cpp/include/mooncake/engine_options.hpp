// Engine options: how to make an engine.
#ifndef MOONCAKE_ENGINE_OPTIONS_HPP
#define MOONCAKE_ENGINE_OPTIONS_HPP

#include <string>

#include "mooncake/handle.hpp"
#include "mooncake/time.hpp"

namespace mooncake {

enum class Checksum : mc_checksum_t {
  standard = MC_CHECKSUM_DEFAULT,
  off = MC_CHECKSUM_OFF,
  required = MC_CHECKSUM_REQUIRED,
};

/// mc_engine_options_t with texts of its own; what is left alone means default.
struct EngineOptions {
  std::string name;
  std::string bind_address;
  std::string network_interface;
  std::string cidr;
  std::uint16_t port = 0;
  std::uint16_t port_last = 0;
  std::uint32_t lanes = 0;
  std::uint32_t worker_threads = 0;
  Checksum checksum = Checksum::standard;
  std::string transports;
  std::chrono::milliseconds default_deadline{0};
  std::chrono::milliseconds keepalive{0};
  std::string psk;
  std::string metadata;
  std::string config_file;
  std::uint64_t queue_limit = 0;
  /// MC_COMPAT_*
  mc_compat_t compat = MC_COMPAT_DEFAULT;
  std::string advertise_host;
  std::string metadata_cluster;
  /// MC_ENGINE_FLAG_*
  std::uint64_t flags = 0;
};

namespace detail {

/// Borrows the texts of `from`.
inline mc_engine_options_t engine_options(const EngineOptions& from) {
  mc_engine_options_t raw = mc_engine_options_default();
  raw.flags = from.flags;
  raw.name = option_text(from.name, "name");
  raw.bind_address = option_text(from.bind_address, "bind_address");
  raw.network_interface = option_text(from.network_interface, "network_interface");
  raw.cidr = option_text(from.cidr, "cidr");
  raw.port = from.port;
  raw.port_last = from.port_last;
  raw.lanes = from.lanes;
  raw.worker_threads = from.worker_threads;
  raw.checksum = static_cast<mc_checksum_t>(from.checksum);
  raw.transports = option_text(from.transports, "transports");
  raw.default_deadline_ms = option_milliseconds(from.default_deadline, "default_deadline");
  raw.keepalive_ms = option_milliseconds(from.keepalive, "keepalive");
  raw.psk = from.psk.empty() ? nullptr : from.psk.data();
  raw.psk_length = from.psk.size();
  raw.metadata = option_text(from.metadata, "metadata");
  raw.config_file = option_text(from.config_file, "config_file");
  raw.queue_limit = from.queue_limit;
  raw.compat = from.compat;
  raw.advertise_host = option_text(from.advertise_host, "advertise_host");
  raw.metadata_cluster = option_text(from.metadata_cluster, "metadata_cluster");
  return raw;
}

}  // namespace detail
}  // namespace mooncake

#endif  // MOONCAKE_ENGINE_OPTIONS_HPP
