// SPDX-License-Identifier: Apache-2.0
// Small records and a whole small run for the archive's tests.
#pragma once

#include <cmath>
#include <string>

#include "archive/archive.h"
#include "tests/support/temporary_folder.h"

namespace kernelites {

inline RunRecord sample_run() {
  return {.seed = 0xfedcba9876543210u,  // more than a signed integer holds
          .task = "rmsnorm",
          .task_digest = "task-1",
          .task_document = Json{{"name", "rmsnorm"}},
          .reference_source = "reference",
          .configuration = Json{{"budget", {{"candidates", 40}}}},
          .started_unix_s = 1700000000.5};
}

inline Provenance sample_provenance() {
  Provenance provenance{.task_digest = "task-1", .harness_version = "1", .toolkit = "NVRTC 13.0"};
  provenance.device.kind = "vgpu (models H100)";
  provenance.device.is_virtual = true;
  return provenance;
}

/// A candidate whose content is its ordinal.
inline CandidateRecord sample_candidate(std::uint64_t ordinal) {
  CandidateRecord record{.ordinal = ordinal, .variation = ordinal, .summary = "wider tiles"};
  record.candidate = {.source = "// candidate " + std::to_string(ordinal), .tuning = {{"BN", 64}}};
  record.id = candidate_id(record.candidate);
  record.prompt_digest = "prompt-" + std::to_string(ordinal);
  return record;
}

inline VariationRecord sample_variation(std::uint64_t ordinal, std::vector<std::string> parents = {}) {
  return {.ordinal = ordinal,
          .generation = parents.empty() ? 0 : 1,
          .operator_name = parents.empty() ? "seed" : "refine",
          .endpoint = parents.empty() ? "" : "replay",
          .parents = std::move(parents),
          .decision = Json{{"arm", 2}}};
}

inline Examination sample_examination(std::uint64_t ordinal) {
  Examination examination{.verdict = Verdict::passed()};
  examination.descriptors = {{"movement", "shared"}, {"compute", "fma"}, {"split", "tile"}};
  examination.code_digest = "code-" + std::to_string(ordinal);
  examination.stage_ms = {{"compile", 12.5}};
  return examination;
}

/// One workload; the candidate runs at `log_ratio` against both the incumbent and the baseline, +-
/// `half_width`.
inline Duel sample_duel(double log_ratio, double half_width = 0.001) {
  const PairedRatio ratio{.log_ratio_median = log_ratio,
                          .log_ratio_low = log_ratio - half_width,
                          .log_ratio_high = log_ratio + half_width,
                          .confidence = 0.999,
                          .rounds = 30};
  Duel duel{.verdict = Verdict::passed(), .arms = {"candidate", "incumbent", "baseline"}};
  duel.timing["wide"] = std::vector<ArmTiming>(3, {.time_us_median = 10, .samples = 30, .is_modelled = true});
  duel.ratio["wide"] = {ratio, ratio};
  duel.stage_ms = {{"time", 3.25}};
  return duel;
}

/// Records variation and candidate `ordinal` and returns the candidate's id.
inline std::string add_candidate(Archive& archive, std::uint64_t ordinal,
                                 std::vector<std::string> parents = {}) {
  archive.record_variation(sample_variation(ordinal, std::move(parents)));
  const CandidateRecord record = sample_candidate(ordinal);
  archive.record_candidate(record);
  return record.id;
}

inline EvaluationRecord sample_request(std::uint64_t ordinal, const std::string& verb) {
  return {.request_id = std::to_string(ordinal) + "-" + verb,
          .ordinal = ordinal,
          .verb = verb,
          .request = Json{{"rounds", 30}}};
}

/// Records request and reply of an examination.
inline void examine(Archive& archive, std::uint64_t ordinal, const Examination& examination) {
  const EvaluationRecord request = sample_request(ordinal, "examine");
  archive.record_request_sent(request);
  archive.record_examination(request.request_id, examination, sample_provenance(), 1.5, 0.5);
}

inline void duel(Archive& archive, std::uint64_t ordinal, const Duel& result) {
  const EvaluationRecord request = sample_request(ordinal, "duel");
  archive.record_request_sent(request);
  archive.record_duel(request.request_id, result, sample_provenance(), 2.0, 2.0);
}

inline Elite sample_elite(std::uint64_t ordinal, double fitness,
                          const std::string& cell = "shared/fma/tile") {
  return {.cell = cell,
          .ordinal = ordinal,
          .candidate_id = sample_candidate(ordinal).id,
          .fitness = fitness,
          .speedup = fitness,
          .duel_id = std::to_string(ordinal) + "-duel",
          .task_digest = "task-1",
          .harness_version = "1",
          .device = "vgpu (models H100)",
          .is_modelled = true};
}

}  // namespace kernelites
