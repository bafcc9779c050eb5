// SPDX-License-Identifier: Apache-2.0
// Operand placement for the common shapes of instructions.
#include "evaluators/worker/vgpu/ops.h"

namespace kernelites::worker::vgpu {

bool place(Decoder& decoder, const Statement& statement, Instruction& i, Handler handler, OpClass op_class,
           u32 sources, u32 bytes) {
  if (handler == nullptr || statement.operands.size() < sources + 1) return false;
  i.handler = handler;
  i.op_class = op_class;
  i.d = decoder.destination(statement.operands[0], bytes);
  u32* const slots[] = {&i.a, &i.b, &i.c, &i.e};
  for (u32 k = 0; k < sources; ++k) *slots[k] = decoder.source(statement.operands[k + 1], bytes);
  return true;
}

bool place_mixed(Decoder& d, const Statement& s, Instruction& i, Handler handler, u32 result,
                 std::initializer_list<u32> widths) {
  if (handler == nullptr || s.operands.size() < widths.size() + 1) return false;
  i.handler = handler;
  i.d = d.destination(s.operands[0], result);
  u32* const slots[] = {&i.a, &i.b, &i.c, &i.e};
  std::size_t k = 0;
  for (u32 width : widths) {
    *slots[k] = d.source(s.operands[k + 1], width);
    ++k;
  }
  return true;
}

u32 vector_width(const Statement& statement) {
  return statement.has("v2") ? 2 : statement.has("v4") ? 4 : statement.has("v8") ? 8 : 1;
}

void require_whole_warp(const Warp& warp, Mask mask, const char* what) {
  if (mask == warp.existing && mask == k_all_lanes) return;
  raise(FaultKind::invalid_shuffle, lowest_lane(mask),
        std::string(what) + " is executed by a part of the warp only; all 32 lanes must execute it together");
}

}  // namespace kernelites::worker::vgpu
