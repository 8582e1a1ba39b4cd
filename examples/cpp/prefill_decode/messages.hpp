// Messages: what the two processes tell each other, as notifications. The tag says what it is, the body is bytes.
//
//   prefill                                   decode
//   hello    where I am, how large blocks are  ->
//                                             <-  welcome
//   blocks   of request N, and where they lie  ->      pulls what it does not hold
//                                             <-  pulled   request N: its blocks may go
//   end      there are no more requests        ->      checks what it has
//                                             <-  done     every byte was right
//   failed   either says it before it gives up, with the reason
//
// Prefill keeps the blocks of a request where they are from "blocks" to "pulled", and is at most a window of requests
// ahead. Decode pulls requests in their order and needs nothing of prefill for that, so "pulled" always comes, and
// a full cache on one side only makes the other wait.
#ifndef PREFILL_DECODE_MESSAGES_HPP
#define PREFILL_DECODE_MESSAGES_HPP

#include <mooncake/mooncake.hpp>

#include <cstdint>
#include <string>
#include <vector>

namespace tag {
constexpr char kHello[] = "hello";
constexpr char kWelcome[] = "welcome";
constexpr char kBlocks[] = "blocks";
constexpr char kPulled[] = "pulled";
constexpr char kEnd[] = "end";
constexpr char kDone[] = "done";
constexpr char kFailed[] = "failed";
}  // namespace tag

struct Hello {
  std::uint64_t block_length = 0;
  std::uint64_t request_count = 0;
  std::uint64_t largest_request = 0;  // blocks
  std::string address;                // of prefill
};

// Where a block lies in prefill's process.
struct BlockPlace {
  std::uint64_t hash_id;
  std::uint64_t address;
};

struct Blocks {
  std::uint64_t request = 0;
  std::vector<BlockPlace> places;
};

// Blocks that fit into one notification.
constexpr std::size_t kMostBlocks = (MC_NOTIFY_MAX_LENGTH - sizeof(std::uint64_t)) / sizeof(BlockPlace);

struct End {
  std::uint64_t made_blocks = 0;
  std::uint64_t kept_blocks = 0;  // found in prefill's cache
  std::uint64_t making_ns = 0;
};

std::vector<std::byte> encode(const Hello& hello);
std::vector<std::byte> encode(const Blocks& blocks);
std::vector<std::byte> encode(const End& end);
// A body that is only a number: that of "pulled".
std::vector<std::byte> encode(std::uint64_t number);

// These throw std::runtime_error when the body is not what its tag says.
Hello decode_hello(const mooncake::Notification& message);
Blocks decode_blocks(const mooncake::Notification& message);
End decode_end(const mooncake::Notification& message);
std::uint64_t decode_number(const mooncake::Notification& message);

#endif  // PREFILL_DECODE_MESSAGES_HPP
