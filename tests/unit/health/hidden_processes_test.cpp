// SPDX-License-Identifier: Apache-2.0
// Who computes outside of a worker's PID namespace, told from own processes that have just ended.
#include "evaluators/worker/health/hidden_processes.h"

#include "evaluators/worker/health/health_policy.h"
#include "tests/support/catch.h"

using namespace kernelites::worker;
using Percents = std::map<unsigned, unsigned>;

namespace {

constexpr std::uint64_t k_second_us = 1'000'000;

/// Readings one after another; times in seconds.
struct HiddenRig {
  HiddenSince since = {};
  std::vector<unsigned> listed = {17};  // the worker's referee
  std::vector<OwnProcess> own = {{.pid = 10}, {.pid = 17, .may_hold_context = true}};
  bool knows_own = true;
  Percents read(double now_s, const std::vector<UseSample>& samples) {
    HiddenReading reading =
        read_hidden(samples, listed, own, knows_own, static_cast<std::uint64_t>(now_s * k_second_us), since);
    since = std::move(reading.since);
    return reading.sm_percent;
  }
};

UseSample use(unsigned pid, double time_s, unsigned percent = 90) {
  return {.pid = pid, .sm_percent = percent, .time_us = static_cast<std::uint64_t>(time_s * k_second_us)};
}

}  // namespace

TEST_CASE("a process that computes for seconds without being listed is outside of the namespace") {
  HiddenRig rig;
  CHECK(rig.read(100, {use(5141, 99.8)}).empty());  // may be an own one that has just ended
  CHECK(rig.read(101, {use(5141, 99.8), use(5141, 100.8)}).empty());
  CHECK(rig.read(102.5, {use(5141, 101.3), use(5141, 102.4, 40)}) == Percents{{5141, 40}});
  CHECK(rig.read(104, {use(5141, 103.9)}) == Percents{{5141, 90}});
}

TEST_CASE("own processes that come and go are never taken for one outside, whatever they computed") {
  HiddenRig rig;
  for (unsigned number = 300; number < 400; ++number) {
    const double now_s = number * 0.3;
    std::vector<UseSample> samples;  // of all that ended in the two seconds before
    for (unsigned ended = number - 7; ended < number; ++ended)
      samples.push_back(use(ended, ended * 0.3 + 0.1));
    CHECK(rig.read(now_s, samples).empty());
  }
}

TEST_CASE("whoever is listed or own is somebody else's business") {
  HiddenRig rig;
  for (double now_s = 100; now_s < 110; ++now_s)
    CHECK(rig.read(now_s, {use(17, now_s - 0.1), use(10, now_s - 0.1)}).empty());
}

TEST_CASE("own processes under numbers of another namespace are nobody else's, however long they compute") {
  HiddenRig rig{.listed = {}, .knows_own = false};
  ProcessRoster roster;
  for (double now_s = 100; now_s < 110; ++now_s) {
    roster = read_roster(rig.listed, rig.own, roster).roster;
    rig.knows_own = roster.knows_own;
    CHECK(rig.read(now_s, {use(48817, now_s - 0.1)}).empty());
  }
  // The driver names own ones at last: whoever computes beside them has two seconds from then on.
  rig.own.push_back({.pid = 18, .may_hold_context = true});
  rig.listed = {17, 18};
  for (double now_s = 110; now_s < 115; ++now_s) {
    roster = read_roster(rig.listed, rig.own, roster).roster;
    rig.knows_own = roster.knows_own;
    CHECK(rig.read(now_s, {use(48817, now_s - 0.1)}).empty() == (now_s < 114));
  }
}

TEST_CASE("one that stopped computing is forgotten, and one that idles was never seen") {
  HiddenRig rig;
  rig.read(100, {use(5141, 99.8)});
  CHECK(rig.read(101, {use(5141, 100.9, 0)}).empty());
  CHECK(rig.since.empty());
  CHECK(rig.read(110, {use(5141, 109.9)}).empty());
}

TEST_CASE("a process outside of the namespace pauses evaluation and is named as that") {
  HealthReading now;
  now.others = {{{.pid = 5141, .sm_percent = 94, .is_hidden = true}}};
  const HealthVerdict verdict = judge({}, now);
  CHECK(verdict.state == HealthState::paused);
  CHECK(verdict.words == "process 5141 uses 94 % of it, outside of this PID namespace");
}
