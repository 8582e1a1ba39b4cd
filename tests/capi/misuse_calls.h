/* Every function of the library as one call with arguments that can be spoiled. */
#ifndef MC_TEST_MISUSE_CALLS_H
#define MC_TEST_MISUSE_CALLS_H

#include "misuse_world.h"

typedef mc_status_t (*call_t)(arguments_t *a);

#define CALL(name, expression) \
  static mc_status_t call_##name(arguments_t *a) { return expression; }

/* Engine. */
CALL(engine_create, mc_engine_create((mc_engine_options_t *)a->options, (mc_engine_t **)a->out))
CALL(engine_destroy, mc_engine_destroy(a->engine))
CALL(engine_drain, mc_engine_drain(a->engine, a->timeout_ms))
CALL(engine_get_info, mc_engine_get_info(a->engine, (mc_engine_info_t *)a->out))
CALL(engine_get_config, mc_engine_get_config(a->engine, (char *)a->out, a->size, (size_t *)a->out2))
CALL(engine_export,
     mc_engine_export(a->engine, (const uint64_t *)a->array, a->count, a->out, a->size, (size_t *)a->out2))
CALL(engine_get_stats, mc_engine_get_stats(a->engine, (mc_engine_stats_t *)a->out))
CALL(engine_get_metrics, mc_engine_get_metrics(a->engine, (char *)a->out, a->size, (size_t *)a->out2))
CALL(host_get_report, mc_host_get_report((char *)a->out, a->size, (size_t *)a->out2))
CALL(log_set_callback, mc_log_set_callback(NULL, a->address, NULL))
CALL(log_set_level, mc_log_set_level(a->number))

/* Memory. */
CALL(memory_register,
     mc_memory_register(a->engine, a->address, a->length, (mc_memory_options_t *)a->options, (mc_region_t *)a->out))
CALL(memory_register_batch,
     mc_memory_register_batch(a->engine, (const mc_span_t *)a->array, a->count, (mc_memory_options_t *)a->options,
                              (mc_region_t *)a->out, (mc_status_t *)a->out2))
CALL(memory_unregister, mc_memory_unregister(a->engine, a->ids.region, a->flags))
CALL(memory_unregister_batch,
     mc_memory_unregister_batch(a->engine, (const mc_region_t *)a->array, a->count, a->flags, (mc_status_t *)a->out2))
CALL(memory_allocate, mc_memory_allocate(a->engine, a->length, (mc_memory_options_t *)a->options, (void **)a->out,
                                         (mc_region_t *)a->out2))
CALL(memory_free, mc_memory_free(a->engine, a->ids.allocated, a->flags))
CALL(memory_get_info, mc_memory_get_info(a->engine, a->ids.region, (mc_memory_info_t *)a->out))

/* Segment. */
CALL(segment_open, mc_segment_open(a->engine, a->name, a->timeout_ms, (mc_segment_t *)a->out))
CALL(segment_import, mc_segment_import(a->engine, a->data, a->length, (mc_segment_t *)a->out))
CALL(segment_close, mc_segment_close(a->engine, a->ids.segment))
CALL(segment_get_info, mc_segment_get_info(a->engine, a->ids.segment, (mc_segment_info_t *)a->out))
CALL(segment_list_regions,
     mc_segment_list_regions(a->engine, a->ids.segment, (mc_remote_region_t *)a->out, a->capacity, (size_t *)a->out2))
CALL(segment_refresh, mc_segment_refresh(a->engine, a->ids.segment, a->timeout_ms))
CALL(segment_probe, mc_segment_probe(a->engine, a->ids.segment, a->timeout_ms, (mc_probe_t *)a->out))

/* Batch. */
CALL(batch_submit, mc_batch_submit(a->engine, (const mc_request_t *)a->array, a->count,
                                   (mc_batch_options_t *)a->options, (mc_batch_t *)a->out))
CALL(batch_prepare, mc_batch_prepare(a->engine, (const mc_request_t *)a->array, a->count,
                                     (mc_batch_options_t *)a->options, (mc_batch_t *)a->out))
CALL(batch_post, mc_batch_post(a->engine, a->ids.batch))
CALL(batch_poll, mc_batch_poll(a->engine, a->ids.batch, (mc_batch_info_t *)a->out))
CALL(batch_wait, mc_batch_wait(a->engine, a->ids.batch, a->timeout_ms, (mc_batch_info_t *)a->out))
CALL(batch_task, mc_batch_task(a->engine, a->ids.batch, a->index, (mc_completion_t *)a->out))
CALL(batch_cancel, mc_batch_cancel(a->engine, a->ids.batch))
CALL(batch_release, mc_batch_release(a->engine, a->ids.batch))

/* Completion queue and notification. */
CALL(cq_create, mc_cq_create(a->engine, (mc_cq_options_t *)a->options, (mc_cq_t *)a->out))
CALL(cq_destroy, mc_cq_destroy(a->engine, a->ids.cq))
CALL(cq_poll, mc_cq_poll(a->engine, a->ids.cq, (mc_completion_t *)a->out, a->capacity, (size_t *)a->out2))
CALL(cq_wait, mc_cq_wait(a->engine, a->ids.cq, 0, (mc_completion_t *)a->out, a->capacity, (size_t *)a->out2))
CALL(cq_event_fd, mc_cq_event_fd(a->engine, a->ids.cq, (int32_t *)a->out))
CALL(notify_send, mc_notify_send(a->engine, a->ids.segment, a->tag, a->data, a->length, a->timeout_ms))
CALL(notify_receive, mc_notify_receive(a->engine, a->tag, a->timeout_ms, a->out2, a->size, (mc_notify_info_t *)a->out))
CALL(notify_bind, mc_notify_bind(a->engine, a->tag, a->ids.cq, a->length))

#undef CALL

/* What a function needs beside the arguments that all start with. */
static inline void give_regions(arguments_t *a) {
  a->array = a->regions;
  a->count = 1;
}
static inline void give_spans(arguments_t *a) { a->array = a->spans; }
static inline void give_requests(arguments_t *a) { a->array = a->requests; }
static inline void give_blob(arguments_t *a) {
  a->data = a->world->blob;
  a->length = a->world->blob_length;
}
static inline void give_data(arguments_t *a) { a->length = 4; }
static inline void give_small_buffer(arguments_t *a) { a->size = 64; }
static inline void give_loopback(arguments_t *a) {
  mc_engine_options_t *options = (mc_engine_options_t *)a->options;
  options->bind_address = "127.0.0.1";
  options->transports = "local";
}

typedef enum handles_t { NO_HANDLE, ENGINE, ENGINE_AND_ID } handles_t;

typedef struct function_t {
  const char *name;
  call_t call; /* NULL: nothing about it can be misused */
  handles_t handles;
  void (*give)(arguments_t *a);
  size_t info_size;    /* of the sized struct that it fills */
  size_t options_size; /* of the sized struct that it reads */
  const char *exempt;  /* why it has no rows for handles */
} function_t;

#define TAKES_ID(name, give, info) \
  { "mc_" #name, call_##name, ENGINE_AND_ID, give, info, 0, NULL }
#define TAKES_ENGINE(name, give, info, options) \
  { "mc_" #name, call_##name, ENGINE, give, info, options, NULL }

static const function_t FUNCTIONS[] = {
    {"mc_status_name", NULL, NO_HANDLE, NULL, 0, 0, "takes any number"},
    {"mc_status_text", NULL, NO_HANDLE, NULL, 0, 0, "takes any number"},
    {"mc_status_is_retryable", NULL, NO_HANDLE, NULL, 0, 0, "takes any number"},
    {"mc_last_error_message", NULL, NO_HANDLE, NULL, 0, 0, "takes nothing"},
    {"mc_version", NULL, NO_HANDLE, NULL, 0, 0, "takes nothing"},
    {"mc_abi_version", NULL, NO_HANDLE, NULL, 0, 0, "takes nothing"},
    {"mc_log_set_callback", call_log_set_callback, NO_HANDLE, NULL, 0, 0, "belongs to the process, not to an engine"},
    {"mc_log_set_level", call_log_set_level, NO_HANDLE, NULL, 0, 0, "belongs to the process, not to an engine"},
    {"mc_host_get_report", call_host_get_report, NO_HANDLE, NULL, 0, 0, "needs no engine"},
    {"mc_engine_create", call_engine_create, NO_HANDLE, give_loopback, 0, sizeof(mc_engine_options_t),
     "makes the first handle there is"},
    TAKES_ENGINE(engine_destroy, NULL, 0, 0),
    TAKES_ENGINE(engine_drain, NULL, 0, 0),
    TAKES_ENGINE(engine_get_info, NULL, sizeof(mc_engine_info_t), 0),
    TAKES_ENGINE(engine_get_config, NULL, 0, 0),
    TAKES_ENGINE(engine_get_stats, NULL, sizeof(mc_engine_stats_t), 0),
    TAKES_ENGINE(engine_get_metrics, NULL, 0, 0),
    TAKES_ID(engine_export, give_regions, 0),
    TAKES_ENGINE(memory_register, NULL, 0, sizeof(mc_memory_options_t)),
    TAKES_ENGINE(memory_register_batch, give_spans, 0, sizeof(mc_memory_options_t)),
    TAKES_ID(memory_unregister, NULL, 0),
    TAKES_ID(memory_unregister_batch, give_regions, 0),
    TAKES_ENGINE(memory_allocate, NULL, 0, sizeof(mc_memory_options_t)),
    TAKES_ID(memory_free, NULL, 0),
    TAKES_ID(memory_get_info, NULL, sizeof(mc_memory_info_t)),
    TAKES_ENGINE(segment_open, NULL, 0, 0),
    TAKES_ENGINE(segment_import, give_blob, 0, 0),
    TAKES_ID(segment_close, NULL, 0),
    TAKES_ID(segment_get_info, NULL, sizeof(mc_segment_info_t)),
    TAKES_ID(segment_list_regions, NULL, 0),
    TAKES_ID(segment_refresh, NULL, 0),
    TAKES_ID(segment_probe, NULL, sizeof(mc_probe_t)),
    {"mc_batch_submit", call_batch_submit, ENGINE_AND_ID, give_requests, 0, sizeof(mc_batch_options_t), NULL},
    {"mc_batch_prepare", call_batch_prepare, ENGINE_AND_ID, give_requests, 0, sizeof(mc_batch_options_t), NULL},
    TAKES_ID(batch_post, NULL, 0),
    TAKES_ID(batch_poll, NULL, sizeof(mc_batch_info_t)),
    TAKES_ID(batch_wait, NULL, sizeof(mc_batch_info_t)),
    TAKES_ID(batch_task, NULL, 0),
    TAKES_ID(batch_cancel, NULL, 0),
    TAKES_ID(batch_release, NULL, 0),
    TAKES_ENGINE(cq_create, NULL, 0, sizeof(mc_cq_options_t)),
    TAKES_ID(cq_destroy, NULL, 0),
    TAKES_ID(cq_poll, NULL, 0),
    TAKES_ID(cq_wait, NULL, 0),
    TAKES_ID(cq_event_fd, NULL, 0),
    TAKES_ID(notify_send, give_data, 0),
    TAKES_ENGINE(notify_receive, give_small_buffer, sizeof(mc_notify_info_t), 0),
    TAKES_ID(notify_bind, NULL, 0),
};
#define FUNCTION_COUNT (sizeof FUNCTIONS / sizeof FUNCTIONS[0])

/* Arguments with which the function succeeds. */
static inline void fit_arguments(arguments_t *a, const function_t *function) {
  uint32_t size = (uint32_t)function->info_size;
  if (function->info_size != 0) memcpy(a->out, &size, sizeof size);
  size = (uint32_t)function->options_size;
  memcpy(a->options, &size, sizeof size);
  a->info_size = (uint32_t)function->info_size;
  a->options_size = (uint32_t)function->options_size;
  if (function->give != NULL) function->give(a);
}

#endif /* MC_TEST_MISUSE_CALLS_H */
