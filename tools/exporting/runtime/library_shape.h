// SPDX-License-Identifier: Apache-2.0
// One shape, ready to be launched: function handles, attributes, and where addresses go.
#pragma once

#include <string>
#include <vector>

#include "tools/exporting/runtime/library_core.h"
#include "tools/exporting/runtime/library_plan.h"

namespace KERNELITES_LIBRARY {

/// A loaded kernel.
struct Kernel {
  std::string planned;
  void* function = nullptr;
  int threads_max = 0, static_shared_bytes = 0;
};

struct ReadyArgument {
  int kind = 0;            // PlanArgument::Kind
  int index = 0;           // tensor, workspace or map
  unsigned char bytes[8];  // of numbers
};

struct ReadyLaunch {
  void* function = nullptr;
  LaunchConfiguration configuration;
  LaunchAttribute attributes[5];
  std::vector<ReadyArgument> arguments;
};

/// What launches of one shape need. Immutable once made.
struct ReadyShape {
  std::vector<ReadyLaunch> launches;
  std::vector<PlanMap> maps;
  std::vector<std::int64_t> workspace_offsets;
  std::vector<std::pair<std::int64_t, std::int64_t>> zeroed;  // offset, bytes
  std::int64_t workspace_bytes = 0;
  std::int64_t zero_bytes = 0;  // at the workspace's beginning, before the first launch
};

/// Self-clearing workspaces of all shapes share the beginning of a workspace, which nothing else writes: every run
/// leaves them zero.
constexpr std::int64_t k_clear_bytes = 8 * 64 * 1024;

/// False if the plan asks for what the kernels or the device do not have: `problem` says what.
bool make_ready(const LibraryPlan& plan, const std::vector<Kernel>& kernels, int shared_bytes_max,
                int tensor_count, ReadyShape& shape, std::string& problem);

/// Enqueues all launches.
Status enqueue(const ReadyShape& shape, const Memory& memory, Stream stream, const char*& problem,
               Result& result);

}  // namespace KERNELITES_LIBRARY
