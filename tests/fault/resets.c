/* Connections are reset at random, from outside: is every byte of every transfer that succeeds right? */
#include "fault.h"

int main(int argc, char **argv) {
  size_t whole = 0, lost = 0;
  uint64_t round = 0;
  world_t world;
  uint8_t *seen;
  PEER_MAIN(argc, argv);
  CHECK(argc == 2, "usage: %s SECONDS", argv[0]);
  hang_guard((unsigned)atoi(argv[1]) + 200);
  seen = pages(BLOCKS * BLOCK);
  start_world(&world, &PATHS[3], 5000);
  for (time_t end = time(NULL) + atoi(argv[1]); time(NULL) < end; round++) {
    mc_status_t status;
    /* Each round has a size and content of its own, so that old bytes are never right. */
    uint64_t length = 1 + (round * 2654435761u) % (BLOCKS * BLOCK / 4);
    fill_pattern(world.local, length, round);
    status = move_bytes(world.engine, MC_OPCODE_WRITE, world.segment, world.remote, world.local, length);
    CHECK(status == MC_OK || is_loss(status), "a write: %s: \"%s\"", mc_status_name(status), mc_last_error_message());
    if (status == MC_OK) {
      peer_read(&world.peer, world.remote, seen, length);
      CHECK_PATTERN(seen, length, round);
      memset(world.local, 0, length);
      status = move_bytes(world.engine, MC_OPCODE_READ, world.segment, world.remote, world.local, length);
      CHECK(status == MC_OK || is_loss(status), "a read: %s: \"%s\"", mc_status_name(status), mc_last_error_message());
      if (status == MC_OK) CHECK_PATTERN(world.local, length, round);
    }
    if (status == MC_OK)
      whole++;
    else
      lost++;
  }
  mc_engine_stats_t stats = stats_of(world.engine);
  printf("%zu rounds whole, %zu lost; %zu slices sent again\n", whole, lost, (size_t)stats.retry_count);
  CHECK(whole > 0, "nothing came through");
  CHECK(stats.retry_count > 0 || lost > 0, "no connection was reset: the test tested nothing");
  CHECK(stats.corrupted_count == 0, "%zu slices were corrupted", (size_t)stats.corrupted_count);
  end_world(&world);
  return 0;
}
