// SPDX-License-Identifier: Apache-2.0
// A run's evolving prompts: when a variation of the operator "meta" is due, what it studies, and what is made of it.
#include "engine/search/prompt_evolution.h"

#include <fmt/format.h>

#include "engine/search/elite_gains.h"
#include "engine/search/triage.h"

namespace kernelites {
namespace {

constexpr int k_outcomes = 12;

}  // namespace

Json study_json(const PromptStudy& study) {
  Json figures = Json::array();
  for (const PromptFigures& one : study.figures)
    figures.push_back({{"version", one.version},
                       {"variations", one.variations},
                       {"elites", one.elites},
                       {"gain_bits", one.gain_bits}});
  return {{"operator", study.operator_name},
          {"version", study.version},
          {"figures", figures},
          {"outcomes", study.outcomes}};
}

PromptStudy study_from(const Json& json) {
  PromptStudy study{.operator_name = json.at("operator"), .version = json.at("version"), .figures = {}};
  for (const Json& one : json.at("figures"))
    study.figures.push_back({.version = one.at("version"),
                             .variations = one.at("variations"),
                             .elites = one.at("elites"),
                             .gain_bits = one.at("gain_bits")});
  json.at("outcomes").get_to(study.outcomes);
  return study;
}

PromptEvolution::PromptEvolution(const PromptLibrary& files, Archive& archive,
                                 const PopulationSettings& settings)
    : archive_(archive), settings_(settings), versions_(files, archive) {
  if (settings_.every <= 0) return;
  for (const std::string& name : files.evolvable())
    progress_[name].begun = static_cast<std::int64_t>(archive_.variations_of(name).size());
  for (const VariationRecord& record : archive_.variations_of("meta"))
    begun("meta", study_from(record.decision.at("study")).operator_name);
}

void PromptEvolution::begun(const std::string& operator_name, const std::string& studied) {
  if (const auto at = progress_.find(studied); at != progress_.end()) ++at->second.rewrites;
  if (const auto at = progress_.find(operator_name); at != progress_.end()) ++at->second.begun;
}

std::vector<PromptFigures> PromptEvolution::figures(const std::string& operator_name) {
  std::vector<PromptFigures> all;
  const auto counts = archive_.variations_by_version(operator_name);
  for (const std::string& version : versions_.live(operator_name)) {
    const auto count = counts.find(version);
    all.push_back({.version = version, .variations = count == counts.end() ? 0 : count->second});
  }
  EliteGains gains;
  for (const EliteStep& step : archive_.elite_history()) {
    const EliteGain gain = gains.take(step.status, step.elite.cell, step.elite.fitness);
    if (gain.bits <= 0) continue;
    const auto candidate = archive_.candidate(step.elite.ordinal);
    const auto variation = candidate ? archive_.variation(candidate->variation) : std::nullopt;
    if (!variation || variation->operator_name != operator_name) continue;
    for (PromptFigures& one : all) {
      if (one.version != variation->prompt_version) continue;
      ++one.elites;
      one.gain_bits += gain.bits;
    }
  }
  return all;
}

/// "improved: deeper ring", "failed at sanitize (race): ...", "no kernel (edit_does_not_apply)"
std::vector<std::string> PromptEvolution::outcomes(const std::string& operator_name,
                                                   const std::string& version) const {
  std::vector<std::string> lines;
  std::map<std::uint64_t, std::string> reasons;
  for (const RejectionRecord& rejection : archive_.rejections())
    reasons[rejection.ordinal] = rejection.reason;
  for (const std::uint64_t ordinal : archive_.variations_under(operator_name, version, k_outcomes)) {
    if (const auto reason = reasons.find(ordinal); reason != reasons.end()) {
      lines.push_back(fmt::format("no kernel came of it ({})", reason->second));
      continue;
    }
    const auto evaluated = archive_.evaluated(ordinal);
    if (!evaluated || evaluated->record.told == 0) continue;
    std::string outcome = evaluated->record.outcome;
    if (outcome == k_modelled_slow) outcome = "not timed: the time model puts it far behind";
    const auto& examination = evaluated->examination;
    if (examination && examination->examination && !examination->examination->verdict.is_passed) {
      const Verdict& verdict = examination->examination->verdict;
      outcome = fmt::format("failed at {} ({})", verdict.stage, verdict.reason);
    }
    lines.push_back(fmt::format("{}: {}", outcome, evaluated->record.summary));
  }
  return lines;
}

std::optional<PromptStudy> PromptEvolution::due() {
  for (auto& [name, progress] : progress_) {
    const std::int64_t wanted = settings_.every * (progress.rewrites + 1);
    if (progress.begun < wanted || progress.begun < progress.looked_at + settings_.every / 4 + 1) continue;
    progress.looked_at = progress.begun;
    const std::vector<PromptFigures> all = figures(name);
    if (!is_rewrite_due(all, progress.begun, progress.rewrites, settings_)) continue;
    const std::string version = version_to_rewrite(all, settings_);
    return PromptStudy{
        .operator_name = name, .version = version, .figures = all, .outcomes = outcomes(name, version)};
  }
  return std::nullopt;
}

std::variant<std::string, Rejection> PromptEvolution::accept(const VariationRecord& record,
                                                             const SubmitPrompt& rewrite, double now_unix_s) {
  const PromptStudy study = study_from(record.decision.at("study"));
  std::string version =
      versions_.add(rewrite.operator_name, study.version, rewrite.regions, record.ordinal, now_unix_s);
  if (version.empty()) return Rejection{"duplicate_prompt", "the prompt is one that was tried before"};
  if (const auto old = version_to_retire(figures(rewrite.operator_name), settings_))
    versions_.retire(rewrite.operator_name, *old);
  return version;
}

}  // namespace kernelites
