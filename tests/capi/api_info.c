/* Do an engine's info, configuration, counters, metrics and the host report tell what is so, in any buffer? */
#include "flow.h"
#include "json.h"

static void info_follows_what_happens(void) {
  mc_engine_options_t options = mc_engine_options_default();
  mc_engine_t *engine = NULL;
  uint8_t *memory = pages(8192);
  mc_segment_t segment = 0;
  options.flags = MC_ENGINE_FLAG_NO_ENVIRONMENT;
  options.bind_address = "127.0.0.1";
  options.name = "prefill \xc3\xa4";
  options.lanes = 3;
  options.worker_threads = 2;
  CHECK_OK(mc_engine_create(&options, &engine));
  mc_engine_info_t info = info_of(engine);
  CHECK(strcmp(info.name, "prefill \xc3\xa4") == 0, "\"%s\"", info.name);
  CHECK(info.lanes == 3 && info.worker_threads == 2, "%u lanes, %u threads", info.lanes, info.worker_threads);
  CHECK(
      info.port != 0 && strncmp(info.address, "127.0.0.1:", 10) == 0 && (uint32_t)atoi(info.address + 10) == info.port,
      "\"%s\", port %u", info.address, info.port);
  CHECK(strlen(info.engine_id) == 32 && strspn(info.engine_id, "0123456789abcdef") == 32, "\"%s\"", info.engine_id);
  CHECK(is_listed(info.transports, "local") && is_listed(info.transports, "tcp"), "\"%s\"", info.transports);
  CHECK(info.local_segment != 0 && info.region_count == 0 && info.segment_count == 0 && info.batch_count == 0 &&
            info.notify_count == 0 && info.registered_bytes == 0,
        "a new engine has something");
  registered(engine, memory, 4096);
  registered(engine, memory + 100, 4096);
  CHECK_OK(mc_segment_open(engine, info.address, -1, &segment));
  mc_request_t request = request_of(MC_OPCODE_WRITE, segment, (uint64_t)(uintptr_t)memory, memory + 100, 10);
  mc_batch_t batch = 0;
  CHECK_OK(mc_batch_submit(engine, &request, 1, NULL, &batch));
  CHECK_OK(mc_batch_wait(engine, batch, -1, NULL));
  info = info_of(engine);
  CHECK(info.region_count == 2 && info.registered_bytes == 8192 && info.segment_count == 1 && info.batch_count == 1,
        "%d regions, %d bytes, %d segments, %d batches", (int)info.region_count, (int)info.registered_bytes,
        (int)info.segment_count, (int)info.batch_count);
  CHECK_OK(mc_engine_destroy(engine));
  munmap(memory, 8192);
}

/* An older caller's struct is filled to its size, a newer one's rest is zeroed, and nothing beyond is touched. */
static void sized_structs_are_filled_to_their_size(void) {
  mc_engine_t *engine = engine_with("local");
  union {
    mc_engine_info_t info;
    uint8_t bytes[sizeof(mc_engine_info_t) + 128];
  } room;
  memset(&room, 0xdd, sizeof room);
  room.info.struct_size = 64; /* ends inside the name */
  CHECK_OK(mc_engine_get_info(engine, &room.info));
  CHECK(room.info.struct_size == 64 && room.info.port != 0xdddddddd, "the old fields were not filled");
  CHECK_ALL(room.bytes + 64, sizeof room - 64, 0xdd);
  memset(&room, 0xdd, sizeof room);
  room.info.struct_size = sizeof(mc_engine_info_t) + 64;
  CHECK_OK(mc_engine_get_info(engine, &room.info));
  CHECK_ALL(room.bytes + sizeof(mc_engine_info_t), 64, 0);
  CHECK_ALL(room.bytes + sizeof(mc_engine_info_t) + 64, 64, 0xdd);
  CHECK_OK(mc_engine_destroy(engine));
}

typedef mc_status_t (*text_of)(const mc_engine_t *engine, char *buffer, size_t size, size_t *out_length);

static mc_status_t host_report(const mc_engine_t *engine, char *buffer, size_t size, size_t *out_length) {
  (void)engine;
  return mc_host_get_report(buffer, size, out_length);
}

/* The text in a buffer of our own, after trying every rule about buffers on it. */
static char *whole_text(text_of get, const mc_engine_t *engine) {
  size_t length = 0, again = 0;
  CHECK_STATUS(MC_ERR_BUFFER_TOO_SMALL, get(engine, NULL, 0, &length));
  CHECK(length > 2, "%zu bytes", length);
  char *text = (char *)malloc(length + 64);
  memset(text, 0x77, length + 64);
  CHECK_STATUS(MC_ERR_BUFFER_TOO_SMALL, get(engine, text, 10, &again));
  CHECK(strlen(text) == 9 && text[10] == 0x77, "a cut text has %zu bytes", strlen(text));
  CHECK_OK(get(engine, text, length + 64, &again));
  CHECK(strlen(text) == again, "%zu bytes, reported as %zu", strlen(text), again);
  return text;
}

static void the_configuration_is_json_with_sources(void) {
  mc_engine_options_t options = mc_engine_options_default();
  mc_engine_t *engine = NULL;
  static const char KEY[] = "a very secret key of mine";
  setenv("MC_LANES", "2", 1);
  options.bind_address = "127.0.0.1";
  options.name = "say \"hi\"\\";
  options.worker_threads = 3;
  options.psk = KEY;
  options.psk_length = sizeof KEY - 1;
  CHECK_OK(mc_engine_create(&options, &engine));
  unsetenv("MC_LANES");
  char *text = whole_text(mc_engine_get_config, engine);
  CHECK(is_json(text), "not JSON: %s", text);
  CHECK(strstr(text, "lanes") != NULL && strstr(text, "worker_threads") != NULL, "%s", text);
  CHECK(strstr(text, "\"environment\"") != NULL, "no value comes from the environment: %s", text);
  CHECK(strstr(text, "\"options\"") != NULL && strstr(text, "\"default\"") != NULL, "%s", text);
  CHECK(strstr(text, "secret") == NULL, "the key is in the dump: %s", text);
  free(text);
  CHECK_OK(mc_engine_destroy(engine));
}

static void metrics_are_prometheus_text(void) {
  mc_engine_options_t options = mc_engine_options_default();
  mc_engine_t *engine = engine_with("local");
  uint8_t *memory = pages(8192);
  size_t length = 0;
  registered(engine, memory, 8192);
  CHECK_OK(
      move_bytes(engine, MC_OPCODE_WRITE, local_segment(engine), (uint64_t)(uintptr_t)memory + 4096, memory, 4000));
  char *text = whole_text(mc_engine_get_metrics, engine);
  size_t lines = 0, samples = 0;
  for (char *line = text; *line != 0; lines++) {
    size_t end = strcspn(line, "\n");
    CHECK(line[end] == '\n', "the last line has no end");
    if (line[0] == '#') {
      CHECK(strncmp(line, "# HELP ", 7) == 0 || strncmp(line, "# TYPE ", 7) == 0 || strncmp(line, "# EOF", 5) == 0 ||
                strncmp(line, "# UNIT ", 7) == 0,
            "%.*s", (int)end, line);
    } else {
      CHECK(strncmp(line, "mooncake_", 9) == 0, "a sample without our prefix: %.*s", (int)end, line);
      CHECK(memchr(line, ' ', end) != NULL, "a sample without a value: %.*s", (int)end, line);
      samples++;
    }
    line += end + 1;
  }
  CHECK(samples > 8, "%zu samples in %zu lines", samples, lines);
  CHECK(strstr(text, " 4000\n") != NULL, "the 4,000 bytes are not counted: %s", text);
  free(text);
  CHECK_OK(mc_engine_destroy(engine));
  options.flags = MC_ENGINE_FLAG_NO_METRICS | MC_ENGINE_FLAG_NO_ENVIRONMENT;
  options.bind_address = "127.0.0.1";
  CHECK_OK(mc_engine_create(&options, &engine));
  CHECK_STATUS(MC_ERR_INVALID_STATE, mc_engine_get_metrics(engine, NULL, 0, &length));
  CHECK(stats_of(engine).batch_count == 0, "the counters of the C struct stay");
  CHECK_OK(mc_engine_destroy(engine));
  munmap(memory, 8192);
}

static void the_host_report_is_json(void) {
  char *text = whole_text(host_report, NULL);
  CHECK(is_json(text), "not JSON: %s", text);
  free(text);
}

int main(void) {
  hang_guard(60);
  RUN(info_follows_what_happens);
  RUN(sized_structs_are_filled_to_their_size);
  RUN(the_configuration_is_json_with_sources);
  RUN(metrics_are_prometheus_text);
  RUN(the_host_report_is_json);
  return 0;
}
