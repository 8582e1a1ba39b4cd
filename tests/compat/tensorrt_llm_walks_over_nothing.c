/* TensorRT-LLM walks over `size` notifications without a look at the pointer. Whenever there is none, the size is 0. */
#include "check.h"

static void expect_nothing(transfer_engine_t engine) {
  int size = 12345;
  CHECK(getNotifsFromEngine(engine, &size) == NULL);
  EQUAL(0, size);
  EQUAL(0, freeNotifsMsgBuf(NULL, size));
}

int main(void) {
  transfer_engine_t engine;
  hang_guard(60);
  expect_nothing(NULL);
  engine = engine_at("127.0.0.1");
  expect_nothing(engine);
  CHECK(getNotifsFromEngine(engine, NULL) == NULL);
  destroyTransferEngine(engine);
  expect_nothing(engine);
  return 0;
}
