// SPDX-License-Identifier: Apache-2.0
// st.async and red.async (PTX ISA 9.7.9.12, 9.7.13.9): stores to another block's shared memory that complete at an
// mbarrier there.
#include <algorithm>

#include <fmt/core.h>

#include "evaluators/worker/vgpu/access.h"
#include "evaluators/worker/vgpu/ops.h"

#pragma GCC target("avx,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")

namespace kernelites::worker::vgpu {
namespace {

// Instruction fields: a, offset, flags: address; c, e: address of the mbarrier (register, offset); list, count, size:
// the values; mode: BulkOperator; extra: BulkElement.

u32 value_bytes(const Instruction& i) { return u32{i.size} * i.count; }

BulkCopy copy_of(Warp& warp, const Instruction& i, u32 lane, u32 offset, u32 mbarrier) {
  BulkCopy copy{.operation = static_cast<BulkOperator>(i.mode),
                .element = static_cast<BulkElement>(i.extra),
                .is_into_shared = true,
                .mbarrier = mbarrier,
                .bytes = value_bytes(i),
                .known = {},
                .warp = warp.index,
                .lane = lane,
                .pc = warp.pc,
                .id = ++warp.block->operations};
  copy.staged.resize(copy.bytes);
  const u32* registers = warp.context->image->lists.data() + i.list;
  for (u32 k = 0; k < i.count; ++k)
    std::memcpy(copy.staged.data() + k * i.size, warp.registers + registers[k] + lane * i.size, i.size);
  copy.pieces.push_back(
      {.shared = offset, .first = 0, .bytes = static_cast<u8>(copy.bytes), .other = copy.staged.data()});
  return copy;
}

void store_async(Warp& warp, const Instruction& i, Mask mask) {
  u64 addresses[k_lanes];
  read_addresses(warp, i, addresses);
  const u32* mbarriers = lanes_of<u32>(warp, i.c);
  Access access;
  const Use use = static_cast<BulkOperator>(i.mode) == BulkOperator::move ? Use::store : Use::atomic;
  for (Mask rest = mask; rest != 0;) {
    const Mask part = resolve_in_cluster(warp, i, addresses, rest, value_bytes(i), use, access);
    if (warp.block->overwrite) throw warp.block->overwrite->lanes.front().raised;
    rest &= ~part;
  }
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    const u32 lane = lowest_lane(rest), mbarrier = mbarriers[lane] + i.e;
    Block& target = block_of_address(warp, static_cast<u32>(addresses[lane]), lane);
    if (&target != &block_of_address(warp, mbarrier, lane)) {
      raise(FaultKind::barrier_misuse, lane,
            "an asynchronous store into the shared memory of one block that completes at an mbarrier of "
            "another one");
    }
    require_mbarrier(warp, target, i, peer_offset(mbarrier), lane);
  }
  BlockOrder::Gate known;
  warp.block->order.release(warp.index, known);  // behind all that has been noted of the accesses
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    const u32 lane = lowest_lane(rest), address = static_cast<u32>(addresses[lane]);
    BulkCopy copy = copy_of(warp, i, lane, peer_offset(address), peer_offset(mbarriers[lane] + i.e));
    copy.known = known;
    start_copy(block_of_address(warp, address, lane), std::move(copy));
  }
}

}  // namespace

bool decode_remote(Decoder& d, const Statement& s, Instruction& i) {
  if (s.operands.size() != 3 || !s.has("shared::cluster") || !s.has("mbarrier::complete_tx::bytes"))
    return false;
  const PtxType type = last_type(s);
  const bool is_red = s.is("red");
  Instruction mbarrier;
  if (!d.address(s.operands[2], mbarrier) || !d.address(s.operands[0], i)) return false;
  if ((mbarrier.flags & k_narrow_address) == 0 || (i.flags & k_narrow_address) == 0) return false;
  d.sources(s.operands[1], type.bytes, i);
  if (i.count != vector_width(s) || type.bytes < 4 || type.bytes > 8) return false;
  i.handler = store_async;
  i.op_class = OpClass::shared_store;
  i.size = static_cast<u8>(type.bytes);
  i.c = mbarrier.a;
  i.e = static_cast<u32>(mbarrier.offset);
  i.mode = static_cast<u8>(BulkOperator::move);
  i.extra = static_cast<u16>(BulkElement::bytes);
  if (!is_red) return !s.has("relaxed") && !s.has("release");
  BulkOperator operation = BulkOperator::move;
  for (const std::string_view part : s.parts)
    if (const BulkOperator found = bulk_operator(part); found != BulkOperator::move) operation = found;
  const BulkElement element = bulk_element(s.parts.back());
  const bool is_float = element >= BulkElement::f16;
  i.mode = static_cast<u8>(operation);
  i.extra = static_cast<u16>(element);
  i.flags |= k_strong_access;
  return operation != BulkOperator::move && !is_float && i.count == 1;
}

}  // namespace kernelites::worker::vgpu
