// Conductor: where requests should run.
#ifndef MOONCAKE_CONDUCTOR_HPP
#define MOONCAKE_CONDUCTOR_HPP

#include <vector>

#include "mooncake/conductor_options.hpp"

namespace mooncake {

/// A copy of blocks that is worth making.
struct ConductorAdvice {
  ConductorCopy copy{};
  mc_conductor_context_t context = 0;
  std::vector<std::uint64_t> keys;
};

/// Knows who has which blocks and how long everyone's queue is. Every call may come from any thread, and throws Error.
class Conductor {
 public:
  explicit Conductor(const ConductorOptions& options = {}) : handle_(detail::create_conductor(options)) {}

  /// For calls of the C library; null after a move or close().
  mc_conductor_t* handle() const noexcept { return handle_.get(); }

  mc_conductor_info_t info() const {
    mc_conductor_info_t info = mc_conductor_info_default();
    check(mc_conductor_get_info(handle(), &info));
    return info;
  }

  /// One that has the name already is changed to what is said now, and keeps its id.
  mc_conductor_instance_t register_instance(const InstanceOptions& from) {
    mc_conductor_instance_options_t raw = mc_conductor_instance_options_default();
    raw.role = from.role;
    raw.name = detail::option_text(from.name, "name");
    raw.model = detail::option_text(from.model, "model");
    raw.block_size = from.block_size;
    raw.rank_count = from.ranks;
    raw.cost = from.cost ? &*from.cost : nullptr;
    mc_conductor_instance_t instance = 0;
    check(mc_conductor_register_instance(handle(), &raw, &instance));
    return instance;
  }

  void unregister_instance(const std::string& name) {
    check(mc_conductor_unregister_instance(handle(), detail::name_text(name, "name")));
  }

  mc_conductor_instance_t find_instance(const std::string& name) const {
    mc_conductor_instance_t instance = 0;
    check(mc_conductor_find_instance(handle(), detail::name_text(name, "name"), &instance));
    return instance;
  }

  mc_conductor_instance_info_t instance(mc_conductor_instance_t id) const {
    mc_conductor_instance_info_t info = mc_conductor_instance_info_default();
    check(mc_conductor_get_instance(handle(), id, &info));
    return info;
  }

  void report(mc_conductor_instance_t instance, const ConductorReport& report = mc_conductor_report_default(),
              std::uint32_t rank = 0) {
    check(mc_conductor_report(handle(), instance, rank, &report));
  }

  /// One that is open already keeps its id.
  mc_conductor_context_t open_context(const ContextOptions& from) {
    mc_conductor_context_options_t raw = mc_conductor_context_options_default();
    raw.block_size = from.block_size;
    raw.model = detail::option_text(from.model, "model");
    raw.tenant = detail::option_text(from.tenant, "tenant");
    raw.lora = detail::option_text(from.lora, "lora");
    raw.salt = detail::option_text(from.salt, "salt");
    raw.hash = from.hash;
    raw.hash_seed = from.hash_seed;
    raw.python_hash_seed = detail::option_text(from.python_hash_seed, "python_hash_seed");
    mc_conductor_context_t context = 0;
    check(mc_conductor_open_context(handle(), &raw, &context));
    return context;
  }

  void close_context(mc_conductor_context_t context) { check(mc_conductor_close_context(handle(), context)); }

  mc_conductor_applied_t apply(mc_conductor_context_t context, Span<const ConductorEvent> events) {
    mc_conductor_applied_t applied{};
    check(mc_conductor_apply(handle(), context, events.data(), events.size(), &applied));
    return applied;
  }

  /// Forgets all blocks of one rank: what it has will be told anew.
  void clear(mc_conductor_instance_t instance, std::uint32_t rank = 0) {
    check(mc_conductor_clear(handle(), instance, rank));
  }

  /// The keys of the full blocks of a prompt.
  std::vector<std::uint64_t> hash(mc_conductor_context_t context, Span<const std::uint32_t> tokens) const {
    return detail::output<std::vector<std::uint64_t>>([&](std::uint64_t* keys, std::size_t room, std::size_t* count) {
      return mc_conductor_hash(handle(), context, tokens.data(), tokens.size(), keys, room, count);
    });
  }

  /// What each rank has of the prompt of a request.
  std::vector<ConductorMatch> match(const ConductorRequest& request) const {
    const mc_conductor_prompt_t prompt = detail::conductor_request(request).prompt;
    return detail::output<std::vector<ConductorMatch>>(
        [&](ConductorMatch* found, std::size_t room, std::size_t* count) {
          return mc_conductor_match(handle(), request.context, &prompt, found, room, count);
        });
  }

  /// A request that is not taken on is a verdict and no error.
  ConductorDecision schedule(const ConductorRequest& request) {
    const mc_conductor_request_t raw = detail::conductor_request(request);
    ConductorDecision decision = mc_conductor_decision_default();
    check(mc_conductor_schedule(handle(), &raw, &decision));
    return decision;
  }

  /// MC_CONDUCTOR_REASON_NONE: there is room to decode.
  ConductorRejection recheck(mc_conductor_request_id_t request) {
    ConductorRejection rejection{};
    check(mc_conductor_recheck(handle(), request, &rejection));
    return rejection;
  }

  mc_conductor_request_id_t find_request(const std::string& name) const {
    mc_conductor_request_id_t request = 0;
    check(mc_conductor_find_request(handle(), detail::name_text(name, "name"), &request));
    return request;
  }

  void feedback(mc_conductor_request_id_t request, mc_conductor_feedback_t what) {
    check(mc_conductor_feedback(handle(), request, what));
  }

  /// JSON: every instance that could have been chosen, with its numbers.
  std::string explain(mc_conductor_request_id_t request) const {
    return detail::output<std::string>([&](char* text, std::size_t size, std::size_t* length) {
      return mc_conductor_explain(handle(), request, text, size, length);
    });
  }

  /// The same of a request that nobody makes.
  std::string explain(const ConductorRequest& request) const {
    const mc_conductor_request_t raw = detail::conductor_request(request);
    return detail::output<std::string>([&](char* text, std::size_t size, std::size_t* length) {
      return mc_conductor_explain_request(handle(), &raw, text, size, length);
    });
  }

  /// The oldest advice that nobody took yet.
  std::optional<ConductorAdvice> take_advice() {
    ConductorAdvice advice;
    std::size_t count = 0;
    mc_status_t status;
    while ((status = mc_conductor_take_advice(handle(), &advice.copy, &advice.context, advice.keys.data(),
                                              advice.keys.size(), &count)) == MC_ERR_BUFFER_TOO_SMALL) {
      advice.keys.resize(count);
    }
    if (status == MC_ERR_NOT_FOUND) return std::nullopt;
    check(status);
    advice.keys.resize(count);
    return advice;
  }

  /// All it knows but the requests that run.
  std::vector<std::uint8_t> snapshot() const {
    return detail::output<std::vector<std::uint8_t>>([&](std::uint8_t* bytes, std::size_t size, std::size_t* length) {
      return mc_conductor_snapshot(handle(), bytes, size, length);
    });
  }

  /// Into a conductor that knows nothing yet.
  mc_conductor_restored_t restore(ConstBytes bytes) {
    mc_conductor_restored_t restored{};
    check(mc_conductor_restore(handle(), bytes.address, bytes.length, &restored));
    return restored;
  }

  /// Prometheus' text format.
  std::string metrics() const {
    return detail::output<std::string>([&](char* text, std::size_t size, std::size_t* length) {
      return mc_conductor_get_metrics(handle(), text, size, length);
    });
  }

  /// Lets time pass; to be called about once a second.
  void sweep() { check(mc_conductor_sweep(handle())); }

  void close() { check(mc_conductor_destroy(handle_.release())); }

 private:
  struct Destroy {
    void operator()(mc_conductor_t* conductor) const noexcept { mc_conductor_destroy(conductor); }
  };

  std::unique_ptr<mc_conductor_t, Destroy> handle_;
};

}  // namespace mooncake

#endif  // MOONCAKE_CONDUCTOR_HPP
