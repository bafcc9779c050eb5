// SPDX-License-Identifier: Apache-2.0
// Rules for plans by themselves. Each rule is a function; `check_plan` runs them in the order of the table.
#include "evaluators/worker/contract/plan_check.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>

#include "engine/core/plain_line.h"
#include "evaluators/worker/contract/tensor_map_check.h"

namespace kernelites::worker {
namespace {

constexpr std::int64_t k_self_clearing_bytes_max = 64 * 1024;
constexpr std::uint64_t k_grid_x_max = 2147483647, k_grid_yz_max = 65535;
constexpr std::uint64_t k_block_threads_max = 1024;
constexpr std::uint32_t k_cluster_blocks_max = 8;

/// What a rule sees.
struct Subject {
  const LaunchPlan& plan;
  const Task& task;
  Form form;
  const PlanPoint& point;
  const DeviceFacts& device;
};

Verdict wrong(const char* code, std::string words) { return Verdict::failed("plan", code, std::move(words)); }

std::string name_of(const PlannedLaunch& launch, std::size_t index) {
  return fmt::format("launch {} (\"{}\")", index, launch.kernel);
}

std::uint64_t product(const std::array<std::uint32_t, 3>& extents) {
  return std::uint64_t{extents[0]} * extents[1] * extents[2];
}

/// The candidate's reason in one line of plain characters: it is quoted in messages and prompts.
std::string plain_reason(std::string_view text) {
  constexpr std::size_t k_reason_bytes_max = 120;
  std::string reason = ascii_line(text, ' ', k_reason_bytes_max);
  std::replace(reason.begin(), reason.end(), '"', ' ');
  return reason;
}

std::optional<Verdict> check_supported(const Subject& s) {
  if (!s.plan.unsupported.empty()) {
    return wrong(
        "plan_unsupported_shape",
        fmt::format(
            "the plan does not support this shape: \"{}\"; every workload of the task must be supported",
            plain_reason(s.plan.unsupported)));
  }
  if (s.plan.launches.empty())
    return wrong("plan_no_launch", "the plan launches nothing; add plan.launch(\"kernel\")");
  const auto is_main = [](const PlannedLaunch& launch) { return !launch.is_prepare; };
  if (std::none_of(s.plan.launches.begin(), s.plan.launches.end(), is_main)) {
    return wrong("plan_no_launch",
                 "the plan has only prepare launches; the work must be done by ordinary ones");
  }
  return std::nullopt;
}

bool is_kernel_name(std::string_view name) {
  const auto is_allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("_:<>, -+*/()").find(c) != std::string_view::npos;
  };
  const auto is_letter = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == ':';
  };
  // A comment would let any words into messages that quote the name.
  const bool has_comment =
      name.find("//") != std::string_view::npos || name.find("/*") != std::string_view::npos;
  return !name.empty() && !has_comment && is_letter(name[0]) &&
         std::all_of(name.begin(), name.end(), is_allowed);
}

std::optional<Verdict> check_extents(const PlannedLaunch& launch, std::size_t i) {
  if (!is_kernel_name(launch.kernel)) {
    return wrong("plan_kernel_name", fmt::format("launch {} has no usable kernel name; write it as C++ does: "
                                                 "\"split_kv<128, 4>\"",
                                                 i));
  }
  if (product(launch.grid) == 0) {
    return wrong("plan_zero_grid", fmt::format("{} has grid ({}); every extent must be at least 1",
                                               name_of(launch, i), fmt::join(launch.grid, ", ")));
  }
  if (launch.grid[0] > k_grid_x_max || launch.grid[1] > k_grid_yz_max || launch.grid[2] > k_grid_yz_max) {
    return wrong("plan_grid_too_large",
                 fmt::format("{} has grid ({}); the limits are {}, {} and {}: put the longest extent into x",
                             name_of(launch, i), fmt::join(launch.grid, ", "), k_grid_x_max, k_grid_yz_max,
                             k_grid_yz_max));
  }
  if (product(launch.block) == 0) {
    return wrong("plan_zero_block", fmt::format("{} has block ({}); every extent must be at least 1",
                                                name_of(launch, i), fmt::join(launch.block, ", ")));
  }
  if (product(launch.block) > k_block_threads_max || launch.block[2] > 64 || launch.block[0] > 1024 ||
      launch.block[1] > 1024) {
    return wrong("plan_block_too_large",
                 fmt::format("{} has block ({}): {} threads; at most {} are allowed", name_of(launch, i),
                             fmt::join(launch.block, ", "), product(launch.block), k_block_threads_max));
  }
  return std::nullopt;
}

std::optional<Verdict> check_cluster(const PlannedLaunch& launch, std::size_t i, const DeviceFacts& device) {
  if (product(launch.cluster) == 0 || product(launch.cluster) > k_cluster_blocks_max) {
    return wrong("plan_cluster_size",
                 fmt::format("{} has cluster ({}); a cluster has 1 to {} blocks", name_of(launch, i),
                             fmt::join(launch.cluster, ", "), k_cluster_blocks_max));
  }
  if (product(launch.cluster) > 1 && device.compute_capability < 90) {
    return wrong("plan_cluster_unsupported",
                 fmt::format("{} uses a cluster, which this device does not have", name_of(launch, i)));
  }
  for (std::size_t axis = 0; axis < 3; ++axis) {
    if (launch.grid[axis] % launch.cluster[axis] != 0) {
      return wrong(
          "plan_grid_not_divisible_by_cluster",
          fmt::format(
              "{} has grid ({}) and cluster ({}): every grid extent must be a multiple of the cluster's; "
              "round up with kl::round_up and let the extra blocks return",
              name_of(launch, i), fmt::join(launch.grid, ", "), fmt::join(launch.cluster, ", ")));
    }
  }
  return std::nullopt;
}

std::optional<Verdict> check_launch(const Subject& s, std::size_t i) {
  const PlannedLaunch& launch = s.plan.launches[i];
  if (auto verdict = check_extents(launch, i)) return verdict;
  if (auto verdict = check_cluster(launch, i, s.device)) return verdict;
  if (static_cast<std::int64_t>(launch.shared_bytes) > s.device.shared_bytes_per_block_max) {
    return wrong("plan_shared_memory_too_large",
                 fmt::format("{} asks for {} bytes of dynamic shared memory; the device has {} per block",
                             name_of(launch, i), launch.shared_bytes, s.device.shared_bytes_per_block_max));
  }
  if (launch.carveout_percent < -1 || launch.carveout_percent > 100) {
    return wrong("plan_carveout", fmt::format("{} has carve-out {}; it is a percentage", name_of(launch, i),
                                              launch.carveout_percent));
  }
  if (launch.priority < -5 || launch.priority > 0) {
    return wrong("plan_priority",
                 fmt::format("{} has priority {}; allowed are -5 to 0", name_of(launch, i), launch.priority));
  }
  if (launch.after < -1 || launch.after >= static_cast<int>(i)) {
    return wrong("plan_after_later_launch",
                 fmt::format("{} says after({}); it can wait only for an earlier launch (0 to {})",
                             name_of(launch, i), launch.after, static_cast<int>(i) - 1));
  }
  if (launch.is_programmatic && (launch.after < 0 || launch.is_prepare ||
                                 s.plan.launches[static_cast<std::size_t>(launch.after)].is_prepare)) {
    return wrong(
        "plan_programmatic_first",
        fmt::format(
            "{} is programmatic, but there is no earlier launch of the timed part that it could follow",
            name_of(launch, i)));
  }
  return std::nullopt;
}

std::optional<Verdict> check_launches(const Subject& s) {
  for (std::size_t i = 0; i < s.plan.launches.size(); ++i) {
    if (auto verdict = check_launch(s, i)) return verdict;
  }
  return std::nullopt;
}

std::optional<Verdict> check_workspaces(const Subject& s) {
  std::int64_t total = 0;
  for (std::size_t i = 0; i < s.plan.workspaces.size(); ++i) {
    const Workspace& workspace = s.plan.workspaces[i];
    if (workspace.bytes <= 0 || workspace.bytes > k_workspace_bytes_max) {
      return wrong("plan_workspace_size", fmt::format("workspace {} has {} bytes; allowed are 1 to {}", i,
                                                      workspace.bytes, k_workspace_bytes_max));
    }
    if (workspace.alignment < 16 || workspace.alignment > 65536 ||
        (workspace.alignment & (workspace.alignment - 1)) != 0) {
      return wrong("plan_workspace_alignment",
                   fmt::format("workspace {} has alignment {}; it must be a power of two "
                               "from 16 to 65536",
                               i, workspace.alignment));
    }
    if (workspace.kind == WorkspaceKind::self_clearing && workspace.bytes > k_self_clearing_bytes_max) {
      return wrong("plan_workspace_size",
                   fmt::format("self-clearing workspace {} has {} bytes; at most {} are allowed: "
                               "use kl::zeroed",
                               i, workspace.bytes, k_self_clearing_bytes_max));
    }
    total += workspace.bytes;
  }
  if (total > k_workspace_bytes_max) {
    return wrong("plan_workspace_size",
                 fmt::format("the workspaces have {} bytes together; at most {} are allowed", total,
                             k_workspace_bytes_max));
  }
  return std::nullopt;
}

/// The tensor or workspace behind an argument: maps lead to theirs.
struct Target {
  bool is_workspace = false, is_memory = false;
  std::size_t index = 0;
};

Target target_of(const Argument& argument, const LaunchPlan& plan) {
  const auto index = static_cast<std::size_t>(argument.index);
  switch (argument.kind) {
    case ArgumentKind::tensor:
      return {false, true, index};
    case ArgumentKind::workspace:
      return {true, true, index};
    case ArgumentKind::tensor_map: {
      const TensorMap& map = plan.tensor_maps[index];
      return {map.is_workspace, true, static_cast<std::size_t>(map.index)};
    }
    default:
      return {};
  }
}

std::optional<Verdict> check_argument_targets(const Subject& s) {
  const std::size_t tensors = tensor_count_in_form(s.task, s.form);
  for (std::size_t i = 0; i < s.plan.launches.size(); ++i) {
    for (std::size_t k = 0; k < s.plan.launches[i].arguments.size(); ++k) {
      const Argument& argument = s.plan.launches[i].arguments[k];
      const std::size_t limit = argument.kind == ArgumentKind::tensor       ? tensors
                                : argument.kind == ArgumentKind::workspace  ? s.plan.workspaces.size()
                                : argument.kind == ArgumentKind::tensor_map ? s.plan.tensor_maps.size()
                                                                            : 1;
      if (argument.index < 0 || static_cast<std::size_t>(argument.index) >= limit) {
        return wrong("plan_argument_unknown",
                     fmt::format("argument {} of {} names a tensor, workspace or tensor map that "
                                 "does not exist",
                                 k, name_of(s.plan.launches[i], i)));
      }
    }
  }
  return std::nullopt;
}

std::optional<Verdict> check_maps(const Subject& s) {
  for (std::size_t i = 0; i < s.plan.tensor_maps.size(); ++i) {
    const TensorMap& map = s.plan.tensor_maps[i];
    std::int64_t bytes = 0;
    const auto index = static_cast<std::size_t>(map.index);
    if (map.is_workspace) {
      if (index >= s.plan.workspaces.size())
        return wrong("plan_map_unknown", fmt::format("tensor map {} names no workspace", i));
      bytes = s.plan.workspaces[index].bytes;
    } else {
      if (index >= tensor_count_in_form(s.task, s.form))
        return wrong("plan_map_unknown", fmt::format("tensor map {} names no tensor", i));
      bytes = static_cast<std::int64_t>(dtype_bytes(tensor_in_form(s.task, index, s.form).dtype));
      for (std::int64_t extent : tensor_shape_in_form(s.task, index, s.form, s.point)) bytes *= extent;
    }
    if (auto problem = check_tensor_map(map, bytes)) {
      return wrong(problem->code, fmt::format("tensor map {}: {}", i, problem->words));
    }
  }
  return std::nullopt;
}

/// Prepared workspaces keep what a launch leaves in them, and prepare launches run outside the timed part. Until the
/// pipeline hashes the one and counts the other, both would be state and time that nobody sees.
std::optional<Verdict> check_prepare(const Subject& s) {
  for (std::size_t i = 0; i < s.plan.launches.size(); ++i) {
    if (!s.plan.launches[i].is_prepare) continue;
    return wrong(
        "plan_prepare_unsupported",
        fmt::format("{} is a prepare launch; prepare launches are not supported yet: do its work in an "
                    "ordinary launch",
                    name_of(s.plan.launches[i], i)));
  }
  for (std::size_t i = 0; i < s.plan.workspaces.size(); ++i) {
    if (s.plan.workspaces[i].kind != WorkspaceKind::prepared) continue;
    return wrong(
        "plan_prepare_unsupported",
        fmt::format(
            "workspace {} is of kind kl::prepared, and prepare launches are not supported yet: use an "
            "ordinary workspace or kl::zeroed",
            i));
  }
  return std::nullopt;
}

std::optional<Verdict> check_outputs(const Subject& s) {
  std::set<std::size_t> reached;
  for (const PlannedLaunch& launch : s.plan.launches) {
    if (launch.is_prepare) continue;
    for (const Argument& argument : launch.arguments) {
      const Target target = target_of(argument, s.plan);
      if (target.is_memory && !target.is_workspace) reached.insert(target.index);
    }
  }
  for (std::size_t i = 0; i < s.task.tensors.size(); ++i) {
    const TensorSpec tensor = tensor_in_form(s.task, i, s.form);
    if (tensor.role == Role::output && !reached.contains(i)) {
      return wrong("plan_output_not_written",
                   fmt::format("no launch takes the output \"{}\": pass p.{} or a tensor map over it",
                               tensor.name, tensor.name));
    }
  }
  return std::nullopt;
}

using Rule = std::optional<Verdict> (*)(const Subject&);
constexpr Rule k_rules[] = {check_supported,        check_workspaces, check_launches, check_maps,
                            check_argument_targets, check_prepare,    check_outputs};

}  // namespace

std::optional<Verdict> check_plan(const LaunchPlan& plan, const Task& task, Form form, const PlanPoint& point,
                                  const DeviceFacts& device, const Defences& defences) {
  const Subject subject{plan, task, form, point, device};
  for (const Rule rule : k_rules) {
    std::optional<Verdict> verdict = defences.keep(rule(subject));
    if (!verdict) continue;
    if (point.is_hidden) {
      verdict->message = "the plan is wrong for a hidden shape within the task's ranges";
      verdict->diagnostics.clear();
    } else {
      std::vector<std::string> dims;
      for (const DimSpec& dim : task.dims) {
        if (!dim.constant) dims.push_back(fmt::format("{}={}", dim.name, point.workload->dims.at(dim.name)));
      }
      verdict->message += fmt::format(" (workload \"{}\": {})", point.workload->name, fmt::join(dims, ", "));
    }
    return verdict;
  }
  return std::nullopt;
}

}  // namespace kernelites::worker
