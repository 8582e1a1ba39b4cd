/* The table: which call, what is wrong with it, what it must answer. */
#ifndef MC_TEST_MISUSE_ROWS_H
#define MC_TEST_MISUSE_ROWS_H

#include "misuse_spoil.h"

/* The rows that every function with a handle must have; the rest is OTHER. */
typedef enum kind_t {
  NULL_ENGINE,
  STALE_ENGINE,
  FOREIGN_ENGINE,
  DESTROYED_ENGINE,
  NULL_ID,
  STALE_ID,
  FOREIGN_ID,
  OTHER
} kind_t;

/* Any documented status: what matters is that nothing breaks. */
#define ANY 1

typedef struct row_t {
  const char *function;
  kind_t kind;
  const char *what;
  void (*spoil)(arguments_t *a);
  mc_status_t expected;
  bool writes; /* outputs are written in spite of the failure, as its comment says */
} row_t;

#define ROW(function, spoil, expected) \
  { "mc_" #function, OTHER, #spoil, spoil, expected, false }
#define BAD(function, spoil) ROW(function, spoil, MC_ERR_INVALID_ARGUMENT)
#define WRITING(function, spoil, expected) \
  { "mc_" #function, OTHER, #spoil, spoil, expected, true }
#define HANDLE(function, kind, spoil, expected, writes) \
  { "mc_" #function, kind, #spoil, spoil, expected, writes }
#define NO_ENGINE(function, kind, spoil) HANDLE(function, kind, spoil, MC_ERR_INVALID_HANDLE, false)

#define ENGINE_ROWS(function, of_null)                                                                                 \
  HANDLE(function, NULL_ENGINE, engine_null, of_null, false), NO_ENGINE(function, DESTROYED_ENGINE, engine_destroyed), \
      NO_ENGINE(function, STALE_ENGINE, engine_older), NO_ENGINE(function, FOREIGN_ENGINE, engine_stranger),           \
      NO_ENGINE(function, FOREIGN_ENGINE, engine_number), NO_ENGINE(function, FOREIGN_ENGINE, engine_between),         \
      NO_ENGINE(function, FOREIGN_ENGINE, engine_last), NO_ENGINE(function, FOREIGN_ENGINE, engine_is_id)

#define ID_ROWS(function, of_zero, writes)                                                           \
  ENGINE_ROWS(function, MC_ERR_INVALID_HANDLE), HANDLE(function, NULL_ID, id_zero, of_zero, writes), \
      HANDLE(function, STALE_ID, id_stale, MC_ERR_INVALID_HANDLE, writes),                           \
      HANDLE(function, FOREIGN_ID, id_foreign, MC_ERR_INVALID_HANDLE, writes),                       \
      HANDLE(function, STALE_ID, id_of_the_future, MC_ERR_INVALID_HANDLE, writes),                   \
      HANDLE(function, STALE_ID, id_beyond_the_table, MC_ERR_INVALID_HANDLE, writes),                \
      HANDLE(function, STALE_ID, id_with_the_top_bit, MC_ERR_INVALID_HANDLE, writes),                \
      HANDLE(function, STALE_ID, id_of_ones, MC_ERR_INVALID_HANDLE, writes)

#define INFO_ROWS(function)                                                                                            \
  BAD(function, out_null), BAD(function, out_unaligned), BAD(function, info_size_zero), BAD(function, info_size_four), \
      BAD(function, info_size_seven), BAD(function, info_size_huge), ROW(function, info_older, MC_OK),                 \
      ROW(function, info_newer, MC_OK)

#define OPTIONS_ROWS(function)                                                                             \
  ROW(function, options_null, MC_OK), BAD(function, options_unaligned), BAD(function, options_size_zero),  \
      BAD(function, options_size_four), BAD(function, options_size_huge), BAD(function, options_size_all), \
      ROW(function, options_older, MC_OK), ROW(function, options_newer, MC_OK),                            \
      ROW(function, options_newer_in_use, MC_ERR_UNSUPPORTED)

#define OUT_ROWS(function) BAD(function, out_null), BAD(function, out_unaligned)
#define OUT2_ROWS(function) BAD(function, out2_null), BAD(function, out2_unaligned)
#define TIME_ROWS(function) BAD(function, time_negative), BAD(function, time_least)
#define ARRAY_ROWS(function) \
  BAD(function, array_null), BAD(function, array_unaligned), BAD(function, array_too_long), BAD(function, array_longest)

#define TEXT_OUT_ROWS(function)                                                                                    \
  BAD(function, buffer_null), WRITING(function, buffer_null_and_empty, MC_ERR_BUFFER_TOO_SMALL),                   \
      WRITING(function, size_zero, MC_ERR_BUFFER_TOO_SMALL), WRITING(function, size_one, MC_ERR_BUFFER_TOO_SMALL), \
      OUT2_ROWS(function)

#define MEMORY_OPTION_ROWS(function)                                                                              \
  OPTIONS_ROWS(function), BAD(function, options_flags_unknown), BAD(function, options_flag_next),                 \
      BAD(function, options_reserved), BAD(function, memory_flags_exclusive), BAD(function, memory_flag_no_wait), \
      BAD(function, location_no_utf8)

#define BATCH_ROWS(function)                                                                                         \
  ID_ROWS(function, MC_ERR_INVALID_HANDLE, false), OPTIONS_ROWS(function), OUT_ROWS(function), ARRAY_ROWS(function), \
      BAD(function, count_zero), BAD(function, opcode_zero), BAD(function, opcode_unknown),                          \
      BAD(function, request_flags), BAD(function, request_empty), ROW(function, request_of_nowhere, ANY),            \
      ROW(function, request_unregistered, MC_ERR_ADDRESS_NOT_REGISTERED),                                            \
      ROW(function, request_past_the_end, MC_ERR_ADDRESS_NOT_REGISTERED), ROW(function, request_wraps, ANY),         \
      BAD(function, spans_without_count), BAD(function, count_without_spans), BAD(function, spans_and_local),        \
      BAD(function, spans_of_other_sum), BAD(function, spans_with_an_empty_one),                                     \
      ROW(function, spans_unregistered, MC_ERR_ADDRESS_NOT_REGISTERED), ROW(function, spans_whose_sum_wraps, ANY),   \
      BAD(function, spans_unaligned), BAD(function, spans_too_many), ROW(function, requests_overlap, MC_OK),         \
      BAD(function, options_flags_unknown), BAD(function, priority_unknown),                                         \
      ROW(function, batch_cq_stale, MC_ERR_INVALID_HANDLE), ROW(function, batch_cq_foreign, MC_ERR_INVALID_HANDLE),  \
      BAD(function, batch_tag_no_utf8), BAD(function, batch_tag_too_long), BAD(function, batch_data_without_tag),    \
      BAD(function, batch_data_null), BAD(function, batch_data_too_long),                                            \
      ROW(function, batch_peer_stale, MC_ERR_INVALID_HANDLE), ROW(function, batch_peer_foreign, MC_ERR_INVALID_HANDLE)

static const row_t ROWS[] = {
    /* Process. */
    BAD(log_set_level, level_unknown),
    TEXT_OUT_ROWS(host_get_report),
    /* Engine. */
    OPTIONS_ROWS(engine_create),
    OUT_ROWS(engine_create),
    BAD(engine_create, options_flags_unknown),
    BAD(engine_create, options_flag_next),
    BAD(engine_create, options_reserved),
    BAD(engine_create, engine_name_no_utf8),
    BAD(engine_create, engine_name_too_long),
    BAD(engine_create, bind_no_utf8),
    ROW(engine_create, bind_of_another_host, MC_ERR_IO),
    ROW(engine_create, interface_unknown, MC_ERR_NOT_FOUND),
    BAD(engine_create, cidr_senseless),
    ROW(engine_create, cidr_of_no_interface, MC_ERR_NOT_FOUND),
    BAD(engine_create, ports_reversed),
    BAD(engine_create, lanes_too_many),
    BAD(engine_create, threads_too_many),
    BAD(engine_create, checksum_unknown),
    BAD(engine_create, transports_unknown),
    BAD(engine_create, transports_no_utf8),
    BAD(engine_create, psk_too_short),
    BAD(engine_create, psk_too_long),
    BAD(engine_create, psk_null),
    BAD(engine_create, metadata_unknown),
    BAD(engine_create, metadata_no_utf8),
    ROW(engine_create, config_missing, MC_ERR_NOT_FOUND),
    BAD(engine_create, config_no_utf8),
    ENGINE_ROWS(engine_destroy, MC_OK), /* as free(NULL) */
    ENGINE_ROWS(engine_drain, MC_ERR_INVALID_HANDLE),
    TIME_ROWS(engine_drain),
    ENGINE_ROWS(engine_get_info, MC_ERR_INVALID_HANDLE),
    INFO_ROWS(engine_get_info),
    ENGINE_ROWS(engine_get_config, MC_ERR_INVALID_HANDLE),
    TEXT_OUT_ROWS(engine_get_config),
    ENGINE_ROWS(engine_get_stats, MC_ERR_INVALID_HANDLE),
    INFO_ROWS(engine_get_stats),
    ENGINE_ROWS(engine_get_metrics, MC_ERR_INVALID_HANDLE),
    TEXT_OUT_ROWS(engine_get_metrics),
    ID_ROWS(engine_export, MC_ERR_INVALID_HANDLE, false),
    TEXT_OUT_ROWS(engine_export),
    ARRAY_ROWS(engine_export),
    ROW(engine_export, count_zero, MC_OK), /* all regions */
    /* Memory. */
    ENGINE_ROWS(memory_register, MC_ERR_INVALID_HANDLE),
    MEMORY_OPTION_ROWS(memory_register),
    OUT_ROWS(memory_register),
    BAD(memory_register, address_null),
    BAD(memory_register, length_zero),
    BAD(memory_register, length_wraps),
    BAD(memory_register, memory_flag_huge),
    BAD(memory_register, location_too_long),
    ENGINE_ROWS(memory_register_batch, MC_ERR_INVALID_HANDLE),
    MEMORY_OPTION_ROWS(memory_register_batch),
    OUT_ROWS(memory_register_batch),
    ARRAY_ROWS(memory_register_batch),
    BAD(memory_register_batch, count_zero),
    BAD(memory_register_batch, memory_flag_huge),
    ROW(memory_register_batch, out2_null, MC_OK),
    BAD(memory_register_batch, out2_unaligned),
    ROW(memory_register_batch, spans_overlap, MC_OK),
    WRITING(memory_register_batch, span_empty, MC_ERR_INVALID_ARGUMENT),
    WRITING(memory_register_batch, location_too_long, MC_ERR_INVALID_ARGUMENT),
    WRITING(memory_register_batch, span_null, MC_ERR_INVALID_ARGUMENT),
    ROW(memory_register_batch, out_both_one, ANY),
    ID_ROWS(memory_unregister, MC_ERR_INVALID_HANDLE, false),
    BAD(memory_unregister, flags_unknown),
    BAD(memory_unregister, flags_of_another_call),
    ID_ROWS(memory_unregister_batch, MC_ERR_INVALID_HANDLE, true),
    ARRAY_ROWS(memory_unregister_batch),
    BAD(memory_unregister_batch, count_zero),
    BAD(memory_unregister_batch, flags_unknown),
    BAD(memory_unregister_batch, out2_unaligned),
    ROW(memory_unregister_batch, out2_null, MC_OK),
    WRITING(memory_unregister_batch, regions_twice, MC_ERR_INVALID_HANDLE),
    WRITING(memory_unregister_batch, regions_first_wrong, MC_ERR_INVALID_HANDLE),
    ENGINE_ROWS(memory_allocate, MC_ERR_INVALID_HANDLE),
    MEMORY_OPTION_ROWS(memory_allocate),
    OUT_ROWS(memory_allocate),
    OUT2_ROWS(memory_allocate),
    BAD(memory_allocate, length_zero),
    BAD(memory_allocate, location_too_long),
    BAD(memory_allocate, length_wraps),
    ID_ROWS(memory_free, MC_ERR_INVALID_HANDLE, false),
    BAD(memory_free, flags_unknown),
    BAD(memory_free, flags_of_another_call),
    ID_ROWS(memory_get_info, MC_ERR_INVALID_HANDLE, false),
    INFO_ROWS(memory_get_info),
    /* Segment. */
    ENGINE_ROWS(segment_open, MC_ERR_INVALID_HANDLE),
    OUT_ROWS(segment_open),
    TIME_ROWS(segment_open),
    BAD(segment_open, name_null),
    BAD(segment_open, name_no_utf8),
    BAD(segment_open, name_empty),
    BAD(segment_open, name_without_port),
    BAD(segment_open, name_with_large_port),
    BAD(segment_open, name_without_bracket),
    ENGINE_ROWS(segment_import, MC_ERR_INVALID_HANDLE),
    OUT_ROWS(segment_import),
    BAD(segment_import, data_null),
    BAD(segment_import, data_longest),
    BAD(segment_import, blob_empty),
    BAD(segment_import, blob_cut),
    BAD(segment_import, blob_zeros),
    ID_ROWS(segment_close, MC_ERR_INVALID_HANDLE, false),
    ID_ROWS(segment_get_info, MC_ERR_INVALID_HANDLE, false),
    INFO_ROWS(segment_get_info),
    ID_ROWS(segment_list_regions, MC_ERR_INVALID_HANDLE, false),
    BAD(segment_list_regions, out_null),
    BAD(segment_list_regions, out_unaligned),
    OUT2_ROWS(segment_list_regions),
    BAD(segment_list_regions, capacity_longest),
    WRITING(segment_list_regions, capacity_zero, MC_ERR_BUFFER_TOO_SMALL),
    ID_ROWS(segment_refresh, MC_ERR_INVALID_HANDLE, false),
    TIME_ROWS(segment_refresh),
    ID_ROWS(segment_probe, MC_ERR_INVALID_HANDLE, false),
    INFO_ROWS(segment_probe),
    TIME_ROWS(segment_probe),
    /* Batch. */
    BATCH_ROWS(batch_submit),
    BATCH_ROWS(batch_prepare),
    ID_ROWS(batch_post, MC_ERR_INVALID_HANDLE, false),
    ID_ROWS(batch_poll, MC_ERR_INVALID_HANDLE, false),
    INFO_ROWS(batch_poll),
    ID_ROWS(batch_wait, MC_ERR_INVALID_HANDLE, false),
    TIME_ROWS(batch_wait),
    BAD(batch_wait, out_unaligned),
    BAD(batch_wait, info_size_zero),
    BAD(batch_wait, info_size_huge),
    ROW(batch_wait, info_older, MC_OK),
    ROW(batch_wait, out_null, MC_OK),
    ID_ROWS(batch_task, MC_ERR_INVALID_HANDLE, false),
    OUT_ROWS(batch_task),
    BAD(batch_task, index_at_the_end),
    BAD(batch_task, index_last),
    ID_ROWS(batch_cancel, MC_ERR_INVALID_HANDLE, false),
    ID_ROWS(batch_release, MC_ERR_INVALID_HANDLE, false),
    /* Completion queue and notification. */
    ENGINE_ROWS(cq_create, MC_ERR_INVALID_HANDLE),
    OUT_ROWS(cq_create),
    OPTIONS_ROWS(cq_create),
    ID_ROWS(cq_destroy, MC_ERR_INVALID_HANDLE, false),
    ID_ROWS(cq_poll, MC_ERR_INVALID_HANDLE, false),
    OUT_ROWS(cq_poll),
    OUT2_ROWS(cq_poll),
    BAD(cq_poll, capacity_zero),
    BAD(cq_poll, capacity_longest),
    ID_ROWS(cq_wait, MC_ERR_INVALID_HANDLE, false),
    OUT_ROWS(cq_wait),
    OUT2_ROWS(cq_wait),
    BAD(cq_wait, capacity_zero),
    ID_ROWS(cq_event_fd, MC_ERR_INVALID_HANDLE, false),
    OUT_ROWS(cq_event_fd),
    ID_ROWS(notify_send, MC_ERR_INVALID_HANDLE, false),
    TIME_ROWS(notify_send),
    BAD(notify_send, tag_no_utf8),
    BAD(notify_send, tag_too_long),
    BAD(notify_send, data_null),
    BAD(notify_send, notification_too_long),
    BAD(notify_send, data_longest),
    ENGINE_ROWS(notify_receive, MC_ERR_INVALID_HANDLE),
    INFO_ROWS(notify_receive),
    TIME_ROWS(notify_receive),
    BAD(notify_receive, tag_no_utf8),
    BAD(notify_receive, out2_null),
    ID_ROWS(notify_bind, MC_OK, false), /* queue 0: no longer announce */
    BAD(notify_bind, tag_no_utf8),
};
#define ROW_COUNT (sizeof ROWS / sizeof ROWS[0])

#endif /* MC_TEST_MISUSE_ROWS_H */
