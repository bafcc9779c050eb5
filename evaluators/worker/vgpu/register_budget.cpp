// SPDX-License-Identifier: Apache-2.0
// The pool of a block's registers.
#include "evaluators/worker/vgpu/register_budget.h"

#include <algorithm>

#include <fmt/core.h>

#include "evaluators/worker/vgpu/syntax.h"
#include "evaluators/worker/vgpu/warp.h"

namespace kernelites::worker::vgpu {
namespace {

constexpr u32 k_multiprocessor_registers = 65536, k_granule = 8, k_most = 256;

}  // namespace

u32 entry_registers(const Function& kernel, u32 least_increase) {
  u32 registers = 0;
  if (kernel.least_blocks != 0 && kernel.max_threads != 0) {
    const u64 threads = u64{kernel.least_blocks} * kernel.max_threads;
    registers =
        std::min<u32>(static_cast<u32>(k_multiprocessor_registers / threads), k_most) / k_granule * k_granule;
  }
  if (kernel.max_registers != 0) {
    const u32 named = std::min((kernel.max_registers + k_granule - 1) / k_granule * k_granule, k_most);
    registers = registers == 0 ? named : std::min(registers, named);
  }
  return std::min(registers, least_increase);
}

void set_register_count(Warp& warp, const Instruction& i, Mask mask) {
  if (warp.registers_each == 0) {
    remark(warp, FaultKind::setmaxnreg_ignored, lowest_lane(mask),
           "ptxas ignores this setmaxnreg: give the kernel __launch_bounds__ with a minimum of blocks (or "
           ".maxnreg), "
           "which say how many registers a thread begins with");
    ++warp.pc;
    return;
  }
  const u32 wanted = i.extra;
  const bool raises = i.mode != 0;
  if (raises ? wanted < warp.registers_each : wanted > warp.registers_each) {
    raise(FaultKind::bad_register_count, lowest_lane(mask),
          fmt::format("setmaxnreg.{} to {} registers a thread of a warp that has {}", raises ? "inc" : "dec",
                      wanted, warp.registers_each));
  }
  Block& block = *warp.block;
  if (raises && wanted - warp.registers_each > block.spare_registers) {
    warp.groups.push_back({warp.pc, mask, Wait::event, 0});
    warp.active &= ~mask;
    pick_group(warp);
    return;
  }
  block.spare_registers += warp.registers_each;
  block.spare_registers -= wanted;
  warp.registers_each = wanted;
  if (!raises) wake(block);
  ++warp.pc;
}

std::string register_wait_text(const Block& block, const Warp& warp, const Instruction& i) {
  return fmt::format(
      "for {} registers a thread (setmaxnreg.inc; it has {}): the block has {} of its warps' registers left, "
      "so that its warps together ask for more than it began with, {} a thread",
      i.extra, warp.registers_each, block.spare_registers, block.context->image->entry_registers);
}

}  // namespace kernelites::worker::vgpu
