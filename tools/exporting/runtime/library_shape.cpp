// SPDX-License-Identifier: Apache-2.0
// From a plan to what the driver takes, once; and to the driver, at every launch.
#include "tools/exporting/runtime/library_shape.h"

#include <cstring>

namespace KERNELITES_LIBRARY {
namespace {

constexpr int k_arguments_max = 40, k_maps_max = 8;

const Kernel* find_kernel(const std::vector<Kernel>& kernels, const std::string& name) {
  for (const Kernel& kernel : kernels)
    if (kernel.planned == name) return &kernel;
  return nullptr;
}

std::int64_t volume(const std::int64_t* extents) { return extents[0] * extents[1] * extents[2]; }

/// Empty if the launch is possible.
std::string launch_problem(const PlanLaunch& launch, const Kernel* kernel, int shared_bytes_max) {
  if (kernel == nullptr)
    return "the plan launches " + launch.kernel + ", which was not compiled for this library";
  if (launch.is_prepare) return "preparing launches are not supported";
  for (int i = 0; i < 3; ++i) {
    if (launch.grid[i] < 1 || launch.block[i] < 1 || launch.cluster[i] < 1 || launch.block[i] > 1024)
      return "the plan has an empty grid, block or cluster";
    if (launch.cluster[i] > 16 || launch.grid[i] % launch.cluster[i] != 0)
      return "the plan's grid is no multiple of its cluster";
    if (i > 0 && launch.grid[i] > 65535) return "the plan's grid is larger than a device takes";
  }
  if (volume(launch.block) > kernel->threads_max) return "the plan's block is larger than the kernel takes";
  if (launch.shared_bytes > shared_bytes_max - kernel->static_shared_bytes)
    return "the plan asks for more shared memory than this device has";
  if (launch.arguments.size() > k_arguments_max) return "the plan has too many arguments";
  return std::string();
}

void add_attribute(ReadyLaunch& ready, int id, int number) {
  LaunchAttribute& attribute = ready.attributes[ready.configuration.attribute_count++];
  attribute.id = id;
  attribute.value.number = number;
}

/// Whether the driver takes the carve-out with a launch. The function's own would be that of all shapes, whose plans
/// may differ; on an older driver it is left to the driver.
bool takes_carveout() {
  int version = 0;
  return driver().driver_version != nullptr && driver().driver_version(&version) == 0 &&
         version >= k_carveout_driver;
}

void configure(const PlanLaunch& launch, bool is_first, ReadyLaunch& ready) {
  LaunchConfiguration& configuration = ready.configuration;
  for (int i = 0; i < 3; ++i) {
    configuration.grid[i] = static_cast<unsigned>(launch.grid[i]);
    configuration.block[i] = static_cast<unsigned>(launch.block[i]);
  }
  configuration.shared_bytes = static_cast<unsigned>(launch.shared_bytes);
  if (volume(launch.cluster) > 1) {
    LaunchAttribute& attribute = ready.attributes[configuration.attribute_count++];
    attribute.id = k_launch_cluster;
    for (int i = 0; i < 3; ++i) attribute.value.cluster[i] = static_cast<std::uint32_t>(launch.cluster[i]);
  }
  if (launch.is_cooperative) add_attribute(ready, k_launch_cooperative, 1);
  // The first launch must not overtake what the caller enqueued before.
  if (launch.is_programmatic && !is_first) add_attribute(ready, k_launch_programmatic, 1);
  if (launch.priority != 0) add_attribute(ready, k_launch_priority, launch.priority);
  if (launch.carveout >= 0 && takes_carveout()) add_attribute(ready, k_launch_carveout, launch.carveout);
}

ReadyArgument ready_argument(const PlanArgument& argument) {
  ReadyArgument ready;
  ready.kind = argument.kind;
  ready.index = argument.index;
  std::memset(ready.bytes, 0, sizeof ready.bytes);
  const auto narrow = static_cast<std::int32_t>(argument.integer);
  const auto single = static_cast<float>(argument.real);
  if (argument.kind == PlanArgument::i32) std::memcpy(ready.bytes, &narrow, sizeof narrow);
  if (argument.kind == PlanArgument::i64)
    std::memcpy(ready.bytes, &argument.integer, sizeof argument.integer);
  if (argument.kind == PlanArgument::f32) std::memcpy(ready.bytes, &single, sizeof single);
  if (argument.kind == PlanArgument::f64) std::memcpy(ready.bytes, &argument.real, sizeof argument.real);
  return ready;
}

/// Self-clearing ones first, at offsets that every shape shares.
bool lay_out(const std::vector<PlanWorkspace>& workspaces, ReadyShape& shape, std::string& problem) {
  std::int64_t clearing = 0;
  for (const PlanWorkspace& workspace : workspaces)
    if (workspace.kind == PlanWorkspace::self_clearing) clearing += (workspace.bytes + 255) / 256 * 256;
  if (clearing > k_clear_bytes) problem = "the plan's self-clearing workspaces are too large";
  // Also where this shape clears nothing: another one of the same workspace may.
  std::int64_t shared = 0, next = workspaces.empty() ? 0 : k_clear_bytes;
  for (const PlanWorkspace& workspace : workspaces) {
    if (workspace.kind == PlanWorkspace::prepared) problem = "prepared workspaces are not supported";
    std::int64_t& at = workspace.kind == PlanWorkspace::self_clearing ? shared : next;
    shape.workspace_offsets.push_back(at);
    if (workspace.kind == PlanWorkspace::zeroed) shape.zeroed.emplace_back(at, workspace.bytes);
    at += (workspace.bytes + 255) / 256 * 256;
  }
  shape.workspace_bytes = next;
  shape.zero_bytes = shared;
  return problem.empty();
}

/// Numbers of cuTensorMapEncodeTiled for the dtypes of plans; eight-bit types are bytes to the copy engine.
constexpr int k_map_types[] = {6, 9, 7, 8, 0, 0, 0, 0, 3, 5};

/// 0, 32, 64, 128 (and, for promotions, 0, 64, 128, 256) as the driver counts them; -1: no such value.
int swizzle_number(int bytes) {
  return bytes == 0 ? 0 : bytes == 32 ? 1 : bytes == 64 ? 2 : bytes == 128 ? 3 : -1;
}
int promotion_number(int bytes) {
  return bytes == 0 ? 0 : bytes == 64 ? 1 : bytes == 128 ? 2 : bytes == 256 ? 3 : -1;
}

}  // namespace

bool make_ready(const LibraryPlan& plan, const std::vector<Kernel>& kernels, int shared_bytes_max,
                int tensor_count, ReadyShape& shape, std::string& problem) {
  if (plan.launches.empty()) problem = "the plan launches nothing";
  if (!problem.empty() || !lay_out(plan.workspaces, shape, problem)) return false;
  for (const PlanMap& map : plan.maps) {
    if ((!map.is_workspace && map.index >= tensor_count) || swizzle_number(map.swizzle) < 0 ||
        promotion_number(map.promotion) < 0)
      problem = "the plan has a tensor map that cannot be";
    shape.maps.push_back(map);
  }
  for (const PlanLaunch& launch : plan.launches) {
    const Kernel* const kernel = find_kernel(kernels, launch.kernel);
    if (problem.empty()) problem = launch_problem(launch, kernel, shared_bytes_max);
    if (!problem.empty()) return false;
    shape.launches.emplace_back();
    ReadyLaunch& ready = shape.launches.back();
    ready.function = kernel->function;
    configure(launch, shape.launches.size() == 1, ready);
    for (const PlanArgument& argument : launch.arguments) {
      if (argument.kind == PlanArgument::tensor && argument.index >= tensor_count)
        problem = "the plan names a tensor that is not there";
      ready.arguments.push_back(ready_argument(argument));
    }
  }
  return problem.empty();
}

Status enqueue(const ReadyShape& shape, const Memory& memory, Stream stream, const char*& problem,
               Result& result) {
  const Driver& cuda = driver();
  const auto workspace = reinterpret_cast<Address>(memory.workspace);
  const auto address_of = [&](bool is_workspace, int index) {
    return is_workspace
               ? workspace + static_cast<Address>(shape.workspace_offsets[static_cast<std::size_t>(index)])
               : reinterpret_cast<Address>(memory.tensors[index]);
  };
  EncodedMap maps[k_maps_max];
  for (std::size_t i = 0; i < shape.maps.size(); ++i) {
    const PlanMap& map = shape.maps[i];
    const Address base = address_of(map.is_workspace, map.index) + static_cast<Address>(map.offset);
    problem = "cuTensorMapEncodeTiled";
    result = cuda.encode_map(&maps[i], k_map_types[map.dtype], static_cast<std::uint32_t>(map.rank),
                             reinterpret_cast<void*>(base), map.extent, map.stride + 1, map.box, map.step, 0,
                             swizzle_number(map.swizzle), promotion_number(map.promotion), 0);
    if (result != 0) return status_driver_error;
  }
  for (const auto& [offset, bytes] : shape.zeroed) {
    problem = "cuMemsetD8Async";
    result = cuda.memset_async(workspace + static_cast<Address>(offset), 0, static_cast<std::size_t>(bytes),
                               stream);
    if (result != 0) return status_driver_error;
  }
  for (const ReadyLaunch& ready : shape.launches) {
    Address addresses[k_arguments_max];
    void* parameters[k_arguments_max];
    for (std::size_t i = 0; i < ready.arguments.size(); ++i) {
      const ReadyArgument& argument = ready.arguments[i];
      if (argument.kind == PlanArgument::tensor_map) {
        parameters[i] = &maps[argument.index];
      } else if (argument.kind >= PlanArgument::i32) {
        parameters[i] = const_cast<unsigned char*>(argument.bytes);
      } else {
        addresses[i] = address_of(argument.kind == PlanArgument::workspace, argument.index);
        parameters[i] = &addresses[i];
      }
    }
    LaunchConfiguration configuration = ready.configuration;
    configuration.stream = stream;
    configuration.attributes = const_cast<LaunchAttribute*>(ready.attributes);
    problem = "cuLaunchKernelEx";
    result = cuda.launch(&configuration, ready.function, parameters, nullptr);
    if (result != 0) return status_driver_error;
  }
  return status_ok;
}

}  // namespace KERNELITES_LIBRARY
