// SPDX-License-Identifier: Apache-2.0
// cp.async (sm_80): copies from global to shared memory that become visible at their wait.
//
// The destination bytes are "pending" from the issue on: reading them before the wait is a fault, in any warp.
#include <algorithm>

#include <fmt/core.h>

#include "evaluators/worker/vgpu/access.h"
#include "evaluators/worker/vgpu/instruction_table.h"
#include "evaluators/worker/vgpu/ops.h"
#include "evaluators/worker/vgpu/race_report.h"

#pragma GCC target("avx,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")

namespace kernelites::worker::vgpu {
namespace {

/// Checks the source of the lanes, `bytes` (a power of two) from `first` on, and finds where it lies.
void find_sources(Warp& warp, const Instruction& i, const u64* addresses, Mask mask, u32 first, u32 bytes,
                  const u8** from) {
  u64 shifted[k_lanes];
  KERNELITES_LANES(l) shifted[l] = addresses[l] + first;
  Access source;
  for (Mask rest = mask; rest != 0;) {
    const Mask part = resolve_part(warp, i, Space::global, shifted, rest, bytes, Use::load, source);
    for (Mask lanes = part; first == 0 && lanes != 0; lanes &= lanes - 1) {
      from[lowest_lane(lanes)] = source.base + source.offsets[lowest_lane(lanes)];
    }
    rest &= ~part;
  }
}

/// A lane whose source is shorter than the destination: what it reads, in pieces of a power of two.
void find_short_source(Warp& warp, const Instruction& i, const u64* addresses, u32 lane, u32 copied,
                       const u8** from) {
  if (addresses[lane] % i.size != 0) {
    raise(FaultKind::misaligned, lane,
          fmt::format("a cp.async of {} bytes reads from an address that is not a multiple of {}", i.size,
                      i.size));
  }
  for (u32 first = 0; first < copied;) {
    const u32 piece = u32{1} << (31 - __builtin_clz(copied - first));
    find_sources(warp, i, addresses, Mask{1} << lane, first, piece, from);
    first += piece;
  }
}

/// a, offset, flags: source; d, b: destination register and offset; c: bytes to copy (0: all); size: bytes.
void copy_async(Warp& warp, const Instruction& i, Mask mask) {
  u64 addresses[k_lanes];
  read_addresses(warp, i, addresses);
  const u32* destination = lanes_of<u32>(warp, i.d);
  const u32* limit = i.c != 0 ? lanes_of<u32>(warp, i.c) : nullptr;
  u32 copied[k_lanes] = {};
  Mask whole = 0, partial = 0;
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    const u32 l = lowest_lane(rest);
    copied[l] = limit != nullptr ? std::min<u32>(limit[l], i.size) : i.size;
    if (copied[l] == i.size)
      whole |= Mask{1} << l;
    else if (copied[l] != 0)
      partial |= Mask{1} << l;
  }
  const u8* from[k_lanes] = {};
  if (whole != 0) find_sources(warp, i, addresses, whole, 0, i.size, from);
  for (; partial != 0; partial &= partial - 1)
    find_short_source(warp, i, addresses, lowest_lane(partial), copied[lowest_lane(partial)], from);
  Access target;
  KERNELITES_LANES(l) target.offsets[l] = destination[l] + i.b;
  Tally* const tally = warp.tally;  // the copy is one request, counted at its source
  warp.tally = nullptr;
  resolve_shared(warp, i, mask, i.size, Use::store, target);
  warp.tally = tally;
  // The bytes change at some later moment: what they are now tells nothing.
  if (warp.block->overwrite) throw warp.block->overwrite->lanes.front().raised;
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    const u32 l = lowest_lane(rest);
    std::memset(warp.block->shared_state.data() + target.offsets[l], k_copy_pending, i.size);
    warp.copies.push_back({.destination = target.offsets[l],
                           .source = from[l],
                           .lane = static_cast<u8>(l),
                           .bytes = i.size,
                           .copied = static_cast<u8>(copied[l]),
                           .group = warp.copy_group[l]});
    ++warp.block->pending_copies;
  }
}

/// Records the store that a copy is, as the warp's of now.
void record_copy(Warp& warp, const Instruction& i, const PendingCopy& copy) {
  Block& block = *warp.block;
  if (!block.races.is_on()) return;
  Access written;
  KERNELITES_LANES(l) written.offsets[l] = copy.destination;
  written.base = block.shared.data();
  written.is_uniform = true;
  check_shared_race(warp, i, written, Mask{1} << copy.lane, copy.bytes, Use::store);
}

void move_copy(Block& block, const PendingCopy& copy) {
  u8* target = block.shared.data() + copy.destination;
  if (copy.copied != 0) std::memcpy(target, copy.source, copy.copied);
  std::memset(target + copy.copied, 0, static_cast<std::size_t>(copy.bytes - copy.copied));
  std::memset(block.shared_state.data() + copy.destination, k_written, copy.bytes);
  --block.pending_copies;
}

void finish_copy(Warp& warp, const Instruction& i, const PendingCopy& copy) {
  record_copy(warp, i, copy);
  move_copy(*warp.block, copy);
  settle_store(warp);
}

/// cp.async.mbarrier.arrive: an arrival behind all copies that the lane has issued. `mode`: it was counted at the
/// initialisation (.noinc); else it adds to the arrivals that the phase waits for.
void arrive_behind_copies(Warp& warp, const Instruction& i, Mask mask) {
  u64 addresses[k_lanes];
  read_addresses(warp, i, addresses);
  Block& block = *warp.block;
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    const u32 lane = lowest_lane(rest);
    LateArrival late{.mbarrier = static_cast<u32>(addresses[lane]), .warp = warp.index, .lane = lane};
    MBarrier& barrier = find_mbarrier(block, late.mbarrier, lane);
    if (i.mode == 0)
      ++barrier.pending;
    else if (barrier.pending == 0)
      raise(FaultKind::barrier_misuse, lane,
            "an arrival behind copies at an mbarrier that waits for no more arrivals");
    std::erase_if(warp.copies, [&](const PendingCopy& copy) {
      if (copy.lane != lane) return false;
      late.copies.push_back(copy);
      return true;
    });
    for (const PendingCopy& copy : late.copies) {
      record_copy(warp, i, copy);
      if (block.overwrite) throw block.overwrite->lanes.front().raised;
    }
    block.order.release(warp.index, late.known);
    block.late_arrivals.push_back(std::move(late));
  }
}

/// Completes all groups of the active lanes but the `keep` most recent committed ones; ~0u: everything.
void wait_for_copies(Warp& warp, const Instruction& i, Mask mask, u32 keep, bool is_everything) {
  std::size_t left = 0;
  for (std::size_t k = 0; k < warp.copies.size(); ++k) {
    const PendingCopy copy = warp.copies[k];
    const bool is_mine = is_active(mask, copy.lane);
    const bool is_due = is_everything || u64{copy.group} + keep < warp.copy_group[copy.lane];
    if (is_mine && is_due)
      finish_copy(warp, i, copy);
    else
      warp.copies[left++] = copy;
  }
  warp.copies.resize(left);
  Block& block = *warp.block;
  for (std::size_t k = 0; k < block.late_arrivals.size();) {
    const LateArrival& late = block.late_arrivals[k];
    if (late.warp == warp.index && is_active(mask, late.lane))
      complete_late_arrival(block, k);
    else
      ++k;
  }
}

void commit_group(Warp& warp, const Instruction&, Mask mask) {
  KERNELITES_LANES(l) warp.copy_group[l] += is_active(mask, l) ? 1 : 0;
}
void wait_group(Warp& warp, const Instruction& i, Mask mask) {
  wait_for_copies(warp, i, mask, static_cast<u32>(i.offset), false);
}
void wait_all(Warp& warp, const Instruction& i, Mask mask) { wait_for_copies(warp, i, mask, 0, true); }

bool decode_copy(Decoder& d, const Statement& s, Instruction& i) {
  if (s.operands.size() < 3 || s.operands[2].kind != Operand::Kind::immediate) return false;
  const u64 size = s.operands[2].immediate;
  if (size != 4 && size != 8 && size != 16) return false;
  Instruction target;
  if (!d.address(s.operands[0], target) || !d.address(s.operands[1], i)) return false;
  if ((target.flags & k_narrow_address) == 0) {
    if (s.operands[0].reg >= 0) return false;
    target.a = d.constant(
        d.symbol_address(Operand{.local = s.operands[0].local, .name = s.operands[0].name, .elements = {}}) +
            s.operands[0].immediate,
        4);
  }
  i.handler = copy_async;
  if (s.has("cg")) i.flags |= k_uncached_access;
  i.size = static_cast<u8>(size);
  i.d = target.a;
  i.b = static_cast<u32>(target.offset);
  const bool has_limit = s.operands.size() > 3 && !(s.has("L2::cache_hint") && s.operands.size() == 4);
  if (has_limit) i.c = d.source(s.operands[3], 4);
  return true;
}

bool decode_cp(Decoder& d, const Statement& s, Instruction& i) {
  if (s.has("bulk")) return decode_bulk(d, s, i);
  if (s.parts.size() < 3 || s.parts[1] != "async") return false;
  i.op_class = OpClass::async_copy;
  if (s.parts[2] == "mbarrier") {
    i.handler = arrive_behind_copies;
    i.mode = s.has("noinc") ? 1 : 0;
    return s.operands.size() == 1 && d.address(s.operands[0], i);
  }
  if (s.parts[2] == "commit_group") {
    i.handler = commit_group;
    return true;
  }
  if (s.parts[2] == "wait_all") {
    i.handler = wait_all;
    return true;
  }
  if (s.parts[2] == "wait_group") {
    i.handler = wait_group;
    i.offset = s.operands.empty() ? 0 : static_cast<i32>(s.operands[0].immediate);
    return !s.operands.empty() && s.operands[0].kind == Operand::Kind::immediate;
  }
  return decode_copy(d, s, i);
}

// Not here: im2col, gather.
constexpr std::string_view k_modifiers =
    "async commit_group wait_group wait_all ca cg shared shared::cta global L2::cache_hint L2::64B L2::128B "
    "L2::256B "
    "bulk tensor 1d 2d 3d 4d 5d shared::cluster tile mbarrier::complete_tx::bytes bulk_group read prefetch "
    "L2 reduce add "
    "min max inc dec and or xor noftz mbarrier arrive noinc multicast::cluster";

constexpr InstructionRow k_rows[] = {
    {"cp", "b32 b64 f16 bf16 f32 f64 u32 s32 u64 s64", k_modifiers, decode_cp, ResultKind::none},
};

}  // namespace

void complete_late_arrival(Block& block, std::size_t index) {
  const LateArrival late = std::move(block.late_arrivals[index]);
  block.late_arrivals.erase(block.late_arrivals.begin() + static_cast<std::ptrdiff_t>(index));
  for (const PendingCopy& copy : late.copies) move_copy(block, copy);
  const auto barrier = block.mbarriers.find(late.mbarrier);
  if (barrier != block.mbarriers.end()) arrive_late(block, barrier->second, late.known);
}

std::span<const InstructionRow> async_rows() { return k_rows; }

}  // namespace kernelites::worker::vgpu
