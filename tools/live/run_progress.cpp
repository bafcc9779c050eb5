// SPDX-License-Identifier: Apache-2.0
// Where a run stands, summed up from its events: what a view that is redrawn shows.
#include "tools/live/run_progress.h"

#include <fmt/format.h>

namespace kernelites {
namespace {

void take_grid(const Json& event, RunProgress& progress) {
  progress.elites = event.value("elites", progress.elites);
  progress.coverage = event.value("coverage", progress.coverage);
  progress.qd_score = event.value("qd_score", progress.qd_score);
  const double best = event.value("best_speedup", progress.best_speedup);
  if (best > progress.best_speedup && event.value("event", "") == "told")
    progress.best_time_s = progress.time_s;
  progress.best_speedup = best;
}

void remember(RunProgress& progress, std::string words, bool is_elite) {
  progress.results.push_back({std::move(words), is_elite});
  if (progress.results.size() > k_results_kept) progress.results.pop_front();
}

void take_told(const Json& event, RunProgress& progress) {
  ++progress.told;
  if (event.value("operator", "") == "seed") ++progress.seeds;
  const std::string outcome = event.value("outcome", ""), reason = event.value("reason", "");
  if (outcome == "failed") ++progress.failed;
  if (outcome == "duplicate_code") ++progress.duplicates;
  take_grid(event, progress);
  const double speedup = event.value("speedup", 0.0);
  remember(progress,
           fmt::format("#{} {} {} {}{}", event.value("ordinal", 0), event.value("operator", ""), outcome,
                       reason.empty() ? event.value("cell", "")
                                      : fmt::format("{}: {}", event.value("stage", ""), reason),
                       speedup > 0 ? fmt::format(" {:.3f}x", speedup) : ""),
           outcome == "added" || outcome == "improved");
}

}  // namespace

void RunProgress::take(const Json& event) {
  const std::string name = event.value("event", "");
  const auto ordinal = event.value("ordinal", std::uint64_t{0});
  time_s = event.value("time_s", time_s);
  if (name == "started") {
    task = event.value("task", "");
    device = event.value("device", "");
    endpoint = event.value("endpoint", "");
    is_resumed = event.value("is_resumed", false);
    told_before = told = event.value("told", 0);
    seeds = event.value("seeds", 0);
    usd = event.value("usd", 0.0);
    state = "running";
    take_grid(event, *this);
  } else if (name == "asked") {
    under_way.insert(ordinal);
  } else if (name == "answered") {
    usd += event.value("usd", 0.0);
  } else if (name == "evaluated") {
    device_s += event.value("device_s", 0.0);
  } else if (name == "told") {
    take_told(event, *this);
    // A variation's own candidate has its number; those that it had evaluated inside have numbers of their own.
    under_way.erase(ordinal);
  } else if (name == "rejected") {
    ++refused;
    under_way.erase(ordinal);
    remember(*this,
             fmt::format("#{} {} refused: {}: {}", event.value("ordinal", 0), event.value("operator", ""),
                         event.value("reason", ""), event.value("message", "")),
             false);
  } else if (name == "handed_in") {
    under_way.erase(event.value("variation", std::uint64_t{0}));
  } else if (name == "prompt_written") {
    under_way.erase(ordinal);
  } else if (name == "incident") {
    ++incidents;
    last_incident = event.value("message", "");
  } else if (name == "stopping") {
    state = "stopping";
  } else if (name == "stopped") {
    state = "stopped";
    const std::string detail = event.value("detail", "");
    end = event.value("reason", "") + (detail.empty() ? "" : " (" + detail + ")");
  }
}

}  // namespace kernelites
