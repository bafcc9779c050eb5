// SPDX-License-Identifier: Apache-2.0
// One fill and one seed for all that is modelled under a key.
#include "evaluators/worker/pipeline/modelled_times.h"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "engine/core/roofline.h"
#include "evaluators/worker/pipeline/metadata.h"
#include "evaluators/worker/pipeline/sampled_rows.h"
#include "evaluators/worker/vgpu/time_model.h"

namespace kernelites::worker {
namespace {

/// Of the compulsory bytes at the modelled copy rate.
constexpr double k_modelled_floor_share = 0.8;
constexpr std::int64_t k_modelled_rows_max = 16;
/// All of so many other samples of blocks may let expect so many times the modelled time; more of them less, where
/// they agree.
constexpr std::size_t k_other_samples = 3, k_agreeing_samples = 8;
constexpr double k_uneven_max = 2, k_agreeing_max = 1.25, k_agreement = 1.1;

/// Draws the blocks that stand for every launch.
std::uint64_t modelled_blocks(const Key& model_key) { return model_key.derive("blocks").seed(); }

double time_by_blocks(WorkloadSession& session, int arm, std::uint64_t seed) {
  return session
      .run({.plan = arm, .mode = RunMode::timing, .poison_seed = seed, .deadline_s = k_modelled_run_s_max})
      .elapsed_us;
}

/// Times the launches would have by `instructions` (0: as they have), over those that they have.
double work_ratio(const std::vector<ModelledLaunch>& launches, const std::vector<double>& instructions) {
  if (instructions.size() != launches.size()) return 1;
  double now = 0, other = 0;
  for (std::size_t i = 0; i < launches.size(); ++i) {
    const auto counts = vgpu::work_from(launches[i].counts).warp_instructions;
    const double timed = std::accumulate(counts.begin(), counts.end(), 0.0);
    now += launches[i].time_us;
    other += launches[i].time_us * (timed > 0 && instructions[i] > 0 ? instructions[i] / timed : 1);
  }
  return now > 0 ? other / now : 1;
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

std::optional<ModelledSight::Objection> ModelledSight::objection(const std::string& workload) const {
  if (const auto ratio = unevenness(other_ratios))
    return Objection{"uneven_blocks", "has its work in other blocks than those that are timed",
                     fmt::format("at workload '{}' other blocks than those that were timed let expect {:.1f} "
                                 "times the time: a sample of blocks must stand for a launch",
                                 workload, *ratio)};
  if (is_barren)
    return Objection{
        "not_modelled", "completes no row where its blocks are drawn",
        fmt::format("no time can be modelled at workload '{}': blocks that are drawn complete no row "
                    "of the outputs, not even all along the axes of the grid; on a GPU it can be timed",
                    workload)};
  if (work_ratio > k_uneven_max)
    return Objection{
        "uneven_blocks", "does less where earlier launches have not run whole",
        fmt::format("at workload '{}' the timed blocks let expect {:.1f} times the time once earlier "
                    "launches have run whole: how much a block does must not depend on what it finds "
                    "there",
                    workload, work_ratio)};
  return std::nullopt;
}

std::optional<double> unevenness(std::span<const double> ratios) {
  if (ratios.size() < k_other_samples) return std::nullopt;
  const auto [least, most] = std::minmax_element(ratios.begin(), ratios.end());
  const bool do_agree = ratios.size() >= k_agreeing_samples && *most < *least * k_agreement;
  return *least > (do_agree ? k_agreeing_max : k_uneven_max) ? std::optional(*least) : std::nullopt;
}

bool may_be_uneven(std::span<const double> ratios) {
  if (ratios.empty()) return true;
  const auto [least, most] = std::minmax_element(ratios.begin(), ratios.end());
  const bool may_be_twice = *least > k_uneven_max && ratios.size() < k_other_samples;
  const bool may_agree = *least > k_agreeing_max && *most < *least * k_agreement;
  return may_be_twice || (may_agree && ratios.size() < k_agreeing_samples && !unevenness(ratios));
}

ModelledSight look_at_modelled(const ModelledLook& look) {
  ModelledSight sight;
  for (std::uint64_t i = 0; may_be_uneven(sight.other_ratios); ++i) {
    const double other_us = time_by_blocks(look.session, look.arm, look.key.derive("other_blocks", i).seed());
    if (look.executor.fault()) return sight;
    sight.other_ratios.push_back(other_us / look.time_us);
  }
  if (unevenness(sight.other_ratios) || !can_sample_rows(look.task, look.workload)) return sight;
  RowSampleOutcome outcome = check_sampled_rows(
      {.session = look.session,
       .executor = look.executor,
       .task = look.task,
       .workload = look.workload,
       .reference = look.reference,
       .arm = look.arm,
       .rows = modelled_rows(look.task, look.workload),
       .key = look.key,
       .timed_seed = modelled_blocks(look.model_key),
       .instructions_max = std::min(k_sampled_shape_instructions_max,
                                    k_sampled_instructions_max / std::max<std::size_t>(look.looks, 1))});
  sight.wrong = std::move(outcome.wrong);
  sight.is_barren = outcome.is_barren && (look.may_count_blocks || !outcome.is_cut);
  sight.work_ratio = work_ratio(look.launches, outcome.launch_instructions);
  return sight;
}

}  // namespace kernelites::worker
