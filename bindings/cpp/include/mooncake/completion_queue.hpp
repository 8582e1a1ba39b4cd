// Completion queue: what became of requests, for programs with a loop of their own.
#ifndef MOONCAKE_COMPLETION_QUEUE_HPP
#define MOONCAKE_COMPLETION_QUEUE_HPP

#include "mooncake/batch.hpp"

namespace mooncake {

/// What was taken from a queue: the first `count` completions of the caller's list, unless the call failed.
struct Taken {
  mc_status_t status;
  std::size_t count;
};

class CompletionQueue : public detail::Handle<mc_cq_destroy> {
 public:
  /// `capacity` completions fit in; batches that could overflow it are refused. 0: the default.
  explicit CompletionQueue(const Engine& engine, std::uint32_t capacity = 0)
      : Handle(engine.handle(), create(engine, capacity)) {}

  /// Takes what is there. Allocates nothing, never blocks, never throws.
  [[nodiscard]] Taken poll(Span<Completion> completions) noexcept {
    Taken taken{MC_OK, 0};
    taken.status = mc_cq_poll(engine(), id(), completions.data(), completions.size(), &taken.count);
    return taken;
  }

  /// Takes what is there, waiting for the first; none with MC_OK: the time ran out.
  [[nodiscard]] Taken wait(Span<Completion> completions, Timeout timeout = forever) noexcept {
    Taken taken{MC_OK, 0};
    taken.status =
        mc_cq_wait(engine(), id(), timeout.milliseconds(), completions.data(), completions.size(), &taken.count);
    return taken;
  }

  /// Readable while the queue is not empty: for poll, epoll or select. It belongs to the queue.
  int event_fd() const {
    std::int32_t fd = -1;
    check(mc_cq_event_fd(engine(), id(), &fd));
    return fd;
  }

 private:
  static mc_cq_t create(const Engine& engine, std::uint32_t capacity) {
    mc_cq_options_t options = mc_cq_options_default();
    options.capacity = capacity;
    mc_cq_t queue = 0;
    check(mc_cq_create(engine.handle(), &options, &queue));
    return queue;
  }
};

}  // namespace mooncake

#endif  // MOONCAKE_COMPLETION_QUEUE_HPP
