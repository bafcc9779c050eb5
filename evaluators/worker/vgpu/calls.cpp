// SPDX-License-Identifier: Apache-2.0
// A function has one place for its registers, parameters and results. Where a call may lead back into its caller, the
// caller's lanes are saved before it and restored behind it; local variables, which may be pointed to, lie on a stack.
#include "evaluators/worker/vgpu/calls.h"

#include <cstring>

#include "evaluators/worker/vgpu/lanes.h"

namespace kernelites::worker::vgpu {
namespace {

struct Callee {
  u32 entry = 0, list = 0, arguments = 0, results = 0;
};

u8* local_of(Warp& warp, u32 lane) {
  return warp.local + std::size_t{lane} * warp.context->image->local_bytes;
}
u8* local_state_of(Warp& warp, u32 lane) {
  return warp.local_state + std::size_t{lane} * warp.context->image->local_bytes;
}

/// Copies arguments or results between local memory areas.
void copy_parameters(Warp& warp, const u32* triples, u32 count, u32 lane) {
  for (u32 k = 0; k < count; ++k, triples += 3) {
    std::memcpy(local_of(warp, lane) + triples[1], local_of(warp, lane) + triples[0], triples[2]);
    std::memcpy(local_state_of(warp, lane) + triples[1], local_state_of(warp, lane) + triples[0], triples[2]);
  }
}

/// Calls visit(pointer, bytes) for the registers and the frame of one lane, and visit_bit(mask) for its predicates.
/// The list: registers (offset, width), predicates (offset), each behind their number; begin and end of the frame.
template <class Visit, class VisitBit>
void visit_saved(Warp& warp, const u32* list, u32 lane, Visit visit, VisitBit visit_bit) {
  u32 count = *list++;
  for (; count > 0; --count, list += 2) visit(warp.registers + list[0] + lane * list[1], list[1]);
  for (count = *list++; count > 0; --count) visit_bit(*lanes_of<Mask>(warp, *list++));
  visit(local_of(warp, lane) + list[0], list[1] - list[0]);
  visit(local_state_of(warp, lane) + list[0], list[1] - list[0]);
}

void save_lane(Warp& warp, const u32* list, u32 lane) {
  std::vector<u8>& saved = warp.saved[lane];
  if (saved.size() > k_max_local_bytes)
    raise(FaultKind::trap, lane, "stack overflow: what recursive functions keep takes more than 512 KiB");
  visit_saved(
      warp, list, lane, [&](const u8* from, u32 bytes) { saved.insert(saved.end(), from, from + bytes); },
      [&](const Mask& mask) { saved.push_back(static_cast<u8>(mask >> lane & 1)); });
}

/// Restores in the order of saving, from the end of what the last save appended.
void restore_lane(Warp& warp, const u32* list, u32 lane) {
  std::size_t bytes = 0;
  visit_saved(
      warp, list, lane, [&](const u8*, u32 size) { bytes += size; }, [&](const Mask&) { ++bytes; });
  std::vector<u8>& saved = warp.saved[lane];
  const u8* from = saved.data() + (saved.size() - bytes);
  visit_saved(
      warp, list, lane,
      [&](u8* to, u32 size) {
        if (size != 0) std::memcpy(to, from, size);
        from += size;
      },
      [&](Mask& mask) { mask = (mask & ~(Mask{1} << lane)) | static_cast<Mask>(*from++) << lane; });
  saved.resize(saved.size() - bytes);
}

/// The callee of the first lane's address; `mask` becomes the lanes that go there too.
Callee find_callee(Warp& warp, const Instruction& i, Mask& mask) {
  const u64* addresses = lanes_of<u64>(warp, i.a);
  const u64 address = addresses[lowest_lane(mask)];
  const u32* record = warp.context->image->lists.data() + i.list;
  for (u32 k = 0; k < i.extra; ++k, record += k_callee_words) {
    if ((record[0] | u64{record[1]} << 32) != address) continue;
    Mask same = 0;
    for (Mask rest = mask; rest != 0; rest &= rest - 1) {
      if (addresses[lowest_lane(rest)] == address) same |= rest & -rest;
    }
    mask = same;
    return {.entry = record[2], .list = record[3], .arguments = record[4], .results = record[5]};
  }
  raise(FaultKind::trap, lowest_lane(mask),
        "a call through a pointer that is no function of this signature (the address is null, uninitialised "
        "or wrong)");
}

void enter_lane(Warp& warp, const Instruction& i, const Callee& callee, u32 lane) {
  const u32* lists = warp.context->image->lists.data();
  const std::size_t depth = warp.depth[lane];
  if (depth == k_max_call_depth)
    raise(FaultKind::trap, lane, "calls nested more than 256 deep: a device's stack would overflow");
  if (warp.returns.size() <= depth) warp.returns.emplace_back();
  if (i.c != 0) save_lane(warp, lists + i.c - 1, lane);
  copy_parameters(warp, lists + callee.list, callee.arguments, lane);
  warp.returns[depth][lane] = {
      .site = warp.pc, .list = callee.list + 3 * callee.arguments, .results = callee.results};
  ++warp.depth[lane];
  warp.stack_top[lane] += i.b;
  if (warp.stack_top[lane] + warp.context->image->largest_frame_bytes > k_stack_bytes)
    raise(FaultKind::trap, lane,
          "stack overflow: the frames of recursive functions take more than 8192 bytes");
}

void leave_lane(Warp& warp, const ReturnPoint& point, u32 lane) {
  const KernelImage& image = *warp.context->image;
  const Instruction& caller = image.code[point.site];
  const u32* triples = image.lists.data() + point.list;
  warp.stack_top[lane] -= caller.b;
  if (caller.c == 0) return copy_parameters(warp, triples, point.results, lane);
  // The results may lie in what is restored: they are held meanwhile.
  std::vector<u8> held;
  for (u32 k = 0; k < point.results; ++k) {
    const u8* from = local_of(warp, lane) + triples[3 * k];
    held.insert(held.end(), from, from + triples[3 * k + 2]);
    from = local_state_of(warp, lane) + triples[3 * k];
    held.insert(held.end(), from, from + triples[3 * k + 2]);
  }
  restore_lane(warp, image.lists.data() + caller.c - 1, lane);
  const u8* from = held.data();
  for (u32 k = 0; k < point.results; ++k) {
    const u32 to = triples[3 * k + 1], bytes = triples[3 * k + 2];
    if (bytes == 0) continue;
    std::memcpy(local_of(warp, lane) + to, from, bytes);
    std::memcpy(local_state_of(warp, lane) + to, from + bytes, bytes);
    from += 2 * std::size_t{bytes};
  }
}

}  // namespace

void enter_call(Warp& warp, const Instruction& i, Mask mask) {
  Mask entering = mask;
  const Callee callee =
      i.mode == k_indirect_call
          ? find_callee(warp, i, entering)
          : Callee{.entry = i.target, .list = i.list, .arguments = i.count, .results = i.extra};
  for (Mask rest = entering; rest != 0; rest &= rest - 1) enter_lane(warp, i, callee, lowest_lane(rest));
  const Mask again = mask & ~entering, skipped = warp.active & ~mask;
  if (again != 0) warp.groups.push_back({warp.pc, again, Wait::none, 0});
  if (skipped != 0) warp.groups.push_back({warp.pc + 1, skipped, Wait::none, 0});
  warp.active = entering;
  warp.pc = callee.entry;
}

Mask leave_call(Warp& warp, Mask mask) {
  Mask leaving = 0;
  for (Mask rest = mask; rest != 0;) {
    const u32 lane = lowest_lane(rest);
    if (warp.depth[lane] == 0) {
      leaving |= Mask{1} << lane;
      rest &= rest - 1;
      continue;
    }
    const u32 site = warp.returns[warp.depth[lane] - 1u][lane].site;
    Mask same = 0;
    for (Mask lanes = rest; lanes != 0; lanes &= lanes - 1) {
      const u32 other = lowest_lane(lanes);
      if (warp.depth[other] == 0) continue;
      const ReturnPoint point = warp.returns[warp.depth[other] - 1u][other];
      if (point.site != site) continue;
      same |= Mask{1} << other;
      --warp.depth[other];
      leave_lane(warp, point, other);
    }
    warp.groups.push_back({site + 1, same, Wait::none, 0});
    rest &= ~same;
  }
  return leaving;
}

}  // namespace kernelites::worker::vgpu
