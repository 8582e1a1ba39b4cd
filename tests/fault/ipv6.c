/* Two hosts that have IPv6 only, and no IPv4 even on loopback: does everything work as it stands? */
#include "fault.h"

int main(int argc, char **argv) {
  char *wrap[] = {(char *)"ip", (char *)"netns", (char *)"exec", NULL, NULL};
  world_t world;
  peer_setup_t setup;
  char blob_name[64];
  PEER_MAIN(argc, argv);
  CHECK(argc == 4, "usage: %s FAR-NAMESPACE NEAR-ADDRESS FAR-ADDRESS", argv[0]);
  hang_guard(120);
  wrap[3] = argv[1];
  memset(&setup, 0, sizeof setup);
  setup.transports = "tcp";
  world.path = &PATHS[3];
  /* No address is named: the engines find out what there is. */
  setup.bind_address = "::";
  mc_engine_options_t options = mc_engine_options_default();
  options.flags = MC_ENGINE_FLAG_NO_ENVIRONMENT;
  options.transports = "tcp";
  CHECK_OK(mc_engine_create(&options, &world.engine));
  mc_engine_info_t info = info_of(world.engine);
  snprintf(blob_name, sizeof blob_name, "[%s]:%u", argv[2], info.port);
  CHECK(strcmp(info.address, blob_name) == 0, "published \"%s\" instead of \"%s\"", info.address, blob_name);
  world.local = pages(BLOCKS * BLOCK);
  registered(world.engine, world.local, BLOCKS * BLOCK);
  peer_spawn(&world.peer, &setup, wrap);
  CHECK(strncmp(world.peer.address + 1, argv[3], strlen(argv[3])) == 0, "the peer published \"%s\"",
        world.peer.address);
  world.segment = opened(world.engine, world.peer.address);
  aim(&world);
  for (uint64_t i = 0; i < 5; i++) check_it_works(&world, i);

  /* By blob as well: it carries addresses too. */
  size_t length = 0;
  void *blob = peer_export(&world.peer, NULL, 0, &length);
  CHECK_OK(mc_segment_close(world.engine, world.segment));
  CHECK_OK(mc_segment_import(world.engine, blob, length, &world.segment));
  free(blob);
  check_it_works(&world, 9);
  end_world(&world);
  return 0;
}
