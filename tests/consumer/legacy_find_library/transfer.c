/* What a program written for Mooncake's header is, at its smallest: one engine writes to another. C99 and C++17. */
#include <stdio.h>
#include <string.h>

#include <transfer_engine_c.h>

static char source[4096] = "keys and values of one block";
static char target[4096];

int main(void) {
  transfer_engine_t prefill = createTransferEngine("P2PHANDSHAKE", "127.0.0.1", "", 0, 1);
  transfer_engine_t decode = createTransferEngine("P2PHANDSHAKE", "127.0.0.1", "", 0, 1);
  transfer_request_t request;
  transfer_status_t status;
  batch_id_t batch;
  char address[64];

  memset(&request, 0, sizeof request);
  if (registerLocalMemory(prefill, source, sizeof source, "*", 1) != 0) return 1;
  if (registerLocalMemory(decode, target, sizeof target, "*", 1) != 0) return 1;
  if (getLocalIpAndPort(decode, address, sizeof address) != 0) return 1;
  request.opcode = OPCODE_WRITE;
  request.source = source;
  request.target_id = openSegment(prefill, address);
  request.target_offset = (uint64_t)(uintptr_t)target;
  request.length = sizeof source;
  batch = allocateBatchID(prefill, 1);
  if (submitTransfer(prefill, batch, &request, 1) != 0) return 1;
  do {
    if (getTransferStatus(prefill, batch, 0, &status) != 0) return 1;
  } while (status.status == STATUS_WAITING);
  if (status.status != STATUS_COMPLETED || memcmp(source, target, sizeof source) != 0) return 1;
  freeBatchID(prefill, batch);
  destroyTransferEngine(prefill);
  destroyTransferEngine(decode);
  printf("%s\n", target);
  return 0;
}
