/* NIXL appends posts to a batch that is under way, and lets go of handles that are busy. The notification of a batch goes
 * out when all of it is done, polled or not, and a batch that was let go of frees itself. */
#include "process.h"

static char block[2][4096];

typedef struct {
  process_t slow;
  transfer_engine_t engine, fast;
  segment_id_t to_slow, to_fast;
} world_t;

static int owner(void) {
  char word;
  transfer_engine_t engine = engine_at("127.0.0.1");
  memset(block[0], 's', sizeof block[0]);
  EQUAL(0, registerLocalMemory(engine, block, sizeof block, "*", 1));
  process_greet(engine, block);
  while (process_told(&word)) {
  }
  destroyTransferEngine(engine);
  return 0;
}

static world_t world_open(void) {
  world_t world;
  char address[64];
  world.slow = process_start("owner");
  world.engine = engine_at("127.0.0.1");
  world.fast = engine_at("127.0.0.1");
  memset(block, 0, sizeof block);
  EQUAL(0, registerLocalMemory(world.engine, block, sizeof block, "*", 1));
  EQUAL(0, registerLocalMemory(world.fast, block, sizeof block, "*", 1));
  EQUAL(0, getLocalIpAndPort(world.fast, address, sizeof address));
  world.to_slow = openSegment(world.engine, world.slow.greeting.address);
  world.to_fast = openSegment(world.engine, address);
  CHECK(world.to_slow > 0 && world.to_fast > 0);
  return world;
}

static void world_close(world_t *world) {
  destroyTransferEngine(world->engine);
  destroyTransferEngine(world->fast);
  process_end(&world->slow);
}

/* One read from the peer that is stopped, then one write to the other with a notification. */
static batch_id_t post_both(world_t *world) {
  batch_id_t batch = allocateBatchID(world->engine, 1024);
  transfer_request_t first =
      request(OPCODE_READ, block[0], world->to_slow, (void *)(uintptr_t)world->slow.greeting.memory, sizeof block[0]);
  transfer_request_t second = request(OPCODE_WRITE, block[0], world->to_fast, block[1], 1);
  process_stop(&world->slow);
  EQUAL(0, submitTransfer(world->engine, batch, &first, 1));
  EQUAL(0, submitTransferWithNotify(world->engine, batch, &second, 1, message("agent", "early")));
  EQUAL(0, submitTransferWithNotify(world->engine, batch, &second, 1, message("agent", "all")));
  return batch;
}

static void expect_word(world_t *world) {
  notify_msg_t *got = NULL;
  int size = 0;
  while ((got = getNotifsFromEngine(world->fast, &size)) == NULL) pause_ms(1);
  EQUAL(1, size);
  EQUAL(0, strcmp(got->msg, "all"));
  freeNotifsMsgBuf(got, size);
}

static void the_notification_waits_for_all_posts_and_for_no_poll(void) {
  world_t world = world_open();
  batch_id_t batch = post_both(&world);
  int size = 0, index;
  EQUAL(STATUS_COMPLETED, status_of(world.engine, batch, 1));
  pause_ms(200);
  CHECK(getNotifsFromEngine(world.fast, &size) == NULL);
  kill(world.slow.pid, SIGCONT);
  expect_word(&world);
  EQUAL('s', block[0][4095]);
  for (index = 0; index < 3; ++index) EQUAL(STATUS_COMPLETED, status_of(world.engine, batch, (size_t)index));
  EQUAL(0, freeBatchID(world.engine, batch));
  world_close(&world);
}

static void a_batch_that_was_let_go_of_ends_and_frees_itself(void) {
  world_t world = world_open();
  batch_id_t batch = post_both(&world), other;
  transfer_status_t status;
  EQUAL(4, freeBatchID(world.engine, batch));
  EQUAL(4, freeBatchID(world.engine, batch));
  kill(world.slow.pid, SIGCONT);
  expect_word(&world);
  EQUAL('s', block[0][4095]);
  /* An allocation a second later finds it ended, and not asked for since. */
  pause_ms(1100);
  other = allocateBatchID(world.engine, 1);
  EQUAL(1, getTransferStatus(world.engine, batch, 0, &status));
  EQUAL(0, freeBatchID(world.engine, other));
  world_close(&world);
}

static void a_batch_that_is_asked_for_again_is_kept(void) {
  world_t world = world_open();
  batch_id_t batch = post_both(&world);
  EQUAL(4, freeBatchID(world.engine, batch));
  kill(world.slow.pid, SIGCONT);
  EQUAL(STATUS_COMPLETED, status_of(world.engine, batch, 0));
  CHECK(allocateBatchID(world.engine, 1) != INVALID_BATCH);
  EQUAL(STATUS_COMPLETED, status_of(world.engine, batch, 2));
  EQUAL(0, freeBatchID(world.engine, batch));
  EQUAL(1, freeBatchID(world.engine, batch));
  world_close(&world);
}

int main(int count, char **arguments) {
  hang_guard(240);
  setenv("MC_FORCE_TCP", "1", 1);
  if (count > 1) return (void)arguments, owner();
  RUN(the_notification_waits_for_all_posts_and_for_no_poll);
  RUN(a_batch_that_was_let_go_of_ends_and_frees_itself);
  RUN(a_batch_that_is_asked_for_again_is_kept);
  return 0;
}
