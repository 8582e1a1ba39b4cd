/* Memory shared by processes of one host: what happens when its owner, or who copies, does the worst at any moment? */
#include "fault.h"

#include <pthread.h>

typedef struct writer_t {
  world_t *world;
  volatile bool stop;
  size_t written, refused;
} writer_t;

/* Writes into the peer's memory without a pause until it is told to stop. */
static void *keep_writing(void *argument) {
  writer_t *writer = (writer_t *)argument;
  while (!writer->stop) {
    mc_status_t status = move_batch(writer->world->engine, writer->world->requests, BLOCKS);
    CHECK(status == MC_OK || status == MC_ERR_ADDRESS_NOT_REGISTERED, "%s: \"%s\"", mc_status_name(status),
          mc_last_error_message());
    if (status == MC_OK)
      writer->written++;
    else
      writer->refused++;
  }
  return NULL;
}

/* The owner unregisters, frees and reuses the addresses while copies into them run: none reaches the new memory. */
static void freed_memory_is_never_written(const path_t *path) {
  world_t world;
  uint8_t *seen = pages(BLOCKS * BLOCK);
  start_world(&world, path, 5000);
  memset(world.local, 0x11, BLOCKS * BLOCK);
  for (unsigned round = 0; round < 12; round++) {
    writer_t writer;
    pthread_t thread;
    memset(&writer, 0, sizeof writer);
    writer.world = &world;
    for (size_t i = 0; i < BLOCKS; i++) world.requests[i].opcode = MC_OPCODE_WRITE;
    CHECK(pthread_create(&thread, NULL, keep_writing, &writer) == 0, "no thread");
    while (writer.written == 0) sleep_ms(1);
    sleep_ms(round);
    mc_status_t status = peer_unregister(&world.peer, world.remote_region, MC_MEMORY_FLAG_NO_WAIT);
    CHECK(status == MC_OK || status == MC_ERR_BUSY, "%s", mc_status_name(status));
    if (status == MC_ERR_BUSY) CHECK_OK(peer_unregister(&world.peer, world.remote_region, 0));
    peer_reuse(&world.peer, world.remote, BLOCKS * BLOCK, 0x99);
    sleep_ms(20);
    writer.stop = true;
    pthread_join(thread, NULL);
    CHECK(writer.refused > 0, "writing went on although nothing is registered");
    peer_read(&world.peer, world.remote, seen, BLOCKS * BLOCK);
    CHECK_ALL(seen, BLOCKS * BLOCK, 0x99);
    aim(&world);
  }
  end_world(&world);
  munmap(seen, BLOCKS * BLOCK);
}

/* What was offered cannot be cut away under a copy: the kernel refuses, and transfers go on. */
static void offered_memory_cannot_be_truncated(const path_t *path) {
  world_t world;
  peer_command_t command = peer_command(PEER_TRUNCATE);
  start_world(&world, path, 5000);
  check_it_works(&world, 1);
  peer_answer_t answer = peer_call(&world.peer, &command, NULL, 0, NULL);
  CHECK(answer.length == 0, "%zu memory files let themselves be truncated", (size_t)answer.length);
  check_it_works(&world, 2);
  end_world(&world);
}

/* A peer that is in the middle of copying from us: dead, or stopped. */
static peer_command_t pulling(const world_t *world, uint64_t address) {
  peer_command_t command = peer_command(PEER_PULL);
  mc_engine_info_t info = info_of(world->engine);
  CHECK(strlen(info.address) < sizeof command.tag, "\"%s\"", info.address);
  memcpy(command.tag, info.address, strlen(info.address) + 1);
  command.region = address;
  command.length = BLOCKS * BLOCK;
  command.flags = 100000;
  return command;
}

/* Our own memory for a peer to copy from. */
static mc_region_t offered(world_t *world, void **out_address) {
  mc_region_t region = 0;
  if (world->path->in_allocated_memory) {
    CHECK_OK(mc_memory_allocate(world->engine, BLOCKS * BLOCK, NULL, out_address, &region));
  } else {
    *out_address = pages(BLOCKS * BLOCK);
    region = registered(world->engine, *out_address, BLOCKS * BLOCK);
  }
  return region;
}

static mc_status_t taken_back(world_t *world, mc_region_t region, uint64_t flags) {
  return world->path->in_allocated_memory ? mc_memory_free(world->engine, region, flags)
                                          : mc_memory_unregister(world->engine, region, flags);
}

static void a_copier_that_dies_holds_nothing(const path_t *path) {
  for (unsigned round = 0; round < 5; round++) {
    world_t world;
    void *address = NULL;
    start_world(&world, path, 2000);
    mc_region_t region = offered(&world, &address);
    peer_command_t command = pulling(&world, (uint64_t)(uintptr_t)address);
    peer_send(&world.peer, &command, NULL, 0);
    sleep_ms(20 + 7 * round);
    peer_kill(&world.peer);
    CHECK_OK(taken_back(&world, region, 0));
    CHECK_OK(mc_engine_destroy(world.engine));
    munmap(world.local, BLOCKS * BLOCK);
  }
}

static void a_copier_that_is_stopped_is_busy_or_fenced(const path_t *path) {
  world_t world;
  void *address = NULL, *bytes = NULL;
  peer_answer_t answer;
  int status = 0;
  start_world(&world, path, 2000);
  mc_region_t region = offered(&world, &address);
  peer_command_t command = pulling(&world, (uint64_t)(uintptr_t)address);
  peer_send(&world.peer, &command, NULL, 0);
  sleep_ms(50);
  CHECK(kill(world.peer.pid, SIGSTOP) == 0, "kill: %s", strerror(errno));
  CHECK(waitpid(world.peer.pid, &status, WUNTRACED) == world.peer.pid && WIFSTOPPED(status), "it did not stop");
  mc_status_t without_waiting = taken_back(&world, region, MC_MEMORY_FLAG_NO_WAIT);
  mc_status_t waiting = without_waiting == MC_OK ? MC_OK : taken_back(&world, region, 0);
  CHECK(without_waiting == MC_OK || without_waiting == MC_ERR_BUSY, "%s", mc_status_name(without_waiting));
  CHECK(waiting == MC_OK || waiting == MC_ERR_BUSY, "%s", mc_status_name(waiting));
  printf("  at once: %s; waiting: %s\n", mc_status_name(without_waiting), mc_status_name(waiting));
  CHECK(kill(world.peer.pid, SIGCONT) == 0, "kill: %s", strerror(errno));
  if (waiting == MC_ERR_BUSY) CHECK_OK(taken_back(&world, region, 0));
  CHECK(peer_take(&world.peer, &answer, &bytes), "the peer process died");
  /* It finds its region gone, or, after so long a sleep, takes us for lost first. */
  CHECK(answer.status == MC_ERR_ADDRESS_NOT_REGISTERED || is_loss(answer.status), "the copier ended with %s",
        mc_status_name(answer.status));
  end_world(&world);
}

int main(int argc, char **argv) {
  PEER_MAIN(argc, argv);
  hang_guard(280);
  RUN_OVER_PATHS(freed_memory_is_never_written);
  RUN_OVER_PATHS(offered_memory_cannot_be_truncated);
  RUN_OVER_PATHS(a_copier_that_dies_holds_nothing);
  RUN_OVER_PATHS(a_copier_that_is_stopped_is_busy_or_fenced);
  return 0;
}
