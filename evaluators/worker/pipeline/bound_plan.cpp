// SPDX-License-Identifier: Apache-2.0
// Turns plan arguments into bytes in the kernel's layout.
#include "evaluators/worker/pipeline/bound_plan.h"

#include <fmt/format.h>

#include <cstring>

#include "engine/core/error.h"

namespace kernelites::worker {
namespace {

template <typename T>
BoundArgument scalar(T value) {
  BoundArgument argument;
  argument.bytes.resize(sizeof value);
  std::memcpy(argument.bytes.data(), &value, sizeof value);
  return argument;
}

const Buffer& at(const std::vector<Buffer>& buffers, int index, const char* what) {
  if (index < 0 || index >= static_cast<int>(buffers.size())) {
    throw Error(fmt::format("plan refers to {} {} of {}", what, index, buffers.size()));
  }
  return buffers[static_cast<std::size_t>(index)];
}

BoundArgument bind_argument(const Argument& argument, const LaunchPlan& plan, const Binding& binding) {
  switch (argument.kind) {
    case ArgumentKind::tensor:
      return scalar(at(binding.tensors, argument.index, "tensor").address);
    case ArgumentKind::workspace:
      return scalar(at(binding.workspaces, argument.index, "workspace").address);
    case ArgumentKind::i32:
      return scalar(static_cast<std::int32_t>(argument.integer));
    case ArgumentKind::i64:
      return scalar(argument.integer);
    case ArgumentKind::f32:
      return scalar(static_cast<float>(argument.real));
    case ArgumentKind::f64:
      return scalar(argument.real);
    case ArgumentKind::tensor_map:
      break;
  }
  if (argument.index < 0 || argument.index >= static_cast<int>(plan.tensor_maps.size())) {
    throw Error(fmt::format("plan refers to tensor map {}", argument.index));
  }
  const TensorMap& map = plan.tensor_maps[static_cast<std::size_t>(argument.index)];
  const Buffer& base = map.is_workspace ? at(binding.workspaces, map.index, "workspace")
                                        : at(binding.tensors, map.index, "tensor");
  BoundArgument bound;
  bound.tensor_map = map;
  bound.map_address = base.address + static_cast<std::uint64_t>(map.offset_bytes);
  return bound;
}

}  // namespace

std::vector<BoundLaunch> bind_plan(const LaunchPlan& plan, const Binding& binding) {
  std::vector<BoundLaunch> launches;
  for (const PlannedLaunch& planned : plan.launches) {
    const auto symbol = binding.lowered_names.find(planned.kernel);
    if (symbol == binding.lowered_names.end())
      throw Error(fmt::format("no symbol for kernel '{}'", planned.kernel));
    BoundLaunch launch{.module = binding.module, .kernel = symbol->second, .plan = planned};
    for (const Argument& argument : planned.arguments) {
      launch.arguments.push_back(bind_argument(argument, plan, binding));
    }
    launches.push_back(std::move(launch));
  }
  return launches;
}

}  // namespace kernelites::worker
