/* Does a batch of many requests, to one segment or several, do each of them and tell of each? */
#include "peer.h"

enum { REQUESTS = 5000, BLOCK = 512 };

/* A permutation of the blocks, so that no two neighbours stay neighbours. */
static size_t scattered(size_t index) { return (index * 1663 + 11) % REQUESTS; }

static void five_thousand_requests_in_one_batch(const path_t *path) {
  const size_t room = (size_t)REQUESTS * BLOCK;
  mc_engine_t *engine = engine_with(path->name);
  uint8_t *source = pages(room), *target = pages(room), *seen = pages(room);
  mc_request_t *requests = (mc_request_t *)calloc(REQUESTS, sizeof *requests);
  peer_t peer;
  peer_start(&peer, path);
  uint64_t remote = peer_region(&peer, path, room, 0, NULL);
  registered(engine, source, room);
  registered(engine, target, room);
  mc_segment_t segment = opened(engine, peer.address);
  fill_pattern(source, room, 77);
  for (size_t i = 0; i < REQUESTS; i++)
    requests[i] =
        request_of(MC_OPCODE_WRITE, segment, remote + scattered(i) * BLOCK, source + scattered(i) * BLOCK, BLOCK);
  CHECK_OK(move_batch(engine, requests, REQUESTS));
  peer_read(&peer, remote, seen, room);
  CHECK_PATTERN(seen, room, 77);
  for (size_t i = 0; i < REQUESTS; i++) {
    requests[i].opcode = MC_OPCODE_READ;
    requests[i].local = target + scattered(i) * BLOCK;
  }
  CHECK_OK(move_batch(engine, requests, REQUESTS));
  CHECK_PATTERN(target, room, 77);
  CHECK_OK(mc_engine_destroy(engine));
  peer_stop(&peer);
  free(requests);
  munmap(source, room);
  munmap(target, room);
  munmap(seen, room);
}

/* One batch that reads from two peers and from this engine itself, in both directions at once. */
static void one_batch_goes_to_several_segments(const path_t *path) {
  enum { LENGTH = 30000 };
  mc_engine_t *engine = engine_with(strcmp(path->name, "local") == 0 ? "local" : NULL);
  uint8_t *memory = pages(8 * LENGTH), *seen = pages(LENGTH);
  peer_t first, second;
  peer_start(&first, path);
  peer_start(&second, path);
  uint64_t at_first = peer_region(&first, path, LENGTH, 0, NULL);
  uint64_t at_second = peer_region(&second, path, LENGTH, 0, NULL);
  registered(engine, memory, 8 * LENGTH);
  mc_segment_t to_first = opened(engine, first.address), to_second = opened(engine, second.address);
  fill_pattern(memory, LENGTH, 1);
  fill_pattern(memory + LENGTH, LENGTH, 2);
  fill_pattern(seen, LENGTH, 3);
  peer_write(&second, at_second, seen, LENGTH);
  mc_request_t requests[4];
  requests[0] = request_of(MC_OPCODE_WRITE, to_first, at_first, memory, LENGTH);
  requests[1] = request_of(MC_OPCODE_READ, to_second, at_second, memory + 2 * LENGTH, LENGTH);
  requests[2] = request_of(MC_OPCODE_WRITE, local_segment(engine), (uint64_t)(uintptr_t)memory + 3 * LENGTH,
                           memory + LENGTH, LENGTH);
  requests[3] =
      request_of(MC_OPCODE_READ, local_segment(engine), (uint64_t)(uintptr_t)memory, memory + 4 * LENGTH, LENGTH);
  CHECK_OK(move_batch(engine, requests, 4));
  peer_read(&first, at_first, seen, LENGTH);
  CHECK_PATTERN(seen, LENGTH, 1);
  CHECK_PATTERN(memory + 2 * LENGTH, LENGTH, 3);
  CHECK_PATTERN(memory + 3 * LENGTH, LENGTH, 2);
  CHECK_PATTERN(memory + 4 * LENGTH, LENGTH, 1);
  CHECK_OK(mc_engine_destroy(engine));
  peer_stop(&first);
  peer_stop(&second);
  munmap(memory, 8 * LENGTH);
  munmap(seen, LENGTH);
}

/* What the peer does not offer fails that request alone; its neighbours arrive, and each tells its own story. */
static void a_failing_request_leaves_its_neighbours_alone(const path_t *path) {
  enum { LENGTH = 4096, COUNT = 9 };
  mc_engine_t *engine = engine_with(path->name);
  uint8_t *source = pages(COUNT * LENGTH), *seen = pages(COUNT * LENGTH);
  mc_request_t requests[COUNT];
  mc_batch_t batch = 0;
  mc_batch_info_t info = mc_batch_info_default();
  mc_completion_t task;
  peer_t peer;
  peer_start(&peer, path);
  uint64_t remote = peer_region(&peer, path, COUNT * LENGTH, 0, NULL);
  registered(engine, source, COUNT * LENGTH);
  fill_pattern(source, COUNT * LENGTH, 5);
  mc_segment_t segment = opened(engine, peer.address);
  for (size_t i = 0; i < COUNT; i++) {
    requests[i] = request_of(MC_OPCODE_WRITE, segment, remote + i * LENGTH, source + i * LENGTH, LENGTH);
    requests[i].user_data = 1000 + i;
  }
  requests[4].remote = 64; /* page 0 is nobody's */
  CHECK_OK(mc_batch_submit(engine, requests, COUNT, NULL, &batch));
  CHECK_STATUS(MC_ERR_ADDRESS_NOT_REGISTERED, mc_batch_wait(engine, batch, -1, &info));
  CHECK(info.is_done && info.completed_count == COUNT - 1 && info.failed_count == 1, "%zu completed, %zu failed",
        (size_t)info.completed_count, (size_t)info.failed_count);
  CHECK(info.completed_bytes == (COUNT - 1) * LENGTH, "%zu bytes completed", (size_t)info.completed_bytes);
  CHECK_OK(mc_batch_poll(engine, batch, &info));
  CHECK(info.status == MC_ERR_ADDRESS_NOT_REGISTERED, "poll says %s", mc_status_name(info.status));
  for (size_t i = 0; i < COUNT; i++) {
    CHECK_OK(mc_batch_task(engine, batch, i, &task));
    CHECK(task.index == i && task.batch == batch && task.user_data == 1000 + i && task.kind == MC_COMPLETION_REQUEST,
          "task %zu tells of another", i);
    CHECK(task.status == (i == 4 ? MC_ERR_ADDRESS_NOT_REGISTERED : MC_OK), "task %zu: %s", i,
          mc_status_name(task.status));
    CHECK(task.length == (i == 4 ? 0u : (unsigned)LENGTH), "task %zu: %zu bytes", i, (size_t)task.length);
  }
  CHECK_STATUS(MC_ERR_INVALID_ARGUMENT, mc_batch_task(engine, batch, COUNT, &task));
  peer_read(&peer, remote, seen, COUNT * LENGTH);
  CHECK_PATTERN(seen, 4 * LENGTH, 5);
  CHECK_ALL(seen + 4 * LENGTH, LENGTH, 0);
  CHECK(first_difference(seen + 5 * LENGTH, 4 * LENGTH, 5, 5 * LENGTH) == 4 * LENGTH, "the last four did not arrive");
  CHECK_OK(mc_batch_release(engine, batch));
  CHECK_OK(mc_engine_destroy(engine));
  peer_stop(&peer);
  munmap(source, COUNT * LENGTH);
  munmap(seen, COUNT * LENGTH);
}

/* Refused requests name the one that is wrong, and nothing of their batch is done. */
static void a_refused_batch_does_nothing(const path_t *path) {
  enum { LENGTH = 4096 };
  mc_engine_t *engine = engine_with(path->name);
  uint8_t *source = pages(LENGTH), *stranger = pages(LENGTH), *seen = pages(LENGTH);
  mc_request_t requests[3];
  mc_batch_t batch = 0;
  peer_t peer;
  peer_start(&peer, path);
  uint64_t remote = peer_region(&peer, path, LENGTH, 0, NULL);
  registered(engine, source, LENGTH);
  memset(source, 0x44, LENGTH);
  mc_segment_t segment = opened(engine, peer.address);
  for (size_t i = 0; i < 3; i++) requests[i] = request_of(MC_OPCODE_WRITE, segment, remote, source, LENGTH);
  requests[2].local = stranger;
  CHECK_STATUS(MC_ERR_ADDRESS_NOT_REGISTERED, mc_batch_submit(engine, requests, 3, NULL, &batch));
  CHECK(strstr(mc_last_error_message(), "2") != NULL, "\"%s\" does not name request 2", mc_last_error_message());
  requests[2] = requests[0];
  requests[2].length = 0;
  CHECK_STATUS(MC_ERR_INVALID_ARGUMENT, mc_batch_submit(engine, requests, 3, NULL, &batch));
  requests[2] = requests[0];
  requests[2].segment = 0;
  CHECK_STATUS(MC_ERR_INVALID_HANDLE, mc_batch_submit(engine, requests, 3, NULL, &batch));
  CHECK(batch == 0, "an output was written");
  peer_read(&peer, remote, seen, LENGTH);
  CHECK_ALL(seen, LENGTH, 0);
  CHECK(info_of(engine).batch_count == 0, "a refused batch is counted as alive");
  CHECK_OK(mc_engine_destroy(engine));
  peer_stop(&peer);
  munmap(source, LENGTH);
  munmap(stranger, LENGTH);
  munmap(seen, LENGTH);
}

int main(int argc, char **argv) {
  PEER_MAIN(argc, argv);
  hang_guard(240);
  RUN_OVER_PATHS(five_thousand_requests_in_one_batch);
  RUN_OVER_PATHS(one_batch_goes_to_several_segments);
  RUN_OVER_PATHS(a_failing_request_leaves_its_neighbours_alone);
  RUN_OVER_PATHS(a_refused_batch_does_nothing);
  return 0;
}
