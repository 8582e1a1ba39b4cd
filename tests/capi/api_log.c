/* Does the log go where it is told, at the level asked for, and is its user_data dropped exactly once? */
#include "flow.h"

#include <pthread.h>

typedef struct sink_t {
  pthread_mutex_t lock;
  size_t lines, dropped;
  mc_log_level_t loudest;
  char last[512];
} sink_t;

static void take_line(void *user_data, mc_log_level_t level, const char *target, const char *message) {
  sink_t *sink = (sink_t *)user_data;
  pthread_mutex_lock(&sink->lock);
  CHECK(sink->dropped == 0, "a line after drop: %s", message);
  CHECK(level >= MC_LOG_LEVEL_ERROR && level <= MC_LOG_LEVEL_TRACE, "level %u", level);
  CHECK(target != NULL && target[0] != 0 && strchr(message, '\n') == NULL, "\"%s\" \"%s\"", target, message);
  sink->lines++;
  if (level > sink->loudest) sink->loudest = level;
  snprintf(sink->last, sizeof sink->last, "%s", message);
  pthread_mutex_unlock(&sink->lock);
}

static void drop_sink(void *user_data) { ((sink_t *)user_data)->dropped++; }

static sink_t *new_sink(void) {
  sink_t *sink = (sink_t *)calloc(1, sizeof *sink);
  pthread_mutex_init(&sink->lock, NULL);
  return sink;
}

static void make_noise(void) {
  mc_engine_t *engine = engine_with(NULL);
  CHECK_OK(mc_engine_destroy(engine));
}

static void an_engine_says_what_it_bound(void) {
  sink_t *sink = new_sink();
  CHECK_OK(mc_log_set_callback(take_line, sink, drop_sink));
  CHECK_OK(mc_log_set_level(MC_LOG_LEVEL_INFO));
  make_noise();
  CHECK(sink->lines > 0, "creating an engine is worth a line");
  CHECK(sink->loudest <= MC_LOG_LEVEL_INFO, "level %u came through", sink->loudest);
  CHECK_OK(mc_log_set_callback(NULL, NULL, NULL));
  CHECK(sink->dropped == 1, "dropped %zu times", sink->dropped);
  make_noise();
  free(sink);
}

static void the_level_filters(void) {
  sink_t *sink = new_sink();
  CHECK_OK(mc_log_set_callback(take_line, sink, drop_sink));
  CHECK_OK(mc_log_set_level(MC_LOG_LEVEL_OFF));
  make_noise();
  CHECK(sink->lines == 0, "%zu lines although it is off: \"%s\"", sink->lines, sink->last);
  for (mc_log_level_t level = MC_LOG_LEVEL_ERROR; level <= MC_LOG_LEVEL_TRACE; level++) {
    sink->loudest = 0;
    CHECK_OK(mc_log_set_level(level));
    make_noise();
    CHECK(sink->loudest <= level, "level %u came through at %u", sink->loudest, level);
  }
  CHECK_STATUS(MC_ERR_INVALID_ARGUMENT, mc_log_set_level(MC_LOG_LEVEL_TRACE + 1));
  CHECK_OK(mc_log_set_callback(NULL, NULL, NULL));
  CHECK_OK(mc_log_set_level(MC_LOG_LEVEL_INFO));
  free(sink);
}

static void each_sink_is_dropped_when_it_is_replaced(void) {
  sink_t *first = new_sink(), *second = new_sink();
  CHECK_OK(mc_log_set_callback(take_line, first, drop_sink));
  CHECK_OK(mc_log_set_callback(take_line, second, drop_sink));
  CHECK(first->dropped == 1 && second->dropped == 0, "%zu, %zu", first->dropped, second->dropped);
  make_noise();
  CHECK(first->lines == 0 && second->lines > 0, "%zu, %zu lines", first->lines, second->lines);
  CHECK_OK(mc_log_set_callback(take_line, second, NULL)); /* the same once more, now without a drop */
  CHECK(second->dropped == 1, "dropped %zu times", second->dropped);
  second->dropped = 0;
  CHECK_OK(mc_log_set_callback(NULL, NULL, NULL));
  CHECK(second->dropped == 0, "dropped without being asked");
  free(first);
  free(second);
}

static volatile bool stop;
static void *noise_maker(void *argument) {
  (void)argument;
  while (!stop) make_noise();
  return NULL;
}

/* drop comes after the last call has returned, also when other threads log all the time. */
static void replacing_a_busy_sink_is_safe(void) {
  pthread_t threads[3];
  stop = false;
  CHECK_OK(mc_log_set_level(MC_LOG_LEVEL_TRACE));
  for (int i = 0; i < 3; i++) pthread_create(&threads[i], NULL, noise_maker, NULL);
  for (int round = 0; round < 300; round++) {
    sink_t *sink = new_sink();
    CHECK_OK(mc_log_set_callback(take_line, sink, drop_sink));
    CHECK_OK(mc_log_set_callback(NULL, NULL, NULL));
    CHECK(sink->dropped == 1, "dropped %zu times", sink->dropped);
    memset(sink, 0xff, sizeof *sink); /* whoever still used it would trip here */
    free(sink);
  }
  stop = true;
  for (int i = 0; i < 3; i++) pthread_join(threads[i], NULL);
  CHECK_OK(mc_log_set_level(MC_LOG_LEVEL_INFO));
}

int main(void) {
  hang_guard(120);
  RUN(an_engine_says_what_it_bound);
  RUN(the_level_filters);
  RUN(each_sink_is_dropped_when_it_is_replaced);
  RUN(replacing_a_busy_sink_is_safe);
  return 0;
}
