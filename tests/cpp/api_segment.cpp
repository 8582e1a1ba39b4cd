// Segments: opened by address, by name or from a blob; listed, probed, closed.
#include "mooncake/segment.hpp"

#include "check.hpp"
#include "pair.hpp"

using namespace mooncake;

TEST(a_segment_tells_whose_it_is) {
  test::Pair pair;
  SegmentInfo info = pair.peer.info();
  CHECK(info.name == "target");
  CHECK(info.engine_id == pair.target.info().engine_id);
  CHECK(!info.is_imported && !info.path.empty());
}

TEST(regions_come_in_the_order_of_registration) {
  test::Pair pair;
  std::vector<char> memory(8192);
  MemoryOptions read_only;
  read_only.remote_write = false;
  read_only.location = "cpu:1";
  Region region(pair.target, memory, read_only);
  pair.peer.refresh(test::guard);
  std::vector<RemoteRegion> regions = pair.peer.regions();
  CHECK(regions.size() == 2);
  CHECK(regions[0].address == pair.at() && regions[0].length >= pair.remote.size());
  CHECK(regions[1].address == reinterpret_cast<std::uintptr_t>(memory.data()) && regions[1].length == 8192);
  CHECK(regions[1].flags == MC_MEMORY_FLAG_REMOTE_READ && regions[1].location == "cpu:1");
}

TEST(more_regions_than_expected_are_all_listed) {
  test::Pair pair;
  std::vector<char> memory(100 * 64);
  std::vector<Region> regions;
  for (std::size_t i = 0; i < 100; ++i) regions.emplace_back(pair.target, Bytes(&memory[i * 64], 64));
  pair.peer.refresh(test::guard);
  CHECK(pair.peer.regions().size() == 101);
}

TEST(a_living_peer_answers_a_probe) {
  test::Pair pair;
  Probe probe = pair.peer.probe(test::guard);
  CHECK(probe.is_alive && !probe.has_restarted);
  CHECK(probe.engine_id == pair.target.info().engine_id);
}

TEST(a_dead_peer_is_an_answer) {
  test::Pair pair;
  pair.target.close();
  CHECK(!pair.peer.probe(std::chrono::seconds(1)).is_alive);
}

TEST(a_blob_opens_what_it_names_and_nothing_else) {
  test::Pair pair;
  std::vector<char> memory(4096);
  Region second(pair.target, memory);
  std::vector<std::byte> all = pair.target.export_blob();
  std::vector<std::byte> one = pair.target.export_blob({second.id()});
  CHECK(Segment::from_blob(pair.initiator, all).regions().size() == 2);
  Segment partial = Segment::from_blob(pair.initiator, one);
  CHECK(partial.info().is_imported);
  CHECK(partial.regions().size() == 1 && partial.regions()[0].length == 4096);
  CHECK_THROWS(MC_ERR_INVALID_STATE, partial.refresh(test::guard));
}

TEST(what_is_no_blob_is_refused) {
  test::Pair pair;
  CHECK_THROWS(MC_ERR_INVALID_ARGUMENT, Segment::from_blob(pair.initiator, "not a blob"));
  std::vector<std::byte> cut = pair.target.export_blob();
  cut.resize(cut.size() / 2);
  CHECK_THROWS(MC_ERR_INVALID_ARGUMENT, Segment::from_blob(pair.initiator, cut));
}

TEST(an_unknown_name_is_not_found) {
  Engine engine(test::on_loopback());
  Error error = ERROR_OF(Segment(engine, "", test::guard));
  CHECK(error.code() == MC_ERR_INVALID_ARGUMENT || error.code() == MC_ERR_NOT_FOUND);
  CHECK(std::string(error.what()).size() > 10);
}

TEST(the_local_segment_cannot_be_closed) {
  Engine engine(test::on_loopback());
  { Segment local = Segment::local(engine); }
  Segment local = Segment::local(engine);
  CHECK(local.info().engine_id == engine.info().engine_id);
  CHECK_THROWS(MC_ERR_INVALID_STATE, local.close());
}

TEST(a_closed_segment_is_no_segment) {
  test::Pair pair;
  pair.peer.close();
  CHECK_THROWS(MC_ERR_INVALID_HANDLE, pair.peer.info());
  CHECK(pair.initiator.info().segment_count == 0);
}
