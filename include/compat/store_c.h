/*
 * The names of Mooncake's store, on the same core as mooncake.h: programs written for them build and link unchanged.
 * Frozen: nothing here changes but comments. docs/compat.md has the native spelling of each name, and says where
 * behaviour is deliberately kinder.
 *
 * Every function may be called from any thread. Every pointer may be NULL and every handle stale: that is an error
 * code, never a crash. Keys are NUL-terminated, of 1 to 1024 bytes. Functions return 0, a count or bytes; or one of
 * Mooncake's negative numbers, -1 for a NULL. mc_last_error_message() of mooncake.h tells why a call of this thread
 * failed. The masters are those of this library.
 */
#ifndef MOONCAKE_STORE_C_H
#define MOONCAKE_STORE_C_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef void *mooncake_store_t;

/* How an object is kept. A NULL one, and a zero in any field, means the default. */
struct mooncake_replicate_config {
  size_t replica_num; /* copies; 0: 1 */
  int with_soft_pin;  /* not 0: for 30 minutes anything else is evicted first */
  int with_hard_pin;  /* not 0: never evicted */
  const char **preferred_segments;
  size_t preferred_segments_count;
};
typedef struct mooncake_replicate_config mooncake_replicate_config_t;

mooncake_store_t mooncake_store_create(void);

void mooncake_store_destroy(mooncake_store_t store);

/* Joins the master at `master_server_addr` ("host:port,..."; NULL: "127.0.0.1:50051"), and gives it
 * `global_segment_size` bytes of this process's memory under the name `local_hostname`. There is no metadata server to
 * ask, and no local buffer to size; `device_name` chooses among cards, of which there are none yet. */
int mooncake_store_setup(mooncake_store_t store, const char *local_hostname, const char *metadata_server,
                         uint64_t global_segment_size, uint64_t local_buffer_size, const char *protocol,
                         const char *device_name, const char *master_server_addr);

/* Sets up at 127.0.0.1:50051 what was not set up; gives more memory to what was. */
int mooncake_store_init_all(mooncake_store_t store, const char *protocol, const char *device_name,
                            uint64_t mount_segment_size);

/* 0: well; 1: not set up; 2: the master does not answer. */
int mooncake_store_health_check(mooncake_store_t store);

/* A key that is there already, or that somebody else is just putting, is 0, and nothing is stored. */
int mooncake_store_put(mooncake_store_t store, const char *key, const void *value, size_t size,
                       const mooncake_replicate_config_t *config);

int mooncake_store_put_from(mooncake_store_t store, const char *key, void *buffer, size_t size,
                            const mooncake_replicate_config_t *config);

/* 0 with a number for each key in results_out; or -1, and nothing was done. */
int mooncake_store_batch_put_from(mooncake_store_t store, const char **keys, void **buffers, const size_t *sizes,
                                  size_t count, const mooncake_replicate_config_t *config, int *results_out);

/* Bytes of the object, which the buffer must have room for. */
int64_t mooncake_store_get_into(mooncake_store_t store, const char *key, void *buffer, size_t size);

int mooncake_store_batch_get_into(mooncake_store_t store, const char **keys, void **buffers, const size_t *sizes,
                                  size_t count, int64_t *results_out);

/* 1 or 0. */
int mooncake_store_is_exist(mooncake_store_t store, const char *key);

int mooncake_store_batch_is_exist(mooncake_store_t store, const char **keys, size_t count, int *results_out);

int64_t mooncake_store_get_size(mooncake_store_t store, const char *key);

/* "host:port", the name of this process's memory. */
int mooncake_store_get_hostname(mooncake_store_t store, char *buf_out, size_t buf_len);

/* Without `force` an object that somebody reads stays, and that is -706. */
int mooncake_store_remove(mooncake_store_t store, const char *key, int force);

/* How many were removed. */
int64_t mooncake_store_remove_by_regex(mooncake_store_t store, const char *pattern, int force);

int64_t mooncake_store_remove_all(mooncake_store_t store, int force);

/* Spares later calls on this memory the registering. They work without it, too. */
int mooncake_store_register_buffer(mooncake_store_t store, void *buffer, size_t size);

int mooncake_store_unregister_buffer(mooncake_store_t store, void *buffer);

#ifdef __cplusplus
}
#endif

#endif /* MOONCAKE_STORE_C_H */
