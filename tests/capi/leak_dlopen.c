/* Can the library be loaded and unloaded 100 times, with an engine in between, and leave nothing running behind? */
#include "check.h"

#include <dirent.h>
#include <dlfcn.h>
#include <stdint.h>

typedef mc_status_t (*create_t)(const mc_engine_options_t *, mc_engine_t **);
typedef mc_status_t (*destroy_t)(mc_engine_t *);
typedef mc_status_t (*enroll_t)(mc_engine_t *, void *, size_t, const mc_memory_options_t *, mc_region_t *);
typedef mc_status_t (*drain_t)(mc_engine_t *, int64_t);
typedef const char *(*message_t)(void);

static size_t entries_of(const char *directory) {
  size_t count = 0;
  DIR *listing = opendir(directory);
  CHECK(listing != NULL, "%s: %s", directory, strerror(errno));
  while (readdir(listing) != NULL) count++;
  closedir(listing);
  return count;
}

static void *symbol(void *library, const char *name) {
  void *found = dlsym(library, name);
  CHECK(found != NULL, "%s: %s", name, dlerror());
  return found;
}

/* A copy under another name: the library that the test runner may have linked to this program is never unloaded. */
static void copy_library(char *path) {
  char buffer[65536];
  const char *from = getenv("MOONCAKE_LIBRARY");
  size_t length;
  FILE *source, *copy = NULL;
  int fd = mkstemp(path);
  CHECK(from != NULL, "MOONCAKE_LIBRARY must name the library to load");
  source = fopen(from, "rb");
  CHECK(source != NULL, "%s: %s", from, strerror(errno));
  CHECK(fd >= 0 && (copy = fdopen(fd, "wb")) != NULL, "%s: %s", path, strerror(errno));
  while ((length = fread(buffer, 1, sizeof buffer, source)) > 0)
    CHECK(fwrite(buffer, 1, length, copy) == length, "%s: %s", path, strerror(errno));
  fclose(source);
  CHECK(fclose(copy) == 0, "%s: %s", path, strerror(errno));
}

static void load_use_unload(const char *path) {
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  mc_engine_t *engine = NULL;
  mc_engine_options_t options = mc_engine_options_default();
  mc_region_t region = 0;
  static char memory[4096];
  CHECK(library != NULL, "%s", dlerror());
  create_t create = (create_t)(uintptr_t)symbol(library, "mc_engine_create");
  destroy_t destroy = (destroy_t)(uintptr_t)symbol(library, "mc_engine_destroy");
  enroll_t enroll = (enroll_t)(uintptr_t)symbol(library, "mc_memory_register");
  drain_t drain = (drain_t)(uintptr_t)symbol(library, "mc_engine_drain");
  message_t message = (message_t)(uintptr_t)symbol(library, "mc_last_error_message");
  options.bind_address = "127.0.0.1";
  CHECK(create(&options, &engine) == MC_OK, "%s", message());
  CHECK(enroll(engine, memory, sizeof memory, NULL, &region) == MC_OK, "%s", message());
  CHECK(destroy(engine) == MC_OK, "%s", message());
  CHECK(drain(engine, 0) == MC_ERR_INVALID_HANDLE, "the engine is gone"); /* a message of this thread exists now */
  CHECK(dlclose(library) == 0, "%s", dlerror());
}

int main(void) {
  char path[] = "/tmp/libmooncake-XXXXXX";
  hang_guard(120);
  copy_library(path);
  load_use_unload(path);
  size_t threads = entries_of("/proc/self/task"), files = entries_of("/proc/self/fd");
  for (int i = 0; i < 99; i++) load_use_unload(path);
  CHECK(entries_of("/proc/self/task") <= threads, "%zu threads became %zu", threads, entries_of("/proc/self/task"));
  CHECK(entries_of("/proc/self/fd") <= files, "%zu descriptors became %zu", files, entries_of("/proc/self/fd"));
  unlink(path);
  return 0;
}
