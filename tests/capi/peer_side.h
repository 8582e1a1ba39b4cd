/* What a peer under remote control does when it is told to: the commands, and the process that obeys them. */
#ifndef MC_TEST_PEER_SIDE_H
#define MC_TEST_PEER_SIDE_H

#include "flow.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define PEER_MAPPINGS 256

enum {
  PEER_MAP = 1,
  PEER_REGISTER,
  PEER_ALLOCATE,
  PEER_UNREGISTER,
  PEER_READ,
  PEER_WRITE,
  PEER_EXPORT,
  PEER_RECEIVE,
  PEER_REUSE,
  PEER_TRUNCATE,
  PEER_PULL,
  PEER_STATS,
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

/* Tries to shorten every memory file of this process; tells how many let it happen. */
static inline size_t truncate_memory_files(void) {
  size_t count = 0;
  for (int fd = 0; fd < 1024; fd++) {
    char link[64], name[256];
    struct stat file;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, name, sizeof name - 1);
    if (length <= 0) continue;
    name[length] = 0;
    if (strncmp(name, "/memfd:", 7) != 0 || fstat(fd, &file) != 0 || file.st_size == 0) continue;
    if (ftruncate(fd, file.st_size / 2) == 0) count++;
  }
  return count;
}

/* Reads `length` bytes from `region`, an address at the engine that `tag` names, `flags` times over. */
static inline mc_status_t pull(peer_t *self, const peer_command_t *command) {
  mc_status_t status;
  mc_segment_t segment = 0;
  mc_region_t region = 0;
  uint8_t *target = pages(command->length);
  status = mc_segment_open(self->engine, command->tag, -1, &segment);
  if (status == MC_OK) status = mc_memory_register(self->engine, target, command->length, NULL, &region);
  for (uint64_t i = 0; i < command->flags && status == MC_OK; i++)
    status = move_bytes(self->engine, MC_OPCODE_READ, segment, command->region, target, command->length);
  if (region != 0) mc_memory_unregister(self->engine, region, 0);
  if (segment != 0) mc_segment_close(self->engine, segment);
  munmap(target, command->length);
  return status;
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
      /* Other threads of this process map and unmap small things: a neighbour may stand there for a moment. */
      for (int attempt = 0;; attempt++) {
        place = mmap(wanted, command->length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | where, -1, 0);
        if (place == wanted) break;
        CHECK(errno == EEXIST && attempt < 200, "mmap at %p: %s", wanted, strerror(errno));
        sleep_ms(10);
      }
      if (where != MAP_FIXED) peer_keep(self, wanted, command->length);
      memset(place, (int)command->flags, command->length);
      break;
    }
    case PEER_TRUNCATE:
      answer.length = truncate_memory_files();
      break;
    case PEER_PULL:
      answer.status = pull(self, command);
      break;
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

#endif /* MC_TEST_PEER_SIDE_H */
