/* Do notifications arrive whole, in order, filtered by tag, and after the data that they announce? */
#include "peer.h"

#include <pthread.h>

/* A peer in this process: its engine is at hand. */
static const path_t HERE = {"local", false, false};

typedef struct pair_t {
  mc_engine_t *engine;
  peer_t peer;
  mc_segment_t segment;
} pair_t;

static void start_pair(pair_t *pair, const path_t *path) {
  pair->engine = engine_with(path->name);
  peer_start(&pair->peer, path);
  pair->segment = opened(pair->engine, pair->peer.address);
}

static void end_pair(pair_t *pair) {
  CHECK_OK(mc_engine_destroy(pair->engine));
  peer_stop(&pair->peer);
}

static void any_bytes_of_any_length_arrive(const path_t *path) {
  static const size_t LENGTHS[] = {0, 1, 7, 4096, 65537, MC_NOTIFY_MAX_LENGTH};
  pair_t pair;
  uint8_t *data = pages(MC_NOTIFY_MAX_LENGTH + 1);
  start_pair(&pair, path);
  for (size_t i = 0; i < sizeof LENGTHS / sizeof LENGTHS[0]; i++) {
    void *got = NULL;
    size_t length = 99;
    fill_pattern(data, LENGTHS[i], i); /* NULs among them */
    CHECK_OK(mc_notify_send(pair.engine, pair.segment, "binary", data, LENGTHS[i], -1));
    CHECK_OK(peer_receive(&pair.peer, "binary", 0, &got, &length));
    CHECK(length == LENGTHS[i], "%zu of %zu bytes came", length, LENGTHS[i]);
    CHECK_PATTERN(got, length, i);
    free(got);
  }
  CHECK_STATUS(MC_ERR_INVALID_ARGUMENT,
               mc_notify_send(pair.engine, pair.segment, "", data, MC_NOTIFY_MAX_LENGTH + 1, -1));
  CHECK_OK(mc_notify_send(pair.engine, pair.segment, NULL, NULL, 0, -1));
  end_pair(&pair);
  munmap(data, MC_NOTIFY_MAX_LENGTH + 1);
}

static void the_receiver_learns_tag_and_sender(void) {
  pair_t pair;
  char tag[257];
  char buffer[8];
  mc_notify_info_t info = mc_notify_info_default();
  start_pair(&pair, &HERE);
  memset(tag, 't', 255);
  tag[255] = 0;
  CHECK_OK(mc_notify_send(pair.engine, pair.segment, tag, "abc", 3, -1));
  CHECK(info_of(pair.peer.engine).notify_count == 1, "one notification waits");
  CHECK_OK(mc_notify_receive(pair.peer.engine, NULL, 0, buffer, sizeof buffer, &info));
  mc_engine_info_t sender = info_of(pair.engine);
  CHECK(strcmp(info.tag, tag) == 0 && strcmp(info.sender, sender.name) == 0 && info.length == 3 &&
            strcmp(info.sender_id, sender.engine_id) == 0 && memcmp(buffer, "abc", 3) == 0,
        "tag \"%s\", sender \"%s\" \"%s\"", info.tag, info.sender, info.sender_id);
  CHECK_STATUS(MC_ERR_NOT_READY, mc_notify_receive(pair.peer.engine, NULL, 0, buffer, sizeof buffer, &info));
  tag[255] = 't';
  tag[256] = 0;
  CHECK_STATUS(MC_ERR_INVALID_ARGUMENT, mc_notify_send(pair.engine, pair.segment, tag, NULL, 0, -1));
  end_pair(&pair);
}

/* Oldest first among those with the tag; the others stay in their order. */
static void a_tag_filters_and_keeps_the_order(void) {
  static const char *const TAGS[] = {"a", "b", "a", "", "b", "a"};
  static const char *const ORDER[][2] = {{"b", "1"}, {"", "3"}, {NULL, "0"}, {"a", "2"}, {NULL, "4"}, {NULL, "5"}};
  pair_t pair;
  char text[2] = "0", buffer[4];
  mc_notify_info_t info = mc_notify_info_default();
  start_pair(&pair, &HERE);
  for (size_t i = 0; i < 6; i++) {
    text[0] = (char)('0' + i);
    CHECK_OK(mc_notify_send(pair.engine, pair.segment, TAGS[i], text, 1, -1));
  }
  CHECK_STATUS(MC_ERR_NOT_READY, mc_notify_receive(pair.peer.engine, "c", 0, buffer, 4, &info));
  for (size_t i = 0; i < 6; i++) {
    CHECK_OK(mc_notify_receive(pair.peer.engine, ORDER[i][0], 0, buffer, 4, &info));
    CHECK(buffer[0] == ORDER[i][1][0], "receive %zu gave %c", i, buffer[0]);
  }
  end_pair(&pair);
}

static void one_that_does_not_fit_stays(void) {
  pair_t pair;
  char buffer[16];
  mc_notify_info_t info = mc_notify_info_default();
  start_pair(&pair, &HERE);
  CHECK_OK(mc_notify_send(pair.engine, pair.segment, "big", "0123456789", 10, -1));
  CHECK_OK(mc_notify_send(pair.engine, pair.segment, "small", "x", 1, -1));
  memset(buffer, '?', sizeof buffer);
  CHECK_STATUS(MC_ERR_BUFFER_TOO_SMALL, mc_notify_receive(pair.peer.engine, NULL, 0, buffer, 9, &info));
  CHECK(info.length == 10 && strcmp(info.tag, "big") == 0, "length %d, tag \"%s\"", (int)info.length, info.tag);
  CHECK_ALL(buffer, sizeof buffer, '?');
  CHECK_STATUS(MC_ERR_BUFFER_TOO_SMALL, mc_notify_receive(pair.peer.engine, NULL, 0, NULL, 0, &info));
  CHECK_OK(mc_notify_receive(pair.peer.engine, NULL, 0, buffer, 10, &info));
  CHECK(memcmp(buffer, "0123456789??????", 16) == 0, "other bytes came");
  CHECK_OK(mc_notify_receive(pair.peer.engine, NULL, 0, buffer, 10, &info));
  CHECK(strcmp(info.tag, "small") == 0, "the order changed");
  end_pair(&pair);
}

static void *send_later(void *argument) {
  pair_t *pair = (pair_t *)argument;
  sleep_ms(30);
  CHECK_OK(mc_notify_send(pair->engine, pair->segment, "other", "o", 1, -1));
  CHECK_OK(mc_notify_send(pair->engine, pair->segment, "awaited", "w", 1, -1));
  return NULL;
}

static void a_blocking_receive_wakes_for_its_tag(void) {
  pair_t pair;
  pthread_t sender;
  char buffer[4];
  mc_notify_info_t info = mc_notify_info_default();
  start_pair(&pair, &HERE);
  CHECK_STATUS(MC_ERR_NOT_READY, mc_notify_receive(pair.peer.engine, NULL, 10, buffer, 4, &info));
  pthread_create(&sender, NULL, send_later, &pair);
  CHECK_OK(mc_notify_receive(pair.peer.engine, "awaited", -1, buffer, 4, &info));
  CHECK(buffer[0] == 'w' && strcmp(info.tag, "awaited") == 0, "tag \"%s\"", info.tag);
  CHECK_OK(mc_notify_receive(pair.peer.engine, NULL, -1, buffer, 4, &info));
  CHECK(buffer[0] == 'o', "the other one was lost");
  pthread_join(sender, NULL);
  end_pair(&pair);
}

static void *receive_for_ever(void *argument) {
  mc_notify_info_t info = mc_notify_info_default();
  return (void *)(intptr_t)mc_notify_receive((mc_engine_t *)argument, NULL, -1, NULL, 0, &info);
}

static void destroying_the_engine_wakes_a_receiver(void) {
  mc_engine_t *engine = engine_with("local");
  pthread_t receiver;
  void *status = NULL;
  pthread_create(&receiver, NULL, receive_for_ever, engine);
  sleep_ms(20);
  CHECK_OK(mc_engine_destroy(engine));
  pthread_join(receiver, &status);
  CHECK((intptr_t)status == MC_ERR_INVALID_HANDLE, "it got %s", mc_status_name((mc_status_t)(intptr_t)status));
}

/* Each notification with a bound tag is one completion there; the rest goes where NULL is bound. */
static void a_queue_announces_notifications(void) {
  enum { COUNT = 10 };
  pair_t pair;
  mc_cq_t mine = 0, rest = 0;
  mc_completion_t items[2 * COUNT];
  mc_notify_info_t info = mc_notify_info_default();
  char buffer[4];
  size_t count = 0;
  start_pair(&pair, &HERE);
  CHECK_OK(mc_cq_create(pair.peer.engine, NULL, &mine));
  CHECK_OK(mc_cq_create(pair.peer.engine, NULL, &rest));
  CHECK_OK(mc_notify_bind(pair.peer.engine, "mine", mine, 11));
  CHECK_OK(mc_notify_bind(pair.peer.engine, NULL, rest, 22));
  for (int i = 0; i < COUNT; i++) {
    CHECK_OK(mc_notify_send(pair.engine, pair.segment, "mine", "m", 1, -1));
    CHECK_OK(mc_notify_send(pair.engine, pair.segment, i % 2 ? "x" : "y", "r", 1, -1));
  }
  for (size_t have = 0; have < COUNT; have += count) {
    CHECK_OK(mc_cq_wait(pair.peer.engine, mine, -1, items, 2 * COUNT, &count));
    for (size_t i = 0; i < count; i++) {
      CHECK(items[i].kind == MC_COMPLETION_NOTIFY && items[i].user_data == 11 && items[i].batch == 0 &&
                items[i].status == MC_OK,
            "kind %u, user_data %d", items[i].kind, (int)items[i].user_data);
      CHECK_OK(mc_notify_receive(pair.peer.engine, "mine", 0, buffer, 4, &info));
    }
  }
  for (size_t have = 0; have < COUNT; have += count) {
    CHECK_OK(mc_cq_wait(pair.peer.engine, rest, -1, items, 2 * COUNT, &count));
    for (size_t i = 0; i < count; i++) CHECK(items[i].user_data == 22, "the wrong queue announced it");
  }
  CHECK_OK(mc_cq_poll(pair.peer.engine, mine, items, 2 * COUNT, &count));
  CHECK(count == 0, "%zu announcements too many", count);
  CHECK_OK(mc_notify_bind(pair.peer.engine, "mine", 0, 0));
  CHECK_OK(mc_notify_send(pair.engine, pair.segment, "mine", "m", 1, -1));
  CHECK_OK(mc_cq_poll(pair.peer.engine, mine, items, 2 * COUNT, &count));
  CHECK(count == 0, "announced although it is no longer bound");
  end_pair(&pair);
}

/* A full queue announces the others when there is room again: none is lost. */
static void a_full_queue_announces_later(void) {
  enum { COUNT = 20 };
  pair_t pair;
  mc_cq_options_t options = mc_cq_options_default();
  mc_cq_t cq = 0;
  mc_completion_t item;
  mc_notify_info_t info = mc_notify_info_default();
  size_t count = 0;
  start_pair(&pair, &HERE);
  options.capacity = 3;
  CHECK_OK(mc_cq_create(pair.peer.engine, &options, &cq));
  CHECK_OK(mc_notify_bind(pair.peer.engine, "t", cq, 7));
  for (int i = 0; i < COUNT; i++) CHECK_OK(mc_notify_send(pair.engine, pair.segment, "t", NULL, 0, -1));
  for (int i = 0; i < COUNT; i++) {
    CHECK_OK(mc_cq_wait(pair.peer.engine, cq, 5000, &item, 1, &count));
    CHECK(count == 1 && item.user_data == 7, "announcement %d of %d never came", i, COUNT);
    CHECK_OK(mc_notify_receive(pair.peer.engine, "t", 0, NULL, 0, &info));
  }
  end_pair(&pair);
}

/* When the notification of a batch is here, so is all its data. */
static void a_batch_notifies_after_its_data_is_visible(const path_t *path) {
  enum { BLOCK = 65536, COUNT = 24, ROUNDS = 10 };
  pair_t pair;
  uint8_t *source = pages(BLOCK * COUNT), *seen = pages(BLOCK * COUNT);
  mc_request_t requests[COUNT];
  mc_batch_options_t options = mc_batch_options_default();
  start_pair(&pair, path);
  uint64_t remote = peer_region(&pair.peer, path, BLOCK * COUNT, 0, NULL);
  registered(pair.engine, source, BLOCK * COUNT);
  for (size_t i = 0; i < COUNT; i++)
    requests[i] = request_of(MC_OPCODE_WRITE, pair.segment, remote + i * BLOCK, source + i * BLOCK, BLOCK);
  for (uint64_t round = 0; round < ROUNDS; round++) {
    mc_batch_t batch = 0;
    void *got = NULL;
    size_t length = 0;
    fill_pattern(source, BLOCK * COUNT, round);
    options.notify_tag = "ready";
    options.notify_data = &round;
    options.notify_length = sizeof round;
    CHECK_OK(mc_batch_submit(pair.engine, requests, COUNT, &options, &batch));
    CHECK_OK(peer_receive(&pair.peer, "ready", -1, &got, &length));
    CHECK(length == sizeof round && memcmp(got, &round, sizeof round) == 0, "another notification came");
    free(got);
    peer_read(&pair.peer, remote, seen, BLOCK * COUNT);
    CHECK_PATTERN(seen, BLOCK * COUNT, round);
    CHECK_OK(mc_batch_wait(pair.engine, batch, -1, NULL));
    CHECK_OK(mc_batch_release(pair.engine, batch));
  }
  end_pair(&pair);
  munmap(source, BLOCK * COUNT);
  munmap(seen, BLOCK * COUNT);
}

/* A batch that failed notifies nobody, and is done once that is sure. */
static void a_failed_batch_notifies_nobody(const path_t *path) {
  pair_t pair;
  uint8_t *source = pages(4096);
  mc_batch_options_t options = mc_batch_options_default();
  mc_batch_t batch = 0;
  void *got = NULL;
  size_t length = 0;
  start_pair(&pair, path);
  peer_region(&pair.peer, path, 4096, 0, NULL);
  registered(pair.engine, source, 4096);
  mc_request_t request = request_of(MC_OPCODE_WRITE, pair.segment, 64, source, 4096);
  options.notify_tag = "ready";
  CHECK_OK(mc_batch_submit(pair.engine, &request, 1, &options, &batch));
  CHECK_STATUS(MC_ERR_ADDRESS_NOT_REGISTERED, mc_batch_wait(pair.engine, batch, -1, NULL));
  CHECK_OK(mc_batch_release(pair.engine, batch));
  CHECK_STATUS(MC_ERR_NOT_READY, peer_receive(&pair.peer, "ready", 50, &got, &length));
  free(got);
  end_pair(&pair);
  munmap(source, 4096);
}

int main(int argc, char **argv) {
  PEER_MAIN(argc, argv);
  hang_guard(180);
  RUN_OVER_PATHS(any_bytes_of_any_length_arrive);
  RUN(the_receiver_learns_tag_and_sender);
  RUN(a_tag_filters_and_keeps_the_order);
  RUN(one_that_does_not_fit_stays);
  RUN(a_blocking_receive_wakes_for_its_tag);
  RUN(destroying_the_engine_wakes_a_receiver);
  RUN(a_queue_announces_notifications);
  RUN(a_full_queue_announces_later);
  RUN_OVER_PATHS(a_batch_notifies_after_its_data_is_visible);
  RUN_OVER_PATHS(a_failed_batch_notifies_nobody);
  return 0;
}
