/* The ways to spoil one argument of a call. */
#ifndef MC_TEST_MISUSE_SPOIL_H
#define MC_TEST_MISUSE_SPOIL_H

#include "misuse_calls.h"

#define SPOIL(name) static void name(arguments_t *a)

/* Engines that are none. */
SPOIL(engine_null) { a->engine = NULL; }
SPOIL(engine_destroyed) { a->engine = a->world->destroyed; }
SPOIL(engine_older) { a->engine = a->world->older; }
SPOIL(engine_stranger) { a->engine = (mc_engine_t *)(void *)a->world->memory; }
SPOIL(engine_number) { a->engine = (mc_engine_t *)(uintptr_t)1; }
SPOIL(engine_between) { a->engine = (mc_engine_t *)((uintptr_t)a->world->engine + 1); }
SPOIL(engine_last) { a->engine = (mc_engine_t *)UINTPTR_MAX; }
SPOIL(engine_is_id) { a->engine = (mc_engine_t *)(uintptr_t)a->world->live.segment; }

/* Ids that are none. */
static void set_ids(arguments_t *a, const ids_t *ids) {
  a->ids = *ids;
  a->regions[0] = ids->region;
  a->requests[1].segment = ids->segment;
}
static void change_ids(arguments_t *a, uint64_t and_mask, uint64_t xor_mask) {
  ids_t ids = a->world->live;
  ids.region = (ids.region & and_mask) ^ xor_mask;
  ids.allocated = (ids.allocated & and_mask) ^ xor_mask;
  ids.segment = (ids.segment & and_mask) ^ xor_mask;
  ids.batch = (ids.batch & and_mask) ^ xor_mask;
  ids.cq = (ids.cq & and_mask) ^ xor_mask;
  set_ids(a, &ids);
}
SPOIL(id_zero) { change_ids(a, 0, 0); }
SPOIL(id_stale) { set_ids(a, &a->world->stale); }
SPOIL(id_foreign) { set_ids(a, &a->world->foreign); }
SPOIL(id_of_the_future) { change_ids(a, UINT64_MAX, (uint64_t)1 << 40); }
SPOIL(id_beyond_the_table) { change_ids(a, UINT64_MAX, 0x7ffff); }
SPOIL(id_with_the_top_bit) { change_ids(a, UINT64_MAX, (uint64_t)1 << 63); }
SPOIL(id_of_ones) { change_ids(a, 0, UINT64_MAX); }

/* Pointers. */
SPOIL(out_null) { a->out = NULL; }
SPOIL(out_unaligned) { a->out = (char *)a->out + 1; }
SPOIL(out2_null) { a->out2 = NULL; }
SPOIL(out2_unaligned) { a->out2 = (char *)a->out2 + 1; }
SPOIL(array_null) { a->array = NULL; }
SPOIL(array_unaligned) { a->array = (const char *)a->array + 1; }
SPOIL(array_too_long) { a->count = SIZE_MAX / 2; }
SPOIL(array_longest) { a->count = SIZE_MAX; }
SPOIL(data_null) { a->data = NULL; }
SPOIL(data_longest) { a->length = SIZE_MAX; }
SPOIL(name_null) { a->name = NULL; }
SPOIL(address_null) { a->address = NULL; }
SPOIL(out_both_one) { a->out2 = a->out; }

/* Sizes, counts and times. */
SPOIL(count_zero) { a->count = 0; }
SPOIL(length_zero) { a->length = 0; }
SPOIL(length_wraps) { a->length = SIZE_MAX; }
SPOIL(capacity_zero) { a->capacity = 0; }
SPOIL(capacity_longest) { a->capacity = SIZE_MAX; }
SPOIL(size_zero) { a->size = 0; }
SPOIL(size_one) { a->size = 1; }
SPOIL(buffer_null) { a->out = NULL; }
SPOIL(buffer_null_and_empty) { a->out = NULL, a->size = 0; }
SPOIL(time_negative) { a->timeout_ms = -2; }
SPOIL(time_least) { a->timeout_ms = INT64_MIN; }
SPOIL(index_at_the_end) { a->index = 1; }
SPOIL(index_last) { a->index = SIZE_MAX; }
SPOIL(level_unknown) { a->number = 6; }
SPOIL(notification_too_long) { a->length = (size_t)MC_NOTIFY_MAX_LENGTH + 1; }

/* Flags that nobody knows. */
SPOIL(flags_unknown) { a->flags = (uint64_t)1 << 40; }
SPOIL(flags_of_another_call) { a->flags = MC_MEMORY_FLAG_REMOTE_READ; }
SPOIL(options_flags_unknown) { ((uint64_t *)a->options)[1] = (uint64_t)1 << 63; }
SPOIL(options_flag_next) { ((uint64_t *)a->options)[1] = 32; }
SPOIL(options_reserved) { ((uint32_t *)a->options)[1] = 1; }

/* Texts. */
static const char NO_UTF8[] = "ab\xff\xfe";
static const char *long_text(void) {
  static char text[300];
  memset(text, 'x', sizeof text - 1);
  return text;
}
SPOIL(name_no_utf8) { a->name = NO_UTF8; }
SPOIL(name_empty) { a->name = ""; }
SPOIL(name_without_port) { a->name = "127.0.0.1"; }
SPOIL(name_with_large_port) { a->name = "127.0.0.1:65536"; }
SPOIL(name_without_bracket) { a->name = "[::1:80"; }
SPOIL(tag_no_utf8) { a->tag = NO_UTF8; }
SPOIL(tag_too_long) { a->tag = long_text(); }

/* Sized structs: what is read. */
static void resize(void *structure, uint32_t size) { memcpy(structure, &size, sizeof size); }
SPOIL(options_null) { a->options = NULL; }
SPOIL(options_unaligned) {
  memmove((char *)a->options + 1, a->options, 256);
  a->options = (char *)a->options + 1;
}
SPOIL(options_size_zero) { resize(a->options, 0); }
SPOIL(options_size_four) { resize(a->options, 4); }
SPOIL(options_size_huge) { resize(a->options, 1u << 30); }
SPOIL(options_size_all) { resize(a->options, UINT32_MAX); }
SPOIL(options_older) { resize(a->options, 8); }
SPOIL(options_newer) { resize(a->options, a->options_size + 24); }
SPOIL(options_newer_in_use) {
  resize(a->options, a->options_size + 24);
  ((char *)a->options)[a->options_size + 23] = 1;
}

/* Sized structs: what is filled. */
SPOIL(info_size_zero) { resize(a->out, 0); }
SPOIL(info_size_four) { resize(a->out, 4); }
SPOIL(info_size_seven) { resize(a->out, 7); }
SPOIL(info_size_huge) { resize(a->out, 1u << 30); }
SPOIL(info_older) { resize(a->out, 8); }
SPOIL(info_newer) { resize(a->out, a->info_size + 40); }

/* Requests. The second one of two is wrong: the text must tell which. */
SPOIL(opcode_zero) { a->requests[1].opcode = 0; }
SPOIL(opcode_unknown) { a->requests[1].opcode = 3; }
SPOIL(request_flags) { a->requests[1].flags = 1; }
SPOIL(request_empty) { a->requests[1].length = 0; }
SPOIL(request_of_nowhere) { a->requests[1].local = NULL; }
SPOIL(request_unregistered) { a->requests[1].local = a->out_room; }
SPOIL(request_past_the_end) { a->requests[1].length = ROOM; }
SPOIL(request_wraps) { a->requests[1].length = UINT64_MAX; }
SPOIL(spans_without_count) { a->requests[1].local = NULL, a->requests[1].spans = a->pieces; }
SPOIL(count_without_spans) { a->requests[1].span_count = 2; }
static void scatter(arguments_t *a) {
  a->requests[1].local = NULL;
  a->requests[1].spans = a->pieces;
  a->requests[1].span_count = 2;
  a->requests[1].length = 128;
}
SPOIL(spans_and_local) { scatter(a), a->requests[1].local = a->address; }
SPOIL(spans_of_other_sum) { scatter(a), a->requests[1].length = 127; }
SPOIL(spans_with_an_empty_one) { scatter(a), a->pieces[0].length = 0, a->requests[1].length = 64; }
SPOIL(spans_unregistered) { scatter(a), a->pieces[1].address = a->out_room; }
SPOIL(spans_whose_sum_wraps) { scatter(a), a->pieces[0].length = SIZE_MAX, a->requests[1].length = 63; }
SPOIL(spans_unaligned) { scatter(a), a->requests[1].spans = (const mc_span_t *)((const char *)a->pieces + 1); }
SPOIL(spans_too_many) { scatter(a), a->requests[1].span_count = SIZE_MAX; }
SPOIL(requests_overlap) { a->requests[1] = a->requests[0]; }

/* Batch options. */
static mc_batch_options_t *batch_options(arguments_t *a) { return (mc_batch_options_t *)a->options; }
SPOIL(priority_unknown) { batch_options(a)->priority = 3; }
SPOIL(batch_cq_stale) { batch_options(a)->cq = a->world->stale.cq; }
SPOIL(batch_cq_foreign) { batch_options(a)->cq = a->world->foreign.cq; }
SPOIL(batch_tag_no_utf8) { batch_options(a)->notify_tag = NO_UTF8; }
SPOIL(batch_tag_too_long) { batch_options(a)->notify_tag = long_text(); }
SPOIL(batch_data_without_tag) { batch_options(a)->notify_data = a->data, batch_options(a)->notify_length = 4; }
SPOIL(batch_data_null) { batch_options(a)->notify_tag = "t", batch_options(a)->notify_length = 4; }
SPOIL(batch_data_too_long) {
  batch_options(a)->notify_tag = "t";
  batch_options(a)->notify_data = a->data;
  batch_options(a)->notify_length = (size_t)MC_NOTIFY_MAX_LENGTH + 1;
}
SPOIL(batch_peer_stale) {
  batch_options(a)->notify_tag = "t", batch_options(a)->notify_segment = a->world->stale.segment;
}
SPOIL(batch_peer_foreign) {
  batch_options(a)->notify_tag = "t", batch_options(a)->notify_segment = a->world->foreign.segment;
}

/* Memory options. */
static mc_memory_options_t *memory_options(arguments_t *a) { return (mc_memory_options_t *)a->options; }
SPOIL(memory_flags_exclusive) { memory_options(a)->flags = MC_MEMORY_FLAG_LOCAL_ONLY | MC_MEMORY_FLAG_REMOTE_READ; }
SPOIL(memory_flag_no_wait) { memory_options(a)->flags = MC_MEMORY_FLAG_NO_WAIT; }
SPOIL(memory_flag_huge) { memory_options(a)->flags = MC_MEMORY_FLAG_HUGE_PAGES; }
SPOIL(location_no_utf8) { memory_options(a)->location = NO_UTF8; }
SPOIL(location_too_long) { memory_options(a)->location = long_text(); }
SPOIL(span_empty) { a->spans[1].length = 0; }
SPOIL(span_null) { a->spans[1].address = NULL; }
SPOIL(spans_overlap) { a->spans[1].address = a->spans[0].address, a->spans[1].length = 32; }
SPOIL(regions_twice) { a->count = 2; }
SPOIL(regions_first_wrong) { a->count = 2, a->regions[0] = 0; }

/* Blobs. */
SPOIL(blob_empty) { a->length = 0; }
SPOIL(blob_cut) { a->length--; }
SPOIL(blob_zeros) { a->data = a->options_room; }

/* Engine options. */
static mc_engine_options_t *engine_options(arguments_t *a) { return (mc_engine_options_t *)a->options; }
SPOIL(engine_name_no_utf8) { engine_options(a)->name = NO_UTF8; }
SPOIL(engine_name_too_long) { engine_options(a)->name = long_text(); }
SPOIL(bind_no_utf8) { engine_options(a)->bind_address = NO_UTF8; }
SPOIL(bind_of_another_host) { engine_options(a)->bind_address = "192.0.2.1"; }
SPOIL(interface_unknown) { engine_options(a)->bind_address = NULL, engine_options(a)->network_interface = "nowhere0"; }
SPOIL(cidr_senseless) { engine_options(a)->bind_address = NULL, engine_options(a)->cidr = "ten/eight"; }
SPOIL(cidr_of_no_interface) { engine_options(a)->bind_address = NULL, engine_options(a)->cidr = "203.0.113.0/24"; }
SPOIL(ports_reversed) { engine_options(a)->port = 5000, engine_options(a)->port_last = 4000; }
SPOIL(lanes_too_many) { engine_options(a)->lanes = 17; }
SPOIL(threads_too_many) { engine_options(a)->worker_threads = 65; }
SPOIL(checksum_unknown) { engine_options(a)->checksum = 3; }
SPOIL(transports_unknown) { engine_options(a)->transports = "local,pigeon"; }
SPOIL(transports_no_utf8) { engine_options(a)->transports = NO_UTF8; }
SPOIL(psk_too_short) { engine_options(a)->psk = long_text(), engine_options(a)->psk_length = 15; }
SPOIL(psk_too_long) { engine_options(a)->psk = long_text(), engine_options(a)->psk_length = 257; }
SPOIL(psk_null) { engine_options(a)->psk_length = 32; }
SPOIL(metadata_unknown) { engine_options(a)->metadata = "pigeon://loft"; }
SPOIL(metadata_no_utf8) { engine_options(a)->metadata = NO_UTF8; }
SPOIL(config_missing) { engine_options(a)->config_file = "/nowhere/mooncake.toml"; }
SPOIL(config_no_utf8) { engine_options(a)->config_file = NO_UTF8; }

#undef SPOIL

#endif /* MC_TEST_MISUSE_SPOIL_H */
