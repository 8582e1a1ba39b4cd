// Formats figures: JSON for programs, a table and a line of progress for people.
#include "report.hpp"

#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <stdexcept>

namespace {

constexpr double kGiB = 1 << 30;

struct Figure {
  const char* name;
  double Report::*value;
};

constexpr Figure kFigures[] = {
    {"requests", &Report::requests},
    {"blocks", &Report::blocks},
    {"reused_blocks", &Report::reused_blocks},
    {"pulled_bytes", &Report::pulled_bytes},
    {"pull_seconds", &Report::pull_seconds},
    {"latency_p50_ms", &Report::latency_p50_ms},
    {"latency_p99_ms", &Report::latency_p99_ms},
    {"made_blocks", &Report::made_blocks},
    {"making_seconds", &Report::making_seconds},
    {"seconds", &Report::seconds},
};

// Where the value of a key begins in what to_json() wrote.
const char* value_of(const std::string& text, const std::string& key) {
  const std::size_t at = text.find('"' + key + "\": ");
  if (at == std::string::npos) throw std::runtime_error("the report has no \"" + key + "\": " + text);
  return text.c_str() + at + key.size() + 4;
}

std::string word_of(const std::string& text, const std::string& key) {
  const std::string rest = value_of(text, key) + 1;
  return rest.substr(0, rest.find('"'));
}

std::string number(const char* format, double value) {
  char text[64];
  std::snprintf(text, sizeof text, format, value);
  return text;
}

double ratio(double part, double whole) { return whole > 0 ? part / whole : 0; }

double gib_per_second(const Report& report) { return ratio(report.pulled_bytes / kGiB, report.pull_seconds); }

struct Row {
  const char* name;
  std::function<std::string(const Report&)> text;
};

const std::vector<Row>& rows() {
  static const std::vector<Row> all = {
      {"path", [](const Report& r) { return r.asked; }},
      {"bytes went by", [](const Report& r) { return r.taken; }},
      {"requests", [](const Report& r) { return number("%.0f", r.requests); }},
      {"blocks", [](const Report& r) { return number("%.0f", r.blocks); }},
      {"made by prefill, GiB/s",
       [](const Report& r) {
         const double block = ratio(r.pulled_bytes, r.blocks - r.reused_blocks);
         return number("%.2f", ratio(r.made_blocks * block / kGiB, r.making_seconds));
       }},
      {"reuse in prefill",
       [](const Report& r) { return number("%.1f %%", 100 * ratio(r.blocks - r.made_blocks, r.blocks)); }},
      {"reuse in decode", [](const Report& r) { return number("%.1f %%", 100 * ratio(r.reused_blocks, r.blocks)); }},
      {"pulled and checked, GiB", [](const Report& r) { return number("%.3f", r.pulled_bytes / kGiB); }},
      {"pulled, GiB/s", [](const Report& r) { return number("%.2f", gib_per_second(r)); }},
      {"pull latency p50, ms", [](const Report& r) { return number("%.3f", r.latency_p50_ms); }},
      {"pull latency p99, ms", [](const Report& r) { return number("%.3f", r.latency_p99_ms); }},
      {"seconds", [](const Report& r) { return number("%.2f", r.seconds); }},
  };
  return all;
}

}  // namespace

std::string to_json(const Report& report) {
  std::string text = "{\"asked\": \"" + report.asked + "\", \"taken\": \"" + report.taken + '"';
  for (const Figure& figure : kFigures) {
    text += std::string(", \"") + figure.name + "\": " + number("%.17g", report.*figure.value);
  }
  return text + "}\n";
}

Report from_json(const std::string& text) {
  Report report;
  report.asked = word_of(text, "asked");
  report.taken = word_of(text, "taken");
  for (const Figure& figure : kFigures) report.*figure.value = std::strtod(value_of(text, figure.name), nullptr);
  return report;
}

double quantile(std::vector<double> values, double share) {
  if (values.empty()) return 0;
  const auto at = static_cast<std::size_t>(std::ceil(share * static_cast<double>(values.size()))) - 1;
  std::nth_element(values.begin(), values.begin() + static_cast<std::ptrdiff_t>(at), values.end());
  return values[at];
}

std::string table(const std::vector<Report>& reports) {
  constexpr std::size_t kNameWidth = 26, kWidth = 12;
  std::string text;
  for (const Row& row : rows()) {
    std::string line = row.name;
    for (const Report& report : reports) {
      const std::string cell = row.text(report);
      line.append(
          std::max(line.size() + 1, kNameWidth + kWidth * (&report - reports.data() + 1) - cell.size()) - line.size(),
          ' ');
      line += cell;
    }
    text += line + '\n';
  }
  return text;
}

std::string size_text(double bytes) {
  const char* unit = "B";
  for (const char* next : {"KiB", "MiB", "GiB"}) {
    if (bytes < 1024) break;
    bytes /= 1024;
    unit = next;
  }
  return number(bytes == static_cast<long long>(bytes) ? "%.0f " : "%.2f ", bytes) + unit;
}

Progress::Progress(double requests)
    : requests_(requests), is_terminal_(isatty(STDERR_FILENO)), next_(std::chrono::steady_clock::now()) {}

Progress::~Progress() {
  if (is_terminal_) std::fputs("\r\033[K", stderr);
}

void Progress::show(const Report& so_far) {
  const auto now = std::chrono::steady_clock::now();
  if (now < next_) return;
  next_ = now + std::chrono::milliseconds(is_terminal_ ? 100 : 5000);
  std::fprintf(stderr, "%s%-9s  request %.0f of %.0f  %s pulled  %.2f GiB/s  %.1f %% reused%s",
               is_terminal_ ? "\r" : "", so_far.asked.c_str(), so_far.requests, requests_,
               size_text(so_far.pulled_bytes).c_str(), gib_per_second(so_far),
               100 * ratio(so_far.reused_blocks, so_far.blocks), is_terminal_ ? "\033[K" : "\n");
  std::fflush(stderr);
}
