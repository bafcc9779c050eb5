// SPDX-License-Identifier: Apache-2.0
// Wishes to candidates, results to the record and then to the agent.
#include "engine/search/inside_evaluations.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/core/error.h"
#include "engine/search/inside_result.h"
#include "engine/variation/tuning.h"

namespace kernelites {

std::optional<Evaluated> InsideEvaluations::begin(const InputSource& source, std::uint64_t variation,
                                                  const std::string& prompt_digest,
                                                  const EvaluateInside& wanted, std::int64_t reserved) {
  Episode& episode = episodes_[variation];
  KERNELITES_ASSERT(episode.slots.empty() && !wanted.wishes.empty());
  for (const InsideWish& wish : wanted.wishes) {
    Slot slot{.wish = wish, .id = {}, .position = episode.wishes++, .result = {}};
    slot.wish.candidate = with_full_tuning(slot.wish.candidate);
    slot.id = candidate_id(slot.wish.candidate);
    if (auto known = recorded(variation, slot)) {
      episode.told_s[slot.id] += known->device_s;
      slot.result = std::move(known);
    } else if (auto result = begin_one(source, variation, prompt_digest, slot, reserved)) {
      keep(variation, episode, slot, std::move(*result));
    }
    episode.slots.push_back(std::move(slot));
  }
  return take_all(episode);
}

std::optional<std::pair<std::uint64_t, Evaluated>> InsideEvaluations::on_evaluated(const InputSource& source,
                                                                                   std::uint64_t ordinal) {
  for (auto& [variation, episode] : episodes_)
    for (Slot& slot : episode.slots) {
      if (slot.result || slot.ordinal != ordinal) continue;
      const auto record = parts_.archive.candidate(ordinal);
      KERNELITES_ASSERT(record.has_value());
      keep(variation, episode, slot, result_of(source, episode, *record, slot.wish.step));
      if (auto all = take_all(episode)) return std::pair{variation, std::move(*all)};
      return std::nullopt;
    }
  return std::nullopt;
}

/// What the agent was told by an earlier session, unless it wanted something else then.
std::optional<InsideResult> InsideEvaluations::recorded(std::uint64_t variation, const Slot& slot) const {
  const auto record = parts_.archive.inside_result(variation, slot.position);
  if (!record) return std::nullopt;
  if (record->candidate_id == slot.id && record->step == inside_step_name(slot.wish.step))
    return read_inside_result(record->result, slot.wish.candidate);
  announcer_.announce(
      {{"event", "incident"},
       {"message",
        fmt::format("variation {} takes another course than before it was interrupted", variation)}});
  return std::nullopt;
}

/// The result at once if nothing has to be evaluated.
std::optional<InsideResult> InsideEvaluations::begin_one(const InputSource& source, std::uint64_t variation,
                                                         const std::string& prompt_digest, Slot& slot,
                                                         std::int64_t reserved) {
  const auto refused = [](std::string why) {
    return InsideResult{.specimen = {}, .refusal = std::move(why)};
  };
  auto known = parts_.archive.find_candidate(slot.id);
  if (known && known->outcome == "unfinished" && parts_.archive.take_up(known->ordinal, variation)) {
    known = parts_.archive.candidate(known->ordinal);
    announcer_.announce({{"event", "taken_up"}, {"ordinal", known->ordinal}, {"variation", variation}});
  }
  if (known && known->variation != variation && known->told == 0)
    return refused("another variation is having this kernel evaluated");
  if (known && known->told > 0) {
    const bool is_own = known->variation == variation;
    InsideResult result =
        result_of(source, episodes_[variation], *known, is_own ? slot.wish.step : InsideStep::time);
    result.is_reused = !is_own;
    if (!is_own) result.device_s = 0;
    return result;
  }
  if (!known) {
    if (std::string why = refusal(reserved); !why.empty()) return refused(std::move(why));
    known = record_new(variation, prompt_digest, slot);
  }
  slot.ordinal = known->ordinal;
  requests_.push_back({*known, slot.wish.step});
  return std::nullopt;
}

CandidateRecord InsideEvaluations::record_new(std::uint64_t variation, const std::string& prompt_digest,
                                              const Slot& slot) {
  CandidateRecord record;
  record.ordinal = parts_.archive.next_ordinal();
  record.id = slot.id;
  record.variation = variation;
  record.candidate = slot.wish.candidate;
  record.summary = slot.wish.summary;
  record.prompt_digest = prompt_digest;
  record.created_unix_s = announcer_.now_unix_s();
  const bool is_recorded = parts_.archive.record_candidate(record);
  KERNELITES_ASSERT(is_recorded);
  announcer_.announce({{"event", "submitted"},
                       {"ordinal", record.ordinal},
                       {"id", record.id},
                       {"summary", record.summary},
                       {"variation", variation}});
  return *parts_.archive.candidate(record.ordinal);
}

/// Why no further candidate may be evaluated; empty if one may.
std::string InsideEvaluations::refusal(std::int64_t reserved) const {
  const BudgetLimits& limits = parts_.config.budget;
  const Spent spent = parts_.archive.spent();
  if (limits.candidates > 0 && spent.candidates - spent.seeds + reserved >= limits.candidates)
    return "the run's budget of candidates is used up";
  if (limits.device_s > 0 && spent.device_s >= limits.device_s)
    return "the run's budget of device time is used up";
  return "";
}

/// The cost is what was not told of this candidate before: a `time` that had to check first tells both.
InsideResult InsideEvaluations::result_of(const InputSource& source, const Episode& episode,
                                          const CandidateRecord& record, InsideStep step) const {
  InsideResult result = inner_result(source, record, step);
  const auto told = episode.told_s.find(record.id);
  if (told != episode.told_s.end()) result.device_s = std::max(0.0, result.device_s - told->second);
  return result;
}

void InsideEvaluations::keep(std::uint64_t variation, Episode& episode, Slot& slot, InsideResult result) {
  parts_.archive.record_inside_result({.variation = variation,
                                       .position = slot.position,
                                       .candidate_id = slot.id,
                                       .step = inside_step_name(slot.wish.step),
                                       .result = inside_result_json(result)});
  episode.told_s[slot.id] += result.device_s;
  slot.result = std::move(result);
}

std::optional<Evaluated> InsideEvaluations::take_all(Episode& episode) {
  Evaluated evaluated;
  for (const Slot& slot : episode.slots)
    if (!slot.result) return std::nullopt;
  for (Slot& slot : episode.slots) evaluated.results.push_back(std::move(*slot.result));
  episode.slots.clear();
  return evaluated;
}

}  // namespace kernelites
