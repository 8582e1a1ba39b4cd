/* Are peers found by address, by name and by blob, and does a segment tell what its peer offers? */
#include "peer.h"

#include <dirent.h>
#include <sys/stat.h>

enum { LENGTH = 4096 };

static mc_segment_info_t segment_info(mc_engine_t *engine, mc_segment_t segment) {
  mc_segment_info_t info = mc_segment_info_default();
  CHECK_OK(mc_segment_get_info(engine, segment, &info));
  return info;
}

static void a_segment_tells_who_and_what(const path_t *path) {
  mc_engine_t *engine = engine_with(path->name);
  mc_remote_region_t regions[4];
  size_t count = 0;
  peer_t peer;
  peer_start(&peer, path);
  uint64_t first = peer_region(&peer, path, LENGTH, MC_MEMORY_FLAG_REMOTE_READ, NULL);
  uint64_t second = peer_region(&peer, path, 3 * LENGTH, 0, NULL);
  mc_segment_t segment = opened(engine, peer.address);
  mc_segment_info_t info = segment_info(engine, segment);
  CHECK(strcmp(info.engine_id, peer.engine_id) == 0, "engine \"%s\" instead of \"%s\"", info.engine_id, peer.engine_id);
  CHECK(strcmp(info.address, peer.address) == 0, "address \"%s\"", info.address);
  CHECK(info.region_count == 2 && info.total_bytes == 4 * LENGTH && !info.is_imported, "%u regions, %zu bytes",
        info.region_count, (size_t)info.total_bytes);
  CHECK_OK(mc_segment_list_regions(engine, segment, regions, 4, &count));
  CHECK(count == 2 && regions[0].address == first && regions[1].address == second, "%zu regions", count);
  CHECK(regions[0].length == LENGTH && regions[0].flags == MC_MEMORY_FLAG_REMOTE_READ, "length %d, flags %x",
        (int)regions[0].length, (unsigned)regions[0].flags);
  CHECK(regions[1].flags == (MC_MEMORY_FLAG_REMOTE_READ | MC_MEMORY_FLAG_REMOTE_WRITE), "flags %x",
        (unsigned)regions[1].flags);
  CHECK(strcmp(regions[1].path, path->name) == 0, "path \"%s\" instead of \"%s\"", regions[1].path, path->name);
  CHECK(strcmp(regions[1].location, "*") == 0, "location \"%s\"", regions[1].location);
  count = 0;
  memset(regions, 0, sizeof regions);
  CHECK_STATUS(MC_ERR_BUFFER_TOO_SMALL, mc_segment_list_regions(engine, segment, regions, 1, &count));
  CHECK(count == 2 && regions[0].address == first && regions[1].address == 0, "%zu regions", count);
  CHECK_STATUS(MC_ERR_BUFFER_TOO_SMALL, mc_segment_list_regions(engine, segment, NULL, 0, &count));
  peer_region(&peer, path, LENGTH, 0, NULL);
  CHECK_OK(mc_segment_refresh(engine, segment, -1));
  CHECK_OK(mc_segment_list_regions(engine, segment, regions, 4, &count));
  CHECK(count == 3, "%zu regions after a refresh", count);
  CHECK_OK(mc_segment_close(engine, segment));
  CHECK_STATUS(MC_ERR_INVALID_HANDLE, mc_segment_close(engine, segment));
  CHECK_OK(mc_engine_destroy(engine));
  peer_stop(&peer);
}

static void a_probe_tells_whether_the_peer_lives(const path_t *path) {
  mc_engine_t *engine = engine_with(path->name);
  mc_probe_t probe = mc_probe_default();
  peer_t peer;
  peer_start(&peer, path);
  mc_segment_t segment = opened(engine, peer.address);
  CHECK_OK(mc_segment_probe(engine, segment, -1, &probe));
  CHECK(probe.is_alive && !probe.has_restarted && strcmp(probe.engine_id, peer.engine_id) == 0, "engine \"%s\"",
        probe.engine_id);
  CHECK(probe.path[0] != 0 || path->in_allocated_memory, "no path is named");
  peer_stop(&peer);
  CHECK_OK(mc_segment_probe(engine, segment, 1000, &probe));
  CHECK(!probe.is_alive, "a peer that is gone is said to be alive");
  CHECK_OK(mc_engine_destroy(engine));
}

static void two_opens_are_two_ids_of_one_peer(void) {
  mc_engine_t *engine = engine_with(NULL);
  uint8_t *local = pages(LENGTH);
  peer_t peer;
  peer_start(&peer, &PATHS[0]);
  uint64_t remote = peer_region(&peer, &PATHS[0], LENGTH, 0, NULL);
  registered(engine, local, LENGTH);
  mc_segment_t first = opened(engine, peer.address), second = opened(engine, peer.address);
  CHECK(first != second, "two opens gave one id");
  CHECK(info_of(engine).segment_count == 2, "%zu segments", (size_t)info_of(engine).segment_count);
  CHECK_OK(mc_segment_close(engine, first));
  CHECK_STATUS(MC_ERR_INVALID_HANDLE, move_bytes(engine, MC_OPCODE_READ, first, remote, local, LENGTH));
  CHECK_OK(move_bytes(engine, MC_OPCODE_READ, second, remote, local, LENGTH));
  CHECK_STATUS(MC_ERR_INVALID_STATE, mc_segment_close(engine, local_segment(engine)));
  CHECK_OK(mc_engine_destroy(engine));
  peer_stop(&peer);
  munmap(local, LENGTH);
}

static void an_engine_opens_itself_by_its_own_address(void) {
  mc_engine_t *engine = engine_with(NULL);
  uint8_t *memory = pages(2 * LENGTH);
  mc_engine_info_t info = info_of(engine);
  registered(engine, memory, 2 * LENGTH);
  fill_pattern(memory, LENGTH, 3);
  mc_segment_t segment = opened(engine, info.address);
  CHECK(strcmp(segment_info(engine, segment).engine_id, info.engine_id) == 0, "it met another engine");
  CHECK_OK(move_bytes(engine, MC_OPCODE_WRITE, segment, (uint64_t)(uintptr_t)memory + LENGTH, memory, LENGTH));
  CHECK_PATTERN(memory + LENGTH, LENGTH, 3);
  CHECK_OK(mc_engine_destroy(engine));
  munmap(memory, 2 * LENGTH);
}

/* A transfer to a peer that was set up by hand: what is the name for it, and does it carry bytes? */
static void transfer_by_name(const peer_setup_t *setup, const char *name, const char *metadata) {
  mc_engine_options_t options = mc_engine_options_default();
  mc_engine_t *engine = NULL;
  uint8_t *local = pages(LENGTH), *seen = pages(LENGTH);
  path_t plain = {"all", false, false};
  peer_t peer;
  memset(&peer, 0, sizeof peer);
  peer_engine(&peer, setup);
  uint64_t remote = peer_region(&peer, &plain, LENGTH, 0, NULL);
  options.flags = MC_ENGINE_FLAG_NO_ENVIRONMENT;
  options.bind_address = setup->bind_address;
  options.metadata = metadata;
  options.transports = setup->transports;
  CHECK_OK(mc_engine_create(&options, &engine));
  registered(engine, local, LENGTH);
  fill_pattern(local, LENGTH, 6);
  mc_segment_t segment = opened(engine, name != NULL ? name : peer.address);
  CHECK_OK(move_bytes(engine, MC_OPCODE_WRITE, segment, remote, local, LENGTH));
  peer_read(&peer, remote, seen, LENGTH);
  CHECK_PATTERN(seen, LENGTH, 6);
  CHECK_OK(mc_engine_destroy(engine));
  peer_stop(&peer);
  munmap(local, LENGTH);
  munmap(seen, LENGTH);
}

static void ipv6_loopback_is_an_address_like_others(void) {
  static const char *const TRANSPORTS[] = {"local", "tcp"};
  const char *wanted = getenv("MC_TEST_TRANSPORTS");
  mc_engine_options_t options = mc_engine_options_default();
  mc_engine_t *engine = NULL;
  peer_setup_t setup;
  if (access("/proc/net/if_inet6", F_OK) != 0) {
    printf("  no IPv6 on this host, left out\n");
    return;
  }
  options.bind_address = "::1";
  CHECK_OK(mc_engine_create(&options, &engine));
  mc_engine_info_t info = info_of(engine);
  CHECK(strncmp(info.address, "[::1]:", 6) == 0 && (uint32_t)atoi(info.address + 6) == info.port, "\"%s\"",
        info.address);
  CHECK_OK(mc_engine_destroy(engine));
  memset(&setup, 0, sizeof setup);
  setup.bind_address = "::1";
  for (size_t i = 0; i < 2; i++) {
    if (wanted != NULL && !is_listed(wanted, TRANSPORTS[i])) continue;
    setup.transports = TRANSPORTS[i];
    transfer_by_name(&setup, NULL, NULL);
  }
}

static void a_name_in_process_memory_finds_its_engine(void) {
  peer_setup_t setup;
  memset(&setup, 0, sizeof setup);
  setup.transports = "local";
  setup.bind_address = "127.0.0.1";
  setup.metadata = "memory://flow-segment";
  setup.name = "decode-7";
  transfer_by_name(&setup, "decode-7", setup.metadata);
}

static void a_name_in_a_directory_finds_its_engine(void) {
  char directory[] = "/tmp/mooncake-test-XXXXXX", url[64];
  peer_setup_t setup;
  CHECK(mkdtemp(directory) != NULL, "mkdtemp: %s", strerror(errno));
  snprintf(url, sizeof url, "file://%s", directory);
  memset(&setup, 0, sizeof setup);
  setup.transports = "local";
  setup.bind_address = "127.0.0.1";
  setup.metadata = url;
  setup.name = "prefill/0 ..%"; /* whatever a name holds, it stays inside the directory */
  transfer_by_name(&setup, setup.name, url);
  /* Both engines are gone, and so is what they published: the directory is as it was. */
  DIR *listing = opendir(directory);
  for (struct dirent *entry = readdir(listing); entry != NULL; entry = readdir(listing))
    CHECK(entry->d_name[0] == '.' && (entry->d_name[1] == 0 || entry->d_name[1] == '.'), "\"%s\" was left behind",
          entry->d_name);
  closedir(listing);
  CHECK(rmdir(directory) == 0, "rmdir: %s", strerror(errno));
}

static void a_name_is_taken_once(void) {
  mc_engine_options_t options = mc_engine_options_default();
  mc_engine_t *first = NULL, *second = NULL;
  mc_segment_t segment = 0;
  options.bind_address = "127.0.0.1";
  options.metadata = "memory://taken";
  options.name = "same";
  CHECK_OK(mc_engine_create(&options, &first));
  CHECK_STATUS(MC_ERR_ALREADY_EXISTS, mc_engine_create(&options, &second));
  CHECK(second == NULL, "an output was written");
  CHECK_STATUS(MC_ERR_NOT_FOUND, mc_segment_open(first, "nobody", -1, &segment));
  CHECK_OK(mc_engine_destroy(first));
  CHECK_OK(mc_engine_create(&options, &second));
  CHECK_OK(mc_engine_destroy(second));
}

static void who_is_not_there_is_unreachable(void) {
  mc_engine_t *engine = engine_with(NULL), *gone = engine_with(NULL);
  mc_engine_info_t info = info_of(gone);
  mc_segment_t segment = 0;
  mc_status_t status;
  CHECK_OK(mc_engine_destroy(gone));
  CHECK_STATUS(MC_ERR_UNREACHABLE, mc_segment_open(engine, info.address, 2000, &segment));
  CHECK(strstr(mc_last_error_message(), info.address) != NULL, "\"%s\" does not name %s", mc_last_error_message(),
        info.address);
  status = mc_segment_open(engine, "no such host.invalid:1234", 2000, &segment);
  CHECK(status == MC_ERR_NOT_FOUND || status == MC_ERR_INVALID_ARGUMENT, "%s", mc_status_name(status));
  CHECK(segment == 0, "an output was written");
  CHECK_OK(mc_engine_destroy(engine));
}

int main(int argc, char **argv) {
  PEER_MAIN(argc, argv);
  hang_guard(180);
  RUN_OVER_PATHS(a_segment_tells_who_and_what);
  RUN_OVER_PATHS(a_probe_tells_whether_the_peer_lives);
  RUN(two_opens_are_two_ids_of_one_peer);
  RUN(an_engine_opens_itself_by_its_own_address);
  RUN(ipv6_loopback_is_an_address_like_others);
  RUN(a_name_in_process_memory_finds_its_engine);
  RUN(a_name_in_a_directory_finds_its_engine);
  RUN(a_name_is_taken_once);
  RUN(who_is_not_there_is_unreachable);
  return 0;
}
