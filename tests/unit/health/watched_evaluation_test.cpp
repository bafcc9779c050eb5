// SPDX-License-Identifier: Apache-2.0
// Evaluations beside a disturbed device, on a drawn clock: what counts, what is repeated, what is discarded.
#include "evaluators/worker/health/watched_evaluation.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <future>

#include "evaluators/protocol/device_unfit.h"
#include "tests/support/catch.h"

using namespace kernelites;
using namespace kernelites::worker;
using Catch::Contains;

namespace {

constexpr bool k_busy = true, k_idle = false;

HealthReading reading_of(bool is_busy) {
  HealthReading reading;
  reading.others = {{.pid = 4711, .memory_bytes = 1u << 30, .sm_percent = is_busy ? 93 : 0}};
  return reading;
}

/// A device whose neighbour computes at the readings that are told, and evaluations that take so long and fail by
/// deadline where they get less; the last reading and the last evaluation come for ever.
struct DisturbedRig {
  std::deque<bool> readings;
  std::deque<double> takes_s;
  double now_s = 0;
  std::vector<double> given_s = {};
  bool is_duel = true;
  std::string reason = "deadline";
  std::string error = {};   // of every evaluation
  std::string sticky = {};  // that a fresh process meets
  DeviceWatch watch;

  DisturbedRig(std::deque<bool> all, std::deque<double> takes)
      : readings(std::move(all)),
        takes_s(std::move(takes)),
        watch([this] { return read(); }, [this](double s) { now_s += s; }) {}

  HealthReading read() {
    const bool is_busy = readings.front();
    if (readings.size() > 1) readings.pop_front();
    return reading_of(is_busy);
  }
  Reply evaluate(double deadline_s) {
    const double takes = takes_s.front();
    if (takes_s.size() > 1) takes_s.pop_front();
    given_s.push_back(deadline_s);
    now_s += std::min(takes, deadline_s);
    const Verdict verdict =
        takes <= deadline_s ? Verdict::passed() : Verdict::failed("time", reason, "too slow");
    Reply reply{.id = "a", .error = error, .device_s = 2};
    if (!error.empty()) return reply;
    if (is_duel)
      reply.duel = Duel{.verdict = verdict};
    else
      reply.examination = Examination{.verdict = verdict};
    return reply;
  }
  Reply answer(double deadline_s) {
    return evaluate_watched(watch, deadline_s,
                            {.evaluate = [this](double s) { return evaluate(s); },
                             .sticky_error = [this] { return sticky; },
                             .now_s = [this] { return now_s; }});
  }
};

void check_discarded(const Reply& reply, const std::string& why, bool is_for_now = true) {
  CHECK(is_device_unfit(reply));
  CHECK(is_device_disturbed(reply) == is_for_now);
  CHECK_THAT(reply.error, Contains(why));
  CHECK_FALSE(reply.duel);
  CHECK_FALSE(reply.examination);
}

}  // namespace

TEST_CASE("a deadline missed on a device that is fit is the candidate's") {
  DisturbedRig rig({k_idle}, {700});
  const Reply reply = rig.answer(600);
  CHECK(reply.error.empty());
  REQUIRE(reply.duel);
  CHECK(reply.duel->verdict.reason == "deadline");
  CHECK(rig.given_s == std::vector<double>{600});
}

TEST_CASE("a duel whose repetition has too little time left is not held against the candidate") {
  // Busy while the first try ran.
  DisturbedRig rig({k_idle, k_idle, k_busy, k_idle}, {250, 360});
  check_discarded(rig.answer(600), "process 4711");
  CHECK(rig.given_s == std::vector<double>{600, 350});
  CHECK(rig.watch.quarantine().empty());
}

TEST_CASE("a repetition that has time enough counts, and the device's time is that of both tries") {
  DisturbedRig rig({k_idle, k_idle, k_busy, k_idle}, {290});
  const Reply reply = rig.answer(600);
  REQUIRE(reply.duel);
  CHECK(reply.duel->verdict.is_passed);
  CHECK(rig.given_s == std::vector<double>{600, 310});
  CHECK(reply.device_s == 4);
}

TEST_CASE("a deadline missed after a wait for the device is not held against the candidate") {
  for (const bool is_duel : {true, false}) {
    DisturbedRig rig({k_idle, k_busy, k_busy, k_idle}, {598});
    rig.is_duel = is_duel;
    check_discarded(rig.answer(600),
                    "the deadline passed, of which the device had taken a part: process 4711");
    CHECK(rig.given_s == std::vector<double>{597});
  }
}

TEST_CASE("other failures after a wait are the candidate's, and the wait is told") {
  DisturbedRig rig({k_idle, k_busy, k_idle}, {599});
  rig.reason = "wrong_output";
  const Reply reply = rig.answer(600);
  REQUIRE(reply.duel);
  CHECK(reply.duel->verdict.reason == "wrong_output");
  REQUIRE(reply.duel->notes.size() == 1);
  CHECK_THAT(reply.duel->notes[0], Contains("waited 2 s for the device: process 4711"));
}

TEST_CASE("an examination's deadline missed beside a stranger's load is not held against the candidate") {
  DisturbedRig rig({k_idle, k_idle, k_busy}, {700});
  rig.is_duel = false;
  check_discarded(rig.answer(600), "process 4711");
  DisturbedRig passing({k_idle, k_idle, k_busy}, {500});
  passing.is_duel = false;
  CHECK(passing.answer(600).examination);
}

TEST_CASE("a device that no fresh process can use after an error is unfit for good, and asked once") {
  DisturbedRig rig({k_idle}, {5});
  rig.error = "the executor ended";
  rig.sticky = "CUDA_ERROR_ECC_UNCORRECTABLE";
  check_discarded(rig.answer(600), "no fresh process can use the device: CUDA_ERROR_ECC_UNCORRECTABLE",
                  false);
  CHECK(rig.given_s.size() == 1);
  CHECK_THAT(rig.watch.quarantine(), Contains("ECC"));
}

TEST_CASE("an error on a device that fresh processes can use stays the request's") {
  DisturbedRig rig({k_idle, k_idle, k_busy}, {5});
  rig.error = "the executor ended";
  CHECK(rig.answer(600).error == "the executor ended");
}

TEST_CASE("what was never evaluated for a disturbance cost no time of the device") {
  DisturbedRig rig({k_idle, k_busy}, {5});
  const Reply reply = rig.answer(40);
  check_discarded(reply, "process 4711");
  CHECK(rig.given_s.empty());
  CHECK(reply.device_s == 0);
}

TEST_CASE("all waits of a request together take no more than a quarter of its time") {
  // 8 s of a wait, a disturbed try, and busy for ever: 10 s of 40 are the limit.
  std::deque<bool> readings{k_idle};
  readings.insert(readings.end(), 7, k_busy);
  for (const bool is_busy : {k_idle, k_idle, k_busy}) readings.push_back(is_busy);
  DisturbedRig rig(readings, {5});
  check_discarded(rig.answer(40), "process 4711");
  CHECK(rig.given_s == std::vector<double>{32});
  CHECK(rig.now_s == 8 + 5 + 2);
}

TEST_CASE("who waits for the device keeps nobody else from asking") {
  std::future<std::string> other;
  bool is_answered = false;
  std::deque<bool> readings{k_idle, k_busy, k_busy, k_idle};
  DeviceWatch* watch_of_all = nullptr;
  DeviceWatch watch(
      [&] {
        const HealthReading now = reading_of(readings.front());
        if (readings.size() > 1) readings.pop_front();
        return now;
      },
      [&](double) {
        if (other.valid()) return;
        other = std::async(std::launch::async, [&] { return watch_of_all->quarantine(); });
        is_answered = other.wait_for(std::chrono::seconds(2)) == std::future_status::ready;
      });
  watch_of_all = &watch;
  double waited_s = 0;
  std::string pause;
  CHECK(watch.wait_until_fit(10, waited_s, pause).empty());
  CHECK(is_answered);
}
