// SPDX-License-Identifier: Apache-2.0
// The virtual GPU: parse NVRTC's PTX, register memory, run launches on the CPU with every access checked.
//
// PTX is interpreted warp by warp: a register is an array of 32 lanes, a handler executes one instruction for all
// active lanes. Nothing of a candidate is ever executed natively. docs/vgpu.md shows the folder and how to add an
// instruction.
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "evaluators/worker/vgpu/counts.h"
#include "evaluators/worker/vgpu/fault.h"
#include "evaluators/worker/vgpu/memory.h"

namespace kernelites::worker::vgpu {

/// A parsed PTX module with its decoded kernels; immutable, may be shared between threads.
class Program;

/// Parses and decodes. An instruction that is not known is no error here: executing it is a fault.
/// Throws Error for text that is not PTX, and where the CPU lacks x86-64-v3 (AVX2, FMA, F16C).
std::shared_ptr<const Program> parse(std::string_view ptx);

/// One kernel parameter: where its bytes go in `Launch::parameters`.
struct Parameter {
  std::string name;
  u32 offset = 0, bytes = 0;
};

/// The static facts of a kernel that a launch and the time model need.
struct KernelInfo {
  std::string name;
  std::vector<Parameter> parameters;
  u32 parameter_bytes = 0;
  u32 static_shared_bytes = 0;
  u32 local_bytes = 0;                   ///< per thread
  u32 max_threads = 0;                   ///< .maxntid product, 0 if the kernel does not say
  std::vector<std::string> unsupported;  ///< opcodes that the virtual GPU cannot execute, each once
};

/// Names of all kernels (mangled, as in the PTX), in file order.
std::vector<std::string> kernel_names(const Program& program);
/// Empty if the program has no such kernel.
std::optional<KernelInfo> kernel_info(const Program& program, std::string_view kernel);
/// The layout of a kernel's parameter block. REQUIRES: the kernel exists.
std::vector<Parameter> parameter_layout(const Program& program, std::string_view kernel);
/// Opcodes of all kernels that the virtual GPU cannot execute, each once, sorted.
std::vector<std::string> unsupported(const Program& program);

struct Launch {
  std::string kernel;
  Dim3 grid, block, cluster;
  std::uint32_t dynamic_shared_bytes = 0;
  std::vector<std::byte> parameters;  ///< laid out as `parameter_layout` says
  bool cooperative = false;           ///< all blocks are resident together, so a grid-wide barrier works
};

/// Which checks are on. Bounds, alignment, divergent barriers, deadlock and cp.async waits are always checked.
struct Checks {
  bool uninitialised = true;
  bool races = true;         ///< in shared memory, and what `global_races` says
  bool global_races = true;  ///< with `races`: also in global memory, on one thread
  /// That nothing touches what TMA or wgmma is still using. Off only to see what comes of it: the result then
  /// depends on the moments that the schedule draws.
  bool flights = true;
};

/// Run only `blocks` blocks (or fewer), drawn by `seed` and spread over each axis of the grid alike: for the modelled
/// time of a large launch, never for outputs. Which blocks run cannot be known beforehand, so that none can be cheap.
struct BlockSample {
  std::uint64_t blocks = 0;
  std::uint64_t seed = 0;
};

struct LaunchOptions {
  unsigned threads = 1;                              ///< OS threads that share the blocks
  std::uint64_t instruction_budget = 2'000'000'000;  ///< warp instructions of the whole launch
  std::uint64_t schedule_seed =
      0;  ///< 0: blocks and warps in order; else an interleaving drawn from the seed
  Checks checks;
  bool collect_counts = true;
  /// Floating-point sums by atom and red come out as if nothing were rounded on the way: what still depends on the
  /// order of blocks and warps then is something else than their roundings. On one OS thread.
  bool adds_exactly = false;
  std::optional<BlockSample> sample;
  /// Not empty: only these blocks run, in this order (indices in the grid, x fastest). What they would need of the
  /// others is missing: a block that reads what nothing wrote, or waits for ever, is given up without a fault.
  std::vector<std::uint64_t> only_blocks;
};

inline constexpr std::size_t k_max_remarks = 8;

struct LaunchResult {
  std::optional<Fault> fault;  ///< the first one, in block order
  Counts counts;
  /// What is no fault, because kernels that work do it, and yet not as PTX asks: each kind once a line, at most
  /// k_max_remarks.
  std::vector<Fault> remarks;
  std::vector<std::uint64_t> given_up;  ///< of `only_blocks`
  /// Whether any thread executed griddepcontrol.wait, and .launch_dependents.
  bool waits_for_grid = false, lets_next_begin = false;
};

/// Runs one launch to its end or its first fault. With the same seed the result is the same for any number of
/// threads: a launch that is checked for races in global memory, a kernel that has global atomics, volatile or acquire
/// loads, and every cooperative launch, runs on one thread whatever `options.threads` says.
LaunchResult run(const Program& program, Memory& memory, const Launch& launch, const LaunchOptions& options);

}  // namespace kernelites::worker::vgpu
