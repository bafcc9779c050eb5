// SPDX-License-Identifier: Apache-2.0
// Growing sets of blocks, first of all launches alike, then of the costliest with the others run whole.
#include "evaluators/worker/pipeline/block_sample.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <numeric>
#include <set>

#include "engine/core/rng.h"

namespace kernelites::worker {
namespace {

using Blocks = std::vector<std::uint64_t>;
using Extent = std::array<std::uint64_t, 3>;

/// More blocks than this are no longer a small part beside the costliest launch.
constexpr std::uint64_t k_whole_blocks_max = 16384;
constexpr std::uint64_t k_run_instructions_max = 40'000'000;
/// Of launches that run whole so that a later one finds what they write.
constexpr double k_before_instructions_max = 4e6;

Extent grid_of(const PlannedLaunch& launch) { return {launch.grid[0], launch.grid[1], launch.grid[2]}; }

std::uint64_t block_count(const PlannedLaunch& launch) {
  const Extent grid = grid_of(launch);
  return grid[0] * grid[1] * grid[2];
}

/// All blocks of the cluster that `at` lies in.
void add_cluster(const PlannedLaunch& launch, const Extent& at, std::set<std::uint64_t>& chosen) {
  const Extent grid = grid_of(launch);
  Extent first, size;
  for (std::size_t axis = 0; axis < 3; ++axis) {
    size[axis] = std::max<std::uint64_t>(launch.cluster[axis], 1);
    first[axis] = at[axis] / size[axis] * size[axis];
  }
  for (std::uint64_t z = first[2]; z < std::min(first[2] + size[2], grid[2]); ++z)
    for (std::uint64_t y = first[1]; y < std::min(first[1] + size[1], grid[1]); ++y)
      for (std::uint64_t x = first[0]; x < std::min(first[0] + size[0], grid[0]); ++x)
        chosen.insert((z * grid[1] + y) * grid[0] + x);
}

/// Axes longer than one block, the shortest first.
std::vector<std::size_t> growing_axes(const Extent& grid) {
  std::vector<std::size_t> axes;
  for (std::size_t axis = 0; axis < 3; ++axis) {
    if (grid[axis] > 1) axes.push_back(axis);
  }
  std::stable_sort(axes.begin(), axes.end(), [&](auto a, auto b) { return grid[a] < grid[b]; });
  return axes;
}

Blocks whole_grid(const PlannedLaunch& launch) {
  Blocks blocks(block_count(launch));
  std::iota(blocks.begin(), blocks.end(), std::uint64_t{0});
  return blocks;
}

/// Of the rows that are the share of so many blocks, so many are complete at least where a whole axis ran. Less than
/// one: at the ends of a long axis rows may need blocks that were left out.
constexpr double k_axis_share_least = 0.92;
/// A whole grid completes all rows; a little less than one for the arithmetic.
constexpr double k_whole_share_least = 1 - 1e-9;
/// One block alone may be the last of an uneven grid.
constexpr double k_block_share_least = 0.5;
/// What looking along an axis may cost when a single block has completed rows already.
constexpr double k_axis_instructions_max = 6e6;

class Sampler {
 public:
  Sampler(Device& device, const BlockSampleOrder& order) : device_(device), order_(order) {}

  BlockSampleOutcome run() {
    if (order_.timed_seed && try_timed(*order_.timed_seed)) return std::move(outcome_);
    for (const BoundLaunch& launch : order_.launches) axes_ = std::max(axes_, axis_count(launch.plan));
    bool is_done = try_all(std::nullopt);
    if (!is_done && order_.launches.size() > 1) is_done = try_all(costliest());
    outcome_.is_barren = !is_done && !lacked_;
    for (const BoundLaunch& launch : order_.launches)
      for (const std::uint64_t extent : grid_of(launch.plan))
        outcome_.is_cut = outcome_.is_cut || extent > k_slice_blocks_max;
    if (is_done && is_single_ && order_.launches.size() == 1) look_along_axis();
    if (outcome_.lacks_rows && axes_ > 1) confirm_lack();
    return std::move(outcome_);
  }

 private:
  /// The blocks that a timed run consists of.
  bool try_timed(std::uint64_t seed) {
    order_.refresh();
    device_.seed_samples(seed);
    std::vector<Blocks> blocks;
    bool is_whole = true;
    for (const BoundLaunch& launch : order_.launches) {
      const std::uint64_t left =
          order_.instructions_max - std::min(order_.instructions_max, outcome_.instructions);
      PartOutcome part = device_.run_blocks(launch, {}, std::min(left, k_run_instructions_max));
      outcome_.instructions += part.instructions;
      if (part.fault) {
        if (part.fault->reason == "budget_exceeded") return false;
        outcome_.fault = part.fault;
        return true;
      }
      timed_.push_back(part.blocks);
      timed_costs_.push_back(whole_cost(launch, part.blocks.size(), part));
      is_whole = is_whole && part.given_up.empty();
      const std::set<std::uint64_t> given_up(part.given_up.begin(), part.given_up.end());
      std::erase_if(part.blocks, [&](std::uint64_t block) { return given_up.contains(block); });
      blocks.push_back(std::move(part.blocks));
    }
    const bool is_empty = complete_rows().empty();
    if (count_behind_whole_launches()) is_whole = false;  // what the blocks wrote is gone
    if (is_empty) return false;
    if (!is_whole && !confirm(blocks)) return outcome_.fault.has_value();
    take(blocks);
    return true;
  }

  /// What the timed blocks of a launch execute once all that comes before has run whole: where they were timed, most of
  /// it was missing. False: nothing ran, it would cost too much.
  bool count_behind_whole_launches() {
    const std::size_t count = order_.launches.size();
    outcome_.launch_instructions.assign(count, 0);
    std::vector<Blocks> before(count);
    double cost = 0;
    for (std::size_t i = 0; i + 1 < count; ++i) {
      const PlannedLaunch& launch = order_.launches[i].plan;
      cost += timed_costs_[i];
      if (cost > k_before_instructions_max || block_count(launch) > k_whole_blocks_max) return i > 0;
      before[i] = whole_grid(launch);
      std::vector<Blocks> blocks = before;
      blocks[i + 1] = timed_[i + 1];
      const bool is_run = execute(blocks);
      outcome_.fault.reset();  // whoever runs whole is asked elsewhere
      if (!is_run) return true;
      if (blocks[i + 1].size() == timed_[i + 1].size()) outcome_.launch_instructions[i + 1] = costs_[i + 1];
    }
    return count > 1;
  }

  /// With `main`, that launch alone is sampled and the others run whole. True: there is something to say.
  bool try_all(std::optional<std::size_t> main) {
    for (int step = 0; step <= axes_ + 1; ++step) {
      if (step > 1 && axes_ == 1) break;  // the one axis ran already
      std::vector<Blocks> blocks;
      for (std::size_t i = 0; i < order_.launches.size(); ++i) {
        const PlannedLaunch& launch = order_.launches[i].plan;
        const bool is_whole = main && i != *main;
        if (is_whole && block_count(launch) > k_whole_blocks_max) {
          lacked_ = true;
          return false;
        }
        blocks.push_back(is_whole ? whole_grid(launch) : grown_blocks(launch, order_.seed + i, step));
      }
      std::vector<Blocks> kept = blocks;
      const bool is_run = execute(kept);
      lacked_ = lacked_ || !is_run || kept != blocks;
      if (!is_run) return outcome_.fault.has_value();
      if (complete_rows().empty()) continue;
      if (kept != blocks && !confirm(kept)) {
        if (outcome_.fault) return true;
        continue;
      }
      const double share = share_of_rows(kept.back().size());
      if (step == 0 && share < k_block_share_least) continue;
      take(kept);
      is_single_ = step == 0;
      // Along several axes at once the blocks are no share of the rows.
      outcome_.lacks_rows = step >= 1 && step <= std::max(axes_, 1) && lacks_rows(kept.back().size());
      return true;
    }
    return false;
  }

  void take(const std::vector<Blocks>& kept) {
    taken_ = kept;
    outcome_.rows = complete_rows();
    outcome_.blocks = 0;
    for (const Blocks& of_launch : kept) outcome_.blocks += of_launch.size();
  }

  /// A single block is right; are its neighbours there? Only where that costs little.
  void look_along_axis() {
    const PlannedLaunch& launch = order_.launches.front().plan;
    const double block_cost = costs_.front() / static_cast<double>(block_count(launch));
    for (int step = axis_count(launch); step >= 1; --step) {
      std::vector<Blocks> blocks{grown_blocks(launch, order_.seed, step)};
      if (block_cost * static_cast<double>(blocks.front().size()) > k_axis_instructions_max) continue;
      if (!execute(blocks)) return;
      outcome_.lacks_rows = lacks_rows(blocks.front().size());
      take(blocks);
      return;
    }
  }

  /// Whether the blocks of an axis leave rows out. Where several blocks scatter into a row together, some rows are
  /// complete by luck and their number says nothing: such blocks have touched more rows than are their share.
  bool lacks_rows(std::size_t blocks) const {
    // The whole grid of the only launch has no end beyond which blocks are missing.
    const bool is_whole = order_.launches.size() == 1 && blocks == block_count(order_.launches.front().plan);
    if (is_whole) return share_of_rows(blocks) < k_whole_share_least;
    return has_shares() && share_of_rows(blocks) < k_axis_share_least &&
           share_of(touched_rows(), blocks) <= 1 / k_axis_share_least;
  }

  /// A tile at the end of one axis has fewer rows, and with it all along another: no row is missing. Tell the two apart
  /// by a line along every axis. Where tiles are as they are for each axis by itself, the shares of n lines through a
  /// block multiply to the (n - 1)-th power of the block's own; where rows are left out, to less. The sample itself is
  /// run again behind it.
  void confirm_lack() {
    const bool has_whole_rows = is_single_;  // or a block's share is told by the rows that it touches
    double lines = 1, own = 0;
    for (int step = axes_; step >= 0; --step) {
      std::vector<Blocks> blocks{grown_blocks(order_.launches.front().plan, order_.seed, step)};
      const std::size_t count = blocks.front().size();
      const bool is_run = execute(blocks);
      const double share = has_whole_rows ? share_of_rows(count) : share_of(touched_rows(), count);
      if (!is_run) return give_up();
      if (step > 0) lines *= share;
      own = share;
    }
    outcome_.lacks_rows = lines < k_axis_share_least * std::pow(own, axes_ - 1);
    if (outcome_.lacks_rows || outcome_.fault) return;
    std::vector<Blocks> again = taken_;
    if (!execute(again) || again != taken_) give_up();
  }

  /// Nothing can be said.
  void give_up() {
    outcome_.rows.clear();
    outcome_.lacks_rows = false;
  }

  /// Whether blocks of the last launch have a share of the rows that the sampled blocks before them can complete: not
  /// where one of several launches has more axes, of which the blocks along one are no share of anything.
  bool has_shares() const {
    return order_.launches.size() == 1 ||
           std::all_of(order_.launches.begin(), order_.launches.end(),
                       [](const BoundLaunch& launch) { return axis_count(launch.plan) <= 1; });
  }

  /// Rows of the first output of which anything was written.
  std::size_t touched_rows() const {
    const SampledOutput& output = order_.outputs.front();
    const std::int64_t unit = output.piece_bytes % 4 == 0 ? 4 : 1;
    std::set<std::int64_t> rows;
    for (const std::int64_t written : device_.written_rows(output.buffer, unit))
      rows.insert(output.row_of(written * unit / output.piece_bytes));
    return rows.size();
  }

  /// Complete rows, as a share of what `blocks` blocks of the last launch should complete.
  double share_of_rows(std::size_t blocks) const { return share_of(complete_rows().size(), blocks); }

  double share_of(std::size_t rows, std::size_t blocks) const {
    const auto total = static_cast<double>(order_.outputs.front().rows());
    const auto grid = static_cast<double>(block_count(order_.launches.back().plan));
    return static_cast<double>(rows) * grid / (total * static_cast<double>(blocks));
  }

  /// Runs the blocks of every launch and takes those that were given up out of the lists. False: a fault, or the budget
  /// is used up.
  bool execute(std::vector<Blocks>& blocks) {
    order_.refresh();
    costs_.assign(blocks.size(), 0);
    for (std::size_t i = 0; i < blocks.size(); ++i) {
      if (blocks[i].empty()) continue;
      if (outcome_.instructions >= order_.instructions_max) return false;
      const std::uint64_t left = order_.instructions_max - outcome_.instructions;
      const PartOutcome part =
          device_.run_blocks(order_.launches[i], blocks[i], std::min(left, k_run_instructions_max));
      outcome_.instructions += part.instructions;
      costs_[i] = whole_cost(order_.launches[i], blocks[i].size(), part);
      if (part.fault) {
        // Out of budget is no fault of the candidate: nobody asked for so many blocks.
        if (part.fault->reason != "budget_exceeded") outcome_.fault = part.fault;
        return false;
      }
      const std::set<std::uint64_t> given_up(part.given_up.begin(), part.given_up.end());
      std::erase_if(blocks[i], [&](std::uint64_t block) { return given_up.contains(block); });
    }
    return true;
  }

  /// Warp instructions of the whole launch, of which `count` blocks ran.
  static double whole_cost(const BoundLaunch& launch, std::size_t count, const PartOutcome& part) {
    return static_cast<double>(part.instructions) / static_cast<double>(std::max<std::size_t>(count, 1)) *
           static_cast<double>(block_count(launch.plan));
  }

  /// Once more with those alone that were not given up: what a block wrote before it was is not there any more.
  bool confirm(std::vector<Blocks>& kept) {
    std::vector<Blocks> again = kept;
    return execute(again) && again == kept && !complete_rows().empty();
  }

  std::size_t costliest() const {
    return static_cast<std::size_t>(std::max_element(costs_.begin(), costs_.end()) - costs_.begin());
  }

  /// Of which all pieces are written, ascending.
  std::vector<std::int64_t> written_rows(const SampledOutput& output) const {
    const std::vector<std::int64_t> pieces = device_.written_rows(output.buffer, output.piece_bytes);
    const std::int64_t wanted = output.pieces_of_row();
    if (wanted == 1) return pieces;  // they are the rows, in the same order
    std::map<std::int64_t, std::int64_t> counts;
    for (const std::int64_t piece : pieces) ++counts[output.row_of(piece)];
    std::vector<std::int64_t> rows;
    for (const auto& [row, count] : counts)
      if (count == wanted) rows.push_back(row);
    return rows;
  }

  std::vector<std::int64_t> complete_rows() const {
    std::vector<std::int64_t> rows;
    bool is_first = true;
    for (const SampledOutput& output : order_.outputs) {
      const std::vector<std::int64_t> written = written_rows(output);
      std::vector<std::int64_t> common;
      std::set_intersection(rows.begin(), rows.end(), written.begin(), written.end(),
                            std::back_inserter(common));
      rows = is_first ? written : common;
      is_first = false;
    }
    return rows;
  }

  Device& device_;
  const BlockSampleOrder& order_;
  BlockSampleOutcome outcome_;
  std::vector<Blocks> taken_;        ///< whose rows are told
  std::vector<Blocks> timed_;        ///< that stand for the launches where they are timed
  std::vector<double> timed_costs_;  ///< by launch, of the whole grid
  std::vector<double> costs_;  ///< of whole launches in warp instructions, as the last sample lets expect
  int axes_ = 0;               ///< of the launch that has most
  bool is_single_ = false;     ///< a single block of each launch was enough
  bool lacked_ = false;        ///< blocks were given up, or there was no budget for them
};

}  // namespace

std::int64_t SampledOutput::rows() const {
  std::int64_t count = 1;
  for (const RowAxis& axis : axes) count *= axis.counts_rows ? axis.extent : 1;
  return count;
}

std::int64_t SampledOutput::pieces_of_row() const {
  std::int64_t count = 1;
  for (const RowAxis& axis : axes) count *= axis.counts_rows ? 1 : axis.extent;
  return count;
}

std::int64_t SampledOutput::row_of(std::int64_t piece) const {
  std::int64_t row = 0, stride = 1;
  for (auto axis = axes.rbegin(); axis != axes.rend(); ++axis) {
    if (axis->counts_rows) {
      row += piece % axis->extent * stride;
      stride *= axis->extent;
    }
    piece /= axis->extent;
  }
  return row;
}

int axis_count(const PlannedLaunch& launch) { return static_cast<int>(growing_axes(grid_of(launch)).size()); }

std::vector<std::uint64_t> grown_blocks(const PlannedLaunch& launch, std::uint64_t seed, int step) {
  const Extent grid = grid_of(launch);
  Rng rng(seed);
  Extent drawn;
  for (std::size_t axis = 0; axis < 3; ++axis) drawn[axis] = rng.below(grid[axis]);
  std::set<std::uint64_t> chosen;
  add_cluster(launch, drawn, chosen);
  const std::vector<std::size_t> axes = growing_axes(grid);
  for (std::size_t i = 0; i < axes.size(); ++i) {
    const bool is_all = step > static_cast<int>(axes.size());
    if (step == 0 || (!is_all && i + 1 != static_cast<std::size_t>(step))) continue;
    const std::size_t axis = axes[i];
    const std::uint64_t length = std::min(grid[axis], k_slice_blocks_max);
    // Around the drawn block where the axis is too long: neighbours share more than strangers.
    const std::uint64_t before = std::min(drawn[axis], length / 2);
    const std::uint64_t begin = std::min(drawn[axis] - before, grid[axis] - length);
    Extent at = drawn;
    for (at[axis] = begin; at[axis] < begin + length; ++at[axis]) add_cluster(launch, at, chosen);
  }
  return {chosen.begin(), chosen.end()};
}

BlockSampleOutcome sample_blocks(Device& device, const BlockSampleOrder& order) {
  return Sampler(device, order).run();
}

}  // namespace kernelites::worker
