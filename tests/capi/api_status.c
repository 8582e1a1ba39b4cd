/* Do statuses, their texts, the last message and the versions say what the header promises? */
#include "check.h"

#include <pthread.h>

static const struct {
  mc_status_t status;
  const char *name;
  bool is_retryable;
} STATUSES[] = {
    {MC_OK, "OK", false},
    {MC_ERR_INVALID_ARGUMENT, "INVALID_ARGUMENT", false},
    {MC_ERR_INVALID_HANDLE, "INVALID_HANDLE", false},
    {MC_ERR_UNSUPPORTED, "UNSUPPORTED", false},
    {MC_ERR_BUFFER_TOO_SMALL, "BUFFER_TOO_SMALL", false},
    {MC_ERR_INVALID_STATE, "INVALID_STATE", false},
    {MC_ERR_ADDRESS_NOT_REGISTERED, "ADDRESS_NOT_REGISTERED", false},
    {MC_ERR_BUSY, "BUSY", true},
    {MC_ERR_TIMEOUT, "TIMEOUT", true},
    {MC_ERR_CANCELED, "CANCELED", true},
    {MC_ERR_EXHAUSTED, "EXHAUSTED", true},
    {MC_ERR_NO_SPACE, "NO_SPACE", true},
    {MC_ERR_QUOTA_EXCEEDED, "QUOTA_EXCEEDED", true},
    {MC_ERR_NOT_READY, "NOT_READY", true},
    {MC_ERR_NOT_FOUND, "NOT_FOUND", false},
    {MC_ERR_ALREADY_EXISTS, "ALREADY_EXISTS", false},
    {MC_ERR_LEASE_EXPIRED, "LEASE_EXPIRED", false},
    {MC_ERR_PERMISSION, "PERMISSION", false},
    {MC_ERR_UNAUTHENTICATED, "UNAUTHENTICATED", false},
    {MC_ERR_VERSION_MISMATCH, "VERSION_MISMATCH", false},
    {MC_ERR_UNREACHABLE, "UNREACHABLE", true},
    {MC_ERR_CONNECTION_LOST, "CONNECTION_LOST", true},
    {MC_ERR_PEER_RESTARTED, "PEER_RESTARTED", true},
    {MC_ERR_REJECTED, "REJECTED", false},
    {MC_ERR_CORRUPTED, "CORRUPTED", true},
    {MC_ERR_DEVICE, "DEVICE", false},
    {MC_ERR_IO, "IO", false},
    {MC_ERR_INTERNAL, "INTERNAL", false},
};
#define STATUS_COUNT (sizeof STATUSES / sizeof STATUSES[0])

static void every_status_has_a_name_a_text_and_an_advice(void) {
  for (size_t i = 0; i < STATUS_COUNT; i++) {
    mc_status_t status = STATUSES[i].status;
    CHECK(strcmp(mc_status_name(status), STATUSES[i].name) == 0, "%d is \"%s\"", (int)status, mc_status_name(status));
    CHECK(mc_status_is_retryable(status) == STATUSES[i].is_retryable, "%s", STATUSES[i].name);
    CHECK(strlen(mc_status_text(status)) > 0, "%s has no text", STATUSES[i].name);
    CHECK(mc_status_text(status) == mc_status_text(status), "the text of %s is not static", STATUSES[i].name);
  }
}

static void any_other_number_is_unknown(void) {
  size_t known = 0;
  for (mc_status_t status = -1000; status <= 1000; status++) {
    if (strcmp(mc_status_name(status), "UNKNOWN") != 0) {
      known++;
      continue;
    }
    CHECK(!mc_status_is_retryable(status) && mc_status_text(status)[0] != 0, "%d", (int)status);
  }
  CHECK(known == STATUS_COUNT, "%zu statuses have names, %zu are in the header", known, STATUS_COUNT);
  CHECK(strcmp(mc_status_name(INT32_MIN), "UNKNOWN") == 0 && strcmp(mc_status_name(INT32_MAX), "UNKNOWN") == 0,
        "the extremes have names");
}

static void *message_of_a_new_thread(void *argument) {
  (void)argument;
  CHECK(mc_last_error_message()[0] == 0, "a new thread starts with \"%s\"", mc_last_error_message());
  CHECK_STATUS(MC_ERR_INVALID_HANDLE, mc_engine_drain(NULL, 0));
  CHECK(strstr(mc_last_error_message(), "NULL") != NULL, "\"%s\"", mc_last_error_message());
  return NULL;
}

static void the_last_message_belongs_to_its_thread(void) {
  char kept[256];
  pthread_t thread;
  CHECK(mc_last_error_message()[0] == 0, "a program starts with \"%s\"", mc_last_error_message());
  CHECK_STATUS(MC_ERR_INVALID_ARGUMENT, mc_log_set_level(77));
  CHECK(strstr(mc_last_error_message(), "77") != NULL, "\"%s\" does not say what was wrong", mc_last_error_message());
  snprintf(kept, sizeof kept, "%s", mc_last_error_message());
  pthread_create(&thread, NULL, message_of_a_new_thread, NULL);
  pthread_join(thread, NULL);
  CHECK(strcmp(kept, mc_last_error_message()) == 0, "another thread's failure changed it");
  CHECK_OK(mc_log_set_level(MC_LOG_LEVEL_INFO));
  CHECK(strcmp(kept, mc_last_error_message()) == 0, "a success changed it");
}

/* What a caller passes in may come back in the message: cut where it is too long, without control of the length. */
static void a_message_is_bounded(void) {
  mc_engine_t *engine = NULL;
  mc_engine_options_t options = mc_engine_options_default();
  char *address = (char *)malloc(100001);
  memset(address, 'a', 100000);
  address[100000] = 0;
  options.bind_address = address;
  CHECK(mc_engine_create(&options, &engine) != MC_OK && engine == NULL, "an address of 100,000 letters is none");
  CHECK(strlen(mc_last_error_message()) > 0 && strlen(mc_last_error_message()) < 4096, "%zu bytes",
        strlen(mc_last_error_message()));
  free(address);
}

static void the_versions_agree(void) {
  char expected[32];
  snprintf(expected, sizeof expected, "%d.%d.%d", MC_VERSION_MAJOR, MC_VERSION_MINOR, MC_VERSION_PATCH);
  CHECK(strcmp(mc_version(), expected) == 0, "the library is %s, the header %s", mc_version(), expected);
  CHECK(mc_abi_version() == MC_ABI_VERSION, "the library's ABI is %u", mc_abi_version());
}

int main(void) {
  hang_guard(60);
  RUN(the_last_message_belongs_to_its_thread);
  RUN(every_status_has_a_name_a_text_and_an_advice);
  RUN(any_other_number_is_unknown);
  RUN(a_message_is_bounded);
  RUN(the_versions_agree);
  return 0;
}
