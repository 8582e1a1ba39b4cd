/* Two processes: one offers memory, the other writes into it, reads it back, and says so.
 *
 *   transfer_pair target [ADDRESS]       offers memory and waits; ADDRESS to listen on, 127.0.0.1 unless told
 *   transfer_pair initiator HOST:PORT    writes, reads, compares, notifies
 *   transfer_pair                        both, in two processes
 */
#define _POSIX_C_SOURCE 200809L
#include <mooncake.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SIZE = 16 << 20, PATIENCE_MS = 30000 };

extern char **environ;

static int failed(const char *what) {
  fprintf(stderr, "cannot %s: %s\n", what, mc_last_error_message());
  return 1;
}

static uint8_t pattern(size_t i) { return (uint8_t)(i * 31 + (i >> 12)); }

static int holds_pattern(const uint8_t *memory) {
  for (size_t i = 0; i < SIZE; i++) {
    if (memory[i] != pattern(i)) {
      fprintf(stderr, "byte %zu is %u, not %u\n", i, memory[i], pattern(i));
      return 0;
    }
  }
  return 1;
}

static int offer(mc_engine_t *engine) {
  void *memory;
  mc_region_t region;
  if (mc_memory_allocate(engine, SIZE, NULL, &memory, &region) != MC_OK) return failed("allocate memory");
  mc_engine_info_t self = mc_engine_info_default();
  if (mc_engine_get_info(engine, &self) != MC_OK) return failed("ask the engine for its address");
  printf("target: %s offers %d MiB at %p\n", self.address, SIZE >> 20, memory);
  fflush(stdout);

  char text[64] = "";
  mc_notify_info_t notification = mc_notify_info_default();
  if (mc_notify_receive(engine, "written", PATIENCE_MS, text, sizeof text - 1, &notification) != MC_OK) {
    return failed("receive the notification");
  }
  printf("target: %s says \"%s\"\n", notification.sender, text);
  if (!holds_pattern(memory)) return 1;
  printf("target: every byte is as it was written\n");
  return 0;
}

/* Runs one request from start to end. */
static int transfer(mc_engine_t *engine, const mc_request_t *request) {
  mc_batch_t batch;
  if (mc_batch_submit(engine, request, 1, NULL, &batch) != MC_OK) return failed("start the transfer");
  mc_status_t status = mc_batch_wait(engine, batch, PATIENCE_MS, NULL);
  int result = status == MC_OK ? 0 : failed("finish the transfer");
  mc_batch_release(engine, batch);
  return result;
}

static int write_and_read_back(mc_engine_t *engine, const char *address) {
  mc_segment_t peer;
  if (mc_segment_open(engine, address, PATIENCE_MS, &peer) != MC_OK) return failed("open the target");
  mc_remote_region_t remote;
  size_t count;
  mc_status_t status = mc_segment_list_regions(engine, peer, &remote, 1, &count);
  if (status != MC_OK && status != MC_ERR_BUFFER_TOO_SMALL) return failed("list the target's regions");
  if (count == 0 || remote.length < SIZE) {
    fprintf(stderr, "%s does not offer %d MiB\n", address, SIZE >> 20);
    return 1;
  }
  printf("initiator: writes to 0x%llx by %s\n", (unsigned long long)remote.address, remote.path);

  void *memory;
  mc_region_t region;
  if (mc_memory_allocate(engine, SIZE, NULL, &memory, &region) != MC_OK) return failed("allocate memory");
  uint8_t *bytes = memory;
  for (size_t i = 0; i < SIZE; i++) bytes[i] = pattern(i);
  mc_request_t request = {MC_OPCODE_WRITE, 0, peer, remote.address, memory, SIZE, NULL, 0, 0};
  if (transfer(engine, &request) != 0) return 1;

  for (size_t i = 0; i < SIZE; i++) bytes[i] = 0;
  request.opcode = MC_OPCODE_READ;
  if (transfer(engine, &request) != 0 || !holds_pattern(bytes)) return 1;
  printf("initiator: read back what it wrote\n");

  static const char text[] = "look at your memory";
  if (mc_notify_send(engine, peer, "written", text, sizeof text - 1, PATIENCE_MS) != MC_OK) {
    return failed("notify the target");
  }
  return 0;
}

/* The initiator needs nobody to find it: NULL for `listen_on`. */
static int run(const char *listen_on, const char *peer) {
  mc_engine_options_t options = mc_engine_options_default();
  options.bind_address = listen_on;
  if (listen_on == NULL) options.flags = MC_ENGINE_FLAG_NO_LISTEN;
  mc_engine_t *engine;
  if (mc_engine_create(&options, &engine) != MC_OK) return failed("create an engine");
  int result = peer == NULL ? offer(engine) : write_and_read_back(engine, peer);
  mc_engine_destroy(engine); /* ends its memory too */
  return result;
}

/* Starts this program again as the target, reads its address from its first line, and is the initiator. */
static int run_both(void) {
  int output[2];
  if (pipe(output) != 0) return perror("pipe"), 1;
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, output[1], STDOUT_FILENO);
  posix_spawn_file_actions_addclose(&actions, output[0]);
  posix_spawn_file_actions_addclose(&actions, output[1]);
  char *arguments[] = {"transfer_pair", "target", NULL};
  pid_t target;
  if (posix_spawn(&target, "/proc/self/exe", &actions, NULL, arguments, environ) != 0) return perror("spawn"), 1;
  posix_spawn_file_actions_destroy(&actions);
  close(output[1]);

  char line[256], address[81] = "";
  FILE *lines = fdopen(output[0], "r");
  int result = 1;
  if (fgets(line, sizeof line, lines) && sscanf(line, "target: %80s", address) == 1) {
    fputs(line, stdout);
    result = run(NULL, address);
  }
  if (result != 0) kill(target, SIGTERM);
  while (fgets(line, sizeof line, lines)) fputs(line, stdout);
  int ended;
  waitpid(target, &ended, 0);
  result = result == 0 && WIFEXITED(ended) && WEXITSTATUS(ended) == 0 ? 0 : 1;
  printf(result == 0 ? "verified at both ends\n" : "it did not work\n");
  return result;
}

int main(int count, char **arguments) {
  const char *role = count > 1 ? arguments[1] : "";
  if (count == 1) return run_both();
  if (role[0] == 't' && count <= 3) return run(count == 3 ? arguments[2] : "127.0.0.1", NULL);
  if (role[0] == 'i' && count == 3) return run(NULL, arguments[2]);
  fprintf(stderr, "usage: transfer_pair [target [ADDRESS] | initiator HOST:PORT]\n");
  return 2;
}
