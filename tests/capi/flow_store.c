/* Are objects put and got whole, in parts, gathered and scattered, one by one and many at once? */
#include "store.h"

enum { MEMORY = 48 << 20, SMALL = 300, LARGE = (1 << 20) + 77 };

static mc_store_t *store;

/* The first program: no options, no server, no registration. */
static void a_store_without_options_holds_objects(void) {
  mc_store_t *whole = NULL;
  mc_store_info_t info;
  CHECK_OK(mc_store_open(NULL, &whole));
  put_pattern(whole, "a", SMALL, 1);
  check_pattern(whole, "a", SMALL, 1);
  info = store_info_of(whole);
  CHECK(info.memory_bytes == (uint64_t)64 << 20 && info.held_bytes >= SMALL, "%zu of %zu bytes",
        (size_t)info.held_bytes, (size_t)info.memory_bytes);
  CHECK(info.master_address[0] != 0 && info.node_address[0] != 0, "no addresses");
  CHECK_OK(mc_store_close(whole));
  CHECK_STATUS(MC_ERR_INVALID_HANDLE, mc_store_close(whole));
  CHECK_OK(mc_store_close(NULL));
}

static void objects_of_all_sizes_come_back(void) {
  static const size_t SIZES[] = {1, 63, 4096, 65535, 65536, 65537, LARGE, 5 << 20};
  char key[32];
  for (size_t i = 0; i < sizeof SIZES / sizeof SIZES[0]; i++) {
    snprintf(key, sizeof key, "size/%zu", SIZES[i]);
    put_pattern(store, key, SIZES[i], i);
    check_pattern(store, key, SIZES[i], i);
    uint64_t size = 0;
    CHECK_OK(mc_store_get_size(store, key, strlen(key), -1, &size));
    CHECK(size == SIZES[i], "%zu bytes became %zu", SIZES[i], (size_t)size);
  }
}

/* Missing, there already, too small, outside: four different answers. */
static void each_failure_has_its_status(void) {
  uint8_t bytes[SMALL];
  mc_store_result_t result;
  memset(bytes, 7, sizeof bytes);
  CHECK(!is_there(store, "nobody"), "it is there");
  CHECK_STATUS(MC_ERR_NOT_FOUND, mc_store_get(store, "nobody", 6, bytes, SMALL, NULL, &result));
  CHECK(result.status == MC_ERR_NOT_FOUND && result.size == 0, "%s", mc_status_name(result.status));
  CHECK_STATUS(MC_ERR_NOT_FOUND, mc_store_remove(store, "nobody", 6, 0, -1));
  CHECK_OK(mc_store_put(store, "one", 3, bytes, SMALL, NULL, NULL));
  CHECK_STATUS(MC_ERR_ALREADY_EXISTS, mc_store_put(store, "one", 3, bytes, SMALL, NULL, &result));
  CHECK(result.status == MC_ERR_ALREADY_EXISTS, "%s", mc_status_name(result.status));
  CHECK_STATUS(MC_ERR_BUFFER_TOO_SMALL, mc_store_get(store, "one", 3, bytes, SMALL - 1, NULL, NULL));
  CHECK_STATUS(MC_ERR_INVALID_ARGUMENT, mc_store_get_range(store, "one", 3, 1, bytes, SMALL, NULL, NULL));
  CHECK_OK(mc_store_remove(store, "one", 3, 0, -1));
  CHECK(!is_there(store, "one"), "it is there");
}

static void an_upsert_replaces_and_counts_up(void) {
  mc_store_put_options_t options = mc_store_put_options_default();
  mc_store_result_t first, second;
  char back[8];
  options.flags = MC_STORE_FLAG_UPSERT;
  CHECK_OK(mc_store_put(store, "up", 2, "old", 3, &options, &first));
  CHECK_OK(mc_store_put(store, "up", 2, "newer", 5, &options, &second));
  CHECK(second.version > first.version, "version %zu after %zu", (size_t)second.version, (size_t)first.version);
  CHECK_OK(mc_store_get(store, "up", 2, back, sizeof back, NULL, &first));
  CHECK(first.version == second.version && first.size == 5 && memcmp(back, "newer", 5) == 0, "not what was put last");
}

static void keys_are_bytes(void) {
  static const unsigned char KEYS[3][4] = {{0, 0, 0, 0}, {255, 254, 0, 1}, {'a', 0, 'b', '\n'}};
  char back[4];
  static unsigned char longest[MC_STORE_KEY_MAX_LENGTH];
  memset(longest, 0xee, sizeof longest);
  for (size_t i = 0; i < 3; i++) CHECK_OK(mc_store_put(store, KEYS[i], 4, KEYS[i], 4, NULL, NULL));
  for (size_t i = 0; i < 3; i++) {
    CHECK_OK(mc_store_get(store, KEYS[i], 4, back, 4, NULL, NULL));
    CHECK(memcmp(back, KEYS[i], 4) == 0, "key %zu has another's bytes", i);
  }
  CHECK_OK(mc_store_put(store, longest, sizeof longest, "x", 1, NULL, NULL));
  CHECK_OK(mc_store_get(store, longest, sizeof longest, back, 1, NULL, NULL));
}

/* Several keys, each gathered from pieces and scattered into others; one of them is missing. */
static void a_batch_gathers_and_scatters(void) {
  enum { COUNT = 5 };
  static uint8_t from[COUNT][SMALL], to[COUNT][SMALL];
  char keys[COUNT][8];
  mc_span_t pieces[COUNT][3], places[COUNT][2];
  mc_store_put_t puts[COUNT];
  mc_store_get_t gets[COUNT];
  mc_store_result_t results[COUNT];
  memset(gets, 0, sizeof gets);
  for (size_t i = 0; i < COUNT; i++) {
    snprintf(keys[i], sizeof keys[i], "b%zu", i);
    fill_pattern(from[i], SMALL, i);
    pieces[i][0] = span_of(from[i], 100);
    pieces[i][1] = span_of(from[i] + 100, 1);
    pieces[i][2] = span_of(from[i] + 101, SMALL - 101);
    places[i][0] = span_of(to[i], 7);
    places[i][1] = span_of(to[i] + 7, SMALL - 7);
    puts[i].key = gets[i].key = key_of(keys[i]);
    puts[i].spans = pieces[i];
    puts[i].span_count = 3;
    gets[i].spans = places[i];
    gets[i].span_count = 2;
  }
  CHECK_OK(mc_store_put_batch(store, puts, COUNT, NULL, results));
  for (size_t i = 0; i < COUNT; i++)
    CHECK(results[i].status == MC_OK && results[i].size == SMALL && results[i].version != 0, "put %zu: %s", i,
          mc_status_name(results[i].status));
  CHECK_OK(mc_store_get_batch(store, gets, COUNT, NULL, results));
  for (size_t i = 0; i < COUNT; i++) CHECK_PATTERN(to[i], SMALL, i);
  CHECK_OK(mc_store_remove(store, "b3", 2, 0, -1));
  CHECK_STATUS(MC_ERR_NOT_FOUND, mc_store_get_batch(store, gets, COUNT, NULL, results));
  CHECK(strstr(mc_last_error_message(), "item 3") != NULL, "\"%s\" does not name the item", mc_last_error_message());
  for (size_t i = 0; i < COUNT; i++)
    CHECK(results[i].status == (i == 3 ? MC_ERR_NOT_FOUND : MC_OK), "get %zu: %s", i,
          mc_status_name(results[i].status));
}

/* Ranges of two objects into places all over, beside a whole one, in one call. */
static void ranges_of_many_keys_go_to_many_places(void) {
  static uint8_t to[3][4096], whole[SMALL];
  mc_span_t places[3], all;
  mc_store_range_t ranges[3];
  mc_store_get_t gets[3];
  mc_store_result_t results[3];
  memset(gets, 0, sizeof gets);
  put_pattern(store, "r0", LARGE, 50);
  put_pattern(store, "r1", SMALL, 51);
  ranges[0].offset = 5;
  ranges[1].offset = (1 << 20) - 100;
  ranges[2].offset = 299;
  places[0] = span_of(to[0], 4096);
  places[1] = span_of(to[1], 150);
  places[2] = span_of(to[2], 1);
  for (size_t i = 0; i < 3; i++) {
    ranges[i].spans = &places[i];
    ranges[i].span_count = 1;
  }
  gets[0].key = key_of("r0");
  gets[0].ranges = ranges;
  gets[0].range_count = 2;
  gets[1].key = gets[2].key = key_of("r1");
  gets[1].ranges = &ranges[2];
  gets[1].range_count = 1;
  all = span_of(whole, SMALL);
  gets[2].spans = &all;
  gets[2].span_count = 1;
  CHECK_OK(mc_store_get_batch(store, gets, 3, NULL, results));
  CHECK(results[0].size == LARGE && results[1].size == SMALL, "sizes of other objects");
  CHECK(first_difference(to[0], 4096, 50, 5) == 4096, "the first range");
  CHECK(first_difference(to[1], 150, 50, (1 << 20) - 100) == 150, "the second range");
  CHECK(to[2][0] == pattern_at(51, 299), "the third range");
  CHECK_PATTERN(whole, SMALL, 51);
  CHECK_OK(mc_store_get_range(store, "r0", 2, 70000, to[0], 10, NULL, NULL));
  CHECK(first_difference(to[0], 10, 50, 70000) == 10, "a range by itself");
}

static void memory_of_the_store_is_handed_out_until_it_is_released(void) {
  mc_store_view_t view, views[2];
  mc_store_result_t results[2];
  mc_store_key_t keys[2];
  put_pattern(store, "v", LARGE, 60);
  CHECK_OK(mc_store_get_view(store, "v", 1, NULL, &view, &results[0]));
  CHECK(view.length == LARGE && results[0].size == LARGE, "%zu bytes", (size_t)view.length);
  CHECK_PATTERN(view.address, LARGE, 60);
  CHECK(store_info_of(store).child_count == 1, "not counted");
  CHECK_OK(mc_store_remove(store, "v", 1, 0, -1));
  CHECK_PATTERN(view.address, LARGE, 60);
  CHECK_OK(mc_store_buffer_release(store, view.buffer));
  CHECK_STATUS(MC_ERR_INVALID_HANDLE, mc_store_buffer_release(store, view.buffer));
  put_pattern(store, "w", 10, 61);
  keys[0] = key_of("v");
  keys[1] = key_of("w");
  CHECK_STATUS(MC_ERR_NOT_FOUND, mc_store_get_view_batch(store, keys, 2, NULL, views, results));
  CHECK(views[0].buffer == 0 && results[0].status == MC_ERR_NOT_FOUND, "something of nothing");
  CHECK(results[1].status == MC_OK && views[1].length == 10, "%s", mc_status_name(results[1].status));
  CHECK_PATTERN(views[1].address, 10, 61);
  CHECK_OK(mc_store_buffer_release(store, views[1].buffer));
}

static void registered_memory_needs_no_more(void) {
  mc_engine_t *engine = engine_of_store(store);
  uint8_t *bytes = pages(2 * LARGE);
  mc_region_t region = registered(engine, bytes, 2 * LARGE);
  fill_pattern(bytes, LARGE, 70);
  CHECK_OK(mc_store_put(store, "reg", 3, bytes, LARGE, NULL, NULL));
  CHECK_OK(mc_store_get(store, "reg", 3, bytes + LARGE, LARGE, NULL, NULL));
  CHECK_PATTERN(bytes + LARGE, LARGE, 70);
  CHECK_OK(mc_memory_unregister(engine, region, 0));
  munmap(bytes, 2 * LARGE);
  /* It is the store's: only closing that ends it. */
  CHECK_STATUS(MC_ERR_INVALID_STATE, mc_engine_destroy(engine));
}

static void keys_are_listed_page_by_page_and_removed_together(void) {
  enum { COUNT = 40, PAGE = 7 };
  static mc_store_listed_t page[PAGE];
  bool seen[COUNT];
  char key[16];
  uint64_t cursor = 0, removed = 0, busy = 0;
  size_t count = 0, pages_seen = 0;
  memset(seen, 0, sizeof seen);
  for (size_t i = 0; i < COUNT; i++) {
    snprintf(key, sizeof key, "list/%02zu", i);
    put_pattern(store, key, 10 + i, i);
  }
  do {
    CHECK_OK(mc_store_list(store, "list/", 5, NULL, -1, &cursor, page, PAGE, &count));
    CHECK(count <= PAGE, "%zu objects on a page", count);
    for (size_t i = 0; i < count; i++) {
      size_t number = (size_t)atoi((const char *)page[i].key + 5);
      CHECK(page[i].key_length == 7 && number < COUNT && !seen[number], "%s again", (const char *)page[i].key);
      CHECK(page[i].size == 10 + number && page[i].replica_count == 1, "%zu bytes", (size_t)page[i].size);
      seen[number] = true;
    }
    CHECK(++pages_seen < 1000, "the list has no end");
  } while (cursor != 0);
  for (size_t i = 0; i < COUNT; i++) CHECK(seen[i], "number %zu is missing", i);
  CHECK_STATUS(MC_ERR_INVALID_ARGUMENT, mc_store_remove_matching(store, NULL, 0, "[", 0, -1, &removed, &busy));
  CHECK_OK(mc_store_remove_matching(store, "list/", 5, "/1[0-9]$", 0, -1, &removed, &busy));
  CHECK(removed == 10 && busy == 0, "%zu removed, %zu busy", (size_t)removed, (size_t)busy);
  CHECK(!is_there(store, "list/13") && is_there(store, "list/03"), "others were removed");
  CHECK_OK(mc_store_remove_matching(store, "list/", 5, NULL, 0, -1, NULL, NULL));
  CHECK(!is_there(store, "list/03"), "it stayed");
}

static void many_keys_are_asked_for_and_removed_at_once(void) {
  mc_store_key_t keys[3];
  mc_store_result_t results[3];
  put_pattern(store, "m0", 11, 0);
  put_pattern(store, "m2", 13, 0);
  keys[0] = key_of("m0");
  keys[1] = key_of("m1");
  keys[2] = key_of("m2");
  CHECK_OK(mc_store_exists_batch(store, keys, 3, MC_STORE_FLAG_PROLONG, -1, results));
  CHECK(results[0].size == 11 && results[0].replica_count == 1, "%zu bytes", (size_t)results[0].size);
  CHECK(results[1].status == MC_ERR_NOT_FOUND && results[2].status == MC_OK, "%s", mc_status_name(results[1].status));
  /* Now they have leases. */
  CHECK_STATUS(MC_ERR_BUSY, mc_store_remove(store, "m0", 2, MC_STORE_FLAG_UNLESS_LEASED, -1));
  CHECK_STATUS(MC_ERR_NOT_FOUND, mc_store_remove_batch(store, keys, 3, 0, -1, results));
  CHECK(results[0].status == MC_OK && results[1].status == MC_ERR_NOT_FOUND && results[2].status == MC_OK, "%s",
        mc_status_name(results[0].status));
  CHECK(!is_there(store, "m0") && !is_there(store, "m2"), "they stayed");
}

/* A second store joins the first one's master, gives memory of its own, and needs the key. */
static void others_join_with_the_key_and_not_without(void) {
  static const char KEY[] = "a secret that all of them share";
  mc_store_options_t options = mc_store_options_default();
  mc_store_t *first = NULL, *second = NULL, *stranger = NULL;
  mc_store_segment_t segments[2];
  size_t count = 0;
  options.flags = MC_STORE_FLAG_NO_ENVIRONMENT;
  options.memory_bytes = 4 << 20;
  options.psk = KEY;
  options.psk_length = sizeof KEY;
  CHECK_OK(mc_store_open(&options, &first));
  mc_store_info_t info = store_info_of(first);
  options.masters = info.master_address;
  options.node_name = "another";
  CHECK_OK(mc_store_open(&options, &second));
  CHECK_OK(mc_store_list_segments(second, -1, segments, 2, &count));
  CHECK(count == 2, "%zu segments", count);
  put_pattern(first, "shared", LARGE, 80);
  check_pattern(second, "shared", LARGE, 80);
  options.memory_bytes = 0;
  options.node_name = NULL;
  options.deadline_ms = 500;
  options.psk_length = sizeof KEY - 2; /* not just without the NUL: to HMAC that is the same key */
  CHECK_STATUS(MC_ERR_UNAUTHENTICATED, mc_store_open(&options, &stranger));
  options.psk = NULL;
  options.psk_length = 0;
  CHECK_STATUS(MC_ERR_UNAUTHENTICATED, mc_store_open(&options, &stranger));
  CHECK_OK(mc_store_close(second));
  CHECK_OK(mc_store_close(first));
}

/* Without one in the options the key is that of the environment, for all that the store starts. */
static void the_key_comes_from_the_environment(void) {
  char path[] = "/tmp/mooncake-key-XXXXXX";
  int fd = mkstemp(path);
  mc_store_options_t options = mc_store_options_default();
  mc_store_t *first = NULL, *second = NULL;
  CHECK(fd >= 0 && write(fd, "0123456789abcdef", 16) == 16 && close(fd) == 0, "%s: %s", path, strerror(errno));
  setenv("MC_PSK_FILE", path, 1);
  CHECK_OK(mc_store_open(&options, &first));
  put_pattern(first, "key", LARGE, 81);
  mc_store_info_t info = store_info_of(first);
  options.masters = info.master_address;
  CHECK_OK(mc_store_open(&options, &second));
  check_pattern(second, "key", LARGE, 81);
  CHECK_OK(mc_store_close(second));
  options.flags = MC_STORE_FLAG_NO_ENVIRONMENT;
  options.deadline_ms = 500;
  CHECK_STATUS(MC_ERR_UNAUTHENTICATED, mc_store_open(&options, &second));
  unsetenv("MC_PSK_FILE");
  unlink(path);
  CHECK_OK(mc_store_close(first));
}

static void a_pointer_of_one_kind_is_none_of_another(void) {
  mc_engine_t *engine = engine_of_store(store);
  mc_store_info_t info = mc_store_info_default();
  mc_engine_info_t other = mc_engine_info_default();
  CHECK_STATUS(MC_ERR_INVALID_HANDLE, mc_store_get_info((mc_store_t *)(void *)engine, &info));
  CHECK_STATUS(MC_ERR_INVALID_HANDLE, mc_engine_get_info((mc_engine_t *)(void *)store, &other));
  CHECK_STATUS(MC_ERR_INVALID_HANDLE, mc_engine_destroy((mc_engine_t *)(void *)store));
  CHECK_STATUS(MC_ERR_INVALID_HANDLE, mc_store_close((mc_store_t *)(void *)engine));
  CHECK_STATUS(MC_ERR_INVALID_HANDLE, mc_master_destroy((mc_master_t *)(void *)store));
  CHECK_STATUS(MC_ERR_INVALID_HANDLE, mc_node_destroy((mc_node_t *)(void *)store));
  check_pattern(store, "r1", SMALL, 51);
}

int main(void) {
  hang_guard(240);
  RUN(a_store_without_options_holds_objects);
  store = store_with(MEMORY);
  RUN(objects_of_all_sizes_come_back);
  RUN(each_failure_has_its_status);
  RUN(an_upsert_replaces_and_counts_up);
  RUN(keys_are_bytes);
  RUN(a_batch_gathers_and_scatters);
  RUN(ranges_of_many_keys_go_to_many_places);
  RUN(memory_of_the_store_is_handed_out_until_it_is_released);
  RUN(registered_memory_needs_no_more);
  RUN(keys_are_listed_page_by_page_and_removed_together);
  RUN(many_keys_are_asked_for_and_removed_at_once);
  RUN(others_join_with_the_key_and_not_without);
  RUN(the_key_comes_from_the_environment);
  RUN(a_pointer_of_one_kind_is_none_of_another);
  CHECK_OK(mc_store_close(store));
  return 0;
}
