// The second translation unit of api_odr.
#include "mooncake/mooncake.hpp"

mooncake::Engine engine_from_the_other_unit() {
  mooncake::EngineOptions options;
  options.name = "other-unit";
  options.bind_address = "127.0.0.1";
  return mooncake::Engine(options);
}

bool other_unit_reads(const mooncake::Engine& engine) {
  mooncake::Allocation memory(engine, 4096);
  mooncake::Segment local = mooncake::Segment::local(engine);
  auto address = reinterpret_cast<std::uintptr_t>(memory.data());
  memory.data()[0] = std::byte{42};
  mooncake::Batch batch(engine, {mooncake::read(local, address, memory.bytes().part(2048, 1))});
  return batch.wait().ok() && memory.data()[2048] == std::byte{42};
}
