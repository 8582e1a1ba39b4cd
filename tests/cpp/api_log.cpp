// Log: lines reach the callback, its exceptions reach nobody, its last reference is dropped.
#include "mooncake/log.hpp"

#include <atomic>
#include <memory>
#include <stdexcept>
#include <string>

#include "check.hpp"
#include "mooncake/engine.hpp"

using namespace mooncake;

static void make_an_engine() {
  EngineOptions options;
  options.bind_address = "127.0.0.1";
  Engine engine(options);
}

TEST(lines_reach_the_callback_until_it_is_taken_away) {
  auto lines = std::make_shared<std::atomic<int>>(0);
  std::weak_ptr<std::atomic<int>> alive = lines;
  set_log_level(LogLevel::trace);
  set_log_callback([lines](LogLevel level, std::string_view target, std::string_view message) {
    if (level >= LogLevel::error && level <= LogLevel::trace && !target.empty() && !message.empty()) ++*lines;
  });
  make_an_engine();
  CHECK(*lines > 0);
  lines.reset();
  CHECK(!alive.expired());
  set_log_callback({});
  CHECK(alive.expired());
}

TEST(an_exception_of_the_callback_stops_nothing) {
  std::atomic<int> lines{0};
  set_log_level(LogLevel::trace);
  set_log_callback([&](LogLevel, std::string_view, std::string_view) {
    ++lines;
    throw std::runtime_error("a disk is full");
  });
  make_an_engine();
  set_log_callback({});
  CHECK(lines > 0);
}

TEST(a_level_keeps_the_others_out) {
  std::atomic<int> lines{0};
  set_log_level(LogLevel::off);
  set_log_callback([&](LogLevel, std::string_view, std::string_view) { ++lines; });
  make_an_engine();
  set_log_callback({});
  CHECK(lines == 0);
  CHECK_THROWS(MC_ERR_INVALID_ARGUMENT, set_log_level(static_cast<LogLevel>(77)));
  set_log_level(LogLevel::info);
}
