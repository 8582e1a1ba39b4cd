/* A flood of connections and garbage on the port while transfers run: do they go on, whole, and can new peers come? */
#include "fault.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>

enum { ATTACKERS = 4, OPEN_AT_ONCE = 150 };

static volatile bool stop;
static unsigned short target_port;

static int connected(void) {
  struct sockaddr_in address;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK(fd >= 0, "socket: %s", strerror(errno));
  memset(&address, 0, sizeof address);
  address.sin_family = AF_INET;
  address.sin_port = htons(target_port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0) return fd;
  close(fd);
  return -1;
}

static void send_some(int fd, const void *bytes, size_t length) {
  if (send(fd, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT) < 0) return; /* it was closed on us: well done */
}

/* Opens many connections, says nothing on any, closes them all. */
static void *open_and_say_nothing(void *argument) {
  (void)argument;
  while (!stop) {
    int fds[OPEN_AT_ONCE];
    for (int i = 0; i < OPEN_AT_ONCE; i++) fds[i] = connected();
    sleep_ms(50);
    for (int i = 0; i < OPEN_AT_ONCE; i++)
      if (fds[i] >= 0) close(fds[i]);
  }
  return NULL;
}

static void *send_garbage(void *argument) {
  unsigned random = 1;
  uint8_t bytes[4096];
  (void)argument;
  while (!stop) {
    int fd = connected();
    if (fd < 0) continue;
    for (size_t i = 0; i < sizeof bytes; i++) bytes[i] = (uint8_t)((random = random * 1664525u + 1013904223u) >> 24);
    for (int i = 0; i < 8; i++) send_some(fd, bytes, sizeof bytes);
    close(fd);
  }
  return NULL;
}

/* All header fields at their largest, at their smallest, and one byte at a time. */
static void *send_extremes(void *argument) {
  (void)argument;
  for (unsigned round = 0; !stop; round++) {
    uint8_t bytes[64];
    int fd = connected();
    if (fd < 0) continue;
    memset(bytes, round % 2 == 0 ? 0xff : 0, sizeof bytes);
    for (size_t i = 0; i < sizeof bytes && !stop; i++) {
      send_some(fd, bytes + i, 1);
      sleep_ms(1);
    }
    close(fd);
  }
  return NULL;
}

/* What a web browser, a port scanner or a stray client of another protocol would say. */
static void *speak_other_protocols(void *argument) {
  static const char *const GREETINGS[] = {"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "SSH-2.0-scanner\r\n",
                                          "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "*1\r\n$4\r\nPING\r\n"};
  (void)argument;
  for (unsigned round = 0; !stop; round++) {
    const char *greeting = GREETINGS[round % 4];
    char answer[256];
    int fd = connected();
    if (fd < 0) continue;
    send_some(fd, greeting, strlen(greeting));
    if (recv(fd, answer, sizeof answer, MSG_DONTWAIT) > 0) continue; /* whatever it says */
    close(fd);
  }
  return NULL;
}

static void transfers_go_on_under_attack(void) {
  static void *(*const ATTACKS[ATTACKERS])(void *) = {open_and_say_nothing, send_garbage, send_extremes,
                                                      speak_other_protocols};
  pthread_t threads[ATTACKERS];
  world_t world;
  uint64_t rounds = 0;
  time_t end;
  start_world(&world, &PATHS[3], 5000);
  target_port = (unsigned short)atoi(strrchr(world.peer.address, ':') + 1);
  for (int i = 0; i < ATTACKERS; i++) CHECK(pthread_create(&threads[i], NULL, ATTACKS[i], NULL) == 0, "no thread");
  for (end = time(NULL) + 6; time(NULL) < end; rounds++) {
    check_it_works(&world, rounds);
    if (rounds % 20 == 0) { /* somebody new comes in the middle of it */
      mc_engine_t *fresh = engine_with("tcp");
      opened(fresh, world.peer.address);
      CHECK_OK(mc_engine_destroy(fresh));
    }
  }
  stop = true;
  for (int i = 0; i < ATTACKERS; i++) pthread_join(threads[i], NULL);
  mc_engine_stats_t stats = peer_stats(&world.peer);
  printf("  %zu transfers beside %zu connections, %zu refusals\n", (size_t)rounds, (size_t)stats.accepted_count,
         (size_t)stats.refused_count);
  CHECK(stats.refused_count > 0, "garbage was not counted as refused");
  check_it_works(&world, 12345);
  end_world(&world);
}

int main(int argc, char **argv) {
  PEER_MAIN(argc, argv);
  hang_guard(200);
  RUN(transfers_go_on_under_attack);
  return 0;
}
