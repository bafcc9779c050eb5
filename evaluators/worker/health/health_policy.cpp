// SPDX-License-Identifier: Apache-2.0
// From a reading to a verdict: a table of what ends a device's use and what only suspends it.
#include "evaluators/worker/health/health_policy.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace kernelites::worker {
namespace {

struct XidRow {
  int code;
  const char* meaning;
};

/// Others (13, 31, 43, 45, 69: an exception, a fault or a hang of a kernel) are a candidate's doing, and its process
/// ends with them.
constexpr std::array<XidRow, 13> k_device_xids{{
    {48, "double-bit memory error"},
    {61, "internal micro-controller breakpoint"},
    {62, "internal micro-controller halt"},
    {63, "memory row remapping"},
    {64, "memory row remapping failed"},
    {74, "NVLink error"},
    {79, "the device has fallen off the bus"},
    {92, "many single-bit memory errors"},
    {94, "contained memory error"},
    {95, "uncontained memory error"},
    {119, "the device's system processor does not answer"},
    {120, "the device's system processor failed"},
    {140, "unrecovered memory error"},
}};

struct SlowdownRow {
  std::uint64_t bit;
  const char* words;
};

constexpr std::array<SlowdownRow, 4> k_slowdowns{{
    {k_hardware_thermal, "it is too hot (hardware slowdown)"},
    {k_software_thermal, "it is too hot (the driver slows it down)"},
    {k_power_brake, "its power supply slows it down"},
    {k_hardware_slowdown, "the hardware slows it down"},
}};

const char* meaning_of(int xid) {
  for (const XidRow& row : k_device_xids)
    if (row.code == xid) return row.meaning;
  return "";
}

HealthVerdict quarantined(const char* reason, std::string words) {
  return {HealthState::quarantined, reason, std::move(words)};
}

std::optional<HealthVerdict> failure_of(const HealthReading& first, const HealthReading& now) {
  if (!now.is_present) return quarantined("vanished", "the device has vanished");
  if (!now.sticky_error.empty())
    return quarantined("sticky_error", "no fresh process can use the device: " + now.sticky_error);
  if (now.xids)
    for (const int xid : *now.xids)
      if (is_device_xid(xid)) return quarantined("xid", fmt::format("Xid {}: {}", xid, meaning_of(xid)));
  if (first.ecc_uncorrected && now.ecc_uncorrected && *now.ecc_uncorrected > *first.ecc_uncorrected)
    return quarantined("ecc", fmt::format("{} memory errors that could not be corrected",
                                          *now.ecc_uncorrected - *first.ecc_uncorrected));
  if (now.has_remap_failure.value_or(false))
    return quarantined("ecc", "a failed row of memory could not be replaced");
  return std::nullopt;
}

}  // namespace

bool is_device_xid(int xid) { return *meaning_of(xid) != '\0'; }

HealthVerdict judge(const HealthReading& first, const HealthReading& now) {
  if (const auto failure = failure_of(first, now)) return *failure;
  // A slowdown without heat that was there from the start is how this device runs.
  const std::uint64_t usual = first.throttle_reasons.value_or(0) & (k_power_brake | k_hardware_slowdown);
  for (const SlowdownRow& row : k_slowdowns)
    if ((now.throttle_reasons.value_or(0) & ~usual & row.bit) != 0)
      return {HealthState::paused, "throttled",
              now.temperature_c ? fmt::format("{}, {} degrees", row.words, *now.temperature_c) : row.words};
  if (!now.others) return {};
  const auto busiest =
      std::max_element(now.others->begin(), now.others->end(), [](const GpuProcess& a, const GpuProcess& b) {
        return a.sm_percent.value_or(0) < b.sm_percent.value_or(0);
      });
  if (busiest == now.others->end() || busiest->sm_percent.value_or(0) < k_hog_percent) return {};
  return {HealthState::paused, "other_process",
          fmt::format("process {} uses {} % of it{}", busiest->pid, *busiest->sm_percent,
                      busiest->is_hidden ? ", outside of this PID namespace"
                                         : fmt::format(" and {} MiB", busiest->memory_bytes >> 20))};
}

std::vector<std::string> unchecked(const HealthReading& reading) {
  std::vector<std::string> names;
  if (!reading.xids) names.emplace_back("xid");
  if (!reading.ecc_uncorrected) names.emplace_back("ecc");
  if (!reading.has_remap_failure) names.emplace_back("remapped_rows");
  if (!reading.throttle_reasons) names.emplace_back("throttling");
  const bool is_any_unknown =
      reading.others && std::any_of(reading.others->begin(), reading.others->end(),
                                    [](const GpuProcess& process) { return !process.sm_percent; });
  if (!reading.others || is_any_unknown) names.emplace_back("other_processes");
  return names;
}

}  // namespace kernelites::worker
