// Conductor: decisions, hooks, and all of it again after a restart.
#include "mooncake/conductor.hpp"

#include <numeric>
#include <string>

#include "check.hpp"

using namespace mooncake;

static const std::vector<std::uint64_t> keys{11, 12, 13, 14, 15, 16, 17, 18};

// A block of 10 tokens takes a second to compute, and a quarter of one to move.
static InstanceOptions serving(const std::string& name, mc_conductor_role_t role) {
  InstanceOptions options;
  options.name = name;
  options.model = "m";
  options.role = role;
  options.block_size = 10;
  ConductorCost cost = mc_conductor_cost_default();
  cost.kv_bytes_per_token = 1;
  cost.prefill_linear = 0.1;
  cost.decode_fixed = 0.01;
  cost.host_rate = cost.disk_rate = 1e9;
  cost.link_rate = 40;
  cost.kv_tokens = 1000;
  cost.chunk_tokens = 10;
  options.cost = cost;
  return options;
}

struct Team {
  explicit Team(ConductorHooks hooks = {}) : conductor(exact(std::move(hooks))) {
    first = conductor.register_instance(serving("p0", MC_CONDUCTOR_ROLE_PREFILL));
    second = conductor.register_instance(serving("p1", MC_CONDUCTOR_ROLE_PREFILL));
    conductor.register_instance(serving("d0", MC_CONDUCTOR_ROLE_DECODE));
    ContextOptions options;
    options.model = "m";
    options.block_size = 10;
    request.context = context = conductor.open_context(options);
    request.keys = keys;
  }

  static ConductorOptions exact(ConductorHooks hooks) {
    ConductorOptions options;
    options.name = "team";
    options.numbers.flags = MC_CONDUCTOR_FLAG_LATE_TRANSFERS | MC_CONDUCTOR_FLAG_NO_LEARNING;
    options.numbers.copied_blocks_per_second = 100;
    options.numbers.uses_per_copy = 2;
    options.hooks = std::move(hooks);
    options.hooks.budget_us = 10000000;
    return options;
  }

  void store(mc_conductor_instance_t instance, Span<const std::uint64_t> blocks) {
    auto event = conductor_event(instance, MC_CONDUCTOR_CHANGE_STORED, MC_CONDUCTOR_TIER_DEVICE, blocks);
    CHECK(conductor.apply(context, {event}).applied_count == 1);
  }

  Conductor conductor;
  mc_conductor_instance_t first = 0, second = 0;
  mc_conductor_context_t context = 0;
  ConductorRequest request;
};

TEST(a_request_goes_where_its_prefix_is) {
  Team team;
  team.store(team.second, Span<const std::uint64_t>(keys.data(), 6));
  ConductorDecision decision = team.conductor.schedule(team.request);
  CHECK(decision.verdict == MC_CONDUCTOR_VERDICT_RUN && decision.prefill == team.second);
  CHECK(std::string(decision.prefill_name) == "p1" && std::string(decision.decode_name) == "d0");
  CHECK(decision.reused_blocks == 6);
  std::vector<ConductorMatch> found = team.conductor.match(team.request);
  CHECK(found.size() == 3 && found[1].promised_blocks == 8);
  CHECK(team.conductor.explain(decision.request).find("\"chosen\":true") != std::string::npos);
  CHECK(team.conductor.explain(team.request).find("\"request\":null") != std::string::npos);
  team.conductor.feedback(decision.request, MC_CONDUCTOR_FEEDBACK_FIRST_TOKEN);
  team.conductor.feedback(decision.request, MC_CONDUCTOR_FEEDBACK_FINISHED);
  CHECK_THROWS(MC_ERR_INVALID_HANDLE, team.conductor.feedback(decision.request, MC_CONDUCTOR_FEEDBACK_FINISHED));
  CHECK(team.conductor.metrics().find("decisions_total{conductor=\"team\"} 1\n") != std::string::npos);
}

TEST(tokens_have_the_keys_of_their_context) {
  Team team;
  std::vector<std::uint32_t> tokens(85);
  std::iota(tokens.begin(), tokens.end(), 0);
  std::vector<std::uint64_t> hashed = team.conductor.hash(team.context, tokens);
  CHECK(hashed.size() == 8);
  team.store(team.first, hashed);
  ConductorRequest request;
  request.context = team.context;
  request.tokens = tokens;
  request.name = "r1";
  CHECK(team.conductor.schedule(request).reused_blocks == 8);
  CHECK_THROWS(MC_ERR_ALREADY_EXISTS, team.conductor.schedule(request));
  team.conductor.feedback(team.conductor.find_request("r1"), MC_CONDUCTOR_FEEDBACK_CANCELED);
  ContextOptions other;
  other.model = "m";
  other.block_size = 10;
  other.hash = MC_CONDUCTOR_HASH_VLLM_SHA256;
  CHECK_THROWS(MC_ERR_INVALID_ARGUMENT, team.conductor.open_context(other));
  other.python_hash_seed = "0";
  CHECK(team.conductor.hash(team.conductor.open_context(other), tokens) != hashed);
}

TEST(instances_are_found_by_their_names) {
  Team team;
  CHECK(team.conductor.find_instance("p0") == team.first);
  InstanceOptions wider = serving("p0", MC_CONDUCTOR_ROLE_PREFILL);
  wider.ranks = 2;
  CHECK(team.conductor.register_instance(wider) == team.first);
  CHECK(team.conductor.instance(team.first).rank_count == 2);
  team.conductor.report(team.first, mc_conductor_report_default(), 1);
  team.conductor.clear(team.first, 1);
  team.conductor.unregister_instance("p0");
  CHECK_THROWS(MC_ERR_NOT_FOUND, team.conductor.find_instance("p0"));
  CHECK_THROWS(MC_ERR_NOT_FOUND, team.conductor.find_instance(""));
  CHECK_THROWS(MC_ERR_INVALID_ARGUMENT, team.conductor.unregister_instance(std::string("p\0", 2)));
  CHECK(team.conductor.info().instance_count == 2);
}

TEST(hooks_decide_and_live_as_long_as_their_conductor) {
  auto calls = std::make_shared<int>(0);
  {
    ConductorHooks hooks;
    hooks.score = [calls](const ConductorAsked& asked, Span<const ConductorCandidate> candidates, Span<double> prices) {
      ++*calls;
      CHECK(std::string(asked.model) == "m" && candidates.size() == prices.size());
      for (std::size_t i = 0; i < prices.size(); ++i) prices[i] = -static_cast<double>(i);
    };
    hooks.admission = [calls](const ConductorAsked& asked, const ConductorProspect&, ConductorRejection& rejection) {
      if (asked.service_class != 3) return;
      rejection.reason = MC_CONDUCTOR_REASON_RULE;
      rejection.retry_after_ms = 70;
    };
    hooks.replicate = [calls](const ConductorAsked&, Span<const ConductorMatch>, ConductorCopy& copy) {
      copy.to_block = 0;
    };
    Team team(std::move(hooks));
    CHECK(team.conductor.schedule(team.request).prefill == team.second);
    team.request.service_class = 3;
    ConductorDecision refused = team.conductor.schedule(team.request);
    CHECK(refused.verdict == MC_CONDUCTOR_VERDICT_REJECTED && refused.rejection.retry_after_ms == 70);
    CHECK(*calls == 2 && calls.use_count() > 1 && !team.conductor.take_advice());
  }
  CHECK(calls.use_count() == 1);
}

TEST(a_hook_that_throws_is_switched_off) {
  ConductorHooks hooks;
  hooks.cost = [](const ConductorAsked&, Span<ConductorCandidate>) { throw std::runtime_error("no"); };
  hooks.strike_limit = 2;
  Team team(std::move(hooks));
  for (int i = 0; i < 3; ++i) CHECK(team.conductor.schedule(team.request).verdict == MC_CONDUCTOR_VERDICT_RUN);
  CHECK(team.conductor.info().hooks_off == MC_CONDUCTOR_HOOK_COST);
}

TEST(advice_comes_with_its_keys) {
  Team team;
  team.store(team.first, keys);
  std::optional<ConductorAdvice> advice;
  for (int i = 0; i < 10 && !advice; ++i) {
    team.conductor.schedule(team.request);
    advice = team.conductor.take_advice();
  }
  CHECK(advice && advice->keys == keys && advice->copy.sender == team.first && advice->context == team.context);
}

TEST(a_conductor_goes_on_from_a_snapshot) {
  Team team;
  team.store(team.first, keys);
  std::vector<std::uint8_t> bytes = team.conductor.snapshot();
  Conductor other;
  bytes[20] ^= 1;
  CHECK_THROWS(MC_ERR_CORRUPTED, other.restore(bytes));
  bytes[20] ^= 1;
  CHECK(other.restore(bytes).block_count == 8);
  other.sweep();
  CHECK(other.find_instance("p1") != 0);
  Conductor moved = std::move(other);
  moved.close();
  CHECK_THROWS(MC_ERR_INVALID_HANDLE, moved.info());
}

TEST(presets_are_numbers_to_begin_with) { CHECK(conductor_preset("", "h800").kv_tokens > 1000000); }
