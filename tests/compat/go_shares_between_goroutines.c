/* Goroutines run on any thread: engine, batches and segments are shared between them, and freed while others use them. */
#include "pair.h"

#include <pthread.h>

#define THREADS 4
#define ROUNDS 200

static pair_t pair;
static batch_id_t shared;
static char address[64];

/* Its own batch in each round, and tasks in one that all of them fill. */
static void *transfer(void *unused) {
  int round;
  (void)unused;
  for (round = 0; round < ROUNDS; ++round) {
    transfer_request_t one = pair_write(&pair, 0, 512);
    transfer_status_t status;
    segment_id_t target = openSegment(pair.here, address);
    batch_id_t batch = allocateBatchID(pair.here, 1);
    EQUAL(pair.target, target);
    EQUAL(0, submitTransferWithNotify(pair.here, batch, &one, 1, message("go", "on")));
    EQUAL(0, submitTransfer(pair.here, shared, &one, 1));
    EQUAL(STATUS_COMPLETED, status_of(pair.here, batch, 0));
    EQUAL(0, getTransferStatus(pair.here, shared, (size_t)round, &status));
    EQUAL(0, freeBatchID(pair.here, batch));
    EQUAL(0, closeSegment(pair.here, target));
    EQUAL(0, syncSegmentCache(pair.here));
  }
  return NULL;
}

static void *receive(void *unused) {
  int received = 0;
  (void)unused;
  while (received < THREADS * ROUNDS) {
    int size = 0;
    notify_msg_t *got = getNotifsFromEngine(pair.there, &size);
    received += size;
    EQUAL(0, freeNotifsMsgBuf(got, size));
    if (got == NULL) pause_ms(1);
  }
  return NULL;
}

static void *free_again_and_again(void *batch) {
  int code;
  while ((code = freeBatchID(pair.here, *(batch_id_t *)batch)) == 4) {
  }
  CHECK(code == 0 || code == 1);
  return NULL;
}

static void everything_is_shared(void) {
  pthread_t threads[THREADS + 1];
  size_t task;
  int index;
  shared = allocateBatchID(pair.here, 1024);
  for (index = 0; index < THREADS; ++index) CHECK(pthread_create(&threads[index], NULL, transfer, NULL) == 0);
  CHECK(pthread_create(&threads[THREADS], NULL, receive, NULL) == 0);
  for (index = 0; index <= THREADS; ++index) pthread_join(threads[index], NULL);
  for (task = 0; task < THREADS * ROUNDS; ++task) EQUAL(STATUS_COMPLETED, status_of(pair.here, shared, task));
  EQUAL(0, freeBatchID(pair.here, shared));
}

static void a_batch_is_freed_once(void) {
  int round, index;
  for (round = 0; round < 50; ++round) {
    pthread_t threads[THREADS];
    transfer_request_t one = pair_write(&pair, 0, BLOCK);
    batch_id_t batch = allocateBatchID(pair.here, 1);
    EQUAL(0, submitTransfer(pair.here, batch, &one, 1));
    for (index = 0; index < THREADS; ++index) {
      CHECK(pthread_create(&threads[index], NULL, free_again_and_again, &batch) == 0);
    }
    for (index = 0; index < THREADS; ++index) pthread_join(threads[index], NULL);
  }
}

int main(void) {
  hang_guard(240);
  pair = pair_open();
  EQUAL(0, getLocalIpAndPort(pair.there, address, sizeof address));
  RUN(everything_is_shared);
  RUN(a_batch_is_freed_once);
  pair_close(&pair);
  return 0;
}
