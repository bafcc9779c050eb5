// SPDX-License-Identifier: Apache-2.0
// A launch plan as an exported library uses it, decoded from the words that the plan encodes itself in.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tools/exporting/runtime/library_name.h"

namespace KERNELITES_LIBRARY {

/// As much room as the largest plan needs.
constexpr int k_plan_words_max = 2816;

struct PlanArgument {
  enum Kind { tensor, workspace, tensor_map, i32, i64, f32, f64 };
  int kind = i32;
  int index = 0;
  std::int64_t integer = 0;
  double real = 0;
};

struct PlanLaunch {
  std::string kernel;
  std::int64_t grid[3] = {1, 1, 1}, block[3] = {1, 1, 1}, cluster[3] = {1, 1, 1};
  std::int64_t shared_bytes = 0;
  bool is_cooperative = false, is_programmatic = false, is_prepare = false;
  int carveout = -1, priority = 0;
  std::vector<PlanArgument> arguments;
};

struct PlanWorkspace {
  enum Kind { poisoned, zeroed, self_clearing, prepared };
  std::int64_t bytes = 0, alignment = 256;
  int kind = poisoned;
};

struct PlanMap {
  bool is_workspace = false;
  int index = 0, dtype = 0, rank = 0, swizzle = 0, promotion = 0;
  std::uint64_t extent[5] = {}, stride[5] = {};
  std::uint32_t box[5] = {}, step[5] = {};
  std::int64_t offset = 0;
};

struct LibraryPlan {
  std::string unsupported;  // why the shape is not supported; empty: it is
  std::vector<PlanLaunch> launches;
  std::vector<PlanWorkspace> workspaces;
  std::vector<PlanMap> maps;
};

/// False if the words are no plan, or one that recorded an error: `problem` says what.
bool decode_plan(const std::uint64_t* words, int count, LibraryPlan& plan, std::string& problem);

}  // namespace KERNELITES_LIBRARY
