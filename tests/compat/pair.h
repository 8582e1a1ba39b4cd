/* Two engines of one process, each with a block of registered memory, one of them with the other open. */
#ifndef MC_COMPAT_PAIR_H
#define MC_COMPAT_PAIR_H

#include "check.h"

#define BLOCK 65536

typedef struct {
  transfer_engine_t here, there;
  segment_id_t target;
  char *source, *destination;
} pair_t;

static inline pair_t pair_open(void) {
  pair_t pair;
  char address[64];
  pair.here = engine_at("127.0.0.1");
  pair.there = engine_at("127.0.0.1");
  pair.source = (char *)malloc(BLOCK);
  pair.destination = (char *)calloc(1, BLOCK);
  memset(pair.source, 's', BLOCK);
  EQUAL(0, registerLocalMemory(pair.here, pair.source, BLOCK, "*", 1));
  EQUAL(0, registerLocalMemory(pair.there, pair.destination, BLOCK, "*", 1));
  EQUAL(0, getLocalIpAndPort(pair.there, address, sizeof address));
  pair.target = openSegment(pair.here, address);
  CHECK(pair.target > 0);
  return pair;
}

static inline void pair_close(pair_t *pair) {
  destroyTransferEngine(pair->here);
  destroyTransferEngine(pair->there);
  free(pair->source);
  free(pair->destination);
}

/* A write of `length` bytes at `offset` of both blocks. */
static inline transfer_request_t pair_write(const pair_t *pair, size_t offset, size_t length) {
  return request(OPCODE_WRITE, pair->source + offset, pair->target, pair->destination + offset, length);
}

#endif /* MC_COMPAT_PAIR_H */
