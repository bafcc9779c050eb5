// SPDX-License-Identifier: Apache-2.0
// What readings of a device lead to, offline: every reason, what is unchecked, and that a pause ends by itself.
#include "evaluators/worker/health/health_policy.h"

#include <deque>

#include "evaluators/worker/health/device_watch.h"
#include "evaluators/worker/health/nvml_reader.h"
#include "tests/support/catch.h"

using namespace kernelites::worker;
using Catch::Contains;

namespace {

/// A healthy device of which everything can be read.
HealthReading good() {
  HealthReading reading;
  reading.xids = std::vector<int>{};
  reading.ecc_uncorrected = 3;  // of earlier days
  reading.has_remap_failure = false;
  reading.throttle_reasons = 0x4;  // a power cap
  reading.temperature_c = 61;
  reading.others = std::vector<GpuProcess>{};
  return reading;
}

HealthReading with_other(std::optional<unsigned> percent) {
  HealthReading reading = good();
  reading.others = {{.pid = 10, .memory_bytes = 1u << 20, .sm_percent = 0},
                    {.pid = 4711, .memory_bytes = 20ull << 30, .sm_percent = percent}};
  return reading;
}

HealthReading with_xid(int xid) {
  HealthReading reading = good();
  reading.xids = {31, xid};
  return reading;
}

HealthReading slowed(std::uint64_t bit) {
  HealthReading reading = good();
  reading.throttle_reasons = bit | 0x1;
  return reading;
}

void check_verdict(const HealthReading& now, HealthState state, const std::string& reason,
                   const std::string& words) {
  const HealthVerdict verdict = judge(good(), now);
  INFO(reason << ": " << verdict.words);
  CHECK(verdict.state == state);
  CHECK(verdict.reason == reason);
  CHECK_THAT(verdict.words, Contains(words));
}

/// A watch over readings that come one after another, the last one for ever.
struct WatchRig {
  std::deque<HealthReading> readings;
  double slept_s = 0;
  double waited_s = 0;
  std::string pause;
  DeviceWatch watch;
  explicit WatchRig(std::deque<HealthReading> all)
      : readings(std::move(all)),
        watch(
            [this] {
              const HealthReading now = readings.front();
              if (readings.size() > 1) readings.pop_front();
              return now;
            },
            [this](double s) { slept_s += s; }) {}
  std::string wait(double seconds) { return watch.wait_until_fit(seconds, waited_s, pause); }
};

}  // namespace

TEST_CASE("a device that is well is fit, also under a power cap and beside idle processes") {
  check_verdict(good(), HealthState::fit, "", "");
  check_verdict(with_other(0), HealthState::fit, "", "");
  check_verdict(with_other(4), HealthState::fit, "", "");
}

TEST_CASE("what means that the device has failed quarantines it and is named") {
  HealthReading gone = good(), sticky = good(), ecc = good(), rows = good();
  gone.is_present = false;
  sticky.sticky_error = "CUDA_ERROR_ECC_UNCORRECTABLE";
  ecc.ecc_uncorrected = 5;
  rows.has_remap_failure = true;
  check_verdict(gone, HealthState::quarantined, "vanished", "vanished");
  check_verdict(sticky, HealthState::quarantined, "sticky_error", "CUDA_ERROR_ECC_UNCORRECTABLE");
  check_verdict(ecc, HealthState::quarantined, "ecc", "2 memory errors");
  check_verdict(rows, HealthState::quarantined, "ecc", "row of memory");
  for (const int xid : {48, 63, 64, 74, 79, 94, 95, 119, 120})
    check_verdict(with_xid(xid), HealthState::quarantined, "xid", "Xid " + std::to_string(xid));
}

TEST_CASE("an Xid that a kernel causes is not held against the device") {
  for (const int xid : {13, 31, 43, 45}) check_verdict(with_xid(xid), HealthState::fit, "", "");
}

TEST_CASE("forced slowdowns and a busy stranger pause") {
  check_verdict(slowed(k_hardware_thermal), HealthState::paused, "throttled",
                "too hot (hardware slowdown), 61");
  check_verdict(slowed(k_software_thermal), HealthState::paused, "throttled", "too hot");
  check_verdict(slowed(k_power_brake), HealthState::paused, "throttled", "power supply");
  check_verdict(slowed(k_hardware_slowdown), HealthState::paused, "throttled", "hardware");
  check_verdict(with_other(93), HealthState::paused, "other_process",
                "process 4711 uses 93 % of it and 20480 MiB");
}

TEST_CASE("a slowdown without heat that was there at the start does not pause, heat does") {
  CHECK(judge(slowed(k_power_brake), slowed(k_power_brake)).state == HealthState::fit);
  CHECK(judge(slowed(k_hardware_thermal), slowed(k_hardware_thermal)).state == HealthState::paused);
}

TEST_CASE("what cannot be read is unchecked and has no consequence") {
  const HealthReading nothing;
  CHECK(judge(nothing, nothing).state == HealthState::fit);
  CHECK(unchecked(nothing) ==
        std::vector<std::string>{"xid", "ecc", "remapped_rows", "throttling", "other_processes"});
  CHECK(unchecked(good()).empty());
  CHECK(judge(good(), with_other(std::nullopt)).state == HealthState::fit);
  CHECK(unchecked(with_other(std::nullopt)) == std::vector<std::string>{"other_processes"});
}

TEST_CASE("evaluation pauses while the device is disturbed and goes on after two good readings in a row") {
  WatchRig rig({good(), with_other(90), good(), with_other(90), slowed(k_power_brake), good(), good()});
  CHECK(rig.wait(60).empty());
  CHECK(rig.slept_s == 5);
  CHECK(rig.waited_s == 5);
  CHECK_THAT(rig.pause, Contains("power supply"));
  CHECK(rig.wait(60).empty());
  CHECK(rig.slept_s == 5);
}

TEST_CASE("a pause that lasts too long says why") {
  WatchRig rig({good(), with_other(90)});
  CHECK_THAT(rig.wait(10), Contains("process 4711"));
  CHECK(rig.slept_s == 10);
}

TEST_CASE("a disturbance during an evaluation spoils times and nothing else") {
  WatchRig rig({good(), with_other(90)});
  CHECK(rig.watch.spoiled(false).empty());
  CHECK_THAT(rig.watch.spoiled(true), Contains("process 4711"));
  CHECK(rig.watch.quarantine().empty());
}

TEST_CASE("a device that failed once stays quarantined, whatever it says later") {
  WatchRig rig({good(), with_xid(79), good()});
  CHECK_THAT(rig.watch.spoiled(false), Contains("Xid 79: the device has fallen off the bus"));
  CHECK_THAT(rig.wait(60), Contains("Xid 79"));
  CHECK(rig.slept_s == 0);
  CHECK_THAT(rig.watch.quarantine(), Contains("Xid 79"));
}

TEST_CASE("what a fresh process meets after a failure decides whether the device is to blame") {
  WatchRig rig({good()});
  CHECK(rig.watch.spoiled_by("").empty());
  CHECK_THAT(rig.watch.spoiled_by("CUDA_ERROR_LAUNCH_FAILED"),
             Contains("no fresh process can use the device"));
}

TEST_CASE("a machine without NVML has readings in which nothing was checked") {
  std::string problem;
  const auto read = nvml_reader("", problem);
  CHECK_THAT(problem, Contains("no device"));
  CHECK(unchecked(read()).size() == 5);
}
