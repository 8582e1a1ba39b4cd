/* What tests of faults share: a batch that can be caught under way, and what may become of it. */
#ifndef MC_TEST_FAULT_H
#define MC_TEST_FAULT_H

#include "../capi/peer.h"

enum { BLOCKS = 64 };
static const size_t BLOCK = (size_t)1 << 20;

typedef struct world_t {
  mc_engine_t *engine;
  const path_t *path;
  peer_t peer;
  mc_segment_t segment;
  uint64_t remote;
  mc_region_t remote_region;
  uint8_t *local;
  mc_request_t requests[BLOCKS];
} world_t;

/* An engine that takes a silent peer for lost after `keepalive_ms`. */
static inline mc_engine_t *impatient_engine(const char *transports, const char *address, uint64_t keepalive_ms) {
  mc_engine_options_t options = mc_engine_options_default();
  mc_engine_t *engine = NULL;
  options.flags = MC_ENGINE_FLAG_NO_ENVIRONMENT;
  options.bind_address = address;
  options.transports = transports;
  options.keepalive_ms = keepalive_ms;
  CHECK_OK(mc_engine_create(&options, &engine));
  return engine;
}

/* The peer's memory, and requests of the local memory to and from it. */
static inline void aim(world_t *world) {
  world->remote = peer_region(&world->peer, world->path, BLOCKS * BLOCK, 0, &world->remote_region);
  for (size_t i = 0; i < BLOCKS; i++)
    world->requests[i] =
        request_of(MC_OPCODE_READ, world->segment, world->remote + i * BLOCK, world->local + i * BLOCK, BLOCK);
}

static inline void start_world(world_t *world, const path_t *path, uint64_t keepalive_ms) {
  world->path = path;
  world->engine = impatient_engine(path->name, "127.0.0.1", keepalive_ms);
  world->local = pages(BLOCKS * BLOCK);
  registered(world->engine, world->local, BLOCKS * BLOCK);
  peer_start(&world->peer, path);
  world->segment = opened(world->engine, world->peer.address);
  aim(world);
}

static inline mc_batch_t started(world_t *world, mc_opcode_t opcode, uint64_t deadline_ms) {
  mc_batch_options_t options = mc_batch_options_default();
  mc_batch_t batch = 0;
  options.deadline_ms = deadline_ms;
  for (size_t i = 0; i < BLOCKS; i++) world->requests[i].opcode = opcode;
  CHECK_OK(mc_batch_submit(world->engine, world->requests, BLOCKS, &options, &batch));
  return batch;
}

/* A failure that says "the peer or the way to it", not "you called it wrong" or "we are broken". */
static inline bool is_loss(mc_status_t status) {
  return status == MC_ERR_UNREACHABLE || status == MC_ERR_CONNECTION_LOST || status == MC_ERR_PEER_RESTARTED ||
         status == MC_ERR_TIMEOUT;
}

/* Waits for the end, which must come: success, or a loss of the peer. Local memory is the caller's alone after it. */
static inline mc_status_t ended(world_t *world, mc_batch_t batch) {
  mc_batch_info_t info = mc_batch_info_default();
  mc_status_t status = mc_batch_wait(world->engine, batch, -1, &info);
  CHECK(info.is_done, "a wait without end returned %s before the end", mc_status_name(status));
  CHECK(status == MC_OK || is_loss(status), "%s: \"%s\"", mc_status_name(status), mc_last_error_message());
  CHECK(info.completed_count + info.failed_count == BLOCKS, "%zu and %zu of %d requests", (size_t)info.completed_count,
        (size_t)info.failed_count, BLOCKS);
  for (size_t i = 0; i < BLOCKS; i++) {
    mc_completion_t task;
    CHECK_OK(mc_batch_task(world->engine, batch, i, &task));
    CHECK(task.status == MC_OK || is_loss(task.status), "request %zu: %s", i, mc_status_name(task.status));
  }
  if (status != MC_OK) CHECK(strlen(mc_last_error_message()) > 0, "a loss without a text");
  CHECK_OK(mc_batch_release(world->engine, batch));
  memset(world->local, 0x5c, BLOCKS * BLOCK);
  sleep_ms(20);
  CHECK_ALL(world->local, BLOCKS * BLOCK, 0x5c);
  return status;
}

/* A round trip of content through the peer with the segment as it was opened at the start. */
static inline void check_it_works(world_t *world, uint64_t seed) {
  fill_pattern(world->local, BLOCK, seed);
  CHECK_OK(move_bytes(world->engine, MC_OPCODE_WRITE, world->segment, world->remote, world->local, BLOCK));
  memset(world->local, 0, BLOCK);
  CHECK_OK(move_bytes(world->engine, MC_OPCODE_READ, world->segment, world->remote, world->local, BLOCK));
  CHECK_PATTERN(world->local, BLOCK, seed);
}

static inline void end_world(world_t *world) {
  CHECK_OK(mc_engine_destroy(world->engine));
  peer_stop(&world->peer);
  munmap(world->local, BLOCKS * BLOCK);
}

#endif /* MC_TEST_FAULT_H */
