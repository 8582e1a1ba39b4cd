// Batch: requests submitted together, and what became of them.
#ifndef MOONCAKE_BATCH_HPP
#define MOONCAKE_BATCH_HPP

#include "mooncake/request.hpp"

namespace mooncake {

using Completion = mc_completion_t;

enum class Priority : mc_priority_t {
  normal = MC_PRIORITY_NORMAL,
  high = MC_PRIORITY_HIGH,
  low = MC_PRIORITY_LOW,
};

/// How to run a batch: mc_batch_options_t. Texts and data are borrowed until the batch is made.
struct BatchOptions {
  Priority priority = Priority::normal;
  /// One completion for the batch instead of one per request.
  bool complete_once = false;
  /// Zero: the engine's default.
  std::chrono::milliseconds deadline{0};
  /// CompletionQueue::id(); 0: none.
  mc_cq_t cq = 0;
  /// Of the one completion.
  std::uint64_t user_data = 0;
  /// Sent when all bytes are visible to the peer; nullptr: nothing is sent.
  const char* notify_tag = nullptr;
  ConstBytes notify_data;
  /// Segment::id() of whom to notify; 0: the segment of the first request.
  mc_segment_t notify_segment = 0;
};

/// How far a batch is.
struct Progress {
  /// Every request ended; also true when the call itself failed, so that loops end.
  bool is_done = false;
  /// MC_OK while nothing failed; else the first failure.
  mc_status_t status = MC_OK;
  std::uint64_t request_count = 0;
  std::uint64_t completed_count = 0;
  std::uint64_t failed_count = 0;
  std::uint64_t completed_bytes = 0;

  bool ok() const noexcept { return is_done && status == MC_OK; }
};

/// What came of waiting. Not done and MC_OK: the time ran out.
struct Outcome : Progress {
  /// Which request failed, at whom and why, or that the time ran out; "" when all is well.
  std::string message;

  /// Throws unless everything was transferred.
  void check() const {
    if (!ok()) throw Error(is_done ? status : MC_ERR_NOT_READY, message);
  }
};

/// Started by its constructor. The destructor cancels what is under way, in the background.
class Batch : public detail::Handle<mc_batch_release> {
 public:
  Batch(const Engine& engine, Span<const Request> requests, const BatchOptions& options = {})
      : Batch(mc_batch_submit, engine, requests, options) {}

  /// Costs the same for any number of requests; allocates nothing, never blocks, never throws.
  [[nodiscard]] Progress poll() const noexcept {
    mc_batch_info_t info = mc_batch_info_default();
    return progress(mc_batch_poll(engine(), id(), &info), info);
  }

  /// Waits until it is done, which its deadline bounds, or until the time ran out.
  [[nodiscard]] Outcome wait(Timeout timeout = forever) const {
    mc_batch_info_t info = mc_batch_info_default();
    mc_status_t status = mc_batch_wait(engine(), id(), timeout.milliseconds(), &info);
    bool in_time = status != MC_ERR_NOT_READY;
    return {progress(in_time && !info.is_done ? status : MC_OK, info), status == MC_OK ? "" : mc_last_error_message()};
  }

  /// What became of one request; its status is MC_ERR_NOT_READY while it is under way.
  Completion task(std::size_t index) const {
    Completion completion{};
    check(mc_batch_task(engine(), id(), index, &completion));
    return completion;
  }

  /// Ends it early. It is done soon after: wait() for that before the local memory is used otherwise.
  void cancel() { check(mc_batch_cancel(engine(), id())); }

 protected:
  using Make = mc_status_t(mc_engine_t*, const mc_request_t*, std::size_t, const mc_batch_options_t*, mc_batch_t*);

  Batch(Make make, const Engine& engine, Span<const Request> requests, const BatchOptions& options)
      : Handle(engine.handle(), created(make, engine, requests, options)) {}

 private:
  static mc_batch_t created(Make make, const Engine& engine, Span<const Request> requests, const BatchOptions& from) {
    mc_batch_options_t raw = mc_batch_options_default();
    raw.priority = static_cast<mc_priority_t>(from.priority);
    raw.flags = from.complete_once ? MC_BATCH_FLAG_COMPLETE_ONCE : 0;
    raw.deadline_ms = detail::option_milliseconds(from.deadline, "deadline");
    raw.cq = from.cq;
    raw.user_data = from.user_data;
    raw.notify_tag = from.notify_tag;
    raw.notify_data = from.notify_data.address;
    raw.notify_length = from.notify_data.length;
    raw.notify_segment = from.notify_segment;
    mc_batch_t batch = 0;
    check(make(engine.handle(), requests.data(), requests.size(), &raw, &batch));
    return batch;
  }

  static Progress progress(mc_status_t call, const mc_batch_info_t& info) noexcept {
    if (call != MC_OK) return {true, call, 0, 0, 0, 0};
    return {info.is_done,         info.status,       info.request_count,
            info.completed_count, info.failed_count, info.completed_bytes};
  }
};

/// Checked and resolved by its constructor, started by each post(): for transfers that repeat over the same memory.
/// Memory that is closed between two posts fails the next.
class PreparedBatch : public Batch {
 public:
  PreparedBatch(const Engine& engine, Span<const Request> requests, const BatchOptions& options = {})
      : Batch(mc_batch_prepare, engine, requests, options) {}

  /// Starts it, for the first time or again after it ended. Allocates nothing.
  void post() { check(mc_batch_post(engine(), id())); }
};

}  // namespace mooncake

#endif  // MOONCAKE_BATCH_HPP
