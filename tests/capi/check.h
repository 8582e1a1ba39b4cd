/* What every test in C uses: checks that say where and what, a guard against hangs, a way to skip with a reason.
 * Include it first. Tests are C99 that is C++11 too. */
#ifndef MC_TEST_CHECK_H
#define MC_TEST_CHECK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <mooncake.h>

#include "../guard.h"

/* The runner takes this exit status for "skipped", with the last line printed as the reason. */
#define SKIPPED 77

/* CHECK(condition, "what %s", it): the condition holds, or the program ends with file, line and that text. */
#define CHECK(condition, ...)                                                   \
  do {                                                                          \
    if (!(condition)) {                                                         \
      fprintf(stderr, "%s:%d: not true: %s: ", __FILE__, __LINE__, #condition); \
      FAIL(__VA_ARGS__);                                                        \
    }                                                                           \
  } while (0)

#define CHECK_STATUS(expected, call) check_status(__FILE__, __LINE__, #call, (expected), (call))
#define CHECK_OK(call) CHECK_STATUS(MC_OK, call)

static inline void check_status(const char *file, int line, const char *what, mc_status_t expected, mc_status_t got) {
  if (got == expected) return;
  fprintf(stderr, "%s:%d: %s: expected %s, got %s (%d): \"%s\"\n", file, line, what, mc_status_name(expected),
          mc_status_name(got), (int)got, mc_last_error_message());
  fflush(NULL);
  _exit(1);
}

#define SKIP(...)        \
  do {                   \
    printf("skipped: "); \
    printf(__VA_ARGS__); \
    printf("\n");        \
    fflush(NULL);        \
    exit(SKIPPED);       \
  } while (0)

#endif /* MC_TEST_CHECK_H */
