// SPDX-License-Identifier: Apache-2.0
// Fills as numbers for harness.cu, and lengths drawn on the host.
#include "evaluators/worker/pipeline/fill.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstring>

#include "engine/core/error.h"
#include "engine/core/fill_kind.h"
#include "engine/core/rng.h"

namespace kernelites::worker {
namespace {

/// A length, at most `longest`.
std::int64_t drawn_length(const Fill& fill, std::int64_t longest, Rng& rng) {
  if (fill.kind == "lengths_full") return longest;
  if (fill.kind == "lengths_one") return 1;
  const auto number = fill.number.find("min_fraction");
  const double least = number == fill.number.end() ? 0 : number->second;
  const auto shortest = std::max<std::int64_t>(1, std::llround(least * static_cast<double>(longest)));
  const auto length =
      shortest + static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(longest - shortest + 1)));
  return length;
}

}  // namespace

DeviceFill device_fill(const Fill& fill) {
  const auto& kinds = fill_kinds();
  for (std::size_t i = 0; i < kinds.size(); ++i) {
    if (kinds[i].name != fill.kind || kinds[i].is_metadata) continue;
    float values[2] = {0, 0};
    for (std::size_t p = 0; p < kinds[i].parameters.size() && p < 2; ++p) {
      const FillParameter& parameter = kinds[i].parameters[p];
      const auto stated = fill.number.find(std::string(parameter.name));
      values[p] = static_cast<float>(stated == fill.number.end() ? parameter.fallback : stated->second);
    }
    return {.kind = static_cast<int>(i), .p0 = values[0], .p1 = values[1]};
  }
  throw Error(fmt::format("'{}' fills no input", fill.kind));
}

std::vector<std::byte> metadata_contents(const TensorSpec& tensor, const Fill& fill, const Workload& workload,
                                         std::uint64_t seed) {
  const std::int64_t bound = workload.dims.at(fill.of);
  Rng rng(seed);
  const std::int64_t count = element_count(tensor, workload);
  // Which entry is empty is drawn, so that no fixed index can be special-cased.
  const bool has_empty = fill.kind == "lengths_with_empty";
  const auto empty = has_empty ? static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(count))) : -1;
  std::vector<std::byte> bytes(static_cast<std::size_t>(count) * sizeof(std::int32_t));
  for (std::int64_t i = 0; i < count; ++i) {
    const auto length = static_cast<std::int32_t>(i == empty ? 0 : drawn_length(fill, bound, rng));
    std::memcpy(bytes.data() + i * static_cast<std::int64_t>(sizeof length), &length, sizeof length);
  }
  return bytes;
}

}  // namespace kernelites::worker
