/* NIXL, and TensorRT-LLM's isCompleted(), take every status but WAITING, PENDING and FAILED for success. With
 * MC_SLICE_TIMEOUT Mooncake says TIMEOUT of a task that may still end either way. Here the limit ends the task, as
 * FAILED, and nothing but WAITING was said before. */
#include "process.h"

static char block[4096];

static int owner(void) {
  char word;
  transfer_engine_t engine = engine_at("127.0.0.1");
  EQUAL(0, registerLocalMemory(engine, block, sizeof block, "*", 1));
  process_greet(engine, block);
  while (process_told(&word)) {
  }
  destroyTransferEngine(engine);
  return 0;
}

int main(int count, char **arguments) {
  process_t peer;
  transfer_engine_t engine;
  segment_id_t target;
  batch_id_t batch;
  transfer_request_t one;
  transfer_status_t status;

  hang_guard(240);
  setenv("MC_FORCE_TCP", "1", 1);
  if (count > 1) return (void)arguments, owner();

  setenv("MC_SLICE_TIMEOUT", "2", 1);
  peer = process_start("owner");
  engine = engine_at("127.0.0.1");
  EQUAL(0, registerLocalMemory(engine, block, sizeof block, "*", 1));
  target = openSegment(engine, peer.greeting.address);
  CHECK(target > 0);

  process_stop(&peer);
  batch = allocateBatchID(engine, 1024);
  one = request(OPCODE_READ, block, target, (void *)(uintptr_t)peer.greeting.memory, sizeof block);
  EQUAL(0, submitTransfer(engine, batch, &one, 1));
  EQUAL(0, getTransferStatus(engine, batch, 0, &status));
  EQUAL(STATUS_WAITING, status.status);
  EQUAL(STATUS_FAILED, status_of(engine, batch, 0));
  /* It is terminal: it does not turn into another one when the peer wakes. */
  kill(peer.pid, SIGCONT);
  pause_ms(200);
  EQUAL(STATUS_FAILED, status_of(engine, batch, 0));
  EQUAL(0, freeBatchID(engine, batch));

  batch = allocateBatchID(engine, 1024);
  EQUAL(0, submitTransfer(engine, batch, &one, 1));
  EQUAL(STATUS_COMPLETED, status_of(engine, batch, 0));
  destroyTransferEngine(engine);
  process_end(&peer);
  return 0;
}
