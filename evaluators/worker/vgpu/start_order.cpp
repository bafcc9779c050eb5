// SPDX-License-Identifier: Apache-2.0
// Orders in which clusters start.
#include "evaluators/worker/vgpu/start_order.h"

#include <algorithm>
#include <numeric>
#include <unordered_set>

namespace kernelites::worker::vgpu {
namespace {

constexpr u64 k_max_shuffled_blocks = u64{1} << 24;  ///< larger grids start in order, whatever the seed

/// The grid in clusters.
Dim3 cluster_grid(const Launch& launch) {
  const Dim3 g = launch.grid, c = launch.cluster;
  return {g.x / c.x, g.y / c.y, g.z / c.z};
}

/// `count` places of an axis, one drawn from each of as many equal parts, in an order drawn too.
std::vector<u64> drawn_places(u64 extent, u64 count, u64& state) {
  std::vector<u64> places(count);
  for (u64 k = 0; k < count; ++k) {
    const u64 draw = next_draw(state);
    places[k] = static_cast<u64>((u128{k} << 31 | (draw & 0x7fffffff)) * extent / (u128{count} << 31));
  }
  for (u64 k = count; k > 1; --k) std::swap(places[k - 1], places[next_draw(state) % k]);
  return places;
}

/// Blocks spread over every axis of the grid alike (a Latin hypercube), each once, ascending: where the work of a block
/// grows along an axis, as under a causal mask, a few of them stand for all.
std::vector<u64> sampled_blocks(const Dim3& grid, u64 count, u64 seed) {
  u64 state = seed;
  const std::vector<u64> x = drawn_places(grid.x, count, state), y = drawn_places(grid.y, count, state),
                         z = drawn_places(grid.z, count, state);
  std::vector<u64> blocks;
  for (u64 k = 0; k < count; ++k) blocks.push_back(x[k] + grid.x * (y[k] + u64{grid.y} * z[k]));
  std::sort(blocks.begin(), blocks.end());
  blocks.erase(std::unique(blocks.begin(), blocks.end()), blocks.end());
  return blocks;
}

/// The clusters of these blocks, each once, in their order.
std::vector<u64> clusters_of(const Launch& launch, const std::vector<u64>& blocks) {
  if (launch.cluster.count() == 1) return blocks;
  const Dim3 g = launch.grid, c = launch.cluster, clusters = cluster_grid(launch);
  std::vector<u64> found;
  std::unordered_set<u64> seen;
  for (const u64 block : blocks) {
    const u64 x = block % g.x / c.x, y = block / g.x % g.y / c.y, z = block / (u64{g.x} * g.y) / c.z;
    const u64 cluster = x + clusters.x * (y + u64{clusters.y} * z);
    if (seen.insert(cluster).second) found.push_back(cluster);
  }
  return found;
}

}  // namespace

u64 next_draw(u64& state) {
  state = state * 6364136223846793005ull + 1442695040888963407ull;
  return state >> 33;
}

/// The block with this rank in a cluster.
u64 block_of(const Launch& launch, u64 cluster, u64 rank) {
  const Dim3 g = launch.grid, c = launch.cluster, clusters = cluster_grid(launch);
  const u64 x = cluster % clusters.x * c.x + rank % c.x,
            y = cluster / clusters.x % clusters.y * c.y + rank / c.x % c.y,
            z = cluster / (u64{clusters.x} * clusters.y) * c.z + rank / (u64{c.x} * c.y);
  return x + g.x * (y + u64{g.y} * z);
}

StartOrder start_order(const Launch& launch, const LaunchOptions& options) {
  if (!options.only_blocks.empty()) {
    std::vector<u64> listed = clusters_of(launch, options.only_blocks);
    return {listed.size(), std::move(listed)};
  }
  const Dim3 clusters = cluster_grid(launch);
  const u64 total = clusters.count(), size = launch.cluster.count();
  const u64 count =
      options.sample ? std::clamp<u64>((options.sample->blocks + size - 1) / size, 1, total) : total;
  const bool is_drawn = options.schedule_seed != 0 && count <= k_max_shuffled_blocks;
  StartOrder order{.count = count, .listed = {}};
  if (options.sample && count < total) {
    order.listed = sampled_blocks(clusters, count, options.sample->seed);
    order.count = order.listed.size();
    return order;
  }
  if (!is_drawn) return order;
  order.listed.resize(count);
  std::iota(order.listed.begin(), order.listed.end(), u64{0});
  u64 state = options.schedule_seed;
  for (u64 k = count; is_drawn && k > 1; --k)
    std::swap(order.listed[k - 1], order.listed[next_draw(state) % k]);
  return order;
}

}  // namespace kernelites::worker::vgpu
