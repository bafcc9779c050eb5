// SPDX-License-Identifier: Apache-2.0
// Attacks on what surrounds a launch, each run in a process of its own: a fault takes the context with it.
#pragma once

#include <string>

#include "engine/core/json.h"
#include "evaluators/worker/pipeline/harness_launch.h"
#include "evaluators/worker/pipeline/launch_surroundings.h"
#include "tests/gpu/gpu_support.h"

namespace kernelites {

/// A device with the harness's kernels and those of gpu_attack_kernels.h, and one plan's surroundings.
struct AttackBench {
  explicit AttackBench(std::unique_ptr<worker::Device> opened);

  /// One checked launch of `kernel` in its surroundings. `tensors` are all written by it, if `is_written`.
  worker::RunOutcome launch(const std::string& kernel, const std::vector<worker::Buffer>& tensors,
                            const std::vector<Argument>& arguments, std::uint64_t placement,
                            const std::vector<Workspace>& workspaces = {}, bool is_written = true,
                            std::uint32_t shared_bytes = 0);
  /// A launch without anything around it.
  worker::BoundLaunch bare(const std::string& kernel, std::vector<worker::BoundArgument> arguments,
                           std::uint32_t blocks = 1, std::uint32_t threads = 256) const {
    return launch_of(attacks, kernel, std::move(arguments), blocks, threads);
  }
  worker::SequenceOutcome run(const std::vector<worker::BoundLaunch>& launches) {
    return device->run({}, launches, worker::RunMode::full, 20);
  }

  std::unique_ptr<worker::Device> device;
  worker::ModuleId harness = 0, attacks = 0;
  std::unique_ptr<worker::LaunchSurroundings> surroundings;
  std::uint64_t seed = 1;
};

/// Arguments of plans.
inline Argument tensor_argument(int index) { return {.kind = ArgumentKind::tensor, .index = index}; }
inline Argument workspace_argument(int index) { return {.kind = ArgumentKind::workspace, .index = index}; }
inline Argument long_argument(std::int64_t value) { return {.kind = ArgumentKind::i64, .integer = value}; }

/// What the child does for an order {"kernel", "placement", "offset", "target": tensor|workspace|input}; its reply has
/// "reason", "message" and the first word of the output.
Json attack(const Json& order);

}  // namespace kernelites
