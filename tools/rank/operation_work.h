// SPDX-License-Identifier: Apache-2.0
// The least work of a framework's operation, from the shapes of its inputs.
#pragma once

#include <optional>
#include <string>
#include <vector>

namespace kernelites {

/// What a call must compute and move at least.
struct OperationWork {
  double flops = 0;
  double bytes = 0;
};

/// "[[4096,2048],[],[2048,2048]]" as shapes; empty where it is not of this form.
std::vector<std::vector<double>> parse_shapes(const std::string& shapes);

/// Products (aten::mm, bmm, addmm, baddbmm) and scaled dot-product attention, forward and backward, are known exactly
/// but for a causal mask, which the shapes do not tell: attention counts as without one. Any other operation moves its
/// inputs and an output as large as the largest of them. Empty where no shape or no type is known.
std::optional<OperationWork> work_of(const std::string& operation, const std::string& shapes,
                                     const std::string& types);

/// True if `operation` is a forward attention whose shapes say that each sequence has one query: a decode step.
bool is_decode(const std::string& operation, const std::string& shapes);

}  // namespace kernelites
