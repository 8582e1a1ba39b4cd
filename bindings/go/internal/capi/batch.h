/* How a batch crosses from Go in one call: Go fills a list without pointers, here it becomes what the library takes. */
#ifndef MOONCAKE_GO_BATCH_H
#define MOONCAKE_GO_BATCH_H

#include <mooncake.h>
#include <stdlib.h>

/* A request without pointers. */
typedef struct {
  uint32_t opcode;
  uint32_t piece_count;
  uint64_t segment;
  uint64_t remote;
  uintptr_t local;
  uint64_t length;
  uint64_t first_piece;
  uint64_t user_data;
} go_request_t;

/* A piece of local memory, laid out as mc_span_t is. */
typedef struct {
  uintptr_t address;
  size_t length;
} go_piece_t;

typedef mc_status_t (*go_make_batch_t)(mc_engine_t *, const mc_request_t *, size_t, const mc_batch_options_t *,
                                       mc_batch_t *);

static mc_status_t go_batch(go_make_batch_t make, mc_engine_t *engine, const go_request_t *from, size_t count,
                            const go_piece_t *pieces, const mc_batch_options_t *options, mc_batch_t *batch) {
  enum { FEW = 32 };
  mc_request_t few[FEW], *requests = few;
  if (count > FEW) requests = calloc(count, sizeof *requests);
  /* Without memory the library is told NULL, and says so. */
  for (size_t i = 0; requests != NULL && i < count; i++) {
    mc_request_t request = {
        .opcode = from[i].opcode,
        .segment = from[i].segment,
        .remote = from[i].remote,
        .local = (void *)from[i].local,
        .length = from[i].length,
        .spans = from[i].piece_count ? (const mc_span_t *)(pieces + from[i].first_piece) : NULL,
        .span_count = from[i].piece_count,
        .user_data = from[i].user_data,
    };
    requests[i] = request;
  }
  mc_status_t status = make(engine, requests, count, options, batch);
  if (requests != few) free(requests);
  return status;
}

static mc_status_t go_submit(mc_engine_t *engine, const go_request_t *requests, size_t count, const go_piece_t *pieces,
                             const mc_batch_options_t *options, mc_batch_t *batch) {
  return go_batch(mc_batch_submit, engine, requests, count, pieces, options, batch);
}

static mc_status_t go_prepare(mc_engine_t *engine, const go_request_t *requests, size_t count, const go_piece_t *pieces,
                              const mc_batch_options_t *options, mc_batch_t *batch) {
  return go_batch(mc_batch_prepare, engine, requests, count, pieces, options, batch);
}

#endif /* MOONCAKE_GO_BATCH_H */
