/* What tests of the conductor share: one model with three instances, whose cost is easy to count with. */
#ifndef MC_TEST_CONDUCTOR_H
#define MC_TEST_CONDUCTOR_H

#include "check.h"

#include <math.h>

/* A block of 10 tokens takes a second to compute, and a quarter of one to move. */
static inline mc_conductor_cost_t simple_cost(void) {
  mc_conductor_cost_t cost = mc_conductor_cost_default();
  cost.kv_bytes_per_token = 1;
  cost.prefill_linear = 0.1;
  cost.decode_fixed = 0.01;
  cost.decode_per_request = 0.001;
  cost.host_rate = cost.disk_rate = 1e9;
  cost.link_rate = 40;
  cost.kv_tokens = 1000;
  cost.chunk_tokens = 10;
  return cost;
}

/* Nothing is learnt, and blocks move when a request's turn has come: what is predicted is what is written here. */
static inline mc_conductor_options_t exact_options(void) {
  mc_conductor_options_t options = mc_conductor_options_default();
  options.flags = MC_CONDUCTOR_FLAG_LATE_TRANSFERS | MC_CONDUCTOR_FLAG_NO_LEARNING;
  return options;
}

static inline mc_conductor_instance_t serving(mc_conductor_t *conductor, const char *name, mc_conductor_role_t role) {
  mc_conductor_instance_options_t options = mc_conductor_instance_options_default();
  mc_conductor_cost_t cost = simple_cost();
  mc_conductor_instance_t instance = 0;
  options.name = name;
  options.role = role;
  options.model = "m";
  options.block_size = 10;
  options.cost = &cost;
  CHECK_OK(mc_conductor_register_instance(conductor, &options, &instance));
  CHECK(instance != 0, "0 is no instance");
  return instance;
}

static inline mc_conductor_context_t opened(mc_conductor_t *conductor) {
  mc_conductor_context_options_t options = mc_conductor_context_options_default();
  mc_conductor_context_t context = 0;
  options.model = "m";
  options.block_size = 10;
  CHECK_OK(mc_conductor_open_context(conductor, &options, &context));
  return context;
}

/* Two that prefill, one that decodes, and an open context. */
typedef struct team_t {
  mc_conductor_t *conductor;
  mc_conductor_instance_t prefill[2], decode;
  mc_conductor_context_t context;
} team_t;

static inline team_t team_with(const mc_conductor_options_t *options, const mc_conductor_hooks_t *hooks) {
  team_t team;
  team.conductor = NULL;
  CHECK_OK(mc_conductor_create(options, hooks, &team.conductor));
  team.prefill[0] = serving(team.conductor, "p0", MC_CONDUCTOR_ROLE_PREFILL);
  team.prefill[1] = serving(team.conductor, "p1", MC_CONDUCTOR_ROLE_PREFILL);
  team.decode = serving(team.conductor, "d0", MC_CONDUCTOR_ROLE_DECODE);
  team.context = opened(team.conductor);
  return team;
}

static inline team_t exact_team(void) {
  mc_conductor_options_t options = exact_options();
  return team_with(&options, NULL);
}

static inline mc_conductor_event_t change_of(mc_conductor_instance_t instance, mc_conductor_change_t change,
                                             const uint64_t *keys, size_t count) {
  mc_conductor_event_t event;
  memset(&event, 0, sizeof event);
  event.instance = instance;
  event.change = change;
  event.tier = MC_CONDUCTOR_TIER_DEVICE;
  event.keys = keys;
  event.key_count = count;
  return event;
}

static inline void store_blocks(const team_t *team, mc_conductor_instance_t instance, const uint64_t *keys,
                                size_t count) {
  mc_conductor_event_t event = change_of(instance, MC_CONDUCTOR_CHANGE_STORED, keys, count);
  mc_conductor_applied_t applied;
  CHECK_OK(mc_conductor_apply(team->conductor, team->context, &event, 1, &applied));
  CHECK(applied.applied_count == 1 && applied.unknown_count == 0, "it was not taken");
}

static inline mc_conductor_request_t request_for(const team_t *team, const uint64_t *keys, size_t count) {
  mc_conductor_request_t request = mc_conductor_request_default();
  request.context = team->context;
  request.prompt.keys = keys;
  request.prompt.key_count = count;
  return request;
}

static inline mc_conductor_decision_t decision_on(const team_t *team, const mc_conductor_request_t *request) {
  mc_conductor_decision_t decision = mc_conductor_decision_default();
  CHECK_OK(mc_conductor_schedule(team->conductor, request, &decision));
  return decision;
}

static inline mc_conductor_decision_t run_keys(const team_t *team, const uint64_t *keys, size_t count) {
  mc_conductor_request_t request = request_for(team, keys, count);
  mc_conductor_decision_t decision = decision_on(team, &request);
  CHECK(decision.verdict == MC_CONDUCTOR_VERDICT_RUN && decision.request != 0, "verdict %u", decision.verdict);
  return decision;
}

/* What one instance has of a prompt. */
static inline mc_conductor_match_t match_of(const team_t *team, mc_conductor_instance_t instance, const uint64_t *keys,
                                            size_t count) {
  mc_conductor_match_t found[16];
  mc_conductor_prompt_t prompt = request_for(team, keys, count).prompt;
  size_t have = 0;
  CHECK_OK(mc_conductor_match(team->conductor, team->context, &prompt, found, 16, &have));
  for (size_t i = 0; i < have; i++)
    if (found[i].instance == instance && found[i].rank == 0) return found[i];
  FAIL("the instance is not among %zu", have);
}

/* A text or blob that a call writes; freed by the caller. */
#define WRITTEN(out, length, call)                         \
  do {                                                     \
    size_t size = 0;                                       \
    char *buffer = NULL;                                   \
    mc_status_t status = MC_OK;                            \
    while ((status = (call)) == MC_ERR_BUFFER_TOO_SMALL) { \
      size = (length) + 64;                                \
      buffer = (char *)realloc(buffer, size);              \
      CHECK(buffer != NULL, "no memory");                  \
    }                                                      \
    CHECK_STATUS(MC_OK, status);                           \
    (out) = buffer;                                        \
  } while (0)

static const uint64_t KEYS[8] = {11, 12, 13, 14, 15, 16, 17, 18};

static inline bool is_about(double value, double expected) { return fabs(value - expected) < 1e-6; }

#endif /* MC_TEST_CONDUCTOR_H */
