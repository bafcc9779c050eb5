// SPDX-License-Identifier: Apache-2.0
// Which of the requests that wait goes to which worker now.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace kernelites {

/// A request that waits, oldest first; those that came back from a worker are in front of the others.
struct WaitingRequest {
  static constexpr std::size_t k_nowhere = static_cast<std::size_t>(-1);
  int losses = 0;  ///< of workers
  std::size_t back_from =
      k_nowhere;  ///< the worker that it came back from, which it is better not asked of again
};

struct WorkerLoad {
  bool is_ready = false;
  std::size_t load = 0;            ///< requests under way on it
  bool is_alone_with_one = false;  ///< with one that lost a worker before: nothing is put beside it
};

struct PlacedRequest {
  std::size_t request, worker;
};

/// What is sent now, in the order of `queue`. A request that lost a worker gets one for itself, so that it cannot take
/// others down with it and the next loss tells who was to blame; the least busy one is kept free for it until it is
/// idle. A fresh request never overtakes another.
std::vector<PlacedRequest> place_requests(std::span<const WaitingRequest> queue,
                                          std::vector<WorkerLoad> workers, std::size_t requests_per_worker);

}  // namespace kernelites
