// Store: objects by key in a pooled cache.
#ifndef MOONCAKE_STORE_HPP
#define MOONCAKE_STORE_HPP

#include <optional>

#include "mooncake/completion_queue.hpp"
#include "mooncake/store_session.hpp"

namespace mooncake {

/// A way into a pooled cache. Calls throw Error; those for many keys hand one result for each back instead.
class Store {
 public:
  explicit Store(const StoreOptions& options = {}) : handle_(open(options)) {}

  /// For calls of the C library; null after a move or close().
  mc_store_t* handle() const noexcept { return handle_.get(); }

  mc_store_info_t info() const {
    mc_store_info_t info = mc_store_info_default();
    check(mc_store_get_info(handle(), &info));
    return info;
  }

  /// Puts a copy of the bytes; returns its version.
  std::uint64_t put(ConstBytes key, ConstBytes bytes, const PutOptions& options = {}) {
    std::vector<const char*> names;
    mc_store_put_options_t raw = detail::put_options(options, names);
    StoreResult result{};
    check(mc_store_put(handle(), key.address, key.length, bytes.address, bytes.length, &raw, &result));
    return result.version;
  }

  std::vector<StoreResult> put_batch(Span<const StorePut> puts, const PutOptions& options = {}) {
    std::vector<const char*> names;
    std::vector<mc_store_put_t> items;
    mc_store_put_options_t raw = detail::put_options(options, names);
    for (const StorePut& put : puts) items.push_back({detail::store_key(put.key), put.from.data(), put.from.size()});
    std::vector<StoreResult> results(puts.size());
    settle(mc_store_put_batch(handle(), items.data(), items.size(), &raw, results.data()), results);
    return results;
  }

  /// Gets a whole object into memory that has room for it; tells its size.
  std::size_t get(ConstBytes key, Bytes into, const GetOptions& options = {}) const {
    mc_store_get_options_t raw = detail::get_options(options);
    StoreResult result{};
    check(mc_store_get(handle(), key.address, key.length, into.address, into.length, &raw, &result));
    return static_cast<std::size_t>(result.size);
  }

  /// Gets a whole object into memory of the store's; nothing: it is not there.
  std::optional<StoreView> get(ConstBytes key, const GetOptions& options = {}) const {
    mc_store_get_options_t raw = detail::get_options(options);
    mc_store_view_t view{};
    mc_status_t status = mc_store_get_view(handle(), key.address, key.length, &raw, &view, nullptr);
    if (status == MC_ERR_NOT_FOUND) return std::nullopt;
    check(status);
    return StoreView(handle(), view);
  }

  /// Gets the part of an object that begins at `offset` and fills `into`.
  void get_range(ConstBytes key, std::uint64_t offset, Bytes into, const GetOptions& options = {}) const {
    mc_store_get_options_t raw = detail::get_options(options);
    check(mc_store_get_range(handle(), key.address, key.length, offset, into.address, into.length, &raw, nullptr));
  }

  std::vector<StoreResult> get_batch(Span<const StoreGet> gets, const GetOptions& options = {}) const {
    mc_store_get_options_t raw = detail::get_options(options);
    std::vector<std::vector<mc_store_range_t>> ranges;
    std::vector<mc_store_get_t> items = detail::store_gets(gets, ranges);
    std::vector<StoreResult> results(gets.size());
    settle(mc_store_get_batch(handle(), items.data(), items.size(), &raw, results.data()), results);
    return results;
  }

  /// Many whole objects in memory of the store's, in the order of the keys. Why some are not there is in `results`.
  std::vector<std::optional<StoreView>> get_views(Span<const ConstBytes> keys, std::vector<StoreResult>& results,
                                                  const GetOptions& options = {}) const {
    mc_store_get_options_t raw = detail::get_options(options);
    std::vector<mc_store_key_t> items = detail::store_keys(keys);
    std::vector<mc_store_view_t> found(keys.size());
    results.assign(keys.size(), StoreResult{});
    mc_status_t status =
        mc_store_get_view_batch(handle(), items.data(), items.size(), &raw, found.data(), results.data());
    std::vector<std::optional<StoreView>> views(found.size());
    for (std::size_t i = 0; i < found.size(); ++i) {
      if (found[i].buffer != 0) views[i] = StoreView(handle(), found[i]);
    }
    settle(status, results);
    return views;
  }

  /// Puts in the background: one completion of kind MC_COMPLETION_STORE. `results` and all memory that the puts name
  /// belong to the store until then; the queue is one of StoreOptions::engine.
  void submit(Span<const StorePut> puts, CompletionQueue& queue, std::uint64_t user_data, Span<StoreResult> results,
              const PutOptions& options = {}) {
    std::vector<const char*> names;
    std::vector<mc_store_put_t> items;
    mc_store_put_options_t raw = detail::put_options(options, names);
    for (const StorePut& put : puts) items.push_back({detail::store_key(put.key), put.from.data(), put.from.size()});
    detail::same_count(puts.size(), results.size());
    check(mc_store_put_submit(handle(), items.data(), items.size(), &raw, queue.id(), user_data, results.data()));
  }

  /// The same for getting.
  void submit(Span<const StoreGet> gets, CompletionQueue& queue, std::uint64_t user_data, Span<StoreResult> results,
              const GetOptions& options = {}) const {
    mc_store_get_options_t raw = detail::get_options(options);
    std::vector<std::vector<mc_store_range_t>> ranges;
    std::vector<mc_store_get_t> items = detail::store_gets(gets, ranges);
    detail::same_count(gets.size(), results.size());
    check(mc_store_get_submit(handle(), items.data(), items.size(), &raw, queue.id(), user_data, results.data()));
  }

  bool exists(ConstBytes key, bool prolong = false) const {
    bool exists = false;
    check(mc_store_exists(handle(), key.address, key.length, prolong ? MC_STORE_FLAG_PROLONG : 0, -1, &exists));
    return exists;
  }

  /// Sizes and replica counts; MC_ERR_NOT_FOUND is a result.
  std::vector<StoreResult> exists_batch(Span<const ConstBytes> keys, bool prolong = false) const {
    std::vector<mc_store_key_t> raw = detail::store_keys(keys);
    std::vector<StoreResult> results(keys.size());
    std::uint64_t flags = prolong ? MC_STORE_FLAG_PROLONG : 0;
    settle(mc_store_exists_batch(handle(), raw.data(), raw.size(), flags, -1, results.data()), results);
    return results;
  }

  std::uint64_t size(ConstBytes key) const {
    std::uint64_t size = 0;
    check(mc_store_get_size(handle(), key.address, key.length, -1, &size));
    return size;
  }

  /// False: it was not there.
  bool remove(ConstBytes key, bool unless_leased = false) {
    mc_status_t status = mc_store_remove(handle(), key.address, key.length, leased(unless_leased), -1);
    if (status == MC_ERR_NOT_FOUND) return false;
    check(status);
    return true;
  }

  std::vector<StoreResult> remove_batch(Span<const ConstBytes> keys, bool unless_leased = false) {
    std::vector<mc_store_key_t> raw = detail::store_keys(keys);
    std::vector<StoreResult> results(keys.size());
    settle(mc_store_remove_batch(handle(), raw.data(), raw.size(), leased(unless_leased), -1, results.data()), results);
    return results;
  }

  /// Removes what begins so and in which the regular expression is found; how many.
  std::uint64_t remove_matching(ConstBytes prefix, const std::string& regex = "", bool unless_leased = false) {
    std::uint64_t removed = 0;
    check(mc_store_remove_matching(handle(), prefix.address, prefix.length, detail::option_text(regex, "regex"),
                                   leased(unless_leased), -1, &removed, nullptr));
    return removed;
  }

  /// All that begins so and in which the regular expression is found.
  std::vector<StoreObject> list(ConstBytes prefix = {}, const std::string& regex = "") const {
    std::vector<StoreObject> all;
    std::vector<mc_store_listed_t> page(64);
    std::uint64_t cursor = 0;
    do {
      std::size_t count = 0;
      check(mc_store_list(handle(), prefix.address, prefix.length, detail::option_text(regex, "regex"), -1, &cursor,
                          page.data(), page.size(), &count));
      for (std::size_t i = 0; i < count; i++) {
        const mc_store_listed_t& one = page[i];
        all.push_back(
            {{reinterpret_cast<const char*>(one.key), one.key_length}, one.size, one.version, one.replica_count});
      }
    } while (cursor != 0);
    return all;
  }

  /// Begins to put objects of these sizes piece by piece; in the order of `sizes`, with the reason where one failed.
  std::vector<Begun<StoreWriting>> begin_put(Span<const std::pair<ConstBytes, std::uint64_t>> sizes,
                                             const PutOptions& options = {}) {
    std::vector<const char*> names;
    mc_store_put_options_t raw = detail::put_options(options, names);
    std::vector<mc_store_put_size_t> puts;
    for (const auto& size : sizes) puts.push_back({detail::store_key(size.first), size.second});
    return detail::begun<StoreWriting>(handle(), puts.size(), [&](std::uint64_t* ids, StoreResult* results) {
      return mc_store_put_begin(handle(), puts.data(), puts.size(), &raw, ids, results);
    });
  }

  /// Begins to read objects piece by piece.
  std::vector<Begun<StoreReading>> begin_get(Span<const ConstBytes> keys, const GetOptions& options = {}) const {
    mc_store_get_options_t raw = detail::get_options(options);
    std::vector<mc_store_key_t> items = detail::store_keys(keys);
    return detail::begun<StoreReading>(handle(), items.size(), [&](std::uint64_t* ids, StoreResult* results) {
      return mc_store_get_begin(handle(), items.data(), items.size(), &raw, ids, results);
    });
  }

  /// Begins to make one more replica; the task's number.
  mc_store_task_t copy(ConstBytes key, const std::vector<std::string>& preferred = {}) {
    std::vector<const char*> names = detail::texts(preferred);
    mc_store_task_t task = 0;
    check(mc_store_copy(handle(), key.address, key.length, names.data(), names.size(), -1, &task));
    return task;
  }

  /// Begins to move the replica that lies on a segment.
  mc_store_task_t move(ConstBytes key, const std::string& segment, const std::vector<std::string>& preferred = {}) {
    std::vector<const char*> names = detail::texts(preferred);
    mc_store_task_t task = 0;
    check(mc_store_move(handle(), key.address, key.length, segment.c_str(), names.data(), names.size(), -1, &task));
    return task;
  }

  /// Gives up replicas beyond `keep`; how many those were.
  std::uint64_t trim(ConstBytes key, std::uint32_t keep) {
    std::uint64_t trimmed = 0;
    check(mc_store_trim(handle(), key.address, key.length, keep, -1, &trimmed));
    return trimmed;
  }

  /// Begins to move all that a segment has.
  mc_store_task_t drain(const std::string& segment) {
    mc_store_task_t task = 0;
    check(mc_store_drain(handle(), segment.c_str(), -1, &task));
    return task;
  }

  StoreTaskInfo task(mc_store_task_t task) const {
    StoreTaskInfo info = mc_store_task_info_default();
    check(mc_store_task_get_info(handle(), task, -1, &info));
    return info;
  }

  void cancel(mc_store_task_t task) { check(mc_store_task_cancel(handle(), task, -1)); }

  /// MC_STORE_NO_QUOTA: no limit. "": the store's own tenant.
  void set_quota(std::uint64_t bytes, const std::string& tenant = "") {
    check(mc_store_set_quota(handle(), detail::option_text(tenant, "tenant"), bytes, -1));
  }

  StoreUsage usage(const std::string& tenant = "") const {
    StoreUsage usage = mc_store_usage_default();
    check(mc_store_get_usage(handle(), detail::option_text(tenant, "tenant"), -1, &usage));
    return usage;
  }

  std::vector<StoreSegment> segments() const {
    std::vector<mc_store_segment_t> raw(16);
    std::size_t count = 0;
    for (;;) {
      mc_status_t status = mc_store_list_segments(handle(), -1, raw.data(), raw.size(), &count);
      if (status != MC_ERR_BUFFER_TOO_SMALL) {
        check(status);
        break;
      }
      raw.resize(count);
    }
    std::vector<StoreSegment> all;
    for (std::size_t i = 0; i < count; i++)
      all.push_back({raw[i].name, raw[i].node, raw[i].capacity, raw[i].used, raw[i].is_open, raw[i].is_draining});
    return all;
  }

  /// What the destructor does, now.
  void close() { check(mc_store_close(handle_.release())); }

 private:
  struct Close {
    void operator()(mc_store_t* store) const noexcept { mc_store_close(store); }
  };

  static mc_store_t* open(const StoreOptions& options) {
    mc_store_options_t raw = detail::store_options(options);
    mc_store_t* store = nullptr;
    check(mc_store_open(&raw, &store));
    return store;
  }

  static std::uint64_t leased(bool unless) noexcept { return unless ? MC_STORE_FLAG_UNLESS_LEASED : 0; }

  /// A failure that a result tells is no exception; one that none tells is.
  static void settle(mc_status_t status, const std::vector<StoreResult>& results) {
    bool is_told = false;
    for (const StoreResult& result : results) is_told |= result.status == status;
    if (!is_told) check(status);
  }

  std::unique_ptr<mc_store_t, Close> handle_;
};

}  // namespace mooncake

#endif  // MOONCAKE_STORE_HPP
