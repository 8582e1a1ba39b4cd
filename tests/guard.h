/* How tests in C fail, name what runs, and are kept from hanging; whichever header they test. */
#ifndef MC_TEST_GUARD_H
#define MC_TEST_GUARD_H

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#define FAIL(...)                                           \
  do {                                                      \
    fprintf(stderr, "%s:%d: ", __FILE__, __LINE__);         \
    fprintf(stderr, __VA_ARGS__);                           \
    fprintf(stderr, "\n");                                  \
    fflush(NULL);                                           \
    _exit(1); /* no exit handlers: threads may still run */ \
  } while (0)

/* RUN(a_sentence): runs one test function and names it, so that a hang or crash can be placed. */
#define RUN(test)            \
  do {                       \
    printf("- %s\n", #test); \
    fflush(stdout);          \
    test();                  \
  } while (0)

static inline void hang_guard_fired(int number) {
  static const char text[] = "hang guard: the test took far longer than it can need\n";
  (void)number;
  if (write(STDERR_FILENO, text, sizeof text - 1) < 0) _exit(3);
  _exit(2);
}

/* Ends the program when it hangs. Generous: it is no measurement. */
static inline void hang_guard(unsigned seconds) {
  signal(SIGALRM, hang_guard_fired);
  alarm(seconds);
}

#endif /* MC_TEST_GUARD_H */
