// Engine: made from options, described by info, ended once.
#include "mooncake/engine.hpp"

#include <utility>

#include "check.hpp"

using mooncake::Engine;
using mooncake::EngineOptions;

static EngineOptions on_loopback() {
  EngineOptions options;
  options.bind_address = "127.0.0.1";
  return options;
}

TEST(an_engine_knows_its_name_and_address) {
  EngineOptions options = on_loopback();
  options.name = "prefill-7";
  Engine engine(options);
  mooncake::EngineInfo info = engine.info();
  CHECK(info.name == "prefill-7");
  CHECK(info.port != 0);
  CHECK(info.address == "127.0.0.1:" + std::to_string(info.port));
  CHECK(info.engine_id.size() == 32);
  CHECK(info.batch_count == 0 && info.region_count == 0);
}

TEST(bad_options_are_named) {
  EngineOptions options = on_loopback();
  options.lanes = 1000;
  mooncake::Error error = ERROR_OF(Engine(options));
  CHECK(error.code() == MC_ERR_INVALID_ARGUMENT);
  CHECK(std::string(error.what()).find("lanes") != std::string::npos);
}

TEST(names_with_a_nul_inside_are_refused) {
  EngineOptions options = on_loopback();
  options.name = std::string("a\0b", 3);
  CHECK_THROWS(MC_ERR_INVALID_ARGUMENT, Engine(options));
}

TEST(options_arrive_in_the_effective_configuration) {
  EngineOptions options = on_loopback();
  options.default_deadline = std::chrono::seconds(7);
  Engine engine(options);
  CHECK(engine.config().find("7000") != std::string::npos);
}

TEST(metrics_are_text_until_switched_off) {
  Engine counted(on_loopback());
  CHECK(counted.metrics().find("# ") != std::string::npos);
  EngineOptions options = on_loopback();
  options.flags = MC_ENGINE_FLAG_NO_METRICS;
  Engine uncounted(options);
  CHECK_THROWS(MC_ERR_INVALID_STATE, uncounted.metrics());
}

TEST(an_idle_engine_is_drained) {
  Engine engine(on_loopback());
  CHECK(engine.drain(std::chrono::seconds(0)));
  CHECK(engine.stats().batch_count == 0);
}

TEST(a_moved_engine_is_the_same_engine) {
  Engine first(on_loopback());
  std::string id = first.info().engine_id;
  Engine second(std::move(first));
  CHECK(second.info().engine_id == id);
  CHECK_THROWS(MC_ERR_INVALID_HANDLE, first.info());
}

TEST(a_closed_engine_fails_every_call) {
  Engine engine(on_loopback());
  engine.close();
  CHECK_THROWS(MC_ERR_INVALID_HANDLE, engine.info());
  CHECK_THROWS(MC_ERR_INVALID_HANDLE, engine.drain());
  engine.close();
}
