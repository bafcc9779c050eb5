// SPDX-License-Identifier: Apache-2.0
// Rows that a few blocks of a large shape complete, against the reference (virtual GPU).
//
// Stage bench looks so at the shapes that are too large to interpret, stage time at the launches whose time it models.
// Who asks has filled the session; a fault sticks in its executor.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "evaluators/worker/pipeline/workload_session.h"

namespace kernelites::worker {

/// Warp instructions for all shapes of one question together, and for one.
inline constexpr std::uint64_t k_sampled_instructions_max = 80'000'000;
inline constexpr std::uint64_t k_sampled_shape_instructions_max = 40'000'000;

/// Whether rows of such a shape can be sampled at all: all outputs have the same ones, no computed input is missing,
/// and the reference gets through one in some seconds.
bool can_sample_rows(const Task& task, const Workload& workload);

/// As many rows as the reference gets through: at most `rows`, at least one.
std::int64_t affordable_rows(const Task& task, const Workload& workload, std::int64_t rows);

/// What is looked at. Borrows its members.
struct RowSample {
  WorkloadSession& session;
  ExecutorClient& executor;
  const Task& task;
  const Workload& workload;
  const ReferencePlan& reference;
  int arm = 0;
  std::int64_t rows = 0;  ///< that `reference` computes
  Key key = {};           ///< draws blocks and rows
  std::optional<std::uint64_t> timed_seed =
      std::nullopt;  ///< first the blocks of a timed run, as they were timed
  std::uint64_t instructions_max = 0;
  bool checks_races = false;  ///< in shared memory
};

struct RowSampleOutcome {
  std::uint64_t instructions = 0;
  std::uint64_t blocks = 0;
  std::int64_t rows = 0;                         ///< compared; 0: none could be completed
  bool lacks_rows = false;                       ///< the blocks complete fewer than are their share
  bool is_barren = false, is_cut = false;        ///< block_sample.h
  std::optional<OutputError> wrong;              ///< the last output that does not pass
  std::vector<double> launch_instructions = {};  ///< block_sample.h
};

/// Runs drawn blocks until they complete rows; what it finds wrong is the executor's fault. Fills `order.layouts`.
/// REQUIRES: `can_sample_rows`.
ExecutorClient::SampledRows run_sampled_rows(ExecutorClient& executor, const Task& task,
                                             const Workload& workload, ExecutorClient::Sample order);

/// The same, compared with the reference. REQUIRES: `can_sample_rows`.
RowSampleOutcome check_sampled_rows(const RowSample& sample);

}  // namespace kernelites::worker
