/* No status but WAITING, COMPLETED and FAILED leaves getTransferStatus(), so why a task failed is told elsewhere: an
 * engine of these names is one of mooncake.h, whose calls have a code and a text. */
#include "pair.h"

#include <mooncake.h>

int main(void) {
  pair_t pair;
  mc_engine_t *native;
  mc_engine_info_t info = mc_engine_info_default();
  mc_segment_t segment;
  mc_batch_t batch;
  mc_request_t one;

  hang_guard(120);
  pair = pair_open();
  native = (mc_engine_t *)pair.here;
  EQUAL(MC_OK, mc_engine_get_info((mc_engine_t *)pair.there, &info));
  EQUAL(MC_OK, mc_segment_open(native, info.address, -1, &segment));
  memset(&one, 0, sizeof one);
  one.opcode = MC_OPCODE_READ;
  one.segment = segment;
  one.remote = (uint64_t)(uintptr_t)pair.destination + BLOCK;
  one.local = pair.source;
  one.length = 16;
  EQUAL(MC_OK, mc_batch_submit(native, &one, 1, NULL, &batch));
  EQUAL(MC_ERR_ADDRESS_NOT_REGISTERED, mc_batch_wait(native, batch, -1, NULL));
  CHECK(strlen(mc_last_error_message()) > 0);
  /* Ids of one API are none of the other. */
  EQUAL(1, freeBatchID(pair.here, batch));
  EQUAL(MC_ERR_INVALID_HANDLE, mc_batch_release(native, allocateBatchID(pair.here, 1)));
  EQUAL(MC_OK, mc_batch_release(native, batch));

  /* A failing call of these names keeps its text too. */
  EQUAL(-3, unregisterLocalMemory(pair.here, &pair));
  CHECK(strstr(mc_last_error_message(), "registered") != NULL);

  /* And an engine of mooncake.h knows these names. */
  EQUAL(MC_OK, mc_engine_create(NULL, &native));
  EQUAL(0, registerLocalMemory(native, pair.source, BLOCK, "*", 1));
  CHECK(allocateBatchID(native, 1) != INVALID_BATCH);
  EQUAL(MC_OK, mc_engine_destroy(native));
  pair_close(&pair);
  return 0;
}
