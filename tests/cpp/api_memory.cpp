// Memory: registrations and allocations, and what ends them.
#include "mooncake/memory.hpp"

#include <optional>
#include <vector>

#include "check.hpp"

using namespace mooncake;

static Engine on_loopback() {
  EngineOptions options;
  options.bind_address = "127.0.0.1";
  return Engine(options);
}

TEST(registered_memory_is_described) {
  Engine engine = on_loopback();
  std::vector<float> floats(1024);
  MemoryOptions options;
  options.remote_write = false;
  options.location = "cpu:0";
  Region region(engine, floats, options);
  MemoryInfo info = region.info();
  CHECK(info.bytes.address == floats.data() && info.bytes.length == 4096);
  CHECK(info.flags == MC_MEMORY_FLAG_REMOTE_READ);
  CHECK(info.location == "cpu:0");
  CHECK(!info.is_allocated && info.use_count == 0);
}

TEST(identical_registrations_share_one_region) {
  Engine engine = on_loopback();
  std::vector<char> memory(4096);
  Region first(engine, memory);
  {
    Region second(engine, memory);
    CHECK(first.id() == second.id());
    CHECK(first.info().reference_count == 2);
  }
  CHECK(first.info().reference_count == 1);
}

TEST(leaving_the_scope_unregisters) {
  Engine engine = on_loopback();
  std::vector<char> memory(4096);
  { Region region(engine, memory); }
  CHECK(engine.info().region_count == 0);
}

TEST(memory_nobody_may_reach_is_local) {
  Engine engine = on_loopback();
  std::vector<char> memory(4096);
  MemoryOptions options;
  options.remote_read = options.remote_write = false;
  CHECK(Region(engine, memory, options).info().flags == 0);
}

TEST(empty_memory_is_refused) {
  Engine engine = on_loopback();
  std::vector<char> nothing;
  CHECK_THROWS(MC_ERR_INVALID_ARGUMENT, Region(engine, nothing));
}

TEST(an_idle_region_closes_without_waiting) {
  Engine engine = on_loopback();
  std::vector<char> memory(4096);
  Region region(engine, memory);
  CHECK(region.try_close());
  CHECK_THROWS(MC_ERR_INVALID_HANDLE, region.info());
}

TEST(allocated_memory_is_zero_and_writable) {
  Engine engine = on_loopback();
  Allocation memory(engine, 100000);
  CHECK(memory.size() == 100000 && memory.bytes().length == 100000);
  for (std::size_t i = 0; i < memory.size(); ++i) CHECK(memory.data()[i] == std::byte{0});
  memory.data()[99999] = std::byte{1};
  CHECK(memory.info().is_allocated);
  CHECK(memory.info().bytes.length >= 100000);
}

TEST(a_moved_allocation_leaves_nothing_behind) {
  Engine engine = on_loopback();
  Allocation first(engine, 4096);
  std::byte* data = first.data();
  Allocation second(std::move(first));
  CHECK(second.data() == data && second.size() == 4096);
  CHECK(first.data() == nullptr && first.size() == 0);
  second.close();
  CHECK(second.data() == nullptr);
  CHECK(engine.info().region_count == 0);
}

TEST(memory_may_outlive_its_engine) {
  std::optional<Engine> engine(on_loopback());
  std::vector<char> memory(4096);
  Region region(*engine, memory);
  Allocation allocation(*engine, 4096);
  engine.reset();
  CHECK_THROWS(MC_ERR_INVALID_HANDLE, region.info());
  CHECK_THROWS(MC_ERR_INVALID_HANDLE, allocation.close());
}
