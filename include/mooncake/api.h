/* Generated from src/ffi by tests/header.rs (BLESS=1 rewrites it). Do not edit: include <mooncake.h>. */

#ifndef MOONCAKE_API_H
#define MOONCAKE_API_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "mooncake/export.h"

/**
 * Version of this header: changes that break source or binary compatibility raise the major number (0.x: the minor).
 */
#define MC_VERSION_MAJOR 0

/**
 * Raised when functions or fields are added.
 */
#define MC_VERSION_MINOR 1

/**
 * Raised by corrections.
 */
#define MC_VERSION_PATCH 0

/**
 * The number in the library's SONAME (libmooncake.so.N): a program works with every library of the same number.
 */
#define MC_ABI_VERSION 0

/**
 * Creates no counters beyond those of mc_engine_get_stats().
 */
#define MC_ENGINE_FLAG_NO_METRICS 1

/**
 * Ignores MC_* environment variables.
 */
#define MC_ENGINE_FLAG_NO_ENVIRONMENT 2

/**
 * Listens nowhere: this engine can start transfers but offers nothing to peers on other hosts.
 */
#define MC_ENGINE_FLAG_NO_LISTEN 4

/**
 * Peers may read the region.
 */
#define MC_MEMORY_FLAG_REMOTE_READ 1

/**
 * Peers may write the region.
 */
#define MC_MEMORY_FLAG_REMOTE_WRITE 2

/**
 * Peers may do neither: the region is only a source or destination of this engine's own transfers.
 */
#define MC_MEMORY_FLAG_LOCAL_ONLY 4

/**
 * mc_memory_allocate: insist on huge pages instead of falling back to ordinary ones.
 */
#define MC_MEMORY_FLAG_HUGE_PAGES 8

/**
 * mc_memory_unregister, mc_memory_free: MC_ERR_BUSY instead of waiting.
 */
#define MC_MEMORY_FLAG_NO_WAIT 16

/**
 * Deliver one completion for the whole batch instead of one per request.
 */
#define MC_BATCH_FLAG_COMPLETE_ONCE 1

/**
 * The completion of one request.
 */
#define MC_COMPLETION_REQUEST 1

/**
 * The completion of a batch submitted with MC_BATCH_FLAG_COMPLETE_ONCE.
 */
#define MC_COMPLETION_BATCH 2

/**
 * A notification arrived: receive it with mc_notify_receive().
 */
#define MC_COMPLETION_NOTIFY 3

/**
 * An operation of a store ended that was submitted with this queue.
 */
#define MC_COMPLETION_STORE 4

/**
 * Longest notification in bytes.
 */
#define MC_NOTIFY_MAX_LENGTH 1048576

/**
 * mc_store_open: ignores MC_* environment variables in making engines.
 */
#define MC_STORE_FLAG_NO_ENVIRONMENT 1

/**
 * mc_store_open: remembers no leases, so that every get asks the master.
 */
#define MC_STORE_FLAG_NO_LEASE_CACHE 2

/**
 * Put: replaces an object that is there, instead of MC_ERR_ALREADY_EXISTS.
 */
#define MC_STORE_FLAG_UPSERT 4

/**
 * Put: the object is never evicted.
 */
#define MC_STORE_FLAG_HARD_PIN 8

/**
 * Put: MC_ERR_NO_SPACE rather than two replicas in one failure domain.
 */
#define MC_STORE_FLAG_STRICT_DOMAINS 16

/**
 * Get: asks the master although a lease is held, so that what was put before this call is seen.
 */
#define MC_STORE_FLAG_FRESH 32

/**
 * Exists: takes a lease, so that the objects are not evicted for a while.
 */
#define MC_STORE_FLAG_PROLONG 64

/**
 * Remove: MC_ERR_BUSY for an object that somebody reads.
 */
#define MC_STORE_FLAG_UNLESS_LEASED 128

/**
 * Put: the first replica is placed in the failure domain of this process, such as its host, if there is room.
 */
#define MC_STORE_FLAG_NEAR 256

/**
 * Longest key in bytes; the shortest has 1. Keys are bytes, not text.
 */
#define MC_STORE_KEY_MAX_LENGTH 1024

/**
 * No limit to what a tenant may have.
 */
#define MC_STORE_NO_QUOTA UINT64_MAX

/**
 * mc_conductor_create: blocks begin to move only when the request's turn has come (the paper's Algorithm 1).
 */
#define MC_CONDUCTOR_FLAG_LATE_TRANSFERS 1

/**
 * mc_conductor_create: what requests really take does not change what is predicted.
 */
#define MC_CONDUCTOR_FLAG_NO_LEARNING 2

/**
 * Classes of service.
 */
#define MC_CONDUCTOR_CLASS_COUNT 4

/**
 * mc_conductor_report_t: `queue_seconds` is set.
 */
#define MC_CONDUCTOR_REPORT_QUEUE 1

/**
 * mc_conductor_report_t: `decoding_requests` and `decoding_tokens` are set.
 */
#define MC_CONDUCTOR_REPORT_DECODING 2

/**
 * mc_conductor_report_t: `tbt_seconds` is set.
 */
#define MC_CONDUCTOR_REPORT_TBT 4

/**
 * Tiers of a match.
 */
#define MC_CONDUCTOR_TIER_COUNT 4

/**
 * Most instances that prefill a request together with the chosen one.
 */
#define MC_CONDUCTOR_GROUP_MAX 7

/**
 * Of mc_conductor_info_t.hooks_off: the hook of costs.
 */
#define MC_CONDUCTOR_HOOK_COST 1

/**
 * The hook of scores.
 */
#define MC_CONDUCTOR_HOOK_SCORE 2

/**
 * The hook of admission.
 */
#define MC_CONDUCTOR_HOOK_ADMISSION 4

/**
 * The hook of replication.
 */
#define MC_CONDUCTOR_HOOK_REPLICATE 8

/**
 * mc_master_create: there was no cluster before, so that nodes of one need not be waited for.
 */
#define MC_MASTER_FLAG_FOUND 1

/**
 * mc_master_create: ignores MC_* environment variables.
 */
#define MC_MASTER_FLAG_NO_ENVIRONMENT 2

/**
 * mc_node_create: ignores MC_* environment variables in making its engine.
 */
#define MC_NODE_FLAG_NO_ENVIRONMENT 1

/**
 * Says where requests should run: who has their prefix cached, and what serving them there would take.
 */
typedef struct mc_conductor_t mc_conductor_t;

/**
 * One end of transfers: its registered memory, its connections, its threads.
 */
typedef struct mc_engine_t mc_engine_t;

/**
 * A master: it knows which object lies where, and who may write, read and evict what.
 */
typedef struct mc_master_t mc_master_t;

/**
 * A node: memory that this process gives to the store.
 */
typedef struct mc_node_t mc_node_t;

/**
 * A way into a pooled cache of objects, and what of the cache runs in this process.
 */
typedef struct mc_store_t mc_store_t;

/**
 * Result of every call: MC_OK or a negative code. The numbers are permanent.
 */
typedef int32_t mc_status_t;

/**
 * How much a log line matters; a level includes all below it.
 */
typedef uint32_t mc_log_level_t;

/**
 * Receives one log line, NUL-terminated and without a line feed, valid during the call.
 *
 * Called from any thread, the library's own included, possibly from several at once. It must not call back into
 * the library.
 */
typedef void (*mc_log_fn)(void *user_data, mc_log_level_t level, const char *target, const char *message);

/**
 * Is told that user_data will not be used again.
 */
typedef void (*mc_drop_fn)(void *user_data);

/**
 * Whether bytes that cross a network carry a CRC32C per slice.
 */
typedef uint32_t mc_checksum_t;

/**
 * Whether engines of Mooncake itself are served and reached.
 */
typedef uint32_t mc_compat_t;

/**
 * How to make an engine. Zero means default in every field; mc_engine_options_default() fills struct_size.
 */
typedef struct mc_engine_options_t {
  /**
   * sizeof(mc_engine_options_t)
   */
  uint32_t struct_size;
  /**
   * Must be 0.
   */
  uint32_t reserved;
  /**
   * MC_ENGINE_FLAG_*
   */
  uint64_t flags;
  /**
   * Name shown to peers and, with a metadata backend, under which they find this engine; at most 127 bytes.
   * NULL: made from host name, process id and a number.
   */
  const char *name;
  /**
   * Address to listen on, as "10.0.0.1", "::1" or a host name. NULL: by `network_interface`, by `cidr`, else every
   * address of the host.
   */
  const char *bind_address;
  /**
   * Network interface whose address to listen on, such as "eth0".
   */
  const char *network_interface;
  /**
   * Listen on the address that lies in this network, such as "10.0.0.0/8".
   */
  const char *cidr;
  /**
   * Port to listen on; 0: one that the kernel gives.
   */
  uint16_t port;
  /**
   * Last port to try when `port` is taken; 0: only `port`.
   */
  uint16_t port_last;
  /**
   * Connections for data to each peer, 1 to 16; 0: chosen from the processors.
   */
  uint32_t lanes;
  /**
   * Threads that move data, 1 to 64; 0: chosen from the processors.
   */
  uint32_t worker_threads;
  /**
   * MC_CHECKSUM_*
   */
  mc_checksum_t checksum;
  /**
   * Paths that bytes may take, separated by commas, of "local", "memfd", "cma", "tcp". NULL: all.
   */
  const char *transports;
  /**
   * Deadline of batches that name none, in milliseconds; 0: 60,000.
   */
  uint64_t default_deadline_ms;
  /**
   * A peer that owes an answer and is silent for so long is taken for lost, in milliseconds; 0: 5,000.
   */
  uint64_t keepalive_ms;
  /**
   * Secret that every peer must share, 16 to 256 bytes. NULL: peers are not authenticated.
   */
  const void *psk;
  /**
   * Bytes of `psk`.
   */
  size_t psk_length;
  /**
   * Where names are looked up: "memory://NAME" (this process) or "file:///DIRECTORY" (shared by its readers).
   * NULL, or "P2PHANDSHAKE" as Mooncake says it: names are addresses.
   */
  const char *metadata;
  /**
   * Configuration file (.toml or .json). It is weaker than the environment, which is weaker than this struct.
   */
  const char *config_file;
  /**
   * Requests that may be under way at once; 0: 1,048,576.
   */
  uint64_t queue_limit;
  /**
   * MC_COMPAT_*
   */
  mc_compat_t compat;
  /**
   * Must be 0.
   */
  uint32_t reserved2;
  /**
   * Host name or address that peers are told, instead of the addresses listened on. NULL: those.
   */
  const char *advertise_host;
  /**
   * Part of the keys under which Mooncake's engines publish themselves in a metadata backend. NULL: none.
   */
  const char *metadata_cluster;
} mc_engine_options_t;

/**
 * What an engine is at the moment.
 */
typedef struct mc_engine_info_t {
  /**
   * sizeof(mc_engine_info_t), set by the caller.
   */
  uint32_t struct_size;
  /**
   * Port listened on; 0: none.
   */
  uint32_t port;
  /**
   * Name shown to peers.
   */
  char name[128];
  /**
   * "host:port" or "[host]:port" that peers on the network can open; "" when not listening.
   */
  char address[80];
  /**
   * Identity of this engine, 32 hexadecimal digits: made anew by each mc_engine_create().
   */
  char engine_id[40];
  /**
   * Usable paths, separated by commas.
   */
  char transports[64];
  /**
   * Segment of this engine's own memory, for transfers to itself.
   */
  uint64_t local_segment;
  /**
   * Connections for data to each peer.
   */
  uint32_t lanes;
  /**
   * Threads that move data.
   */
  uint32_t worker_threads;
  /**
   * Live registrations.
   */
  uint64_t region_count;
  /**
   * Bytes in live registrations, overlaps counted each time.
   */
  uint64_t registered_bytes;
  /**
   * Open segments, the local one not counted.
   */
  uint64_t segment_count;
  /**
   * Batches not yet released.
   */
  uint64_t batch_count;
  /**
   * Notifications that wait to be received.
   */
  uint64_t notify_count;
} mc_engine_info_t;

/**
 * How to register or allocate memory; mc_memory_options_default() fills struct_size.
 */
typedef struct mc_memory_options_t {
  /**
   * sizeof(mc_memory_options_t)
   */
  uint32_t struct_size;
  /**
   * Must be 0.
   */
  uint32_t reserved;
  /**
   * MC_MEMORY_FLAG_REMOTE_READ, _REMOTE_WRITE, _LOCAL_ONLY, _HUGE_PAGES; none of the first three: peers may read
   * and write.
   */
  uint64_t flags;
  /**
   * Where the memory is, such as "cpu:0"; at most 31 bytes, shown to peers. NULL: "*", unknown.
   */
  const char *location;
} mc_memory_options_t;

/**
 * One registration of memory. 0 is never valid.
 */
typedef uint64_t mc_region_t;

/**
 * A range of this process's memory.
 */
typedef struct mc_span_t {
  /**
   * First byte.
   */
  void *address;
  /**
   * Bytes.
   */
  size_t length;
} mc_span_t;

/**
 * What a registration is.
 */
typedef struct mc_memory_info_t {
  /**
   * sizeof(mc_memory_info_t), set by the caller.
   */
  uint32_t struct_size;
  /**
   * Times it was registered (identical registrations share one region).
   */
  uint32_t reference_count;
  /**
   * First byte.
   */
  void *address;
  /**
   * Bytes.
   */
  size_t length;
  /**
   * MC_MEMORY_FLAG_REMOTE_READ and _REMOTE_WRITE as they hold; _HUGE_PAGES when it lies on such.
   */
  uint64_t flags;
  /**
   * Transfers of this engine under way from or to it.
   */
  uint64_t use_count;
  /**
   * Made by mc_memory_allocate().
   */
  bool is_allocated;
  /**
   * Padding, 0.
   */
  uint8_t reserved[7];
  /**
   * Location hint.
   */
  char location[32];
} mc_memory_info_t;

/**
 * A peer's memory as this engine knows it. 0 is never valid.
 */
typedef uint64_t mc_segment_t;

/**
 * What an open segment is.
 */
typedef struct mc_segment_info_t {
  /**
   * sizeof(mc_segment_info_t), set by the caller.
   */
  uint32_t struct_size;
  /**
   * Regions known.
   */
  uint32_t region_count;
  /**
   * Name of the peer's engine.
   */
  char name[128];
  /**
   * Address at which the peer was met.
   */
  char address[80];
  /**
   * Identity of the peer's engine, 32 hexadecimal digits; another one after it restarted.
   */
  char engine_id[40];
  /**
   * Path that transfers of ordinary memory take now: "local", "memfd", "cma" or "tcp".
   */
  char path[16];
  /**
   * Bytes in the regions known.
   */
  uint64_t total_bytes;
  /**
   * It was made by mc_segment_import().
   */
  bool is_imported;
  /**
   * Padding, 0.
   */
  uint8_t reserved[7];
} mc_segment_info_t;

/**
 * One region that a peer offers.
 */
typedef struct mc_remote_region_t {
  /**
   * First byte, as the peer's own virtual address: what mc_request_t.remote counts in.
   */
  uint64_t address;
  /**
   * Bytes.
   */
  uint64_t length;
  /**
   * MC_MEMORY_FLAG_REMOTE_READ, _REMOTE_WRITE
   */
  uint64_t flags;
  /**
   * Path that transfers to this region take now.
   */
  char path[16];
  /**
   * Location hint of its owner.
   */
  char location[32];
} mc_remote_region_t;

/**
 * What a probe found.
 */
typedef struct mc_probe_t {
  /**
   * sizeof(mc_probe_t), set by the caller.
   */
  uint32_t struct_size;
  /**
   * Connections for data that stand.
   */
  uint32_t lanes;
  /**
   * The peer answered.
   */
  bool is_alive;
  /**
   * The peer is another process than the one this segment was opened with.
   */
  bool has_restarted;
  /**
   * Padding, 0.
   */
  uint8_t reserved[6];
  /**
   * Milliseconds since the peer was met (alive) or since it last answered (not alive).
   */
  uint64_t since_ms;
  /**
   * Time from question to answer in nanoseconds.
   */
  uint64_t round_trip_ns;
  /**
   * Path that transfers of ordinary memory would take now.
   */
  char path[16];
  /**
   * Identity of the peer's engine, 32 hexadecimal digits.
   */
  char engine_id[40];
} mc_probe_t;

/**
 * Which way the bytes go.
 */
typedef uint32_t mc_opcode_t;

/**
 * One transfer between local memory and a segment.
 */
typedef struct mc_request_t {
  /**
   * MC_OPCODE_*
   */
  mc_opcode_t opcode;
  /**
   * Must be 0.
   */
  uint32_t flags;
  /**
   * Whose memory.
   */
  mc_segment_t segment;
  /**
   * Absolute virtual address in the peer's process.
   */
  uint64_t remote;
  /**
   * Local memory, in one registered region; NULL when `spans` is used.
   */
  void *local;
  /**
   * Bytes, at least 1; with `spans` their sum.
   */
  uint64_t length;
  /**
   * [span_count] pieces of local memory that follow each other in the peer's; each in one registered region, none
   * empty. NULL: `local` is used.
   */
  const struct mc_span_t *spans;
  /**
   * Items in spans.
   */
  size_t span_count;
  /**
   * Comes back in the completion.
   */
  uint64_t user_data;
} mc_request_t;

/**
 * Which of two batches goes first when both wait for the same link.
 */
typedef uint32_t mc_priority_t;

/**
 * A queue of completions that belongs to whoever made it. 0 is never valid.
 */
typedef uint64_t mc_cq_t;

/**
 * How to run a batch; mc_batch_options_default() fills struct_size.
 */
typedef struct mc_batch_options_t {
  /**
   * sizeof(mc_batch_options_t)
   */
  uint32_t struct_size;
  /**
   * MC_PRIORITY_*
   */
  mc_priority_t priority;
  /**
   * MC_BATCH_FLAG_*
   */
  uint64_t flags;
  /**
   * Milliseconds from submit or post until everything that is not done ends with MC_ERR_TIMEOUT or
   * MC_ERR_UNREACHABLE; 0: the engine's default.
   */
  uint64_t deadline_ms;
  /**
   * Completion queue for the completions; 0: none.
   */
  mc_cq_t cq;
  /**
   * user_data of the completion with MC_BATCH_FLAG_COMPLETE_ONCE.
   */
  uint64_t user_data;
  /**
   * Notification to send when all requests completed and their bytes are visible; NULL: none. Its tag, at most
   * 255 bytes.
   */
  const char *notify_tag;
  /**
   * [notify_length] bytes, copied; may be NULL when the length is 0.
   */
  const void *notify_data;
  /**
   * At most MC_NOTIFY_MAX_LENGTH.
   */
  size_t notify_length;
  /**
   * Peer to notify; 0: the segment of the first request.
   */
  mc_segment_t notify_segment;
} mc_batch_options_t;

/**
 * A set of requests submitted at once. 0 is never valid.
 */
typedef uint64_t mc_batch_t;

/**
 * How far a batch is.
 */
typedef struct mc_batch_info_t {
  /**
   * sizeof(mc_batch_info_t), set by the caller.
   */
  uint32_t struct_size;
  /**
   * MC_OK while nothing failed; else the first failure.
   */
  mc_status_t status;
  /**
   * Every request ended, and the notification, if any, was delivered: no local buffer will be touched again.
   */
  bool is_done;
  /**
   * Padding, 0.
   */
  uint8_t reserved[7];
  /**
   * Requests in the batch.
   */
  uint64_t request_count;
  /**
   * Requests that completed.
   */
  uint64_t completed_count;
  /**
   * Requests that failed, timed out or were canceled.
   */
  uint64_t failed_count;
  /**
   * Bytes of completed requests.
   */
  uint64_t completed_bytes;
} mc_batch_info_t;

/**
 * What became of a request or a batch.
 */
typedef struct mc_completion_t {
  /**
   * From the request, the batch options, mc_notify_bind() or a submit to a store.
   */
  uint64_t user_data;
  /**
   * The batch; 0 for MC_COMPLETION_NOTIFY and _STORE.
   */
  mc_batch_t batch;
  /**
   * Index of the request in its batch; 0 otherwise.
   */
  uint64_t index;
  /**
   * Bytes transferred.
   */
  uint64_t length;
  /**
   * MC_OK, the reason of the failure, or MC_ERR_NOT_READY from mc_batch_task() while it is under way.
   */
  mc_status_t status;
  /**
   * MC_COMPLETION_*
   */
  uint32_t kind;
} mc_completion_t;

/**
 * How to make a queue; mc_cq_options_default() fills struct_size.
 */
typedef struct mc_cq_options_t {
  /**
   * sizeof(mc_cq_options_t)
   */
  uint32_t struct_size;
  /**
   * Completions it can hold, at most 16,777,216; 0: 65,536. Batches that could overflow it are refused.
   */
  uint32_t capacity;
} mc_cq_options_t;

/**
 * A notification that was received.
 */
typedef struct mc_notify_info_t {
  /**
   * sizeof(mc_notify_info_t), set by the caller.
   */
  uint32_t struct_size;
  /**
   * Padding, 0.
   */
  uint32_t reserved;
  /**
   * Its tag.
   */
  char tag[256];
  /**
   * Name of the engine that sent it.
   */
  char sender[128];
  /**
   * Identity of the engine that sent it, 32 hexadecimal digits.
   */
  char sender_id[40];
  /**
   * Its bytes, also when the buffer was too small.
   */
  uint64_t length;
} mc_notify_info_t;

/**
 * How to open a store. Zero means default in every field; mc_store_options_default() fills struct_size.
 */
typedef struct mc_store_options_t {
  /**
   * sizeof(mc_store_options_t)
   */
  uint32_t struct_size;
  /**
   * Must be 0.
   */
  uint32_t reserved;
  /**
   * MC_STORE_FLAG_NO_ENVIRONMENT, _NO_LEASE_CACHE
   */
  uint64_t flags;
  /**
   * "host:port" of each master that there may be, separated by commas. NULL: a master of its own runs in this
   * process, and dies with the store.
   */
  const char *masters;
  /**
   * Whose objects these are, at most 256 bytes: keys of different tenants never meet. NULL: "".
   */
  const char *tenant;
  /**
   * Secret that masters, nodes and clients share, 16 to 256 bytes. NULL: that in the file named by MC_PSK_FILE;
   * without one, nobody is authenticated.
   */
  const void *psk;
  /**
   * Bytes of `psk`.
   */
  size_t psk_length;
  /**
   * Engine through which the bytes go; it must outlive the store. NULL: one of its own, which does not listen.
   */
  struct mc_engine_t *engine;
  /**
   * Deadline of operations that name none, in milliseconds; 0: 10,000.
   */
  uint64_t deadline_ms;
  /**
   * How many objects' leases are remembered; 0: 65,536.
   */
  uint64_t lease_cache;
  /**
   * Memory that this process gives to the store, in bytes: it becomes a node. 0: none, but 64 MiB with a master of
   * its own.
   */
  uint64_t memory_bytes;
  /**
   * What that memory is called, at most 256 bytes: puts may prefer it. NULL: made from host name and address.
   */
  const char *node_name;
  /**
   * What fails together with this process, such as a rack. NULL: the host name.
   */
  const char *domain;
  /**
   * "host:port" for the master of its own; NULL: a port of 127.0.0.1 that the kernel gives.
   */
  const char *master_listen;
  /**
   * "host:port" for the memory; NULL: a port that the kernel gives, of loopback where all masters are there, else of
   * every address of the host.
   */
  const char *node_listen;
} mc_store_options_t;

/**
 * What a store is at the moment.
 */
typedef struct mc_store_info_t {
  /**
   * sizeof(mc_store_info_t), set by the caller.
   */
  uint32_t struct_size;
  /**
   * Padding, 0.
   */
  uint32_t reserved;
  /**
   * Whose objects it puts and gets.
   */
  char tenant[264];
  /**
   * "host:port" of the master of its own, for other processes to join; "" without one.
   */
  char master_address[80];
  /**
   * "host:port" where the memory of this process is reached; "" without any.
   */
  char node_address[80];
  /**
   * Bytes that this process gives.
   */
  uint64_t memory_bytes;
  /**
   * Of those, bytes that objects take.
   */
  uint64_t held_bytes;
  /**
   * Objects under way in sessions, and buffers not yet released.
   */
  uint64_t child_count;
} mc_store_info_t;

/**
 * How objects are put and kept; mc_store_put_options_default() fills struct_size.
 */
typedef struct mc_store_put_options_t {
  /**
   * sizeof(mc_store_put_options_t)
   */
  uint32_t struct_size;
  /**
   * Copies of the object on different nodes, at most 16; 0: 1.
   */
  uint32_t replica_count;
  /**
   * MC_STORE_FLAG_UPSERT, _HARD_PIN, _STRICT_DOMAINS, _NEAR
   */
  uint64_t flags;
  /**
   * Milliseconds for which eviction takes anything else first; 0: not at all.
   */
  uint64_t soft_pin_ms;
  /**
   * Objects of one group are evicted together; at most 256 bytes. NULL: none.
   */
  const char *group;
  /**
   * [preferred_count] names of segments that are taken first, the best one first. NULL: none.
   */
  const char *const *preferred;
  /**
   * Items in preferred.
   */
  size_t preferred_count;
  /**
   * Objects above so many bytes are cut into stripes on several segments; 0: never.
   */
  uint64_t stripe_size;
  /**
   * Milliseconds for the whole operation; 0: the store's deadline.
   */
  uint64_t timeout_ms;
} mc_store_put_options_t;

/**
 * What became of one key. Not written where a call fails before it asks the store.
 */
typedef struct mc_store_result_t {
  /**
   * MC_OK, or why it was not done.
   */
  mc_status_t status;
  /**
   * With a failure: milliseconds after which it is worth trying again; 0: not known.
   */
  uint32_t retry_after_ms;
  /**
   * Bytes of the object.
   */
  uint64_t size;
  /**
   * Which content of the key: a later one has a higher number. 0: not asked for.
   */
  uint64_t version;
  /**
   * Copies of the object, where they were counted; else 0.
   */
  uint32_t replica_count;
  /**
   * 0.
   */
  uint32_t reserved;
} mc_store_result_t;

/**
 * A key.
 */
typedef struct mc_store_key_t {
  /**
   * [length] bytes of any value.
   */
  const void *data;
  /**
   * 1 to MC_STORE_KEY_MAX_LENGTH.
   */
  size_t length;
} mc_store_key_t;

/**
 * One object to put.
 */
typedef struct mc_store_put_t {
  /**
   * Its key.
   */
  struct mc_store_key_t key;
  /**
   * [span_count] pieces of memory that follow one another in the object.
   */
  const struct mc_span_t *spans;
  /**
   * Items in spans.
   */
  size_t span_count;
} mc_store_put_t;

/**
 * One object to put piece by piece.
 */
typedef struct mc_store_put_size_t {
  /**
   * Its key.
   */
  struct mc_store_key_t key;
  /**
   * Bytes of the whole object.
   */
  uint64_t size;
} mc_store_put_size_t;

/**
 * An object that is being written, of one store. 0 is never valid.
 */
typedef uint64_t mc_store_writing_t;

/**
 * How objects are got; mc_store_get_options_default() fills struct_size.
 */
typedef struct mc_store_get_options_t {
  /**
   * sizeof(mc_store_get_options_t)
   */
  uint32_t struct_size;
  /**
   * Must be 0.
   */
  uint32_t reserved;
  /**
   * MC_STORE_FLAG_FRESH
   */
  uint64_t flags;
  /**
   * Milliseconds for the whole operation; 0: the store's deadline.
   */
  uint64_t timeout_ms;
} mc_store_get_options_t;

/**
 * A part of an object, and where it goes.
 */
typedef struct mc_store_range_t {
  /**
   * Bytes from the object's first; as many follow as the spans take.
   */
  uint64_t offset;
  /**
   * [span_count] pieces of memory that are filled one after another.
   */
  const struct mc_span_t *spans;
  /**
   * Items in spans.
   */
  size_t span_count;
} mc_store_range_t;

/**
 * One object to get: all of it into `spans`, or parts of it into those of `ranges`.
 */
typedef struct mc_store_get_t {
  /**
   * Its key.
   */
  struct mc_store_key_t key;
  /**
   * [span_count] pieces of memory that are filled one after another; they may have more room. NULL with ranges.
   */
  const struct mc_span_t *spans;
  /**
   * Items in spans.
   */
  size_t span_count;
  /**
   * [range_count] parts. NULL: the whole object.
   */
  const struct mc_store_range_t *ranges;
  /**
   * Items in ranges.
   */
  size_t range_count;
} mc_store_get_t;

/**
 * Memory that a store handed out, of one store. 0 is never valid.
 */
typedef uint64_t mc_store_buffer_t;

/**
 * An object in memory of the store's.
 */
typedef struct mc_store_view_t {
  /**
   * End it with mc_store_buffer_release(); 0 where getting it failed.
   */
  mc_store_buffer_t buffer;
  /**
   * First byte; the memory is the caller's to write, too.
   */
  void *address;
  /**
   * Bytes of the object.
   */
  uint64_t length;
} mc_store_view_t;

/**
 * An object that is being read, of one store. 0 is never valid.
 */
typedef uint64_t mc_store_reading_t;

/**
 * An object of a list.
 */
typedef struct mc_store_listed_t {
  /**
   * Bytes of the object.
   */
  uint64_t size;
  /**
   * Which content of the key.
   */
  uint64_t version;
  /**
   * Copies of the object.
   */
  uint32_t replica_count;
  /**
   * Bytes of the key.
   */
  uint32_t key_length;
  /**
   * [key_length] bytes of the key; 0 behind them.
   */
  uint8_t key[1024];
} mc_store_listed_t;

/**
 * Work that the store does by itself. 0 is never valid.
 */
typedef uint64_t mc_store_task_t;

/**
 * How far such work is.
 */
typedef uint32_t mc_store_task_state_t;

/**
 * What a task is.
 */
typedef struct mc_store_task_info_t {
  /**
   * sizeof(mc_store_task_info_t), set by the caller.
   */
  uint32_t struct_size;
  /**
   * MC_STORE_TASK_*
   */
  mc_store_task_state_t state;
  /**
   * With MC_STORE_TASK_FAILED: why.
   */
  mc_status_t status;
  /**
   * With a failure: milliseconds after which it is worth trying again; 0: not known.
   */
  uint32_t retry_after_ms;
  /**
   * Objects copied or moved so far.
   */
  uint64_t moved_objects;
  /**
   * Their bytes.
   */
  uint64_t moved_bytes;
} mc_store_task_info_t;

/**
 * What a tenant has.
 */
typedef struct mc_store_usage_t {
  /**
   * sizeof(mc_store_usage_t), set by the caller.
   */
  uint32_t struct_size;
  /**
   * Padding, 0.
   */
  uint32_t reserved;
  /**
   * Bytes that its objects take, all replicas counted.
   */
  uint64_t used_bytes;
  /**
   * Bytes that they may take; MC_STORE_NO_QUOTA: no limit.
   */
  uint64_t quota_bytes;
  /**
   * Its objects.
   */
  uint64_t object_count;
} mc_store_usage_t;

/**
 * A piece of memory that a node gives.
 */
typedef struct mc_store_segment_t {
  /**
   * What it is called.
   */
  char name[264];
  /**
   * Which start of which process gives it.
   */
  uint64_t node;
  /**
   * Bytes.
   */
  uint64_t capacity;
  /**
   * Bytes that objects take.
   */
  uint64_t used;
  /**
   * Objects may be put there.
   */
  bool is_open;
  /**
   * What it has is being moved away.
   */
  bool is_draining;
  /**
   * Padding, 0.
   */
  uint8_t reserved[6];
} mc_store_segment_t;

/**
 * What a class of requests is promised. 0 means default.
 */
typedef struct mc_conductor_class_t {
  /**
   * Seconds to the first token; 0: 30.
   */
  double ttft_seconds;
  /**
   * Seconds between tokens; 0: 0.1.
   */
  double tbt_seconds;
  /**
   * The load up to which its requests are taken on; below 1, room is kept for other classes; 0: 1.
   */
  double load_limit;
} mc_conductor_class_t;

/**
 * How a conductor decides. Zero means default in every field; mc_conductor_options_default() fills struct_size.
 */
typedef struct mc_conductor_options_t {
  /**
   * sizeof(mc_conductor_options_t)
   */
  uint32_t struct_size;
  /**
   * Most instances that prefill one long request together, 1 to 8; 0: 1.
   */
  uint32_t most_in_group;
  /**
   * MC_CONDUCTOR_FLAG_*
   */
  uint64_t flags;
  /**
   * What it is called in metrics, at most 256 bytes; NULL: "".
   */
  const char *name;
  /**
   * Who prefills: "global", "local", "lb", "random" or "maxhit". NULL: "global", the first token soonest with blocks
   * computed or moved, whichever is faster.
   */
  const char *policy;
  /**
   * What is taken on: "none" (everything), "load", "early" or "predicted". NULL: "none".
   */
  const char *admission;
  /**
   * With "global": blocks are moved if the best prefix is longer than this times the instance's own. 0: if that is
   * faster.
   */
  double balancing_threshold;
  /**
   * Of the policy "random".
   */
  uint64_t seed;
  /**
   * What each class is promised.
   */
  struct mc_conductor_class_t classes[MC_CONDUCTOR_CLASS_COUNT];
  /**
   * The weight of a new observation in what is predicted, up to 1; 0: 0.1.
   */
  double learning;
  /**
   * Observations from which on an instance's numbers of prefill are those that fit them; 0: never.
   */
  uint32_t fit_after;
  /**
   * Decisions of each model that are kept for mc_conductor_explain(), up to 65,536; 0: 512.
   */
  uint32_t explain_count;
  /**
   * Seconds that a request decodes, until that is observed; 0: 20.
   */
  double decode_seconds;
  /**
   * Seconds for which decoding is foreseen; 0: 128.
   */
  double horizon_seconds;
  /**
   * Seconds of decoding after which a request is given up as one whose end was not told; 0: 3,600.
   */
  double longest_decode_seconds;
  /**
   * Seconds of silence after which an instance fades; 0: 5.
   */
  double silence_grace_seconds;
  /**
   * Seconds of silence after which it is not chosen while others are there; 0: 30.
   */
  double silence_limit_seconds;
  /**
   * Seconds of waiting that a failure of an instance counts as; 0: 5.
   */
  double failure_seconds;
  /**
   * Copies of hot prefixes are advised, of up to so many blocks a second; 0: none are.
   */
  double copied_blocks_per_second;
  /**
   * Blocks that may be advised at once after a pause; 0: 1,000.
   */
  double copied_blocks_at_once;
  /**
   * Requests for a prefix that one holder bears, within about a minute and a half; 0: 16.
   */
  double uses_per_copy;
  /**
   * Blocks of a decided request count as on their way for twice the time to its first token and so many seconds more;
   * 0: 10.
   */
  double promise_seconds;
  /**
   * Most blocks of a context; 0: 16,777,216.
   */
  uint64_t block_limit;
  /**
   * Milliseconds after which a block that was neither stored nor matched is forgotten; 0: a day.
   */
  uint64_t idle_ms;
  /**
   * Most contexts; 0: 4,096.
   */
  uint64_t context_limit;
  /**
   * Most requests under way for each model; 0: 262,144.
   */
  uint64_t request_limit;
} mc_conductor_options_t;

/**
 * The request that a hook is asked about.
 */
typedef struct mc_conductor_asked_t {
  /**
   * What it is for; valid during the call.
   */
  const char *model;
  /**
   * What the caller calls it; "" if it has no name. Valid during the call.
   */
  const char *name;
  /**
   * Tokens of input.
   */
  uint64_t input_tokens;
  /**
   * Full blocks of it.
   */
  uint32_t block_count;
  /**
   * 0 to 3.
   */
  uint32_t priority;
  /**
   * Which class of service.
   */
  uint32_t service_class;
  /**
   * Tokens of output; 0: not known.
   */
  uint32_t output_tokens;
} mc_conductor_asked_t;

/**
 * An instance of a conductor, until it is unregistered. 0 is never valid.
 */
typedef uint64_t mc_conductor_instance_t;

/**
 * One rank of an instance, and its numbers for a request.
 */
typedef struct mc_conductor_candidate_t {
  /**
   * Which instance.
   */
  mc_conductor_instance_t instance;
  /**
   * Which of its ranks.
   */
  uint32_t rank;
  /**
   * Blocks of the prefix that it has.
   */
  uint32_t local_blocks;
  /**
   * Who would send it blocks that it lacks; 0: the store, or nobody if `reach_blocks` is not above `local_blocks`.
   */
  mc_conductor_instance_t source;
  /**
   * Which rank of that instance.
   */
  uint32_t source_rank;
  /**
   * Blocks that it would have after they were moved.
   */
  uint32_t reach_blocks;
  /**
   * Seconds from now until it would begin with this request.
   */
  double queue_seconds;
  /**
   * What of these is there because it is silent or failed lately.
   */
  double doubt_seconds;
  /**
   * Seconds of prefill with the blocks that it has.
   */
  double recompute_seconds;
  /**
   * Seconds that moving blocks adds to the queue.
   */
  double transfer_seconds;
  /**
   * Seconds of prefill after that.
   */
  double rest_seconds;
} mc_conductor_candidate_t;

/**
 * Prices the candidates of a request: may change `queue_seconds`, `recompute_seconds`, `transfer_seconds` and
 * `rest_seconds` of each, to numbers from 0 on.
 *
 * Returns MC_OK; anything else says that it failed, and the built-in numbers count.
 */
typedef mc_status_t (*mc_conductor_cost_fn)(void *user_data,
                                            const struct mc_conductor_asked_t *asked,
                                            struct mc_conductor_candidate_t *candidates,
                                            size_t count);

/**
 * Chooses who prefills: writes a price for each candidate, and the lowest wins; INFINITY: not this one.
 *
 * Returns MC_OK; anything else says that it failed, and the policy decides.
 */
typedef mc_status_t (*mc_conductor_score_fn)(void *user_data,
                                             const struct mc_conductor_asked_t *asked,
                                             const struct mc_conductor_candidate_t *candidates,
                                             size_t count,
                                             double *out_prices);

/**
 * What a decision comes to, before it is made. A load of 1 is as much as the class allows.
 */
typedef struct mc_conductor_prospect_t {
  /**
   * Who would prefill.
   */
  struct mc_conductor_candidate_t chosen;
  /**
   * Who would decode; 0: nobody does.
   */
  mc_conductor_instance_t decode;
  /**
   * Which of its ranks.
   */
  uint32_t decode_rank;
  /**
   * 0.
   */
  uint32_t reserved;
  /**
   * Seconds from now to the first token.
   */
  double ttft_seconds;
  /**
   * Seconds between tokens after that.
   */
  double tbt_seconds;
  /**
   * Load of prefill with this request.
   */
  double prefill_load;
  /**
   * Load of decode at the moment.
   */
  double decode_load;
  /**
   * The same as it is foreseen for the end of the prefill.
   */
  double decode_foreseen_load;
} mc_conductor_prospect_t;

/**
 * Why a request was not taken on.
 */
typedef uint32_t mc_conductor_reason_t;

/**
 * Whether a request is taken on, and if not, why and when to come back.
 */
typedef struct mc_conductor_rejection_t {
  /**
   * MC_CONDUCTOR_REASON_*; MC_CONDUCTOR_REASON_NONE: it is taken on.
   */
  mc_conductor_reason_t reason;
  /**
   * Milliseconds after which it is worth asking again.
   */
  uint32_t retry_after_ms;
  /**
   * What the load would be.
   */
  double load;
  /**
   * What it may be.
   */
  double load_limit;
} mc_conductor_rejection_t;

/**
 * Says whether a request is taken on: gets what the built-in admission says, and may say otherwise.
 *
 * Returns MC_OK; anything else says that it failed, and the built-in answer counts.
 */
typedef mc_status_t (*mc_conductor_admission_fn)(void *user_data,
                                                 const struct mc_conductor_asked_t *asked,
                                                 const struct mc_conductor_prospect_t *prospect,
                                                 struct mc_conductor_rejection_t *rejection);

/**
 * What one rank of an instance has of a prompt, in blocks from its beginning.
 */
typedef struct mc_conductor_match_t {
  /**
   * Which instance.
   */
  mc_conductor_instance_t instance;
  /**
   * Which of its ranks.
   */
  uint32_t rank;
  /**
   * Blocks that it has in device, host, disk and store, each within this or a nearer one; the last counts what
   * anybody has in the store.
   */
  uint32_t blocks[MC_CONDUCTOR_TIER_COUNT];
  /**
   * Its own, with those that are on their way to it.
   */
  uint32_t promised_blocks;
} mc_conductor_match_t;

/**
 * Blocks of a prompt that should be copied: those from `from_block` on, before `to_block`.
 */
typedef struct mc_conductor_copy_t {
  /**
   * Who has them.
   */
  mc_conductor_instance_t sender;
  /**
   * Who should have them, too.
   */
  mc_conductor_instance_t receiver;
  /**
   * Which rank of the sender.
   */
  uint32_t sender_rank;
  /**
   * Which rank of the receiver.
   */
  uint32_t receiver_rank;
  /**
   * The first of the blocks.
   */
  uint32_t from_block;
  /**
   * The block after the last; 0: nothing is to be copied.
   */
  uint32_t to_block;
} mc_conductor_copy_t;

/**
 * Says what should be copied beside a request: gets what is advised (`to_block` 0: nothing), and may say otherwise.
 *
 * `found` is what every rank has of the prompt. Returns MC_OK; anything else says that it failed, and the built-in
 * advice counts.
 */
typedef mc_status_t (*mc_conductor_replicate_fn)(void *user_data,
                                                 const struct mc_conductor_asked_t *asked,
                                                 const struct mc_conductor_match_t *found,
                                                 size_t count,
                                                 struct mc_conductor_copy_t *copy);

/**
 * Rules of the caller's own, each NULL or a function with its user_data.
 *
 * They are called from any thread that schedules or explains, possibly from several at once. While `cost`, `score` and
 * `admission` run, no other request of the same model is decided: they must be quick. A hook may not call the conductor,
 * whose functions then return MC_ERR_INVALID_STATE. One that fails or takes longer than its budget `strike_limit` times
 * in a row is switched off for good, which is logged and counted, and the built-in rule is used.
 */
typedef struct mc_conductor_hooks_t {
  /**
   * sizeof(mc_conductor_hooks_t)
   */
  uint32_t struct_size;
  /**
   * Failed calls in a row that switch a hook off; 0: 3.
   */
  uint32_t strike_limit;
  /**
   * Microseconds that a call may take; 0: 1,000.
   */
  uint64_t budget_us;
  /**
   * Changes the numbers of the candidates.
   */
  mc_conductor_cost_fn cost;
  /**
   * Handed to `cost`.
   */
  void *cost_data;
  /**
   * Chooses among them.
   */
  mc_conductor_score_fn score;
  /**
   * Handed to `score`.
   */
  void *score_data;
  /**
   * Takes requests on, or not.
   */
  mc_conductor_admission_fn admission;
  /**
   * Handed to `admission`.
   */
  void *admission_data;
  /**
   * Decides what is copied.
   */
  mc_conductor_replicate_fn replicate;
  /**
   * Handed to `replicate`.
   */
  void *replicate_data;
  /**
   * Is told of each user_data of a hook that is set, once, when it will not be used again; may be NULL. Not called if
   * the conductor could not be made.
   */
  mc_drop_fn drop;
} mc_conductor_hooks_t;

/**
 * What a conductor is at the moment.
 */
typedef struct mc_conductor_info_t {
  /**
   * sizeof(mc_conductor_info_t), set by the caller.
   */
  uint32_t struct_size;
  /**
   * MC_CONDUCTOR_HOOK_* that were switched off.
   */
  uint32_t hooks_off;
  /**
   * Instances that are registered.
   */
  uint64_t instance_count;
  /**
   * Contexts that are open.
   */
  uint64_t context_count;
  /**
   * Requests that were decided and have not ended.
   */
  uint64_t request_count;
  /**
   * Blocks that somebody holds.
   */
  uint64_t block_count;
  /**
   * Requests that were sent to an instance so far.
   */
  uint64_t decided_count;
  /**
   * Requests that were not taken on.
   */
  uint64_t rejected_count;
} mc_conductor_info_t;

/**
 * What was taken up from a snapshot.
 */
typedef struct mc_conductor_restored_t {
  /**
   * Instances, registered now.
   */
  uint64_t instance_count;
  /**
   * Contexts, open now.
   */
  uint64_t context_count;
  /**
   * Blocks in them.
   */
  uint64_t block_count;
} mc_conductor_restored_t;

/**
 * What serving takes on one rank of an instance. Every number counts as it is: begin with mc_conductor_preset().
 */
typedef struct mc_conductor_cost_t {
  /**
   * sizeof(mc_conductor_cost_t)
   */
  uint32_t struct_size;
  /**
   * Layers between which loading blocks and computing overlap; 0: the one waits for the other.
   */
  uint32_t layer_count;
  /**
   * Bytes of the cache for one token; above 0.
   */
  double kv_bytes_per_token;
  /**
   * Seconds of prefill: this,
   */
  double prefill_fixed;
  /**
   * and this for each token that is computed,
   */
  double prefill_linear;
  /**
   * and this for each pair of tokens: the square of all less the square of those that are cached.
   */
  double prefill_quadratic;
  /**
   * Seconds of a step of decode: this,
   */
  double decode_fixed;
  /**
   * and this for each request of the batch,
   */
  double decode_per_request;
  /**
   * and this for each token of all contexts.
   */
  double decode_per_token;
  /**
   * Bytes per second from the host's memory to the device's; above 0.
   */
  double host_rate;
  /**
   * Bytes per second from the disk; above 0.
   */
  double disk_rate;
  /**
   * Bytes per second from other instances and from the store; above 0.
   */
  double link_rate;
  /**
   * Tokens whose cache the device holds while it decodes; above 0.
   */
  uint64_t kv_tokens;
  /**
   * Tokens that are prefilled at once; above 0.
   */
  uint64_t chunk_tokens;
} mc_conductor_cost_t;

/**
 * What an instance is to a conductor.
 */
typedef uint32_t mc_conductor_role_t;

/**
 * An instance to register. mc_conductor_instance_options_default() fills struct_size.
 */
typedef struct mc_conductor_instance_options_t {
  /**
   * sizeof(mc_conductor_instance_options_t)
   */
  uint32_t struct_size;
  /**
   * MC_CONDUCTOR_ROLE_*; must be set.
   */
  mc_conductor_role_t role;
  /**
   * What it is called, 1 to 256 bytes; must be set.
   */
  const char *name;
  /**
   * What it serves. NULL for one that holds blocks: those of any model.
   */
  const char *model;
  /**
   * Tokens per block of its engine. 0 for one that holds blocks: of any size.
   */
  uint32_t block_size;
  /**
   * Data-parallel ranks, each with a cache and a queue of its own, up to 1,024; 0: 1.
   */
  uint32_t rank_count;
  /**
   * What serving takes there; NULL: LLaMA3-70B on eight A800. Not for one that holds blocks.
   */
  const struct mc_conductor_cost_t *cost;
} mc_conductor_instance_options_t;

/**
 * What an instance is.
 */
typedef struct mc_conductor_instance_info_t {
  /**
   * sizeof(mc_conductor_instance_info_t), set by the caller.
   */
  uint32_t struct_size;
  /**
   * MC_CONDUCTOR_ROLE_*
   */
  mc_conductor_role_t role;
  /**
   * What it is called.
   */
  char name[264];
  /**
   * What it serves.
   */
  char model[264];
  /**
   * Tokens per block; 0: any.
   */
  uint32_t block_size;
  /**
   * Data-parallel ranks.
   */
  uint32_t rank_count;
  /**
   * Milliseconds since it was registered for the first time.
   */
  uint64_t age_ms;
} mc_conductor_instance_info_t;

/**
 * What one rank of an instance says of itself. Without flags: that it is there.
 */
typedef struct mc_conductor_report_t {
  /**
   * sizeof(mc_conductor_report_t)
   */
  uint32_t struct_size;
  /**
   * Requests that decode there.
   */
  uint32_t decoding_requests;
  /**
   * MC_CONDUCTOR_REPORT_*
   */
  uint64_t flags;
  /**
   * Tokens of their contexts.
   */
  uint64_t decoding_tokens;
  /**
   * Seconds that a request sent now would wait before its prefill.
   */
  double queue_seconds;
  /**
   * Seconds between tokens.
   */
  double tbt_seconds;
} mc_conductor_report_t;

/**
 * How an engine names its blocks.
 */
typedef uint32_t mc_conductor_hash_t;

/**
 * What must be equal for two prompts to share blocks. mc_conductor_context_options_default() fills struct_size.
 */
typedef struct mc_conductor_context_options_t {
  /**
   * sizeof(mc_conductor_context_options_t)
   */
  uint32_t struct_size;
  /**
   * Tokens per block; must be set.
   */
  uint32_t block_size;
  /**
   * Must be set.
   */
  const char *model;
  /**
   * NULL: "".
   */
  const char *tenant;
  /**
   * Name of the LoRA; NULL: none.
   */
  const char *lora;
  /**
   * NULL: none.
   */
  const char *salt;
  /**
   * Of MC_CONDUCTOR_HASH_XXH3.
   */
  uint64_t hash_seed;
  /**
   * Of vLLM's: what PYTHONHASHSEED is there; must be set with them, and with them only.
   */
  const char *python_hash_seed;
  /**
   * MC_CONDUCTOR_HASH_*
   */
  mc_conductor_hash_t hash;
  /**
   * Must be 0.
   */
  uint32_t reserved;
} mc_conductor_context_options_t;

/**
 * A context of a conductor, until it is closed. 0 is never valid.
 */
typedef uint64_t mc_conductor_context_t;

/**
 * What happened to blocks.
 */
typedef uint32_t mc_conductor_change_t;

/**
 * Where an instance has a block, nearest first.
 */
typedef uint32_t mc_conductor_tier_t;

/**
 * What an engine or the store tells about its blocks.
 */
typedef struct mc_conductor_event_t {
  /**
   * Whose they are.
   */
  mc_conductor_instance_t instance;
  /**
   * Which of its ranks.
   */
  uint32_t rank;
  /**
   * MC_CONDUCTOR_CHANGE_*
   */
  mc_conductor_change_t change;
  /**
   * MC_CONDUCTOR_TIER_*
   */
  mc_conductor_tier_t tier;
  /**
   * Must be 0.
   */
  uint32_t reserved;
  /**
   * [key_count] keys of blocks; none with MC_CONDUCTOR_CHANGE_CLEARED.
   */
  const uint64_t *keys;
  /**
   * Any number.
   */
  size_t key_count;
} mc_conductor_event_t;

/**
 * What a batch of events did.
 */
typedef struct mc_conductor_applied_t {
  /**
   * Events that were taken.
   */
  uint64_t applied_count;
  /**
   * Events of instances, or of ranks, that are not registered for the context.
   */
  uint64_t unknown_count;
} mc_conductor_applied_t;

/**
 * A prompt from its beginning: its tokens, or the keys of its full blocks, and not both.
 */
typedef struct mc_conductor_prompt_t {
  /**
   * [token_count]; NULL: the keys say it.
   */
  const uint32_t *tokens;
  /**
   * Tokens after the last full block have no key and are looked at by nobody.
   */
  size_t token_count;
  /**
   * [key_count]; NULL: the tokens say it.
   */
  const uint64_t *keys;
  /**
   * At most 1,048,576.
   */
  size_t key_count;
} mc_conductor_prompt_t;

/**
 * A request. mc_conductor_request_default() fills struct_size.
 */
typedef struct mc_conductor_request_t {
  /**
   * sizeof(mc_conductor_request_t)
   */
  uint32_t struct_size;
  /**
   * 0 to 3: among those that wait, higher ones go first.
   */
  uint32_t priority;
  /**
   * Must be set.
   */
  mc_conductor_context_t context;
  /**
   * Its prompt, borrowed for the call.
   */
  struct mc_conductor_prompt_t prompt;
  /**
   * Tokens of input; 0: those of the prompt, of which keys tell the full blocks only.
   */
  uint64_t input_tokens;
  /**
   * Tokens of output, where they are known beforehand; 0: they are not.
   */
  uint32_t output_tokens;
  /**
   * Which class of service, 0 to MC_CONDUCTOR_CLASS_COUNT - 1.
   */
  uint32_t service_class;
  /**
   * What the caller calls it, at most 256 bytes; no two live requests can have the same. NULL: nothing.
   */
  const char *name;
} mc_conductor_request_t;

/**
 * What a conductor said of a request.
 */
typedef uint32_t mc_conductor_verdict_t;

/**
 * A request of a conductor, until its end was told. 0 is never valid.
 */
typedef uint64_t mc_conductor_request_id_t;

/**
 * Where blocks come from that the chosen instance does not have.
 */
typedef uint32_t mc_conductor_source_t;

/**
 * Where a request runs. Times are as predicted. mc_conductor_decision_default() fills struct_size.
 */
typedef struct mc_conductor_decision_t {
  /**
   * sizeof(mc_conductor_decision_t), set by the caller.
   */
  uint32_t struct_size;
  /**
   * MC_CONDUCTOR_VERDICT_*; of one that is rejected, `rejection` alone is set.
   */
  mc_conductor_verdict_t verdict;
  /**
   * For feedback.
   */
  mc_conductor_request_id_t request;
  /**
   * Who prefills.
   */
  mc_conductor_instance_t prefill;
  /**
   * Who decodes; 0: nobody does.
   */
  mc_conductor_instance_t decode;
  /**
   * Who sends the blocks that are moved, with MC_CONDUCTOR_SOURCE_INSTANCE; else 0.
   */
  mc_conductor_instance_t source;
  /**
   * Which rank prefills.
   */
  uint32_t prefill_rank;
  /**
   * Which rank decodes.
   */
  uint32_t decode_rank;
  /**
   * Which rank sends.
   */
  uint32_t source_rank;
  /**
   * MC_CONDUCTOR_SOURCE_*
   */
  mc_conductor_source_t source_kind;
  /**
   * What the one that prefills is called.
   */
  char prefill_name[264];
  /**
   * What the one that decodes is called; "" if nobody does.
   */
  char decode_name[264];
  /**
   * Full blocks of the prompt.
   */
  uint32_t block_count;
  /**
   * Blocks of its prefix that need not be computed.
   */
  uint32_t reused_blocks;
  /**
   * Blocks of these that are moved there.
   */
  uint32_t moved_blocks;
  /**
   * Those who prefill it with the chosen one, each a part of the layers.
   */
  uint32_t group_count;
  /**
   * [group_count]
   */
  mc_conductor_instance_t group[MC_CONDUCTOR_GROUP_MAX];
  /**
   * [group_count]
   */
  uint32_t group_ranks[MC_CONDUCTOR_GROUP_MAX];
  /**
   * 1: a copy is advised, which mc_conductor_take_advice() tells; else 0.
   */
  uint32_t is_advised;
  /**
   * Tokens that are computed.
   */
  uint64_t computed_tokens;
  /**
   * Seconds from now until its turn comes.
   */
  double queue_seconds;
  /**
   * Seconds that moving blocks adds to that.
   */
  double transfer_seconds;
  /**
   * Seconds of prefill.
   */
  double compute_seconds;
  /**
   * The three together: from now to the first token.
   */
  double ttft_seconds;
  /**
   * Seconds between tokens after that.
   */
  double tbt_seconds;
  /**
   * If it is rejected.
   */
  struct mc_conductor_rejection_t rejection;
} mc_conductor_decision_t;

/**
 * What happened to a request.
 */
typedef uint32_t mc_conductor_feedback_t;

/**
 * How to run a master. Zero means default in every field; mc_master_options_default() fills struct_size.
 */
typedef struct mc_master_options_t {
  /**
   * sizeof(mc_master_options_t)
   */
  uint32_t struct_size;
  /**
   * Threads that serve calls, 1 to 16; 0: 2.
   */
  uint32_t worker_threads;
  /**
   * MC_MASTER_FLAG_*
   */
  uint64_t flags;
  /**
   * "host:port" to listen on, port 0 for one that the kernel gives. NULL: 127.0.0.1 and such a port.
   */
  const char *listen;
  /**
   * Secret that masters, nodes and clients share, 16 to 256 bytes. NULL: that in the file named by MC_PSK_FILE;
   * without one, nobody is authenticated.
   */
  const void *psk;
  /**
   * Bytes of `psk`.
   */
  size_t psk_length;
  /**
   * Order of eviction: "lru", "lfu", "fifo", "s3fifo", "sieve" or "default". NULL: "default".
   */
  const char *eviction;
  /**
   * Bytes that a tenant may have unless it is told otherwise; 0: no limit.
   */
  uint64_t default_quota_bytes;
  /**
   * Milliseconds for which nodes of an earlier cluster are waited for; 0: 10,000.
   */
  uint64_t found_after_ms;
} mc_master_options_t;

/**
 * What a master is at the moment.
 */
typedef struct mc_master_info_t {
  /**
   * sizeof(mc_master_info_t), set by the caller.
   */
  uint32_t struct_size;
  /**
   * Port listened on.
   */
  uint32_t port;
  /**
   * "host:port" listened on.
   */
  char address[80];
  /**
   * It leads, and answers; if not, it waits for nodes, or another master leads.
   */
  bool is_serving;
  /**
   * Padding, 0.
   */
  uint8_t reserved[7];
  /**
   * Objects that it knows.
   */
  uint64_t object_count;
  /**
   * Bytes that they take, all replicas counted.
   */
  uint64_t used_bytes;
  /**
   * Bytes that nodes give.
   */
  uint64_t capacity_bytes;
  /**
   * Objects evicted so far.
   */
  uint64_t evicted_count;
  /**
   * Their bytes.
   */
  uint64_t evicted_bytes;
} mc_master_info_t;

/**
 * How to run a node. Zero means default in every field; mc_node_options_default() fills struct_size.
 */
typedef struct mc_node_options_t {
  /**
   * sizeof(mc_node_options_t)
   */
  uint32_t struct_size;
  /**
   * Must be 0.
   */
  uint32_t reserved;
  /**
   * MC_NODE_FLAG_*
   */
  uint64_t flags;
  /**
   * "host:port" of each master that there may be, separated by commas. Must be set.
   */
  const char *masters;
  /**
   * "host:port" to listen on, port 0 for one that the kernel gives. NULL: such a port, of loopback where all masters
   * are there, else of every address of the host.
   */
  const char *listen;
  /**
   * Secret that masters, nodes and clients share, 16 to 256 bytes. NULL: that in the file named by MC_PSK_FILE;
   * without one, nobody is authenticated.
   */
  const void *psk;
  /**
   * Bytes of `psk`.
   */
  size_t psk_length;
  /**
   * Memory to give, in bytes; must be set.
   */
  uint64_t memory_bytes;
  /**
   * What that memory is called, at most 256 bytes: puts may prefer it. NULL: made from host name and address.
   */
  const char *name;
  /**
   * What fails together with this process, such as a rack. NULL: the host name.
   */
  const char *domain;
} mc_node_options_t;

/**
 * What a node is at the moment.
 */
typedef struct mc_node_info_t {
  /**
   * sizeof(mc_node_info_t), set by the caller.
   */
  uint32_t struct_size;
  /**
   * Clients that can reach its memory.
   */
  uint32_t client_count;
  /**
   * "host:port" where it is reached.
   */
  char address[80];
  /**
   * This start of the node: a later one has a higher number.
   */
  uint64_t id;
  /**
   * A master leads it.
   */
  bool is_led;
  /**
   * Padding, 0.
   */
  uint8_t reserved[7];
  /**
   * Bytes that it gives.
   */
  uint64_t capacity_bytes;
  /**
   * Of those, bytes of objects, and of those that are being written.
   */
  uint64_t held_bytes;
  /**
   * Bytes given up and not free yet, because somebody might still touch them.
   */
  uint64_t quarantined_bytes;
  /**
   * Bytes free.
   */
  uint64_t free_bytes;
} mc_node_info_t;

/**
 * Bytes that one path carried.
 */
typedef struct mc_path_stats_t {
  /**
   * Read from peers by this engine.
   */
  uint64_t read_bytes;
  /**
   * Written to peers by this engine.
   */
  uint64_t written_bytes;
  /**
   * Read from this engine by peers, as seen here; paths that need no hand of the owner do not count it.
   */
  uint64_t served_read_bytes;
  /**
   * Written into this engine by peers, likewise.
   */
  uint64_t served_written_bytes;
} mc_path_stats_t;

/**
 * Counters since the engine was made.
 */
typedef struct mc_engine_stats_t {
  /**
   * sizeof(mc_engine_stats_t), set by the caller.
   */
  uint32_t struct_size;
  /**
   * Padding, 0.
   */
  uint32_t reserved;
  /**
   * Within this process.
   */
  struct mc_path_stats_t local;
  /**
   * Mapped memory of a process on this host.
   */
  struct mc_path_stats_t memfd;
  /**
   * Cross-memory attach of a process on this host.
   */
  struct mc_path_stats_t cma;
  /**
   * TCP.
   */
  struct mc_path_stats_t tcp;
  /**
   * Batches started.
   */
  uint64_t batch_count;
  /**
   * Requests completed.
   */
  uint64_t completed_count;
  /**
   * Requests that ended otherwise.
   */
  uint64_t failed_count;
  /**
   * Slices sent again after a lost connection or a wrong checksum.
   */
  uint64_t retry_count;
  /**
   * Slices whose checksum did not match.
   */
  uint64_t corrupted_count;
  /**
   * Connections that peers opened and this engine accepted.
   */
  uint64_t accepted_count;
  /**
   * Connections, frames and accesses that this engine refused.
   */
  uint64_t refused_count;
  /**
   * Times that a worker thread of this engine woke up.
   */
  uint64_t wakeup_count;
  /**
   * Notifications sent and received.
   */
  uint64_t notify_count;
} mc_engine_stats_t;

/**
 * Success.
 */
#define MC_OK 0

/**
 * An argument is outside its documented range. Caller's mistake: do not retry.
 */
#define MC_ERR_INVALID_ARGUMENT -1

/**
 * The handle is NULL, stale, foreign or was never valid.
 */
#define MC_ERR_INVALID_HANDLE -2

/**
 * This build or this host cannot do that.
 */
#define MC_ERR_UNSUPPORTED -3

/**
 * The caller's buffer is too small; the full length was reported.
 */
#define MC_ERR_BUFFER_TOO_SMALL -4

/**
 * The object is not in a state that allows this call.
 */
#define MC_ERR_INVALID_STATE -5

/**
 * The memory is not registered, or no longer.
 */
#define MC_ERR_ADDRESS_NOT_REGISTERED -6

/**
 * In use at the moment: try later.
 */
#define MC_ERR_BUSY -20

/**
 * The deadline passed.
 */
#define MC_ERR_TIMEOUT -21

/**
 * Canceled on request.
 */
#define MC_ERR_CANCELED -22

/**
 * A bounded queue or table is full: try later.
 */
#define MC_ERR_EXHAUSTED -23

/**
 * No memory or disk space left for this.
 */
#define MC_ERR_NO_SPACE -24

/**
 * A quota is used up.
 */
#define MC_ERR_QUOTA_EXCEEDED -25

/**
 * Not finished yet.
 */
#define MC_ERR_NOT_READY -26

/**
 * Nothing exists under that name.
 */
#define MC_ERR_NOT_FOUND -40

/**
 * The name is taken.
 */
#define MC_ERR_ALREADY_EXISTS -41

/**
 * The lease ran out.
 */
#define MC_ERR_LEASE_EXPIRED -42

/**
 * The owner does not allow this.
 */
#define MC_ERR_PERMISSION -43

/**
 * The peers do not share a key.
 */
#define MC_ERR_UNAUTHENTICATED -44

/**
 * The peers speak no common protocol version.
 */
#define MC_ERR_VERSION_MISMATCH -45

/**
 * The peer does not answer. A write that was under way is undefined at the peer until it was met again.
 */
#define MC_ERR_UNREACHABLE -60

/**
 * The connection to the peer broke.
 */
#define MC_ERR_CONNECTION_LOST -61

/**
 * The peer restarted; its memory is new.
 */
#define MC_ERR_PEER_RESTARTED -62

/**
 * The peer refused.
 */
#define MC_ERR_REJECTED -63

/**
 * The bytes do not match their checksum.
 */
#define MC_ERR_CORRUPTED -80

/**
 * A device reported an error.
 */
#define MC_ERR_DEVICE -81

/**
 * The operating system reported an error.
 */
#define MC_ERR_IO -82

/**
 * A defect in this library: please report it with the log.
 */
#define MC_ERR_INTERNAL -99

/**
 * Nothing.
 */
#define MC_LOG_LEVEL_OFF 0

/**
 * Something failed and somebody should know.
 */
#define MC_LOG_LEVEL_ERROR 1

/**
 * Something is wrong and was worked around.
 */
#define MC_LOG_LEVEL_WARN 2

/**
 * What was bound, advertised, chosen, and why. The default.
 */
#define MC_LOG_LEVEL_INFO 3

/**
 * Connections and decisions, one line each.
 */
#define MC_LOG_LEVEL_DEBUG 4

/**
 * Everything.
 */
#define MC_LOG_LEVEL_TRACE 5

/**
 * On between peers of this library.
 */
#define MC_CHECKSUM_DEFAULT 0

/**
 * Never.
 */
#define MC_CHECKSUM_OFF 1

/**
 * Always: a peer that will not is refused.
 */
#define MC_CHECKSUM_REQUIRED 2

/**
 * Not set: off.
 */
#define MC_COMPAT_DEFAULT 0

/**
 * Only peers of this library.
 */
#define MC_COMPAT_OFF 1

/**
 * Unless there is a key: what Mooncake speaks is not authenticated.
 */
#define MC_COMPAT_ON 2

/**
 * Also with a key.
 */
#define MC_COMPAT_ALLOW 3

/**
 * From the segment into local memory.
 */
#define MC_OPCODE_READ 1

/**
 * From local memory into the segment.
 */
#define MC_OPCODE_WRITE 2

/**
 * Between the others.
 */
#define MC_PRIORITY_NORMAL 0

/**
 * Before all others: a request whose first token waits.
 */
#define MC_PRIORITY_HIGH 1

/**
 * When nothing else waits: replication, prefetch.
 */
#define MC_PRIORITY_LOW 2

/**
 * Under way.
 */
#define MC_STORE_TASK_RUNNING 1

/**
 * All of it was done.
 */
#define MC_STORE_TASK_DONE 2

/**
 * It ended otherwise: the status says why.
 */
#define MC_STORE_TASK_FAILED 3

/**
 * mc_store_task_cancel() ended it.
 */
#define MC_STORE_TASK_CANCELED 4

/**
 * It prefills.
 */
#define MC_CONDUCTOR_ROLE_PREFILL 1

/**
 * It decodes.
 */
#define MC_CONDUCTOR_ROLE_DECODE 2

/**
 * It does both.
 */
#define MC_CONDUCTOR_ROLE_BOTH 3

/**
 * It holds blocks and serves nothing: the store.
 */
#define MC_CONDUCTOR_ROLE_HOLD 4

/**
 * XXH3 rolling, as Mooncake's indexer.
 */
#define MC_CONDUCTOR_HASH_XXH3 0

/**
 * vLLM's sha256_cbor.
 */
#define MC_CONDUCTOR_HASH_VLLM_SHA256_CBOR 1

/**
 * vLLM's sha256.
 */
#define MC_CONDUCTOR_HASH_VLLM_SHA256 2

/**
 * They are there now.
 */
#define MC_CONDUCTOR_CHANGE_STORED 1

/**
 * They are there no more.
 */
#define MC_CONDUCTOR_CHANGE_REMOVED 2

/**
 * All of a tier, or of all tiers, are there no more.
 */
#define MC_CONDUCTOR_CHANGE_CLEARED 3

/**
 * All tiers; to clear.
 */
#define MC_CONDUCTOR_TIER_ALL 0

/**
 * The memory of the accelerator.
 */
#define MC_CONDUCTOR_TIER_DEVICE 1

/**
 * The memory of the instance's host.
 */
#define MC_CONDUCTOR_TIER_HOST 2

/**
 * The instance's own disk.
 */
#define MC_CONDUCTOR_TIER_DISK 3

/**
 * The pooled store: what anybody has there is in reach of all.
 */
#define MC_CONDUCTOR_TIER_STORE 4

/**
 * It runs as the decision says.
 */
#define MC_CONDUCTOR_VERDICT_RUN 1

/**
 * It is not taken on: `rejection` says why, and when to come back.
 */
#define MC_CONDUCTOR_VERDICT_REJECTED 2

/**
 * It was.
 */
#define MC_CONDUCTOR_REASON_NONE 0

/**
 * Its first token would come too late.
 */
#define MC_CONDUCTOR_REASON_PREFILL 1

/**
 * The tokens after it would.
 */
#define MC_CONDUCTOR_REASON_DECODE 2

/**
 * A hook says so.
 */
#define MC_CONDUCTOR_REASON_RULE 3

/**
 * None are moved.
 */
#define MC_CONDUCTOR_SOURCE_NONE 0

/**
 * Another instance.
 */
#define MC_CONDUCTOR_SOURCE_INSTANCE 1

/**
 * The pooled store.
 */
#define MC_CONDUCTOR_SOURCE_STORE 2

/**
 * Its prefill began.
 */
#define MC_CONDUCTOR_FEEDBACK_STARTED 1

/**
 * Its prefill ended, and its first token is there.
 */
#define MC_CONDUCTOR_FEEDBACK_FIRST_TOKEN 2

/**
 * It ended well. Without a first token before: all that was wanted was its prefill.
 */
#define MC_CONDUCTOR_FEEDBACK_FINISHED 3

/**
 * The instance gave it up.
 */
#define MC_CONDUCTOR_FEEDBACK_FAILED 4

/**
 * Whoever asked does not want it any more.
 */
#define MC_CONDUCTOR_FEEDBACK_CANCELED 5

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Returns the name of a status without its prefix, such as "TIMEOUT"; "UNKNOWN" for a number that is none.
 *
 * @param status  any number
 * Errors: none. The text is static.
 * Since: 0.1
 */
MC_API const char *mc_status_name(mc_status_t status);

/**
 * Returns one static sentence about a status.
 *
 * @param status  any number
 * Errors: none. The text is static.
 * Since: 0.1
 */
MC_API const char *mc_status_text(mc_status_t status);

/**
 * Tells whether the same call may succeed later without a change by the caller.
 *
 * @param status  any number
 * Errors: none; false for MC_OK and for a number that is no status.
 * Since: 0.1
 */
MC_API bool mc_status_is_retryable(mc_status_t status);

/**
 * Returns what went wrong in this thread's last failing call, with names of peers and what to do.
 *
 * The text is valid until the next failing call of this thread; "" before the first. Completions carry a
 * code only: their story is in the log.
 *
 * Errors: none.
 * Since: 0.1
 */
MC_API const char *mc_last_error_message(void);

/**
 * Returns the version of the loaded library, such as "0.1.0".
 *
 * Errors: none. The text is static.
 * Since: 0.1
 */
MC_API const char *mc_version(void);

/**
 * Returns the ABI number of the loaded library, to compare with MC_ABI_VERSION.
 *
 * Errors: none.
 * Since: 0.1
 */
MC_API uint32_t mc_abi_version(void);

/**
 * Sends the log of every engine of this process to a callback, instead of nowhere.
 *
 * Replaces the callback set before, whose `drop` runs when its last call has returned.
 *
 * @param callback  NULL: the log goes nowhere, as at the start
 * @param user_data  handed to the callback; kept until `drop` is called
 * @param drop  may be NULL
 * Errors: none besides MC_ERR_INTERNAL.
 * Since: 0.1
 */
MC_API mc_status_t mc_log_set_callback(mc_log_fn callback, void *user_data, mc_drop_fn drop);

/**
 * Chooses how much is logged, for every engine of this process.
 *
 * @param level  MC_LOG_LEVEL_*
 * Errors: MC_ERR_INVALID_ARGUMENT (no such level).
 * Since: 0.1
 */
MC_API mc_status_t mc_log_set_level(mc_log_level_t level);

/**
 * Creates an engine: binds its port, starts its threads. No peer is contacted.
 *
 * @param options  NULL: all defaults
 * @param[out] out_engine  the engine; end it with mc_engine_destroy()
 * Errors: MC_ERR_INVALID_ARGUMENT (which field, and its range), MC_ERR_IO (binding; the address is named),
 * MC_ERR_NOT_FOUND (interface, network or configuration file), MC_ERR_ALREADY_EXISTS (name taken in the backend),
 * MC_ERR_UNSUPPORTED (field newer than the library).
 * Threads: blocks for the metadata backend, if one is named.
 * Since: 0.1
 */
MC_API
mc_status_t mc_engine_create(const struct mc_engine_options_t *options,
                             struct mc_engine_t **out_engine);

/**
 * Ends an engine: fails what is under way, closes its connections, forgets its memory.
 *
 * On return no registered buffer will be touched again by this engine or on its behalf. Calls of other threads on
 * this engine end with MC_ERR_INVALID_HANDLE.
 *
 * @param engine  NULL: nothing happens, MC_OK
 * Errors: MC_ERR_INVALID_HANDLE (destroyed before), MC_ERR_INVALID_STATE (a store made it, and ends it).
 * Threads: blocks until copies under way have ended.
 * Since: 0.1
 */
MC_API
mc_status_t mc_engine_destroy(struct mc_engine_t *engine);

/**
 * Waits until no batch of this engine is under way: the polite step before mc_engine_destroy().
 *
 * @param engine  the engine
 * @param timeout_ms  milliseconds; 0 polls, -1 waits for ever
 * Errors: MC_ERR_INVALID_HANDLE, MC_ERR_BUSY (still under way after the time; the text says how many).
 * Threads: blocks.
 * Since: 0.1
 */
MC_API mc_status_t mc_engine_drain(struct mc_engine_t *engine, int64_t timeout_ms);

/**
 * Tells what an engine is: names, addresses, counts.
 *
 * @param engine  the engine
 * @param[in,out] out_info  struct_size set by the caller
 * Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT.
 * Since: 0.1
 */
MC_API mc_status_t mc_engine_get_info(const struct mc_engine_t *engine, struct mc_engine_info_t *out_info);

/**
 * Writes the effective configuration as JSON: for each setting its value and where it came from
 * ("default", "file", "environment" or "options"). A key is shown as its length only.
 *
 * @param engine  the engine
 * @param[out] buffer  `size` bytes, may be NULL when size is 0; NUL-terminated text
 * @param size  bytes in buffer
 * @param[out] out_length  length of the whole text without its NUL, also when buffer was too small
 * Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT, MC_ERR_BUFFER_TOO_SMALL.
 * Since: 0.1
 */
MC_API
mc_status_t mc_engine_get_config(const struct mc_engine_t *engine,
                                 char *buffer,
                                 size_t size,
                                 size_t *out_length);

/**
 * Writes a blob with which a peer can reach this engine without any name service: its addresses and regions.
 *
 * Send it by any channel; the peer calls mc_segment_import(). A blob with some regions gives access to those only.
 * It does not change when more memory is registered later: export again.
 *
 * @param engine  the engine
 * @param regions  [region_count] regions to tell of; NULL with count 0: all
 * @param region_count  any number
 * @param[out] buffer  `size` bytes, may be NULL when size is 0
 * @param size  bytes in buffer
 * @param[out] out_length  length of the whole blob, also when buffer was too small (then buffer is not written)
 * Errors: MC_ERR_INVALID_HANDLE (engine or a region), MC_ERR_INVALID_ARGUMENT, MC_ERR_BUFFER_TOO_SMALL.
 * Since: 0.1
 */
MC_API
mc_status_t mc_engine_export(const struct mc_engine_t *engine,
                             const uint64_t *regions,
                             size_t region_count,
                             void *buffer,
                             size_t size,
                             size_t *out_length);

/**
 * Registers memory, so that this engine may transfer from and to it and, unless forbidden, its peers too.
 *
 * Registering the identical range again returns the same region and counts; a contained or overlapping range is a
 * region of its own; a longer range at the same address too. All may be unregistered in any order. Registering costs
 * no pinning and no system call; the memory must stay mapped until the region is unregistered.
 *
 * @param engine  the engine
 * @param address  first byte
 * @param length  bytes, at least 1
 * @param options  NULL: peers may read and write
 * @param[out] out_region  the region; end it with mc_memory_unregister()
 * Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT (NULL, zero or wrapping range), MC_ERR_EXHAUSTED.
 * Since: 0.1
 */
MC_API
mc_status_t mc_memory_register(struct mc_engine_t *engine,
                               void *address,
                               size_t length,
                               const struct mc_memory_options_t *options,
                               mc_region_t *out_region);

/**
 * Registers many ranges at once.
 *
 * @param engine  the engine
 * @param spans  [count] ranges
 * @param count  at least 1
 * @param options  for all of them; NULL: peers may read and write
 * @param[out] out_regions  [count]; 0 where it failed
 * @param[out] out_statuses  [count]; may be NULL
 * Errors: the first failure among the statuses; MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT.
 * Since: 0.1
 */
MC_API
mc_status_t mc_memory_register_batch(struct mc_engine_t *engine,
                                     const struct mc_span_t *spans,
                                     size_t count,
                                     const struct mc_memory_options_t *options,
                                     mc_region_t *out_regions,
                                     mc_status_t *out_statuses);

/**
 * Ends a registration. The last of identical ones ends the region: peers can no longer reach it.
 *
 * Transfers of this engine that use the region are waited for; those of peers are fenced off at once.
 *
 * @param engine  the engine
 * @param region  from mc_memory_register() or mc_memory_register_batch()
 * @param flags  MC_MEMORY_FLAG_NO_WAIT: MC_ERR_BUSY when transfers are under way; else 0
 * Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT, MC_ERR_BUSY (with the flag; or a peer process of this host
 * is stopped in the middle of a copy and cannot be waited for longer), MC_ERR_INVALID_STATE (allocated memory: use
 * mc_memory_free()).
 * Threads: blocks until transfers that use the region have ended.
 * Since: 0.1
 */
MC_API
mc_status_t mc_memory_unregister(struct mc_engine_t *engine,
                                 mc_region_t region,
                                 uint64_t flags);

/**
 * Ends many registrations.
 *
 * @param engine  the engine
 * @param regions  [count]
 * @param count  at least 1
 * @param flags  as in mc_memory_unregister()
 * @param[out] out_statuses  [count]; may be NULL
 * Errors: the first failure among the statuses; MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT.
 * Threads: blocks as mc_memory_unregister() does.
 * Since: 0.1
 */
MC_API
mc_status_t mc_memory_unregister_batch(struct mc_engine_t *engine,
                                       const mc_region_t *regions,
                                       size_t count,
                                       uint64_t flags,
                                       mc_status_t *out_statuses);

/**
 * Allocates memory that peers on this host reach fastest, zeroed, populated and registered.
 *
 * It lies in a sealed memory file on huge pages where the host has them; peers of this host map it.
 *
 * @param engine  the engine
 * @param length  bytes, at least 1; rounded up to whole pages
 * @param options  NULL: peers may read and write
 * @param[out] out_address  first byte
 * @param[out] out_region  the region; end both with mc_memory_free()
 * Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT, MC_ERR_NO_SPACE, MC_ERR_UNSUPPORTED (no memory files).
 * Threads: blocks for the time that touching every page takes.
 * Since: 0.1
 */
MC_API
mc_status_t mc_memory_allocate(struct mc_engine_t *engine,
                               size_t length,
                               const struct mc_memory_options_t *options,
                               void **out_address,
                               mc_region_t *out_region);

/**
 * Frees what mc_memory_allocate() made, and its registration.
 *
 * @param engine  the engine
 * @param region  from mc_memory_allocate()
 * @param flags  as in mc_memory_unregister()
 * Errors: as mc_memory_unregister(); MC_ERR_INVALID_STATE (not allocated by this library).
 * Threads: blocks as mc_memory_unregister() does.
 * Since: 0.1
 */
MC_API mc_status_t mc_memory_free(struct mc_engine_t *engine, mc_region_t region, uint64_t flags);

/**
 * Tells what a region is.
 *
 * @param engine  the engine
 * @param region  a live region
 * @param[in,out] out_info  struct_size set by the caller
 * Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT.
 * Since: 0.1
 */
MC_API
mc_status_t mc_memory_get_info(const struct mc_engine_t *engine,
                               mc_region_t region,
                               struct mc_memory_info_t *out_info);

/**
 * Opens a peer's segment by address or by name, and meets the peer.
 *
 * Opening again gives another id of the same connection. A peer that restarts later is met again without any call.
 *
 * @param engine  the engine
 * @param name  "host:port", "[IPv6]:port", or a name in the metadata backend
 * @param timeout_ms  milliseconds; 0: do not wait, the first transfer meets the peer; -1: the default deadline
 * @param[out] out_segment  the segment; end it with mc_segment_close()
 * Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT, MC_ERR_NOT_FOUND (no such name or host),
 * MC_ERR_UNREACHABLE, MC_ERR_UNAUTHENTICATED, MC_ERR_VERSION_MISMATCH, MC_ERR_REJECTED, MC_ERR_EXHAUSTED.
 * Threads: blocks for the peer's answer.
 * Since: 0.1
 */
MC_API
mc_status_t mc_segment_open(struct mc_engine_t *engine,
                            const char *name,
                            int64_t timeout_ms,
                            mc_segment_t *out_segment);

/**
 * Makes a segment of a peer's blob. Nobody is contacted: the first transfer meets the peer.
 *
 * The segment has the regions of the blob and no others. A region that its owner unregistered since fails the
 * transfer with MC_ERR_ADDRESS_NOT_REGISTERED, also when other memory was registered there.
 *
 * @param engine  the engine
 * @param blob  [length] bytes from the peer's mc_engine_export()
 * @param length  bytes
 * @param[out] out_segment  the segment; end it with mc_segment_close()
 * Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT (not a blob, or cut), MC_ERR_VERSION_MISMATCH,
 * MC_ERR_EXHAUSTED.
 * Since: 0.1
 */
MC_API
mc_status_t mc_segment_import(struct mc_engine_t *engine,
                              const void *blob,
                              size_t length,
                              mc_segment_t *out_segment);

/**
 * Closes a segment. Transfers under way go on; the last segment of a peer closes its connections.
 *
 * @param engine  the engine
 * @param segment  from mc_segment_open() or mc_segment_import()
 * Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_STATE (the local segment).
 * Since: 0.1
 */
MC_API mc_status_t mc_segment_close(struct mc_engine_t *engine, mc_segment_t segment);

/**
 * Tells what a segment is.
 *
 * @param engine  the engine
 * @param segment  an open segment
 * @param[in,out] out_info  struct_size set by the caller
 * Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT.
 * Since: 0.1
 */
MC_API
mc_status_t mc_segment_get_info(const struct mc_engine_t *engine,
                                mc_segment_t segment,
                                struct mc_segment_info_t *out_info);

/**
 * Lists the regions of a segment in the order in which the peer registered them.
 *
 * @param engine  the engine
 * @param segment  an open segment
 * @param[out] out_regions  [capacity]; may be NULL when capacity is 0
 * @param capacity  items in out_regions
 * @param[out] out_count  regions there are, also when there was room for fewer
 * Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT, MC_ERR_BUFFER_TOO_SMALL (the first `capacity` are written).
 * Since: 0.1
 */
MC_API
mc_status_t mc_segment_list_regions(const struct mc_engine_t *engine,
                                    mc_segment_t segment,
                                    struct mc_remote_region_t *out_regions,
                                    size_t capacity,
                                    size_t *out_count);

/**
 * Asks the peer for its regions anew. Transfers do that by themselves when they meet an unknown address; this is
 * for mc_segment_list_regions().
 *
 * @param engine  the engine
 * @param segment  an open segment, not an imported one
 * @param timeout_ms  milliseconds; -1: the default deadline
 * Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_STATE (imported), MC_ERR_TIMEOUT, and those of mc_segment_open().
 * Threads: blocks for the peer's answer.
 * Since: 0.1
 */
MC_API
mc_status_t mc_segment_refresh(struct mc_engine_t *engine,
                               mc_segment_t segment,
                               int64_t timeout_ms);

/**
 * Asks whether a peer is alive. A dead peer is an answer, not an error.
 *
 * @param engine  the engine
 * @param segment  an open segment
 * @param timeout_ms  milliseconds to wait for the answer; -1: the keepalive time
 * @param[in,out] out_probe  struct_size set by the caller
 * Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT.
 * Threads: blocks for the peer's answer.
 * Since: 0.1
 */
MC_API
mc_status_t mc_segment_probe(struct mc_engine_t *engine,
                             mc_segment_t segment,
                             int64_t timeout_ms,
                             struct mc_probe_t *out_probe);

/**
 * Starts a batch of transfers and returns at once.
 *
 * Requests may go to different segments, and complete in any order. Copies that stay on this host and are small
 * are done when this returns.
 *
 * @param engine  the engine
 * @param requests  [count], copied before return, the spans too
 * @param count  at least 1
 * @param options  NULL: normal priority, default deadline, no queue, no notification
 * @param[out] out_batch  the batch; end it with mc_batch_release()
 * Memory: every local range must lie in a registered region, and stays in use until its request ended.
 * Errors: MC_ERR_INVALID_HANDLE (engine, segment or queue), MC_ERR_INVALID_ARGUMENT (which request, and why),
 * MC_ERR_ADDRESS_NOT_REGISTERED (local range), MC_ERR_EXHAUSTED (too much under way, or the queue could overflow).
 * On an error nothing was started.
 * Since: 0.1
 */
MC_API
mc_status_t mc_batch_submit(struct mc_engine_t *engine,
                            const struct mc_request_t *requests,
                            size_t count,
                            const struct mc_batch_options_t *options,
                            mc_batch_t *out_batch);

/**
 * Checks and resolves a batch without starting it: for transfers that repeat over the same memory.
 *
 * @param engine  the engine
 * @param requests  [count], copied before return, the spans too
 * @param count  at least 1
 * @param options  as in mc_batch_submit(); the deadline counts from each post
 * @param[out] out_batch  the batch; start it with mc_batch_post(), end it with mc_batch_release()
 * Memory: the local regions are in use while the batch runs; they may be unregistered between two posts, and then the
 * next post fails.
 * Errors: as mc_batch_submit().
 * Since: 0.1
 */
MC_API
mc_status_t mc_batch_prepare(struct mc_engine_t *engine,
                             const struct mc_request_t *requests,
                             size_t count,
                             const struct mc_batch_options_t *options,
                             mc_batch_t *out_batch);

/**
 * Starts a prepared batch, for the first time or again after it ended. Allocates nothing.
 *
 * @param engine  the engine
 * @param batch  from mc_batch_prepare()
 * Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_STATE (not prepared), MC_ERR_BUSY (still under way),
 * MC_ERR_ADDRESS_NOT_REGISTERED (a local region was unregistered since it was prepared), MC_ERR_EXHAUSTED (too much under way, or the queue could overflow).
 * Since: 0.1
 */
MC_API
mc_status_t mc_batch_post(struct mc_engine_t *engine,
                          mc_batch_t batch);

/**
 * Tells how far a batch is. Costs the same for any number of requests, allocates nothing, never blocks.
 *
 * @param engine  the engine
 * @param batch  a batch
 * @param[in,out] out_info  struct_size set by the caller
 * Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT. A failed transfer is no error of this call: look at
 * out_info->is_done and ->status.
 * Since: 0.1
 */
MC_API
mc_status_t mc_batch_poll(struct mc_engine_t *engine,
                          mc_batch_t batch,
                          struct mc_batch_info_t *out_info);

/**
 * Waits until a batch is done, and returns what became of it.
 *
 * @param engine  the engine
 * @param batch  a batch
 * @param timeout_ms  milliseconds; 0 polls, -1 waits until it is done (its deadline bounds that)
 * @param[in,out] out_info  struct_size set by the caller; may be NULL
 * Errors: MC_ERR_NOT_READY (not done after the time), the status of the first request that failed (out_info->is_done
 * is true then), MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT.
 * Threads: blocks; the waiting thread moves its own bytes where it can.
 * Since: 0.1
 */
MC_API
mc_status_t mc_batch_wait(struct mc_engine_t *engine,
                          mc_batch_t batch,
                          int64_t timeout_ms,
                          struct mc_batch_info_t *out_info);

/**
 * Tells what became of one request of a batch.
 *
 * @param engine  the engine
 * @param batch  a batch
 * @param index  0 to count - 1
 * @param[out] out_completion  its status is MC_ERR_NOT_READY while the request is under way
 * Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT (index).
 * Since: 0.1
 */
MC_API
mc_status_t mc_batch_task(struct mc_engine_t *engine,
                          mc_batch_t batch,
                          size_t index,
                          struct mc_completion_t *out_completion);

/**
 * Ends a batch early. What was not sent is not sent; what was sent is waited for, a short while.
 *
 * Returns at once: the batch is done soon after, each request with MC_OK (it was faster), MC_ERR_CANCELED (local
 * memory is not touched again, remote memory is final: it holds any mix of old, new and zero bytes in the range) or
 * MC_ERR_UNREACHABLE (the peer did not answer: the remote range is undefined until that peer was met again).
 *
 * @param engine  the engine
 * @param batch  a batch; one that is done stays as it is
 * Errors: MC_ERR_INVALID_HANDLE.
 * Since: 0.1
 */
MC_API
mc_status_t mc_batch_cancel(struct mc_engine_t *engine,
                            mc_batch_t batch);

/**
 * Gives a batch back, at any time. One that is under way is canceled in the background; its completions still reach
 * its queue.
 *
 * @param engine  the engine
 * @param batch  a batch
 * Errors: MC_ERR_INVALID_HANDLE.
 * Since: 0.1
 */
MC_API
mc_status_t mc_batch_release(struct mc_engine_t *engine,
                             mc_batch_t batch);

/**
 * Makes a completion queue.
 *
 * @param engine  the engine
 * @param options  NULL: all defaults
 * @param[out] out_cq  the queue; end it with mc_cq_destroy()
 * Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT, MC_ERR_EXHAUSTED, MC_ERR_IO (no file descriptor left).
 * Since: 0.1
 */
MC_API
mc_status_t mc_cq_create(struct mc_engine_t *engine,
                         const struct mc_cq_options_t *options,
                         mc_cq_t *out_cq);

/**
 * Ends a queue and wakes who waits on it. Batches that name it go on; their completions go nowhere.
 *
 * @param engine  the engine
 * @param cq  a queue
 * Errors: MC_ERR_INVALID_HANDLE.
 * Since: 0.1
 */
MC_API mc_status_t mc_cq_destroy(struct mc_engine_t *engine, mc_cq_t cq);

/**
 * Takes completions that are there. Allocates nothing, never blocks.
 *
 * @param engine  the engine
 * @param cq  a queue
 * @param[out] out_completions  [capacity]
 * @param capacity  at least 1
 * @param[out] out_count  completions taken, may be 0
 * Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT.
 * Since: 0.1
 */
MC_API
mc_status_t mc_cq_poll(struct mc_engine_t *engine,
                       mc_cq_t cq,
                       struct mc_completion_t *out_completions,
                       size_t capacity,
                       size_t *out_count);

/**
 * Takes completions, waiting for the first.
 *
 * @param engine  the engine
 * @param cq  a queue
 * @param timeout_ms  milliseconds; 0 polls, -1 waits for ever
 * @param[out] out_completions  [capacity]
 * @param capacity  at least 1
 * @param[out] out_count  completions taken; 0 after the time
 * Errors: MC_ERR_INVALID_HANDLE (also when the queue is destroyed meanwhile), MC_ERR_INVALID_ARGUMENT.
 * Threads: blocks.
 * Since: 0.1
 */
MC_API
mc_status_t mc_cq_wait(struct mc_engine_t *engine,
                       mc_cq_t cq,
                       int64_t timeout_ms,
                       struct mc_completion_t *out_completions,
                       size_t capacity,
                       size_t *out_count);

/**
 * Returns a file descriptor that is readable while the queue is not empty: for poll, epoll or select.
 *
 * It belongs to the queue: do not read or close it.
 *
 * @param engine  the engine
 * @param cq  a queue
 * @param[out] out_fd  the descriptor
 * Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT.
 * Since: 0.1
 */
MC_API mc_status_t mc_cq_event_fd(struct mc_engine_t *engine, mc_cq_t cq, int32_t *out_fd);

/**
 * Sends a notification and waits until the peer's engine has it.
 *
 * Not ordered with batches under way: to tell a peer that its data is there, name the notification in the batch.
 *
 * @param engine  the engine
 * @param segment  the peer; the local segment sends to this engine itself
 * @param tag  at most 255 bytes; NULL: ""
 * @param data  [length] bytes; may be NULL when length is 0
 * @param length  0 to MC_NOTIFY_MAX_LENGTH
 * @param timeout_ms  milliseconds; -1: the default deadline
 * Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT, MC_ERR_TIMEOUT (it may still arrive), MC_ERR_EXHAUSTED (the
 * peer's queue is full), and those of mc_segment_open().
 * Threads: blocks for the peer's answer.
 * Since: 0.1
 */
MC_API
mc_status_t mc_notify_send(struct mc_engine_t *engine,
                           mc_segment_t segment,
                           const char *tag,
                           const void *data,
                           size_t length,
                           int64_t timeout_ms);

/**
 * Takes the oldest notification, or the oldest with a tag.
 *
 * One that does not fit into the buffer stays: out_info tells its length.
 *
 * @param engine  the engine
 * @param tag  only those with this tag; NULL: any
 * @param timeout_ms  milliseconds; 0 polls, -1 waits for ever
 * @param[out] buffer  `size` bytes; may be NULL when size is 0
 * @param size  bytes in buffer
 * @param[in,out] out_info  struct_size set by the caller
 * Errors: MC_ERR_NOT_READY (none came), MC_ERR_BUFFER_TOO_SMALL (out_info is written), MC_ERR_INVALID_HANDLE,
 * MC_ERR_INVALID_ARGUMENT.
 * Threads: blocks.
 * Since: 0.1
 */
MC_API
mc_status_t mc_notify_receive(struct mc_engine_t *engine,
                              const char *tag,
                              int64_t timeout_ms,
                              void *buffer,
                              size_t size,
                              struct mc_notify_info_t *out_info);

/**
 * Announces notifications on a completion queue: each that arrives puts one MC_COMPLETION_NOTIFY there, for which
 * one mc_notify_receive() with the same tag finds one. They do not count against the queue's capacity.
 *
 * @param engine  the engine
 * @param tag  only those with this tag; NULL: those whose tag is bound to no queue
 * @param cq  the queue; 0: no longer announce
 * @param user_data  comes back in the completion
 * Errors: MC_ERR_INVALID_HANDLE (engine or queue), MC_ERR_INVALID_ARGUMENT, MC_ERR_EXHAUSTED (65,536 tags are bound).
 * Since: 0.1
 */
MC_API
mc_status_t mc_notify_bind(struct mc_engine_t *engine,
                           const char *tag,
                           mc_cq_t cq,
                           uint64_t user_data);

/**
 * Opens a store: finds its master, or starts one, and gives memory if told to.
 *
 * With NULL for options the whole store is in this process: a master, 64 MiB of memory, and a client.
 *
 * @param options  NULL: all defaults
 * @param[out] out_store  the store; end it with mc_store_close()
 * Errors: MC_ERR_INVALID_ARGUMENT (which field), MC_ERR_INVALID_HANDLE (options->engine), MC_ERR_UNREACHABLE (no master
 * answers), MC_ERR_UNAUTHENTICATED (the key), MC_ERR_NOT_READY (the master does not take the memory in), MC_ERR_NO_SPACE
 * (memory), MC_ERR_IO (binding), MC_ERR_UNSUPPORTED (field newer than the library).
 * Threads: blocks until the master answered, and until the memory was taken in.
 * Since: 0.1
 */
MC_API
mc_status_t mc_store_open(const struct mc_store_options_t *options,
                          struct mc_store_t **out_store);

/**
 * Ends a store: operations under way end first; sessions and buffers end with it.
 *
 * What this process gave to the store is gone with it, and so is a master of its own. On return nothing touches memory
 * of the caller's on the store's behalf, but for calls that other threads are still in.
 *
 * @param store  NULL: nothing happens, MC_OK
 * Errors: MC_ERR_INVALID_HANDLE (closed before).
 * Threads: blocks until operations that run in the background have ended.
 * Since: 0.1
 */
MC_API
mc_status_t mc_store_close(struct mc_store_t *store);

/**
 * Gives the engine through which a store's bytes go: for registering memory, and for completion queues.
 *
 * Memory that is registered with it need not be registered for each operation anew.
 *
 * @param store  the store
 * @param[out] out_engine  the engine; one that the store made ends with it
 * Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT.
 * Since: 0.1
 */
MC_API mc_status_t mc_store_engine(const struct mc_store_t *store, struct mc_engine_t **out_engine);

/**
 * Tells what a store is. Asks nobody.
 *
 * @param store  the store
 * @param[in,out] out_info  struct_size set by the caller
 * Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT.
 * Since: 0.1
 */
MC_API mc_status_t mc_store_get_info(const struct mc_store_t *store, struct mc_store_info_t *out_info);

/**
 * Puts an object, and waits until all its replicas are there. The bytes are copied: the buffer is the caller's again.
 *
 * @param store  the store
 * @param key  [key_length]
 * @param key_length  1 to MC_STORE_KEY_MAX_LENGTH
 * @param data  [length]
 * @param length  bytes, at least 1
 * @param options  NULL: one replica, no pins, the store's deadline
 * @param[out] out_result  version and size, or when to try again; written on failure, too; may be NULL
 * Errors: MC_ERR_ALREADY_EXISTS (without MC_STORE_FLAG_UPSERT), MC_ERR_BUSY (somebody else puts it), MC_ERR_NO_SPACE
 * (out_result says when there may be room), MC_ERR_QUOTA_EXCEEDED, MC_ERR_NOT_READY (no master serves yet),
 * MC_ERR_UNREACHABLE, MC_ERR_TIMEOUT, MC_ERR_CANCELED (it took longer than its grant), MC_ERR_INVALID_HANDLE,
 * MC_ERR_INVALID_ARGUMENT.
 * Threads: blocks for the master and the nodes.
 * Since: 0.1
 */
MC_API
mc_status_t mc_store_put(struct mc_store_t *store,
                         const void *key,
                         size_t key_length,
                         const void *data,
                         size_t length,
                         const struct mc_store_put_options_t *options,
                         struct mc_store_result_t *out_result);

/**
 * Puts many objects with one question to the master, each gathered from pieces of memory.
 *
 * @param store  the store
 * @param puts  [count]
 * @param count  at least 1
 * @param options  for all of them; NULL: as in mc_store_put()
 * @param[out] out_results  [count]; written unless an argument is wrong
 * Errors: the first failure among the results, which are those of mc_store_put(); MC_ERR_INVALID_HANDLE,
 * MC_ERR_INVALID_ARGUMENT.
 * Threads: blocks for the master and the nodes.
 * Since: 0.1
 */
MC_API
mc_status_t mc_store_put_batch(struct mc_store_t *store,
                               const struct mc_store_put_t *puts,
                               size_t count,
                               const struct mc_store_put_options_t *options,
                               struct mc_store_result_t *out_results);

/**
 * Puts many objects in the background and returns at once.
 *
 * One completion of kind MC_COMPLETION_STORE comes into the queue when all are done: its status is the first failure,
 * its length the bytes of all objects.
 *
 * @param store  the store
 * @param puts  [count], copied, keys and lists of spans too
 * @param count  at least 1
 * @param options  for all of them; NULL: as in mc_store_put()
 * @param cq  queue of the store's engine
 * @param user_data  comes back in the completion
 * @param[out] out_results  [count]; written before the completion is there
 * Memory: the spans and out_results belong to the store until the completion. It comes in any case: closing the store
 * makes it MC_ERR_CANCELED, and then out_results are not written.
 * Errors: MC_ERR_INVALID_HANDLE (store or queue), MC_ERR_INVALID_ARGUMENT, MC_ERR_EXHAUSTED (the queue could overflow, or
 * too much waits already). On an error nothing was started.
 * Since: 0.1
 */
MC_API
mc_status_t mc_store_put_submit(struct mc_store_t *store,
                                const struct mc_store_put_t *puts,
                                size_t count,
                                const struct mc_store_put_options_t *options,
                                mc_cq_t cq,
                                uint64_t user_data,
                                struct mc_store_result_t *out_results);

/**
 * Begins to put objects piece by piece, such as layer by layer: asks for their memory, all at once.
 *
 * Nobody sees an object before mc_store_put_commit(). One that takes long keeps its memory as long as pieces come.
 *
 * @param store  the store
 * @param puts  [count] keys and sizes
 * @param count  at least 1
 * @param options  for all of them; NULL: as in mc_store_put()
 * @param[out] out_writings  [count]; each ends with mc_store_put_commit() or mc_store_put_revoke(); 0 where it failed
 * @param[out] out_results  [count]; both are written unless an argument is wrong
 * Errors: the first failure among the results, which are those of mc_store_put(); MC_ERR_INVALID_HANDLE,
 * MC_ERR_INVALID_ARGUMENT, MC_ERR_EXHAUSTED (524,288 sessions and buffers live).
 * Threads: blocks for the master and the nodes.
 * Since: 0.1
 */
MC_API
mc_status_t mc_store_put_begin(struct mc_store_t *store,
                               const struct mc_store_put_size_t *puts,
                               size_t count,
                               const struct mc_store_put_options_t *options,
                               mc_store_writing_t *out_writings,
                               struct mc_store_result_t *out_results);

/**
 * Writes a piece of an object to all its replicas. Pieces come in any order; the same piece may come again, and none may
 * overlap another.
 *
 * @param store  the store
 * @param writing  from mc_store_put_begin()
 * @param offset  bytes from the object's first
 * @param spans  [span_count] pieces of memory that follow one another from there on
 * @param span_count  at least 1
 * @param timeout_ms  milliseconds; -1: the store's deadline
 * Errors: MC_ERR_INVALID_HANDLE (store; or it was committed or revoked), MC_ERR_INVALID_ARGUMENT (outside of the object,
 * or overlapping), MC_ERR_CANCELED (its grant was taken back), MC_ERR_UNREACHABLE, MC_ERR_TIMEOUT. After one of the last
 * three the object can only be revoked.
 * Threads: blocks for the nodes.
 * Since: 0.1
 */
MC_API
mc_status_t mc_store_put_write(struct mc_store_t *store,
                               mc_store_writing_t writing,
                               uint64_t offset,
                               const struct mc_span_t *spans,
                               size_t span_count,
                               int64_t timeout_ms);

/**
 * Makes an object visible, all of which was written, and ends its writing.
 *
 * @param store  the store
 * @param writing  from mc_store_put_begin()
 * @param timeout_ms  milliseconds; -1: the store's deadline
 * @param[out] out_result  its version; written on failure, too; may be NULL
 * Errors: MC_ERR_INVALID_STATE (bytes are missing: the writing goes on), MC_ERR_INVALID_HANDLE, and those of
 * mc_store_put(), with which the writing has ended.
 * Threads: blocks for the nodes and the master.
 * Since: 0.1
 */
MC_API
mc_status_t mc_store_put_commit(struct mc_store_t *store,
                                mc_store_writing_t writing,
                                int64_t timeout_ms,
                                struct mc_store_result_t *out_result);

/**
 * Gives up an object that is being written, and its memory.
 *
 * @param store  the store
 * @param writing  from mc_store_put_begin()
 * Errors: MC_ERR_INVALID_HANDLE (also when it was committed or revoked before).
 * Threads: blocks for the nodes and the master, half a second at most.
 * Since: 0.1
 */
MC_API mc_status_t mc_store_put_revoke(struct mc_store_t *store, mc_store_writing_t writing);

/**
 * Gets a whole object into a buffer of the caller's, every byte of it verified.
 *
 * @param store  the store
 * @param key  [key_length]
 * @param key_length  1 to MC_STORE_KEY_MAX_LENGTH
 * @param[out] buffer  [size]; undefined on failure
 * @param size  bytes in buffer; it may have more room than the object has bytes
 * @param options  NULL: the store's deadline
 * @param[out] out_result  size and version, or when to try again; written on failure, too; may be NULL
 * Errors: MC_ERR_NOT_FOUND, MC_ERR_BUFFER_TOO_SMALL (the text has the size), MC_ERR_NOT_READY (a master that has just
 * taken over does not know yet), MC_ERR_UNREACHABLE, MC_ERR_CORRUPTED (every replica is), MC_ERR_LEASE_EXPIRED (reading
 * took longer than a lease, again and again), MC_ERR_TIMEOUT, MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT.
 * Threads: blocks for the master and the nodes.
 * Since: 0.1
 */
MC_API
mc_status_t mc_store_get(struct mc_store_t *store,
                         const void *key,
                         size_t key_length,
                         void *buffer,
                         size_t size,
                         const struct mc_store_get_options_t *options,
                         struct mc_store_result_t *out_result);

/**
 * Gets a part of an object into a buffer of the caller's.
 *
 * @param store  the store
 * @param key  [key_length]
 * @param key_length  1 to MC_STORE_KEY_MAX_LENGTH
 * @param offset  bytes from the object's first
 * @param[out] buffer  [length]; undefined on failure
 * @param length  bytes to get
 * @param options  NULL: the store's deadline
 * @param[out] out_result  size of the whole object, and its version; written on failure, too; may be NULL
 * Errors: those of mc_store_get(); MC_ERR_INVALID_ARGUMENT also when the part is not within the object.
 * Threads: blocks for the master and the nodes.
 * Since: 0.1
 */
MC_API
mc_status_t mc_store_get_range(struct mc_store_t *store,
                               const void *key,
                               size_t key_length,
                               uint64_t offset,
                               void *buffer,
                               size_t length,
                               const struct mc_store_get_options_t *options,
                               struct mc_store_result_t *out_result);

/**
 * Gets many objects, or many parts of many objects, with one question to the master.
 *
 * @param store  the store
 * @param gets  [count]
 * @param count  at least 1
 * @param options  for all of them; NULL: the store's deadline
 * @param[out] out_results  [count]; written unless an argument is wrong
 * Errors: the first failure among the results, which are those of mc_store_get() and mc_store_get_range();
 * MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT.
 * Threads: blocks for the master and the nodes.
 * Since: 0.1
 */
MC_API
mc_status_t mc_store_get_batch(struct mc_store_t *store,
                               const struct mc_store_get_t *gets,
                               size_t count,
                               const struct mc_store_get_options_t *options,
                               struct mc_store_result_t *out_results);

/**
 * Gets many objects in the background and returns at once.
 *
 * One completion of kind MC_COMPLETION_STORE comes into the queue when all are done: its status is the first failure,
 * its length the bytes of all objects.
 *
 * @param store  the store
 * @param gets  [count], copied, keys and lists of spans and ranges too
 * @param count  at least 1
 * @param options  for all of them; NULL: the store's deadline
 * @param cq  queue of the store's engine
 * @param user_data  comes back in the completion
 * @param[out] out_results  [count]; written before the completion is there
 * Memory: the spans and out_results belong to the store until the completion. It comes in any case: closing the store
 * makes it MC_ERR_CANCELED, and then out_results are not written.
 * Errors: MC_ERR_INVALID_HANDLE (store or queue), MC_ERR_INVALID_ARGUMENT, MC_ERR_EXHAUSTED (the queue could overflow, or
 * too much waits already). On an error nothing was started.
 * Since: 0.1
 */
MC_API
mc_status_t mc_store_get_submit(struct mc_store_t *store,
                                const struct mc_store_get_t *gets,
                                size_t count,
                                const struct mc_store_get_options_t *options,
                                mc_cq_t cq,
                                uint64_t user_data,
                                struct mc_store_result_t *out_results);

/**
 * Gets a whole object into memory that the store allocates.
 *
 * @param store  the store
 * @param key  [key_length]
 * @param key_length  1 to MC_STORE_KEY_MAX_LENGTH
 * @param options  NULL: the store's deadline
 * @param[out] out_view  the object; end it with mc_store_buffer_release()
 * @param[out] out_result  version, or when to try again; written on failure, too; may be NULL
 * Errors: those of mc_store_get(), but for MC_ERR_BUFFER_TOO_SMALL; MC_ERR_NO_SPACE (memory of this process),
 * MC_ERR_EXHAUSTED (524,288 sessions and buffers live).
 * Threads: blocks for the master and the nodes.
 * Since: 0.1
 */
MC_API
mc_status_t mc_store_get_view(struct mc_store_t *store,
                              const void *key,
                              size_t key_length,
                              const struct mc_store_get_options_t *options,
                              struct mc_store_view_t *out_view,
                              struct mc_store_result_t *out_result);

/**
 * Gets many objects into memory that the store allocates.
 *
 * @param store  the store
 * @param keys  [count]
 * @param count  at least 1
 * @param options  for all of them; NULL: the store's deadline
 * @param[out] out_views  [count]; buffer 0 where it failed
 * @param[out] out_results  [count]; both are written unless an argument is wrong
 * Errors: the first failure among the results, which are those of mc_store_get_view(); MC_ERR_INVALID_HANDLE,
 * MC_ERR_INVALID_ARGUMENT.
 * Threads: blocks for the master and the nodes.
 * Since: 0.1
 */
MC_API
mc_status_t mc_store_get_view_batch(struct mc_store_t *store,
                                    const struct mc_store_key_t *keys,
                                    size_t count,
                                    const struct mc_store_get_options_t *options,
                                    struct mc_store_view_t *out_views,
                                    struct mc_store_result_t *out_results);

/**
 * Gives memory back that a store handed out.
 *
 * @param store  the store
 * @param buffer  from mc_store_get_view() or mc_store_get_view_batch()
 * Errors: MC_ERR_INVALID_HANDLE (also when it was released before).
 * Since: 0.1
 */
MC_API mc_status_t mc_store_buffer_release(struct mc_store_t *store, mc_store_buffer_t buffer);

/**
 * Begins to read objects piece by piece: looks them up, all at once. What is read is of the version that they have now.
 *
 * @param store  the store
 * @param keys  [count]
 * @param count  at least 1
 * @param options  for all of them; NULL: the store's deadline
 * @param[out] out_readings  [count]; each ends with mc_store_get_end(); 0 where it failed
 * @param[out] out_results  [count] sizes and versions; both are written unless an argument is wrong
 * Errors: the first failure among the results: MC_ERR_NOT_FOUND, MC_ERR_NOT_READY, MC_ERR_UNREACHABLE, MC_ERR_EXHAUSTED
 * (524,288 sessions and buffers live); MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT.
 * Threads: blocks for the master.
 * Since: 0.1
 */
MC_API
mc_status_t mc_store_get_begin(struct mc_store_t *store,
                               const struct mc_store_key_t *keys,
                               size_t count,
                               const struct mc_store_get_options_t *options,
                               mc_store_reading_t *out_readings,
                               struct mc_store_result_t *out_results);

/**
 * Reads parts of an object, verified.
 *
 * @param store  the store
 * @param reading  from mc_store_get_begin()
 * @param ranges  [range_count] parts, and where they go; undefined on failure
 * @param range_count  at least 1
 * @param timeout_ms  milliseconds; -1: the store's deadline
 * Errors: MC_ERR_INVALID_HANDLE (store; or the reading ended), MC_ERR_INVALID_ARGUMENT, MC_ERR_LEASE_EXPIRED (the object
 * was replaced, removed or moved meanwhile: begin again), MC_ERR_UNREACHABLE, MC_ERR_CORRUPTED, MC_ERR_TIMEOUT.
 * Threads: blocks for the nodes.
 * Since: 0.1
 */
MC_API
mc_status_t mc_store_get_read(struct mc_store_t *store,
                              mc_store_reading_t reading,
                              const struct mc_store_range_t *ranges,
                              size_t range_count,
                              int64_t timeout_ms);

/**
 * Ends the reading of an object.
 *
 * @param store  the store
 * @param reading  from mc_store_get_begin()
 * Errors: MC_ERR_INVALID_HANDLE (also when it ended before).
 * Since: 0.1
 */
MC_API mc_status_t mc_store_get_end(struct mc_store_t *store, mc_store_reading_t reading);

/**
 * Tells whether an object is there. That it is not is an answer, not an error.
 *
 * @param store  the store
 * @param key  [key_length]
 * @param key_length  1 to MC_STORE_KEY_MAX_LENGTH
 * @param flags  MC_STORE_FLAG_PROLONG, or 0
 * @param timeout_ms  milliseconds; -1: the store's deadline
 * @param[out] out_exists  whether it is
 * Errors: MC_ERR_NOT_READY (a master that has just taken over does not know yet), MC_ERR_UNREACHABLE, MC_ERR_TIMEOUT,
 * MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT.
 * Threads: blocks for the master.
 * Since: 0.1
 */
MC_API
mc_status_t mc_store_exists(struct mc_store_t *store,
                            const void *key,
                            size_t key_length,
                            uint64_t flags,
                            int64_t timeout_ms,
                            bool *out_exists);

/**
 * Tells of many keys whether their objects are there. Those that are not have MC_ERR_NOT_FOUND in their results, and are
 * no failure of the call.
 *
 * @param store  the store
 * @param keys  [count]
 * @param count  at least 1
 * @param flags  MC_STORE_FLAG_PROLONG, or 0
 * @param timeout_ms  milliseconds; -1: the store's deadline
 * @param[out] out_results  [count] with sizes and replica counts; written unless an argument is wrong
 * Errors: the first failure among the results, which are those of mc_store_exists(); MC_ERR_INVALID_HANDLE,
 * MC_ERR_INVALID_ARGUMENT.
 * Threads: blocks for the master.
 * Since: 0.1
 */
MC_API
mc_status_t mc_store_exists_batch(struct mc_store_t *store,
                                  const struct mc_store_key_t *keys,
                                  size_t count,
                                  uint64_t flags,
                                  int64_t timeout_ms,
                                  struct mc_store_result_t *out_results);

/**
 * Tells how large an object is.
 *
 * @param store  the store
 * @param key  [key_length]
 * @param key_length  1 to MC_STORE_KEY_MAX_LENGTH
 * @param timeout_ms  milliseconds; -1: the store's deadline
 * @param[out] out_size  bytes
 * Errors: MC_ERR_NOT_FOUND, and those of mc_store_exists().
 * Threads: blocks for the master.
 * Since: 0.1
 */
MC_API
mc_status_t mc_store_get_size(struct mc_store_t *store,
                              const void *key,
                              size_t key_length,
                              int64_t timeout_ms,
                              uint64_t *out_size);

/**
 * Removes an object: when this returns MC_OK it is gone everywhere.
 *
 * @param store  the store
 * @param key  [key_length]
 * @param key_length  1 to MC_STORE_KEY_MAX_LENGTH
 * @param flags  MC_STORE_FLAG_UNLESS_LEASED, or 0
 * @param timeout_ms  milliseconds; -1: the store's deadline
 * Errors: MC_ERR_NOT_FOUND, MC_ERR_BUSY (somebody puts it; with the flag also: somebody reads it), MC_ERR_NOT_READY,
 * MC_ERR_UNREACHABLE, MC_ERR_TIMEOUT, MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT.
 * Threads: blocks for the master and the nodes.
 * Since: 0.1
 */
MC_API
mc_status_t mc_store_remove(struct mc_store_t *store,
                            const void *key,
                            size_t key_length,
                            uint64_t flags,
                            int64_t timeout_ms);

/**
 * Removes many objects.
 *
 * @param store  the store
 * @param keys  [count]
 * @param count  at least 1
 * @param flags  MC_STORE_FLAG_UNLESS_LEASED, or 0
 * @param timeout_ms  milliseconds; -1: the store's deadline
 * @param[out] out_results  [count]; written unless an argument is wrong
 * Errors: the first failure among the results, which are those of mc_store_remove(); MC_ERR_INVALID_HANDLE,
 * MC_ERR_INVALID_ARGUMENT.
 * Threads: blocks for the master and the nodes.
 * Since: 0.1
 */
MC_API
mc_status_t mc_store_remove_batch(struct mc_store_t *store,
                                  const struct mc_store_key_t *keys,
                                  size_t count,
                                  uint64_t flags,
                                  int64_t timeout_ms,
                                  struct mc_store_result_t *out_results);

/**
 * Removes all objects of the tenant whose keys match. What is put meanwhile may stay.
 *
 * @param store  the store
 * @param prefix  [prefix_length] bytes that the keys begin with; NULL with length 0: any
 * @param prefix_length  0 to MC_STORE_KEY_MAX_LENGTH
 * @param regex  regular expression that is found somewhere in the keys; NULL: none, so that without a prefix all match
 * @param flags  MC_STORE_FLAG_UNLESS_LEASED, or 0
 * @param timeout_ms  milliseconds; -1: the store's deadline
 * @param[out] out_removed  objects that were removed; may be NULL
 * @param[out] out_busy  objects that match and stay, because they are being written or, with the flag, read; may be NULL
 * Errors: MC_ERR_INVALID_ARGUMENT (also: no regular expression), MC_ERR_NOT_READY, MC_ERR_UNREACHABLE, MC_ERR_TIMEOUT
 * (some may have been removed), MC_ERR_INVALID_HANDLE.
 * Threads: blocks for the master and the nodes.
 * Since: 0.1
 */
MC_API
mc_status_t mc_store_remove_matching(struct mc_store_t *store,
                                     const void *prefix,
                                     size_t prefix_length,
                                     const char *regex,
                                     uint64_t flags,
                                     int64_t timeout_ms,
                                     uint64_t *out_removed,
                                     uint64_t *out_busy);

/**
 * Lists objects of the tenant whose keys match, a page at a time. What is there during the whole walk is met once.
 *
 * @param store  the store
 * @param prefix  [prefix_length] bytes that the keys begin with; NULL with length 0: any
 * @param prefix_length  0 to MC_STORE_KEY_MAX_LENGTH
 * @param regex  regular expression that is found somewhere in the keys; NULL: none
 * @param timeout_ms  milliseconds; -1: the store's deadline
 * @param[in,out] cursor  0 begins; what comes back goes on, until it is 0 again
 * @param[out] out_objects  [capacity]
 * @param capacity  at least 1
 * @param[out] out_count  objects of this page; a page in the middle may have few or none
 * Errors: MC_ERR_INVALID_ARGUMENT (also: no regular expression), MC_ERR_NOT_READY, MC_ERR_UNREACHABLE, MC_ERR_TIMEOUT,
 * MC_ERR_INVALID_HANDLE.
 * Threads: blocks for the master.
 * Since: 0.1
 */
MC_API
mc_status_t mc_store_list(struct mc_store_t *store,
                          const void *prefix,
                          size_t prefix_length,
                          const char *regex,
                          int64_t timeout_ms,
                          uint64_t *cursor,
                          struct mc_store_listed_t *out_objects,
                          size_t capacity,
                          size_t *out_count);

/**
 * Begins to make one more replica of an object.
 *
 * @param store  the store
 * @param key  [key_length]
 * @param key_length  1 to MC_STORE_KEY_MAX_LENGTH
 * @param preferred  [preferred_count] names of segments, the best one first; NULL with count 0: any
 * @param preferred_count  any number
 * @param timeout_ms  milliseconds for the question; -1: the store's deadline
 * @param[out] out_task  the task: ask mc_store_task_get_info() how far it is
 * Errors: MC_ERR_NOT_FOUND, MC_ERR_BUSY, MC_ERR_NO_SPACE, MC_ERR_QUOTA_EXCEEDED, MC_ERR_NOT_READY, MC_ERR_UNREACHABLE,
 * MC_ERR_TIMEOUT, MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT.
 * Threads: blocks for the master.
 * Since: 0.1
 */
MC_API
mc_status_t mc_store_copy(struct mc_store_t *store,
                          const void *key,
                          size_t key_length,
                          const char *const *preferred,
                          size_t preferred_count,
                          int64_t timeout_ms,
                          mc_store_task_t *out_task);

/**
 * Begins to move the replica of an object that lies on a segment.
 *
 * @param store  the store
 * @param key  [key_length]
 * @param key_length  1 to MC_STORE_KEY_MAX_LENGTH
 * @param segment  name of the segment that it is to leave
 * @param preferred  [preferred_count] names of segments, the best one first; NULL with count 0: any
 * @param preferred_count  any number
 * @param timeout_ms  milliseconds for the question; -1: the store's deadline
 * @param[out] out_task  the task: ask mc_store_task_get_info() how far it is
 * Errors: those of mc_store_copy(); MC_ERR_NOT_FOUND also when no replica lies there.
 * Threads: blocks for the master.
 * Since: 0.1
 */
MC_API
mc_status_t mc_store_move(struct mc_store_t *store,
                          const void *key,
                          size_t key_length,
                          const char *segment,
                          const char *const *preferred,
                          size_t preferred_count,
                          int64_t timeout_ms,
                          mc_store_task_t *out_task);

/**
 * Gives up replicas of an object beyond a number.
 *
 * @param store  the store
 * @param key  [key_length]
 * @param key_length  1 to MC_STORE_KEY_MAX_LENGTH
 * @param keep  replicas to keep, at least 1
 * @param timeout_ms  milliseconds; -1: the store's deadline
 * @param[out] out_trimmed  replicas that were given up; may be NULL
 * Errors: MC_ERR_NOT_FOUND, MC_ERR_BUSY, MC_ERR_NOT_READY, MC_ERR_UNREACHABLE, MC_ERR_TIMEOUT, MC_ERR_INVALID_HANDLE,
 * MC_ERR_INVALID_ARGUMENT.
 * Threads: blocks for the master.
 * Since: 0.1
 */
MC_API
mc_status_t mc_store_trim(struct mc_store_t *store,
                          const void *key,
                          size_t key_length,
                          uint32_t keep,
                          int64_t timeout_ms,
                          uint64_t *out_trimmed);

/**
 * Begins to move all that a segment has to others.
 *
 * @param store  the store
 * @param segment  name of the segment
 * @param timeout_ms  milliseconds for the question; -1: the store's deadline
 * @param[out] out_task  the task: ask mc_store_task_get_info() how far it is
 * Errors: MC_ERR_NOT_FOUND, MC_ERR_NOT_READY, MC_ERR_UNREACHABLE, MC_ERR_TIMEOUT, MC_ERR_INVALID_HANDLE,
 * MC_ERR_INVALID_ARGUMENT.
 * Threads: blocks for the master.
 * Since: 0.1
 */
MC_API
mc_status_t mc_store_drain(struct mc_store_t *store,
                           const char *segment,
                           int64_t timeout_ms,
                           mc_store_task_t *out_task);

/**
 * Tells how far a task is. A task that failed is no failure of this call.
 *
 * @param store  the store
 * @param task  from mc_store_copy(), mc_store_move() or mc_store_drain()
 * @param timeout_ms  milliseconds; -1: the store's deadline
 * @param[in,out] out_info  struct_size set by the caller
 * Errors: MC_ERR_NOT_FOUND (no such task; one ends with its master, and is forgotten some time after its end),
 * MC_ERR_NOT_READY, MC_ERR_UNREACHABLE, MC_ERR_TIMEOUT, MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT.
 * Threads: blocks for the master.
 * Since: 0.1
 */
MC_API
mc_status_t mc_store_task_get_info(struct mc_store_t *store,
                                   mc_store_task_t task,
                                   int64_t timeout_ms,
                                   struct mc_store_task_info_t *out_info);

/**
 * Ends a task early. What it has copied or moved stays so.
 *
 * @param store  the store
 * @param task  from mc_store_copy(), mc_store_move() or mc_store_drain()
 * @param timeout_ms  milliseconds; -1: the store's deadline
 * Errors: MC_ERR_NOT_FOUND, MC_ERR_NOT_READY, MC_ERR_UNREACHABLE, MC_ERR_TIMEOUT, MC_ERR_INVALID_HANDLE,
 * MC_ERR_INVALID_ARGUMENT.
 * Threads: blocks for the master.
 * Since: 0.1
 */
MC_API mc_status_t mc_store_task_cancel(struct mc_store_t *store, mc_store_task_t task, int64_t timeout_ms);

/**
 * Sets how many bytes a tenant may have. What it has above that stays.
 *
 * @param store  the store
 * @param tenant  NULL: that of the store
 * @param quota_bytes  MC_STORE_NO_QUOTA: no limit
 * @param timeout_ms  milliseconds; -1: the store's deadline
 * Errors: MC_ERR_NOT_READY, MC_ERR_UNREACHABLE, MC_ERR_TIMEOUT, MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT.
 * Threads: blocks for the master.
 * Since: 0.1
 */
MC_API
mc_status_t mc_store_set_quota(struct mc_store_t *store,
                               const char *tenant,
                               uint64_t quota_bytes,
                               int64_t timeout_ms);

/**
 * Tells what a tenant has; one that never put anything has nothing.
 *
 * @param store  the store
 * @param tenant  NULL: that of the store
 * @param timeout_ms  milliseconds; -1: the store's deadline
 * @param[in,out] out_usage  struct_size set by the caller
 * Errors: MC_ERR_NOT_READY, MC_ERR_UNREACHABLE, MC_ERR_TIMEOUT, MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT.
 * Threads: blocks for the master.
 * Since: 0.1
 */
MC_API
mc_status_t mc_store_get_usage(struct mc_store_t *store,
                               const char *tenant,
                               int64_t timeout_ms,
                               struct mc_store_usage_t *out_usage);

/**
 * Lists the memory that all nodes give.
 *
 * @param store  the store
 * @param timeout_ms  milliseconds; -1: the store's deadline
 * @param[out] out_segments  [capacity]; may be NULL when capacity is 0
 * @param capacity  items in out_segments
 * @param[out] out_count  segments there are, also when there was room for fewer
 * Errors: MC_ERR_BUFFER_TOO_SMALL (the first `capacity` are written), MC_ERR_NOT_READY, MC_ERR_UNREACHABLE,
 * MC_ERR_TIMEOUT, MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT.
 * Threads: blocks for the master.
 * Since: 0.1
 */
MC_API
mc_status_t mc_store_list_segments(struct mc_store_t *store,
                                   int64_t timeout_ms,
                                   struct mc_store_segment_t *out_segments,
                                   size_t capacity,
                                   size_t *out_count);

/**
 * Makes a conductor, which knows nobody yet. It has no threads, opens nothing and asks nobody.
 *
 * @param options  NULL: all defaults
 * @param hooks  rules of the caller's own; NULL: none
 * @param[out] out_conductor  the conductor; end it with mc_conductor_destroy()
 * Errors: MC_ERR_INVALID_ARGUMENT (which field), MC_ERR_UNSUPPORTED (field newer than the library), MC_ERR_EXHAUSTED
 * (too many live in this process).
 * Since: 0.1
 */
MC_API
mc_status_t mc_conductor_create(const struct mc_conductor_options_t *options,
                                const struct mc_conductor_hooks_t *hooks,
                                struct mc_conductor_t **out_conductor);

/**
 * Ends a conductor with all it knows. The user_data of its hooks is dropped when the last call in it has returned.
 *
 * @param conductor  NULL: nothing happens, MC_OK
 * Errors: MC_ERR_INVALID_HANDLE (destroyed before).
 * Since: 0.1
 */
MC_API
mc_status_t mc_conductor_destroy(struct mc_conductor_t *conductor);

/**
 * Tells what a conductor is.
 *
 * @param conductor  the conductor
 * @param[in,out] out_info  struct_size set by the caller
 * Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT, MC_ERR_INVALID_STATE (called by a hook).
 * Since: 0.1
 */
MC_API
mc_status_t mc_conductor_get_info(const struct mc_conductor_t *conductor,
                                  struct mc_conductor_info_t *out_info);

/**
 * Lets time pass: ends promises that were not kept, and forgets blocks that nobody asked for in a long time and requests
 * that were given up. To be called about once a second.
 *
 * @param conductor  the conductor
 * Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_STATE (called by a hook).
 * Since: 0.1
 */
MC_API
mc_status_t mc_conductor_sweep(struct mc_conductor_t *conductor);

/**
 * Writes what a conductor knows as bytes: instances with what was learnt of them, contexts, and who holds which block.
 *
 * Requests that run are not in it. Calls of other threads go on meanwhile, so that the length may be another one the next
 * time: leave some room.
 *
 * @param conductor  the conductor
 * @param[out] buffer  `size` bytes, may be NULL when size is 0
 * @param size  bytes in buffer
 * @param[out] out_length  length of the whole, also when buffer was too small
 * Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT, MC_ERR_BUFFER_TOO_SMALL, MC_ERR_INVALID_STATE (called by a
 * hook).
 * Threads: takes time in proportion to the blocks, and has a second copy of the bytes while it runs.
 * Since: 0.1
 */
MC_API
mc_status_t mc_conductor_snapshot(const struct mc_conductor_t *conductor,
                                  void *buffer,
                                  size_t size,
                                  size_t *out_length);

/**
 * Takes up what another conductor knew. This one must have no instances and contexts yet.
 *
 * Instances keep their names and get new ids. If the bytes are not taken, nothing changes, whatever they are.
 *
 * @param conductor  the conductor
 * @param data  [length] bytes of mc_conductor_snapshot(), borrowed for the call
 * @param length  bytes in data
 * @param[out] out_restored  what was in it; may be NULL
 * Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT, MC_ERR_INVALID_STATE (it knows something already, or called by
 * a hook), MC_ERR_CORRUPTED, MC_ERR_VERSION_MISMATCH (written by a later release), MC_ERR_EXHAUSTED (more contexts than
 * this one may have).
 * Threads: takes time in proportion to the blocks.
 * Since: 0.1
 */
MC_API
mc_status_t mc_conductor_restore(struct mc_conductor_t *conductor,
                                 const void *data,
                                 size_t length,
                                 struct mc_conductor_restored_t *out_restored);

/**
 * Writes what a conductor counts in Prometheus' text format.
 *
 * @param conductor  the conductor
 * @param[out] buffer  `size` bytes, may be NULL when size is 0; NUL-terminated text
 * @param size  bytes in buffer
 * @param[out] out_length  length of the whole text without its NUL, also when buffer was too small
 * Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT, MC_ERR_BUFFER_TOO_SMALL, MC_ERR_INVALID_STATE (called by a
 * hook).
 * Since: 0.1
 */
MC_API
mc_status_t mc_conductor_get_metrics(const struct mc_conductor_t *conductor,
                                     char *buffer,
                                     size_t size,
                                     size_t *out_length);

/**
 * Writes what serving takes, of a model on a machine of the paper; each number can be changed then.
 *
 * @param model  "llama3-70b"; NULL: that
 * @param machine  "a800" or "h800", eight of them; NULL: "a800"
 * @param[in,out] out_cost  struct_size set by the caller
 * Errors: MC_ERR_INVALID_ARGUMENT, MC_ERR_NOT_FOUND (no such model or machine).
 * Since: 0.1
 */
MC_API
mc_status_t mc_conductor_preset(const char *model,
                                const char *machine,
                                struct mc_conductor_cost_t *out_cost);

/**
 * Registers an instance: requests may be sent there from now on, and it may have blocks.
 *
 * One that has the name already is changed to what is said now, its ranks and cost, and keeps its id; its model and role
 * stay as they are.
 *
 * @param conductor  the conductor
 * @param options  copied
 * @param[out] out_instance  the instance; may be NULL
 * Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT (which field), MC_ERR_ALREADY_EXISTS (with another model or
 * role: unregister it first), MC_ERR_EXHAUSTED (too many), MC_ERR_INVALID_STATE (called by a hook), MC_ERR_UNSUPPORTED
 * (field newer than the library).
 * Since: 0.1
 */
MC_API
mc_status_t mc_conductor_register_instance(struct mc_conductor_t *conductor,
                                           const struct mc_conductor_instance_options_t *options,
                                           mc_conductor_instance_t *out_instance);

/**
 * Forgets an instance: at once all that it has, and the requests that wait for their first token there.
 *
 * @param conductor  the conductor
 * @param name  what it is called
 * Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT, MC_ERR_NOT_FOUND, MC_ERR_INVALID_STATE (called by a hook).
 * Since: 0.1
 */
MC_API
mc_status_t mc_conductor_unregister_instance(struct mc_conductor_t *conductor,
                                             const char *name);

/**
 * Finds an instance by its name.
 *
 * @param conductor  the conductor
 * @param name  what it is called
 * @param[out] out_instance  the instance
 * Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT, MC_ERR_NOT_FOUND, MC_ERR_INVALID_STATE (called by a hook).
 * Since: 0.1
 */
MC_API
mc_status_t mc_conductor_find_instance(const struct mc_conductor_t *conductor,
                                       const char *name,
                                       mc_conductor_instance_t *out_instance);

/**
 * Tells what an instance is.
 *
 * @param conductor  the conductor
 * @param instance  the instance
 * @param[in,out] out_info  struct_size set by the caller
 * Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT, MC_ERR_INVALID_STATE (called by a hook).
 * Since: 0.1
 */
MC_API
mc_status_t mc_conductor_get_instance(const struct mc_conductor_t *conductor,
                                      mc_conductor_instance_t instance,
                                      struct mc_conductor_instance_info_t *out_info);

/**
 * Takes in what one rank of an instance says of itself. Once it has reported, its silence counts against it.
 *
 * @param conductor  the conductor
 * @param instance  the instance
 * @param rank  which of its ranks
 * @param report  NULL: it says that it is there
 * Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT, MC_ERR_NOT_FOUND (no such rank), MC_ERR_INVALID_STATE (called
 * by a hook).
 * Since: 0.1
 */
MC_API
mc_status_t mc_conductor_report(struct mc_conductor_t *conductor,
                                mc_conductor_instance_t instance,
                                uint32_t rank,
                                const struct mc_conductor_report_t *report);

/**
 * Opens a context: all instances of its model, and all that hold blocks of any, may have blocks in it.
 *
 * One that is open already keeps its id.
 *
 * @param conductor  the conductor
 * @param options  copied
 * @param[out] out_context  the context
 * Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT (which field), MC_ERR_EXHAUSTED (too many: close some),
 * MC_ERR_INVALID_STATE (called by a hook), MC_ERR_UNSUPPORTED (field newer than the library).
 * Since: 0.1
 */
MC_API
mc_status_t mc_conductor_open_context(struct mc_conductor_t *conductor,
                                      const struct mc_conductor_context_options_t *options,
                                      mc_conductor_context_t *out_context);

/**
 * Closes a context: its blocks are forgotten at once. Requests that run go on.
 *
 * @param conductor  the conductor
 * @param context  the context
 * Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_STATE (called by a hook).
 * Since: 0.1
 */
MC_API
mc_status_t mc_conductor_close_context(struct mc_conductor_t *conductor,
                                       mc_conductor_context_t context);

/**
 * Takes in what engines and the store tell about their blocks, in its order.
 *
 * @param conductor  the conductor
 * @param context  the context of all the keys
 * @param events  array of `count` events; borrowed for the call. If one of them is wrong, none is taken
 * @param count  any number
 * @param[out] out_applied  how many were taken; may be NULL
 * Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT (which event), MC_ERR_INVALID_STATE (called by a hook).
 * Since: 0.1
 */
MC_API
mc_status_t mc_conductor_apply(struct mc_conductor_t *conductor,
                               mc_conductor_context_t context,
                               const struct mc_conductor_event_t *events,
                               size_t count,
                               struct mc_conductor_applied_t *out_applied);

/**
 * Forgets all blocks of one rank of an instance, in all contexts: what it has will be told anew.
 *
 * @param conductor  the conductor
 * @param instance  the instance
 * @param rank  which of its ranks
 * Errors: MC_ERR_INVALID_HANDLE, MC_ERR_NOT_FOUND (no such rank), MC_ERR_INVALID_STATE (called by a hook).
 * Since: 0.1
 */
MC_API
mc_status_t mc_conductor_clear(struct mc_conductor_t *conductor,
                               mc_conductor_instance_t instance,
                               uint32_t rank);

/**
 * Computes the keys of the full blocks of a prompt, as the engines of the context name them.
 *
 * @param conductor  the conductor
 * @param context  the context
 * @param tokens  array of `token_count` tokens
 * @param token_count  any number
 * @param[out] keys  `capacity` keys, may be NULL when capacity is 0
 * @param capacity  items in keys
 * @param[out] out_count  how many there are, also when they did not fit
 * Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT, MC_ERR_BUFFER_TOO_SMALL, MC_ERR_INVALID_STATE (called by a
 * hook).
 * Since: 0.1
 */
MC_API
mc_status_t mc_conductor_hash(const struct mc_conductor_t *conductor,
                              mc_conductor_context_t context,
                              const uint32_t *tokens,
                              size_t token_count,
                              uint64_t *keys,
                              size_t capacity,
                              size_t *out_count);

/**
 * Tells what each rank of each instance has of a prompt; those that have nothing too.
 *
 * @param conductor  the conductor
 * @param context  the context
 * @param prompt  borrowed for the call
 * @param[out] matches  `capacity` items, may be NULL when capacity is 0; in an order that stays while no instance comes or
 * goes
 * @param capacity  items in matches
 * @param[out] out_count  how many there are, also when they did not fit
 * Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT, MC_ERR_BUFFER_TOO_SMALL, MC_ERR_INVALID_STATE (called by a
 * hook).
 * Since: 0.1
 */
MC_API
mc_status_t mc_conductor_match(const struct mc_conductor_t *conductor,
                               mc_conductor_context_t context,
                               const struct mc_conductor_prompt_t *prompt,
                               struct mc_conductor_match_t *matches,
                               size_t capacity,
                               size_t *out_count);

/**
 * Decides where a request runs, or that it is not taken on: then, too, the status is MC_OK.
 *
 * Its blocks count as on their way to the instance that prefills it, and the request as running there, until
 * mc_conductor_feedback() tells its end.
 *
 * @param conductor  the conductor
 * @param request  borrowed for the call
 * @param[in,out] out_decision  struct_size set by the caller
 * Errors: MC_ERR_INVALID_HANDLE (conductor or context), MC_ERR_INVALID_ARGUMENT (which field), MC_ERR_NOT_READY (no
 * instance of the model prefills), MC_ERR_ALREADY_EXISTS (the name), MC_ERR_EXHAUSTED (too many requests under way),
 * MC_ERR_INVALID_STATE (called by a hook), MC_ERR_UNSUPPORTED (field newer than the library).
 * Threads: waits for other threads that decide for the same model, hooks included.
 * Since: 0.1
 */
MC_API
mc_status_t mc_conductor_schedule(struct mc_conductor_t *conductor,
                                  const struct mc_conductor_request_t *request,
                                  struct mc_conductor_decision_t *out_decision);

/**
 * With the admission "load", to be asked when a prefill has ended and before that is told: whether there is room to
 * decode. A request that is rejected then has to be canceled.
 *
 * @param conductor  the conductor
 * @param request  the request
 * @param[out] out_rejection  with MC_CONDUCTOR_REASON_NONE there is room
 * Errors: MC_ERR_INVALID_HANDLE (also of a request that was given up), MC_ERR_INVALID_ARGUMENT, MC_ERR_INVALID_STATE (it
 * decodes already, or called by a hook).
 * Since: 0.1
 */
MC_API
mc_status_t mc_conductor_recheck(struct mc_conductor_t *conductor,
                                 mc_conductor_request_id_t request,
                                 struct mc_conductor_rejection_t *out_rejection);

/**
 * Finds a live request by the name that the caller gave it.
 *
 * @param conductor  the conductor
 * @param name  what it is called
 * @param[out] out_request  the request
 * Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT, MC_ERR_NOT_FOUND, MC_ERR_INVALID_STATE (called by a hook).
 * Since: 0.1
 */
MC_API
mc_status_t mc_conductor_find_request(const struct mc_conductor_t *conductor,
                                      const char *name,
                                      mc_conductor_request_id_t *out_request);

/**
 * Tells what happened to a request. After its end its id is stale.
 *
 * @param conductor  the conductor
 * @param request  the request
 * @param feedback  MC_CONDUCTOR_FEEDBACK_*
 * Errors: MC_ERR_INVALID_HANDLE (also of a request that was given up: its instance is gone, or was silent for too long),
 * MC_ERR_INVALID_ARGUMENT, MC_ERR_INVALID_STATE (out of order, or called by a hook).
 * Since: 0.1
 */
MC_API
mc_status_t mc_conductor_feedback(struct mc_conductor_t *conductor,
                                  mc_conductor_request_id_t request,
                                  mc_conductor_feedback_t feedback);

/**
 * Writes why a request that has not ended runs where it runs, as JSON: every instance that could have been chosen, with
 * its numbers.
 *
 * @param conductor  the conductor
 * @param request  the request
 * @param[out] buffer  `size` bytes, may be NULL when size is 0; NUL-terminated text
 * @param size  bytes in buffer
 * @param[out] out_length  length of the whole text without its NUL, also when buffer was too small
 * Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT, MC_ERR_BUFFER_TOO_SMALL, MC_ERR_NOT_FOUND (it was decided too
 * long ago: options->explain_count), MC_ERR_INVALID_STATE (called by a hook).
 * Since: 0.1
 */
MC_API
mc_status_t mc_conductor_explain(const struct mc_conductor_t *conductor,
                                 mc_conductor_request_id_t request,
                                 char *buffer,
                                 size_t size,
                                 size_t *out_length);

/**
 * Writes what would be decided of a request and why, as JSON. Nothing is decided; hooks are asked.
 *
 * @param conductor  the conductor
 * @param request  borrowed for the call
 * @param[out] buffer  `size` bytes, may be NULL when size is 0; NUL-terminated text
 * @param size  bytes in buffer
 * @param[out] out_length  length of the whole text without its NUL, also when buffer was too small
 * Errors: those of mc_conductor_schedule(), and MC_ERR_BUFFER_TOO_SMALL.
 * Threads: as mc_conductor_schedule().
 * Since: 0.1
 */
MC_API
mc_status_t mc_conductor_explain_request(struct mc_conductor_t *conductor,
                                         const struct mc_conductor_request_t *request,
                                         char *buffer,
                                         size_t size,
                                         size_t *out_length);

/**
 * Takes the oldest advice to copy blocks that nobody took yet. The last 256 are kept.
 *
 * @param conductor  the conductor
 * @param[out] out_copy  who should send what to whom, in blocks of a prompt
 * @param[out] out_context  the context of these blocks
 * @param[out] keys  `capacity` keys: those of the blocks; may be NULL when capacity is 0
 * @param capacity  items in keys
 * @param[out] out_count  how many keys there are, also when they did not fit: then the advice is there still
 * Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT, MC_ERR_BUFFER_TOO_SMALL, MC_ERR_NOT_FOUND (no advice waits),
 * MC_ERR_INVALID_STATE (called by a hook).
 * Since: 0.1
 */
MC_API
mc_status_t mc_conductor_take_advice(struct mc_conductor_t *conductor,
                                     struct mc_conductor_copy_t *out_copy,
                                     mc_conductor_context_t *out_context,
                                     uint64_t *keys,
                                     size_t capacity,
                                     size_t *out_count);

/**
 * Starts a master. What it knows ends with it; the nodes tell the next one.
 *
 * @param options  NULL: all defaults
 * @param[out] out_master  the master; end it with mc_master_destroy()
 * Errors: MC_ERR_INVALID_ARGUMENT (which field), MC_ERR_IO (binding; the address is named), MC_ERR_UNSUPPORTED (field newer
 * than the library).
 * Since: 0.1
 */
MC_API
mc_status_t mc_master_create(const struct mc_master_options_t *options,
                             struct mc_master_t **out_master);

/**
 * Stops a master. Who waits for its answer is told that it is gone.
 *
 * @param master  NULL: nothing happens, MC_OK
 * Errors: MC_ERR_INVALID_HANDLE (destroyed before).
 * Threads: blocks until its threads have ended.
 * Since: 0.1
 */
MC_API mc_status_t mc_master_destroy(struct mc_master_t *master);

/**
 * Tells what a master is: its address, for nodes and clients, and what it counts.
 *
 * @param master  the master
 * @param[in,out] out_info  struct_size set by the caller
 * Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT.
 * Since: 0.1
 */
MC_API mc_status_t mc_master_get_info(const struct mc_master_t *master, struct mc_master_info_t *out_info);

/**
 * Starts a node: allocates its memory, and offers it to the master until one takes it.
 *
 * @param options  with masters and memory_bytes
 * @param[out] out_node  the node; end it with mc_node_drain() and mc_node_destroy()
 * Errors: MC_ERR_INVALID_ARGUMENT (which field), MC_ERR_NO_SPACE (memory), MC_ERR_IO (binding; the address is named),
 * MC_ERR_UNSUPPORTED (field newer than the library). That no master answers is no error: look at mc_node_get_info().
 * Threads: blocks for the time that touching every page takes.
 * Since: 0.1
 */
MC_API
mc_status_t mc_node_create(const struct mc_node_options_t *options,
                           struct mc_node_t **out_node);

/**
 * Has the master move all that a node has to others, and stops it: the polite step before mc_node_destroy().
 *
 * @param node  the node
 * @param grace_ms  milliseconds to wait for that; -1: as long as it takes
 * Errors: MC_ERR_TIMEOUT (the text says how many bytes were left behind), MC_ERR_INVALID_HANDLE,
 * MC_ERR_INVALID_ARGUMENT. In any case the node has stopped.
 * Threads: blocks.
 * Since: 0.1
 */
MC_API mc_status_t mc_node_drain(struct mc_node_t *node, int64_t grace_ms);

/**
 * Stops a node and gives its memory up: on return nobody reaches it. What only it had is lost.
 *
 * @param node  NULL: nothing happens, MC_OK
 * Errors: MC_ERR_INVALID_HANDLE (destroyed before).
 * Threads: blocks until copies under way have ended.
 * Since: 0.1
 */
MC_API mc_status_t mc_node_destroy(struct mc_node_t *node);

/**
 * Tells what a node is: where it is reached, who leads it, how full it is.
 *
 * @param node  the node
 * @param[in,out] out_info  struct_size set by the caller
 * Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT.
 * Since: 0.1
 */
MC_API mc_status_t mc_node_get_info(const struct mc_node_t *node, struct mc_node_info_t *out_info);

/**
 * Reads an engine's counters.
 *
 * @param engine  the engine
 * @param[in,out] out_stats  struct_size set by the caller
 * Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT.
 * Since: 0.1
 */
MC_API mc_status_t mc_engine_get_stats(const struct mc_engine_t *engine, struct mc_engine_stats_t *out_stats);

/**
 * Writes an engine's counters in Prometheus' text format.
 *
 * @param engine  the engine
 * @param[out] buffer  `size` bytes, may be NULL when size is 0; NUL-terminated text
 * @param size  bytes in buffer
 * @param[out] out_length  length of the whole text without its NUL, also when buffer was too small
 * Errors: MC_ERR_INVALID_HANDLE, MC_ERR_INVALID_ARGUMENT, MC_ERR_BUFFER_TOO_SMALL, MC_ERR_INVALID_STATE (metrics are
 * switched off).
 * Since: 0.1
 */
MC_API
mc_status_t mc_engine_get_metrics(const struct mc_engine_t *engine,
                                  char *buffer,
                                  size_t size,
                                  size_t *out_length);

/**
 * Writes what was found on this host as JSON: what works, what does not, why, and what to do. Needs no engine.
 *
 * @param[out] buffer  `size` bytes, may be NULL when size is 0; NUL-terminated text
 * @param size  bytes in buffer
 * @param[out] out_length  length of the whole text without its NUL, also when buffer was too small
 * Errors: MC_ERR_INVALID_ARGUMENT, MC_ERR_BUFFER_TOO_SMALL.
 * Threads: blocks for a few system calls.
 * Since: 0.1
 */
MC_API
mc_status_t mc_host_get_report(char *buffer,
                               size_t size,
                               size_t *out_length);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* MOONCAKE_API_H */
