// Transfers between two engines of one process, as a program would make them.
#include <thread>

#include "check.hpp"
#include "mooncake/mooncake.hpp"
#include "pair.hpp"

using namespace mooncake;

TEST(what_was_written_is_read_back) {
  test::Pair pair(1 << 20);
  Bytes out = pair.local.bytes().part(0, 1 << 19);
  Bytes back = pair.local.bytes().part(1 << 19, 1 << 19);
  test::fill(out, 1);
  Batch(pair.initiator, {write(pair.peer, pair.at(), out)}).wait(test::guard).check();
  CHECK(test::holds(pair.remote.bytes().part(0, 1 << 19), 1));
  Batch(pair.initiator, {read(pair.peer, pair.at(), back)}).wait(test::guard).check();
  CHECK(test::holds(back, 1));
}

TEST(pieces_land_in_their_order) {
  test::Pair pair(4096);
  test::fill(pair.remote, 9);
  std::vector<Bytes> pieces{pair.local.bytes().part(3000, 100), pair.local.bytes().part(0, 1),
                            pair.local.bytes().part(1000, 899)};
  Batch(pair.initiator, {scatter_read(pair.peer, pair.at(), pieces)}).wait(test::guard).check();
  std::vector<std::byte> joined;
  for (const Bytes& piece : pieces) {
    auto* from = static_cast<std::byte*>(piece.address);
    joined.insert(joined.end(), from, from + piece.length);
  }
  CHECK(joined.size() == 1000 && test::holds(joined, 9));
  Batch(pair.initiator, {gather_write(pair.peer, pair.at(2000), pieces)}).wait(test::guard).check();
  CHECK(test::holds(pair.remote.bytes().part(2000, 1000), 9));
}

TEST(a_prepared_batch_moves_new_bytes_with_each_post) {
  test::Pair pair(4096);
  std::vector<Request> requests;
  for (std::size_t i = 0; i < 16; ++i) {
    requests.push_back(write(pair.peer, pair.at(i * 256), pair.local.bytes().part(i * 256, 256)));
  }
  PreparedBatch batch(pair.initiator, requests);
  for (unsigned round = 0; round < 10; ++round) {
    test::fill(pair.local, round);
    batch.post();
    Outcome outcome = batch.wait(test::guard);
    CHECK(outcome.ok() && outcome.completed_count == 16 && outcome.completed_bytes == 4096);
    CHECK(test::holds(pair.remote, round));
  }
}

TEST(a_notification_follows_the_bytes_of_its_batch) {
  test::Pair pair(4096);
  test::fill(pair.local, 4);
  BatchOptions options;
  options.notify_tag = "kv";
  options.notify_data = "request 12";
  Batch batch(pair.initiator, {write(pair.peer, pair.at(), pair.local)}, options);
  std::optional<Notification> got = receive(pair.target, "kv", test::guard);
  CHECK(got && got->text() == "request 12");
  CHECK(test::holds(pair.remote, 4));
  batch.wait(test::guard).check();
}

TEST(a_blob_is_all_that_a_transfer_needs) {
  test::Pair pair(4096);
  Segment peer = Segment::from_blob(pair.initiator, pair.target.export_blob({pair.remote.id()}));
  test::fill(pair.remote, 6);
  Batch(pair.initiator, {read(peer, peer.regions().at(0).address, pair.local)}).wait(test::guard).check();
  CHECK(test::holds(pair.local, 6));
}

TEST(a_peer_may_forbid_writing) {
  test::Pair pair(4096);
  MemoryOptions read_only;
  read_only.remote_write = false;
  Allocation closed(pair.target, 4096, read_only);
  auto address = reinterpret_cast<std::uintptr_t>(closed.data());
  test::fill(pair.local, 8);
  Outcome outcome = Batch(pair.initiator, {write(pair.peer, address, pair.local)}).wait(test::guard);
  CHECK(outcome.is_done && outcome.status == MC_ERR_PERMISSION);
  CHECK(closed.data()[0] == std::byte{0});
  Batch(pair.initiator, {read(pair.peer, address, pair.local)}).wait(test::guard).check();
}

TEST(memory_that_is_gone_cannot_be_reached) {
  test::Pair pair(4096);
  pair.remote.close();
  Outcome outcome = Batch(pair.initiator, {write(pair.peer, pair.at(64), pair.local)}).wait(test::guard);
  CHECK(outcome.is_done && outcome.status == MC_ERR_ADDRESS_NOT_REGISTERED);
}

TEST(an_engine_transfers_to_itself) {
  Engine engine(test::on_loopback());
  Allocation memory(engine, 8192);
  test::fill(memory.bytes().part(0, 4096), 2);
  Segment local = Segment::local(engine);
  auto address = reinterpret_cast<std::uintptr_t>(memory.data());
  Batch(engine, {write(local, address + 4096, memory.bytes().part(0, 4096))}).wait(test::guard).check();
  CHECK(test::holds(memory.bytes().part(4096, 4096), 2));
}

TEST(eight_threads_share_two_engines) {
  constexpr std::size_t slot = 8192;
  test::Pair pair(8 * slot);
  std::vector<std::string> errors(8);
  std::vector<std::thread> threads;
  for (unsigned id = 0; id < 8; ++id) {
    threads.emplace_back([&pair, &errors, id] {
      try {
        Bytes mine = pair.local.bytes().part(id * slot, slot / 2);
        Bytes back = pair.local.bytes().part(id * slot + slot / 2, slot / 2);
        for (unsigned round = 0; round < 200; ++round) {
          test::fill(mine, id * 31 + round);
          Batch(pair.initiator, {write(pair.peer, pair.at(id * slot), mine)}).wait(test::guard).check();
          Batch(pair.initiator, {read(pair.peer, pair.at(id * slot), back)}).wait(test::guard).check();
          CHECK(test::holds(back, id * 31 + round));
        }
      } catch (const std::exception& error) {
        errors[id] = error.what();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const std::string& error : errors) {
    if (!error.empty()) test::fail(__FILE__, __LINE__, error);
  }
  CHECK(pair.initiator.info().batch_count == 0);
}
