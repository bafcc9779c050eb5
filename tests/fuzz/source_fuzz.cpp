// SPDX-License-Identifier: Apache-2.0
// A candidate's text before it is compiled: tunable lines, options, the lexer of the text rules; and compiler logs.
#include <algorithm>

#include "engine/variation/source_disguise.h"
#include "engine/variation/tuning.h"
#include "evaluators/worker/contract/source_rules.h"
#include "evaluators/worker/contract/source_text.h"
#include "evaluators/worker/nvrtc/compile_log.h"
#include "tests/fuzz/fuzzed_parser.h"

namespace kernelites::fuzz {
namespace {

void fuzz_tunables(std::string_view input) {
  std::vector<std::string> problems;
  const std::vector<Tunable> tunables = parse_tunables(input, &problems);
  demand(tunables.size() <= k_tunables_max, "tunables are few");
  const std::vector<TuningRule> rules = parse_tuning_rules(input, &problems);
  demand(rules.size() <= k_tuning_rules_max, "rules are few");
  const Candidate full = with_full_tuning({.source = std::string(input), .tuning = {{"BM", 3}}});
  demand(full.tuning.size() == tunables.size(), "a tuning is complete");
  demand(with_full_tuning(full) == full, "a complete tuning stays");
  is_allowed(rules, full.tuning);
  for (const Tuning& tuning : neighbours(tunables, full.tuning, 2, 40)) {
    is_allowed(rules, tuning);
    describe_change(full.tuning, tuning);
    const std::string chosen = source_with_choices({.source = full.source, .tuning = tuning});
    demand(with_full_tuning({.source = chosen, .tuning = {}}).tuning == tuning, "a file keeps its choices");
  }
}

void fuzz_log(std::string_view log) {
  const auto messages = worker::read_messages(log);
  demand(worker::error_diagnostics(messages, "compile_error").size() <= 16, "diagnostics are few");
  demand(worker::clean_log(log, "a\nb\nc\n").size() <= worker::k_clean_log_bytes_max, "a clean log is short");
  worker::read_spills(log);
  worker::read_advisories(log);
  for (const worker::PtxComplaint& complaint : worker::read_ptx_complaints(log))
    worker::source_line_of(log, complaint.ptx_line);
}

}  // namespace

void fuzz_source(std::string_view input) {
  fuzz_tunables(input);
  const worker::SourceText text = worker::read_source(input);
  demand(text.code.size() == input.size(), "code keeps its length");
  demand(!text.problem.empty() || std::count(text.code.begin(), text.code.end(), '\n') ==
                                      std::count(input.begin(), input.end(), '\n'),
         "code keeps its lines");
  demand(worker::code_without_literals(input).size() == input.size(), "blanked code keeps its length");
  worker::check_source(input);
  worker::candidate_options(input);
  disguised_source(input, {});
  fuzz_log(input);
}

}  // namespace kernelites::fuzz
