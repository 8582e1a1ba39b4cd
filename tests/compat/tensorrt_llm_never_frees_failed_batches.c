/* TensorRT-LLM frees no batch that failed, and NIXL drops those that are busy. Destroying the engine ends them all, and
 * until then a batch that ended keeps little. */
#include "pair.h"

static size_t resident_bytes(void) {
  unsigned long pages = 0, resident = 0;
  FILE *file = fopen("/proc/self/statm", "r");
  CHECK(file != NULL && fscanf(file, "%lu %lu", &pages, &resident) == 2);
  fclose(file);
  return resident * (size_t)sysconf(_SC_PAGESIZE);
}

static void an_engine_is_destroyed_with_failed_batches(void) {
  pair_t pair = pair_open();
  transfer_request_t one = request(OPCODE_READ, pair.source, pair.target, NULL, 16);
  int index;
  for (index = 0; index < 100; ++index) {
    batch_id_t batch = allocateBatchID(pair.here, 1024);
    EQUAL(0, submitTransfer(pair.here, batch, &one, 1));
    if (index % 2) EQUAL(STATUS_FAILED, status_of(pair.here, batch, 0));
  }
  pair_close(&pair);
}

static void ten_thousand_leaked_batches_keep_little(void) {
  pair_t pair = pair_open();
  transfer_request_t one = pair_write(&pair, 0, 64);
  size_t before = 0;
  int index;
  for (index = 0; index < 11000; ++index) {
    batch_id_t batch = allocateBatchID(pair.here, 1024);
    EQUAL(0, submitTransfer(pair.here, batch, &one, 1));
    EQUAL(STATUS_COMPLETED, status_of(pair.here, batch, 0));
    if (index == 1000) before = resident_bytes();
  }
  /* Far below what a batch takes while it runs; sanitizers take more for all that is freed. */
  CHECK(resident_bytes() < before + 64u * 1024 * 1024);
  pair_close(&pair);
}

static void an_engine_is_destroyed_while_batches_run(void) {
  pair_t pair = pair_open();
  transfer_request_t requests[64];
  int index, round;
  for (index = 0; index < 64; ++index) requests[index] = pair_write(&pair, 0, BLOCK);
  for (round = 0; round < 32; ++round)
    EQUAL(0, submitTransfer(pair.here, allocateBatchID(pair.here, 64), requests, 64));
  pair_close(&pair);
}

int main(void) {
  hang_guard(240);
  RUN(an_engine_is_destroyed_with_failed_batches);
  RUN(ten_thousand_leaked_batches_keep_little);
  RUN(an_engine_is_destroyed_while_batches_run);
  return 0;
}
