/* After fork(): does every call of the child return an error without hanging, and is the parent unharmed? */
#include "peer.h"

enum { LENGTH = 65536 };

typedef struct world_t {
  mc_engine_t *engine;
  uint8_t *memory;
  mc_region_t region;
  mc_segment_t segment;
  mc_cq_t cq;
  mc_batch_t batch;
} world_t;

#define REFUSED(call) CHECK_STATUS(MC_ERR_INVALID_STATE, call)

/* What a child would try. Errors must come before any lock is taken: a lock may have been held at the fork. */
static void try_everything(world_t *world) {
  mc_engine_t *engine = world->engine, *created = NULL;
  mc_engine_info_t info = mc_engine_info_default();
  mc_engine_stats_t stats = mc_engine_stats_default();
  mc_memory_info_t memory_info = mc_memory_info_default();
  mc_segment_info_t segment_info = mc_segment_info_default();
  mc_batch_info_t batch_info = mc_batch_info_default();
  mc_notify_info_t notify_info = mc_notify_info_default();
  mc_probe_t probe = mc_probe_default();
  mc_completion_t completion;
  mc_request_t request =
      request_of(MC_OPCODE_READ, world->segment, (uint64_t)(uintptr_t)world->memory, world->memory, 1);
  mc_span_t span;
  mc_region_t region = 0;
  mc_segment_t segment = 0;
  mc_batch_t batch = 0;
  mc_cq_t cq = 0;
  void *address = NULL;
  char text[64];
  size_t length = 0;
  int32_t fd = -1;
  span.address = world->memory;
  span.length = 1;
  REFUSED(mc_engine_create(NULL, &created));
  REFUSED(mc_engine_drain(engine, -1));
  REFUSED(mc_engine_get_info(engine, &info));
  REFUSED(mc_engine_get_config(engine, text, sizeof text, &length));
  REFUSED(mc_engine_get_stats(engine, &stats));
  REFUSED(mc_engine_get_metrics(engine, text, sizeof text, &length));
  REFUSED(mc_engine_export(engine, NULL, 0, text, sizeof text, &length));
  REFUSED(mc_host_get_report(text, sizeof text, &length));
  REFUSED(mc_log_set_callback(NULL, NULL, NULL));
  REFUSED(mc_log_set_level(MC_LOG_LEVEL_DEBUG));
  REFUSED(mc_memory_register(engine, world->memory, 1, NULL, &region));
  REFUSED(mc_memory_register_batch(engine, &span, 1, NULL, &region, NULL));
  REFUSED(mc_memory_unregister(engine, world->region, 0));
  REFUSED(mc_memory_unregister_batch(engine, &world->region, 1, 0, NULL));
  REFUSED(mc_memory_allocate(engine, 1, NULL, &address, &region));
  REFUSED(mc_memory_free(engine, world->region, 0));
  REFUSED(mc_memory_get_info(engine, world->region, &memory_info));
  REFUSED(mc_segment_open(engine, "127.0.0.1:1", -1, &segment));
  REFUSED(mc_segment_import(engine, text, sizeof text, &segment));
  REFUSED(mc_segment_close(engine, world->segment));
  REFUSED(mc_segment_get_info(engine, world->segment, &segment_info));
  REFUSED(mc_segment_list_regions(engine, world->segment, NULL, 0, &length));
  REFUSED(mc_segment_refresh(engine, world->segment, -1));
  REFUSED(mc_segment_probe(engine, world->segment, -1, &probe));
  REFUSED(mc_batch_submit(engine, &request, 1, NULL, &batch));
  REFUSED(mc_batch_prepare(engine, &request, 1, NULL, &batch));
  REFUSED(mc_batch_post(engine, world->batch));
  REFUSED(mc_batch_poll(engine, world->batch, &batch_info));
  REFUSED(mc_batch_wait(engine, world->batch, -1, &batch_info));
  REFUSED(mc_batch_task(engine, world->batch, 0, &completion));
  REFUSED(mc_batch_cancel(engine, world->batch));
  REFUSED(mc_batch_release(engine, world->batch));
  REFUSED(mc_cq_create(engine, NULL, &cq));
  REFUSED(mc_cq_poll(engine, world->cq, &completion, 1, &length));
  REFUSED(mc_cq_wait(engine, world->cq, -1, &completion, 1, &length));
  REFUSED(mc_cq_event_fd(engine, world->cq, &fd));
  REFUSED(mc_cq_destroy(engine, world->cq));
  REFUSED(mc_notify_send(engine, world->segment, "t", NULL, 0, -1));
  REFUSED(mc_notify_receive(engine, NULL, -1, NULL, 0, &notify_info));
  REFUSED(mc_notify_bind(engine, NULL, world->cq, 0));
  REFUSED(mc_engine_destroy(engine));
  CHECK(strlen(mc_last_error_message()) > 0, "the refusal has no text");
  CHECK(mc_version()[0] != 0 && mc_abi_version() == MC_ABI_VERSION, "these need no state");
}

static void the_child_is_refused_and_the_parent_unharmed(const path_t *path) {
  enum { FORKS = 25 };
  world_t world;
  uint8_t *seen = pages(LENGTH);
  peer_t peer;
  peer_start(&peer, path);
  uint64_t remote = peer_region(&peer, path, LENGTH, 0, NULL);
  world.engine = engine_with(path->name);
  world.memory = pages(LENGTH);
  world.region = registered(world.engine, world.memory, LENGTH);
  world.segment = opened(world.engine, peer.address);
  CHECK_OK(mc_cq_create(world.engine, NULL, &world.cq));
  for (uint64_t round = 0; round < FORKS; round++) {
    mc_request_t requests[16];
    int status = 0;
    fill_pattern(world.memory, LENGTH, round);
    for (size_t i = 0; i < 16; i++)
      requests[i] = request_of(MC_OPCODE_WRITE, world.segment, remote, world.memory, LENGTH);
    CHECK_OK(mc_batch_submit(world.engine, requests, 16, NULL, &world.batch));
    pid_t child = fork(); /* in the middle of it */
    CHECK(child >= 0, "fork: %s", strerror(errno));
    if (child == 0) {
      hang_guard(60);
      if (peer.pid != 0) close(peer.socket);
      try_everything(&world);
      _exit(0);
    }
    CHECK_OK(mc_batch_wait(world.engine, world.batch, -1, NULL));
    CHECK_OK(mc_batch_release(world.engine, world.batch));
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0,
          "the child ended with %x", status);
    CHECK_OK(move_bytes(world.engine, MC_OPCODE_WRITE, world.segment, remote, world.memory, LENGTH));
    peer_read(&peer, remote, seen, LENGTH);
    CHECK_PATTERN(seen, LENGTH, round);
  }
  CHECK_OK(mc_engine_destroy(world.engine));
  peer_stop(&peer);
  munmap(world.memory, LENGTH);
  munmap(seen, LENGTH);
}

/* A child that goes on by exec() is a process like any other: its engine meets the parent's. */
static void a_child_after_exec_has_its_own_library(void) {
  mc_engine_t *engine = engine_with(NULL);
  peer_setup_t setup;
  peer_t peer;
  memset(&setup, 0, sizeof setup);
  peer_spawn(&peer, &setup, NULL);
  CHECK(strcmp(peer.engine_id, info_of(engine).engine_id) != 0, "two engines share an identity");
  peer_stop(&peer);
  CHECK_OK(mc_engine_destroy(engine));
}

int main(int argc, char **argv) {
  PEER_MAIN(argc, argv);
  hang_guard(240);
  RUN_OVER_PATHS(the_child_is_refused_and_the_parent_unharmed);
  RUN(a_child_after_exec_has_its_own_library);
  return 0;
}
