/* The cable between two hosts is cut and mended: do transfers end within their deadline, and does the next one work? */
#include "fault.h"

static const char *near_namespace;

static void cable(const char *state) {
  char command[256];
  snprintf(command, sizeof command, "ip -n %s link set cable %s", near_namespace, state);
  CHECK(system(command) == 0, "%s", command);
}

int main(int argc, char **argv) {
  char *wrap[] = {(char *)"ip", (char *)"netns", (char *)"exec", NULL, NULL};
  world_t world;
  peer_setup_t setup;
  PEER_MAIN(argc, argv);
  CHECK(argc == 5, "usage: %s NEAR-NAMESPACE FAR-NAMESPACE NEAR-ADDRESS FAR-ADDRESS", argv[0]);
  hang_guard(240);
  near_namespace = argv[1];
  wrap[3] = argv[2];
  memset(&setup, 0, sizeof setup);
  setup.transports = "tcp";
  setup.bind_address = argv[4];
  world.path = &PATHS[3];
  world.engine = impatient_engine("tcp", argv[3], 1000);
  world.local = pages(BLOCKS * BLOCK);
  registered(world.engine, world.local, BLOCKS * BLOCK);
  peer_spawn(&world.peer, &setup, wrap);
  world.segment = opened(world.engine, world.peer.address);
  aim(&world);
  check_it_works(&world, 1);
  for (unsigned round = 0; round < 4; round++) {
    mc_probe_t probe = mc_probe_default();
    mc_batch_t batch = started(&world, round % 2 == 0 ? MC_OPCODE_READ : MC_OPCODE_WRITE, 3000);
    sleep_ms(50);
    cable("down");
    mc_status_t status = ended(&world, batch);
    CHECK(status != MC_OK, "64 MiB came through a slow cable that was cut");
    printf("under way: %s\n", mc_status_name(status));
    status = ended(&world, started(&world, MC_OPCODE_READ, 1000));
    CHECK(status != MC_OK, "bytes came through a cable that is cut");
    printf("started while it is cut: %s\n", mc_status_name(status));
    CHECK_OK(mc_segment_probe(world.engine, world.segment, 300, &probe));
    CHECK(!probe.is_alive, "a peer behind a cut cable is said to be alive");
    cable("up");
    check_it_works(&world, round); /* the first transfer after it: nothing was reopened */
  }
  end_world(&world);
  return 0;
}
