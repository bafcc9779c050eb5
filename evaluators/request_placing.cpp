// SPDX-License-Identifier: Apache-2.0
// Which of the requests that wait goes to which worker now.
#include "evaluators/request_placing.h"

#include <optional>
#include <utility>

namespace kernelites {
namespace {

/// The least busy worker with less than `most`, the one that the request came back from last; none: no such worker.
std::optional<std::size_t> least_busy(std::span<const WorkerLoad> workers,
                                      const std::vector<bool>& is_kept_free, std::size_t back_from,
                                      std::size_t most) {
  std::optional<std::size_t> best;
  const auto rank = [&](std::size_t at) { return std::pair(workers[at].load, at == back_from); };
  for (std::size_t at = 0; at < workers.size(); ++at) {
    const WorkerLoad& worker = workers[at];
    if (!worker.is_ready || worker.is_alone_with_one || worker.load >= most || is_kept_free[at]) continue;
    if (!best || rank(at) < rank(*best)) best = at;
  }
  return best;
}

}  // namespace

std::vector<PlacedRequest> place_requests(std::span<const WaitingRequest> queue,
                                          std::vector<WorkerLoad> workers, std::size_t requests_per_worker) {
  std::vector<PlacedRequest> placed;
  std::vector<bool> is_kept_free(workers.size());
  for (std::size_t at = 0; at < queue.size(); ++at) {
    const WaitingRequest& next = queue[at];
    const bool is_suspect = next.losses > 0;
    const std::optional<std::size_t> worker =
        least_busy(workers, is_kept_free, next.back_from, is_suspect ? 1 : requests_per_worker);
    if (worker) {
      placed.push_back({at, *worker});
      ++workers[*worker].load;
      workers[*worker].is_alone_with_one = is_suspect;
    } else if (is_suspect) {
      const auto kept = least_busy(workers, is_kept_free, next.back_from, WaitingRequest::k_nowhere);
      if (kept) is_kept_free[*kept] = true;
    } else if (next.back_from == WaitingRequest::k_nowhere) {
      break;  // those behind it are fresh, too
    }
  }
  return placed;
}

}  // namespace kernelites
