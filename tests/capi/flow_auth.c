/* Do engines with a key meet those with the same key only, and do checksum policies agree or refuse? */
#include "flow.h"

enum { LENGTH = 100000 };

static mc_engine_t *engine_of(const char *key, mc_checksum_t checksum) {
  mc_engine_options_t options = mc_engine_options_default();
  mc_engine_t *engine = NULL;
  options.flags = MC_ENGINE_FLAG_NO_ENVIRONMENT;
  options.bind_address = "127.0.0.1";
  options.transports = "tcp";
  options.psk = key;
  options.psk_length = key != NULL ? strlen(key) : 0;
  options.checksum = checksum;
  CHECK_OK(mc_engine_create(&options, &engine));
  return engine;
}

/* What opening, and then a transfer and a notification, come to between two engines. */
static mc_status_t meeting(const char *near_key, mc_checksum_t near_sum, const char *far_key, mc_checksum_t far_sum) {
  mc_engine_t *near = engine_of(near_key, near_sum), *far = engine_of(far_key, far_sum);
  uint8_t *source = pages(LENGTH), *target = pages(LENGTH);
  mc_segment_t segment = 0;
  mc_notify_info_t info = mc_notify_info_default();
  registered(near, source, LENGTH);
  registered(far, target, LENGTH);
  fill_pattern(source, LENGTH, 9);
  mc_status_t status = mc_segment_open(near, info_of(far).address, -1, &segment);
  if (status == MC_OK) {
    status = move_bytes(near, MC_OPCODE_WRITE, segment, (uint64_t)(uintptr_t)target, source, LENGTH);
    if (status == MC_OK) CHECK_PATTERN(target, LENGTH, 9);
    if (status == MC_OK) CHECK_OK(mc_notify_send(near, segment, "t", "x", 1, -1));
    if (status == MC_OK) CHECK_OK(mc_notify_receive(far, "t", -1, source, 1, &info));
  }
  if (status != MC_OK) {
    CHECK_ALL(target, LENGTH, 0);
    CHECK(stats_of(far).refused_count > 0 || stats_of(near).failed_count > 0 || segment == 0, "nobody counted it");
  }
  CHECK_OK(mc_engine_destroy(near));
  CHECK_OK(mc_engine_destroy(far));
  munmap(source, LENGTH);
  munmap(target, LENGTH);
  return status;
}

static const char KEY[] = "correct horse battery staple", OTHER[] = "correct horse battery stable";

static void peers_with_the_same_key_meet(void) { CHECK_OK(meeting(KEY, 0, KEY, 0)); }

static void peers_with_different_keys_do_not(void) { CHECK_STATUS(MC_ERR_UNAUTHENTICATED, meeting(KEY, 0, OTHER, 0)); }

static void nobody_is_talked_down_to_no_key(void) {
  CHECK_STATUS(MC_ERR_UNAUTHENTICATED, meeting(NULL, 0, KEY, 0));
  CHECK_STATUS(MC_ERR_UNAUTHENTICATED, meeting(KEY, 0, NULL, 0));
}

static void checksum_policies_agree_or_refuse(void) {
  static const mc_checksum_t ALL[] = {MC_CHECKSUM_DEFAULT, MC_CHECKSUM_OFF, MC_CHECKSUM_REQUIRED};
  for (size_t i = 0; i < 3; i++)
    for (size_t j = 0; j < 3; j++) {
      bool clash = (ALL[i] == MC_CHECKSUM_OFF && ALL[j] == MC_CHECKSUM_REQUIRED) ||
                   (ALL[i] == MC_CHECKSUM_REQUIRED && ALL[j] == MC_CHECKSUM_OFF);
      mc_status_t status = meeting(NULL, ALL[i], NULL, ALL[j]);
      CHECK(status == (clash ? MC_ERR_REJECTED : MC_OK), "policies %u and %u: %s", ALL[i], ALL[j],
            mc_status_name(status));
    }
}

int main(void) {
  hang_guard(120);
  if (getenv("MC_TEST_TRANSPORTS") != NULL && !is_listed(getenv("MC_TEST_TRANSPORTS"), "tcp"))
    SKIP("keys and checksums are of networks, and tcp is not among MC_TEST_TRANSPORTS");
  RUN(peers_with_the_same_key_meet);
  RUN(peers_with_different_keys_do_not);
  RUN(nobody_is_talked_down_to_no_key);
  RUN(checksum_policies_agree_or_refuse);
  return 0;
}
