/* Do peers reach what they were offered, in the way they were offered it, for as long as it is registered? */
#include "peer.h"

enum { LENGTH = 8192 };

static void peers_may_do_what_the_flags_say(const path_t *path) {
  static const struct {
    uint64_t flags;
    mc_status_t read, write;
  } ROWS[] = {
      {0, MC_OK, MC_OK},
      {MC_MEMORY_FLAG_REMOTE_READ | MC_MEMORY_FLAG_REMOTE_WRITE, MC_OK, MC_OK},
      {MC_MEMORY_FLAG_REMOTE_READ, MC_OK, MC_ERR_PERMISSION},
      {MC_MEMORY_FLAG_REMOTE_WRITE, MC_ERR_PERMISSION, MC_OK},
  };
  mc_engine_t *engine = engine_with(path->name);
  uint8_t *local = pages(LENGTH), *seen = pages(LENGTH);
  peer_t peer;
  peer_start(&peer, path);
  registered(engine, local, LENGTH);
  for (size_t i = 0; i < sizeof ROWS / sizeof ROWS[0]; i++) {
    /* A mapping that can be written can be read too: such memory is not mapped, and takes another path. */
    if (path->in_allocated_memory && ROWS[i].flags == MC_MEMORY_FLAG_REMOTE_WRITE) continue;
    uint64_t remote = peer_region(&peer, path, LENGTH, ROWS[i].flags, NULL);
    mc_segment_t segment = opened(engine, peer.address);
    memset(local, 0x7e, LENGTH);
    CHECK_STATUS(ROWS[i].write, move_bytes(engine, MC_OPCODE_WRITE, segment, remote, local, LENGTH));
    peer_read(&peer, remote, seen, LENGTH);
    CHECK_ALL(seen, LENGTH, ROWS[i].write == MC_OK ? 0x7e : 0);
    memset(seen, 0x21, LENGTH);
    peer_write(&peer, remote, seen, LENGTH);
    CHECK_STATUS(ROWS[i].read, move_bytes(engine, MC_OPCODE_READ, segment, remote, local, LENGTH));
    CHECK_ALL(local, LENGTH, ROWS[i].read == MC_OK ? 0x21 : 0x7e);
    CHECK_OK(mc_segment_close(engine, segment));
  }
  CHECK_OK(mc_engine_destroy(engine));
  peer_stop(&peer);
  munmap(local, LENGTH);
  munmap(seen, LENGTH);
}

/* Memory for local use only is not offered; nor is what runs over the end of a region. */
static void nothing_outside_the_offer_is_reached(const path_t *path) {
  mc_engine_t *engine = engine_with(path->name);
  uint8_t *local = pages(LENGTH);
  peer_t peer;
  peer_start(&peer, path);
  uint64_t hidden = peer_region(&peer, path, LENGTH, MC_MEMORY_FLAG_LOCAL_ONLY, NULL);
  uint64_t offered = peer_region(&peer, path, LENGTH, 0, NULL);
  registered(engine, local, LENGTH);
  mc_segment_t segment = opened(engine, peer.address);
  CHECK_STATUS(MC_ERR_ADDRESS_NOT_REGISTERED, move_bytes(engine, MC_OPCODE_READ, segment, offered + 1, local, LENGTH));
  CHECK_STATUS(MC_ERR_ADDRESS_NOT_REGISTERED,
               move_bytes(engine, MC_OPCODE_READ, segment, UINT64_MAX - LENGTH, local, LENGTH));
  CHECK_STATUS(MC_ERR_INVALID_ARGUMENT, /* it would wrap around */
               move_bytes(engine, MC_OPCODE_READ, segment, UINT64_MAX - 100, local, LENGTH));
  mc_status_t status = move_bytes(engine, MC_OPCODE_READ, segment, hidden, local, LENGTH);
  CHECK(status == MC_ERR_ADDRESS_NOT_REGISTERED || status == MC_ERR_PERMISSION, "%s", mc_status_name(status));
  CHECK_OK(move_bytes(engine, MC_OPCODE_READ, segment, offered, local, LENGTH));
  CHECK_OK(mc_engine_destroy(engine));
  peer_stop(&peer);
  munmap(local, LENGTH);
}

/* Memory that is registered after the segment was opened is found without a call. */
static void later_registrations_are_found(const path_t *path) {
  mc_engine_t *engine = engine_with(path->name);
  uint8_t *local = pages(LENGTH), *seen = pages(LENGTH);
  peer_t peer;
  peer_start(&peer, path);
  registered(engine, local, LENGTH);
  mc_segment_t segment = opened(engine, peer.address);
  for (uint64_t round = 0; round < 3; round++) {
    uint64_t remote = peer_region(&peer, path, LENGTH, 0, NULL);
    fill_pattern(local, LENGTH, round);
    CHECK_OK(move_bytes(engine, MC_OPCODE_WRITE, segment, remote, local, LENGTH));
    peer_read(&peer, remote, seen, LENGTH);
    CHECK_PATTERN(seen, LENGTH, round);
  }
  CHECK_OK(mc_engine_destroy(engine));
  peer_stop(&peer);
  munmap(local, LENGTH);
  munmap(seen, LENGTH);
}

/* Once the owner unregistered, an engine that still knows the old region cannot write into what is there now. */
static void unregistered_memory_is_out_of_reach(const path_t *path) {
  mc_engine_t *engine = engine_with(path->name);
  uint8_t *local = pages(LENGTH), *seen = pages(LENGTH);
  mc_region_t region = 0;
  peer_t peer;
  peer_start(&peer, path);
  uint64_t remote = peer_region(&peer, path, LENGTH, 0, &region);
  registered(engine, local, LENGTH);
  memset(local, 0x66, LENGTH);
  mc_segment_t segment = opened(engine, peer.address);
  CHECK_OK(move_bytes(engine, MC_OPCODE_WRITE, segment, remote, local, LENGTH));
  CHECK_OK(peer_unregister(&peer, region, 0));
  if (path->in_other_process || !path->in_allocated_memory) peer_reuse(&peer, remote, LENGTH, 0x99);
  CHECK_STATUS(MC_ERR_ADDRESS_NOT_REGISTERED, move_bytes(engine, MC_OPCODE_WRITE, segment, remote, local, LENGTH));
  CHECK_STATUS(MC_ERR_ADDRESS_NOT_REGISTERED, move_bytes(engine, MC_OPCODE_READ, segment, remote, local, LENGTH));
  peer_read(&peer, remote, seen, LENGTH);
  CHECK_ALL(seen, LENGTH, 0x99);
  CHECK_ALL(local, LENGTH, 0x66);
  CHECK_OK(mc_engine_destroy(engine));
  peer_stop(&peer);
  munmap(local, LENGTH);
  munmap(seen, LENGTH);
}

/* The local side: unregister waits for transfers that use the region, or says BUSY where waiting is not wanted. */
static void local_unregister_waits_or_says_busy(const path_t *path) {
  const size_t room = (size_t)64 << 20;
  mc_engine_t *engine = engine_with(path->name);
  uint8_t *local = pages(room);
  peer_t peer;
  peer_start(&peer, path);
  uint64_t remote = peer_region(&peer, path, room, 0, NULL);
  mc_segment_t segment = opened(engine, peer.address);
  for (int round = 0; round < 8; round++) {
    mc_request_t request;
    mc_batch_t batch = 0;
    mc_region_t region = registered(engine, local, room);
    request = request_of(MC_OPCODE_READ, segment, remote, local, room);
    CHECK_OK(mc_batch_submit(engine, &request, 1, NULL, &batch));
    mc_status_t status = mc_memory_unregister(engine, region, MC_MEMORY_FLAG_NO_WAIT);
    CHECK(status == MC_OK || status == MC_ERR_BUSY, "%s", mc_status_name(status));
    if (status == MC_ERR_BUSY) CHECK_OK(mc_memory_unregister(engine, region, 0));
    memset(local, round, room); /* nobody else writes here any more */
    CHECK_OK(mc_batch_wait(engine, batch, -1, NULL));
    CHECK_OK(mc_batch_release(engine, batch));
    CHECK_ALL(local, room, round);
  }
  CHECK_OK(mc_engine_destroy(engine));
  peer_stop(&peer);
  munmap(local, room);
}

/* A prepared batch that does not run holds nothing back; it cannot run any more without its region. */
static void a_prepared_batch_does_not_outlive_its_region(void) {
  mc_engine_t *engine = engine_with("local");
  uint8_t *memory = pages(2 * LENGTH);
  mc_batch_t batch = 0;
  mc_region_t region = registered(engine, memory, 2 * LENGTH);
  mc_request_t request =
      request_of(MC_OPCODE_WRITE, local_segment(engine), (uint64_t)(uintptr_t)memory + LENGTH, memory, LENGTH);
  CHECK_OK(mc_batch_prepare(engine, &request, 1, NULL, &batch));
  CHECK_OK(mc_batch_post(engine, batch));
  CHECK_OK(mc_batch_wait(engine, batch, -1, NULL));
  CHECK_OK(mc_memory_unregister(engine, region, 0));
  memset(memory, 0x42, LENGTH);
  CHECK_STATUS(MC_ERR_ADDRESS_NOT_REGISTERED, mc_batch_post(engine, batch));
  CHECK_ALL(memory + LENGTH, LENGTH, 0);
  CHECK_OK(mc_batch_release(engine, batch));
  CHECK_OK(mc_engine_destroy(engine));
  munmap(memory, 2 * LENGTH);
}

int main(int argc, char **argv) {
  PEER_MAIN(argc, argv);
  hang_guard(240);
  RUN_OVER_PATHS(peers_may_do_what_the_flags_say);
  RUN_OVER_PATHS(nothing_outside_the_offer_is_reached);
  RUN_OVER_PATHS(later_registrations_are_found);
  RUN_OVER_PATHS(unregistered_memory_is_out_of_reach);
  RUN_OVER_PATHS(local_unregister_waits_or_says_busy);
  RUN(a_prepared_batch_does_not_outlive_its_region);
  return 0;
}
