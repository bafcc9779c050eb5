// SPDX-License-Identifier: Apache-2.0
// A model's opinion on a suspicious winner: which winners are suspicious, what is asked, what counts as an answer.
//
// An opinion can flag and never pass: nothing that passed on evidence fails for it, and nothing that failed passes.
// Whatever is not exactly the answer that was asked for is no opinion.
#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/core/device_facts.h"
#include "engine/core/evaluation.h"
#include "engine/core/task.h"
#include "engine/llm/endpoint.h"
#include "engine/variation/prompt_library.h"

namespace kernelites {

/// What is known of a winner.
struct Winner {
  const Task& task;
  std::string source;
  Examination examination;
  Duel duel;
  DeviceFacts device;
  double gain = 0;  ///< times as fast as what it replaces; 0: it replaces nothing
};

/// A row of the table: a name for the record, words for people, and the test.
struct Suspicion {
  const char* name;
  const char* words;
  bool (*holds)(const Winner& winner);
};

/// All grounds for asking: a large gain, a time near the roofline, products that the code does not hold.
const std::vector<Suspicion>& suspicions();
/// Names of the grounds that hold; empty: nobody is asked.
std::vector<std::string> grounds_against(const Winner& winner);

/// Why a winner may be flagged; "none" belongs to the answer that nothing is wrong.
inline constexpr std::array k_judge_reasons = std::to_array<std::string_view>(
    {"none", "skips_work", "keeps_state", "tells_inputs_apart", "tells_shapes_apart", "lowers_precision",
     "leaves_its_tensors", "plays_with_time", "races"});

/// An answer as it was asked for.
struct Opinion {
  bool is_flagged = false;
  std::string reason;      ///< one of k_judge_reasons
  std::vector<int> lines;  ///< of the source
  bool operator==(const Opinion&) const = default;
};

/// The question: prompt file `judge`, filled with the operator, the plan's facts and the disguised source.
ModelRequest judge_request(const Winner& winner, const PromptFile& prompt, const std::string& id);

/// {"flag": true, "reason": "skips_work", "lines": [12, 13]} and nothing else, a code fence around it apart. A flag
/// needs a reason and at least one line of the source, which has `line_count`; no flag has neither. Everything else:
/// nothing.
std::optional<Opinion> parse_opinion(std::string_view answer, int line_count);

}  // namespace kernelites
