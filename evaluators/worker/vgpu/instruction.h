// SPDX-License-Identifier: Apache-2.0
// The decoded form of PTX: instructions of 72 bytes with a handler each, and everything a launch needs of a kernel.
//
// Register operands are byte offsets into the warp's arena. Its layout, each part 128-byte aligned:
//   special registers | predicates (one 32-bit mask each) | registers (32 lanes each) | constants (32 lanes each)
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "evaluators/worker/vgpu/counts.h"
#include "evaluators/worker/vgpu/types.h"

namespace kernelites::worker::vgpu {

struct Warp;
struct Instruction;

/// Executes one instruction for the lanes of a mask that is not empty.
using Handler = void (*)(Warp&, const Instruction&, Mask);

/// What the run loop does with an instruction besides calling its handler.
enum class Flow : u8 {
  plain,
  branch,          ///< to `target`
  indexed_branch,  ///< brx.idx: target list at `list`, `extra` entries, index in `a`
  call,            ///< see calls.h
  ret,             ///< back to the caller, or exit of the lanes where there is none
  exit,
  barrier,          ///< of the block; mode: BarrierMode
  warp_sync,        ///< waits until the lanes of `members` are there
  mbarrier_wait,    ///< tests an mbarrier; may wait for the end of its phase (mbarrier.h)
  wgmma_wait,       ///< waits for groups of wgmma (wgmma_flight.h)
  cluster_barrier,  ///< arrival or wait at the barrier of the cluster (cluster.h)
  register_count,   ///< setmaxnreg (register_budget.h); extra: registers a thread, mode: 1 to raise
};

struct Instruction {
  Handler handler = nullptr;
  Flow flow = Flow::plain;
  OpClass op_class = OpClass::integer;
  u8 size = 4;   ///< bytes per element
  u8 count = 1;  ///< elements of a vector
  u8 mode = 0;   ///< meaning belongs to the handler
  u8 flags = 0;  ///< k_narrow_address and handler bits
  u16 extra = 0;
  u32 guard = 0;        ///< offset of the guard predicate (an always-true one where there is none)
  Mask guard_flip = 0;  ///< all ones for @!p
  u32 d = 0, a = 0, b = 0, c = 0, e = 0;
  u32 list = 0;  ///< index into KernelImage::lists
  u32 target = 0;
  Mask members = k_all_lanes;  ///< of a warp_sync; 0: in the register at `target`
  i32 offset = 0;              ///< of an address
  u32 line = 0;                ///< of the .cu
};
static_assert(sizeof(Instruction) <= 72);

/// Instruction::mode of a barrier.
enum class BarrierMode : u8 { wait, arrive, count, all, any };
/// Instruction::flags of a barrier: all lanes of the warp must reach it together.
inline constexpr u8 k_aligned_barrier = 1;

/// Instruction::mode of a wait at an mbarrier: what `b` says of the phase.
inline constexpr u8 k_wait_by_token = 0, k_wait_by_parity = 1;
/// Instruction::extra of it: test_wait; .relaxed.
inline constexpr u16 k_wait_tests = 1, k_wait_relaxed = 2;

/// Instruction::mode of the cluster's barrier; the flag k_aligned_barrier as with other barriers.
inline constexpr u8 k_cluster_arrive = 0, k_cluster_arrive_relaxed = 1, k_cluster_wait = 2;

/// Instruction::flags of what the asynchronous proxy does: copies by TMA, wgmma. Its registers may be in flight.
inline constexpr u8 k_async_proxy = 128;

/// Instruction::flags: the address register is 32 bits wide. Bits 2 to 64 of memory instructions: see order.h.
inline constexpr u8 k_narrow_address = 1;

/// Offsets of special registers in the arena are this times their index (special.h).
inline constexpr u32 k_special_stride = 4 * k_lanes;

/// Local memory of a thread: CUDA's limit. A kernel that wants more cannot be launched.
inline constexpr u32 k_max_local_bytes = 512 * 1024;

/// Registers and constants of a warp: 512 KiB per thread. A device spills what exceeds 255 registers to local memory.
inline constexpr u32 k_max_arena_bytes = 16u << 20;

/// Cycles of a chain of dependences, by where the data of global loads lies.
struct ChainCycles {
  float near = 0;  ///< all global loads hit the L1
  float far = 0;   ///< all of them come from DRAM
  float more = 0;  ///< machine instructions beyond one that this PTX instruction becomes
};

/// A kernel with all functions that it calls, linked.
struct KernelImage {
  std::string name;
  std::vector<Instruction> code;
  std::vector<std::string_view> texts;  ///< PTX of each instruction
  std::vector<ChainCycles> chains;      ///< of the basic block that begins here (critical_path.h)
  std::vector<u32> lists;
  u32 entry = 0;  ///< first instruction of the kernel itself
  u32 predicate_offset = 0, constant_offset = 0, arena_bytes = 0;
  std::vector<u8> constants;
  u32 static_shared_bytes = 0;  ///< the dynamic array begins behind them, 16-byte aligned
  u32 local_bytes = 0;          ///< per lane, the stack of recursive functions included
  u32 stack_offset = 0;         ///< in local memory; used only if a function is recursive
  u32 largest_frame_bytes = 0;  ///< on that stack
  u32 parameter_bytes = 0;
  u32 max_threads = 0;
  u32 entry_registers =
      0;  ///< a thread's, where setmaxnreg changes them; 0: it does not, or they cannot be told
  u8 shared_granule = 16;     ///< least width of an access to shared memory, for the race detector
  u8 global_granule = 16;     ///< the same for global memory
  bool needs_order = false;   ///< blocks communicate: run them on one thread
  bool tracks_order = false;  ///< more than barriers of the whole block can order accesses
  bool uses_cluster = false;  ///< its barrier, or shared memory of its other blocks
  std::vector<std::string> unsupported;
  /// Only where a kernel has wgmma: the registers of instruction k are used_registers[first_used[k] ..
  /// first_used[k + 1]), numbered over all functions.
  std::vector<u32> first_used, used_registers;
  u32 register_count = 0;

  std::span<const u32> used(u32 pc) const {
    return std::span(used_registers).subspan(first_used[pc], first_used[pc + 1] - first_used[pc]);
  }
};

}  // namespace kernelites::worker::vgpu
