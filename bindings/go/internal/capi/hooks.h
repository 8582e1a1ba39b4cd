/* How hooks cross into Go: functions of Go know nothing of const, and a user_data is the number of a handle. */
#ifndef MOONCAKE_GO_HOOKS_H
#define MOONCAKE_GO_HOOKS_H

#include <mooncake.h>

extern int32_t mooncakeGoCost(uintptr_t handle, mc_conductor_asked_t *asked, mc_conductor_candidate_t *candidates,
                              size_t count);
extern int32_t mooncakeGoScore(uintptr_t handle, mc_conductor_asked_t *asked, mc_conductor_candidate_t *candidates,
                               size_t count, double *prices);
extern int32_t mooncakeGoAdmission(uintptr_t handle, mc_conductor_asked_t *asked, mc_conductor_prospect_t *prospect,
                                   mc_conductor_rejection_t *rejection);
extern int32_t mooncakeGoReplicate(uintptr_t handle, mc_conductor_asked_t *asked, mc_conductor_match_t *found,
                                   size_t count, mc_conductor_copy_t *copy);
extern void mooncakeGoDropHook(uintptr_t handle);

static mc_status_t go_cost(void *handle, const mc_conductor_asked_t *asked, mc_conductor_candidate_t *candidates,
                           size_t count) {
  return mooncakeGoCost((uintptr_t)handle, (mc_conductor_asked_t *)asked, candidates, count);
}

static mc_status_t go_score(void *handle, const mc_conductor_asked_t *asked, const mc_conductor_candidate_t *candidates,
                            size_t count, double *prices) {
  return mooncakeGoScore((uintptr_t)handle, (mc_conductor_asked_t *)asked, (mc_conductor_candidate_t *)candidates,
                         count, prices);
}

static mc_status_t go_admission(void *handle, const mc_conductor_asked_t *asked,
                                const mc_conductor_prospect_t *prospect, mc_conductor_rejection_t *rejection) {
  return mooncakeGoAdmission((uintptr_t)handle, (mc_conductor_asked_t *)asked, (mc_conductor_prospect_t *)prospect,
                             rejection);
}

static mc_status_t go_replicate(void *handle, const mc_conductor_asked_t *asked, const mc_conductor_match_t *found,
                                size_t count, mc_conductor_copy_t *copy) {
  return mooncakeGoReplicate((uintptr_t)handle, (mc_conductor_asked_t *)asked, (mc_conductor_match_t *)found, count,
                             copy);
}

static void go_drop_hook(void *handle) { mooncakeGoDropHook((uintptr_t)handle); }

/* A handle of 0 is no hook. */
static mc_status_t go_conductor_create(const mc_conductor_options_t *options, uint64_t budget_us, uint32_t strike_limit,
                                       uintptr_t cost, uintptr_t score, uintptr_t admission, uintptr_t replicate,
                                       mc_conductor_t **out_conductor) {
  mc_conductor_hooks_t hooks = mc_conductor_hooks_default();
  hooks.budget_us = budget_us;
  hooks.strike_limit = strike_limit;
  if (cost != 0) hooks.cost = go_cost, hooks.cost_data = (void *)cost;
  if (score != 0) hooks.score = go_score, hooks.score_data = (void *)score;
  if (admission != 0) hooks.admission = go_admission, hooks.admission_data = (void *)admission;
  if (replicate != 0) hooks.replicate = go_replicate, hooks.replicate_data = (void *)replicate;
  hooks.drop = go_drop_hook;
  return mc_conductor_create(options, &hooks, out_conductor);
}

#endif /* MOONCAKE_GO_HOOKS_H */
