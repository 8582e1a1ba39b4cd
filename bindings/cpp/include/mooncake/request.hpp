// Requests: one transfer each between local memory and a segment.
#ifndef MOONCAKE_REQUEST_HPP
#define MOONCAKE_REQUEST_HPP

#include "mooncake/segment.hpp"
#include "mooncake/span.hpp"

namespace mooncake {

using Request = mc_request_t;

namespace detail {

inline Request request(mc_opcode_t opcode, const Segment& peer, std::uint64_t remote,
                       std::uint64_t user_data) noexcept {
  Request request{};
  request.opcode = opcode;
  request.segment = peer.id();
  request.remote = remote;
  request.user_data = user_data;
  return request;
}

inline Request whole(Request request, Bytes local) noexcept {
  request.local = local.address;
  request.length = local.length;
  return request;
}

inline Request in_pieces(Request request, Span<const Bytes> pieces) noexcept {
  request.spans = pieces.data();
  request.span_count = pieces.size();
  for (const Bytes& piece : pieces) request.length += piece.length;
  return request;
}

}  // namespace detail

/// From `remote`, an address in the peer's process, into local memory.
inline Request read(const Segment& peer, std::uint64_t remote, Bytes into, std::uint64_t user_data = 0) noexcept {
  return detail::whole(detail::request(MC_OPCODE_READ, peer, remote, user_data), into);
}

/// From local memory to `remote`, an address in the peer's process.
inline Request write(const Segment& peer, std::uint64_t remote, Bytes from, std::uint64_t user_data = 0) noexcept {
  return detail::whole(detail::request(MC_OPCODE_WRITE, peer, remote, user_data), from);
}

/// From one remote range into several pieces of local memory. The list is borrowed until the batch is made.
inline Request scatter_read(const Segment& peer, std::uint64_t remote, Span<const Bytes> into,
                            std::uint64_t user_data = 0) noexcept {
  return detail::in_pieces(detail::request(MC_OPCODE_READ, peer, remote, user_data), into);
}

/// From several pieces of local memory into one remote range. The list is borrowed until the batch is made.
inline Request gather_write(const Segment& peer, std::uint64_t remote, Span<const Bytes> from,
                            std::uint64_t user_data = 0) noexcept {
  return detail::in_pieces(detail::request(MC_OPCODE_WRITE, peer, remote, user_data), from);
}

}  // namespace mooncake

#endif  // MOONCAKE_REQUEST_HPP
