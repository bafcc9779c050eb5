// SPDX-License-Identifier: Apache-2.0
// Counting told events.
#include "tools/inspect/triage_tally.h"

#include <fmt/format.h>

namespace kernelites {
namespace {

constexpr int k_events_at_once = 1000;

void count_event(const Json& event, TriageTally& tally) {
  if (event.value("event", "") != "told" || !event.contains("modelled_lag")) return;
  ++tally.modelled;
  const std::string triage = event.value("triage", "");
  if (triage == "left_out") ++tally.left_out;
  if (triage != "timed") return;
  ++tally.timed;
  const std::string outcome = event.value("outcome", "");
  const bool is_champion = event.contains("champion_of") && !event.at("champion_of").empty();
  if (outcome == "added" || outcome == "improved" || is_champion) ++tally.wrong;
}

}  // namespace

TriageTally triage_tally(const Archive& archive) {
  TriageTally tally;
  for (std::int64_t after = 0;;) {
    const std::vector<Json> events = archive.events(after, k_events_at_once);
    if (events.empty()) return tally;
    for (const Json& event : events) count_event(event, tally);
    after += static_cast<std::int64_t>(events.size());  // sequences are 1, 2, ...
  }
}

std::string triage_words(const TriageTally& tally, const TriageSettings& settings) {
  return fmt::format(
      "{}: {} of {} modelled candidates left out; of {} as far behind that were timed all the same {} "
      "entered",
      settings.mode, tally.left_out, tally.modelled, tally.timed, tally.wrong);
}

}  // namespace kernelites
