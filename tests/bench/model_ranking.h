// SPDX-License-Identifier: Apache-2.0
// Measured times of many kernels beside what the time model is given of them: rank correlations and the fit.
//
// The table (time_model_h100.jsonl) holds one line per kernel and workload: {"task", "workload", "arm", "us", "p10",
// "p90", "n", "launches": [{name: value, ...}, ...]}, times measured on an H100, launches as `named` tells them.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "evaluators/worker/vgpu/time_model.h"

namespace kernelites::bench {

struct MeasuredKernel {
  std::string task, workload, arm;
  double time_us = 0;  ///< median
  std::vector<worker::vgpu::LaunchWork> launches;
};

/// Throws Error for a file that is no such table.
std::vector<MeasuredKernel> load_measured(const std::filesystem::path& file);

double modelled_us(const MeasuredKernel& kernel, const worker::vgpu::ModelledDevice& device);

/// Spearman's rank correlation, ties by their mean rank; 0 where one side does not vary. REQUIRES: equally many.
double spearman(const std::vector<double>& a, const std::vector<double>& b);

/// How well the model ranks the kernels of one task.
struct TaskRanking {
  std::string task;
  int kernels = 0;          ///< rows: kernels times workloads
  double at_workloads = 0;  ///< correlation over the kernels of a workload, mean over the task's workloads
  double of_task = 0;       ///< over all rows of the task
  double log_error = 0;     ///< mean |ln(modelled / measured)|
};

struct Ranking {
  std::vector<TaskRanking> tasks;  ///< by name
  double median_at_workloads = 0, median_of_task = 0, pooled = 0, log_error = 0;
};

Ranking rank(const std::vector<MeasuredKernel>& kernels, const worker::vgpu::ModelledDevice& device);

/// Pairs of kernels of a workload that the model puts `from` to `to` times apart, and in how many the device found the
/// same one faster.
struct PairAgreement {
  double from = 1, to = 1;
  int pairs = 0, agreed = 0;
};
std::vector<PairAgreement> pair_agreement(const std::vector<MeasuredKernel>& kernels,
                                          const worker::vgpu::ModelledDevice& device);

/// A fitted parameter, between what it may lie to mean what it says, and what one would guess unmeasured.
struct FittedParameter {
  const char* name;
  double worker::vgpu::ModelledDevice::*field;
  double low, high, guess;
};
std::span<const FittedParameter> fitted_parameters();
/// `device` with every fitted parameter as guessed: where a fit begins that must not know its outcome.
worker::vgpu::ModelledDevice guessed(worker::vgpu::ModelledDevice device);

/// The profile with the parameters that fit `kernels` best from `device` on: `steps` random steps, drawn by `seed`.
worker::vgpu::ModelledDevice fitted(const std::vector<MeasuredKernel>& kernels,
                                    const worker::vgpu::ModelledDevice& device, int steps,
                                    unsigned long long seed);

}  // namespace kernelites::bench
