// Requests: what the four makers write into mc_request_t.
#include "mooncake/request.hpp"

#include <array>

#include "check.hpp"

using namespace mooncake;

static Segment local_segment() {
  EngineOptions options;
  options.bind_address = "127.0.0.1";
  static Engine engine(options);
  return Segment::local(engine);
}

TEST(a_read_goes_into_local_memory) {
  Segment segment = local_segment();
  std::array<int, 4> memory{};
  Request request = read(segment, 0x1000, memory, 7);
  CHECK(request.opcode == MC_OPCODE_READ && request.segment == segment.id());
  CHECK(request.remote == 0x1000 && request.user_data == 7);
  CHECK(request.local == memory.data() && request.length == sizeof memory);
  CHECK(request.spans == nullptr && request.span_count == 0 && request.flags == 0);
}

TEST(a_write_comes_from_local_memory) {
  Segment segment = local_segment();
  char memory[16];
  Request request = write(segment, 0x2000, {memory, sizeof memory});
  CHECK(request.opcode == MC_OPCODE_WRITE && request.length == 16 && request.user_data == 0);
}

TEST(pieces_are_borrowed_and_their_lengths_summed) {
  Segment segment = local_segment();
  char memory[64];
  std::array<Bytes, 2> pieces{Bytes(memory, 8), Bytes(memory + 32, 24)};
  Request in = scatter_read(segment, 0x3000, pieces, 1);
  CHECK(in.opcode == MC_OPCODE_READ && in.local == nullptr && in.length == 32);
  CHECK(in.spans == pieces.data() && in.span_count == 2);
  CHECK(in.spans[1].address == memory + 32 && in.spans[1].length == 24);
  CHECK(gather_write(segment, 0x3000, pieces).opcode == MC_OPCODE_WRITE);
}
