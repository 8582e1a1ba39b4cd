// Reads the command line.
#include "options.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <functional>
#include <map>

const char* usage() {
  return R"(usage: prefill_decode [OPTION...]            starts both processes and compares the paths
       prefill_decode decode [OPTION...]     waits for prefill, pulls blocks, checks them
       prefill_decode prefill [OPTION...]    makes the blocks of a trace and tells decode

  --trace FILE          requests, as JSON lines; "mooncake trace generate" makes one   (both, prefill)
  --requests N          only the first N of them                                       (both, prefill)
  --bytes-per-token N   size of the KV cache per token, 1 to 1048576; default 256      (both, prefill)
  --paced X             keep the trace's times, X times as fast; default: no pauses    (both, prefill)
  --window N            requests that decode may be behind, 1 to 1024; default 8       (both, prefill)
  --decode ADDRESS      where decode listens; needed                                   (prefill)
  --announce FILE       write there where decode listens, as one line                  (decode)
  --report FILE         write the figures there as JSON                                (decode)
  --cache SIZE          block cache of each process, such as 512MiB; default 1GiB
  --memory KIND         shared (default): what the library allocates; malloc: ordinary memory
  --path PATH           same-host or tcp; default: one after the other, or, for one process, any
  --bind ADDRESS        address to listen on; default 127.0.0.1
  --port N              port to listen on; default: any                                (prefill, decode)
  --parent PID          end when this process, which started this one, ends            (prefill, decode)
  --wait SECONDS        how long to wait for the other process at the start; default 30
)";
}

const char* name_of(Path path) {
  switch (path) {
    case Path::same_host:
      return "same-host";
    case Path::tcp:
      return "tcp";
    default:
      return "any";
  }
}

const char* transports_of(Path path) {
  switch (path) {
    case Path::same_host:
      return "memfd,cma";
    case Path::tcp:
      return "tcp";
    default:
      return "";
  }
}

namespace {

std::uint64_t whole(const std::string& name, const std::string& text, std::uint64_t least, std::uint64_t most) {
  bool is_number = !text.empty() && text.size() <= 19 && text.find_first_not_of("0123456789") == std::string::npos;
  std::uint64_t value = is_number ? std::stoull(text) : 0;
  if (is_number && value >= least && value <= most) return value;
  throw UsageError(name + " is \"" + text + "\": a number from " + std::to_string(least) + " to " +
                   std::to_string(most));
}

std::uint64_t size(const std::string& name, const std::string& text) {
  static const std::map<std::string, int> units = {{"", 0},     {"B", 0},  {"K", 10},   {"KiB", 10}, {"M", 20},
                                                   {"MiB", 20}, {"G", 30}, {"GiB", 30}, {"T", 40},   {"TiB", 40}};
  std::size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
  auto unit = units.find(text.substr(digits));
  const std::uint64_t count = digits == 0 || digits > 15 ? 0 : std::stoull(text.substr(0, digits));
  if (unit != units.end() && count != 0 && count <= UINT64_MAX >> unit->second) return count << unit->second;
  throw UsageError(name + " is \"" + text + "\": a size such as 512MiB or 2GiB");
}

double factor(const std::string& name, const std::string& text) {
  char* end = nullptr;
  double value = std::strtod(text.c_str(), &end);
  if (!text.empty() && *end == '\0' && std::isfinite(value) && value > 0) return value;
  throw UsageError(name + " is \"" + text + "\": a number above 0");
}

Path path(const std::string& text) {
  if (text == "same-host") return Path::same_host;
  if (text == "tcp") return Path::tcp;
  throw UsageError("--path is \"" + text + "\": same-host or tcp");
}

MemoryKind memory(const std::string& text) {
  if (text == "shared") return MemoryKind::shared;
  if (text == "malloc") return MemoryKind::ordinary;
  throw UsageError("--memory is \"" + text + "\": shared or malloc");
}

struct Option {
  std::string roles;  // of "b", "p" and "d": to whom it means something
  std::function<void(Options&, const std::string& name, const std::string& value)> set;
};

const std::map<std::string, Option>& known_options() {
  using std::string;
  static const std::map<string, Option> options = {
      {"--trace", {"bp", [](Options& o, const string&, const string& v) { o.trace = v; }}},
      {"--requests",
       {"bp", [](Options& o, const string& n, const string& v) { o.requests = whole(n, v, 1, 1u << 30); }}},
      {"--bytes-per-token",
       {"bp", [](Options& o, const string& n, const string& v) { o.bytes_per_token = whole(n, v, 1, 1u << 20); }}},
      {"--paced", {"bp", [](Options& o, const string& n, const string& v) { o.pace = factor(n, v); }}},
      {"--window", {"bp", [](Options& o, const string& n, const string& v) { o.window = whole(n, v, 1, 1024); }}},
      {"--decode", {"p", [](Options& o, const string&, const string& v) { o.decode_address = v; }}},
      {"--announce", {"d", [](Options& o, const string&, const string& v) { o.announce = v; }}},
      {"--report", {"d", [](Options& o, const string&, const string& v) { o.report = v; }}},
      {"--cache", {"bpd", [](Options& o, const string& n, const string& v) { o.cache_bytes = size(n, v); }}},
      {"--memory", {"bpd", [](Options& o, const string&, const string& v) { o.memory = memory(v); }}},
      {"--path", {"bpd", [](Options& o, const string&, const string& v) { o.paths = {path(v)}; }}},
      {"--bind", {"bpd", [](Options& o, const string&, const string& v) { o.bind = v; }}},
      {"--port",
       {"pd", [](Options& o, const string& n,
                 const string& v) { o.port = static_cast<std::uint16_t>(whole(n, v, 0, 65535)); }}},
      {"--parent", {"pd", [](Options& o, const string& n, const string& v) { o.parent = whole(n, v, 1, INT32_MAX); }}},
      {"--wait",
       {"bpd", [](Options& o, const string& n,
                  const string& v) { o.patience = std::chrono::seconds(whole(n, v, 1, 86400)); }}},
  };
  return options;
}

void check(const Options& options) {
  if (options.role != Role::decode && options.trace.empty()) {
    throw UsageError("--trace is missing; \"mooncake trace generate --out FILE\" makes a trace");
  }
  if (options.role == Role::prefill && options.decode_address.empty()) {
    throw UsageError("--decode is missing: the address that decode prints when it starts");
  }
}

}  // namespace

Options parse_options(const std::vector<std::string>& arguments) {
  Options options;
  std::size_t at = 0;
  if (!arguments.empty() && arguments[0] == "prefill") options.role = Role::prefill, at = 1;
  if (!arguments.empty() && arguments[0] == "decode") options.role = Role::decode, at = 1;
  const char role = options.role == Role::both ? 'b' : options.role == Role::prefill ? 'p' : 'd';
  for (; at < arguments.size(); ++at) {
    const std::size_t equals = arguments[at].find('=');
    const std::string name = arguments[at].substr(0, equals);
    auto option = known_options().find(name);
    if (option == known_options().end()) throw UsageError("there is no option " + name);
    if (option->second.roles.find(role) == std::string::npos) throw UsageError(name + " means nothing here");
    if (equals == std::string::npos && at + 1 == arguments.size()) throw UsageError(name + " needs a value");
    option->second.set(options, name, equals == std::string::npos ? arguments[++at] : arguments[at].substr(equals + 1));
  }
  if (options.paths.empty()) {
    if (options.role == Role::both)
      options.paths = {Path::same_host, Path::tcp};
    else
      options.paths = {Path::any};
  }
  check(options);
  return options;
}
