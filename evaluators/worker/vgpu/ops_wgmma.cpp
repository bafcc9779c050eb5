// SPDX-License-Identifier: Apache-2.0
// wgmma.mma_async on f16 and bf16 (PTX ISA 9.7.15), and its fence, groups and waits.
//
// Each warp of a warpgroup computes its own 16 rows of D = A B + D, so that the four need not be executed together. The
// result is written when the instruction is issued; wgmma_flight.h sees to it that nobody looks at it before the wait.
#include <algorithm>

#include <fmt/core.h>

#include "evaluators/worker/vgpu/access.h"
#include "evaluators/worker/vgpu/instruction_table.h"
#include "evaluators/worker/vgpu/matrix_descriptor.h"
#include "evaluators/worker/vgpu/ops.h"
#include "evaluators/worker/vgpu/tensor_product.h"

#pragma GCC target("avx,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")

namespace kernelites::worker::vgpu {
namespace {

constexpr u32 k_depth = 16, k_chunk_bytes = 16, k_chunk_elements = 8, k_warp_rows = 16;
/// What a product counts in budgets, which are for what interpreting takes: so many instructions for a column.
constexpr u32 k_cost_per_column = 6;

// Instruction fields: list: registers of D, then of A if they are registers; count: registers of D; a, b: descriptors;
// c: predicate "add to D", e: its negation (all ones); extra: N; size: TensorType; mode: bits below.
constexpr u8 k_half_accumulator = 1, k_a_in_registers = 2, k_transposes_a = 4, k_transposes_b = 8,
             k_negates_a = 16, k_negates_b = 32;

/// Checks chunks of an operand as a read by the asynchronous proxy.
void resolve_chunks(Warp& warp, const Instruction& i, const std::vector<u32>& chunks) {
  Tally* const tally = warp.tally;
  warp.tally = nullptr;
  for (std::size_t begin = 0; begin < chunks.size(); begin += k_lanes) {
    const u32 count = static_cast<u32>(std::min<std::size_t>(k_lanes, chunks.size() - begin));
    Access access;
    for (u32 l = 0; l < k_lanes; ++l) access.offsets[l] = chunks[begin + std::min(l, count - 1)];
    resolve_shared(warp, i, count == k_lanes ? k_all_lanes : (Mask{1} << count) - 1, k_chunk_bytes, Use::load,
                   access);
  }
  for (const u32 chunk : chunks) require_proxied(warp, 0, chunk, k_chunk_bytes, "wgmma");
  warp.tally = tally;
}

MatrixDescriptor read_descriptor(Warp& warp, u32 reg, const char* operand) {
  const u64* lanes = lanes_of<u64>(warp, reg);
  const MatrixDescriptor descriptor(lanes[0]);
  if (std::any_of(lanes, lanes + k_lanes, [&](u64 bits) { return bits != lanes[0]; }))
    raise(FaultKind::bad_descriptor, 0,
          fmt::format("the lanes of a warp give wgmma different descriptors of {}", operand));
  if (descriptor.base_offset != 0)
    raise(FaultKind::unsupported_instruction, 0,
          "vgpu cannot execute wgmma with a descriptor whose base offset is not 0");
  return descriptor;
}

/// Chunks of `count` rows (or columns) of an operand from `first` on: [mn][k / 8], or [k][mn / 8] where MN is major.
std::vector<u32> chunks_of(const MatrixDescriptor& descriptor, u32 first, u32 count, bool is_mn_major) {
  std::vector<u32> chunks;
  if (is_mn_major) {
    for (u32 k = 0; k < k_depth; ++k)
      for (u32 c = 0; c < count / k_chunk_elements; ++c)
        chunks.push_back(descriptor.mn_major(first / k_chunk_elements + c, k));
  } else {
    for (u32 mn = 0; mn < count; ++mn)
      for (u32 c = 0; c < k_depth / k_chunk_elements; ++c)
        chunks.push_back(descriptor.k_major(first + mn, c));
  }
  return chunks;
}

using HalfFactors = Factors<float, Floats>;

template <class Format>
void unpack_chunk(const Warp& warp, u32 chunk, float* to) {
  u16 halves[k_chunk_elements];
  std::memcpy(halves, warp.block->shared.data() + chunk, sizeof halves);
  Format::to_floats(halves, to, k_chunk_elements);
}

template <class Format>
void load_a(const Warp& warp, const std::vector<u32>& chunks, bool is_mn_major, HalfFactors& factors) {
  for (u32 at = 0; at < chunks.size(); ++at) {
    float values[k_chunk_elements];
    unpack_chunk<Format>(warp, chunks[at], values);
    for (u32 j = 0; j < k_chunk_elements; ++j) {
      if (is_mn_major)
        factors.a[at % 2 * 8 + j][at / 2] = values[j];
      else
        factors.a[at / 2][at % 2 * 8 + j] = values[j];
    }
  }
}

template <class Format>
void load_a_registers(Warp& warp, const u32* registers, HalfFactors& factors) {
  alignas(32) float values[2 * k_lanes];
  for (u32 q = 0; q < 4; ++q) {
    HalfElements<Format>::unpack(warp.registers + registers[q], values);
    for (u32 g = 0; g < 8; ++g)
      place_run<HalfElements<Format>>(values + 8 * g, 8 * (q / 2), k_depth, factors.a[g + 8 * (q % 2)]);
  }
}

/// Eight columns of B from column 8 `block` on.
template <class Format>
void load_b(const Warp& warp, const std::vector<u32>& chunks, u32 block, u32 columns, bool is_mn_major,
            HalfFactors& factors) {
  if (is_mn_major) {
    for (u32 k = 0; k < k_depth; ++k)
      unpack_chunk<Format>(warp, chunks[k * (columns / k_chunk_elements) + block],
                           reinterpret_cast<float*>(&factors.b[k]));
    return;
  }
  for (u32 half = 0; half < 2; ++half) {
    Floats rows[8];
    for (u32 n = 0; n < 8; ++n)
      unpack_chunk<Format>(warp, chunks[(block * 8 + n) * 2 + half], reinterpret_cast<float*>(&rows[n]));
    transpose(rows, factors.b + 8 * half);
  }
}

void require_fence(const Warp& warp) {
  if (warp.index / k_warpgroup * k_warpgroup + k_warpgroup > warp.context->warps_per_block)
    raise(FaultKind::invalid_launch, 0,
          "wgmma is executed by warpgroups of four warps; the block's last one is incomplete");
  if (warp.wgmma.is_fenced) return;
  raise(
      FaultKind::async_in_flight, 0,
      "a wgmma without a wgmma.fence before it: what was written to its registers is not ordered before it");
}

template <class Format>
void multiply_async(Warp& warp, const Instruction& i, Mask mask) {
  require_whole_warp(warp, mask, "wgmma");
  require_fence(warp);
  const u32* d = warp.context->image->lists.data() + i.list;
  const u32 columns = i.extra, per_block = (i.mode & k_half_accumulator) != 0 ? 2 : 4;
  HalfFactors factors;
  std::vector<u32> used;
  if ((i.mode & k_a_in_registers) != 0) {
    load_a_registers<Format>(warp, d + i.count, factors);
  } else {
    const bool is_mn_major = (i.mode & k_transposes_a) != 0;
    used = chunks_of(read_descriptor(warp, i.a, "A"), warp.index % k_warpgroup * k_warp_rows, k_warp_rows,
                     is_mn_major);
    resolve_chunks(warp, i, used);
    load_a<Format>(warp, used, is_mn_major, factors);
  }
  const bool is_mn_major = (i.mode & k_transposes_b) != 0;
  const std::vector<u32> chunks = chunks_of(read_descriptor(warp, i.b, "B"), 0, columns, is_mn_major);
  resolve_chunks(warp, i, chunks);
  used.insert(used.end(), chunks.begin(), chunks.end());
  if (((i.mode & k_negates_a) != 0) != ((i.mode & k_negates_b) != 0)) {
    for (u32 row = 0; row < k_warp_rows; ++row)
      for (u32 k = 0; k < k_depth; ++k) factors.a[row][k] = -factors.a[row][k];
  }
  const bool adds = ((read_predicate(warp, i.c) ^ i.e) & 1) != 0;
  const ProductShape shape{
      .depth = k_depth, .rows = k_warp_rows, .is_half = (i.mode & k_half_accumulator) != 0};
  for (u32 block = 0; block < columns / 8; ++block) {
    Floats accumulator[k_rows_a] = {};
    load_b<Format>(warp, chunks, block, columns, is_mn_major, factors);
    if (adds) load_accumulator<float>(warp, d + block * per_block, 2, shape.is_half, accumulator);
    multiply_floats<HalfElements<Format>, HalfElements<Format>>(shape, factors, accumulator);
    store_accumulator<float>(warp, d + block * per_block, 2, shape.is_half, accumulator);
  }
  start_flight(warp, i.count, std::move(used));
  warp.executed += k_cost_per_column * columns;
  if (warp.tally != nullptr) warp.tally->tensor_flops[i.size] += 2u * k_warp_rows * columns * k_depth;
}

void fence(Warp& warp, const Instruction&, Mask) { warp.wgmma.is_fenced = true; }
void commit(Warp& warp, const Instruction&, Mask) { commit_wgmma(warp); }
void wait_is_control(Warp&, const Instruction&, Mask) {}  // Flow::wgmma_wait does it

/// N of "m64n128k16"; 0 if the shape is another one.
u32 columns_of(std::string_view shape) {
  if (!shape.starts_with("m64n") || !shape.ends_with("k16")) return 0;
  u32 columns = 0;
  for (const char digit : shape.substr(4, shape.size() - 7))
    columns = 10 * columns + static_cast<u32>(digit - '0');
  return columns % 8 == 0 && columns <= 256 ? columns : 0;
}

/// An immediate of 1 or -1, or a flag of 0 or 1.
bool read_flag(const Operand& operand, u64 set, u8 bit, Instruction& i) {
  if (operand.kind != Operand::Kind::immediate) return false;
  if (operand.immediate == set) i.mode |= bit;
  return true;
}

bool decode_product(Decoder& d, const Statement& s, Instruction& i) {
  if (s.parts.size() != 8 || s.operands.size() < 6 || s.operands[0].kind != Operand::Kind::vector)
    return false;
  const std::string_view result = s.parts[5], type = s.parts[6];
  const u32 columns = columns_of(s.parts[4]);
  const bool is_half = result == "f16" && type == "f16";
  if (columns == 0 || type != s.parts[7] || (type != "f16" && type != "bf16") ||
      (!is_half && result != "f32"))
    return false;
  const bool has_registers = s.operands[1].kind == Operand::Kind::vector;
  if (s.operands[0].elements.size() != columns / (is_half ? 4 : 2) ||
      (has_registers && s.operands[1].elements.size() != 4))
    return false;
  std::vector<u32> list;
  for (const Operand& element : s.operands[0].elements) list.push_back(d.destination(element, 4));
  if (has_registers) {
    for (const Operand& element : s.operands[1].elements) list.push_back(d.source(element, 4));
    i.mode |= k_a_in_registers;
  } else {
    i.a = d.source(s.operands[1], 8);
  }
  i.count = static_cast<u8>(s.operands[0].elements.size());
  i.mode |= is_half ? k_half_accumulator : 0;
  i.list = d.add_list(list);
  i.b = d.source(s.operands[2], 8);
  i.c = d.negatable_predicate(s.operands[3]);
  i.e = s.operands[3].is_negated ? ~0u : 0;
  i.extra = static_cast<u16>(columns);
  i.size = static_cast<u8>(type == "f16" ? TensorType::f16 : TensorType::bf16);
  const u64 minus_one = ~u64{0};
  if (!read_flag(s.operands[4], minus_one, k_negates_a, i) ||
      !read_flag(s.operands[5], minus_one, k_negates_b, i))
    return false;
  std::size_t next = 6;
  if (!has_registers && (next >= s.operands.size() || !read_flag(s.operands[next++], 1, k_transposes_a, i)))
    return false;
  if (next >= s.operands.size() || !read_flag(s.operands[next], 1, k_transposes_b, i)) return false;
  i.handler = type == "f16" ? multiply_async<F16> : multiply_async<BF16>;
  i.flags |= k_async_proxy;
  return true;
}

bool decode_wgmma(Decoder& d, const Statement& s, Instruction& i) {
  if (s.parts.size() < 4) return false;
  i.op_class = OpClass::tensor;
  i.flow = Flow::warp_sync;
  if (s.has("mma_async")) return decode_product(d, s, i);
  i.op_class = OpClass::control;
  if (s.has("wait_group")) {
    i.handler = wait_is_control;
    i.flow = Flow::wgmma_wait;
    i.offset = s.operands.empty() ? 0 : static_cast<i32>(s.operands[0].immediate);
    return !s.operands.empty() && s.operands[0].kind == Operand::Kind::immediate;
  }
  i.handler = s.has("fence") ? fence : s.has("commit_group") ? commit : nullptr;
  return i.handler != nullptr;
}

constexpr std::string_view k_modifiers =
    "mma_async fence commit_group wait_group sync aligned "
    "m64n8k16 m64n16k16 m64n24k16 m64n32k16 m64n40k16 m64n48k16 m64n56k16 m64n64k16 m64n72k16 m64n80k16 "
    "m64n88k16 "
    "m64n96k16 m64n104k16 m64n112k16 m64n120k16 m64n128k16 m64n136k16 m64n144k16 m64n152k16 m64n160k16 "
    "m64n168k16 "
    "m64n176k16 m64n184k16 m64n192k16 m64n200k16 m64n208k16 m64n216k16 m64n224k16 m64n232k16 m64n240k16 "
    "m64n248k16 "
    "m64n256k16";

constexpr InstructionRow k_rows[] = {
    {"wgmma", "f16 bf16 f32", k_modifiers, decode_wgmma, ResultKind::read_write},
};

}  // namespace

std::span<const InstructionRow> wgmma_rows() { return k_rows; }

}  // namespace kernelites::worker::vgpu
