// Writes and reads the bodies of messages: 64-bit numbers in the order of the machine, which both processes share.
#include "messages.hpp"

#include <cstring>
#include <stdexcept>

static_assert(sizeof(BlockPlace) == 16, "places are sent as they lie in memory");

namespace {

void put(std::vector<std::byte>& body, const void* data, std::size_t length) {
  const std::size_t at = body.size();
  body.resize(at + length);
  if (length != 0) std::memcpy(body.data() + at, data, length);
}

void put(std::vector<std::byte>& body, std::uint64_t number) { put(body, &number, sizeof number); }

class Reader {
 public:
  explicit Reader(const mooncake::Notification& message) : message_(message) {}

  std::size_t left() const { return message_.data.size() - at_; }

  void take(void* out, std::size_t length) {
    if (left() < length) fail();
    if (length != 0) std::memcpy(out, message_.data.data() + at_, length);
    at_ += length;
  }

  std::uint64_t number() {
    std::uint64_t value;
    take(&value, sizeof value);
    return value;
  }

  void end() const {
    if (left() != 0) fail();
  }

  [[noreturn]] void fail() const {
    throw std::runtime_error(message_.sender + " sent a message \"" + message_.tag + "\" of " +
                             std::to_string(message_.data.size()) + " bytes, which it cannot have");
  }

 private:
  const mooncake::Notification& message_;
  std::size_t at_ = 0;
};

}  // namespace

std::vector<std::byte> encode(const Hello& hello) {
  std::vector<std::byte> body;
  for (std::uint64_t number : {hello.block_length, hello.request_count, hello.largest_request}) put(body, number);
  put(body, hello.address.data(), hello.address.size());
  return body;
}

std::vector<std::byte> encode(const Blocks& blocks) {
  std::vector<std::byte> body;
  put(body, blocks.request);
  put(body, blocks.places.data(), blocks.places.size() * sizeof(BlockPlace));
  return body;
}

std::vector<std::byte> encode(const End& end) {
  std::vector<std::byte> body;
  for (std::uint64_t number : {end.made_blocks, end.kept_blocks, end.making_ns}) put(body, number);
  return body;
}

std::vector<std::byte> encode(std::uint64_t number) {
  std::vector<std::byte> body;
  put(body, number);
  return body;
}

Hello decode_hello(const mooncake::Notification& message) {
  Reader reader(message);
  Hello hello;
  hello.block_length = reader.number();
  hello.request_count = reader.number();
  hello.largest_request = reader.number();
  hello.address.resize(reader.left());
  reader.take(hello.address.data(), hello.address.size());
  if (hello.block_length == 0 || hello.block_length % 8 != 0 || hello.largest_request > kMostBlocks) reader.fail();
  return hello;
}

Blocks decode_blocks(const mooncake::Notification& message) {
  Reader reader(message);
  Blocks blocks;
  blocks.request = reader.number();
  if (reader.left() % sizeof(BlockPlace) != 0) reader.fail();
  blocks.places.resize(reader.left() / sizeof(BlockPlace));
  reader.take(blocks.places.data(), reader.left());
  return blocks;
}

End decode_end(const mooncake::Notification& message) {
  Reader reader(message);
  End end;
  end.made_blocks = reader.number();
  end.kept_blocks = reader.number();
  end.making_ns = reader.number();
  reader.end();
  return end;
}

std::uint64_t decode_number(const mooncake::Notification& message) {
  Reader reader(message);
  std::uint64_t number = reader.number();
  reader.end();
  return number;
}
