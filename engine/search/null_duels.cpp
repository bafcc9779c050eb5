// SPDX-License-Identifier: Apache-2.0
// Nulls as duels of an elite whose only opponent is itself.
#include "engine/search/null_duels.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "archive/elite_rule.h"

namespace kernelites {

bool is_null_duel(const EvaluationRecord& record) { return record.request.value("is_null", false); }

NullDuels::NullDuels(RunParts& parts, Announcer& announcer)
    : parts_(parts), announcer_(announcer), watch_(parts.device == "vgpu" ? 0 : parts.config.null_every) {}

std::optional<EvaluationRecord> NullDuels::due(const Grid& grid) {
  if (outstanding_ || !watch_.is_due(announcer_.elapsed_s())) return std::nullopt;
  const auto best = grid.best();
  if (!best) return std::nullopt;
  EvaluationRecord record;
  record.request_id = fmt::format("{}-null-{}", best->ordinal, parts_.archive.null_duels(best->ordinal));
  record.ordinal = best->ordinal;
  record.verb = "duel";
  Json workloads = Json::array();
  for (const Workload& workload : parts_.task.bench) workloads.push_back(workload.name);
  record.request = {{"arms", {best->candidate_id}},
                    {"workloads", workloads},
                    {"rounds", parts_.config.rounds},
                    {"is_confirmation", false},
                    {"is_null", true}};
  record.sent_unix_s = announcer_.now_unix_s();
  parts_.archive.record_request_sent(record);
  outstanding_ = record;
  return record;
}

bool NullDuels::take(const Reply& reply, const std::map<std::string, double>& weights) {
  if (!outstanding_ || outstanding_->request_id != reply.id) return false;
  const EvaluationRecord record = *std::exchange(outstanding_, std::nullopt);
  std::optional<PairedRatio> ratio;
  if (reply.duel && reply.error.empty()) {
    Provenance provenance = reply.provenance;
    provenance.task_digest = parts_.task.digest;
    parts_.archive.record_duel(reply.id, *reply.duel, provenance, reply.worker_s, reply.device_s);
    if (reply.duel->verdict.is_passed && !record.request.at("arms").empty())
      ratio = pooled_ratio(*reply.duel, record.request.at("arms").at(0).get<std::string>(), weights);
  } else {
    parts_.archive.record_request_failed(
        reply.id, reply.error.empty() ? "the worker's reply holds no duel" : reply.error, reply.worker_s,
        reply.device_s);
  }
  Json event{{"event", "null"}, {"ordinal", record.ordinal}, {"request_id", reply.id}};
  event["is_good"] = ratio && is_good_null(*ratio);
  if (ratio)
    event.update({{"ratio", std::exp(ratio->log_ratio_median)},
                  {"interval", {std::exp(ratio->log_ratio_low), std::exp(ratio->log_ratio_high)}}});
  announcer_.announce(std::move(event));
  watch_.take(ratio, announcer_.elapsed_s());
  if (!watch_.is_open())
    announcer_.announce(
        {{"event", "incident"},
         {"message", ratio
                         ? fmt::format("a kernel differs from itself by {:+.2f} %: nothing is timed until it "
                                       "does not",
                                       100 * std::expm1(ratio->log_ratio_median))
                         : "a kernel could not be compared with itself: nothing is timed until it can"}});
  return true;
}

}  // namespace kernelites
