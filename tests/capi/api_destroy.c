/* Is destroying an engine safe while many threads call everything on it? */
#include "flow.h"

#include <pthread.h>

enum { THREADS = 8, ROUNDS = 15, ROOM = 1 << 16 };

typedef struct world_t {
  mc_engine_t *engine;
  mc_engine_t *other;
  mc_segment_t local, peer;
  mc_region_t region;
  mc_cq_t cq;
  mc_batch_t batch;
  uint8_t *memory;
  uint8_t blob[2048];
  size_t blob_length;
  volatile bool is_destroyed;
} world_t;

/* A status that the call may have while another thread destroys its engine. */
static void allow(const char *what, mc_status_t status, mc_status_t also) {
  CHECK(status == MC_OK || status == MC_ERR_INVALID_HANDLE || status == MC_ERR_CANCELED || status == also,
        "%s while the engine is destroyed: %s: \"%s\"", what, mc_status_name(status), mc_last_error_message());
}
#define ALLOW(call) allow(#call, (call), MC_OK)
#define ALLOW_ALSO(also, call) allow(#call, (call), (also))

static void call_everything(world_t *world) {
  mc_engine_t *engine = world->engine;
  mc_engine_info_t info = mc_engine_info_default();
  mc_engine_stats_t stats = mc_engine_stats_default();
  mc_memory_info_t memory_info = mc_memory_info_default();
  mc_segment_info_t segment_info = mc_segment_info_default();
  mc_batch_info_t batch_info = mc_batch_info_default();
  mc_notify_info_t notify_info = mc_notify_info_default();
  mc_batch_options_t options = mc_batch_options_default();
  mc_probe_t probe = mc_probe_default();
  mc_completion_t completions[4];
  mc_remote_region_t regions[4];
  mc_request_t request =
      request_of(MC_OPCODE_WRITE, world->local, (uint64_t)(uintptr_t)world->memory + ROOM / 2, world->memory, ROOM / 2);
  mc_region_t region = 0;
  mc_segment_t segment = 0;
  mc_batch_t batch = 0;
  mc_cq_t cq = 0;
  void *address = NULL;
  char text[256];
  size_t length = 0;
  int32_t fd = -1;
  uint8_t own[64];
  ALLOW(mc_engine_get_info(engine, &info));
  ALLOW(mc_engine_get_stats(engine, &stats));
  ALLOW_ALSO(MC_ERR_BUFFER_TOO_SMALL, mc_engine_get_config(engine, text, sizeof text, &length));
  ALLOW_ALSO(MC_ERR_BUFFER_TOO_SMALL, mc_engine_get_metrics(engine, text, sizeof text, &length));
  ALLOW_ALSO(MC_ERR_BUFFER_TOO_SMALL, mc_engine_export(engine, NULL, 0, text, sizeof text, &length));
  ALLOW_ALSO(MC_ERR_BUSY, mc_engine_drain(engine, 0));
  ALLOW(mc_memory_register(engine, own, sizeof own, NULL, &region));
  ALLOW(mc_memory_get_info(engine, world->region, &memory_info));
  if (region != 0) ALLOW(mc_memory_unregister(engine, region, 0));
  ALLOW(mc_memory_allocate(engine, 4096, NULL, &address, &region));
  if (address != NULL) ALLOW(mc_memory_free(engine, region, 0));
  ALLOW_ALSO(MC_ERR_UNREACHABLE, mc_segment_open(engine, info_of(world->other).address, -1, &segment));
  if (segment != 0) ALLOW(mc_segment_close(engine, segment));
  segment = 0;
  ALLOW(mc_segment_import(engine, world->blob, world->blob_length, &segment));
  if (segment != 0) ALLOW(mc_segment_close(engine, segment));
  ALLOW(mc_segment_get_info(engine, world->peer, &segment_info));
  ALLOW_ALSO(MC_ERR_BUFFER_TOO_SMALL, mc_segment_list_regions(engine, world->peer, regions, 4, &length));
  ALLOW_ALSO(MC_ERR_UNREACHABLE, mc_segment_refresh(engine, world->peer, -1));
  ALLOW(mc_segment_probe(engine, world->peer, -1, &probe));
  ALLOW(mc_cq_create(engine, NULL, &cq));
  options.cq = cq;
  ALLOW(mc_batch_submit(engine, &request, 1, &options, &batch));
  if (batch != 0) {
    ALLOW(mc_batch_poll(engine, batch, &batch_info));
    ALLOW(mc_batch_wait(engine, batch, -1, &batch_info));
    ALLOW(mc_batch_task(engine, batch, 0, completions));
    ALLOW(mc_batch_cancel(engine, batch));
    ALLOW(mc_batch_release(engine, batch));
  }
  batch = 0;
  ALLOW(mc_batch_prepare(engine, &request, 1, NULL, &batch));
  if (batch != 0) {
    ALLOW(mc_batch_post(engine, batch));
    ALLOW(mc_batch_release(engine, batch));
  }
  ALLOW_ALSO(MC_ERR_BUSY, mc_batch_post(engine, world->batch)); /* the same one by all threads */
  ALLOW(mc_batch_poll(engine, world->batch, &batch_info));
  if (cq != 0) {
    ALLOW(mc_cq_poll(engine, cq, completions, 4, &length));
    ALLOW(mc_cq_wait(engine, cq, 1, completions, 4, &length));
    ALLOW(mc_cq_event_fd(engine, cq, &fd));
    ALLOW(mc_notify_bind(engine, "tag", cq, 1));
    ALLOW(mc_cq_destroy(engine, cq));
  }
  ALLOW_ALSO(MC_ERR_EXHAUSTED, mc_notify_send(engine, world->local, "tag", "x", 1, -1));
  ALLOW_ALSO(MC_ERR_NOT_READY, mc_notify_receive(engine, "tag", 1, text, sizeof text, &notify_info));
}

static void *caller(void *argument) {
  world_t *world = (world_t *)argument;
  while (!world->is_destroyed) call_everything(world);
  call_everything(world); /* and once more, when it is surely gone */
  CHECK_STATUS(MC_ERR_INVALID_HANDLE, mc_engine_drain(world->engine, -1));
  CHECK_STATUS(MC_ERR_INVALID_HANDLE, mc_batch_post(world->engine, world->batch));
  return NULL;
}

static void threads_call_everything_while_one_destroys(void) {
  for (unsigned round = 0; round < ROUNDS; round++) {
    static world_t world;
    pthread_t threads[THREADS];
    memset(&world, 0, sizeof world);
    world.engine = engine_with("local");
    world.other = engine_with("local");
    world.memory = pages(ROOM);
    world.region = registered(world.engine, world.memory, ROOM);
    world.local = local_segment(world.engine);
    mc_request_t request =
        request_of(MC_OPCODE_WRITE, world.local, (uint64_t)(uintptr_t)world.memory + 64, world.memory, 64);
    CHECK_OK(mc_segment_open(world.engine, info_of(world.other).address, -1, &world.peer));
    CHECK_OK(mc_engine_export(world.other, NULL, 0, world.blob, sizeof world.blob, &world.blob_length));
    CHECK_OK(mc_batch_prepare(world.engine, &request, 1, NULL, &world.batch));
    for (int i = 0; i < THREADS; i++) CHECK(pthread_create(&threads[i], NULL, caller, &world) == 0, "no thread");
    sleep_ms(round * 3);
    CHECK_OK(mc_engine_destroy(world.engine));
    world.is_destroyed = true;
    for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
    CHECK_STATUS(MC_ERR_INVALID_HANDLE, mc_engine_destroy(world.engine));
    CHECK_OK(mc_engine_destroy(world.other));
    munmap(world.memory, ROOM);
  }
}

static void *destroyer(void *argument) { return (void *)(intptr_t)mc_engine_destroy((mc_engine_t *)argument); }

static void one_of_many_destroyers_wins(void) {
  for (int round = 0; round < 30; round++) {
    pthread_t threads[THREADS];
    mc_engine_t *engine = engine_with("local");
    int won = 0;
    for (int i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, destroyer, engine);
    for (int i = 0; i < THREADS; i++) {
      void *status = NULL;
      pthread_join(threads[i], &status);
      mc_status_t got = (mc_status_t)(intptr_t)status;
      CHECK(got == MC_OK || got == MC_ERR_INVALID_HANDLE, "%s", mc_status_name(got));
      won += got == MC_OK;
    }
    CHECK(won == 1, "%d threads destroyed one engine", won);
  }
}

int main(void) {
  hang_guard(240);
  RUN(threads_call_everything_while_one_destroys);
  RUN(one_of_many_destroyers_wins);
  return 0;
}
