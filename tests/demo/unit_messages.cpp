// Messages and reports: what is written can be read, and what is cut or wrong is refused.
#include "messages.hpp"

#include "report.hpp"
#include "unit.hpp"

namespace {

mooncake::Notification message(const char* tag, std::vector<std::byte> body) {
  return {tag, "prefill-1", "", std::move(body)};
}

void a_hello_comes_through() {
  Hello hello = decode_hello(message(tag::kHello, encode(Hello{4096, 12, 247, "[::1]:4711"})));
  CHECK(hello.block_length == 4096 && hello.request_count == 12 && hello.largest_request == 247);
  CHECK(hello.address == "[::1]:4711");
}

void blocks_come_through() {
  Blocks blocks = decode_blocks(message(tag::kBlocks, encode(Blocks{7, {{1, 0x1000}, {2, 0x2000}}})));
  CHECK(blocks.request == 7 && blocks.places.size() == 2);
  CHECK(blocks.places[1].hash_id == 2 && blocks.places[1].address == 0x2000);
  CHECK(decode_blocks(message(tag::kBlocks, encode(Blocks{7, {}}))).places.empty());
}

void the_most_blocks_fit_into_a_notification() {
  Blocks most{1, std::vector<BlockPlace>(kMostBlocks)};
  CHECK(encode(most).size() <= MC_NOTIFY_MAX_LENGTH);
  most.places.emplace_back();
  CHECK(encode(most).size() > MC_NOTIFY_MAX_LENGTH);
}

void an_end_and_a_number_come_through() {
  End end = decode_end(message(tag::kEnd, encode(End{5, 6, 7})));
  CHECK(end.made_blocks == 5 && end.kept_blocks == 6 && end.making_ns == 7);
  CHECK(decode_number(message(tag::kPulled, encode(std::uint64_t{99}))) == 99);
}

void a_body_cut_short_names_its_sender() {
  std::vector<std::byte> body = encode(Blocks{7, {{1, 0x1000}}});
  body.pop_back();
  const std::string error = thrown_by([&] { decode_blocks(message(tag::kBlocks, body)); });
  CHECK(contains(error, "prefill-1") && contains(error, "\"blocks\" of 23 bytes"));
  CHECK(!thrown_by([&] { decode_number(message(tag::kPulled, {})); }).empty());
  CHECK(!thrown_by([&] { decode_number(message(tag::kPulled, body)); }).empty());
  CHECK(!thrown_by([&] { decode_end(message(tag::kEnd, body)); }).empty());
  CHECK(!thrown_by([&] { decode_hello(message(tag::kHello, body)); }).empty());
}

void a_hello_that_cannot_be_is_refused() {
  CHECK(!thrown_by([] { decode_hello(message(tag::kHello, encode(Hello{0, 1, 1, "a:1"}))); }).empty());
  CHECK(!thrown_by([] { decode_hello(message(tag::kHello, encode(Hello{12, 1, 1, "a:1"}))); }).empty());
  CHECK(!thrown_by([] { decode_hello(message(tag::kHello, encode(Hello{8, 1, kMostBlocks + 1, "a:1"}))); }).empty());
}

void a_report_survives_json() {
  Report report;
  report.asked = "tcp";
  report.taken = "tcp";
  report.requests = 12031;
  report.pulled_bytes = 123456789012345;
  report.latency_p99_ms = 0.1;
  Report read = from_json(to_json(report));
  CHECK(read.asked == "tcp" && read.taken == "tcp" && read.requests == 12031);
  CHECK(read.pulled_bytes == 123456789012345 && read.latency_p99_ms == 0.1);
  CHECK(contains(thrown_by([] { from_json("{}"); }), "\"asked\""));
}

void a_table_has_a_column_for_each_report() {
  Report one, two;
  one.asked = "same-host", two.asked = "tcp";
  one.requests = 10, two.requests = 20;
  const std::string text = table({one, two});
  CHECK(contains(text, "requests") && contains(text, "  10 ") && contains(text, "  20\n"));
}

void quantiles_are_values_that_occurred() {
  const std::vector<double> values = {5, 1, 4, 2, 3};
  CHECK(quantile(values, 0.5) == 3 && quantile(values, 0.99) == 5 && quantile(values, 0.2) == 1);
  CHECK(quantile({}, 0.5) == 0 && quantile({7}, 0.01) == 7);
}

void sizes_are_told_in_their_unit() {
  CHECK(size_text(512) == "512 B" && size_text(131072) == "128 KiB" && size_text(1.5 * (1 << 30)) == "1.50 GiB");
}

}  // namespace

int main() {
  RUN(a_hello_comes_through);
  RUN(blocks_come_through);
  RUN(the_most_blocks_fit_into_a_notification);
  RUN(an_end_and_a_number_come_through);
  RUN(a_body_cut_short_names_its_sender);
  RUN(a_hello_that_cannot_be_is_refused);
  RUN(a_report_survives_json);
  RUN(a_table_has_a_column_for_each_report);
  RUN(quantiles_are_values_that_occurred);
  RUN(sizes_are_told_in_their_unit);
}
