// SPDX-License-Identifier: Apache-2.0
// One table per task.
#include "tools/baseline_markdown.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace kernelites {
namespace {

constexpr std::size_t k_missing_words_max = 160;

/// Its heading in the summary: a mark tells what is older than the task or its seeds.
std::string summary_name(const Task& task, const BaselineTable* table, const SeedIds& seeds) {
  return fmt::format("`{}`{}", task.name, table && is_older(*table, task, seeds) ? k_older_mark : "");
}

std::string summary_line(const Task& task, const BaselineTable* table, const SeedIds& seeds) {
  const std::string name = summary_name(task, table, seeds);
  const auto comparison = table ? compare_with_libraries(*table) : std::nullopt;
  if (!comparison)
    return fmt::format("| {} | 0 | {} | | | |\n", name, table ? "no library ran" : "not measured");
  return fmt::format("| {} | {} of {} | {:.2f} | {:.2f} | {:.2f} | {} |\n", name, comparison->workloads,
                     task.bench.size(), comparison->speedup, comparison->speedup_min, comparison->speedup_max,
                     fmt::join(comparison->libraries, ", "));
}

/// Seeds that came later, or that were left out: the fastest may be among them.
std::string untimed_seeds(const BaselineTable& table, const SeedIds& seeds) {
  std::vector<std::string> names;
  for (const auto& [name, id] : seeds) {
    const auto has_it = [&, &seed = name](const LibraryRow& row) {
      return std::any_of(row.arms.begin(), row.arms.end(),
                         [&](const LibraryArm& arm) { return arm.name == seed; });
    };
    if (name != "naive" && std::none_of(table.rows.begin(), table.rows.end(), has_it))
      names.push_back(fmt::format("`{}`", name));
  }
  return names.empty()
             ? ""
             : fmt::format("\nSeeds without a time beside libraries: {}.\n", fmt::join(names, ", "));
}

std::string section_of(const Task& task, const BaselineTable& table, const SeedIds& seeds) {
  std::string text = fmt::format("\n## {}\n\n", task.name);
  text +=
      "| workload | arm | us | p10 | p90 | n | share of the floor | fastest seed's time over the arm's |\n"
      "|---|---|---|---|---|---|---|---|\n";
  const auto cells = baseline_cells(task, table);
  for (std::size_t i = 1; i < cells.size(); ++i) {
    const std::vector<std::string>& row = cells[i];
    text += fmt::format("| {} | {} | {} | {} | {} | {} | {} % ({}) | {} |\n", row[0], row[1], row[2], row[3],
                        row[4], row[5], row[8], row[9], row[10]);
  }
  text += untimed_seeds(table, seeds);
  const std::vector<std::string> lines = missing_arms(table);
  if (!lines.empty()) text += "\nNot compared:\n\n";
  for (const std::string& line : lines) text += fmt::format("- `{}`\n", line.substr(0, k_missing_words_max));
  return text;
}

}  // namespace

std::string baseline_markdown(const std::vector<Task>& tasks, const DataRoot& data,
                              const MeasuredBaselines& measured) {
  std::string text = fmt::format(
      "# Seeds beside libraries\n\n"
      "Written by `kernelites tasks --baselines` from docs/measured/baselines_h100.json: {}, PyTorch {}, "
      "latest run {}. "
      "Times in\n"
      "microseconds, medians of interleaved rounds with a cold L2 ([how](baselines.md)). "
      "\"Fastest seed "
      "over fastest\n"
      "library\" is the library's median over the seed's: above 1 the seed is faster, geometric mean over "
      "shapes. Where "
      "nothing\n"
      "was measured no speed-up is claimed. Naive seeds are not timed here. Marked{}: the task or a timed "
      "seed "
      "has changed\n"
      "since, or the figures were kept without digests, so that nobody can tell.\n"
      "\n| task | shapes | fastest seed over fastest library | least | most | libraries "
      "|\n|---|---|---|---|---|---|\n",
      measured.device.kind, measured.torch, measured.date, k_older_mark);
  std::string sections;
  for (const Task& task : tasks) {
    const auto found = measured.tasks.find(task.name);
    const BaselineTable* const table = found == measured.tasks.end() ? nullptr : &found->second;
    const SeedIds seeds = seed_ids(task, data);
    text += summary_line(task, table, seeds);
    if (table) sections += section_of(task, *table, seeds);
  }
  return text + sections;
}

}  // namespace kernelites
