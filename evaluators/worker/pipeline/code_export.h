// SPDX-License-Identifier: Apache-2.0
// The code of a duel's arms, for a process outside that launches them beside a library's kernels (baselines).
//
// A request line with a duel gives one line of JSON:
//
//   {"kernelites_code": 1, "id", "error", "device": facts,
//    "scalars": {name: value},
//    "arms": {label: {"cubin": hex, "lowered": {kernel as planned: symbol}} or {"refused": words}},
//    "inputs": {"cubin", "lowered"} or null          the task's program for its computed inputs
//    "workloads": [{"name", "dims", "tensors": [{"name", "dtype", "shape", "role", "fill", "contents"}],
//                   "gates": {output: gate}, "plans": {label: plan}, "inputs": {"plan", "draw"} or null}]}
//
// `fill` is how the first input family draws the tensor, its formulas replaced by numbers; `contents` are those of
// metadata that the host draws. Arms are what `DuelRequest` says: proven before; here they are compiled and screened.
#pragma once

#include <filesystem>

#include "evaluators/protocol/protocol.h"
#include "evaluators/worker/nvrtc/compile_child.h"
#include "evaluators/worker/pipeline/supervisor.h"

namespace kernelites::worker {

/// The line for `request`. Trouble is told in "error". REQUIRES: `request.duel`.
Json code_of(Compiler& compiler, const Request& request, const DeviceFacts& device);

/// Appends the lines for all requests of `in` to `out`, in the order in which they are ready. Returns the exit code.
/// Throws ConfigError if `in` cannot be read, Error if there is no toolkit or device.
int export_code(const WorkerOptions& options, const std::filesystem::path& in,
                const std::filesystem::path& out);

}  // namespace kernelites::worker
