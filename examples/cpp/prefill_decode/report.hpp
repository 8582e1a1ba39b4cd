// Report: what one run came to, and how it is shown while it runs and afterwards.
#ifndef PREFILL_DECODE_REPORT_HPP
#define PREFILL_DECODE_REPORT_HPP

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

struct Report {
  std::string asked;  // the path that was asked for: "same-host", "tcp" or "any"
  std::string taken;  // the paths that bytes took, such as "memfd"
  double requests = 0;
  double blocks = 0;
  double reused_blocks = 0;  // decode held them already
  double pulled_bytes = 0;
  double pull_seconds = 0;  // from posting a request's pull until it was complete, summed up
  double latency_p50_ms = 0;
  double latency_p99_ms = 0;
  double made_blocks = 0;  // by prefill; it held the others already
  double making_seconds = 0;
  double seconds = 0;  // from the first request until the last byte was checked
};

std::string to_json(const Report& report);
// Reads what to_json() wrote; throws std::runtime_error otherwise.
Report from_json(const std::string& text);

// The value that `share` of all are not above; 0 when there are none.
double quantile(std::vector<double> values, double share);

// One column for each.
std::string table(const std::vector<Report>& reports);

// "1.50 GiB", "128 KiB"
std::string size_text(double bytes);

// One line that is written anew on a terminal, and a line every few seconds elsewhere; on standard error.
class Progress {
 public:
  explicit Progress(double requests);
  ~Progress();  // clears the line
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void show(const Report& so_far);

 private:
  const double requests_;
  const bool is_terminal_;
  std::chrono::steady_clock::time_point next_;
};

#endif  // PREFILL_DECODE_REPORT_HPP
