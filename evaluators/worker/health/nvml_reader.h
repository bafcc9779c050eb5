// SPDX-License-Identifier: Apache-2.0
// Readings of one device through NVML; without NVML, readings in which nothing was checked.
#pragma once

#include <functional>
#include <string>

#include "evaluators/worker/health/health_policy.h"

namespace kernelites::worker {

/// The bus id ("00000000:1B:00.0") of the device that CUDA gives this process as its first, found by a child, so that
/// the caller has no CUDA of its own. Empty if there is none. REQUIRES: no other thread runs.
std::string first_device_bus_id();

/// A reader of the device at `bus_id`, for DeviceWatch. `problem` says why nothing can be read; empty: it can. This
/// process's own children are nobody else's. In a PID namespace, once own ones are known to be named, those outside of
/// it are told by what they compute (hidden_processes.h); where all numbers are another namespace's, those from before
/// the first own one are.
std::function<HealthReading()> nvml_reader(const std::string& bus_id, std::string& problem);

}  // namespace kernelites::worker
