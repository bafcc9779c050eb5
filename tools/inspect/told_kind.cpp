// SPDX-License-Identifier: Apache-2.0
// Corrections of stored descriptors.
#include "tools/inspect/told_kind.h"

#include <map>

#include "engine/core/axes.h"

namespace kernelites {
namespace {

/// Its share of resident warps; empty where no launch was modelled.
std::optional<double> occupancy_of_longest(const Duel& duel) {
  std::map<std::string, double> time_us;
  std::map<std::string, std::pair<double, double>>
      longest;  // time and occupancy of the kernel's longest launch
  for (const auto& [workload, launches] : duel.modelled)
    for (const ModelledLaunch& launch : launches) {
      time_us[launch.kernel] += launch.time_us;
      auto& [time, occupancy] = longest[launch.kernel];
      if (launch.time_us >= time) std::tie(time, occupancy) = std::pair(launch.time_us, launch.occupancy);
    }
  std::optional<double> occupancy;
  double most = -1;
  for (const auto& [kernel, time] : time_us) {
    if (time <= most) continue;
    most = time;
    occupancy = longest.at(kernel).second;
  }
  return occupancy;
}

bool has_specialised_code(const StaticCounts& counts) {
  if (counts.opcodes.empty()) return true;  // not known: as it was stored
  return counts.opcodes.contains("setmaxnreg") || counts.opcodes.contains("bar.arrive") ||
         counts.opcodes.contains("barrier.arrive");
}

}  // namespace

Descriptors told_descriptors(const Examination& examination, const std::optional<Duel>& duel) {
  Descriptors told = examination.descriptors;
  if (const auto split = told.find("split");
      split != told.end() && split->second == "specialised" && !has_specialised_code(examination.counts))
    split->second = k_clusters_label;
  const auto occupancy = told.find("occupancy");
  const std::optional<double> longest = duel ? occupancy_of_longest(*duel) : std::nullopt;
  if (occupancy != told.end() && longest) occupancy->second = bin_label(*find_axis("occupancy"), *longest);
  return told;
}

}  // namespace kernelites
