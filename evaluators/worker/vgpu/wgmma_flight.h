// SPDX-License-Identifier: Apache-2.0
// wgmma between its issue and its wait: the registers and the shared memory that it is using.
//
// Registers are a warp's own. The operands in shared memory are the warpgroup's: a group of wgmma ends for all four
// warps at once, when all have committed it, so that one of them may say for all that the memory is free.
//
// A product is computed as late as it may be: at the wait, or, with a schedule seed, at a moment that the seed draws.
// What was done to its operands and accumulators in between shows in the result, if Checks::flights lets it happen.
#pragma once

#include <map>
#include <vector>

#include "evaluators/worker/vgpu/order.h"
#include "evaluators/worker/vgpu/types.h"

namespace kernelites::worker::vgpu {

struct Block;
struct Instruction;
struct Warp;

inline constexpr u32 k_warpgroup = 4;  ///< warps

/// One wgmma.mma_async that has not been waited for.
struct WgmmaFlight {
  u32 group = 0, pc = 0;
  u64 id = 0;               ///< of its ReadInFlight
  std::vector<u32> chunks;  ///< offsets in shared memory, of 16 bytes each: those of A, then those of B
  u32 left_chunks = 0;      ///< of A
  std::vector<u8> left;     ///< A, if it comes from registers
  bool adds = false, is_computed = false;
  void (*compute)(Warp&, const WgmmaFlight&) = nullptr;
};

/// Of one warp.
struct WgmmaFlights {
  std::vector<WgmmaFlight> flights;
  /// By register (KernelImage::used): 2 (pc + 1) of the wgmma in flight that uses it, and 1 more if it accumulates
  /// there; 0: none.
  std::vector<u32> users;
  u32 group = 0;           ///< wgmma.commit_group so far
  u32 waited = 0;          ///< groups that have been waited for
  bool is_fenced = false;  ///< a wgmma.fence has been executed
};

/// A committed group of a warpgroup.
struct WgmmaGroup {
  u32 committed = 0, waited = 0;  ///< warps
  BlockOrder::Gate known;         ///< what they knew when they committed
};
/// Of one warpgroup, by number, until all its warps have waited.
using WgmmaGroups = std::map<u32, WgmmaGroup>;

/// Puts a wgmma, which the warp is executing, in flight. Throws Raised where its registers are another one's.
void start_flight(Warp& warp, u32 accumulators, WgmmaFlight flight);
/// Computes the next product of a warp that `random` draws; false if none is in flight uncomputed.
bool advance_products(Block& block, u64 random);
/// Throws Raised if the instruction that the warp is about to execute touches a register of a wgmma in flight.
void require_registers_landed(Warp& warp, const Instruction& i);
void commit_wgmma(Warp& warp);
/// wgmma.wait_group: ends all groups but the `keep` latest and goes on, or parks the warp until the others of its
/// warpgroup have committed them.
void wait_for_wgmma(Warp& warp, const Instruction& i, Mask mask);

}  // namespace kernelites::worker::vgpu
