// SPDX-License-Identifier: Apache-2.0
// Real results from a few blocks: which rows of the outputs a part of each grid completes (virtual GPU).
//
// A bench shape is too large to interpret, but a block of it is not. A block is drawn, then all that lie beside it
// along one axis of the grid after another, until whole rows of all outputs are written: a tile of queries is one
// block, a row of a split decode the blocks along the split axis and the merge behind them. A block that needs what no
// drawn block wrote is given up; in the end those that were not run again alone, so that nothing half done is compared.
// Blocks that complete fewer rows than their share of the grid tell that rows are left out.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "evaluators/worker/device/device.h"

namespace kernelites::worker {

/// An axis of an output that is left of its elements: it counts rows, or pieces of one row (the tokens of a head).
struct RowAxis {
  std::int64_t extent = 1;
  bool counts_rows = true;
};

/// An output and where its rows lie: pieces of as many bytes, over these axes, the first the slowest.
struct SampledOutput {
  Buffer buffer;
  std::int64_t piece_bytes = 0;
  std::vector<RowAxis> axes;

  std::int64_t rows() const;
  std::int64_t pieces_of_row() const;
  std::int64_t row_of(std::int64_t piece) const;
};

/// A plan to sample. Borrows its members.
struct BlockSampleOrder {
  const std::vector<BoundLaunch>& launches;
  const std::vector<SampledOutput>& outputs;
  /// Brings outputs and workspaces into their state before a launch, all unwritten that counts as such.
  const std::function<void()>& refresh;
  std::uint64_t seed = 0;  ///< draws the blocks
  /// First of all the blocks that a timed run with this seed consists of: where they complete rows, it is those that
  /// are told, and nobody else's.
  std::optional<std::uint64_t> timed_seed = std::nullopt;
  std::uint64_t instructions_max = 0;  ///< warp instructions of everything together
};

struct BlockSampleOutcome {
  std::optional<DeviceFault> fault;  ///< of a block that lacked nothing
  std::vector<std::int64_t> rows;    ///< complete in all outputs, ascending; empty: none could be reached
  std::uint64_t instructions = 0;
  std::uint64_t blocks = 0;  ///< whose results are there to be compared
  bool lacks_rows = false;   ///< the blocks of a whole axis complete fewer rows than are their share
  bool is_barren = false;    ///< no blocks complete a row, though none lacked anything and none cost too much
  bool is_cut =
      false;  ///< an axis is longer than what is run along one: a row's blocks may lie further apart
  /// By launch, of the whole grid as its timed blocks let expect where all launches before have run whole; 0: it is the
  /// first, or those cost too much.
  std::vector<double> launch_instructions;
};

BlockSampleOutcome sample_blocks(Device& device, const BlockSampleOrder& order);

/// Whole clusters of blocks, ascending: the drawn one (step 0), with all along one axis (steps 1 to n, the shortest
/// axis first, axes of one block left out), with all along each of them (from n + 1 on). At most `k_slice_blocks_max`
/// along an axis.
std::vector<std::uint64_t> grown_blocks(const PlannedLaunch& launch, std::uint64_t seed, int step);
inline constexpr std::uint64_t k_slice_blocks_max = 4096;
/// n: the number of axes that are longer than one block.
int axis_count(const PlannedLaunch& launch);

}  // namespace kernelites::worker
