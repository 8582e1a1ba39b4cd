// Reads the command line.
#include "options.hpp"

#include <cmath>
#include <cstdlib>
#include <functional>
#include <map>

const char* usage() {
  return R"(usage: serving --trace FILE [OPTION...]

Starts a master of a store, two prefill and two decode processes that give it memory, and routes the requests of a
trace among them, once under each policy. Blocks are put, found, fetched and compared for real; computing is slept.

  --trace FILE          requests, as JSON lines; "mooncake trace generate" makes one
  --mooncake FILE       the program that the master is started from; default: mooncake
  --requests N          only the first N requests
  --policy NAME,...     random, lb, local, global, maxhit; default random,global
  --faster X            how much faster than in the trace time runs; default 60
  --bytes-per-token N   size of the KV cache per token, a multiple of 8 up to 65536; default 16
  --cache BLOCKS        blocks of 512 tokens that each prefill process keeps for itself; default 4096
  --wait SECONDS        how long a process may be silent while something is asked of it; default 30
  --json FILE           write the figures there, one object per policy
)";
}

namespace {

std::uint64_t whole(const std::string& name, const std::string& text, std::uint64_t least, std::uint64_t most) {
  const bool is_number =
      !text.empty() && text.size() <= 18 && text.find_first_not_of("0123456789") == std::string::npos;
  const std::uint64_t value = is_number ? std::stoull(text) : 0;
  if (is_number && value >= least && value <= most) return value;
  throw UsageError(name + " is \"" + text + "\": a number from " + std::to_string(least) + " to " +
                   std::to_string(most));
}

double factor(const std::string& name, const std::string& text) {
  char* end = nullptr;
  const double value = std::strtod(text.c_str(), &end);
  if (!text.empty() && *end == '\0' && value >= 0.001 && value <= 1e6) return value;
  throw UsageError(name + " is \"" + text + "\": a number from 0.001 to 1000000");
}

std::vector<std::string> policies(const std::string& text) {
  std::vector<std::string> all;
  for (std::size_t at = 0; at <= text.size();) {
    const std::size_t end = std::min(text.find(',', at), text.size());
    const std::string name = text.substr(at, end - at);
    if (name != "random" && name != "lb" && name != "local" && name != "global" && name != "maxhit")
      throw UsageError("--policy has \"" + name + "\": random, lb, local, global or maxhit");
    all.push_back(name);
    at = end + 1;
  }
  return all;
}

using Set = std::function<void(Options&, const std::string& name, const std::string& value)>;

const std::map<std::string, Set>& known_options() {
  using std::string;
  static const std::map<string, Set> options = {
      {"--trace", [](Options& o, const string&, const string& v) { o.trace = v; }},
      {"--mooncake", [](Options& o, const string&, const string& v) { o.program = v; }},
      {"--requests", [](Options& o, const string& n, const string& v) { o.requests = whole(n, v, 1, 1u << 30); }},
      {"--policy", [](Options& o, const string&, const string& v) { o.policies = policies(v); }},
      {"--faster", [](Options& o, const string& n, const string& v) { o.faster = factor(n, v); }},
      {"--bytes-per-token",
       [](Options& o, const string& n, const string& v) {
         o.bytes_per_token = whole(n, v, 8, 65536);
         if (o.bytes_per_token % 8 != 0) throw UsageError(n + " is " + v + ": a multiple of 8");
       }},
      {"--cache", [](Options& o, const string& n, const string& v) { o.cache_blocks = whole(n, v, 1, 1u << 24); }},
      {"--wait",
       [](Options& o, const string& n, const string& v) { o.patience = std::chrono::seconds(whole(n, v, 1, 3600)); }},
      {"--json", [](Options& o, const string&, const string& v) { o.json = v; }},
      // What the router tells a worker.
      {"--name", [](Options& o, const string&, const string& v) { o.name = v; }},
      {"--masters", [](Options& o, const string&, const string& v) { o.masters = v; }},
      {"--memory", [](Options& o, const string& n, const string& v) { o.memory = whole(n, v, 1, 1ull << 50); }},
      {"--parent", [](Options& o, const string& n, const string& v) { o.parent = whole(n, v, 1, INT32_MAX); }},
  };
  return options;
}

}  // namespace

Options parse_options(const std::vector<std::string>& arguments) {
  Options options;
  std::size_t at = 0;
  if (!arguments.empty() && arguments[0] == "prefill") options.role = Role::prefill, at = 1;
  if (!arguments.empty() && arguments[0] == "decode") options.role = Role::decode, at = 1;
  for (; at < arguments.size(); ++at) {
    const std::size_t equals = arguments[at].find('=');
    const std::string name = arguments[at].substr(0, equals);
    auto set = known_options().find(name);
    if (set == known_options().end()) throw UsageError("there is no option " + name);
    if (equals == std::string::npos && at + 1 == arguments.size()) throw UsageError(name + " needs a value");
    set->second(options, name, equals == std::string::npos ? arguments[++at] : arguments[at].substr(equals + 1));
  }
  if (options.role == Role::router && options.trace.empty())
    throw UsageError("--trace is missing; \"mooncake trace generate --out FILE\" makes a trace");
  if (options.role != Role::router && (options.masters.empty() || options.memory == 0 || options.parent == 0))
    throw UsageError("the router starts this process, with all that it needs");
  return options;
}
