// SPDX-License-Identifier: Apache-2.0
// Names and sentences for faults.
#include "evaluators/worker/vgpu/fault.h"

#include <fmt/core.h>

namespace kernelites::worker::vgpu {

std::string_view to_string(FaultKind kind) {
  switch (kind) {
    case FaultKind::out_of_bounds:
      return "out_of_bounds";
    case FaultKind::misaligned:
      return "misaligned";
    case FaultKind::uninitialised:
      return "uninitialised";
    case FaultKind::race:
      return "race";
    case FaultKind::divergent_barrier:
      return "divergent_barrier";
    case FaultKind::deadlock:
      return "deadlock";
    case FaultKind::invalid_shuffle:
      return "invalid_shuffle";
    case FaultKind::read_only_write:
      return "read_only_write";
    case FaultKind::budget_exceeded:
      return "budget_exceeded";
    case FaultKind::unsupported_instruction:
      return "unsupported_instruction";
    case FaultKind::trap:
      return "trap";
    case FaultKind::copy_not_waited:
      return "copy_not_waited";
    case FaultKind::invalid_launch:
      return "invalid_launch";
    case FaultKind::barrier_misuse:
      return "barrier_misuse";
    case FaultKind::missing_proxy_fence:
      return "missing_proxy_fence";
    case FaultKind::async_in_flight:
      return "async_in_flight";
    case FaultKind::bad_descriptor:
      return "bad_descriptor";
    case FaultKind::cluster_peer_absent:
      return "cluster_peer_absent";
    case FaultKind::bad_register_count:
      return "bad_register_count";
    case FaultKind::unfenced_mbarrier_init:
      return "unfenced_mbarrier_init";
    case FaultKind::setmaxnreg_ignored:
      return "setmaxnreg_ignored";
  }
  return "unknown";
}

std::string describe(const Fault& fault) {
  std::string text = fmt::format("{}: {}", to_string(fault.kind), fault.message);
  if (!fault.kernel.empty()) text += fmt::format(" in kernel {}", fault.kernel);
  if (fault.line > 0) text += fmt::format(", line {}", fault.line);
  if (fault.instruction.empty()) return text;
  const Dim3 b = fault.block, t = fault.thread;
  return text + fmt::format(", block ({},{},{}), thread ({},{},{}), PTX: {}", b.x, b.y, b.z, t.x, t.y, t.z,
                            fault.instruction);
}

}  // namespace kernelites::worker::vgpu
