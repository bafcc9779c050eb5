// SPDX-License-Identifier: Apache-2.0
// What an export needs of the compiler: machine code per architecture, plans as words, the reference, metadata.
//
// An order is a JSON file:
//
//   {"kernelites_order": 1, "task": document, "reference_source", "device": facts, "architectures": ["sm_90a"],
//    "arms": [{"label", "candidate"}],
//    "tables": [[dims]], "scalars": {name: value},            plans that are wanted as data
//    "proof": [{"device": facts, "scalars": {...}, "shapes": [[dims]]}],   plans of which a digest is wanted
//    "with_test": bool}
//
// `dims` are the variable ones in the task's order. The answer, another file:
//
//   {"kernelites_library": 1, "error": words, "toolkit",
//    "arms": [{"label", "refused": words, "images": {architecture: {"cubin": hex, "lowered", "kernels"}},
//              "tables": [[words]], "proof": [[digest]], "unsupported", "invalid", "first_invalid": words,
//              "refusals": [[batch, shape, word]], "refusal_words": [words]}],
//    "test": as test_material.h says, or null}
//
// Refusals are shapes that the plan does not take, or whose plan no launch could follow; batch -1: of the tables.
// A plan's digest is the SHA-256 of its words, eight bytes each, lowest first. Everything of a candidate is compiled in
// the jail that every compile has; no device is needed.
#pragma once

#include <filesystem>

#include "engine/core/json.h"
#include "evaluators/worker/nvrtc/compile_child.h"
#include "evaluators/worker/pipeline/supervisor.h"

namespace kernelites::worker {

/// Shapes of one order at most.
inline constexpr std::size_t k_order_shapes_max = 200'000;

/// The answer to an order. Trouble is told in "error", what is wrong with a candidate in its "refused".
Json answer_order(Compiler& compiler, const Json& order, int jobs);

/// Reads the order `in` and writes the answer to `out`. Returns the exit code. Throws ConfigError if `in` cannot be
/// read, Error if there is no toolkit.
int serve_order(const WorkerOptions& options, const std::filesystem::path& in,
                const std::filesystem::path& out);

}  // namespace kernelites::worker
