// SPDX-License-Identifier: Apache-2.0
// Who computes on the device without being listed: in a PID namespace (a container) the driver lists that namespace's
// processes only, but its samples of use name those outside too, by numbers of theirs.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "evaluators/worker/health/process_roster.h"

namespace kernelites::worker {

/// A sample that the driver took of one process.
struct UseSample {
  unsigned pid = 0;
  unsigned sm_percent = 0;    ///< of the multiprocessors' time
  std::uint64_t time_us = 0;  ///< Unix time
};

/// What is remembered from one reading to the next: when each number was first seen to compute without being listed.
using HiddenSince = std::map<unsigned, std::uint64_t>;

/// Samples of a process come for so long after its end at most: an own one that has just ended is not listed either.
inline constexpr std::uint64_t k_samples_linger_us = 2'000'000;

struct HiddenReading {
  HiddenSince since;
  std::map<unsigned, unsigned>
      sm_percent;  ///< by number, at most, of those that are somebody else's for certain
};

/// Reads the newest `samples` at `now_us`. A number is somebody else's if it is neither `listed` nor `own` and computed
/// later than k_samples_linger_us after the first reading at which that was so. Nobody is where `knows_own` (of
/// ProcessRoster) is false: an own process could be sampled under a number of another namespace.
HiddenReading read_hidden(std::span<const UseSample> samples, std::span<const unsigned> listed,
                          std::span<const OwnProcess> own, bool knows_own, std::uint64_t now_us,
                          const HiddenSince& before);

/// True where this process's namespace is not the machine's first one; false where there is no /proc to say so.
bool is_in_pid_namespace();

}  // namespace kernelites::worker
