/* TensorRT-LLM allocates a batch before it looks the peer up, and throws when there is none: the batch is lost. One
 * that holds nothing is a slot in a table, with no thread and no memory worth the name. */
#include "check.h"

#include <dirent.h>

#define COUNT 100000

static size_t resident_bytes(void) {
  unsigned long pages = 0, resident = 0;
  FILE *file = fopen("/proc/self/statm", "r");
  CHECK(file != NULL && fscanf(file, "%lu %lu", &pages, &resident) == 2);
  fclose(file);
  return resident * (size_t)sysconf(_SC_PAGESIZE);
}

static int entries(const char *path) {
  int count = 0;
  DIR *folder = opendir(path);
  CHECK(folder != NULL);
  while (readdir(folder) != NULL) ++count;
  closedir(folder);
  return count;
}

int main(void) {
  transfer_engine_t engine;
  size_t memory;
  int threads, files, index;
  hang_guard(120);
  engine = engine_at("127.0.0.1");
  EQUAL(-1, openSegment(engine, "127.0.0.1:1"));
  memory = resident_bytes();
  threads = entries("/proc/self/task");
  files = entries("/proc/self/fd");
  for (index = 0; index < COUNT; ++index) {
    CHECK(allocateBatchID(engine, 1024) != INVALID_BATCH);
    if (index % 100 == 0) EQUAL(-1, openSegment(engine, ""));
  }
  EQUAL(threads, entries("/proc/self/task"));
  EQUAL(files, entries("/proc/self/fd"));
  /* 100,000 of them: a kilobyte each is generous, and includes what sanitizers add. */
  CHECK(resident_bytes() - memory < (size_t)COUNT * 1024);
  destroyTransferEngine(engine);
  return 0;
}
