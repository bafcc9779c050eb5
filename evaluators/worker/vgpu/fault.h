// SPDX-License-Identifier: Apache-2.0
// What execution can find wrong with a kernel, in words that a person or a model can act on.
#pragma once

#include <string>
#include <string_view>

#include "evaluators/worker/vgpu/types.h"

namespace kernelites::worker::vgpu {

struct Dim3 {
  std::uint32_t x = 1, y = 1, z = 1;

  u64 count() const { return u64{x} * y * z; }
  bool operator==(const Dim3&) const = default;
};

/// Stored; append only.
enum class FaultKind {
  out_of_bounds,
  misaligned,
  uninitialised,      ///< a read of memory that nothing wrote
  race,               ///< two accesses, one a write, with no synchronisation between them
  divergent_barrier,  ///< an aligned barrier that only a part of a warp reaches
  deadlock,
  invalid_shuffle,  ///< a warp-wide operation whose mask names lanes that do not take part
  read_only_write,
  budget_exceeded,
  unsupported_instruction,  ///< no fault of the kernel: the virtual GPU cannot execute it
  trap,                     ///< trap, a failed assert
  copy_not_waited,          ///< a read of shared memory that a cp.async may still be writing
  invalid_launch,           ///< the launch itself cannot work: no such kernel, too many threads, ...
  barrier_misuse,  ///< an mbarrier that is not initialised, or with other arrivals or bytes than it expects
  missing_proxy_fence,  ///< TMA or wgmma reads what ordinary stores wrote, without fence.proxy.async between
  async_in_flight,      ///< memory or registers that an asynchronous operation is still using are touched
  bad_descriptor,       ///< a matrix descriptor or tensor map that says something impossible
  cluster_peer_absent,  ///< shared memory of a block that may have ended, or may not have begun yet
  bad_register_count,   ///< setmaxnreg that raises where it must lower, or the reverse
  /// Only a remark (LaunchResult::remarks): TMA uses an mbarrier whose initialisation nothing has fenced.
  unfenced_mbarrier_init,
  setmaxnreg_ignored,  ///< only a remark: ptxas cannot tell the registers at entry and drops it
};

/// The stored name of a kind, for example "out_of_bounds".
std::string_view to_string(FaultKind kind);

/// One finding. `line` is a line of the .cu (0 where the PTX has no .loc); `instruction` is the PTX text.
struct Fault {
  FaultKind kind = FaultKind::trap;
  std::string message;
  std::string kernel;
  int line = 0;
  Dim3 block = {0, 0, 0};
  Dim3 thread = {0, 0, 0};
  std::string instruction;
};

/// One sentence with everything: message, kernel, line, block, thread, instruction.
std::string describe(const Fault& fault);

}  // namespace kernelites::worker::vgpu
