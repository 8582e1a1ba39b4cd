// Reads traces: one JSON object per line, of which four fields matter.
#include "trace.hpp"

#include <algorithm>
#include <cctype>
#include <fstream>
#include <limits>
#include <stdexcept>
#include <unordered_set>

namespace {

// One line. Fields that are not ours may hold numbers, texts, words and lists of them.
class Line {
 public:
  explicit Line(const std::string& text) : at_(text.data()), end_(at_ + text.size()) {}

  TraceRequest parse() {
    TraceRequest request;
    bool has_timestamp = false, has_input = false, has_output = false, has_blocks = false;
    expect('{');
    for (bool more = !take('}'); more; more = next('}')) {
      std::string key = text();
      expect(':');
      if (key == "timestamp") {
        request.timestamp_ms = number(), has_timestamp = true;
      } else if (key == "input_length") {
        request.input_length = number(), has_input = true;
      } else if (key == "output_length") {
        request.output_length = number(), has_output = true;
      } else if (key == "hash_ids") {
        request.hash_ids = numbers(), has_blocks = true;
      } else {
        skip();
      }
    }
    spaces();
    if (at_ != end_) fail("something follows the object");
    if (!has_timestamp) fail("timestamp is missing");
    if (!has_input) fail("input_length is missing");
    if (!has_output) fail("output_length is missing");
    if (!has_blocks) fail("hash_ids is missing");
    check_blocks(request.hash_ids);
    return request;
  }

 private:
  [[noreturn]] static void fail(const std::string& reason) { throw std::runtime_error(reason); }

  static void check_blocks(const std::vector<std::uint64_t>& blocks) {
    if (blocks.empty()) fail("hash_ids is empty");
    std::unordered_set<std::uint64_t> seen;
    for (std::uint64_t block : blocks) {
      if (!seen.insert(block).second) fail("hash_ids has " + std::to_string(block) + " twice");
    }
  }

  void spaces() {
    while (at_ != end_ && std::isspace(static_cast<unsigned char>(*at_))) ++at_;
  }

  bool take(char wanted) {
    spaces();
    if (at_ == end_ || *at_ != wanted) return false;
    ++at_;
    return true;
  }

  void expect(char wanted) {
    if (take(wanted)) return;
    fail(std::string("expected '") + wanted + "' " + (at_ == end_ ? "before the end" : "at \"" + rest() + '"'));
  }

  // After an item of a list or an object that ends with `close`: is there one more?
  bool next(char close) {
    if (take(close)) return false;
    expect(',');
    return true;
  }

  std::string rest() const { return std::string(at_, std::min<std::ptrdiff_t>(end_ - at_, 16)); }

  std::uint64_t number() {
    spaces();
    if (at_ == end_ || !std::isdigit(static_cast<unsigned char>(*at_)))
      fail("expected a whole number at \"" + rest() + '"');
    constexpr std::uint64_t most = std::numeric_limits<std::uint64_t>::max();
    std::uint64_t value = 0;
    for (; at_ != end_ && std::isdigit(static_cast<unsigned char>(*at_)); ++at_) {
      std::uint64_t digit = static_cast<std::uint64_t>(*at_ - '0');
      if (value > (most - digit) / 10) fail("a number does not fit into 64 bits");
      value = value * 10 + digit;
    }
    return value;
  }

  std::vector<std::uint64_t> numbers() {
    std::vector<std::uint64_t> values;
    expect('[');
    for (bool more = !take(']'); more; more = next(']')) values.push_back(number());
    return values;
  }

  // Escapes stay as they are written: no key of ours has one.
  std::string text() {
    expect('"');
    const char* start = at_;
    while (at_ != end_ && *at_ != '"') at_ += *at_ == '\\' && end_ - at_ > 1 ? 2 : 1;
    if (at_ == end_) fail("a text has no end");
    return std::string(start, at_++);
  }

  void skip(int depth = 0) {
    constexpr int kDeepest = 32;
    if (depth > kDeepest) fail("lists are nested too deep");
    spaces();
    if (at_ != end_ && *at_ == '"') {
      text();
    } else if (take('[')) {
      for (bool more = !take(']'); more; more = next(']')) skip(depth + 1);
    } else {
      const char* start = at_;
      while (at_ != end_ &&
             (std::isalnum(static_cast<unsigned char>(*at_)) || *at_ == '.' || *at_ == '-' || *at_ == '+'))
        ++at_;
      if (at_ == start) fail("expected a value at \"" + rest() + '"');
    }
  }

  const char* at_;
  const char* end_;
};

}  // namespace

std::vector<TraceRequest> read_trace(const std::string& file, std::size_t limit) {
  std::ifstream in(file);
  if (!in) throw std::runtime_error("cannot open the trace " + file);
  std::vector<TraceRequest> requests;
  std::string line;
  for (std::size_t number = 1; requests.size() < limit && std::getline(in, line); ++number) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    try {
      requests.push_back(Line(line).parse());
    } catch (const std::runtime_error& error) {
      throw std::runtime_error(file + ":" + std::to_string(number) + ": " + error.what());
    }
  }
  if (in.bad()) throw std::runtime_error("cannot read the trace " + file);
  if (requests.empty()) throw std::runtime_error(file + ": there is no request in it");
  return requests;
}
