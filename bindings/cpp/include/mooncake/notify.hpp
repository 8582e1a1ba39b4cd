// Notifications: short binary messages to a peer, beside or after its data.
#ifndef MOONCAKE_NOTIFY_HPP
#define MOONCAKE_NOTIFY_HPP

#include <optional>
#include <string_view>

#include "mooncake/completion_queue.hpp"

namespace mooncake {

/// A notification that was received.
struct Notification {
  std::string tag;
  std::string sender;
  std::string sender_id;
  std::vector<std::byte> data;

  std::string_view text() const noexcept { return {reinterpret_cast<const char*>(data.data()), data.size()}; }
};

/// Sends a notification and waits until the peer's engine has it. To follow data, name it in BatchOptions instead.
inline void notify(const Segment& peer, const std::string& tag, ConstBytes data = {},
                   Timeout timeout = engine_default) {
  check(mc_notify_send(peer.engine(), peer.id(), detail::option_text(tag, "tag"), data.address, data.length,
                       timeout.milliseconds()));
}

namespace detail {

inline std::optional<Notification> receive(const Engine& engine, const char* tag, Timeout timeout) {
  using Clock = std::chrono::steady_clock;
  const Clock::time_point start = Clock::now();
  std::vector<std::byte> data(4096);
  for (Timeout left = timeout;;) {
    mc_notify_info_t info = mc_notify_info_default();
    mc_status_t status = mc_notify_receive(engine.handle(), tag, left.milliseconds(), data.data(), data.size(), &info);
    if (status == MC_ERR_NOT_READY) return std::nullopt;
    if (status == MC_ERR_BUFFER_TOO_SMALL) {
      // It stays, but another thread may take it before this one comes back with room: then wait for what is left.
      data.resize(info.length);
      if (timeout.milliseconds() > 0) left = std::chrono::milliseconds(timeout.milliseconds()) - (Clock::now() - start);
      continue;
    }
    check(status);
    data.resize(info.length);
    return Notification{info.tag, info.sender, info.sender_id, std::move(data)};
  }
}

}  // namespace detail

/// Takes the oldest notification; nothing when none came in that time.
inline std::optional<Notification> receive(const Engine& engine, Timeout timeout = forever) {
  return detail::receive(engine, nullptr, timeout);
}

/// Takes the oldest notification with that tag.
inline std::optional<Notification> receive(const Engine& engine, const std::string& tag, Timeout timeout = forever) {
  detail::option_text(tag, "tag");
  return detail::receive(engine, tag.c_str(), timeout);
}

/// Announces notifications whose tag is bound nowhere else on a queue: one MC_COMPLETION_NOTIFY for each.
inline void bind_notifications(const Engine& engine, const CompletionQueue& queue, std::uint64_t user_data = 0) {
  check(mc_notify_bind(engine.handle(), nullptr, queue.id(), user_data));
}

/// Announces notifications with that tag on a queue: one MC_COMPLETION_NOTIFY for each.
inline void bind_notifications(const Engine& engine, const std::string& tag, const CompletionQueue& queue,
                               std::uint64_t user_data = 0) {
  detail::option_text(tag, "tag");
  check(mc_notify_bind(engine.handle(), tag.c_str(), queue.id(), user_data));
}

/// No longer announces those whose tag is bound nowhere.
inline void unbind_notifications(const Engine& engine) { check(mc_notify_bind(engine.handle(), nullptr, 0, 0)); }

/// No longer announces those with that tag.
inline void unbind_notifications(const Engine& engine, const std::string& tag) {
  detail::option_text(tag, "tag");
  check(mc_notify_bind(engine.handle(), tag.c_str(), 0, 0));
}

}  // namespace mooncake

#endif  // MOONCAKE_NOTIFY_HPP
