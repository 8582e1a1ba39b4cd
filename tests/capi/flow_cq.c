/* Do completion queues hold each completion once, wake who waits, and refuse what could overflow them? */
#include "peer.h"

#include <poll.h>
#include <pthread.h>

enum { LENGTH = 4096, COUNT = 32 };

static bool is_readable(int fd) {
  struct pollfd item;
  item.fd = fd;
  item.events = POLLIN;
  item.revents = 0;
  CHECK(poll(&item, 1, 0) >= 0, "poll: %s", strerror(errno));
  return (item.revents & POLLIN) != 0;
}

/* An engine with one region and requests within it. */
typedef struct world_t {
  mc_engine_t *engine;
  uint8_t *memory;
  mc_cq_t cq;
  mc_request_t requests[COUNT];
} world_t;

static world_t world_of(uint32_t capacity) {
  world_t world;
  mc_cq_options_t options = mc_cq_options_default();
  world.engine = engine_with("local");
  world.memory = pages(2 * COUNT * LENGTH);
  registered(world.engine, world.memory, 2 * COUNT * LENGTH);
  options.capacity = capacity;
  CHECK_OK(mc_cq_create(world.engine, &options, &world.cq));
  for (size_t i = 0; i < COUNT; i++) {
    uint8_t *from = world.memory + i * LENGTH;
    world.requests[i] = request_of(MC_OPCODE_WRITE, local_segment(world.engine),
                                   (uint64_t)(uintptr_t)from + (size_t)COUNT * LENGTH, from, LENGTH);
    world.requests[i].user_data = 500 + i;
  }
  return world;
}

static void end_world(world_t *world) {
  CHECK_OK(mc_engine_destroy(world->engine));
  munmap(world->memory, 2 * COUNT * LENGTH);
}

static mc_batch_t submitted(world_t *world, size_t count, uint64_t flags, uint64_t user_data) {
  mc_batch_options_t options = mc_batch_options_default();
  mc_batch_t batch = 0;
  options.cq = world->cq;
  options.flags = flags;
  options.user_data = user_data;
  CHECK_OK(mc_batch_submit(world->engine, world->requests, count, &options, &batch));
  return batch;
}

static void each_request_completes_once(const path_t *path) {
  mc_engine_t *engine = engine_with(path->name);
  uint8_t *local = pages(COUNT * LENGTH);
  mc_request_t requests[COUNT];
  mc_completion_t items[5];
  mc_batch_options_t options = mc_batch_options_default();
  mc_batch_t batch = 0;
  uint64_t seen = 0;
  peer_t peer;
  peer_start(&peer, path);
  uint64_t remote = peer_region(&peer, path, COUNT * LENGTH, 0, NULL);
  registered(engine, local, COUNT * LENGTH);
  mc_segment_t segment = opened(engine, peer.address);
  CHECK_OK(mc_cq_create(engine, NULL, &options.cq));
  for (size_t i = 0; i < COUNT; i++) {
    requests[i] = request_of(MC_OPCODE_READ, segment, remote + i * LENGTH, local + i * LENGTH, LENGTH);
    requests[i].user_data = 500 + i;
  }
  requests[3].remote = 64; /* this one fails */
  CHECK_OK(mc_batch_submit(engine, requests, COUNT, &options, &batch));
  for (size_t have = 0; have < COUNT;) {
    size_t count = 0;
    CHECK_OK(mc_cq_wait(engine, options.cq, -1, items, 5, &count));
    CHECK(count >= 1 && count <= 5, "%zu completions in room for 5", count);
    for (size_t i = 0; i < count; i++) {
      CHECK(items[i].batch == batch && items[i].kind == MC_COMPLETION_REQUEST, "a stranger came");
      CHECK(items[i].user_data == 500 + items[i].index && items[i].index < COUNT, "user data of another request");
      CHECK(items[i].status == (items[i].index == 3 ? MC_ERR_ADDRESS_NOT_REGISTERED : MC_OK), "request %d: %s",
            (int)items[i].index, mc_status_name(items[i].status));
      CHECK(items[i].length == (items[i].index == 3 ? 0u : (unsigned)LENGTH), "%d bytes", (int)items[i].length);
      CHECK((seen >> items[i].index & 1) == 0, "request %d completed twice", (int)items[i].index);
      seen |= 1ull << items[i].index;
    }
    have += count;
  }
  size_t count = 99;
  CHECK_OK(mc_cq_poll(engine, options.cq, items, 5, &count));
  CHECK(count == 0, "%zu completions too many", count);
  CHECK_OK(mc_batch_release(engine, batch));
  CHECK_OK(mc_engine_destroy(engine));
  peer_stop(&peer);
  munmap(local, COUNT * LENGTH);
}

static void the_descriptor_is_readable_exactly_while_something_is_there(void) {
  world_t world = world_of(0);
  mc_completion_t items[COUNT];
  size_t count = 0;
  int32_t fd = -1;
  CHECK_OK(mc_cq_event_fd(world.engine, world.cq, &fd));
  for (int round = 0; round < 5; round++) {
    CHECK(!is_readable(fd), "round %d: readable while empty", round);
    mc_batch_t batch = submitted(&world, 4, 0, 0);
    CHECK_OK(mc_batch_wait(world.engine, batch, -1, NULL));
    for (size_t left = 4; left > 0; left--) {
      CHECK(is_readable(fd), "not readable with %zu completions there", left);
      CHECK_OK(mc_cq_poll(world.engine, world.cq, items, 1, &count));
      CHECK(count == 1, "%zu completions", count);
    }
    CHECK(!is_readable(fd), "readable although all was taken");
    CHECK_OK(mc_batch_release(world.engine, batch));
  }
  end_world(&world);
}

static void a_batch_can_complete_once_as_a_whole(void) {
  world_t world = world_of(0);
  mc_completion_t items[COUNT];
  size_t count = 0;
  mc_batch_t batch = submitted(&world, COUNT, MC_BATCH_FLAG_COMPLETE_ONCE, 4242);
  CHECK_OK(mc_cq_wait(world.engine, world.cq, -1, items, COUNT, &count));
  CHECK(count == 1, "%zu completions for one batch", count);
  CHECK(items[0].kind == MC_COMPLETION_BATCH && items[0].batch == batch && items[0].user_data == 4242 &&
            items[0].status == MC_OK && items[0].length == COUNT * LENGTH && items[0].index == 0,
        "kind %u, user_data %d, length %d", items[0].kind, (int)items[0].user_data, (int)items[0].length);
  CHECK_OK(mc_batch_wait(world.engine, batch, 0, NULL));
  CHECK_OK(mc_cq_poll(world.engine, world.cq, items, COUNT, &count));
  CHECK(count == 0, "%zu completions too many", count);
  CHECK_OK(mc_batch_release(world.engine, batch));
  end_world(&world);
}

/* Room is reserved at submit, so that no completion is ever lost. */
static void what_could_overflow_is_refused(void) {
  world_t world = world_of(6);
  mc_completion_t items[COUNT];
  mc_batch_options_t options = mc_batch_options_default();
  mc_batch_t batch = 0, refused = 0, prepared = 0;
  size_t count = 0;
  options.cq = world.cq;
  batch = submitted(&world, 4, 0, 0);
  CHECK_STATUS(MC_ERR_EXHAUSTED, mc_batch_submit(world.engine, world.requests, 3, &options, &refused));
  CHECK(refused == 0, "an output was written");
  CHECK_OK(mc_batch_wait(world.engine, batch, -1, NULL));
  CHECK_STATUS(MC_ERR_EXHAUSTED, mc_batch_submit(world.engine, world.requests, 3, &options, &refused));
  CHECK_OK(mc_batch_release(world.engine, batch));
  CHECK_STATUS(MC_ERR_EXHAUSTED, mc_batch_submit(world.engine, world.requests, 3, &options, &refused));
  batch = submitted(&world, COUNT, MC_BATCH_FLAG_COMPLETE_ONCE, 1); /* needs one place only */
  CHECK_OK(mc_batch_wait(world.engine, batch, -1, NULL));
  CHECK_OK(mc_batch_release(world.engine, batch));
  CHECK_OK(mc_batch_prepare(world.engine, world.requests, 3, &options, &prepared));
  CHECK_STATUS(MC_ERR_EXHAUSTED, mc_batch_post(world.engine, prepared));
  CHECK_OK(mc_cq_poll(world.engine, world.cq, items, COUNT, &count));
  CHECK(count == 5, "%zu completions", count);
  CHECK_OK(mc_batch_post(world.engine, prepared));
  CHECK_OK(mc_batch_wait(world.engine, prepared, -1, NULL));
  CHECK_OK(mc_cq_poll(world.engine, world.cq, items, COUNT, &count));
  CHECK(count == 3, "%zu completions", count);
  CHECK_OK(mc_batch_release(world.engine, prepared));
  end_world(&world);
}

static void two_queues_keep_apart(void) {
  world_t world = world_of(0);
  mc_cq_t first = world.cq, second = 0;
  mc_completion_t items[COUNT];
  size_t count = 0;
  CHECK_OK(mc_cq_create(world.engine, NULL, &second));
  mc_batch_t in_first = submitted(&world, 2, 0, 0);
  world.cq = second;
  mc_batch_t in_second = submitted(&world, 3, 0, 0);
  CHECK_OK(mc_batch_wait(world.engine, in_first, -1, NULL));
  CHECK_OK(mc_batch_wait(world.engine, in_second, -1, NULL));
  CHECK_OK(mc_cq_poll(world.engine, first, items, COUNT, &count));
  CHECK(count == 2 && items[0].batch == in_first && items[1].batch == in_first, "%zu completions", count);
  CHECK_OK(mc_cq_poll(world.engine, second, items, COUNT, &count));
  CHECK(count == 3 && items[0].batch == in_second, "%zu completions", count);
  end_world(&world);
}

static void *wait_for_ever(void *argument) {
  world_t *world = (world_t *)argument;
  mc_completion_t item;
  size_t count = 0;
  return (void *)(intptr_t)mc_cq_wait(world->engine, world->cq, -1, &item, 1, &count);
}

static void destroying_a_queue_wakes_who_waits(void) {
  for (int round = 0; round < 20; round++) {
    world_t world = world_of(0);
    pthread_t waiters[3];
    for (int i = 0; i < 3; i++) pthread_create(&waiters[i], NULL, wait_for_ever, &world);
    if (round % 2 == 0) sleep_ms(5);
    CHECK_OK(mc_cq_destroy(world.engine, world.cq));
    for (int i = 0; i < 3; i++) {
      void *status = NULL;
      pthread_join(waiters[i], &status);
      CHECK((intptr_t)status == MC_ERR_INVALID_HANDLE, "a waiter got %s",
            mc_status_name((mc_status_t)(intptr_t)status));
    }
    CHECK_STATUS(MC_ERR_INVALID_HANDLE, mc_cq_destroy(world.engine, world.cq));
    end_world(&world);
  }
}

static void destroying_the_engine_wakes_who_waits(void) {
  world_t world = world_of(0);
  pthread_t waiter;
  void *status = NULL;
  pthread_create(&waiter, NULL, wait_for_ever, &world);
  sleep_ms(20);
  end_world(&world);
  pthread_join(waiter, &status);
  CHECK((intptr_t)status == MC_ERR_INVALID_HANDLE, "the waiter got %s", mc_status_name((mc_status_t)(intptr_t)status));
}

/* The batch goes on without its queue, and ends. */
static void a_batch_outlives_its_queue(const path_t *path) {
  const size_t room = (size_t)16 << 20;
  mc_engine_t *engine = engine_with(path->name);
  uint8_t *local = pages(room);
  mc_batch_options_t options = mc_batch_options_default();
  mc_batch_t batch = 0;
  peer_t peer;
  peer_start(&peer, path);
  uint64_t remote = peer_region(&peer, path, room, 0, NULL);
  registered(engine, local, room);
  mc_request_t request = request_of(MC_OPCODE_READ, opened(engine, peer.address), remote, local, room);
  CHECK_OK(mc_cq_create(engine, NULL, &options.cq));
  CHECK_OK(mc_batch_submit(engine, &request, 1, &options, &batch));
  CHECK_OK(mc_cq_destroy(engine, options.cq));
  CHECK_OK(mc_batch_wait(engine, batch, -1, NULL));
  CHECK_OK(mc_batch_release(engine, batch));
  CHECK_STATUS(MC_ERR_INVALID_HANDLE, mc_batch_submit(engine, &request, 1, &options, &batch));
  CHECK_OK(mc_engine_destroy(engine));
  peer_stop(&peer);
  munmap(local, room);
}

static void a_released_batch_still_completes(void) {
  world_t world = world_of(0);
  mc_completion_t items[COUNT];
  size_t count = 0;
  mc_batch_t batch = submitted(&world, 8, 0, 0);
  CHECK_OK(mc_batch_release(world.engine, batch));
  for (size_t have = 0; have < 8; have += count) {
    CHECK_OK(mc_cq_wait(world.engine, world.cq, -1, items, COUNT, &count));
    for (size_t i = 0; i < count; i++)
      CHECK(items[i].batch == batch && (items[i].status == MC_OK || items[i].status == MC_ERR_CANCELED), "%s",
            mc_status_name(items[i].status));
  }
  end_world(&world);
}

static void capacity_has_a_documented_bound(void) {
  mc_engine_t *engine = engine_with("local");
  mc_cq_options_t options = mc_cq_options_default();
  mc_cq_t cq = 0;
  options.capacity = 16777217;
  CHECK_STATUS(MC_ERR_INVALID_ARGUMENT, mc_cq_create(engine, &options, &cq));
  options.capacity = 1;
  CHECK_OK(mc_cq_create(engine, &options, &cq));
  CHECK_OK(mc_engine_destroy(engine));
}

int main(int argc, char **argv) {
  PEER_MAIN(argc, argv);
  hang_guard(180);
  RUN_OVER_PATHS(each_request_completes_once);
  RUN(the_descriptor_is_readable_exactly_while_something_is_there);
  RUN(a_batch_can_complete_once_as_a_whole);
  RUN(what_could_overflow_is_refused);
  RUN(two_queues_keep_apart);
  RUN(destroying_a_queue_wakes_who_waits);
  RUN(destroying_the_engine_wakes_who_waits);
  RUN_OVER_PATHS(a_batch_outlives_its_queue);
  RUN(a_released_batch_still_completes);
  RUN(capacity_has_a_documented_bound);
  return 0;
}
