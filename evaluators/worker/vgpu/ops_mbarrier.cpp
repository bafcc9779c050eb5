// SPDX-License-Identifier: Apache-2.0
// mbarrier.* and cp.async.mbarrier.arrive (PTX ISA 9.7.13.15): decoding, and what each lane does to its mbarrier.
#include <fmt/core.h>

#include "evaluators/worker/vgpu/access.h"
#include "evaluators/worker/vgpu/instruction_table.h"
#include "evaluators/worker/vgpu/ops.h"

#pragma GCC target("avx,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")

namespace kernelites::worker::vgpu {
namespace {

constexpr u32 k_max_arrivals = (1u << 20) - 1;
constexpr i64 k_max_transactions = (1 << 20) - 1;

/// Offsets of the lanes' mbarriers, checked as memory: bounds, alignment, and that init and use are ordered.
void find_objects(Warp& warp, const Instruction& i, Mask mask, Use use, Access& access) {
  u64 addresses[k_lanes];
  read_addresses(warp, i, addresses);
  KERNELITES_LANES(l) access.offsets[l] = static_cast<u32>(addresses[l]);
  for (Mask rest = use == Use::atomic ? mask : 0; rest != 0; rest &= rest - 1)
    find_mbarrier(*warp.block, access.offsets[lowest_lane(rest)], lowest_lane(rest));
  Tally* const tally = warp.tally;  // no request of memory
  warp.tally = nullptr;
  resolve_shared(warp, i, mask, k_mbarrier_bytes, use, access);
  warp.tally = tally;
}

/// Instruction::extra of what may name an mbarrier of another block (.shared::cluster).
constexpr u16 k_in_cluster = 1;

/// The same, one lane at a time.
template <class Body>
void for_each_in_cluster(Warp& warp, const Instruction& i, Mask mask, Body body) {
  u64 addresses[k_lanes];
  read_addresses(warp, i, addresses);
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    const u32 lane = lowest_lane(rest), address = static_cast<u32>(addresses[lane]);
    Block& block = block_of_address(warp, address, lane);
    require_peer(warp, block, lane);
    MBarrier& barrier = find_mbarrier(block, peer_offset(address), lane);
    Access access;
    Tally* const tally = warp.tally;
    warp.tally = nullptr;
    resolve_in_cluster(warp, i, addresses, Mask{1} << lane, k_mbarrier_bytes, Use::atomic, access);
    warp.tally = tally;
    body(block, barrier, lane);
  }
}

/// Calls body(block, barrier, lane) for the lanes' mbarriers.
template <class Body>
void for_each_mbarrier(Warp& warp, const Instruction& i, Mask mask, Body body) {
  if (i.extra == k_in_cluster && warp.block->cluster != nullptr)
    return for_each_in_cluster(warp, i, mask, body);
  Access access;
  find_objects(warp, i, mask, Use::atomic, access);
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    const u32 lane = lowest_lane(rest);
    body(*warp.block, find_mbarrier(*warp.block, access.offsets[lane], lane), lane);
  }
}

void init(Warp& warp, const Instruction& i, Mask mask) {
  Access access;
  find_objects(warp, i, mask, Use::store, access);
  const u32* counts = lanes_of<u32>(warp, i.b);
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    const u32 lane = lowest_lane(rest), count = counts[lane];
    if (count == 0 || count > k_max_arrivals)
      raise(FaultKind::barrier_misuse, lane,
            fmt::format("mbarrier.init for {} arrivals; 1 to {} are possible", count, k_max_arrivals));
    warp.block->mbarriers[access.offsets[lane]] = {
        .expected = count, .pending = count, .line = i.line, .coming = {}, .past = {}};
  }
  settle_store(warp);
}

void invalidate(Warp& warp, const Instruction& i, Mask mask) {
  Access access;
  find_objects(warp, i, mask, Use::store, access);
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    const u32 lane = lowest_lane(rest);
    find_mbarrier(*warp.block, access.offsets[lane], lane);
    warp.block->mbarriers.erase(access.offsets[lane]);
  }
  settle_store(warp);
}

void expect(MBarrier& barrier, i64 bytes, u32 lane) {
  barrier.transactions += bytes;
  if (barrier.transactions <= k_max_transactions && barrier.transactions >= -k_max_transactions) return;
  raise(FaultKind::barrier_misuse, lane,
        fmt::format("an mbarrier (initialised at line {}) expects {} bytes at once; at most {} are possible",
                    barrier.line, barrier.transactions, k_max_transactions));
}

// Instruction fields of an arrival: d: token, if `count` is 1; b: arrivals or bytes; mode: below.
constexpr u8 k_plain = 0, k_expecting = 1, k_dropping = 2;

void arrive(Warp& warp, const Instruction& i, Mask mask) {
  const u32* operand = lanes_of<u32>(warp, i.b);
  u64* tokens = lanes_of<u64>(warp, i.d);
  for_each_mbarrier(warp, i, mask, [&](Block& block, MBarrier& barrier, u32 lane) {
    if (i.count != 0) tokens[lane] = barrier.phase;
    if ((i.mode & k_expecting) != 0) expect(barrier, operand[lane], lane);
    const u32 count = (i.mode & k_expecting) != 0 ? 1 : operand[lane];
    if ((i.mode & k_dropping) != 0) barrier.expected -= std::min(count, barrier.expected);
    arrive_at_mbarrier(warp, block, barrier, count, lane);
  });
}

void expect_only(Warp& warp, const Instruction& i, Mask mask) {
  const u32* bytes = lanes_of<u32>(warp, i.b);
  for_each_mbarrier(warp, i, mask,
                    [&](Block&, MBarrier& barrier, u32 lane) { expect(barrier, bytes[lane], lane); });
}

void complete_only(Warp& warp, const Instruction& i, Mask mask) {
  const u32* bytes = lanes_of<u32>(warp, i.b);
  for_each_mbarrier(warp, i, mask, [&](Block& block, MBarrier& barrier, u32 lane) {
    BlockOrder::Gate known;
    warp.block->order.release(warp.index, known);
    bring_bytes(block, barrier, bytes[lane], known, std::nullopt);
  });
}

void wait_is_control(Warp&, const Instruction&, Mask) {}  // Flow::mbarrier_wait does it

bool place_object(Decoder& d, const Operand& operand, Instruction& i) {
  if (!d.address(operand, i)) return false;
  i.op_class = OpClass::barrier;
  return true;
}

bool decode_wait(Decoder& d, const Statement& s, Instruction& i) {
  if (s.operands.size() < 3 || !place_object(d, s.operands[1], i)) return false;
  const bool is_by_parity = s.has("parity");
  i.handler = wait_is_control;
  i.flow = Flow::mbarrier_wait;
  i.mode = is_by_parity ? k_wait_by_parity : k_wait_by_token;
  i.flags |= k_strong_access;
  i.extra = s.has("test_wait") ? 1 : 0;
  i.d = d.predicate_destination(s.operands[0]);
  i.b = d.source(s.operands[2], is_by_parity ? 4 : 8);
  return true;  // a time hint may follow
}

bool decode_arrive(Decoder& d, const Statement& s, Instruction& i) {
  if (s.has("noComplete") || s.operands.size() < 2 || !place_object(d, s.operands[1], i)) return false;
  i.handler = arrive;
  i.flags |= k_strong_access;
  i.mode = static_cast<u8>((s.has("expect_tx") ? k_expecting : k_plain) |
                           (s.has("arrive_drop") ? k_dropping : k_plain));
  if (s.has("expect_tx") && s.operands.size() < 3) return false;
  i.count = s.operands[0].kind == Operand::Kind::sink ? 0 : 1;
  i.extra = s.has("shared::cluster") ? k_in_cluster : 0;
  if (i.extra != 0 && i.count != 0) return false;  // there is no token of another block's mbarrier
  i.d = d.destination(s.operands[0], 8);
  i.b = s.operands.size() > 2 ? d.source(s.operands[2], 4) : d.constant(1, 4);
  return true;
}

bool decode_mbarrier(Decoder& d, const Statement& s, Instruction& i) {
  if (s.parts.size() < 2 || s.operands.empty()) return false;
  const std::string_view what = s.parts[1];
  const bool is_local = what == "init" || what == "inval" || what.ends_with("wait");
  if (is_local && s.has("shared::cluster")) return false;
  if (what == "test_wait" || what == "try_wait") return decode_wait(d, s, i);
  if (what == "arrive" || what == "arrive_drop") return decode_arrive(d, s, i);
  if (!place_object(d, s.operands[0], i)) return false;
  if (what == "inval") {
    i.handler = invalidate;
    return true;
  }
  if (s.operands.size() < 2) return false;
  i.b = d.source(s.operands[1], 4);
  if (what == "init") {
    i.handler = init;
    return true;
  }
  i.flags |= k_strong_access;
  i.extra = s.has("shared::cluster") ? k_in_cluster : 0;
  i.handler = what == "expect_tx" ? expect_only : what == "complete_tx" ? complete_only : nullptr;
  return i.handler != nullptr;
}

constexpr InstructionRow k_rows[] = {
    {"mbarrier", "b64",
     "init inval arrive arrive_drop expect_tx complete_tx test_wait try_wait parity shared shared::cta "
     "shared::cluster "
     "release "
     "acquire relaxed cta cluster",
     decode_mbarrier},
};

}  // namespace

std::span<const InstructionRow> mbarrier_rows() { return k_rows; }

}  // namespace kernelites::worker::vgpu
