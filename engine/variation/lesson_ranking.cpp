// SPDX-License-Identifier: Apache-2.0
// Improvements divided among techniques by a regression, and ranked by the lower bound of a part.
#include "engine/variation/lesson_ranking.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <optional>
#include <set>
#include <string_view>
#include <unordered_map>

#include "engine/variation/bottleneck.h"
#include "engine/variation/operator_prompt.h"
#include "engine/variation/technique_table.h"

namespace kernelites {
namespace {

constexpr double k_seconds_of_day = 86400;

/// Families whose kernels have the same inner loops.
constexpr std::string_view k_related_families[][4] = {
    {"decode", "decode_compressed", "selection", ""},
    {"prefill", "masked_prefill", "backward", "neighbourhood"},
    {"norm", "elementwise", "activation", ""}};

bool are_related(std::string_view a, std::string_view b) {
  return std::any_of(std::begin(k_related_families), std::end(k_related_families), [&](const auto& group) {
    return std::find(std::begin(group), std::end(group), a) != std::end(group) &&
           std::find(std::begin(group), std::end(group), b) != std::end(group);
  });
}

/// "long_memory": length and resource; either may agree.
bool is_shape_related(std::string_view a, std::string_view b) {
  const std::size_t at = a.find('_'), bt = b.find('_');
  if (at == std::string_view::npos || bt == std::string_view::npos) return false;
  return a.substr(0, at) == b.substr(0, bt) || a.substr(at) == b.substr(bt);
}

double shape_factor(const std::string& shape_class, const LessonQuery& query, const LessonRules& rules) {
  double factor = query.shape_classes.empty() ? 1 : rules.other_shape_class;
  for (const std::string& wanted : query.shape_classes) {
    if (wanted == shape_class) return 1;
    if (is_shape_related(wanted, shape_class)) factor = std::max(factor, rules.related_shape_class);
  }
  return factor;
}

int leading_number(std::string_view text) {
  int number = 0;
  std::from_chars(text.data(), text.data() + text.size(), number);
  return number;
}

/// "NVRTC 13.0" -> "NVRTC 13"
std::string_view major_toolkit(std::string_view toolkit) { return toolkit.substr(0, toolkit.find('.')); }

double freshness(const Effect& effect, const LessonQuery& query, const LessonRules& rules) {
  double factor = 1;
  const int versions = std::abs(leading_number(effect.harness_version) - leading_number(k_harness_version));
  if (versions > 1) return 0;  // what it calls faster may be what this harness calls wrong
  if (effect.harness_version != k_harness_version) factor *= rules.other_harness;
  if (!query.toolkit.empty() && major_toolkit(effect.toolkit) != major_toolkit(query.toolkit))
    factor *= rules.other_toolkit;
  if (query.now_unix_s <= 0) return factor;
  const double days = std::max(0.0, query.now_unix_s - effect.measured_unix_s) / k_seconds_of_day;
  return days > rules.days_max ? 0 : factor * std::exp2(-days / rules.half_life_days);
}

/// What is known of one technique.
struct Tally {
  double weight = 0, sum = 0, squares = 0;
  int helped = 0, slower = 0, failed = 0, tried = 0, predictions = 0;
  double predicted = 0, actual = 0;
  double gains = 0, gain_squares = 0;  ///< of those that it made faster

  double mean(const LessonRules& rules) const { return sum / (weight + rules.prior_weight); }
  /// Of the mean.
  double error(const LessonRules& rules) const {
    const double all = weight + rules.prior_weight, at = mean(rules);
    const double spread = squares - 2 * at * sum + at * at * weight;  // sum of w (x - mean)^2
    const double prior = rules.prior_weight * (rules.prior_deviation * rules.prior_deviation + at * at);
    return std::sqrt(std::max(0.0, spread + prior) / all / all);
  }
};

void count(Tally& tally, const Effect& effect, double weight) {
  const double gain = effect.outcome == EffectOutcome::failed ? 0 : effect.log_gain;
  tally.weight += weight;
  tally.sum += weight * gain;
  tally.squares += weight * gain * gain;
  ++tally.tried;
  if (effect.outcome == EffectOutcome::faster) {
    ++tally.helped;
    tally.gains += gain;
    tally.gain_squares += gain * gain;
  }
  tally.slower += effect.outcome == EffectOutcome::slower ? 1 : 0;
  tally.failed += effect.outcome == EffectOutcome::failed ? 1 : 0;
  if (!effect.predicted_log_gain) return;
  ++tally.predictions;
  tally.predicted += *effect.predicted_log_gain;
  tally.actual += gain;
}

/// Effects with their weights for one query: prompts ask this of whole files, so that it must be quick.
struct Weighed {
  const Effect* effect;
  double weight;
};

std::vector<Weighed> weigh(std::span<const Effect* const> effects, const LessonQuery& query,
                           const LessonRules& rules) {
  std::set<std::pair<std::string_view, std::string_view>> minimised;
  for (const Effect* effect : effects)
    if (effect->is_minimal) minimised.emplace(effect->pair, effect->shape_class);
  std::vector<Weighed> weighed;
  for (const Effect* effect : effects) {
    if (!effect->is_minimal && effect->outcome == EffectOutcome::faster &&
        minimised.contains({effect->pair, effect->shape_class}))
      continue;
    if (const double weight = relevance(*effect, query, rules); weight > 0)
      weighed.push_back({effect, weight});
  }
  return weighed;
}

/// Rows of the table of techniques, by code.
std::optional<std::size_t> row_of(std::string_view technique) {
  static const auto k_rows = [] {
    std::unordered_map<std::string_view, std::size_t> rows;
    for (const TechniqueRow& row : technique_table()) rows.emplace(row.code, rows.size());
    return rows;
  }();
  const auto found = k_rows.find(technique);
  return found == k_rows.end() ? std::nullopt : std::optional(found->second);
}

/// By row of the table.
std::vector<Tally> tallies(const std::vector<Weighed>& weighed) {
  std::vector<Tally> all(technique_table().size());
  for (const Weighed& one : weighed)
    for (const std::string& technique : one.effect->techniques)
      if (const auto row = row_of(technique))
        count(all[*row], *one.effect, one.weight / static_cast<double>(one.effect->techniques.size()));
  return all;
}

/// What each technique adds to the improvement of a change, and the standard error of that.
struct Parts {
  std::vector<double> part, error;
};

double improvement(const Effect& effect) {
  return effect.outcome == EffectOutcome::failed ? 0 : std::max(0.0, effect.log_gain);
}

/// Improvements less what changes of the same kernel brought on the average, drawn towards 0 where there are few.
std::vector<double> beyond_siblings(const std::vector<Weighed>& weighed) {
  std::map<std::pair<std::string_view, std::string_view>, std::pair<double, double>> siblings;  // sum, count
  for (const Weighed& one : weighed) {
    auto& [sum, number] = siblings[{one.effect->parent, one.effect->shape_class}];
    sum += improvement(*one.effect);
    number += 1;
  }
  std::vector<double> values;
  for (const Weighed& one : weighed) {
    const auto& [sum, number] = siblings.at({one.effect->parent, one.effect->shape_class});
    values.push_back(improvement(*one.effect) - sum / (number + 1));
  }
  return values;
}

/// Ridge regression (Hoerl and Kennard 1970) by the Cholesky factor of the normal equations.
Parts parts_of(const std::vector<Weighed>& weighed, const LessonRules& rules) {
  const std::size_t n = technique_table().size();
  std::vector<double> a(n * n, 0), b(n, 0);
  const auto at = [&](std::size_t i, std::size_t j) -> double& { return a[i * n + j]; };
  for (std::size_t i = 0; i < n; ++i) at(i, i) = rules.ridge;
  const std::vector<double> values = beyond_siblings(weighed);
  double squares = rules.part_deviation * rules.part_deviation, weight = 1;
  std::vector<std::size_t> rows;
  for (std::size_t k = 0; k < weighed.size(); ++k) {
    rows.clear();
    for (const std::string& technique : weighed[k].effect->techniques)
      if (const auto row = row_of(technique)) rows.push_back(*row);
    for (const std::size_t i : rows) {
      b[i] += weighed[k].weight * values[k];
      for (const std::size_t j : rows) at(i, j) += weighed[k].weight;
    }
    squares += weighed[k].weight * values[k] * values[k];
    weight += weighed[k].weight;
  }
  for (std::size_t j = 0; j < n; ++j) {  // a becomes its lower factor
    for (std::size_t k = 0; k < j; ++k) at(j, j) -= at(j, k) * at(j, k);
    at(j, j) = std::sqrt(at(j, j));
    for (std::size_t i = j + 1; i < n; ++i) {
      for (std::size_t k = 0; k < j; ++k) at(i, j) -= at(i, k) * at(j, k);
      at(i, j) /= at(j, j);
    }
  }
  const auto forward = [&](std::vector<double> x, std::size_t from) {
    for (std::size_t i = from; i < n; ++i) {
      for (std::size_t k = from; k < i; ++k) x[i] -= at(i, k) * x[k];
      x[i] /= at(i, i);
    }
    return x;
  };
  Parts parts{.part = forward(b, 0), .error = std::vector<double>(n)};
  for (std::size_t i = n; i-- > 0;) {
    for (std::size_t k = i + 1; k < n; ++k) parts.part[i] -= at(k, i) * parts.part[k];
    parts.part[i] /= at(i, i);
  }
  for (std::size_t t = 0; t < n; ++t) {  // the diagonal of the inverse, by columns of the factor's inverse
    std::vector<double> unit(n, 0);
    unit[t] = 1;
    double sum = 0;
    for (const double value : forward(std::move(unit), t)) sum += value * value;
    parts.error[t] = std::sqrt(sum * squares / weight);
  }
  return parts;
}

/// The value of a member that weighs most over the effects of a technique.
std::string heaviest(const std::vector<Weighed>& weighed, std::string_view technique,
                     std::string (*member)(const Effect&)) {
  std::map<std::string, double> weights;
  for (const Weighed& one : weighed)
    if (std::find(one.effect->techniques.begin(), one.effect->techniques.end(), technique) !=
        one.effect->techniques.end())
      weights[member(*one.effect)] += one.weight;
  const auto most = std::max_element(weights.begin(), weights.end(),
                                     [](const auto& a, const auto& b) { return a.second < b.second; });
  return most == weights.end() ? std::string() : most->first;
}

Lesson lesson_of(const TechniqueRow& row, const Tally& tally, bool is_warning, const LessonRules& rules) {
  constexpr double k_95 = 1.96;
  double mean = tally.mean(rules), error = tally.error(rules);
  if (!is_warning && tally.helped > 0) {
    mean = tally.gains / tally.helped;
    const double spread = tally.gain_squares / tally.helped - mean * mean;
    const double prior = rules.prior_deviation * rules.prior_deviation;
    error = std::sqrt((std::max(0.0, spread) * tally.helped + prior) / (tally.helped + 1) / tally.helped);
  }
  Lesson lesson{.technique = std::string(row.words),
                .gain_median = std::exp(mean),
                .gain_low = std::exp(mean - k_95 * error),
                .gain_high = std::exp(mean + k_95 * error),
                .helped = tally.helped,
                .tried = tally.tried,
                .slower = tally.slower,
                .failed = tally.failed,
                .code = std::string(row.code),
                .predictions = tally.predictions};
  if (tally.predictions > 0)
    lesson.predicted_over = std::exp((tally.predicted - tally.actual) / tally.predictions);
  return lesson;
}

/// Where most of a lesson's evidence is from.
void name_case(const std::vector<Weighed>& weighed, Lesson& lesson) {
  const std::string state = heaviest(weighed, lesson.code, [](const Effect& effect) { return effect.state; });
  const std::string shape_class =
      heaviest(weighed, lesson.code, [](const Effect& effect) { return effect.shape_class; });
  lesson.state = bottleneck_words(state);
  lesson.shape_class = shape_class_words(shape_class);
  lesson.architecture = heaviest(
      weighed, lesson.code, [](const Effect& effect) { return architecture_family(effect.architecture); });
}

}  // namespace

double relevance(const Effect& effect, const LessonQuery& query, const LessonRules& rules) {
  double factor = freshness(effect, query, rules);
  if (!query.state.empty() && effect.state != query.state)
    factor *= effect.state == "unknown" || query.state == "unknown" ? rules.unknown_state : rules.other_state;
  if (!query.architecture.empty() &&
      architecture_family(effect.architecture) != architecture_family(query.architecture))
    factor *= rules.other_architecture;
  if (!query.family.empty() && effect.family != query.family)
    factor *= are_related(effect.family, query.family) ? rules.related_family : rules.other_family;
  if (!query.dtype.empty() && effect.dtype != query.dtype) factor *= rules.other_dtype;
  if (effect.is_modelled != query.is_modelled) factor *= rules.other_clock;
  return factor * shape_factor(effect.shape_class, query, rules);
}

std::vector<Lesson> rank_lessons(std::span<const Effect* const> effects, const LessonQuery& query,
                                 const LessonRules& rules) {
  const std::vector<Weighed> weighed = weigh(effects, query, rules);
  const std::vector<Tally> all = tallies(weighed);
  const Parts parts = parts_of(weighed, rules);
  std::vector<Lesson> promising, warnings;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const TechniqueRow& row = technique_table()[i];
    if (row.measure.empty() || all[i].weight < rules.weight_min) continue;
    const double part = parts.part[i], error = rules.bound * parts.error[i];
    const bool is_warning = part + error < 0;
    if (part <= 0 && !is_warning) continue;
    Lesson lesson = lesson_of(row, all[i], is_warning, rules);
    lesson.promise = part;
    lesson.log_gain_bound = part - error;
    (is_warning ? warnings : promising).push_back(std::move(lesson));
  }
  std::stable_sort(promising.begin(), promising.end(),
                   [](const Lesson& a, const Lesson& b) { return a.log_gain_bound > b.log_gain_bound; });
  std::stable_sort(warnings.begin(), warnings.end(),
                   [](const Lesson& a, const Lesson& b) { return a.log_gain_bound < b.log_gain_bound; });
  if (promising.size() > query.count_max) promising.resize(query.count_max);
  if (warnings.size() > rules.warnings_max) warnings.resize(rules.warnings_max);
  promising.insert(promising.end(), warnings.begin(), warnings.end());
  for (Lesson& lesson : promising) name_case(weighed, lesson);
  return promising;
}

std::optional<double> predict_log_gain(std::span<const Effect* const> effects, const Effect& change,
                                       const LessonRules& rules) {
  const LessonQuery query{.task = change.task,
                          .architecture = change.architecture,
                          .family = change.family,
                          .dtype = change.dtype,
                          .state = change.state,
                          .shape_classes = {change.shape_class},
                          .is_modelled = change.is_modelled,
                          .toolkit = change.toolkit,
                          .now_unix_s = change.measured_unix_s};
  const std::vector<Tally> all = tallies(weigh(effects, query, rules));
  double sum = 0;
  int known = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    const std::string_view code = technique_table()[i].code;
    if (std::find(change.techniques.begin(), change.techniques.end(), code) == change.techniques.end())
      continue;
    if (all[i].weight < rules.weight_min) continue;
    sum += all[i].mean(rules);
    ++known;
  }
  return known == 0 ? std::nullopt : std::optional(sum / known);
}

LessonQuery lesson_query(const VariationInput& input) {
  LessonQuery query{.task = input.task.name,
                    .architecture = architecture_family(input.device.architecture),
                    .family = effect_code(input.task.family),
                    .dtype = dtype_of(input.task),
                    .state = bottleneck_of(input.task, input.device, input.parent),
                    .is_modelled = input.device.is_virtual};
  for (const Workload& workload : input.task.bench) {
    std::string shape_class = shape_class_of(input.task, input.device, workload);
    if (std::find(query.shape_classes.begin(), query.shape_classes.end(), shape_class) ==
        query.shape_classes.end())
      query.shape_classes.push_back(std::move(shape_class));
  }
  return query;
}

}  // namespace kernelites
