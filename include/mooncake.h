/*
 * Mooncake: a data plane for KV caches. Include this header; it needs nothing else and works from C99 and C++11 on.
 *
 * The parts, in the order of mooncake/api.h: status and versions, log, engine, memory, segment, batch, completion
 * queue, notification, store, conductor, master and node, diagnostics. Transfers in four steps:
 *
 *   mc_engine_create()      one end of transfers, with its threads and its port
 *   mc_memory_register()    memory it may read, write and offer to peers
 *   mc_segment_open()       a peer, by address, by name, or by a blob (mc_segment_import())
 *   mc_batch_submit()       reads and writes; then mc_batch_wait(), mc_batch_poll() or a completion queue
 *
 * and a pooled cache of objects, which needs none of these steps, since a store has an engine:
 *
 *   mc_store_open()         with NULL, all of it is in this process; else masters are named, and memory may be given
 *   mc_store_put()          copies an object to where there is room, once or several times
 *   mc_store_get()          reads it back, every byte verified; parts of it, many at once, or layer by layer as well
 *   mc_store_close()        what this process gave is gone with it
 *
 * and a scheduler, which needs none of all that:
 *
 *   mc_conductor_create()    knows who has which blocks, and what serving takes
 *   mc_conductor_schedule()  says where a request should run
 *
 * STATUS    Functions return mc_status_t: MC_OK or a negative code; mc_last_error_message() says what happened to
 *           whom, for this thread, until its next failing call. Outputs are written on success only, except where a
 *           comment says otherwise.
 * HANDLES   mc_engine_t, mc_store_t, mc_conductor_t, mc_master_t and mc_node_t are pointers that are never dereferenced;
 *           segments, regions, batches and queues are 64-bit ids of one engine, sessions and buffers of one store,
 *           instances, contexts and requests of one conductor, and 0 is none.
 *           NULL, stale, foreign and destroyed handles are MC_ERR_INVALID_HANDLE, always. Ids can be stored anywhere
 *           and are never reused. Destroying an engine, or closing a store, ends everything it has.
 * THREADS   Every function may be called from any thread at any time, and returns without waiting for a peer unless its
 *           comment has a line "Threads". After destroy has begun, calls on that engine fail.
 * MEMORY    Inputs are borrowed for the call, or copied, as said; nothing has to outlive a call except registered
 *           memory, which must stay mapped until it is unregistered, what mc_store_put_submit() or _get_submit() names,
 *           until its completion, and user_data. Buffers for output are the caller's.
 * STRINGS   UTF-8, NUL-terminated. Texts go out into a caller's buffer: always NUL-terminated if it has room for one byte;
 *           out_length is the full length even when it did not fit.
 * STRUCTS   Those with struct_size grow at their end in later releases: set it, or use the *_default() functions. Zero
 *           means default in every field of an options struct. Unknown flags and fields are refused, not ignored.
 * PROCESS   The library installs no signal handlers, prints nothing, and never exits. After fork() every call in the
 *           child returns MC_ERR_INVALID_STATE; the parent is unharmed.
 */
#ifndef MOONCAKE_H
#define MOONCAKE_H

#include "mooncake/export.h"
#include "mooncake/api.h"
#include "mooncake/defaults.h"

#endif /* MOONCAKE_H */
