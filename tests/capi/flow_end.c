/* Does every batch end, and is it true what is said when it does: by deadline, by cancel, by release, by destroy? */
#include "peer.h"

#include <pthread.h>

enum { COUNT = 64 };
static const size_t BLOCK = (size_t)1 << 20;

/* An engine, a peer, and a batch of reads large enough to be caught under way. */
typedef struct world_t {
  mc_engine_t *engine;
  peer_t peer;
  uint8_t *local;
  mc_request_t requests[COUNT];
} world_t;

static void start_world(world_t *world, const path_t *path) {
  uint64_t remote;
  uint8_t *content = pages(COUNT * BLOCK);
  mc_segment_t segment;
  world->engine = engine_with(path->name);
  world->local = pages(COUNT * BLOCK);
  peer_start(&world->peer, path);
  remote = peer_region(&world->peer, path, COUNT * BLOCK, 0, NULL);
  memset(content, 0xbb, COUNT * BLOCK);
  peer_write(&world->peer, remote, content, COUNT * BLOCK);
  munmap(content, COUNT * BLOCK);
  registered(world->engine, world->local, COUNT * BLOCK);
  segment = opened(world->engine, world->peer.address);
  for (size_t i = 0; i < COUNT; i++)
    world->requests[i] = request_of(MC_OPCODE_READ, segment, remote + i * BLOCK, world->local + i * BLOCK, BLOCK);
}

static void end_world(world_t *world) {
  CHECK_OK(mc_engine_destroy(world->engine));
  peer_stop(&world->peer);
  munmap(world->local, COUNT * BLOCK);
}

static mc_batch_t started(world_t *world, uint64_t deadline_ms) {
  mc_batch_options_t options = mc_batch_options_default();
  mc_batch_t batch = 0;
  memset(world->local, 0, COUNT * BLOCK);
  options.deadline_ms = deadline_ms;
  CHECK_OK(mc_batch_submit(world->engine, world->requests, COUNT, &options, &batch));
  return batch;
}

/* Each request is terminal with one of two statuses, its bytes are whole if it says so, and the counts add up. */
static size_t check_ended(world_t *world, mc_batch_t batch, mc_status_t other) {
  mc_batch_info_t info = mc_batch_info_default();
  size_t failed = 0;
  mc_batch_wait(world->engine, batch, -1, &info);
  CHECK(info.is_done, "a wait without end returned before the end");
  for (size_t i = 0; i < COUNT; i++) {
    mc_completion_t task;
    CHECK_OK(mc_batch_task(world->engine, batch, i, &task));
    if (task.status == MC_OK) {
      CHECK_ALL(world->local + i * BLOCK, BLOCK, 0xbb);
    } else {
      CHECK(task.status == other, "request %zu ended with %s", i, mc_status_name(task.status));
      CHECK(task.length == 0, "a failed request counts %zu bytes", (size_t)task.length);
      failed++;
    }
  }
  CHECK(info.failed_count == failed && info.completed_count == COUNT - failed, "%zu failed, the batch says %zu", failed,
        (size_t)info.failed_count);
  CHECK(info.status == (failed > 0 ? other : MC_OK), "the batch says %s", mc_status_name(info.status));
  CHECK(info.completed_bytes == (COUNT - failed) * BLOCK, "%zu bytes", (size_t)info.completed_bytes);
  return failed;
}

/* After the end local memory is the caller's alone: what it writes there stays. */
static void check_left_alone(world_t *world) {
  memset(world->local, 0x5c, COUNT * BLOCK);
  sleep_ms(5);
  CHECK_ALL(world->local, COUNT * BLOCK, 0x5c);
}

static void a_deadline_ends_what_is_not_done(const path_t *path) {
  world_t world;
  size_t cut = 0;
  start_world(&world, path);
  for (int round = 0; round < 10; round++) {
    mc_batch_t batch = started(&world, 1);
    cut += check_ended(&world, batch, MC_ERR_TIMEOUT);
    check_left_alone(&world);
    CHECK_OK(mc_batch_release(world.engine, batch));
  }
  printf("  %zu of %d requests met their deadline first\n", cut, 10 * COUNT);
  mc_batch_t batch = started(&world, 0);
  CHECK(check_ended(&world, batch, MC_OK) == 0, "the default deadline is too short");
  CHECK_OK(mc_batch_release(world.engine, batch));
  end_world(&world);
}

static void cancel_ends_what_is_not_done(const path_t *path) {
  world_t world;
  size_t cut = 0;
  start_world(&world, path);
  for (int round = 0; round < 20; round++) {
    mc_batch_t batch = started(&world, 0);
    for (volatile int spin = 0; spin < round * 20000; spin++) {
    }
    CHECK_OK(mc_batch_cancel(world.engine, batch));
    CHECK_OK(mc_batch_cancel(world.engine, batch)); /* twice is once */
    cut += check_ended(&world, batch, MC_ERR_CANCELED);
    check_left_alone(&world);
    CHECK_OK(mc_batch_cancel(world.engine, batch)); /* one that is done stays as it is */
    CHECK_OK(mc_batch_release(world.engine, batch));
  }
  printf("  %zu of %d requests were canceled\n", cut, 20 * COUNT);
  mc_batch_t batch = started(&world, 0);
  CHECK(check_ended(&world, batch, MC_OK) == 0, "a transfer after a cancel failed");
  CHECK_OK(mc_batch_release(world.engine, batch));
  end_world(&world);
}

static void a_canceled_prepared_batch_can_be_posted_again(const path_t *path) {
  world_t world;
  mc_batch_t batch = 0;
  start_world(&world, path);
  CHECK_OK(mc_batch_prepare(world.engine, world.requests, COUNT, NULL, &batch));
  for (int round = 0; round < 5; round++) {
    CHECK_OK(mc_batch_post(world.engine, batch));
    mc_status_t status = mc_batch_post(world.engine, batch);
    if (status == MC_OK) /* the first was faster than we */
      status = MC_ERR_BUSY;
    CHECK(status == MC_ERR_BUSY, "posting twice gave %s", mc_status_name(status));
    CHECK_OK(mc_batch_cancel(world.engine, batch));
    check_ended(&world, batch, MC_ERR_CANCELED);
  }
  memset(world.local, 0, COUNT * BLOCK);
  CHECK_OK(mc_batch_post(world.engine, batch));
  CHECK(check_ended(&world, batch, MC_OK) == 0, "a post after a cancel failed");
  CHECK_OK(mc_batch_release(world.engine, batch));
  end_world(&world);
}

/* Release gives the id back at once; drain tells when the background has ended. */
static void a_running_batch_may_be_released(const path_t *path) {
  world_t world;
  start_world(&world, path);
  for (int round = 0; round < 10; round++) {
    mc_batch_info_t info = mc_batch_info_default();
    mc_batch_t batch = started(&world, 0);
    CHECK_OK(mc_batch_release(world.engine, batch));
    CHECK_STATUS(MC_ERR_INVALID_HANDLE, mc_batch_poll(world.engine, batch, &info));
    CHECK_STATUS(MC_ERR_INVALID_HANDLE, mc_batch_release(world.engine, batch));
    CHECK_OK(mc_engine_drain(world.engine, -1));
    check_left_alone(&world);
  }
  CHECK(info_of(world.engine).batch_count == 0, "%zu batches live", (size_t)info_of(world.engine).batch_count);
  end_world(&world);
}

static void drain_waits_for_what_is_under_way(const path_t *path) {
  world_t world;
  start_world(&world, path);
  CHECK_OK(mc_engine_drain(world.engine, 0));
  mc_batch_t batch = started(&world, 0);
  mc_status_t status = mc_engine_drain(world.engine, 0);
  CHECK(status == MC_OK || status == MC_ERR_BUSY, "%s", mc_status_name(status));
  CHECK_OK(mc_engine_drain(world.engine, -1));
  CHECK_OK(mc_batch_wait(world.engine, batch, 0, NULL));
  CHECK_STATUS(MC_ERR_INVALID_ARGUMENT, mc_engine_drain(world.engine, -2));
  CHECK_OK(mc_batch_release(world.engine, batch));
  end_world(&world);
}

static void *wait_for_batch(void *argument) {
  void **arguments = (void **)argument;
  return (void *)(intptr_t)mc_batch_wait((mc_engine_t *)arguments[0], *(mc_batch_t *)arguments[1], -1, NULL);
}

/* When destroy returns, no registered byte is touched any more, and who waited knows. */
static void destroy_ends_what_is_under_way(const path_t *path) {
  for (int round = 0; round < 5; round++) {
    world_t world;
    pthread_t waiter;
    void *status = NULL, *arguments[2];
    start_world(&world, path);
    mc_batch_t batch = started(&world, 0);
    arguments[0] = world.engine;
    arguments[1] = &batch;
    pthread_create(&waiter, NULL, wait_for_batch, arguments);
    if (round % 2 == 0) sleep_ms(1);
    CHECK_OK(mc_engine_destroy(world.engine));
    check_left_alone(&world);
    pthread_join(waiter, &status);
    mc_status_t got = (mc_status_t)(intptr_t)status;
    CHECK(got == MC_OK || got == MC_ERR_CANCELED || got == MC_ERR_INVALID_HANDLE, "the waiter got %s",
          mc_status_name(got));
    peer_stop(&world.peer);
    munmap(world.local, COUNT * BLOCK);
  }
}

static void poll_and_wait_tell_the_same(const path_t *path) {
  world_t world;
  mc_batch_info_t info = mc_batch_info_default();
  start_world(&world, path);
  mc_batch_t batch = started(&world, 0);
  mc_status_t status = mc_batch_wait(world.engine, batch, 0, &info);
  CHECK(status == (info.is_done ? MC_OK : MC_ERR_NOT_READY), "wait(0) gave %s", mc_status_name(status));
  uint64_t before = 0;
  for (info.is_done = false; !info.is_done;) {
    CHECK_OK(mc_batch_poll(world.engine, batch, &info));
    CHECK(info.completed_count >= before && info.failed_count == 0, "the count of completed requests went back");
    before = info.completed_count;
  }
  CHECK(before == COUNT, "%zu requests completed", (size_t)before);
  CHECK_OK(mc_batch_wait(world.engine, batch, 0, NULL));
  CHECK_OK(mc_batch_release(world.engine, batch));
  end_world(&world);
}

static void more_than_the_queue_limit_is_refused(void) {
  mc_engine_options_t options = mc_engine_options_default();
  mc_engine_t *engine = NULL;
  mc_request_t requests[9];
  mc_batch_t batch = 0;
  uint8_t *memory = pages(8192);
  options.flags = MC_ENGINE_FLAG_NO_ENVIRONMENT | MC_ENGINE_FLAG_NO_LISTEN;
  options.queue_limit = 8;
  CHECK_OK(mc_engine_create(&options, &engine));
  registered(engine, memory, 8192);
  for (size_t i = 0; i < 9; i++)
    requests[i] = request_of(MC_OPCODE_WRITE, local_segment(engine), (uint64_t)(uintptr_t)memory + 4096, memory, 4096);
  CHECK_STATUS(MC_ERR_EXHAUSTED, mc_batch_submit(engine, requests, 9, NULL, &batch));
  CHECK(batch == 0, "an output was written");
  for (int round = 0; round < 20; round++) CHECK_OK(move_batch(engine, requests, 8)); /* the room comes back */
  CHECK_OK(mc_engine_destroy(engine));
  munmap(memory, 8192);
}

int main(int argc, char **argv) {
  PEER_MAIN(argc, argv);
  hang_guard(280);
  RUN_OVER_PATHS(a_deadline_ends_what_is_not_done);
  RUN_OVER_PATHS(cancel_ends_what_is_not_done);
  RUN_OVER_PATHS(a_canceled_prepared_batch_can_be_posted_again);
  RUN_OVER_PATHS(a_running_batch_may_be_released);
  RUN_OVER_PATHS(drain_waits_for_what_is_under_way);
  RUN_OVER_PATHS(destroy_ends_what_is_under_way);
  RUN_OVER_PATHS(poll_and_wait_tell_the_same);
  RUN(more_than_the_queue_limit_is_refused);
  return 0;
}
