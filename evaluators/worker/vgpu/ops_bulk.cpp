// SPDX-License-Identifier: Apache-2.0
// cp.async.bulk and cp.reduce.async.bulk, with and without a tensor map (PTX ISA 9.7.9.25.4, 9.7.9.27), their groups
// and waits. bulk_issue.h checks a copy when it is issued, bulk_copy.h moves the bytes.
#include "evaluators/worker/vgpu/access.h"
#include "evaluators/worker/vgpu/bulk_issue.h"
#include "evaluators/worker/vgpu/instruction_table.h"
#include "evaluators/worker/vgpu/ops.h"
#include "evaluators/worker/vgpu/virtual_tensor_map.h"

#pragma GCC target("avx,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")

namespace kernelites::worker::vgpu {
namespace {

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

/// What a reduction does; false for one that does not exist.
bool find_operation(const Statement& s, bool has_map, Instruction& i) {
  BulkOperator operation = BulkOperator::move;
  for (std::size_t k = 2; k < s.parts.size(); ++k) {
    if (const BulkOperator found = bulk_operator(s.parts[k]); found != BulkOperator::move) operation = found;
  }
  i.mode = static_cast<u8>(operation);
  if (has_map) {
    i.extra |= k_element_of_map;
    return operation != BulkOperator::move;
  }
  const BulkElement element = bulk_element(s.parts.back());
  i.size = static_cast<u8>(element);
  const bool is_half_sum = operation == BulkOperator::add && s.parts.back().ends_with("f16");
  return is_reduction(operation, element) && is_half_sum == s.has("noftz");
}

bool place_map(Decoder& d, const Operand& operand, Instruction& i, std::vector<u32>& coordinates) {
  Operand base = operand;
  base.elements.clear();
  if (operand.elements.size() != 1 || !d.address(base, i) || (i.flags & k_narrow_address) != 0) return false;
  for (const Operand& element : operand.elements[0].elements) coordinates.push_back(d.source(element, 4));
  i.count = static_cast<u8>(coordinates.size());
  return !coordinates.empty() && coordinates.size() <= k_max_map_rank;
}

bool decode_bulk_copy(Decoder& d, const Statement& s, Instruction& i) {
  const bool has_map = s.has("tensor"), is_load = s.has("mbarrier::complete_tx::bytes");
  const bool is_sent = is_load && !s.has("global"), is_multicast = s.has("multicast::cluster");
  const std::size_t operands = has_map ? (is_load ? 3 : 2) : (is_load ? 4 : 3);
  if (s.operands.size() < operands + (is_multicast ? 1 : 0) || is_load == s.has("bulk_group")) return false;
  if (is_sent ? !s.has("shared::cluster") || !s.has("shared::cta") || has_map || is_multicast
              : !s.has("global"))
    return false;
  const Operand &other = s.operands[is_load ? 1 : 0], &shared = s.operands[is_load ? 0 : 1];
  i.handler = issue_copy;
  i.extra = static_cast<u16>((is_load ? k_into_shared : 0) | (is_sent ? k_from_shared : 0));
  i.mode = static_cast<u8>(BulkOperator::move);
  i.size = static_cast<u8>(BulkElement::bytes);
  if (s.parts[1] == "reduce") {
    i.flags |= k_strong_access;
    if ((is_load && !is_sent) || !find_operation(s, has_map, i)) return false;
  } else if (bulk_element(s.parts.back()) != BulkElement::bytes) {
    return false;
  }
  std::vector<u32> list, source, coordinates;
  i.count = 0;
  if (is_sent) {
    if (!place_shared(d, other, source)) return false;
    i.a = source[0];
    i.offset = static_cast<i32>(source[1]);
    i.flags |= k_narrow_address;
  } else if (has_map ? !place_map(d, other, i, coordinates) : !d.address(other, i)) {
    return false;
  }
  if (!has_map) i.c = d.source(s.operands[2], 4);
  if (!place_shared(d, shared, list)) return false;
  if (is_load && !place_shared(d, s.operands[operands - 1], list)) return false;
  list.resize(k_coordinates);
  if (is_multicast) list[k_blocks] = d.source(s.operands[operands], 2);
  list.insert(list.end(), coordinates.begin(), coordinates.end());
  i.list = d.add_list(list);
  i.flags |= k_async_proxy;
  return true;
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
  return decode_bulk_copy(d, s, i);
}

}  // namespace kernelites::worker::vgpu
