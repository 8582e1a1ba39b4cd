// What a store is told, and what it says: options and results.
#ifndef MOONCAKE_STORE_OPTIONS_HPP
#define MOONCAKE_STORE_OPTIONS_HPP

#include <string>
#include <vector>

#include "mooncake/engine.hpp"

namespace mooncake {

/// How a store is opened. All defaults: a master, 64 MiB of memory and a client in this process.
struct StoreOptions {
  /// "host:port" of each master that there may be, separated by commas; "": one of its own.
  std::string masters;
  /// Whose objects these are.
  std::string tenant;
  /// Secret that masters, nodes and clients share, 16 to 256 bytes; "": that in the file named by MC_PSK_FILE, if any.
  std::string psk;
  /// Engine through which the bytes go, for memory that is registered and for completion queues; it must outlive the
  /// store. nullptr: one of its own.
  const Engine* engine = nullptr;
  /// Deadline of operations that name none; 0: ten seconds.
  std::chrono::milliseconds deadline{0};
  /// Objects whose leases are remembered; 0: 65,536.
  std::uint64_t lease_cache = 0;
  bool no_lease_cache = false;
  bool no_environment = false;
  /// Bytes that this process gives.
  std::uint64_t memory_bytes = 0;
  /// What they are called, what fails together with them, and where they are reached.
  std::string node_name, domain, node_listen;
  /// "host:port" for a master of its own.
  std::string master_listen;
};

/// How objects are put and kept.
struct PutOptions {
  std::uint32_t replicas = 1;
  /// Replaces what is there.
  bool upsert = false;
  bool hard_pin = false;
  /// No two replicas in one failure domain, or MC_ERR_NO_SPACE.
  bool strict_domains = false;
  /// The first replica in the failure domain of this process, such as its host, if there is room.
  bool near = false;
  std::chrono::milliseconds soft_pin{0};
  /// Objects of one group are evicted together.
  std::string group;
  /// Names of segments that are taken first.
  std::vector<std::string> preferred;
  /// Larger objects are cut into stripes on several segments; 0: never.
  std::uint64_t stripe_size = 0;
  /// For the whole operation; 0: the store's deadline.
  std::chrono::milliseconds timeout{0};
};

struct GetOptions {
  /// Asks the master although a lease is held.
  bool fresh = false;
  /// For the whole operation; 0: the store's deadline.
  std::chrono::milliseconds timeout{0};
};

/// What became of one key: status, retry_after_ms, size, version, replica_count.
using StoreResult = mc_store_result_t;
using StoreUsage = mc_store_usage_t;
using StoreTaskInfo = mc_store_task_info_t;

/// One object to put: its key, and pieces of memory that follow one another in it.
struct StorePut {
  ConstBytes key;
  std::vector<Bytes> from;
};

/// A part of an object, and the pieces of memory that it goes to.
struct StoreRange {
  std::uint64_t offset = 0;
  std::vector<Bytes> into;
};

/// One object to get: all of it `into` pieces of memory, or parts of it.
struct StoreGet {
  ConstBytes key;
  std::vector<Bytes> into;
  std::vector<StoreRange> ranges;
};

/// An object of a list.
struct StoreObject {
  std::string key;
  std::uint64_t size;
  std::uint64_t version;
  std::uint32_t replicas;
};

/// Memory that a node gives.
struct StoreSegment {
  std::string name;
  std::uint64_t node, capacity, used;
  bool is_open, is_draining;
};

namespace detail {

/// Borrows the texts of `from`, and `names` for those of its segments.
inline mc_store_put_options_t put_options(const PutOptions& from, std::vector<const char*>& names) {
  mc_store_put_options_t raw = mc_store_put_options_default();
  raw.replica_count = from.replicas;
  if (from.upsert) raw.flags |= MC_STORE_FLAG_UPSERT;
  if (from.hard_pin) raw.flags |= MC_STORE_FLAG_HARD_PIN;
  if (from.strict_domains) raw.flags |= MC_STORE_FLAG_STRICT_DOMAINS;
  if (from.near) raw.flags |= MC_STORE_FLAG_NEAR;
  raw.soft_pin_ms = option_milliseconds(from.soft_pin, "soft_pin");
  raw.group = option_text(from.group, "group");
  for (const std::string& name : from.preferred) names.push_back(option_text(name, "preferred"));
  raw.preferred = names.data();
  raw.preferred_count = names.size();
  raw.stripe_size = from.stripe_size;
  raw.timeout_ms = option_milliseconds(from.timeout, "timeout");
  return raw;
}

inline mc_store_get_options_t get_options(const GetOptions& from) {
  mc_store_get_options_t raw = mc_store_get_options_default();
  if (from.fresh) raw.flags |= MC_STORE_FLAG_FRESH;
  raw.timeout_ms = option_milliseconds(from.timeout, "timeout");
  return raw;
}

inline mc_store_options_t store_options(const StoreOptions& from) {
  mc_store_options_t raw = mc_store_options_default();
  if (from.no_environment) raw.flags |= MC_STORE_FLAG_NO_ENVIRONMENT;
  if (from.no_lease_cache) raw.flags |= MC_STORE_FLAG_NO_LEASE_CACHE;
  raw.masters = option_text(from.masters, "masters");
  raw.tenant = option_text(from.tenant, "tenant");
  raw.psk = from.psk.empty() ? nullptr : from.psk.data();
  raw.psk_length = from.psk.size();
  raw.engine = from.engine != nullptr ? from.engine->handle() : nullptr;
  raw.deadline_ms = option_milliseconds(from.deadline, "deadline");
  raw.lease_cache = from.lease_cache;
  raw.memory_bytes = from.memory_bytes;
  raw.node_name = option_text(from.node_name, "node_name");
  raw.domain = option_text(from.domain, "domain");
  raw.master_listen = option_text(from.master_listen, "master_listen");
  raw.node_listen = option_text(from.node_listen, "node_listen");
  return raw;
}

inline mc_store_key_t store_key(ConstBytes key) { return {key.address, key.length}; }

inline std::vector<mc_store_key_t> store_keys(Span<const ConstBytes> keys) {
  std::vector<mc_store_key_t> raw;
  for (ConstBytes key : keys) raw.push_back(store_key(key));
  return raw;
}

inline std::vector<mc_store_range_t> store_ranges(Span<const StoreRange> ranges) {
  std::vector<mc_store_range_t> raw;
  for (const StoreRange& range : ranges) raw.push_back({range.offset, range.into.data(), range.into.size()});
  return raw;
}

}  // namespace detail
}  // namespace mooncake

#endif  // MOONCAKE_STORE_OPTIONS_HPP
