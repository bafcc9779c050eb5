// SPDX-License-Identifier: Apache-2.0
// Examinations and duels as text for people, and as JSON with derived figures.
#include "tools/inspect/evaluation_text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>

#include "engine/core/roofline.h"
#include "engine/variation/prompt_values.h"
#include "tools/inspect/text_table.h"

namespace kernelites {
namespace {

std::string launches_text(const LaunchPlan& plan) {
  std::string text;
  for (const PlannedLaunch& launch : plan.launches)
    text += fmt::format(
        "  {} grid {} block {} cluster {} shared {} B{}{}\n", launch.kernel, fmt::join(launch.grid, "x"),
        fmt::join(launch.block, "x"), fmt::join(launch.cluster, "x"), launch.shared_bytes,
        launch.is_cooperative ? " cooperative" : "", launch.is_programmatic ? " programmatic" : "");
  for (const Workspace& workspace : plan.workspaces)
    text += fmt::format("  workspace {} B\n", workspace.bytes);
  return text;
}

std::string counts_text(const StageReport& report) {
  std::string text;
  for (const auto& [name, count] : report.counts)
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", count, name);
  return text;
}

/// One line for each stage that ran; of older evaluations only the times are known.
std::string stages_text(const Examination& examination) {
  if (examination.stages.empty()) {
    std::string text;
    for (const auto& [stage, ms] : examination.stage_ms)
      text += fmt::format("{} {} {:.0f} ms", text.empty() ? "stages:" : ",", stage, ms);
    return text.empty() ? text : text + "\n";
  }
  std::vector<std::vector<std::string>> rows{
      {"stage", "outcome", "ms", "on device", "counts", "what was looked at"}};
  for (const StageReport& report : examination.stages)
    rows.push_back({report.stage, report.outcome, fmt::format("{:.0f}", 1e3 * report.wall_s),
                    fmt::format("{:.0f}", 1e3 * report.device_s), counts_text(report), report.remark});
  return text_table(rows);
}

}  // namespace

std::string examination_text(const Examination& examination) {
  std::string text = describe_verdict(examination.verdict);
  if (!examination.descriptors.empty())
    text += fmt::format("kind: {}\n", describe_cell(examination.descriptors));
  if (!examination.kernels.empty()) text += "kernels:\n" + describe_resources(examination);
  if (!examination.plans.empty())
    text += fmt::format("launches at {}:\n{}", examination.plans.begin()->first,
                        launches_text(examination.plans.begin()->second));
  for (const CheckSummary& check : examination.checks)
    text += fmt::format("output {}: worst row error {:.2e}{}, over {} rows in {} trials\n", check.output,
                        check.worst_row,
                        check.gate_row > 0 ? fmt::format(" of {:.2e} allowed", check.gate_row)
                                           : std::string(" (gated by element)"),
                        check.rows, check.trials);
  for (const std::string& note : examination.notes) text += "note: " + note + "\n";
  text += stages_text(examination);
  return text;
}

std::string duel_text(const Task& task, const DeviceFacts& device, const Duel& duel) {
  std::vector<std::vector<std::string>> rows{{"workload", "time us", "p10", "p90", "n", "kind", "GB/s",
                                              "% of copy", "TFLOP/s", "% of floor", "limit"}};
  bool has_more_than_copy = false;
  for (std::size_t arm = 1; arm < duel.arms.size(); ++arm)
    rows[0].push_back("x vs " + duel.arms[arm].substr(0, 10));
  for (const Workload& workload : task.bench) {
    const auto timing = duel.timing.find(workload.name);
    if (timing == duel.timing.end() || timing->second.empty()) continue;
    const ArmTiming& own = timing->second.front();
    const RooflineShare share = roofline_share(counts_on(device, task, workload), device, own.time_us_median);
    std::vector<std::string> row{workload.name,
                                 fmt::format("{:.2f}", own.time_us_median),
                                 fmt::format("{:.2f}", own.time_us_p10),
                                 fmt::format("{:.2f}", own.time_us_p90),
                                 fmt::to_string(own.samples),
                                 own.is_modelled ? "modelled" : "measured",
                                 fmt::format("{:.0f}", share.gb_per_s),
                                 share.of_memory > 0 ? fmt::format("{:.1f}", 100 * share.of_memory) : "?",
                                 fmt::format("{:.2f}", share.tflop_per_s),
                                 share.of_floor > 0 ? fmt::format("{:.1f}", 100 * share.of_floor) : "?",
                                 std::string(share.limit)};
    const auto ratios = duel.ratio.find(workload.name);
    if (ratios != duel.ratio.end())
      for (const PairedRatio& ratio : ratios->second)
        // A modelled ratio has no spread: an interval would look like certainty.
        row.push_back(own.is_modelled
                          ? fmt::format("{:.3f}", std::exp(-ratio.log_ratio_median))
                          : fmt::format("{:.3f} [{:.3f}, {:.3f}]", std::exp(-ratio.log_ratio_median),
                                        std::exp(-ratio.log_ratio_high), std::exp(-ratio.log_ratio_low)));
    has_more_than_copy = has_more_than_copy || share.of_memory > 1.0005;
    rows.push_back(std::move(row));
  }
  return text_table(rows) +
         (has_more_than_copy
              ? "more than 100 % of copy: a copy also writes, and memory that is only read is faster\n"
              : "");
}

Json rates_json(const Task& task, const DeviceFacts& device, const Duel& duel) {
  Json json = Json::array();
  for (const Workload& workload : task.bench) {
    const auto timing = duel.timing.find(workload.name);
    if (timing == duel.timing.end() || timing->second.empty()) continue;
    const ArmTiming& own = timing->second.front();
    const RooflineShare share = roofline_share(counts_on(device, task, workload), device, own.time_us_median);
    json.push_back({{"workload", workload.name},
                    {"time_us_median", own.time_us_median},
                    {"time_us_p10", own.time_us_p10},
                    {"time_us_p90", own.time_us_p90},
                    {"samples", own.samples},
                    {"is_modelled", own.is_modelled},
                    {"gb_per_s", share.gb_per_s},
                    {"share_of_copy_rate", share.of_memory},
                    {"tflop_per_s", share.tflop_per_s},
                    {"floor_us", share.floor_us},
                    {"share_of_floor", share.of_floor},
                    {"limit", share.limit}});
  }
  return json;
}

}  // namespace kernelites
