/* Does a store that is closed under load end every call, and touch nothing afterwards? */
#include "store.h"

#include <pthread.h>

enum { MEMORY = 16 << 20, LENGTH = 100000, THREADS = 4, ASYNC = 32 };

typedef struct worker_t {
  pthread_t thread;
  mc_store_t *store;
  int index;
  size_t done;
} worker_t;

/* Puts, gets and removes until the store is closed: whatever else a call says, it ends. */
static void *work(void *argument) {
  worker_t *worker = (worker_t *)argument;
  uint8_t *bytes = pages(LENGTH);
  char key[32];
  for (size_t i = 0;; i++) {
    snprintf(key, sizeof key, "%d/%zu", worker->index, i % 8);
    mc_status_t status = mc_store_put(worker->store, key, strlen(key), bytes, LENGTH, NULL, NULL);
    if (status == MC_OK) worker->done++;
    if (status == MC_ERR_INVALID_HANDLE) break;
    mc_store_get(worker->store, key, strlen(key), bytes, LENGTH, NULL, NULL);
    mc_store_remove(worker->store, key, strlen(key), 0, -1);
  }
  munmap(bytes, LENGTH);
  return NULL;
}

static void calls_of_other_threads_end(void) {
  worker_t workers[THREADS];
  mc_store_t *store = store_with(MEMORY);
  for (int i = 0; i < THREADS; i++) {
    workers[i].store = store;
    workers[i].index = i;
    workers[i].done = 0;
    CHECK(pthread_create(&workers[i].thread, NULL, work, &workers[i]) == 0, "no thread");
  }
  sleep_ms(300);
  CHECK_OK(mc_store_close(store));
  for (int i = 0; i < THREADS; i++) {
    CHECK(pthread_join(workers[i].thread, NULL) == 0, "not joined");
    CHECK(workers[i].done > 0, "thread %d put nothing", i);
  }
}

/* Through an engine that outlives the store: each operation completes once, done or canceled. */
static void every_operation_in_the_background_completes_once(void) {
  static uint8_t bytes[ASYNC][LENGTH];
  mc_engine_t *engine = engine_with(NULL);
  mc_store_options_t options = mc_store_options_default();
  mc_store_t *store = NULL;
  mc_cq_t cq = 0;
  char keys[ASYNC][16];
  mc_span_t spans[ASYNC];
  mc_store_put_t puts[ASYNC];
  mc_store_result_t results[ASYNC];
  mc_completion_t items[ASYNC];
  bool seen[ASYNC];
  size_t submitted = 0, completed = 0;
  memset(seen, 0, sizeof seen);
  options.flags = MC_STORE_FLAG_NO_ENVIRONMENT;
  options.memory_bytes = MEMORY;
  options.engine = engine;
  CHECK_OK(mc_store_open(&options, &store));
  CHECK_OK(mc_cq_create(engine, NULL, &cq));
  for (size_t i = 0; i < ASYNC; i++) {
    snprintf(keys[i], sizeof keys[i], "key %zu", i);
    spans[i] = span_of(bytes[i], LENGTH);
    puts[i].key = key_of(keys[i]);
    puts[i].spans = &spans[i];
    puts[i].span_count = 1;
    mc_status_t status = mc_store_put_submit(store, &puts[i], 1, NULL, cq, i, &results[i]);
    CHECK(status == MC_OK || status == MC_ERR_EXHAUSTED, "%s", mc_status_name(status));
    if (status != MC_OK) break;
    submitted++;
  }
  CHECK_OK(mc_store_close(store));
  while (completed < submitted) {
    size_t count = 0;
    CHECK_OK(mc_cq_wait(engine, cq, 10000, items, ASYNC, &count));
    CHECK(count > 0, "%zu of %zu completed", completed, submitted);
    for (size_t i = 0; i < count; i++) {
      CHECK(items[i].user_data < submitted && !seen[items[i].user_data], "twice, or never submitted");
      seen[items[i].user_data] = true;
      mc_status_t status = items[i].status;
      CHECK(status != MC_OK || results[items[i].user_data].version != 0, "done without a result");
      CHECK(status == MC_OK || status == MC_ERR_CANCELED, "%s", mc_status_name(status));
    }
    completed += count;
  }
  CHECK_OK(mc_engine_destroy(engine));
}

/* Several stores share an engine; one ends, the other goes on. */
static void an_engine_that_is_destroyed_first_is_an_error_and_no_more(void) {
  mc_engine_t *engine = engine_with(NULL);
  mc_store_options_t options = mc_store_options_default();
  mc_store_t *store = NULL;
  static uint8_t bytes[1 << 20];
  options.flags = MC_STORE_FLAG_NO_ENVIRONMENT;
  options.memory_bytes = MEMORY;
  options.engine = engine;
  options.deadline_ms = 500;
  CHECK_OK(mc_store_open(&options, &store));
  put_pattern(store, "key", sizeof bytes, 1);
  CHECK_OK(mc_engine_destroy(engine));
  CHECK(mc_store_get(store, "key", 3, bytes, sizeof bytes, NULL, NULL) != MC_OK, "got without an engine");
  CHECK(mc_last_error_message()[0] != 0, "no text");
  CHECK_OK(mc_store_close(store));
}

int main(void) {
  hang_guard(240);
  RUN(calls_of_other_threads_end);
  RUN(every_operation_in_the_background_completes_once);
  RUN(an_engine_that_is_destroyed_first_is_an_error_and_no_more);
  return 0;
}
