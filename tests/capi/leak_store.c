/* Is everything given back after whole lives of stores: threads, descriptors, mappings, also where opening failed? */
#include "store.h"

#include <dirent.h>

enum { MEMORY = 4 << 20, LENGTH = 200000 };

static size_t entries_of(const char *directory) {
  size_t count = 0;
  DIR *listing = opendir(directory);
  CHECK(listing != NULL, "%s: %s", directory, strerror(errno));
  while (readdir(listing) != NULL) count++;
  closedir(listing);
  return count;
}

static size_t memory_file_mappings(void) {
  char line[512];
  size_t count = 0;
  FILE *maps = fopen("/proc/self/maps", "r");
  CHECK(maps != NULL, "/proc/self/maps: %s", strerror(errno));
  while (fgets(line, sizeof line, maps) != NULL) count += strstr(line, "memfd:") != NULL;
  fclose(maps);
  return count;
}

/* One life with everything in it; what is careless leaves all of it to the close. */
static void live(bool is_careless) {
  static uint8_t bytes[LENGTH];
  mc_store_t *store = store_with(MEMORY);
  mc_cq_t cq = 0;
  mc_store_put_size_t size;
  mc_store_key_t key = key_of("key");
  mc_span_t span = span_of(bytes, LENGTH);
  mc_store_put_t put = {key_of("background"), &span, 1};
  mc_store_result_t result, later;
  mc_store_writing_t writing = 0;
  mc_store_reading_t reading = 0;
  mc_store_view_t view;
  mc_completion_t item;
  size_t count = 0;
  CHECK_OK(mc_cq_create(engine_of_store(store), NULL, &cq));
  CHECK_OK(mc_store_put_submit(store, &put, 1, NULL, cq, 1, &later));
  put_pattern(store, "key", LENGTH, 1);
  check_pattern(store, "key", LENGTH, 1);
  size.key = key_of("session");
  size.size = LENGTH;
  CHECK_OK(mc_store_put_begin(store, &size, 1, NULL, &writing, &result));
  CHECK_OK(mc_store_put_write(store, writing, 0, &span, 1, -1));
  CHECK_OK(mc_store_get_begin(store, &key, 1, NULL, &reading, &result));
  CHECK_OK(mc_store_get_view(store, "key", 3, NULL, &view, NULL));
  if (!is_careless) {
    CHECK_OK(mc_cq_wait(engine_of_store(store), cq, -1, &item, 1, &count));
    CHECK_OK(mc_store_put_commit(store, writing, -1, NULL));
    CHECK_OK(mc_store_get_end(store, reading));
    CHECK_OK(mc_store_buffer_release(store, view.buffer));
  }
  CHECK_OK(mc_store_close(store));
}

static void nothing_is_left_after_many_lives(void) {
  live(false);
  live(true);
  size_t threads = entries_of("/proc/self/task"), files = entries_of("/proc/self/fd"), maps = memory_file_mappings();
  for (int i = 0; i < 8; i++) live(i % 2 == 0);
  CHECK(entries_of("/proc/self/task") <= threads, "%zu threads became %zu", threads, entries_of("/proc/self/task"));
  CHECK(entries_of("/proc/self/fd") <= files, "%zu descriptors became %zu", files, entries_of("/proc/self/fd"));
  CHECK(memory_file_mappings() <= maps, "%zu mappings of memory files became %zu", maps, memory_file_mappings());
}

static void failed_openings_leave_nothing(void) {
  mc_store_options_t options = mc_store_options_default();
  mc_engine_t *holder = engine_with(NULL);
  mc_engine_info_t info = info_of(holder);
  mc_store_t *store = NULL;
  size_t threads = entries_of("/proc/self/task"), files = entries_of("/proc/self/fd");
  options.flags = MC_STORE_FLAG_NO_ENVIRONMENT;
  options.deadline_ms = 50;
  options.memory_bytes = MEMORY;
  for (int i = 0; i < 5; i++) {
    options.master_listen = info.address; /* taken */
    CHECK_STATUS(MC_ERR_IO, mc_store_open(&options, &store));
    options.master_listen = NULL;
    options.node_listen = info.address;
    CHECK_STATUS(MC_ERR_IO, mc_store_open(&options, &store));
    options.node_listen = "192.0.2.1:0";
    CHECK_STATUS(MC_ERR_IO, mc_store_open(&options, &store));
    options.node_listen = NULL;
    options.masters = "127.0.0.1:1";
    CHECK(mc_store_open(&options, &store) != MC_OK, "nobody is there");
    options.masters = NULL;
  }
  CHECK(entries_of("/proc/self/task") <= threads, "%zu threads became %zu", threads, entries_of("/proc/self/task"));
  CHECK(entries_of("/proc/self/fd") <= files, "%zu descriptors became %zu", files, entries_of("/proc/self/fd"));
  CHECK_OK(mc_engine_destroy(holder));
}

int main(void) {
  hang_guard(240);
  RUN(nothing_is_left_after_many_lives);
  RUN(failed_openings_leave_nothing);
  return 0;
}
