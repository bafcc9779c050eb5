// SPDX-License-Identifier: Apache-2.0
// Nights on a drawn clock: what workers that fail, are disturbed or come back mean for their run.
#include "evaluators/restart_plan.h"

#include <functional>
#include <optional>

#include "engine/core/rng.h"
#include "tests/support/catch.h"

using namespace kernelites;

namespace {

using Rest = RestartPlan::Rest;

constexpr double k_hour = 3600, k_tick_s = 1, k_start_s = 5;

RestartPlan::Time at(double seconds) {
  return RestartPlan::Time{} + std::chrono::milliseconds(static_cast<std::int64_t>(seconds * 1000));
}

/// One worker that is given work whenever it is there.
struct WorkerNight {
  RestartPlan plan{{}, 1};
  double now_s = 0;
  std::vector<Rest> rests = {};
  int answers = 0;
  bool is_over = false;  // by outage

  /// Until `end_s`; `ends(now)` says how a try ends: an answer, or the worker's end.
  void live(double end_s, const std::function<std::optional<WorkerEnd>(double)>& ends, bool greets = true) {
    while (now_s < end_s && !is_over) {
      now_s += k_tick_s;
      if (!plan.may_start(0, at(now_s))) continue;
      plan.started(0);
      now_s += k_start_s;
      if (greets) plan.is_there(0, true, at(now_s));
      if (const auto how = ends(now_s)) {
        rests.push_back(*plan.ended(0, *how, at(now_s)));
      } else {
        plan.answered(0, at(now_s));
        ++answers;
      }
      is_over = plan.is_outage(at(now_s)) || plan.is_lost();
    }
  }
};

std::optional<WorkerEnd> answer(double) { return std::nullopt; }
std::optional<WorkerEnd> failure(double) { return WorkerEnd::failed; }
std::optional<WorkerEnd> no_device(double) { return WorkerEnd::unable; }
std::optional<WorkerEnd> disturbance(double) { return WorkerEnd::disturbed; }

}  // namespace

TEST_CASE("a device whose neighbour computes now and then keeps its run for a whole night") {
  for (const double busy_s : {300.0, 1500.0, 2400.0, 5000.0}) {
    WorkerNight night;
    Rng rng = Rng::keyed(1, 0, "night");
    std::vector<bool> is_busy;  // minute by minute, in stretches of about `busy_s` and half an hour
    while (is_busy.size() < 12 * 60) {
      const bool next = !is_busy.empty() && !is_busy.back();
      const double mean_min = (next ? busy_s : 1800) / 60;
      is_busy.insert(is_busy.end(), 1 + rng.below(static_cast<std::uint64_t>(2 * mean_min)), next);
    }
    night.live(12 * k_hour, [&](double now_s) -> std::optional<WorkerEnd> {
      if (is_busy[std::min(is_busy.size() - 1, static_cast<std::size_t>(now_s / 60))])
        return WorkerEnd::disturbed;
      return std::nullopt;
    });
    INFO("busy for " << busy_s << " s: " << night.rests.size() << " pauses, " << night.answers << " answers");
    CHECK_FALSE(night.is_over);
    CHECK(night.answers > 100);
    CHECK(night.rests.size() > 10);
    for (const Rest& rest : night.rests) CHECK(rest.seconds == 60);
  }
}

TEST_CASE(
    "a neighbour that computes all night long ends no run, and work begins within a minute of its end") {
  WorkerNight night;
  night.live(k_hour, answer);
  night.live(9 * k_hour, disturbance);
  CHECK_FALSE(night.is_over);
  CHECK(night.rests.back().in_a_row == static_cast<int>(night.rests.size()));
  const int before = night.answers;
  night.live(night.now_s + 70, answer);
  CHECK(night.answers > before);
}

TEST_CASE("a disturbance is no failure: it neither counts to a quarantine nor resets what does") {
  RestartPlan plan({}, 1);
  plan.is_there(0, false, at(0));
  for (int i = 1; i < 5; ++i) {
    CHECK(plan.ended(0, WorkerEnd::failed, at(i))->kind == Rest::backoff);
    CHECK(plan.ended(0, WorkerEnd::disturbed, at(i))->kind == Rest::disturbance);
  }
  CHECK(plan.ended(0, WorkerEnd::failed, at(9))->kind == Rest::quarantine);
}

TEST_CASE("a device that is gone for an hour is used again: every quarantine ends with a try") {
  WorkerNight night;
  night.live(k_hour, answer);
  const int before = night.answers;
  night.live(night.now_s + 1750, no_device, /*greets=*/false);
  CHECK_FALSE(night.is_over);
  night.live(night.now_s + 1000, answer);
  CHECK(night.answers > before);
  CHECK_FALSE(night.is_over);
}

TEST_CASE(
    "no quarantine is longer than half an outage, so that a run has at least three tries before it gives "
    "up") {
  WorkerNight night;
  night.live(100, answer);
  night.live(100 * k_hour, no_device, /*greets=*/false);
  CHECK(night.is_over);
  CHECK(night.now_s > 1900);
  CHECK(night.now_s < 100 + 1800 + 900 + 60);
  CHECK(night.rests.size() >= 4);
  for (const Rest& rest : night.rests) CHECK(rest.seconds <= 900);
}

TEST_CASE("an outage ends a run only by a try that fails after it, never while one is planned") {
  RestartPlan plan({}, 2);
  plan.is_there(0, false, at(0));
  plan.ended(0, WorkerEnd::unable, at(10));
  plan.ended(1, WorkerEnd::failed, at(10));
  CHECK_FALSE(plan.is_outage(at(10 * k_hour)));
  plan.ended(0, WorkerEnd::unable, at(2000));
  CHECK_FALSE(plan.is_outage(at(2001)));  // the other one has its try yet
  plan.ended(1, WorkerEnd::failed, at(2002));
  CHECK(plan.is_outage(at(2003)));
}

TEST_CASE("a worker that greets and dies at everything it is given does not keep its run alive for ever") {
  WorkerNight night;
  night.live(100, answer);
  night.live(100 * k_hour, failure);
  CHECK(night.is_over);
  CHECK(night.now_s < 2 * k_hour);
}

TEST_CASE("a worker that came out of quarantine and has nothing to do is there") {
  RestartPlan plan({}, 1);
  plan.is_there(0, false, at(0));
  for (int i = 0; i < 5; ++i) plan.ended(0, WorkerEnd::failed, at(1));
  plan.is_there(0, false, at(5000));
  plan.ended(0, WorkerEnd::failed, at(5001));
  CHECK_FALSE(plan.is_outage(at(5002)));
}

TEST_CASE("an answer ends all counting") {
  RestartPlan plan({}, 1);
  plan.is_there(0, false, at(0));
  for (int i = 0; i < 7; ++i) plan.ended(0, WorkerEnd::failed, at(i));
  CHECK(plan.answered(0, at(8)));
  CHECK_FALSE(plan.answered(0, at(9)));
  CHECK(plan.ended(0, WorkerEnd::failed, at(10))->seconds == 0.5);
  CHECK(plan.ended(0, WorkerEnd::unable, at(11))->seconds == 300);
}

TEST_CASE("who could never work is given up, and if that is everyone it is said at once") {
  RestartPlan plan({}, 2);
  CHECK_FALSE(plan.ended(0, WorkerEnd::unable, at(0)));
  CHECK_FALSE(plan.is_lost());
  CHECK_FALSE(plan.ended(1, WorkerEnd::unable, at(0)));
  CHECK(plan.is_lost());
}
