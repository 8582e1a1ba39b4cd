/* The other end of a transfer under remote control: an engine in this process, or in another one that runs the same
 * program. Tests see and change the peer's memory through it without the library under test. */
#ifndef MC_TEST_PEER_H
#define MC_TEST_PEER_H

#include "peer_side.h"

#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* Sends a command to a peer in another process. */
static inline void peer_send(peer_t *peer, peer_command_t *command, const void *data, size_t size) {
  command->size = (uint32_t)size;
  CHECK(write_whole(peer->socket, command, sizeof *command) && write_whole(peer->socket, data, size),
        "the peer process is gone");
}

/* Takes the answer of a peer in another process; false if it died. `out` gets malloc'd bytes. */
static inline bool peer_take(peer_t *peer, peer_answer_t *answer, void **out) {
  *out = NULL;
  if (!read_whole(peer->socket, answer, sizeof *answer)) return false;
  if (answer->size == 0) return true;
  *out = malloc(answer->size);
  return read_whole(peer->socket, *out, answer->size);
}

/* Lets the peer do something; `out` gets malloc'd bytes if it is not NULL. */
static inline peer_answer_t peer_call(peer_t *peer, peer_command_t *command, const void *data, size_t size,
                                      void **out) {
  peer_answer_t answer;
  void *bytes = NULL;
  command->size = (uint32_t)size;
  if (peer->pid == 0) {
    answer = peer_execute(peer, command, data, &bytes);
  } else {
    peer_send(peer, command, data, size);
    CHECK(peer_take(peer, &answer, &bytes), "the peer process is gone");
  }
  if (out != NULL)
    *out = bytes;
  else
    free(bytes);
  return answer;
}

static inline peer_command_t peer_command(uint32_t verb) {
  peer_command_t command;
  memset(&command, 0, sizeof command);
  command.verb = verb;
  return command;
}

/* First line of main() in programs that start peers in other processes. */
#define PEER_MAIN(argc, argv)                                                    \
  do {                                                                           \
    if ((argc) == 8 && strcmp((argv)[1], "--peer") == 0) peer_serve((argv) + 2); \
  } while (0)

/* Starts a peer in another process, with a command in front of it if `wrap` is not NULL ("ip netns exec NAME"). */
static inline void peer_spawn(peer_t *peer, const peer_setup_t *setup, char *const *wrap) {
  int pair[2];
  char fd[16], port[16];
  char *words[24];
  size_t count = 0;
  memset(peer, 0, sizeof *peer);
  CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0, "socketpair: %s", strerror(errno));
  snprintf(fd, sizeof fd, "%d", pair[1]);
  snprintf(port, sizeof port, "%u", setup->port);
  while (wrap != NULL && wrap[count] != NULL && count < 12) {
    words[count] = wrap[count];
    count++;
  }
  words[count++] = (char *)"/proc/self/exe";
  if (wrap != NULL) { /* /proc/self would be the wrapper */
    static char self[4096];
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    CHECK(length > 0, "readlink: %s", strerror(errno));
    words[count - 1] = self;
  }
  words[count++] = (char *)"--peer";
  words[count++] = fd;
  words[count++] = (char *)(setup->transports != NULL ? setup->transports : "");
  words[count++] = (char *)(setup->bind_address != NULL ? setup->bind_address : "");
  words[count++] = (char *)(setup->name != NULL ? setup->name : "");
  words[count++] = (char *)(setup->metadata != NULL ? setup->metadata : "");
  words[count++] = port;
  words[count] = NULL;
  /* The signal comes when the thread ends that forked: other threads of a test come and go. */
  bool is_main_thread = syscall(SYS_gettid) == getpid();
  peer->pid = fork();
  CHECK(peer->pid >= 0, "fork: %s", strerror(errno));
  if (peer->pid == 0) {
    if (is_main_thread) prctl(PR_SET_PDEATHSIG, SIGKILL);
    fcntl(pair[1], F_SETFD, 0);
    execvp(words[0], words);
    _exit(127);
  }
  close(pair[1]);
  peer->socket = pair[0];
  CHECK(read_whole(peer->socket, peer->address, sizeof peer->address) &&
            read_whole(peer->socket, peer->engine_id, sizeof peer->engine_id),
        "the peer process did not start");
}

/* A peer for a path: in this process, or in another. */
static inline void peer_start(peer_t *peer, const path_t *path) {
  peer_setup_t setup;
  memset(&setup, 0, sizeof setup);
  setup.transports = path->name;
  if (path->in_other_process) {
    peer_spawn(peer, &setup, NULL);
  } else {
    memset(peer, 0, sizeof *peer);
    peer_engine(peer, &setup);
  }
}

/* A region of the peer: its own memory, registered, or allocated by the library where the path asks for that. */
static inline uint64_t peer_region(peer_t *peer, const path_t *path, uint64_t length, uint64_t flags,
                                   mc_region_t *out_region) {
  peer_command_t command = peer_command(path->in_allocated_memory ? PEER_ALLOCATE : PEER_MAP);
  peer_answer_t answer;
  command.length = length;
  command.flags = flags;
  answer = peer_call(peer, &command, NULL, 0, NULL);
  CHECK_OK(answer.status);
  if (!path->in_allocated_memory) {
    uint64_t address = answer.address;
    command.verb = PEER_REGISTER;
    command.address = address;
    answer = peer_call(peer, &command, NULL, 0, NULL);
    CHECK_OK(answer.status);
    answer.address = address;
  }
  if (out_region != NULL) *out_region = answer.region;
  return answer.address;
}

/* Ends a registration or an allocation of the peer. */
static inline mc_status_t peer_unregister(peer_t *peer, mc_region_t region, uint64_t flags) {
  peer_command_t command = peer_command(PEER_UNREGISTER);
  command.region = region;
  command.flags = flags;
  return peer_call(peer, &command, NULL, 0, NULL).status;
}

static inline void peer_read(peer_t *peer, uint64_t address, void *to, size_t length) {
  peer_command_t command = peer_command(PEER_READ);
  void *bytes = NULL;
  command.address = address;
  command.length = length;
  peer_call(peer, &command, NULL, 0, &bytes);
  memcpy(to, bytes, length);
  free(bytes);
}

static inline void peer_write(peer_t *peer, uint64_t address, const void *from, size_t length) {
  peer_command_t command = peer_command(PEER_WRITE);
  command.address = address;
  peer_call(peer, &command, from, length, NULL);
}

/* Puts fresh memory of one byte value where the peer's old memory was. */
static inline void peer_reuse(peer_t *peer, uint64_t address, uint64_t length, uint8_t value) {
  peer_command_t command = peer_command(PEER_REUSE);
  command.address = address;
  command.length = length;
  command.flags = value;
  peer_call(peer, &command, NULL, 0, NULL);
}

/* The peer's blob of these regions (none: all), malloc'd. */
static inline void *peer_export(peer_t *peer, const mc_region_t *regions, size_t count, size_t *out_length) {
  peer_command_t command = peer_command(PEER_EXPORT);
  void *blob = NULL;
  peer_answer_t answer = peer_call(peer, &command, regions, count * sizeof *regions, &blob);
  CHECK_OK(answer.status);
  *out_length = answer.size;
  return blob;
}

/* Receives at the peer; the bytes are malloc'd. */
static inline mc_status_t peer_receive(peer_t *peer, const char *tag, int64_t timeout_ms, void **out_data,
                                       size_t *out_length) {
  peer_command_t command = peer_command(PEER_RECEIVE);
  peer_answer_t answer;
  command.timeout_ms = timeout_ms;
  if (tag != NULL) snprintf(command.tag, sizeof command.tag, "%s", tag);
  answer = peer_call(peer, &command, NULL, 0, out_data);
  *out_length = answer.size;
  return answer.status;
}

static inline mc_engine_stats_t peer_stats(peer_t *peer) {
  peer_command_t command = peer_command(PEER_STATS);
  mc_engine_stats_t stats;
  void *bytes = NULL;
  peer_call(peer, &command, NULL, 0, &bytes);
  memcpy(&stats, bytes, sizeof stats);
  free(bytes);
  return stats;
}

/* Ends the peer in good order. */
static inline void peer_stop(peer_t *peer) {
  peer_command_t command = peer_command(PEER_STOP);
  CHECK_OK(peer_call(peer, &command, NULL, 0, NULL).status);
  if (peer->pid != 0) {
    int status = 0;
    close(peer->socket);
    CHECK(waitpid(peer->pid, &status, 0) == peer->pid, "waitpid: %s", strerror(errno));
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the peer process ended with %x", status);
  }
}

/* Ends the peer's process without a chance to say goodbye. */
static inline void peer_kill(peer_t *peer) {
  CHECK(peer->pid != 0 && kill(peer->pid, SIGKILL) == 0, "kill: %s", strerror(errno));
  CHECK(waitpid(peer->pid, NULL, 0) == peer->pid, "waitpid: %s", strerror(errno));
  close(peer->socket);
}

static inline mc_segment_t opened(mc_engine_t *engine, const char *address) {
  mc_segment_t segment = 0;
  CHECK_OK(mc_segment_open(engine, address, -1, &segment));
  CHECK(segment != 0, "0 is never a segment");
  return segment;
}

#endif /* MC_TEST_PEER_H */
