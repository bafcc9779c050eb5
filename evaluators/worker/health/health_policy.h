// SPDX-License-Identifier: Apache-2.0
// What a device says of its state, as a value, and what follows from it: use it, wait, or leave it alone.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace kernelites::worker {

/// A process of somebody else's that has a context on the device.
struct GpuProcess {
  unsigned pid = 0;
  std::uint64_t memory_bytes = 0;
  std::optional<unsigned> sm_percent =
      {};                  ///< most of the multiprocessors' time since the last reading; empty: unchecked
  bool is_hidden = false;  ///< outside of this PID namespace; its memory is not known
};

/// One look at the device. What could not be looked at is empty: "unchecked", never a failure.
struct HealthReading {
  bool is_present = true;
  std::string sticky_error = {};  ///< of a fresh process that tried to use the device; empty: none
  std::optional<std::vector<int>> xids = {};           ///< the driver's error codes since the last reading
  std::optional<std::uint64_t> ecc_uncorrected = {};   ///< since the driver was loaded
  std::optional<bool> has_remap_failure = {};          ///< a row of memory could not be replaced
  std::optional<std::uint64_t> throttle_reasons = {};  ///< NVML's bits (nvmlClocksThrottleReasons)
  std::optional<int> temperature_c = {};
  std::optional<std::vector<GpuProcess>> others = {};
};

enum class HealthState {
  fit,         ///< evaluate
  paused,      ///< what is timed now would be noise; it passes by itself
  quarantined  ///< nothing that this device says counts
};

struct HealthVerdict {
  HealthState state = HealthState::fit;
  std::string reason = {};  ///< "xid", "throttled", ...; empty: fit
  std::string words = {};   ///< for people
};

/// Bits of `throttle_reasons` under which times are no times: slowdowns that the hardware or heat forces. A power cap
/// is how such devices run, and meets both arms of a duel.
inline constexpr std::uint64_t k_hardware_slowdown = 0x08, k_software_thermal = 0x20,
                               k_hardware_thermal = 0x40, k_power_brake = 0x80;
/// From this share of the multiprocessors' time on another process is a disturbance.
inline constexpr unsigned k_hog_percent = 5;

/// `first`: the reading at the worker's start, which errors are counted from.
HealthVerdict judge(const HealthReading& first, const HealthReading& now);
/// True if the driver's error code means that the device itself has failed, not what ran on it
/// (NVIDIA, "XID Errors", r570).
bool is_device_xid(int xid);
/// Names of what the reading could not check.
std::vector<std::string> unchecked(const HealthReading& reading);

}  // namespace kernelites::worker
