/* TensorRT-LLM counts its registrations from 0, so that memory registered once is never unregistered, and memory
 * registered twice is unregistered at the first of two. Too late, too early, never and unknown are all harmless. */
#include "pair.h"

static void what_is_unknown_is_an_error_code(void) {
  static char memory[64];
  void *addresses[2];
  pair_t pair = pair_open();
  EQUAL(-3, unregisterLocalMemory(pair.here, memory));
  EQUAL(-3, unregisterLocalMemory(pair.here, NULL));
  EQUAL(-3, unregisterLocalMemory(pair.here, pair.source + 1));
  addresses[0] = memory;
  addresses[1] = pair.source;
  /* It goes on after the first failure. */
  EQUAL(-3, unregisterLocalMemoryBatch(pair.here, addresses, 2));
  EQUAL(-3, unregisterLocalMemory(pair.here, pair.source));
  EQUAL(0, unregisterLocalMemoryBatch(pair.here, NULL, 0));
  CHECK(unregisterLocalMemoryBatch(pair.here, NULL, 1) < 0);
  pair_close(&pair);
}

static void twice_registered_is_once_registered(void) {
  pair_t pair = pair_open();
  batch_id_t batch = allocateBatchID(pair.here, 1);
  transfer_request_t one = pair_write(&pair, 0, 16);
  EQUAL(0, registerLocalMemory(pair.there, pair.destination, BLOCK, "*", 1));
  EQUAL(0, unregisterLocalMemory(pair.there, pair.destination));
  EQUAL(0, submitTransfer(pair.here, batch, &one, 1));
  EQUAL(STATUS_FAILED, status_of(pair.here, batch, 0));
  EQUAL(-3, unregisterLocalMemory(pair.there, pair.destination));
  EQUAL(0, registerLocalMemory(pair.there, pair.destination, BLOCK, "*", 1));
  EQUAL(0, submitTransfer(pair.here, batch, &one, 1));
  EQUAL(STATUS_COMPLETED, status_of(pair.here, batch, 1));
  pair_close(&pair);
}

static void never_is_harmless(void) {
  /* pair_close() destroys both engines with what they have registered. */
  pair_t pair = pair_open();
  pair_close(&pair);
}

int main(void) {
  hang_guard(120);
  RUN(what_is_unknown_is_an_error_code);
  RUN(twice_registered_is_once_registered);
  RUN(never_is_harmless);
  return 0;
}
