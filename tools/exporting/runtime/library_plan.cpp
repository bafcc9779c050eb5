// SPDX-License-Identifier: Apache-2.0
// Reads the stream that kernelites/plan.cuh writes: counts before lists, texts packed eight bytes a word.
#include "tools/exporting/runtime/library_plan.h"

#include <cstring>

namespace KERNELITES_LIBRARY {
namespace {

struct Words {
  const std::uint64_t* at;
  const std::uint64_t* end;
  bool is_good = true;

  std::int64_t word() {
    if (at == end) is_good = false;
    return is_good ? static_cast<std::int64_t>(*at++) : 0;
  }
  std::int64_t within(std::int64_t low, std::int64_t high) {
    const std::int64_t value = word();
    if (value < low || value > high) is_good = false;
    return is_good ? value : low;
  }
  std::string text() {
    const std::int64_t bytes = within(0, 159);
    std::string text;
    for (std::int64_t i = 0; i < bytes; i += 8) {
      const std::uint64_t packed = static_cast<std::uint64_t>(word());
      for (int k = 0; k < 8 && i + k < bytes; ++k) text.push_back(static_cast<char>(packed >> (8 * k)));
    }
    return text;
  }
};

PlanArgument read_argument(Words& words) {
  PlanArgument argument;
  argument.kind = static_cast<int>(words.within(0, 6));
  const std::int64_t value = words.word();
  if (argument.kind >= PlanArgument::f32)
    std::memcpy(&argument.real, &value, sizeof value);
  else if (argument.kind >= PlanArgument::i32)
    argument.integer = value;
  else
    argument.index = static_cast<int>(value);
  if (argument.kind < PlanArgument::i32 && (value < 0 || value > 1024)) words.is_good = false;
  return argument;
}

PlanLaunch read_launch(Words& words) {
  constexpr std::int64_t k_extent_max = 0x7fffffff;
  PlanLaunch launch;
  launch.kernel = words.text();
  for (std::int64_t* const extents : {launch.grid, launch.block, launch.cluster})
    for (int i = 0; i < 3; ++i) extents[i] = words.within(0, k_extent_max);
  launch.shared_bytes = words.within(0, k_extent_max);
  const std::int64_t flags = words.within(0, 7);
  launch.is_cooperative = (flags & 1) != 0;
  launch.is_programmatic = (flags & 2) != 0;
  launch.is_prepare = (flags & 4) != 0;
  launch.carveout = static_cast<int>(words.within(-1, 100));
  launch.priority = static_cast<int>(words.within(-1000, 1000));
  words.word();  // after: launches of one stream follow each other anyway
  const std::int64_t count = words.within(0, 40);
  for (std::int64_t i = 0; i < count; ++i) launch.arguments.push_back(read_argument(words));
  return launch;
}

PlanMap read_map(Words& words) {
  PlanMap map;
  map.is_workspace = words.within(0, 1) != 0;
  map.index = static_cast<int>(words.within(0, 1024));
  map.dtype = static_cast<int>(words.within(0, 9));
  map.rank = static_cast<int>(words.within(1, 5));
  for (int i = 0; i < map.rank; ++i) {
    map.extent[i] = static_cast<std::uint64_t>(words.word());
    map.stride[i] = static_cast<std::uint64_t>(words.word());
    map.box[i] = static_cast<std::uint32_t>(words.within(0, 0xffffffff));
    map.step[i] = static_cast<std::uint32_t>(words.within(0, 1 << 20));
  }
  map.swizzle = static_cast<int>(words.within(0, 1024));
  map.promotion = static_cast<int>(words.within(0, 1024));
  map.offset = words.word();
  return map;
}

/// Everything that a plan names is there.
bool is_closed(const LibraryPlan& plan) {
  for (const PlanLaunch& launch : plan.launches)
    for (const PlanArgument& argument : launch.arguments) {
      const auto index = static_cast<std::size_t>(argument.index);
      if (argument.kind == PlanArgument::workspace && index >= plan.workspaces.size()) return false;
      if (argument.kind == PlanArgument::tensor_map && index >= plan.maps.size()) return false;
    }
  for (const PlanMap& map : plan.maps)
    if (map.is_workspace && static_cast<std::size_t>(map.index) >= plan.workspaces.size()) return false;
  return true;
}

}  // namespace

bool decode_plan(const std::uint64_t* words, int count, LibraryPlan& plan, std::string& problem) {
  Words reader{words, words + count};
  const std::int64_t error = reader.word();
  reader.word();
  plan = LibraryPlan();
  plan.unsupported = reader.text();
  const std::int64_t launches = reader.within(0, 16);
  for (std::int64_t i = 0; i < launches; ++i) plan.launches.push_back(read_launch(reader));
  const std::int64_t workspaces = reader.within(0, 8);
  for (std::int64_t i = 0; i < workspaces; ++i) {
    PlanWorkspace workspace;
    workspace.bytes = reader.within(0, std::int64_t{4} << 30);
    workspace.alignment = reader.word();
    workspace.kind = static_cast<int>(reader.within(0, 3));
    plan.workspaces.push_back(workspace);
  }
  const std::int64_t maps = reader.within(0, 8);
  for (std::int64_t i = 0; i < maps; ++i) plan.maps.push_back(read_map(reader));
  if (error != 0)
    problem = "the plan says that it has too many entries";
  else if (!reader.is_good)
    problem = "the plan has a number that no launch can have";
  else if (!is_closed(plan))
    problem = "the plan names something that it does not have";
  return problem.empty();
}

}  // namespace KERNELITES_LIBRARY
