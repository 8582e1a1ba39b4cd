/* TensorRT-LLM encodes its own messages in base64, but not those that it attaches to a transfer. Both arrive byte by
 * byte, whatever their length, with nothing added or taken away. */
#include "pair.h"

static void expect(transfer_engine_t engine, const char *name, const char *text) {
  int size = 0;
  notify_msg_t *got = getNotifsFromEngine(engine, &size);
  EQUAL(1, size);
  CHECK(got != NULL);
  EQUAL(0, strcmp(name, got->name));
  EQUAL(0, strcmp(text, got->msg));
  EQUAL(0, freeNotifsMsgBuf(got, size));
}

static void every_byte_arrives(void) {
  pair_t pair = pair_open();
  char all[256], *large = (char *)malloc((1 << 20) + 1);
  int index;
  for (index = 1; index < 256; ++index) all[index - 1] = (char)index;
  all[255] = 0;
  memset(large, 'l', 1 << 20);
  large[1 << 20] = 0;

  EQUAL(0, genNotifyInEngine(pair.here, (uint64_t)pair.target, message("agent", all)));
  expect(pair.there, "agent", all);
  EQUAL(0, genNotifyInEngine(pair.here, (uint64_t)pair.target, message("agent", large)));
  expect(pair.there, "agent", large);
  EQUAL(0, genNotifyInEngine(pair.here, (uint64_t)pair.target, message("", "")));
  expect(pair.there, "", "");
  EQUAL(0, genNotifyInEngine(pair.here, (uint64_t)pair.target, message(NULL, NULL)));
  expect(pair.there, "", "");
  EQUAL(0, genNotifyInEngine(pair.here, LOCAL_SEGMENT, message("me", "myself")));
  expect(pair.here, "me", "myself");

  CHECK(genNotifyInEngine(pair.here, 77, message("a", "b")) < 0);
  CHECK(genNotifyInEngine(pair.here, UINT64_MAX, message("a", "b")) < 0);
  free(large);
  pair_close(&pair);
}

static void they_arrive_in_order_and_are_taken_at_once(void) {
  pair_t pair = pair_open();
  char text[16];
  notify_msg_t *got;
  int index, size = 0;
  for (index = 0; index < 100; ++index) {
    snprintf(text, sizeof text, "%d", index);
    EQUAL(0, genNotifyInEngine(pair.here, (uint64_t)pair.target, message("n", text)));
  }
  got = getNotifsFromEngine(pair.there, &size);
  EQUAL(100, size);
  for (index = 0; index < size; ++index) EQUAL(index, atoi(got[index].msg));
  EQUAL(0, freeNotifsMsgBuf(got, size));
  CHECK(getNotifsFromEngine(pair.there, &size) == NULL);
  EQUAL(0, size);
  pair_close(&pair);
}

static void one_with_a_transfer_is_sent_without_any_poll(void) {
  pair_t pair = pair_open();
  transfer_request_t one = pair_write(&pair, 0, BLOCK);
  batch_id_t batch = allocateBatchID(pair.here, 1024);
  notify_msg_t *got = NULL;
  int size = 0;
  EQUAL(0, submitTransferWithNotify(pair.here, batch, &one, 1, message("agent", "raw\xff\x01")));
  while (got == NULL) {
    got = getNotifsFromEngine(pair.there, &size);
    pause_ms(1);
  }
  EQUAL(1, size);
  EQUAL(0, strcmp("raw\xff\x01", got->msg));
  /* Whoever is told finds the bytes. */
  EQUAL(0, memcmp(pair.source, pair.destination, BLOCK));
  EQUAL(0, freeNotifsMsgBuf(got, size));
  EQUAL(STATUS_COMPLETED, status_of(pair.here, batch, 0));
  pair_close(&pair);
}

static void a_completed_batch_was_told_of(void) {
  pair_t pair = pair_open();
  transfer_request_t two[2];
  int round, size = 0;
  two[0] = pair_write(&pair, 0, 100);
  two[1] = pair_write(&pair, 100, BLOCK - 100);
  for (round = 0; round < 200; ++round) {
    batch_id_t batch = allocateBatchID(pair.here, 1024);
    EQUAL(0, submitTransferWithNotify(pair.here, batch, two, 2, message("agent", "done")));
    EQUAL(STATUS_COMPLETED, status_of(pair.here, batch, 0));
    EQUAL(STATUS_COMPLETED, status_of(pair.here, batch, 1));
    expect(pair.there, "agent", "done");
    EQUAL(0, freeBatchID(pair.here, batch));
  }
  CHECK(getNotifsFromEngine(pair.there, &size) == NULL);
  pair_close(&pair);
}

static void nobody_is_told_of_a_failure(void) {
  pair_t pair = pair_open();
  transfer_request_t two[2];
  batch_id_t batch = allocateBatchID(pair.here, 1024);
  int size = 0;
  two[0] = pair_write(&pair, 0, 100);
  two[1] = request(OPCODE_WRITE, pair.source, pair.target, NULL, 16);
  EQUAL(0, submitTransferWithNotify(pair.here, batch, two, 2, message("agent", "done")));
  EQUAL(STATUS_FAILED, status_of(pair.here, batch, 1));
  EQUAL(STATUS_COMPLETED, status_of(pair.here, batch, 0));
  pause_ms(100);
  CHECK(getNotifsFromEngine(pair.there, &size) == NULL);
  /* Nor of a later success in the same batch. */
  EQUAL(0, submitTransferWithNotify(pair.here, batch, two, 1, message("agent", "done")));
  EQUAL(STATUS_COMPLETED, status_of(pair.here, batch, 2));
  pause_ms(100);
  CHECK(getNotifsFromEngine(pair.there, &size) == NULL);
  /* Without a transfer there is nobody to tell. */
  EQUAL(1, submitTransferWithNotify(pair.here, batch, NULL, 0, message("agent", "done")));
  pair_close(&pair);
}

static void an_empty_transfer_carries_its_notification(void) {
  pair_t pair = pair_open();
  transfer_request_t none = pair_write(&pair, 0, 0);
  batch_id_t batch = allocateBatchID(pair.here, 1);
  EQUAL(0, submitTransferWithNotify(pair.here, batch, &none, 1, message("agent", "failed")));
  EQUAL(STATUS_COMPLETED, status_of(pair.here, batch, 0));
  expect(pair.there, "agent", "failed");
  pair_close(&pair);
}

int main(void) {
  hang_guard(180);
  RUN(every_byte_arrives);
  RUN(they_arrive_in_order_and_are_taken_at_once);
  RUN(one_with_a_transfer_is_sent_without_any_poll);
  RUN(a_completed_batch_was_told_of);
  RUN(nobody_is_told_of_a_failure);
  RUN(an_empty_transfer_carries_its_notification);
  return 0;
}
