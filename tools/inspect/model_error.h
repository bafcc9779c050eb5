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
/// Of pairs of kernels that the model put `from` to `to` times apart at one workload, over all tasks of the table: in
/// what share a device found the same one faster.
struct PairAgreement {
  double from = 1, to = 1;  ///< to 0: no end
  int pairs = 0;
  double agreed = 0;
};
std::span<const PairAgreement> pair_agreement_table();
/// That of a modelled gain (a ratio of times, 1: none).
const PairAgreement& agreement_at(double gain);
/// Below this gain the device disagreed too often for the model to tell a gain from none.
double least_gain_told();
/// Whether a modelled gain, or loss, is at least that.
bool is_told_apart(double gain);
/// "of 106 pairs of kernels that it puts 1.15 to 1.5 times apart, an H100 found the same one faster in 94 %".
std::string agreement_words(double gain);
/// "off by 14 % on average for this task (35 times on an H100)".
std::string error_words(const ModelError& error);

}  // namespace kernelites
