// SPDX-License-Identifier: Apache-2.0
// From coordinates and addresses to checked pieces of 16 bytes.
#include "evaluators/worker/vgpu/bulk_issue.h"

#include <algorithm>
#include <array>

#include <fmt/core.h>

#include "evaluators/worker/vgpu/access.h"
#include "evaluators/worker/vgpu/virtual_tensor_map.h"

#pragma GCC target("avx,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")

namespace kernelites::worker::vgpu {
namespace {

constexpr u32 k_piece_bytes = 16, k_tile_alignment = 128;

/// One lane's copy while it is being checked.
struct Issue {
  Warp& warp;
  const Instruction& i;
  u32 lane;
  BulkCopy copy;
  std::vector<u64>
      addresses;  ///< of the pieces on the other side: in device memory, or the sender's shared memory

  bool is_load() const { return (i.extra & k_into_shared) != 0; }
};

/// Faults of a batch name the places of the batch; this names the lane that issues.
template <class Body>
void as_lane(u32 lane, Body body) {
  try {
    body();
  } catch (Raised& raised) {
    raised.lane = lane;
    throw;
  }
}

VirtualTensorMap read_map(Warp& warp, u64 address, u32 lane) {
  const auto& parameters = warp.context->launch->parameters;
  const u64 offset = static_cast<u32>(address);
  const bool is_parameter =
      address >> 32 == k_parameter_slot && offset + k_tensor_map_bytes <= parameters.size();
  const auto map = is_parameter ? decode_tensor_map(std::span(parameters).subspan(offset, k_tensor_map_bytes))
                                : std::nullopt;
  if (map) return *map;
  raise(FaultKind::bad_descriptor, lane,
        "a tensor copy whose first address is no tensor map of the plan: pass the kernel parameter's own "
        "address (const "
        "__grid_constant__ CUtensorMap)");
}

BulkElement element_of(MapElement element) {
  switch (element) {
    case MapElement::f32:
      return BulkElement::f32;
    case MapElement::f64:
      return BulkElement::f64;
    case MapElement::f16:
      return BulkElement::f16;
    case MapElement::bf16:
      return BulkElement::bf16;
    case MapElement::int32:
      return BulkElement::int_s32;
    case MapElement::int64:
      return BulkElement::int_s64;
    case MapElement::bytes:
      return BulkElement::bytes;
  }
  return BulkElement::bytes;
}

/// An integer map is one of signed integers, and not all that the unsigned ones have is there for them.
bool is_tensor_reduction(BulkOperator operation, BulkElement element) {
  const bool is_extremum = operation == BulkOperator::min || operation == BulkOperator::max;
  if (element == BulkElement::int_s64 && !is_extremum) return false;
  const bool is_count = operation == BulkOperator::inc || operation == BulkOperator::dec;
  return !(element == BulkElement::int_s32 && is_count) && is_reduction(operation, element);
}

/// An H100 ends a kernel with an illegal instruction for coordinates that this refuses, wherever the box lies.
void require_coordinates(const Issue& issue, const VirtualTensorMap& map, std::span<const i32> coordinates) {
  const i64 first_byte = i64{coordinates[0]} * static_cast<i64>(map.strides[0]);
  if (first_byte % k_piece_bytes != 0) {
    raise(
        FaultKind::misaligned, issue.lane,
        fmt::format(
            "a tensor copy whose innermost coordinate {} is byte {} of a row, which is not a multiple of {}",
            coordinates[0], first_byte, k_piece_bytes));
  }
  const auto negative = std::ranges::find_if(coordinates, [](i32 at) { return at < 0; });
  if (!issue.is_load() && negative != coordinates.end()) {
    raise(FaultKind::out_of_bounds, issue.lane,
          fmt::format(
              "a tensor store or reduction at the negative coordinate {}: only loads may begin before the "
              "tensor",
              *negative));
  }
}

void place_box(Issue& issue, u32 shared, u64 address) {
  const VirtualTensorMap map = read_map(issue.warp, address, issue.lane);
  if (map.rank != issue.i.count) {
    raise(
        FaultKind::bad_descriptor, issue.lane,
        fmt::format("a copy with {} coordinates by a tensor map of {} dimensions", issue.i.count, map.rank));
  }
  if (shared % k_tile_alignment != 0) {
    raise(FaultKind::misaligned, issue.lane,
          fmt::format("a tensor copy at byte {} of shared memory, which is not a multiple of {}", shared,
                      k_tile_alignment));
  }
  std::array<i32, k_max_map_rank> coordinates{};
  const u32* list = issue.warp.context->image->lists.data() + issue.i.list;
  for (u32 axis = 0; axis < issue.i.count; ++axis)
    coordinates[axis] = lanes_of<i32>(issue.warp, list[k_coordinates + axis])[issue.lane];
  const auto used = std::span<const i32>(coordinates).first(map.rank);
  require_coordinates(issue, map, used);
  for (const BoxChunk& chunk : box_chunks(map, used, shared)) {
    issue.copy.pieces.push_back({.shared = chunk.shared, .first = chunk.first, .bytes = chunk.bytes});
    issue.addresses.push_back(chunk.address);
  }
  issue.copy.bytes = box_bytes(map);
  issue.copy.fills = issue.is_load();
  if ((issue.i.extra & k_element_of_map) == 0) return;
  issue.copy.element = element_of(map.element);
  if (!is_tensor_reduction(issue.copy.operation, issue.copy.element)) {
    raise(FaultKind::bad_descriptor, issue.lane,
          "a tensor reduction that does not exist for the elements of its tensor map");
  }
}

void place_run(Issue& issue, u32 shared, u64 address) {
  const u32 bytes = lanes_of<u32>(issue.warp, issue.i.c)[issue.lane];
  if (bytes % k_piece_bytes != 0 || shared % k_piece_bytes != 0 || address % k_piece_bytes != 0) {
    raise(FaultKind::misaligned, issue.lane,
          fmt::format("a bulk copy of {} bytes at byte {} of shared memory: size and both addresses must be "
                      "multiples of {}",
                      bytes, shared, k_piece_bytes));
  }
  if (bytes > issue.warp.context->shared_bytes) {
    raise(FaultKind::out_of_bounds, issue.lane,
          fmt::format("a bulk copy of {} bytes; shared memory has {}", bytes,
                      issue.warp.context->shared_bytes));
  }
  for (u32 at = 0; at < bytes; at += k_piece_bytes) {
    issue.copy.pieces.push_back({.shared = shared + at, .bytes = k_piece_bytes});
    issue.addresses.push_back(address + at);
  }
  issue.copy.bytes = bytes;
}

/// Checks the pieces in device memory, in accesses of one size at a time, and finds where they lie.
void resolve_device_side(Issue& issue) {
  struct Fragment {
    u64 address;
    u32 piece;
    bool is_first;
  };
  std::array<std::vector<Fragment>, 5> by_size;  // 1, 2, 4, 8, 16 bytes
  for (u32 k = 0; k < issue.copy.pieces.size(); ++k) {
    u64 address = issue.addresses[k];
    for (u32 left = issue.copy.pieces[k].bytes, at = left; left != 0;) {
      const u32 fitting = 31 - static_cast<u32>(__builtin_clz(left));
      const u32 aligned = address == 0 ? 4 : static_cast<u32>(__builtin_ctzll(address));
      const u32 size = std::min({fitting, aligned, 4u});
      by_size[size].push_back({address, k, left == at});
      address += u64{1} << size;
      left -= 1u << size;
    }
  }
  const Use use = issue.is_load()                              ? Use::load
                  : issue.copy.operation == BulkOperator::move ? Use::store
                                                               : Use::atomic;
  for (u32 size = 0; size < by_size.size(); ++size) {
    const auto& fragments = by_size[size];
    for (std::size_t begin = 0; begin < fragments.size(); begin += k_lanes) {
      const u32 count = static_cast<u32>(std::min<std::size_t>(k_lanes, fragments.size() - begin));
      u64 addresses[k_lanes] = {};
      for (u32 l = 0; l < count; ++l) addresses[l] = fragments[begin + l].address;
      Access access;
      for (Mask rest = count == k_lanes ? k_all_lanes : (Mask{1} << count) - 1; rest != 0;) {
        const Mask part =
            resolve_part(issue.warp, issue.i, Space::global, addresses, rest, 1u << size, use, access);
        for (Mask lanes = part; lanes != 0; lanes &= lanes - 1) {
          const Fragment& fragment = fragments[begin + lowest_lane(lanes)];
          if (fragment.is_first)
            issue.copy.pieces[fragment.piece].other = access.base + access.offsets[lowest_lane(lanes)];
        }
        if (issue.warp.block->overwrite) throw issue.warp.block->overwrite->lanes.front().raised;
        rest &= ~part;
      }
    }
  }
}

/// Calls body(mask) for batches of 16-byte places in shared memory of `memory`, checked as `use`.
template <class Place>
void resolve_places(Issue& issue, Block& memory, std::size_t places, Use use, Access& access, Place place) {
  for (std::size_t begin = 0; begin < places; begin += k_lanes) {
    const u32 count = static_cast<u32>(std::min<std::size_t>(k_lanes, places - begin));
    for (u32 l = 0; l < k_lanes; ++l) access.offsets[l] = place(begin + std::min(l, count - 1));
    const Mask mask = count == k_lanes ? k_all_lanes : (Mask{1} << count) - 1;
    resolve_memory(issue.warp, memory, issue.i, mask, k_piece_bytes, use, access);
    if (issue.warp.block->overwrite) throw issue.warp.block->overwrite->lanes.front().raised;
  }
}

/// Of a store: it will read the block's own shared memory.
void resolve_source(Issue& issue, const std::vector<u32>& places, bool is_sent) {
  Warp& warp = issue.warp;
  Access access;
  resolve_places(issue, *warp.block, places.size(), Use::load, access,
                 [&](std::size_t k) { return places[k]; });
  u32 first = ~0u, end = 0;
  for (const u32 at : places) {
    require_proxied(warp, issue.lane, at, k_piece_bytes, "a copy");
    first = std::min(first, at);
    end = std::max(end, at + k_piece_bytes);
  }
  if (end != 0)
    warp.block->reading.push_back({.begin = first,
                                   .end = end,
                                   .warp = warp.index,
                                   .pc = warp.pc,
                                   .id = issue.copy.id,
                                   .is_sent = is_sent});
}

/// Of a copy into shared memory of `target`, whose mbarrier must be there.
void resolve_target(Issue& issue, Block& target) {
  require_mbarrier(issue.warp, target, issue.i, issue.copy.mbarrier, issue.lane);
  look_for_init_fence(issue.warp, find_mbarrier(target, issue.copy.mbarrier, issue.lane), issue.lane);
  const bool is_move = issue.copy.operation == BulkOperator::move;
  const auto& pieces = issue.copy.pieces;
  Access access;
  resolve_places(issue, target, pieces.size(), is_move ? Use::store : Use::atomic, access,
                 [&](std::size_t k) { return pieces[k].shared; });
}

/// The source of a copy to another block.
void resolve_sent(Issue& issue) {
  std::vector<u32> places;
  for (std::size_t k = 0; k < issue.addresses.size(); ++k) {
    places.push_back(static_cast<u32>(issue.addresses[k]));
    issue.copy.pieces[k].other = issue.warp.block->shared.data() + places.back();
  }
  resolve_source(issue, places, true);
  issue.copy.sender = issue.warp.block;
}

/// The blocks of the cluster that a copy goes to.
std::vector<Block*> targets_of(Issue& issue, u32 shared, u32 mbarrier) {
  Warp& warp = issue.warp;
  Block& first = block_of_address(warp, shared, issue.lane);
  if (&first != &block_of_address(warp, mbarrier, issue.lane)) {
    raise(FaultKind::barrier_misuse, issue.lane,
          "a copy into the shared memory of one block that completes at an mbarrier of another one");
  }
  const u32 blocks = warp.context->image->lists[issue.i.list + k_blocks];
  if (blocks == 0) return {&first};
  const u32 wanted = lanes_of<u16>(warp, blocks)[issue.lane];
  const auto& all = warp.block->cluster->blocks;
  if (wanted == 0 || wanted >> all.size() != 0) {
    raise(FaultKind::out_of_bounds, issue.lane,
          fmt::format("a multicast to the blocks {:#x} of a cluster of {}", wanted, all.size()));
  }
  std::vector<Block*> targets;
  for (std::size_t rank = 0; rank < all.size(); ++rank)
    if ((wanted >> rank & 1) != 0) targets.push_back(all[rank]);
  return targets;
}

/// Checks a copy and puts it under way, once for each block that it goes to.
void issue_one(Issue& issue, u64 address) {
  Warp& warp = issue.warp;
  const u32* list = warp.context->image->lists.data() + issue.i.list;
  const u32 shared = lanes_of<u32>(warp, list[k_shared])[issue.lane] + list[k_shared_offset];
  std::vector<Block*> targets;
  if (issue.is_load()) {
    const u32 mbarrier = lanes_of<u32>(warp, list[k_mbarrier])[issue.lane] + list[k_mbarrier_offset];
    targets = targets_of(issue, shared, mbarrier);
    issue.copy.mbarrier = peer_offset(mbarrier);
    for (Block* target : targets) find_mbarrier(*target, issue.copy.mbarrier, issue.lane);
  }
  const u32 place = issue.is_load() && warp.block->cluster != nullptr ? peer_offset(shared) : shared;
  if (issue.i.count != 0)
    place_box(issue, place, address);
  else
    place_run(issue, place, address);
  Tally* const tally = warp.tally;
  const bool is_sent = (issue.i.extra & k_from_shared) != 0;
  if (!is_sent) resolve_device_side(issue);
  warp.tally = nullptr;  // the copy is one request, counted in device memory
  if (is_sent) resolve_sent(issue);
  if (!issue.is_load()) {
    std::vector<u32> places;
    for (const BulkPiece& piece : issue.copy.pieces) places.push_back(piece.shared);
    resolve_source(issue, places, false);
  }
  for (Block* target : targets) resolve_target(issue, *target);
  warp.tally = tally;
  warp.executed +=
      issue.copy.pieces.size() * std::max<std::size_t>(targets.size(), 1);  // what interpreting takes
  if (!issue.is_load()) {
    warp.block->bulk_copies.push_back(std::move(issue.copy));
    return;
  }
  warp.block->order.release(warp.index, issue.copy.known);
  for (Block* target : targets) start_copy(*target, issue.copy);
}

}  // namespace

void issue_copy(Warp& warp, const Instruction& i, Mask mask) {
  u64 addresses[k_lanes];
  read_addresses(warp, i, addresses);
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    const u32 lane = lowest_lane(rest);
    Issue issue{warp, i, lane, {}, {}};
    issue.copy.operation = static_cast<BulkOperator>(i.mode);
    issue.copy.element = static_cast<BulkElement>(i.size);
    issue.copy.is_into_shared = issue.is_load();
    issue.copy.warp = warp.index;
    issue.copy.lane = lane;
    issue.copy.pc = warp.pc;
    issue.copy.group = warp.bulk_group[lane];
    issue.copy.id = ++warp.block->operations;
    as_lane(lane, [&] { issue_one(issue, addresses[lane]); });
  }
}

}  // namespace kernelites::worker::vgpu
