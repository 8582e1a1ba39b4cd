// Lifetimes: handles live in containers, end in any order, and calls of many threads race with the end of the engine.
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <thread>

#include "check.hpp"
#include "mooncake/mooncake.hpp"
#include "pair.hpp"

using namespace mooncake;

TEST(handles_are_kept_in_containers) {
  test::Pair pair(1 << 16);
  std::vector<Batch> batches;
  for (std::size_t i = 0; i < 64; ++i) {
    Request request = write(pair.peer, pair.at(i * 1024), pair.local.bytes().part(i * 1024, 1024));
    batches.emplace_back(pair.initiator, Span<const Request>(&request, 1));
  }
  for (const Batch& batch : batches) batch.wait(test::guard).check();
  CHECK(pair.initiator.info().batch_count == 64);
  batches.erase(batches.begin(), batches.begin() + 32);
  CHECK(pair.initiator.info().batch_count == 32);
  batches.clear();
  CHECK(pair.initiator.info().batch_count == 0);
}

TEST(everything_may_end_after_its_engine) {
  auto engine = std::make_unique<Engine>(test::on_loopback());
  Allocation memory(*engine, 4096);
  Segment local = Segment::local(*engine);
  CompletionQueue queue(*engine);
  std::vector<char> plain(4096);
  Region region(*engine, plain);
  auto address = reinterpret_cast<std::uintptr_t>(plain.data());
  PreparedBatch batch(*engine, {read(local, address, memory)});
  engine.reset();
  CHECK_THROWS(MC_ERR_INVALID_HANDLE, batch.post());
  CHECK(batch.wait(test::guard).status == MC_ERR_INVALID_HANDLE);
}

TEST(a_handle_of_one_engine_means_nothing_to_another) {
  test::Pair pair;
  Batch batch(pair.initiator, {write(pair.peer, pair.at(), pair.local)});
  CHECK_THROWS(MC_ERR_INVALID_HANDLE, check(mc_batch_cancel(pair.target.handle(), batch.id())));
  CHECK_THROWS(MC_ERR_INVALID_HANDLE, Batch(pair.target, {write(pair.peer, pair.at(), pair.remote)}));
}

TEST(memory_of_an_idle_prepared_batch_may_be_closed) {
  test::Pair pair;
  std::vector<char> plain(4096);
  Region region(pair.initiator, plain);
  PreparedBatch batch(pair.initiator, {write(pair.peer, pair.at(), plain)});
  CHECK(region.try_close());
  CHECK_THROWS(MC_ERR_ADDRESS_NOT_REGISTERED, batch.post());
}

// Somebody who listens and never answers.
struct MutePeer {
  MutePeer() {
    sockaddr_in any{};
    any.sin_family = AF_INET;
    any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    socklen_t length = sizeof any;
    CHECK(bind(socket_, reinterpret_cast<sockaddr*>(&any), length) == 0 && listen(socket_, 8) == 0);
    CHECK(getsockname(socket_, reinterpret_cast<sockaddr*>(&any), &length) == 0);
    address = "127.0.0.1:" + std::to_string(ntohs(any.sin_port));
  }
  ~MutePeer() { close(socket_); }
  std::string address;

 private:
  int socket_ = socket(AF_INET, SOCK_STREAM, 0);
};

TEST(memory_in_use_is_busy_until_its_batch_is_canceled) {
  MutePeer mute;
  Engine engine(test::on_loopback());
  std::vector<char> plain(4096);
  Region region(engine, plain);
  Segment peer(engine, mute.address, std::chrono::seconds(0));
  Batch batch(engine, {write(peer, 4096, plain)});
  CHECK(!batch.poll().is_done);
  CHECK(!region.try_close());
  CHECK(!engine.drain(std::chrono::seconds(0)));
  Outcome early = batch.wait(std::chrono::milliseconds(1));
  CHECK(!early.is_done && early.status == MC_OK && !early.message.empty());
  CHECK_THROWS(MC_ERR_NOT_READY, early.check());
  CHECK(batch.task(0).status == MC_ERR_NOT_READY);
  batch.cancel();
  Outcome outcome = batch.wait(test::guard);
  CHECK(outcome.is_done && outcome.failed_count == 1);
  CHECK(outcome.status == MC_ERR_CANCELED || outcome.status == MC_ERR_UNREACHABLE);
  CHECK(region.try_close());
}

TEST(calls_that_race_with_the_end_of_the_engine_fail_cleanly) {
  for (int round = 0; round < 20; ++round) {
    test::Pair pair;
    std::atomic<int> running{0};
    std::vector<std::string> wrong(4);
    std::vector<std::thread> threads;
    for (std::size_t id = 0; id < 4; ++id) {
      threads.emplace_back([&, id] {
        ++running;
        try {
          for (;;) {
            Outcome outcome =
                Batch(pair.initiator, {write(pair.peer, pair.at(id * 64), pair.local.bytes().part(id * 64, 64))})
                    .wait(test::guard);
            if (!outcome.ok()) break;
          }
        } catch (const Error& error) {
          if (error.code() != MC_ERR_INVALID_HANDLE) wrong[id] = error.what();
        }
      });
    }
    while (running != 4) std::this_thread::yield();
    check(mc_engine_destroy(pair.initiator.handle()));
    for (std::thread& thread : threads) thread.join();
    for (const std::string& text : wrong) {
      if (!text.empty()) test::fail(__FILE__, __LINE__, text);
    }
  }
}
