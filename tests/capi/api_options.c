/* Do options, environment and configuration file reach the engine, the stronger over the weaker? */
#include "flow.h"

static mc_engine_t *created(const mc_engine_options_t *options) {
  mc_engine_t *engine = NULL;
  CHECK_OK(mc_engine_create(options, &engine));
  return engine;
}

static mc_engine_info_t info_with(const mc_engine_options_t *options) {
  mc_engine_t *engine = created(options);
  mc_engine_info_t info = info_of(engine);
  CHECK_OK(mc_engine_destroy(engine));
  return info;
}

static void all_defaults_make_an_engine(void) {
  mc_engine_info_t info = info_with(NULL);
  CHECK(info.port != 0 && info.address[0] != 0 && info.name[0] != 0, "\"%s\" at \"%s\"", info.name, info.address);
  CHECK(info.lanes >= 1 && info.worker_threads >= 1, "%u lanes, %u threads", info.lanes, info.worker_threads);
}

static void an_engine_that_does_not_listen_has_no_address(void) {
  mc_engine_options_t options = mc_engine_options_default();
  uint8_t *memory = pages(8192);
  options.flags = MC_ENGINE_FLAG_NO_LISTEN;
  mc_engine_t *engine = created(&options);
  mc_engine_info_t info = info_of(engine);
  CHECK(info.port == 0 && info.address[0] == 0, "port %u, \"%s\"", info.port, info.address);
  registered(engine, memory, 8192);
  CHECK_OK(move_bytes(engine, MC_OPCODE_WRITE, info.local_segment, (uint64_t)(uintptr_t)memory + 4096, memory, 4096));
  CHECK_OK(mc_engine_destroy(engine));
  munmap(memory, 8192);
}

static void a_range_of_ports_is_searched(void) {
  mc_engine_options_t options = mc_engine_options_default();
  options.bind_address = "127.0.0.1";
  mc_engine_t *first = created(&options);
  uint32_t taken = info_of(first).port;
  mc_engine_t *second = NULL;
  options.port = (uint16_t)taken;
  CHECK_STATUS(MC_ERR_IO, mc_engine_create(&options, &second));
  CHECK(strstr(mc_last_error_message(), "127.0.0.1") != NULL, "\"%s\" does not name the address",
        mc_last_error_message());
  options.port_last = (uint16_t)(taken + 200 > 65535 ? 65535 : taken + 200);
  second = created(&options);
  CHECK(info_of(second).port > taken && info_of(second).port <= options.port_last, "port %u", info_of(second).port);
  CHECK_OK(mc_engine_destroy(first));
  CHECK_OK(mc_engine_destroy(second));
}

static void interface_and_network_choose_the_address(void) {
  mc_engine_options_t options = mc_engine_options_default();
  options.cidr = "127.0.0.0/8";
  CHECK(strncmp(info_with(&options).address, "127.", 4) == 0, "not in the network");
  options = mc_engine_options_default();
  options.network_interface = "lo";
  mc_engine_info_t info = info_with(&options);
  CHECK(strncmp(info.address, "127.", 4) == 0 || strncmp(info.address, "[::1]", 5) == 0, "\"%s\"", info.address);
}

static void the_transports_are_those_allowed(void) {
  mc_engine_options_t options = mc_engine_options_default();
  options.bind_address = "127.0.0.1";
  options.transports = "tcp";
  CHECK(strcmp(info_with(&options).transports, "tcp") == 0, "\"%s\"", info_with(&options).transports);
  options.transports = "local";
  CHECK(strcmp(info_with(&options).transports, "local") == 0, "\"%s\"", info_with(&options).transports);
}

static void write_file(const char *path, const char *text) {
  FILE *file = fopen(path, "w");
  CHECK(file != NULL && fputs(text, file) >= 0 && fclose(file) == 0, "%s: %s", path, strerror(errno));
}

/* Options over environment over file over default; with the flag the environment is as if it were empty. */
static void the_stronger_layer_wins(void) {
  char path[] = "/tmp/mooncake-options-XXXXXX.toml";
  int fd = mkstemps(path, 5);
  mc_engine_options_t options = mc_engine_options_default();
  CHECK(fd >= 0, "mkstemps: %s", strerror(errno));
  close(fd);
  write_file(path, "lanes = 5\nworker_threads = 5\nname = \"from the file\"\nbind_address = \"127.0.0.1\"\n");
  options.config_file = path;
  mc_engine_info_t info = info_with(&options);
  CHECK(info.lanes == 5 && info.worker_threads == 5 && strcmp(info.name, "from the file") == 0, "\"%s\", %u lanes",
        info.name, info.lanes);
  setenv("MC_LANES", "6", 1);
  setenv("MC_WORKER_THREADS", "6", 1);
  options.worker_threads = 7;
  info = info_with(&options);
  CHECK(info.lanes == 6 && info.worker_threads == 7, "%u lanes, %u threads", info.lanes, info.worker_threads);
  options.flags = MC_ENGINE_FLAG_NO_ENVIRONMENT;
  CHECK(info_with(&options).lanes == 5, "the environment was read");
  unsetenv("MC_LANES");
  unsetenv("MC_WORKER_THREADS");
  unlink(path);
}

/* What is wrong in a file or a variable is an error that names it. */
static void mistakes_are_named(void) {
  char path[] = "/tmp/mooncake-options-XXXXXX.toml";
  int fd = mkstemps(path, 5);
  mc_engine_options_t options = mc_engine_options_default();
  mc_engine_t *engine = NULL;
  CHECK(fd >= 0, "mkstemps: %s", strerror(errno));
  close(fd);
  options.bind_address = "127.0.0.1";
  options.config_file = path;
  static const char *const TEXTS[] = {"lanes = 99\n", "lanes = \"many\"\n", "lames = 2\n", "lanes = [\n", "\xff\xfe\n"};
  for (size_t i = 0; i < sizeof TEXTS / sizeof TEXTS[0]; i++) {
    write_file(path, TEXTS[i]);
    CHECK_STATUS(MC_ERR_INVALID_ARGUMENT, mc_engine_create(&options, &engine));
    CHECK(strstr(mc_last_error_message(), path) != NULL, "\"%s\" does not name the file", mc_last_error_message());
  }
  unlink(path);
  options.config_file = NULL;
  setenv("MC_LANES", "many", 1);
  CHECK_STATUS(MC_ERR_INVALID_ARGUMENT, mc_engine_create(&options, &engine));
  CHECK(strstr(mc_last_error_message(), "MC_LANES") != NULL, "\"%s\"", mc_last_error_message());
  unsetenv("MC_LANES");
  options.lanes = 17;
  CHECK_STATUS(MC_ERR_INVALID_ARGUMENT, mc_engine_create(&options, &engine));
  CHECK(strstr(mc_last_error_message(), "lanes") != NULL && strstr(mc_last_error_message(), "16") != NULL, "\"%s\"",
        mc_last_error_message());
  CHECK(engine == NULL, "an output was written");
}

int main(void) {
  hang_guard(60);
  RUN(all_defaults_make_an_engine);
  RUN(an_engine_that_does_not_listen_has_no_address);
  RUN(a_range_of_ports_is_searched);
  RUN(interface_and_network_choose_the_address);
  RUN(the_transports_are_those_allowed);
  RUN(the_stronger_layer_wins);
  RUN(mistakes_are_named);
  return 0;
}
