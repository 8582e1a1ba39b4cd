// Node and Master: a cluster out of its parts.
#include "mooncake/node.hpp"

#include <string>
#include <thread>

#include "check.hpp"
#include "mooncake/store.hpp"

using namespace mooncake;

TEST(a_cluster_is_a_master_nodes_and_stores) {
  MasterOptions of_master;
  of_master.found = true;
  Master master(of_master);
  NodeOptions of_node;
  of_node.masters = master.info().address;
  of_node.memory_bytes = 8 << 20;
  of_node.no_environment = true;
  of_node.name = of_node.domain = "first";
  Node first(of_node);
  of_node.name = of_node.domain = "second";
  Node second(of_node);
  StoreOptions of_store;
  of_store.masters = of_node.masters;
  of_store.no_environment = true;
  Store store(of_store);
  auto open = [&] {
    int count = 0;
    for (const StoreSegment& segment : store.segments()) count += segment.is_open;
    return count;
  };
  while (open() < 2) std::this_thread::sleep_for(std::chrono::milliseconds(5));

  PutOptions options;
  options.preferred = {"first"};
  store.put("key", "value", options);
  mc_store_task_t task = store.copy("key", {"second"});
  while (store.task(task).state == MC_STORE_TASK_RUNNING) std::this_thread::sleep_for(std::chrono::milliseconds(2));
  CHECK(store.task(task).state == MC_STORE_TASK_DONE);
  std::vector<ConstBytes> keys = {"key"};
  CHECK(store.exists_batch(keys)[0].replica_count == 2);
  CHECK(store.trim("key", 1) == 1);

  CHECK(first.info().is_led && second.info().capacity_bytes == 8 << 20);
  CHECK(first.drain(std::chrono::seconds(30)));
  CHECK(store.get("key")->text() == "value");
}

TEST(what_cannot_be_is_told) {
  NodeOptions options;
  CHECK_THROWS(MC_ERR_INVALID_ARGUMENT, Node(options));
  MasterOptions of_master;
  of_master.eviction = "pigeon";
  CHECK_THROWS(MC_ERR_INVALID_ARGUMENT, Master(of_master));
  of_master.eviction = "sieve";
  Master master(of_master);
  CHECK(!master.info().is_serving);
  master.close();
  CHECK_THROWS(MC_ERR_INVALID_HANDLE, master.info());
}
