/* Do sessions, operations in the background, and what a store does by itself, keep what they promise? */
#include "store.h"

enum { MEMORY = 24 << 20, LENGTH = 200000, LAYERS = 4 };

/* A cluster in this process: a master, two nodes, a client. */
static mc_master_t *master;
static mc_node_t *nodes[2];
static mc_store_t *store;
static mc_engine_t *engine;
static mc_cq_t cq;

static mc_master_info_t master_info(void) {
  mc_master_info_t info = mc_master_info_default();
  CHECK_OK(mc_master_get_info(master, &info));
  return info;
}

static void make_world(void) {
  static const char *const NAMES[] = {"first", "second"};
  mc_master_options_t of_master = mc_master_options_default();
  mc_store_options_t of_store = mc_store_options_default();
  of_master.flags = MC_MASTER_FLAG_FOUND;
  CHECK_OK(mc_master_create(&of_master, &master));
  mc_master_info_t info = master_info();
  for (size_t i = 0; i < 2; i++) {
    mc_node_options_t of_node = mc_node_options_default();
    of_node.flags = MC_NODE_FLAG_NO_ENVIRONMENT;
    of_node.masters = info.address;
    of_node.memory_bytes = MEMORY;
    of_node.name = of_node.domain = NAMES[i];
    CHECK_OK(mc_node_create(&of_node, &nodes[i]));
  }
  for (;;) {
    mc_store_segment_t segments[2];
    size_t count = 0;
    of_store.masters = info.address;
    of_store.flags = MC_STORE_FLAG_NO_ENVIRONMENT;
    if (store == NULL) CHECK_OK(mc_store_open(&of_store, &store));
    mc_status_t status = mc_store_list_segments(store, -1, segments, 2, &count);
    if (status == MC_OK && count == 2 && segments[0].is_open && segments[1].is_open) break;
    sleep_ms(10);
  }
  engine = engine_of_store(store);
  CHECK_OK(mc_cq_create(engine, NULL, &cq));
}

static void nodes_and_master_tell_what_they_are(void) {
  mc_node_info_t info = mc_node_info_default();
  CHECK_OK(mc_node_get_info(nodes[0], &info));
  CHECK(info.id != 0 && info.address[0] != 0 && info.is_led, "node %zu at \"%s\"", (size_t)info.id, info.address);
  CHECK(info.capacity_bytes == MEMORY && info.free_bytes == MEMORY, "%zu of %zu bytes free", (size_t)info.free_bytes,
        (size_t)info.capacity_bytes);
  mc_master_info_t it = master_info();
  CHECK(it.is_serving && it.port != 0 && it.capacity_bytes == 2 * (uint64_t)MEMORY, "%zu bytes",
        (size_t)it.capacity_bytes);
}

static void an_object_is_written_layer_by_layer_and_read_so(void) {
  static uint8_t bytes[LAYERS * LENGTH], back[LENGTH];
  mc_store_put_size_t puts[2];
  mc_store_writing_t writings[2];
  mc_store_reading_t readings[2];
  mc_store_result_t results[2];
  mc_store_key_t keys[2];
  mc_span_t span;
  mc_store_range_t range;
  fill_pattern(bytes, sizeof bytes, 5);
  puts[0].key = keys[0] = key_of("layers");
  puts[1].key = keys[1] = key_of("given up");
  puts[0].size = puts[1].size = sizeof bytes;
  CHECK_OK(mc_store_put_begin(store, puts, 2, NULL, writings, results));
  CHECK(writings[0] != 0 && writings[1] != 0 && writings[0] != writings[1], "no ids");
  for (size_t i = LAYERS; i-- > 1;) {
    span = span_of(bytes + i * LENGTH, LENGTH);
    CHECK_OK(mc_store_put_write(store, writings[0], i * LENGTH, &span, 1, -1));
  }
  CHECK(!is_there(store, "layers"), "seen before its commit");
  CHECK_STATUS(MC_ERR_INVALID_STATE, mc_store_put_commit(store, writings[0], -1, NULL));
  span = span_of(bytes, LENGTH);
  CHECK_STATUS(MC_ERR_INVALID_ARGUMENT, mc_store_put_write(store, writings[0], sizeof bytes - 1, &span, 1, -1));
  CHECK_OK(mc_store_put_write(store, writings[0], 0, &span, 1, -1));
  CHECK_OK(mc_store_put_commit(store, writings[0], -1, &results[0]));
  CHECK(results[0].version != 0, "no version");
  CHECK_STATUS(MC_ERR_INVALID_HANDLE, mc_store_put_commit(store, writings[0], -1, NULL));
  CHECK_STATUS(MC_ERR_INVALID_HANDLE, mc_store_put_write(store, writings[0], 0, &span, 1, -1));
  CHECK_OK(mc_store_put_revoke(store, writings[1]));
  CHECK_STATUS(MC_ERR_INVALID_HANDLE, mc_store_put_revoke(store, writings[1]));
  check_pattern(store, "layers", sizeof bytes, 5);

  CHECK_STATUS(MC_ERR_NOT_FOUND, mc_store_get_begin(store, keys, 2, NULL, readings, results));
  CHECK(readings[0] != 0 && results[0].size == sizeof bytes, "%zu bytes", (size_t)results[0].size);
  CHECK(readings[1] == 0 && results[1].status == MC_ERR_NOT_FOUND, "%s", mc_status_name(results[1].status));
  for (size_t i = 0; i < LAYERS; i++) {
    span = span_of(back, LENGTH);
    range.offset = i * LENGTH;
    range.spans = &span;
    range.span_count = 1;
    CHECK_OK(mc_store_get_read(store, readings[0], &range, 1, -1));
    CHECK(first_difference(back, LENGTH, 5, i * LENGTH) == LENGTH, "layer %zu", i);
  }
  CHECK_STATUS(MC_ERR_INVALID_HANDLE, mc_store_put_revoke(store, readings[0]));
  CHECK_STATUS(MC_ERR_INVALID_HANDLE, mc_store_buffer_release(store, readings[0]));
  CHECK_OK(mc_store_get_end(store, readings[0]));
  CHECK_STATUS(MC_ERR_INVALID_HANDLE, mc_store_get_end(store, readings[0]));
  CHECK(store_info_of(store).child_count == 0, "something is left");
}

static mc_completion_t completed(void) {
  mc_completion_t item;
  size_t count = 0;
  CHECK_OK(mc_cq_wait(engine, cq, -1, &item, 1, &count));
  CHECK(count == 1 && item.kind == MC_COMPLETION_STORE, "%zu completions of kind %u", count, item.kind);
  return item;
}

static void operations_complete_into_a_queue(void) {
  static uint8_t from[2][LENGTH], to[2][LENGTH];
  mc_span_t pieces[2], places[2];
  mc_store_put_t puts[2];
  mc_store_get_t gets[2];
  mc_store_result_t results[2];
  memset(gets, 0, sizeof gets);
  puts[0].key = gets[0].key = key_of("async0");
  puts[1].key = gets[1].key = key_of("async1");
  for (size_t i = 0; i < 2; i++) {
    fill_pattern(from[i], LENGTH, 80 + i);
    pieces[i] = span_of(from[i], LENGTH);
    places[i] = span_of(to[i], LENGTH);
    puts[i].spans = &pieces[i];
    gets[i].spans = &places[i];
    puts[i].span_count = gets[i].span_count = 1;
  }
  CHECK_OK(mc_store_put_submit(store, puts, 2, NULL, cq, 4711, results));
  mc_completion_t item = completed();
  CHECK(item.user_data == 4711 && item.status == MC_OK && item.length == 2 * LENGTH, "%s", mc_status_name(item.status));
  CHECK(results[0].status == MC_OK && results[1].version != 0, "no results");
  CHECK_OK(mc_store_get_submit(store, gets, 2, NULL, cq, 4712, results));
  item = completed();
  CHECK(item.user_data == 4712 && item.status == MC_OK && item.length == 2 * LENGTH, "%s", mc_status_name(item.status));
  for (size_t i = 0; i < 2; i++) CHECK_PATTERN(to[i], LENGTH, 80 + i);
  CHECK_OK(mc_store_put_submit(store, puts, 2, NULL, cq, 1, results));
  CHECK(completed().status == MC_ERR_ALREADY_EXISTS, "put twice");
  gets[1].key = key_of("async of nobody");
  CHECK_OK(mc_store_get_submit(store, gets, 2, NULL, cq, 2, results));
  CHECK(completed().status == MC_ERR_NOT_FOUND, "found");
  CHECK(results[0].status == MC_OK && results[1].status == MC_ERR_NOT_FOUND, "%s", mc_status_name(results[1].status));
  CHECK_STATUS(MC_ERR_INVALID_HANDLE, mc_store_get_submit(store, gets, 2, NULL, cq + 1, 2, results));
}

/* Waits for a task's end. */
static mc_store_task_info_t ended(mc_store_task_t task) {
  mc_store_task_info_t info = mc_store_task_info_default();
  do {
    sleep_ms(5);
    CHECK_OK(mc_store_task_get_info(store, task, -1, &info));
  } while (info.state == MC_STORE_TASK_RUNNING);
  return info;
}

static uint32_t replicas_of(const char *text) {
  mc_store_key_t key = key_of(text);
  mc_store_result_t result;
  CHECK_OK(mc_store_exists_batch(store, &key, 1, 0, -1, &result));
  return result.replica_count;
}

static void replicas_come_and_go(void) {
  mc_store_put_options_t options = mc_store_put_options_default();
  static uint8_t bytes[LENGTH];
  static const char *const FIRST[] = {"first"}, *const SECOND[] = {"second"};
  mc_store_task_t task = 0;
  uint64_t trimmed = 0;
  fill_pattern(bytes, LENGTH, 9);
  options.preferred = FIRST;
  options.preferred_count = 1;
  CHECK_OK(mc_store_put(store, "copied", 6, bytes, LENGTH, &options, NULL));
  CHECK(replicas_of("copied") == 1, "not one");
  CHECK_OK(mc_store_copy(store, "copied", 6, SECOND, 1, -1, &task));
  mc_store_task_info_t info = ended(task);
  CHECK(info.state == MC_STORE_TASK_DONE && info.moved_objects == 1, "state %u: %s", info.state,
        mc_status_name(info.status));
  CHECK(replicas_of("copied") == 2, "not two");
  CHECK_OK(mc_store_trim(store, "copied", 6, 1, -1, &trimmed));
  CHECK(trimmed == 1 && replicas_of("copied") == 1, "%zu trimmed", (size_t)trimmed);
  CHECK_STATUS(MC_ERR_INVALID_ARGUMENT, mc_store_trim(store, "copied", 6, 0, -1, NULL));
  options.preferred = NULL;
  options.preferred_count = 0;
  options.replica_count = 2;
  options.flags = MC_STORE_FLAG_STRICT_DOMAINS | MC_STORE_FLAG_HARD_PIN | MC_STORE_FLAG_NEAR;
  options.group = "a group";
  options.soft_pin_ms = 1000;
  options.stripe_size = 65536;
  CHECK_OK(mc_store_put(store, "both", 4, bytes, LENGTH, &options, NULL));
  CHECK(replicas_of("both") == 2, "not two");
  check_pattern(store, "both", LENGTH, 9);
  CHECK_STATUS(MC_ERR_NOT_FOUND, mc_store_task_get_info(store, task + 1000000, -1, &info));
  CHECK_STATUS(MC_ERR_NOT_FOUND, mc_store_task_cancel(store, task + 1000000, -1));
  CHECK_STATUS(MC_ERR_NOT_FOUND, mc_store_copy(store, "nobody", 6, NULL, 0, -1, &task));
  CHECK_STATUS(MC_ERR_NOT_FOUND, mc_store_move(store, "copied", 6, "nowhere", NULL, 0, -1, &task));
}

static void a_quota_holds(void) {
  static uint8_t bytes[LENGTH];
  mc_store_usage_t usage = mc_store_usage_default();
  CHECK_OK(mc_store_get_usage(store, NULL, -1, &usage));
  CHECK(usage.object_count > 0 && usage.used_bytes > LENGTH && usage.quota_bytes == MC_STORE_NO_QUOTA, "%zu objects",
        (size_t)usage.object_count);
  CHECK_OK(mc_store_set_quota(store, NULL, usage.used_bytes + LENGTH / 2, -1));
  CHECK_STATUS(MC_ERR_QUOTA_EXCEEDED, mc_store_put(store, "too much", 8, bytes, LENGTH, NULL, NULL));
  CHECK_OK(mc_store_set_quota(store, NULL, MC_STORE_NO_QUOTA, -1));
  CHECK_OK(mc_store_put(store, "too much", 8, bytes, LENGTH, NULL, NULL));
  CHECK_OK(mc_store_get_usage(store, "a stranger", -1, &usage));
  CHECK(usage.object_count == 0 && usage.used_bytes == 0, "%zu objects of nobody", (size_t)usage.object_count);
}

/* Another tenant, through an engine that both share. */
static void tenants_do_not_see_each_other(void) {
  mc_store_options_t options = mc_store_options_default();
  mc_store_t *other = NULL;
  mc_master_info_t info = master_info();
  mc_engine_t *shared = NULL;
  options.masters = info.address;
  options.tenant = "other";
  options.engine = engine;
  CHECK_OK(mc_store_open(&options, &other));
  CHECK_OK(mc_store_engine(other, &shared));
  CHECK(shared == engine, "another engine");
  CHECK(is_there(store, "layers") && !is_there(other, "layers"), "seen by a stranger");
  put_pattern(other, "layers", 10, 90);
  check_pattern(other, "layers", 10, 90);
  check_pattern(store, "layers", LAYERS * LENGTH, 5);
  CHECK_OK(mc_store_close(other));
  check_pattern(store, "layers", LAYERS * LENGTH, 5);
}

static void what_cannot_be_is_refused(void) {
  mc_store_options_t options = mc_store_options_default();
  mc_store_t *none = NULL;
  options.masters = "127.0.0.1:1";
  options.deadline_ms = 200;
  mc_status_t status = mc_store_open(&options, &none);
  CHECK(status == MC_ERR_UNREACHABLE || status == MC_ERR_TIMEOUT || status == MC_ERR_CONNECTION_LOST, "%s",
        mc_status_name(status));
  CHECK(strstr(mc_last_error_message(), "127.0.0.1:1") != NULL, "\"%s\" names no master", mc_last_error_message());
  options.masters = "a,,b";
  CHECK_STATUS(MC_ERR_INVALID_ARGUMENT, mc_store_open(&options, &none));
  options = mc_store_options_default();
  options.psk = "short";
  options.psk_length = 5;
  CHECK_STATUS(MC_ERR_INVALID_ARGUMENT, mc_store_open(&options, &none));
  CHECK(none == NULL, "an output was written");
}

/* One node leaves politely: what it had is at the other. */
static void a_node_drains(void) {
  /* A replica whose only other node has one already could not go anywhere. */
  CHECK_OK(mc_store_remove(store, "both", 4, 0, -1));
  CHECK_OK(mc_node_drain(nodes[0], 30000));
  CHECK_OK(mc_node_destroy(nodes[0]));
  CHECK_STATUS(MC_ERR_INVALID_HANDLE, mc_node_destroy(nodes[0]));
  check_pattern(store, "copied", LENGTH, 9);
  check_pattern(store, "layers", LAYERS * LENGTH, 5);
}

int main(void) {
  hang_guard(240);
  RUN(make_world);
  RUN(nodes_and_master_tell_what_they_are);
  RUN(an_object_is_written_layer_by_layer_and_read_so);
  RUN(operations_complete_into_a_queue);
  RUN(replicas_come_and_go);
  RUN(a_quota_holds);
  RUN(tenants_do_not_see_each_other);
  RUN(what_cannot_be_is_refused);
  RUN(a_node_drains);
  CHECK_OK(mc_store_close(store));
  CHECK_OK(mc_node_destroy(nodes[1]));
  CHECK_OK(mc_master_destroy(master));
  return 0;
}
