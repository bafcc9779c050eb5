// SPDX-License-Identifier: Apache-2.0
// Why a candidate is as fast as it is, for people and as JSON: the way from its seed, and each step's reasons.
#include "tools/inspect/explain_text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>

#include "tools/inspect/change_text.h"
#include "tools/inspect/screen_text.h"
#include "tools/inspect/text_table.h"

namespace kernelites {
namespace {

std::string step_gain(const CandidateChange& change) {
  if (!change.ratio) return "not known";
  return gain_text(change.ratio->ratio, change.is_modelled) +
         (change.ratio->is_paired ? "" : " (not paired)");
}

/// In a column; the sentence is the conclusion's.
std::string_view outcome_words(const GainReasons& reasons) {
  if (reasons.workload.empty()) return "not timed with it";
  switch (reasons.explained) {
    case Explained::accounted:
      return "they account for it";
    case Explained::overlap:
      return "more at once, the same work";
    case Explained::uncounted:
      return "no counters of both";
    case Explained::unexplained:
      return "they do not explain it";
    case Explained::no_change:
      return "no difference is proven";
  }
  return "";
}

std::string where_text(const GainReasons& reasons) {
  return fmt::format(
      "at {}: {:.2f} us -> {:.2f} us, {}{}", reasons.workload, reasons.before_us, reasons.after_us,
      reasons.is_modelled ? "modelled" : "measured",
      reasons.ratio ? ", " + gain_text(*reasons.ratio, reasons.is_modelled) + " as fast" : std::string());
}

std::string fact_text(const GainFact& fact, double saved_us) {
  std::string text = fmt::format("- {} ({})", fact.words, fact_source_name(fact.source));
  if (!fact.worth_us || fact.source == FactSource::modelled) return text;
  // Facts that go against the difference are told too: they make what is to be explained larger.
  const bool is_for = (*fact.worth_us > 0) == (saved_us > 0);
  return text + fmt::format(": at the device's rate at most {:.2f} us of the {:.2f} us {}{}",
                            std::abs(*fact.worth_us), std::abs(saved_us), saved_us > 0 ? "gained" : "lost",
                            is_for ? "" : ", the other way");
}

Json reasons_json(const GainReasons& reasons) {
  Json json{{"workload", reasons.workload},
            {"gain", reasons.ratio ? gain_json(*reasons.ratio) : Json()},
            {"before_us", reasons.before_us},
            {"after_us", reasons.after_us},
            {"is_modelled", reasons.is_modelled}};
  json["facts"] = Json::array();
  for (const GainFact& fact : reasons.facts)
    json["facts"].push_back({{"source", fact_source_name(fact.source)},
                             {"words", fact.words},
                             {"worth_us", fact.worth_us ? Json(*fact.worth_us) : Json()}});
  json["explained"] = explained_name(reasons.explained);
  json["conclusion"] = reasons.conclusion;
  json["against"] = reasons.against;
  return json;
}

}  // namespace

std::string reasons_text(const GainStep& step, std::size_t columns) {
  const CandidateChange& change = step.change;
  const GainReasons& reasons = step.reasons;
  std::string text = wrapped(fmt::format("#{} against its parent #{}: {}", change.after.record.ordinal,
                                         change.before.record.ordinal, step_gain(change)),
                             columns);
  if (!change.after.record.summary.empty())
    text += wrapped("its author says: " + change.after.record.summary, columns, 2);
  text += wrapped(reasons.conclusion, columns, 2);
  if (reasons.workload.empty()) return text;
  text += wrapped(where_text(reasons), columns, 2);
  for (const GainFact& fact : reasons.facts)
    text += wrapped(fact_text(fact, reasons.before_us - reasons.after_us), columns, 4, 2);
  if (!reasons.against.empty())
    text += wrapped(fmt::format("the other way: {}", fmt::join(reasons.against, ", ")), columns, 2);
  return text;
}

std::string explain_text(const RunReader& run, const CandidateEnd& end, const std::vector<GainStep>& chain,
                         bool has_all, std::size_t columns) {
  if (chain.empty())
    return wrapped(fmt::format("#{} is a seed: {}. There is no parent to compare it with.",
                               end.record.ordinal, end.record.summary),
                   columns);
  std::string text =
      end.end.specimen.speedup > 0
          ? fmt::format("#{} is {:.3f}x as fast as the baseline{}\n\n", end.record.ordinal,
                        end.end.specimen.speedup, run.device.is_virtual ? " (modelled)" : "")
          : fmt::format("#{} was never timed ({}); `show` says what stopped it\n\n", end.record.ordinal,
                        end.record.outcome.empty() ? "not told yet" : end.record.outcome);
  std::vector<std::vector<std::string>> rows{
      {"#", "operator", "over its parent", "steps multiplied", "what the facts say"}};
  rows.push_back({fmt::to_string(chain.front().change.before.record.ordinal), "seed", "", "1.000x", ""});
  for (const GainStep& step : chain)
    rows.push_back({fmt::to_string(step.change.after.record.ordinal), step.change.after.record.operator_name,
                    step_gain(step.change),
                    step.from_seed ? gain_text(*step.from_seed, step.change.is_modelled) : "not known",
                    std::string(outcome_words(step.reasons))});
  text += text_table(rows);
  if (has_all) {
    for (const GainStep& step : chain) text += "\n" + reasons_text(step, columns);
  } else {
    text += "\n" + reasons_text(chain.back(), columns);
  }
  return text;
}

Json explain_json(const RunReader& run, const CandidateEnd& end, const std::vector<GainStep>& chain) {
  Json json{{"ordinal", end.record.ordinal},
            {"id", end.record.id},
            {"speedup", end.end.specimen.speedup},
            {"is_modelled", run.device.is_virtual},
            {"device", run.device.kind}};
  json["steps"] = Json::array();
  for (const GainStep& step : chain)
    json["steps"].push_back({{"parent", step.change.before.record.ordinal},
                             {"child", step.change.after.record.ordinal},
                             {"operator", step.change.after.record.operator_name},
                             {"summary", step.change.after.record.summary},
                             {"gain", step.change.ratio ? gain_json(step.change.ratio->ratio) : Json()},
                             {"is_paired", step.change.ratio && step.change.ratio->is_paired},
                             {"from_seed", step.from_seed ? gain_json(*step.from_seed) : Json()},
                             {"reasons", reasons_json(step.reasons)}});
  return json;
}

}  // namespace kernelites
