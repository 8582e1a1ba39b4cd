// Block cache: least recently used first out, pinned blocks never.
#include "block_cache.hpp"

#include <algorithm>
#include <random>
#include <set>

#include "unit.hpp"

namespace {

constexpr std::size_t kBlock = 64;

struct World {
  explicit World(std::size_t capacity) : memory(capacity * kBlock), cache(memory.data(), kBlock, capacity) {}

  // Uses a block for a moment; true: it was there.
  bool use(std::uint64_t id) {
    bool was_cached = cache.pin(id)->was_cached;
    cache.unpin(id);
    return was_cached;
  }

  std::vector<std::byte> memory;
  BlockCache cache;
};

void the_block_used_longest_ago_goes_first() {
  World world(3);
  for (std::uint64_t id : {1, 2, 3}) CHECK(!world.use(id));
  CHECK(world.use(1));   // so 2 is the oldest now
  CHECK(!world.use(4));  // takes the place of 2
  CHECK(world.use(1) && world.use(3) && world.use(4));
  CHECK(!world.use(2));
}

void a_pinned_block_is_never_evicted() {
  World world(2);
  std::byte* place = world.cache.pin(1)->data;
  for (std::uint64_t id = 10; id < 20; ++id) CHECK(!world.use(id));
  auto again = world.cache.pin(1);
  CHECK(again->was_cached && again->data == place);
}

void nothing_fits_while_every_place_is_pinned() {
  World world(2);
  world.cache.pin(1);
  world.cache.pin(2);
  CHECK(!world.cache.pin(3));
  CHECK(world.cache.pin(1)->was_cached);  // what is there can be pinned once more
  world.cache.unpin(1);
  CHECK(!world.cache.pin(3));  // one of its two pins is left
  world.cache.unpin(1);
  CHECK(world.cache.pin(3));
}

void an_unpin_too_many_is_an_error() {
  World world(2);
  CHECK(contains(thrown_by([&] { world.cache.unpin(7); }), "block 7"));
  world.use(7);
  CHECK(contains(thrown_by([&] { world.cache.unpin(7); }), "block 7"));
}

void places_of_pinned_blocks_do_not_overlap() {
  World world(50);
  std::set<std::byte*> places;
  for (std::uint64_t id = 0; id < 50; ++id) places.insert(world.cache.pin(id)->data);
  CHECK(places.size() == 50);
  CHECK(*places.begin() == world.memory.data());
  CHECK(*places.rbegin() == world.memory.data() + 49 * kBlock);
}

// Against a list that is searched from end to end.
void it_agrees_with_a_plain_list_on_random_use() {
  World world(16);
  std::vector<std::uint64_t> list;  // most recently used last
  std::mt19937_64 random(11);
  for (int step = 0; step < 20000; ++step) {
    std::uint64_t id = random() % 40;
    auto known = std::find(list.begin(), list.end(), id);
    CHECK(world.use(id) == (known != list.end()));
    if (known != list.end()) list.erase(known);
    list.push_back(id);
    if (list.size() > 16) list.erase(list.begin());
  }
}

}  // namespace

int main() {
  RUN(the_block_used_longest_ago_goes_first);
  RUN(a_pinned_block_is_never_evicted);
  RUN(nothing_fits_while_every_place_is_pinned);
  RUN(an_unpin_too_many_is_an_error);
  RUN(places_of_pinned_blocks_do_not_overlap);
  RUN(it_agrees_with_a_plain_list_on_random_use);
}
