// SPDX-License-Identifier: Apache-2.0
// Who of the processes that the driver names is not this worker's: a function of two lists and of the readings before.
#pragma once

#include <compare>
#include <cstdint>
#include <set>
#include <span>
#include <vector>

namespace kernelites::worker {

/// A process below this worker. A number that is used again comes with another start.
struct OwnProcess {
  unsigned pid = 0;
  std::uint64_t start = 0;        ///< clock ticks since the machine's start
  bool may_hold_context = false;  ///< a referee or an executor, perhaps of a virtual device
  auto operator<=>(const OwnProcess&) const = default;
};

/// What is remembered from one reading to the next.
struct ProcessRoster {
  bool has_looked = false;
  /// The driver's numbers are this namespace's: two children that live on were named at two readings in a row. The
  /// opposite follows from two readings in a row that name none.
  bool knows_own = false;
  std::set<OwnProcess> holders = {};  ///< own ones at the last reading that may hold a context
  std::set<OwnProcess> named = {};    ///< those of them whose number the driver named
  std::set<unsigned> strangers = {};  ///< on the device since before the first own context
};

struct RosterReading {
  ProcessRoster roster;
  std::vector<unsigned> others;
};

/// Reads the driver's numbers of processes with a context (`listed`) beside this worker's own, in the state `before`.
/// Where the numbers are another namespace's (a container), only those are others that are on the device since before
/// the first own context. A process that has left is forgotten, whatever takes its number later.
RosterReading read_roster(std::span<const unsigned> listed, std::span<const OwnProcess> own,
                          const ProcessRoster& before);

}  // namespace kernelites::worker
