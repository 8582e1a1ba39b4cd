/* What tests of transfers share: engines, requests, patterns, and the paths that bytes can take. */
#ifndef MC_TEST_FLOW_H
#define MC_TEST_FLOW_H

#include "check.h"

#include <stdint.h>
#include <sys/mman.h>
#include <time.h>

/* One way for bytes to reach a peer, and the kind of peer and memory that take it. */
typedef struct path_t {
  const char *name;
  bool in_other_process;
  bool in_allocated_memory;
} path_t;

static const path_t PATHS[] = {
    {"local", false, false},
    {"memfd", true, true},
    {"cma", true, false},
    {"tcp", true, false},
};
#define PATH_COUNT (sizeof PATHS / sizeof PATHS[0])

/* An engine on loopback that may use these transports (NULL: all), whatever the environment says. */
static inline mc_engine_t *engine_with(const char *transports) {
  mc_engine_options_t options = mc_engine_options_default();
  mc_engine_t *engine = NULL;
  options.flags = MC_ENGINE_FLAG_NO_ENVIRONMENT;
  options.bind_address = "127.0.0.1";
  options.transports = transports;
  CHECK_OK(mc_engine_create(&options, &engine));
  return engine;
}

static inline mc_engine_info_t info_of(const mc_engine_t *engine) {
  mc_engine_info_t info = mc_engine_info_default();
  CHECK_OK(mc_engine_get_info(engine, &info));
  return info;
}

static inline mc_engine_stats_t stats_of(const mc_engine_t *engine) {
  mc_engine_stats_t stats = mc_engine_stats_default();
  CHECK_OK(mc_engine_get_stats(engine, &stats));
  return stats;
}

static inline mc_segment_t local_segment(const mc_engine_t *engine) { return info_of(engine).local_segment; }

/* True if `word` is one of the comma-separated words of `list`. */
static inline bool is_listed(const char *list, const char *word) {
  size_t length = strlen(word);
  const char *at = list;
  while ((at = strstr(at, word)) != NULL) {
    if ((at == list || at[-1] == ',') && (at[length] == ',' || at[length] == 0)) return true;
    at += length;
  }
  return false;
}

/* Runs a test over each path: those in MC_TEST_TRANSPORTS, or all. A host without shared memory paths (a container
 * can forbid them) goes without them; "local" and "tcp" work everywhere. */
static inline void for_each_path(const char *title, void (*test)(const path_t *path)) {
  const char *wanted = getenv("MC_TEST_TRANSPORTS");
  mc_engine_t *all = engine_with(NULL);
  mc_engine_info_t info = info_of(all);
  CHECK_OK(mc_engine_destroy(all));
  for (size_t i = 0; i < PATH_COUNT; i++) {
    const path_t *path = &PATHS[i];
    if (wanted != NULL && !is_listed(wanted, path->name)) continue;
    if (!is_listed(info.transports, path->name)) {
      CHECK(strcmp(path->name, "local") != 0 && strcmp(path->name, "tcp") != 0, "%s is not usable: \"%s\"", path->name,
            info.transports);
      printf("- %s [%s]: not usable on this host, left out\n", title, path->name);
      continue;
    }
    printf("- %s [%s]\n", title, path->name);
    fflush(stdout);
    test(path);
  }
}
#define RUN_OVER_PATHS(test) for_each_path(#test, test)

static inline mc_request_t request_of(mc_opcode_t opcode, mc_segment_t segment, uint64_t remote, void *local,
                                      uint64_t length) {
  mc_request_t request;
  memset(&request, 0, sizeof request);
  request.opcode = opcode;
  request.segment = segment;
  request.remote = remote;
  request.local = local;
  request.length = length;
  return request;
}

/* Submits, waits until it is done, releases; returns what became of it. */
static inline mc_status_t move_batch(mc_engine_t *engine, const mc_request_t *requests, size_t count) {
  mc_batch_t batch = 0;
  mc_batch_info_t info = mc_batch_info_default();
  mc_status_t status = mc_batch_submit(engine, requests, count, NULL, &batch);
  if (status != MC_OK) return status;
  status = mc_batch_wait(engine, batch, -1, &info);
  CHECK(info.is_done, "a wait without end returned %s before the end", mc_status_name(status));
  CHECK(info.status == status, "wait returned %s, the batch says %s", mc_status_name(status),
        mc_status_name(info.status));
  CHECK(info.request_count == count && info.completed_count + info.failed_count == count,
        "%zu requests became %zu done and %zu failed", count, (size_t)info.completed_count, (size_t)info.failed_count);
  CHECK_OK(mc_batch_release(engine, batch));
  return status;
}

static inline mc_status_t move_bytes(mc_engine_t *engine, mc_opcode_t opcode, mc_segment_t segment, uint64_t remote,
                                     void *local, uint64_t length) {
  mc_request_t request = request_of(opcode, segment, remote, local, length);
  return move_batch(engine, &request, 1);
}

static inline mc_region_t registered(mc_engine_t *engine, void *address, size_t length) {
  mc_region_t region = 0;
  CHECK_OK(mc_memory_register(engine, address, length, NULL, &region));
  CHECK(region != 0, "0 is never a region");
  return region;
}

/* Zeroed pages of our own, as no allocator hands out twice by chance. */
static inline uint8_t *pages(size_t length) {
  void *address = mmap(NULL, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  CHECK(address != MAP_FAILED, "mmap of %zu bytes: %s", length, strerror(errno));
  return (uint8_t *)address;
}

/* Byte `index` of the pattern `seed`: no byte equals its neighbours by rule, and seeds differ everywhere. */
static inline uint8_t pattern_at(uint64_t seed, uint64_t index) {
  uint64_t x = (index + 1) * 0x9e3779b97f4a7c15ull ^ seed * 0xc2b2ae3d27d4eb4full;
  return (uint8_t)((x ^ x >> 29) * 0xff51afd7ed558ccdull >> 56);
}

static inline void fill_pattern(void *address, size_t length, uint64_t seed) {
  uint8_t *bytes = (uint8_t *)address;
  for (size_t i = 0; i < length; i++) bytes[i] = pattern_at(seed, i);
}

/* The first index at which the bytes are not pattern `seed` from `start` on; `length` if there is none. */
static inline size_t first_difference(const void *address, size_t length, uint64_t seed, uint64_t start) {
  const uint8_t *bytes = (const uint8_t *)address;
  for (size_t i = 0; i < length; i++)
    if (bytes[i] != pattern_at(seed, start + i)) return i;
  return length;
}

#define CHECK_PATTERN(address, length, seed)                                                             \
  do {                                                                                                   \
    size_t difference = first_difference((address), (length), (seed), 0);                                \
    CHECK(difference == (length), "byte %zu of %zu is not what was sent", difference, (size_t)(length)); \
  } while (0)

/* Where `length` bytes stop to be `value`; `length` where they do not. All are equal when each equals the one before. */
static inline size_t end_of(const uint8_t *bytes, size_t length, uint8_t value) {
  size_t at = 0;
  if (length == 0 || (bytes[0] == value && memcmp(bytes, bytes + 1, length - 1) == 0)) return length;
  while (bytes[at] == value) at++;
  return at;
}

#define CHECK_ALL(address, length, value)                                                  \
  do {                                                                                     \
    size_t at = end_of((const uint8_t *)(address), (size_t)(length), (uint8_t)(value));    \
    CHECK(at == (size_t)(length), "byte %zu is not %02x", at, (unsigned)(uint8_t)(value)); \
  } while (0)

static inline void sleep_ms(unsigned milliseconds) {
  struct timespec time;
  time.tv_sec = milliseconds / 1000;
  time.tv_nsec = (long)(milliseconds % 1000) * 1000000;
  nanosleep(&time, NULL);
}

#endif /* MC_TEST_FLOW_H */
