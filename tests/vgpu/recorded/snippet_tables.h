// SPDX-License-Identifier: Apache-2.0
// The tables of snippets, by area.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "tests/vgpu/recorded/recorded_snippet.h"

namespace kernelites::recorded {

struct Family {
  std::string name;
  std::span<const Row> rows;
};

std::vector<Family> integer_families();
std::vector<Family> float_families();
std::vector<Family> half_families();
std::vector<Family> conversion_families();
std::vector<Family> predicate_families();
std::vector<Family> warp_families();
std::vector<Family> memory_families();
std::vector<Family> matrix_families();
std::vector<Family> wgmma_families();
std::vector<Family> async_families();
std::vector<Family> cluster_families();

/// What ends in an illegal instruction on an H100: nothing to record. A name begins with
/// words of the virtual GPU's refusal and a colon.
std::vector<Family> refused_families();

/// All that are recorded.
std::vector<Family> all_families();

}  // namespace kernelites::recorded
