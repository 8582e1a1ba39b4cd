/* TensorRT-LLM calls syncSegmentCache() after every transfer. It asks no peer, not even one that does not answer, and
 * what a peer registers later is found all the same. */
#include "process.h"

static char block[4096], later[4096];

static int owner(void) {
  char word;
  transfer_engine_t engine = engine_at("127.0.0.1");
  EQUAL(0, registerLocalMemory(engine, block, sizeof block, "*", 1));
  process_greet(engine, block);
  while (process_told(&word)) {
    EQUAL(0, registerLocalMemory(engine, later, sizeof later, "*", 1));
    process_greet(engine, later);
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
  double begin;
  int index;

  hang_guard(180);
  if (count > 1) return (void)arguments, owner();
  peer = process_start("owner");
  engine = engine_at("127.0.0.1");
  EQUAL(0, registerLocalMemory(engine, block, sizeof block, "*", 1));
  target = openSegment(engine, peer.greeting.address);
  CHECK(target > 0);
  batch = allocateBatchID(engine, 1024);
  one = request(OPCODE_READ, block, target, (void *)(uintptr_t)peer.greeting.memory, sizeof block);
  EQUAL(0, submitTransfer(engine, batch, &one, 1));
  EQUAL(STATUS_COMPLETED, status_of(engine, batch, 0));

  process_stop(&peer);
  begin = seconds_now();
  for (index = 0; index < 10000; ++index) EQUAL(0, syncSegmentCache(engine));
  /* 10,000 questions to a peer that is stopped would take hours. */
  CHECK(seconds_now() - begin < 60);
  kill(peer.pid, SIGCONT);

  process_tell(&peer, 'm');
  read_all(peer.out, &peer.greeting, sizeof peer.greeting);
  EQUAL(0, syncSegmentCache(engine));
  one.target_offset = peer.greeting.memory;
  EQUAL(0, submitTransfer(engine, batch, &one, 1));
  EQUAL(STATUS_COMPLETED, status_of(engine, batch, 1));
  EQUAL(0, freeBatchID(engine, batch));
  destroyTransferEngine(engine);
  process_end(&peer);
  return 0;
}
