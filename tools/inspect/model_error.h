// SPDX-License-Identifier: Apache-2.0
// How far the virtual GPU's time model is off, where that was measured: what a modelled gain must exceed.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "engine/core/device_facts.h"

namespace kernelites {

/// Of a task's modelled times against measured ones: docs/measurement.md, "Time model".
struct ModelError {
  std::string_view task;  ///< empty: all tasks of the table together
  int times = 0;          ///< that were compared
  double mean_abs_log = 0;
};

/// The tasks that were compared, and the row of all together last.
std::span<const ModelError> model_error_table();
/// Of the task, or of all together where that was not compared. Empty for a device that is not virtual, and for one
/// whose times nobody compared.
std::optional<ModelError> model_error(const DeviceFacts& device, std::string_view task);
/// Whether a modelled gain (a ratio of times, 1: none) is larger than what the model is off on average.
bool exceeds(const ModelError& error, double gain);
/// "off by 14 % on average for this task (35 times on an H100)".
std::string error_words(const ModelError& error);

}  // namespace kernelites
