/* Is everything given back after whole lives of conductors, with all that was in them left as it was? */
#include "conductor.h"

#include <malloc.h>

enum { LIVES = 200, WARM = 20 };

static int drops;

static void dropped(void *user_data) {
  free(user_data);
  drops++;
}

static mc_status_t by_place(void *user_data, const mc_conductor_asked_t *asked,
                            const mc_conductor_candidate_t *candidates, size_t count, double *out_prices) {
  (void)asked;
  for (size_t i = 0; i < count; i++) out_prices[i] = candidates[i].rank + (double)*(const char *)user_data;
  return MC_OK;
}

/* One life: requests that run, that failed and that nobody told of, copies that nobody took, a context of its own. */
static void live(void) {
  mc_conductor_options_t options = exact_options();
  mc_conductor_hooks_t hooks = mc_conductor_hooks_default();
  mc_conductor_context_options_t context = mc_conductor_context_options_default();
  mc_conductor_context_t other = 0;
  uint64_t keys[64];
  size_t length = 0;
  char *bytes = NULL;
  for (uint64_t i = 0; i < 64; i++) keys[i] = i + 1;
  options.copied_blocks_per_second = 1000;
  options.uses_per_copy = 1;
  hooks.score = by_place;
  hooks.score_data = calloc(1, 64);
  hooks.drop = dropped;
  team_t team = team_with(&options, &hooks);
  context.model = "m";
  context.block_size = 10;
  context.salt = "salt";
  CHECK_OK(mc_conductor_open_context(team.conductor, &context, &other));
  store_blocks(&team, team.prefill[0], keys, 64);
  for (uint32_t i = 0; i < 20; i++) {
    mc_conductor_decision_t decision = run_keys(&team, keys, 8 + i);
    if (i % 3 != 0) CHECK_OK(mc_conductor_feedback(team.conductor, decision.request, 2 + i % 4));
  }
  WRITTEN(bytes, length, mc_conductor_snapshot(team.conductor, buffer, size, &length));
  free(bytes);
  CHECK_OK(mc_conductor_unregister_instance(team.conductor, "p0"));
  CHECK_OK(mc_conductor_sweep(team.conductor));
  CHECK_OK(mc_conductor_destroy(team.conductor));
}

static void lives_leave_nothing(void) {
  for (int i = 0; i < WARM; i++) live();
  size_t before = mallinfo2().uordblks;
  for (int i = 0; i < LIVES; i++) live();
  size_t after = mallinfo2().uordblks;
  CHECK(drops == WARM + LIVES, "%d dropped", drops);
  /* Half a kilobyte for each would be a leak. */
  CHECK(after <= before + LIVES * 512, "%zu bytes became %zu", before, after);
}

int main(void) {
  hang_guard(240);
  RUN(lives_leave_nothing);
  return 0;
}
