/* kill -9 of the peer in the middle of transfers: do they end, and does the next one work once it is back? */
#include "fault.h"

static unsigned port_of(const peer_t *peer) { return (unsigned)atoi(strrchr(peer->address, ':') + 1); }

static void restart(world_t *world) {
  peer_setup_t setup;
  unsigned port = port_of(&world->peer);
  memset(&setup, 0, sizeof setup);
  setup.transports = world->path->name;
  setup.port = port;
  peer_spawn(&world->peer, &setup, NULL);
  CHECK(port_of(&world->peer) == port, "it came back on another port");
}

static void a_killed_peer_ends_transfers_and_comes_back(const path_t *path) {
  world_t world;
  start_world(&world, path, 2000);
  check_it_works(&world, 99);
  for (unsigned round = 0; round < 6; round++) {
    mc_probe_t probe = mc_probe_default();
    char before[40];
    mc_opcode_t opcode = round % 2 == 0 ? MC_OPCODE_READ : MC_OPCODE_WRITE;
    mc_batch_t first = started(&world, opcode, 20000), second = started(&world, opcode, 20000);
    memcpy(before, world.peer.engine_id, sizeof before);
    sleep_ms(round * 4);
    peer_kill(&world.peer);
    mc_batch_t third = started(&world, opcode, 20000);
    mc_status_t statuses[3];
    /* All three end before local memory is watched. */
    CHECK_OK(mc_engine_drain(world.engine, -1));
    statuses[0] = ended(&world, first);
    statuses[1] = ended(&world, second);
    statuses[2] = ended(&world, third);
    /* Mapped memory outlives its owner for a moment: then a transfer soon after must tell. The guard bounds it. */
    while (statuses[2] == MC_OK) {
      CHECK(path->in_allocated_memory, "a transfer with a dead peer succeeded");
      statuses[2] = ended(&world, started(&world, opcode, 20000));
    }
    CHECK_OK(mc_segment_probe(world.engine, world.segment, 1000, &probe));
    CHECK(!probe.is_alive, "a dead peer is said to be alive");
    printf("  round %u: %s, %s, %s\n", round, mc_status_name(statuses[0]), mc_status_name(statuses[1]),
           mc_status_name(statuses[2]));
    restart(&world);
    aim(&world);
    check_it_works(&world, round); /* at once, with the old segment id */
    CHECK_OK(mc_segment_probe(world.engine, world.segment, 1000, &probe));
    CHECK(probe.is_alive && probe.has_restarted, "alive %d, restarted %d", probe.is_alive, probe.has_restarted);
    CHECK(strcmp(probe.engine_id, world.peer.engine_id) == 0 && strcmp(probe.engine_id, before) != 0,
          "the probe met \"%s\"", probe.engine_id);
  }
  end_world(&world);
}

/* Who is gone when the first transfer comes is a loss within the deadline as well. */
static void a_peer_that_died_in_silence_is_noticed(const path_t *path) {
  world_t world;
  start_world(&world, path, 1000);
  for (uint64_t round = 0; round < 3; round++) {
    check_it_works(&world, round);
    peer_kill(&world.peer);
    sleep_ms(50);
    mc_status_t status = MC_OK;
    while (status == MC_OK) {
      status = ended(&world, started(&world, MC_OPCODE_READ, 5000));
      CHECK(status != MC_OK || path->in_allocated_memory, "a transfer with a dead peer succeeded");
    }
    status = mc_notify_send(world.engine, world.segment, "t", NULL, 0, 2000);
    CHECK(is_loss(status), "a notification to a dead peer: %s", mc_status_name(status));
    restart(&world);
    aim(&world);
  }
  check_it_works(&world, 7);
  end_world(&world);
}

int main(int argc, char **argv) {
  PEER_MAIN(argc, argv);
  hang_guard(280);
  RUN_OVER_PATHS(a_killed_peer_ends_transfers_and_comes_back);
  RUN_OVER_PATHS(a_peer_that_died_in_silence_is_noticed);
  return 0;
}
