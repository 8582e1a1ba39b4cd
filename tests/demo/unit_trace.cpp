// Trace reader: what it takes, and how it names a line that it does not.
#include "trace.hpp"

#include <fstream>
#include <limits>

#include "unit.hpp"

namespace {

constexpr std::size_t kAll = std::numeric_limits<std::size_t>::max();

std::vector<TraceRequest> read(const std::string& text, std::size_t limit = kAll) {
  std::ofstream("trace.jsonl") << text;
  return read_trace("trace.jsonl", limit);
}

std::string error_of(const std::string& text) {
  return thrown_by([&] { read(text); });
}

const std::string kLine = R"({"timestamp": 3000, "input_length": 700, "output_length": 9, "hash_ids": [0, 17]})"
                          "\n";

void a_published_line_is_read() {
  TraceRequest request = read(kLine).at(0);
  CHECK(request.timestamp_ms == 3000 && request.input_length == 700 && request.output_length == 9);
  CHECK(request.hash_ids == std::vector<std::uint64_t>({0, 17}));
}

void spaces_order_and_other_fields_do_not_matter() {
  TraceRequest request =
      read(R"( { "kind":"chat \"x\"","hash_ids":[5],"ttft":1.5e-3, "output_length" :2,"input_length":1,)"
           R"("extra":[[1,2],"a",null],"timestamp":0 } )"
           "\r\n")
          .at(0);
  CHECK(request.hash_ids == std::vector<std::uint64_t>({5}) && request.output_length == 2);
}

void empty_lines_are_passed_over_and_a_limit_is_kept() {
  CHECK(read(kLine + "\n  \n" + kLine).size() == 2);
  CHECK(read(kLine + kLine + "garbage", 2).size() == 2);
}

void a_bad_line_is_named_with_file_and_number() {
  const std::string error = error_of(kLine + "\n" + kLine + "{\"timestamp\": -3}\n");
  CHECK(contains(error, "trace.jsonl:4: "));
  CHECK(contains(error, "whole number"));
}

void each_mistake_says_what_it_is() {
  const std::string head = R"({"timestamp": 1, "input_length": 2, "output_length": 3, "hash_ids": )";
  CHECK(contains(error_of(head + "[]}"), "hash_ids is empty"));
  CHECK(contains(error_of(head + "[4, 5, 4]}"), "hash_ids has 4 twice"));
  CHECK(contains(error_of(head + "[4, 5"), "before the end"));
  CHECK(contains(error_of(head + "[4 5]}"), "expected ','"));
  CHECK(contains(error_of(head + "[4]} more"), "something follows"));
  CHECK(contains(error_of(head + "7}"), "expected '['"));
  CHECK(contains(error_of(head + "[99999999999999999999]}"), "64 bits"));
  CHECK(contains(error_of(R"({"timestamp": 1, "input_length": 2, "output_length": 3})"), "hash_ids is missing"));
  CHECK(contains(error_of(R"({"input_length": 2, "output_length": 3, "hash_ids": [1]})"), "timestamp is missing"));
  CHECK(contains(error_of(R"({"timestamp)"), "no end"));
  CHECK(contains(error_of(R"({"a": )" + std::string(100, '[')), "too deep"));
  CHECK(contains(error_of("\n\n"), "no request"));
  CHECK(contains(thrown_by([] { read_trace("missing.jsonl", kAll); }), "missing.jsonl"));
}

void a_line_cut_anywhere_is_an_error_and_no_more() {
  for (std::size_t length = 1; length + 2 < kLine.size(); ++length) {
    CHECK(contains(error_of(kLine.substr(0, length)), "trace.jsonl:1: "));
  }
}

}  // namespace

int main() {
  RUN(a_published_line_is_read);
  RUN(spaces_order_and_other_fields_do_not_matter);
  RUN(empty_lines_are_passed_over_and_a_limit_is_kept);
  RUN(a_bad_line_is_named_with_file_and_number);
  RUN(each_mistake_says_what_it_is);
  RUN(a_line_cut_anywhere_is_an_error_and_no_more);
}
