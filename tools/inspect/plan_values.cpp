// SPDX-License-Identifier: Apache-2.0
// A launch plan as named values in words, so that two plans can be compared value by value.
#include "tools/inspect/plan_values.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <map>

namespace kernelites {
namespace {

using Values = std::vector<std::pair<std::string, std::string>>;

bool is_one(const std::array<std::uint32_t, 3>& size) { return size[0] == 1 && size[1] == 1 && size[2] == 1; }

void add_launch(const std::string& name, const PlannedLaunch& launch, Values& values) {
  const auto add = [&](const char* what, std::string value) {
    values.emplace_back(name + " " + what, std::move(value));
  };
  add("kernel", launch.kernel);
  add("grid", fmt::format("{} ({} blocks)", fmt::join(launch.grid, " x "), blocks_of(launch)));
  add("block", fmt::format("{}", fmt::join(launch.block, " x ")));
  if (!is_one(launch.cluster)) add("cluster", fmt::format("{}", fmt::join(launch.cluster, " x ")));
  add("dynamic shared B", fmt::to_string(launch.shared_bytes));
  if (launch.is_cooperative) add("cooperative", "yes");
  if (launch.is_programmatic) add("programmatic launch", "yes");
  if (launch.is_prepare) add("prepares metadata", "yes");
  if (launch.carveout_percent >= 0) add("carve-out %", fmt::to_string(launch.carveout_percent));
  if (launch.priority != 0) add("priority", fmt::to_string(launch.priority));
  if (launch.after >= 0) add("after launch", fmt::to_string(launch.after));
}

}  // namespace

std::int64_t blocks_of(const PlannedLaunch& launch) {
  return std::int64_t{launch.grid[0]} * launch.grid[1] * launch.grid[2];
}

Values plan_values(const LaunchPlan& plan) {
  if (!plan.unsupported.empty()) return {{"unsupported", plan.unsupported}};
  Values values{{"launches", fmt::to_string(plan.launches.size())}};
  std::map<std::string, int> seen;
  for (const PlannedLaunch& launch : plan.launches) {
    std::string name = launch.kernel.substr(0, launch.kernel.find('<'));
    if (const int times = seen[name]++; times > 0) name += fmt::format("#{}", times + 1);
    add_launch(name, launch, values);
  }
  std::int64_t bytes = 0;
  for (const Workspace& workspace : plan.workspaces) bytes += workspace.bytes;
  if (!plan.workspaces.empty())
    values.emplace_back("workspaces", fmt::format("{}, {} B", plan.workspaces.size(), bytes));
  for (std::size_t i = 0; i < plan.tensor_maps.size(); ++i) {
    const TensorMap& map = plan.tensor_maps[i];
    std::vector<std::uint32_t> box(map.box.begin(), map.box.begin() + map.rank);
    values.emplace_back(fmt::format("tensor map {}", i),
                        fmt::format("box {}, swizzle {} B", fmt::join(box, " x "), map.swizzle_bytes));
  }
  return values;
}

}  // namespace kernelites
