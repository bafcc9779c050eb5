// SPDX-License-Identifier: Apache-2.0
// Tensor-core instructions on registers: mma.sync, ldmatrix, stmatrix, movmatrix.
//
// Fragment layout (PTX ISA, warp-level matrix instructions): with E elements per 32-bit register and lane l in row
// group g = l / 4, register q of A holds row g + 8 (q & 1), columns 4E (q / 2) + E (l % 4) + 0..E-1; register q of B
// holds column g, rows 4E q + E (l % 4) + 0..E-1. So the four lanes of a group hold 4E neighbours.
// Products of the narrow types are exact in float; they are added in order of k, in float (or int32, or double).
#include <algorithm>

#include "evaluators/worker/vgpu/access.h"
#include "evaluators/worker/vgpu/fp8.h"
#include "evaluators/worker/vgpu/half.h"
#include "evaluators/worker/vgpu/instruction_table.h"
#include "evaluators/worker/vgpu/ops.h"

#pragma GCC target("avx,avx2,fma,f16c,bmi,bmi2,lzcnt,popcnt")

namespace kernelites::worker::vgpu {
namespace {

constexpr u32 k_rows_a = 16, k_columns = 8, k_max_depth = 64;

using Floats = float __attribute__((vector_size(32)));
using Integers = i32 __attribute__((vector_size(32)));

// How 32-bit registers unpack into E accumulator values per lane, contiguous by lane.
template <class Format>
struct HalfElements {
  using Value = float;
  using Vector = Floats;
  static constexpr u32 k_per_register = 2;
  static void unpack(const u32* from, float* to) {
    Format::to_floats(reinterpret_cast<const u16*>(from), to, 64);
  }
};
struct Tf32Elements {
  using Value = float;
  using Vector = Floats;
  static constexpr u32 k_per_register = 1;
  static void unpack(const u32* from, float* to) {
    KERNELITES_LANES(l) to[l] = bits_as<float>(from[l] & ~0x1fffu);
  }
};
template <int ExponentBits>
struct Fp8Elements {
  using Value = float;
  using Vector = Floats;
  static constexpr u32 k_per_register = 4;
  static void unpack(const u32* from, float* to) {
    const u8* bytes = reinterpret_cast<const u8*>(from);
    for (u32 k = 0; k < 128; ++k) to[k] = fp8_to_float<ExponentBits>(bytes[k]);
  }
};
template <class T>
struct ByteElements {
  using Value = i32;
  using Vector = Integers;
  static constexpr u32 k_per_register = 4;
  static void unpack(const u32* from, i32* to) {
    const T* bytes = reinterpret_cast<const T*>(from);
    for (u32 k = 0; k < 128; ++k) to[k] = bytes[k];
  }
};

/// c[row][column] += sum over k of a[row][k] * b[k][column], four rows at a time.
template <class Value, class Vector>
void multiply(const Value (*a)[k_max_depth], const Vector* b, Vector* c, u32 depth) {
  for (u32 row = 0; row < k_rows_a; row += 4) {
    Vector c0 = c[row], c1 = c[row + 1], c2 = c[row + 2], c3 = c[row + 3];
    for (u32 k = 0; k < depth; ++k) {
      c0 += a[row][k] * b[k];
      c1 += a[row + 1][k] * b[k];
      c2 += a[row + 2][k] * b[k];
      c3 += a[row + 3][k] * b[k];
    }
    c[row] = c0, c[row + 1] = c1, c[row + 2] = c2, c[row + 3] = c3;
  }
}

template <class Vector>
void transpose(const Vector* rows, Vector* columns) {  // 8 x 8
  for (u32 r = 0; r < 8; ++r) {
    for (u32 c = 0; c < 8; ++c) columns[c][r] = rows[r][c];
  }
}
void transpose(const Floats* rows, Floats* columns) {
  const __m256* r = reinterpret_cast<const __m256*>(rows);
  __m256 t[8], u[8];
  for (u32 k = 0; k < 8; k += 2) {
    t[k] = _mm256_unpacklo_ps(r[k], r[k + 1]);
    t[k + 1] = _mm256_unpackhi_ps(r[k], r[k + 1]);
  }
  for (u32 k = 0; k < 8; k += 4) {
    u[k] = _mm256_shuffle_ps(t[k], t[k + 2], 0x44);
    u[k + 1] = _mm256_shuffle_ps(t[k], t[k + 2], 0xee);
    u[k + 2] = _mm256_shuffle_ps(t[k + 1], t[k + 3], 0x44);
    u[k + 3] = _mm256_shuffle_ps(t[k + 1], t[k + 3], 0xee);
  }
  for (u32 k = 0; k < 4; ++k) {
    columns[k] = reinterpret_cast<Floats>(_mm256_permute2f128_ps(u[k], u[k + 4], 0x20));
    columns[k + 4] = reinterpret_cast<Floats>(_mm256_permute2f128_ps(u[k], u[k + 4], 0x31));
  }
}

/// Accumulator fragment <-> 16 x 8 matrix. Registers of 32-bit values: q holds row g + 8 (q / 2), column
/// 2 (l % 4) + q % 2; of half pairs: register q holds row g + 8 q, columns 2 (l % 4) and the next.
template <class Value, class Vector>
void load_accumulator(Warp& warp, const u32* registers, bool is_half, Vector* c) {
  if (is_half) {
    for (u32 q = 0; q < 2; ++q) {
      float values[64];
      F16::to_floats(lanes_of<u16>(warp, registers[q]), values, 64);
      for (u32 k = 0; k < 64; ++k) c[k / 8 + 8 * q][k % 8] = static_cast<Value>(values[k]);
    }
    return;
  }
  for (u32 q = 0; q < 4; ++q) {
    const Value* values = lanes_of<Value>(warp, registers[q]);
    KERNELITES_LANES(l) c[l / 4 + 8 * (q / 2)][2 * (l % 4) + q % 2] = values[l];
  }
}

template <class Value, class Vector>
void store_accumulator(Warp& warp, const u32* registers, bool is_half, const Vector* c) {
  if (is_half) {
    for (u32 q = 0; q < 2; ++q) {
      float values[64];
      for (u32 k = 0; k < 64; ++k) values[k] = static_cast<float>(c[k / 8 + 8 * q][k % 8]);
      F16::from_floats(values, lanes_of<u16>(warp, registers[q]), 64);
    }
    return;
  }
  for (u32 q = 0; q < 4; ++q) {
    Value* values = lanes_of<Value>(warp, registers[q]);
    KERNELITES_LANES(l) values[l] = c[l / 4 + 8 * (q / 2)][2 * (l % 4) + q % 2];
  }
}

void require_whole_warp(const Warp& warp, const Instruction&, Mask mask, const char* what) {
  if (mask == warp.existing && mask == k_all_lanes) return;
  raise(FaultKind::invalid_shuffle, lowest_lane(mask),
        std::string(what) + " is executed by a part of the warp only; all 32 lanes must execute it together");
}

/// mma.m16n8kK. list: D, A, B, C registers. size: K; mode bit 0: C and D are half pairs; extra: TensorType.
template <class ElementsA, class ElementsB>
void mma(Warp& warp, const Instruction& i, Mask mask) {
  using Value = typename ElementsA::Value;
  using Vector = typename ElementsA::Vector;
  constexpr u32 k_per_register = ElementsA::k_per_register, k_run = 4 * k_per_register;
  require_whole_warp(warp, i, mask, "mma.sync");
  const u32 depth = i.size;
  const bool is_half = (i.mode & 1) != 0;
  const u32 registers_c = is_half ? 2 : 4, registers_a = depth / k_per_register / 2,
            registers_b = registers_a / 2;
  const u32* d = warp.context->image->lists.data() + i.list;
  const u32 *registers = d + registers_c, *b = registers + registers_a, *c = b + registers_b;
  alignas(32) Value matrix_a[k_rows_a][k_max_depth], columns_b[k_columns][k_max_depth], values[128];
  Vector matrix_b[k_max_depth], accumulator[k_rows_a];
  for (u32 q = 0; q < registers_a; ++q) {
    ElementsA::unpack(lanes_of<u32>(warp, registers[q]), values);
    for (u32 g = 0; g < 8; ++g)
      std::memcpy(&matrix_a[g + 8 * (q & 1)][k_run * (q / 2)], values + k_run * g, k_run * sizeof(Value));
  }
  for (u32 q = 0; q < registers_b; ++q) {
    ElementsB::unpack(lanes_of<u32>(warp, b[q]), values);
    for (u32 g = 0; g < 8; ++g)
      std::memcpy(&columns_b[g][k_run * q], values + k_run * g, k_run * sizeof(Value));
  }
  for (u32 k = 0; k < depth; k += 8) {
    Vector rows[8];
    for (u32 g = 0; g < 8; ++g) std::memcpy(&rows[g], &columns_b[g][k], sizeof(Vector));
    transpose(rows, matrix_b + k);
  }
  load_accumulator<Value>(warp, c, is_half, accumulator);
  multiply(matrix_a, matrix_b, accumulator, depth);
  store_accumulator<Value>(warp, d, is_half, accumulator);
  if (warp.tally != nullptr) warp.tally->tensor_flops[i.extra] += 2u * k_rows_a * k_columns * depth;
}

/// mma.m8n8k4 on double: A row l / 4, column l % 4; B row l % 4, column l / 4; C and D row l / 4, column
/// 2 (l % 4) + q.
void mma_double(Warp& warp, const Instruction& i, Mask mask) {
  require_whole_warp(warp, i, mask, "mma.sync");
  const u32* list = warp.context->image->lists.data() + i.list;
  const double *a = lanes_of<double>(warp, list[2]), *b = lanes_of<double>(warp, list[3]);
  double out[2][k_lanes];
  for (u32 q = 0; q < 2; ++q) {
    const double* c = lanes_of<double>(warp, list[4 + q]);
    KERNELITES_LANES(l) {
      double sum = c[l];
      for (u32 k = 0; k < 4; ++k) sum = __builtin_fma(a[l / 4 * 4 + k], b[(2 * (l % 4) + q) * 4 + k], sum);
      out[q][l] = sum;
    }
  }
  for (u32 q = 0; q < 2; ++q) std::memcpy(lanes_of<double>(warp, list[q]), out[q], sizeof out[q]);
  if (warp.tally != nullptr) warp.tally->tensor_flops[static_cast<u32>(TensorType::f64)] += 2 * 8 * 8 * 4;
}

struct MmaRow {
  std::string_view a, b;
  TensorType type;
  u32 per_register;
  Handler handler;
};
constexpr MmaRow k_mma_rows[] = {
    {"f16", "f16", TensorType::f16, 2, mma<HalfElements<F16>, HalfElements<F16>>},
    {"bf16", "bf16", TensorType::bf16, 2, mma<HalfElements<BF16>, HalfElements<BF16>>},
    {"e4m3", "e4m3", TensorType::fp8, 4, mma<Fp8Elements<4>, Fp8Elements<4>>},
    {"e4m3", "e5m2", TensorType::fp8, 4, mma<Fp8Elements<4>, Fp8Elements<5>>},
    {"e5m2", "e4m3", TensorType::fp8, 4, mma<Fp8Elements<5>, Fp8Elements<4>>},
    {"e5m2", "e5m2", TensorType::fp8, 4, mma<Fp8Elements<5>, Fp8Elements<5>>},
    {"tf32", "tf32", TensorType::tf32, 1, mma<Tf32Elements, Tf32Elements>},
    {"s8", "s8", TensorType::int8, 4, mma<ByteElements<i8>, ByteElements<i8>>},
    {"s8", "u8", TensorType::int8, 4, mma<ByteElements<i8>, ByteElements<u8>>},
    {"u8", "s8", TensorType::int8, 4, mma<ByteElements<u8>, ByteElements<i8>>},
    {"u8", "u8", TensorType::int8, 4, mma<ByteElements<u8>, ByteElements<u8>>},
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

u32 depth_of(std::string_view shape) {  // "m16n8k16" -> 16
  if (!shape.starts_with("m16n8k")) return 0;
  u32 depth = 0;
  for (char c : shape.substr(6)) depth = 10 * depth + static_cast<u32>(c - '0');
  return depth;
}

bool decode_mma(Decoder& d, const Statement& s, Instruction& i) {
  if (s.parts.size() < 8 || s.parts[1] != "sync" || s.has("sp") || !s.has("row") || !s.has("col"))
    return false;
  const auto types = std::span(s.parts).last(4);
  i.op_class = OpClass::tensor;
  i.flow = Flow::warp_sync;
  if (types[1] == "f64") {
    i.handler = mma_double;
    return s.has("m8n8k4") && place_fragments(d, s, i, 8, {2, 1, 1, 2});
  }
  u32 depth = 0;
  for (std::string_view part : s.parts) depth = std::max(depth, depth_of(part));
  const bool is_half = types[0] == "f16" && types[3] == "f16";
  if (!is_half && types[0] != "f32" && types[0] != "s32") return false;
  for (const MmaRow& row : k_mma_rows) {
    if (row.a != types[1] || row.b != types[2]) continue;
    const u32 registers_a = depth / row.per_register / 2;
    const u32 most = row.per_register == 1 ? 8 : 8 * row.per_register;
    if (depth == 0 || depth % 8 != 0 || depth > most || registers_a < 2) return false;
    i.handler = row.handler;
    i.size = static_cast<u8>(depth);
    i.mode = is_half;
    i.extra = static_cast<u16>(row.type);
    const u32 registers_c = is_half ? 2 : 4;
    return place_fragments(d, s, i, 4, {registers_c, registers_a, registers_a / 2, registers_c});
  }
  return false;
}

/// Matrix k of ldmatrix has its eight rows (16 bytes) at the addresses of lanes 8k .. 8k + 7.
void load_matrix(Warp& warp, const Instruction& i, Mask mask) {
  require_whole_warp(warp, i, mask, "ldmatrix");
  const u32* registers = warp.context->image->lists.data() + i.list;
  const u32 lanes = 8u * i.count;
  const Mask addressing = lanes == 32 ? k_all_lanes : (Mask{1} << lanes) - 1;
  u64 addresses[k_lanes];
  read_addresses(warp, i, addresses);
  Access access;
  KERNELITES_LANES(l) access.offsets[l] = static_cast<u32>(addresses[l]);
  resolve_shared(warp, i, addressing, 16, Use::load, access);
  for (u32 k = 0; k < i.count; ++k) {
    alignas(16) u16 matrix[8][8];
    for (u32 row = 0; row < 8; ++row) std::memcpy(matrix[row], access.base + access.offsets[8 * k + row], 16);
    u32* d = lanes_of<u32>(warp, registers[k]);
    if (i.extra == 0) {
      std::memcpy(d, matrix, sizeof matrix);
    } else {
      KERNELITES_LANES(l) d[l] = u32{matrix[2 * (l % 4)][l / 4]} | u32{matrix[2 * (l % 4) + 1][l / 4]} << 16;
    }
  }
}

void store_matrix(Warp& warp, const Instruction& i, Mask mask) {
  require_whole_warp(warp, i, mask, "stmatrix");
  const u32* registers = warp.context->image->lists.data() + i.list;
  const u32 lanes = 8u * i.count;
  const Mask addressing = lanes == 32 ? k_all_lanes : (Mask{1} << lanes) - 1;
  u64 addresses[k_lanes];
  read_addresses(warp, i, addresses);
  Access access;
  KERNELITES_LANES(l) access.offsets[l] = static_cast<u32>(addresses[l]);
  resolve_shared(warp, i, addressing, 16, Use::store, access);
  for (u32 k = 0; k < i.count; ++k) {
    const u32* values = lanes_of<u32>(warp, registers[k]);
    alignas(16) u16 matrix[8][8];
    KERNELITES_LANES(l) {
      const u32 g = l / 4, t = 2 * (l % 4);
      (i.extra == 0 ? matrix[g][t] : matrix[t][g]) = static_cast<u16>(values[l]);
      (i.extra == 0 ? matrix[g][t + 1] : matrix[t + 1][g]) = static_cast<u16>(values[l] >> 16);
    }
    for (u32 row = 0; row < 8; ++row) std::memcpy(access.base + access.offsets[8 * k + row], matrix[row], 16);
  }
}

void transpose_matrix(Warp& warp, const Instruction& i, Mask mask) {
  require_whole_warp(warp, i, mask, "movmatrix");
  alignas(16) u16 matrix[8][8];
  std::memcpy(matrix, lanes_of<u32>(warp, i.a), sizeof matrix);
  u32* d = lanes_of<u32>(warp, i.d);
  KERNELITES_LANES(l) d[l] = u32{matrix[2 * (l % 4)][l / 4]} | u32{matrix[2 * (l % 4) + 1][l / 4]} << 16;
}

bool decode_matrix_access(Decoder& d, const Statement& s, Instruction& i) {
  const bool is_store = s.is("stmatrix");
  if (s.operands.size() != 2 || !s.has("m8n8") || s.parts.back() != "b16") return false;
  if (is_store)
    d.sources(s.operands[1], 4, i);
  else
    d.destinations(s.operands[0], 4, i);
  if (i.count != 1 && i.count != 2 && i.count != 4) return false;
  i.handler = is_store ? store_matrix : load_matrix;
  i.op_class = is_store ? OpClass::shared_store : OpClass::shared_load;
  i.flow = Flow::warp_sync;
  i.extra = s.has("trans");
  return d.address(s.operands[is_store ? 0 : 1], i);
}

bool decode_movmatrix(Decoder& d, const Statement& s, Instruction& i) {
  i.flow = Flow::warp_sync;
  return s.has("m8n8") && place(d, s, i, transpose_matrix, OpClass::shuffle, 1, 4);
}

constexpr InstructionRow k_rows[] = {{"mma", decode_mma},
                                     {"ldmatrix", decode_matrix_access},
                                     {"stmatrix", decode_matrix_access, ResultKind::none},
                                     {"movmatrix", decode_movmatrix}};

}  // namespace

std::span<const InstructionRow> matrix_rows() { return k_rows; }

}  // namespace kernelites::worker::vgpu
