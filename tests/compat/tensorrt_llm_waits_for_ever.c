/* TensorRT-LLM's wait takes anything but COMPLETED and FAILED for "not done yet", so a failure that is told in another
 * way hangs it. Whatever goes wrong, the task ends as FAILED. */
#include "pair.h"

static void an_address_that_the_peer_does_not_offer_is_failed(void) {
  pair_t pair = pair_open();
  batch_id_t batch = allocateBatchID(pair.here, 1024);
  transfer_request_t one = request(OPCODE_READ, pair.source, pair.target, pair.destination + BLOCK, 16);
  EQUAL(0, submitTransfer(pair.here, batch, &one, 1));
  EQUAL(STATUS_FAILED, status_of(pair.here, batch, 0));
  EQUAL(STATUS_FAILED, status_of(pair.here, batch, 0));
  EQUAL(0, freeBatchID(pair.here, batch));
  pair_close(&pair);
}

static void memory_that_was_taken_back_is_failed(void) {
  pair_t pair = pair_open();
  batch_id_t batch = allocateBatchID(pair.here, 1024);
  transfer_request_t one = pair_write(&pair, 0, 16);
  EQUAL(0, unregisterLocalMemory(pair.there, pair.destination));
  EQUAL(0, submitTransfer(pair.here, batch, &one, 1));
  EQUAL(STATUS_FAILED, status_of(pair.here, batch, 0));
  EQUAL(0, pair.destination[0]);
  pair_close(&pair);
}

static void a_peer_that_is_gone_is_failed(void) {
  pair_t pair = pair_open();
  batch_id_t batch = allocateBatchID(pair.here, 1024);
  transfer_request_t one = pair_write(&pair, 0, 16);
  destroyTransferEngine(pair.there);
  pair.there = NULL;
  EQUAL(0, submitTransfer(pair.here, batch, &one, 1));
  EQUAL(STATUS_FAILED, status_of(pair.here, batch, 0));
  pair_close(&pair);
}

static void one_failed_task_does_not_touch_the_others(void) {
  pair_t pair = pair_open();
  batch_id_t batch = allocateBatchID(pair.here, 1024);
  transfer_request_t three[3];
  three[0] = pair_write(&pair, 0, 16);
  three[1] = request(OPCODE_WRITE, pair.source, pair.target, NULL, 16);
  three[2] = pair_write(&pair, 32, 16);
  EQUAL(0, submitTransfer(pair.here, batch, three, 3));
  EQUAL(STATUS_COMPLETED, status_of(pair.here, batch, 2));
  EQUAL(STATUS_FAILED, status_of(pair.here, batch, 1));
  EQUAL(STATUS_COMPLETED, status_of(pair.here, batch, 0));
  EQUAL('s', pair.destination[32]);
  EQUAL(0, freeBatchID(pair.here, batch));
  pair_close(&pair);
}

int main(void) {
  hang_guard(240);
  RUN(an_address_that_the_peer_does_not_offer_is_failed);
  RUN(memory_that_was_taken_back_is_failed);
  RUN(a_peer_that_is_gone_is_failed);
  RUN(one_failed_task_does_not_touch_the_others);
  return 0;
}
