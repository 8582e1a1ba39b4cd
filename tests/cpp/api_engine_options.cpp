// Engine options: each field reaches the struct of the C library.
#include "mooncake/engine_options.hpp"

#include <cstring>

#include "check.hpp"

using mooncake::EngineOptions;

TEST(what_is_left_alone_is_zero) {
  EngineOptions options;
  mc_engine_options_t raw = mooncake::detail::engine_options(options);
  mc_engine_options_t defaults = mc_engine_options_default();
  CHECK(std::memcmp(&raw, &defaults, sizeof raw) == 0);
}

TEST(each_field_arrives) {
  EngineOptions from;
  from.name = "name";
  from.bind_address = "::1";
  from.network_interface = "eth0";
  from.cidr = "10.0.0.0/8";
  from.port = 1;
  from.port_last = 2;
  from.lanes = 3;
  from.worker_threads = 4;
  from.checksum = mooncake::Checksum::required;
  from.transports = "tcp";
  from.default_deadline = std::chrono::seconds(5);
  from.keepalive = std::chrono::minutes(1);
  from.psk = std::string("sixteen\0 bytes ..", 17);
  from.metadata = "memory://test";
  from.config_file = "mooncake.toml";
  from.queue_limit = 7;
  from.flags = MC_ENGINE_FLAG_NO_LISTEN;
  mc_engine_options_t raw = mooncake::detail::engine_options(from);
  CHECK(raw.struct_size == sizeof raw && raw.flags == MC_ENGINE_FLAG_NO_LISTEN);
  CHECK(raw.name == from.name && raw.bind_address == from.bind_address);
  CHECK(raw.network_interface == from.network_interface && raw.cidr == from.cidr);
  CHECK(raw.port == 1 && raw.port_last == 2 && raw.lanes == 3 && raw.worker_threads == 4);
  CHECK(raw.checksum == MC_CHECKSUM_REQUIRED && raw.transports == from.transports);
  CHECK(raw.default_deadline_ms == 5000 && raw.keepalive_ms == 60000);
  CHECK(raw.psk == from.psk.data() && raw.psk_length == 17);
  CHECK(raw.metadata == from.metadata && raw.config_file == from.config_file && raw.queue_limit == 7);
}

TEST(negative_times_are_refused) {
  EngineOptions options;
  options.keepalive = std::chrono::milliseconds(-1);
  CHECK_THROWS(MC_ERR_INVALID_ARGUMENT, mooncake::detail::engine_options(options));
}
