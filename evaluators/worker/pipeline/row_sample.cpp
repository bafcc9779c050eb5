// SPDX-License-Identifier: Apache-2.0
// Rows drawn index by index.
#include "evaluators/worker/pipeline/row_sample.h"

#include <algorithm>
#include <numeric>
#include <set>

#include "engine/core/rng.h"

namespace kernelites::worker {
namespace {

/// One of so many indices lies at a border.
constexpr std::uint64_t k_border_every = 4;

std::int64_t drawn_index(std::int64_t extent, Rng& rng) {
  const std::int64_t borders[] = {0, 1, 63, 64, 127, 128, extent - 2, extent - 1};
  if (rng.below(k_border_every) == 0)
    return std::clamp<std::int64_t>(borders[rng.below(std::size(borders))], 0, extent - 1);
  return static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(extent)));
}

std::vector<std::int64_t> drawn_rows(const RowGroup& group, const Workload& workload, std::int64_t wanted,
                                     Rng rng) {
  const std::int64_t total = row_count(group, workload);
  if (wanted >= total) {
    std::vector<std::int64_t> all(static_cast<std::size_t>(total));
    std::iota(all.begin(), all.end(), 0);
    return all;
  }
  std::set<std::int64_t> rows{total - 1};
  if (wanted > 1) rows.insert(0);
  while (static_cast<std::int64_t>(rows.size()) < wanted) {
    std::int64_t row = 0;
    for (const std::string& dim : group.dims) {
      const std::int64_t extent = workload.dims.at(dim);
      row = row * extent + drawn_index(extent, rng);
    }
    rows.insert(row);
  }
  return {rows.begin(), rows.end()};
}

}  // namespace

RowLists draw_rows(const Task& task, const Workload& workload, std::int64_t wanted, const Key& key) {
  RowLists lists;
  for (const RowGroup& group : row_groups(task))
    lists.push_back(drawn_rows(group, workload, wanted, Rng(key.derive("rows", lists.size()).seed())));
  return lists;
}

}  // namespace kernelites::worker
