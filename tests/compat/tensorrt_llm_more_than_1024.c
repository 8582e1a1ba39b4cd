/* TensorRT-LLM and NIXL always ask for room for 1,024 and then submit what they have. The size is a hint: tasks are
 * counted on through all submits of a batch. */
#include "pair.h"

#define COUNT 5000

static void five_thousand_requests_fit_into_a_batch_of_1024(void) {
  pair_t pair = pair_open();
  transfer_request_t *requests = (transfer_request_t *)calloc(COUNT, sizeof *requests);
  batch_id_t batch = allocateBatchID(pair.here, 1024);
  transfer_status_t status;
  size_t index;
  for (index = 0; index < COUNT; ++index) requests[index] = pair_write(&pair, index * 13, 13);
  EQUAL(0, submitTransfer(pair.here, batch, requests, COUNT));
  for (index = 0; index < COUNT; ++index) EQUAL(STATUS_COMPLETED, status_of(pair.here, batch, index));
  EQUAL(0, getTransferStatus(pair.here, batch, COUNT - 1, &status));
  EQUAL(13, status.transferred_bytes);
  EQUAL(1, getTransferStatus(pair.here, batch, COUNT, &status));
  EQUAL(0, memcmp(pair.source, pair.destination, COUNT * 13));
  EQUAL(0, freeBatchID(pair.here, batch));
  free(requests);
  pair_close(&pair);
}

static void several_submits_count_their_tasks_on(void) {
  pair_t pair = pair_open();
  batch_id_t batch = allocateBatchID(pair.here, 1);
  transfer_request_t two[2];
  transfer_status_t status;
  int post;
  for (post = 0; post < 10; ++post) {
    two[0] = pair_write(&pair, (size_t)post * 100, 60);
    two[1] = pair_write(&pair, (size_t)post * 100 + 60, 40);
    EQUAL(0, submitTransfer(pair.here, batch, two, 2));
  }
  for (post = 0; post < 10; ++post) {
    EQUAL(STATUS_COMPLETED, status_of(pair.here, batch, (size_t)post * 2));
    EQUAL(0, getTransferStatus(pair.here, batch, (size_t)post * 2, &status));
    EQUAL(60, status.transferred_bytes);
    EQUAL(STATUS_COMPLETED, status_of(pair.here, batch, (size_t)post * 2 + 1));
    EQUAL(0, getTransferStatus(pair.here, batch, (size_t)post * 2 + 1, &status));
    EQUAL(40, status.transferred_bytes);
  }
  EQUAL(1, getTransferStatus(pair.here, batch, 20, &status));
  EQUAL(0, memcmp(pair.source, pair.destination, 1000));
  EQUAL(0, freeBatchID(pair.here, batch));
  pair_close(&pair);
}

static void a_batch_of_none_takes_some(void) {
  pair_t pair = pair_open();
  batch_id_t batch = allocateBatchID(pair.here, 0);
  transfer_request_t one = pair_write(&pair, 0, BLOCK);
  CHECK(batch != INVALID_BATCH);
  EQUAL(0, submitTransfer(pair.here, batch, NULL, 0));
  EQUAL(0, submitTransfer(pair.here, batch, &one, 1));
  EQUAL(STATUS_COMPLETED, status_of(pair.here, batch, 0));
  EQUAL(0, freeBatchID(pair.here, batch));
  pair_close(&pair);
}

static void an_empty_transfer_is_done_and_keeps_its_place(void) {
  pair_t pair = pair_open();
  batch_id_t batch = allocateBatchID(pair.here, 3);
  transfer_request_t three[3];
  transfer_status_t status;
  three[0] = pair_write(&pair, 0, 10);
  three[1] = pair_write(&pair, 10, 0);
  three[2] = pair_write(&pair, 20, 30);
  EQUAL(0, submitTransfer(pair.here, batch, three, 3));
  EQUAL(STATUS_COMPLETED, status_of(pair.here, batch, 1));
  EQUAL(STATUS_COMPLETED, status_of(pair.here, batch, 2));
  EQUAL(0, getTransferStatus(pair.here, batch, 2, &status));
  EQUAL(30, status.transferred_bytes);
  EQUAL(STATUS_COMPLETED, status_of(pair.here, batch, 0));
  EQUAL(0, freeBatchID(pair.here, batch));
  pair_close(&pair);
}

int main(void) {
  hang_guard(180);
  RUN(five_thousand_requests_fit_into_a_batch_of_1024);
  RUN(several_submits_count_their_tasks_on);
  RUN(a_batch_of_none_takes_some);
  RUN(an_empty_transfer_is_done_and_keeps_its_place);
  return 0;
}
