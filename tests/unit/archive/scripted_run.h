// SPDX-License-Identifier: Apache-2.0
// A small search that knows only what the archive says: however often it is killed, the results must be the
// same.
#pragma once

#include "tests/unit/archive/archive_samples.h"

namespace kernelites {

inline ModelCallRecord scripted_call(std::uint64_t ordinal) {
  return {.request_id = std::to_string(ordinal) + "-1",
          .ordinal = ordinal,
          .endpoint = "replay",
          .prompt_digest = "prompt-" + std::to_string(ordinal),
          .prompt = Json::array({Json{{"role", "user"}, {"text", "faster, please"}}}),
          .model = "scripted",
          .reply = "reply " + std::to_string(ordinal),
          .input_tokens = 100,
          .output_tokens = 10,
          .usd = 0.25};
}

/// Evaluates candidate `ordinal` from wherever it stands and tells it.
inline void finish_scripted_candidate(Archive& archive, std::uint64_t ordinal) {
  const auto ensure = [&](const std::string& verb) {
    for (const EvaluationRecord& known : archive.evaluations(ordinal))
      if (known.verb == verb) return known.state == "sent";
    archive.record_request_sent(sample_request(ordinal, verb));
    return true;
  };
  const std::string name = std::to_string(ordinal);
  if (ensure("examine"))
    archive.record_examination(name + "-examine", sample_examination(ordinal), sample_provenance(), 1.5, 0.5);
  // Every third ties with the incumbent, the others are 10 % faster.
  const double log_ratio = ordinal % 3 == 0 ? 0.0 : -0.1;
  if (ensure("duel"))
    archive.record_duel(name + "-duel", sample_duel(log_ratio), sample_provenance(), 2.0, 2.0);

  const auto known = archive.evaluated(ordinal);
  const Grid grid = archive.grid();
  const Elite* incumbent = grid.find("shared/fma/tile");
  const Evidence evidence{.ordinal = ordinal,
                          .candidate_id = known->record.id,
                          .is_passed = known->examination->examination->verdict.is_passed,
                          .descriptors = known->examination->examination->descriptors,
                          .provenance = known->examination->provenance,
                          .duel = duel_evidence(name + "-duel", *known->duel->duel,
                                                incumbent ? incumbent->candidate_id : "", {{"wide", 1.0}})};
  const Decision decision = decide_insert(grid, evidence, {.needs_confirmation = false});
  archive.tell({.ordinal = ordinal, .status = insert_status_name(decision.status), .elite = decision.elite});
}

/// Brings the run to `count` closed variations, continuing wherever it was interrupted.
inline void continue_scripted_run(Archive& archive, std::uint64_t count) {
  for (std::uint64_t ordinal = 1; ordinal <= count; ++ordinal) {
    if (!archive.variation(ordinal)) {
      const auto best = archive.grid().best();
      archive.record_variation(sample_variation(
          ordinal, best ? std::vector<std::string>{best->candidate_id} : std::vector<std::string>{}));
    }
    if (archive.variation(ordinal)->state == "open") {
      const auto calls = archive.model_calls(ordinal);
      if (calls.empty()) archive.record_model_call(scripted_call(ordinal));
      if (calls.empty() || calls[0].state == "sent") archive.record_model_reply(scripted_call(ordinal));
      if (ordinal % 5 == 0)
        archive.record_rejection({.ordinal = ordinal, .reason = "no_code_block", .message = "no code"});
      else
        archive.record_candidate(sample_candidate(ordinal));
    }
    const auto candidate = archive.candidate(ordinal);
    if (candidate && candidate->state != "done") finish_scripted_candidate(archive, ordinal);
  }
}

}  // namespace kernelites
