// SPDX-License-Identifier: Apache-2.0
// Hardware counters of one timed workload, as a reply carries them: self-describing, and a reason where there are none.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "engine/core/json.h"

namespace kernelites {

/// One counter over one launch of the whole plan, inputs and outputs cold.
struct CounterReading {
  std::string name;  ///< ours: "dram_read_bytes"
  double value = 0;
  std::string unit;   ///< "bytes", "ns", "%", "operations", ...
  std::string words;  ///< what it means
  bool operator==(const CounterReading&) const = default;
};

/// Not a measurement of time: counters slow launches down.
struct CounterReport {
  std::string problem;  ///< why this is "unchecked", or incomplete; empty: everything asked for was read
  std::vector<CounterReading> readings;
  bool operator==(const CounterReport&) const = default;
};

/// The reading of that name, or null.
const CounterReading* find_reading(const CounterReport& report, const std::string& name);

void to_json(Json& json, const CounterReport& report);
void from_json(const Json& json, CounterReport& report);

}  // namespace kernelites
