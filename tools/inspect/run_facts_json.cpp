// SPDX-License-Identifier: Apache-2.0
// The facts of a run as JSON: what the page draws from. Members are named as in the structs.
#include <fmt/format.h>

#include "tools/inspect/change_text.h"
#include "tools/inspect/run_facts.h"

namespace kernelites {
namespace {

Json json_of(const Gain& gain) {
  return {{"x", gain.x},
          {"low", gain.low},
          {"high", gain.high},
          {"confidence", gain.confidence},
          {"rounds", gain.rounds},
          {"duels", gain.duels},
          {"is_modelled", gain.is_modelled}};
}

Json optional_json(const std::optional<Gain>& gain) { return gain ? json_of(*gain) : Json(); }
Json optional_json(const std::optional<std::uint64_t>& value) { return value ? Json(*value) : Json(); }

Json timing_json(const ArmTiming& timing) {
  return {{"us", timing.time_us_median},
          {"p10", timing.time_us_p10},
          {"p90", timing.time_us_p90},
          {"n", timing.samples},
          {"is_modelled", timing.is_modelled}};
}

Json json_of(const WorkloadTime& time) {
  return {{"workload", time.workload},
          {"own", timing_json(time.own)},
          {"baseline", time.baseline ? timing_json(*time.baseline) : Json()},
          {"over_baseline", optional_json(time.over_baseline)},
          {"gb_per_s", time.gb_per_s},
          {"tflop_per_s", time.tflop_per_s},
          {"flop_per_byte", time.flop_per_byte},
          {"of_copy_rate", time.of_copy_rate},
          {"floor_us", time.floor_us},
          {"of_floor", time.of_floor},
          {"limit", time.limit}};
}

Json json_of(const Proof& proof) {
  Json stages = Json::array(), checks = Json::array();
  for (const StageFact& stage : proof.stages)
    stages.push_back({{"stage", stage.stage},
                      {"outcome", stage.outcome},
                      {"remark", stage.remark},
                      {"counted", stage.counted}});
  for (const CheckSummary& check : proof.checks)
    checks.push_back({{"output", check.output},
                      {"worst_row", check.worst_row},
                      {"gate_row", check.gate_row},
                      {"rows", check.rows},
                      {"trials", check.trials}});
  return {{"stages", stages},
          {"checks", checks},
          {"examinations", proof.examinations},
          {"duels", proof.duels},
          {"confirmations", proof.confirmations},
          {"judgement", proof.judgement},
          {"claims_not_executed", proof.claims_not_executed}};
}

Json json_of(const EliteFacts& facts) {
  Json times = Json::array(), kernels = Json::array();
  for (const WorkloadTime& time : facts.times) times.push_back(json_of(time));
  for (const KernelResources& kernel : facts.kernels)
    kernels.push_back({{"kernel", kernel.kernel},
                       {"registers", kernel.registers},
                       {"static_shared_bytes", kernel.static_shared_bytes},
                       {"spill_bytes", kernel.spill_store_bytes + kernel.spill_load_bytes}});
  return {{"cell", facts.cell},
          {"ordinal", facts.ordinal},
          {"id", facts.id},
          {"parent", optional_json(facts.parent)},
          {"operator", facts.operator_name},
          {"endpoint", facts.endpoint},
          {"generation", facts.generation},
          {"summary", facts.summary},
          {"fitness", facts.fitness},
          {"speedup", facts.speedup},
          {"over_baseline", optional_json(facts.over_baseline)},
          {"over_parent", optional_json(facts.over_parent)},
          {"times", times},
          {"is_modelled", facts.is_modelled},
          {"descriptors", facts.descriptors},
          {"kernels", kernels},
          {"bottleneck", facts.bottleneck},
          {"proof", json_of(facts.proof)}};
}

Json json_of(const LineageNode& node) {
  return {{"ordinal", node.ordinal},
          {"parent", optional_json(node.parent)},
          {"skipped", node.skipped},
          {"operator", node.operator_name},
          {"outcome", node.outcome},
          {"cell", node.cell},
          {"summary", node.summary},
          {"speedup", node.speedup},
          {"over_parent", optional_json(node.over_parent)},
          {"is_champion", node.is_champion}};
}

Json json_of(const WorkloadFacts& workload) {
  Json json{{"name", workload.name},          {"weight", workload.weight},
            {"shape", workload.shape},        {"flops", workload.counts.flops},
            {"bytes", workload.counts.bytes}, {"floor_us", workload.floor_us},
            {"limit", workload.limit},        {"champion", Json()}};
  if (const auto& champion = workload.champion)
    json["champion"] = {{"ordinal", champion->ordinal},
                        {"speedup", champion->speedup},
                        {"timing", timing_json(champion->timing)}};
  return json;
}

Json json_of(const FunnelStep& step) {
  Json reasons = Json::array();
  for (const FailureCount& reason : step.reasons)
    reasons.push_back({{"reason", reason.reason}, {"count", reason.count}});
  return {{"step", step.step}, {"reached", step.reached}, {"ended", step.ended}, {"reasons", reasons}};
}

Json json_of(const Lesson& lesson) {
  return {{"technique", lesson.technique}, {"code", lesson.code},           {"state", lesson.state},
          {"gain", lesson.gain_median},    {"low", lesson.gain_low},        {"high", lesson.gain_high},
          {"tried", lesson.tried},         {"helped", lesson.helped},       {"slower", lesson.slower},
          {"failed", lesson.failed},       {"bound", lesson.log_gain_bound}};
}

Json optional_json(const std::optional<EliteFacts>& facts) { return facts ? json_of(*facts) : Json(); }

template <typename Values>
Json list(const Values& values) {
  Json json = Json::array();
  for (const auto& value : values) json.push_back(json_of(value));
  return json;
}

Json series_json(const std::vector<ProgressPoint>& points) {
  Json at = Json::array(), best = Json::array(), qd = Json::array(), cells = Json::array();
  for (const ProgressPoint& point : points) {
    at.push_back(point.evaluations);
    best.push_back(point.best);
    qd.push_back(point.qd_score);
    cells.push_back(point.num_elites);
  }
  return {{"evaluations", at}, {"best", best}, {"qd_score", qd}, {"elites", cells}};
}

Json axes_json(const std::vector<Axis>& axes) {
  Json json = Json::array();
  for (const Axis& axis : axes)
    json.push_back({{"name", axis.name},
                    {"labels", std::vector<std::string>(axis.labels.begin(), axis.labels.end())},
                    {"meaning", axis.meaning}});
  return json;
}

Json untimed_json(const std::vector<UntimedSeed>& seeds) {
  Json json = Json::array();
  for (const UntimedSeed& seed : seeds)
    json.push_back({{"ordinal", seed.ordinal},
                    {"seed", seed.name},
                    {"stage", seed.verdict.stage},
                    {"reason", seed.verdict.reason},
                    {"message", seed.verdict.message}});
  return json;
}

Json run_json(const RunFacts& facts) {
  return {{"folder", facts.folder},
          {"task", facts.run.task},
          {"task_digest", facts.run.task_digest},
          {"title", facts.title},
          {"state", facts.end.state},
          {"end", facts.end.words},
          {"end_reason", facts.end.reason},
          {"seeds", facts.seeds},
          {"seeds_left_out", facts.seeds_left_out},
          {"seeds_untimed", untimed_json(facts.seeds_untimed)},
          {"seed_failure", facts.seed_failure},
          {"seed", fmt::to_string(facts.run.seed)},  // 64 bits: more than a page's numbers hold
          {"strategy", facts.config.strategy},
          {"started_unix_s", facts.run.started_unix_s},
          {"wall_s", facts.run.wall_s},
          {"device", facts.device.kind},
          {"is_modelled", facts.device.is_virtual},
          {"sm_count", facts.device.sm_count},
          {"driver_version", facts.device.driver_version},
          {"toolkit", facts.toolkit},
          {"harness_version", facts.harness_version}};
}

Json spent_json(const Spent& spent) {
  return {{"candidates", spent.candidates - spent.seeds},
          {"seeds", spent.seeds},
          {"model_calls", spent.model_calls},
          {"input_tokens", spent.input_tokens},
          {"cached_input_tokens", spent.cached_input_tokens},
          {"output_tokens", spent.output_tokens},
          {"usd", spent.usd},
          {"device_s", spent.device_s},
          {"worker_s", spent.worker_s},
          {"wall_s", spent.wall_s}};
}

Json counters_json(const Counters& counters) {
  return {{"variations", counters.variations},
          {"rejections", counters.rejections},
          {"candidates", counters.candidates},
          {"told", counters.told},
          {"passed", counters.passed},
          {"dueled", counters.dueled},
          {"distinct_codes", counters.distinct_codes},
          {"duplicate_codes", counters.duplicate_codes}};
}

constexpr std::size_t k_facts_told = 2;

/// The steps that gained most, with the facts that account for most of each.
Json why_json(const RunFacts& facts) {
  Json steps = Json::array();
  for (const std::size_t at : steps_that_gained(facts.best_chain)) {
    const GainStep& step = facts.best_chain[at];
    Json told = Json::array();
    for (const GainFact& fact : leading_facts(step.reasons, k_facts_told))
      told.push_back({{"source", fact_source_name(fact.source)},
                      {"words", fact.brief.empty() ? fact.words : fact.brief},
                      {"worth_us", fact.worth_us ? Json(*fact.worth_us) : Json()}});
    steps.push_back({{"parent", step.change.before.record.ordinal},
                     {"child", step.change.after.record.ordinal},
                     {"operator", step.change.after.record.operator_name},
                     {"gain", gain_json(step.change.ratio->ratio)},
                     {"workload", step.reasons.workload},
                     {"before_us", step.reasons.before_us},
                     {"after_us", step.reasons.after_us},
                     {"explained", explained_name(step.reasons.explained)},
                     {"conclusion", step.reasons.conclusion},
                     {"facts", told}});
  }
  return steps;
}

Json model_error_json(const RunFacts& facts) {
  if (!facts.model_error) return {};
  const ModelError& error = *facts.model_error;
  return {{"mean_abs_log", error.mean_abs_log},
          {"times", error.times},
          {"words", error_words(error)},
          {"least_told", least_gain_told()},
          {"agreement", facts.best ? agreement_words(facts.best->speedup) : ""},
          {"is_exceeded", facts.best && is_told_apart(facts.best->speedup)}};
}

Json reasons_json(const Reasons& reasons) {
  return {{"changes", reasons.changes},
          {"techniques", reasons.techniques},
          {"steps", list(reasons.steps)},
          {"copy_share_before", reasons.copy_share_before},
          {"copy_share_after", reasons.copy_share_after},
          {"bottleneck_before", reasons.bottleneck_before},
          {"bottleneck_after", reasons.bottleneck_after}};
}

}  // namespace

Json run_facts_json(const RunFacts& facts) {
  Json tuning = Json::object();
  for (const auto& [name, value] : facts.best_tuning) tuning[name] = value;
  Json json{{"run", run_json(facts)},
            {"limits", run_config_json(facts.config).at("budget")},
            {"baseline", optional_json(facts.baseline)},
            {"null_half_width", facts.null_half_width},
            {"best", optional_json(facts.best)},
            {"best_parent", optional_json(facts.best_parent)},
            {"best_tuning", tuning},
            {"best_words", facts.best_words},
            {"why", why_json(facts)},
            {"model_error", model_error_json(facts)},
            {"reasons", reasons_json(facts.reasons)},
            {"counters", counters_json(facts.counters)},
            {"spent", spent_json(facts.spent)},
            {"axes", axes_json(facts.axes)},
            {"cells", facts.cells},
            {"metrics", facts.metrics},
            {"elites", list(facts.elites)},
            {"progress", series_json(facts.progress)},
            {"progress_points", facts.progress_points},
            {"lineage", list(facts.lineage)},
            {"lineage_candidates", facts.lineage_candidates},
            {"workloads", list(facts.workloads)},
            {"roofs",
             {{"peak_gb_per_s", facts.roofs.peak_gb_per_s},
              {"copy_gb_per_s", facts.roofs.copy_gb_per_s},
              {"peak_tflop_per_s", facts.roofs.peak_tflop_per_s}}},
            {"funnel", list(facts.funnel)},
            {"arms", arms_json(facts.arms)},
            {"lessons",
             {{"list", list(facts.lessons.lessons)},
              {"candidates_read", facts.lessons.candidates_read},
              {"candidates_told", facts.lessons.candidates_told},
              {"imported", facts.lessons.imported}}},
            {"last_event", facts.last_event}};
  json.update(stagnation_json(facts.arms));
  return json;
}

}  // namespace kernelites
