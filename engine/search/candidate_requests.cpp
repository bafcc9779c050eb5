// SPDX-License-Identifier: Apache-2.0
// Records and requests of examinations and duels.
#include "engine/search/candidate_requests.h"

#include <fmt/format.h>

#include <algorithm>

#include "engine/core/error.h"

namespace kernelites {
namespace {

/// Of a confirmation: fixed before it starts, at least so many.
constexpr int k_confirmation_rounds = 60;

ExamineRequest examine_request(const Candidate& candidate, const Json& recorded, const Key& key,
                               const Key& model_key) {
  return {.candidate = candidate,
          .key = key,
          .is_thorough = recorded.value("is_thorough", false),
          .last_stage = recorded.value("last_stage", std::string()),
          .wants_modelled = recorded.value("wants_modelled", false),
          .model_key = model_key};
}

DuelRequest duel_request(const RunParts& parts, const Candidate& candidate, const EvaluationRecord& record,
                         const Key& key) {
  DuelRequest duel;
  duel.arms.push_back({"candidate", candidate});
  for (const Json& id : record.request.at("arms")) {
    const auto arm = parts.archive.find_candidate(id.get<std::string>());
    if (!arm)
      throw Error(fmt::format("request {}: the archive has no candidate {}", record.request_id,
                              id.get<std::string>()));
    duel.arms.push_back({arm->id, arm->candidate});
  }
  duel.workloads = record.request.at("workloads").get<std::vector<std::string>>();
  duel.rounds = record.request.at("rounds").get<int>();
  // The first duel may end as soon as its figures decide; what confirms it has its rounds fixed beforehand.
  const bool is_confirmation = record.request.at("is_confirmation").get<bool>();
  duel.may_stop_early = !is_confirmation;
  duel.confidence = is_confirmation ? EliteRule{}.confirmation_confidence_min : EliteRule{}.confidence_min;
  duel.key = key;
  duel.model_key = parts.model_key;
  return duel;
}

}  // namespace

EvaluationRecord examination_record(const CandidateRecord& candidate, const NeedsExamination& need,
                                    bool wants_modelled, double now_unix_s) {
  EvaluationRecord record;
  const std::string kind = need.is_thorough          ? "thorough"
                           : need.last_stage.empty() ? "examine"
                                                     : need.last_stage;
  record.request_id = fmt::format("{}-{}", candidate.ordinal, kind);
  if (need.is_thorough) record.request["is_thorough"] = true;
  if (!need.last_stage.empty()) record.request["last_stage"] = need.last_stage;
  if (wants_modelled && need.last_stage.empty()) record.request["wants_modelled"] = true;
  record.ordinal = candidate.ordinal;
  record.verb = "examine";
  record.sent_unix_s = now_unix_s;
  return record;
}

EvaluationRecord duel_record(const RunParts& parts, const CandidateRecord& candidate, int number,
                             const NeedsDuel& need, bool is_confirmation, double now_unix_s) {
  EvaluationRecord record;
  record.request_id = fmt::format("{}-duel-{}", candidate.ordinal, number);
  record.ordinal = candidate.ordinal;
  record.verb = "duel";
  Json workloads = Json::array();
  for (const Workload& workload : parts.task.bench) workloads.push_back(workload.name);
  record.request = {{"arms", need.arms},
                    {"workloads", workloads},
                    {"rounds", is_confirmation ? std::max(parts.config.rounds, k_confirmation_rounds)
                                               : parts.config.rounds},
                    {"is_confirmation", is_confirmation}};
  record.sent_unix_s = now_unix_s;
  return record;
}

Request request_of(const RunParts& parts, const EvaluationRecord& record) {
  const auto candidate = parts.archive.candidate(record.ordinal);
  KERNELITES_ASSERT(candidate.has_value());
  const Key key = parts.run_key.derive(record.request_id);
  Request request;
  request.id = record.request_id;
  request.device = parts.device;
  request.task_document = parts.task.document;
  request.reference_source = parts.task.reference_source;
  if (record.verb == "examine") {
    request.deadline_s = parts.config.examine_deadline_s;
    request.examine = examine_request(candidate->candidate, record.request, key, parts.model_key);
  } else {
    request.deadline_s = parts.config.duel_deadline_s;
    request.duel = duel_request(parts, candidate->candidate, record, key);
  }
  return request;
}

}  // namespace kernelites
