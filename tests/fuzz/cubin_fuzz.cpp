// SPDX-License-Identifier: Apache-2.0
// ELF: cubins out of the compile child, and the object file of an export's plan.
#include <cstddef>

#include "evaluators/worker/contract/cubin.h"
#include "evaluators/worker/contract/sass.h"
#include "tests/fuzz/fuzzed_parser.h"
#include "tools/exporting/plan_object.h"

namespace kernelites::fuzz {

void fuzz_cubin(std::string_view input) {
  const auto cubin = worker::parse_cubin(std::as_bytes(std::span(input)));
  if (!cubin) return;
  demand(cubin->constant_data.size() <= 2 * input.size(), "constants are bytes of the file");
  for (const auto& [name, kernel] : cubin->kernels) {
    demand(kernel.code.size() <= input.size(), "code is bytes of the file");
    worker::count_sass(kernel.code);
  }
}

void fuzz_object(std::string_view input) { object_trouble(input, "kernelites_plan_0"); }

}  // namespace kernelites::fuzz
