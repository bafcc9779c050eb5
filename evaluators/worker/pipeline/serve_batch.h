// SPDX-License-Identifier: Apache-2.0
// A batch of requests served by any worker: what has a reply is not asked again, what has none goes on later.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "evaluators/protocol/protocol.h"

namespace kernelites::worker {

/// What evaluates a batch's lines.
struct BatchWorker {
  int jobs = 1;                                     ///< lines at once
  std::function<Reply(const std::string&)> handle;  ///< of a request line; thread-safe, never throws
  std::function<void()> pause = {};                 ///< before a line is tried again; empty: a minute
};

/// Serves the request lines of `in` that have no reply in `out`. `start` is called once both files are open. A line
/// that meets a disturbed device is tried again, for up to 12 hours. Stops reading at the first reply that says the
/// device is unfit for good, or was disturbed each time, writes none such, and throws Error with its reason.
int serve_batch(const std::filesystem::path& in, const std::filesystem::path& out,
                const std::function<BatchWorker()>& start);

}  // namespace kernelites::worker
