// Checks for the unit tests of the demo: the first that does not hold ends the program.
#ifndef TESTS_DEMO_UNIT_HPP
#define TESTS_DEMO_UNIT_HPP

#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>

#define CHECK(condition)                                                           \
  do {                                                                             \
    if (!(condition)) {                                                            \
      std::fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #condition); \
      std::exit(1);                                                                \
    }                                                                              \
  } while (0)

// The text of the exception that `call` throws; "" when it throws none.
template <typename Call>
std::string thrown_by(Call call) {
  try {
    call();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "";
}

inline bool contains(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

#define RUN(test) (test(), std::printf("%s\n", #test))

#endif  // TESTS_DEMO_UNIT_HPP
