// Everything: C++17 over mooncake.h, header-only.
//
//   mooncake::Engine engine;
//   mooncake::Allocation memory(engine, 1 << 20);
//   mooncake::Segment peer(engine, "10.0.0.7:12001");
//   mooncake::Batch batch(engine, {mooncake::read(peer, peer.regions().at(0).address, memory)});
//   batch.wait().check();
//
//   mooncake::Store store;
//   store.put("key", "value");
//   std::optional<mooncake::StoreView> value = store.get("key");
//
//   mooncake::Conductor conductor;
//   conductor.register_instance({"node-1", "model", MC_CONDUCTOR_ROLE_BOTH, 512, 1, {}});
//   mooncake::ConductorDecision where = conductor.schedule(request);
//
// Each object owns one handle, can be moved and not copied, and may be destroyed in any order. mooncake::Error is
// thrown by everything but poll() and wait(). What is said of threads and memory in mooncake.h holds here too.
#ifndef MOONCAKE_MOONCAKE_HPP
#define MOONCAKE_MOONCAKE_HPP

#include "mooncake/batch.hpp"
#include "mooncake/completion_queue.hpp"
#include "mooncake/conductor.hpp"
#include "mooncake/conductor_options.hpp"
#include "mooncake/engine.hpp"
#include "mooncake/engine_options.hpp"
#include "mooncake/error.hpp"
#include "mooncake/handle.hpp"
#include "mooncake/host.hpp"
#include "mooncake/log.hpp"
#include "mooncake/memory.hpp"
#include "mooncake/node.hpp"
#include "mooncake/notify.hpp"
#include "mooncake/request.hpp"
#include "mooncake/segment.hpp"
#include "mooncake/span.hpp"
#include "mooncake/store.hpp"
#include "mooncake/store_options.hpp"
#include "mooncake/store_session.hpp"
#include "mooncake/time.hpp"

#endif  // MOONCAKE_MOONCAKE_HPP
