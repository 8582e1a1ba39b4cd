/* The other end of a transfer under remote control: an engine in this process, or in another one that runs the same
 * program. Tests see and change the peer's memory through it without the library under test. */
#ifndef MC_TEST_PEER_H
#define MC_TEST_PEER_H

#include "flow.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define PEER_MAPPINGS 256

enum {
  PEER_MAP = 1,
  PEER_ALLOCATE,
  PEER_UNREGISTER,
  PEER_READ,
  PEER_WRITE,
  PEER_EXPORT,
  PEER_RECEIVE,
  PEER_REUSE,
  PEER_STATS,
  PEER_REGISTER,
  PEER_STOP
};

typedef struct peer_command_t {
  uint32_t verb;
  uint32_t size; /* bytes that follow */
  uint64_t address, length, region, flags;
  int64_t timeout_ms;
  char tag[64];
} peer_command_t;

typedef struct peer_answer_t {
  mc_status_t status;
  uint32_t size; /* bytes that follow */
  uint64_t address, region, length;
} peer_answer_t;

/* What a peer is made of; NULL and 0 are the engine's defaults, except for loopback as the address. */
typedef struct peer_setup_t {
  const char *transports, *bind_address, *name, *metadata;
  unsigned port;
} peer_setup_t;

typedef struct peer_t {
  pid_t pid;           /* 0: in this process */
  int socket;          /* to the other process */
  mc_engine_t *engine; /* in this process */
  struct {
    void *address;
    size_t length;
  } mappings[PEER_MAPPINGS];
  char address[80]; /* where it listens */
  char engine_id[40];
} peer_t;

static inline bool read_whole(int fd, void *data, size_t length) {
  for (size_t done = 0; done < length;) {
    ssize_t got = read(fd, (char *)data + done, length - done);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    done += (size_t)got;
  }
  return true;
}

static inline bool write_whole(int fd, const void *data, size_t length) {
  for (size_t done = 0; done < length;) {
    ssize_t put = send(fd, (const char *)data + done, length - done, MSG_NOSIGNAL);
    if (put < 0 && errno == EINTR) continue;
    if (put <= 0) return false;
    done += (size_t)put;
  }
  return true;
}

static inline void peer_engine(peer_t *self, const peer_setup_t *setup) {
  mc_engine_options_t options = mc_engine_options_default();
  mc_engine_info_t info;
  options.flags = MC_ENGINE_FLAG_NO_ENVIRONMENT;
  options.transports = setup->transports;
  options.bind_address = setup->bind_address != NULL ? setup->bind_address : "127.0.0.1";
  options.name = setup->name;
  options.metadata = setup->metadata;
  options.port = (uint16_t)setup->port;
  CHECK_OK(mc_engine_create(&options, &self->engine));
  info = info_of(self->engine);
  memcpy(self->address, info.address, sizeof self->address);
  memcpy(self->engine_id, info.engine_id, sizeof self->engine_id);
}

static inline void peer_keep(peer_t *self, void *address, size_t length) {
  for (size_t i = 0; i < PEER_MAPPINGS; i++)
    if (self->mappings[i].address == NULL) {
      self->mappings[i].address = address;
      self->mappings[i].length = length;
      return;
    }
  FAIL("a test peer has more than %d mappings", PEER_MAPPINGS);
}

/* Does what a command asks for. `data` is what came with it; what goes back with the answer is malloc'd. */
static inline peer_answer_t peer_execute(peer_t *self, const peer_command_t *command, const void *data, void **out) {
  peer_answer_t answer;
  mc_memory_options_t memory = mc_memory_options_default();
  memset(&answer, 0, sizeof answer);
  memory.flags = command->flags;
  *out = NULL;
  switch (command->verb) {
    case PEER_MAP: {
      void *address = pages(command->length);
      peer_keep(self, address, command->length);
      answer.address = (uint64_t)(uintptr_t)address;
      break;
    }
    case PEER_REGISTER:
      answer.status = mc_memory_register(self->engine, (void *)(uintptr_t)command->address, command->length, &memory,
                                         &answer.region);
      break;
    case PEER_ALLOCATE: {
      void *address = NULL;
      answer.status = mc_memory_allocate(self->engine, command->length, &memory, &address, &answer.region);
      answer.address = (uint64_t)(uintptr_t)address;
      break;
    }
    case PEER_UNREGISTER: {
      mc_memory_info_t info = mc_memory_info_default();
      answer.status = mc_memory_get_info(self->engine, command->region, &info);
      if (answer.status != MC_OK) break;
      answer.status = info.is_allocated ? mc_memory_free(self->engine, command->region, command->flags)
                                        : mc_memory_unregister(self->engine, command->region, command->flags);
      break;
    }
    case PEER_READ:
      answer.size = (uint32_t)command->length;
      *out = malloc(command->length);
      memcpy(*out, (void *)(uintptr_t)command->address, command->length);
      break;
    case PEER_WRITE:
      memcpy((void *)(uintptr_t)command->address, data, command->size);
      break;
    case PEER_EXPORT: {
      size_t length = 0;
      size_t count = command->size / sizeof(uint64_t);
      mc_engine_export(self->engine, (const uint64_t *)data, count, NULL, 0, &length);
      *out = malloc(length + 1);
      answer.status = mc_engine_export(self->engine, (const uint64_t *)data, count, *out, length, &length);
      answer.size = answer.status == MC_OK ? (uint32_t)length : 0;
      break;
    }
    case PEER_RECEIVE: {
      mc_notify_info_t info = mc_notify_info_default();
      *out = malloc(MC_NOTIFY_MAX_LENGTH);
      answer.status = mc_notify_receive(self->engine, command->tag[0] != 0 ? command->tag : NULL, command->timeout_ms,
                                        *out, MC_NOTIFY_MAX_LENGTH, &info);
      answer.size = answer.status == MC_OK ? (uint32_t)info.length : 0;
      break;
    }
    case PEER_REUSE: { /* other memory at the same address, as a freed and reused allocation is */
      void *wanted = (void *)(uintptr_t)command->address, *place;
      int where = MAP_FIXED_NOREPLACE; /* what the library allocated must be unmapped by now */
      for (size_t i = 0; i < PEER_MAPPINGS; i++)
        if (self->mappings[i].address == wanted) where = MAP_FIXED;
      place = mmap(wanted, command->length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | where, -1, 0);
      CHECK(place == wanted, "mmap at %p: %s", wanted, strerror(errno));
      if (where != MAP_FIXED) peer_keep(self, wanted, command->length);
      memset(place, (int)command->flags, command->length);
      break;
    }
    case PEER_STATS: {
      mc_engine_stats_t stats = stats_of(self->engine);
      answer.size = sizeof stats;
      *out = malloc(sizeof stats);
      memcpy(*out, &stats, sizeof stats);
      break;
    }
    case PEER_STOP:
      answer.status = mc_engine_destroy(self->engine);
      for (size_t i = 0; i < PEER_MAPPINGS; i++)
        if (self->mappings[i].address != NULL) munmap(self->mappings[i].address, self->mappings[i].length);
      break;
    default:
      FAIL("a test peer does not know verb %u", command->verb);
  }
  return answer;
}

/* Sends a command to the peer and takes its answer; `out` gets malloc'd bytes if it is not NULL. */
static inline peer_answer_t peer_call(peer_t *peer, peer_command_t *command, const void *data, size_t size,
                                      void **out) {
  peer_answer_t answer;
  void *bytes = NULL;
  command->size = (uint32_t)size;
  if (peer->pid == 0) {
    answer = peer_execute(peer, command, data, &bytes);
  } else {
    CHECK(write_whole(peer->socket, command, sizeof *command) && write_whole(peer->socket, data, size),
          "the peer process is gone");
    CHECK(read_whole(peer->socket, &answer, sizeof answer), "the peer process is gone");
    if (answer.size != 0) {
      bytes = malloc(answer.size);
      CHECK(read_whole(peer->socket, bytes, answer.size), "the peer process is gone");
    }
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

/* The other process: obeys until it is told to stop or its master is gone. Never returns. */
static inline void peer_serve(char **arguments) {
  peer_t self;
  peer_setup_t setup;
  peer_command_t command;
  int fd = atoi(arguments[0]);
  hang_guard(600); /* its master may die while it blocks */
  memset(&self, 0, sizeof self);
  setup.transports = arguments[1][0] != 0 ? arguments[1] : NULL;
  setup.bind_address = arguments[2][0] != 0 ? arguments[2] : NULL;
  setup.name = arguments[3][0] != 0 ? arguments[3] : NULL;
  setup.metadata = arguments[4][0] != 0 ? arguments[4] : NULL;
  setup.port = (unsigned)atoi(arguments[5]);
  peer_engine(&self, &setup);
  if (!write_whole(fd, self.address, sizeof self.address)) _exit(0);
  if (!write_whole(fd, self.engine_id, sizeof self.engine_id)) _exit(0);
  while (read_whole(fd, &command, sizeof command)) {
    void *data = malloc(command.size + 1), *out = NULL;
    peer_answer_t answer;
    if (!read_whole(fd, data, command.size)) break;
    answer = peer_execute(&self, &command, data, &out);
    free(data);
    if (!write_whole(fd, &answer, sizeof answer) || !write_whole(fd, out, answer.size)) break;
    free(out);
    if (command.verb == PEER_STOP) exit(0);
  }
  _exit(0);
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
  peer->pid = fork();
  CHECK(peer->pid >= 0, "fork: %s", strerror(errno));
  if (peer->pid == 0) {
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
