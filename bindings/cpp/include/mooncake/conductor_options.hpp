// What a conductor is told: options, hooks, instances, contexts, requests.
#ifndef MOONCAKE_CONDUCTOR_OPTIONS_HPP
#define MOONCAKE_CONDUCTOR_OPTIONS_HPP

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "mooncake/handle.hpp"
#include "mooncake/span.hpp"

namespace mooncake {

using ConductorAsked = mc_conductor_asked_t;
using ConductorCandidate = mc_conductor_candidate_t;
using ConductorProspect = mc_conductor_prospect_t;
using ConductorRejection = mc_conductor_rejection_t;
using ConductorMatch = mc_conductor_match_t;
using ConductorCopy = mc_conductor_copy_t;
using ConductorDecision = mc_conductor_decision_t;
using ConductorEvent = mc_conductor_event_t;
using ConductorReport = mc_conductor_report_t;
using ConductorCost = mc_conductor_cost_t;

/// Rules of the caller's own; an empty function is no hook. One that throws has failed. They are called from any thread
/// that schedules, possibly from several at once, and must not call a conductor.
struct ConductorHooks {
  /// May change the times of the candidates.
  std::function<void(const ConductorAsked&, Span<ConductorCandidate>)> cost;
  /// Writes a price for each candidate; the lowest wins.
  std::function<void(const ConductorAsked&, Span<const ConductorCandidate>, Span<double>)> score;
  /// Gets what the built-in admission says, and may say otherwise.
  std::function<void(const ConductorAsked&, const ConductorProspect&, ConductorRejection&)> admission;
  /// Gets what is advised, and may say otherwise.
  std::function<void(const ConductorAsked&, Span<const ConductorMatch>, ConductorCopy&)> replicate;
  /// What a call may take, and how many failed ones in a row switch a hook off; 0: the defaults.
  std::uint64_t budget_us = 0;
  std::uint32_t strike_limit = 0;
};

/// How a conductor decides.
struct ConductorOptions {
  /// What it is called in metrics; who prefills; what is taken on. "": the defaults.
  std::string name, policy, admission;
  /// Everything else: flags and numbers, 0 means default. Its texts are left out.
  mc_conductor_options_t numbers = mc_conductor_options_default();
  ConductorHooks hooks;
};

struct InstanceOptions {
  std::string name, model;
  /// MC_CONDUCTOR_ROLE_*
  mc_conductor_role_t role = MC_CONDUCTOR_ROLE_BOTH;
  std::uint32_t block_size = 0;
  std::uint32_t ranks = 1;
  /// None: LLaMA3-70B on eight A800.
  std::optional<ConductorCost> cost;
};

struct ContextOptions {
  std::string model;
  std::uint32_t block_size = 0;
  std::string tenant, lora, salt;
  /// MC_CONDUCTOR_HASH_*
  mc_conductor_hash_t hash = MC_CONDUCTOR_HASH_XXH3;
  std::uint64_t hash_seed = 0;
  /// What PYTHONHASHSEED is where vLLM runs.
  std::string python_hash_seed;
};

struct ConductorRequest {
  mc_conductor_context_t context = 0;
  /// One of the two, borrowed for the call.
  Span<const std::uint32_t> tokens;
  Span<const std::uint64_t> keys;
  /// 0: those of the prompt; 0: not known.
  std::uint64_t input_tokens = 0;
  std::uint32_t output_tokens = 0;
  std::uint32_t priority = 0, service_class = 0;
  /// No two live requests can have the same.
  std::string name;
};

/// What serving takes, of "llama3-70b" on "a800" or "h800".
inline ConductorCost conductor_preset(const std::string& model = "", const std::string& machine = "") {
  ConductorCost cost = mc_conductor_cost_default();
  check(mc_conductor_preset(detail::option_text(model, "model"), detail::option_text(machine, "machine"), &cost));
  return cost;
}

/// Blocks that an instance has, or has no more.
inline ConductorEvent conductor_event(mc_conductor_instance_t instance, mc_conductor_change_t change,
                                      mc_conductor_tier_t tier, Span<const std::uint64_t> keys = {},
                                      std::uint32_t rank = 0) {
  return {instance, rank, change, tier, 0, keys.data(), keys.size()};
}

namespace detail {

/// A name that must be there: "" is one, that nobody has.
inline const char* name_text(const std::string& text, const char* name) {
  option_text(text, name);
  return text.c_str();
}

/// A function that the library keeps until it drops it, whatever it takes.
struct AnyHook {
  virtual ~AnyHook() = default;
};

template <typename Function>
struct Hook : AnyHook {
  explicit Hook(Function hook) : function(std::move(hook)) {}
  Function function;
};

inline void drop_hook(void* hook) noexcept { delete static_cast<AnyHook*>(hook); }

/// An exception cannot pass through the library: it is a failure of the hook.
template <typename Function, typename... Arguments>
mc_status_t call_hook(Function ConductorHooks::*, void* hook, Arguments&&... arguments) noexcept {
  try {
    static_cast<Hook<Function>*>(static_cast<AnyHook*>(hook))->function(std::forward<Arguments>(arguments)...);
    return MC_OK;
  } catch (...) {
    return MC_ERR_INTERNAL;
  }
}

inline mc_status_t call_cost(void* hook, const ConductorAsked* asked, ConductorCandidate* candidates,
                             std::size_t count) noexcept {
  return call_hook(&ConductorHooks::cost, hook, *asked, Span<ConductorCandidate>(candidates, count));
}

inline mc_status_t call_score(void* hook, const ConductorAsked* asked, const ConductorCandidate* candidates,
                              std::size_t count, double* prices) noexcept {
  return call_hook(&ConductorHooks::score, hook, *asked, Span<const ConductorCandidate>(candidates, count),
                   Span<double>(prices, count));
}

inline mc_status_t call_admission(void* hook, const ConductorAsked* asked, const ConductorProspect* prospect,
                                  ConductorRejection* rejection) noexcept {
  return call_hook(&ConductorHooks::admission, hook, *asked, *prospect, *rejection);
}

inline mc_status_t call_replicate(void* hook, const ConductorAsked* asked, const ConductorMatch* found,
                                  std::size_t count, ConductorCopy* copy) noexcept {
  return call_hook(&ConductorHooks::replicate, hook, *asked, Span<const ConductorMatch>(found, count), *copy);
}

template <typename Function>
std::unique_ptr<AnyHook> kept_hook(const Function& hook) {
  return hook ? std::make_unique<Hook<Function>>(hook) : nullptr;
}

/// Makes a conductor whose hooks live as long as it.
inline mc_conductor_t* create_conductor(const ConductorOptions& from) {
  mc_conductor_options_t raw = from.numbers;
  raw.name = option_text(from.name, "name");
  raw.policy = option_text(from.policy, "policy");
  raw.admission = option_text(from.admission, "admission");
  auto cost = kept_hook(from.hooks.cost), score = kept_hook(from.hooks.score);
  auto admission = kept_hook(from.hooks.admission), replicate = kept_hook(from.hooks.replicate);
  mc_conductor_hooks_t hooks = mc_conductor_hooks_default();
  hooks.budget_us = from.hooks.budget_us;
  hooks.strike_limit = from.hooks.strike_limit;
  if (cost) hooks.cost = call_cost, hooks.cost_data = cost.get();
  if (score) hooks.score = call_score, hooks.score_data = score.get();
  if (admission) hooks.admission = call_admission, hooks.admission_data = admission.get();
  if (replicate) hooks.replicate = call_replicate, hooks.replicate_data = replicate.get();
  hooks.drop = drop_hook;
  mc_conductor_t* conductor = nullptr;
  check(mc_conductor_create(&raw, &hooks, &conductor));
  for (auto* hook : {&cost, &score, &admission, &replicate}) static_cast<void>(hook->release());
  return conductor;
}

inline mc_conductor_request_t conductor_request(const ConductorRequest& from) {
  mc_conductor_request_t raw = mc_conductor_request_default();
  raw.context = from.context;
  raw.prompt = {from.tokens.data(), from.tokens.size(), from.keys.data(), from.keys.size()};
  raw.input_tokens = from.input_tokens;
  raw.output_tokens = from.output_tokens;
  raw.priority = from.priority;
  raw.service_class = from.service_class;
  raw.name = option_text(from.name, "name");
  return raw;
}

}  // namespace detail
}  // namespace mooncake

#endif  // MOONCAKE_CONDUCTOR_OPTIONS_HPP
