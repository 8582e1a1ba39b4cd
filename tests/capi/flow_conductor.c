/* Does a router come to its decisions: instances, events, schedule, feedback, why, hooks, and all of it again after a
 * restart? */
#include "conductor.h"
#include "json.h"

static void a_request_goes_where_its_prefix_is(void) {
  team_t team = exact_team();
  store_blocks(&team, team.prefill[1], KEYS, 6);
  mc_conductor_decision_t decision = run_keys(&team, KEYS, 8);
  CHECK(decision.prefill == team.prefill[1] && strcmp(decision.prefill_name, "p1") == 0, "\"%s\"",
        decision.prefill_name);
  CHECK(decision.decode == team.decode && strcmp(decision.decode_name, "d0") == 0, "\"%s\"", decision.decode_name);
  CHECK(decision.block_count == 8 && decision.reused_blocks == 6 && decision.moved_blocks == 0, "%u of %u reused",
        decision.reused_blocks, decision.block_count);
  CHECK(is_about(decision.ttft_seconds, 2) && is_about(decision.queue_seconds, 0) && decision.computed_tokens == 20,
        "%f seconds", decision.ttft_seconds);
  CHECK(decision.rejection.reason == MC_CONDUCTOR_REASON_NONE && decision.group_count == 0, "a rejection");
  mc_conductor_match_t match = match_of(&team, team.prefill[1], KEYS, 8);
  CHECK(match.blocks[0] == 6 && match.promised_blocks == 8, "%u and %u promised", match.blocks[0],
        match.promised_blocks);
  CHECK_OK(mc_conductor_feedback(team.conductor, decision.request, MC_CONDUCTOR_FEEDBACK_STARTED));
  CHECK_OK(mc_conductor_feedback(team.conductor, decision.request, MC_CONDUCTOR_FEEDBACK_FIRST_TOKEN));
  CHECK_STATUS(MC_ERR_INVALID_STATE,
               mc_conductor_feedback(team.conductor, decision.request, MC_CONDUCTOR_FEEDBACK_STARTED));
  CHECK_OK(mc_conductor_feedback(team.conductor, decision.request, MC_CONDUCTOR_FEEDBACK_FINISHED));
  CHECK_STATUS(MC_ERR_INVALID_HANDLE,
               mc_conductor_feedback(team.conductor, decision.request, MC_CONDUCTOR_FEEDBACK_FINISHED));
  mc_conductor_info_t info = mc_conductor_info_default();
  CHECK_OK(mc_conductor_get_info(team.conductor, &info));
  CHECK(info.instance_count == 3 && info.context_count == 1 && info.request_count == 0 && info.decided_count == 1,
        "%zu requests", (size_t)info.request_count);
  CHECK_OK(mc_conductor_destroy(team.conductor));
}

/* The one that has the blocks is busy: they are moved away from it. */
static void blocks_are_moved_if_that_is_faster(void) {
  team_t team = exact_team();
  mc_conductor_report_t report = mc_conductor_report_default();
  store_blocks(&team, team.prefill[0], KEYS, 8);
  report.flags = MC_CONDUCTOR_REPORT_QUEUE;
  report.queue_seconds = 100;
  CHECK_OK(mc_conductor_report(team.conductor, team.prefill[0], 0, &report));
  mc_conductor_decision_t decision = run_keys(&team, KEYS, 8);
  CHECK(decision.prefill == team.prefill[1] && decision.moved_blocks == 8, "%u moved to \"%s\"", decision.moved_blocks,
        decision.prefill_name);
  CHECK(decision.source_kind == MC_CONDUCTOR_SOURCE_INSTANCE && decision.source == team.prefill[0], "from elsewhere");
  CHECK(is_about(decision.transfer_seconds, 2), "%f seconds", decision.transfer_seconds);
  CHECK_OK(mc_conductor_destroy(team.conductor));
}

static void what_fails_leaves_nothing_and_what_is_removed_is_gone(void) {
  team_t team = exact_team();
  mc_conductor_decision_t decision = run_keys(&team, KEYS, 8);
  CHECK(match_of(&team, decision.prefill, KEYS, 8).promised_blocks == 8, "nothing was promised");
  CHECK_OK(mc_conductor_feedback(team.conductor, decision.request, MC_CONDUCTOR_FEEDBACK_FAILED));
  CHECK(match_of(&team, decision.prefill, KEYS, 8).promised_blocks == 0, "it is promised still");
  mc_conductor_event_t events[2] = {
      change_of(team.prefill[0], MC_CONDUCTOR_CHANGE_STORED, KEYS, 8),
      change_of(team.prefill[0], MC_CONDUCTOR_CHANGE_REMOVED, KEYS + 3, 1),
  };
  CHECK_OK(mc_conductor_apply(team.conductor, team.context, events, 2, NULL));
  CHECK(match_of(&team, team.prefill[0], KEYS, 8).blocks[0] == 3, "the fourth is gone");
  events[0] = change_of(team.prefill[0], MC_CONDUCTOR_CHANGE_CLEARED, NULL, 0);
  events[0].tier = MC_CONDUCTOR_TIER_ALL;
  CHECK_OK(mc_conductor_apply(team.conductor, team.context, events, 1, NULL));
  CHECK(match_of(&team, team.prefill[0], KEYS, 8).blocks[3] == 0, "all are gone");
  store_blocks(&team, team.prefill[0], KEYS, 8);
  CHECK_OK(mc_conductor_clear(team.conductor, team.prefill[0], 0));
  CHECK(match_of(&team, team.prefill[0], KEYS, 8).blocks[3] == 0, "all are gone again");
  CHECK_OK(mc_conductor_sweep(team.conductor));
  CHECK_OK(mc_conductor_destroy(team.conductor));
}

static void tokens_are_named_as_engines_name_them(void) {
  team_t team = exact_team();
  mc_conductor_context_options_t options = mc_conductor_context_options_default();
  mc_conductor_context_t vllm = 0;
  uint32_t tokens[85];
  uint64_t keys[16], others[16];
  size_t count = 0;
  for (uint32_t i = 0; i < 85; i++) tokens[i] = i;
  CHECK_OK(mc_conductor_hash(team.conductor, team.context, tokens, 85, keys, 16, &count));
  CHECK(count == 8, "%zu keys", count);
  CHECK_STATUS(MC_ERR_BUFFER_TOO_SMALL, mc_conductor_hash(team.conductor, team.context, tokens, 85, NULL, 0, &count));
  CHECK(count == 8, "%zu keys", count);
  options.model = "m";
  options.block_size = 10;
  options.hash = MC_CONDUCTOR_HASH_VLLM_SHA256_CBOR;
  options.python_hash_seed = "0";
  CHECK_OK(mc_conductor_open_context(team.conductor, &options, &vllm));
  CHECK_OK(mc_conductor_hash(team.conductor, vllm, tokens, 85, others, 16, &count));
  CHECK(vllm != team.context && memcmp(keys, others, sizeof *keys * 8) != 0, "the same names");
  store_blocks(&team, team.prefill[0], keys, 7);
  mc_conductor_request_t request = request_for(&team, NULL, 0);
  request.prompt.tokens = tokens;
  request.prompt.token_count = 85;
  mc_conductor_decision_t decision = decision_on(&team, &request);
  CHECK(decision.reused_blocks == 7 && decision.computed_tokens == 15, "%u reused", decision.reused_blocks);
  CHECK_OK(mc_conductor_close_context(team.conductor, vllm));
  CHECK_STATUS(MC_ERR_INVALID_HANDLE, mc_conductor_hash(team.conductor, vllm, tokens, 85, others, 16, &count));
  CHECK_OK(mc_conductor_destroy(team.conductor));
}

static void instances_come_change_and_go(void) {
  team_t team = exact_team();
  mc_conductor_instance_info_t info = mc_conductor_instance_info_default();
  mc_conductor_instance_options_t wider = mc_conductor_instance_options_default();
  mc_conductor_cost_t cost = simple_cost();
  mc_conductor_instance_t found = 0, again = 0;
  CHECK_OK(mc_conductor_find_instance(team.conductor, "p0", &found));
  CHECK(found == team.prefill[0], "another one");
  wider.name = "p0";
  wider.role = MC_CONDUCTOR_ROLE_PREFILL;
  wider.model = "m";
  wider.block_size = 10;
  wider.rank_count = 3;
  wider.cost = &cost;
  CHECK_OK(mc_conductor_register_instance(team.conductor, &wider, &again));
  CHECK_OK(mc_conductor_get_instance(team.conductor, again, &info));
  CHECK(again == found && info.rank_count == 3 && strcmp(info.model, "m") == 0, "%u ranks", info.rank_count);
  CHECK(info.role == MC_CONDUCTOR_ROLE_PREFILL && strcmp(info.name, "p0") == 0, "\"%s\"", info.name);
  CHECK_OK(mc_conductor_report(team.conductor, again, 2, NULL));
  CHECK_STATUS(MC_ERR_NOT_FOUND, mc_conductor_report(team.conductor, again, 3, NULL));
  wider.role = MC_CONDUCTOR_ROLE_BOTH;
  CHECK_STATUS(MC_ERR_ALREADY_EXISTS, mc_conductor_register_instance(team.conductor, &wider, NULL));
  CHECK_OK(mc_conductor_unregister_instance(team.conductor, "p0"));
  CHECK_STATUS(MC_ERR_NOT_FOUND, mc_conductor_unregister_instance(team.conductor, "p0"));
  CHECK_STATUS(MC_ERR_INVALID_HANDLE, mc_conductor_get_instance(team.conductor, again, &info));
  CHECK_OK(mc_conductor_register_instance(team.conductor, &wider, &again));
  CHECK(again != found, "an id was used again");
  CHECK_OK(mc_conductor_destroy(team.conductor));
}

static void what_the_store_has_is_in_reach_of_all(void) {
  team_t team = exact_team();
  mc_conductor_instance_options_t options = mc_conductor_instance_options_default();
  mc_conductor_instance_t store = 0;
  options.name = "store";
  options.role = MC_CONDUCTOR_ROLE_HOLD;
  CHECK_OK(mc_conductor_register_instance(team.conductor, &options, &store));
  mc_conductor_event_t event = change_of(store, MC_CONDUCTOR_CHANGE_STORED, KEYS, 8);
  event.tier = MC_CONDUCTOR_TIER_STORE;
  CHECK_OK(mc_conductor_apply(team.conductor, team.context, &event, 1, NULL));
  mc_conductor_decision_t decision = run_keys(&team, KEYS, 8);
  CHECK(decision.source_kind == MC_CONDUCTOR_SOURCE_STORE && decision.moved_blocks == 8, "%u moved",
        decision.moved_blocks);
  CHECK_STATUS(MC_ERR_INVALID_ARGUMENT, mc_conductor_report(team.conductor, store, 0, NULL));
  CHECK_OK(mc_conductor_destroy(team.conductor));
}

static void a_rejection_is_an_answer_that_says_when_to_come_back(void) {
  mc_conductor_options_t options = exact_options();
  options.admission = "early";
  options.classes[0].ttft_seconds = 5;
  team_t team = team_with(&options, NULL);
  mc_conductor_request_t request = request_for(&team, KEYS, 8);
  mc_conductor_decision_t decision = decision_on(&team, &request);
  CHECK(decision.verdict == MC_CONDUCTOR_VERDICT_REJECTED && decision.request == 0, "it was taken on");
  CHECK(decision.rejection.reason == MC_CONDUCTOR_REASON_PREFILL && decision.rejection.retry_after_ms == 3000, "%u ms",
        decision.rejection.retry_after_ms);
  CHECK(is_about(decision.rejection.load, 1.6) && is_about(decision.rejection.load_limit, 1), "load %f",
        decision.rejection.load);
  request.service_class = 1;
  CHECK(decision_on(&team, &request).verdict == MC_CONDUCTOR_VERDICT_RUN, "30 seconds are enough");
  CHECK_OK(mc_conductor_destroy(team.conductor));
}

static void with_admission_by_load_room_to_decode_is_asked_for_again(void) {
  mc_conductor_options_t options = exact_options();
  mc_conductor_report_t report = mc_conductor_report_default();
  mc_conductor_rejection_t rejection;
  options.admission = "load";
  team_t team = team_with(&options, NULL);
  mc_conductor_decision_t decision = run_keys(&team, KEYS, 8);
  CHECK_OK(mc_conductor_recheck(team.conductor, decision.request, &rejection));
  CHECK(rejection.reason == MC_CONDUCTOR_REASON_NONE, "nobody decodes");
  report.flags = MC_CONDUCTOR_REPORT_DECODING;
  report.decoding_requests = 10;
  report.decoding_tokens = 999;
  CHECK_OK(mc_conductor_report(team.conductor, team.decode, 0, &report));
  CHECK_OK(mc_conductor_recheck(team.conductor, decision.request, &rejection));
  CHECK(rejection.reason == MC_CONDUCTOR_REASON_DECODE && rejection.retry_after_ms > 0, "reason %u", rejection.reason);
  CHECK_OK(mc_conductor_feedback(team.conductor, decision.request, MC_CONDUCTOR_FEEDBACK_CANCELED));
  CHECK_OK(mc_conductor_destroy(team.conductor));
}

static void a_request_has_a_name_while_it_lives(void) {
  team_t team = exact_team();
  mc_conductor_request_t request = request_for(&team, KEYS, 8);
  mc_conductor_decision_t decision = mc_conductor_decision_default();
  mc_conductor_request_id_t found = 0;
  request.name = "r1";
  CHECK_OK(mc_conductor_schedule(team.conductor, &request, &decision));
  CHECK_OK(mc_conductor_find_request(team.conductor, "r1", &found));
  CHECK(found == decision.request, "another one");
  CHECK_STATUS(MC_ERR_ALREADY_EXISTS, mc_conductor_schedule(team.conductor, &request, &decision));
  CHECK_OK(mc_conductor_feedback(team.conductor, found, MC_CONDUCTOR_FEEDBACK_CANCELED));
  CHECK_STATUS(MC_ERR_NOT_FOUND, mc_conductor_find_request(team.conductor, "r1", &found));
  CHECK_OK(mc_conductor_destroy(team.conductor));
}

static void an_explanation_is_json_with_every_candidate(void) {
  team_t team = exact_team();
  mc_conductor_request_t request = request_for(&team, KEYS, 8);
  size_t length = 0;
  char *text = NULL;
  store_blocks(&team, team.prefill[0], KEYS, 4);
  WRITTEN(text, length, mc_conductor_explain_request(team.conductor, &request, buffer, size, &length));
  CHECK(is_json(text) && strlen(text) == length, "\"%s\"", text);
  CHECK(strstr(text, "\"p0\"") != NULL && strstr(text, "\"p1\"") != NULL, "\"%s\"", text);
  free(text);
  mc_conductor_decision_t decision = run_keys(&team, KEYS, 8);
  WRITTEN(text, length, mc_conductor_explain(team.conductor, decision.request, buffer, size, &length));
  CHECK(is_json(text) && strstr(text, "\"chosen\":true") != NULL, "\"%s\"", text);
  free(text);
  WRITTEN(text, length, mc_conductor_get_metrics(team.conductor, buffer, size, &length));
  CHECK(strstr(text, "mooncake_conductor_decisions_total{conductor=\"\"} 1\n") != NULL, "\"%s\"", text);
  free(text);
  CHECK_OK(mc_conductor_destroy(team.conductor));
}

static void copies_of_hot_prefixes_are_advised(void) {
  mc_conductor_options_t options = exact_options();
  mc_conductor_copy_t copy;
  mc_conductor_context_t context = 0;
  uint64_t keys[8];
  size_t count = 0;
  bool is_advised = false;
  options.copied_blocks_per_second = 100;
  options.uses_per_copy = 2;
  team_t team = team_with(&options, NULL);
  CHECK_STATUS(MC_ERR_NOT_FOUND, mc_conductor_take_advice(team.conductor, &copy, &context, keys, 8, &count));
  store_blocks(&team, team.prefill[0], KEYS, 8);
  for (int i = 0; i < 10 && !is_advised; i++) is_advised = run_keys(&team, KEYS, 8).is_advised == 1;
  CHECK(is_advised, "it is asked for often");
  CHECK_STATUS(MC_ERR_BUFFER_TOO_SMALL, mc_conductor_take_advice(team.conductor, &copy, &context, keys, 7, &count));
  CHECK_OK(mc_conductor_take_advice(team.conductor, &copy, &context, keys, 8, &count));
  CHECK(count == 8 && memcmp(keys, KEYS, sizeof keys) == 0 && context == team.context, "%zu keys", count);
  CHECK(copy.sender == team.prefill[0] && copy.receiver == team.prefill[1], "other instances");
  CHECK(copy.from_block == 0 && copy.to_block == 8, "%u to %u", copy.from_block, copy.to_block);
  CHECK_OK(mc_conductor_destroy(team.conductor));
}

typedef struct seen_t {
  int calls[4], dropped;
  mc_conductor_instance_t dear;
  mc_status_t answer;
  mc_conductor_t *conductor;
} seen_t;

/* One instance is made far too expensive. */
static mc_status_t dear(void *user_data, const mc_conductor_asked_t *asked, mc_conductor_candidate_t *candidates,
                        size_t count) {
  seen_t *seen = (seen_t *)user_data;
  seen->calls[0]++;
  CHECK(strcmp(asked->model, "m") == 0 && strcmp(asked->name, "") == 0 && asked->block_count == 8, "\"%s\"",
        asked->model);
  for (size_t i = 0; i < count; i++)
    if (candidates[i].instance == seen->dear) candidates[i].recompute_seconds = 1000;
  return seen->answer;
}

static mc_status_t most_blocks(void *user_data, const mc_conductor_asked_t *asked,
                               const mc_conductor_candidate_t *candidates, size_t count, double *out_prices) {
  mc_conductor_info_t info = mc_conductor_info_default();
  seen_t *seen = (seen_t *)user_data;
  (void)asked;
  seen->calls[1]++;
  /* It would wait for itself. */
  CHECK_STATUS(MC_ERR_INVALID_STATE, mc_conductor_get_info(seen->conductor, &info));
  for (size_t i = 0; i < count; i++) out_prices[i] = -(double)candidates[i].local_blocks;
  return seen->answer;
}

static mc_status_t only_important(void *user_data, const mc_conductor_asked_t *asked,
                                  const mc_conductor_prospect_t *prospect, mc_conductor_rejection_t *rejection) {
  ((seen_t *)user_data)->calls[2]++;
  CHECK(prospect->ttft_seconds > 0 && rejection->reason == MC_CONDUCTOR_REASON_NONE, "rejected before");
  if (asked->priority == 0) {
    rejection->reason = MC_CONDUCTOR_REASON_RULE;
    rejection->retry_after_ms = 70;
  }
  return MC_OK;
}

static mc_status_t no_copies(void *user_data, const mc_conductor_asked_t *asked, const mc_conductor_match_t *found,
                             size_t count, mc_conductor_copy_t *copy) {
  (void)asked;
  ((seen_t *)user_data)->calls[3]++;
  CHECK(count == 3 && found != NULL, "%zu ranks", count);
  copy->to_block = 0;
  return MC_OK;
}

static void dropped(void *user_data) { ((seen_t *)user_data)->dropped++; }

static void hooks_decide_instead(void) {
  mc_conductor_options_t options = exact_options();
  mc_conductor_hooks_t hooks = mc_conductor_hooks_default();
  seen_t seen;
  memset(&seen, 0, sizeof seen);
  hooks.budget_us = 10000000; /* however slow this machine is */
  hooks.cost = dear;
  hooks.admission = only_important;
  hooks.replicate = no_copies;
  hooks.cost_data = hooks.admission_data = hooks.replicate_data = &seen;
  hooks.drop = dropped;
  options.copied_blocks_per_second = 100;
  options.uses_per_copy = 2;
  team_t team = team_with(&options, &hooks);
  seen.dear = team.prefill[0];
  store_blocks(&team, team.prefill[0], KEYS, 8);
  mc_conductor_request_t request = request_for(&team, KEYS, 8);
  mc_conductor_decision_t decision = decision_on(&team, &request);
  CHECK(decision.verdict == MC_CONDUCTOR_VERDICT_REJECTED, "it was taken on");
  CHECK(decision.rejection.reason == MC_CONDUCTOR_REASON_RULE && decision.rejection.retry_after_ms == 70, "%u ms",
        decision.rejection.retry_after_ms);
  request.priority = 1;
  for (int i = 0; i < 10; i++) {
    decision = decision_on(&team, &request);
    CHECK(decision.is_advised == 0, "the hook says no");
    CHECK(i > 0 || (decision.prefill == team.prefill[1] && decision.moved_blocks == 8), "\"%s\"",
          decision.prefill_name);
  }
  CHECK(seen.calls[0] == 11 && seen.calls[2] == 11 && seen.calls[3] == 10 && seen.dropped == 0, "%d calls",
        seen.calls[0]);
  CHECK_OK(mc_conductor_destroy(team.conductor));
  CHECK(seen.dropped == 3, "%d dropped", seen.dropped);
}

static void a_score_chooses(void) {
  mc_conductor_options_t options = exact_options();
  mc_conductor_hooks_t hooks = mc_conductor_hooks_default();
  mc_conductor_report_t report = mc_conductor_report_default();
  seen_t seen;
  memset(&seen, 0, sizeof seen);
  hooks.budget_us = 10000000;
  hooks.score = most_blocks;
  hooks.score_data = &seen;
  team_t team = team_with(&options, &hooks);
  seen.conductor = team.conductor;
  store_blocks(&team, team.prefill[1], KEYS, 1);
  report.flags = MC_CONDUCTOR_REPORT_QUEUE;
  report.queue_seconds = 100;
  CHECK_OK(mc_conductor_report(team.conductor, team.prefill[1], 0, &report));
  CHECK(run_keys(&team, KEYS, 8).prefill == team.prefill[1] && seen.calls[1] == 1, "another one");
  CHECK_OK(mc_conductor_destroy(team.conductor));
}

static mc_status_t slow(void *user_data, const mc_conductor_asked_t *asked, const mc_conductor_candidate_t *candidates,
                        size_t count, double *out_prices) {
  (void)asked;
  (void)candidates;
  ((seen_t *)user_data)->calls[1]++;
  usleep(2000);
  for (size_t i = 0; i < count; i++) out_prices[i] = (double)i;
  return MC_OK;
}

static void a_hook_that_overruns_or_fails_is_switched_off(void) {
  mc_conductor_options_t options = exact_options();
  mc_conductor_hooks_t hooks = mc_conductor_hooks_default();
  mc_conductor_info_t info = mc_conductor_info_default();
  seen_t seen;
  memset(&seen, 0, sizeof seen);
  seen.answer = MC_ERR_INTERNAL;
  hooks.budget_us = 1000;
  hooks.strike_limit = 2;
  hooks.cost = dear;
  hooks.score = slow;
  hooks.cost_data = hooks.score_data = &seen;
  team_t team = team_with(&options, &hooks);
  seen.dear = team.prefill[1];
  store_blocks(&team, team.prefill[1], KEYS, 8);
  for (int i = 0; i < 2; i++) CHECK(run_keys(&team, KEYS, 8).prefill == team.prefill[0], "the slow hook has its say");
  CHECK_OK(mc_conductor_get_info(team.conductor, &info));
  CHECK(info.hooks_off == (MC_CONDUCTOR_HOOK_COST | MC_CONDUCTOR_HOOK_SCORE), "%u are off", info.hooks_off);
  CHECK(run_keys(&team, KEYS, 8).prefill == team.prefill[1], "the built-in rule has its say");
  CHECK(seen.calls[0] == 2 && seen.calls[1] == 2, "%d and %d calls", seen.calls[0], seen.calls[1]);
  CHECK_OK(mc_conductor_destroy(team.conductor));
}

static void a_conductor_goes_on_from_a_snapshot(void) {
  team_t team = exact_team(), other;
  mc_conductor_options_t options = exact_options();
  mc_conductor_restored_t restored;
  size_t length = 0;
  char *bytes = NULL;
  memset(&other, 0, sizeof other);
  store_blocks(&team, team.prefill[0], KEYS, 8);
  WRITTEN(bytes, length, mc_conductor_snapshot(team.conductor, buffer, size, &length));
  CHECK_OK(mc_conductor_destroy(team.conductor));
  CHECK_OK(mc_conductor_create(&options, NULL, &other.conductor));
  CHECK_STATUS(MC_ERR_CORRUPTED, mc_conductor_restore(other.conductor, bytes, length - 1, &restored));
  CHECK_OK(mc_conductor_restore(other.conductor, bytes, length, &restored));
  CHECK(restored.instance_count == 3 && restored.context_count == 1 && restored.block_count == 8, "%zu blocks",
        (size_t)restored.block_count);
  CHECK_STATUS(MC_ERR_INVALID_STATE, mc_conductor_restore(other.conductor, bytes, length, NULL));
  free(bytes);
  other.context = opened(other.conductor);
  CHECK_OK(mc_conductor_find_instance(other.conductor, "p0", &other.prefill[0]));
  CHECK(match_of(&other, other.prefill[0], KEYS, 8).blocks[0] == 8, "it has them still");
  CHECK(run_keys(&other, KEYS, 8).prefill == other.prefill[0], "it goes where its prefix is");
  CHECK_OK(mc_conductor_destroy(other.conductor));
}

static void presets_are_those_of_the_paper(void) {
  mc_conductor_cost_t a800 = mc_conductor_cost_default(), h800 = mc_conductor_cost_default();
  CHECK_OK(mc_conductor_preset(NULL, NULL, &a800));
  CHECK_OK(mc_conductor_preset("llama3-70b", "h800", &h800));
  CHECK(a800.kv_bytes_per_token == 327680 && h800.prefill_linear < a800.prefill_linear, "%f bytes",
        a800.kv_bytes_per_token);
  CHECK_STATUS(MC_ERR_NOT_FOUND, mc_conductor_preset("gpt-5", NULL, &a800));
  CHECK_STATUS(MC_ERR_NOT_FOUND, mc_conductor_preset(NULL, "abacus", &a800));
}

int main(void) {
  hang_guard(120);
  RUN(a_request_goes_where_its_prefix_is);
  RUN(blocks_are_moved_if_that_is_faster);
  RUN(what_fails_leaves_nothing_and_what_is_removed_is_gone);
  RUN(tokens_are_named_as_engines_name_them);
  RUN(instances_come_change_and_go);
  RUN(what_the_store_has_is_in_reach_of_all);
  RUN(a_rejection_is_an_answer_that_says_when_to_come_back);
  RUN(with_admission_by_load_room_to_decode_is_asked_for_again);
  RUN(a_request_has_a_name_while_it_lives);
  RUN(an_explanation_is_json_with_every_candidate);
  RUN(copies_of_hot_prefixes_are_advised);
  RUN(hooks_decide_instead);
  RUN(a_score_chooses);
  RUN(a_hook_that_overruns_or_fails_is_switched_off);
  RUN(a_conductor_goes_on_from_a_snapshot);
  RUN(presets_are_those_of_the_paper);
  return 0;
}
