/* Is every misuse of every function a status and a text, without a trace in the outputs and never a crash?
 * The table is compared with the exported symbols: a function without its rows fails. */
#include "misuse_rows.h"

#include <stdarg.h>

static const function_t *function_of(const char *name) {
  for (size_t i = 0; i < FUNCTION_COUNT; i++)
    if (strcmp(FUNCTIONS[i].name, name) == 0) return &FUNCTIONS[i];
  return NULL;
}

static size_t faults;

/* Every row is tried: one that fails is told, and counts. */
static void fault(const function_t *function, const char *what, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fprintf(stderr, "%s, %s: ", function->name, what);
  vfprintf(stderr, format, arguments);
  fprintf(stderr, "\n");
  va_end(arguments);
  faults++;
}

/* Calls with arguments of which at most one is spoiled, in a world of its own. */
static void call_once(const function_t *function, const row_t *row) {
  static world_t world;
  static arguments_t a, before;
  const char *what = row != NULL ? row->what : "nothing wrong";
  mc_status_t expected = row != NULL ? row->expected : MC_OK;
  char stale_text[64];
  make_world(&world);
  make_arguments(&a, &world);
  fit_arguments(&a, function);
  if (row != NULL) row->spoil(&a);
  /* A failure that is known, so that a missing text shows. */
  CHECK_STATUS(MC_ERR_INVALID_ARGUMENT, mc_log_set_level(99));
  snprintf(stale_text, sizeof stale_text, "%s", mc_last_error_message());
  before = a;
  mc_status_t status = function->call(&a);
  const char *text = mc_last_error_message();
  bool is_known = strcmp(mc_status_name(status), "UNKNOWN") != 0 && status != MC_ERR_INTERNAL;
  if (expected == ANY ? !is_known : status != expected) {
    fault(function, what, "expected %s, got %s: \"%s\"", expected == ANY ? "any status" : mc_status_name(expected),
          mc_status_name(status), text);
  } else if (status != MC_OK) {
    bool is_old = strncmp(text, stale_text, sizeof stale_text - 1) == 0 && function->call != call_log_set_level;
    bool is_free_to_write = (row != NULL && row->writes) || expected == ANY;
    if (text[0] == 0 || is_old) fault(function, what, "failed without a text");
    if (!is_free_to_write && memcmp(before.out_room, a.out_room, sizeof a.out_room) != 0)
      fault(function, what, "failed and wrote its output");
    if (!is_free_to_write && memcmp(before.out2_room, a.out2_room, sizeof a.out2_room) != 0)
      fault(function, what, "failed and wrote its second output");
  }
  if (status == MC_OK && function->call == call_engine_create) CHECK_OK(mc_engine_destroy(*(mc_engine_t **)a.out));
  end_world(&world);
}

/* Without anything wrong each succeeds: what fails in a row is what the row says. */
static void every_call_succeeds_unspoiled(void) {
  for (size_t i = 0; i < FUNCTION_COUNT; i++)
    if (FUNCTIONS[i].call != NULL) call_once(&FUNCTIONS[i], NULL);
}

static void every_misuse_is_a_status_and_a_text(void) {
  for (size_t i = 0; i < ROW_COUNT; i++) {
    const function_t *function = function_of(ROWS[i].function);
    CHECK(function != NULL && function->call != NULL, "no function %s", ROWS[i].function);
    call_once(function, &ROWS[i]);
  }
  printf("  %zu ways to misuse %zu functions\n", ROW_COUNT, FUNCTION_COUNT);
}

static bool has_row(const char *function, kind_t kind) {
  for (size_t i = 0; i < ROW_COUNT; i++)
    if (ROWS[i].kind == kind && strcmp(ROWS[i].function, function) == 0) return true;
  return false;
}

static void every_function_has_its_rows(void) {
  static const char *const KINDS[] = {"NULL engine", "stale engine", "foreign engine", "destroyed engine",
                                      "NULL id",     "stale id",     "foreign id"};
  for (size_t i = 0; i < FUNCTION_COUNT; i++) {
    const function_t *function = &FUNCTIONS[i];
    int last = function->handles == ENGINE_AND_ID ? FOREIGN_ID : DESTROYED_ENGINE;
    CHECK((function->handles == NO_HANDLE) == (function->exempt != NULL), "%s: exempt without a reason",
          function->name);
    for (int kind = NULL_ENGINE; function->handles != NO_HANDLE && kind <= last; kind++)
      CHECK(has_row(function->name, (kind_t)kind), "%s has no row for a %s", function->name, KINDS[kind]);
  }
}

/* The exported names, one per line: argument, SYMBOLS in the environment, or the checked-in list. */
static FILE *open_symbols(int argc, char **argv) {
  char path[4096];
  const char *named = argc > 1 ? argv[1] : getenv("SYMBOLS");
  const char *slash = strrchr(__FILE__, '/');
  snprintf(path, sizeof path, "%.*s../abi/symbols.txt", slash != NULL ? (int)(slash - __FILE__) + 1 : 0, __FILE__);
  FILE *file = fopen(named != NULL ? named : path, "r");
  CHECK(file != NULL, "%s: %s", named != NULL ? named : path, strerror(errno));
  return file;
}

/* Those have tables of their own: api_store_misuse.c and api_conductor.c. */
static bool is_elsewhere(const char *name) {
  return strncmp(name, "mc_store_", 9) == 0 || strncmp(name, "mc_master_", 10) == 0 ||
         strncmp(name, "mc_node_", 8) == 0 || strncmp(name, "mc_conductor_", 13) == 0;
}

static void the_table_has_every_exported_function(int argc, char **argv) {
  FILE *file = open_symbols(argc, argv);
  bool seen[FUNCTION_COUNT];
  char name[256];
  memset(seen, 0, sizeof seen);
  while (fscanf(file, "%255s", name) == 1) {
    if (strncmp(name, "mc_", 3) != 0 || is_elsewhere(name)) continue;
    const function_t *function = function_of(name);
    CHECK(function != NULL, "%s is exported and not in the table", name);
    seen[function - FUNCTIONS] = true;
  }
  fclose(file);
  for (size_t i = 0; i < FUNCTION_COUNT; i++) CHECK(seen[i], "%s is not exported", FUNCTIONS[i].name);
}

int main(int argc, char **argv) {
  hang_guard(280);
  the_table_has_every_exported_function(argc, argv);
  RUN(every_function_has_its_rows);
  RUN(every_call_succeeds_unspoiled);
  RUN(every_misuse_is_a_status_and_a_text);
  CHECK(faults == 0, "%zu calls answered otherwise than the header says", faults);
  return 0;
}
