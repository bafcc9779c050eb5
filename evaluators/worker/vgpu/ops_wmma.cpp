// SPDX-License-Identifier: Apache-2.0
// wmma: whole-matrix loads, stores and multiplications with fragments of an opaque layout.
#include "evaluators/worker/vgpu/instruction_table.h"

namespace kernelites::worker::vgpu {

std::span<const InstructionRow> wmma_rows() { return {}; }

}  // namespace kernelites::worker::vgpu
