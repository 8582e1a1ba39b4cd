/* Two agents in two processes, driven as TensorRT-LLM's wrapper drives this API: an engine by "P2PHANDSHAKE", its address in
 * 64 bytes handed over out of band, memory registered as "*", batches of 1,024, requests with a notification, a poll
 * of every index each millisecond, a sync after each transfer, and messages in base64. */
#include "process.h"

#define BATCH 1024
#define BLOCKS 64
#define BLOCK 4096

static char cache[BLOCKS * BLOCK];

static void encode(const unsigned char *bytes, size_t count, char *out) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  size_t at;
  for (at = 0; at < count; at += 3) {
    unsigned long group = (unsigned long)bytes[at] << 16;
    if (at + 1 < count) group |= (unsigned long)bytes[at + 1] << 8;
    if (at + 2 < count) group |= bytes[at + 2];
    *out++ = digits[group >> 18 & 63];
    *out++ = digits[group >> 12 & 63];
    *out++ = at + 1 < count ? digits[group >> 6 & 63] : '=';
    *out++ = at + 2 < count ? digits[group & 63] : '=';
  }
  *out = 0;
}

/* A sync message may hold any byte, so the wrapper encodes it. */
static void sync_message(char *out) {
  static const unsigned char bytes[] = {0, 1, 2, 0, 255, 254, 'k', 'v', 0, 10};
  encode(bytes, sizeof bytes, out);
}

static transfer_engine_t agent(void) {
  transfer_engine_t engine = createTransferEngine("P2PHANDSHAKE", "127.0.0.1", "", 0, 1);
  registerLocalMemory(engine, cache, sizeof cache, "*", 1);
  return engine;
}

/* The other agent: waits for what it is told, looks at its memory, answers. */
static int decode(void) {
  transfer_engine_t engine = agent();
  char expected[64], word;
  int round;
  sync_message(expected);
  process_greet(engine, cache);
  for (round = 0; round < 20; ++round) {
    int size = 0, index, told = 0;
    while (!told) {
      notify_msg_t *got = getNotifsFromEngine(engine, &size);
      for (index = 0; index < size; ++index) {
        EQUAL(0, strcmp(got[index].name, "prefill"));
        CHECK(strcmp(got[index].msg, expected) == 0 || strcmp(got[index].msg, "written \xfe") == 0);
        told += strcmp(got[index].msg, expected) != 0;
      }
      freeNotifsMsgBuf(got, size);
      pause_ms(1);
    }
    for (index = 0; index < (int)sizeof cache; ++index) EQUAL((char)(round + index / BLOCK), cache[index]);
    write_all(3, "k", 1);
  }
  while (process_told(&word)) {
  }
  unregisterLocalMemory(engine, cache);
  destroyTransferEngine(engine);
  return 0;
}

/* As the wrapper waits: every index in each turn, and nothing but these two statuses ends it. */
static int wait_for(transfer_engine_t engine, batch_id_t batch, size_t count) {
  for (;;) {
    size_t index, done = 0;
    for (index = 0; index < count; ++index) {
      transfer_status_t status;
      if (getTransferStatus(engine, batch, index, &status) != 0 || status.status == STATUS_FAILED) return STATUS_FAILED;
      done += status.status == STATUS_COMPLETED;
    }
    if (done == count) break;
    pause_ms(1);
  }
  freeBatchID(engine, batch);
  syncSegmentCache(engine);
  return STATUS_COMPLETED;
}

static batch_id_t submit(transfer_engine_t engine, int opcode, segment_id_t target, uint64_t remote, const char *told) {
  transfer_request_t requests[BLOCKS];
  batch_id_t batch = allocateBatchID(engine, BATCH);
  int index;
  CHECK(batch != INVALID_BATCH);
  for (index = 0; index < BLOCKS; ++index) {
    requests[index] =
        request(opcode, cache + index * BLOCK, target, (void *)(uintptr_t)(remote + (uint64_t)index * BLOCK), BLOCK);
  }
  if (told == NULL) {
    EQUAL(0, submitTransfer(engine, batch, requests, BLOCKS));
  } else {
    EQUAL(0, submitTransferWithNotify(engine, batch, requests, BLOCKS, message("prefill", told)));
  }
  return batch;
}

int main(int count, char **arguments) {
  process_t peer;
  transfer_engine_t engine;
  char encoded[64], word;
  int round, index;

  hang_guard(240);
  if (count > 1) return (void)arguments, decode();
  peer = process_start("decode");
  engine = agent();
  sync_message(encoded);
  for (round = 0; round < 20; ++round) {
    segment_id_t target = openSegment(engine, peer.greeting.address);
    CHECK(target > 0);
    for (index = 0; index < (int)sizeof cache; ++index) cache[index] = (char)(round + index / BLOCK);
    EQUAL(0, genNotifyInEngine(engine, (uint64_t)target, message("prefill", encoded)));
    EQUAL(STATUS_COMPLETED,
          wait_for(engine, submit(engine, OPCODE_WRITE, target, peer.greeting.memory, "written \xfe"), BLOCKS));
    read_all(peer.out, &word, 1);
    memset(cache, 0, sizeof cache);
    EQUAL(STATUS_COMPLETED, wait_for(engine, submit(engine, OPCODE_READ, target, peer.greeting.memory, NULL), BLOCKS));
    for (index = 0; index < (int)sizeof cache; ++index) EQUAL((char)(round + index / BLOCK), cache[index]);
  }
  /* The other one dies, and comes back at another address. */
  process_kill(&peer);
  EQUAL(STATUS_FAILED, wait_for(engine, submit(engine, OPCODE_READ, 1, peer.greeting.memory, NULL), BLOCKS));
  peer = process_start("decode");
  EQUAL(STATUS_COMPLETED,
        wait_for(engine,
                 submit(engine, OPCODE_READ, openSegment(engine, peer.greeting.address), peer.greeting.memory, NULL),
                 BLOCKS));
  process_kill(&peer);
  destroyTransferEngine(engine);
  return 0;
}
