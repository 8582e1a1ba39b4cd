// Lines over a socket.
#include "channel.hpp"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace {

constexpr std::chrono::seconds kSendWithin{10};
// No line is longer: a request of a million tokens has 2,000 blocks.
constexpr std::size_t kLongest = 1 << 20;

bool is_ready(int descriptor, short what, Clock::time_point deadline) {
  for (;;) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now()).count();
    pollfd entry{descriptor, what, 0};
    const int count = poll(&entry, 1, static_cast<int>(std::clamp<long long>(left, 0, 60000)));
    if (count > 0) return true;
    if (count < 0 && errno != EINTR) throw std::runtime_error(std::string("cannot wait: ") + std::strerror(errno));
    if (count == 0 && left <= 0) return false;
  }
}

}  // namespace

Channel::~Channel() {
  if (descriptor_ >= 0) close(descriptor_);
}

Channel::Channel(Channel&& other) noexcept : descriptor_(other.descriptor_), received_(std::move(other.received_)) {
  other.descriptor_ = -1;
}

void Channel::send(const std::string& text) {
  const std::string line = text + '\n';
  const auto deadline = Clock::now() + kSendWithin;
  for (std::size_t sent = 0; sent < line.size();) {
    if (!is_ready(descriptor_, POLLOUT, deadline)) throw std::runtime_error("the other end takes nothing for 10 s");
    const ssize_t count = ::send(descriptor_, line.data() + sent, line.size() - sent, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (count >= 0) {
      sent += static_cast<std::size_t>(count);
    } else if (errno == EPIPE || errno == ECONNRESET) {
      throw ChannelClosed();
    } else if (errno != EAGAIN && errno != EINTR) {
      throw std::runtime_error(std::string("cannot send: ") + std::strerror(errno));
    }
  }
}

void Channel::receive() {
  char bytes[16384];
  const ssize_t count = recv(descriptor_, bytes, sizeof bytes, MSG_DONTWAIT);
  if (count > 0) {
    received_.append(bytes, static_cast<std::size_t>(count));
    if (received_.size() > kLongest) throw std::runtime_error("the other end sends a line without end");
  } else if (count == 0 || errno == ECONNRESET) {
    throw ChannelClosed();
  } else if (errno != EAGAIN && errno != EINTR) {
    throw std::runtime_error(std::string("cannot receive: ") + std::strerror(errno));
  }
}

std::optional<std::string> Channel::take() {
  std::size_t end = received_.find('\n');
  if (end == std::string::npos) {
    receive();
    end = received_.find('\n');
  }
  if (end == std::string::npos) return std::nullopt;
  std::string line = received_.substr(0, end);
  received_.erase(0, end + 1);
  return line;
}

std::optional<std::string> Channel::wait(Clock::time_point deadline) {
  for (;;) {
    if (std::optional<std::string> line = take()) return line;
    if (!is_ready(descriptor_, POLLIN, deadline)) return std::nullopt;
  }
}
