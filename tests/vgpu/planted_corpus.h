// SPDX-License-Identifier: Apache-2.0
// The corpus of planted bugs (tests/vgpu/ptx/planted*.cu) and what the virtual GPU finds in one of its kernels.
#pragma once

#include <algorithm>

#include "tests/vgpu/vgpu_fixture.h"

namespace kernelites::worker::vgpu {

inline constexpr const char* k_planted_files[] = {
    "planted_bugs",  "planted_memory", "planted_races", "planted_sync",    "planted_grid",
    "planted_async", "planted_bulk",   "planted_wgmma", "planted_cluster", "planted_registers"};

inline constexpr const char* k_honest_files[] = {"honest", "honest_patterns", "honest_async",
                                                 "honest_cluster"};

/// The fault that a kernel's name promises: what stands before "__".
inline std::string planted_kind(const TestKernel& kernel) {
  return kernel.name.substr(0, kernel.name.find("__"));
}

struct PlantedResult {
  std::string
      kind;      ///< of the fault; "missing_output" if o is not complete; of a remark; "": nothing was found
  int line = 0;  ///< 0 without a fault
  bool is_right = false;  ///< a promised kind, at a marked line
  std::string text;       ///< in words
  u64 digest = 0;         ///< FNV-1a of o
};

/// Runs one kernel with all checks on.
inline PlantedResult run_planted(const Program& program, const TestKernel& kernel, u64 seed,
                                 unsigned threads = 1) {
  Fixture fixture;
  const LaunchResult result = fixture.launch(program, kernel,
                                             {.threads = threads,
                                              .instruction_budget = 5'000'000,
                                              .schedule_seed = seed,
                                              .checks = {},
                                              .sample = {}});
  PlantedResult found;
  if (result.fault) {
    found = {.kind = std::string(to_string(result.fault->kind)),
             .line = result.fault->line,
             .text = describe(*result.fault)};
  } else if (!fixture.is_output_complete()) {
    found.kind = "missing_output";
    found.text = "the kernel leaves a part of 'o' unwritten";
  } else if (!result.remarks.empty()) {
    found = {.kind = std::string(to_string(result.remarks.front().kind)),
             .line = result.remarks.front().line,
             .text = describe(result.remarks.front())};
  }
  found.digest = 0xcbf29ce484222325ull;
  for (const float value : fixture.o) {
    u32 bits;
    std::memcpy(&bits, &value, 4);
    for (u32 byte = 0; byte < 4; ++byte)
      found.digest = (found.digest ^ (bits >> 8 * byte & 255)) * 0x100000001b3ull;
  }
  const auto& lines = kernel.bug_lines;
  const bool is_promised = found.kind == planted_kind(kernel) ||
                           (!found.kind.empty() && kernel.also.find(found.kind) != std::string::npos);
  found.is_right =
      is_promised && (lines.empty() || std::find(lines.begin(), lines.end(), found.line) != lines.end());
  return found;
}

}  // namespace kernelites::worker::vgpu
