// SPDX-License-Identifier: Apache-2.0
// cp.async.bulk and cp.reduce.async.bulk, with and without a tensor map (PTX ISA 9.7.9.25.4, 9.7.9.27): what is checked
// when a copy is issued. bulk_copy.h moves the bytes.
#include <algorithm>
#include <array>

#include <fmt/core.h>

#include "evaluators/worker/vgpu/access.h"
#include "evaluators/worker/vgpu/instruction_table.h"
#include "evaluators/worker/vgpu/ops.h"
#include "evaluators/worker/vgpu/virtual_tensor_map.h"

#pragma GCC target("avx,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")

namespace kernelites::worker::vgpu {
namespace {

constexpr u32 k_piece_bytes = 16, k_tile_alignment = 128;

// Instruction fields: a, offset, flags: global address, or that of the tensor map; c: bytes (without a map); count:
// coordinates (0: without a map); mode: BulkOperation; extra: 1 if an added type is the map's. List: shared address
// (register, offset), address of the mbarrier (the same), coordinates.
enum ListPlace : u32 { k_shared, k_shared_offset, k_mbarrier, k_mbarrier_offset, k_coordinates };

/// One lane's copy while it is being checked.
struct Issue {
  Warp& warp;
  const Instruction& i;
  u32 lane;
  BulkCopy copy;
  std::vector<u64> addresses;  ///< of the pieces in device memory

  bool is_load() const { return copy.operation == BulkOperation::load; }
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

BulkOperation addition_of(MapElement element, u32 lane) {
  switch (element) {
    case MapElement::f32:
      return BulkOperation::add_f32;
    case MapElement::f16:
      return BulkOperation::add_f16;
    case MapElement::bf16:
      return BulkOperation::add_bf16;
    case MapElement::int32:
      return BulkOperation::add_i32;
    case MapElement::int64:
      return BulkOperation::add_u64;
    case MapElement::bytes:
    case MapElement::f64:
      break;
  }
  raise(FaultKind::bad_descriptor, lane, "a tensor reduction on elements that cannot be added");
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
  for (const BoxChunk& chunk : box_chunks(map, std::span(coordinates).first(map.rank), shared)) {
    issue.copy.pieces.push_back({.shared = chunk.shared, .first = chunk.first, .bytes = chunk.bytes});
    issue.addresses.push_back(chunk.address);
  }
  issue.copy.bytes = box_bytes(map);
  if (issue.i.extra != 0) issue.copy.operation = addition_of(map.element, issue.lane);
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
  const Use use = issue.is_load()                                ? Use::load
                  : issue.copy.operation == BulkOperation::store ? Use::store
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
            issue.copy.pieces[fragment.piece].global = access.base + access.offsets[lowest_lane(lanes)];
        }
        if (issue.warp.block->overwrite) throw issue.warp.block->overwrite->lanes.front().raised;
        rest &= ~part;
      }
    }
  }
}

void resolve_shared_side(Issue& issue) {
  Warp& warp = issue.warp;
  const auto& pieces = issue.copy.pieces;
  Tally* const tally = warp.tally;  // the copy is one request, counted in device memory
  warp.tally = nullptr;
  u32 first = ~0u, end = 0;
  for (std::size_t begin = 0; begin < pieces.size(); begin += k_lanes) {
    const u32 count = static_cast<u32>(std::min<std::size_t>(k_lanes, pieces.size() - begin));
    Access access;
    for (u32 l = 0; l < k_lanes; ++l) access.offsets[l] = pieces[begin + std::min(l, count - 1)].shared;
    const Mask mask = count == k_lanes ? k_all_lanes : (Mask{1} << count) - 1;
    resolve_shared(warp, issue.i, mask, k_piece_bytes, issue.is_load() ? Use::store : Use::load, access);
    if (warp.block->overwrite) throw warp.block->overwrite->lanes.front().raised;
    for (u32 l = 0; l < count; ++l) {
      const u32 at = pieces[begin + l].shared;
      if (issue.is_load()) {
        std::memset(warp.block->shared_state.data() + at, k_copy_pending, k_piece_bytes);
      } else {
        require_proxied(warp, issue.lane, at, k_piece_bytes, "a copy");
        first = std::min(first, at);
        end = std::max(end, at + k_piece_bytes);
      }
    }
  }
  warp.tally = tally;
  if (end != 0) warp.block->reading.push_back({first, end, warp.index, warp.pc, issue.copy.id});
}

void issue_copy(Warp& warp, const Instruction& i, Mask mask) {
  u64 addresses[k_lanes];
  read_addresses(warp, i, addresses);
  const u32* list = warp.context->image->lists.data() + i.list;
  for (Mask rest = mask; rest != 0; rest &= rest - 1) {
    const u32 lane = lowest_lane(rest);
    Issue issue{warp, i, lane, {}, {}};
    issue.copy.operation = static_cast<BulkOperation>(i.mode);
    issue.copy.warp = warp.index;
    issue.copy.lane = lane;
    issue.copy.pc = warp.pc;
    issue.copy.group = warp.bulk_group[lane];
    issue.copy.id = ++warp.block->operations;
    const u32 shared = lanes_of<u32>(warp, list[k_shared])[lane] + list[k_shared_offset];
    if (issue.is_load()) {
      issue.copy.mbarrier = lanes_of<u32>(warp, list[k_mbarrier])[lane] + list[k_mbarrier_offset];
      find_mbarrier(warp, issue.copy.mbarrier, lane);
    }
    as_lane(lane, [&] {
      if (i.count != 0)
        place_box(issue, shared, addresses[lane]);
      else
        place_run(issue, shared, addresses[lane]);
      resolve_device_side(issue);
      resolve_shared_side(issue);
    });
    if (issue.is_load()) {
      warp.block->order.release(warp.index, issue.copy.known);
      ++warp.block->pending_copies;
    }
    warp.executed += issue.copy.pieces.size();  // budgets are for what interpreting takes
    warp.block->bulk_copies.push_back(std::move(issue.copy));
  }
}

void commit_group(Warp& warp, const Instruction&, Mask mask) {
  KERNELITES_LANES(l) warp.bulk_group[l] += is_active(mask, l) ? 1 : 0;
}
void wait_group(Warp& warp, const Instruction& i, Mask mask) {
  wait_for_bulk_groups(warp, mask, static_cast<u32>(i.offset), i.mode != 0);
}
void prefetch(Warp&, const Instruction&, Mask) {}

/// A shared address: register and offset, or a constant.
bool place_shared(Decoder& d, const Operand& operand, std::vector<u32>& list) {
  Instruction place;
  if (!d.address(operand, place)) return false;
  if ((place.flags & k_narrow_address) == 0) {
    if (operand.reg >= 0) return false;
    const Operand symbol{.local = operand.local, .name = operand.name, .elements = {}};
    const u64 base = operand.name.empty() ? 0 : d.symbol_address(symbol);
    place.a = d.constant(base + operand.immediate, 4);
    place.offset = 0;
  }
  list.insert(list.end(), {place.a, static_cast<u32>(place.offset)});
  return true;
}

/// What a reduction does; false for one that is not known.
bool find_operation(const Statement& s, bool has_map, Instruction& i) {
  struct Row {
    std::string_view operation, type;
    BulkOperation value;
  };
  static constexpr Row k_operations[] = {
      {"add", "f32", BulkOperation::add_f32},   {"add", "f16", BulkOperation::add_f16},
      {"add", "bf16", BulkOperation::add_bf16}, {"add", "u32", BulkOperation::add_i32},
      {"add", "s32", BulkOperation::add_i32},   {"add", "u64", BulkOperation::add_u64},
      {"min", "s32", BulkOperation::min_i32},   {"max", "s32", BulkOperation::max_i32}};
  if (has_map) {
    i.extra = 1;
    i.mode = static_cast<u8>(BulkOperation::add_f32);
    return s.has("add");
  }
  for (const Row& row : k_operations) {
    if (!s.has(row.operation) || s.parts.back() != row.type) continue;
    i.mode = static_cast<u8>(row.value);
    return true;
  }
  return false;
}

bool place_map(Decoder& d, const Operand& operand, Instruction& i, std::vector<u32>& coordinates) {
  Operand base = operand;
  base.elements.clear();
  if (operand.elements.size() != 1 || !d.address(base, i) || (i.flags & k_narrow_address) != 0) return false;
  for (const Operand& element : operand.elements[0].elements) coordinates.push_back(d.source(element, 4));
  i.count = static_cast<u8>(coordinates.size());
  return !coordinates.empty() && coordinates.size() <= k_max_map_rank;
}

}  // namespace

bool decode_bulk(Decoder& d, const Statement& s, Instruction& i) {
  i.op_class = OpClass::async_copy;
  if (s.has("prefetch")) {
    i.handler = prefetch;
    return true;
  }
  if (s.has("commit_group")) {
    i.handler = commit_group;
    return true;
  }
  if (s.has("wait_group")) {
    i.handler = wait_group;
    i.mode = s.has("read") ? 1 : 0;
    i.offset = s.operands.empty() ? 0 : static_cast<i32>(s.operands[0].immediate);
    return !s.operands.empty() && s.operands[0].kind == Operand::Kind::immediate;
  }
  const bool has_map = s.has("tensor"), is_load = s.has("mbarrier::complete_tx::bytes");
  const std::size_t operands = has_map ? (is_load ? 3 : 2) : (is_load ? 4 : 3);
  if (s.operands.size() < operands || (!is_load && !s.has("bulk_group"))) return false;
  const Operand &device = s.operands[is_load ? 1 : 0], &shared = s.operands[is_load ? 0 : 1];
  i.handler = issue_copy;
  i.mode = static_cast<u8>(is_load ? BulkOperation::load : BulkOperation::store);
  if (s.parts[1] == "reduce") {
    i.flags |= k_strong_access;
    if (!find_operation(s, has_map, i)) return false;
  }
  std::vector<u32> list, coordinates;
  i.count = 0;
  if (has_map ? !place_map(d, device, i, coordinates) : !d.address(device, i)) return false;
  if (!has_map) i.c = d.source(s.operands[2], 4);
  if (!place_shared(d, shared, list)) return false;
  if (is_load && !place_shared(d, s.operands[operands - 1], list)) return false;
  list.resize(k_coordinates);
  list.insert(list.end(), coordinates.begin(), coordinates.end());
  i.list = d.add_list(list);
  i.flags |= k_async_proxy;
  return true;
}

}  // namespace kernelites::worker::vgpu
