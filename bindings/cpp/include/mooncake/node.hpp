// Node and Master: the parts of a store that give memory and keep the index, in this process.
#ifndef MOONCAKE_NODE_HPP
#define MOONCAKE_NODE_HPP

#include <memory>

#include "mooncake/store_options.hpp"

namespace mooncake {

struct MasterOptions {
  /// "host:port"; "": a port of 127.0.0.1 that the kernel gives.
  std::string listen;
  std::string psk;
  std::uint32_t worker_threads = 0;
  /// "lru", "lfu", "fifo", "s3fifo", "sieve" or "default".
  std::string eviction;
  /// 0: no limit.
  std::uint64_t default_quota_bytes = 0;
  /// There was no cluster before, so that nobody has to be waited for.
  bool found = false;
  bool no_environment = false;
};

/// It knows which object lies where. What it knows ends with it, and the nodes tell the next one.
class Master {
 public:
  explicit Master(const MasterOptions& options = {}) : handle_(create(options)) {}

  mc_master_t* handle() const noexcept { return handle_.get(); }

  mc_master_info_t info() const {
    mc_master_info_t info = mc_master_info_default();
    check(mc_master_get_info(handle(), &info));
    return info;
  }

  void close() { check(mc_master_destroy(handle_.release())); }

 private:
  struct Destroy {
    void operator()(mc_master_t* master) const noexcept { mc_master_destroy(master); }
  };

  static mc_master_t* create(const MasterOptions& from) {
    mc_master_options_t raw = mc_master_options_default();
    if (from.found) raw.flags |= MC_MASTER_FLAG_FOUND;
    if (from.no_environment) raw.flags |= MC_MASTER_FLAG_NO_ENVIRONMENT;
    raw.listen = detail::option_text(from.listen, "listen");
    raw.psk = from.psk.empty() ? nullptr : from.psk.data();
    raw.psk_length = from.psk.size();
    raw.worker_threads = from.worker_threads;
    raw.eviction = detail::option_text(from.eviction, "eviction");
    raw.default_quota_bytes = from.default_quota_bytes;
    mc_master_t* master = nullptr;
    check(mc_master_create(&raw, &master));
    return master;
  }

  std::unique_ptr<mc_master_t, Destroy> handle_;
};

struct NodeOptions {
  /// "host:port" of each master that there may be, separated by commas.
  std::string masters;
  std::uint64_t memory_bytes = 0;
  /// "host:port"; "": a port that the kernel gives.
  std::string listen;
  std::string psk;
  /// What the memory is called, and what fails together with it.
  std::string name, domain;
  bool no_environment = false;
};

/// Memory that this process gives to a store, until this goes.
class Node {
 public:
  explicit Node(const NodeOptions& options) : handle_(create(options)) {}

  mc_node_t* handle() const noexcept { return handle_.get(); }

  mc_node_info_t info() const {
    mc_node_info_t info = mc_node_info_default();
    check(mc_node_get_info(handle(), &info));
    return info;
  }

  /// Has all moved away and stops; false: the time was over, and something was left behind.
  bool drain(Timeout grace = forever) {
    mc_status_t status = mc_node_drain(handle(), grace.milliseconds());
    if (status == MC_ERR_TIMEOUT) return false;
    check(status);
    return true;
  }

  void close() { check(mc_node_destroy(handle_.release())); }

 private:
  struct Destroy {
    void operator()(mc_node_t* node) const noexcept { mc_node_destroy(node); }
  };

  static mc_node_t* create(const NodeOptions& from) {
    mc_node_options_t raw = mc_node_options_default();
    if (from.no_environment) raw.flags |= MC_NODE_FLAG_NO_ENVIRONMENT;
    raw.masters = detail::option_text(from.masters, "masters");
    raw.memory_bytes = from.memory_bytes;
    raw.listen = detail::option_text(from.listen, "listen");
    raw.psk = from.psk.empty() ? nullptr : from.psk.data();
    raw.psk_length = from.psk.size();
    raw.name = detail::option_text(from.name, "name");
    raw.domain = detail::option_text(from.domain, "domain");
    mc_node_t* node = nullptr;
    check(mc_node_create(&raw, &node));
    return node;
  }

  std::unique_ptr<mc_node_t, Destroy> handle_;
};

}  // namespace mooncake

#endif  // MOONCAKE_NODE_HPP
