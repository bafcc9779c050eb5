// SPDX-License-Identifier: Apache-2.0
// Input families as data: what the device draws into a tensor, and in which sequences.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "engine/core/task.h"
#include "evaluators/worker/pipeline/metadata.h"

namespace kernelites::worker {

/// A fill as `harness_fill` takes it: the kind's row in engine/core/fill_kind.cpp, its parameters, its modifiers.
/// Mirrored in harness/fill.cu, like `FillOrder`.
struct DrawnAs {
  std::int32_t kind = 0;
  float p[4] = {};
  float head_step = 0;
  float grid = 0;
};

/// Everything that `harness_fill` needs of one tensor. The addresses are filled in by who owns the memory.
struct FillOrder {
  std::uint64_t out = 0;
  std::uint64_t map = 0;
  std::uint64_t seed = 0;
  std::uint64_t pattern = 0;
  std::int64_t count = 0, leading = 0, tokens = 0, inner = 0, columns = 0;
  std::int64_t head_stride = 1, heads = 1, head_groups = 1;
  std::int64_t nominal_prefix = 0;
  std::int32_t dtype = 0;
  float hidden = 0;
  DrawnAs as;
  DrawnAs nominal;
};
static_assert(sizeof(FillOrder) == 13 * 8 + 8 + 2 * 28);

/// A fill order and what goes with it.
struct TensorFill {
  FillOrder order;
  float unit = 0;                 ///< > 0: vectors along the last axis get this length
  std::vector<LeadingEntry> map;  ///< empty: every leading index is a sequence
  bool has_invalid = false;       ///< some tokens belong to nobody
};

/// What one draw of all inputs shares.
struct FillDraw {
  const Task& task;
  const Workload& workload;
  const InputFamily& family;
  const MetadataContents& metadata;
  std::uint64_t pattern = 0;  ///< signs and hot tokens derive from it, the same in all tensors
};

/// The fill of an input by the draw's family, else by its own. REQUIRES: `tensor` is an input that the device draws.
TensorFill tensor_fill(const FillDraw& draw, const TensorSpec& tensor, std::uint64_t seed);

/// The fill that a family gives a tensor.
const Fill& fill_of(const InputFamily& family, const TensorSpec& tensor);

/// A parameter of a fill, formulas evaluated.
double fill_number(const Fill& fill, const std::string& name, const std::map<std::string, double>& names);

}  // namespace kernelites::worker
