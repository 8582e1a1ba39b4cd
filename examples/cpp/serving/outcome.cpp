// Formats outcomes: JSON for programs, a table for people.
#include "outcome.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <functional>

namespace {

constexpr double kMiB = 1 << 20;

std::string number(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

// The value that `share` of all are not above.
double quantile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  return values[static_cast<std::size_t>(std::ceil(share * static_cast<double>(values.size()))) - 1];
}

double share(std::uint64_t part, const Outcome& of) {
  const std::uint64_t all = of.local + of.fetched + of.computed;
  return all == 0 ? 0 : static_cast<double>(part) / static_cast<double>(all);
}

struct Row {
  const char* name;
  std::function<std::string(const Outcome&)> text;
};

const std::vector<Row>& rows() {
  static const std::vector<Row> all = {
      {"", [](const Outcome& o) { return o.policy == "global" ? "KVCache-centric" : o.policy; }},
      {"requests", [](const Outcome& o) { return std::to_string(o.requests); }},
      {"blocks", [](const Outcome& o) { return std::to_string(o.local + o.fetched + o.computed); }},
      {"hit rate", [](const Outcome& o) { return number("%.1f %%", 100 * share(o.local + o.fetched, o)); }},
      {"of it from the store", [](const Outcome& o) { return number("%.1f %%", 100 * share(o.fetched, o)); }},
      {"first token p50, ms", [](const Outcome& o) { return number("%.1f", 1e3 * quantile(o.ttft, 0.5)); }},
      {"first token p90, ms", [](const Outcome& o) { return number("%.1f", 1e3 * quantile(o.ttft, 0.9)); }},
      {"put by prefill, MiB", [](const Outcome& o) { return number("%.1f", static_cast<double>(o.put_bytes) / kMiB); }},
      {"fetched by prefill, MiB",
       [](const Outcome& o) { return number("%.1f", static_cast<double>(o.prefill_bytes) / kMiB); }},
      {"fetched by decode, MiB",
       [](const Outcome& o) { return number("%.1f", static_cast<double>(o.decode_bytes) / kMiB); }},
      {"seconds", [](const Outcome& o) { return number("%.2f", o.seconds); }},
  };
  return all;
}

}  // namespace

std::string to_json(const Outcome& outcome) {
  std::string text = "{\"policy\": \"" + outcome.policy + '"';
  const std::pair<const char*, std::uint64_t> counts[] = {{"requests", outcome.requests},
                                                          {"local_blocks", outcome.local},
                                                          {"fetched_blocks", outcome.fetched},
                                                          {"computed_blocks", outcome.computed},
                                                          {"put_bytes", outcome.put_bytes},
                                                          {"prefill_fetched_bytes", outcome.prefill_bytes},
                                                          {"decode_fetched_bytes", outcome.decode_bytes}};
  for (const auto& [name, count] : counts) text += std::string(", \"") + name + "\": " + std::to_string(count);
  const std::pair<const char*, double> figures[] = {{"hit_rate", share(outcome.local + outcome.fetched, outcome)},
                                                    {"ttft_p50_ms", 1e3 * quantile(outcome.ttft, 0.5)},
                                                    {"ttft_p90_ms", 1e3 * quantile(outcome.ttft, 0.9)},
                                                    {"seconds", outcome.seconds}};
  for (const auto& [name, figure] : figures) text += std::string(", \"") + name + "\": " + number("%.17g", figure);
  return text + "}\n";
}

std::string table(const std::vector<Outcome>& outcomes) {
  constexpr std::size_t kNameWidth = 24, kWidth = 17;
  std::string text;
  for (const Row& row : rows()) {
    std::string line = row.name;
    for (std::size_t i = 0; i < outcomes.size(); ++i) {
      const std::string cell = row.text(outcomes[i]);
      const std::size_t column = kNameWidth + kWidth * (i + 1);
      line.append(std::max(line.size() + 1, column - cell.size()) - line.size(), ' ');
      line += cell;
    }
    text += line + '\n';
  }
  return text;
}
