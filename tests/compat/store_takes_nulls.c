/* Every NULL, every stale handle, and every call before the set-up is a negative number and never a crash. */
#include "store.h"

static mooncake_store_t store;
static char bytes[16];
static const char *keys[2] = {"a", "b"};
static void *buffers[2] = {bytes, bytes};
static const size_t sizes[2] = {8, 8};
static int results[2];
static int64_t counts[2];

/* What every function says of a handle that is none, or not ready. */
static void every_function_says(int expected, mooncake_store_t handle) {
  EQUAL(expected, mooncake_store_put(handle, "a", bytes, 8, NULL));
  EQUAL(expected, mooncake_store_put_from(handle, "a", bytes, 8, NULL));
  EQUAL(expected, mooncake_store_batch_put_from(handle, keys, buffers, sizes, 2, NULL, results));
  EQUAL(expected, mooncake_store_get_into(handle, "a", bytes, 8));
  EQUAL(expected, mooncake_store_batch_get_into(handle, keys, buffers, sizes, 2, counts));
  EQUAL(expected, mooncake_store_is_exist(handle, "a"));
  EQUAL(expected, mooncake_store_batch_is_exist(handle, keys, 2, results));
  EQUAL(expected, mooncake_store_get_size(handle, "a"));
  EQUAL(expected, mooncake_store_get_hostname(handle, bytes, sizeof bytes));
  EQUAL(expected, mooncake_store_remove(handle, "a", 0));
  EQUAL(expected, mooncake_store_remove_by_regex(handle, "a", 0));
  EQUAL(expected, mooncake_store_remove_all(handle, 0));
  EQUAL(expected, mooncake_store_register_buffer(handle, bytes, 8));
  EQUAL(expected, mooncake_store_unregister_buffer(handle, bytes));
}

static void no_handle_is_minus_one(void) {
  mooncake_store_t destroyed = mooncake_store_create();
  mooncake_store_destroy(destroyed);
  mooncake_store_destroy(destroyed);
  mooncake_store_destroy(NULL);
  mooncake_store_destroy(bytes);
  every_function_says(-1, NULL);
  every_function_says(-1, destroyed);
  every_function_says(-1, bytes);
  EQUAL(-1, mooncake_store_setup(NULL, "h", "", 0, 0, "tcp", "", NULL));
  EQUAL(-1, mooncake_store_init_all(NULL, "tcp", "", 0));
  EQUAL(-1, mooncake_store_health_check(NULL));
}

static void before_the_setup_nothing_works_and_health_is_one(void) {
  mooncake_store_t raw = mooncake_store_create();
  every_function_says(-600, raw);
  EQUAL(1, mooncake_store_health_check(raw));
  EQUAL(-600, mooncake_store_setup(raw, "127.0.0.1", "", 0, 0, "pigeon", "", NULL));
  EQUAL(-1012, mooncake_store_setup(raw, "127.0.0.1", "", 0, 0, "rdma", "", NULL));
  EQUAL(-600, mooncake_store_setup(raw, "127.0.0.1", "", 0, 0, "tcp", "", "a,,b"));
  CHECK(mooncake_store_setup(raw, "127.0.0.1", "", 0, 0, "tcp", "", "127.0.0.1:1") < 0);
  EQUAL(1, mooncake_store_health_check(raw));
  mooncake_store_destroy(raw);
}

static void null_arguments_are_minus_one(void) {
  const char *holes[2] = {"a", NULL};
  void *no_buffers[2] = {bytes, NULL};
  EQUAL(-1, mooncake_store_put(store, NULL, bytes, 8, NULL));
  EQUAL(-1, mooncake_store_put(store, "a", NULL, 8, NULL));
  EQUAL(-1, mooncake_store_get_into(store, NULL, bytes, 8));
  EQUAL(-1, mooncake_store_get_into(store, "a", NULL, 8));
  EQUAL(-1, mooncake_store_is_exist(store, NULL));
  EQUAL(-1, mooncake_store_get_size(store, NULL));
  EQUAL(-1, mooncake_store_get_hostname(store, NULL, 8));
  EQUAL(-1, mooncake_store_get_hostname(store, bytes, 0));
  EQUAL(-1, mooncake_store_remove(store, NULL, 1));
  EQUAL(-1, mooncake_store_remove_by_regex(store, NULL, 1));
  EQUAL(-1, mooncake_store_register_buffer(store, NULL, 8));
  EQUAL(-1, mooncake_store_register_buffer(store, bytes, 0));
  EQUAL(-1, mooncake_store_batch_put_from(store, NULL, buffers, sizes, 2, NULL, results));
  EQUAL(-1, mooncake_store_batch_put_from(store, keys, NULL, sizes, 2, NULL, results));
  EQUAL(-1, mooncake_store_batch_put_from(store, keys, buffers, NULL, 2, NULL, results));
  EQUAL(-1, mooncake_store_batch_put_from(store, keys, buffers, sizes, 2, NULL, NULL));
  EQUAL(-1, mooncake_store_batch_put_from(store, holes, buffers, sizes, 2, NULL, results));
  EQUAL(-1, mooncake_store_batch_get_into(store, keys, no_buffers, sizes, 2, counts));
  EQUAL(-1, mooncake_store_batch_get_into(store, keys, buffers, sizes, 2, NULL));
  EQUAL(-1, mooncake_store_batch_is_exist(store, holes, 2, results));
  EQUAL(-1, mooncake_store_batch_is_exist(store, keys, 2, NULL));
  EQUAL(-600, mooncake_store_put(store, "", bytes, 8, NULL));
  EQUAL(-600, mooncake_store_put(store, "empty", bytes, 0, NULL));
  EQUAL(0, mooncake_store_is_exist(store, "a"));
}

static void it_is_set_up_once(void) {
  CHECK(mooncake_store_setup(store, "127.0.0.1", "", 0, 0, "tcp", "", NULL) < 0);
  EQUAL(0, mooncake_store_health_check(store));
}

/* The reason is told natively. */
static void a_failure_has_a_text(void) {
  EQUAL(-704, mooncake_store_get_size(store, "nobody"));
  CHECK(mc_last_error_message()[0] != 0);
}

/* Without its master a store is unwell, and its calls end. */
static void a_lost_master_is_told(mc_master_t *master) {
  EQUAL(MC_OK, mc_master_destroy(master));
  EQUAL(2, mooncake_store_health_check(store));
}

int main(void) {
  char master_address[80];
  hang_guard(200);
  RUN(no_handle_is_minus_one);
  RUN(before_the_setup_nothing_works_and_health_is_one);
  mc_master_t *master = a_master(master_address);
  store = a_store(master_address, 4 << 20);
  RUN(null_arguments_are_minus_one);
  RUN(it_is_set_up_once);
  RUN(a_failure_has_a_text);
  a_lost_master_is_told(master);
  mooncake_store_destroy(store);
  return 0;
}
