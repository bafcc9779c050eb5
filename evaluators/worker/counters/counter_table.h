// SPDX-License-Identifier: Apache-2.0
// Which hardware counters are read, by what names, and in which replays.
//
// A group is what one replay of the kernel collects. The hardware has few counter slots, and which metrics share a
// replay follows no simple rule: the groups were packed with CUPTI's own scheduler for GH100, and a test asks it again.
#pragma once

#include <span>
#include <string_view>

namespace kernelites::worker {

/// Ordered by what they are for: the physics gate alone decides about a candidate, the others explain.
enum class CounterGroup { physics, overview, tensor, stalls_memory, stalls_barrier, stalls_issue, count_ };
std::string_view to_string(CounterGroup group);

struct CounterRow {
  std::string_view name;    ///< ours: "dram_read_bytes"
  std::string_view metric;  ///< CUPTI's
  CounterGroup group;
  std::string_view unit;   ///< "bytes", "ns", "%", "operations", ...
  std::string_view words;  ///< what it means, for people and prompts
};

/// All rows, group after group.
std::span<const CounterRow> counter_table();
/// The rows of one group.
std::span<const CounterRow> counters_of(CounterGroup group);

}  // namespace kernelites::worker
