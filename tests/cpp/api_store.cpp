// Store: objects by key, in one process.
#include "mooncake/store.hpp"

#include <string>
#include <vector>

#include "check.hpp"

using namespace mooncake;

static Store in_process() {
  StoreOptions options;
  options.no_environment = true;
  options.memory_bytes = 16 << 20;
  return Store(options);
}

static std::string pattern(std::size_t length, int seed) {
  std::string text(length, '\0');
  for (std::size_t i = 0; i < length; i++)
    text[i] = static_cast<char>(i * 7 + i / 251 + static_cast<std::size_t>(seed));
  return text;
}

TEST(an_object_is_put_and_got) {
  Store store = in_process();
  std::string value = pattern(100000, 1), back(value.size(), '\0');
  std::uint64_t version = store.put("key", value);
  CHECK(version != 0);
  CHECK(store.get("key", Bytes(back)) == value.size());
  CHECK(back == value);
  CHECK(store.size("key") == value.size() && store.exists("key"));
  std::optional<StoreView> view = store.get("key");
  CHECK(view && view->text() == value);
  store.get_range("key", 70000, Bytes(back.data(), 100));
  CHECK(back.compare(0, 100, value, 70000, 100) == 0);
}

TEST(many_objects_are_got_into_memory_of_the_store) {
  Store store = in_process();
  std::string value = pattern(100000, 1);
  store.put("key", value);
  std::vector<StoreResult> results;
  std::vector<ConstBytes> keys = {"nobody", "key"};
  std::vector<std::optional<StoreView>> views = store.get_views(keys, results);
  CHECK(!views[0] && results[0].status == MC_ERR_NOT_FOUND);
  CHECK(views[1] && views[1]->text() == value && results[1].size == value.size());
}

TEST(what_is_missing_is_nothing_and_what_is_there_is_an_error) {
  Store store = in_process();
  CHECK(!store.get("nobody"));
  CHECK(!store.exists("nobody") && !store.remove("nobody"));
  CHECK_THROWS(MC_ERR_NOT_FOUND, store.size("nobody"));
  store.put("key", "one");
  CHECK_THROWS(MC_ERR_ALREADY_EXISTS, store.put("key", "two"));
  PutOptions options;
  options.upsert = true;
  store.put("key", "three", options);
  CHECK(store.get("key")->text() == "three");
  CHECK(store.remove("key") && !store.exists("key"));
}

TEST(many_keys_have_one_result_each) {
  Store store = in_process();
  std::string first = pattern(1000, 1), second = pattern(200000, 2);
  std::vector<StorePut> puts = {{"a", {Bytes(first.data(), 400), Bytes(first.data() + 400, 600)}},
                                {"b", {Bytes(second)}}};
  for (const StoreResult& result : store.put_batch(puts)) CHECK(result.status == MC_OK && result.version != 0);
  std::string whole(1000, '\0'), part(50, '\0'), none(10, '\0');
  std::vector<StoreGet> gets = {
      {"a", {Bytes(whole)}, {}}, {"b", {}, {{123456, {Bytes(part)}}}}, {"c", {Bytes(none)}, {}}};
  std::vector<StoreResult> results = store.get_batch(gets);
  CHECK(results[0].status == MC_OK && whole == first);
  CHECK(results[1].status == MC_OK && results[1].size == 200000 && part == second.substr(123456, 50));
  CHECK(results[2].status == MC_ERR_NOT_FOUND);
  std::vector<ConstBytes> keys = {"a", "c"};
  results = store.exists_batch(keys);
  CHECK(results[0].size == 1000 && results[1].status == MC_ERR_NOT_FOUND);
  results = store.remove_batch(keys);
  CHECK(results[0].status == MC_OK && results[1].status == MC_ERR_NOT_FOUND);
  // What is wrong with the call itself is thrown.
  CHECK_THROWS(MC_ERR_INVALID_ARGUMENT, store.get_batch(Span<const StoreGet>()));
}

TEST(keys_are_listed_and_removed_together) {
  Store store = in_process();
  for (int i = 0; i < 100; i++) store.put("list/" + std::to_string(i), "x");
  store.put("other", "y");
  CHECK(store.list("list/").size() == 100 && store.list().size() == 101);
  CHECK(store.remove_matching("list/", "[0-4]$") == 50);
  CHECK(store.list("list/").size() == 50);
  CHECK_THROWS(MC_ERR_INVALID_ARGUMENT, store.list("", "["));
}

TEST(objects_are_written_and_read_piece_by_piece) {
  Store store = in_process();
  std::string value = pattern(300000, 3), back(100000, '\0');
  std::vector<std::pair<ConstBytes, std::uint64_t>> sizes = {{"layers", value.size()}, {"given up", 10}};
  {
    std::vector<Begun<StoreWriting>> begun = store.begin_put(sizes);
    StoreWriting& writing = begun[0].session;
    for (std::size_t at : {200000, 0, 100000}) {
      CHECK_THROWS(MC_ERR_INVALID_STATE, writing.commit());
      writing.write(at, Bytes(value.data() + at, 100000));
    }
    CHECK(writing.commit() != 0 && writing.id() == 0);
  }
  CHECK(!store.exists("given up") && store.info().child_count == 0);
  std::vector<ConstBytes> keys = {"layers", "given up"};
  std::vector<Begun<StoreReading>> readings = store.begin_get(keys);
  CHECK(readings[0].result.size == value.size() && readings[1].result.status == MC_ERR_NOT_FOUND);
  readings[0].session.read(100000, Bytes(back));
  CHECK(back == value.substr(100000, 100000));
}

TEST(operations_complete_into_a_queue_of_a_shared_engine) {
  EngineOptions loopback;
  loopback.bind_address = "127.0.0.1";
  Engine engine(loopback);
  CompletionQueue queue(engine);
  StoreOptions options;
  options.engine = &engine;
  options.memory_bytes = 8 << 20;
  Store store(options);
  std::string value = pattern(5000, 4), back(5000, '\0');
  std::vector<StoreResult> results(1);
  Completion completions[1];
  std::vector<StorePut> puts = {{"key", {Bytes(value)}}};
  store.submit(puts, queue, 77, results);
  CHECK(queue.wait(completions).count == 1);
  CHECK(completions[0].user_data == 77 && completions[0].status == MC_OK && completions[0].length == 5000);
  std::vector<StoreGet> gets = {{"key", {Bytes(back)}, {}}};
  store.submit(gets, queue, 78, results);
  CHECK(queue.wait(completions).count == 1);
  CHECK(completions[0].user_data == 78 && completions[0].kind == MC_COMPLETION_STORE && back == value);
}

TEST(usage_quota_and_segments_are_told) {
  Store store = in_process();
  store.put("key", pattern(1000, 5));
  CHECK(store.usage().object_count == 1 && store.usage().quota_bytes == MC_STORE_NO_QUOTA);
  store.set_quota(2000);
  CHECK_THROWS(MC_ERR_QUOTA_EXCEEDED, store.put("more", pattern(4000, 6)));
  CHECK(store.segments().size() == 1 && store.segments()[0].capacity == 16 << 20);
  CHECK_THROWS(MC_ERR_NOT_FOUND, store.task(12345));
}

TEST(children_may_outlive_their_store) {
  std::optional<StoreView> view;
  {
    Store store = in_process();
    store.put("key", "value");
    view = store.get("key");
    Store moved = std::move(store);
    CHECK(store.handle() == nullptr && moved.exists("key"));
    moved.close();
    CHECK_THROWS(MC_ERR_INVALID_HANDLE, moved.exists("key"));
  }
  CHECK_THROWS(MC_ERR_INVALID_HANDLE, view->close());
}
