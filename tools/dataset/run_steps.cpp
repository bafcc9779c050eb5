// SPDX-License-Identifier: Apache-2.0
// From rows of the archive to records.
#include "tools/dataset/run_steps.h"

#include "archive/elite_rule.h"
#include "engine/core/digest.h"
#include "engine/core/error.h"
#include "engine/core/json_shape.h"
#include "engine/search/baseline.h"
#include "engine/search/measured_change.h"
#include "engine/search/model_calls.h"
#include "engine/search/null_duels.h"
#include "engine/search/placement.h"
#include "engine/search/specimens.h"
#include "engine/variation/feedback_table.h"
#include "engine/variation/prompt_values.h"
#include "engine/variation/source_disguise.h"
#include "tools/dataset/redaction.h"
#include "tools/dataset/step_reward.h"

namespace kernelites {
namespace {

constexpr int k_record_version = 1;
constexpr const char* k_beyond_virtual = "unsupported_instruction";

Json candidate_json(const CandidateRecord& record) {
  return {{"id", record.id},
          {"ordinal", record.ordinal},
          {"source", record.candidate.source},
          {"tuning", record.candidate.tuning},
          {"summary", record.summary}};
}

Json time_json(const Duel& duel) {
  Json times = Json::object();
  for (const auto& [workload, arms] : duel.timing)
    if (!arms.empty()) times[workload] = arms.front();
  return times;
}

/// Every call is sent with a prompt; `archive prune` takes it and the reply.
bool is_pruned(const ModelCallRecord& call) { return call.prompt.empty(); }

class StepReader {
 public:
  StepReader(const Archive& archive, const Task& task, const std::string& name, const StepChoice& choice,
             const StepVisitor& visitor)
      : archive_(archive),
        task_(task),
        name_(name),
        choice_(choice),
        visitor_(visitor),
        weights_(workload_weights(task)) {
    baseline_id_ = baseline_of(archive, weights_).id;
    if (const auto provenance = archive.first_provenance()) first_ = *provenance;
  }

  void read() {
    for (const std::uint64_t ordinal : archive_.proposed_ordinals()) {
      if (const auto record = archive_.candidate(ordinal)) take(*record);
      if (const auto rejection = archive_.rejection(ordinal)) take(*rejection);
    }
  }

 private:
  void take(const CandidateRecord& record) {
    const auto variation = archive_.variation(record.variation);
    if (!variation) throw Error("run.db: a candidate of no variation");
    const auto evaluated = archive_.evaluated(record.ordinal);
    visitor_.kin(kin_of(record, *variation, evaluated));
    const auto call = call_of(record.variation, record.created_unix_s);
    if (!call && !choice_.has_programs) return leave_out("proposed by a program");
    if (record.told == 0) return leave_out("not finished");
    if (call && is_pruned(*call)) return leave_out("pruned");
    if (!evaluated || !evaluated->examination || !evaluated->examination->examination)
      return leave_out("not evaluated");
    const ChangeEnd child = end_of(*evaluated);
    const std::string& reason = child.specimen.verdict.reason;
    if (reason == k_stopped_as_asked) return leave_out("compiled only");
    // Says something of the virtual GPU, nothing of the kernel.
    if (reason == k_beyond_virtual) return leave_out("beyond the virtual GPU");
    Json json = head(record.ordinal, *variation, evaluated->examination->provenance);
    const bool is_modelled = evaluated->examination->provenance.device.is_virtual;
    json["is_inner"] = record.ordinal != record.variation;
    add_exchange(json, call);
    const auto parent = parent_of(*variation);
    json["parent"] = parent ? candidate_json(*parent) : Json();
    json["child"] = candidate_json(record);
    json["child"]["code_digest"] = child.specimen.examination.code_digest;
    json["rejection"] = Json();
    json["verdict"] = child.specimen.verdict;
    std::optional<StepGain> gain;
    if (parent && child.specimen.verdict.is_passed)
      if (const auto before = archive_.evaluated(parent->ordinal))
        if (const auto ratio = change_ratio(end_of(*before), child, weights_))
          gain = gain_from(ratio->ratio, ratio->is_paired, is_modelled);
    json["gain"] = gain ? Json(*gain) : Json();
    add_times(json, child.specimen, is_modelled);
    json["outcome"] = record.outcome;
    json["feedback"] = describe_verdict(child.specimen.verdict) + "\n" +
                       feedback_text(task_, evaluated->examination->provenance.device, child.specimen);
    json["reward"] = step_reward(&child.specimen.verdict, gain);
    finish(std::move(json), record.id);
  }

  void take(const RejectionRecord& rejection) {
    const auto variation = archive_.variation(rejection.ordinal);
    if (!variation) throw Error("run.db: a rejection of no variation");
    const auto call = call_of(rejection.ordinal, HUGE_VAL);
    const auto parent = parent_of(*variation);
    // A program that has nothing to propose, a call that failed: no step of a model.
    if (!call || !parent) return leave_out(call ? "without a parent" : "nothing proposed");
    if (is_pruned(*call)) return leave_out("pruned");
    Json json = head(rejection.ordinal, *variation, first_);
    json["is_inner"] = false;
    add_exchange(json, call);
    json["parent"] = candidate_json(*parent);
    json["child"] = Json();
    json["rejection"] = {{"reason", rejection.reason}, {"message", rejection.message}};
    json["verdict"] = json["gain"] = json["gain_over_baseline"] = json["time"] = Json();
    json["outcome"] = "rejected";
    json["feedback"] = rejection.message;
    json["reward"] = step_reward(nullptr, {});
    Kin kin{.id = parent->id,
            .same = {"reply " + digest(call->reply)},
            .parents = {},
            .shown = variation->inspirations};
    visitor_.kin(std::move(kin));
    finish(std::move(json), parent->id);
  }

  Kin kin_of(const CandidateRecord& record, const VariationRecord& variation,
             const std::optional<EvaluatedCandidate>& evaluated) const {
    Kin kin{.id = record.id, .same = {}, .parents = variation.parents, .shown = variation.inspirations};
    kin.same.push_back("text " + digest(disguised_source(record.candidate.source, {})));
    if (evaluated && evaluated->examination && evaluated->examination->examination)
      if (const std::string& code = evaluated->examination->examination->code_digest; !code.empty())
        kin.same.push_back("code " + code);
    return kin;
  }

  /// The answered call that a candidate of this age came from: an agent's variation has many. The next one is not sent
  /// before the candidate is evaluated.
  std::optional<ModelCallRecord> call_of(std::uint64_t variation, double created_unix_s) const {
    std::optional<ModelCallRecord> last, before;
    for (ModelCallRecord& call : archive_.model_calls(variation)) {
      if (call.state != "answered") continue;
      if (call.sent_unix_s < created_unix_s) before = call;
      last = std::move(call);
    }
    return before ? before : last;  // a clock that stands still tells nothing
  }

  std::optional<CandidateRecord> parent_of(const VariationRecord& variation) const {
    return variation.parents.empty() ? std::nullopt : archive_.find_candidate(variation.parents.front());
  }

  ChangeEnd end_of(const EvaluatedCandidate& evaluated) const {
    ChangeEnd end{.specimen = specimen_of(evaluated, baseline_id_, weights_), .duels = {}};
    for (const EvaluationRecord& evaluation : archive_.evaluations(evaluated.record.ordinal))
      if (evaluation.duel && !is_null_duel(evaluation) && evaluation.duel->verdict.is_passed)
        end.duels.push_back({evaluated.record.id, *evaluation.duel});
    return end;
  }

  Json head(std::uint64_t ordinal, const VariationRecord& variation, const Provenance& provenance) const {
    return {{"version", k_record_version},
            {"id", ""},
            {"run", name_},
            {"ordinal", ordinal},
            {"variation", variation.ordinal},
            {"task", {{"name", task_.name}, {"digest", task_.digest}, {"family", task_.family}}},
            {"operator", variation.operator_name},
            {"prompt_version", variation.prompt_version},
            {"endpoint", variation.endpoint},
            {"device",
             {{"kind", provenance.device.kind},
              {"architecture", provenance.device.architecture},
              {"is_virtual", provenance.device.is_virtual}}},
            {"toolkit", provenance.toolkit},
            {"harness_version", provenance.harness_version},
            {"reward_formula", k_reward_formula}};
  }

  void add_exchange(Json& json, const std::optional<ModelCallRecord>& call) const {
    json["model"] = call ? call->model : "";
    json["prompt"] = call ? call->prompt : Json::array();
    json["request"] = call ? call->extras : Json::object();
    json["reply"] = call ? call->reply : "";
    json["tool_calls"] = call ? call->tool_calls : Json::array();
    json["tokens"] = {{"input", call ? call->input_tokens : 0}, {"output", call ? call->output_tokens : 0}};
  }

  void add_times(Json& json, const Specimen& child, bool is_modelled) const {
    json["gain_over_baseline"] = Json();
    json["time"] = Json();
    if (!child.duel || !child.verdict.is_passed) return;
    json["time"] = time_json(*child.duel);
    if (const auto ratio = pooled_ratio(*child.duel, baseline_id_, weights_))
      json["gain_over_baseline"] = gain_from(*ratio, true, is_modelled);
  }

  void finish(Json json, const std::string& relative) {
    redact(json, choice_.secrets);
    const std::string result = json["child"].is_null() ? json["rejection"].dump() : relative;
    const std::string parent = json["parent"].is_null() ? "" : json["parent"]["id"].get<std::string>();
    const std::string id = digest_parts({task_.digest, parent, result, digest(json["prompt"].dump()),
                                         json["reply"].get<std::string>(), json["tool_calls"].dump()});
    json["id"] = id;
    visitor_.step({.id = id, .relative = relative, .record = std::move(json)});
  }

  void leave_out(const std::string& why) { visitor_.left_out(why); }

  const Archive& archive_;
  const Task& task_;
  const std::string& name_;
  const StepChoice& choice_;
  const StepVisitor& visitor_;
  std::map<std::string, double> weights_;
  std::string baseline_id_;
  Provenance first_;
};

}  // namespace

void read_steps(const Archive& archive, const Task& task, const std::string& name, const StepChoice& choice,
                const StepVisitor& visitor) {
  in_shape(name, [&] { StepReader(archive, task, name, choice, visitor).read(); });
}

}  // namespace kernelites
