// Time: every duration becomes milliseconds that wait at least as long.
#include "mooncake/time.hpp"

#include "check.hpp"

using namespace std::chrono_literals;
using mooncake::Timeout;

TEST(durations_are_rounded_up) {
  CHECK(Timeout(1ns).milliseconds() == 1);
  CHECK(Timeout(1500us).milliseconds() == 2);
  CHECK(Timeout(2s).milliseconds() == 2000);
  CHECK(Timeout(std::chrono::duration<double>(0.25)).milliseconds() == 250);
}

TEST(no_time_and_negative_time_poll) {
  CHECK(Timeout(0s).milliseconds() == 0);
  CHECK(Timeout(-5s).milliseconds() == 0);
}

TEST(forever_and_endless_durations_do_not_end) {
  CHECK(mooncake::forever.milliseconds() == -1);
  CHECK(mooncake::engine_default.milliseconds() == -1);
  CHECK(Timeout(std::chrono::hours::max()).milliseconds() == -1);
  CHECK(Timeout(std::chrono::nanoseconds::max()).milliseconds() == -1);
}

TEST(negative_options_are_refused) {
  CHECK(mooncake::detail::option_milliseconds(3s, "deadline") == 3000);
  CHECK_THROWS(MC_ERR_INVALID_ARGUMENT, mooncake::detail::option_milliseconds(-1ms, "deadline"));
}
