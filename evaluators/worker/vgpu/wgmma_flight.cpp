// SPDX-License-Identifier: Apache-2.0
// What must not be touched between a wgmma and its wait.
#include "evaluators/worker/vgpu/wgmma_flight.h"

#include <algorithm>

#include <fmt/core.h>

#include "evaluators/worker/vgpu/access.h"

#pragma GCC target("avx,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")

namespace kernelites::worker::vgpu {
namespace {

constexpr u32 k_chunk_bytes = 16;

/// Marks the registers of a flight. The first `accumulators` of an instruction's registers are what it adds to.
void mark(WgmmaFlights& wgmma, const KernelImage& image, u32 pc) {
  const auto registers = image.used(pc);
  const u32 accumulators = image.code[pc].count;
  for (u32 k = 0; k < registers.size(); ++k)
    wgmma.users[registers[k]] = 2 * (pc + 1) + (k < accumulators ? 1 : 0);
}

/// Computes what is in flight of the groups below `end`, in order.
void compute_flights(Warp& warp, u32 end) {
  for (WgmmaFlight& flight : warp.wgmma.flights) {
    if (flight.group >= end) return;
    if (flight.is_computed) continue;
    flight.is_computed = true;
    --warp.block->uncomputed_products;
    flight.compute(warp, flight);
  }
}

/// The warp's registers of these groups are its own again.
void land(Warp& warp, u32 end) {
  WgmmaFlights& wgmma = warp.wgmma;
  std::erase_if(wgmma.flights, [end](const WgmmaFlight& flight) { return flight.group < end; });
  std::fill(wgmma.users.begin(), wgmma.users.end(), 0);
  for (const WgmmaFlight& flight : wgmma.flights) mark(wgmma, *warp.context->image, flight.pc);
}

/// A group has ended: nobody reads its operands any more, and the warp knows that of the whole warpgroup.
void end_group(Warp& warp, u32 number, WgmmaGroup& group) {
  warp.block->order.acquire(warp.index, group.known);
  if (group.waited++ != 0) return;
  const u32 first = warp.index / k_warpgroup * k_warpgroup;
  for (u32 w = first; w < first + k_warpgroup; ++w) compute_flights(warp.block->warps[w], number + 1);
  std::erase_if(warp.block->reading, [&](const ReadInFlight& read) {
    return read.group == number && read.warp / k_warpgroup == warp.index / k_warpgroup;
  });
}

}  // namespace

void start_flight(Warp& warp, u32 accumulators, WgmmaFlight flight) {
  const KernelImage& image = *warp.context->image;
  WgmmaFlights& wgmma = warp.wgmma;
  if (wgmma.users.empty()) wgmma.users.assign(image.register_count, 0);
  const auto registers = image.used(warp.pc);
  for (u32 k = 0; warp.context->options.checks.flights && k < registers.size(); ++k) {
    const u32 user = wgmma.users[registers[k]];
    if (user == 0) continue;
    const bool is_accumulated = (user & 1) != 0;
    const bool is_chained = k < accumulators && image.code[user / 2 - 1].count == accumulators;
    if (is_accumulated ? is_chained : k >= accumulators) continue;
    raise(FaultKind::async_in_flight, 0,
          fmt::format("a wgmma {} a register that the wgmma at line {}, which has not been waited for, is {}",
                      k < accumulators ? "accumulates in" : "reads", image.code[user / 2 - 1].line,
                      is_accumulated ? "accumulating in" : "reading"));
  }
  flight.group = wgmma.group;
  flight.id = ++warp.block->operations;
  if (!flight.chunks.empty()) {
    const auto [first, last] = std::minmax_element(flight.chunks.begin(), flight.chunks.end());
    warp.block->reading.push_back(
        {*first, *last + k_chunk_bytes, warp.index, warp.pc, flight.id, wgmma.group});
  }
  wgmma.flights.push_back(std::move(flight));
  ++warp.block->uncomputed_products;
  mark(wgmma, image, warp.pc);
}

bool advance_products(Block& block, u64 random) {
  if (block.uncomputed_products == 0) return false;
  const std::size_t count = block.warps.size();
  for (std::size_t k = 0; k < count; ++k) {
    Warp& warp = block.warps[(random + k) % count];
    const auto next = std::find_if(warp.wgmma.flights.begin(), warp.wgmma.flights.end(),
                                   [](const WgmmaFlight& flight) { return !flight.is_computed; });
    if (next == warp.wgmma.flights.end()) continue;
    next->is_computed = true;
    --block.uncomputed_products;
    next->compute(warp, *next);
    return true;
  }
  return false;
}

void require_registers_landed(Warp& warp, const Instruction& i) {
  if ((i.flags & k_async_proxy) != 0) return;
  const KernelImage& image = *warp.context->image;
  // Registers of this function are kept for what is in flight, those of others are not (register_allocation.cpp).
  if (i.flow == Flow::call || i.flow == Flow::ret) compute_flights(warp, ~0u);
  const auto registers = image.used(warp.pc);
  WgmmaFlights& wgmma = warp.wgmma;
  // The compiler may copy a register that is in flight: the copy becomes one with it.
  if (i.op_class == OpClass::move && registers.size() == 2 && wgmma.users[registers[1]] != 0) {
    compute_flights(warp, ~0u);
    wgmma.users[registers[0]] = wgmma.users[registers[1]];
    return;
  }
  if (!warp.context->options.checks.flights) return;
  for (const u32 reg : registers) {
    const u32 user = wgmma.users[reg];
    if (user == 0) continue;
    raise(FaultKind::async_in_flight, lowest_lane(warp.active),
          fmt::format("a register is touched that the wgmma at line {} is still {}: its wgmma.wait_group is "
                      "missing, comes later, or waits "
                      "for too few groups",
                      image.code[user / 2 - 1].line, (user & 1) != 0 ? "accumulating in" : "reading"));
  }
}

void commit_wgmma(Warp& warp) {
  WgmmaGroup& group = warp.block->warpgroups[warp.index / k_warpgroup][warp.wgmma.group++];
  warp.block->order.release(warp.index, group.known);
  if (++group.committed == k_warpgroup) wake(*warp.block);
}

void wait_for_wgmma(Warp& warp, const Instruction& i, Mask mask) {
  const u32 keep = static_cast<u32>(i.offset), end = warp.wgmma.group > keep ? warp.wgmma.group - keep : 0;
  WgmmaGroups& groups = warp.block->warpgroups[warp.index / k_warpgroup];
  for (u32 number = warp.wgmma.waited; number < end; ++number) {
    if (groups[number].committed == k_warpgroup) continue;
    warp.groups.push_back({warp.pc, mask, Wait::event, 0});
    warp.active &= ~mask;
    pick_group(warp);
    return;
  }
  for (u32& number = warp.wgmma.waited; number < end; ++number) {
    end_group(warp, number, groups[number]);
    if (groups[number].waited == k_warpgroup) groups.erase(number);
  }
  land(warp, end);
  ++warp.pc;
}

}  // namespace kernelites::worker::vgpu
