// SPDX-License-Identifier: Apache-2.0
// JSON of what an evaluation found. Errors and ratios may be infinite or NaN, so they travel through
// `real_to_json`.
#include "engine/core/evaluation.h"

namespace kernelites {

void to_json(Json& json, const KernelResources& resources) {
  json = Json{{"kernel", resources.kernel},
              {"registers", resources.registers},
              {"static_shared_bytes", resources.static_shared_bytes},
              {"local_bytes", resources.local_bytes},
              {"spill_store_bytes", resources.spill_store_bytes},
              {"spill_load_bytes", resources.spill_load_bytes},
              {"code_bytes", resources.code_bytes},
              {"threads_max", resources.threads_max}};
}

void from_json(const Json& json, KernelResources& resources) {
  json.at("kernel").get_to(resources.kernel);
  json.at("registers").get_to(resources.registers);
  json.at("static_shared_bytes").get_to(resources.static_shared_bytes);
  json.at("local_bytes").get_to(resources.local_bytes);
  json.at("spill_store_bytes").get_to(resources.spill_store_bytes);
  json.at("spill_load_bytes").get_to(resources.spill_load_bytes);
  json.at("code_bytes").get_to(resources.code_bytes);
  json.at("threads_max").get_to(resources.threads_max);
}

void to_json(Json& json, const CheckSummary& check) {
  json = Json{{"output", check.output},
              {"worst_row", real_to_json(check.worst_row)},
              {"gate_row", real_to_json(check.gate_row)},
              {"rows", check.rows},
              {"trials", check.trials}};
}

void from_json(const Json& json, CheckSummary& check) {
  json.at("output").get_to(check.output);
  check.worst_row = real_from_json(json.at("worst_row"));
  check.gate_row = real_from_json(json.at("gate_row"));
  json.at("rows").get_to(check.rows);
  json.at("trials").get_to(check.trials);
}

void to_json(Json& json, const ArmTiming& timing) {
  json = Json{{"time_us_median", real_to_json(timing.time_us_median)},
              {"time_us_p10", real_to_json(timing.time_us_p10)},
              {"time_us_p90", real_to_json(timing.time_us_p90)},
              {"samples", timing.samples},
              {"is_modelled", timing.is_modelled}};
  if (timing.is_modelled) return;
  json.update({{"launches_each", timing.launches_each},
               {"clock_ghz", real_to_json(timing.clock_ghz)},
               {"discarded", timing.discarded}});
}

void from_json(const Json& json, ArmTiming& timing) {
  timing.time_us_median = real_from_json(json.at("time_us_median"));
  timing.time_us_p10 = real_from_json(json.at("time_us_p10"));
  timing.time_us_p90 = real_from_json(json.at("time_us_p90"));
  json.at("samples").get_to(timing.samples);
  json.at("is_modelled").get_to(timing.is_modelled);
  // Rows of older archives have none.
  timing.launches_each = json.value("launches_each", 1);
  if (json.contains("clock_ghz")) timing.clock_ghz = real_from_json(json.at("clock_ghz"));
  timing.discarded = json.value("discarded", 0);
}

void to_json(Json& json, const PairedRatio& ratio) {
  json = Json{{"log_ratio_median", real_to_json(ratio.log_ratio_median)},
              {"log_ratio_low", real_to_json(ratio.log_ratio_low)},
              {"log_ratio_high", real_to_json(ratio.log_ratio_high)},
              {"confidence", ratio.confidence},
              {"rounds", ratio.rounds}};
}

void from_json(const Json& json, PairedRatio& ratio) {
  ratio.log_ratio_median = real_from_json(json.at("log_ratio_median"));
  ratio.log_ratio_low = real_from_json(json.at("log_ratio_low"));
  ratio.log_ratio_high = real_from_json(json.at("log_ratio_high"));
  json.at("confidence").get_to(ratio.confidence);
  json.at("rounds").get_to(ratio.rounds);
}

void to_json(Json& json, const StageReport& report) {
  json = Json{{"stage", report.stage},       {"outcome", report.outcome}, {"wall_s", report.wall_s},
              {"device_s", report.device_s}, {"counts", report.counts},   {"remark", report.remark}};
}

void from_json(const Json& json, StageReport& report) {
  json.at("stage").get_to(report.stage);
  json.at("outcome").get_to(report.outcome);
  report.wall_s = json.value("wall_s", 0.0);  // an archive's dump leaves out what was measured
  report.device_s = json.value("device_s", 0.0);
  json.at("counts").get_to(report.counts);
  json.at("remark").get_to(report.remark);
}

void to_json(Json& json, const ModelledLaunch& launch) {
  json = Json{{"kernel", launch.kernel},       {"time_us", launch.time_us}, {"limit", launch.limit},
              {"occupancy", launch.occupancy}, {"waves", launch.waves},     {"counts", launch.counts}};
}

void from_json(const Json& json, ModelledLaunch& launch) {
  json.at("kernel").get_to(launch.kernel);
  json.at("time_us").get_to(launch.time_us);
  json.at("limit").get_to(launch.limit);
  json.at("occupancy").get_to(launch.occupancy);
  json.at("waves").get_to(launch.waves);
  json.at("counts").get_to(launch.counts);
}

void to_json(Json& json, const Examination& examination) {
  json = Json{{"verdict", examination.verdict},
              {"descriptors", examination.descriptors},
              {"kernels", examination.kernels},
              {"plans", examination.plans},
              {"counts", {{"opcodes", examination.counts.opcodes}, {"sass", examination.counts.sass}}},
              {"checks", examination.checks},
              {"modelled_us", examination.modelled_us},
              {"notes", examination.notes},
              {"code_digest", examination.code_digest},
              {"stage_ms", examination.stage_ms},
              {"stages", examination.stages}};
  if (examination.counts.float_additions)
    json["counts"]["float_additions"] = *examination.counts.float_additions;
  if (!examination.machine_code.empty()) json["machine_code"] = examination.machine_code;
  if (!examination.counters.empty()) json["counters"] = examination.counters;
}

void from_json(const Json& json, Examination& examination) {
  json.at("verdict").get_to(examination.verdict);
  json.at("descriptors").get_to(examination.descriptors);
  json.at("kernels").get_to(examination.kernels);
  json.at("plans").get_to(examination.plans);
  json.at("counts").at("opcodes").get_to(examination.counts.opcodes);
  if (json.at("counts").contains("sass")) json.at("counts").at("sass").get_to(examination.counts.sass);
  if (json.at("counts").contains("float_additions"))
    examination.counts.float_additions = json.at("counts").at("float_additions").get<std::int64_t>();
  json.at("checks").get_to(examination.checks);
  json.at("modelled_us").get_to(examination.modelled_us);
  json.at("notes").get_to(examination.notes);
  json.at("code_digest").get_to(examination.code_digest);
  examination.machine_code = json.value("machine_code", std::string());
  json.at("stage_ms").get_to(examination.stage_ms);
  // Rows of archives that are older than the reports have none.
  if (json.contains("stages")) json.at("stages").get_to(examination.stages);
  if (json.contains("counters")) json.at("counters").get_to(examination.counters);
}

void to_json(Json& json, const Duel& duel) {
  json = Json{{"verdict", duel.verdict}, {"arms", duel.arms},   {"timing", duel.timing},
              {"ratio", duel.ratio},     {"notes", duel.notes}, {"stage_ms", duel.stage_ms}};
  if (!duel.modelled.empty()) json["modelled"] = duel.modelled;
}

void from_json(const Json& json, Duel& duel) {
  json.at("verdict").get_to(duel.verdict);
  json.at("arms").get_to(duel.arms);
  json.at("timing").get_to(duel.timing);
  json.at("ratio").get_to(duel.ratio);
  if (json.contains("modelled")) json.at("modelled").get_to(duel.modelled);
  json.at("notes").get_to(duel.notes);
  json.at("stage_ms").get_to(duel.stage_ms);
}

void to_json(Json& json, const Provenance& provenance) {
  json = Json{{"task_digest", provenance.task_digest},
              {"harness_version", provenance.harness_version},
              {"toolkit", provenance.toolkit},
              {"device", provenance.device}};
}

void from_json(const Json& json, Provenance& provenance) {
  json.at("task_digest").get_to(provenance.task_digest);
  json.at("harness_version").get_to(provenance.harness_version);
  json.at("toolkit").get_to(provenance.toolkit);
  json.at("device").get_to(provenance.device);
}

}  // namespace kernelites
