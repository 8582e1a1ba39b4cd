/* A program written for Mooncake's store: one process gives memory, another puts and gets; then everything is removed. */
#include "store.h"

enum { LENGTH = 200000, COUNT = 3 };

static mooncake_store_t giver, user;
static char bytes[COUNT][LENGTH], back[COUNT][LENGTH];

static void fill(void) {
  for (size_t i = 0; i < COUNT; i++)
    for (size_t k = 0; k < LENGTH; k++) bytes[i][k] = (char)(k * 7 + i * 13 + k / 251);
}

static void objects_come_back(void) {
  EQUAL(0, mooncake_store_is_exist(user, "a"));
  EQUAL(0, mooncake_store_put(user, "a", bytes[0], LENGTH, NULL));
  EQUAL(1, mooncake_store_is_exist(user, "a"));
  EQUAL(LENGTH, mooncake_store_get_size(user, "a"));
  EQUAL(LENGTH, mooncake_store_get_into(user, "a", back[0], LENGTH));
  CHECK(memcmp(bytes[0], back[0], LENGTH) == 0);
  EQUAL(LENGTH, mooncake_store_get_into(giver, "a", back[1], LENGTH));
  EQUAL(-704, mooncake_store_get_into(user, "nobody", back[0], LENGTH));
  EQUAL(-704, mooncake_store_get_size(user, "nobody"));
  EQUAL(-600, mooncake_store_get_into(user, "a", back[0], LENGTH - 1));
}

/* As there: nothing is stored, and that is no error. */
static void a_key_that_is_there_is_put_again_without_a_word(void) {
  EQUAL(0, mooncake_store_put(user, "a", bytes[1], 10, NULL));
  EQUAL(LENGTH, mooncake_store_get_size(user, "a"));
}

static void batches_say_of_each_key_what_became_of_it(void) {
  const char *keys[COUNT] = {"b0", "b1", "b2"};
  void *from[COUNT], *to[COUNT];
  size_t sizes[COUNT];
  int put[COUNT], there[COUNT];
  int64_t got[COUNT];
  for (size_t i = 0; i < COUNT; i++) {
    from[i] = bytes[i];
    to[i] = back[i];
    sizes[i] = LENGTH;
    EQUAL(0, mooncake_store_register_buffer(user, bytes[i], LENGTH));
    EQUAL(0, mooncake_store_register_buffer(user, back[i], LENGTH));
  }
  EQUAL(0, mooncake_store_batch_put_from(user, keys, from, sizes, COUNT, NULL, put));
  for (size_t i = 0; i < COUNT; i++) EQUAL(0, put[i]);
  keys[1] = "nobody";
  EQUAL(0, mooncake_store_batch_get_into(user, keys, to, sizes, COUNT, got));
  CHECK(got[0] == LENGTH && got[1] == -704 && got[2] == LENGTH);
  CHECK(memcmp(bytes[2], back[2], LENGTH) == 0);
  EQUAL(0, mooncake_store_batch_is_exist(user, keys, COUNT, there));
  CHECK(there[0] == 1 && there[1] == 0 && there[2] == 1);
  for (size_t i = 0; i < COUNT; i++) {
    EQUAL(0, mooncake_store_unregister_buffer(user, bytes[i]));
    EQUAL(0, mooncake_store_unregister_buffer(user, back[i]));
  }
  EQUAL(-600, mooncake_store_unregister_buffer(user, bytes[0]));
  EQUAL(0, mooncake_store_put_from(user, "b3", bytes[0], LENGTH, NULL));
  EQUAL(0, mooncake_store_batch_put_from(user, keys, from, sizes, 0, NULL, put));
}

static void a_segment_is_preferred_by_the_name_of_its_process(void) {
  char name[256];
  const char *preferred[1];
  mooncake_replicate_config_t config;
  memset(&config, 0, sizeof config);
  EQUAL(0, mooncake_store_get_hostname(giver, name, sizeof name));
  CHECK(strncmp(name, "127.0.0.1:", 10) == 0);
  EQUAL(-1, mooncake_store_get_hostname(giver, name, 4));
  preferred[0] = name;
  config.preferred_segments = preferred;
  config.preferred_segments_count = 1;
  config.with_hard_pin = config.with_soft_pin = 1;
  EQUAL(0, mooncake_store_put(user, "preferred", bytes[0], 100, &config));
  config.replica_num = 1000;
  CHECK(mooncake_store_put(user, "too many", bytes[0], 100, &config) < 0);
}

static void what_is_read_stays_unless_forced(void) {
  EQUAL(LENGTH, mooncake_store_get_into(user, "a", back[0], LENGTH));
  EQUAL(-706, mooncake_store_remove(user, "a", 0));
  EQUAL(0, mooncake_store_remove(user, "a", 1));
  EQUAL(-704, mooncake_store_remove(user, "a", 1));
  EQUAL(3, mooncake_store_remove_by_regex(user, "^b[023]$", 1));
  CHECK(mooncake_store_remove_by_regex(user, "[", 1) == -600);
  CHECK(mooncake_store_remove_all(user, 1) >= 1);
  EQUAL(0, mooncake_store_remove_all(user, 1));
}

static void more_memory_is_given_later(void) {
  EQUAL(0, mooncake_store_init_all(user, "tcp", "", 4 << 20));
  EQUAL(0, mooncake_store_put(user, "after", bytes[0], LENGTH, NULL));
  EQUAL(0, mooncake_store_health_check(user));
}

int main(void) {
  char master_address[80];
  hang_guard(200);
  mc_master_t *master = a_master(master_address);
  giver = a_store(master_address, 16 << 20);
  user = a_store(master_address, 0);
  fill();
  RUN(objects_come_back);
  RUN(a_key_that_is_there_is_put_again_without_a_word);
  RUN(batches_say_of_each_key_what_became_of_it);
  RUN(a_segment_is_preferred_by_the_name_of_its_process);
  RUN(what_is_read_stays_unless_forced);
  RUN(more_memory_is_given_later);
  mooncake_store_destroy(user);
  mooncake_store_destroy(giver);
  EQUAL(MC_OK, mc_master_destroy(master));
  return 0;
}
