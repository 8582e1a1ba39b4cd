/* Do exported blobs give access to what they name, and to nothing else? */
#include "peer.h"

enum { LENGTH = 4096 };

static mc_segment_t imported(mc_engine_t *engine, const void *blob, size_t length) {
  mc_segment_t segment = 0;
  CHECK_OK(mc_segment_import(engine, blob, length, &segment));
  return segment;
}

static void a_blob_is_enough_to_reach_its_engine(const path_t *path) {
  mc_engine_t *engine = engine_with(path->name);
  uint8_t *local = pages(LENGTH), *seen = pages(LENGTH);
  size_t length = 0;
  peer_t peer;
  peer_start(&peer, path);
  uint64_t remote = peer_region(&peer, path, LENGTH, 0, NULL);
  registered(engine, local, LENGTH);
  fill_pattern(local, LENGTH, 1);
  void *blob = peer_export(&peer, NULL, 0, &length);
  mc_segment_t segment = imported(engine, blob, length);
  free(blob);
  mc_segment_info_t info = mc_segment_info_default();
  CHECK_OK(mc_segment_get_info(engine, segment, &info));
  CHECK(info.is_imported && info.region_count == 1 && info.total_bytes == LENGTH, "%u regions", info.region_count);
  CHECK(strcmp(info.engine_id, peer.engine_id) == 0, "engine \"%s\"", info.engine_id);
  CHECK_OK(move_bytes(engine, MC_OPCODE_WRITE, segment, remote, local, LENGTH));
  peer_read(&peer, remote, seen, LENGTH);
  CHECK_PATTERN(seen, LENGTH, 1);
  CHECK_STATUS(MC_ERR_INVALID_STATE, mc_segment_refresh(engine, segment, -1));
  CHECK_OK(mc_notify_send(engine, segment, "hello", "x", 1, -1));
  CHECK_OK(mc_segment_close(engine, segment));
  CHECK_OK(mc_engine_destroy(engine));
  peer_stop(&peer);
  munmap(local, LENGTH);
  munmap(seen, LENGTH);
}

static void a_partial_blob_gives_access_to_its_part(const path_t *path) {
  mc_engine_t *engine = engine_with(path->name);
  uint8_t *local = pages(LENGTH);
  mc_region_t regions[3];
  uint64_t remote[3];
  size_t length = 0, count = 0;
  mc_remote_region_t listed[3];
  peer_t peer;
  peer_start(&peer, path);
  for (size_t i = 0; i < 3; i++) remote[i] = peer_region(&peer, path, LENGTH, 0, &regions[i]);
  registered(engine, local, LENGTH);
  void *blob = peer_export(&peer, regions + 1, 1, &length);
  mc_segment_t segment = imported(engine, blob, length);
  free(blob);
  CHECK_OK(mc_segment_list_regions(engine, segment, listed, 3, &count));
  CHECK(count == 1 && listed[0].address == remote[1], "%zu regions", count);
  for (size_t i = 0; i < 3; i++) {
    mc_status_t status = move_bytes(engine, MC_OPCODE_READ, segment, remote[i], local, LENGTH);
    CHECK(status == (i == 1 ? MC_OK : MC_ERR_ADDRESS_NOT_REGISTERED), "region %zu: %s", i, mc_status_name(status));
  }
  /* An open segment of the same peer sees more, and the imported one still does not. */
  mc_segment_t whole = opened(engine, peer.address);
  CHECK_OK(move_bytes(engine, MC_OPCODE_READ, whole, remote[0], local, LENGTH));
  CHECK_STATUS(MC_ERR_ADDRESS_NOT_REGISTERED, move_bytes(engine, MC_OPCODE_READ, segment, remote[0], local, LENGTH));
  CHECK_OK(mc_engine_destroy(engine));
  peer_stop(&peer);
  munmap(local, LENGTH);
}

/* A region of a blob that was unregistered is refused, also when other memory is registered at its address. */
static void a_stale_blob_does_not_reach_new_memory(const path_t *path) {
  mc_engine_t *engine = engine_with(path->name);
  uint8_t *local = pages(LENGTH), *seen = pages(LENGTH);
  mc_region_t region = 0;
  size_t length = 0;
  peer_t peer;
  peer_command_t command = peer_command(PEER_REGISTER);
  peer_start(&peer, path);
  uint64_t remote = peer_region(&peer, path, LENGTH, 0, &region);
  registered(engine, local, LENGTH);
  memset(local, 0x31, LENGTH);
  void *blob = peer_export(&peer, NULL, 0, &length);
  mc_segment_t met = imported(engine, blob, length);
  CHECK_OK(move_bytes(engine, MC_OPCODE_WRITE, met, remote, local, LENGTH));
  CHECK_OK(peer_unregister(&peer, region, 0));
  peer_reuse(&peer, remote, LENGTH, 0x88);
  command.address = remote;
  command.length = LENGTH;
  CHECK_OK(peer_call(&peer, &command, NULL, 0, NULL).status);
  mc_segment_t late = imported(engine, blob, length);
  free(blob);
  CHECK_STATUS(MC_ERR_ADDRESS_NOT_REGISTERED, move_bytes(engine, MC_OPCODE_WRITE, met, remote, local, LENGTH));
  CHECK_STATUS(MC_ERR_ADDRESS_NOT_REGISTERED, move_bytes(engine, MC_OPCODE_WRITE, late, remote, local, LENGTH));
  CHECK_STATUS(MC_ERR_ADDRESS_NOT_REGISTERED, move_bytes(engine, MC_OPCODE_READ, late, remote, local, LENGTH));
  peer_read(&peer, remote, seen, LENGTH);
  CHECK_ALL(seen, LENGTH, 0x88);
  CHECK_ALL(local, LENGTH, 0x31);
  CHECK_OK(mc_engine_destroy(engine));
  peer_stop(&peer);
  munmap(local, LENGTH);
  munmap(seen, LENGTH);
}

/* Every cut and every changed byte is refused or harmless; none crashes. */
static void a_damaged_blob_is_no_blob(void) {
  mc_engine_t *engine = engine_with(NULL), *owner = engine_with(NULL);
  uint8_t *memory = pages(LENGTH);
  uint8_t blob[4096];
  size_t length = 0;
  mc_segment_t segment = 0;
  registered(owner, memory, LENGTH);
  CHECK_OK(mc_engine_export(owner, NULL, 0, blob, sizeof blob, &length));
  for (size_t cut = 0; cut < length; cut++)
    CHECK_STATUS(MC_ERR_INVALID_ARGUMENT, mc_segment_import(engine, blob, cut, &segment));
  for (size_t at = 0; at < length; at++) {
    blob[at] ^= 0x41;
    mc_status_t status = mc_segment_import(engine, blob, length, &segment);
    CHECK(status == MC_OK || status == MC_ERR_INVALID_ARGUMENT || status == MC_ERR_VERSION_MISMATCH, "byte %zu: %s", at,
          mc_status_name(status));
    if (status == MC_OK) CHECK_OK(mc_segment_close(engine, segment));
    blob[at] ^= 0x41;
  }
  CHECK_OK(mc_segment_import(engine, blob, length, &segment));
  CHECK_OK(mc_engine_destroy(engine));
  CHECK_OK(mc_engine_destroy(owner));
  munmap(memory, LENGTH);
}

/* Blobs are bytes: written whole or not at all, and only of regions that live. */
static void export_reports_the_room_it_needs(void) {
  mc_engine_t *engine = engine_with(NULL), *other = engine_with(NULL);
  uint8_t *memory = pages(LENGTH);
  uint8_t blob[4096];
  size_t needed = 0, length = 0;
  mc_region_t region = registered(engine, memory, LENGTH), foreign = registered(other, memory, LENGTH);
  CHECK_STATUS(MC_ERR_BUFFER_TOO_SMALL, mc_engine_export(engine, &region, 1, NULL, 0, &needed));
  memset(blob, 0xcc, sizeof blob);
  CHECK_STATUS(MC_ERR_BUFFER_TOO_SMALL, mc_engine_export(engine, &region, 1, blob, needed - 1, &length));
  CHECK(length == needed, "%zu bytes instead of %zu", length, needed);
  CHECK_ALL(blob, sizeof blob, 0xcc);
  CHECK_OK(mc_engine_export(engine, &region, 1, blob, needed, &length));
  CHECK(blob[needed] == 0xcc, "it wrote past the end");
  CHECK_STATUS(MC_ERR_INVALID_HANDLE, mc_engine_export(engine, &foreign, 1, blob, sizeof blob, &length));
  CHECK_OK(mc_memory_unregister(engine, region, 0));
  CHECK_STATUS(MC_ERR_INVALID_HANDLE, mc_engine_export(engine, &region, 1, blob, sizeof blob, &length));
  CHECK_OK(mc_engine_destroy(engine));
  CHECK_OK(mc_engine_destroy(other));
  munmap(memory, LENGTH);
}

int main(int argc, char **argv) {
  PEER_MAIN(argc, argv);
  hang_guard(120);
  RUN_OVER_PATHS(a_blob_is_enough_to_reach_its_engine);
  RUN_OVER_PATHS(a_partial_blob_gives_access_to_its_part);
  RUN_OVER_PATHS(a_stale_blob_does_not_reach_new_memory);
  RUN(a_damaged_blob_is_no_blob);
  RUN(export_reports_the_room_it_needs);
  return 0;
}
