// Completion queue: completions arrive, its descriptor tells, a destroyed queue wakes who waits.
#include "mooncake/completion_queue.hpp"

#include <poll.h>

#include <array>
#include <optional>
#include <thread>

#include "check.hpp"
#include "pair.hpp"

using namespace mooncake;

static bool is_readable(int fd, int timeout_ms) {
  pollfd entry{fd, POLLIN, 0};
  return poll(&entry, 1, timeout_ms) == 1 && (entry.revents & POLLIN) != 0;
}

static constexpr int guard_ms = 30000;

TEST(each_request_completes_with_its_user_data) {
  test::Pair pair;
  CompletionQueue queue(pair.initiator);
  BatchOptions options;
  options.cq = queue.id();
  Batch batch(pair.initiator,
              {write(pair.peer, pair.at(), pair.local.bytes().part(0, 64), 40),
               write(pair.peer, pair.at(64), pair.local.bytes().part(64, 64), 41)},
              options);
  std::uint64_t seen = 0;
  for (std::size_t count = 0; count < 2;) {
    std::array<Completion, 8> completions;
    Taken taken = queue.wait(completions, test::guard);
    CHECK(taken.status == MC_OK && taken.count > 0);
    for (std::size_t i = 0; i < taken.count; ++i) {
      CHECK(completions[i].kind == MC_COMPLETION_REQUEST && completions[i].status == MC_OK);
      CHECK(completions[i].batch == batch.id() && completions[i].length == 64);
      CHECK(completions[i].user_data == 40 + completions[i].index);
      seen += completions[i].user_data;
    }
    count += taken.count;
  }
  CHECK(seen == 81);
}

TEST(a_batch_may_complete_as_one) {
  test::Pair pair;
  CompletionQueue queue(pair.initiator);
  BatchOptions options;
  options.cq = queue.id();
  options.complete_once = true;
  options.user_data = 99;
  Batch batch(pair.initiator, {write(pair.peer, pair.at(), pair.local), read(pair.peer, pair.at(), pair.local)},
              options);
  Completion completion{};
  Taken taken = queue.wait({&completion, 1}, test::guard);
  CHECK(taken.status == MC_OK && taken.count == 1);
  CHECK(completion.kind == MC_COMPLETION_BATCH && completion.user_data == 99 && completion.status == MC_OK);
  CHECK(queue.poll({&completion, 1}).count == 0);
}

TEST(the_descriptor_is_readable_while_there_is_something) {
  test::Pair pair;
  CompletionQueue queue(pair.initiator);
  int fd = queue.event_fd();
  CHECK(!is_readable(fd, 0));
  BatchOptions options;
  options.cq = queue.id();
  Batch batch(pair.initiator,
              {write(pair.peer, pair.at(), pair.local.bytes().part(0, 8)),
               write(pair.peer, pair.at(8), pair.local.bytes().part(8, 8))},
              options);
  CHECK(is_readable(fd, guard_ms));
  batch.wait(test::guard).check();
  Completion completion{};
  CHECK(queue.poll({&completion, 1}).count == 1);
  CHECK(is_readable(fd, guard_ms));
  CHECK(queue.poll({&completion, 1}).count == 1);
  CHECK(!is_readable(fd, 0));
}

TEST(an_empty_queue_gives_nothing_in_time) {
  Engine engine(test::on_loopback());
  CompletionQueue queue(engine);
  std::array<Completion, 4> completions;
  Taken taken = queue.wait(completions, std::chrono::milliseconds(1));
  CHECK(taken.status == MC_OK && taken.count == 0);
  CHECK(queue.poll(completions).count == 0);
}

TEST(batches_that_could_overflow_a_queue_are_refused) {
  test::Pair pair;
  CompletionQueue queue(pair.initiator, 1);
  BatchOptions options;
  options.cq = queue.id();
  Request request = write(pair.peer, pair.at(), pair.local.bytes().part(0, 8));
  CHECK_THROWS(MC_ERR_EXHAUSTED, Batch(pair.initiator, {request, request}, options));
}

TEST(destroying_a_queue_wakes_who_waits_on_it) {
  Engine engine(test::on_loopback());
  CompletionQueue queue(engine);
  Taken taken{MC_OK, 0};
  std::thread waiter([&] {
    Completion completion{};
    taken.status = mc_cq_wait(queue.engine(), queue.id(), guard_ms, &completion, 1, &taken.count);
  });
  check(mc_cq_destroy(queue.engine(), queue.id()));
  waiter.join();
  CHECK(taken.status == MC_ERR_INVALID_HANDLE);
}

TEST(a_queue_of_a_destroyed_engine_hands_an_error_back) {
  std::optional<Engine> engine(test::on_loopback());
  CompletionQueue queue(*engine);
  engine.reset();
  Completion completion{};
  CHECK(queue.poll({&completion, 1}).status == MC_ERR_INVALID_HANDLE);
  CHECK(queue.wait({&completion, 1}).status == MC_ERR_INVALID_HANDLE);
  CHECK_THROWS(MC_ERR_INVALID_HANDLE, queue.event_fd());
}
