// SPDX-License-Identifier: Apache-2.0
// Tensor-core instructions on registers: mma.sync.
//
// Fragment layout (PTX ISA, warp-level matrix instructions): with E elements per register, R blocks of eight rows, and
// lane l in row group g = l / 4, register q of A holds row g + 8 (q % R), columns 4E (q / R) + E (l % 4) + 0..E-1;
// register q of B holds column g, rows 4E q + E (l % 4) + 0..E-1. So the four lanes of a group hold 4E neighbours.
// tensor_sum.h says how floats are added. Integers are added exactly; f64 is a chain of fused multiply-adds in order
// of k. The fp8 formats have no instruction of their own on sm_90: their even pairs of k are one step, the odd pairs
// the next, and c is added last, rounded to nearest.
#include <algorithm>

#include "evaluators/worker/vgpu/instruction_table.h"
#include "evaluators/worker/vgpu/ops.h"
#include "evaluators/worker/vgpu/tensor_product.h"

#pragma GCC target("avx,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")

namespace kernelites::worker::vgpu {
namespace {

using Doubles = double __attribute__((vector_size(64)));

struct DoubleElements {
  using Value = double;
  using Vector = Doubles;
  static constexpr u32 k_per_register = 1, k_register_bytes = 8;
  static constexpr bool k_splits_pairs = false;
  static void unpack(const u8* from, double* to) { std::memcpy(to, from, k_lanes * sizeof(double)); }
};

// Instruction fields of mma: list: D, A, B, C registers; size: depth; count: blocks of eight rows; extra: TensorType;
// mode: bits below.
constexpr u8 k_half_accumulator = 1, k_saturates = 2;

template <class ElementsA, class ElementsB, class Value, class Vector>
void load_factors(Warp& warp, const u32* a, const u32* b, u32 depth, u32 blocks,
                  Factors<Value, Vector>& factors) {
  constexpr u32 k_per_register = ElementsA::k_per_register, k_run = 4 * k_per_register;
  alignas(32) Value values[k_lanes * k_per_register], columns[k_columns][k_max_depth] = {};
  for (u32 q = 0; q < blocks * depth / k_run; ++q) {
    ElementsA::unpack(warp.registers + a[q], values);
    for (u32 g = 0; g < 8; ++g)
      place_run<ElementsA>(values + k_run * g, k_run * (q / blocks), depth, factors.a[g + 8 * (q % blocks)]);
  }
  for (u32 q = 0; q < depth / k_run; ++q) {
    ElementsB::unpack(warp.registers + b[q], values);
    for (u32 g = 0; g < 8; ++g) place_run<ElementsB>(values + k_run * g, k_run * q, depth, columns[g]);
  }
  for (u32 k = 0; k < depth; k += 8) {
    Vector rows[8];
    for (u32 g = 0; g < 8; ++g) std::memcpy(&rows[g], &columns[g][k], sizeof(Vector));
    transpose(rows, factors.b + k);
  }
}

/// On floats: as tensor_sum.h says.
template <class ElementsA, class ElementsB>
void multiply(const Instruction& i, const Factors<float, Floats>& factors, Floats* c) {
  multiply_floats<ElementsA, ElementsB>(
      {.depth = i.size, .rows = 8u * i.count, .is_half = (i.mode & k_half_accumulator) != 0}, factors, c);
}

/// On integers: exact, wrapping around or saturated at the end.
template <class ElementsA, class ElementsB>
void multiply(const Instruction& i, const Factors<i32, Integers>& factors, Integers* c) {
  multiply_integers(i.size, 8u * i.count, (i.mode & k_saturates) != 0, factors, c);
}

template <class ElementsA, class ElementsB>
void multiply(const Instruction& i, const Factors<double, Doubles>& factors, Doubles* c) {
  for (u32 row = 0; row < 8u * i.count; ++row) {
    for (u32 column = 0; column < k_columns; ++column) {
      double sum = c[row][column];
      for (u32 k = 0; k < i.size; ++k) sum = fused_multiply_add(factors.a[row][k], factors.b[k][column], sum);
      c[row][column] = sum;
    }
  }
}

template <class ElementsA, class ElementsB>
void mma(Warp& warp, const Instruction& i, Mask mask) {
  using Value = typename ElementsA::Value;
  using Vector = typename ElementsA::Vector;
  require_whole_warp(warp, mask, "mma.sync");
  const u32 depth = i.size, blocks = i.count;
  const bool is_half = (i.mode & k_half_accumulator) != 0;
  const u32 registers_b = depth / ElementsA::k_per_register / 4;
  const u32* d = warp.context->image->lists.data() + i.list;
  const u32 *a = d + (is_half ? blocks : 2 * blocks), *b = a + blocks * registers_b, *c = b + registers_b;
  Factors<Value, Vector> factors;
  Vector accumulator[k_rows_a];
  load_factors<ElementsA, ElementsB>(warp, a, b, depth, blocks, factors);
  load_accumulator<Value>(warp, c, blocks, is_half, accumulator);
  multiply<ElementsA, ElementsB>(i, factors, accumulator);
  store_accumulator<Value>(warp, d, blocks, is_half, accumulator);
  if (warp.tally != nullptr) warp.tally->tensor_flops[i.extra] += 2u * 8 * blocks * k_columns * depth;
}

/// One pair of factor types and the shapes it comes in.
struct MmaRow {
  std::string_view a, b;
  TensorType type;
  u32 per_register, register_bytes;
  Handler handler;
  std::string_view shapes;
};
template <class ElementsA, class ElementsB>
constexpr MmaRow row(std::string_view a, std::string_view b, TensorType type, std::string_view shapes) {
  return {a,     b, type, ElementsA::k_per_register, ElementsA::k_register_bytes, mma<ElementsA, ElementsB>,
          shapes};
}
constexpr std::string_view k_half_shapes = "m16n8k8 m16n8k16", k_byte_shapes = "m8n8k16 m16n8k16 m16n8k32",
                           k_fp8_shapes = "m16n8k32", k_tf32_shapes = "m16n8k4 m16n8k8",
                           k_double_shapes = "m8n8k4 m16n8k4 m16n8k8 m16n8k16";
constexpr MmaRow k_mma_rows[] = {
    row<HalfElements<F16>, HalfElements<F16>>("f16", "f16", TensorType::f16, k_half_shapes),
    row<HalfElements<BF16>, HalfElements<BF16>>("bf16", "bf16", TensorType::bf16, k_half_shapes),
    row<Fp8Elements<4>, Fp8Elements<4>>("e4m3", "e4m3", TensorType::fp8, k_fp8_shapes),
    row<Fp8Elements<4>, Fp8Elements<5>>("e4m3", "e5m2", TensorType::fp8, k_fp8_shapes),
    row<Fp8Elements<5>, Fp8Elements<4>>("e5m2", "e4m3", TensorType::fp8, k_fp8_shapes),
    row<Fp8Elements<5>, Fp8Elements<5>>("e5m2", "e5m2", TensorType::fp8, k_fp8_shapes),
    row<Tf32Elements, Tf32Elements>("tf32", "tf32", TensorType::tf32, k_tf32_shapes),
    row<ByteElements<i8>, ByteElements<i8>>("s8", "s8", TensorType::int8, k_byte_shapes),
    row<ByteElements<i8>, ByteElements<u8>>("s8", "u8", TensorType::int8, k_byte_shapes),
    row<ByteElements<u8>, ByteElements<i8>>("u8", "s8", TensorType::int8, k_byte_shapes),
    row<ByteElements<u8>, ByteElements<u8>>("u8", "u8", TensorType::int8, k_byte_shapes),
    row<DoubleElements, DoubleElements>("f64", "f64", TensorType::f64, k_double_shapes),
};

/// Appends the four fragments to one list; false if one has another number of registers than expected.
bool place_fragments(Decoder& d, const Statement& s, Instruction& i, u32 width, const u32 (&counts)[4]) {
  if (s.operands.size() != 4) return false;
  std::vector<u32> list;
  for (u32 k = 0; k < 4; ++k) {
    const Operand& fragment = s.operands[k];
    if (fragment.kind != Operand::Kind::vector ? counts[k] != 1 : fragment.elements.size() != counts[k])
      return false;
    auto add = [&](const Operand& element) {
      list.push_back(k == 0 ? d.destination(element, width) : d.source(element, width));
    };
    if (fragment.kind == Operand::Kind::vector)
      std::for_each(fragment.elements.begin(), fragment.elements.end(), add);
    else
      add(fragment);
  }
  i.list = d.add_list(list);
  return true;
}

/// The shape of an opcode among those of a row: blocks of eight rows and depth. False for another shape.
bool find_shape(const Statement& s, std::string_view shapes, u32& blocks, u32& depth) {
  for (std::string_view part : s.parts) {
    if (!part.starts_with('m') || part == "mma") continue;
    if (!has_word(shapes, part)) return false;
    blocks = part.starts_with("m16") ? 2 : 1;
    depth = 0;
    for (char digit : part.substr(part.find('k') + 1)) depth = 10 * depth + static_cast<u32>(digit - '0');
    return true;
  }
  return false;
}

bool decode_mma(Decoder& d, const Statement& s, Instruction& i) {
  if (s.parts.size() < 8 || s.parts[1] != "sync" || !s.has("row") || !s.has("col")) return false;
  const auto types = std::span(s.parts).last(4);
  i.op_class = OpClass::tensor;
  i.flow = Flow::warp_sync;
  const bool is_half = types[0] == "f16" && types[3] == "f16";
  for (const MmaRow& row : k_mma_rows) {
    u32 blocks = 0, depth = 0;
    if (row.a != types[1] || row.b != types[2]) continue;
    const std::string_view result = row.type == TensorType::int8  ? "s32"
                                    : row.type == TensorType::f64 ? "f64"
                                                                  : "f32";
    if (is_half ? row.type != TensorType::f16 : types[0] != result || types[3] != result) return false;
    if (!find_shape(s, row.shapes, blocks, depth)) return false;
    if (s.has("satfinite") && row.type != TensorType::int8) return false;
    i.handler = row.handler;
    i.size = static_cast<u8>(depth);
    i.count = static_cast<u8>(blocks);
    i.mode = static_cast<u8>((is_half ? k_half_accumulator : 0) | (s.has("satfinite") ? k_saturates : 0));
    i.extra = static_cast<u16>(row.type);
    const u32 registers_c = is_half ? blocks : 2 * blocks, registers_b = depth / row.per_register / 4;
    return place_fragments(d, s, i, row.register_bytes,
                           {registers_c, blocks * registers_b, registers_b, registers_c});
  }
  return false;
}

constexpr std::string_view k_mma_modifiers =
    "sync aligned row col satfinite m8n8k4 m8n8k16 m16n8k4 m16n8k8 m16n8k16 m16n8k32";

constexpr InstructionRow k_rows[] = {
    {"mma", "f16 bf16 tf32 f32 f64 e4m3 e5m2 s8 u8 s32", k_mma_modifiers, decode_mma},
};

}  // namespace

std::span<const InstructionRow> matrix_rows() { return k_rows; }

}  // namespace kernelites::worker::vgpu
