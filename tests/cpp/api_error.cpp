// Errors: the exception carries the code, the name and the text of the failed call.
#include "mooncake/error.hpp"

#include "check.hpp"

using mooncake::Error;

TEST(a_failed_call_throws_its_code_and_text) {
  Error error = ERROR_OF(mooncake::check(mc_engine_drain(nullptr, 0)));
  CHECK(error.code() == MC_ERR_INVALID_HANDLE);
  CHECK(std::string(error.name()) == "INVALID_HANDLE");
  CHECK(std::string(error.what()).find("NULL") != std::string::npos);
}

TEST(success_throws_nothing) { mooncake::check(MC_OK); }

TEST(an_error_is_a_runtime_error) {
  bool caught = false;
  try {
    throw Error(MC_ERR_TIMEOUT, "waited for godot");
  } catch (const std::runtime_error& error) {
    caught = std::string(error.what()) == "waited for godot";
  }
  CHECK(caught);
}

TEST(an_error_without_a_text_says_what_its_code_means) {
  CHECK(std::string(Error(MC_ERR_BUSY, "").what()) == mc_status_text(MC_ERR_BUSY));
}

TEST(errors_know_whether_trying_again_may_help) {
  CHECK(Error(MC_ERR_BUSY, "").is_retryable());
  CHECK(!Error(MC_ERR_INVALID_ARGUMENT, "").is_retryable());
}
