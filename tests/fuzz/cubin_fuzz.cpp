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
  std::size_t bytes = cubin->constant_data.size();
  demand(cubin->constant_bytes >= 0 && cubin->writable_bytes >= 0, "sizes are not negative");
  for (const auto& [name, kernel] : cubin->kernels) {
    bytes += kernel.code.size();
    demand(bytes <= input.size(), "constants and code are bytes of the file, each once");
    worker::count_sass(kernel.code);
  }
}

void fuzz_object(std::string_view input) { object_trouble(input, "kernelites_plan_0"); }

}  // namespace kernelites::fuzz
