// Segment: a peer's memory.
#ifndef MOONCAKE_SEGMENT_HPP
#define MOONCAKE_SEGMENT_HPP

#include "mooncake/engine.hpp"

namespace mooncake {

/// What an open segment is: mc_segment_info_t.
struct SegmentInfo {
  std::string name;
  std::string address;
  std::string engine_id;
  std::string path;
  std::uint32_t region_count;
  std::uint64_t total_bytes;
  bool is_imported;
};

/// One region that a peer offers: mc_remote_region_t.
struct RemoteRegion {
  std::uint64_t address;
  std::uint64_t length;
  std::uint64_t flags;
  std::string path;
  std::string location;
};

/// What a probe found: mc_probe_t.
struct Probe {
  bool is_alive;
  bool has_restarted;
  std::uint32_t lanes;
  std::chrono::milliseconds since;
  std::chrono::nanoseconds round_trip;
  std::string path;
  std::string engine_id;
};

/// Transfers under way go on when it is closed.
class Segment : public detail::Handle<mc_segment_close> {
 public:
  /// Opens a peer by "host:port", "[IPv6]:port" or its name, and meets it; with no time, its first transfer does.
  Segment(const Engine& engine, const std::string& name, Timeout timeout = engine_default)
      : Handle(engine.handle(), open(engine, name, timeout)) {}

  /// Makes a segment of the blob that the peer's Engine::export_blob() wrote.
  static Segment from_blob(const Engine& engine, ConstBytes blob) {
    mc_segment_t segment = 0;
    check(mc_segment_import(engine.handle(), blob.address, blob.length, &segment));
    return Segment(engine.handle(), segment);
  }

  /// The engine's own memory, for transfers to itself. It cannot be closed, so its destructor does nothing.
  static Segment local(const Engine& engine) {
    mc_engine_info_t info = mc_engine_info_default();
    check(mc_engine_get_info(engine.handle(), &info));
    return Segment(engine.handle(), info.local_segment);
  }

  SegmentInfo info() const {
    mc_segment_info_t raw = mc_segment_info_default();
    check(mc_segment_get_info(engine(), id(), &raw));
    return {raw.name, raw.address, raw.engine_id, raw.path, raw.region_count, raw.total_bytes, raw.is_imported};
  }

  /// The regions of the peer, in the order in which it registered them.
  std::vector<RemoteRegion> regions() const {
    std::vector<mc_remote_region_t> raw(16);
    std::size_t count = 0;
    mc_status_t status;
    while ((status = list(raw, &count)) == MC_ERR_BUFFER_TOO_SMALL) raw.resize(count);
    check(status);
    std::vector<RemoteRegion> regions;
    regions.reserve(count);
    for (const mc_remote_region_t& region : Span<const mc_remote_region_t>(raw.data(), count)) {
      regions.push_back({region.address, region.length, region.flags, region.path, region.location});
    }
    return regions;
  }

  /// Asks the peer for its regions anew. Transfers do that by themselves; this is for regions().
  void refresh(Timeout timeout = engine_default) { check(mc_segment_refresh(engine(), id(), timeout.milliseconds())); }

  /// Asks whether the peer is alive. A dead peer is an answer.
  Probe probe(Timeout timeout = engine_default) const {
    mc_probe_t raw = mc_probe_default();
    check(mc_segment_probe(engine(), id(), timeout.milliseconds(), &raw));
    return {raw.is_alive,
            raw.has_restarted,
            raw.lanes,
            std::chrono::milliseconds(raw.since_ms),
            std::chrono::nanoseconds(raw.round_trip_ns),
            raw.path,
            raw.engine_id};
  }

 private:
  Segment(mc_engine_t* engine, mc_segment_t segment) noexcept : Handle(engine, segment) {}

  static mc_segment_t open(const Engine& engine, const std::string& name, Timeout timeout) {
    mc_segment_t segment = 0;
    check(mc_segment_open(engine.handle(), name.c_str(), timeout.milliseconds(), &segment));
    return segment;
  }

  mc_status_t list(Span<mc_remote_region_t> regions, std::size_t* count) const noexcept {
    return mc_segment_list_regions(engine(), id(), regions.data(), regions.size(), count);
  }
};

}  // namespace mooncake

#endif  // MOONCAKE_SEGMENT_HPP
