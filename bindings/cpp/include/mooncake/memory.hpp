// Memory: what an engine reads, writes and offers to its peers.
#ifndef MOONCAKE_MEMORY_HPP
#define MOONCAKE_MEMORY_HPP

#include "mooncake/engine.hpp"

namespace mooncake {

struct MemoryOptions {
  /// Peers may read.
  bool remote_read = true;
  /// Peers may write.
  bool remote_write = true;
  /// Allocation only: insist on huge pages.
  bool huge_pages = false;
  /// Where the memory is, such as "cpu:0"; "": unknown.
  std::string location;
};

/// What a registration is: mc_memory_info_t.
struct MemoryInfo {
  Bytes bytes;
  std::string location;
  std::uint64_t flags;
  std::uint64_t use_count;
  std::uint32_t reference_count;
  bool is_allocated;
};

namespace detail {

inline mc_status_t unregister_memory(mc_engine_t* engine, mc_region_t region) {
  return mc_memory_unregister(engine, region, 0);
}

inline mc_status_t free_memory(mc_engine_t* engine, mc_region_t region) { return mc_memory_free(engine, region, 0); }

/// Borrows the location of `from`.
inline mc_memory_options_t memory_options(const MemoryOptions& from) {
  mc_memory_options_t raw = mc_memory_options_default();
  if (from.remote_read) raw.flags |= MC_MEMORY_FLAG_REMOTE_READ;
  if (from.remote_write) raw.flags |= MC_MEMORY_FLAG_REMOTE_WRITE;
  if (!from.remote_read && !from.remote_write) raw.flags |= MC_MEMORY_FLAG_LOCAL_ONLY;
  if (from.huge_pages) raw.flags |= MC_MEMORY_FLAG_HUGE_PAGES;
  raw.location = option_text(from.location, "location");
  return raw;
}

inline MemoryInfo memory_info(mc_engine_t* engine, mc_region_t region) {
  mc_memory_info_t raw = mc_memory_info_default();
  check(mc_memory_get_info(engine, region, &raw));
  return {{raw.address, raw.length}, raw.location, raw.flags, raw.use_count, raw.reference_count, raw.is_allocated};
}

}  // namespace detail

/// Memory of the caller, registered; it must stay mapped as long as this lives. Ending it waits for transfers under way.
class Region : public detail::Handle<detail::unregister_memory> {
 public:
  Region(const Engine& engine, Bytes bytes, const MemoryOptions& options = {})
      : Handle(engine.handle(), enter(engine, bytes, options)) {}

  MemoryInfo info() const { return detail::memory_info(engine(), id()); }

  /// Ends it if no transfer uses it; false: one does.
  bool try_close() {
    mc_status_t status = mc_memory_unregister(engine(), id(), MC_MEMORY_FLAG_NO_WAIT);
    if (status == MC_ERR_BUSY) return false;
    check(status);
    forget();
    return true;
  }

 private:
  static mc_region_t enter(const Engine& engine, Bytes bytes, const MemoryOptions& options) {
    mc_memory_options_t raw = detail::memory_options(options);
    mc_region_t region = 0;
    check(mc_memory_register(engine.handle(), bytes.address, bytes.length, &raw, &region));
    return region;
  }
};

/// Memory that peers on this host reach fastest: zeroed, registered, gone with this object or its engine.
class Allocation : public detail::Handle<detail::free_memory> {
 public:
  Allocation(const Engine& engine, std::size_t size, const MemoryOptions& options = {})
      : Allocation(engine, size, detail::memory_options(options), nullptr) {}

  /// nullptr after a move or close().
  std::byte* data() const noexcept { return id() != 0 ? static_cast<std::byte*>(address_) : nullptr; }
  /// As asked for; the whole pages behind it are not counted.
  std::size_t size() const noexcept { return id() != 0 ? size_ : 0; }
  Bytes bytes() const noexcept { return {data(), size()}; }
  MemoryInfo info() const { return detail::memory_info(engine(), id()); }

 private:
  Allocation(const Engine& engine, std::size_t size, const mc_memory_options_t& options, void* address)
      : Handle(engine.handle(), allocate(engine, size, options, &address)), address_(address), size_(size) {}

  static mc_region_t allocate(const Engine& engine, std::size_t size, const mc_memory_options_t& options,
                              void** address) {
    mc_region_t region = 0;
    check(mc_memory_allocate(engine.handle(), size, &options, address, &region));
    return region;
  }

  void* address_;
  std::size_t size_;
};

}  // namespace mooncake

#endif  // MOONCAKE_MEMORY_HPP
