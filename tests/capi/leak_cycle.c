/* Is everything given back: memory, descriptors, threads and mappings, after whole lives of engines? */
#include "peer.h"

#include <dirent.h>

enum { LENGTH = 1 << 16, COUNT = 16 };

static size_t entries_of(const char *directory) {
  size_t count = 0;
  DIR *listing = opendir(directory);
  CHECK(listing != NULL, "%s: %s", directory, strerror(errno));
  while (readdir(listing) != NULL) count++;
  closedir(listing);
  return count;
}

/* Mappings of memory files: what mc_memory_allocate() makes and what peers map of it. */
static size_t memory_file_mappings(void) {
  char line[512];
  size_t count = 0;
  FILE *maps = fopen("/proc/self/maps", "r");
  CHECK(maps != NULL, "/proc/self/maps: %s", strerror(errno));
  while (fgets(line, sizeof line, maps) != NULL) count += strstr(line, "memfd:") != NULL;
  fclose(maps);
  return count;
}

/* One life with everything in it, the careless part too: ids that are never given back end with their engine. */
static void live(const path_t *path, bool is_careless) {
  mc_engine_t *engine = engine_with(path->name);
  uint8_t *local = pages(LENGTH);
  void *allocated = NULL;
  mc_region_t region = 0, own = registered(engine, local, LENGTH);
  mc_request_t requests[COUNT];
  mc_batch_options_t options = mc_batch_options_default();
  mc_batch_t batch = 0, prepared = 0;
  mc_completion_t items[COUNT];
  peer_t peer;
  size_t count = 0, length = 0;
  void *got = NULL;
  peer_start(&peer, path);
  uint64_t remote = peer_region(&peer, path, LENGTH, 0, NULL);
  mc_segment_t segment = opened(engine, peer.address);
  CHECK_OK(mc_memory_allocate(engine, LENGTH, NULL, &allocated, &region));
  CHECK_OK(mc_cq_create(engine, NULL, &options.cq));
  for (size_t i = 0; i < COUNT; i++)
    requests[i] = request_of(MC_OPCODE_WRITE, segment, remote + i * (LENGTH / COUNT), local + i * (LENGTH / COUNT),
                             LENGTH / COUNT);
  options.notify_tag = "tag";
  options.notify_data = "data";
  options.notify_length = 4;
  CHECK_OK(mc_batch_submit(engine, requests, COUNT, &options, &batch));
  CHECK_OK(mc_batch_prepare(engine, requests, COUNT, NULL, &prepared));
  CHECK_OK(mc_batch_post(engine, prepared));
  CHECK_OK(mc_batch_wait(engine, batch, -1, NULL));
  CHECK_OK(mc_batch_wait(engine, prepared, -1, NULL));
  if (!is_careless) {
    CHECK_OK(peer_receive(&peer, "tag", -1, &got, &length));
    free(got);
    CHECK_OK(mc_cq_poll(engine, options.cq, items, COUNT, &count));
    CHECK_OK(mc_batch_release(engine, batch));
    CHECK_OK(mc_batch_release(engine, prepared));
    CHECK_OK(mc_cq_destroy(engine, options.cq));
    CHECK_OK(mc_segment_close(engine, segment));
    CHECK_OK(mc_memory_free(engine, region, 0));
    CHECK_OK(mc_memory_unregister(engine, own, 0));
  }
  CHECK_OK(mc_engine_destroy(engine));
  peer_stop(&peer);
  munmap(local, LENGTH);
}

static void nothing_is_left_after_many_lives(const path_t *path) {
  live(path, false);
  live(path, true);
  size_t threads = entries_of("/proc/self/task"), files = entries_of("/proc/self/fd"), maps = memory_file_mappings();
  for (int i = 0; i < 12; i++) live(path, i % 2 == 0);
  CHECK(entries_of("/proc/self/task") <= threads, "%zu threads became %zu", threads, entries_of("/proc/self/task"));
  CHECK(entries_of("/proc/self/fd") <= files, "%zu descriptors became %zu", files, entries_of("/proc/self/fd"));
  CHECK(memory_file_mappings() <= maps, "%zu mappings of memory files became %zu", maps, memory_file_mappings());
}

/* Errors at every step of create give back what the steps before had taken. */
static void failed_creations_leave_nothing(void) {
  mc_engine_options_t options = mc_engine_options_default();
  mc_engine_t *engine = NULL, *holder = engine_with(NULL);
  size_t threads = entries_of("/proc/self/task"), files = entries_of("/proc/self/fd");
  options.flags = MC_ENGINE_FLAG_NO_ENVIRONMENT;
  for (int i = 0; i < 50; i++) {
    options.bind_address = "127.0.0.1";
    options.port = (uint16_t)info_of(holder).port;
    CHECK_STATUS(MC_ERR_IO, mc_engine_create(&options, &engine));
    options.port = 0;
    options.bind_address = "192.0.2.1";
    CHECK_STATUS(MC_ERR_IO, mc_engine_create(&options, &engine));
    options.metadata = "file:///nowhere/at/all";
    CHECK(mc_engine_create(&options, &engine) != MC_OK, "there is no such directory");
    options.metadata = NULL;
  }
  CHECK(entries_of("/proc/self/task") == threads, "%zu threads became %zu", threads, entries_of("/proc/self/task"));
  CHECK(entries_of("/proc/self/fd") == files, "%zu descriptors became %zu", files, entries_of("/proc/self/fd"));
  CHECK_OK(mc_engine_destroy(holder));
}

int main(int argc, char **argv) {
  PEER_MAIN(argc, argv);
  hang_guard(180);
  RUN_OVER_PATHS(nothing_is_left_after_many_lives);
  RUN(failed_creations_leave_nothing);
  return 0;
}
