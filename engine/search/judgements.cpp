// SPDX-License-Identifier: Apache-2.0
// To events and back.
#include "engine/search/judgements.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

namespace kernelites {
namespace {

constexpr int k_events_at_once = 1000;

}  // namespace

Judgement judgement_of(std::uint64_t ordinal, const std::vector<std::string>& grounds,
                       const std::optional<Opinion>& opinion, const std::string& model) {
  Judgement judgement{.ordinal = ordinal, .grounds = grounds, .reason = {}, .lines = {}, .model = model};
  if (!opinion) return judgement;
  judgement.opinion = opinion->is_flagged ? k_opinion_flagged : k_opinion_clean;
  judgement.reason = opinion->reason;
  judgement.lines = opinion->lines;
  return judgement;
}

Json event_of(const Judgement& judgement) {
  return {{"event", "judged"},
          {"ordinal", judgement.ordinal},
          {"grounds", judgement.grounds},
          {"opinion", judgement.opinion},
          {"reason", judgement.reason},
          {"lines", judgement.lines},
          {"model", judgement.model}};
}

std::vector<Judgement> judgements(const Archive& archive) {
  std::vector<Judgement> found;
  std::int64_t after = 0;
  for (;;) {
    const std::vector<Json> events = archive.events(after, k_events_at_once);
    for (const Json& event : events) {
      ++after;  // events are numbered without gaps
      if (event.value("event", "") != "judged") continue;
      found.push_back({.ordinal = event.at("ordinal").get<std::uint64_t>(),
                       .grounds = event.at("grounds").get<std::vector<std::string>>(),
                       .opinion = event.at("opinion").get<std::string>(),
                       .reason = event.at("reason").get<std::string>(),
                       .lines = event.at("lines").get<std::vector<int>>(),
                       .model = event.at("model").get<std::string>()});
    }
    if (events.size() < static_cast<std::size_t>(k_events_at_once)) return found;
  }
}

std::string judgement_words(const Archive& archive, std::uint64_t ordinal) {
  return judgement_words(judgements(archive), ordinal);
}

std::string judgement_words(const std::vector<Judgement>& known, std::uint64_t ordinal) {
  std::string words;
  for (const Judgement& judgement : known) {
    if (judgement.ordinal != ordinal) continue;
    words = judgement.opinion == k_opinion_none ? "no opinion" : judgement.opinion;
    if (judgement.opinion == k_opinion_flagged)
      words += fmt::format(": {}, lines {}", judgement.reason, fmt::join(judgement.lines, " "));
    words += fmt::format(" (asked because of {})", fmt::join(judgement.grounds, ", "));
  }
  return words;
}

}  // namespace kernelites
