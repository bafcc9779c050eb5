// SPDX-License-Identifier: Apache-2.0
// Rows of a duel beside the roofline.
#include "tools/bench_text.h"

#include <fmt/format.h>

#include <cmath>

#include "engine/core/roofline.h"
#include "tools/baseline_bench.h"
#include "tools/inspect/text_table.h"

namespace kernelites {
namespace {

/// Times of one arm at one workload against the roofline, and against arm 0.
struct BenchRow {
  std::string workload, arm;
  ArmTiming timing;
  RooflineShare share;
  double speedup = 1, speedup_low = 1, speedup_high = 1;  ///< over arm 0
  double again = 0;        ///< how much more a second, fresh process measured; 0 where there was none
  double again_ratio = 0;  ///< the same of the ratio to arm 0
};

/// `repeated`: the same arms in another process, or null.
std::vector<BenchRow> rows_of(const Task& task, const DeviceFacts& device, const Duel& duel,
                              const std::optional<Duel>& repeated) {
  std::vector<BenchRow> rows;
  for (const Workload& workload : task.bench) {
    const auto timing = duel.timing.find(workload.name);
    if (timing == duel.timing.end()) continue;
    const auto ratios = duel.ratio.find(workload.name);
    for (std::size_t arm = 0; arm < timing->second.size(); ++arm) {
      BenchRow row{.workload = workload.name, .arm = duel.arms.at(arm), .timing = timing->second[arm]};
      row.share = roofline_share(counts_on(device, task, workload), device, row.timing.time_us_median);
      if (arm > 0 && ratios != duel.ratio.end()) {  // log(time of arm 0 / time of this arm)
        const PairedRatio& ratio = ratios->second.at(arm - 1);
        row.speedup = std::exp(ratio.log_ratio_median);
        row.speedup_low = std::exp(ratio.log_ratio_low);
        row.speedup_high = std::exp(ratio.log_ratio_high);
      }
      const auto again = repeated ? repeated->timing.find(workload.name) : duel.timing.end();
      if (repeated && again != repeated->timing.end() && arm < again->second.size())
        row.again = again->second.at(arm).time_us_median / row.timing.time_us_median - 1;
      const auto ratio_again = repeated ? repeated->ratio.find(workload.name) : duel.ratio.end();
      if (repeated && arm > 0 && ratio_again != repeated->ratio.end() && arm <= ratio_again->second.size())
        row.again_ratio = std::exp(ratio_again->second.at(arm - 1).log_ratio_median) / row.speedup - 1;
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

/// A modelled ratio is one figure: it has no interval.
std::string speedup_text(const BenchRow& row) {
  if (row.timing.is_modelled) return fmt::format("{:.3f}", row.speedup);
  return fmt::format("{:.3f} [{:.3f}, {:.3f}]", row.speedup, row.speedup_low, row.speedup_high);
}

std::string table_of(const std::vector<BenchRow>& rows, const std::string& first, bool is_repeated) {
  std::vector<std::vector<std::string>> cells{{"workload", "arm", "time us", "p10", "p90", "n", "GB/s",
                                               "TFLOP/s", "% of floor", "limit", "x vs " + first}};
  for (const BenchRow& row : rows)
    cells.push_back({row.workload, row.arm, fmt::format("{:.2f}", row.timing.time_us_median),
                     fmt::format("{:.2f}", row.timing.time_us_p10),
                     fmt::format("{:.2f}", row.timing.time_us_p90),
                     row.timing.is_modelled ? "-" : fmt::to_string(row.timing.samples),
                     fmt::format("{:.0f}", row.share.gb_per_s), fmt::format("{:.1f}", row.share.tflop_per_s),
                     row.share.of_floor > 0 ? fmt::format("{:.1f}", 100 * row.share.of_floor) : "?",
                     std::string(row.share.limit), row.arm == first ? "1" : speedup_text(row)});
  if (is_repeated) {
    cells.front().insert(cells.front().end(), {"again %", "x again %"});
    for (std::size_t i = 0; i < rows.size(); ++i) {
      cells[i + 1].push_back(fmt::format("{:+.2f}", 100 * rows[i].again));
      cells[i + 1].push_back(rows[i].arm == first ? "" : fmt::format("{:+.2f}", 100 * rows[i].again_ratio));
    }
  }
  return text_table(cells);
}

Json json_of(const BenchRow& row) {
  Json json{{"workload", row.workload},
            {"arm", row.arm},
            {"timing", row.timing},
            {"gb_per_s", row.share.gb_per_s},
            {"tflop_per_s", row.share.tflop_per_s},
            {"floor_us", row.share.floor_us},
            {"share_of_floor", row.share.of_floor},
            {"limit", row.share.limit},
            {"speedup", row.speedup},
            {"again", row.again},
            {"again_ratio", row.again_ratio}};
  if (!row.timing.is_modelled) json["speedup_interval"] = {row.speedup_low, row.speedup_high};
  return json;
}

/// Who was left out, and duels that failed.
std::string failures_text(const BenchRecord& record) {
  const auto line = [](const char* what, const Verdict& verdict) {
    return fmt::format("{}: {}: {}\n", what, verdict.reason, verdict.message);
  };
  const Duel& duel = record.timing.duel;
  std::string text;
  for (const BenchArm& arm : record.arms)
    if (!arm.verdict.is_passed)
      text += fmt::format("{} is left out: stage {} ({}): {}\n", arm.seed.name, arm.verdict.stage,
                          arm.verdict.reason, arm.verdict.message);
  if (record.timing.first) text += line("first duel", *record.timing.first);
  if (!duel.verdict.is_passed) text += line("timing ended early", duel.verdict);
  if (record.repeated && !record.repeated->verdict.is_passed)
    text += line("the second time ended early", record.repeated->verdict);
  return text;
}

}  // namespace

std::string bench_text(const Task& task, const BenchRecord& record) {
  const Duel& duel = record.timing.duel;
  std::string text = fmt::format("{} on {}, {}\n", task.name, record.device.kind,
                                 record.device.is_virtual
                                     ? "modelled: times are the model's, the same for the same --model-key"
                                     : "measured, arms interleaved in one process");
  text += failures_text(record);
  if (const int passes = passes_of(task); passes > 1)
    text += fmt::format(
        "data are gone over {} times: once from memory, and what the chip cannot hold again\n", passes);
  if (!duel.arms.empty())
    text += table_of(rows_of(task, record.device, duel, record.repeated), duel.arms.front(),
                     record.repeated.has_value());
  for (const std::string& note : duel.notes) text += note + "\n";
  for (const Json& baseline : task.baselines)
    text += fmt::format("baseline {} ({}): not measured here\n", baseline.value("name", ""),
                        baseline.value("library", ""));
  if (has_baselines(task)) text += "--baselines times those that baseline.py can run\n";
  return text;
}

Json bench_json(const Task& task, const BenchRecord& record) {
  const Duel& duel = record.timing.duel;
  Json json{{"task", task.name},         {"device", record.device}, {"is_modelled", record.device.is_virtual},
            {"passes", passes_of(task)}, {"verdict", duel.verdict}, {"notes", duel.notes}};
  if (record.timing.first) json["first_verdict"] = *record.timing.first;
  if (record.repeated) json["verdict_again"] = record.repeated->verdict;
  for (const BenchArm& arm : record.arms)
    json["arms"].push_back({{"name", arm.seed.name}, {"verdict", arm.verdict}});
  for (const BenchRow& row : rows_of(task, record.device, duel, record.repeated))
    json["rows"].push_back(json_of(row));
  return json;
}

}  // namespace kernelites
