// SPDX-License-Identifier: Apache-2.0
// Effects in and out of JSON, the shapes of their fields, and their union.
#include "engine/core/effect.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <string_view>

#include "engine/core/digest.h"
#include "engine/core/error.h"

namespace kernelites {
namespace {

constexpr std::array<const char*, 4> k_outcome_names{"faster", "alike", "slower", "failed"};
constexpr std::size_t k_code_bytes_max = 40;
constexpr std::size_t k_digest_bytes = 64;
constexpr double k_log_gain_max = 20;  // a factor of 5e8: beyond it something else was measured

bool is_lower(char c) { return c >= 'a' && c <= 'z'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }

/// "use_tensor_cores", "sm_90a", "kv_fp8_decode": no spaces, so that no sentence fits.
bool is_code(std::string_view text) {
  return !text.empty() && text.size() <= k_code_bytes_max && is_lower(text[0]) &&
         std::all_of(text.begin(), text.end(), [](char c) { return is_lower(c) || is_digit(c) || c == '_'; });
}

bool is_digest(std::string_view text) {
  return text.size() == k_digest_bytes &&
         std::all_of(text.begin(), text.end(), [](char c) { return is_digit(c) || (c >= 'a' && c <= 'f'); });
}

bool is_architecture(std::string_view text) {
  if (!text.starts_with("sm_") || text.size() > 8) return false;
  text.remove_prefix(3);
  if (!text.empty() && is_lower(text.back())) text.remove_suffix(1);
  return text.size() >= 2 && std::all_of(text.begin(), text.end(), is_digit);
}

/// Names of devices and toolkits come from the worker and are read by people only.
bool is_name(std::string_view text) {
  constexpr std::string_view k_marks = " ._-()/+";
  return !text.empty() && text.size() <= k_digest_bytes && std::all_of(text.begin(), text.end(), [&](char c) {
    return is_digit(c) || is_lower(c) || (c >= 'A' && c <= 'Z') || k_marks.find(c) != std::string_view::npos;
  });
}

bool is_log_gain(double value) { return std::isfinite(value) && std::fabs(value) <= k_log_gain_max; }

struct Field {
  const char* name;
  bool is_right;
};

/// True if `a` rather than `b` stays, of two different measurements of one change.
bool is_preferred(const Effect& a, const Effect& b) {
  const double width_a = a.log_gain_high - a.log_gain_low, width_b = b.log_gain_high - b.log_gain_low;
  if (a.outcome == EffectOutcome::failed || b.outcome == EffectOutcome::failed) {
    if (a.outcome != b.outcome) return b.outcome == EffectOutcome::failed;
  } else if (width_a != width_b) {
    return width_a < width_b;
  }
  return Json(a).dump() < Json(b).dump();
}

}  // namespace

const char* effect_outcome_name(EffectOutcome outcome) {
  return k_outcome_names.at(static_cast<std::size_t>(outcome));
}

std::string effect_id(const std::string& parent_id, const std::string& child_id,
                      const std::string& task_digest, const Effect& effect) {
  return digest_parts({parent_id, child_id, task_digest, effect.shape_class, effect.harness_version,
                       effect.toolkit, effect.device});
}

std::string effect_code(std::string_view text) {
  std::string code;
  for (const char c : text.substr(0, k_code_bytes_max)) {
    const bool is_upper = c >= 'A' && c <= 'Z';
    const char lower = is_upper ? static_cast<char>(c - 'A' + 'a') : c;
    code += is_lower(lower) || is_digit(lower) ? lower : '_';
  }
  return is_code(code) ? code : "other";
}

std::string effect_problem(const Effect& effect) {
  const Field fields[] = {
      {"id", is_digest(effect.id)},
      {"parent", is_digest(effect.parent)},
      {"pair", is_digest(effect.pair)},
      {"task", is_code(effect.task)},
      {"family", is_code(effect.family)},
      {"dtype", is_code(effect.dtype)},
      {"architecture", is_architecture(effect.architecture)},
      {"device", is_name(effect.device)},
      {"toolkit", is_name(effect.toolkit)},
      {"harness_version", is_name(effect.harness_version)},
      {"state", is_code(effect.state)},
      {"shape_class", is_code(effect.shape_class)},
      {"techniques", !effect.techniques.empty() && effect.techniques.size() <= k_effect_techniques_max &&
                         std::is_sorted(effect.techniques.begin(), effect.techniques.end()) &&
                         std::all_of(effect.techniques.begin(), effect.techniques.end(), is_code)},
      {"measures", effect.measures.size() <= k_effect_measures_max &&
                       std::all_of(effect.measures.begin(), effect.measures.end(),
                                   [](const auto& measure) {
                                     return is_code(measure.first) && std::isfinite(measure.second.first) &&
                                            std::isfinite(measure.second.second);
                                   })},
      {"parts", effect.parts >= 0 && effect.parts <= 1'000'000},
      {"rounds", effect.rounds >= 0 && effect.rounds <= 1'000'000},
      {"log_gain", is_log_gain(effect.log_gain) && is_log_gain(effect.log_gain_low) &&
                       is_log_gain(effect.log_gain_high) && effect.log_gain_low <= effect.log_gain_high},
      {"predicted_log_gain", !effect.predicted_log_gain || is_log_gain(*effect.predicted_log_gain)},
      {"measured_unix_s", std::isfinite(effect.measured_unix_s) && effect.measured_unix_s >= 0}};
  for (const Field& field : fields)
    if (!field.is_right) return fmt::format("{} is not of the shape that an effect has there", field.name);
  return "";
}

void to_json(Json& json, const Effect& effect) {
  Json measures = Json::object();
  for (const auto& [name, values] : effect.measures) measures[name] = {values.first, values.second};
  json = {{"id", effect.id},
          {"parent", effect.parent},
          {"pair", effect.pair},
          {"task", effect.task},
          {"family", effect.family},
          {"dtype", effect.dtype},
          {"architecture", effect.architecture},
          {"device", effect.device},
          {"is_modelled", effect.is_modelled},
          {"toolkit", effect.toolkit},
          {"harness_version", effect.harness_version},
          {"state", effect.state},
          {"shape_class", effect.shape_class},
          {"techniques", effect.techniques},
          {"measures", measures},
          {"is_minimal", effect.is_minimal},
          {"parts", effect.parts},
          {"outcome", effect_outcome_name(effect.outcome)},
          {"log_gain", effect.log_gain},
          {"log_gain_low", effect.log_gain_low},
          {"log_gain_high", effect.log_gain_high},
          {"rounds", effect.rounds},
          {"is_paired", effect.is_paired},
          {"predicted_log_gain", nullptr},
          {"measured_unix_s", effect.measured_unix_s}};
  if (effect.predicted_log_gain) json["predicted_log_gain"] = *effect.predicted_log_gain;
}

void from_json(const Json& json, Effect& effect) {
  json.at("id").get_to(effect.id);
  json.at("parent").get_to(effect.parent);
  json.at("pair").get_to(effect.pair);
  json.at("task").get_to(effect.task);
  json.at("family").get_to(effect.family);
  json.at("dtype").get_to(effect.dtype);
  json.at("architecture").get_to(effect.architecture);
  json.at("device").get_to(effect.device);
  json.at("is_modelled").get_to(effect.is_modelled);
  json.at("toolkit").get_to(effect.toolkit);
  json.at("harness_version").get_to(effect.harness_version);
  json.at("state").get_to(effect.state);
  json.at("shape_class").get_to(effect.shape_class);
  json.at("techniques").get_to(effect.techniques);
  effect.measures.clear();
  for (const auto& [name, values] : json.at("measures").items())
    effect.measures[name] = {values.at(0).get<double>(), values.at(1).get<double>()};
  json.at("is_minimal").get_to(effect.is_minimal);
  json.at("parts").get_to(effect.parts);
  const auto name = json.at("outcome").get<std::string>();
  const auto found = std::find(k_outcome_names.begin(), k_outcome_names.end(), name);
  if (found == k_outcome_names.end()) throw Error("an effect has an outcome that is not known");
  effect.outcome = static_cast<EffectOutcome>(found - k_outcome_names.begin());
  json.at("log_gain").get_to(effect.log_gain);
  json.at("log_gain_low").get_to(effect.log_gain_low);
  json.at("log_gain_high").get_to(effect.log_gain_high);
  json.at("rounds").get_to(effect.rounds);
  json.at("is_paired").get_to(effect.is_paired);
  effect.predicted_log_gain.reset();
  if (const Json& predicted = json.at("predicted_log_gain"); !predicted.is_null())
    effect.predicted_log_gain = predicted.get<double>();
  json.at("measured_unix_s").get_to(effect.measured_unix_s);
  if (const std::string problem = effect_problem(effect); !problem.empty()) throw Error(problem);
}

void EffectSet::add(const Effect& effect) {
  if (forgotten.contains(effect.id)) return;
  const auto [known, is_new] = effects.try_emplace(effect.id, effect);
  if (!is_new && !(known->second == effect) && is_preferred(effect, known->second)) known->second = effect;
}

void EffectSet::forget(const std::string& id) {
  forgotten.insert(id);
  effects.erase(id);
}

void EffectSet::join(const EffectSet& other) {
  for (const std::string& id : other.forgotten) forget(id);
  for (const auto& [id, effect] : other.effects) add(effect);
}

}  // namespace kernelites
