// SPDX-License-Identifier: Apache-2.0
// Who computes on the device without being listed: a function of samples, two lists, and the readings before.
#include "evaluators/worker/health/hidden_processes.h"

#include <algorithm>
#include <filesystem>

namespace kernelites::worker {
namespace {

constexpr const char* k_first_namespace = "pid:[4026531836]";  // Linux: PROC_PID_INIT_INO

}  // namespace

HiddenReading read_hidden(std::span<const UseSample> samples, std::span<const unsigned> listed,
                          std::span<const OwnProcess> own, bool knows_own, std::uint64_t now_us,
                          const HiddenSince& before) {
  if (!knows_own) return {};
  const auto is_seen = [&](unsigned pid) {
    return std::find(listed.begin(), listed.end(), pid) != listed.end() ||
           std::any_of(own.begin(), own.end(), [&](const OwnProcess& process) { return process.pid == pid; });
  };
  HiddenReading reading;
  for (const UseSample& sample : samples) {
    if (sample.sm_percent == 0 || is_seen(sample.pid)) continue;
    const auto known = before.find(sample.pid);
    const std::uint64_t since = known != before.end() ? known->second : now_us;
    reading.since[sample.pid] = since;
    if (sample.time_us <= since + k_samples_linger_us) continue;
    unsigned& percent = reading.sm_percent[sample.pid];
    percent = std::max(percent, sample.sm_percent);
  }
  return reading;
}

bool is_in_pid_namespace() {
  std::error_code error;
  const std::filesystem::path name = std::filesystem::read_symlink("/proc/self/ns/pid", error);
  return !error && name != k_first_namespace;
}

}  // namespace kernelites::worker
