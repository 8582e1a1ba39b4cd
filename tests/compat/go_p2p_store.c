/* The sequence of Mooncake's Go P2P store: engines by name in a metadata service, auto_discover 0, a transport installed with a
 * topology, chunks registered one by one, a segment opened for each read and closed after it, and opened again
 * without the cache when a read failed. The store asks for "rdma"; TCP carries it where MC_FORCE_TCP is set. */
#include "process.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#define CHUNKS 16
#define CHUNK 65536

static char shard[CHUNKS][CHUNK];

/* Go writes an empty text where it has no topology. */
static transfer_engine_t store(const char *metadata, const char *name, const char *protocol, const char *topology) {
  transfer_engine_t engine = createTransferEngine(metadata, name, name, 12345, 0);
  void *arguments[2];
  int index;
  if (engine == NULL) FAIL("no engine by %s", metadata);
  arguments[0] = (void *)(uintptr_t)topology;
  arguments[1] = NULL;
  CHECK(installTransport(engine, protocol, arguments) != NULL);
  for (index = 0; index < CHUNKS; ++index) EQUAL(0, registerLocalMemory(engine, shard[index], CHUNK, "cpu:0", 1));
  return engine;
}

static const char *service(void) {
  static char url[128];
  const char *given = getenv("MOONCAKE_TEST_METADATA");
  if (given != NULL) return given;
  snprintf(url, sizeof url, "file://%s", getenv("GO_P2P_STORE"));
  return url;
}

static int owner(const char *protocol) {
  char word;
  transfer_engine_t engine;
  memset(shard, 'g', sizeof shard);
  engine = store(service(), "owner.example:15001", protocol, "");
  process_greet(engine, shard);
  while (process_told(&word)) {
  }
  destroyTransferEngine(engine);
  return 0;
}

/* One chunk, as the store gets it. */
static int get(transfer_engine_t engine, const char *name, uint64_t remote, int chunk, int use_cache) {
  segment_id_t target = use_cache ? openSegment(engine, name) : openSegmentNoCache(engine, name);
  batch_id_t batch;
  transfer_request_t one;
  int status;
  if (target < 0) return STATUS_FAILED;
  batch = allocateBatchID(engine, 1);
  CHECK(batch != INVALID_BATCH && (int64_t)batch > 0);
  one = request(OPCODE_READ, shard[chunk], target, (void *)(uintptr_t)(remote + (uint64_t)chunk * CHUNK), CHUNK);
  EQUAL(0, submitTransfer(engine, batch, &one, 1));
  status = status_of(engine, batch, 0);
  EQUAL(0, freeBatchID(engine, batch));
  CHECK(closeSegment(engine, target) >= 0);
  return status;
}

static void expect_all(transfer_engine_t engine, uint64_t remote, int use_cache) {
  int index;
  memset(shard, 0, sizeof shard);
  for (index = 0; index < CHUNKS; ++index)
    EQUAL(STATUS_COMPLETED, get(engine, "owner.example:15001", remote, index, use_cache));
  for (index = 0; index < CHUNKS * CHUNK; ++index) EQUAL('g', shard[index / CHUNK][index % CHUNK]);
}

static void a_shard_is_read(const char *protocol) {
  static const char topology[] = "{\"cpu:0\":[[\"mlx5_0\"],[\"mlx5_1\"]]}";
  process_t peer = process_start(protocol);
  transfer_engine_t engine = store(service(), "reader.example:15002", protocol, topology);
  EQUAL(-1, openSegment(engine, "nobody.example:15003"));
  expect_all(engine, peer.greeting.memory, 1);
  EQUAL(0, syncSegmentCache(engine));
  /* The owner comes back under its name: nobody has to know. */
  process_kill(&peer);
  peer = process_start(protocol);
  expect_all(engine, peer.greeting.memory, 0);
  expect_all(engine, peer.greeting.memory, 1);
  CHECK(uninstallTransport(engine, protocol) >= 0);
  process_end(&peer);
  destroyTransferEngine(engine);
}

/* A port that was free a moment ago. */
static int free_port(void) {
  struct sockaddr_in address;
  socklen_t length = sizeof address;
  int file = socket(AF_INET, SOCK_STREAM, 0);
  memset(&address, 0, sizeof address);
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  CHECK(bind(file, (struct sockaddr *)&address, sizeof address) == 0);
  CHECK(getsockname(file, (struct sockaddr *)&address, &length) == 0);
  close(file);
  return ntohs(address.sin_port);
}

static int answers(int port) {
  struct sockaddr_in address;
  int file = socket(AF_INET, SOCK_STREAM, 0), connected;
  memset(&address, 0, sizeof address);
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons((uint16_t)port);
  connected = connect(file, (struct sockaddr *)&address, sizeof address) == 0;
  close(file);
  return connected;
}

/* The store's own service: etcd, named as it names it, by host and port alone. */
static void with_etcd(const char *folder) {
  char client[64], peer[64], cluster[80], data[128], name[64];
  int port = free_port(), status = 0;
  pid_t pid = fork();
  CHECK(pid >= 0);
  snprintf(client, sizeof client, "http://127.0.0.1:%d", port);
  snprintf(peer, sizeof peer, "http://127.0.0.1:%d", pid == 0 ? free_port() : 0);
  snprintf(cluster, sizeof cluster, "default=%s", peer);
  snprintf(data, sizeof data, "%s/etcd", folder);
  if (pid == 0) {
    if (freopen("/dev/null", "w", stderr) == NULL) _exit(126);
    execlp("etcd", "etcd", "--data-dir", data, "--listen-client-urls", client, "--advertise-client-urls", client,
           "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", cluster,
           (char *)NULL);
    _exit(127);
  }
  while (!answers(port)) {
    if (waitpid(pid, &status, WNOHANG) == pid) {
      printf("  without etcd: it is not installed\n");
      return;
    }
    pause_ms(10);
  }
  snprintf(name, sizeof name, "127.0.0.1:%d", port);
  setenv("MOONCAKE_TEST_METADATA", name, 1);
  a_shard_is_read("tcp");
  unsetenv("MOONCAKE_TEST_METADATA");
  kill(pid, SIGTERM);
  waitpid(pid, NULL, 0);
}

int main(int count, char **arguments) {
  char folder[] = "/tmp/mooncake-compat-XXXXXX";
  char command[64];
  hang_guard(240);
  if (count > 1) return owner(arguments[1]);
  CHECK(mkdtemp(folder) != NULL);
  setenv("GO_P2P_STORE", folder, 1);
  a_shard_is_read("tcp");
  with_etcd(folder);
  setenv("MC_FORCE_TCP", "1", 1);
  a_shard_is_read("rdma");
  snprintf(command, sizeof command, "rm -r %s", folder);
  return system(command) == 0 ? 0 : 1;
}
