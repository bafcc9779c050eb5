// SPDX-License-Identifier: Apache-2.0
// Digests of what a candidate may read and not write, taken before it runs and compared afterwards by the referee.
//
// Executors map inputs read-only, so that a write faults; this is the second layer, in a process that no candidate
// enters. A digest covers the whole mapping: nothing can be stashed in what lies around a tensor.
#pragma once

#include <cstdint>
#include <vector>

#include "evaluators/worker/device/device.h"
#include "evaluators/worker/pipeline/scratch_memory.h"

namespace kernelites::worker {

class InputSeal {
 public:
  InputSeal() = default;
  /// `inputs`: indexes into `tensors`. Throws Error if the device fails.
  InputSeal(ScratchMemory& memory, ModuleId harness, const std::vector<Buffer>& tensors,
            std::vector<std::size_t> inputs);
  /// Indexes of the inputs whose contents differ from what they were.
  std::vector<std::size_t> changed(ScratchMemory& memory, ModuleId harness,
                                   const std::vector<Buffer>& tensors) const;

 private:
  std::vector<std::size_t> inputs_;
  std::vector<std::uint64_t> digests_;
};

}  // namespace kernelites::worker
