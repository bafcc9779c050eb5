// SPDX-License-Identifier: Apache-2.0
// Portfolio and files as JSON.
#include "tools/exporting/manifest.h"

#include "engine/core/digest.h"

namespace kernelites {
namespace {

Json lineage_json(const PortfolioArm& arm) {
  Json steps = Json::array();
  for (const LineageStep& step : arm.lineage)
    steps.push_back({{"ordinal", step.ordinal},
                     {"id", step.candidate_id},
                     {"operator", step.operator_name},
                     {"endpoint", step.endpoint},
                     {"summary", step.summary}});
  return steps;
}

Json times_json(const PortfolioArm& arm) {
  Json times = Json::object();
  for (const auto& [workload, time] : arm.times)
    times[workload] = {{"timing", time.timing}, {"speedup", time.speedup}, {"duel", time.duel_id}};
  return times;
}

Json kernels_json(const Examination& examination) {
  Json kernels = Json::array();
  for (const KernelResources& kernel : examination.kernels)
    kernels.push_back({{"kernel", kernel.kernel},
                       {"registers", kernel.registers},
                       {"static_shared_bytes", kernel.static_shared_bytes},
                       {"local_bytes", kernel.local_bytes}});
  return kernels;
}

Json arm_json(const PortfolioArm& arm) {
  Json checks = Json::array();
  for (const CheckSummary& check : arm.examination.checks)
    checks.push_back({{"output", check.output},
                      {"worst_row", real_to_json(check.worst_row)},
                      {"gate_row", check.gate_row},
                      {"rows", check.rows},
                      {"trials", check.trials}});
  return {{"label", arm.label},
          {"ordinal", arm.ordinal},
          {"id", arm.candidate_id},
          {"summary", arm.summary},
          {"tuning", arm.candidate.tuning},
          {"lineage", lineage_json(arm)},
          {"verdict", arm.examination.verdict},
          {"checks", checks},
          {"descriptors", arm.examination.descriptors},
          {"kernels", kernels_json(arm.examination)},
          {"code_digest", arm.examination.code_digest},
          {"provenance", arm.provenance},
          {"champion_of", arm.champion_of},
          {"speedup", arm.speedup},
          {"times", times_json(arm)}};
}

Json ranges_json(const DispatchRule& rule) {
  Json ranges = Json::object();
  for (const DimRange& range : rule.ranges) {
    Json bounds = Json::array({range.low, nullptr});
    if (range.high < std::numeric_limits<std::int64_t>::max()) bounds[1] = range.high;
    ranges[range.dim] = bounds;
  }
  return ranges;
}

Json dispatch_json(const Portfolio& portfolio) {
  Json rules = Json::array(), shapes = Json::array();
  for (const DispatchRule& rule : portfolio.dispatch.rules)
    rules.push_back({{"ranges", ranges_json(rule)},
                     {"arm", rule.arm == k_fallback_arm
                                 ? Json("fallback")
                                 : Json(portfolio.arms.at(static_cast<std::size_t>(rule.arm)).label)},
                     {"workloads", rule.workloads}});
  for (const ShapeTimes& shape : portfolio.shapes)
    shapes.push_back({{"workload", shape.workload},
                      {"dims", shape.dims},
                      {"time_us", shape.time_us},
                      {"fallback_us", shape.fallback_us}});
  Json left_out = Json::array();
  for (const LeftOut& champion : portfolio.left_out)
    left_out.push_back({{"ordinal", champion.ordinal},
                        {"workload", champion.workload},
                        {"gain_over_what_is_called", champion.gain},
                        {"gain_min", champion.gain_min}});
  return {{"default", portfolio.arms.at(static_cast<std::size_t>(portfolio.dispatch.default_arm)).label},
          {"rules", rules},
          {"made_from", portfolio.is_confirmed  ? "the dispatcher's own measurement"
                        : portfolio.is_modelled ? "the run's duels, modelled"
                                                : "the run's duels"},
          {"is_confirmed", portfolio.is_confirmed},
          {"gain_min", portfolio.gain_min},
          {"shapes", shapes},
          {"champions_left_out", left_out},
          {"gain_over_default", dispatch_gains(portfolio.dispatch, portfolio.shapes)}};
}

}  // namespace

Json portfolio_json(const Portfolio& portfolio, const Task& task) {
  Json arms = Json::array();
  for (const PortfolioArm& arm : portfolio.arms) arms.push_back(arm_json(arm));
  return {{"task",
           {{"name", task.name}, {"title", task.title}, {"formula", task.formula}, {"digest", task.digest}}},
          {"run",
           {{"started_unix_s", portfolio.run_started},
            {"known_before", portfolio.known_before.words},
            {"baseline",
             {{"ordinal", portfolio.baseline_ordinal},
              {"id", portfolio.baseline_id},
              {"summary", portfolio.baseline_summary}}}}},
          {"is_modelled", portfolio.is_modelled},
          {"arms", arms},
          {"dispatch", dispatch_json(portfolio)}};
}

Json manifest_json(const Portfolio& portfolio, const Task& task, const std::string& target, const Json& facts,
                   const std::vector<ExportFile>& files) {
  Json manifest{{"kernelites_export", k_export_version}, {"target", target}};
  manifest.update(portfolio_json(portfolio, task));
  manifest.update(facts);
  Json digests = Json::object();
  for (const ExportFile& file : files) digests[file.path] = digest(file.bytes);
  manifest["files"] = digests;
  return manifest;
}

ExportFile manifest_file(const Json& manifest) {
  return {k_manifest_file, manifest.dump(2, ' ', false, Json::error_handler_t::replace) + "\n"};
}

}  // namespace kernelites
