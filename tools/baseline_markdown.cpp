// SPDX-License-Identifier: Apache-2.0
// One table per task.
#include "tools/baseline_markdown.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace kernelites {
namespace {

constexpr std::size_t k_missing_words_max = 160;

std::string summary_of(const std::vector<Task>& tasks, const MeasuredBaselines& measured) {
  std::string text =
      "\n| task | shapes | fastest seed over fastest library | least | most | libraries "
      "|\n|---|---|---|---|---|---|\n";
  for (const Task& task : tasks) {
    const auto table = measured.tasks.find(task.name);
    const auto comparison =
        table == measured.tasks.end() ? std::nullopt : compare_with_libraries(table->second);
    if (!comparison) {
      text += fmt::format("| `{}` | 0 | {} | | | |\n", task.name,
                          table == measured.tasks.end() ? "not measured" : "no library ran");
      continue;
    }
    text +=
        fmt::format("| `{}` | {} of {} | {:.2f} | {:.2f} | {:.2f} | {} |\n", task.name, comparison->workloads,
                    task.bench.size(), comparison->speedup, comparison->speedup_min, comparison->speedup_max,
                    fmt::join(comparison->libraries, ", "));
  }
  return text;
}

}  // namespace

std::string baseline_markdown(const std::vector<Task>& tasks, const MeasuredBaselines& measured) {
  std::string text = fmt::format(
      "# Seeds beside libraries\n\n"
      "Written by `kernelites tasks --baselines` from docs/measured/baselines_h100.json: {}, PyTorch {}, {}. "
      "Times in\n"
      "microseconds, medians of interleaved rounds with a cold L2 ([how](baselines.md)). "
      "\"Fastest seed "
      "over fastest\n"
      "library\" is the library's time over the seed's: above 1 the seed is faster, geometric mean over "
      "shapes. Where "
      "nothing\n"
      "was measured no speed-up is claimed. Naive seeds are not timed here.\n",
      measured.device.kind, measured.torch, measured.date);
  text += summary_of(tasks, measured);
  for (const Task& task : tasks) {
    const auto table = measured.tasks.find(task.name);
    if (table == measured.tasks.end()) continue;
    text += fmt::format("\n## {}\n\n", task.name);
    text +=
        "| workload | arm | us | p10 | p90 | n | share of the floor | fastest seed's time over the arm's |\n"
        "|---|---|---|---|---|---|---|---|\n";
    const auto cells = baseline_cells(task, table->second);
    for (std::size_t i = 1; i < cells.size(); ++i) {
      const std::vector<std::string>& row = cells[i];
      text += fmt::format("| {} | {} | {} | {} | {} | {} | {} % ({}) | {} |\n", row[0], row[1], row[2],
                          row[3], row[4], row[5], row[8], row[9], row[10]);
    }
    const std::vector<std::string> lines = missing_arms(table->second);
    if (!lines.empty()) text += "\nNot compared:\n\n";
    for (const std::string& line : lines)
      text += fmt::format("- `{}`\n", line.substr(0, k_missing_words_max));
  }
  return text;
}

}  // namespace kernelites
