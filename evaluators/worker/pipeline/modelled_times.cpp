// SPDX-License-Identifier: Apache-2.0
// One fill and one seed for all that is modelled under a key.
#include "evaluators/worker/pipeline/modelled_times.h"

#include <algorithm>

#include "engine/core/roofline.h"
#include "evaluators/worker/pipeline/metadata.h"
#include "evaluators/worker/pipeline/sampled_rows.h"

namespace kernelites::worker {
namespace {

/// Of the compulsory bytes at the modelled copy rate.
constexpr double k_modelled_floor_share = 0.8;
constexpr std::int64_t k_modelled_rows_max = 16;
/// All of so many other samples of blocks may let expect so many times the modelled time.
constexpr std::uint64_t k_other_samples = 3;
constexpr double k_uneven_max = 2;

/// Draws the blocks that stand for every launch.
std::uint64_t modelled_blocks(const Key& model_key) { return model_key.derive("blocks").seed(); }

double time_by_blocks(WorkloadSession& session, int arm, std::uint64_t seed) {
  return session
      .run({.plan = arm, .mode = RunMode::timing, .poison_seed = seed, .deadline_s = k_modelled_run_s_max})
      .elapsed_us;
}

}  // namespace

void fill_for_model(WorkloadSession& session, const Task& task, const Workload& workload,
                    const Key& model_key) {
  session.fill(task.families.front(), 0, model_key.derive(workload.name));
}

double modelled_time_us(WorkloadSession& session, int arm, const Key& model_key) {
  return time_by_blocks(session, arm, modelled_blocks(model_key));
}

double modelled_floor_us(const WorkloadSession& session, const Task& task, const Workload& workload,
                         const DeviceFacts& device) {
  const RooflineCounts counts = roofline_counts(task, workload, metadata_sums(session.metadata()));
  return k_modelled_floor_share * counts.bytes / (device.memory_gb_per_s * 1e3);
}

std::int64_t modelled_rows(const Task& task, const Workload& workload) {
  return affordable_rows(task, workload,
                         std::min({row_count(task, workload), task.sampled_rows, k_modelled_rows_max}));
}

bool ModelledSight::is_uneven() const { return other_ratio > k_uneven_max; }

ModelledSight look_at_modelled(const ModelledLook& look) {
  ModelledSight sight;
  for (std::uint64_t i = 0; i < k_other_samples; ++i) {
    const double other_us = time_by_blocks(look.session, look.arm, look.key.derive("other_blocks", i).seed());
    if (look.executor.fault()) return sight;
    const double ratio = other_us / look.time_us;
    sight.other_ratio = i == 0 ? ratio : std::min(sight.other_ratio, ratio);
    if (!sight.is_uneven()) break;
  }
  if (sight.is_uneven() || !can_sample_rows(look.task, look.workload)) return sight;
  sight.wrong = check_sampled_rows({.session = look.session,
                                    .executor = look.executor,
                                    .task = look.task,
                                    .workload = look.workload,
                                    .reference = look.reference,
                                    .arm = look.arm,
                                    .rows = modelled_rows(look.task, look.workload),
                                    .key = look.key,
                                    .timed_seed = modelled_blocks(look.model_key),
                                    .instructions_max = std::min(
                                        k_sampled_shape_instructions_max,
                                        k_sampled_instructions_max / std::max<std::size_t>(look.looks, 1))})
                    .wrong;
  return sight;
}

}  // namespace kernelites::worker
