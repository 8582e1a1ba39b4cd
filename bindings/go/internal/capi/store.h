/* How many objects cross from Go in one call: Go fills lists without pointers, here they become what the library takes. */
#ifndef MOONCAKE_GO_STORE_H
#define MOONCAKE_GO_STORE_H

#include "batch.h"

/* An object: where its key lies in one run of bytes, and which pieces or ranges are its own. */
typedef struct {
  size_t key_at;
  size_t key_length;
  size_t first_piece;
  size_t piece_count;
  size_t first_range;
  size_t range_count;
  uint64_t size;
} go_object_t;

/* A part of an object. */
typedef struct {
  uint64_t offset;
  size_t first_piece;
  size_t piece_count;
} go_range_t;

typedef struct {
  const char *keys;
  const go_object_t *objects;
  size_t count;
  const go_piece_t *pieces;
  const go_range_t *ranges;
  size_t range_count;
} go_objects_t;

static mc_store_key_t go_key(const go_objects_t *from, size_t index) {
  mc_store_key_t key = {from->keys + from->objects[index].key_at, from->objects[index].key_length};
  return key;
}

/* Without memory the library is told NULL, and says so. */
static mc_store_key_t *go_keys(const go_objects_t *from) {
  mc_store_key_t *keys = calloc(from->count, sizeof *keys);
  for (size_t i = 0; keys != NULL && i < from->count; i++) keys[i] = go_key(from, i);
  return keys;
}

static mc_store_range_t *go_ranges(const go_objects_t *from) {
  mc_store_range_t *ranges = calloc(from->range_count + 1, sizeof *ranges);
  for (size_t i = 0; ranges != NULL && i < from->range_count; i++) {
    ranges[i].offset = from->ranges[i].offset;
    ranges[i].spans = (const mc_span_t *)(from->pieces + from->ranges[i].first_piece);
    ranges[i].span_count = from->ranges[i].piece_count;
  }
  return ranges;
}

static mc_store_put_t *go_puts(const go_objects_t *from) {
  mc_store_put_t *puts = calloc(from->count, sizeof *puts);
  for (size_t i = 0; puts != NULL && i < from->count; i++) {
    puts[i].key = go_key(from, i);
    puts[i].spans = (const mc_span_t *)(from->pieces + from->objects[i].first_piece);
    puts[i].span_count = from->objects[i].piece_count;
  }
  return puts;
}

static mc_status_t go_store_put(mc_store_t *store, const go_objects_t *from, const mc_store_put_options_t *options,
                                mc_store_result_t *results) {
  mc_store_put_t *puts = go_puts(from);
  mc_status_t status = mc_store_put_batch(store, puts, from->count, options, results);
  free(puts);
  return status;
}

static mc_status_t go_store_put_submit(mc_store_t *store, const go_objects_t *from,
                                       const mc_store_put_options_t *options, mc_cq_t queue, uint64_t user_data,
                                       mc_store_result_t *results) {
  mc_store_put_t *puts = go_puts(from);
  mc_status_t status = mc_store_put_submit(store, puts, from->count, options, queue, user_data, results);
  free(puts);
  return status;
}

static mc_store_get_t *go_gets(const go_objects_t *from, const mc_store_range_t *ranges) {
  mc_store_get_t *gets = ranges != NULL ? calloc(from->count, sizeof *gets) : NULL;
  for (size_t i = 0; gets != NULL && i < from->count; i++) {
    const go_object_t *object = &from->objects[i];
    gets[i].key = go_key(from, i);
    if (object->range_count != 0) {
      gets[i].ranges = ranges + object->first_range;
      gets[i].range_count = object->range_count;
    } else {
      gets[i].spans = (const mc_span_t *)(from->pieces + object->first_piece);
      gets[i].span_count = object->piece_count;
    }
  }
  return gets;
}

static mc_status_t go_store_get(mc_store_t *store, const go_objects_t *from, const mc_store_get_options_t *options,
                                mc_store_result_t *results) {
  mc_store_range_t *ranges = go_ranges(from);
  mc_store_get_t *gets = go_gets(from, ranges);
  mc_status_t status = mc_store_get_batch(store, gets, from->count, options, results);
  free(ranges);
  free(gets);
  return status;
}

static mc_status_t go_store_get_submit(mc_store_t *store, const go_objects_t *from,
                                       const mc_store_get_options_t *options, mc_cq_t queue, uint64_t user_data,
                                       mc_store_result_t *results) {
  mc_store_range_t *ranges = go_ranges(from);
  mc_store_get_t *gets = go_gets(from, ranges);
  mc_status_t status = mc_store_get_submit(store, gets, from->count, options, queue, user_data, results);
  free(ranges);
  free(gets);
  return status;
}

static mc_status_t go_store_get_view(mc_store_t *store, const go_objects_t *from, const mc_store_get_options_t *options,
                                     mc_store_view_t *views, mc_store_result_t *results) {
  mc_store_key_t *keys = go_keys(from);
  mc_status_t status = mc_store_get_view_batch(store, keys, from->count, options, views, results);
  free(keys);
  return status;
}

static mc_status_t go_store_put_begin(mc_store_t *store, const go_objects_t *from,
                                      const mc_store_put_options_t *options, mc_store_writing_t *writings,
                                      mc_store_result_t *results) {
  mc_store_put_size_t *puts = calloc(from->count, sizeof *puts);
  for (size_t i = 0; puts != NULL && i < from->count; i++) {
    puts[i].key = go_key(from, i);
    puts[i].size = from->objects[i].size;
  }
  mc_status_t status = mc_store_put_begin(store, puts, from->count, options, writings, results);
  free(puts);
  return status;
}

static mc_status_t go_store_get_begin(mc_store_t *store, const go_objects_t *from,
                                      const mc_store_get_options_t *options, mc_store_reading_t *readings,
                                      mc_store_result_t *results) {
  mc_store_key_t *keys = go_keys(from);
  mc_status_t status = mc_store_get_begin(store, keys, from->count, options, readings, results);
  free(keys);
  return status;
}

static mc_status_t go_store_exists(mc_store_t *store, const go_objects_t *from, uint64_t flags, int64_t timeout_ms,
                                   mc_store_result_t *results) {
  mc_store_key_t *keys = go_keys(from);
  mc_status_t status = mc_store_exists_batch(store, keys, from->count, flags, timeout_ms, results);
  free(keys);
  return status;
}

static mc_status_t go_store_remove(mc_store_t *store, const go_objects_t *from, uint64_t flags, int64_t timeout_ms,
                                   mc_store_result_t *results) {
  mc_store_key_t *keys = go_keys(from);
  mc_status_t status = mc_store_remove_batch(store, keys, from->count, flags, timeout_ms, results);
  free(keys);
  return status;
}

static mc_status_t go_store_read(mc_store_t *store, mc_store_reading_t reading, uint64_t offset, go_piece_t piece,
                                 int64_t timeout_ms) {
  mc_span_t span = {(void *)piece.address, piece.length};
  mc_store_range_t range = {offset, &span, 1};
  return mc_store_get_read(store, reading, &range, 1, timeout_ms);
}

#endif /* MOONCAKE_GO_STORE_H */
