// A router: sends a stream of requests to instances, by a conductor with rules of its own.
//
//   router [REQUESTS]    how many, 400 unless told
//
// Chats share long beginnings, and each continues where it was before. Three rules are this program's: what leaves a
// request's site costs half a second, batch work is turned away while others wait, and no copies cross sites. The engines are
// played here: they tell which blocks they have, and finish what is sent to them, oldest first.
#include <algorithm>
#include <cstdlib>
#include <deque>
#include <iostream>
#include <map>
#include <mooncake/mooncake.hpp>
#include <random>
#include <string>
#include <vector>

constexpr std::uint32_t block_size = 64;
constexpr std::size_t chats = 24, at_once = 12;
constexpr std::uint32_t batch_class = 3;

// Which site an instance stands at, and which one a request comes from: both are in their names.
static std::string site_of(const std::string& name) { return name.substr(0, name.find('/')); }

class Router {
 public:
  Router() : conductor_(options()) {
    for (const char* name : {"east/0", "east/1", "west/0", "west/1"}) add(name, MC_CONDUCTOR_ROLE_PREFILL);
    for (const char* name : {"east/decode", "west/decode"}) add(name, MC_CONDUCTOR_ROLE_DECODE);
    mooncake::ContextOptions context;
    context.model = "llama3-70b";
    context.block_size = block_size;
    context_ = conductor_.open_context(context);
  }

  // True if it was taken on.
  bool route(const std::string& name, const std::vector<std::uint32_t>& tokens, std::uint32_t service_class) {
    mooncake::ConductorRequest request;
    request.context = context_;
    request.tokens = tokens;
    request.name = name;
    request.service_class = service_class;
    mooncake::ConductorDecision decision = conductor_.schedule(request);
    if (decision.verdict == MC_CONDUCTOR_VERDICT_REJECTED) {
      if (service_class != batch_class) throw std::runtime_error(name + " was turned away");
      return false;
    }
    blocks_ += decision.block_count;
    reused_ += decision.reused_blocks;
    moved_ += decision.moved_blocks;
    left_site_ += site_of(decision.prefill_name) != site_of(name);
    ++sent_[decision.prefill_name];
    conductor_.feedback(decision.request, MC_CONDUCTOR_FEEDBACK_STARTED);
    running_.push_back({decision.request, decision.prefill, conductor_.hash(context_, tokens)});
    if (running_.size() == at_once) finish();
    return true;
  }

  void finish_all() {
    while (!running_.empty()) finish();
  }

  std::string explain_last() const { return conductor_.explain(running_.back().id); }

  void show() {
    for (const auto& [name, count] : sent_) std::cout << name << " prefilled " << count << '\n';
    std::cout << 100 * reused_ / blocks_ << " % of " << blocks_ << " blocks were not computed, " << moved_
              << " of them came from other instances\n"
              << left_site_ << " requests left their site, " << conductor_.info().rejected_count
              << " of batch work were turned away\n";
    if (conductor_.info().request_count != 0) throw std::runtime_error("requests are left");
    if (reused_ * 2 < blocks_) throw std::runtime_error("the caches were of little use");
  }

 private:
  struct Running {
    mc_conductor_request_id_t id;
    mc_conductor_instance_t prefill;
    std::vector<std::uint64_t> keys;
  };

  mooncake::ConductorOptions options() {
    mooncake::ConductorOptions options;
    options.name = "router";
    options.numbers.flags = MC_CONDUCTOR_FLAG_NO_LEARNING;  // engines that are played are faster than any prediction
    options.numbers.copied_blocks_per_second = 1000;
    options.hooks.budget_us = 50000;
    options.hooks.cost = [this](const mooncake::ConductorAsked& asked,
                                mooncake::Span<mooncake::ConductorCandidate> candidates) {
      const std::string site = site_of(asked.name);
      for (mooncake::ConductorCandidate& one : candidates) {
        if (sites_.at(one.instance) != site) one.queue_seconds += 0.5;
      }
    };
    options.hooks.admission = [](const mooncake::ConductorAsked& asked, const mooncake::ConductorProspect& prospect,
                                 mooncake::ConductorRejection& rejection) {
      if (asked.service_class != batch_class || prospect.chosen.queue_seconds < 0.1) return;
      rejection.reason = MC_CONDUCTOR_REASON_RULE;
      rejection.retry_after_ms = 1000;
    };
    options.hooks.replicate = [this](const mooncake::ConductorAsked&, mooncake::Span<const mooncake::ConductorMatch>,
                                     mooncake::ConductorCopy& copy) {
      if (copy.to_block != 0 && sites_.at(copy.sender) != sites_.at(copy.receiver)) copy.to_block = 0;
    };
    return options;
  }

  void add(const std::string& name, mc_conductor_role_t role) {
    mooncake::InstanceOptions options;
    options.name = name;
    options.model = "llama3-70b";
    options.role = role;
    options.block_size = block_size;
    options.cost = mooncake::conductor_preset();
    sites_[conductor_.register_instance(options)] = site_of(name);
  }

  // The oldest one's prefill ends: its instance has the blocks now, and says so.
  void finish() {
    Running done = std::move(running_.front());
    running_.pop_front();
    auto event =
        mooncake::conductor_event(done.prefill, MC_CONDUCTOR_CHANGE_STORED, MC_CONDUCTOR_TIER_DEVICE, done.keys);
    conductor_.apply(context_, {event});
    conductor_.feedback(done.id, MC_CONDUCTOR_FEEDBACK_FIRST_TOKEN);
    conductor_.feedback(done.id, MC_CONDUCTOR_FEEDBACK_FINISHED);
    while (std::optional<mooncake::ConductorAdvice> advice = conductor_.take_advice()) {
      // Whoever really has blocks copies them now; then the receiver has them too.
      auto copied = mooncake::conductor_event(advice->copy.receiver, MC_CONDUCTOR_CHANGE_STORED, MC_CONDUCTOR_TIER_HOST,
                                              advice->keys, advice->copy.receiver_rank);
      conductor_.apply(advice->context, {copied});
    }
  }

  std::map<mc_conductor_instance_t, std::string> sites_;
  mooncake::Conductor conductor_;
  mc_conductor_context_t context_ = 0;
  std::deque<Running> running_;
  std::map<std::string, int> sent_;
  std::uint64_t blocks_ = 0, reused_ = 0, moved_ = 0, left_site_ = 0;
};

static void run(int requests) {
  std::mt19937 random(7);
  // Each chat begins with one of three system prompts, and grows with every request.
  std::vector<std::vector<std::uint32_t>> talks(chats);
  for (std::size_t chat = 0; chat < chats; ++chat) talks[chat].assign(2048, static_cast<std::uint32_t>(chat % 3));
  Router router;
  for (int number = 0; number < requests; ++number) {
    std::size_t chat = random() % chats;
    for (int i = 0; i < 256; ++i) talks[chat].push_back(static_cast<std::uint32_t>(random() % 32000));
    const std::string site = chat % 2 == 0 ? "east" : "west";
    bool is_batch = number % 10 == 9;
    router.route(site + "/" + std::to_string(number), talks[chat], is_batch ? batch_class : 0);
    if (number == requests / 2) std::cout << "why: " << router.explain_last() << '\n';
  }
  router.finish_all();
  router.show();
}

int main(int count, char** arguments) {
  try {
    int requests = count > 1 ? std::atoi(arguments[1]) : 400;
    if (count > 2 || requests < 1) {
      std::cerr << "usage: router [REQUESTS]\n";
      return 2;
    }
    run(requests);
  } catch (const std::exception& error) {
    std::cerr << "failed: " << error.what() << '\n';
    return 1;
  }
  return 0;
}
