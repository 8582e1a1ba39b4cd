/* TensorRT-LLM tells registrations apart by their address alone. Registering again at the same address is no error, and
 * a longer range grows it. */
#include "pair.h"

static void a_longer_range_at_the_same_address_is_all_there(void) {
  pair_t pair = pair_open();
  batch_id_t batch = allocateBatchID(pair.here, 2);
  transfer_request_t one = pair_write(&pair, 0, BLOCK);
  EQUAL(0, unregisterLocalMemory(pair.there, pair.destination));
  EQUAL(0, registerLocalMemory(pair.there, pair.destination, BLOCK / 2, "*", 1));
  EQUAL(0, registerLocalMemory(pair.there, pair.destination, BLOCK, "*", 1));
  EQUAL(0, registerLocalMemory(pair.there, pair.destination, BLOCK / 4, "*", 1));
  EQUAL(0, submitTransfer(pair.here, batch, &one, 1));
  EQUAL(STATUS_COMPLETED, status_of(pair.here, batch, 0));
  /* One call ends it. */
  EQUAL(0, unregisterLocalMemory(pair.there, pair.destination));
  one = pair_write(&pair, 0, 16);
  EQUAL(0, submitTransfer(pair.here, batch, &one, 1));
  EQUAL(STATUS_FAILED, status_of(pair.here, batch, 1));
  pair_close(&pair);
}

static void ranges_may_overlap(void) {
  pair_t pair = pair_open();
  EQUAL(0, registerLocalMemory(pair.here, pair.source + 100, BLOCK - 100, "cpu:0", 1));
  EQUAL(0, unregisterLocalMemory(pair.here, pair.source));
  EQUAL(0, unregisterLocalMemory(pair.here, pair.source + 100));
  pair_close(&pair);
}

static void what_is_no_memory_is_refused(void) {
  pair_t pair = pair_open();
  EQUAL(-1, registerLocalMemory(pair.here, pair.source, 0, "*", 1));
  EQUAL(-1, registerLocalMemory(pair.here, NULL, 10, "*", 1));
  EQUAL(-1, registerLocalMemory(pair.here, pair.source, SIZE_MAX, "*", 1));
  EQUAL(-303, registerLocalMemory(pair.here, (void *)(uintptr_t)0x1000, 10, "*", 1));
  EQUAL(-303, registerLocalMemory(pair.here, pair.source, 10, "cuda:0", 1));
  EQUAL(0, registerLocalMemory(pair.here, pair.source, 10, NULL, 1));
  EQUAL(0, registerLocalMemory(pair.here, pair.source + 64, 10, "segments:4096:0,1,0,1,0,1,0,1,0,1,0,1", 0));
  pair_close(&pair);
}

static void a_batch_is_registered_as_a_whole_or_not_at_all(void) {
  pair_t pair = pair_open();
  static char first[64], second[64];
  buffer_entry_t list[2];
  list[0].addr = first;
  list[0].length = sizeof first;
  list[1].addr = second;
  list[1].length = 0;
  CHECK(registerLocalMemoryBatch(pair.here, list, 2, "*") < 0);
  EQUAL(-3, unregisterLocalMemory(pair.here, first));
  list[1].length = sizeof second;
  EQUAL(0, registerLocalMemoryBatch(pair.here, list, 2, "*"));
  EQUAL(0, unregisterLocalMemory(pair.here, first));
  EQUAL(0, unregisterLocalMemory(pair.here, second));
  EQUAL(0, registerLocalMemoryBatch(pair.here, NULL, 0, "*"));
  CHECK(registerLocalMemoryBatch(pair.here, NULL, 2, "*") < 0);
  pair_close(&pair);
}

int main(void) {
  hang_guard(120);
  RUN(a_longer_range_at_the_same_address_is_all_there);
  RUN(ranges_may_overlap);
  RUN(what_is_no_memory_is_refused);
  RUN(a_batch_is_registered_as_a_whole_or_not_at_all);
  return 0;
}
