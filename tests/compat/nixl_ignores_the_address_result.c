/* NIXL reads its own address into 64 bytes and does not look at the result; TensorRT-LLM has the same buffer. The
 * address ends with a NUL and can be opened as it is, or the buffer holds an empty text. */
#include "check.h"

static void an_address_fits_into_64_bytes_and_can_be_opened(const char *host, const char *begins) {
  transfer_engine_t engine = engine_at(host), other = engine_at("127.0.0.1");
  char address[64];
  memset(address, 'x', sizeof address);
  EQUAL(0, getLocalIpAndPort(engine, address, sizeof address));
  CHECK(strncmp(address, begins, strlen(begins)) == 0);
  CHECK(openSegment(other, address) > 0);
  EQUAL(LOCAL_SEGMENT, openSegment(engine, address));
  destroyTransferEngine(other);
  destroyTransferEngine(engine);
}

static void what_does_not_fit_is_an_error_and_an_empty_text(void) {
  transfer_engine_t engine = engine_at("127.0.0.1");
  char address[64], small[64];
  size_t length, room;
  EQUAL(0, getLocalIpAndPort(engine, address, sizeof address));
  length = strlen(address);
  for (room = 1; room <= length; ++room) {
    memset(small, 'x', sizeof small);
    CHECK(getLocalIpAndPort(engine, small, room) != 0);
    EQUAL(0, small[0]);
    EQUAL('x', small[room]);
  }
  EQUAL(0, getLocalIpAndPort(engine, small, length + 1));
  EQUAL(0, strcmp(address, small));
  CHECK(getLocalIpAndPort(engine, small, 0) != 0);
  CHECK(getLocalIpAndPort(engine, NULL, 64) != 0);
  destroyTransferEngine(engine);
}

int main(void) {
  hang_guard(120);
  an_address_fits_into_64_bytes_and_can_be_opened("127.0.0.1", "127.0.0.1:");
  an_address_fits_into_64_bytes_and_can_be_opened("127.0.0.1:12345", "127.0.0.1:");
  an_address_fits_into_64_bytes_and_can_be_opened("localhost", "localhost:");
  RUN(what_does_not_fit_is_an_error_and_an_empty_text);
  if (access("/proc/net/if_inet6", R_OK) == 0) {
    an_address_fits_into_64_bytes_and_can_be_opened("::1", "[::1]:");
    an_address_fits_into_64_bytes_and_can_be_opened("[::1]:12345", "[::1]:");
  }
  return 0;
}
