/* Do eight threads and two engines share everything without a data race? Run under ThreadSanitizer. */
#include "peer.h"

#include <pthread.h>

enum { THREADS = 8, ROUNDS = 60, BLOCK = 8192, COUNT = 8 };

typedef struct pair_t {
  mc_engine_t *engines[2];
  mc_segment_t towards[2]; /* of engine i: the other's segment */
  const path_t *path;
} pair_t;

typedef struct worker_t {
  pthread_t thread;
  pair_t *pair;
  size_t index;
} worker_t;

/* Writes a pattern to the other engine and reads it back, with registrations, queues, waits, polls, cancels and
 * notifications of its own in between. */
static void *work(void *argument) {
  worker_t *worker = (worker_t *)argument;
  size_t side = worker->index % 2;
  mc_engine_t *near = worker->pair->engines[side], *far = worker->pair->engines[1 - side];
  mc_segment_t segment = worker->pair->towards[side];
  char tag[16];
  snprintf(tag, sizeof tag, "worker-%zu", worker->index);
  uint8_t *memory = pages(4 * BLOCK * COUNT);
  void *target = memory + 2 * BLOCK * COUNT;
  mc_region_t far_region = 0;
  if (worker->pair->path->in_allocated_memory)
    CHECK_OK(mc_memory_allocate(far, 2 * BLOCK * COUNT, NULL, &target, &far_region));
  else
    far_region = registered(far, target, 2 * BLOCK * COUNT);
  for (uint64_t round = 0; round < ROUNDS; round++) {
    mc_region_t region = registered(near, memory, 2 * BLOCK * COUNT);
    mc_request_t requests[COUNT];
    mc_batch_options_t options = mc_batch_options_default();
    mc_batch_info_t info = mc_batch_info_default();
    mc_notify_info_t notification = mc_notify_info_default();
    mc_completion_t items[COUNT];
    mc_batch_t batch = 0;
    size_t count = 0;
    uint64_t got = 0;
    fill_pattern(memory, BLOCK * COUNT, round * THREADS + worker->index);
    for (size_t i = 0; i < COUNT; i++)
      requests[i] =
          request_of(MC_OPCODE_WRITE, segment, (uint64_t)(uintptr_t)target + i * BLOCK, memory + i * BLOCK, BLOCK);
    CHECK_OK(mc_cq_create(near, NULL, &options.cq));
    options.notify_tag = tag;
    options.notify_data = &round;
    options.notify_length = sizeof round;
    CHECK_OK(mc_batch_submit(near, requests, COUNT, &options, &batch));
    for (size_t have = 0; have < COUNT; have += count) CHECK_OK(mc_cq_wait(near, options.cq, -1, items, COUNT, &count));
    CHECK_OK(mc_notify_receive(far, tag, -1, &got, sizeof got, &notification));
    CHECK(got == round, "notification %d in round %d", (int)got, (int)round);
    CHECK_OK(mc_batch_wait(near, batch, -1, NULL));
    CHECK_OK(mc_batch_release(near, batch));
    for (size_t i = 0; i < COUNT; i++) {
      requests[i].opcode = MC_OPCODE_READ;
      requests[i].local = memory + (COUNT + i) * BLOCK;
    }
    CHECK_OK(mc_batch_submit(near, requests, COUNT, NULL, &batch));
    do CHECK_OK(mc_batch_poll(near, batch, &info));
    while (!info.is_done);
    CHECK_OK(info.status);
    CHECK_PATTERN(memory + BLOCK * COUNT, BLOCK * COUNT, round * THREADS + worker->index);
    CHECK_OK(mc_batch_release(near, batch));
    /* A canceled read may still be served for a moment: it reads what nobody writes. */
    for (size_t i = 0; i < COUNT; i++) requests[i].remote += BLOCK * COUNT;
    CHECK_OK(mc_batch_submit(near, requests, COUNT, NULL, &batch));
    if (round % 2 == 0) CHECK_OK(mc_batch_cancel(near, batch));
    CHECK_OK(mc_batch_release(near, batch));
    CHECK_OK(mc_cq_destroy(near, options.cq));
    CHECK_OK(mc_memory_unregister(near, region, 0));
    info_of(near);
    stats_of(far);
  }
  CHECK_OK(worker->pair->path->in_allocated_memory ? mc_memory_free(far, far_region, 0)
                                                   : mc_memory_unregister(far, far_region, 0));
  munmap(memory, 4 * BLOCK * COUNT);
  return NULL;
}

static void eight_threads_and_two_engines(const path_t *path) {
  worker_t workers[THREADS];
  pair_t pair;
  pair.path = path;
  for (size_t i = 0; i < 2; i++) pair.engines[i] = engine_with(path->name);
  for (size_t i = 0; i < 2; i++) pair.towards[i] = opened(pair.engines[i], info_of(pair.engines[1 - i]).address);
  for (size_t i = 0; i < THREADS; i++) {
    workers[i].pair = &pair;
    workers[i].index = i;
    CHECK(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0, "no thread");
  }
  for (size_t i = 0; i < THREADS; i++) pthread_join(workers[i].thread, NULL);
  for (size_t i = 0; i < 2; i++) CHECK_OK(mc_engine_destroy(pair.engines[i]));
}

int main(void) {
  hang_guard(280);
  for (size_t i = 0; i < PATH_COUNT; i++) {
    const path_t *path = &PATHS[i];
    const char *wanted = getenv("MC_TEST_TRANSPORTS");
    /* Both ends in one process: the paths that the sanitizer can follow. */
    if (strcmp(path->name, "local") != 0 && strcmp(path->name, "tcp") != 0) continue;
    if (wanted != NULL && !is_listed(wanted, path->name)) continue;
    printf("- eight_threads_and_two_engines [%s]\n", path->name);
    fflush(stdout);
    eight_threads_and_two_engines(path);
  }
  return 0;
}
