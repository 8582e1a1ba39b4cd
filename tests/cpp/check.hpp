// Checks: TEST declares one test that reads as a sentence, CHECK ends it where it does not hold.
//
// Each tests/cpp/*.cpp is one program, linked with libmooncake and every file NAME_part.cpp beside its NAME.cpp; include
// directories are include, bindings/cpp/include and tests/cpp. The program runs all its tests and exits with 0 when all
// passed. Each api_NOUN.cpp includes mooncake/NOUN.hpp first, which shows that the header needs no other.
#ifndef TESTS_CPP_CHECK_HPP
#define TESTS_CPP_CHECK_HPP

#include <cstdio>
#include <exception>
#include <stdexcept>
#include <string>
#include <vector>

#include "mooncake/error.hpp"

namespace test {

struct Case {
  const char* name;
  void (*body)();
};

inline std::vector<Case>& cases() {
  static std::vector<Case> all;
  return all;
}

struct Entry {
  Entry(const char* name, void (*body)()) { cases().push_back({name, body}); }
};

struct Failure : std::runtime_error {
  using std::runtime_error::runtime_error;
};

[[noreturn]] inline void fail(const char* file, int line, const std::string& what) {
  throw Failure(std::string(file) + ":" + std::to_string(line) + ": " + what);
}

/// Runs `call`, which must throw mooncake::Error, and returns that.
template <typename Call>
mooncake::Error error_of(const char* file, int line, const char* text, Call call) {
  try {
    call();
  } catch (const mooncake::Error& error) {
    return error;
  }
  fail(file, line, std::string("does not throw: ") + text);
}

inline void check_code(const char* file, int line, const mooncake::Error& error, mc_status_t expected) {
  if (error.code() == expected) return;
  fail(file, line, std::string("threw ") + error.name() + ", not " + mc_status_name(expected) + ": " + error.what());
}

inline int run_all() {
  int failed = 0;
  for (const Case& test : cases()) {
    try {
      test.body();
      std::printf("ok      %s\n", test.name);
    } catch (const std::exception& error) {
      ++failed;
      std::printf("FAILED  %s\n        %s\n", test.name, error.what());
    }
  }
  return failed == 0 && !cases().empty() ? 0 : 1;
}

}  // namespace test

#define TEST(name)                                    \
  static void name();                                 \
  static const test::Entry name##_entry(#name, name); \
  static void name()

#define CHECK(condition)                                                     \
  do {                                                                       \
    if (!(condition)) test::fail(__FILE__, __LINE__, "not so: " #condition); \
  } while (false)

/// The mooncake::Error that an expression throws.
#define ERROR_OF(expression) test::error_of(__FILE__, __LINE__, #expression, [&] { static_cast<void>(expression); })

#define CHECK_THROWS(expected, expression) test::check_code(__FILE__, __LINE__, ERROR_OF(expression), expected)

int main() { return test::run_all(); }

#endif  // TESTS_CPP_CHECK_HPP
