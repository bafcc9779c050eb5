// SPDX-License-Identifier: Apache-2.0
// Comparing what the virtual GPU computes with what was recorded, by a snippet's rule.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "tests/vgpu/recorded/recorded_snippet.h"

namespace kernelites::recorded {

/// What differs beyond the rule.
struct Comparison {
  std::size_t values = 0, different = 0;
  double ulp_max = 0;   ///< of finite floats, whether the rule allows it or not
  std::string example;  ///< the first value that breaks the rule, with the lane's inputs
};

/// Compares all outputs of all lanes, element by element of packed types. REQUIRES: both hold `output_bytes(snippet)`.
Comparison compare_outputs(const Snippet& snippet, const std::vector<std::byte>& recorded,
                           const std::vector<std::byte>& replayed);

}  // namespace kernelites::recorded
