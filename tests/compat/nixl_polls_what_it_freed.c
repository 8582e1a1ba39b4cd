/* NIXL polls batches that it freed, and frees those that run. Ids that are stale, foreign, or INVALID_BATCH are an error
 * code, and nothing that was freed leaks. */
#include "pair.h"

static void an_id_that_is_none_is_an_error(void) {
  pair_t pair = pair_open();
  batch_id_t batch = allocateBatchID(pair.here, 16), foreign = allocateBatchID(pair.there, 16);
  transfer_request_t one = pair_write(&pair, 0, 16);
  batch_id_t wrong[6];
  transfer_status_t status;
  size_t index;
  EQUAL(0, submitTransfer(pair.here, batch, &one, 1));
  EQUAL(STATUS_COMPLETED, status_of(pair.here, batch, 0));
  EQUAL(0, freeBatchID(pair.here, batch));
  wrong[0] = batch;
  wrong[1] = INVALID_BATCH;
  wrong[2] = 0;
  wrong[3] = foreign;
  wrong[4] = (batch_id_t)(uintptr_t)&pair;
  wrong[5] = UINT64_MAX / 2;
  for (index = 0; index < sizeof wrong / sizeof *wrong; ++index) {
    status.status = 77;
    EQUAL(1, getTransferStatus(pair.here, wrong[index], 0, &status));
    EQUAL(77, status.status);
    EQUAL(1, submitTransfer(pair.here, wrong[index], &one, 1));
    EQUAL(1, submitTransferWithNotify(pair.here, wrong[index], &one, 1, message("a", "b")));
    EQUAL(1, freeBatchID(pair.here, wrong[index]));
  }
  pair_close(&pair);
}

static void arguments_that_are_none_are_an_error(void) {
  pair_t pair = pair_open();
  batch_id_t batch = allocateBatchID(pair.here, 16);
  transfer_request_t one = pair_write(&pair, 0, 16);
  transfer_status_t status;
  EQUAL(1, submitTransfer(pair.here, batch, NULL, 1));
  EQUAL(1, submitTransferWithNotify(pair.here, batch, NULL, 1, message("a", "b")));
  one.opcode = 2;
  EQUAL(1, submitTransfer(pair.here, batch, &one, 1));
  one.opcode = -1;
  EQUAL(1, submitTransfer(pair.here, batch, &one, 1));
  one = pair_write(&pair, 0, 16);
  one.target_id = 99;
  EQUAL(1, submitTransfer(pair.here, batch, &one, 1));
  one.target_id = -1;
  EQUAL(1, submitTransfer(pair.here, batch, &one, 1));
  one = pair_write(&pair, 0, 16);
  one.source = NULL;
  CHECK(submitTransfer(pair.here, batch, &one, 1) > 0);
  one = pair_write(&pair, 0, UINT64_MAX);
  CHECK(submitTransfer(pair.here, batch, &one, 1) > 0);
  /* Of a submit that failed there is nothing: the next one begins at 0. */
  EQUAL(1, getTransferStatus(pair.here, batch, 0, &status));
  one = pair_write(&pair, 0, 16);
  EQUAL(0, submitTransfer(pair.here, batch, &one, 1));
  EQUAL(STATUS_COMPLETED, status_of(pair.here, batch, 0));
  EQUAL(1, getTransferStatus(pair.here, batch, 0, NULL));
  EQUAL(1, getTransferStatus(pair.here, batch, SIZE_MAX, &status));
  pair_close(&pair);
}

static void a_batch_is_freed_without_a_poll(void) {
  pair_t pair = pair_open();
  transfer_request_t one = pair_write(&pair, 0, BLOCK);
  int round;
  for (round = 0; round < 200; ++round) {
    batch_id_t batch = allocateBatchID(pair.here, 1);
    int code;
    EQUAL(0, submitTransfer(pair.here, batch, &one, 1));
    while ((code = freeBatchID(pair.here, batch)) == 4) pause_ms(1);
    EQUAL(0, code);
  }
  EQUAL(0, memcmp(pair.source, pair.destination, BLOCK));
  EQUAL(0, freeBatchID(pair.here, allocateBatchID(pair.here, 1024)));
  pair_close(&pair);
}

/* A long copy is under way when freeBatchID() is first called, and then called until it is not busy any more. */
static void a_batch_that_was_busy_is_freed_by_who_asks_again(void) {
  enum { LARGE = 64 << 20, ROUNDS = 20 };
  pair_t pair = pair_open();
  char *memory = (char *)calloc(2, LARGE);
  transfer_request_t one;
  int round, busy = 0;
  CHECK(memory != NULL);
  EQUAL(0, registerLocalMemory(pair.here, memory, 2 * (size_t)LARGE, "cpu:0", 1));
  memset(&one, 0, sizeof one);
  one.opcode = OPCODE_WRITE;
  one.source = memory;
  one.target_id = LOCAL_SEGMENT;
  one.target_offset = (uint64_t)(uintptr_t)(memory + LARGE);
  one.length = LARGE;
  for (round = 0; round < ROUNDS && busy == 0; ++round) {
    batch_id_t batch = allocateBatchID(pair.here, 1);
    int code;
    EQUAL(0, submitTransfer(pair.here, batch, &one, 1));
    while ((code = freeBatchID(pair.here, batch)) == 4) ++busy;
    EQUAL(0, code);
  }
  CHECK(busy > 0);
  EQUAL(0, unregisterLocalMemory(pair.here, memory));
  pair_close(&pair);
  free(memory);
}

int main(void) {
  hang_guard(180);
  RUN(an_id_that_is_none_is_an_error);
  RUN(arguments_that_are_none_are_an_error);
  RUN(a_batch_is_freed_without_a_poll);
  RUN(a_batch_that_was_busy_is_freed_by_who_asks_again);
  return 0;
}
