/* A backend as NIXL's plugin is one: an engine per agent, its address as connection info, one batch per handle that is made
 * at the first post and reused until it is done, the agent's name in each notification, and transfers to oneself. */
#include "process.h"

#define DESCRIPTORS 64
#define SIZE 16384

static char memory[2][DESCRIPTORS][SIZE];

typedef struct {
  transfer_engine_t engine;
  const char *name;
} backend_t;

/* What NIXL calls a request handle. */
typedef struct {
  batch_id_t batch;
  size_t count;
} handle_t;

static void post(backend_t *backend, handle_t *handle, int opcode, segment_id_t target, uint64_t remote,
                 const char *told) {
  transfer_request_t requests[DESCRIPTORS];
  int index;
  if (handle->batch == INVALID_BATCH) handle->batch = allocateBatchID(backend->engine, 1024);
  CHECK(handle->batch != INVALID_BATCH);
  for (index = 0; index < DESCRIPTORS; ++index) {
    requests[index] =
        request(opcode, memory[0][index], target, (void *)(uintptr_t)(remote + (uint64_t)index * SIZE), SIZE);
  }
  if (told == NULL) {
    EQUAL(0, submitTransfer(backend->engine, handle->batch, requests, DESCRIPTORS));
  } else {
    EQUAL(0, submitTransferWithNotify(backend->engine, handle->batch, requests, DESCRIPTORS,
                                      message(backend->name, told)));
  }
  handle->count += DESCRIPTORS;
}

/* 0 done, 1 in progress, -1 failed: every status but these three counts as done there. */
static int check(backend_t *backend, handle_t *handle) {
  size_t index;
  for (index = 0; index < handle->count; ++index) {
    transfer_status_t status;
    if (getTransferStatus(backend->engine, handle->batch, index, &status) != 0) return -1;
    if (status.status == STATUS_FAILED) return -1;
    if (status.status == STATUS_PENDING || status.status == STATUS_WAITING) return 1;
  }
  freeBatchID(backend->engine, handle->batch);
  handle->batch = INVALID_BATCH;
  handle->count = 0;
  return 0;
}

static int finish(backend_t *backend, handle_t *handle) {
  int state;
  while ((state = check(backend, handle)) == 1) {
  }
  return state;
}

static void release(backend_t *backend, handle_t *handle) {
  /* The plugin does not look at the result: a busy one is its backend's to end. */
  if (handle->batch != INVALID_BATCH) freeBatchID(backend->engine, handle->batch);
  handle->batch = INVALID_BATCH;
  handle->count = 0;
}

static backend_t backend_make(const char *name) {
  backend_t backend;
  backend.name = name;
  backend.engine = createTransferEngine("P2PHANDSHAKE", "127.0.0.1", "", 0, 1);
  CHECK(backend.engine != NULL);
  EQUAL(0, registerLocalMemory(backend.engine, memory, sizeof memory, "*", 1));
  return backend;
}

static segment_id_t load_remote(backend_t *backend, const char *address) {
  segment_id_t id = openSegment(backend->engine, address);
  CHECK(id >= 0);
  return id;
}

static void expect_note(backend_t *backend, const char *from, const char *text) {
  int size = 0;
  notify_msg_t *got = NULL;
  while ((got = getNotifsFromEngine(backend->engine, &size)) == NULL) pause_ms(1);
  EQUAL(1, size);
  EQUAL(0, strcmp(got->name, from));
  EQUAL(0, strcmp(got->msg, text));
  freeNotifsMsgBuf(got, size);
}

static void fill(int seed) {
  size_t at;
  for (at = 0; at < sizeof memory[0]; ++at) ((char *)memory[0])[at] = (char)(at / 7 + (size_t)seed);
}

/* One engine, which is its own peer. */
static void with_itself(void) {
  backend_t backend = backend_make("agent");
  handle_t handle = {INVALID_BATCH, 0};
  char address[64];
  segment_id_t self;
  int round;
  getLocalIpAndPort(backend.engine, address, sizeof address);
  self = load_remote(&backend, address);
  for (round = 0; round < 10; ++round) {
    fill(round);
    post(&backend, &handle, OPCODE_WRITE, self, (uint64_t)(uintptr_t)memory[1], "mine");
    EQUAL(0, finish(&backend, &handle));
    EQUAL(0, memcmp(memory[0], memory[1], sizeof memory[0]));
    expect_note(&backend, "agent", "mine");
    post(&backend, &handle, OPCODE_READ, self, (uint64_t)(uintptr_t)memory[1], NULL);
    EQUAL(0, finish(&backend, &handle));
  }
  EQUAL(0, genNotifyInEngine(backend.engine, (uint64_t)self, message("agent", "")));
  expect_note(&backend, "agent", "");
  unregisterLocalMemory(backend.engine, memory);
  destroyTransferEngine(backend.engine);
}

static int target(void) {
  backend_t backend = backend_make("target");
  char word;
  process_greet(backend.engine, memory[1]);
  while (process_told(&word)) {
    expect_note(&backend, "initiator", "done");
    write_all(3, memory[1], sizeof memory[1]);
  }
  destroyTransferEngine(backend.engine);
  return 0;
}

static void with_another_process(const char *transport) {
  static char seen[DESCRIPTORS][SIZE];
  process_t peer;
  backend_t backend;
  handle_t handle = {INVALID_BATCH, 0};
  segment_id_t remote;
  int round;
  if (transport != NULL) setenv("MC_TRANSPORTS", transport, 1);
  peer = process_start("target");
  backend = backend_make("initiator");
  remote = load_remote(&backend, peer.greeting.address);
  for (round = 0; round < 10; ++round) {
    fill(round);
    process_tell(&peer, 'n');
    post(&backend, &handle, OPCODE_WRITE, remote, peer.greeting.memory, "done");
    EQUAL(0, finish(&backend, &handle));
    read_all(peer.out, seen, sizeof seen);
    EQUAL(0, memcmp(memory[0], seen, sizeof seen));
  }
  /* A handle that is posted again before it is done, and one that is let go of in the middle. */
  post(&backend, &handle, OPCODE_READ, remote, peer.greeting.memory, NULL);
  post(&backend, &handle, OPCODE_READ, remote, peer.greeting.memory, NULL);
  EQUAL(0, finish(&backend, &handle));
  EQUAL(0, memcmp(memory[0], seen, sizeof seen));
  post(&backend, &handle, OPCODE_READ, remote, peer.greeting.memory, NULL);
  release(&backend, &handle);

  /* It dies after a post: an error, then the next one is reached. */
  process_kill(&peer);
  post(&backend, &handle, OPCODE_READ, remote, peer.greeting.memory, NULL);
  EQUAL(-1, finish(&backend, &handle));
  release(&backend, &handle);
  peer = process_start("target");
  remote = load_remote(&backend, peer.greeting.address);
  post(&backend, &handle, OPCODE_READ, remote, peer.greeting.memory, NULL);
  EQUAL(0, finish(&backend, &handle));
  destroyTransferEngine(backend.engine);
  process_end(&peer);
  unsetenv("MC_TRANSPORTS");
}

int main(int count, char **arguments) {
  hang_guard(280);
  if (count > 1) return (void)arguments, target();
  RUN(with_itself);
  with_another_process(NULL);
  with_another_process("tcp");
  return 0;
}
