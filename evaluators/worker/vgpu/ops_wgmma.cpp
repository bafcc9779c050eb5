// SPDX-License-Identifier: Apache-2.0
// wgmma.mma_async (PTX ISA 9.7.15), and its fence, groups and waits.
//
// Each warp of a warpgroup computes its own 16 rows of D = A B + D, so that the four need not be executed together. The
// operands are checked at the issue; they are read and the result is written at some moment before the wait
// (wgmma_flight.h).
#include <algorithm>
#include <span>

#include <fmt/core.h>

#include "evaluators/worker/vgpu/access.h"
#include "evaluators/worker/vgpu/instruction_table.h"
#include "evaluators/worker/vgpu/matrix_descriptor.h"
#include "evaluators/worker/vgpu/ops.h"
#include "evaluators/worker/vgpu/tensor_product.h"

#pragma GCC target("avx,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")

namespace kernelites::worker::vgpu {
namespace {

constexpr u32 k_chunk_bytes = 16, k_chunks_deep = 2, k_warp_rows = 16;
constexpr u32 k_register_lanes_bytes = 4 * k_lanes;
constexpr u32 k_chunk_halves = 8, k_half_depth = 16;  ///< only 16-bit elements may have MN as the major axis
/// What a product counts in budgets, which are for what interpreting takes: so many instructions for a column.
constexpr u32 k_cost_per_column = 6;

// Instruction fields: list: registers of D, then of A if they are registers; count: registers of D; a, b: descriptors;
// c: predicate "add to D", e: its negation (all ones); extra: N; size: TensorType; mode: bits below.
constexpr u8 k_half_accumulator = 1, k_a_in_registers = 2, k_transposes_a = 4, k_transposes_b = 8,
             k_negates_a = 16, k_negates_b = 32, k_saturates = 64;

template <class Elements>
constexpr u32 k_chunk_elements = 4 * Elements::k_per_register;
template <class Elements>
constexpr u32 k_depth = k_chunks_deep* k_chunk_elements<Elements>;
template <class Elements>
using FactorsOf = Factors<typename Elements::Value, typename Elements::Vector>;

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
  return descriptor;
}

/// Chunks of `count` rows (or columns) of an operand from `first` on: [mn][half of k], or [k][mn / 8] where MN is
/// major.
std::vector<u32> chunks_of(const MatrixDescriptor& descriptor, u32 first, u32 count, bool is_mn_major) {
  std::vector<u32> chunks;
  if (is_mn_major) {
    for (u32 k = 0; k < k_half_depth; ++k)
      for (u32 c = 0; c < count / k_chunk_halves; ++c)
        chunks.push_back(descriptor.mn_major(first / k_chunk_halves + c, k));
  } else {
    for (u32 mn = 0; mn < count; ++mn)
      for (u32 c = 0; c < k_chunks_deep; ++c) chunks.push_back(descriptor.k_major(first + mn, c));
  }
  return chunks;
}

template <class Elements>
void unpack_chunk(const Warp& warp, u32 chunk, typename Elements::Value* to) {
  Elements::convert(warp.block->shared.data() + chunk, to, k_chunk_elements<Elements>);
}

template <class Elements>
void load_a(const Warp& warp, std::span<const u32> chunks, bool is_mn_major, FactorsOf<Elements>& factors) {
  constexpr u32 k_count = k_chunk_elements<Elements>;
  for (u32 at = 0; at < chunks.size(); ++at) {
    if (!is_mn_major) {
      unpack_chunk<Elements>(warp, chunks[at], &factors.a[at / 2][at % 2 * k_count]);
      continue;
    }
    typename Elements::Value values[k_count];
    unpack_chunk<Elements>(warp, chunks[at], values);
    for (u32 j = 0; j < k_count; ++j) factors.a[at % 2 * k_count + j][at / 2] = values[j];
  }
}

template <class Elements>
void load_a_registers(const u8* left, FactorsOf<Elements>& factors) {
  constexpr u32 k_run = k_chunk_elements<Elements>;
  alignas(32) typename Elements::Value values[Elements::k_per_register * k_lanes];
  for (u32 q = 0; q < 4; ++q) {
    Elements::unpack(left + q * k_register_lanes_bytes, values);
    for (u32 g = 0; g < 8; ++g)
      place_run<Elements>(values + k_run * g, k_run * (q / 2), k_depth<Elements>, factors.a[g + 8 * (q % 2)]);
  }
}

/// Eight columns of B from column 8 `block` on.
template <class Elements, class Vector>
void load_b(const Warp& warp, std::span<const u32> chunks, u32 block, u32 columns, bool is_mn_major,
            Vector* b) {
  using Value = typename Elements::Value;
  constexpr u32 k_count = k_chunk_elements<Elements>;
  if (is_mn_major) {
    if constexpr (k_count == k_chunk_halves) {
      for (u32 k = 0; k < k_half_depth; ++k)
        unpack_chunk<Elements>(warp, chunks[k * (columns / k_chunk_halves) + block],
                               reinterpret_cast<Value*>(&b[k]));
    }
    return;
  }
  alignas(32) Value values[8][k_depth<Elements>];
  for (u32 n = 0; n < 8; ++n)
    for (u32 half = 0; half < k_chunks_deep; ++half)
      unpack_chunk<Elements>(warp, chunks[(block * 8 + n) * k_chunks_deep + half],
                             &values[n][half * k_count]);
  for (u32 k = 0; k < k_depth<Elements>; k += 8) {
    Vector rows[8];
    for (u32 n = 0; n < 8; ++n) std::memcpy(&rows[n], &values[n][k], sizeof(Vector));
    transpose(rows, b + k);
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

/// The bits that a sum keeps below its largest exponent.
template <class Elements>
constexpr u32 k_kept_bits = Elements::k_per_register == 4 ? k_fp8_sum_bits : k_sum_bits;

template <class ElementsA, class ElementsB>
void multiply_block(const Instruction& i, const FactorsOf<ElementsA>& factors,
                    typename ElementsA::Vector* sums) {
  constexpr u32 k_k = k_depth<ElementsA>;
  if constexpr (std::is_same_v<ElementsA, BitElements>) {
    multiply_bits(k_k, k_warp_rows, factors, sums);
  } else if constexpr (std::is_same_v<typename ElementsA::Value, i32>) {
    multiply_integers(k_k, k_warp_rows, (i.mode & k_saturates) != 0, factors, sums);
  } else {
    multiply_floats<ElementsA, ElementsB>({.depth = k_k,
                                           .rows = k_warp_rows,
                                           .is_half = (i.mode & k_half_accumulator) != 0,
                                           .bits = k_kept_bits<ElementsA>},
                                          factors, sums);
  }
}

/// Reads the operands of a flight and writes its result.
template <class ElementsA, class ElementsB>
void compute(Warp& warp, const WgmmaFlight& flight) {
  using Value = typename ElementsA::Value;
  const Instruction& i = warp.context->image->code[flight.pc];
  const u32* d = warp.context->image->lists.data() + i.list;
  const bool is_half = (i.mode & k_half_accumulator) != 0;
  const u32 columns = i.extra, per_block = is_half ? 2 : 4;
  FactorsOf<ElementsA> factors;
  const auto chunks = std::span(flight.chunks);
  if ((i.mode & k_a_in_registers) != 0)
    load_a_registers<ElementsA>(flight.left.data(), factors);
  else
    load_a<ElementsA>(warp, chunks.first(flight.left_chunks), (i.mode & k_transposes_a) != 0, factors);
  if (((i.mode & k_negates_a) != 0) != ((i.mode & k_negates_b) != 0)) {
    for (u32 row = 0; row < k_warp_rows; ++row)
      for (u32 k = 0; k < k_depth<ElementsA>; ++k) factors.a[row][k] = -factors.a[row][k];
  }
  for (u32 block = 0; block < columns / 8; ++block) {
    typename ElementsA::Vector accumulator[k_rows_a] = {};
    load_b<ElementsB>(warp, chunks.subspan(flight.left_chunks), block, columns,
                      (i.mode & k_transposes_b) != 0, factors.b);
    if (flight.adds) load_accumulator<Value>(warp, d + block * per_block, 2, is_half, accumulator);
    multiply_block<ElementsA, ElementsB>(i, factors, accumulator);
    store_accumulator<Value>(warp, d + block * per_block, 2, is_half, accumulator);
  }
}

/// What the four registers of A hold.
std::vector<u8> read_left(const Warp& warp, const u32* registers) {
  std::vector<u8> left(std::size_t{4} * k_register_lanes_bytes);
  for (u32 q = 0; q < 4; ++q)
    std::memcpy(left.data() + q * k_register_lanes_bytes, warp.registers + registers[q],
                k_register_lanes_bytes);
  return left;
}

template <class ElementsA, class ElementsB>
void multiply_async(Warp& warp, const Instruction& i, Mask mask) {
  require_whole_warp(warp, mask, "wgmma");
  require_fence(warp);
  WgmmaFlight flight{.pc = warp.pc, .compute = compute<ElementsA, ElementsB>};
  if ((i.mode & k_a_in_registers) != 0) {
    flight.left = read_left(warp, warp.context->image->lists.data() + i.list + i.count);
  } else {
    flight.chunks = chunks_of(read_descriptor(warp, i.a, "A"), warp.index % k_warpgroup * k_warp_rows,
                              k_warp_rows, (i.mode & k_transposes_a) != 0);
    flight.left_chunks = static_cast<u32>(flight.chunks.size());
    resolve_chunks(warp, i, flight.chunks);
  }
  const u32 columns = i.extra;
  const std::vector<u32> chunks =
      chunks_of(read_descriptor(warp, i.b, "B"), 0, columns, (i.mode & k_transposes_b) != 0);
  resolve_chunks(warp, i, chunks);
  flight.chunks.insert(flight.chunks.end(), chunks.begin(), chunks.end());
  flight.adds = ((read_predicate(warp, i.c) ^ i.e) & 1) != 0;
  start_flight(warp, i.count, std::move(flight));
  warp.executed += k_cost_per_column * columns;
  if (warp.tally != nullptr)
    warp.tally->tensor_flops[i.size] += 2u * k_warp_rows * columns * k_depth<ElementsA>;
}

void fence(Warp& warp, const Instruction&, Mask) { warp.wgmma.is_fenced = true; }
void commit(Warp& warp, const Instruction&, Mask) { commit_wgmma(warp); }
void wait_is_control(Warp&, const Instruction&, Mask) {}  // Flow::wgmma_wait does it

/// A pair of factor types, and what goes with it.
struct ProductRow {
  std::string_view a, b;
  TensorType type;
  std::string_view depth;  ///< the end of the shape
  Handler handler;
};
template <class A, class B>
constexpr ProductRow row(std::string_view a, std::string_view b, TensorType type, std::string_view depth) {
  return {a, b, type, depth, multiply_async<A, B>};
}
constexpr ProductRow k_products[] = {
    row<HalfElements<F16>, HalfElements<F16>>("f16", "f16", TensorType::f16, "k16"),
    row<HalfElements<BF16>, HalfElements<BF16>>("bf16", "bf16", TensorType::bf16, "k16"),
    row<Tf32Elements, Tf32Elements>("tf32", "tf32", TensorType::tf32, "k8"),
    row<NativeFp8Elements<4>, NativeFp8Elements<4>>("e4m3", "e4m3", TensorType::fp8, "k32"),
    row<NativeFp8Elements<4>, NativeFp8Elements<5>>("e4m3", "e5m2", TensorType::fp8, "k32"),
    row<NativeFp8Elements<5>, NativeFp8Elements<4>>("e5m2", "e4m3", TensorType::fp8, "k32"),
    row<NativeFp8Elements<5>, NativeFp8Elements<5>>("e5m2", "e5m2", TensorType::fp8, "k32"),
    row<ByteElements<i8>, ByteElements<i8>>("s8", "s8", TensorType::int8, "k32"),
    row<ByteElements<i8>, ByteElements<u8>>("s8", "u8", TensorType::int8, "k32"),
    row<ByteElements<u8>, ByteElements<i8>>("u8", "s8", TensorType::int8, "k32"),
    row<ByteElements<u8>, ByteElements<u8>>("u8", "u8", TensorType::int8, "k32"),
    row<BitElements, BitElements>("b1", "b1", TensorType::int8, "k256"),  // counts as eight of those
};

const ProductRow* find_product(std::string_view a, std::string_view b) {
  for (const ProductRow& product : k_products)
    if (product.a == a && product.b == b) return &product;
  return nullptr;
}

/// N of "m64n128k16"; 0 if the shape is another one.
u32 columns_of(std::string_view shape, const ProductRow& product) {
  if (!shape.starts_with("m64n") || !shape.ends_with(product.depth)) return 0;
  u32 columns = 0;
  for (const char digit : shape.substr(4, shape.size() - 4 - product.depth.size())) {
    if (digit < '0' || digit > '9' || columns > 256) return 0;
    columns = 10 * columns + static_cast<u32>(digit - '0');
  }
  const u32 step = product.type == TensorType::int8 && columns > 24 ? 16 : 8;
  return columns % step == 0 && columns <= 256 ? columns : 0;
}

/// An immediate of 1 or -1, or a flag of 0 or 1.
bool read_flag(const Operand& operand, u64 set, u8 bit, Instruction& i) {
  if (operand.kind != Operand::Kind::immediate) return false;
  if (operand.immediate == set) i.mode |= bit;
  return true;
}

/// The immediates behind "add to D": signs of A and B, and of 16-bit types which axis is the major one.
bool place_immediates(const Statement& s, const ProductRow& product, bool has_registers, Instruction& i) {
  const u64 minus_one = ~u64{0};
  const bool is_half = product.depth == "k16", has_signs = product.type != TensorType::int8;
  std::size_t next = 4;
  auto flag = [&](u64 set, u8 bit) {
    return next < s.operands.size() && read_flag(s.operands[next++], set, bit, i);
  };
  if (has_signs && (!flag(minus_one, k_negates_a) || !flag(minus_one, k_negates_b))) return false;
  if (is_half && !has_registers && !flag(1, k_transposes_a)) return false;
  return (!is_half || flag(1, k_transposes_b)) && next == s.operands.size();
}

bool decode_product(Decoder& d, const Statement& s, Instruction& i) {
  const bool saturates = s.has("satfinite");
  const std::size_t types = saturates ? 6 : 5;
  const bool counts_bits = s.has("and") && s.has("popc");
  if (s.parts.size() != types + (counts_bits ? 5 : 3) || s.operands.size() < 4 ||
      s.operands[0].kind != Operand::Kind::vector)
    return false;
  const std::string_view result = s.parts[types];
  const ProductRow* const product = find_product(s.parts[types + 1], s.parts[types + 2]);
  if (product == nullptr || counts_bits != (product->depth == "k256")) return false;
  const u32 columns = columns_of(s.parts[4], *product);
  const bool is_integer = product->type == TensorType::int8, is_half = result == "f16";
  const bool has_half = product->type == TensorType::f16 || product->type == TensorType::fp8;
  if (columns == 0 || (saturates && (!is_integer || counts_bits))) return false;
  if (is_half ? !has_half : result != (is_integer ? "s32" : "f32")) return false;
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
  i.mode |= static_cast<u8>((is_half ? k_half_accumulator : 0) | (saturates ? k_saturates : 0));
  i.list = d.add_list(list);
  i.b = d.source(s.operands[2], 8);
  i.c = d.negatable_predicate(s.operands[3]);
  i.e = s.operands[3].is_negated ? ~0u : 0;
  i.extra = static_cast<u16>(columns);
  i.size = static_cast<u8>(product->type);
  if (!place_immediates(s, *product, has_registers, i)) return false;
  i.handler = product->handler;
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
    "mma_async fence commit_group wait_group sync aligned satfinite "
    "m64n8k8 m64n16k8 m64n24k8 m64n32k8 m64n40k8 m64n48k8 m64n56k8 m64n64k8 m64n72k8 m64n80k8 m64n88k8 "
    "m64n96k8 m64n104k8 m64n112k8 m64n120k8 m64n128k8 m64n136k8 m64n144k8 m64n152k8 m64n160k8 m64n168k8 "
    "m64n176k8 m64n184k8 m64n192k8 m64n200k8 m64n208k8 m64n216k8 m64n224k8 m64n232k8 m64n240k8 m64n248k8 "
    "m64n256k8 m64n8k16 m64n16k16 m64n24k16 m64n32k16 m64n40k16 m64n48k16 m64n56k16 m64n64k16 m64n72k16 "
    "m64n80k16 m64n88k16 m64n96k16 m64n104k16 m64n112k16 m64n120k16 m64n128k16 m64n136k16 m64n144k16 "
    "m64n152k16 m64n160k16 m64n168k16 m64n176k16 m64n184k16 m64n192k16 m64n200k16 m64n208k16 m64n216k16 "
    "m64n224k16 m64n232k16 m64n240k16 m64n248k16 m64n256k16 m64n8k32 m64n16k32 m64n24k32 m64n32k32 "
    "m64n40k32 m64n48k32 m64n56k32 m64n64k32 m64n72k32 m64n80k32 m64n88k32 m64n96k32 m64n104k32 "
    "m64n112k32 m64n120k32 m64n128k32 m64n136k32 m64n144k32 m64n152k32 m64n160k32 m64n168k32 m64n176k32 "
    "m64n184k32 m64n192k32 m64n200k32 m64n208k32 m64n216k32 m64n224k32 m64n232k32 m64n240k32 m64n248k32 "
    "m64n256k32 and popc "
    "m64n8k256 m64n16k256 m64n24k256 m64n32k256 m64n48k256 m64n64k256 m64n80k256 m64n96k256 m64n112k256 "
    "m64n128k256 m64n144k256 m64n160k256 m64n176k256 m64n192k256 m64n208k256 m64n224k256 m64n240k256 "
    "m64n256k256";

constexpr InstructionRow k_rows[] = {
    {"wgmma", "f16 bf16 f32 tf32 e4m3 e5m2 s8 u8 b1 s32", k_modifiers, decode_wgmma, ResultKind::read_write},
};

}  // namespace

std::span<const InstructionRow> wgmma_rows() { return k_rows; }

}  // namespace kernelites::worker::vgpu
