// SPDX-License-Identifier: Apache-2.0
// The half of the range profiler that needs no GPU: what a set of metrics costs, and values from collected data.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "evaluators/worker/counters/cupti_library.h"

namespace kernelites::worker {

/// What the device is told to collect.
struct CounterConfig {
  std::vector<std::uint8_t> image;
  std::size_t passes = 0;  ///< replays that it takes
};

/// Owns CUPTI's host object of one chip.
class CounterHost {
 public:
  /// `chip` as CUPTI spells it ("GH100"); `availability`: of a context, empty for the chip as such. Throws Error.
  CounterHost(const CuptiLibrary& library, const std::string& chip,
              std::span<const std::uint8_t> availability = {});
  ~CounterHost();
  CounterHost(const CounterHost&) = delete;
  CounterHost& operator=(const CounterHost&) = delete;

  /// Throws Error if the chip has not all of the metrics. Once per object: CUPTI adds to what was asked for before.
  CounterConfig configure(const std::vector<const char*>& metrics);
  /// Values of the only range of `data`, in the metrics' order.
  std::vector<double> evaluate(const std::vector<std::uint8_t>& data,
                               const std::vector<const char*>& metrics) const;

 private:
  CuptiLibrary library_;
  cupti::HostObject host_ = nullptr;
};

}  // namespace kernelites::worker
