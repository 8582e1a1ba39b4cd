/* What tests of the store share: stores in one process, keys, and spans. */
#ifndef MC_TEST_STORE_H
#define MC_TEST_STORE_H

#include "flow.h"

/* A store that is all in this process. */
static inline mc_store_t *store_with(uint64_t memory_bytes) {
  mc_store_options_t options = mc_store_options_default();
  mc_store_t *store = NULL;
  options.flags = MC_STORE_FLAG_NO_ENVIRONMENT;
  options.memory_bytes = memory_bytes;
  CHECK_OK(mc_store_open(&options, &store));
  return store;
}

static inline mc_store_info_t store_info_of(const mc_store_t *store) {
  mc_store_info_t info = mc_store_info_default();
  CHECK_OK(mc_store_get_info(store, &info));
  return info;
}

static inline mc_engine_t *engine_of_store(const mc_store_t *store) {
  mc_engine_t *engine = NULL;
  CHECK_OK(mc_store_engine(store, &engine));
  return engine;
}

static inline mc_store_key_t key_of(const char *text) {
  mc_store_key_t key;
  key.data = text;
  key.length = strlen(text);
  return key;
}

static inline mc_span_t span_of(void *address, size_t length) {
  mc_span_t span;
  span.address = address;
  span.length = length;
  return span;
}

/* Puts a pattern under a key. */
static inline void put_pattern(mc_store_t *store, const char *key, size_t length, uint64_t seed) {
  uint8_t *bytes = pages(length);
  fill_pattern(bytes, length, seed);
  CHECK_OK(mc_store_put(store, key, strlen(key), bytes, length, NULL, NULL));
  munmap(bytes, length);
}

/* Finds the same pattern there. */
static inline void check_pattern(mc_store_t *store, const char *key, size_t length, uint64_t seed) {
  uint8_t *bytes = pages(length);
  mc_store_result_t result;
  CHECK_OK(mc_store_get(store, key, strlen(key), bytes, length, NULL, &result));
  CHECK(result.size == length && result.version != 0, "%zu bytes, version %zu", (size_t)result.size,
        (size_t)result.version);
  CHECK_PATTERN(bytes, length, seed);
  munmap(bytes, length);
}

static inline bool is_there(mc_store_t *store, const char *key) {
  bool exists = false;
  CHECK_OK(mc_store_exists(store, key, strlen(key), 0, -1, &exists));
  return exists;
}

#endif /* MC_TEST_STORE_H */
