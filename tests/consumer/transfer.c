/* What every consumer builds: two engines in one process, one write, one look at the bytes. C99 and C++11. */
#include <stdio.h>
#include <string.h>

#include <mooncake.h>

static char source[4096] = "keys and values of one block";
static char target[4096];

static mc_status_t move(mc_engine_t *prefill, mc_engine_t *decode) {
  mc_engine_info_t info = mc_engine_info_default();
  mc_region_t region = 0;
  mc_segment_t segment = 0;
  mc_batch_t batch = 0;
  mc_request_t request;
  mc_status_t status;

  memset(&request, 0, sizeof request);
  if ((status = mc_memory_register(decode, target, sizeof target, NULL, &region)) != MC_OK) return status;
  if ((status = mc_memory_register(prefill, source, sizeof source, NULL, &region)) != MC_OK) return status;
  if ((status = mc_engine_get_info(decode, &info)) != MC_OK) return status;
  if ((status = mc_segment_open(prefill, info.address, -1, &segment)) != MC_OK) return status;

  request.opcode = MC_OPCODE_WRITE;
  request.segment = segment;
  request.remote = (uint64_t)(uintptr_t)target;
  request.local = source;
  request.length = sizeof source;
  if ((status = mc_batch_submit(prefill, &request, 1, NULL, &batch)) != MC_OK) return status;
  return mc_batch_wait(prefill, batch, -1, NULL);
}

int main(void) {
  mc_engine_options_t options = mc_engine_options_default();
  mc_engine_t *prefill = NULL;
  mc_engine_t *decode = NULL;

  options.bind_address = "127.0.0.1";
  if (mc_engine_create(&options, &prefill) != MC_OK || mc_engine_create(&options, &decode) != MC_OK ||
      move(prefill, decode) != MC_OK) {
    fprintf(stderr, "%s\n", mc_last_error_message());
    return 1;
  }
  mc_engine_destroy(prefill);
  mc_engine_destroy(decode);
  if (memcmp(source, target, sizeof source) != 0) {
    fprintf(stderr, "the bytes did not arrive\n");
    return 1;
  }
  printf("mooncake %s: %s\n", mc_version(), target);
  return 0;
}
