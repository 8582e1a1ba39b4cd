/* A second process: this program again, under another role, which tells what it has over a pipe. */
#ifndef MC_COMPAT_PROCESS_H
#define MC_COMPAT_PROCESS_H

#include "check.h"

#include <sys/types.h>
#include <sys/wait.h>

/* What a process tells of itself. */
typedef struct {
  char address[64];
  uint64_t memory;
} greeting_t;

typedef struct {
  pid_t pid;
  int in, out;
  greeting_t greeting;
} process_t;

static inline void write_all(int file, const void *data, size_t size) {
  if (write(file, data, size) != (ssize_t)size) FAIL("the pipe to the other process broke");
}

static inline void read_all(int file, void *data, size_t size) {
  size_t done = 0;
  while (done < size) {
    ssize_t got = read(file, (char *)data + done, size - done);
    if (got <= 0) FAIL("the other process ended without a word");
    done += (size_t)got;
  }
}

/* The role runs in a fresh program: a fork of one that has engines cannot use them. */
static inline process_t process_start(const char *role) {
  process_t process;
  int down[2], up[2];
  memset(&process, 0, sizeof process);
  CHECK(pipe(down) == 0 && pipe(up) == 0);
  process.pid = fork();
  CHECK(process.pid >= 0);
  if (process.pid == 0) {
    dup2(down[0], 0);
    dup2(up[1], 3);
    close(down[1]);
    close(up[0]);
    execl("/proc/self/exe", "compat-test", role, (char *)NULL);
    _exit(127);
  }
  close(down[0]);
  close(up[1]);
  process.in = down[1];
  process.out = up[0];
  read_all(process.out, &process.greeting, sizeof process.greeting);
  return process;
}

/* Called by the role: tells the address of its engine and of its memory. */
static inline void process_greet(transfer_engine_t engine, const void *memory) {
  greeting_t greeting;
  memset(&greeting, 0, sizeof greeting);
  EQUAL(0, getLocalIpAndPort(engine, greeting.address, sizeof greeting.address));
  greeting.memory = (uint64_t)(uintptr_t)memory;
  write_all(3, &greeting, sizeof greeting);
}

/* Called by the role: waits until the other side closes its pipe or says something. */
static inline int process_told(char *word) { return read(0, word, 1) == 1; }

static inline void process_tell(process_t *process, char word) { write_all(process->in, &word, 1); }

/* Lets it end, and sees that it ended well. */
static inline void process_end(process_t *process) {
  int status = 0;
  close(process->in);
  CHECK(waitpid(process->pid, &status, 0) == process->pid);
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) FAIL("the other process ended with %#x", (unsigned)status);
  close(process->out);
}

/* On return it runs no instruction until SIGCONT. */
static inline void process_stop(process_t *process) {
  int status = 0;
  kill(process->pid, SIGSTOP);
  CHECK(waitpid(process->pid, &status, WUNTRACED) == process->pid && WIFSTOPPED(status));
}

static inline void process_kill(process_t *process) {
  kill(process->pid, SIGKILL);
  waitpid(process->pid, NULL, 0);
  close(process->in);
  close(process->out);
}

#endif /* MC_COMPAT_PROCESS_H */
