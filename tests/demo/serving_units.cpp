// The parts of the second act, each on its own: local cache, messages, channel.
#include <sys/socket.h>

#include <string>
#include <thread>
#include <vector>

#include "channel.hpp"
#include "local_cache.hpp"
#include "messages.hpp"
#include "unit.hpp"

namespace {

void the_block_used_longest_ago_goes_first() {
  LocalCache cache(2, 16);
  std::vector<std::uint64_t> gone;
  std::byte* one = cache.add(1, gone);
  cache.add(2, gone);
  CHECK(gone.empty() && cache.find(1) == one && cache.find(3) == nullptr);
  cache.add(3, gone);
  CHECK(gone == std::vector<std::uint64_t>{2} && cache.find(2) == nullptr && cache.find(1) == one);
  cache.drop(1);
  cache.drop(1);
  CHECK(cache.add(4, gone) == one && gone.size() == 1);
}

void orders_come_as_they_were_sent() {
  PrefillOrder order;
  order.request = 7, order.tokens = 1025, order.reused = 2, order.fetches = true;
  order.linear = 9.46e-5 / 3, order.quadratic = 1e-300;
  order.blocks = {1, UINT64_MAX, 3};
  Words words(line_of(order));
  CHECK(words.take<std::string>() == "prefill");
  const PrefillOrder back = prefill_order(words);
  CHECK(back.request == 7 && back.tokens == 1025 && back.reused == 2 && back.fetches);
  CHECK(back.linear == order.linear && back.quadratic == order.quadratic && back.blocks == order.blocks);

  Prefilled done{8, 1, 2, 3, 4, 5, {6, 7}};
  Words reply(line_of(done));
  CHECK(reply.take<std::string>() == "prefilled");
  const Prefilled told = prefilled(reply);
  CHECK(told.request == 8 && told.local == 1 && told.put_bytes == 5 && told.gone == done.gone);

  Words cut("1 2 3");
  CHECK(contains(thrown_by([&] { prefill_order(cut); }), "lacks a word"));
}

void lines_come_whole_and_an_end_is_an_end() {
  int ends[2];
  CHECK(socketpair(AF_UNIX, SOCK_STREAM, 0, ends) == 0);
  Channel reader(ends[1]);
  const std::string line(300000, 'x');
  {
    Channel writer(ends[0]);
    CHECK(!reader.take());
    CHECK(!reader.wait(Clock::now() + std::chrono::milliseconds(5)));
    std::thread sending([&] { writer.send(line), writer.send("last"); });
    const auto deadline = Clock::now() + std::chrono::seconds(10);
    CHECK(reader.wait(deadline) == line);
    CHECK(reader.wait(deadline) == std::string("last"));
    sending.join();
  }
  CHECK(contains(thrown_by([&] { reader.take(); }), "is gone"));
  CHECK(contains(thrown_by([&] { reader.send("anybody there?"); }), "is gone"));
}

}  // namespace

int main() {
  RUN(the_block_used_longest_ago_goes_first);
  RUN(orders_come_as_they_were_sent);
  RUN(lines_come_whole_and_an_end_is_an_end);
  return 0;
}
