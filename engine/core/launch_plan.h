// SPDX-License-Identifier: Apache-2.0
// A launch plan: what a candidate's constexpr `plan` asked for, for one workload, read back as data.
//
// Mirrors `kernelites/plan.cuh`, which is its other half: the POD types there are what NVRTC's constant evaluator
// fills in, these are what the worker reads out of the PTX, checks, shows and launches.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "engine/core/task.h"

namespace kernelites {

/// What a kernel argument is.
enum class ArgumentKind { tensor, workspace, tensor_map, i32, i64, f32, f64 };

/// One kernel argument, in order of the kernel's parameters.
struct Argument {
  ArgumentKind kind = ArgumentKind::i32;
  int index = 0;             ///< of the tensor (task order), workspace or tensor map
  std::int64_t integer = 0;  ///< value of i32, i64
  double real = 0;           ///< value of f32, f64
  bool operator==(const Argument&) const = default;
};

/// One kernel launch.
struct PlannedLaunch {
  std::string kernel;  ///< name expression as written: "split_kv<128,4>"
  std::array<std::uint32_t, 3> grid{1, 1, 1};
  std::array<std::uint32_t, 3> block{1, 1, 1};
  std::array<std::uint32_t, 3> cluster{1, 1, 1};
  std::uint32_t shared_bytes = 0;  ///< dynamic shared memory
  bool is_cooperative = false;
  bool is_programmatic = false;  ///< programmatic dependent launch after the previous launch
  bool is_prepare = false;       ///< metadata-only preparation, amortised
  int carveout_percent = -1;     ///< -1: the driver's choice
  int priority = 0;
  int after = -1;  ///< index of the launch it waits for; -1: none (first launch)
  std::vector<Argument> arguments;
  bool operator==(const PlannedLaunch&) const = default;
};

/// How a workspace looks before a launch.
/// - poisoned: random bytes before every launch;
/// - zeroed: cleared inside the timed region, before the first launch;
/// - self_clearing: zero before the first launch ever, and left all zero by every launch (at most 64 KiB);
/// - prepared: written by `prepare` launches only, read-only for the others.
enum class WorkspaceKind { poisoned, zeroed, self_clearing, prepared };

struct Workspace {
  std::int64_t bytes = 0;
  std::int64_t alignment = 256;
  WorkspaceKind kind = WorkspaceKind::poisoned;
  bool operator==(const Workspace&) const = default;
};

/// A TMA tensor map over a bound tensor or workspace; innermost dimension first, as cuTensorMapEncodeTiled wants it.
struct TensorMap {
  bool is_workspace = false;
  int index = 0;  ///< of the tensor or workspace
  Dtype dtype = Dtype::bf16;
  int rank = 0;
  std::array<std::int64_t, 5> extent{};        ///< elements
  std::array<std::int64_t, 5> stride_bytes{};  ///< [0] is the element size
  std::array<std::uint32_t, 5> box{};
  std::array<std::uint32_t, 5> element_stride{1, 1, 1, 1, 1};
  int swizzle_bytes = 0;          ///< 0, 32, 64 or 128
  int l2_promotion_bytes = 256;   ///< 0, 64, 128 or 256
  std::int64_t offset_bytes = 0;  ///< of the map's base from the tensor's
  bool operator==(const TensorMap&) const = default;
};

/// A whole plan for one workload.
struct LaunchPlan {
  std::string unsupported;  ///< the failed `require`'s reason; empty: the shape is supported
  std::vector<PlannedLaunch> launches;
  std::vector<Workspace> workspaces;
  std::vector<TensorMap> tensor_maps;
  bool operator==(const LaunchPlan&) const = default;
};

/// Versioned JSON for the archive and for people; `from_json` accepts what `to_json` writes.
void to_json(Json& json, const LaunchPlan& plan);
void from_json(const Json& json, LaunchPlan& plan);

/// Limits of a plan, the same for every device (per-device limits are DeviceFacts).
inline constexpr int k_launches_max = 16;
inline constexpr int k_arguments_max = 40;
inline constexpr int k_workspaces_max = 8;
inline constexpr int k_tensor_maps_max = 8;
inline constexpr std::int64_t k_workspace_bytes_max = std::int64_t{4} << 30;

}  // namespace kernelites
