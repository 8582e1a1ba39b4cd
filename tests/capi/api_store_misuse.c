/* Is every misuse of every function of the store a status and a text, without a trace in the outputs and never a crash?
 * A function says which kinds of arguments it has; each kind is spoiled in all the ways there are for it. */
#include "store.h"

/* What a call gets. Valid as it starts; one thing is spoiled. */
typedef struct arguments_t {
  void *root; /* a store, master or node */
  const void *key, *data, *array;
  size_t key_length, length, count, capacity;
  void *options, *out, *out2;
  const char *text;
  uint64_t flags, id, cq;
  int64_t timeout_ms;
  uint64_t cursor;
  uint32_t options_size, info_size;
  uint64_t options_room[64];
  uint64_t out_room[4096], out2_room[512];
  mc_store_put_t puts[2];
  mc_store_get_t gets[2];
  mc_store_put_size_t sizes[2];
  mc_store_key_t keys[2];
  mc_store_range_t ranges[2];
  mc_span_t spans[2];
  uint8_t memory[256];
} arguments_t;

enum {
  HANDLE = 1 << 0,
  KEY = 1 << 1,
  DATA = 1 << 2,
  ARRAY = 1 << 3,
  OPTIONS = 1 << 4,
  OUT = 1 << 5,
  OUT2 = 1 << 6,
  INFO = 1 << 7,
  FLAGS = 1 << 8,
  TIME = 1 << 9,
  TEXT = 1 << 10,
  NAME = 1 << 11, /* a text that must be there */
  ID = 1 << 12,
  QUEUE = 1 << 13,
  PUTS = 1 << 14,
  GETS = 1 << 15,
  KEYS = 1 << 16,
  RANGES = 1 << 17,
  SIZES = 1 << 18,
  ENDS = 1 << 19, /* the handle may be NULL */
  CAPACITY = 1 << 20,
  FREE_OUT = 1 << 21, /* out may be NULL, and is written on failure, too */
  NEEDS = 1 << 22,    /* options that cannot be NULL */
  OUT_BYTE = 1 << 23  /* an output of any alignment */
};

#define S ((mc_store_t *)a->root)
#define RESULT ((mc_store_result_t *)a->out)
#define CALL(name, expression) \
  static mc_status_t call_##name(arguments_t *a) { return expression; }

CALL(store_open, mc_store_open((mc_store_options_t *)a->options, (mc_store_t **)a->out))
CALL(store_close, mc_store_close(S))
CALL(store_engine, mc_store_engine(S, (mc_engine_t **)a->out))
CALL(store_get_info, mc_store_get_info(S, (mc_store_info_t *)a->out))
CALL(store_put,
     mc_store_put(S, a->key, a->key_length, a->data, a->length, (mc_store_put_options_t *)a->options, RESULT))
CALL(store_put_batch,
     mc_store_put_batch(S, (const mc_store_put_t *)a->array, a->count, (mc_store_put_options_t *)a->options, RESULT))
CALL(store_put_submit, mc_store_put_submit(S, (const mc_store_put_t *)a->array, a->count,
                                           (mc_store_put_options_t *)a->options, a->cq, 0, RESULT))
CALL(store_put_begin, mc_store_put_begin(S, (const mc_store_put_size_t *)a->array, a->count,
                                         (mc_store_put_options_t *)a->options, (mc_store_writing_t *)a->out2, RESULT))
CALL(store_put_write, mc_store_put_write(S, a->id, 0, (const mc_span_t *)a->array, a->count, a->timeout_ms))
CALL(store_put_commit, mc_store_put_commit(S, a->id, a->timeout_ms, RESULT))
CALL(store_put_revoke, mc_store_put_revoke(S, a->id))
CALL(store_get, mc_store_get(S, a->key, a->key_length, (void *)(uintptr_t)a->data, a->length,
                             (mc_store_get_options_t *)a->options, RESULT))
CALL(store_get_range, mc_store_get_range(S, a->key, a->key_length, 0, (void *)(uintptr_t)a->data, a->length,
                                         (mc_store_get_options_t *)a->options, RESULT))
CALL(store_get_batch,
     mc_store_get_batch(S, (const mc_store_get_t *)a->array, a->count, (mc_store_get_options_t *)a->options, RESULT))
CALL(store_get_submit, mc_store_get_submit(S, (const mc_store_get_t *)a->array, a->count,
                                           (mc_store_get_options_t *)a->options, a->cq, 0, RESULT))
CALL(store_get_view, mc_store_get_view(S, a->key, a->key_length, (mc_store_get_options_t *)a->options,
                                       (mc_store_view_t *)a->out2, RESULT))
CALL(store_get_view_batch,
     mc_store_get_view_batch(S, (const mc_store_key_t *)a->array, a->count, (mc_store_get_options_t *)a->options,
                             (mc_store_view_t *)a->out2, RESULT))
CALL(store_buffer_release, mc_store_buffer_release(S, a->id))
CALL(store_get_begin, mc_store_get_begin(S, (const mc_store_key_t *)a->array, a->count,
                                         (mc_store_get_options_t *)a->options, (mc_store_reading_t *)a->out2, RESULT))
CALL(store_get_read, mc_store_get_read(S, a->id, (const mc_store_range_t *)a->array, a->count, a->timeout_ms))
CALL(store_get_end, mc_store_get_end(S, a->id))
CALL(store_exists, mc_store_exists(S, a->key, a->key_length, a->flags, a->timeout_ms, (bool *)a->out))
CALL(store_exists_batch,
     mc_store_exists_batch(S, (const mc_store_key_t *)a->array, a->count, a->flags, a->timeout_ms, RESULT))
CALL(store_get_size, mc_store_get_size(S, a->key, a->key_length, a->timeout_ms, (uint64_t *)a->out))
CALL(store_remove, mc_store_remove(S, a->key, a->key_length, a->flags, a->timeout_ms))
CALL(store_remove_batch,
     mc_store_remove_batch(S, (const mc_store_key_t *)a->array, a->count, a->flags, a->timeout_ms, RESULT))
CALL(store_remove_matching,
     mc_store_remove_matching(S, "none", 4, a->text, a->flags, a->timeout_ms, (uint64_t *)a->out, (uint64_t *)a->out2))
CALL(store_list, mc_store_list(S, NULL, 0, a->text, a->timeout_ms, &a->cursor, (mc_store_listed_t *)a->out, a->capacity,
                               (size_t *)a->out2))
CALL(store_copy, mc_store_copy(S, a->key, a->key_length, NULL, 0, a->timeout_ms, (mc_store_task_t *)a->out))
CALL(store_move, mc_store_move(S, a->key, a->key_length, a->text, NULL, 0, a->timeout_ms, (mc_store_task_t *)a->out))
CALL(store_trim, mc_store_trim(S, a->key, a->key_length, 1, a->timeout_ms, (uint64_t *)a->out))
CALL(store_drain, mc_store_drain(S, a->text, a->timeout_ms, (mc_store_task_t *)a->out))
CALL(store_task_get_info, mc_store_task_get_info(S, a->id, a->timeout_ms, (mc_store_task_info_t *)a->out))
CALL(store_task_cancel, mc_store_task_cancel(S, a->id, a->timeout_ms))
CALL(store_set_quota, mc_store_set_quota(S, a->text, MC_STORE_NO_QUOTA, a->timeout_ms))
CALL(store_get_usage, mc_store_get_usage(S, a->text, a->timeout_ms, (mc_store_usage_t *)a->out))
CALL(store_list_segments,
     mc_store_list_segments(S, a->timeout_ms, (mc_store_segment_t *)a->out, a->capacity, (size_t *)a->out2))
CALL(master_create, mc_master_create((mc_master_options_t *)a->options, (mc_master_t **)a->out))
CALL(master_destroy, mc_master_destroy((mc_master_t *)a->root))
CALL(master_get_info, mc_master_get_info((mc_master_t *)a->root, (mc_master_info_t *)a->out))
CALL(node_create, mc_node_create((mc_node_options_t *)a->options, (mc_node_t **)a->out))
CALL(node_destroy, mc_node_destroy((mc_node_t *)a->root))
CALL(node_drain, mc_node_drain((mc_node_t *)a->root, a->timeout_ms))
CALL(node_get_info, mc_node_get_info((mc_node_t *)a->root, (mc_node_info_t *)a->out))

typedef struct function_t {
  const char *name;
  mc_status_t (*call)(arguments_t *a);
  int has;
  size_t options_size, info_size;
} function_t;

#define F(name, has, options, info) \
  { "mc_" #name, call_##name, has, options, info }
#define PUT_OPTIONS sizeof(mc_store_put_options_t)
#define GET_OPTIONS sizeof(mc_store_get_options_t)

static const function_t FUNCTIONS[] = {
    F(store_open, OPTIONS | OUT, sizeof(mc_store_options_t), 0),
    F(store_close, HANDLE | ENDS, 0, 0),
    F(store_engine, HANDLE | OUT, 0, 0),
    F(store_get_info, HANDLE | INFO, 0, sizeof(mc_store_info_t)),
    F(store_put, HANDLE | KEY | DATA | OPTIONS | FREE_OUT, PUT_OPTIONS, 0),
    F(store_put_batch, HANDLE | PUTS | ARRAY | OPTIONS | OUT, PUT_OPTIONS, 0),
    F(store_put_submit, HANDLE | PUTS | ARRAY | OPTIONS | QUEUE | OUT, PUT_OPTIONS, 0),
    F(store_put_begin, HANDLE | SIZES | ARRAY | OPTIONS | OUT | OUT2, PUT_OPTIONS, 0),
    F(store_put_write, HANDLE | ARRAY | ID | TIME, 0, 0),
    F(store_put_commit, HANDLE | ID | TIME, 0, 0),
    F(store_put_revoke, HANDLE | ID, 0, 0),
    F(store_get, HANDLE | KEY | DATA | OPTIONS | FREE_OUT, GET_OPTIONS, 0),
    F(store_get_range, HANDLE | KEY | DATA | OPTIONS | FREE_OUT, GET_OPTIONS, 0),
    F(store_get_batch, HANDLE | GETS | ARRAY | OPTIONS | OUT, GET_OPTIONS, 0),
    F(store_get_submit, HANDLE | GETS | ARRAY | OPTIONS | QUEUE | OUT, GET_OPTIONS, 0),
    F(store_get_view, HANDLE | KEY | OPTIONS | FREE_OUT | OUT2, GET_OPTIONS, 0),
    F(store_get_view_batch, HANDLE | KEYS | ARRAY | OPTIONS | OUT | OUT2, GET_OPTIONS, 0),
    F(store_buffer_release, HANDLE | ID, 0, 0),
    F(store_get_begin, HANDLE | KEYS | ARRAY | OPTIONS | OUT | OUT2, GET_OPTIONS, 0),
    F(store_get_read, HANDLE | RANGES | ARRAY | ID | TIME, 0, 0),
    F(store_get_end, HANDLE | ID, 0, 0),
    F(store_exists, HANDLE | KEY | FLAGS | TIME | OUT_BYTE, 0, 0),
    F(store_exists_batch, HANDLE | KEYS | ARRAY | FLAGS | TIME | OUT, 0, 0),
    F(store_get_size, HANDLE | KEY | TIME | OUT, 0, 0),
    F(store_remove, HANDLE | KEY | FLAGS | TIME, 0, 0),
    F(store_remove_batch, HANDLE | KEYS | ARRAY | FLAGS | TIME | OUT, 0, 0),
    F(store_remove_matching, HANDLE | TEXT | FLAGS | TIME, 0, 0),
    F(store_list, HANDLE | TEXT | TIME | CAPACITY | OUT | OUT2, 0, 0),
    F(store_copy, HANDLE | KEY | TIME | OUT, 0, 0),
    F(store_move, HANDLE | KEY | TEXT | NAME | TIME | OUT, 0, 0),
    F(store_trim, HANDLE | KEY | TIME, 0, 0),
    F(store_drain, HANDLE | TEXT | NAME | TIME | OUT, 0, 0),
    F(store_task_get_info, HANDLE | TIME | INFO, 0, sizeof(mc_store_task_info_t)),
    F(store_task_cancel, HANDLE | TIME, 0, 0),
    F(store_set_quota, HANDLE | TEXT | TIME, 0, 0),
    F(store_get_usage, HANDLE | TEXT | TIME | INFO, 0, sizeof(mc_store_usage_t)),
    F(store_list_segments, HANDLE | TIME | OUT | OUT2, 0, 0),
    F(master_create, OPTIONS | OUT, sizeof(mc_master_options_t), 0),
    F(master_destroy, HANDLE | ENDS, 0, 0),
    F(master_get_info, HANDLE | INFO, 0, sizeof(mc_master_info_t)),
    F(node_create, OPTIONS | NEEDS | OUT, sizeof(mc_node_options_t), 0),
    F(node_destroy, HANDLE | ENDS, 0, 0),
    F(node_drain, HANDLE | TIME, 0, 0),
    F(node_get_info, HANDLE | INFO, 0, sizeof(mc_node_info_t)),
};
#define FUNCTION_COUNT (sizeof FUNCTIONS / sizeof FUNCTIONS[0])

/* The world: what is live, and what is not any more. */
static mc_store_t *store, *closed;
static mc_master_t *master;
static mc_node_t *node;
static mc_store_writing_t writing;
static mc_store_reading_t reading;
static mc_engine_t *other_engine;
static mc_cq_t cq, foreign_cq;

typedef struct spoil_t {
  const char *what;
  int kind;
  void (*spoil)(arguments_t *a);
  mc_status_t expected;
} spoil_t;

static void resize(void *structure, uint32_t size) { memcpy(structure, &size, sizeof size); }
static const char NO_UTF8[] = "ab\xff\xfe";
#define SPOIL(name) static void name(arguments_t *a)

SPOIL(root_null) { a->root = NULL; }
SPOIL(root_closed) { a->root = closed; }
SPOIL(root_engine) { a->root = other_engine; }
SPOIL(root_stranger) { a->root = a->memory; }
SPOIL(root_number) { a->root = (void *)(uintptr_t)1; }
SPOIL(root_between) { a->root = (char *)store + 1; }
SPOIL(root_last) { a->root = (void *)UINTPTR_MAX; }
SPOIL(key_null) { a->key = NULL; }
SPOIL(key_empty) { a->key_length = 0; }
SPOIL(key_too_long) { a->key_length = MC_STORE_KEY_MAX_LENGTH + 1; }
SPOIL(key_longest) { a->key_length = SIZE_MAX; }
SPOIL(data_null) { a->data = NULL; }
SPOIL(data_longest) { a->length = SIZE_MAX; }
SPOIL(array_null) { a->array = NULL; }
SPOIL(array_unaligned) { a->array = (const char *)a->array + 1; }
SPOIL(array_empty) { a->count = 0; }
SPOIL(array_longest) { a->count = SIZE_MAX; }
SPOIL(options_unaligned) {
  memmove((char *)a->options + 1, a->options, 256);
  a->options = (char *)a->options + 1;
}
SPOIL(options_size_zero) { resize(a->options, 0); }
SPOIL(options_size_four) { resize(a->options, 4); }
SPOIL(options_size_all) { resize(a->options, UINT32_MAX); }
SPOIL(options_flags_unknown) { ((uint64_t *)a->options)[1] = (uint64_t)1 << 63; }
SPOIL(options_newer_in_use) {
  resize(a->options, a->options_size + 24);
  ((char *)a->options)[a->options_size + 23] = 1;
}
SPOIL(out_null) { a->out = NULL; }
SPOIL(out_unaligned) { a->out = (char *)a->out + 1; }
SPOIL(out2_null) { a->out2 = NULL; }
SPOIL(out2_unaligned) { a->out2 = (char *)a->out2 + 1; }
SPOIL(info_size_zero) { resize(a->out, 0); }
SPOIL(info_size_seven) { resize(a->out, 7); }
SPOIL(info_size_all) { resize(a->out, UINT32_MAX); }
SPOIL(flags_unknown) { a->flags = (uint64_t)1 << 40; }
SPOIL(flags_of_another_call) { a->flags = MC_STORE_FLAG_UPSERT; }
SPOIL(time_negative) { a->timeout_ms = -2; }
SPOIL(time_least) { a->timeout_ms = INT64_MIN; }
SPOIL(text_no_utf8) { a->text = NO_UTF8; }
SPOIL(text_null) { a->text = NULL; }
SPOIL(id_zero) { a->id = 0; }
SPOIL(id_one) { a->id = 1; }
SPOIL(id_of_ones) { a->id = UINT64_MAX; }
SPOIL(queue_zero) { a->cq = 0; }
SPOIL(queue_foreign) { a->cq = foreign_cq; }
SPOIL(capacity_zero) { a->capacity = 0; }
SPOIL(put_key_null) { a->puts[1].key.data = NULL; }
SPOIL(put_spans_null) { a->puts[1].spans = NULL; }
SPOIL(put_span_null) { a->spans[1].address = NULL; }
SPOIL(put_spans_wrap) { a->spans[1].length = SIZE_MAX; }
SPOIL(get_key_empty) { a->gets[1].key.length = 0; }
SPOIL(get_spans_and_ranges) { a->gets[1].ranges = a->ranges, a->gets[1].range_count = 1; }
SPOIL(get_ranges_without_count) { a->gets[1].ranges = NULL, a->gets[1].range_count = 1, a->gets[1].spans = NULL; }
SPOIL(get_span_wraps) { a->spans[1].length = SIZE_MAX; }
SPOIL(keys_one_null) { a->keys[1].data = NULL; }
SPOIL(keys_one_too_long) { a->keys[1].length = MC_STORE_KEY_MAX_LENGTH + 1; }
SPOIL(sizes_one_null) { a->sizes[1].key.data = NULL; }

static const spoil_t SPOILS[] = {
    {"a NULL handle", HANDLE, root_null, MC_ERR_INVALID_HANDLE},
    {"a closed handle", HANDLE, root_closed, MC_ERR_INVALID_HANDLE},
    {"an engine for a handle", HANDLE, root_engine, MC_ERR_INVALID_HANDLE},
    {"memory for a handle", HANDLE, root_stranger, MC_ERR_INVALID_HANDLE},
    {"1 for a handle", HANDLE, root_number, MC_ERR_INVALID_HANDLE},
    {"a handle and a byte", HANDLE, root_between, MC_ERR_INVALID_HANDLE},
    {"the last address", HANDLE, root_last, MC_ERR_INVALID_HANDLE},
    {"a NULL key", KEY, key_null, MC_ERR_INVALID_ARGUMENT},
    {"an empty key", KEY, key_empty, MC_ERR_INVALID_ARGUMENT},
    {"a key too long", KEY, key_too_long, MC_ERR_INVALID_ARGUMENT},
    {"the longest key", KEY, key_longest, MC_ERR_INVALID_ARGUMENT},
    {"NULL data", DATA, data_null, MC_ERR_INVALID_ARGUMENT},
    {"the longest data", DATA, data_longest, MC_ERR_INVALID_ARGUMENT},
    {"a NULL array", ARRAY, array_null, MC_ERR_INVALID_ARGUMENT},
    {"an unaligned array", ARRAY, array_unaligned, MC_ERR_INVALID_ARGUMENT},
    {"an empty array", ARRAY, array_empty, MC_ERR_INVALID_ARGUMENT},
    {"the longest array", ARRAY, array_longest, MC_ERR_INVALID_ARGUMENT},
    {"unaligned options", OPTIONS, options_unaligned, MC_ERR_INVALID_ARGUMENT},
    {"options of size 0", OPTIONS, options_size_zero, MC_ERR_INVALID_ARGUMENT},
    {"options of size 4", OPTIONS, options_size_four, MC_ERR_INVALID_ARGUMENT},
    {"options of any size", OPTIONS, options_size_all, MC_ERR_INVALID_ARGUMENT},
    {"unknown flags in options", OPTIONS, options_flags_unknown, MC_ERR_INVALID_ARGUMENT},
    {"options of the future", OPTIONS, options_newer_in_use, MC_ERR_UNSUPPORTED},
    {"a NULL output", OUT | OUT_BYTE, out_null, MC_ERR_INVALID_ARGUMENT},
    {"an unaligned output", OUT, out_unaligned, MC_ERR_INVALID_ARGUMENT},
    {"an unaligned output that may be NULL", FREE_OUT, out_unaligned, MC_ERR_INVALID_ARGUMENT},
    {"a NULL second output", OUT2, out2_null, MC_ERR_INVALID_ARGUMENT},
    {"an unaligned second output", OUT2, out2_unaligned, MC_ERR_INVALID_ARGUMENT},
    {"a NULL info", INFO, out_null, MC_ERR_INVALID_ARGUMENT},
    {"an unaligned info", INFO, out_unaligned, MC_ERR_INVALID_ARGUMENT},
    {"an info of size 0", INFO, info_size_zero, MC_ERR_INVALID_ARGUMENT},
    {"an info of size 7", INFO, info_size_seven, MC_ERR_INVALID_ARGUMENT},
    {"an info of any size", INFO, info_size_all, MC_ERR_INVALID_ARGUMENT},
    {"unknown flags", FLAGS, flags_unknown, MC_ERR_INVALID_ARGUMENT},
    {"flags of another call", FLAGS, flags_of_another_call, MC_ERR_INVALID_ARGUMENT},
    {"a negative time", TIME, time_negative, MC_ERR_INVALID_ARGUMENT},
    {"the least time", TIME, time_least, MC_ERR_INVALID_ARGUMENT},
    {"a text that is no UTF-8", TEXT, text_no_utf8, MC_ERR_INVALID_ARGUMENT},
    {"a NULL name", NAME, text_null, MC_ERR_INVALID_ARGUMENT},
    {"id 0", ID, id_zero, MC_ERR_INVALID_HANDLE},
    {"id 1", ID, id_one, MC_ERR_INVALID_HANDLE},
    {"an id of ones", ID, id_of_ones, MC_ERR_INVALID_HANDLE},
    {"queue 0", QUEUE, queue_zero, MC_ERR_INVALID_HANDLE},
    {"a queue of another engine", QUEUE, queue_foreign, MC_ERR_INVALID_HANDLE},
    {"no room", CAPACITY, capacity_zero, MC_ERR_INVALID_ARGUMENT},
    {"a put without a key", PUTS, put_key_null, MC_ERR_INVALID_ARGUMENT},
    {"a put without its spans", PUTS, put_spans_null, MC_ERR_INVALID_ARGUMENT},
    {"a put of a NULL span", PUTS, put_span_null, MC_ERR_INVALID_ARGUMENT},
    {"a put whose spans wrap", PUTS, put_spans_wrap, MC_ERR_INVALID_ARGUMENT},
    {"a get of an empty key", GETS, get_key_empty, MC_ERR_INVALID_ARGUMENT},
    {"a get of spans and ranges", GETS, get_spans_and_ranges, MC_ERR_INVALID_ARGUMENT},
    {"a get of a count without ranges", GETS, get_ranges_without_count, MC_ERR_INVALID_ARGUMENT},
    {"a get whose span wraps", GETS, get_span_wraps, MC_ERR_INVALID_ARGUMENT},
    {"a NULL key among keys", KEYS, keys_one_null, MC_ERR_INVALID_ARGUMENT},
    {"a long key among keys", KEYS, keys_one_too_long, MC_ERR_INVALID_ARGUMENT},
    {"a NULL key among sizes", SIZES, sizes_one_null, MC_ERR_INVALID_ARGUMENT},
    {"no options where some are needed", NEEDS, options_size_zero, MC_ERR_INVALID_ARGUMENT},
};
#define SPOIL_COUNT (sizeof SPOILS / sizeof SPOILS[0])

static void make_arguments(arguments_t *a, const function_t *function) {
  memset(a, 0, sizeof *a);
  memset(a->out_room, 0xa5, sizeof a->out_room);
  memset(a->out2_room, 0xa5, sizeof a->out2_room);
  bool is_of_master = strncmp(function->name, "mc_master_", 10) == 0;
  bool is_of_node = strncmp(function->name, "mc_node_", 8) == 0;
  a->root = is_of_master ? (void *)master : is_of_node ? (void *)node : (void *)store;
  a->id = strncmp(function->name, "mc_store_put_", 13) == 0 ? writing : reading;
  a->key = "key";
  a->key_length = 3;
  a->data = a->memory;
  a->length = 64;
  a->count = 2;
  a->capacity = 1;
  a->timeout_ms = 1000;
  a->text = "segment";
  a->cq = cq;
  a->options = a->options_room;
  a->out = a->out_room;
  a->out2 = a->out2_room;
  a->options_size = (uint32_t)function->options_size;
  resize(a->options, a->options_size);
  if (function->info_size != 0) resize(a->out, (uint32_t)function->info_size);
  for (size_t i = 0; i < 2; i++) {
    a->keys[i] = a->puts[i].key = a->gets[i].key = a->sizes[i].key = key_of(i == 0 ? "k0" : "k1");
    a->spans[i] = span_of(a->memory + i * 64, 64);
    a->puts[i].spans = a->gets[i].spans = a->ranges[i].spans = &a->spans[i];
    a->puts[i].span_count = a->gets[i].span_count = a->ranges[i].span_count = 1;
    a->sizes[i].size = 64;
  }
  a->array = (function->has & PUTS)     ? (const void *)a->puts
             : (function->has & GETS)   ? (const void *)a->gets
             : (function->has & KEYS)   ? (const void *)a->keys
             : (function->has & SIZES)  ? (const void *)a->sizes
             : (function->has & RANGES) ? (const void *)a->ranges
                                        : (const void *)a->spans;
}

static size_t tried, faults;

static void try_one(const function_t *function, const spoil_t *spoil) {
  static arguments_t a, before;
  mc_status_t expected = spoil->expected;
  make_arguments(&a, function);
  spoil->spoil(&a);
  if ((function->has & ENDS) && spoil->spoil == root_null) expected = MC_OK; /* as free(NULL) */
  /* A failure whose text is known, so that a missing one shows. An address may have any digits. */
  CHECK_STATUS(MC_ERR_INVALID_ARGUMENT, mc_log_set_level(99));
  before = a;
  mc_status_t status = function->call(&a);
  const char *text = mc_last_error_message();
  tried++;
  if (status != expected) {
    fprintf(stderr, "%s with %s: expected %s, got %s: \"%s\"\n", function->name, spoil->what, mc_status_name(expected),
            mc_status_name(status), text);
    faults++;
  } else if (status != MC_OK && (text[0] == 0 || strstr(text, "log level") != NULL)) {
    fprintf(stderr, "%s with %s: failed without a text\n", function->name, spoil->what);
    faults++;
  } else if (memcmp(before.out_room, a.out_room, sizeof a.out_room) != 0 ||
             memcmp(before.out2_room, a.out2_room, sizeof a.out2_room) != 0) {
    fprintf(stderr, "%s with %s: wrote an output\n", function->name, spoil->what);
    faults++;
  }
}

static void every_misuse_is_a_status_and_a_text(void) {
  for (size_t i = 0; i < FUNCTION_COUNT; i++)
    for (size_t k = 0; k < SPOIL_COUNT; k++)
      if (FUNCTIONS[i].has & SPOILS[k].kind) try_one(&FUNCTIONS[i], &SPOILS[k]);
  printf("  %zu ways to misuse %zu functions\n", tried, FUNCTION_COUNT);
  CHECK(faults == 0, "%zu calls answered otherwise than the header says", faults);
}

static void make_world(void) {
  mc_master_options_t of_master = mc_master_options_default();
  mc_node_options_t of_node = mc_node_options_default();
  mc_master_info_t info = mc_master_info_default();
  mc_store_put_size_t put;
  mc_store_key_t key = key_of("read");
  mc_store_result_t result;
  closed = store_with(1 << 20);
  CHECK_OK(mc_store_close(closed));
  store = store_with(8 << 20);
  CHECK_OK(mc_master_create(&of_master, &master));
  CHECK_OK(mc_master_get_info(master, &info));
  of_node.masters = info.address;
  of_node.memory_bytes = 1 << 20;
  CHECK_OK(mc_node_create(&of_node, &node));
  other_engine = engine_with("local");
  CHECK_OK(mc_cq_create(engine_of_store(store), NULL, &cq));
  CHECK_OK(mc_cq_create(other_engine, NULL, &foreign_cq));
  put_pattern(store, "read", 100, 0);
  CHECK_OK(mc_store_get_begin(store, &key, 1, NULL, &reading, &result));
  put.key = key_of("written");
  put.size = 256;
  CHECK_OK(mc_store_put_begin(store, &put, 1, NULL, &writing, &result));
}

static void end_world(void) {
  CHECK_OK(mc_store_close(store));
  CHECK_OK(mc_engine_destroy(other_engine));
  CHECK_OK(mc_node_destroy(node));
  CHECK_OK(mc_master_destroy(master));
}

/* The store lives on as if nothing had been. */
static void nothing_of_it_left_a_trace(void) {
  put_pattern(store, "after all", 5000, 1);
  check_pattern(store, "after all", 5000, 1);
  CHECK_OK(mc_store_get_end(store, reading));
  CHECK_OK(mc_store_put_revoke(store, writing));
  CHECK(store_info_of(store).child_count == 0, "something is left");
}

static void the_table_has_every_function_of_the_store(void) {
  char path[4096], name[256];
  const char *named = getenv("SYMBOLS"), *slash = strrchr(__FILE__, '/');
  snprintf(path, sizeof path, "%.*s../abi/symbols.txt", slash != NULL ? (int)(slash - __FILE__) + 1 : 0, __FILE__);
  FILE *file = fopen(named != NULL ? named : path, "r");
  size_t count = 0;
  CHECK(file != NULL, "%s: %s", path, strerror(errno));
  while (fscanf(file, "%255s", name) == 1) {
    bool is_listed_here = false;
    if (strncmp(name, "mc_store_", 9) != 0 && strncmp(name, "mc_master_", 10) != 0 && strncmp(name, "mc_node_", 8) != 0)
      continue;
    for (size_t i = 0; i < FUNCTION_COUNT; i++) is_listed_here |= strcmp(FUNCTIONS[i].name, name) == 0;
    CHECK(is_listed_here, "%s is exported and not in the table", name);
    count++;
  }
  fclose(file);
  CHECK(count == FUNCTION_COUNT, "%zu exported, %zu in the table", count, FUNCTION_COUNT);
}

int main(void) {
  hang_guard(240);
  RUN(the_table_has_every_function_of_the_store);
  RUN(make_world);
  RUN(every_misuse_is_a_status_and_a_text);
  RUN(nothing_of_it_left_a_trace);
  RUN(end_world);
  return 0;
}
