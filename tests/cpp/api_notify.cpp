// Notifications: sent, filtered by tag, announced on a queue.
#include "mooncake/notify.hpp"

#include "check.hpp"
#include "pair.hpp"

using namespace mooncake;
using namespace std::chrono_literals;

TEST(a_notification_arrives_as_it_was_sent) {
  test::Pair pair;
  std::string binary("a\0b\xff", 4);
  notify(pair.peer, "layer", binary, test::guard);
  std::optional<Notification> got = receive(pair.target, test::guard);
  CHECK(got.has_value());
  CHECK(got->tag == "layer" && got->text() == binary);
  CHECK(got->sender == "initiator" && got->sender_id == pair.initiator.info().engine_id);
}

TEST(a_tag_picks_its_own) {
  test::Pair pair;
  notify(pair.peer, "red", "1", test::guard);
  notify(pair.peer, "blue", "2", test::guard);
  notify(pair.peer, "red", "3", test::guard);
  CHECK(receive(pair.target, "blue", test::guard)->text() == "2");
  CHECK(!receive(pair.target, "blue", 0ms));
  CHECK(receive(pair.target, test::guard)->text() == "1");
  CHECK(receive(pair.target, "red", test::guard)->text() == "3");
  CHECK(!receive(pair.target, 0ms));
}

TEST(empty_and_long_notifications_arrive_whole) {
  test::Pair pair;
  notify(pair.peer, "", {}, test::guard);
  std::optional<Notification> empty = receive(pair.target, "", test::guard);
  CHECK(empty && empty->tag.empty() && empty->data.empty());
  std::vector<unsigned char> longest(MC_NOTIFY_MAX_LENGTH);
  test::fill(longest, 3);
  notify(pair.peer, "long", longest, test::guard);
  std::optional<Notification> got = receive(pair.target, "long", test::guard);
  CHECK(got && got->data.size() == longest.size() && test::holds(got->data, 3));
}

TEST(what_is_too_long_is_refused) {
  test::Pair pair;
  std::vector<char> data(MC_NOTIFY_MAX_LENGTH + 1);
  CHECK_THROWS(MC_ERR_INVALID_ARGUMENT, notify(pair.peer, "long", data, test::guard));
  CHECK_THROWS(MC_ERR_INVALID_ARGUMENT, notify(pair.peer, std::string(256, 't'), {}, test::guard));
  CHECK_THROWS(MC_ERR_INVALID_ARGUMENT, notify(pair.peer, std::string("a\0b", 3), {}, test::guard));
}

TEST(an_engine_may_notify_itself) {
  Engine engine(test::on_loopback("narcissus"));
  notify(Segment::local(engine), "self", "hello", test::guard);
  CHECK(receive(engine, test::guard)->sender == "narcissus");
}

TEST(a_bound_tag_is_announced_on_its_queue) {
  test::Pair pair;
  CompletionQueue tagged(pair.target);
  CompletionQueue others(pair.target);
  bind_notifications(pair.target, "ready", tagged, 17);
  bind_notifications(pair.target, others, 18);
  notify(pair.peer, "ready", "1", test::guard);
  notify(pair.peer, "other", "2", test::guard);
  Completion completion{};
  CHECK(tagged.wait({&completion, 1}, test::guard).count == 1);
  CHECK(completion.kind == MC_COMPLETION_NOTIFY && completion.user_data == 17);
  CHECK(receive(pair.target, "ready", 0ms)->text() == "1");
  CHECK(others.wait({&completion, 1}, test::guard).count == 1);
  CHECK(completion.user_data == 18);
  unbind_notifications(pair.target, "ready");
  unbind_notifications(pair.target);
  notify(pair.peer, "ready", "3", test::guard);
  CHECK(tagged.poll({&completion, 1}).count == 0 && others.poll({&completion, 1}).count == 0);
}

TEST(receiving_from_a_closed_engine_throws) {
  test::Pair pair;
  pair.target.close();
  CHECK_THROWS(MC_ERR_INVALID_HANDLE, receive(pair.target, test::guard));
}
