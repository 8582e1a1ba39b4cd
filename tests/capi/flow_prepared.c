/* Does a prepared batch do the same again with each post, and refuse what cannot be posted? */
#include "peer.h"

enum { COUNT = 16, LENGTH = 1000 };

static void each_post_moves_what_is_there_then(const path_t *path) {
  mc_engine_t *engine = engine_with(path->name);
  uint8_t *source = pages(COUNT * LENGTH), *seen = pages(COUNT * LENGTH);
  mc_request_t requests[COUNT];
  mc_batch_t batch = 0;
  mc_batch_info_t info = mc_batch_info_default();
  peer_t peer;
  peer_start(&peer, path);
  uint64_t remote = peer_region(&peer, path, COUNT * LENGTH, 0, NULL);
  registered(engine, source, COUNT * LENGTH);
  mc_segment_t segment = opened(engine, peer.address);
  for (size_t i = 0; i < COUNT; i++)
    requests[i] = request_of(MC_OPCODE_WRITE, segment, remote + i * LENGTH, source + i * LENGTH, LENGTH);
  fill_pattern(source, COUNT * LENGTH, 1);
  CHECK_OK(mc_batch_prepare(engine, requests, COUNT, NULL, &batch));
  peer_read(&peer, remote, seen, COUNT * LENGTH);
  CHECK_ALL(seen, COUNT * LENGTH, 0);
  memset(requests, 0xff, sizeof requests); /* they were copied */
  for (uint64_t round = 0; round < 200; round++) {
    fill_pattern(source, COUNT * LENGTH, round);
    CHECK_OK(mc_batch_post(engine, batch));
    CHECK_OK(mc_batch_wait(engine, batch, -1, &info));
    CHECK(info.is_done && info.request_count == COUNT && info.completed_count == COUNT && info.failed_count == 0 &&
              info.completed_bytes == COUNT * LENGTH,
          "round %zu: %zu requests completed", (size_t)round, (size_t)info.completed_count);
    peer_read(&peer, remote, seen, COUNT * LENGTH);
    CHECK_PATTERN(seen, COUNT * LENGTH, round);
  }
  CHECK_OK(mc_batch_release(engine, batch));
  CHECK_STATUS(MC_ERR_INVALID_HANDLE, mc_batch_post(engine, batch));
  CHECK_OK(mc_engine_destroy(engine));
  peer_stop(&peer);
  munmap(source, COUNT * LENGTH);
  munmap(seen, COUNT * LENGTH);
}

static void prepared_spans_are_copied_too(const path_t *path) {
  mc_engine_t *engine = engine_with(path->name);
  uint8_t *source = pages(2 * LENGTH), *seen = pages(2 * LENGTH);
  mc_span_t spans[2];
  mc_batch_t batch = 0;
  peer_t peer;
  peer_start(&peer, path);
  uint64_t remote = peer_region(&peer, path, 2 * LENGTH, 0, NULL);
  registered(engine, source, 2 * LENGTH);
  mc_request_t request = request_of(MC_OPCODE_WRITE, opened(engine, peer.address), remote, NULL, 2 * LENGTH);
  request.spans = spans;
  request.span_count = 2;
  spans[0].address = source + LENGTH; /* the pieces change places on their way */
  spans[0].length = LENGTH;
  spans[1].address = source;
  spans[1].length = LENGTH;
  CHECK_OK(mc_batch_prepare(engine, &request, 1, NULL, &batch));
  memset(spans, 0xff, sizeof spans);
  fill_pattern(source + LENGTH, LENGTH, 8);
  for (int round = 0; round < 3; round++) {
    CHECK_OK(mc_batch_post(engine, batch));
    CHECK_OK(mc_batch_wait(engine, batch, -1, NULL));
  }
  peer_read(&peer, remote, seen, 2 * LENGTH);
  CHECK_PATTERN(seen, LENGTH, 8);
  CHECK_ALL(seen + LENGTH, LENGTH, 0);
  CHECK_OK(mc_batch_release(engine, batch));
  CHECK_OK(mc_engine_destroy(engine));
  peer_stop(&peer);
  munmap(source, 2 * LENGTH);
  munmap(seen, 2 * LENGTH);
}

/* A submitted batch is no prepared one; a prepared one that was not posted is not under way. */
static void only_prepared_batches_are_posted(void) {
  mc_engine_t *engine = engine_with("local");
  uint8_t *memory = pages(2 * LENGTH);
  mc_batch_t submitted = 0, prepared = 0;
  mc_batch_info_t info = mc_batch_info_default();
  registered(engine, memory, 2 * LENGTH);
  mc_request_t request =
      request_of(MC_OPCODE_WRITE, local_segment(engine), (uint64_t)(uintptr_t)memory + LENGTH, memory, LENGTH);
  CHECK_OK(mc_batch_submit(engine, &request, 1, NULL, &submitted));
  CHECK_OK(mc_batch_wait(engine, submitted, -1, NULL));
  CHECK_STATUS(MC_ERR_INVALID_STATE, mc_batch_post(engine, submitted));
  CHECK_OK(mc_batch_release(engine, submitted));
  CHECK_OK(mc_batch_prepare(engine, &request, 1, NULL, &prepared));
  CHECK_OK(mc_engine_drain(engine, 0));
  CHECK_OK(mc_batch_poll(engine, prepared, &info));
  CHECK(info.completed_count == 0 && info.failed_count == 0 && info.status == MC_OK, "it was never posted");
  CHECK_OK(mc_batch_release(engine, prepared));
  CHECK_OK(mc_engine_destroy(engine));
  munmap(memory, 2 * LENGTH);
}

/* The completions of every post reach the queue, with the user_data of each request. */
static void each_post_delivers_its_completions(const path_t *path) {
  mc_engine_t *engine = engine_with(path->name);
  uint8_t *source = pages(COUNT * LENGTH);
  mc_request_t requests[COUNT];
  mc_completion_t completions[COUNT];
  mc_batch_options_t options = mc_batch_options_default();
  mc_batch_t batch = 0;
  peer_t peer;
  peer_start(&peer, path);
  uint64_t remote = peer_region(&peer, path, COUNT * LENGTH, 0, NULL);
  registered(engine, source, COUNT * LENGTH);
  mc_segment_t segment = opened(engine, peer.address);
  for (size_t i = 0; i < COUNT; i++) {
    requests[i] = request_of(MC_OPCODE_READ, segment, remote + i * LENGTH, source + i * LENGTH, LENGTH);
    requests[i].user_data = i;
  }
  CHECK_OK(mc_cq_create(engine, NULL, &options.cq));
  CHECK_OK(mc_batch_prepare(engine, requests, COUNT, &options, &batch));
  for (int round = 0; round < 50; round++) {
    uint64_t seen = 0;
    CHECK_OK(mc_batch_post(engine, batch));
    for (size_t have = 0; have < COUNT;) {
      size_t count = 0;
      CHECK_OK(mc_cq_wait(engine, options.cq, -1, completions, COUNT, &count));
      for (size_t i = 0; i < count; i++) {
        CHECK_OK(completions[i].status);
        CHECK(completions[i].index == completions[i].user_data && completions[i].batch == batch, "a stranger came");
        seen |= 1ull << completions[i].index;
      }
      have += count;
    }
    CHECK(seen == (1ull << COUNT) - 1, "round %d: not each request completed once", round);
    CHECK_OK(mc_batch_wait(engine, batch, -1, NULL));
  }
  CHECK_OK(mc_batch_release(engine, batch));
  CHECK_OK(mc_engine_destroy(engine));
  peer_stop(&peer);
  munmap(source, COUNT * LENGTH);
}

int main(int argc, char **argv) {
  PEER_MAIN(argc, argv);
  hang_guard(240);
  RUN_OVER_PATHS(each_post_moves_what_is_there_then);
  RUN_OVER_PATHS(prepared_spans_are_copied_too);
  RUN(only_prepared_batches_are_posted);
  RUN_OVER_PATHS(each_post_delivers_its_completions);
  return 0;
}
