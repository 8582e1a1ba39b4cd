/* What getNotifsFromEngine() hands out is freed by freeNotifsMsgBuf() alone, also after its engine is gone. Freeing twice,
 * or something else, is an error and no more. */
#include "check.h"

int main(void) {
  transfer_engine_t engine;
  notify_msg_t *first, *second, mine;
  int size = 0;
  hang_guard(60);
  engine = engine_at("127.0.0.1");
  EQUAL(0, genNotifyInEngine(engine, LOCAL_SEGMENT, message("a", "first")));
  first = getNotifsFromEngine(engine, &size);
  EQUAL(1, size);
  EQUAL(0, genNotifyInEngine(engine, LOCAL_SEGMENT, message("b", "second")));
  EQUAL(0, genNotifyInEngine(engine, LOCAL_SEGMENT, message("c", "third")));
  second = getNotifsFromEngine(engine, &size);
  EQUAL(2, size);
  EQUAL(0, strcmp(first->msg, "first"));

  EQUAL(0, freeNotifsMsgBuf(first, 1));
  CHECK(freeNotifsMsgBuf(first, 1) < 0);
  mine = message("mine", "mine");
  CHECK(freeNotifsMsgBuf(&mine, 1) < 0);
  CHECK(freeNotifsMsgBuf(second + 1, 1) < 0);
  EQUAL(0, freeNotifsMsgBuf(NULL, 0));
  EQUAL(0, freeNotifsMsgBuf(NULL, 5));

  destroyTransferEngine(engine);
  EQUAL(0, strcmp(second[1].name, "c"));
  EQUAL(0, strcmp(second[1].msg, "third"));
  /* The count is not what is freed by. */
  EQUAL(0, freeNotifsMsgBuf(second, 99));
  return 0;
}
