// SPDX-License-Identifier: Apache-2.0
// Profiler traces: Chrome's JSON, gzipped too, and the SQLite exports of Nsight Systems.
#include <cmath>

#include "tests/fuzz/fuzz_folder.h"
#include "tests/fuzz/fuzzed_parser.h"
#include "tools/rank/kernel_name.h"
#include "tools/rank/kernel_trace.h"

namespace kernelites::fuzz {
namespace {

void fuzz_file(const std::filesystem::path& file) {
  is_taken([&] {
    const KernelTrace trace = read_trace(file);
    for (const double value : {trace.kernel_us, trace.busy_us, trace.span_us, trace.copy_us})
      demand(std::isfinite(value) && value >= 0, "times are numbers");
    std::int64_t launches = 0;
    for (const KernelUse& use : trace.kernels) {
      launches += use.launches;
      short_kernel_name(use.name);
      demand(use.least_us <= use.most_us, "the least is no more than the most");
    }
    demand(launches == trace.launches, "every launch is a kernel's");
  });
}

}  // namespace

void fuzz_trace(std::string_view input) {
  static const FuzzFolder folder;
  fuzz_file(folder.write("trace.json", input));
  demangled(std::string(input.substr(0, 512)));
}

void fuzz_nsight(std::string_view input) {
  static const FuzzFolder folder;
  fuzz_file(folder.write("trace.sqlite", input));
}

}  // namespace kernelites::fuzz
