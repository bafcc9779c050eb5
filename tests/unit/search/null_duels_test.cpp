// SPDX-License-Identifier: Apache-2.0
// Nulls in a run: recorded, no duel of their candidate, and nothing is timed while one is off.
#include "engine/search/null_duels.h"

#include <algorithm>

#include "tests/support/catch.h"
#include "tests/unit/search/search_rig.h"

using namespace kernelites;

namespace {

/// A device, on which ten seconds pass whenever it is asked.
class SlowEvaluator : public FakeEvaluator {
 public:
  explicit SlowEvaluator(HandClock& clock) : FakeEvaluator(/*is_virtual=*/false), clock_(clock) {}
  void pump(std::chrono::steady_clock::time_point now) override {
    clock_.advance(std::chrono::seconds(10));
    FakeEvaluator::pump(now);
  }

 private:
  HandClock& clock_;
};

struct GpuRig : SearchRig {
  explicit GpuRig(int null_every) {
    device = "gpu";
    config.null_every = null_every;
  }
};

std::size_t nulls_of(const SlowEvaluator& evaluator) {
  return static_cast<std::size_t>(
      std::count_if(evaluator.requests.begin(), evaluator.requests.end(), FakeEvaluator::is_null));
}

}  // namespace

TEST_CASE("an elite duels itself every so many timed candidates, and the duel is recorded") {
  GpuRig rig(4);
  SlowEvaluator evaluator(rig.clock);
  FakeModel model;
  CHECK(rig.run(evaluator, &model).reason == StopReason::budget);
  CHECK(nulls_of(evaluator) >= 2);
  CHECK(rig.sink.count("null") == nulls_of(evaluator));
  Archive archive = rig.open();
  CHECK(archive.outstanding_requests().empty());
  for (const CandidateRecord& record : archive.candidates()) {
    const auto evaluated = archive.evaluated(record.ordinal);
    if (evaluated->duel) CHECK_FALSE(is_null_duel(*evaluated->duel));
  }
}

TEST_CASE("while a null is off candidates wait with their duels, and go on when one is good") {
  GpuRig rig(4);
  SlowEvaluator evaluator(rig.clock);
  evaluator.nulls_off = 3;
  FakeModel model;
  CHECK(rig.run(evaluator, &model).reason == StopReason::budget);
  CHECK(rig.sink.count("incident") == 3);
  bool is_open = true;
  for (const Json& event : rig.sink.events) {
    if (event.at("event") == "null") is_open = event.at("is_good").get<bool>();
    // What was sent before comes in while timing is closed, and nothing enters the archive on new evidence.
    if (!is_open && event.at("event") == "told") CHECK(event.at("outcome") != "improved");
  }
  CHECK(is_open);
  CHECK(rig.open().counters().told == 12 + 2);
}

TEST_CASE("a run goes on with a null before any duel") {
  GpuRig rig(50);
  rig.config.budget.candidates = 2;
  FakeModel model;
  SlowEvaluator first(rig.clock);
  rig.run(first, &model);
  CHECK(nulls_of(first) == 0);
  rig.config.budget.candidates = 4;
  SlowEvaluator second(rig.clock);
  rig.run(second, &model);
  CHECK(nulls_of(second) == 1);
  for (const Request& request : second.requests) {
    if (!request.duel) continue;
    CHECK(FakeEvaluator::is_null(request));  // the first duel
    break;
  }
}
