// SPDX-License-Identifier: Apache-2.0
// A run of two candidates, a seed and its child, whose measurements a test chooses.
#pragma once

#include "engine/core/paired_ratio.h"
#include "tests/support/small_task.h"
#include "tests/unit/archive/archive_samples.h"
#include "tools/inspect/run_reader.h"

namespace kernelites {

/// What differs between the two; the rest is alike.
struct TwoKernels {
  Examination seed = sample_examination(1);
  Examination child = sample_examination(2);
  double seed_us = 100;
  double child_us = 80;
  std::vector<ModelledLaunch> seed_launches = {};
  std::vector<ModelledLaunch> child_launches = {};
  bool is_measured = true;  ///< on an H100; else on the virtual GPU
  bool has_duel = true;     ///< of the two
  std::string seed_source = "// tune: BN = 64 | 128\nb\nc\n";
  std::string child_source = "// tune: BN = 64 | 128\nB\nc\n";
};

inline Provenance provenance_of(const TwoKernels& two) {
  Provenance provenance = sample_provenance();
  if (two.is_measured) provenance.device = {.kind = "NVIDIA H100 80GB HBM3"};
  return provenance;
}

inline Duel duel_of(const TwoKernels& two, double own_us, const std::string& arm, double arm_us,
                    const std::vector<ModelledLaunch>& launches) {
  Duel duel{.verdict = Verdict::passed(), .arms = {"candidate", arm}};
  const auto timing = [&](double us) {
    return ArmTiming{.time_us_median = us,
                     .time_us_p10 = us,
                     .time_us_p90 = us,
                     .samples = 30,
                     .is_modelled = !two.is_measured};
  };
  duel.timing["wide"] = {timing(own_us), timing(arm_us)};
  PairedRatio ratio = exact_ratio(own_us, arm_us, 0.999);
  ratio.log_ratio_low -= 0.01;
  ratio.log_ratio_high += 0.01;
  ratio.rounds = 30;
  duel.ratio["wide"] = {ratio};
  if (!launches.empty()) duel.modelled["wide"] = launches;
  return duel;
}

/// Records the run in `folder`.
inline void record_two_kernels(const std::filesystem::path& folder, const TwoKernels& two) {
  RunRecord run = sample_run();
  run.task_document = small_task_document();
  Archive archive = Archive::create(folder, run);
  std::vector<std::string> ids;
  for (const std::uint64_t ordinal : {1, 2}) {
    archive.record_variation(sample_variation(ordinal, ids));
    CandidateRecord record = sample_candidate(ordinal);
    record.candidate = {.source = ordinal == 1 ? two.seed_source : two.child_source,
                        .tuning = {{"BN", ordinal == 1 ? 64 : 128}}};
    record.id = candidate_id(record.candidate);
    archive.record_candidate(record);
    ids.push_back(record.id);
    const EvaluationRecord examine = sample_request(ordinal, "examine");
    archive.record_request_sent(examine);
    archive.record_examination(examine.request_id, ordinal == 1 ? two.seed : two.child, provenance_of(two), 1,
                               1);
    const EvaluationRecord duel = sample_request(ordinal, "duel");
    archive.record_request_sent(duel);
    const bool is_seed = ordinal == 1;
    archive.record_duel(duel.request_id,
                        is_seed ? duel_of(two, two.seed_us, ids[0], two.seed_us, two.seed_launches)
                                : duel_of(two, two.child_us, two.has_duel ? ids[0] : "another", two.seed_us,
                                          two.child_launches),
                        provenance_of(two), 1, 1);
    Outcome outcome{.ordinal = ordinal, .status = is_seed ? "added" : "improved", .told_unix_s = 1};
    outcome.elite = sample_elite(ordinal, two.seed_us / (is_seed ? two.seed_us : two.child_us));
    outcome.elite->candidate_id = record.id;
    outcome.champions = {{.workload = "wide",
                          .ordinal = ordinal,
                          .candidate_id = record.id,
                          .speedup = outcome.elite->speedup,
                          .timing = {.time_us_median = is_seed ? two.seed_us : two.child_us,
                                     .samples = 30,
                                     .is_modelled = !two.is_measured},
                          .duel_id = duel.request_id}};
    archive.tell(outcome);
  }
}

}  // namespace kernelites
