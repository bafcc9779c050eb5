// SPDX-License-Identifier: Apache-2.0
// What is known of the seeds of all tasks on a device: a small JSON file in docs/measured, shown in the table.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "engine/core/json.h"
#include "evaluators/protocol/protocol.h"

namespace kernelites {

/// A time of one seed at one bench shape, and how near it is to what the device can do.
struct SeedTime {
  std::string workload, seed;
  double time_us = 0;
  int samples = 0;
  double of_copy = 0;     ///< compulsory bytes a second over the device's copy rate
  double of_floor = 0;    ///< of the roofline's floor
  std::string limit;      ///< what sets the floor
  bool is_older = false;  ///< of another task or seed than today's, or unknown of which; never kept
};

/// What is known of one task.
struct TaskStatus {
  std::string digest;                        ///< of the task that was examined
  std::map<std::string, std::string> seeds;  ///< file -> "passed", or "stage/reason"
  std::vector<SeedTime> times;
};

/// Everything from one device and day.
struct DeviceStatus {
  std::string device, date;
  double copy_gb_per_s = 0;
  std::map<std::string, TaskStatus> tasks;

  /// Adds what a reply says. Its id is "examine TASK SEED" (or "honest"), "duel TASK SEED+..." or "TASK/SEED"; replies
  /// with other ids, and about tasks that are not in `known`, are left out. A later reply replaces an earlier one.
  void add(const Reply& reply, const std::map<std::string, Task>& known);
};

/// `before` with what `now` says: its date, its tasks in place of earlier ones. Of a task that is the same, seeds that
/// `now` did not examine stay, and times if it timed none. Throws ConfigError if they are of different devices.
DeviceStatus updated(const DeviceStatus& before, const DeviceStatus& now);

Json to_json(const DeviceStatus& status);
/// Throws ConfigError naming the file.
DeviceStatus read_device_status(const std::filesystem::path& file);
/// The same, or nothing if there is no such file.
std::optional<DeviceStatus> find_device_status(const std::filesystem::path& file);

/// From the reply lines of batches; a torn last line is left out. Throws ConfigError if a file cannot be read or none
/// of its lines tells of a seed.
DeviceStatus status_of_replies(const std::vector<std::filesystem::path>& files,
                               const std::map<std::string, Task>& known, const std::string& date);

/// "2026-11-25".
std::string date_today();

}  // namespace kernelites
