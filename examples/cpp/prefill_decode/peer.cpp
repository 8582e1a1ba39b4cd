// Meets the other process, listens to it, and notices when it is gone.
#include "peer.hpp"

#include <new>
#include <thread>

#include "messages.hpp"

using namespace std::chrono_literals;

// A process that is silent for so long is asked whether it is still there.
constexpr std::chrono::milliseconds kSilence = 500ms;

mooncake::EngineOptions engine_options(const Options& options, const std::string& name) {
  mooncake::EngineOptions engine;
  engine.name = name + "-" + std::to_string(std::chrono::system_clock::now().time_since_epoch().count());
  engine.bind_address = options.bind;
  engine.port = options.port;
  engine.transports = transports_of(options.paths.front());
  return engine;
}

BlockMemory::BlockMemory(const mooncake::Engine& engine, std::size_t length, MemoryKind kind,
                         const mooncake::MemoryOptions& access) {
  if (kind == MemoryKind::shared) {
    allocation_.emplace(engine, length, access);
    return;
  }
  constexpr std::size_t kPage = 4096;
  ordinary_.reset(static_cast<std::byte*>(std::aligned_alloc(kPage, (length + kPage - 1) / kPage * kPage)));
  if (!ordinary_) throw std::bad_alloc();
  region_.emplace(engine, mooncake::Bytes(ordinary_.get(), length), access);
}

Peer::Peer(const mooncake::Engine& engine, std::string role, const std::string& address, std::chrono::seconds patience)
    : engine_(engine),
      name_(role + " at " + address),
      segment_(meet(engine, name_, address, patience)),
      engine_id_(segment_.info().engine_id) {}

mooncake::Segment Peer::meet(const mooncake::Engine& engine, const std::string& name, const std::string& address,
                             std::chrono::seconds patience) {
  const auto end = std::chrono::steady_clock::now() + patience;
  for (;;) {
    try {
      return mooncake::Segment(engine, address, 5s);
    } catch (const mooncake::Error& error) {
      const bool may_come = error.code() == MC_ERR_UNREACHABLE || error.code() == MC_ERR_CONNECTION_LOST;
      if (!may_come || std::chrono::steady_clock::now() > end) {
        throw std::runtime_error("cannot reach " + name + ": " + error.what());
      }
    }
    std::this_thread::sleep_for(100ms);
  }
}

void Peer::send(const char* tag, mooncake::ConstBytes body) {
  try {
    mooncake::notify(segment_, tag, body);
  } catch (const mooncake::Error& error) {
    fail(std::string("telling it \"") + tag + '"', error.what());
  }
}

mooncake::Notification Peer::receive(const std::string& awaited) {
  for (;;) {
    if (auto message = checked(mooncake::receive(engine_, kSilence))) return std::move(*message);
    mooncake::Probe probe = segment_.probe();
    // What it said before it died is still worth hearing.
    if (auto message = checked(mooncake::receive(engine_, 0s))) return std::move(*message);
    if (!probe.is_alive) fail("waiting for " + awaited, "it does not answer");
    if (probe.has_restarted) fail("waiting for " + awaited, "another process answers in its place");
  }
}

std::optional<mooncake::Notification> Peer::poll() { return checked(mooncake::receive(engine_, 0s)); }

std::optional<mooncake::Notification> Peer::checked(std::optional<mooncake::Notification> message) const {
  if (message && message->sender_id != engine_id_) return std::nullopt;
  if (message && message->tag == tag::kFailed) {
    throw std::runtime_error(name_ + " gave up: " + std::string(message->text()));
  }
  return message;
}

void Peer::send_last(const char* tag, const std::string& text) noexcept {
  try {
    mooncake::notify(segment_, tag, mooncake::ConstBytes(text.data(), text.size()), 2s);
  } catch (const std::exception&) {
    // A peer that waits for this word finds out by itself that nobody will say it.
  }
}

void Peer::fail(const std::string& attempted, const std::string& reason) const {
  bool is_alive = true;
  try {
    mooncake::Probe probe = segment_.probe();
    is_alive = probe.is_alive && !probe.has_restarted;
  } catch (const mooncake::Error&) {
    // The reason that is known already is the better one.
  }
  if (!is_alive) throw std::runtime_error("lost " + name_ + " while " + attempted + ": " + reason);
  throw std::runtime_error(attempted + " failed with " + name_ + ": " + reason);
}
