// SPDX-License-Identifier: Apache-2.0
// Rules for plans against the compiled kernels: what the driver would refuse or, worse, accept.
#include <fmt/format.h>

#include "evaluators/worker/contract/plan_check.h"

namespace kernelites::worker {
namespace {

Verdict wrong(const char* code, std::string words) { return Verdict::failed("plan", code, std::move(words)); }

std::int64_t argument_bytes(ArgumentKind kind) {
  switch (kind) {
    case ArgumentKind::tensor_map:
      return 128;
    case ArgumentKind::i32:
    case ArgumentKind::f32:
      return 4;
    default:
      return 8;
  }
}

std::string argument_words(const Argument& argument, const Task& task, Form form) {
  switch (argument.kind) {
    case ArgumentKind::tensor:
      return fmt::format("tensor \"{}\"",
                         tensor_in_form(task, static_cast<std::size_t>(argument.index), form).name);
    case ArgumentKind::workspace:
      return fmt::format("workspace {}", argument.index);
    case ArgumentKind::tensor_map:
      return fmt::format("tensor map {}", argument.index);
    case ArgumentKind::i32:
      return "an int";
    case ArgumentKind::i64:
      return "a long long";
    case ArgumentKind::f32:
      return "a float";
    case ArgumentKind::f64:
      return "a double";
  }
  return "";
}

std::string parameter_words(const KernelParameter& parameter) {
  if (parameter.is_pointer) return "a pointer";
  if (parameter.bytes == 128) return "a tensor map (128 bytes)";
  return fmt::format("{} {} bytes", parameter.is_real ? "a real number of" : "a value of", parameter.bytes);
}

bool fits(const Argument& argument, const KernelParameter& parameter) {
  if (argument_bytes(argument.kind) != parameter.bytes) return false;
  const bool is_real = argument.kind == ArgumentKind::f32 || argument.kind == ArgumentKind::f64;
  if (is_real != parameter.is_real) return false;
  // A pointer is a tensor, a workspace or null; any other address would be made up.
  return !parameter.is_pointer || argument.kind != ArgumentKind::i64 || argument.integer == 0;
}

std::optional<Verdict> check_arguments(const PlannedLaunch& launch, const std::string& name, const Task& task,
                                       Form form, const KernelSignature& signature) {
  if (launch.arguments.size() != signature.parameters.size()) {
    return wrong("plan_argument_count",
                 fmt::format("{} passes {} arguments; the kernel has {} parameters", name,
                             launch.arguments.size(), signature.parameters.size()));
  }
  for (std::size_t i = 0; i < launch.arguments.size(); ++i) {
    if (fits(launch.arguments[i], signature.parameters[i])) continue;
    return wrong(
        "plan_argument_type",
        fmt::format(
            "{} passes {} as argument {}, but the kernel's parameter is {}; integers must match in size, "
            "a bool parameter must become int, a struct must be passed member by member",
            name, argument_words(launch.arguments[i], task, form), i,
            parameter_words(signature.parameters[i])));
  }
  return std::nullopt;
}

std::optional<Verdict> check_bounds(const PlannedLaunch& launch, const std::string& name,
                                    const KernelSignature& signature, const KernelResources& resources,
                                    const DeviceFacts& device) {
  const auto threads = static_cast<int>(launch.block[0] * launch.block[1] * launch.block[2]);
  if (signature.threads_required > 0 && threads != signature.threads_required) {
    return wrong("plan_block_not_required_size",
                 fmt::format("{} has {} threads per block; the kernel requires exactly {}", name, threads,
                             signature.threads_required));
  }
  if (signature.threads_max > 0 && threads > signature.threads_max) {
    return wrong("plan_block_over_launch_bounds",
                 fmt::format("{} has {} threads per block; __launch_bounds__ allows {}", name, threads,
                             signature.threads_max));
  }
  if (resources.registers * threads > device.registers_per_sm) {
    return wrong("plan_registers",
                 fmt::format("{} needs {} registers for each of {} threads; a block has {}: add "
                             "__launch_bounds__({})",
                             name, resources.registers, threads, device.registers_per_sm, threads));
  }
  if (static_cast<std::int64_t>(launch.shared_bytes) + resources.static_shared_bytes >
      device.shared_bytes_per_block_max) {
    return wrong(
        "plan_shared_memory_too_large",
        fmt::format("{} uses {} bytes of dynamic and {} of static shared memory; the device has {} per block",
                    name, launch.shared_bytes, resources.static_shared_bytes,
                    device.shared_bytes_per_block_max));
  }
  const int* cluster = signature.cluster_required;
  for (std::size_t axis = 0; axis < 3 && cluster[0] > 0; ++axis) {
    if (static_cast<int>(launch.cluster[axis]) != cluster[axis]) {
      return wrong(
          "plan_cluster_not_required_size",
          fmt::format(
              "{} does not ask for the cluster ({}, {}, {}) that the kernel's __cluster_dims__ requires",
              name, cluster[0], cluster[1], cluster[2]));
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<Verdict> check_plan_against_code(const LaunchPlan& plan, const Task& task, Form form,
                                               const std::map<std::string, KernelSignature>& signatures,
                                               const std::map<std::string, KernelResources>& resources,
                                               const DeviceFacts& device) {
  for (std::size_t i = 0; i < plan.launches.size(); ++i) {
    const PlannedLaunch& launch = plan.launches[i];
    const std::string name = fmt::format("launch {} (\"{}\")", i, launch.kernel);
    const auto signature = signatures.find(launch.kernel);
    const auto resource = resources.find(launch.kernel);
    if (signature == signatures.end() || resource == resources.end()) {
      return wrong("plan_unknown_kernel", fmt::format("{}: the compiled code has no such kernel", name));
    }
    if (auto verdict = check_arguments(launch, name, task, form, signature->second)) return verdict;
    if (auto verdict = check_bounds(launch, name, signature->second, resource->second, device))
      return verdict;
  }
  return std::nullopt;
}

}  // namespace kernelites::worker
