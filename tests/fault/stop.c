/* SIGSTOP of the peer: do transfers end within their deadline, and is nothing of them seen after the peer went on? */
#include "fault.h"

static void pause_peer(world_t *world) {
  int status = 0;
  CHECK(kill(world->peer.pid, SIGSTOP) == 0, "kill: %s", strerror(errno));
  CHECK(waitpid(world->peer.pid, &status, WUNTRACED) == world->peer.pid && WIFSTOPPED(status), "it did not stop");
}

static void wake_peer(world_t *world) { CHECK(kill(world->peer.pid, SIGCONT) == 0, "kill: %s", strerror(errno)); }

static void a_stopped_peer_costs_no_more_than_the_deadline(const path_t *path) {
  world_t world;
  start_world(&world, path, 60000); /* only the deadline ends it */
  for (uint64_t round = 0; round < 4; round++) {
    mc_opcode_t opcode = round % 2 == 0 ? MC_OPCODE_READ : MC_OPCODE_WRITE;
    mc_batch_t batch = started(&world, opcode, 700);
    pause_peer(&world);
    mc_status_t status = ended(&world, batch);
    printf("  under way: %s\n", mc_status_name(status));
    batch = started(&world, opcode, 700);
    status = ended(&world, batch);
    /* Paths that need no hand of the peer go on without it. */
    CHECK(status != MC_OK || strcmp(path->name, "tcp") != 0, "a stopped peer answered");
    printf("  started while it is stopped: %s\n", mc_status_name(status));
    wake_peer(&world);
    check_it_works(&world, round);
  }
  end_world(&world);
}

static void a_silent_peer_is_lost_after_the_keepalive(const path_t *path) {
  world_t world;
  if (strcmp(path->name, "tcp") != 0) return;
  start_world(&world, path, 500);
  mc_batch_t batch = started(&world, MC_OPCODE_READ, 240000); /* longer than this program may run */
  pause_peer(&world);
  mc_status_t status = ended(&world, batch);
  printf("  %s\n", mc_status_name(status));
  wake_peer(&world);
  check_it_works(&world, 3);
  end_world(&world);
}

static void calls_that_wait_for_a_stopped_peer_return(const path_t *path) {
  world_t world;
  mc_probe_t probe = mc_probe_default();
  mc_segment_t segment = 0;
  mc_engine_t *fresh;
  start_world(&world, path, 60000);
  fresh = impatient_engine(path->name, "127.0.0.1", 1000);
  pause_peer(&world);
  CHECK_OK(mc_segment_probe(world.engine, world.segment, 300, &probe));
  CHECK(!probe.is_alive, "a stopped peer is said to answer");
  mc_status_t status = mc_notify_send(world.engine, world.segment, "t", NULL, 0, 300);
  CHECK(is_loss(status), "a notification: %s", mc_status_name(status));
  status = mc_segment_refresh(world.engine, world.segment, 300);
  CHECK(is_loss(status), "a refresh: %s", mc_status_name(status));
  status = mc_segment_open(fresh, world.peer.address, 300, &segment);
  CHECK(is_loss(status), "an open: %s", mc_status_name(status));
  CHECK_OK(mc_engine_destroy(fresh)); /* it does not wait for the peer either */
  wake_peer(&world);
  check_it_works(&world, 1);
  end_world(&world);
}

/* What was under way when a peer was given up is fenced off once it was met again: newer bytes are not overwritten. */
static void late_frames_do_not_overwrite_newer_bytes(const path_t *path) {
  world_t world;
  uint8_t *seen = pages(BLOCKS * BLOCK);
  start_world(&world, path, 60000);
  for (int round = 0; round < 4; round++) {
    memset(world.local, 0xaa, BLOCKS * BLOCK);
    mc_batch_t batch = started(&world, MC_OPCODE_WRITE, 300);
    pause_peer(&world);
    ended(&world, batch);
    wake_peer(&world);
    memset(world.local, 0x77, BLOCKS * BLOCK);
    batch = started(&world, MC_OPCODE_WRITE, 20000);
    CHECK_OK(mc_batch_wait(world.engine, batch, -1, NULL));
    CHECK_OK(mc_batch_release(world.engine, batch));
    for (int look = 0; look < 3; look++) {
      peer_read(&world.peer, world.remote, seen, BLOCKS * BLOCK);
      CHECK_ALL(seen, BLOCKS * BLOCK, 0x77);
      sleep_ms(50);
    }
  }
  end_world(&world);
  munmap(seen, BLOCKS * BLOCK);
}

int main(int argc, char **argv) {
  PEER_MAIN(argc, argv);
  hang_guard(200);
  RUN_OVER_PATHS(a_stopped_peer_costs_no_more_than_the_deadline);
  RUN_OVER_PATHS(a_silent_peer_is_lost_after_the_keepalive);
  RUN_OVER_PATHS(calls_that_wait_for_a_stopped_peer_return);
  RUN_OVER_PATHS(late_frames_do_not_overwrite_newer_bytes);
  return 0;
}
