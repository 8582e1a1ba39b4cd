/* Ten thousand cancels at random moments: is local memory left alone from the end on, and is what is said true? */
#include "fault.h"

enum { CANCELS = 10000, PIECES = 8 };
static const size_t PIECE = 256 << 10;

static uint64_t random_state = 0x9e3779b97f4a7c15ull;
static uint64_t random_below(uint64_t bound) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state % bound;
}

static uint64_t now_ns(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* True if all bytes have this value. */
static bool is_all(const uint8_t *bytes, size_t length, uint8_t value) {
  return bytes[0] == value && memcmp(bytes, bytes + 1, length - 1) == 0;
}

static void ten_thousand_cancels_at_random_moments(void) {
  const path_t *path = &PATHS[3]; /* tcp */
  const size_t room = PIECES * PIECE;
  mc_engine_t *engine = engine_with(path->name);
  uint8_t *local = pages(room), *seen = pages(room);
  mc_request_t requests[PIECES];
  uint64_t middle_ns = 500000; /* where transfers are caught in the middle: found by trying */
  size_t partly = 0, untouched = 0, whole = 0;
  peer_t peer;
  peer_start(&peer, path);
  uint64_t remote = peer_region(&peer, path, room, 0, NULL);
  registered(engine, local, room);
  mc_segment_t segment = opened(engine, peer.address);
  memset(seen, 0xbb, room);
  peer_write(&peer, remote, seen, room);
  uint8_t poison = 0;
  for (int round = 0; round < CANCELS; round++) {
    mc_batch_t batch = 0;
    mc_batch_info_t info = mc_batch_info_default();
    uint64_t start, delay = middle_ns / 4 + random_below(middle_ns * 3 / 2);
    /* Local memory still holds the poison of the round before: nobody touched it after its end. */
    CHECK(round == 0 || is_all(local, room, poison), "round %d: memory was written after its batch had ended", round);
    poison = (uint8_t)(1 + round % 150); /* never 0xbb */
    memset(local, poison, room);
    for (size_t i = 0; i < PIECES; i++)
      requests[i] = request_of(MC_OPCODE_READ, segment, remote + i * PIECE, local + i * PIECE, PIECE);
    start = now_ns();
    CHECK_OK(mc_batch_submit(engine, requests, PIECES, NULL, &batch));
    while (now_ns() - start < delay) {
    }
    CHECK_OK(mc_batch_cancel(engine, batch));
    mc_status_t status = mc_batch_wait(engine, batch, -1, &info);
    CHECK(info.is_done && (status == MC_OK || status == MC_ERR_CANCELED), "round %d: %s", round,
          mc_status_name(status));
    size_t touched = 0;
    for (size_t i = 0; i < PIECES; i++) {
      mc_completion_t task;
      CHECK_OK(mc_batch_task(engine, batch, i, &task));
      CHECK(task.status == MC_OK || task.status == MC_ERR_CANCELED, "%s", mc_status_name(task.status));
      if (task.status == MC_OK)
        CHECK(is_all(local + i * PIECE, PIECE, 0xbb), "round %d: request %zu is done and not whole", round, i);
      for (size_t at = 0; at < PIECE; at += 512) touched += local[i * PIECE + at] != poison;
    }
    partly += touched > 0 && touched < room / 512;
    untouched += touched == 0;
    whole += touched == room / 512;
    if (touched == 0) middle_ns += middle_ns / 32 + 1;
    if (touched == room / 512) middle_ns -= middle_ns / 32;
    CHECK_OK(mc_batch_release(engine, batch));
    memset(local, poison, room); /* watched until the next round */
  }
  printf("  %zu of %d partly transferred, %zu not at all, %zu whole\n", partly, CANCELS, untouched, whole);
  CHECK(partly * 10 >= CANCELS * 3, "only %zu of %d were caught in the middle", partly, CANCELS);
  CHECK_OK(move_bytes(engine, MC_OPCODE_READ, segment, remote, local, room));
  CHECK_OK(mc_engine_destroy(engine));
  peer_stop(&peer);
  munmap(local, room);
  munmap(seen, room);
}

/* Writes: what the caller puts into its memory after the end is never sent, and the peer's memory is final. */
static void a_canceled_write_is_final_at_the_peer(void) {
  const path_t *path = &PATHS[3];
  const size_t room = PIECES * PIECE;
  mc_engine_t *engine = engine_with(path->name);
  uint8_t *local = pages(room), *seen = pages(room), *again = pages(room);
  size_t partly = 0;
  peer_t peer;
  peer_start(&peer, path);
  uint64_t remote = peer_region(&peer, path, room, 0, NULL);
  registered(engine, local, room);
  mc_segment_t segment = opened(engine, peer.address);
  for (int round = 0; round < 500; round++) {
    mc_batch_t batch = 0;
    mc_request_t request = request_of(MC_OPCODE_WRITE, segment, remote, local, room);
    uint8_t sent = (uint8_t)(1 + round % 100);
    memset(local, sent, room);
    CHECK_OK(mc_batch_submit(engine, &request, 1, NULL, &batch));
    uint64_t start = now_ns(), delay = random_below(1000000);
    while (now_ns() - start < delay) {
    }
    CHECK_OK(mc_batch_cancel(engine, batch));
    mc_status_t status = mc_batch_wait(engine, batch, -1, NULL);
    memset(local, 0xee, room); /* never to be seen by the peer */
    CHECK(status == MC_OK || status == MC_ERR_CANCELED, "%s", mc_status_name(status));
    CHECK_OK(mc_batch_release(engine, batch));
    peer_read(&peer, remote, seen, room);
    if (round % 10 == 0) sleep_ms(3);
    peer_read(&peer, remote, again, room);
    CHECK(memcmp(seen, again, room) == 0, "round %d: the peer's memory changed after the end", round);
    CHECK(memchr(seen, 0xee, room) == NULL, "round %d: bytes were read from local memory after the end", round);
    if (status == MC_OK) CHECK(is_all(seen, room, sent), "round %d: done and not whole", round);
    partly += status != MC_OK && memchr(seen, sent, room) != NULL;
  }
  printf("  %zu of 500 writes partly transferred\n", partly);
  CHECK_OK(mc_engine_destroy(engine));
  peer_stop(&peer);
  munmap(local, room);
  munmap(seen, room);
  munmap(again, room);
}

int main(int argc, char **argv) {
  PEER_MAIN(argc, argv);
  hang_guard(400);
  RUN(ten_thousand_cancels_at_random_moments);
  RUN(a_canceled_write_is_final_at_the_peer);
  return 0;
}
