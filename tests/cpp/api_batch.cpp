// Batches: progress, outcome, tasks, cancel; and what happens to a handle that is none.
#include "mooncake/batch.hpp"

#include <optional>

#include "check.hpp"
#include "pair.hpp"

using namespace mooncake;

TEST(a_finished_batch_counts_its_requests_and_bytes) {
  test::Pair pair;
  Batch batch(pair.initiator, {write(pair.peer, pair.at(), pair.local.bytes().part(0, 100), 5),
                               read(pair.peer, pair.at(200), pair.local.bytes().part(200, 28), 6)});
  Outcome outcome = batch.wait(test::guard);
  outcome.check();
  CHECK(outcome.ok() && outcome.message.empty());
  CHECK(outcome.request_count == 2 && outcome.completed_count == 2 && outcome.failed_count == 0);
  CHECK(outcome.completed_bytes == 128);
  Completion second = batch.task(1);
  CHECK(second.status == MC_OK && second.user_data == 6 && second.index == 1 && second.length == 28);
  CHECK_THROWS(MC_ERR_INVALID_ARGUMENT, batch.task(2));
}

TEST(poll_and_wait_hand_errors_back) {
  test::Pair pair;
  Batch batch(pair.initiator, {write(pair.peer, pair.at(), pair.local)});
  batch.wait(test::guard).check();
  batch.close();
  Progress progress = batch.poll();
  CHECK(progress.is_done && !progress.ok() && progress.status == MC_ERR_INVALID_HANDLE);
  Outcome outcome = batch.wait(test::guard);
  CHECK(outcome.is_done && outcome.status == MC_ERR_INVALID_HANDLE && !outcome.message.empty());
  CHECK_THROWS(MC_ERR_INVALID_HANDLE, outcome.check());
  CHECK_THROWS(MC_ERR_INVALID_HANDLE, batch.cancel());
}

TEST(time_that_ran_out_is_no_failure_of_the_batch) {
  Outcome outcome;
  outcome.message = "still under way";
  CHECK(!outcome.ok());
  CHECK_THROWS(MC_ERR_NOT_READY, outcome.check());
}

TEST(a_failed_transfer_is_told_by_the_outcome) {
  test::Pair pair;
  Batch batch(pair.initiator, {write(pair.peer, 64, pair.local)});
  Outcome outcome = batch.wait(test::guard);
  CHECK(outcome.is_done && !outcome.ok() && outcome.failed_count == 1);
  CHECK(outcome.status == MC_ERR_ADDRESS_NOT_REGISTERED);
  CHECK(!outcome.message.empty());
  CHECK(batch.task(0).status == outcome.status);
  CHECK(batch.poll().status == outcome.status);
}

TEST(local_memory_that_is_not_registered_starts_nothing) {
  test::Pair pair;
  std::vector<char> strange(64);
  Error error = ERROR_OF(Batch(pair.initiator, {write(pair.peer, pair.at(), strange)}));
  CHECK(error.code() == MC_ERR_ADDRESS_NOT_REGISTERED);
  CHECK(pair.initiator.info().batch_count == 0);
}

TEST(an_empty_batch_is_refused) {
  test::Pair pair;
  CHECK_THROWS(MC_ERR_INVALID_ARGUMENT, Batch(pair.initiator, {}));
}

TEST(a_negative_deadline_is_refused) {
  test::Pair pair;
  BatchOptions options;
  options.deadline = std::chrono::milliseconds(-1);
  CHECK_THROWS(MC_ERR_INVALID_ARGUMENT, Batch(pair.initiator, {write(pair.peer, pair.at(), pair.local)}, options));
}

TEST(canceling_what_is_done_changes_nothing) {
  test::Pair pair;
  Batch batch(pair.initiator, {write(pair.peer, pair.at(), pair.local)});
  batch.wait(test::guard).check();
  batch.cancel();
  CHECK(batch.poll().ok());
}

TEST(only_prepared_batches_are_posted) {
  test::Pair pair;
  Batch batch(pair.initiator, {write(pair.peer, pair.at(), pair.local)});
  CHECK_THROWS(MC_ERR_INVALID_STATE, check(mc_batch_post(batch.engine(), batch.id())));
}

TEST(a_batch_may_outlive_its_engine) {
  std::optional<Batch> batch;
  {
    test::Pair pair;
    batch.emplace(pair.initiator, Span<const Request>({write(pair.peer, pair.at(), pair.local)}));
  }
  CHECK(batch->poll().status == MC_ERR_INVALID_HANDLE);
}
