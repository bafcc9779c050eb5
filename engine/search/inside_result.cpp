// SPDX-License-Identifier: Apache-2.0
// Results of inner evaluations in and out of JSON.
#include "engine/search/inside_result.h"

#include <fmt/format.h>

#include "engine/core/error.h"

namespace kernelites {
namespace {

Json ratio_json(const PairedRatio& ratio) {
  return {{"log_ratio_median", real_to_json(ratio.log_ratio_median)},
          {"log_ratio_low", real_to_json(ratio.log_ratio_low)},
          {"log_ratio_high", real_to_json(ratio.log_ratio_high)},
          {"confidence", ratio.confidence},
          {"rounds", ratio.rounds}};
}

PairedRatio read_ratio(const Json& json) {
  return {.log_ratio_median = real_from_json(json.at("log_ratio_median")),
          .log_ratio_low = real_from_json(json.at("log_ratio_low")),
          .log_ratio_high = real_from_json(json.at("log_ratio_high")),
          .confidence = json.at("confidence").get<double>(),
          .rounds = json.at("rounds").get<int>()};
}

}  // namespace

Json inside_result_json(const InsideResult& result) {
  Json json = {{"refusal", result.refusal}, {"is_reused", result.is_reused}, {"device_s", result.device_s}};
  const Specimen& specimen = result.specimen;
  if (specimen.id.empty()) return json;
  json["specimen"] = {{"id", specimen.id},
                      {"operator_name", specimen.operator_name},
                      {"verdict", specimen.verdict},
                      {"examination", specimen.examination},
                      {"speedup", real_to_json(specimen.speedup)}};
  if (specimen.duel) json["specimen"]["duel"] = *specimen.duel;
  if (specimen.over_parent) json["specimen"]["over_parent"] = ratio_json(*specimen.over_parent);
  return json;
}

InsideResult read_inside_result(const Json& json, const Candidate& candidate) {
  try {
    InsideResult result{.specimen = {},
                        .refusal = json.at("refusal").get<std::string>(),
                        .is_reused = json.at("is_reused").get<bool>(),
                        .device_s = json.at("device_s").get<double>()};
    if (!json.contains("specimen")) return result;
    const Json& from = json.at("specimen");
    Specimen& specimen = result.specimen;
    specimen.candidate = candidate;
    from.at("id").get_to(specimen.id);
    from.at("operator_name").get_to(specimen.operator_name);
    from.at("verdict").get_to(specimen.verdict);
    from.at("examination").get_to(specimen.examination);
    specimen.speedup = real_from_json(from.at("speedup"));
    if (from.contains("duel")) specimen.duel = from.at("duel").get<Duel>();
    if (from.contains("over_parent")) specimen.over_parent = read_ratio(from.at("over_parent"));
    return result;
  } catch (const nlohmann::json::exception& error) {
    throw Error(fmt::format("run.db: a result of an inner evaluation cannot be read: {}", error.what()));
  }
}

}  // namespace kernelites
