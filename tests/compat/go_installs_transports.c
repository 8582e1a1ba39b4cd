/* Mooncake's Go and Rust packages install transports themselves and close what they open. Both are done for real. */
#include "pair.h"

static void nothing_is_transferred_before_a_transport_is_installed(void) {
  transfer_engine_t engine = createTransferEngine("P2PHANDSHAKE", "127.0.0.1", "", 0, 0);
  static char memory[2][64];
  batch_id_t batch = allocateBatchID(engine, 1);
  transfer_request_t one = request(OPCODE_WRITE, memory[0], LOCAL_SEGMENT, memory[1], 64);
  transport_t tcp;
  CHECK(engine != NULL);
  EQUAL(0, registerLocalMemory(engine, memory, sizeof memory, "*", 1));
  EQUAL(8, submitTransfer(engine, batch, &one, 1));
  tcp = installTransport(engine, "tcp", NULL);
  CHECK(tcp != NULL);
  CHECK(installTransport(engine, "tcp", NULL) == tcp);
  memory[0][5] = 'x';
  EQUAL(0, submitTransfer(engine, batch, &one, 1));
  EQUAL(STATUS_COMPLETED, status_of(engine, batch, 0));
  EQUAL('x', memory[1][5]);
  EQUAL(0, uninstallTransport(engine, "no such transport"));
  EQUAL(0, uninstallTransport(engine, "tcp"));
  EQUAL(8, submitTransfer(engine, batch, &one, 1));
  EQUAL(STATUS_COMPLETED, status_of(engine, batch, 0));
  CHECK(installTransport(engine, "tcp", NULL) != NULL);
  EQUAL(0, submitTransfer(engine, batch, &one, 1));
  EQUAL(STATUS_COMPLETED, status_of(engine, batch, 1));
  CHECK(uninstallTransport(engine, NULL) < 0);
  destroyTransferEngine(engine);
}

static void what_is_not_there_is_null(void) {
  transfer_engine_t engine = engine_at("127.0.0.1");
  static const char *const missing[] = {"rdma", "efa", "nvlink", "ascend", "", "TCP", "no such transport"};
  size_t index;
  for (index = 0; index < sizeof missing / sizeof *missing; ++index) {
    CHECK(installTransport(engine, missing[index], NULL) == NULL);
  }
  CHECK(installTransport(engine, NULL, NULL) == NULL);
  destroyTransferEngine(engine);
}

static transport_t install_with(transfer_engine_t engine, const char *topology) {
  void *arguments[2];
  arguments[0] = (void *)(uintptr_t)topology;
  arguments[1] = NULL;
  return installTransport(engine, "tcp", arguments);
}

static void a_topology_is_looked_at(void) {
  transfer_engine_t engine = createTransferEngine("P2PHANDSHAKE", "127.0.0.1", "", 0, 0);
  char text[4096];
  CHECK(install_with(engine, "{\"cpu:0\":[[\"mlx5_0\"],[\"mlx5_1\"]]}") != NULL);
  EQUAL(0, showLinks(engine, text, sizeof text, 1));
  CHECK(strstr(text, "\"cpu:0\":[[\"mlx5_0\"],[\"mlx5_1\"]]") != NULL);
  CHECK(install_with(engine, "{\"cpu:0\":") == NULL);
  CHECK(install_with(engine, "[1,2]") == NULL);
  CHECK(install_with(engine, "{\"cpu:0\":[\"mlx5_0\"]}") == NULL);
  EQUAL(0, showLinks(engine, text, sizeof text, 1));
  CHECK(strstr(text, "mlx5_1") != NULL);
  CHECK(install_with(engine, "") != NULL);
  CHECK(install_with(engine, NULL) != NULL);
  EQUAL(0, discoverTopology(engine));
  EQUAL(0, showLinks(engine, text, sizeof text, 1));
  CHECK(strstr(text, "\"cpu:0\"") != NULL);
  destroyTransferEngine(engine);
}

static void a_segment_is_open_until_its_last_close(void) {
  pair_t pair = pair_open();
  char address[64], slashed[80];
  batch_id_t batch = allocateBatchID(pair.here, 8);
  transfer_request_t one = pair_write(&pair, 0, 16);
  segment_id_t again;
  EQUAL(0, getLocalIpAndPort(pair.there, address, sizeof address));
  snprintf(slashed, sizeof slashed, "/%s", address);
  EQUAL(pair.target, openSegment(pair.here, address));
  EQUAL(pair.target, openSegmentNoCache(pair.here, slashed));
  EQUAL(0, closeSegment(pair.here, pair.target));
  EQUAL(0, closeSegment(pair.here, pair.target));
  EQUAL(0, submitTransfer(pair.here, batch, &one, 1));
  EQUAL(STATUS_COMPLETED, status_of(pair.here, batch, 0));
  EQUAL(0, closeSegment(pair.here, pair.target));
  EQUAL(1, submitTransfer(pair.here, batch, &one, 1));
  CHECK(closeSegment(pair.here, pair.target) < 0);
  again = openSegment(pair.here, address);
  CHECK(again > pair.target);
  EQUAL(0, removeLocalSegment(pair.here, address));
  CHECK(closeSegment(pair.here, again) < 0);
  CHECK(openSegment(pair.here, address) > again);
  EQUAL(0, removeLocalSegment(pair.here, "127.0.0.1:1"));
  CHECK(removeLocalSegment(pair.here, NULL) < 0);
  EQUAL(0, closeSegment(pair.here, LOCAL_SEGMENT));
  CHECK(closeSegment(pair.here, -1) < 0);
  CHECK(closeSegment(pair.here, INT32_MAX) < 0);
  pair_close(&pair);
}

static void names_that_are_none_are_refused(void) {
  transfer_engine_t engine = engine_at("127.0.0.1");
  EQUAL(-1, openSegment(engine, NULL));
  EQUAL(-1, openSegment(engine, ""));
  EQUAL(-1, openSegment(engine, "/"));
  EQUAL(-1, openSegment(engine, "no-port"));
  EQUAL(-1, openSegment(engine, "127.0.0.1:1"));
  EQUAL(-1, openSegment(engine, "\xff\xfe:1"));
  CHECK(openSegmentNoCache(engine, NULL) < 0);
  CHECK(openSegmentNoCache(engine, "127.0.0.1:1") < 0);
  EQUAL(0, warmupEfaSegment(engine, NULL));
  EQUAL(0, warmupEfaSegment(engine, "127.0.0.1:1"));
  destroyTransferEngine(engine);
}

static void links_are_shown(void) {
  pair_t pair = pair_open();
  nic_load_stat_t stats[4];
  char text[8192], small[8];
  size_t count = 4;
  EQUAL(0, showLinks(pair.here, text, sizeof text, 0));
  CHECK(strstr(text, "link 1: 127.0.0.1:") != NULL && strstr(text, "transports: tcp") != NULL);
  EQUAL(0, showLinks(pair.here, text, sizeof text, 1));
  CHECK(text[0] == '{' && strstr(text, "\"links\":[{") != NULL && strstr(text, "\"regions\":1") != NULL);
  memset(small, 'x', sizeof small);
  EQUAL(0, showLinks(pair.here, small, sizeof small, 1));
  EQUAL(0, small[7]);
  EQUAL(0, strncmp(small, text, 7));
  EQUAL(-1, showLinks(pair.here, NULL, 10, 0));
  EQUAL(-1, showLinks(pair.here, text, 0, 0));
  EQUAL(0, getNicLoadStats(pair.here, stats, &count));
  EQUAL(0, count);
  EQUAL(0, getNicLoadStats(pair.here, NULL, &count));
  count = 1;
  EQUAL(-1, getNicLoadStats(pair.here, NULL, &count));
  EQUAL(-1, getNicLoadStats(pair.here, stats, NULL));
  enableGracefulShutdown(pair.here);
  pair_close(&pair);
}

int main(void) {
  hang_guard(240);
  RUN(nothing_is_transferred_before_a_transport_is_installed);
  RUN(what_is_not_there_is_null);
  RUN(a_topology_is_looked_at);
  RUN(a_segment_is_open_until_its_last_close);
  RUN(names_that_are_none_are_refused);
  RUN(links_are_shown);
  return 0;
}
