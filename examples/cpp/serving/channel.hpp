// Channel: lines of words between the router and a worker, over a socket that both have from the start.
#ifndef SERVING_CHANNEL_HPP
#define SERVING_CHANNEL_HPP

#include <chrono>
#include <optional>
#include <stdexcept>
#include <string>

using Clock = std::chrono::steady_clock;

// The other end is gone.
struct ChannelClosed : std::runtime_error {
  ChannelClosed() : std::runtime_error("the other end is gone") {}
};

class Channel {
 public:
  // Takes the descriptor over.
  explicit Channel(int descriptor) : descriptor_(descriptor) {}
  ~Channel();
  Channel(Channel&& other) noexcept;
  Channel& operator=(Channel&&) = delete;

  int descriptor() const { return descriptor_; }

  // Sends a line, of which `text` is all but the end. A reader that takes nothing for ten seconds is an error.
  void send(const std::string& text);

  // A line that is there already, without waiting.
  std::optional<std::string> take();

  // The next line; nothing at the deadline.
  std::optional<std::string> wait(Clock::time_point deadline);

 private:
  // What the socket has goes to `received_`.
  void receive();

  int descriptor_;
  std::string received_;
};

#endif  // SERVING_CHANNEL_HPP
