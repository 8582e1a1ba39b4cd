/* How a log line crosses into Go: the function of Go knows nothing of const, and needs no user_data. */
#ifndef MOONCAKE_GO_LOG_H
#define MOONCAKE_GO_LOG_H

#include <mooncake.h>

extern void mooncakeGoLog(uint32_t level, char *target, char *message);

static void go_log(void *user_data, mc_log_level_t level, const char *target, const char *message) {
  (void)user_data;
  mooncakeGoLog(level, (char *)target, (char *)message);
}

static mc_status_t go_log_start(void) { return mc_log_set_callback(go_log, NULL, NULL); }

#endif /* MOONCAKE_GO_LOG_H */
