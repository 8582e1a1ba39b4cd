/* Do the bytes of one request arrive, whole and nowhere else, over each path? */
#include "peer.h"

#define MIB ((uint64_t)1 << 20)

static void every_length_arrives_in_both_directions(const path_t *path) {
  static const uint64_t LENGTHS[] = {1, 2, 7, 63, 64, 65, 4095, 4096, 4097, 65536, 65537, MIB, 4 * MIB + 3, 64 * MIB};
  const uint64_t room = 64 * MIB + 4096;
  mc_engine_t *engine = engine_with(path->name);
  uint8_t *source = pages(room), *target = pages(room), *seen = pages(room);
  peer_t peer;
  peer_start(&peer, path);
  uint64_t remote = peer_region(&peer, path, room, 0, NULL);
  registered(engine, source, room);
  registered(engine, target, room);
  mc_segment_t segment = opened(engine, peer.address);
  for (size_t i = 0; i < sizeof LENGTHS / sizeof LENGTHS[0]; i++) {
    uint64_t length = LENGTHS[i];
    fill_pattern(source, length, i);
    CHECK_OK(move_bytes(engine, MC_OPCODE_WRITE, segment, remote, source, length));
    peer_read(&peer, remote, seen, length);
    CHECK_PATTERN(seen, length, i);
    memset(target, 0x5a, length);
    CHECK_OK(move_bytes(engine, MC_OPCODE_READ, segment, remote, target, length));
    CHECK_PATTERN(target, length, i);
  }
  CHECK_OK(mc_engine_destroy(engine));
  peer_stop(&peer);
  munmap(source, room);
  munmap(target, room);
  munmap(seen, room);
}

/* The bytes around the range keep their value, at any alignment of either end. */
static void unaligned_ranges_touch_nothing_around_them(const path_t *path) {
  enum { ROOM = 16384 };
  mc_engine_t *engine = engine_with(path->name);
  uint8_t *local = pages(ROOM), *seen = pages(ROOM);
  peer_t peer;
  peer_start(&peer, path);
  uint64_t remote = peer_region(&peer, path, ROOM, 0, NULL);
  registered(engine, local, ROOM);
  mc_segment_t segment = opened(engine, peer.address);
  for (size_t round = 0; round < 40; round++) {
    size_t from = 1 + round * 13 % 64, to = 1 + round * 29 % 64, length = 1 + round * 331 % 8000;
    memset(seen, 0xee, ROOM);
    peer_write(&peer, remote, seen, ROOM);
    memset(local, 0x11, ROOM);
    for (size_t i = 0; i < length; i++) local[from + i] = pattern_at(round, i);
    CHECK_OK(move_bytes(engine, MC_OPCODE_WRITE, segment, remote + to, local + from, length));
    peer_read(&peer, remote, seen, ROOM);
    CHECK_ALL(seen, to, 0xee);
    CHECK_PATTERN(seen + to, length, round);
    CHECK_ALL(seen + to + length, ROOM - to - length, 0xee);
    memset(local, 0x22, ROOM);
    CHECK_OK(move_bytes(engine, MC_OPCODE_READ, segment, remote + to, local + from, length));
    CHECK_ALL(local, from, 0x22);
    CHECK_PATTERN(local + from, length, round);
    CHECK_ALL(local + from + length, ROOM - from - length, 0x22);
  }
  CHECK_OK(mc_engine_destroy(engine));
  peer_stop(&peer);
  munmap(local, ROOM);
  munmap(seen, ROOM);
}

/* One request whose local side is many pieces: the peer sees them one after the other. */
static void scattered_pieces_are_one_range_at_the_peer(const path_t *path) {
  enum { PIECES = 37, STRIDE = 5000, ROOM = PIECES * STRIDE };
  mc_engine_t *engine = engine_with(path->name);
  uint8_t *local = pages(ROOM), *seen = pages(ROOM);
  mc_span_t spans[PIECES];
  uint64_t total = 0;
  peer_t peer;
  peer_start(&peer, path);
  uint64_t remote = peer_region(&peer, path, ROOM, 0, NULL);
  registered(engine, local, ROOM);
  mc_segment_t segment = opened(engine, peer.address);
  for (size_t i = 0; i < PIECES; i++) {
    spans[i].address = local + i * STRIDE + i % 3;
    spans[i].length = 1 + i * 127 % 4500;
    for (size_t j = 0; j < spans[i].length; j++) ((uint8_t *)spans[i].address)[j] = pattern_at(9, total + j);
    total += spans[i].length;
  }
  mc_request_t request = request_of(MC_OPCODE_WRITE, segment, remote, NULL, total);
  request.spans = spans;
  request.span_count = PIECES;
  CHECK_OK(move_batch(engine, &request, 1));
  peer_read(&peer, remote, seen, total);
  CHECK_PATTERN(seen, total, 9);

  memset(local, 0x33, ROOM);
  request.opcode = MC_OPCODE_READ;
  CHECK_OK(move_batch(engine, &request, 1));
  uint64_t at = 0;
  for (size_t i = 0; i < PIECES; i++) {
    const uint8_t *piece = (const uint8_t *)spans[i].address;
    CHECK(first_difference(piece, spans[i].length, 9, at) == spans[i].length, "piece %zu differs", i);
    at += spans[i].length;
    const uint8_t *end = i + 1 < PIECES ? (const uint8_t *)spans[i + 1].address : local + ROOM;
    CHECK_ALL(piece + spans[i].length, end - piece - (ptrdiff_t)spans[i].length, 0x33);
  }
  CHECK_OK(mc_engine_destroy(engine));
  peer_stop(&peer);
  munmap(local, ROOM);
  munmap(seen, ROOM);
}

/* The counters of both ends name the path that the bytes took. */
static void bytes_are_counted_on_the_path_they_took(const path_t *path) {
  enum { ROOM = 1 << 20, ROUNDS = 10 };
  mc_engine_t *engine = engine_with(path->name);
  uint8_t *local = pages(ROOM);
  peer_t peer;
  peer_start(&peer, path);
  uint64_t remote = peer_region(&peer, path, ROOM, 0, NULL);
  registered(engine, local, ROOM);
  mc_segment_t segment = opened(engine, peer.address);
  for (int i = 0; i < ROUNDS; i++) {
    CHECK_OK(move_bytes(engine, MC_OPCODE_WRITE, segment, remote, local, ROOM));
    CHECK_OK(move_bytes(engine, MC_OPCODE_READ, segment, remote, local, ROOM / 2));
  }
  mc_engine_stats_t stats = stats_of(engine);
  const mc_path_stats_t *taken = strcmp(path->name, "local") == 0   ? &stats.local
                                 : strcmp(path->name, "memfd") == 0 ? &stats.memfd
                                 : strcmp(path->name, "cma") == 0   ? &stats.cma
                                                                    : &stats.tcp;
  uint64_t all =
      stats.local.written_bytes + stats.memfd.written_bytes + stats.cma.written_bytes + stats.tcp.written_bytes;
  CHECK(taken->written_bytes == (uint64_t)ROUNDS * ROOM, "%llu bytes written",
        (unsigned long long)taken->written_bytes);
  CHECK(taken->read_bytes == (uint64_t)ROUNDS * ROOM / 2, "%llu bytes read", (unsigned long long)taken->read_bytes);
  CHECK(all == taken->written_bytes, "bytes are counted on a path that they did not take");
  CHECK(stats.batch_count == 2 * ROUNDS && stats.completed_count == 2 * ROUNDS && stats.failed_count == 0,
        "%llu batches, %llu completed", (unsigned long long)stats.batch_count,
        (unsigned long long)stats.completed_count);
  if (strcmp(path->name, "tcp") == 0) {
    mc_engine_stats_t served = peer_stats(&peer);
    /* What was sent is counted by the sender a moment after we have it. */
    for (int i = 0; i < 500 && served.tcp.served_read_bytes < (uint64_t)ROUNDS * ROOM / 2; i++) {
      sleep_ms(10);
      served = peer_stats(&peer);
    }
    CHECK(served.tcp.served_written_bytes == (uint64_t)ROUNDS * ROOM, "the peer served other bytes than were written");
    CHECK(served.tcp.served_read_bytes == (uint64_t)ROUNDS * ROOM / 2, "the peer served other bytes than were read");
    CHECK(served.accepted_count >= 1, "the peer accepted nobody");
  }
  CHECK_OK(mc_engine_destroy(engine));
  peer_stop(&peer);
  munmap(local, ROOM);
}

/* An engine reaches its own memory through its local segment. */
static void an_engine_transfers_within_itself(void) {
  enum { LENGTH = 100000 };
  mc_engine_t *engine = engine_with(NULL);
  uint8_t *memory = pages(2 * LENGTH);
  registered(engine, memory, 2 * LENGTH);
  mc_segment_t self = local_segment(engine);
  fill_pattern(memory, LENGTH, 4);
  CHECK_OK(move_bytes(engine, MC_OPCODE_WRITE, self, (uint64_t)(uintptr_t)memory + LENGTH, memory, LENGTH));
  CHECK_PATTERN(memory + LENGTH, LENGTH, 4);
  /* Ends that overlap are allowed: what is in the overlap is the caller's affair, what is around it stays. */
  memory[LENGTH + 1] = 0x77;
  CHECK_OK(move_bytes(engine, MC_OPCODE_WRITE, self, (uint64_t)(uintptr_t)memory + 1, memory, LENGTH));
  CHECK(memory[0] == pattern_at(4, 0) && memory[LENGTH + 1] == 0x77, "a byte outside the range changed");
  CHECK_OK(mc_engine_destroy(engine));
  munmap(memory, 2 * LENGTH);
}

int main(int argc, char **argv) {
  PEER_MAIN(argc, argv);
  hang_guard(240);
  RUN_OVER_PATHS(every_length_arrives_in_both_directions);
  RUN_OVER_PATHS(unaligned_ranges_touch_nothing_around_them);
  RUN_OVER_PATHS(scattered_pieces_are_one_range_at_the_peer);
  RUN_OVER_PATHS(bytes_are_counted_on_the_path_they_took);
  RUN(an_engine_transfers_within_itself);
  return 0;
}
