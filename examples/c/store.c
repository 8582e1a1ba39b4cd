/* A cache of KV blocks: prefill puts a block for each layer of a prompt, decode reads them layer by layer.
 *
 *   store                     all of it in this process: a master, memory, a client
 *   store HOST:PORT[,...]     against the masters named (mooncake master, mooncake node)
 */
#include <mooncake.h>
#include <stdint.h>
#include <stdio.h>

enum { LAYERS = 4, LAYER = 1 << 20 };

static const char KEY[] = "model/prompt/0";

static int failed(const char *what) {
  fprintf(stderr, "cannot %s: %s\n", what, mc_last_error_message());
  return 1;
}

static uint8_t pattern(int layer, size_t i) { return (uint8_t)(i * 31 + (i >> 12) + (size_t)layer * 7); }

/* What a prefill instance does: each layer goes out as soon as it is there, and nobody sees the object before the last. */
static int prefill(mc_store_t *store) {
  static uint8_t layer[LAYER];
  mc_store_put_size_t object = {{KEY, sizeof KEY - 1}, (uint64_t)LAYERS * LAYER};
  mc_store_put_options_t options = mc_store_put_options_default();
  mc_store_writing_t writing;
  mc_store_result_t result;
  options.flags = MC_STORE_FLAG_UPSERT;
  if (mc_store_put_begin(store, &object, 1, &options, &writing, &result) != MC_OK) return failed("begin the object");
  for (int i = 0; i < LAYERS; i++) {
    mc_span_t piece = {layer, LAYER};
    for (size_t k = 0; k < LAYER; k++) layer[k] = pattern(i, k);
    if (mc_store_put_write(store, writing, (uint64_t)i * LAYER, &piece, 1, -1) != MC_OK) return failed("write a layer");
  }
  if (mc_store_put_commit(store, writing, -1, &result) != MC_OK) return failed("commit the object");
  printf("prefill: %d layers of %d KiB are there\n", LAYERS, LAYER >> 10);
  return 0;
}

/* What a decode instance does: every byte that it gets was verified. */
static int decode(mc_store_t *store) {
  static uint8_t layer[LAYER];
  mc_store_key_t key = {KEY, sizeof KEY - 1};
  mc_store_reading_t reading;
  mc_store_result_t result;
  if (mc_store_get_begin(store, &key, 1, NULL, &reading, &result) != MC_OK) return failed("look the object up");
  for (int i = 0; i < LAYERS; i++) {
    mc_span_t place = {layer, LAYER};
    mc_store_range_t range = {(uint64_t)i * LAYER, &place, 1};
    if (mc_store_get_read(store, reading, &range, 1, -1) != MC_OK) return failed("read a layer");
    for (size_t k = 0; k < LAYER; k++)
      if (layer[k] != pattern(i, k)) return fprintf(stderr, "byte %zu of layer %d is wrong\n", k, i), 1;
  }
  mc_store_get_end(store, reading);
  printf("decode: every byte of %llu is as it was put\n", (unsigned long long)result.size);
  return 0;
}

int main(int argc, char **argv) {
  mc_store_options_t options = mc_store_options_default();
  mc_store_t *store;
  options.masters = argc > 1 ? argv[1] : NULL;
  if (mc_store_open(&options, &store) != MC_OK) return failed("open the store");
  int status = prefill(store) || decode(store);
  uint64_t removed = 0;
  if (status == 0 && mc_store_remove_matching(store, "model/prompt/", 13, NULL, 0, -1, &removed, NULL) != MC_OK)
    status = failed("remove the prompt");
  if (status == 0) printf("%llu object was removed\n", (unsigned long long)removed);
  mc_store_close(store);
  return status;
}
