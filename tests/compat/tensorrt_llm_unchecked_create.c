/* TensorRT-LLM does not look whether createTransferEngine() gave it an engine. Every function takes NULL, and anything
 * else that is no engine, and says so in the sign of its family. */
#include "check.h"

static int is_untouched(const transfer_status_t *status) {
  return status->status == 77 && status->transferred_bytes == 77;
}

static void every_function_refuses(transfer_engine_t engine) {
  char text[64] = "unchanged";
  static char memory[64];
  void *list[1];
  buffer_entry_t entry;
  nic_load_stat_t stats[1];
  transfer_status_t status;
  transfer_request_t one = request(OPCODE_WRITE, memory, 1, memory, sizeof memory);
  size_t count = 1;
  int size = 1000;

  status.status = 77;
  status.transferred_bytes = 77;
  list[0] = memory;
  entry.addr = memory;
  entry.length = sizeof memory;

  CHECK(discoverTopology(engine) < 0);
  CHECK(getLocalIpAndPort(engine, text, sizeof text) < 0);
  EQUAL(0, strlen(text));
  CHECK(installTransport(engine, "tcp", NULL) == NULL);
  CHECK(uninstallTransport(engine, "tcp") < 0);
  EQUAL(-1, openSegment(engine, "127.0.0.1:1"));
  CHECK(openSegmentNoCache(engine, "127.0.0.1:1") < 0);
  CHECK(closeSegment(engine, 1) < 0);
  CHECK(removeLocalSegment(engine, "127.0.0.1:1") < 0);
  CHECK(warmupEfaSegment(engine, NULL) < 0);
  CHECK(syncSegmentCache(engine) < 0);
  CHECK(registerLocalMemory(engine, memory, sizeof memory, "*", 1) < 0);
  CHECK(unregisterLocalMemory(engine, memory) < 0);
  CHECK(registerLocalMemoryBatch(engine, &entry, 1, "*") < 0);
  CHECK(unregisterLocalMemoryBatch(engine, list, 1) < 0);
  CHECK(allocateBatchID(engine, 1024) == INVALID_BATCH);
  CHECK(submitTransfer(engine, 1, &one, 1) > 0);
  CHECK(submitTransferWithNotify(engine, 1, &one, 1, message("a", "b")) > 0);
  CHECK(getTransferStatus(engine, 1, 0, &status) > 0);
  CHECK(is_untouched(&status));
  CHECK(freeBatchID(engine, 1) > 0);
  CHECK(getNotifsFromEngine(engine, &size) == NULL);
  EQUAL(0, size);
  CHECK(genNotifyInEngine(engine, 0, message("a", "b")) < 0);
  CHECK(getNicLoadStats(engine, stats, &count) < 0);
  CHECK(showLinks(engine, text, sizeof text, 1) < 0);
  enableGracefulShutdown(engine);
}

static void null_is_no_engine(void) {
  every_function_refuses(NULL);
  destroyTransferEngine(NULL);
}

static void a_destroyed_engine_is_none(void) {
  transfer_engine_t engine = engine_at("127.0.0.1");
  destroyTransferEngine(engine);
  every_function_refuses(engine);
  destroyTransferEngine(engine);
}

static void a_pointer_to_anything_is_no_engine(void) {
  static char anything[64];
  every_function_refuses(anything);
  destroyTransferEngine(anything);
}

static void what_cannot_be_made_is_null(void) {
  CHECK(createTransferEngine(NULL, "127.0.0.1", "", 0, 1) == NULL);
  CHECK(createTransferEngine("P2PHANDSHAKE", NULL, "", 0, 1) == NULL);
  CHECK(createTransferEngine("", "127.0.0.1", "", 0, 1) == NULL);
  CHECK(createTransferEngine("P2PHANDSHAKE", "", "", 0, 1) == NULL);
  CHECK(createTransferEngine("no-such-scheme://127.0.0.1", "node1", "", 0, 1) == NULL);
}

static void host_and_port_of_the_call_mean_nothing(void) {
  transfer_engine_t engine = createTransferEngine("P2PHANDSHAKE", "127.0.0.1", NULL, 99999999, 1);
  CHECK(engine != NULL);
  destroyTransferEngine(engine);
}

int main(void) {
  hang_guard(120);
  RUN(null_is_no_engine);
  RUN(a_destroyed_engine_is_none);
  RUN(a_pointer_to_anything_is_no_engine);
  RUN(what_cannot_be_made_is_null);
  RUN(host_and_port_of_the_call_mean_nothing);
  return 0;
}
