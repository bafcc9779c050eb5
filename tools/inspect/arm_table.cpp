// SPDX-License-Identifier: Apache-2.0
// The same history that a resumed run would read, shown instead of used.
#include "tools/inspect/arm_table.h"

#include <fmt/format.h>

#include <set>

#include "engine/core/digest.h"
#include "engine/core/error.h"
#include "engine/search/run_folder.h"
#include "engine/search/search_history.h"
#include "engine/search/steering.h"
#include "tools/inspect/screen_text.h"
#include "tools/inspect/text_table.h"

namespace kernelites {
namespace {

/// What has no name in the run yet cannot be checked from here: what the file names is taken as it is.
Steering read_steering(const std::filesystem::path& file, const std::vector<ArmLedger>& ledgers,
                       const Grid& grid) {
  if (!std::filesystem::exists(file)) return {};
  const Json json = read_json(file);
  SteeringNames names;
  for (const ArmLedger& arm : ledgers) names.endpoints.insert(arm.endpoint);
  if (json.is_object() && json.contains("endpoints") && json.at("endpoints").is_object())
    for (const auto& [name, factor] : json.at("endpoints").items()) names.endpoints.insert(name);
  names.cells.insert(grid.cells().begin(), grid.cells().end());
  return parse_steering(json, file.string(), names);
}

/// Arms as the run would weigh them; of several prompt versions each has its part.
std::vector<ArmWeight> weights_of(const std::vector<ArmLedger>& ledgers, const RunConfig& config,
                                  const Steering& steering) {
  std::map<std::string, double> operators = config.operators;
  for (const auto& [name, share] : steering.operators) operators[name] = share;
  std::set<std::string> endpoints;
  for (const ArmLedger& arm : ledgers)
    if (!arm.endpoint.empty()) endpoints.insert(arm.endpoint);
  std::vector<ArmWeight> weights;
  for (const ArmWeight& one :
       arm_weights(operators, {endpoints.begin(), endpoints.end()}, steering.endpoints)) {
    std::vector<const ArmLedger*> versions;
    for (const ArmLedger& arm : ledgers)
      if (arm.operator_name == one.arm.operator_name && arm.endpoint == one.arm.endpoint)
        versions.push_back(&arm);
    for (const ArmLedger* arm : versions)
      weights.push_back({{arm->operator_name, arm->endpoint, arm->prompt_version},
                         one.weight / static_cast<double>(versions.size())});
  }
  return weights;
}

}  // namespace

ArmTable arm_table(const RunReader& run, const RunConfig& config, const std::string& folder) {
  Database database(RunFolder{folder}.database(), Database::Mode::read_only);
  database.execute("BEGIN");
  return arm_table(run, config, folder, database);
}

ArmTable arm_table(const RunReader& run, const RunConfig& config, const std::string& folder,
                   Database& database) {
  ArmTable table;
  SearchHistory history(run.archive, history_settings(config));
  if (const auto rows = read_history_rows(database)) {
    history.take(*rows);
  } else {
    history.read_rejections();
    history.catch_up();
  }
  table.stagnation = history.stagnation();
  const std::vector<ArmLedger> ledgers = run.archive.arms();
  table.steering_revision = steering_revision(folder);
  Steering steering;
  try {
    steering = read_steering(RunFolder{folder}.steering(), ledgers, run.archive.grid());
  } catch (const Error& error) {
    table.steering_problem = error.what();
  }
  table.steering = steering_json(steering);
  const std::vector<ArmWeight> weights = weights_of(ledgers, config, steering);
  const std::vector<double> shares = history.bandit().shares(weights);
  const auto totals = history.bandit().totals();
  for (const ArmLedger& ledger : ledgers) {
    const Arm arm{ledger.operator_name, ledger.endpoint, ledger.prompt_version};
    ArmRow row{.ledger = ledger, .recent_gain = history.bandit().recent_gain(arm)};
    if (const auto sums = totals.find(arm); sums != totals.end())
      row.gain_ubits = static_cast<double>(sums->second.gain_ubits);
    for (std::size_t i = 0; i < weights.size(); ++i)
      if (weights[i].arm == arm) row.share = shares[i];
    table.rows.push_back(std::move(row));
  }
  return table;
}

Json arms_json(const ArmTable& table) {
  Json arms = Json::array();
  for (const ArmRow& row : table.rows) {
    Json arm = row.ledger;
    arm["gain_bits"] = row.gain_ubits / 1e6;
    arm["recent_bits_per_usd"] = row.ledger.calls.usd > 0 ? Json(row.recent_gain) : Json();
    arm["share"] = row.share;
    arms.push_back(std::move(arm));
  }
  return arms;
}

std::string steering_revision(const std::string& folder) {
  const std::filesystem::path file = RunFolder{folder}.steering();
  return std::filesystem::exists(file) ? digest(read_text(file)).substr(0, 16) : "none";
}

Json stagnation_json(const ArmTable& table) {
  Json stagnation = forecast_json(table.stagnation.forecast());
  stagnation["barren"] = table.stagnation.barren();
  Json json{{"stagnation", std::move(stagnation)},
            {"steering", table.steering},
            {"steering_revision", table.steering_revision}};
  if (!table.steering_problem.empty()) json["steering_problem"] = table.steering_problem;
  return json;
}

std::string stagnation_text(const ArmTable& table) {
  std::string text = fmt::format("stagnation  {} variations since the last faster elite; {}\n",
                                 table.stagnation.barren(), forecast_text(table.stagnation.forecast()));
  if (!table.steering_problem.empty())
    text += "steering    refused: " + table.steering_problem + "\n";
  else if (!table.steering.empty())
    text += "steering    " + table.steering.dump() + "\n";
  return text;
}

std::string arms_text(const ArmTable& table) {
  std::vector<std::vector<std::string>> rows{
      {"operator", "endpoint", "prompt", "share", "asked", "refused", "candidates", "passed", "elites",
       "bits", "bits/usd", "calls", "failed", "tokens in", "cached", "out", "thought", "usd", "device s"}};
  for (const ArmRow& row : table.rows) {
    const ArmLedger& arm = row.ledger;
    rows.push_back({clean_line(arm.operator_name), arm.endpoint.empty() ? "-" : clean_line(arm.endpoint),
                    arm.prompt_version.empty() ? "-" : clean_line(arm.prompt_version),
                    fmt::format("{:.0f} %", 100 * row.share), fmt::to_string(arm.variations),
                    fmt::to_string(arm.rejections), fmt::to_string(arm.candidates),
                    fmt::to_string(arm.passed), fmt::to_string(arm.elites),
                    fmt::format("{:.3f}", row.gain_ubits / 1e6),
                    // Of what cost nothing there is no ratio; the bandit takes a least price then.
                    arm.calls.usd > 0 ? fmt::format("{:.3g}", row.recent_gain) : "-",
                    fmt::to_string(arm.calls.calls), fmt::to_string(arm.calls.failed),
                    fmt::to_string(arm.calls.input_tokens), fmt::to_string(arm.calls.cached_input_tokens),
                    fmt::to_string(arm.calls.output_tokens), fmt::to_string(arm.calls.reasoning_tokens),
                    fmt::format("{:.4f}", arm.calls.usd), fmt::format("{:.1f}", arm.device_s)});
  }
  return text_table(rows);
}

}  // namespace kernelites
