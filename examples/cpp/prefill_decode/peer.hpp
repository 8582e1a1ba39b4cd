// Peer: this process's engine and block memory, and the other process seen from here.
#ifndef PREFILL_DECODE_PEER_HPP
#define PREFILL_DECODE_PEER_HPP

#include <mooncake/mooncake.hpp>

#include <cstdlib>
#include <memory>
#include <optional>
#include <string>

#include "options.hpp"

mooncake::EngineOptions engine_options(const Options& options, const std::string& name);

// Memory for the blocks of a cache, registered with the engine.
class BlockMemory {
 public:
  BlockMemory(const mooncake::Engine& engine, std::size_t length, MemoryKind kind,
              const mooncake::MemoryOptions& access);

  std::byte* data() const { return allocation_ ? allocation_->data() : ordinary_.get(); }

 private:
  struct Free {
    void operator()(std::byte* memory) const { std::free(memory); }
  };

  std::optional<mooncake::Allocation> allocation_;
  std::unique_ptr<std::byte, Free> ordinary_;
  std::optional<mooncake::Region> region_;  // of ordinary_, and so after it
};

// The other process. When it is lost or gives up, every call throws std::runtime_error that says so.
class Peer {
 public:
  // Meets it; keeps trying for `patience`, since it may just be starting.
  Peer(const mooncake::Engine& engine, std::string role, const std::string& address, std::chrono::seconds patience);

  const mooncake::Segment& segment() const { return segment_; }
  const std::string& name() const { return name_; }

  void send(const char* tag, mooncake::ConstBytes body);
  // The next message. Waits as long as the peer is alive; `awaited` says for what, should it not be.
  mooncake::Notification receive(const std::string& awaited);
  // The next message, if there is one already.
  std::optional<mooncake::Notification> poll();
  // The last word of this process. Lost when the peer is gone already, which matters no more.
  void send_last(const char* tag, const std::string& text) noexcept;
  // Throws; says that the peer is lost if it is.
  [[noreturn]] void fail(const std::string& attempted, const std::string& reason) const;

 private:
  // Nothing for a message of somebody else; throws when the peer gave up.
  std::optional<mooncake::Notification> checked(std::optional<mooncake::Notification> message) const;
  static mooncake::Segment meet(const mooncake::Engine& engine, const std::string& name, const std::string& address,
                                std::chrono::seconds patience);

  const mooncake::Engine& engine_;
  std::string name_;
  mooncake::Segment segment_;
  std::string engine_id_;
};

#endif  // PREFILL_DECODE_PEER_HPP
