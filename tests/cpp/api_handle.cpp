// Handles: each id is ended exactly once, whoever holds it last.
#include "mooncake/handle.hpp"

#include <type_traits>
#include <vector>

#include "check.hpp"

static std::vector<std::uint64_t> ended;

// Ends an id as the library would; ids from 100 on are in use.
static mc_status_t end(mc_engine_t*, std::uint64_t id) {
  if (id >= 100) return mc_engine_drain(nullptr, 0);
  ended.push_back(id);
  return MC_OK;
}

struct Thing : mooncake::detail::Handle<end> {
  explicit Thing(std::uint64_t id) : Handle(nullptr, id) {}
};

using Ids = std::vector<std::uint64_t>;

static_assert(!std::is_copy_constructible_v<Thing> && !std::is_copy_assignable_v<Thing>, "handles have one owner");
static_assert(std::is_nothrow_move_constructible_v<Thing> && std::is_nothrow_move_assignable_v<Thing>, "they move");

TEST(going_out_of_scope_ends_it) {
  ended.clear();
  { Thing thing(1); }
  CHECK(ended == Ids{1});
}

TEST(a_moved_handle_is_ended_by_its_new_owner_only) {
  ended.clear();
  {
    Thing first(1);
    Thing second(std::move(first));
    CHECK(first.id() == 0 && second.id() == 1);
  }
  CHECK(ended == Ids{1});
}

TEST(assigning_ends_what_was_held_before) {
  ended.clear();
  {
    Thing first(1);
    Thing second(2);
    second = std::move(first);
    CHECK(ended == Ids{2});
  }
  CHECK((ended == Ids{2, 1}));
}

TEST(closing_ends_it_once) {
  ended.clear();
  {
    Thing thing(1);
    thing.close();
    CHECK(thing.id() == 0);
  }
  CHECK(ended == Ids{1});
}

TEST(a_failed_close_throws_and_leaves_it_open) {
  Thing thing(100);
  CHECK_THROWS(MC_ERR_INVALID_HANDLE, thing.close());
  CHECK(thing.id() == 100);
}

TEST(texts_with_a_nul_inside_are_refused) {
  CHECK(mooncake::detail::option_text("", "name") == nullptr);
  CHECK_THROWS(MC_ERR_INVALID_ARGUMENT, mooncake::detail::option_text(std::string("a\0b", 3), "name"));
}

TEST(outputs_of_any_length_fit) {
  for (std::size_t wanted : {0, 1, 255, 256, 257, 5000}) {
    auto write = [&](char* buffer, std::size_t size, std::size_t* length) -> mc_status_t {
      *length = wanted;
      if (size <= wanted) return MC_ERR_BUFFER_TOO_SMALL;
      for (std::size_t i = 0; i < wanted; ++i) buffer[i] = 'x';
      buffer[wanted] = '\0';
      return MC_OK;
    };
    CHECK(mooncake::detail::output<std::string>(write) == std::string(wanted, 'x'));
  }
}
