/* Do many router threads share a conductor without a data race, while instances come and go? Run under
 * ThreadSanitizer. */
#include "conductor.h"

#include <pthread.h>

enum { ROUTERS = 6, ROUNDS = 150 };

static team_t team;

static mc_status_t cheap(void *user_data, const mc_conductor_asked_t *asked, mc_conductor_candidate_t *candidates,
                         size_t count) {
  (void)user_data;
  for (size_t i = 0; i < count; i++) candidates[i].queue_seconds += asked->priority;
  return MC_OK;
}

/* Engines tell of blocks, requests come and end, somebody asks why. */
static void *route(void *argument) {
  uint64_t own = (uint64_t)(uintptr_t)argument, keys[8];
  char name[32], text[8192];
  for (uint64_t round = 0; round < ROUNDS; round++) {
    mc_conductor_decision_t decision = mc_conductor_decision_default();
    mc_conductor_report_t report = mc_conductor_report_default();
    size_t length = 0;
    for (uint64_t i = 0; i < 8; i++) keys[i] = own % 2 * 1000 + round % 10 * 10 + i + 1;
    mc_conductor_request_t request = request_for(&team, keys, 8);
    snprintf(name, sizeof name, "%d/%d", (int)own, (int)round);
    request.name = name;
    CHECK_OK(mc_conductor_schedule(team.conductor, &request, &decision));
    store_blocks(&team, team.prefill[own % 2], keys, 8);
    match_of(&team, team.prefill[0], keys, 8);
    CHECK_OK(mc_conductor_report(team.conductor, team.prefill[own % 2], 0, &report));
    if (round % 10 == 0) CHECK_OK(mc_conductor_explain(team.conductor, decision.request, text, sizeof text, &length));
    CHECK_OK(mc_conductor_feedback(team.conductor, decision.request, MC_CONDUCTOR_FEEDBACK_FIRST_TOKEN));
    CHECK_OK(mc_conductor_feedback(team.conductor, decision.request,
                                   round % 3 == 0 ? MC_CONDUCTOR_FEEDBACK_CANCELED : MC_CONDUCTOR_FEEDBACK_FINISHED));
  }
  return NULL;
}

/* Meanwhile instances and contexts come and go, and all of it is written down. */
static void *manage(void *argument) {
  (void)argument;
  for (int round = 0; round < ROUNDS; round++) {
    mc_conductor_context_options_t options = mc_conductor_context_options_default();
    mc_conductor_context_t context = 0;
    mc_conductor_info_t info = mc_conductor_info_default();
    size_t length = 0;
    char *bytes = NULL;
    serving(team.conductor, "d1", MC_CONDUCTOR_ROLE_DECODE);
    options.model = "m";
    options.block_size = 10;
    options.salt = "salt";
    CHECK_OK(mc_conductor_open_context(team.conductor, &options, &context));
    WRITTEN(bytes, length, mc_conductor_snapshot(team.conductor, buffer, size, &length));
    free(bytes);
    WRITTEN(bytes, length, mc_conductor_get_metrics(team.conductor, buffer, size, &length));
    free(bytes);
    CHECK_OK(mc_conductor_get_info(team.conductor, &info));
    CHECK_OK(mc_conductor_sweep(team.conductor));
    CHECK_OK(mc_conductor_unregister_instance(team.conductor, "d1"));
    CHECK_OK(mc_conductor_close_context(team.conductor, context));
  }
  return NULL;
}

int main(void) {
  mc_conductor_options_t options = exact_options();
  mc_conductor_hooks_t hooks = mc_conductor_hooks_default();
  mc_conductor_info_t info = mc_conductor_info_default();
  pthread_t threads[ROUTERS + 1];
  hang_guard(280);
  hooks.budget_us = 10000000;
  hooks.cost = cheap;
  options.copied_blocks_per_second = 100;
  options.uses_per_copy = 2;
  team = team_with(&options, &hooks);
  for (uintptr_t i = 0; i < ROUTERS; i++) CHECK(pthread_create(&threads[i], NULL, route, (void *)i) == 0, "no thread");
  CHECK(pthread_create(&threads[ROUTERS], NULL, manage, NULL) == 0, "no thread");
  for (int i = 0; i <= ROUTERS; i++) pthread_join(threads[i], NULL);
  CHECK_OK(mc_conductor_get_info(team.conductor, &info));
  CHECK(info.decided_count == ROUTERS * ROUNDS && info.request_count == 0, "%zu decided, %zu left",
        (size_t)info.decided_count, (size_t)info.request_count);
  CHECK_OK(mc_conductor_destroy(team.conductor));
  return 0;
}
