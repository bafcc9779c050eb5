// SPDX-License-Identifier: Apache-2.0
// The seam between the search and whatever evaluates: a pool of workers, a batch file, a fake in tests.
#pragma once

#include <poll.h>

#include <chrono>
#include <optional>
#include <vector>

#include "evaluators/protocol/protocol.h"

namespace kernelites {

/// Takes requests, gives replies, never blocks. Lives on the loop's one thread.
class Evaluator {
 public:
  virtual ~Evaluator() = default;
  /// What the workers said of themselves. Throws Error if none can work.
  virtual const Provenance& provenance() const = 0;
  /// How many requests can usefully be under way.
  virtual std::size_t capacity() const = 0;
  /// REQUIRES: request.id was not submitted before.
  virtual void submit(const Request& request) = 0;
  /// Descriptors that wake the loop when `pump` has something to do.
  virtual std::vector<pollfd> poll_descriptors() = 0;
  /// Moves bytes, restarts workers that died, enforces deadlines. A lost request yields a reply with `error`.
  virtual void pump(std::chrono::steady_clock::time_point now) = 0;
  /// The next finished reply, in the order of arrival.
  virtual std::optional<Reply> take() = 0;
  /// True if nothing more can come without help from outside: a batch was written and its replies are not there.
  virtual bool is_waiting_for_batch() const { return false; }
};

}  // namespace kernelites
