// SPDX-License-Identifier: Apache-2.0
// NVIDIA's management library, opened at run time: the few calls that readings are made of, with its own types.
#pragma once

#include <string>

namespace kernelites::worker {
namespace nvml {

using Result = int;
inline constexpr Result k_success = 0, k_not_found = 6, k_gpu_is_lost = 15;
using Device = struct DeviceBody*;
using EventSet = struct EventSetBody*;

struct EventData {
  Device device;
  unsigned long long type;
  unsigned long long data;  ///< the Xid
  unsigned gpu_instance;
  unsigned compute_instance;
};
inline constexpr unsigned long long k_xid_event = 0x8;

struct ProcessInfo {
  unsigned pid;
  unsigned long long used_memory;
  unsigned gpu_instance;
  unsigned compute_instance;
};

struct ProcessSample {
  unsigned pid;
  unsigned long long time_us;
  unsigned sm_percent;
  unsigned memory_percent;
  unsigned encoder_percent;
  unsigned decoder_percent;
};

}  // namespace nvml

/// Entry points; null where this version has none (all but the first three are optional).
struct NvmlLibrary {
  nvml::Result (*init)() = nullptr;
  nvml::Result (*device_by_bus_id)(const char* bus_id, nvml::Device*) = nullptr;
  const char* (*error_string)(nvml::Result) = nullptr;
  nvml::Result (*throttle_reasons)(nvml::Device, unsigned long long*) = nullptr;
  nvml::Result (*temperature)(nvml::Device, int sensor, unsigned*) = nullptr;
  nvml::Result (*ecc_errors)(nvml::Device, int type, int counter, unsigned long long*) = nullptr;
  nvml::Result (*remapped_rows)(nvml::Device, unsigned* corrected, unsigned* uncorrected,
                                unsigned* is_pending, unsigned* has_failed) = nullptr;
  nvml::Result (*compute_processes)(nvml::Device, unsigned* count, nvml::ProcessInfo*) = nullptr;
  nvml::Result (*process_utilization)(nvml::Device, nvml::ProcessSample*, unsigned* count,
                                      unsigned long long since_us) = nullptr;
  nvml::Result (*mig_mode)(nvml::Device, unsigned* current, unsigned* pending) = nullptr;
  nvml::Result (*event_set_create)(nvml::EventSet*) = nullptr;
  nvml::Result (*register_events)(nvml::Device, unsigned long long types, nvml::EventSet) = nullptr;
  nvml::Result (*event_set_wait)(nvml::EventSet, nvml::EventData*, unsigned timeout_ms) = nullptr;
};

/// Opens and initialises it. Throws Error that says what is missing. It stays open for the rest of the process's life.
NvmlLibrary open_nvml();

}  // namespace kernelites::worker
