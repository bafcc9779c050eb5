// SPDX-License-Identifier: Apache-2.0
// PTX as the screen, the plan reader and the virtual GPU read it; execution is vgpu_fuzz.
#include "evaluators/worker/contract/plan_reader.h"
#include "evaluators/worker/contract/programmatic_wait.h"
#include "evaluators/worker/contract/ptx_forbidden.h"
#include "evaluators/worker/contract/ptx_plain.h"
#include "evaluators/worker/contract/screen.h"
#include "evaluators/worker/nvrtc/compile_log.h"
#include "evaluators/worker/vgpu/machine.h"
#include "tests/fuzz/fuzzed_parser.h"
#include "tests/vgpu/ptx_mutator.h"

namespace kernelites::fuzz {

void fuzz_ptx(std::string_view input) {
  const auto tokens = worker::tokenize_ptx(input);
  const worker::PtxModule module = worker::parse_ptx(tokens);
  for (const worker::PtxVariable& variable : module.variables)
    demand(variable.bytes >= 0, "a variable's size is not negative");
  worker::find_forbidden_ptx(tokens);
  worker::find_unplain_ptx(input, tokens);
  const auto plans = worker::read_plans(input, 3);
  if (const auto* read = std::get_if<std::vector<LaunchPlan>>(&plans))
    demand(read->size() == 3, "as many plans as points");
  worker::CompiledCandidate candidate;
  candidate.ptx = input;
  candidate.source = "__global__ void k() {}";
  worker::screen(candidate);
  worker::screen_remarks(candidate);
  worker::source_line_of(input, 7);
  is_taken([&] { worker::vgpu::parse(input); });
}

void fuzz_vgpu(std::string_view input) {
  worker::vgpu::run_mutant(input, std::hash<std::string_view>{}(input));
}

}  // namespace kernelites::fuzz
