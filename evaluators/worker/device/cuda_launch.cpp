// SPDX-License-Identifier: Apache-2.0
// Launch configuration, attributes, parameters and the names of what can go wrong.
#include "evaluators/worker/device/cuda_launch.h"

#include <fmt/format.h>

#include "evaluators/worker/device/tensor_map_encoding.h"

namespace kernelites::worker {
namespace {

/// Blocks of a cluster that every device of compute capability 9.0 takes; more needs the kernel's consent.
constexpr std::uint32_t k_portable_cluster = 8;

std::uint64_t volume(const std::array<std::uint32_t, 3>& extent) {
  return std::uint64_t{extent[0]} * extent[1] * extent[2];
}

DeviceFault invalid(const BoundLaunch& launch, const std::string& message) {
  return {.reason = "invalid_launch", .message = fmt::format("{}: {}", launch.plan.kernel, message)};
}

/// Sets what the launch needs beyond what earlier launches of the kernel asked for.
std::optional<DeviceFault> set_attributes(const CudaLibrary& cuda, const BoundLaunch& launch,
                                          CudaKernel& kernel) {
  const auto set = [&](int attribute, int value, const char* what) -> std::optional<DeviceFault> {
    const cuda::Result result = cuda.function_set_attribute(kernel.function, attribute, value);
    if (result == cuda::k_success) return std::nullopt;
    return invalid(launch, fmt::format("{} of {} is refused: {}", what, value, cuda.words(result)));
  };
  const PlannedLaunch& plan = launch.plan;
  const auto shared = static_cast<int>(plan.shared_bytes);
  if (shared > kernel.dynamic_shared_bytes) {
    if (auto fault = set(cuda::k_max_dynamic_shared_size_bytes, shared, "dynamic shared memory"))
      return fault;
    kernel.dynamic_shared_bytes = shared;
  }
  if (plan.carveout_percent != kernel.carveout_percent) {
    if (auto fault = set(cuda::k_preferred_shared_memory_carveout, plan.carveout_percent, "a carve-out"))
      return fault;
    kernel.carveout_percent = plan.carveout_percent;
  }
  if (volume(plan.cluster) > k_portable_cluster && !kernel.allows_large_clusters) {
    if (auto fault = set(cuda::k_non_portable_cluster_size_allowed, 1, "a cluster of more than 8 blocks"))
      return fault;
    kernel.allows_large_clusters = true;
  }
  return std::nullopt;
}

void add_attribute(PreparedLaunch& prepared, int id, int number) {
  cuda::LaunchAttribute attribute{.id = id};
  attribute.value.number = number;
  prepared.attributes.push_back(attribute);
}

void configure(const PlannedLaunch& plan, cuda::Stream stream, bool may_overlap, PreparedLaunch& prepared) {
  prepared.configuration = {.grid_x = plan.grid[0],
                            .grid_y = plan.grid[1],
                            .grid_z = plan.grid[2],
                            .block_x = plan.block[0],
                            .block_y = plan.block[1],
                            .block_z = plan.block[2],
                            .shared_bytes = plan.shared_bytes,
                            .stream = stream};
  if (volume(plan.cluster) > 1) {
    cuda::LaunchAttribute attribute{.id = cuda::k_attribute_cluster_dimension};
    for (int i = 0; i < 3; ++i) attribute.value.cluster[i] = plan.cluster[static_cast<std::size_t>(i)];
    prepared.attributes.push_back(attribute);
  }
  if (plan.is_cooperative) add_attribute(prepared, cuda::k_attribute_cooperative, 1);
  if (plan.is_programmatic && may_overlap)
    add_attribute(prepared, cuda::k_attribute_programmatic_stream_serialization, 1);
  if (plan.priority != 0) add_attribute(prepared, cuda::k_attribute_priority, plan.priority);
}

/// The driver reads as many parameters as the kernel has, of the kernel's sizes: fewer or shorter ones would
/// make it read beyond ours.
std::optional<DeviceFault> check_parameters(const BoundLaunch& launch, const CudaKernel& kernel) {
  if (!kernel.parameter_bytes) return std::nullopt;
  const auto& expected = *kernel.parameter_bytes;
  if (launch.arguments.size() != expected.size())
    return invalid(launch, fmt::format("the kernel has {} parameters, the plan gives {} arguments",
                                       expected.size(), launch.arguments.size()));
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const BoundArgument& argument = launch.arguments[i];
    const std::size_t bytes = argument.tensor_map ? sizeof(cuda::EncodedTensorMap) : argument.bytes.size();
    if (bytes != expected[i])
      return invalid(launch,
                     fmt::format("parameter {} has {} bytes, the argument {}", i, expected[i], bytes));
  }
  return std::nullopt;
}

}  // namespace

std::optional<DeviceFault> prepare_launch(const CudaLibrary& cuda, CudaModules& modules,
                                          const BoundLaunch& launch, cuda::Stream stream, bool may_overlap,
                                          PreparedLaunch& prepared) {
  CudaKernel* const kernel = modules.find(launch.module, launch.kernel);
  if (!kernel) return invalid(launch, fmt::format("the module has no kernel {}", launch.kernel));
  if (volume(launch.plan.block) > static_cast<std::uint64_t>(kernel->threads_max))
    return invalid(launch, fmt::format("{} threads per block; the compiled kernel takes {}",
                                       volume(launch.plan.block), kernel->threads_max));
  if (auto fault = check_parameters(launch, *kernel)) return fault;
  if (auto fault = set_attributes(cuda, launch, *kernel)) return fault;

  prepared.function = kernel->function;
  configure(launch.plan, stream, may_overlap, prepared);
  prepared.tensor_maps.reserve(launch.arguments.size());  // parameters point into it
  for (const BoundArgument& argument : launch.arguments) {
    if (!argument.tensor_map) {
      prepared.parameters.push_back(const_cast<std::byte*>(argument.bytes.data()));
      continue;
    }
    std::string problem;
    const auto encoded = encode_tensor_map(cuda, *argument.tensor_map, argument.map_address, problem);
    if (!encoded) return invalid(launch, problem);
    prepared.tensor_maps.push_back(*encoded);
    prepared.parameters.push_back(&prepared.tensor_maps.back());
  }
  return std::nullopt;
}

cuda::Result enqueue(const CudaLibrary& cuda, PreparedLaunch& prepared) {
  prepared.configuration.attributes = prepared.attributes.empty() ? nullptr : prepared.attributes.data();
  prepared.configuration.attribute_count = static_cast<unsigned>(prepared.attributes.size());
  return cuda.launch_kernel(&prepared.configuration, prepared.function, prepared.parameters.data(), nullptr);
}

const char* fault_reason(cuda::Result result) {
  switch (result) {
    case cuda::k_illegal_address:
      return "illegal_address";
    case cuda::k_misaligned_address:
      return "misaligned";
    case cuda::k_illegal_instruction:
      return "illegal_instruction";
    case cuda::k_invalid_address_space:
      return "invalid_address_space";
    case cuda::k_invalid_pc:
      return "invalid_program_counter";
    case cuda::k_hardware_stack_error:
      return "stack_error";
    case cuda::k_assert:
      return "trap";
    case cuda::k_launch_timeout:
      return "deadline";
    case cuda::k_launch_failed:
      return "launch_failed";
    default:
      return is_refusal(result) ? "invalid_launch" : "device_error";
  }
}

bool is_refusal(cuda::Result result) {
  switch (result) {
    case cuda::k_invalid_value:
    case cuda::k_out_of_memory:
    case cuda::k_launch_out_of_resources:
    case cuda::k_cooperative_launch_too_large:
    case cuda::k_invalid_cluster_size:
      return true;
    default:
      return false;
  }
}

}  // namespace kernelites::worker
