/* Can 64 engines be created at once on one host, by threads and by processes, and does each reach another? */
#include "peer.h"

#include <pthread.h>

enum { ENGINES = 64, LENGTH = 4096 };

typedef struct member_t {
  pthread_t thread;
  pthread_barrier_t *barrier;
  mc_engine_t *engine;
  uint8_t *memory;
  mc_engine_info_t info;
} member_t;

static void *create_at_once(void *argument) {
  member_t *member = (member_t *)argument;
  pthread_barrier_wait(member->barrier);
  member->engine = engine_with(NULL);
  member->memory = pages(LENGTH);
  registered(member->engine, member->memory, LENGTH);
  member->info = info_of(member->engine);
  return NULL;
}

static void threads_create_64_engines_at_once(void) {
  static member_t members[ENGINES];
  pthread_barrier_t barrier;
  pthread_barrier_init(&barrier, NULL, ENGINES);
  for (size_t i = 0; i < ENGINES; i++) {
    members[i].barrier = &barrier;
    CHECK(pthread_create(&members[i].thread, NULL, create_at_once, &members[i]) == 0, "no thread");
  }
  for (size_t i = 0; i < ENGINES; i++) pthread_join(members[i].thread, NULL);
  for (size_t i = 0; i < ENGINES; i++)
    for (size_t j = 0; j < i; j++) {
      CHECK(members[i].engine != members[j].engine, "two engines share a handle");
      CHECK(strcmp(members[i].info.engine_id, members[j].info.engine_id) != 0, "two engines share an identity");
      CHECK(strcmp(members[i].info.name, members[j].info.name) != 0, "two engines share the name \"%s\"",
            members[i].info.name);
      CHECK(members[i].info.port != members[j].info.port, "two engines share port %u", members[i].info.port);
    }
  for (size_t i = 0; i < ENGINES; i++) {
    member_t *from = &members[i], *to = &members[(i + 1) % ENGINES];
    memset(from->memory, (int)i, LENGTH);
    mc_segment_t segment = opened(from->engine, to->info.address);
    CHECK_OK(move_bytes(from->engine, MC_OPCODE_WRITE, segment, (uint64_t)(uintptr_t)to->memory, from->memory, LENGTH));
    CHECK_ALL(to->memory, LENGTH, i);
  }
  for (size_t i = 0; i < ENGINES; i++) {
    CHECK_OK(mc_engine_destroy(members[i].engine));
    munmap(members[i].memory, LENGTH);
  }
  pthread_barrier_destroy(&barrier);
}

static void *spawn_at_once(void *argument) {
  peer_setup_t setup;
  memset(&setup, 0, sizeof setup);
  peer_spawn((peer_t *)argument, &setup, NULL);
  return NULL;
}

static void processes_create_64_engines_at_once(void) {
  static peer_t peers[ENGINES];
  pthread_t threads[ENGINES];
  path_t plain = {"any", true, false};
  mc_engine_t *engine = engine_with(NULL);
  uint8_t *local = pages(LENGTH), *seen = pages(LENGTH);
  registered(engine, local, LENGTH);
  for (size_t i = 0; i < ENGINES; i++)
    CHECK(pthread_create(&threads[i], NULL, spawn_at_once, &peers[i]) == 0, "no thread");
  for (size_t i = 0; i < ENGINES; i++) pthread_join(threads[i], NULL);
  for (size_t i = 0; i < ENGINES; i++) {
    uint64_t remote = peer_region(&peers[i], &plain, LENGTH, 0, NULL);
    mc_segment_t segment = opened(engine, peers[i].address);
    memset(local, (int)i, LENGTH);
    CHECK_OK(move_bytes(engine, MC_OPCODE_WRITE, segment, remote, local, LENGTH));
    peer_read(&peers[i], remote, seen, LENGTH);
    CHECK_ALL(seen, LENGTH, i);
  }
  for (size_t i = 0; i < ENGINES; i++) peer_stop(&peers[i]);
  CHECK_OK(mc_engine_destroy(engine));
  munmap(local, LENGTH);
  munmap(seen, LENGTH);
}

/* The table of engines has an end, which is a status; and its places are used again. */
static void too_many_engines_are_refused(void) {
  static mc_engine_t *engines[4096];
  mc_engine_options_t options = mc_engine_options_default();
  size_t count = 0;
  mc_status_t status = MC_OK;
  options.flags = MC_ENGINE_FLAG_NO_ENVIRONMENT | MC_ENGINE_FLAG_NO_LISTEN;
  options.transports = "local";
  while (count < 4096 && (status = mc_engine_create(&options, &engines[count])) == MC_OK) count++;
  CHECK(count >= ENGINES, "only %zu engines: %s", count, mc_last_error_message());
  CHECK(status == MC_ERR_EXHAUSTED || status == MC_ERR_IO || status == MC_ERR_NO_SPACE, "after %zu engines: %s", count,
        mc_status_name(status));
  CHECK_OK(mc_engine_destroy(engines[count / 2]));
  CHECK_OK(mc_engine_create(&options, &engines[count / 2]));
  for (size_t i = 0; i < count; i++) CHECK_OK(mc_engine_destroy(engines[i]));
}

int main(int argc, char **argv) {
  PEER_MAIN(argc, argv);
  hang_guard(280);
  RUN(threads_create_64_engines_at_once);
  if (getenv("MC_TEST_TRANSPORTS") == NULL || is_listed(getenv("MC_TEST_TRANSPORTS"), "tcp"))
    RUN(processes_create_64_engines_at_once);
  RUN(too_many_engines_are_refused);
  return 0;
}
