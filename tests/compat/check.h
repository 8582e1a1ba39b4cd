/* What every test of the legacy names uses: nothing but their header, checks that say where and what, a guard against
 * hangs. Tests are C99 that is C++17 too. */
#ifndef MC_COMPAT_CHECK_H
#define MC_COMPAT_CHECK_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE 1
#endif

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <transfer_engine_c.h>

#include "../guard.h"

#define CHECK(condition)                                \
  do {                                                  \
    if (!(condition)) FAIL("not true: %s", #condition); \
  } while (0)

/* EQUAL(4, freeBatchID(engine, batch)) */
#define EQUAL(expected, got)                                                   \
  do {                                                                         \
    long long want_ = (long long)(expected), have_ = (long long)(got);         \
    if (want_ != have_) FAIL("%s is %lld, expected %lld", #got, have_, want_); \
  } while (0)

static inline void pause_ms(long ms) {
  struct timespec time;
  time.tv_sec = ms / 1000;
  time.tv_nsec = ms % 1000 * 1000000;
  nanosleep(&time, NULL);
}

static inline double seconds_now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Texts go into the API as char *, though it changes none of them. */
static inline notify_msg_t message(const char *name, const char *text) {
  notify_msg_t made;
  made.name = (char *)(uintptr_t)name;
  made.msg = (char *)(uintptr_t)text;
  return made;
}

static inline transfer_request_t request(int opcode, void *source, segment_id_t target, const void *remote,
                                         uint64_t length) {
  transfer_request_t made;
  memset(&made, 0, sizeof made);
  made.opcode = opcode;
  made.source = source;
  made.target_id = target;
  made.target_offset = (uint64_t)(uintptr_t)remote;
  made.length = length;
  return made;
}

static inline transfer_engine_t engine_at(const char *host) {
  transfer_engine_t engine = createTransferEngine("P2PHANDSHAKE", host, "", 0, 1);
  if (engine == NULL) FAIL("no engine");
  return engine;
}

/* What a caller polls for: the terminal status of one task, or FAIL after a generous while. */
static inline int status_of(transfer_engine_t engine, batch_id_t batch, size_t task) {
  transfer_status_t status;
  do {
    EQUAL(0, getTransferStatus(engine, batch, task, &status));
    /* Never another one: known callers take them for success, or wait for ever. */
    CHECK(status.status == STATUS_WAITING || status.status == STATUS_COMPLETED || status.status == STATUS_FAILED);
    if (status.status == STATUS_WAITING) pause_ms(1);
  } while (status.status == STATUS_WAITING);
  return status.status;
}

#endif /* MC_COMPAT_CHECK_H */
