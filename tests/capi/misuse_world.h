/* The world in which each misuse happens, made anew for each: two engines, and ids that live, are stale or foreign. */
#ifndef MC_TEST_MISUSE_WORLD_H
#define MC_TEST_MISUSE_WORLD_H

#include "flow.h"

enum { ROOM = 4096 };

/* Ids of one engine. */
typedef struct ids_t {
  mc_region_t region, allocated;
  mc_region_t held; /* by the batch */
  mc_segment_t segment;
  mc_batch_t batch; /* prepared, posted and done */
  mc_cq_t cq;
} ids_t;

typedef struct world_t {
  mc_engine_t *engine, *other, *destroyed, *older;
  ids_t live, stale, foreign;
  char address[80];   /* of `other` */
  uint8_t blob[2048]; /* of `other` */
  size_t blob_length;
  uint8_t *memory;
} world_t;

/* What a call gets. Valid as it starts; a row of the table spoils one thing. */
typedef struct arguments_t {
  const world_t *world;
  mc_engine_t *engine;
  ids_t ids;
  mc_region_t regions[2];
  mc_span_t spans[2], pieces[2];
  mc_request_t requests[2];
  void *address;
  size_t length, count, size, capacity, index;
  uint64_t flags;
  int64_t timeout_ms;
  const char *name, *tag;
  const void *data, *array;
  uint32_t number;
  void *options, *out, *out2;
  uint32_t info_size, options_size;
  uint64_t options_room[64];              /* larger than any options struct */
  uint64_t out_room[8192], out2_room[64]; /* larger than any output */
} arguments_t;

static inline void make_ids(mc_engine_t *engine, uint8_t *memory, const char *address, ids_t *ids) {
  mc_request_t request =
      request_of(MC_OPCODE_WRITE, local_segment(engine), (uint64_t)(uintptr_t)memory + ROOM / 2, memory, 64);
  void *allocated = NULL;
  ids->held = registered(engine, memory, ROOM);
  ids->region = registered(engine, memory + ROOM, ROOM);
  CHECK_OK(mc_segment_open(engine, address, -1, &ids->segment));
  CHECK_OK(mc_memory_allocate(engine, ROOM, NULL, &allocated, &ids->allocated));
  CHECK_OK(mc_cq_create(engine, NULL, &ids->cq));
  CHECK_OK(mc_batch_prepare(engine, &request, 1, NULL, &ids->batch));
  CHECK_OK(mc_batch_post(engine, ids->batch));
  CHECK_OK(mc_batch_wait(engine, ids->batch, -1, NULL));
}

static inline void end_ids(mc_engine_t *engine, const ids_t *ids) {
  CHECK_OK(mc_batch_release(engine, ids->batch));
  CHECK_OK(mc_cq_destroy(engine, ids->cq));
  CHECK_OK(mc_segment_close(engine, ids->segment));
  CHECK_OK(mc_memory_free(engine, ids->allocated, 0));
  CHECK_OK(mc_memory_unregister(engine, ids->region, 0));
  CHECK_OK(mc_memory_unregister(engine, ids->held, 0));
}

static inline void make_world(world_t *world) {
  mc_engine_info_t info;
  memset(world, 0, sizeof *world);
  world->memory = pages(2 * ROOM);
  world->older = engine_with("local");
  CHECK_OK(mc_engine_destroy(world->older));
  world->engine = engine_with("local");
  world->other = engine_with("local");
  info = info_of(world->other);
  memcpy(world->address, info.address, sizeof info.address);
  make_ids(world->engine, world->memory, world->address, &world->stale);
  end_ids(world->engine, &world->stale);
  make_ids(world->engine, world->memory, world->address, &world->live);
  make_ids(world->other, world->memory, info_of(world->engine).address, &world->foreign);
  CHECK_OK(mc_engine_export(world->other, NULL, 0, world->blob, sizeof world->blob, &world->blob_length));
  CHECK_OK(mc_notify_send(world->engine, local_segment(world->engine), "tag", "data", 4, -1));
  world->destroyed = engine_with("local");
  CHECK_OK(mc_engine_destroy(world->destroyed));
}

/* The row may have destroyed the engine. */
static inline void end_world(world_t *world) {
  mc_engine_destroy(world->engine);
  CHECK_OK(mc_engine_destroy(world->other));
  munmap(world->memory, 2 * ROOM);
}

static inline void make_arguments(arguments_t *a, const world_t *world) {
  memset(a, 0, sizeof *a);
  memset(a->out_room, 0xa5, sizeof a->out_room);
  memset(a->out2_room, 0xa5, sizeof a->out2_room);
  a->world = world;
  a->engine = world->engine;
  a->ids = world->live;
  a->regions[0] = a->regions[1] = world->live.region;
  a->address = world->memory;
  a->length = ROOM;
  a->count = 2;
  for (size_t i = 0; i < 2; i++) {
    a->spans[i].address = a->pieces[i].address = world->memory + i * 64;
    a->spans[i].length = a->pieces[i].length = 64;
    a->requests[i] = request_of(MC_OPCODE_READ, local_segment(world->engine),
                                (uint64_t)(uintptr_t)world->memory + ROOM / 2, world->memory + i * 64, 64);
  }
  a->size = sizeof a->out_room;
  a->capacity = 4;
  a->timeout_ms = 1000;
  a->name = world->address;
  a->data = "data";
  a->tag = "tag";
  a->options = a->options_room;
  a->out = a->out_room;
  a->out2 = a->out2_room;
}

#endif /* MC_TEST_MISUSE_WORLD_H */
