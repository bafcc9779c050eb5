// SPDX-License-Identifier: Apache-2.0
// A ranking for people and as JSON.
#include "tools/rank/rank_text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "tools/inspect/screen_text.h"
#include "tools/inspect/text_table.h"

namespace kernelites {
namespace {

constexpr std::size_t k_name_columns = 44;
constexpr double k_copies_told = 0.1;  // of the span: then they may be what kernels wait for

/// Of what is nearly all of the time there is no telling.
std::string limit_text(double speedup) { return speedup < 1000 ? fmt::format("{:.3f}x", speedup) : "any"; }

std::string bound_text(const KernelBound& bound) {
  if (bound.resource.empty()) return "?";
  if (!bound.is_by_shape) return bound.resource + " (its kind)";
  return fmt::format("{} ({:.0f} % of peak)", bound.resource, 100 * bound.of_peak);
}

std::string head_text(const KernelTrace& trace, const KernelRanking& ranking) {
  std::string text = clean_line(fmt::format("{}{}: {} launches of {} kernels, {:.3f} ms of kernels",
                                            trace.format, trace.device.empty() ? "" : " of " + trace.device,
                                            trace.launches, ranking.kernels.size(), trace.kernel_us * 1e-3)) +
                     "\n";
  const double whole_us = trace.span_us * std::max(trace.gpus, 1);
  const std::string gpus = trace.gpus > 1 ? fmt::format("the {} GPUs run", trace.gpus) : "the GPU runs";
  if (whole_us > 0)
    text += fmt::format("{} kernels {:.1f} % of {:.3f} ms from the first to the last", gpus,
                        100 * trace.busy_us / whole_us, trace.span_us * 1e-3);
  if (whole_us > 0 && trace.busy_us < 0.8 * whole_us)
    text += fmt::format("; the rest waits for {}the host, and no faster kernel helps there",
                        trace.copy_us > k_copies_told * whole_us ? "copies or " : "");
  text += "\n";
  if (trace.copy_us > 0)
    text += fmt::format("copies and fills take {:.3f} ms beside them\n", trace.copy_us * 1e-3);
  return text;
}

std::string kernels_text(const KernelRanking& ranking, std::size_t count_max) {
  std::vector<std::vector<std::string>> rows{{"kernel", "launches", "ms", "% of GPU", "ms alone",
                                              fmt::format("whole if {:g}x", ranking.factor), "at most",
                                              "bound by", "task"}};
  double rest_us = 0;
  std::size_t left = 0;
  for (const RankedKernel& kernel : ranking.kernels) {
    if (rows.size() > count_max) {
      rest_us += kernel.share;
      ++left;
      continue;
    }
    rows.push_back({cut_to(clean_line(kernel.name), k_name_columns), fmt::to_string(kernel.launches),
                    fmt::format("{:.3f}", kernel.total_us * 1e-3), fmt::format("{:.1f}", 100 * kernel.share),
                    fmt::format("{:.3f}", kernel.alone_us * 1e-3),
                    fmt::format("{:.3f}x", kernel.speedup_if_faster), limit_text(kernel.speedup_limit),
                    bound_text(kernel.bound), kernel.task.empty() ? "-" : kernel.task});
  }
  std::string text = text_table(rows);
  if (left > 0) text += fmt::format("and {} more kernels, {:.1f} % of the GPU's time\n", left, 100 * rest_us);
  return text +
         "whole: from the first kernel to the last, waiting included; it gains at most what a kernel runs "
         "alone\n";
}

/// The runs that are worth it, and why the others are not.
std::string runs_text(const KernelRanking& ranking) {
  std::string worth, not_worth;
  for (const RankedTask& task : ranking.tasks) {
    if (task.speedup_if_faster < k_worth_a_run) {
      not_worth +=
          fmt::format("{}{} ({:.3f}x)", not_worth.empty() ? "" : ", ", task.task, task.speedup_if_faster);
      continue;
    }
    worth += "  " + run_command_line(task.task) + "\n";
    if (!task.note.empty()) worth += "    " + task.note + "\n";
  }
  std::string text;
  if (!worth.empty()) text += "Start the run that is worth most:\n" + worth;
  if (!not_worth.empty())
    text += fmt::format("Not worth a run, as the whole would gain less than {:.0f} %: {}\n",
                        100 * (k_worth_a_run - 1), not_worth);
  return text;
}

std::string tasks_text(const KernelRanking& ranking) {
  if (ranking.tasks.empty())
    return "No task covers any of these kernels. `kernelites new-task NAME` makes one of your own.\n";
  std::vector<std::vector<std::string>> rows{
      {"task", "% of GPU", "ms alone", fmt::format("whole if {:g}x", ranking.factor), "at most", "kernels"}};
  for (const RankedTask& task : ranking.tasks)
    rows.push_back({task.task, fmt::format("{:.1f}", 100 * task.share),
                    fmt::format("{:.3f}", task.alone_us * 1e-3),
                    fmt::format("{:.3f}x", task.speedup_if_faster), limit_text(task.speedup_limit),
                    cut_to(clean_line(fmt::format("{}", fmt::join(task.kernels, ", "))), 60)});
  std::string text = fmt::format("Tasks cover {:.1f} % of the GPU's time:\n", 100 * ranking.covered_share) +
                     text_table(rows);
  return text + "\n" + runs_text(ranking);
}

Json kernel_json(const RankedKernel& kernel) {
  return {{"name", kernel.name},
          {"full_name", kernel.full_name},
          {"operation", kernel.operation},
          {"kind", kernel.kind ? Json(kernel.kind->kind) : Json()},
          {"launches", kernel.launches},
          {"total_us", kernel.total_us},
          {"share", kernel.share},
          {"alone_us", kernel.alone_us},
          {"speedup_if_faster", kernel.speedup_if_faster},
          {"speedup_limit", kernel.speedup_limit},
          {"bound", kernel.bound.resource},
          {"is_bound_by_shape", kernel.bound.is_by_shape},
          {"of_peak", kernel.bound.of_peak},
          {"task", kernel.task.empty() ? Json() : Json(kernel.task)}};
}

}  // namespace

std::string run_command_line(const std::string& task) {
  return fmt::format("kernelites run --task {0} --out runs/{0}", task);
}

std::string rank_text(const KernelTrace& trace, const KernelRanking& ranking, std::size_t count_max) {
  return head_text(trace, ranking) + "\n" + kernels_text(ranking, count_max) + "\n" + tasks_text(ranking);
}

Json rank_json(const KernelTrace& trace, const KernelRanking& ranking, std::size_t count_max) {
  Json json{{"format", trace.format},     {"device", trace.device},
            {"launches", trace.launches}, {"kernel_us", trace.kernel_us},
            {"busy_us", trace.busy_us},   {"gpus", trace.gpus},
            {"span_us", trace.span_us},   {"copy_us", trace.copy_us},
            {"factor", ranking.factor},   {"covered_share", ranking.covered_share}};
  json["kernels"] = Json::array();
  for (std::size_t i = 0; i < std::min(count_max, ranking.kernels.size()); ++i)
    json["kernels"].push_back(kernel_json(ranking.kernels[i]));
  json["tasks"] = Json::array();
  for (const RankedTask& task : ranking.tasks)
    json["tasks"].push_back({{"task", task.task},
                             {"share", task.share},
                             {"alone_us", task.alone_us},
                             {"speedup_if_faster", task.speedup_if_faster},
                             {"speedup_limit", task.speedup_limit},
                             {"kernels", task.kernels},
                             {"note", task.note},
                             {"is_worth_a_run", task.speedup_if_faster >= k_worth_a_run},
                             {"command", run_command_line(task.task)}});
  return json;
}

}  // namespace kernelites
