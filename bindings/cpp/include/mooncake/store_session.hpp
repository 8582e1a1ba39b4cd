// Parts of a store's life that end by themselves: objects being written or read piece by piece, memory handed out.
#ifndef MOONCAKE_STORE_SESSION_HPP
#define MOONCAKE_STORE_SESSION_HPP

#include <utility>

#include "mooncake/store_options.hpp"

namespace mooncake {
namespace detail {

/// Owns an id of a store's child. As with engines, the store is known by name only, and may go first.
template <mc_status_t (*End)(mc_store_t*, std::uint64_t)>
class StoreHandle {
 public:
  StoreHandle(StoreHandle&& other) noexcept : store_(other.store_), id_(std::exchange(other.id_, 0)) {}
  StoreHandle& operator=(StoreHandle&& other) noexcept {
    StoreHandle old(std::move(*this));
    store_ = other.store_;
    id_ = std::exchange(other.id_, 0);
    return *this;
  }
  StoreHandle(const StoreHandle&) = delete;
  StoreHandle& operator=(const StoreHandle&) = delete;

  /// The id for calls of the C library; 0 after a move or its end.
  std::uint64_t id() const noexcept { return id_; }
  mc_store_t* store() const noexcept { return store_; }

  /// Ends it now and tells when that fails, which the destructor cannot.
  void close() {
    check(End(store_, id_));
    id_ = 0;
  }

 protected:
  StoreHandle(mc_store_t* store, std::uint64_t id) noexcept : store_(store), id_(id) {}
  ~StoreHandle() {
    if (id_ != 0) End(store_, id_);
  }
  void forget() noexcept { id_ = 0; }

 private:
  mc_store_t* store_;
  std::uint64_t id_;
};

inline void same_count(std::size_t items, std::size_t results) {
  if (items != results) throw Error(MC_ERR_INVALID_ARGUMENT, "there must be as many results as items");
}

inline std::vector<const char*> texts(const std::vector<std::string>& from) {
  std::vector<const char*> all;
  for (const std::string& text : from) all.push_back(text.c_str());
  return all;
}

/// `ranges` keeps what the items point to.
inline std::vector<mc_store_get_t> store_gets(Span<const StoreGet> gets,
                                              std::vector<std::vector<mc_store_range_t>>& ranges) {
  std::vector<mc_store_get_t> items;
  for (const StoreGet& get : gets) ranges.push_back(store_ranges(get.ranges));
  for (std::size_t i = 0; i < gets.size(); i++) {
    const StoreGet& get = gets[i];
    items.push_back({store_key(get.key), get.into.empty() ? nullptr : get.into.data(), get.into.size(),
                     ranges[i].empty() ? nullptr : ranges[i].data(), ranges[i].size()});
  }
  return items;
}

}  // namespace detail

/// An object in memory of the store's, until this goes.
class StoreView : public detail::StoreHandle<mc_store_buffer_release> {
 public:
  StoreView(mc_store_t* store, const mc_store_view_t& view) noexcept
      : StoreHandle(store, view.buffer), address_(view.address), length_(static_cast<std::size_t>(view.length)) {}

  /// nullptr after a move or close().
  std::byte* data() const noexcept { return id() != 0 ? static_cast<std::byte*>(address_) : nullptr; }
  std::size_t size() const noexcept { return id() != 0 ? length_ : 0; }
  std::string_view text() const noexcept { return {reinterpret_cast<const char*>(data()), size()}; }

 private:
  void* address_;
  std::size_t length_;
};

/// An object that is being written. Unless it was committed, its memory is given back when this goes.
class StoreWriting : public detail::StoreHandle<mc_store_put_revoke> {
 public:
  StoreWriting(mc_store_t* store, mc_store_writing_t id) noexcept : StoreHandle(store, id) {}

  /// Pieces come in any order, and may not overlap.
  void write(std::uint64_t offset, Span<const Bytes> pieces, Timeout timeout = engine_default) {
    check(mc_store_put_write(store(), id(), offset, pieces.data(), pieces.size(), timeout.milliseconds()));
  }
  void write(std::uint64_t offset, Bytes piece, Timeout timeout = engine_default) {
    write(offset, Span<const Bytes>(&piece, 1), timeout);
  }

  /// Makes the object visible; its version. MC_ERR_INVALID_STATE: bytes are missing, and the writing goes on.
  std::uint64_t commit(Timeout timeout = engine_default) {
    StoreResult result{};
    mc_status_t status = mc_store_put_commit(store(), id(), timeout.milliseconds(), &result);
    if (status != MC_ERR_INVALID_STATE && status != MC_ERR_INVALID_HANDLE) forget();
    check(status);
    return result.version;
  }
};

/// An object that is being read, in the version that it had at the start.
class StoreReading : public detail::StoreHandle<mc_store_get_end> {
 public:
  StoreReading(mc_store_t* store, mc_store_reading_t id) noexcept : StoreHandle(store, id) {}

  void read(Span<const StoreRange> ranges, Timeout timeout = engine_default) {
    std::vector<mc_store_range_t> raw = detail::store_ranges(ranges);
    check(mc_store_get_read(store(), id(), raw.data(), raw.size(), timeout.milliseconds()));
  }
  void read(std::uint64_t offset, Bytes into, Timeout timeout = engine_default) {
    mc_store_range_t range{offset, &into, 1};
    check(mc_store_get_read(store(), id(), &range, 1, timeout.milliseconds()));
  }
};

/// One of several objects that were begun together: `result` has its size and version, or why `session` ended already.
template <typename Session>
struct Begun {
  StoreResult result;
  Session session;
};

namespace detail {

template <typename Session, typename Call>
std::vector<Begun<Session>> begun(mc_store_t* store, std::size_t count, Call call) {
  std::vector<std::uint64_t> ids(count);
  std::vector<StoreResult> results(count);
  mc_status_t status = call(ids.data(), results.data());
  std::vector<Begun<Session>> all;
  bool is_told = false;
  for (std::size_t i = 0; i < count; i++) {
    is_told |= results[i].status == status;
    all.push_back({results[i], Session(store, ids[i])});
  }
  if (!is_told) check(status);
  return all;
}

}  // namespace detail
}  // namespace mooncake

#endif  // MOONCAKE_STORE_SESSION_HPP
