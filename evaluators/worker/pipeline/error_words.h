// SPDX-License-Identifier: Apache-2.0
// How a message tells an error: coarse, so that no value, seed or drawn row can be read from it.
#pragma once

#include <cstdint>
#include <string>

namespace kernelites::worker {

/// Where row `index` of `count` listed ones lies: "the first rows", "rows in the middle", "the last rows".
const char* row_place_words(std::int64_t index, std::int64_t count);

/// `share` of a gate in powers of two: "up to 4x the gate"; "far beyond the gate" for a NaN and above 1000.
std::string error_size_words(double share);

}  // namespace kernelites::worker
