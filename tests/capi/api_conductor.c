/* Is every misuse of every function of the conductor a status and a text, without a trace in the outputs and never a
 * crash? A function says which kinds of arguments it has; each kind is spoiled in all the ways there are for it. */
#include "conductor.h"
#include "flow.h"

/* What a call gets. Valid as it starts; one thing is spoiled. */
typedef struct arguments_t {
  void *root;
  void *options, *out, *out2, *out3;
  const void *array;
  size_t count, capacity;
  const char *text;
  uint64_t id, context;
  uint32_t rank, number;
  mc_conductor_event_t events[2];
  mc_conductor_prompt_t prompt;
  uint64_t room[128], out_room[256], out2_room[64], out3_room[64];
  uint64_t keys[4];
  uint32_t tokens[64];
} arguments_t;

enum {
  HANDLE = 1 << 0,
  OPTIONS = 1 << 1, /* may be NULL */
  NEEDS = 1 << 2,   /* options that must be there */
  FLAGGED = 1 << 3, /* options with flags behind the first eight bytes */
  OUT = 1 << 4,
  FREE_OUT = 1 << 5, /* may be NULL */
  INFO = 1 << 6,
  OUT2 = 1 << 7,
  OUT3 = 1 << 8,
  NAME = 1 << 9, /* a text that must be there */
  TEXT = 1 << 10,
  INSTANCE = 1 << 11,
  CONTEXT = 1 << 12,
  REQUEST = 1 << 13,
  RANK = 1 << 14,
  ARRAY = 1 << 15,
  EVENTS = 1 << 16,
  PROMPT = 1 << 17,
  NUMBER = 1 << 18,
  BUFFER = 1 << 19,  /* out is `capacity` of something, may be NULL for none, and too small is told */
  ENDS = 1 << 20,    /* the handle may be NULL */
  SERVING = 1 << 21, /* options of an instance */
  OPENING = 1 << 22, /* options of a context */
  ASKING = 1 << 23,  /* a request */
  MAKING = 1 << 24   /* options of a conductor */
};

#define C ((mc_conductor_t *)a->root)
#define CALL(name, expression) \
  static mc_status_t call_##name(arguments_t *a) { return expression; }

CALL(create, mc_conductor_create((mc_conductor_options_t *)a->options, NULL, (mc_conductor_t **)a->out))
CALL(destroy, mc_conductor_destroy(C))
CALL(get_info, mc_conductor_get_info(C, (mc_conductor_info_t *)a->out))
CALL(sweep, mc_conductor_sweep(C))
CALL(snapshot, mc_conductor_snapshot(C, a->out, a->capacity, (size_t *)a->out2))
CALL(restore, mc_conductor_restore(C, a->array, a->count, (mc_conductor_restored_t *)a->out))
CALL(get_metrics, mc_conductor_get_metrics(C, (char *)a->out, a->capacity, (size_t *)a->out2))
CALL(preset, mc_conductor_preset(a->text, NULL, (mc_conductor_cost_t *)a->out))
CALL(register_instance, mc_conductor_register_instance(C, (mc_conductor_instance_options_t *)a->options,
                                                       (mc_conductor_instance_t *)a->out))
CALL(unregister_instance, mc_conductor_unregister_instance(C, a->text))
CALL(find_instance, mc_conductor_find_instance(C, a->text, (mc_conductor_instance_t *)a->out))
CALL(get_instance, mc_conductor_get_instance(C, a->id, (mc_conductor_instance_info_t *)a->out))
CALL(report, mc_conductor_report(C, a->id, a->rank, (mc_conductor_report_t *)a->options))
CALL(open_context,
     mc_conductor_open_context(C, (mc_conductor_context_options_t *)a->options, (mc_conductor_context_t *)a->out))
CALL(close_context, mc_conductor_close_context(C, a->context))
CALL(apply,
     mc_conductor_apply(C, a->context, (mc_conductor_event_t *)a->array, a->count, (mc_conductor_applied_t *)a->out))
CALL(clear, mc_conductor_clear(C, a->id, a->rank))
CALL(hash, mc_conductor_hash(C, a->context, (const uint32_t *)a->array, a->count, (uint64_t *)a->out, a->capacity,
                             (size_t *)a->out2))
CALL(match, mc_conductor_match(C, a->context, (const mc_conductor_prompt_t *)a->array, (mc_conductor_match_t *)a->out,
                               a->capacity, (size_t *)a->out2))
CALL(schedule, mc_conductor_schedule(C, (mc_conductor_request_t *)a->options, (mc_conductor_decision_t *)a->out))
CALL(recheck, mc_conductor_recheck(C, a->id, (mc_conductor_rejection_t *)a->out))
CALL(find_request, mc_conductor_find_request(C, a->text, (mc_conductor_request_id_t *)a->out))
CALL(feedback, mc_conductor_feedback(C, a->id, a->number))
CALL(explain, mc_conductor_explain(C, a->id, (char *)a->out, a->capacity, (size_t *)a->out2))
CALL(explain_request, mc_conductor_explain_request(C, (mc_conductor_request_t *)a->options, (char *)a->out, a->capacity,
                                                   (size_t *)a->out2))
CALL(take_advice, mc_conductor_take_advice(C, (mc_conductor_copy_t *)a->out, (mc_conductor_context_t *)a->out3, NULL, 0,
                                           (size_t *)a->out2))

typedef struct function_t {
  const char *name;
  mc_status_t (*call)(arguments_t *a);
  int has;
  size_t options_size, info_size;
} function_t;

#define F(name, has, options, info) \
  { "mc_conductor_" #name, call_##name, has, options, info }

static const function_t FUNCTIONS[] = {
    F(create, OPTIONS | FLAGGED | MAKING | OUT, sizeof(mc_conductor_options_t), 0),
    F(destroy, HANDLE | ENDS, 0, 0),
    F(get_info, HANDLE | INFO, 0, sizeof(mc_conductor_info_t)),
    F(sweep, HANDLE, 0, 0),
    F(snapshot, HANDLE | BUFFER | OUT2, 0, 0),
    F(restore, HANDLE | ARRAY | FREE_OUT, 0, 0),
    F(get_metrics, HANDLE | BUFFER | OUT2, 0, 0),
    F(preset, TEXT | INFO, 0, sizeof(mc_conductor_cost_t)),
    F(register_instance, HANDLE | OPTIONS | NEEDS | SERVING | FREE_OUT, sizeof(mc_conductor_instance_options_t), 0),
    F(unregister_instance, HANDLE | NAME | TEXT, 0, 0),
    F(find_instance, HANDLE | NAME | TEXT | OUT, 0, 0),
    F(get_instance, HANDLE | INSTANCE | INFO, 0, sizeof(mc_conductor_instance_info_t)),
    F(report, HANDLE | INSTANCE | RANK | OPTIONS | FLAGGED, sizeof(mc_conductor_report_t), 0),
    F(open_context, HANDLE | OPTIONS | NEEDS | OPENING | OUT, sizeof(mc_conductor_context_options_t), 0),
    F(close_context, HANDLE | CONTEXT, 0, 0),
    F(apply, HANDLE | CONTEXT | ARRAY | EVENTS | FREE_OUT, 0, 0),
    F(clear, HANDLE | INSTANCE | RANK, 0, 0),
    F(hash, HANDLE | CONTEXT | ARRAY | BUFFER | OUT2, 0, 0),
    F(match, HANDLE | CONTEXT | PROMPT | BUFFER | OUT2, 0, 0),
    F(schedule, HANDLE | OPTIONS | NEEDS | ASKING | INFO, sizeof(mc_conductor_request_t),
      sizeof(mc_conductor_decision_t)),
    F(recheck, HANDLE | REQUEST | OUT, 0, 0),
    F(find_request, HANDLE | NAME | TEXT | OUT, 0, 0),
    F(feedback, HANDLE | REQUEST | NUMBER, 0, 0),
    F(explain, HANDLE | REQUEST | BUFFER | OUT2, 0, 0),
    F(explain_request, HANDLE | OPTIONS | NEEDS | ASKING | BUFFER | OUT2, sizeof(mc_conductor_request_t), 0),
    F(take_advice, HANDLE | OUT | OUT2 | OUT3, 0, 0),
};
#define FUNCTION_COUNT (sizeof FUNCTIONS / sizeof FUNCTIONS[0])

/* The world: what is live, and what is not any more. */
static team_t team, other_team;
static mc_conductor_t *destroyed;
static mc_engine_t *engine;
static mc_conductor_request_id_t request, ended;
static mc_conductor_instance_t gone;

typedef struct spoil_t {
  const char *what;
  int kind;
  void (*spoil)(arguments_t *a);
  mc_status_t expected;
} spoil_t;

static void resize(void *structure, uint32_t size) { memcpy(structure, &size, sizeof size); }
static uint32_t size_of(const void *structure) {
  uint32_t size;
  memcpy(&size, structure, sizeof size);
  return size;
}
static const char NO_UTF8[] = "ab\xff\xfe";
static char long_name[302];
#define SPOIL(name) static void name(arguments_t *a)
#define I ((mc_conductor_instance_options_t *)a->options)
#define O ((mc_conductor_context_options_t *)a->options)
#define R ((mc_conductor_request_t *)a->options)
#define M ((mc_conductor_options_t *)a->options)

SPOIL(root_null) { a->root = NULL; }
SPOIL(root_destroyed) { a->root = destroyed; }
SPOIL(root_engine) { a->root = engine; }
SPOIL(root_stranger) { a->root = a->room; }
SPOIL(root_number) { a->root = (void *)(uintptr_t)1; }
SPOIL(root_between) { a->root = (char *)a->root + 1; }
SPOIL(root_last) { a->root = (void *)UINTPTR_MAX; }
SPOIL(options_null) { a->options = NULL; }
SPOIL(options_unaligned) {
  memmove((char *)a->options + 1, a->options, sizeof a->room - 1);
  a->options = (char *)a->options + 1;
}
SPOIL(options_size_zero) { resize(a->options, 0); }
SPOIL(options_size_four) { resize(a->options, 4); }
SPOIL(options_size_all) { resize(a->options, UINT32_MAX); }
SPOIL(options_flags_unknown) { ((uint64_t *)a->options)[1] = (uint64_t)1 << 63; }
SPOIL(options_newer_in_use) {
  uint32_t size = size_of(a->options);
  resize(a->options, size + 24);
  ((char *)a->options)[size + 23] = 1;
}
SPOIL(out_null) { a->out = NULL; }
SPOIL(out_unaligned) { a->out = (char *)a->out + 1; }
SPOIL(out2_null) { a->out2 = NULL; }
SPOIL(out2_unaligned) { a->out2 = (char *)a->out2 + 1; }
SPOIL(out3_null) { a->out3 = NULL; }
SPOIL(info_size_zero) { resize(a->out, 0); }
SPOIL(info_size_seven) { resize(a->out, 7); }
SPOIL(info_size_all) { resize(a->out, UINT32_MAX); }
SPOIL(text_null) { a->text = NULL; }
SPOIL(text_no_utf8) { a->text = NO_UTF8; }
SPOIL(id_zero) { a->id = a->context = 0; }
SPOIL(id_one) { a->id = a->context = 1; }
SPOIL(id_of_ones) { a->id = a->context = UINT64_MAX; }
SPOIL(instance_gone) { a->id = gone; }
SPOIL(instance_foreign) { a->id = other_team.prefill[0]; }
SPOIL(instance_is_context) { a->id = team.context; }
SPOIL(context_foreign) { a->context = other_team.context; }
SPOIL(context_is_instance) { a->context = team.prefill[0]; }
SPOIL(request_ended) { a->id = ended; }
SPOIL(request_is_instance) { a->id = team.prefill[0]; }
SPOIL(rank_beyond) { a->rank = 1; }
SPOIL(rank_last) { a->rank = UINT32_MAX; }
SPOIL(array_null) { a->array = NULL; }
SPOIL(array_longest) { a->count = SIZE_MAX; }
SPOIL(buffer_null) { a->out = NULL; }
SPOIL(buffer_longest) { a->capacity = SIZE_MAX; }
SPOIL(event_change) { a->events[1].change = 9; }
SPOIL(event_tier) { a->events[1].tier = 5; }
SPOIL(event_all_tiers) { a->events[1].tier = MC_CONDUCTOR_TIER_ALL; }
SPOIL(event_clears_keys) { a->events[1].change = MC_CONDUCTOR_CHANGE_CLEARED; }
SPOIL(event_keys_null) { a->events[1].keys = NULL; }
SPOIL(event_reserved) { a->events[1].reserved = 1; }
SPOIL(prompt_null) { a->array = NULL; }
SPOIL(prompt_both) { a->prompt.tokens = a->tokens, a->prompt.token_count = 1; }
SPOIL(prompt_keys_null) { a->prompt.keys = NULL; }
SPOIL(prompt_longest) { a->prompt.key_count = SIZE_MAX; }
SPOIL(number_zero) { a->number = 0; }
SPOIL(number_last) { a->number = UINT32_MAX; }
SPOIL(serving_nothing) { I->role = 0; }
SPOIL(serving_unknown) { I->role = 5; }
SPOIL(serving_unnamed) { I->name = NULL; }
SPOIL(serving_long_name) { I->name = long_name; }
SPOIL(serving_no_utf8) { I->name = NO_UTF8; }
SPOIL(serving_no_model) { I->model = NULL; }
SPOIL(serving_no_blocks) { I->block_size = 0; }
SPOIL(serving_many_ranks) { I->rank_count = 1025; }
SPOIL(serving_another_model) { I->model = "n"; }
SPOIL(opening_no_model) { O->model = NULL; }
SPOIL(opening_no_blocks) { O->block_size = 0; }
SPOIL(opening_reserved) { O->reserved = 1; }
SPOIL(opening_unknown_hash) { O->hash = 3; }
SPOIL(opening_seedless) { O->hash = MC_CONDUCTOR_HASH_VLLM_SHA256; }
SPOIL(opening_two_seeds) { O->python_hash_seed = "0"; }
SPOIL(opening_long_salt) { O->salt = long_name; }
SPOIL(asking_priority) { R->priority = 4; }
SPOIL(asking_great_priority) { R->priority = 256; }
SPOIL(asking_class) { R->service_class = 4; }
SPOIL(asking_nothing) { R->prompt.key_count = 0; }
SPOIL(asking_few_tokens) { R->input_tokens = 1; }
SPOIL(asking_keys_null) { R->prompt.keys = NULL; }
SPOIL(asking_both) { R->prompt.tokens = a->tokens, R->prompt.token_count = 10; }
SPOIL(asking_stale_context) { R->context = team.prefill[0]; }
SPOIL(asking_long_name) { R->name = long_name; }
SPOIL(making_policy) { M->policy = "best"; }
SPOIL(making_admission) { M->admission = "maybe"; }
SPOIL(making_group) { M->most_in_group = 9; }
SPOIL(making_threshold) { M->balancing_threshold = -1; }
SPOIL(making_no_number) { M->learning = NAN; }
SPOIL(making_class) { M->classes[3].tbt_seconds = -1; }
SPOIL(making_explanations) { M->explain_count = 65537; }
SPOIL(making_copies) { M->copied_blocks_per_second = -1; }
SPOIL(making_promises) { M->promise_seconds = INFINITY; }
SPOIL(making_long_name) { M->name = long_name; }

#define BAD(what, kind, spoil) \
  { what, kind, spoil, MC_ERR_INVALID_ARGUMENT }
#define NO_HANDLE(what, kind, spoil) \
  { what, kind, spoil, MC_ERR_INVALID_HANDLE }

static const spoil_t SPOILS[] = {
    NO_HANDLE("a NULL handle", HANDLE, root_null),
    NO_HANDLE("a destroyed handle", HANDLE, root_destroyed),
    NO_HANDLE("an engine for a handle", HANDLE, root_engine),
    NO_HANDLE("memory for a handle", HANDLE, root_stranger),
    NO_HANDLE("1 for a handle", HANDLE, root_number),
    NO_HANDLE("a handle and a byte", HANDLE, root_between),
    NO_HANDLE("the last address", HANDLE, root_last),
    BAD("no options where some are needed", NEEDS, options_null),
    BAD("unaligned options", OPTIONS, options_unaligned),
    BAD("options of size 0", OPTIONS, options_size_zero),
    BAD("options of size 4", OPTIONS, options_size_four),
    BAD("options of any size", OPTIONS, options_size_all),
    BAD("unknown flags in options", FLAGGED, options_flags_unknown),
    {"options of the future", OPTIONS, options_newer_in_use, MC_ERR_UNSUPPORTED},
    BAD("a NULL output", OUT, out_null),
    BAD("an unaligned output", OUT | FREE_OUT, out_unaligned),
    BAD("a NULL second output", OUT2, out2_null),
    BAD("an unaligned second output", OUT2, out2_unaligned),
    BAD("a NULL third output", OUT3, out3_null),
    BAD("a NULL info", INFO, out_null),
    BAD("an unaligned info", INFO, out_unaligned),
    BAD("an info of size 0", INFO, info_size_zero),
    BAD("an info of size 7", INFO, info_size_seven),
    BAD("an info of any size", INFO, info_size_all),
    BAD("a NULL name", NAME, text_null),
    BAD("a text that is no UTF-8", TEXT, text_no_utf8),
    NO_HANDLE("id 0", INSTANCE | CONTEXT | REQUEST, id_zero),
    NO_HANDLE("id 1", INSTANCE | CONTEXT | REQUEST, id_one),
    NO_HANDLE("an id of ones", INSTANCE | CONTEXT | REQUEST, id_of_ones),
    NO_HANDLE("an instance that is gone", INSTANCE, instance_gone),
    NO_HANDLE("an instance of another conductor", INSTANCE, instance_foreign),
    NO_HANDLE("a context for an instance", INSTANCE, instance_is_context),
    NO_HANDLE("a context of another conductor", CONTEXT, context_foreign),
    NO_HANDLE("an instance for a context", CONTEXT, context_is_instance),
    NO_HANDLE("a request that ended", REQUEST, request_ended),
    NO_HANDLE("an instance for a request", REQUEST, request_is_instance),
    {"a rank too high", RANK, rank_beyond, MC_ERR_NOT_FOUND},
    {"the highest rank", RANK, rank_last, MC_ERR_NOT_FOUND},
    BAD("a NULL array", ARRAY, array_null),
    BAD("the longest array", ARRAY, array_longest),
    BAD("a NULL buffer that is said to be long", BUFFER, buffer_null),
    BAD("the longest buffer", BUFFER, buffer_longest),
    BAD("an unknown change", EVENTS, event_change),
    BAD("an unknown tier", EVENTS, event_tier),
    BAD("blocks stored in all tiers", EVENTS, event_all_tiers),
    BAD("a clearing with keys", EVENTS, event_clears_keys),
    BAD("NULL keys of an event", EVENTS, event_keys_null),
    BAD("a reserved field", EVENTS, event_reserved),
    BAD("a NULL prompt", PROMPT, prompt_null),
    BAD("a prompt of tokens and keys", PROMPT, prompt_both),
    BAD("a prompt of NULL keys", PROMPT, prompt_keys_null),
    BAD("the longest prompt", PROMPT, prompt_longest),
    BAD("feedback 0", NUMBER, number_zero),
    BAD("the highest feedback", NUMBER, number_last),
    BAD("an instance without a role", SERVING, serving_nothing),
    BAD("an instance with an unknown role", SERVING, serving_unknown),
    BAD("an instance without a name", SERVING, serving_unnamed),
    BAD("an instance with a long name", SERVING, serving_long_name),
    BAD("an instance whose name is no UTF-8", SERVING, serving_no_utf8),
    BAD("an instance without a model", SERVING, serving_no_model),
    BAD("an instance without a block size", SERVING, serving_no_blocks),
    BAD("an instance with too many ranks", SERVING, serving_many_ranks),
    {"an instance of another model", SERVING, serving_another_model, MC_ERR_ALREADY_EXISTS},
    BAD("a context without a model", OPENING, opening_no_model),
    BAD("a context without a block size", OPENING, opening_no_blocks),
    BAD("a context's reserved field", OPENING, opening_reserved),
    BAD("an unknown hash", OPENING, opening_unknown_hash),
    BAD("a hash of vLLM without its seed", OPENING, opening_seedless),
    BAD("a seed of Python for another hash", OPENING, opening_two_seeds),
    BAD("a long salt", OPENING, opening_long_salt),
    BAD("a priority too high", ASKING, asking_priority),
    BAD("a priority that would be cut to 0", ASKING, asking_great_priority),
    BAD("a class too high", ASKING, asking_class),
    BAD("a request without tokens", ASKING, asking_nothing),
    BAD("a request of fewer tokens than its blocks have", ASKING, asking_few_tokens),
    BAD("a request of NULL keys", ASKING, asking_keys_null),
    BAD("a request of tokens and keys", ASKING, asking_both),
    NO_HANDLE("a request in no context", ASKING, asking_stale_context),
    BAD("a request with a long name", ASKING, asking_long_name),
    BAD("an unknown policy", MAKING, making_policy),
    BAD("an unknown admission", MAKING, making_admission),
    BAD("groups too large", MAKING, making_group),
    BAD("a threshold below 0", MAKING, making_threshold),
    BAD("a number that is none", MAKING, making_no_number),
    BAD("a class that promises less than nothing", MAKING, making_class),
    BAD("too many explanations", MAKING, making_explanations),
    BAD("fewer copies than none", MAKING, making_copies),
    BAD("promises for ever", MAKING, making_promises),
    BAD("a long name", MAKING, making_long_name),
};
#define SPOIL_COUNT (sizeof SPOILS / sizeof SPOILS[0])

static void make_arguments(arguments_t *a, const function_t *function) {
  static const mc_conductor_cost_t *cost;
  static mc_conductor_cost_t simple;
  simple = simple_cost();
  cost = &simple;
  memset(a, 0, sizeof *a);
  memset(a->out_room, 0xa5, sizeof a->out_room);
  memset(a->out2_room, 0xa5, sizeof a->out2_room);
  memset(a->out3_room, 0xa5, sizeof a->out3_room);
  a->root = team.conductor;
  a->id = (function->has & REQUEST) ? request : team.prefill[0];
  a->context = team.context;
  a->options = a->room;
  a->out = a->out_room;
  a->out2 = a->out2_room;
  a->out3 = a->out3_room;
  a->count = 2;
  a->capacity = 1;
  a->text = (function->has & NAME) ? "p1" : NULL;
  a->number = MC_CONDUCTOR_FEEDBACK_STARTED;
  if (function->options_size != 0) resize(a->options, (uint32_t)function->options_size);
  if (function->info_size != 0) resize(a->out, (uint32_t)function->info_size);
  for (size_t i = 0; i < 2; i++) a->events[i] = change_of(team.prefill[0], MC_CONDUCTOR_CHANGE_STORED, a->keys, 4);
  a->prompt.keys = a->keys;
  a->prompt.key_count = 4;
  a->array = (function->has & EVENTS)   ? (const void *)a->events
             : (function->has & PROMPT) ? (const void *)&a->prompt
                                        : (const void *)a->tokens;
  if (function->has & SERVING) {
    I->name = "p0";
    I->role = MC_CONDUCTOR_ROLE_PREFILL;
    I->model = "m";
    I->block_size = 10;
    I->cost = cost;
  }
  if (function->has & OPENING) {
    O->model = "m";
    O->block_size = 10;
  }
  if (function->has & ASKING) {
    R->context = team.context;
    R->prompt = a->prompt;
  }
}

static size_t tried, faults;

static void try_one(const function_t *function, const spoil_t *spoil) {
  static arguments_t a, before;
  mc_status_t expected = spoil->expected;
  make_arguments(&a, function);
  spoil->spoil(&a);
  if ((function->has & ENDS) && spoil->spoil == root_null) expected = MC_OK; /* as free(NULL) */
  CHECK_STATUS(MC_ERR_INVALID_ARGUMENT, mc_log_set_level(99));
  before = a;
  mc_status_t status = function->call(&a);
  const char *text = mc_last_error_message();
  tried++;
  if (status != expected) {
    fprintf(stderr, "%s with %s: expected %s, got %s: \"%s\"\n", function->name, spoil->what, mc_status_name(expected),
            mc_status_name(status), text);
    faults++;
  } else if (status != MC_OK && (text[0] == 0 || strstr(text, "99") != NULL)) {
    fprintf(stderr, "%s with %s: failed without a text\n", function->name, spoil->what);
    faults++;
  } else if (memcmp(before.out_room, a.out_room, sizeof a.out_room) != 0 ||
             memcmp(before.out2_room, a.out2_room, sizeof a.out2_room) != 0 ||
             memcmp(before.out3_room, a.out3_room, sizeof a.out3_room) != 0) {
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

/* Whatever was tried, the conductor is as it was. */
static void nothing_came_of_it(void) {
  mc_conductor_info_t info = mc_conductor_info_default();
  CHECK_OK(mc_conductor_get_info(team.conductor, &info));
  CHECK(info.instance_count == 3 && info.context_count == 1 && info.request_count == 1 && info.block_count == 4,
        "%zu blocks, %zu requests", (size_t)info.block_count, (size_t)info.request_count);
}

static mc_status_t no_cost(void *user_data, const mc_conductor_asked_t *asked, mc_conductor_candidate_t *candidates,
                           size_t count) {
  (void)user_data;
  (void)asked;
  (void)candidates;
  (void)count;
  return MC_OK;
}

static void drops(void *user_data) { ++*(int *)user_data; }

static void user_data_stays_with_whoever_made_no_conductor(void) {
  mc_conductor_options_t options = mc_conductor_options_default();
  mc_conductor_hooks_t hooks = mc_conductor_hooks_default();
  mc_conductor_t *made = NULL;
  int dropped = 0;
  hooks.cost = no_cost;
  hooks.cost_data = &dropped;
  hooks.drop = drops;
  options.learning = 2;
  CHECK_STATUS(MC_ERR_INVALID_ARGUMENT, mc_conductor_create(&options, &hooks, &made));
  options.learning = 0;
  hooks.struct_size = 3;
  CHECK_STATUS(MC_ERR_INVALID_ARGUMENT, mc_conductor_create(&options, &hooks, &made));
  CHECK(made == NULL && dropped == 0, "%d dropped", dropped);
  hooks.struct_size = sizeof hooks;
  CHECK_OK(mc_conductor_create(&options, &hooks, &made));
  CHECK_OK(mc_conductor_destroy(made));
  CHECK_STATUS(MC_ERR_INVALID_HANDLE, mc_conductor_destroy(made));
  CHECK(dropped == 1, "%d dropped", dropped);
}

static void the_table_has_every_exported_function(void) {
  char path[4096], name[256];
  const char *slash = strrchr(__FILE__, '/');
  size_t seen = 0;
  snprintf(path, sizeof path, "%.*s../abi/symbols.txt", slash != NULL ? (int)(slash - __FILE__) + 1 : 0, __FILE__);
  FILE *file = fopen(path, "r");
  CHECK(file != NULL, "%s: %s", path, strerror(errno));
  while (fscanf(file, "%255s", name) == 1) {
    bool is_there = false;
    if (strncmp(name, "mc_conductor_", 13) != 0) continue;
    for (size_t i = 0; i < FUNCTION_COUNT; i++) is_there = is_there || strcmp(FUNCTIONS[i].name, name) == 0;
    CHECK(is_there, "%s is exported and not in the table", name);
    seen++;
  }
  fclose(file);
  CHECK(seen == FUNCTION_COUNT, "%zu of %zu are exported", seen, FUNCTION_COUNT);
}

static void make_world(void) {
  static const uint64_t keys[4] = {1, 2, 3, 4};
  memset(long_name, 'a', sizeof long_name - 1);
  destroyed = exact_team().conductor;
  CHECK_OK(mc_conductor_destroy(destroyed));
  team = exact_team();
  other_team = exact_team();
  engine = engine_with("local");
  gone = serving(team.conductor, "gone", MC_CONDUCTOR_ROLE_BOTH);
  CHECK_OK(mc_conductor_unregister_instance(team.conductor, "gone"));
  request = run_keys(&team, keys, 4).request;
  ended = run_keys(&team, keys, 4).request;
  CHECK_OK(mc_conductor_feedback(team.conductor, ended, MC_CONDUCTOR_FEEDBACK_FINISHED));
}

int main(void) {
  hang_guard(120);
  the_table_has_every_exported_function();
  make_world();
  RUN(every_misuse_is_a_status_and_a_text);
  RUN(nothing_came_of_it);
  RUN(user_data_stays_with_whoever_made_no_conductor);
  CHECK_OK(mc_conductor_destroy(team.conductor));
  CHECK_OK(mc_conductor_destroy(other_team.conductor));
  CHECK_OK(mc_engine_destroy(engine));
  return 0;
}
