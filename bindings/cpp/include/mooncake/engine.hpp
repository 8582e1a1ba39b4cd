// Engine: one end of transfers.
#ifndef MOONCAKE_ENGINE_HPP
#define MOONCAKE_ENGINE_HPP

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "mooncake/engine_options.hpp"
#include "mooncake/handle.hpp"
#include "mooncake/span.hpp"
#include "mooncake/time.hpp"

namespace mooncake {

/// What an engine is at the moment: mc_engine_info_t.
struct EngineInfo {
  std::string name;
  std::string address;
  std::string engine_id;
  std::string transports;
  std::uint16_t port;
  std::uint32_t lanes;
  std::uint32_t worker_threads;
  std::uint64_t region_count;
  std::uint64_t registered_bytes;
  std::uint64_t segment_count;
  std::uint64_t batch_count;
  std::uint64_t notify_count;
};

using EngineStats = mc_engine_stats_t;

/// Its destructor fails what is under way, and returns when no registered memory will be touched again.
class Engine {
 public:
  explicit Engine(const EngineOptions& options = {}) : handle_(create(options)) {}

  /// For calls of the C library; null after a move or close().
  mc_engine_t* handle() const noexcept { return handle_.get(); }

  EngineInfo info() const {
    mc_engine_info_t raw = mc_engine_info_default();
    check(mc_engine_get_info(handle(), &raw));
    return {raw.name,
            raw.address,
            raw.engine_id,
            raw.transports,
            static_cast<std::uint16_t>(raw.port),
            raw.lanes,
            raw.worker_threads,
            raw.region_count,
            raw.registered_bytes,
            raw.segment_count,
            raw.batch_count,
            raw.notify_count};
  }

  EngineStats stats() const {
    EngineStats stats = mc_engine_stats_default();
    check(mc_engine_get_stats(handle(), &stats));
    return stats;
  }

  /// The effective configuration as JSON, with the source of each value.
  std::string config() const {
    return detail::output<std::string>([&](char* buffer, std::size_t size, std::size_t* length) {
      return mc_engine_get_config(handle(), buffer, size, length);
    });
  }

  /// Counters in Prometheus' text format.
  std::string metrics() const {
    return detail::output<std::string>([&](char* buffer, std::size_t size, std::size_t* length) {
      return mc_engine_get_metrics(handle(), buffer, size, length);
    });
  }

  /// What a peer needs to reach these regions (none named: all), for Segment::from_blob().
  std::vector<std::byte> export_blob(Span<const mc_region_t> regions = {}) const {
    return detail::output<std::vector<std::byte>>([&](void* buffer, std::size_t size, std::size_t* length) {
      return mc_engine_export(handle(), regions.data(), regions.size(), buffer, size, length);
    });
  }

  /// Waits until no batch is under way; false: some still are after that time.
  bool drain(Timeout timeout = forever) {
    mc_status_t status = mc_engine_drain(handle(), timeout.milliseconds());
    if (status == MC_ERR_BUSY) return false;
    check(status);
    return true;
  }

  /// What the destructor does, now.
  void close() { check(mc_engine_destroy(handle_.release())); }

 private:
  struct Destroy {
    void operator()(mc_engine_t* engine) const noexcept { mc_engine_destroy(engine); }
  };

  static mc_engine_t* create(const EngineOptions& options) {
    mc_engine_options_t raw = detail::engine_options(options);
    mc_engine_t* engine = nullptr;
    check(mc_engine_create(&raw, &engine));
    return engine;
  }

  std::unique_ptr<mc_engine_t, Destroy> handle_;
};

}  // namespace mooncake

#endif  // MOONCAKE_ENGINE_HPP
