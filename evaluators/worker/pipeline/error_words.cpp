// SPDX-License-Identifier: Apache-2.0
// Three places and powers of two.
#include "evaluators/worker/pipeline/error_words.h"

#include <fmt/format.h>

namespace kernelites::worker {

const char* row_place_words(std::int64_t index, std::int64_t count) {
  if (index == 0) return "the first rows";
  if (index >= count - 1) return "the last rows";
  return "rows in the middle";
}

std::string error_size_words(double share) {
  if (!(share <= 1000)) return "far beyond the gate";  // NaN too
  int factor = 1;
  while (share > factor) factor *= 2;
  return fmt::format("up to {}x the gate", factor);
}

}  // namespace kernelites::worker
