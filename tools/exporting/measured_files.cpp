// SPDX-License-Identifier: Apache-2.0
// Reads files that came from another machine: every member is checked.
#include "tools/exporting/measured_files.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/core/error.h"

namespace kernelites {
namespace {

double time_in(const Json& row, const std::string& subject) {
  return row.contains(subject) ? row.at(subject).at("time_us_median").get<double>() : 0;
}

ShapeTimes shape_from(const Json& row, const Portfolio& portfolio, const Task& task) {
  const Workload* const workload = task.find_workload(row.at("workload").get<std::string>());
  if (workload == nullptr) throw Error("a workload is not the task's");
  ShapeTimes shape{
      .workload = workload->name, .dims = {}, .time_us = {}, .fallback_us = 0, .weight = workload->weight};
  const std::vector<std::string> dims = variable_dims(task);
  for (std::size_t i = 0; i < dims.size(); ++i)
    shape.dims[dims[i]] = row.at("dims").at(i).get<std::int64_t>();
  for (const PortfolioArm& arm : portfolio.arms) shape.time_us.push_back(time_in(row, arm.label));
  for (const ShapeTimes& known : portfolio.shapes)
    if (known.workload == shape.workload) shape.fallback_us = known.fallback_us;
  return shape;
}

}  // namespace

MeasuredBench read_bench(const std::filesystem::path& file, const Portfolio& portfolio, const Task& task) {
  MeasuredBench bench;
  try {
    bench.document = Json::parse(read_text(file));
    if (bench.document.at("kernelites_bench") != 1) throw Error("it is of another version");
    const auto arms = bench.document.at("arms").get<std::vector<std::string>>();
    const bool is_same =
        arms.size() == portfolio.arms.size() &&
        std::equal(arms.begin(), arms.end(), portfolio.arms.begin(),
                   [](const std::string& id, const PortfolioArm& arm) { return id == arm.candidate_id; });
    if (!is_same)
      throw Error(fmt::format(
          "it measured other kernels than this run's portfolio has now, by --gain {:g}; --gain, --elite and "
          "--fallback-times choose them, and must be those of the export that was measured (MANIFEST.json "
          "there has its gain_min)",
          portfolio.gain_min));
    for (const Json& row : bench.document.at("workloads"))
      bench.shapes.push_back(shape_from(row, portfolio, task));
    if (bench.shapes.empty()) throw Error("it has no workload");
  } catch (const ConfigError&) {
    throw;
  } catch (const std::exception& error) {
    throw ConfigError("--confirm", file.string(),
                      fmt::format("is no output of an exported bench: {}", error.what()));
  }
  return bench;
}

Json read_findings(const std::filesystem::path& file) {
  std::string text = read_text(file);
  while (!text.empty() && text.back() == '\n') text.pop_back();
  const std::size_t line = text.rfind('\n');
  const Json findings = Json::parse(line == std::string::npos ? text : text.substr(line + 1), nullptr, false);
  if (findings.is_discarded() || !findings.is_object() || !findings.contains("is_deterministic"))
    throw ConfigError("--tested", file.string(), "is no output of an exported regression test");
  return findings;
}

std::map<std::string, double> read_fallback_times(const std::filesystem::path& file, const Task& task) {
  std::map<std::string, double> times;
  const Json json = read_json(file);
  if (!json.is_object())
    throw ConfigError("--fallback-times", file.string(), "expected {workload: microseconds}");
  for (const auto& [workload, time_us] : json.items()) {
    const bool is_bench = std::any_of(task.bench.begin(), task.bench.end(),
                                      [&](const Workload& known) { return known.name == workload; });
    if (!is_bench || !time_us.is_number() || time_us.get<double>() <= 0)
      throw ConfigError("--fallback-times", workload,
                        "expected a bench workload of the task and microseconds");
    times[workload] = time_us.get<double>();
  }
  return times;
}

}  // namespace kernelites
