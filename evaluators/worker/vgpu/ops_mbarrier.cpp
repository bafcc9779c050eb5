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

// Instruction::extra: may name an mbarrier of another block (.shared::cluster); .relaxed; .release.cluster.
constexpr u16 k_in_cluster = 1, k_relaxed = 2, k_releases_to_cluster = 4;

using Release = BlockOrder::Release;

/// What an arrival at an mbarrier of `target` hands on. Without a scope, as CUTLASS releases a stage that another block
/// fills, it is one of .cta: on a device an instruction that is issued behind the reads, and no fence.
Release release_of(const Warp& warp, const Instruction& i, const Block& target) {
  const bool is_own = &target == warp.block;
  if ((i.extra & k_relaxed) != 0) return is_own ? Release::in_block : Release::in_cluster;
  return is_own || (i.extra & k_releases_to_cluster) != 0 ? Release::everything : Release::reads;
}

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
  if ((i.extra & k_in_cluster) != 0 && warp.block->cluster != nullptr)
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
    warp.block->mbarriers[access.offsets[lane]] = {.expected = count,
                                                   .pending = count,
                                                   .line = i.line,
                                                   .unit = warp.block->order.unit(warp.index),
                                                   .stamp = warp.block->order.now(),
                                                   .lane = static_cast<u8>(lane),
                                                   .coming = {},
                                                   .past = {},
                                                   .coming_units = {},
                                                   .past_units = {}};
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

// Instruction fields of an arrival: d: token, if `count` is 1; b: arrivals or bytes; mode: below. A token is the phase
// and, above it, the arrivals that the phase waited for before this one.
constexpr u8 k_plain = 0, k_expecting = 1, k_dropping = 2, k_never_last = 4;
constexpr u32 k_pending_shift = 32;

void require_not_last(const MBarrier& barrier, u32 count, u32 lane) {
  if (count < barrier.pending || barrier.transactions != 0) return;
  raise(FaultKind::barrier_misuse, lane,
        fmt::format(
            "{} arrivals with .noComplete at an mbarrier (initialised at line {}) that waits for {} more: "
            "such an arrival must not be the last of a phase",
            count, barrier.line, barrier.pending));
}

void arrive(Warp& warp, const Instruction& i, Mask mask) {
  const u32* operand = lanes_of<u32>(warp, i.b);
  u64* tokens = lanes_of<u64>(warp, i.d);
  for_each_mbarrier(warp, i, mask, [&](Block& block, MBarrier& barrier, u32 lane) {
    if (i.count != 0) tokens[lane] = barrier.phase | u64{barrier.pending} << k_pending_shift;
    if ((i.mode & k_expecting) != 0) expect(barrier, operand[lane], lane);
    const u32 count = (i.mode & k_expecting) != 0 ? 1 : operand[lane];
    if ((i.mode & k_never_last) != 0) require_not_last(barrier, count, lane);
    if ((i.mode & k_dropping) != 0) barrier.expected -= std::min(count, barrier.expected);
    arrive_at_mbarrier(warp, block, barrier, count, lane, release_of(warp, i, block));
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
    warp.block->order.release(warp.index, known,
                              &block == warp.block ? Release::in_block : Release::in_cluster);
    bring_bytes(block, barrier, bytes[lane], known, std::nullopt);
  });
}

void count_pending(Warp& warp, const Instruction& i, Mask mask) {
  const u64* tokens = lanes_of<u64>(warp, i.a);
  u32 out[k_lanes];
  KERNELITES_LANES(l) out[l] = static_cast<u32>(tokens[l] >> k_pending_shift);
  write_lanes(lanes_of<u32>(warp, i.d), out, mask);
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
  i.extra =
      static_cast<u16>((s.has("test_wait") ? k_wait_tests : 0) | (s.has("relaxed") ? k_wait_relaxed : 0));
  i.d = d.predicate_destination(s.operands[0]);
  i.b = d.source(s.operands[2], is_by_parity ? 4 : 8);
  return true;  // a time hint may follow
}

bool decode_arrive(Decoder& d, const Statement& s, Instruction& i) {
  if (s.operands.size() < 2 || !place_object(d, s.operands[1], i)) return false;
  if (s.has("noComplete") && (s.has("expect_tx") || s.has("cluster") || s.has("shared::cluster")))
    return false;
  if (s.has("relaxed") && (s.has("noComplete") || s.has("release"))) return false;
  i.handler = arrive;
  i.flags |= k_strong_access;
  i.mode = static_cast<u8>((s.has("expect_tx") ? k_expecting : k_plain) |
                           (s.has("arrive_drop") ? k_dropping : k_plain) |
                           (s.has("noComplete") ? k_never_last : k_plain));
  if (s.has("expect_tx") && s.operands.size() < 3) return false;
  i.count = s.operands[0].kind == Operand::Kind::sink ? 0 : 1;
  const bool is_in_cluster = s.has("shared::cluster");
  i.extra = static_cast<u16>((is_in_cluster ? k_in_cluster : 0) | (s.has("relaxed") ? k_relaxed : 0) |
                             (s.has("release") && s.has("cluster") ? k_releases_to_cluster : 0));
  if (is_in_cluster && i.count != 0) return false;  // there is no token of another block's mbarrier
  i.d = d.destination(s.operands[0], 8);
  i.b = s.operands.size() > 2 ? d.source(s.operands[2], 4) : d.constant(1, 4);
  return true;
}

bool decode_mbarrier(Decoder& d, const Statement& s, Instruction& i) {
  if (s.parts.size() < 2 || s.operands.empty()) return false;
  const std::string_view what = s.parts[1];
  const bool is_arrival = what.starts_with("arrive"), is_wait = what.ends_with("wait");
  const bool is_counted = what == "expect_tx" || what == "complete_tx";
  if (!is_arrival && !is_counted && s.has("shared::cluster")) return false;
  if (s.has("noComplete") && !is_arrival) return false;
  if (s.has("acquire") ? !is_wait : is_wait && s.has("release")) return false;
  if (what == "pending_count") {
    if (s.operands.size() != 2 || s.parts.size() != 3) return false;
    i.handler = count_pending;
    i.d = d.destination(s.operands[0], 4);
    i.a = d.source(s.operands[1], 8);
    return true;
  }
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
     "init inval arrive arrive_drop expect_tx complete_tx test_wait try_wait pending_count noComplete parity "
     "shared "
     "shared::cta shared::cluster release acquire relaxed cta cluster",
     decode_mbarrier},
};

}  // namespace

std::span<const InstructionRow> mbarrier_rows() { return k_rows; }

}  // namespace kernelites::worker::vgpu
