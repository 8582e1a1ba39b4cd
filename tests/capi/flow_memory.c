/* Do registrations follow their rules: identical, contained, overlapping, growing, in any order, in batches? */
#include "peer.h"

#include <sys/resource.h>

enum { PAGE = 4096 };

static mc_memory_info_t memory_info(mc_engine_t *engine, mc_region_t region) {
  mc_memory_info_t info = mc_memory_info_default();
  CHECK_OK(mc_memory_get_info(engine, region, &info));
  return info;
}

/* Whether the engine may use this range as the local end of a transfer. */
static bool is_usable(mc_engine_t *engine, uint8_t *address, size_t length) {
  static uint8_t other[64 * PAGE];
  mc_region_t region = registered(engine, other, sizeof other);
  mc_status_t status =
      move_bytes(engine, MC_OPCODE_READ, local_segment(engine), (uint64_t)(uintptr_t)other, address, length);
  CHECK(status == MC_OK || status == MC_ERR_ADDRESS_NOT_REGISTERED, "%s", mc_status_name(status));
  CHECK_OK(mc_memory_unregister(engine, region, 0));
  return status == MC_OK;
}

static void identical_registrations_share_one_region(void) {
  mc_engine_t *engine = engine_with("local");
  uint8_t *memory = pages(4 * PAGE);
  mc_region_t first = registered(engine, memory, PAGE), second = registered(engine, memory, PAGE);
  CHECK(first == second, "the same range became two regions");
  CHECK(memory_info(engine, first).reference_count == 2, "it was registered twice");
  CHECK(info_of(engine).region_count == 1 && info_of(engine).registered_bytes == PAGE, "one region of one page");
  CHECK_OK(mc_memory_unregister(engine, first, 0));
  CHECK(is_usable(engine, memory, PAGE), "one registration is left");
  CHECK_OK(mc_memory_unregister(engine, first, 0));
  CHECK(!is_usable(engine, memory, PAGE), "none is left");
  CHECK_STATUS(MC_ERR_INVALID_HANDLE, mc_memory_unregister(engine, first, 0));
  CHECK_OK(mc_engine_destroy(engine));
  munmap(memory, 4 * PAGE);
}

/* The same range for other rights or from elsewhere is not identical, or it would lose what the caller asked for. */
static void an_alias_with_other_rights_keeps_both(void) {
  mc_engine_t *engine = engine_with("local");
  uint8_t *memory = pages(PAGE);
  mc_memory_options_t options = mc_memory_options_default();
  mc_region_t all = registered(engine, memory, PAGE), none = 0;
  options.flags = MC_MEMORY_FLAG_LOCAL_ONLY;
  CHECK_OK(mc_memory_register(engine, memory, PAGE, &options, &none));
  CHECK_OK(mc_memory_unregister(engine, all, 0));
  CHECK((memory_info(engine, none).flags & (MC_MEMORY_FLAG_REMOTE_READ | MC_MEMORY_FLAG_REMOTE_WRITE)) == 0,
        "memory registered for local use only is offered to peers");
  CHECK_OK(mc_memory_unregister(engine, none, 0));
  CHECK(!is_usable(engine, memory, PAGE), "all registrations ended");
  CHECK_OK(mc_engine_destroy(engine));
  munmap(memory, PAGE);
}

static void contained_overlapping_and_growing_ranges_are_regions(void) {
  mc_engine_t *engine = engine_with("local");
  uint8_t *memory = pages(16 * PAGE);
  mc_region_t outer = registered(engine, memory + PAGE, 8 * PAGE);
  mc_region_t inner = registered(engine, memory + 2 * PAGE + 1, PAGE);
  mc_region_t overlapping = registered(engine, memory + 6 * PAGE, 6 * PAGE);
  mc_region_t grown = registered(engine, memory + PAGE, 10 * PAGE);
  CHECK(outer != inner && outer != overlapping && outer != grown && inner != overlapping, "regions share an id");
  CHECK(memory_info(engine, inner).address == memory + 2 * PAGE + 1 && memory_info(engine, inner).length == PAGE,
        "the contained region is another");
  CHECK(info_of(engine).registered_bytes == 25 * PAGE, "%zu bytes registered",
        (size_t)info_of(engine).registered_bytes);
  CHECK(is_usable(engine, memory + PAGE, 10 * PAGE), "the grown range is usable whole");
  CHECK_OK(mc_memory_unregister(engine, outer, 0));
  CHECK(is_usable(engine, memory + 2 * PAGE + 1, PAGE), "what lay inside is still registered");
  CHECK_OK(mc_memory_unregister(engine, grown, 0));
  CHECK(!is_usable(engine, memory + PAGE, PAGE), "nothing covers the first page any more");
  CHECK(is_usable(engine, memory + 2 * PAGE + 1, PAGE), "the contained region stands alone");
  CHECK(is_usable(engine, memory + 6 * PAGE, 6 * PAGE), "the overlapping region stands alone");
  CHECK(!is_usable(engine, memory + 5 * PAGE, 2 * PAGE), "half of this range is nobody's");
  CHECK_OK(mc_memory_unregister(engine, inner, 0));
  CHECK_OK(mc_memory_unregister(engine, overlapping, 0));
  CHECK(info_of(engine).region_count == 0 && info_of(engine).registered_bytes == 0, "something is left");
  CHECK_OK(mc_engine_destroy(engine));
  munmap(memory, 16 * PAGE);
}

/* A request may not run across two registrations that merely touch. */
static void neighbours_are_not_one_range(void) {
  mc_engine_t *engine = engine_with("local");
  uint8_t *memory = pages(2 * PAGE);
  registered(engine, memory, PAGE);
  registered(engine, memory + PAGE, PAGE);
  CHECK(!is_usable(engine, memory + PAGE - 1, 2), "a local range must lie in one region");
  CHECK_OK(mc_engine_destroy(engine));
  munmap(memory, 2 * PAGE);
}

/* All orders of ending six nested and overlapping registrations leave exactly the others usable. */
static void any_order_of_unregister_is_fine(void) {
  enum { COUNT = 6, ROUNDS = 60 };
  static const size_t FIRST[COUNT] = {0, 1, 1, 3, 5, 0}, LAST[COUNT] = {9, 4, 2, 8, 6, 3};
  mc_engine_t *engine = engine_with("local");
  uint8_t *memory = pages(10 * PAGE);
  uint32_t random = 12345;
  for (int round = 0; round < ROUNDS; round++) {
    mc_region_t regions[COUNT];
    bool live[COUNT];
    for (size_t i = 0; i < COUNT; i++) {
      regions[i] = registered(engine, memory + FIRST[i] * PAGE, (LAST[i] - FIRST[i] + 1) * PAGE);
      live[i] = true;
    }
    for (int left = COUNT; left > 0; left--) {
      random = random * 1664525u + 1013904223u;
      size_t pick = random >> 16;
      while (!live[pick % COUNT]) pick++;
      CHECK_OK(mc_memory_unregister(engine, regions[pick % COUNT], 0));
      live[pick % COUNT] = false;
      for (size_t page = 0; page < 10; page++) {
        bool expected = false;
        for (size_t i = 0; i < COUNT; i++) expected = expected || (live[i] && FIRST[i] <= page && page <= LAST[i]);
        CHECK(is_usable(engine, memory + page * PAGE, PAGE) == expected, "round %d: page %zu", round, page);
      }
    }
  }
  CHECK(info_of(engine).region_count == 0, "something is left");
  CHECK_OK(mc_engine_destroy(engine));
  munmap(memory, 10 * PAGE);
}

static void batch_forms_tell_of_each_item(void) {
  enum { COUNT = 5 };
  mc_engine_t *engine = engine_with("local");
  uint8_t *memory = pages(COUNT * PAGE);
  mc_span_t spans[COUNT];
  mc_region_t regions[COUNT];
  mc_status_t statuses[COUNT];
  for (size_t i = 0; i < COUNT; i++) {
    spans[i].address = memory + i * PAGE;
    spans[i].length = PAGE;
  }
  spans[2].length = 0;
  CHECK_STATUS(MC_ERR_INVALID_ARGUMENT, mc_memory_register_batch(engine, spans, COUNT, NULL, regions, statuses));
  for (size_t i = 0; i < COUNT; i++) {
    CHECK(statuses[i] == (i == 2 ? MC_ERR_INVALID_ARGUMENT : MC_OK), "item %zu: %s", i, mc_status_name(statuses[i]));
    CHECK((regions[i] == 0) == (i == 2), "item %zu: region %llx", i, (unsigned long long)regions[i]);
  }
  CHECK_STATUS(MC_ERR_INVALID_HANDLE, mc_memory_unregister_batch(engine, regions, COUNT, 0, statuses));
  for (size_t i = 0; i < COUNT; i++)
    CHECK(statuses[i] == (i == 2 ? MC_ERR_INVALID_HANDLE : MC_OK), "item %zu: %s", i, mc_status_name(statuses[i]));
  CHECK(info_of(engine).region_count == 0, "something is left");
  spans[2].length = PAGE;
  CHECK_OK(mc_memory_register_batch(engine, spans, COUNT, NULL, regions, NULL));
  CHECK_OK(mc_memory_unregister_batch(engine, regions, COUNT, 0, NULL));
  CHECK_OK(mc_engine_destroy(engine));
  munmap(memory, COUNT * PAGE);
}

static void allocated_memory_is_zeroed_registered_and_described(void) {
  mc_engine_t *engine = engine_with(NULL);
  mc_memory_options_t options = mc_memory_options_default();
  void *address = NULL;
  mc_region_t region = 0;
  options.location = "cpu:0";
  options.flags = MC_MEMORY_FLAG_REMOTE_READ;
  CHECK_OK(mc_memory_allocate(engine, 5000, &options, &address, &region));
  mc_memory_info_t info = memory_info(engine, region);
  CHECK(info.is_allocated && info.address == address && info.length >= 5000 && info.length % PAGE == 0,
        "%zu bytes at %p", info.length, info.address);
  CHECK(strcmp(info.location, "cpu:0") == 0, "\"%s\"", info.location);
  CHECK((info.flags & ~(uint64_t)MC_MEMORY_FLAG_HUGE_PAGES) == MC_MEMORY_FLAG_REMOTE_READ, "flags %llx",
        (unsigned long long)info.flags);
  CHECK_ALL(address, info.length, 0);
  memset(address, 1, info.length);
  CHECK(is_usable(engine, (uint8_t *)address, info.length), "allocated memory is registered");
  CHECK_STATUS(MC_ERR_INVALID_STATE, mc_memory_unregister(engine, region, 0));
  CHECK_OK(mc_memory_free(engine, region, 0));
  CHECK_STATUS(MC_ERR_INVALID_HANDLE, mc_memory_free(engine, region, 0));
  uint8_t *memory = pages(PAGE);
  region = registered(engine, memory, PAGE);
  CHECK_STATUS(MC_ERR_INVALID_STATE, mc_memory_free(engine, region, 0));
  CHECK_OK(mc_engine_destroy(engine));
  munmap(memory, PAGE);
}

/* Memory files count as files: whatever the library does, this process cannot take the whole host with it. */
static void limit_memory_files(rlim_t bytes) {
  struct rlimit limit;
  CHECK(getrlimit(RLIMIT_FSIZE, &limit) == 0, "getrlimit: %s", strerror(errno));
  limit.rlim_cur = bytes;
  CHECK(setrlimit(RLIMIT_FSIZE, &limit) == 0, "setrlimit: %s", strerror(errno));
  signal(SIGXFSZ, SIG_IGN);
}

static void more_than_there_is_cannot_be_allocated(void) {
  mc_engine_t *engine = engine_with(NULL);
  void *address = NULL;
  mc_region_t region = 0;
  CHECK_STATUS(MC_ERR_NO_SPACE, mc_memory_allocate(engine, (size_t)1 << 46, NULL, &address, &region));
  CHECK(address == NULL && region == 0, "outputs were written");
  CHECK_STATUS(MC_ERR_INVALID_ARGUMENT, mc_memory_allocate(engine, 0, NULL, &address, &region));
  CHECK_STATUS(MC_ERR_INVALID_ARGUMENT, mc_memory_allocate(engine, SIZE_MAX - 10, NULL, &address, &region));
  CHECK_OK(mc_engine_destroy(engine));
}

/* A wrapping range, nothing, and NULL are refused; the texts say why. */
static void impossible_ranges_are_refused(void) {
  mc_engine_t *engine = engine_with("local");
  uint8_t byte = 0;
  mc_region_t region = 0;
  CHECK_STATUS(MC_ERR_INVALID_ARGUMENT, mc_memory_register(engine, NULL, 1, NULL, &region));
  CHECK_STATUS(MC_ERR_INVALID_ARGUMENT, mc_memory_register(engine, &byte, 0, NULL, &region));
  CHECK_STATUS(MC_ERR_INVALID_ARGUMENT, mc_memory_register(engine, &byte, SIZE_MAX, NULL, &region));
  CHECK(region == 0, "an output was written");
  CHECK_OK(mc_engine_destroy(engine));
}

int main(void) {
  hang_guard(120);
  limit_memory_files((rlim_t)1 << 30);
  RUN(identical_registrations_share_one_region);
  RUN(an_alias_with_other_rights_keeps_both);
  RUN(contained_overlapping_and_growing_ranges_are_regions);
  RUN(neighbours_are_not_one_range);
  RUN(any_order_of_unregister_is_fine);
  RUN(batch_forms_tell_of_each_item);
  RUN(allocated_memory_is_zeroed_registered_and_described);
  RUN(more_than_there_is_cannot_be_allocated);
  RUN(impossible_ranges_are_refused);
  return 0;
}
