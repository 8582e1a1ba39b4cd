// The conductor: its instances are the processes, its keys the hash ids of the trace.
#include "scheduler.hpp"

#include <mooncake/conductor.hpp>

#include <algorithm>
#include <stdexcept>

#include "messages.hpp"

namespace {

constexpr const char* kModel = "llama3-70b";
// Bytes a second that a batch of small blocks gets on a busy machine.
constexpr double kLinkRate = 200e6;

mooncake::ConductorOptions options_of(const std::string& policy, double faster) {
  mooncake::ConductorOptions options;
  options.policy = policy;
  options.numbers.decode_seconds = 20 / faster;
  options.numbers.horizon_seconds = std::max(128 / faster, 0.01);
  return options;
}

// The paper's model and machine, in times as they pass here. Blocks are moved for real, and take the time that they take.
mooncake::ConductorCost cost_of(double faster, std::uint64_t bytes_per_token) {
  mooncake::ConductorCost cost = mooncake::conductor_preset(kModel, "a800");
  for (double* seconds : {&cost.prefill_fixed, &cost.prefill_linear, &cost.prefill_quadratic, &cost.decode_fixed,
                          &cost.decode_per_request, &cost.decode_per_token})
    *seconds /= faster;
  cost.kv_bytes_per_token = static_cast<double>(bytes_per_token);
  cost.link_rate = kLinkRate;
  return cost;
}

}  // namespace

struct Scheduler::Held {
  mc_conductor_instance_t add(const std::string& name, mc_conductor_role_t role) {
    mooncake::InstanceOptions options;
    options.name = name, options.role = role;
    if (role != MC_CONDUCTOR_ROLE_HOLD) options.model = kModel, options.block_size = kTokens, options.cost = cost;
    return conductor.register_instance(options);
  }

  mooncake::Conductor conductor;
  mooncake::ConductorCost cost;
  mc_conductor_context_t context = 0;
  std::vector<mc_conductor_instance_t> prefill, decode;
  mc_conductor_instance_t store = 0;
};

Scheduler::Scheduler(const std::string& policy, double faster, std::uint64_t bytes_per_token, std::size_t prefill,
                     std::size_t decode)
    : held_(new Held{mooncake::Conductor(options_of(policy, faster)), cost_of(faster, bytes_per_token), 0, {}, {}, 0}) {
  mooncake::ContextOptions context;
  context.model = kModel, context.block_size = kTokens;
  held_->context = held_->conductor.open_context(context);
  for (std::size_t i = 0; i < prefill; ++i)
    held_->prefill.push_back(held_->add("prefill-" + std::to_string(i), MC_CONDUCTOR_ROLE_PREFILL));
  for (std::size_t i = 0; i < decode; ++i)
    held_->decode.push_back(held_->add("decode-" + std::to_string(i), MC_CONDUCTOR_ROLE_DECODE));
  held_->store = held_->add("store", MC_CONDUCTOR_ROLE_HOLD);
}

Scheduler::~Scheduler() = default;

PrefillCost Scheduler::cost() const { return {held_->cost.prefill_linear, held_->cost.prefill_quadratic}; }

Placement Scheduler::place(const std::vector<std::uint64_t>& blocks, std::uint64_t tokens, std::uint64_t output) {
  mooncake::ConductorRequest request;
  request.context = held_->context;
  request.keys = blocks;
  request.input_tokens = tokens, request.output_tokens = static_cast<std::uint32_t>(output);
  const mooncake::ConductorDecision decision = held_->conductor.schedule(request);
  if (decision.verdict != MC_CONDUCTOR_VERDICT_RUN) throw std::runtime_error("the conductor rejects a request");
  const auto place_of = [](const std::vector<mc_conductor_instance_t>& all, mc_conductor_instance_t one) {
    const auto found = std::find(all.begin(), all.end(), one);
    if (found == all.end()) throw std::runtime_error("the conductor names an instance that there is not");
    return static_cast<std::size_t>(found - all.begin());
  };
  Placement placement;
  placement.request = decision.request;
  placement.prefill = place_of(held_->prefill, decision.prefill);
  placement.decode = place_of(held_->decode, decision.decode);
  placement.reused = decision.reused_blocks, placement.moved = decision.moved_blocks;
  placement.between_tokens = decision.tbt_seconds;
  return placement;
}

void Scheduler::started(std::uint64_t request) { held_->conductor.feedback(request, MC_CONDUCTOR_FEEDBACK_STARTED); }

void Scheduler::first_token(std::uint64_t request) {
  held_->conductor.feedback(request, MC_CONDUCTOR_FEEDBACK_FIRST_TOKEN);
}

void Scheduler::finished(std::uint64_t request) { held_->conductor.feedback(request, MC_CONDUCTOR_FEEDBACK_FINISHED); }

void Scheduler::holds(std::size_t prefill, const std::vector<std::uint64_t>& blocks,
                      const std::vector<std::uint64_t>& gone) {
  using mooncake::conductor_event;
  const mc_conductor_instance_t own = held_->prefill[prefill];
  const std::vector<mooncake::ConductorEvent> events = {
      conductor_event(own, MC_CONDUCTOR_CHANGE_REMOVED, MC_CONDUCTOR_TIER_DEVICE, gone),
      conductor_event(own, MC_CONDUCTOR_CHANGE_STORED, MC_CONDUCTOR_TIER_DEVICE, blocks),
      conductor_event(held_->store, MC_CONDUCTOR_CHANGE_STORED, MC_CONDUCTOR_TIER_STORE, blocks)};
  held_->conductor.apply(held_->context, events);
}
